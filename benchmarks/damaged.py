"""Damages picture files of every format that is read, puts them among good ones, and reads all of them in every way.

    python benchmarks/damaged.py                       # 2,000 damaged files
    python benchmarks/damaged.py --count 300 --seed 1 --keep damaged

Files are damaged by a seed: bits and bytes changed, blocks cut out, inserted, repeated, exchanged and zeroed, files cut off at
every kind of marker and anywhere, fields of the format set to extremes (with the checksum of PNG made right again), sizes that
claim gigabytes, two files joined, endings exchanged, files without a byte. They lie in a folder of classes, which is then read

- one file at a time, at every scale and as copies of every size, under a time limit for each,
- by the loader of `train`, which decodes crops at the scale that they need in its workers,
- by `paretina data check`, `paretina train` (in memory, with a cache of decoded pictures that is built, and with the same one
  again), and `paretina predict`, as they are called from a shell.

Exit code 1 if a process ends in any other way than it should, a file takes too long, a process takes more memory than it may,
a picture that cannot be read has no reason, or two ways do not agree on which pictures can be read.
"""

import argparse
import faulthandler
import io
import itertools
import json
import os
import random
import re
import struct
import subprocess
import sys
import tempfile
import time
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import PIL.Image

FILE_S = 60.0
"""Seconds that reading one file eight times may take; a file may claim as many pixels as are allowed, which take seconds."""

LONG_S = 3.0
"""Seconds from which on a file is not read at further scales."""

MEMORY_MB = 2048 + 512
"""Megabytes that a process may take on top of what it has after its imports: the room for decoding, and its result."""

SIDE = 16
"""Pixels of the images that are made of the pictures; they are decoded at a quarter of their size for it."""

TRAIN = ["--model", "resnet8_w16_s2", "--weights", "none", "--recipe", "plain", "--device", "cpu", "epochs=1", "batch_size=16"]
TRAIN += [f"size={SIDE}", "workers=2", "threads=1", "max_damaged=1", "model.stem.width=8", "model.stages.*.width=8"]


# --- good files ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Original:
    """A good file.

    Attributes:
        kind: format, as mutations know it.
        suffix: with its dot.
    """

    name: str
    kind: str
    suffix: str
    data: bytes


def pixels(rows: int = 100, columns: int = 132, channels: int = 3) -> np.ndarray:
    """A picture with some detail: ramps under noise."""
    ramp = np.add.outer(np.arange(rows), np.arange(columns)) * 160 // (rows + columns)
    noise = np.random.default_rng(0).integers(0, 90, (rows, columns, channels))
    return (np.stack([ramp, ramp[::-1], ramp[:, ::-1], ramp][:channels], axis=2) + noise).astype(np.uint8)


def saved(image: PIL.Image.Image, kind: str, **options: object) -> bytes:
    file = io.BytesIO()
    image.copy().save(file, kind, **options)  # a copy: what one format was given stays in the picture
    return file.getvalue()


def originals() -> list[Original]:
    """A good file of each format, in the forms that are read by different code."""
    rgb = PIL.Image.fromarray(pixels())
    rgba = PIL.Image.fromarray(pixels(channels=4))
    grey, cmyk, palette = rgb.convert("L"), rgb.convert("CMYK"), rgb.quantize(64)
    deep = PIL.Image.fromarray(pixels()[:, :, 0].astype(np.uint16) * 257)
    exif = PIL.Image.Exif()
    exif[0x0112] = 6
    moving = {"save_all": True, "append_images": [palette.rotate(90), palette.rotate(180)]}
    found = [
        ("baseline", "jpeg", ".jpg", saved(rgb, "JPEG")),
        ("progressive", "jpeg", ".jpeg", saved(rgb, "JPEG", progressive=True)),
        ("grey", "jpeg", ".jpe", saved(grey, "JPEG")),
        ("cmyk", "jpeg", ".jpg", saved(cmyk, "JPEG")),
        ("turned", "jpeg", ".jfif", saved(rgb, "JPEG", exif=exif, subsampling=0)),
        ("restarts", "jpeg", ".jpg", saved(rgb, "JPEG", restart_marker_rows=1)),
        ("mpo", "jpeg", ".mpo", saved(rgb, "MPO", save_all=True, append_images=[rgb.rotate(180)])),
        ("plain", "png", ".png", saved(rgb, "PNG")),
        ("alpha", "png", ".png", saved(rgba, "PNG", exif=exif)),
        ("palette", "png", ".png", saved(palette, "PNG", transparency=3)),
        ("deep", "png", ".png", saved(deep, "PNG")),
        ("bits", "png", ".png", saved(rgb.convert("1"), "PNG")),
        ("moving", "png", ".apng", saved(rgb, "PNG", save_all=True, append_images=[rgb.rotate(180)])),
        ("lossy", "riff", ".webp", saved(rgb, "WEBP")),
        ("lossless", "riff", ".webp", saved(rgba, "WEBP", lossless=True)),
        ("moving", "riff", ".webp", saved(rgb, "WEBP", save_all=True, append_images=[rgb.rotate(180)])),
        ("plain", "gif", ".gif", saved(palette, "GIF")),
        ("moving", "gif", ".gif", saved(palette, "GIF", **moving)),
        ("plain", "bmp", ".bmp", saved(rgb, "BMP")),
        ("palette", "bmp", ".dib", saved(palette, "DIB")),
        ("runs", "bmp", ".bmp", runs_bmp()),
        *[
            (f"{name}", "tiff", ".tif", saved(rgb, "TIFF", compression=name))
            for name in ("raw", "tiff_lzw", "jpeg", "packbits")
        ],
        ("deep", "tiff", ".tiff", saved(deep, "TIFF", compression="tiff_adobe_deflate")),
        ("float", "tiff", ".tiff", saved(PIL.Image.fromarray(pixels()[:, :, 0].astype(np.float32) / 255), "TIFF")),
        ("fax", "tiff", ".tif", saved(rgb.convert("1"), "TIFF", compression="group4")),
        ("moving", "tiff", ".tif", saved(rgb, "TIFF", save_all=True, append_images=[grey])),
        ("colour", "text", ".ppm", saved(rgb, "PPM")),
        ("grey", "text", ".pgm", saved(grey, "PPM")),
        ("bits", "text", ".pbm", saved(rgb.convert("1"), "PPM")),
        ("deep", "text", ".pnm", saved(deep, "PPM")),
        ("plain", "text", ".ppm", b"P3 6 4 255\n" + b" ".join(b"%d" % value for value in pixels(4, 6).reshape(-1).tolist())),
        ("plain", "boxes", ".avif", saved(rgb, "AVIF", speed=10)),
        ("alpha", "boxes", ".avif", saved(rgba, "AVIF", speed=10)),
        ("boxed", "boxes", ".jp2", saved(rgb, "JPEG2000")),
        ("tiled", "jpeg", ".j2k", saved(rgb, "JPEG2000", no_jp2=True, tile_size=(64, 64))),
        ("plain", "bytes", ".tga", saved(rgb, "TGA")),
        ("runs", "bytes", ".tga", saved(rgba, "TGA", compression="tga_rle")),
        ("plain", "bytes", ".pcx", saved(rgb, "PCX")),
        ("several", "bytes", ".ico", saved(rgba.resize((64, 64)), "ICO", sizes=[(64, 64), (32, 32)])),
        ("bitmaps", "bytes", ".ico", saved(rgba.resize((64, 64)), "ICO", sizes=[(64, 64), (32, 32)], bitmap_format="bmp")),
    ]
    try:
        import pillow_heif
    except ImportError:
        print("pillow-heif is not installed: no HEIC")
    else:
        for name, suffix, image in (("plain", ".heic", rgb), ("alpha", ".heif", rgba), ("deep", ".hif", grey)):
            file = io.BytesIO()
            pillow_heif.from_pillow(image).save(file, quality=80)
            found.append((name, "boxes", suffix, file.getvalue()))
    return [Original(*each) for each in found]


def runs_bmp() -> bytes:
    """A BMP of eight bits whose rows are packed as runs, which Pillow does not write."""
    rows = b"".join(bytes([40, value, 27, value ^ 1, 0, 0]) for value in range(60)) + b"\0\1"
    palette = b"".join(bytes([value, value, value, 0]) for value in range(256))
    header = struct.pack("<IiiHHIIiiII", 40, 67, 60, 1, 8, 1, len(rows), 2835, 2835, 256, 0)
    start = 14 + len(header) + len(palette)
    return struct.pack("<2sIHHI", b"BM", start + len(rows), 0, 0, start) + header + palette + rows


# --- where a format has its fields --------------------------------------------------------------------------------------

Field = tuple[int, int, str]
"""Where it begins, its bytes, and their order: ">" or "<"."""


def jpeg_segments(data: bytes) -> Iterator[tuple[int, int]]:
    """Where each segment of a JPEG or of a JPEG 2000 codestream begins, and its marker."""
    for match in re.finditer(rb"\xff[\x4f-\x93\xc0-\xfe]", data):
        yield match.start(), data[match.start() + 1]


def png_chunks(data: bytes) -> Iterator[tuple[int, int]]:
    """Where each chunk begins, and the length of its body."""
    at = 8
    while at + 12 <= len(data):
        length = int.from_bytes(data[at : at + 4], "big")
        if length > len(data):
            return
        yield at, length
        at += 12 + length


def with_checksums(data: bytes) -> bytes:
    """A PNG whose chunks have the checksums of what they hold."""
    found = bytearray(data)
    for at, length in png_chunks(data):
        found[at + 8 + length : at + 12 + length] = struct.pack(">I", zlib.crc32(found[at + 4 : at + 8 + length]))
    return bytes(found)


NAMES = re.compile(
    rb"ftyp|meta|hdlr|pitm|iloc|iinf|infe|iprp|ipco|ipma|ispe|pixi|av1C|hvcC|colr|auxC|iref|mdat|jP  |ihdr|jp2h|jp2c|moov|grid"
)
"""Of boxes of ISO media files and of JPEG 2000."""

RIFF = re.compile(rb"RIFF|WEBP|VP8X|VP8L|VP8 |ALPH|ANIM|ANMF|EXIF|ICCP")


def marks(original: Original) -> list[int]:
    """Where a part of the file begins: segment, chunk, box or directory."""
    data, kind = original.data, original.kind
    if kind == "jpeg":
        found = [at for at, _ in jpeg_segments(data)]
    elif kind == "png":
        found = [at for at, _ in png_chunks(data)]
    elif kind == "boxes":
        found = [match.start() - 4 for match in NAMES.finditer(data)]
        found += [at for at, _ in jpeg_segments(data)][:12] if original.suffix == ".jp2" else []
    elif kind == "riff":
        found = [match.start() for match in RIFF.finditer(data)]
    elif kind == "gif":
        found = [6, 13, *(match.start() for match in re.finditer(rb"!\xf9|!\xff|,\0\0", data))]
    elif kind == "tiff":
        found = [4, tiff_directory(data), *(at for at, size, _ in fields(original) if size == 2)]
    else:
        found = [2, 14, 18, 54, 128]
    return sorted({at for at in found if 0 < at < len(data)})


def tiff_directory(data: bytes) -> int:
    return int(struct.unpack_from("<I" if data[:2] == b"II" else ">I", data, 4)[0])


def fields(original: Original) -> list[Field]:
    """Numbers in the headers of a file."""
    data, kind = original.data, original.kind
    found: list[Field] = []
    if kind == "jpeg":
        for at, marker in jpeg_segments(data):
            inside = {0xC0: (5, 7), 0xC2: (5, 7), 0xDD: (4,), 0x51: ()}.get(marker, ())
            found += [
                (at + 2, 2, ">"),
                *((at + each, 2, ">") for each in inside),
                *((at + each, 1, ">") for each in range(4, 14)),
            ]
            if marker == 0x51:
                found += [(at + 6 + 4 * number, 4, ">") for number in range(8)]
    elif kind == "png":
        found = [(at, 4, ">") for at, _ in png_chunks(data)]
        found += [(16, 4, ">"), (20, 4, ">"), *((at, 1, ">") for at in range(24, 29))]
        found += [(match.end() + 4 * number, 4, ">") for match in re.finditer(b"acTL|fcTL", data) for number in range(5)]
    elif kind == "boxes":
        for at in marks(original):
            found += [(at, 4, ">"), *((at + 8 + 4 * number, 4, ">") for number in range(4))]
            found += [(at + 8 + number, 1, ">") for number in range(8)]
    elif kind == "riff":
        found = [(match.end() + 4 * number, 4, "<") for match in RIFF.finditer(data) for number in range(4)]
        found += [(match.end() + number, 1, "<") for match in RIFF.finditer(data) for number in range(18)]
    elif kind == "gif":
        found = [(6, 2, "<"), (8, 2, "<"), (10, 1, "<")]
        for at in marks(original)[2:]:
            found += [(at + each, 2, "<") for each in (1, 3, 5, 7)] + [(at + each, 1, "<") for each in (2, 9, 10, 11)]
    elif kind == "bmp":
        found = [(2 + 4 * number, 4, "<") for number in range(13)] + [(26, 2, "<"), (28, 2, "<")]
    elif kind == "tiff":
        order, start = ("<" if data[:2] == b"II" else ">"), tiff_directory(data)
        count = struct.unpack_from(f"{order}H", data, start)[0]
        found = [(4, 4, order), (start, 2, order)]
        for at in range(start + 2, start + 2 + 12 * count, 12):
            found += [(at, 2, order), (at + 2, 2, order), (at + 4, 4, order), (at + 8, 4, order)]
    else:
        found = [(at, size, "<") for size in (1, 2, 4) for at in range(0, 64, size)]
    return [field for field in found if field[0] >= 0 and field[0] + field[1] <= len(data)]


def size_fields(original: Original) -> list[list[Field]]:
    """Where the file says its columns and its rows, a list for each place that says them."""
    data, kind = original.data, original.kind
    if kind == "png":
        return [[(16, 4, ">"), (20, 4, ">")]]
    if kind == "jpeg":
        found = [[(at + 7, 2, ">"), (at + 5, 2, ">")] for at, marker in jpeg_segments(data) if marker in (0xC0, 0xC2)]
        return found + [[(at + 6, 4, ">"), (at + 10, 4, ">")] for at, marker in jpeg_segments(data) if marker == 0x51]
    if kind == "boxes":
        found = [[(m.end() + 4, 4, ">"), (m.end() + 8, 4, ">")] for m in re.finditer(b"ispe", data)]
        found += [[(m.end() + 4, 4, ">"), (m.end(), 4, ">")] for m in re.finditer(b"ihdr", data)]
        return found + [[(m.end() + 4, 4, ">"), (m.end() + 8, 4, ">")] for m in re.finditer(rb"\xff\x51", data)]
    if kind == "gif":
        return [
            [(6, 2, "<"), (8, 2, "<")],
            *([(at + 5, 2, "<"), (at + 7, 2, "<")] for at in marks(original) if data[at] == 0x2C),
        ]
    if kind == "riff":
        found = [[(m.end() + 8, 3, "<"), (m.end() + 11, 3, "<")] for m in re.finditer(b"VP8X", data)]
        found += [[(m.end() + 10, 2, "<"), (m.end() + 12, 2, "<")] for m in re.finditer(b"VP8 ", data)]
        return found + [[(m.end() + 5, 2, "<"), (m.end() + 6, 2, "<")] for m in re.finditer(b"VP8L", data)]
    if kind == "bmp":
        return [[(18, 4, "<"), (22, 4, "<")]]
    if kind == "tiff":
        order = "<" if data[:2] == b"II" else ">"
        places = {
            struct.unpack_from(f"{order}H", data, at)[0]: at for at, size, _ in fields(original)[2::4] if size == 2
        }  # each entry has four fields
        return [[(places[256] + 8, 4, order), (places[257] + 8, 4, order)]]
    return {
        ".tga": [[(12, 2, "<"), (14, 2, "<")]],
        ".pcx": [[(8, 2, "<"), (10, 2, "<")]],
        ".ico": [[(6, 1, "<"), (7, 1, "<")]],
    }.get(original.suffix, [])


# --- damage -------------------------------------------------------------------------------------------------------------


def put(data: bytes, field: Field, value: int) -> bytes:
    at, size, order = field
    whole = (value % (1 << (8 * size))).to_bytes(size, "big" if order == ">" else "little")
    return data[:at] + whole + data[at + size :]


def block(data: bytes, drawn: random.Random) -> tuple[int, int]:
    """A part of it: where it begins and ends."""
    start = drawn.randrange(len(data))
    return start, min(len(data), start + drawn.choice((1, 2, 7, 64, 500, len(data) // 3)))


Mutation = Callable[[Original, random.Random], bytes]


def bits(original: Original, drawn: random.Random) -> bytes:
    found = bytearray(original.data)
    for _ in range(drawn.choice((1, 2, 8, 40))):
        found[drawn.randrange(len(found))] ^= 1 << drawn.randrange(8)
    return bytes(found)


def head_bits(original: Original, drawn: random.Random) -> bytes:
    found = bytearray(original.data)
    for _ in range(drawn.choice((1, 2, 4))):
        found[drawn.randrange(min(400, len(found)))] ^= 1 << drawn.randrange(8)
    return bytes(found)


def changed(original: Original, drawn: random.Random) -> bytes:
    start, end = block(original.data, drawn)
    return original.data[:start] + drawn.randbytes(end - start) + original.data[end:]


def cut_out(original: Original, drawn: random.Random) -> bytes:
    start, end = block(original.data, drawn)
    return original.data[:start] + original.data[end:]


def inserted(original: Original, drawn: random.Random) -> bytes:
    at = drawn.randrange(len(original.data))
    return original.data[:at] + drawn.randbytes(drawn.choice((1, 2, 9, 300))) + original.data[at:]


def repeated(original: Original, drawn: random.Random) -> bytes:
    start, end = block(original.data, drawn)
    return original.data[:end] + original.data[start:end] * drawn.choice((1, 3, 20)) + original.data[end:]


def part_repeated(original: Original, drawn: random.Random) -> bytes:
    """A whole part, from one mark to the next, many times."""
    places = [*marks(original), len(original.data)]
    number = drawn.randrange(len(places) - 1)
    part = original.data[places[number] : places[number + 1]]
    return original.data[: places[number]] + part * drawn.choice((2, 5, 60)) + original.data[places[number + 1] :]


def exchanged(original: Original, drawn: random.Random) -> bytes:
    a, b, c = sorted(drawn.randrange(len(original.data)) for _ in range(3))
    return original.data[:a] + original.data[b:c] + original.data[a:b] + original.data[c:]


def wiped(original: Original, drawn: random.Random) -> bytes:
    start, end = block(original.data, drawn)
    return original.data[:start] + drawn.choice((b"\0", b"\xff")) * (end - start) + original.data[end:]


def cut_off(original: Original, drawn: random.Random) -> bytes:
    return original.data[: drawn.randrange(1, len(original.data))]


def cut_at_mark(original: Original, drawn: random.Random) -> bytes:
    at = drawn.choice(marks(original)) + drawn.choice((0, 1, 2, 4, 6, 8, 11))
    return original.data[:at]


def extreme(original: Original, drawn: random.Random) -> bytes:
    """One to three fields with values that no file has."""
    data = original.data
    for field in drawn.sample(fields(original), drawn.choice((1, 1, 2, 3))):
        top = 1 << (8 * field[1])
        data = put(data, field, drawn.choice((0, 1, 2, top - 1, top // 2, top // 2 - 1, top // 16, 255, 65536, 1000)))
    if original.kind == "png" and drawn.random() < 0.8:
        data = with_checksums(data)
    return data


CLAIMS = (
    *((65535, 65535), (65535, 1), (1, 65535), (2**31 - 1, 2**31 - 1), (2**24, 10), (0, 0), (30000, 3), (13000, 13000)),
    *((65500, 300), (3000, 3000), (133, 100), (132, 101), (16384, 1000), (500, 500), (2**24, 2**24), (1, 1)),
)
"""Columns and rows."""


def bomb(original: Original, drawn: random.Random) -> bytes:
    """A size that claims up to the limit of pixels, or far more."""
    width, height = drawn.choice(CLAIMS)
    if original.kind == "text":
        return re.sub(rb"(?<=^P\d)(\s+)\d+\s+\d+", rb"\g<1>%d %d" % (width, height), original.data, count=1)
    data = original.data
    for columns, rows in size_fields(original):
        data = put(put(data, columns, width), rows, height)
    return with_checksums(data) if original.kind == "png" else data


def joined(original: Original, drawn: random.Random) -> bytes:
    """The beginning of a file, and the end of one of another format."""
    other = drawn.choice(OTHERS)
    return original.data[: drawn.randrange(1, len(original.data))] + other[drawn.randrange(len(other)) :]


def lengthened(original: Original, drawn: random.Random) -> bytes:
    return original.data + drawn.choice((b"\0" * 1000, drawn.randbytes(300), original.data))


def preceded(original: Original, drawn: random.Random) -> bytes:
    return drawn.choice((b"\0", b"\r\n", b"\xef\xbb\xbf", drawn.randbytes(20))) + original.data


def as_text(original: Original, drawn: random.Random) -> bytes:
    """A copy in text mode."""
    return drawn.choice((original.data.replace(b"\n", b"\r\n"), original.data.replace(b"\r\n", b"\n"), original.data.rstrip()))


def nothing(original: Original, drawn: random.Random) -> bytes:
    return drawn.choice((b"", b"\0", b"\0" * len(original.data), b"hello"))


def other_ending(original: Original, drawn: random.Random) -> bytes:
    """A good file; its name is changed where it is written."""
    return original.data


MUTATIONS: tuple[Mutation, ...] = (
    *(bits, head_bits, changed, cut_out, inserted, repeated, part_repeated, exchanged, wiped, cut_off, cut_at_mark, extreme),
    *(extreme, bomb, joined, lengthened, preceded, as_text, nothing, other_ending, cut_at_mark, extreme),
)

OTHERS: list[bytes] = []
"""What other formats hold; filled by `damaged`."""


def damaged(count: int, seed: int) -> Iterator[tuple[str, bytes]]:
    """Name and content of each file; every format meets every kind of damage in turn."""
    drawn, good = random.Random(seed), originals()
    OTHERS[:] = [each.data for each in good]
    suffixes = sorted({each.suffix for each in good})
    pairs = [(original, mutation) for mutation in MUTATIONS for original in good]
    drawn.shuffle(pairs)  # so that a few are of all kinds
    for number, (original, mutation) in zip(range(count), itertools.cycle(pairs), strict=False):
        suffix = drawn.choice(suffixes) if mutation is other_ending else original.suffix
        yield f"{number:05d}-{original.name}-{mutation.__name__}{suffix}", mutation(original, drawn)


def write_set(folder: Path, count: int, seed: int) -> int:
    """Writes damaged files, and half as many good ones, into a folder of classes; returns the number of good ones."""
    good = originals()
    for number, (name, data) in enumerate(damaged(count, seed)):
        place = folder / ("val" if number % 5 == 0 else "train") / ("a" if number % 2 else "b")
        place.mkdir(parents=True, exist_ok=True)
        (place / name).write_bytes(data)
    for number in range(max(len(good), count // 2)):
        each = good[number % len(good)]
        place = folder / ("val" if number % 5 == 0 else "train") / ("a" if number % 2 else "b")
        (place / f"good-{number:05d}-{each.name}{each.suffix}").write_bytes(each.data)
    return max(len(good), count // 2)


# --- reading, in a process of its own -----------------------------------------------------------------------------------


def decoded(data: bytes, name: str, at_least: int | None) -> None:
    """Decodes a picture, and checks what comes."""
    from paretina.data.decode import decode

    image = decode(data, name, at_least)
    if str(image.dtype) != "torch.uint8" or image.ndim != 3 or image.shape[0] != 3 or min(image.shape) < 1:
        raise AssertionError(f"{name} gives {image.dtype} {tuple(image.shape)}")


def all_levels(data: bytes, name: str, at_least: int | None) -> None:
    """Decodes a picture at each size that a crop may be cut from, and checks what comes."""
    from paretina.data.decode import CodedLevels
    from paretina.data.levels import copies_for

    levels = CodedLevels(data, name, at_least)
    for halvings in range(copies_for(levels.height, levels.width, SIDE) + 1):
        shape, wanted = levels.level(halvings).shape, tuple(-(-side >> halvings) for side in (levels.height, levels.width))
        if tuple(shape) != (3, *wanted):
            raise AssertionError(f"{name} gives {tuple(shape)}, halved {halvings} times, for {levels.height} x {levels.width}")


def fault(name: str, read: Callable[[], None]) -> str:
    """Why a picture cannot be read; "" if it can. Any other error goes on."""
    from paretina.data.decode import DecodeError

    try:
        read()
    except DecodeError as error:
        before, _, reason = str(error).partition(f"{name}: ")
        if before or not reason.strip():
            raise AssertionError(f"{name}: {error} does not name it, or has no reason") from error
        return reason
    return ""


def one_by_one(folder: Path, at: Path) -> dict[str, str]:
    """Why each file cannot be read, by name; each is read at every scale, which must agree.

    Args:
        at: is written to before each file, so that one that ends the process is known.
    """
    faults: dict[str, str] = {}
    slowest = (0.0, "")
    for path in sorted(each for each in folder.rglob("*") if each.is_file()):
        name = str(path.relative_to(folder))
        at.write_text(name)
        faulthandler.dump_traceback_later(FILE_S, exit=True)
        data, began = path.read_bytes(), time.monotonic()
        said: dict[str, str] = {}
        for at_least in (None, SIDE, 2 * SIDE, 10**6):
            said[f"decode {at_least}"] = fault(name, lambda: decoded(data, name, at_least))  # noqa: B023
            said[f"levels {at_least}"] = fault(name, lambda: all_levels(data, name, at_least))  # noqa: B023
            if time.monotonic() - began > LONG_S:
                break
        faulthandler.cancel_dump_traceback_later()
        slowest = max(slowest, (time.monotonic() - began, name))
        verdicts = {bool(reason) for reason in said.values()}
        if len(verdicts) > 1:
            faults[name] = f"DISAGREES {said}"
        elif said["decode None"]:
            faults[name] = said["decode None"]
    at.with_name("slowest.txt").write_text(f"{slowest[0]:.1f} s for {slowest[1]}, read in up to eight ways")
    return faults


def by_loader(folder: Path, at: Path) -> dict[str, str]:
    """As `train` where pictures do not fit into memory: decoded by the workers, as crops, at rising sizes."""
    from paretina.clock import START
    from paretina.data.loader import training_batches
    from paretina.data.pictures import read_pictures
    from paretina.data.sampler import Request
    from paretina.data.sources.folder import Folder
    from paretina.data.transform import Look
    from paretina.data.transforms.crop import RandomResizedCrop
    from paretina.data.transforms.flip import HorizontalFlip

    collection = Folder(path=str(folder)).open()
    faults: dict[str, str] = {}
    for split in ("train", "val"):
        shown = read_pictures(collection, collection.split(split), at_least=4 * SIDE, budget=0, smallest=SIDE)
        faults |= shown.damaged
        requests = [
            [Request(index, 1000 * turn + index, START, size) for index in range(start, min(len(shown), start + 16))]
            for turn, size in enumerate((SIDE, 2 * SIDE, 3 * SIDE))
            for start in range(0, len(shown), 16)
        ]
        looks = (Look((RandomResizedCrop(), HorizontalFlip())),)
        for loaded in training_batches(shown, looks, iter(requests), len(collection.classes), workers=2):
            for fault in loaded.faults:
                faults.setdefault(fault.partition(": ")[0], f"only when its crop was read: {fault}")
    return faults


ALONE = {"one by one": one_by_one, "loader": by_loader}


# --- all ways -----------------------------------------------------------------------------------------------------------


@dataclass
class Way:
    """What became of one way to read the set.

    Attributes:
        faults: why a picture cannot be read, by its name in the set.
        trouble: sentences about what must not happen.
        lines: that the libraries wrote to standard error.
    """

    name: str
    faults: dict[str, str]
    trouble: list[str]
    seconds: float
    memory_mb: float
    lines: int = 0


def started(command: list[str], folder: Path, limit_s: float) -> tuple[int, str, str, float, float]:
    """Exit code (negative for a signal), outputs, seconds, and megabytes at most of the process or one that it started."""
    environment = {**os.environ, "PARETINA_CACHE": str(folder / "cache"), "OMP_NUM_THREADS": "1"}
    began = time.monotonic()
    with (folder / "out.txt").open("w+") as out, (folder / "err.txt").open("w+") as err:
        process = subprocess.Popen(command, stdout=out, stderr=err, env=environment, cwd=folder)
        while True:
            done, status, used = os.wait4(process.pid, os.WNOHANG)
            if done:
                break
            if time.monotonic() - began > limit_s:
                process.kill()
            time.sleep(0.02)
        process.returncode = os.waitstatus_to_exitcode(status)
        seconds = time.monotonic() - began
        said = [(out.seek(0), out.read())[1], (err.seek(0), err.read())[1]]
    scale = 1 if sys.platform == "darwin" else 1024
    return process.returncode, said[0], said[1], seconds, used.ru_maxrss * scale / 1e6


def read_in_all_ways(folder: Path, limit_s: float, base_mb: float) -> list[Way]:
    """Reads the set in `folder / "set"`."""
    from paretina.data.pictures import memory_budget

    paretina = [sys.executable, "-m", "paretina"]
    data = folder / "set"
    ways = []

    def way(name: str, command: list[str], codes: tuple[int, ...], faults: Callable[[str], dict[str, str]]) -> None:
        code, out, err, seconds, memory = started(command, folder, limit_s)
        trouble = []
        if code not in codes:
            last = (folder / "at.txt").read_text() if name in ALONE and (folder / "at.txt").exists() else ""
            trouble.append(f"ended with {code}{f' at {last}' if last else ''}: {err[-1500:]}")
        if "Traceback" in err:
            trouble.append(f"has a traceback: {err[-1500:]}")
        kept_mb = memory_budget() / 1e6 if name == "train" else 0.0  # it may keep what it has decoded
        if memory > base_mb + MEMORY_MB + kept_mb:
            trouble.append(f"took {memory:.0f} MB")
        found = {} if trouble else faults(out)
        trouble += [f"{each} has no reason" for each, reason in found.items() if not reason.strip()]
        trouble += [
            f"{each}: {reason}" for each, reason in found.items() if reason.startswith(("DISAGREES", "only when", "became"))
        ]
        ways.append(Way(name, found, trouble, seconds, memory, len(err.splitlines())))

    for name in ALONE:
        way(name, [sys.executable, __file__, "--way", name, str(folder)], (0,), json.loads)
    way("data check", [*paretina, "data", "check", str(data), "--json"], (1,), lambda out: json.loads(out)["faults"])
    for name, more in {"train": [], "train, cache": ["--cache-gb", "2"], "train, cached": ["--cache-gb", "2"]}.items():
        run = folder / name.replace(", ", "-")
        command = [*paretina, "train", str(data), *TRAIN, *more, "-o", str(run)]
        way(
            name,
            command,
            (0,),
            lambda _, run=run: {  # type: ignore[misc]
                each["name"]: each["reason"] for each in json.loads((run / "result.json").read_text())["data"]["damaged"]
            },
        )
    way(
        "predict",
        [*paretina, "predict", "train", str(data), "--json"],
        (0, 1),
        lambda out: {os.path.relpath(name, data): reason for name, reason in json.loads(out)["damaged"].items()},
    )
    return ways


def measure(folder: Path, count: int, seed: int) -> list[str]:
    """Makes the set, reads it in all ways, and prints what was found; returns what must not be."""
    (folder / "set").mkdir(parents=True)
    good = write_set(folder / "set", count, seed)
    _, _, _, _, base = started([sys.executable, "-c", "import paretina.verbs"], folder, 300)
    ways = read_in_all_ways(folder, 60 + 0.5 * (count + good), base)
    kinds = f"{len(originals())} kinds of file, {len(set(MUTATIONS))} kinds of damage, seed {seed}"
    print(f"{count:,} damaged files ({kinds}), and {good:,} good ones")
    print(f"{'way':<14}{'cannot be read':>15}{'good ones':>10}{'s':>8}{'MB':>7}{'over imports':>14}  lines on stderr")
    trouble = []
    for way in ways:
        lost = sum("good-" in name for name in way.faults)
        print(
            f"{way.name:<14}{len(way.faults):>15,}{lost:>10}{way.seconds:>8.1f}{way.memory_mb:>7.0f}"
            f"{way.memory_mb - base:>14.0f}  {way.lines}"
        )
        trouble += [f"{way.name}: {each}" for each in way.trouble]
        trouble += [
            f"{way.name}: the good file {name} was refused: {why}" for name, why in way.faults.items() if "good-" in name
        ]
    first = ways[0]
    for other in ways[1:]:
        if other.trouble and not other.faults:
            continue
        for name in sorted(first.faults.keys() ^ other.faults.keys()):
            trouble.append(
                f"{name}: {first.name} says {first.faults.get(name, 'fine')!r}, {other.name} {other.faults.get(name, 'fine')!r}"
            )
    reasons = Counter(re.sub(r"\d[\d,.]*|'.*'|\(.*\)", "#", reason)[:60] for reason in first.faults.values())
    print(f"{len(reasons)} kinds of reasons; the most frequent:")
    for reason, times in reasons.most_common(8):
        print(f"{times:>7,}  {reason}")
    readable = count - sum("good-" not in name for name in first.faults)
    print(f"{readable:,} damaged files can still be read, in all ways")
    print(f"slowest: {(folder / 'slowest.txt').read_text()}")
    for each in trouble[:40]:
        print(f"NOT AS IT SHOULD BE: {each}")
    print(f"{len(trouble)} things are not as they should be" if trouble else "no crash, no hang, each named, all ways agree")
    return trouble


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=2000, help="damaged files")
    parser.add_argument("--seed", type=int, default=0, help="of the damage")
    parser.add_argument("--keep", type=Path, help="folder for the set and what is made of it; default: a temporary one")
    parser.add_argument("--way", nargs=2, metavar=("WAY", "FOLDER"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.way:
        folder = Path(options.way[1])
        print(json.dumps(ALONE[options.way[0]](folder / "set", folder / "at.txt")))
        return
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.keep or Path(temporary)
        if folder.exists() and any(folder.iterdir()):
            sys.exit(f"{folder} is not empty")
        if measure(folder, options.count, options.seed):
            sys.exit(1)


if __name__ == "__main__":
    main()
