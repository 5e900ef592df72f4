"""Decoding: the bytes of a picture file -> a uint8 picture on white, upright, in three channels.

What a viewer would show is what the network gets: the rotation that a camera noted is applied, transparency lies on white,
sixteen bits are scaled to eight, an animation shows its first frame. Whatever cannot be read raises DecodeError, which
names the file; nothing is guessed.
"""

import io
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import PIL.Image
import torch

from paretina.shapes import Image

MAX_PIXELS = 178_956_970
"""Larger pictures are refused: as RGB they take over half a gigabyte for each worker. It is where Pillow stops by default."""

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "AVIF", "JPEG2000", "TGA", "PCX", "ICO")
"""What Pillow may read here. Not among them: EPS, for which it would start a program named by the system."""

SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".png", ".apng", ".webp", ".gif", ".bmp", ".dib", ".tif", ".tiff"}
    | {".ppm", ".pgm", ".pbm", ".pnm", ".avif", ".jp2", ".j2k", ".jpx", ".tga", ".pcx", ".ico"}
)
"""Endings of file names that are taken for pictures, in lower case."""

ORIENTATION = 0x0112
"""The EXIF tag that says how the camera was held."""

UPRIGHT = {
    2: PIL.Image.Transpose.FLIP_LEFT_RIGHT,
    3: PIL.Image.Transpose.ROTATE_180,
    4: PIL.Image.Transpose.FLIP_TOP_BOTTOM,
    5: PIL.Image.Transpose.TRANSPOSE,
    6: PIL.Image.Transpose.ROTATE_270,
    7: PIL.Image.Transpose.TRANSVERSE,
    8: PIL.Image.Transpose.ROTATE_90,
}
"""What undoes each EXIF orientation (EXIF 2.32, section 4.6.4)."""


class DecodeError(ValueError):
    """A picture cannot be read; the text is `name: reason`."""


def decode(data: bytes, name: str, at_least: int | None = None) -> Image:
    """Decodes the bytes of a picture file.

    The result lies in memory with its channels last, as Pillow has it.

    Args:
        data: the whole file.
        name: what the picture is called in errors.
        at_least: lets a JPEG be decoded at 1/2, 1/4 or 1/8 of its size as long as its shorter side keeps this many pixels.
            Several times faster for large photos, and slightly different pixels: for training only. None decodes exactly.

    Raises:
        DecodeError: the file is empty, truncated, no picture or over MAX_PIXELS, or its values have no plain meaning as
            eight bits.
    """
    if not data:
        raise DecodeError(f"{name}: the file is empty")
    try:
        with quiet_pillow():
            pixels = read(data, at_least)
    except PIL.UnidentifiedImageError:
        raise DecodeError(f"{name}: not a picture in a known format") from None
    except PIL.Image.DecompressionBombError:
        raise DecodeError(f"{name}: has more pixels than the limit of Pillow allows") from None
    except Exception as error:  # a broken file leads Pillow's readers to almost any exception
        raise DecodeError(f"{name}: {str(error) or type(error).__name__}") from None
    return torch.from_numpy(pixels).permute(2, 0, 1)  # h w c -> c h w


def read(data: bytes, at_least: int | None) -> np.ndarray:
    PIL.Image.init()
    with PIL.Image.open(io.BytesIO(data), formats=[name for name in FORMATS if name in PIL.Image.OPEN]) as image:
        width, height = image.size
        if width < 1 or height < 1:
            raise ValueError(f"has no pixels ({width} x {height})")
        if width * height > MAX_PIXELS:
            raise ValueError(f"is {width} x {height}, over the limit of {MAX_PIXELS:,} pixels; make it smaller")
        if at_least is not None:
            image.draft(None, (at_least, at_least))  # does nothing where the format has no such thing
        image.load()
        return np.array(upright(plain(image), orientation(image)))


def orientation(image: PIL.Image.Image) -> int:
    # Asked for after loading: in PNG and TIFF the tag can follow the pixels, and for TIFF Pillow turns the picture itself.
    try:
        return int(image.getexif().get(ORIENTATION, 1))
    except Exception:  # broken EXIF is no reason to lose a good picture
        return 1


def upright(image: PIL.Image.Image, turned: int) -> PIL.Image.Image:
    return image.transpose(UPRIGHT[turned]) if turned in UPRIGHT else image


def plain(image: PIL.Image.Image) -> PIL.Image.Image:
    """The picture as RGB."""
    if image.mode.startswith("I") or image.mode == "F":
        return PIL.Image.fromarray(eight_bits(np.asarray(image))).convert("RGB")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        white = PIL.Image.new("RGBA", image.size, "white")
        white.alpha_composite(image)
        image = white
    return image.convert("RGB")


def eight_bits(values: np.ndarray) -> np.ndarray:
    """Scales the grey values of a 16-bit or a float picture to 0 to 255, rounded."""
    low, high = values.min(), values.max()
    if not np.isfinite(low) or not np.isfinite(high):
        raise ValueError("holds values that are not finite")
    if values.dtype.kind == "f":
        limit, rule = (1.0 if high <= 1 else 255.0), "float pictures must lie in 0 to 1 or in 0 to 255"
    else:
        limit, rule = 65535.0, "pictures of whole numbers must lie in 0 to 65535"
    if low < 0 or high > limit:
        raise ValueError(f"holds values from {low:g} to {high:g}; {rule}")
    scaled: np.ndarray = np.rint(values.astype(np.float64) * (255.0 / limit)).astype(np.uint8)
    return scaled


# --- warnings ---------------------------------------------------------------------------------------------------------
# Pillow warns about large and odd files, which is either an error here or of no consequence. `catch_warnings` alone is not
# safe with threads: two that overlap can leave the filters of the one in place for good. So the first thread to enter sets
# the filter and the last to leave takes it away; it silences modules of Pillow only.

LOCK = threading.Lock()
inside = 0
saved: warnings.catch_warnings | None = None


@contextmanager
def quiet_pillow() -> Iterator[None]:
    global inside, saved
    with LOCK:
        if inside == 0:
            saved = warnings.catch_warnings()
            saved.__enter__()
            warnings.filterwarnings("ignore", module=r"PIL\.")
        inside += 1
    try:
        yield
    finally:
        with LOCK:
            inside -= 1
            if inside == 0 and saved is not None:
                saved.__exit__(None, None, None)
                saved = None
