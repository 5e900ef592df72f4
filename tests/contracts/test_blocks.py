"""What every block must satisfy; `test_networks.py` has what holds for all parts of a network."""

import pytest
import torch

from covering import covering
from paretina.model.blueprint import any_kit
from paretina.spec import modules_in

EXAMPLES = [example for module in modules_in("paretina.model.blocks") for example in getattr(module, "EXAMPLES", ())]
every_block = pytest.mark.parametrize("block", EXAMPLES, ids=repr)
PADDINGS, STRIDES = ("symmetric", "same"), (1, 2)


def shape_of(block, width_in, width_out, stride, padding, size):
    kit = any_kit(padding, size)
    with torch.device("meta"):
        return kit.run(block.make(width_in, width_out, stride, kit), width_in)


@pytest.mark.parametrize(
    ("block", "padding", "size", "stride"), covering(EXAMPLES, PADDINGS, (12, 13), STRIDES, each=2), ids=repr
)
def test_first_use_adapts_width_and_size(block, padding, size, stride):
    smaller = -(-size // stride)
    assert shape_of(block, 16, 16, stride, padding, size) == (16, smaller, smaller)
    assert shape_of(block, 24, 16, stride, padding, size) == (16, smaller, smaller)


@pytest.mark.parametrize(("block", "padding", "stride"), covering(EXAMPLES, PADDINGS, STRIDES, each=2), ids=repr)
def test_computes_what_the_shape_says(block, padding, stride):
    kit = any_kit(padding, 9)
    module = block.make(16, 24, stride, kit).eval()
    with torch.no_grad():
        assert module(torch.rand(2, 16, 9, 9)).shape[1:] == kit.run(block.make(16, 24, stride, kit).to("meta"), 16)


@every_block
def test_widths_of_its_own_follow_the_rounding(block):
    assert block.widened(lambda width: width) == block
    assert shape_of(block.widened(lambda width: 2 * width), 16, 16, 1, "symmetric", 12) == (16, 12, 12)
