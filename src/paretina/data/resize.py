"""Resizes pictures and masks."""

from typing import Literal

from torch import Tensor
from torch.nn.functional import interpolate
from torchvision import tv_tensors
from torchvision.transforms.v2 import InterpolationMode
from torchvision.transforms.v2 import functional as F

from paretina.shapes import Image


def resized(image: Image, height: int, width: int, interpolation: Literal["bilinear", "bicubic"] = "bicubic") -> Image:
    """The picture at another size in pixels, antialiased.

    Each pixel of a mask becomes the one whose centre is nearest. torchvision's own resize of masks goes by corners instead,
    which moves a mask by up to half a pixel of the result against its picture.
    """
    if isinstance(image, tv_tensors.Mask):
        return tv_tensors.Mask(interpolate(image.as_subclass(Tensor)[None], (height, width), mode="nearest-exact")[0])
    found: Image = F.resize(image, [height, width], interpolation=InterpolationMode(interpolation), antialias=True)
    return found
