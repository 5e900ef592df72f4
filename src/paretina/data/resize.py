"""Resizes pictures and masks."""

import functools
import platform
from typing import Literal

import torch
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


def resized_alone(
    image: Image,
    height: int,
    width: int,
    interpolation: Literal["bilinear", "bicubic"] = "bicubic",
    any_layout: bool = False,
) -> Image:
    """`resized` of one picture or mask, the same to the bit, in about half of the time for small results.

    Args:
        any_layout: whether the result may be channels last in memory, which saves packing it; else it lies there as
            `resized` gives it.
    """
    if isinstance(image, tv_tensors.Mask) or image.dtype != torch.uint8 or not fast_on_bytes():
        return resized(image, height, width, interpolation)
    if image.shape[1:] == (height, width):
        return image
    given = image.permute(1, 2, 0)  # h w c
    rows = given.contiguous()
    # with this stride of the single picture torch takes it for channels last (pytorch issue 68430)
    alone = rows.as_strided((1, *image.shape), (rows.numel(), 1, rows.stride(0), rows.stride(1)))
    found = interpolate(alone, (height, width), mode=interpolation, align_corners=False, antialias=True)[0]
    return found if any_layout or given.is_contiguous() else found.contiguous()


@functools.cache
def fast_on_bytes() -> bool:
    """Whether torch resizes bytes as they are in both interpolations, as torchvision asks it to."""
    return torch.backends.cpu.get_cpu_capability() in ("AVX2", "AVX512") or platform.machine() in ("aarch64", "arm64")
