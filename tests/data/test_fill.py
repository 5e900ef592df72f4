import pytest
import torch

from paretina.data.fill import colour, plain


@pytest.mark.parametrize(("fill", "level"), [("grey", 128), ("white", 255), ("black", 0)])
def test_named_colours(fill, level):
    assert colour(fill, torch.zeros(3, 2, 2, dtype=torch.uint8)) == [level] * 3


def test_border_is_the_median_of_the_edge_and_ignores_the_middle():
    image = plain([10, 20, 30], 5, 5)
    image[:, 1:4, 1:4] = 200
    image[:, 0, :3] = 255
    assert colour("border", image) == [10, 20, 30]


def test_plain_has_one_colour():
    assert plain([1, 2, 3], 2, 4).tolist() == [[[level] * 4] * 2 for level in (1, 2, 3)]
