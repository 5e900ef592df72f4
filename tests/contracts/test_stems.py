"""What every stem must satisfy; `test_networks.py` has what holds for all parts of a network."""

import pytest
import torch

from paretina.model.blueprint import any_kit
from paretina.spec import modules_in

EXAMPLES = [example for module in modules_in("paretina.model.stems") for example in getattr(module, "EXAMPLES", ())]
every_stem = pytest.mark.parametrize("stem", EXAMPLES, ids=repr)


def shape_of(stem, padding, size):
    kit = any_kit(padding, size)
    with torch.device("meta"):
        return kit.run(stem.make(kit), 3)


@every_stem
@pytest.mark.parametrize("padding", ["symmetric", "same"])
@pytest.mark.parametrize("size", [32, 33, 35, 46])
def test_is_smaller_by_its_stride(stem, padding, size):
    smaller = -(-size // stem.stride)
    assert shape_of(stem, padding, size) == (stem.width, smaller, smaller)


@every_stem
def test_widths_follow_the_rounding(stem):
    assert stem.widened(lambda width: width) == stem
    assert shape_of(stem.widened(lambda width: 2 * width), "same", 32)[0] == 2 * stem.width
    assert stem.widened(lambda width: 2 * width).stride == stem.stride
