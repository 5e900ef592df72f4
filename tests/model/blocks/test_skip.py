import torch

from paretina.model.blocks.mbconv import MBConv
from paretina.model.blocks.skip import Skip
from paretina.model.blueprint import any_kit

BLOCK = MBConv(expand=2, kernel=3)


def made(block, stride=1, width=8):
    torch.manual_seed(0)
    return block.make(8, width, stride, any_kit()).eval()


def test_the_shortcut_is_left_out_or_averaged():
    whole, bare, pooled = (made(block) for block in (BLOCK, Skip(block=BLOCK), Skip(block=BLOCK, shortcut="pool")))
    bare.load_state_dict({name.removeprefix("body."): value for name, value in whole.state_dict().items()})
    pooled.load_state_dict(whole.state_dict())
    x = torch.randn(2, 8, 12, 12)
    torch.testing.assert_close(whole(x), x + bare(x))
    # the average of the places that are inside: 4 in a corner
    average = (pooled(x) - bare(x))[:, :, 0, 0]
    torch.testing.assert_close(average, x[:, :, :2, :2].mean((2, 3)), rtol=1e-4, atol=1e-5)


def test_where_there_is_no_shortcut_nothing_changes():
    for stride, width in ((2, 8), (1, 16)):
        plain, changed = made(BLOCK, stride, width), made(Skip(block=BLOCK, shortcut="pool"), stride, width)
        assert [*plain.state_dict()] == [*changed.state_dict()]
        assert type(plain) is type(changed)
