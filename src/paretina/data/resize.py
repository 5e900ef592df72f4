"""Resizes pictures and masks."""

from typing import Literal

from torch import Tensor
from torch.nn.functional import interpolate
from torchvision import tv_tensors
from torchvision.transforms.v2 import InterpolationMode
from torchvision.transforms.v2.functional import resize_image

from paretina.shapes import Image, Images


def resized(
    images: Image | Images, height: int, width: int, interpolation: Literal["bilinear", "bicubic"] = "bicubic"
) -> Image | Images:
    """A picture, or several of one size, at another size in pixels, antialiased.

    Each pixel of a mask becomes the one whose centre is nearest. torchvision's own resize of masks goes by corners instead,
    which moves a mask by up to half a pixel of the result against its picture.
    """
    if isinstance(images, tv_tensors.Mask):
        masks = images.as_subclass(Tensor)
        found = interpolate(masks.reshape(-1, *masks.shape[-3:]), (height, width), mode="nearest-exact")
        return tv_tensors.Mask(found.reshape(*masks.shape[:-2], height, width))
    # without torchvision's search for the function of this type, which takes as long as a small picture
    return resize_image(images, [height, width], interpolation=InterpolationMode(interpolation), antialias=True)
