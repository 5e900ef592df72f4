import pytest
import torch

from paretina.model.blueprint import any_kit
from paretina.model.stems.patch import PatchStem


def made(stem, **kit):
    torch.manual_seed(0)
    return stem.make(any_kit(**kit)).eval()


@pytest.mark.parametrize("padding", ["symmetric", "same"])
def test_each_patch_becomes_one_pixel(padding):
    stem, x = made(PatchStem(width=5, patch=4), padding=padding), torch.randn(2, 3, 8, 12)
    with torch.no_grad():
        out = stem(x)
        for row in range(2):
            for column in range(3):
                patch = x[:, :, 4 * row : 4 * row + 4, 4 * column : 4 * column + 4]
                wanted = patch.flatten(1) @ stem.conv.weight.flatten(1).T + stem.conv.bias
                torch.testing.assert_close(out[:, :, row, column], wanted)


def test_a_rest_at_the_edge_is_not_dropped():
    stem = made(PatchStem(width=5, patch=4))
    x = torch.zeros(1, 3, 9, 8)
    changed = x.clone()
    changed[:, :, 8] = 1.0
    with torch.no_grad():
        assert stem(x).shape == (1, 5, 3, 2)
        assert not torch.equal(stem(x), stem(changed))


def test_the_norm_is_over_channels():
    stem = made(PatchStem(width=16, patch=2, norm=True))
    with torch.no_grad():
        out = stem(torch.randn(2, 3, 8, 8))
    torch.testing.assert_close(out.mean(1), torch.zeros(2, 4, 4), atol=1e-5, rtol=0)
    torch.testing.assert_close(out.var(1, unbiased=False), torch.ones(2, 4, 4), atol=1e-3, rtol=0)


def test_reads_as_many_channels_as_the_picture_has():
    assert made(PatchStem(width=5, patch=4), channels=7)(torch.zeros(1, 7, 8, 8)).shape == (1, 5, 2, 2)


def test_a_patch_has_a_side():
    with pytest.raises(ValueError, match="PatchStem needs patch >= 1, got 0"):
        PatchStem(width=8, patch=0)
