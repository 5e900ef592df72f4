import pytest
import torch

from paretina.clock import START
from paretina.data.transforms.centre_crop import CentreCrop


def test_cuts_the_middle():
    image = torch.arange(6, dtype=torch.uint8).expand(3, 4, 6)
    assert CentreCrop()(image, 4, START)[0, 0].tolist() == [1, 2, 3, 4]


def test_share_is_of_the_shorter_side():
    image = torch.arange(8, dtype=torch.uint8).expand(3, 4, 8)
    assert CentreCrop(share=0.5)(image, 2, START)[0, 0].tolist() == [3, 4]


@pytest.mark.parametrize("share", [0.0, 1.5])
def test_refuses_a_share_outside_of_the_picture(share):
    with pytest.raises(ValueError, match=r"share must be in \(0, 1\]"):
        CentreCrop(share=share)
