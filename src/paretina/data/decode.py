"""Decodes picture files to uint8 RGB, upright, with transparency on white.

The network gets what a viewer would show: EXIF rotation is applied, transparent pixels become white, sixteen bits are scaled
to eight, of an animation the first frame is used. Whatever cannot be read raises DecodeError, which names the file; nothing is
guessed. Anomalies of pictures that can be read are noted (`paretina.data.remarks`).
"""

import io
import math
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, cast

import numpy as np
import PIL.Image
import torch
from PIL import TiffImagePlugin
from PIL.ImageFile import ImageFile
from PIL.PngImagePlugin import PngImageFile

from paretina.data.jpeg import END, jpeg_pixels, plain_size
from paretina.data.levels import Levels, halved
from paretina.data.remarks import remark
from paretina.data.room import Room
from paretina.data.tiff_errors import tiff_errors
from paretina.shapes import Image

MAX_PIXELS = 178_956_970
"""Larger pictures are refused: as RGB they take over half a gigabyte for each worker. It is also Pillow's default limit."""

ROOM = Room(2 << 30)
"""Memory that the threads of a process may use for decoding. A picture just under MAX_PIXELS needs all of it, or more than it
where it is of a format in READER_BYTES; no other is then decoded beside it."""

JPEG_BYTES, OTHER_BYTES = 6, 12
"""Peak bytes per pixel of decoding: the result, the buffers of the format's reader, and a copy for rotation."""

READER_BYTES = {"WEBP": 20, "JPEG2000": 20}
"""The same for formats whose readers take more: the canvas of an animation twice and its bytes; a whole number per colour."""

HEIC_BRANDS = frozenset({b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"})
"""How files of phones begin that Pillow cannot read by itself (ISO/IEC 23008-12, annex B)."""

STRIP = 1 << 22
"""Pixels converted at a time, to avoid a second copy of a large picture."""

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "DIB", "TIFF", "PPM", "AVIF", "JPEG2000", "TGA", "PCX", "ICO", "HEIF")
"""Formats that Pillow may read here. EPS is excluded, since Pillow would start an external program for it."""

SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".png", ".apng", ".webp", ".gif", ".bmp", ".dib", ".tif", ".tiff"}
    | {".ppm", ".pgm", ".pbm", ".pnm", ".avif", ".jp2", ".j2k", ".jpx", ".tga", ".pcx", ".ico", ".heic", ".heif", ".hif"}
)
"""File name extensions of pictures, in lower case."""

CODED = ("JPEG", "MPO")
"""Formats that can be decoded at a part of their size."""

MOST_HALVINGS = 3
"""libjpeg reduces to 1/8 at most."""

ORIENTATION = 0x0112
"""The EXIF orientation tag."""

UPRIGHT: dict[int, Callable[[np.ndarray], np.ndarray]] = {
    2: lambda pixels: pixels[:, ::-1],
    3: lambda pixels: pixels[::-1, ::-1],
    4: lambda pixels: pixels[::-1],
    5: lambda pixels: pixels.T,
    6: lambda pixels: pixels.T[:, ::-1],
    7: lambda pixels: pixels[::-1, ::-1].T,
    8: lambda pixels: pixels.T[::-1],
}
"""The operation that undoes each EXIF orientation (EXIF 2.32, section 4.6.4)."""

SIDEWAYS = frozenset({5, 6, 7, 8})
"""EXIF orientations that swap height and width."""


PHOTOMETRIC, BITS, SAMPLE_FORMAT, PLANAR = 262, 258, 339, 284
"""Tags of TIFF 6.0: what 0 means, bits of each sample, whether samples are signed, whether each colour lies by itself."""

NATIVE = {"I;16BS": "I;16NS", "I;32BS": "I;32NS", "F;32BF": "F;32NF"}
"""Raw modes of Pillow for numbers in big-endian order, and those for the order of this machine."""

LEVELS = {"L;2": 85, "L;4": 17}
"""What Pillow multiplies grey values of two and of four bits by, so that the highest is 255."""

UPPER, LOWER = "RGB;16B", "RGB;16L"
"""Raw modes of Pillow that take the upper byte of each 16-bit number of a PNG, and the lower one."""

# grey of 16 bits where 0 is white, which Pillow knows in the other byte order only; it turns neither round
TiffImagePlugin.OPEN_INFO.setdefault((TiffImagePlugin.MM, 0, (1,), 1, (16,), ()), ("I;16B", "I;16B"))


OTHER_TIFF = "a kind of TIFF that is not read here; save it as RGB or grey of 8 or 16 bits"


class DecodeError(ValueError):
    """A picture cannot be read; the text is `name: reason`."""


def decode(data: bytes, name: str, at_least: int | None = None) -> Image:
    """Decodes the bytes of a picture file.

    The result is channels last in memory, as Pillow stores it.

    Args:
        data: the whole file.
        name: the picture's name in errors.
        at_least: lets a JPEG be decoded at 1/2, 1/4 or 1/8 of its size as long as its shorter side keeps this many pixels.
            Several times faster for large photos, and slightly different pixels: for training only. None decodes exactly.

    Raises:
        DecodeError: the file is empty, truncated, not a picture or over MAX_PIXELS, or its values cannot be converted to
            eight bits unambiguously.
    """
    with faults_named(data, name):
        image, file = opened(data)
        return from_pixels(read(image, file, data, 1 if at_least is None else reduction(*image.size, at_least)))


class CodedLevels(Levels):
    """A picture file of which the size is known at once and pixels are decoded on request; a JPEG at the size asked for.

    Copies of a JPEG that `at_least` does not reduce are what libjpeg makes at 1/2, 1/4 and 1/8, and halves of that; all other
    copies are halves of level 0 (`paretina.data.levels.halved`): a picture that is reduced already takes no less time.

    Args:
        data, name, at_least: as for `decode`; level 0 is what `decode` gives.

    Raises:
        DecodeError: as `decode`, here or when pixels are asked for.
    """

    def __init__(self, data: bytes, name: str, at_least: int | None = None) -> None:
        self.data, self.name = data, name
        self.by = 1
        self.whole: Image | None = None
        self.header: tuple[PIL.Image.Image, io.BytesIO] | None = None
        self.plain = plain_size(data)
        if self.plain is not None and math.prod(self.plain) <= MAX_PIXELS:
            height, width = self.plain
            self.by = 1 if at_least is None else reduction(width, height, at_least)
            super().__init__(-(-height // self.by), -(-width // self.by))
            return
        self.plain = None
        with faults_named(data, name):
            image, file = opened(data)
            if image.format in CODED:
                self.by = 1 if at_least is None else reduction(*image.size, at_least)
                columns, rows = (-(-side // self.by) for side in image.size)
                shape = (columns, rows) if orientation(image) in SIDEWAYS else (rows, columns)
                self.header = image, file
            else:  # what turns it can follow its pixels
                self.whole = from_pixels(read(image, file, data, 1))
                shape = (self.whole.shape[1], self.whole.shape[2])
        super().__init__(*shape)

    @property
    def coded(self) -> int:
        """How many copies are decoded from the file by themselves, and not halved from the one before."""
        return MOST_HALVINGS if self.whole is None and self.by == 1 else 0

    def level(self, halvings: int) -> Image:
        left = halvings
        image = self.whole
        if image is None:
            coded = min(halvings, self.coded)
            with faults_named(self.data, self.name):
                image = from_pixels(self.decoded(self.by << coded))
            left -= coded
        for _ in range(left):
            image = halved(image)
        return image

    def decoded(self, by: int) -> np.ndarray:
        if self.plain is not None:
            height, width = (-(-side // by) for side in self.plain)
            with ROOM.taken(width * height * JPEG_BYTES):
                pixels = jpeg_pixels(self.data, width, height)
            if pixels is not None:
                return pixels
        header, self.header = self.header or opened(self.data), None
        return read(*header, self.data, by)


@contextmanager
def faults_named(data: bytes, name: str) -> Iterator[None]:
    """Turns whatever goes wrong with a picture file into a DecodeError that names it."""
    if not data:
        raise DecodeError(f"{name}: the file is empty")
    try:
        with quiet_pillow():
            yield
    except PIL.UnidentifiedImageError:
        tiff = data[:4] in (b"II*\0", b"MM\0*")
        raise DecodeError(f"{name}: {OTHER_TIFF if tiff else 'not a picture in a known format'}") from None
    except PIL.Image.DecompressionBombError:
        raise DecodeError(f"{name}: has more pixels than the limit of Pillow allows") from None
    except Exception as error:  # a damaged file can make Pillow raise almost any exception
        raise DecodeError(f"{name}: {str(error) or type(error).__name__}") from None


def opened(data: bytes) -> tuple[PIL.Image.Image, io.BytesIO]:
    """A picture of which the header was read, and its file."""
    PIL.Image.init()
    if data[4:8] == b"ftyp" and data[8:12] in HEIC_BRANDS:
        with_heic()
    file = io.BytesIO(data)
    image = PIL.Image.open(file, formats=[name for name in FORMATS if name in PIL.Image.OPEN])
    width, height = image.size
    if width < 1 or height < 1:
        raise ValueError(f"has no pixels ({width} x {height})")
    if width * height > MAX_PIXELS:
        raise ValueError(f"is {width} x {height}, over the limit of {MAX_PIXELS:,} pixels; make it smaller")
    return image, file


def reduction(width: int, height: int, at_least: int) -> int:
    """By how much a JPEG may be reduced so that both sides keep `at_least` pixels: 8, 4, 2 or 1, as Pillow's `draft`."""
    return next((by for by in (8, 4, 2) if min(width, height) // by >= at_least), 1)


def from_pixels(pixels: np.ndarray) -> Image:
    return torch.from_numpy(pixels).permute(2, 0, 1)  # h w c -> c h w


def read(image: PIL.Image.Image, file: io.BytesIO, data: bytes, by: int) -> np.ndarray:
    """The pixels of an opened picture, upright; a JPEG reduced `by` 1, 2, 4 or 8, any other format as it is. Closes it."""
    with image:
        return read_opened(image, file, data, by)


def read_opened(image: PIL.Image.Image, file: io.BytesIO, data: bytes, by: int) -> np.ndarray:
    if by > 1:
        width, height = image.size
        image.draft(None, (max(1, width // by), max(1, height // by)))
    width, height = image.size
    coded = image.format in CODED
    with ROOM.taken(width * height * (JPEG_BYTES if coded else READER_BYTES.get(image.format or "", OTHER_BYTES))):
        if coded and image.mode == "CMYK":
            jpeg_pixels(data, width, height, "CMYK")  # only to detect damage: Pillow interprets the colours
            file.seek(0, io.SEEK_END)
            file.write(END)
        pixels = jpeg_pixels(data, width, height) if coded and image.mode != "CMYK" else None
        if pixels is None:
            pixels = rgb(image, data)
        turned = orientation(image)
        image.close()  # frees its memory while it is still reserved in `Room`
        return upright(pixels, turned)


def with_heic() -> None:
    """Lets Pillow read HEIC.

    Raises:
        ValueError: the package that can is not installed; the message says how to install it.
    """
    if "HEIF" in PIL.Image.OPEN:
        return
    try:
        from pillow_heif import register_heif_opener
    except ImportError:
        raise ValueError("is HEIC, which needs a further package: pip install 'paretina[heic]'") from None
    register_heif_opener()


def orientation(image: PIL.Image.Image) -> int:
    # Asked for after loading: in PNG and TIFF the tag can follow the pixels, and for TIFF Pillow turns the picture itself.
    try:
        return int(image.getexif().get(ORIENTATION, 1))
    except Exception:  # invalid EXIF data is not a reason to lose a good picture
        return 1


def upright(pixels: np.ndarray, turned: int) -> np.ndarray:
    if turned not in UPRIGHT:
        return pixels
    whole = pixels.view("V3")[:, :, 0]  # copies three bytes at a time
    return np.ascontiguousarray(UPRIGHT[turned](whole))[:, :, None].view(np.uint8)


# --- conversion to RGB --------------------------------------------------------------------------------------------------


def rgb(image: PIL.Image.Image, data: bytes) -> np.ndarray:
    """The picture as red, green and blue on white."""
    deep = is_deep(image)
    inverted, limit, clear = False, 65535, None
    if isinstance(image, TiffImagePlugin.TiffImageFile):
        inverted, limit = read_tiff_as_it_is(image)
        load_tiff(image)
    else:
        clear = clear_pixels(image, data)
    image.load()
    if image.mode.startswith("I") or image.mode == "F":
        grey = eight_bits(np.asarray(image), limit, inverted)
        found = np.empty((*grey.shape, 3), np.uint8)
        found[:] = grey[:, :, None]
    else:
        found = in_strips(image)
    if clear is not None:
        found[clear] = 255
    if deep:
        ranges: Any = image.getextrema()
        top = max(high for band, (_, high) in zip(image.getbands(), ranges, strict=True) if band not in "Aa")
        remark_on_bits(257 * top - 128 if image.format == "PPM" else top << 8)  # rounded there, cut off everywhere else
    return found


def in_strips(image: PIL.Image.Image) -> np.ndarray:
    """Converts a loaded 8-bit picture to RGB, a few rows at a time."""
    width, height = image.size
    rows = max(1, STRIP // width)
    found = np.empty((height, width, 3), np.uint8)
    for top in range(0, height, rows):
        strip = image if rows >= height else image.crop((0, top, width, min(height, top + rows)))
        found[top : top + rows] = np.asarray(on_white(strip))
    return found


def on_white(image: PIL.Image.Image) -> PIL.Image.Image:
    if image.has_transparency_data:
        if image.mode == "La":
            image = image.convert("LA")
        image = image.convert("RGBA")
        white = PIL.Image.new("RGBA", image.size, "white")
        white.alpha_composite(image)
        image = white
    return image.convert("RGB")


def eight_bits(values: np.ndarray, limit: int = 65535, inverted: bool = False) -> np.ndarray:
    """Scales the grey values of a 16-bit or a float picture to 0 to 255, rounded.

    Args:
        limit: the value of white in integer pictures.
        inverted: whether 0 is white.
    """
    low, high = values.min(), values.max()
    if not np.isfinite(low) or not np.isfinite(high):
        raise ValueError("holds values that are not finite")
    white: float = limit
    if values.dtype.kind == "f":
        white, rule = (1.0 if high <= 1 else 255.0), "float pictures must lie in 0 to 1 or in 0 to 255"
    else:
        rule = f"pictures of whole numbers must lie in 0 to {limit}"
    if low < 0 or high > white:
        raise ValueError(f"holds values from {low:g} to {high:g}; {rule}")
    if values.dtype.kind != "f" and limit == 65535:
        remark_on_bits(int(high))
    scaled = np.empty(values.shape, np.uint8)
    rows = max(1, STRIP // values.shape[1])
    for top in range(0, len(values), rows):
        part = np.rint(values[top : top + rows].astype(np.float64) * (255.0 / white))
        scaled[top : top + rows] = 255 - part if inverted else part
    return scaled


def is_deep(image: PIL.Image.Image) -> bool:
    """Whether the file has 16 bits for each of several colours, of which Pillow keeps the upper eight; asked before loading."""
    if image.mode not in ("LA", "RGB", "RGBA") or not isinstance(image, ImageFile) or not image.tile:
        return False
    args = image.tile[0].args
    raw, *rest = args if isinstance(args, tuple) else (args,)
    return ";16" in str(raw) or (image.format == "PPM" and rest == [65535])


def remark_on_bits(brightest: int) -> None:
    """Notes that a 16-bit picture has no bright values: cameras and microscopes store fewer bits in 16 unscaled."""
    bits = next((bits for bits in (8, 10, 12, 14) if 0 <= brightest < 1 << bits), 16)
    if bits < 16 and brightest > 0:
        remark(
            f"16-bit values, of which the picture uses {bits}: nothing in it is brighter than {(1 << bits) - 1:,}, white is "
            "65,535, so it is dark; if it should not be, scale up the values in the files"
        )


# --- fixes for Pillow ---------------------------------------------------------------------------------------------------


def read_tiff_as_it_is(image: TiffImagePlugin.TiffImageFile) -> tuple[bool, int]:
    """Whether the grey values must still be inverted, and the value of white; call it before loading.

    Raises:
        ValueError: the samples are signed and have eight bits.
    """
    tags = image.tag_v2
    bits, signed = tags.get(BITS, (1,)), tags.get(SAMPLE_FORMAT, (1,))[0] == 2
    if signed and bits[0] <= 8:
        raise ValueError("has signed 8-bit samples, whose black and white are undefined; save it unsigned")
    for number, tile in enumerate(image.tile):
        raw, *rest = cast(tuple[Any, ...], tile.args)
        if tile[0] == "libtiff":  # it gives the bytes in the order of this machine
            raw = NATIVE.get(raw, raw)
        elif raw == "a" or (image.mode == "CMYK" and len(raw) == 1 and bits[0] > 8):  # Pillow cannot fill in such planes
            raise ValueError(OTHER_TIFF)
        elif tags.get(PLANAR) == 2 and set(bits) == {16} and len(raw) == 1:
            raw = f"{raw};16{'L' if tags.prefix == TiffImagePlugin.II else 'B'}"
        image.tile[number] = tile._replace(args=(raw, *rest))
    if image.mode == "I" and (signed or bits[0] > 16):
        remark(f"{bits[0]}-bit {'signed ' if signed else ''}numbers, of which 65,535 was taken for white")
    inverted = tags.get(PHOTOMETRIC) == 0 and (image.mode.startswith("I") or image.mode == "F")
    return inverted, (1 << bits[0]) - 1 if image.mode.startswith("I;16") else 65535


def load_tiff(image: TiffImagePlugin.TiffImageFile) -> None:
    """Loads a TIFF.

    Raises:
        ValueError: libtiff reports an error; it may have made up pixels.
    """
    with tiff_errors() as errors:
        try:
            image.load()
        except Exception:
            if not errors:
                raise
    if errors:
        raise ValueError(f"is damaged ({errors[0]})")


def clear_pixels(image: PIL.Image.Image, data: bytes) -> np.ndarray | None:
    """The pixels of a 16-bit PNG that are transparent by their colour; loads the picture.

    Pillow does not compare the value with grey pixels of 16 bits, compares it with one byte of colours of 16 bits, and forgets
    that it scaled grey pixels of two and of four bits.
    """
    value = image.info.get("transparency")
    if value is None or not isinstance(image, PngImageFile) or not image.tile:
        return None
    raw = image.tile[0].args
    if raw in LEVELS:
        image.info["transparency"] = value * LEVELS[raw]
    elif image.mode.startswith("I"):
        image.load()
        return np.asarray(image) == value
    elif raw == UPPER:
        del image.info["transparency"]
        image.load()
        with PngImageFile(io.BytesIO(data)) as again:
            again.tile = [tile._replace(args=LOWER) for tile in again.tile]
            again.load()
            upper, lower = np.asarray(image), np.asarray(again)
            return np.logical_and(upper == np.array(value) >> 8, lower == np.array(value) & 255).all(axis=2)
    return None


# --- warnings ---------------------------------------------------------------------------------------------------------
# Pillow warns about large and unusual files, which is either an error here or irrelevant. `catch_warnings` alone is not
# thread-safe: two that overlap can leave the filters of one in place permanently. So the first thread to enter sets
# the filter and the last to leave removes it; it silences Pillow's modules only.

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
