"""Layer norm over channels against the statistics of each pixel."""

import torch

from paretina.model.norms.channel import ChannelNorm


def test_each_pixel_is_normalised_by_its_own_channels():
    x = torch.randn(3, 8, 5, 4, generator=torch.Generator().manual_seed(0))
    wanted = (x - x.mean(1, keepdim=True)) / (x.var(1, keepdim=True, unbiased=False) + 0.1).sqrt()
    torch.testing.assert_close(ChannelNorm(eps=0.1).make(8, None)(x), wanted)


def test_scale_and_shift_belong_to_channels():
    unit = ChannelNorm().make(2, None)
    with torch.no_grad():
        unit.weight.copy_(torch.tensor([2.0, 3.0]))
        unit.bias.copy_(torch.tensor([10.0, 20.0]))
        # channels (5, 1) are centred to (1, -1)
        out = unit(torch.tensor([5.0, 1.0]).view(1, 2, 1, 1))
    torch.testing.assert_close(out.flatten(), torch.tensor([12.0, 17.0]))


def test_channels_are_last_in_memory_behind_it():
    x = torch.randn(2, 8, 5, 4)
    for given in (x, x.to(memory_format=torch.channels_last)):
        assert ChannelNorm().make(8, None)(given).is_contiguous(memory_format=torch.channels_last)
