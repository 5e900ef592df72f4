import io
import math
import struct
import subprocess
import sys
import threading
import warnings
import zlib

import numpy as np
import PIL.Image
import PIL.ImageOps
import pytest
import tifffile
import torch

import paretina.data.decode as decoding
from paretina.data.decode import DecodeError, decode
from paretina.data.remarks import remarks_heard
from paretina.data.tiff_errors import LISTENING


def saved(image, kind="PNG", **options):
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def png(width, height, depth, kind, rows, interlace=0, **more):
    """A PNG by its parts; `rows` are those of the picture, each behind the number of its filter."""

    def chunk(name, body):
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, kind, 0, 0, interlace))
    extra = b"".join(chunk(name.encode(), body) for name, body in more.items())
    return b"\x89PNG\r\n\x1a\n" + header + extra + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def noise(height=5, width=7, channels=3):
    return np.random.default_rng(0).integers(0, 256, (height, width, channels), np.uint8)


def smooth(height, width):
    ramp = np.add.outer(np.arange(height), np.arange(width)) * 255 // (height + width)
    return PIL.Image.fromarray(np.stack([ramp, ramp[::-1], ramp[:, ::-1]], axis=2).astype(np.uint8))


def numbers(image):
    return image.permute(1, 2, 0).numpy()


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF", "PPM", "TGA"])
def test_gives_the_pixels_of_a_lossless_file(kind):
    image = decode(saved(PIL.Image.fromarray(noise()), kind), "a")
    assert image.dtype == torch.uint8
    assert image.shape == (3, 5, 7)
    np.testing.assert_array_equal(numbers(image), noise())


def test_lossy_files_come_close():
    for kind in ("JPEG", "WEBP"):
        image = decode(saved(smooth(40, 60), kind, quality=95), "a")
        assert np.abs(numbers(image).astype(int) - np.asarray(smooth(40, 60)).astype(int)).mean() < 3


def test_grey_is_repeated():
    image = decode(saved(PIL.Image.fromarray(noise()[:, :, 0])), "a")
    for channel in image:
        np.testing.assert_array_equal(channel.numpy(), noise()[:, :, 0])


def test_one_bit_becomes_black_and_white():
    assert decode(saved(PIL.Image.new("1", (2, 2), 1)), "a").unique().tolist() == [255]


def test_alpha_lies_on_white():
    # a quarter opaque: 0.25 * (200, 100, 0) + 0.75 * 255 = (241, 216, 191), with alpha 64/255 = 0.251
    image = decode(saved(PIL.Image.new("RGBA", (1, 1), (200, 100, 0, 64))), "a")
    alpha = 64 / 255
    wanted = [round(alpha * colour + (1 - alpha) * 255) for colour in (200, 100, 0)]
    assert (image.flatten() - torch.tensor(wanted)).abs().max() <= 1
    assert decode(saved(PIL.Image.new("RGBA", (1, 1), (0, 0, 0, 0))), "a").unique().tolist() == [255]
    assert decode(saved(PIL.Image.new("LA", (1, 1), (0, 0))), "a").unique().tolist() == [255]


def test_palettes_are_looked_up_and_their_transparent_entries_are_white():
    image = PIL.Image.new("P", (3, 1))
    image.putpalette([255, 0, 0, 0, 0, 255, 0, 255, 0])
    image.putdata([0, 1, 2])
    assert numbers(decode(saved(image), "a"))[0].tolist() == [[255, 0, 0], [0, 0, 255], [0, 255, 0]]
    for kind in ("PNG", "GIF"):
        seen = numbers(decode(saved(image, kind, transparency=1), "a"))[0].tolist()
        assert seen == [[255, 0, 0], [255, 255, 255], [0, 255, 0]]
    graded = numbers(decode(saved(image, transparency=bytes([255, 255, 0])), "a"))[0].tolist()
    assert graded == [[255, 0, 0], [0, 0, 255], [255, 255, 255]]


def test_a_colour_that_stands_for_transparent_is_white():
    image = PIL.Image.new("RGB", (2, 1), (1, 2, 3))
    image.putpixel((1, 0), (9, 9, 9))
    assert numbers(decode(saved(image, transparency=(1, 2, 3)), "a"))[0].tolist() == [[255, 255, 255], [9, 9, 9]]


def test_cmyk_becomes_rgb():
    for colour, wanted in (((0, 0, 0, 0), 255), ((0, 0, 0, 255), 0)):
        image = decode(saved(PIL.Image.new("CMYK", (8, 8), colour), "JPEG"), "a")
        assert image.unique().tolist() == [wanted]


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "PPM"])
def test_sixteen_bits_are_scaled_not_clipped(kind):
    # 65535 / 255 = 257, so 257 k -> k; 128 rounds down to 0 and 129 up to 1
    values = np.array([[0, 257, 32896, 65535, 128, 129]], np.uint16)
    image = decode(saved(PIL.Image.fromarray(values), kind), "a")
    assert image[0, 0].tolist() == [0, 1, 128, 255, 0, 1]
    assert torch.equal(image[0], image[2])


def test_floats_mean_zero_to_one_or_zero_to_255():
    def seen(*values):
        return decode(saved(PIL.Image.fromarray(np.array([values], np.float32)), "TIFF"), "a")[0, 0].tolist()

    assert seen(0.0, 0.5, 1.0) == [0, 128, 255]
    assert seen(0.0, 0.6, 200.4) == [0, 1, 200]


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        (np.array([[0, 70000]], np.int32), "from 0 to 70000; pictures of whole numbers must lie in 0 to 65535"),
        (np.array([[-1.0, 3.0]], np.float32), "from -1 to 3; float pictures must lie in 0 to 1"),
        (np.array([[0.0, np.nan]], np.float32), "not finite"),
    ],
)
def test_values_without_a_plain_meaning_are_refused(values, reason):
    with pytest.raises(DecodeError, match=f"^scan.tif: .*{reason}"):
        decode(saved(PIL.Image.fromarray(values), "TIFF"), "scan.tif")


# --- TIFF -----------------------------------------------------------------------------------------------------------------


def tiff(values, **options):
    file = io.BytesIO()
    tifffile.imwrite(file, values, metadata=None, **options)
    return file.getvalue()


SHADES = np.random.default_rng(1).random((19, 13, 3))
"""Colours from 0 for black to 1 for white."""


@pytest.mark.parametrize("compression", [None, "zlib"])
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("kind", ["bool", "uint8", "uint16", "float32"])
@pytest.mark.parametrize("meaning", ["minisblack", "miniswhite"])
def test_grey_tiffs_are_the_right_way_round(meaning, kind, order, compression):
    shades = SHADES[:, :, 0] > 0.5 if kind == "bool" else SHADES[:, :, 0]
    top = 1 if kind in ("bool", "float32") else np.iinfo(kind).max
    stored = np.round(shades * top) if kind.startswith("u") else shades
    try:
        data = tiff(stored.astype(kind), photometric=meaning, byteorder=order, compression=compression)
    except ValueError as error:  # single bits that are compressed
        pytest.skip(str(error))
    wanted = 255 * (shades if meaning == "minisblack" else 1 - shades)
    seen = numbers(decode(data, "a"))
    np.testing.assert_allclose(seen, np.repeat(wanted[:, :, None], 3, axis=2), atol=1)
    np.testing.assert_array_equal(seen[:, :, 0], seen[:, :, 2])


@pytest.mark.parametrize("compression", [None, "zlib"])
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("kind", ["uint8", "uint16"])
@pytest.mark.parametrize("planes", ["contig", "separate"])
@pytest.mark.parametrize("alpha", ["none", "unassalpha", "assocalpha"])
@pytest.mark.parametrize("layout", [{"rowsperstrip": 5}, {"tile": (16, 16)}], ids=["strips", "tiles"])
def test_colour_tiffs_of_each_layout(layout, alpha, planes, kind, order, compression):
    top = np.iinfo(kind).max
    cover = 0.75
    colours, extra = SHADES, {}
    if alpha != "none":
        stored = SHADES * (cover if alpha == "assocalpha" else 1)
        colours, extra = np.concatenate([stored, np.full((19, 13, 1), cover)], axis=2), {"extrasamples": [alpha]}
    stored = np.round(colours * top).astype(kind)
    if planes == "separate":
        stored = np.moveaxis(stored, 2, 0)
    data = tiff(stored, photometric="rgb", planarconfig=planes, byteorder=order, compression=compression, **extra, **layout)
    wanted = 255 * (SHADES if alpha == "none" else cover * SHADES + 1 - cover)
    if (alpha, planes, compression) == ("assocalpha", "separate", None):
        with pytest.raises(DecodeError, match="a: a kind of TIFF that is not read here"):
            decode(data, "a")
        return
    np.testing.assert_allclose(numbers(decode(data, "a")), wanted, atol=2)


def test_a_tiff_of_twelve_bits_is_bright():
    # two values in three bytes: 0xfff, 0x800 -> 255, 2048 * 255 / 4095 = 127.5
    data = bytearray(tiff(np.zeros((1, 3), np.uint8), photometric="minisblack", byteorder="<"))
    with PIL.Image.open(io.BytesIO(bytes(data))) as image:
        start = image.tag_v2[273][0]
    data[start : start + 3] = b"\xff\xf8\x00"
    patch(data, {256: 2, 258: 12})
    with remarks_heard() as heard:
        assert decode(bytes(data), "a")[0].flatten().tolist() in ([255, 127], [255, 128])
    assert heard == []


def patch(data, tags):
    """Writes other numbers into the first directory of a little-endian TIFF."""
    (at,) = struct.unpack_from("<I", data, 4)
    (count,) = struct.unpack_from("<H", data, at)
    for entry in range(at + 2, at + 2 + 12 * count, 12):
        tag, kind = struct.unpack_from("<HH", data, entry)
        if tag in tags:
            struct.pack_into("<H" if kind == 3 else "<I", data, entry + 8, tags[tag])


def test_tiffs_of_other_numbers_say_what_was_taken_for_white_or_are_refused():
    def seen(values, **options):
        with remarks_heard() as heard:
            return decode(tiff(np.array([values]), photometric="minisblack", **options), "a")[0, 0].tolist(), heard

    for order in "<>":
        for compression in (None, "zlib"):
            options = {"byteorder": order, "compression": compression}
            values, heard = seen(np.array([0, 25700, 32639], np.int16), **options)
            assert (values, heard) == ([0, 100, 127], ["16-bit signed numbers, of which 65,535 was taken for white"])
            values, heard = seen(np.array([0, 25700, 65535], np.int32), **options)
            assert (values, heard) == ([0, 100, 255], ["32-bit signed numbers, of which 65,535 was taken for white"])
            for refused in (np.array([-1, 5], np.int16), np.array([0, 70000], np.int32), np.array([-3.0, 5], np.float32)):
                with pytest.raises(DecodeError, match=r"a: holds values from "):
                    seen(refused, **options)
            with pytest.raises(DecodeError, match="a: has signed 8-bit samples"):
                seen(np.array([-1, 5], np.int8), **options)
            for refused in (np.array([0, 1], np.float64), np.array([0, 1], np.float16), np.array([0, 1], np.uint64)):
                with pytest.raises(
                    DecodeError, match="a: a kind of TIFF that is not read here; save it as RGB or grey of 8 or 16"
                ):
                    seen(refused, **options)
    values, heard = seen(np.array([0, 25700, 65535], np.uint32), byteorder="<")
    assert (values, heard) == ([0, 100, 255], ["32-bit numbers, of which 65,535 was taken for white"])


# --- transparency -----------------------------------------------------------------------------------------------------------


GREY, COLOUR = 0, 2  # colour types of PNG


@pytest.mark.parametrize(
    ("depth", "kind", "pixels", "clear", "wanted"),
    [
        (1, GREY, bytes([0b01000000]), (0,), [255, 255]),
        (1, GREY, bytes([0b01000000]), (1,), [0, 255]),
        (2, GREY, bytes([0b01100000]), (1,), [255, 170]),
        (4, GREY, bytes([0x56]), (5,), [255, 102]),
        (4, GREY, bytes([0x56]), (7,), [85, 102]),
        (8, GREY, bytes([5, 6]), (6,), [5, 255]),
        (16, GREY, struct.pack(">2H", 25700, 25701), (25700,), [255, 100]),
        (16, GREY, struct.pack(">2H", 25700, 25701), (100,), [100, 100]),
        (8, COLOUR, bytes([5, 6, 7, 5, 6, 8]), (5, 6, 7), [(255, 255, 255), (5, 6, 8)]),
        (16, COLOUR, struct.pack(">6H", 25700, 257, 514, 25700, 257, 515), (25700, 257, 514), [(255,) * 3, (100, 1, 2)]),
        (16, COLOUR, struct.pack(">6H", 25700, 257, 514, 1, 2, 3), (100, 1, 2), [(100, 1, 2), (0, 0, 0)]),
        (16, COLOUR, struct.pack(">6H", 1, 2, 3, 1, 2, 3), (1, 2, 3), [(255,) * 3, (255,) * 3]),
    ],
)
def test_the_value_that_stands_for_transparent_is_compared_with_all_of_its_bits(depth, kind, pixels, clear, wanted):
    data = png(2, 1, depth, kind, b"\0" + pixels, tRNS=struct.pack(f">{len(clear)}H", *clear))
    seen = numbers(decode(data, "a"))[0].tolist()
    assert seen == [[value] * 3 if isinstance(value, int) else list(value) for value in wanted]


def test_an_interlaced_picture_has_the_same_transparency():
    values = np.arange(64, dtype=">u2").reshape(8, 8, 1) * 512 + np.array([0, 1, 2])
    values = values.astype(">u2")
    passes = [(0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1)]
    rows = [b"\0" + row.tobytes() for y, x, dy, dx in passes for row in values[y::dy, x::dx]]
    clear = struct.pack(">3H", *values[3, 5].tolist())
    plain = png(8, 8, 16, COLOUR, b"".join(b"\0" + row.tobytes() for row in values), tRNS=clear)
    interlaced = png(8, 8, 16, COLOUR, b"".join(rows), tRNS=clear, interlace=1)
    seen = numbers(decode(plain, "a"))
    assert (seen == 255).all(axis=2).sum() == 1
    assert (seen[3, 5] == 255).all()
    np.testing.assert_array_equal(numbers(decode(interlaced, "a")), seen)


def test_alpha_of_each_mode_lies_on_white():
    # half covered: 128 / 255 of the colour and 127 / 255 of white; (200, 100, 0) -> (227, 177, 127), grey 100 -> 177
    for data in (
        png(1, 1, 16, 4, b"\0" + struct.pack(">2H", 25700, 32896)),
        png(1, 1, 8, 4, b"\0" + bytes([100, 128])),
        saved(PIL.Image.new("LA", (1, 1), (100, 128)), "TIFF"),
        tiff(np.array([[[50, 128]]], np.uint8), photometric="minisblack", planarconfig="contig", extrasamples=["assocalpha"]),
    ):
        assert (decode(data, "a").flatten() - 177).abs().max() <= 1
    for data in (
        png(1, 1, 16, 6, b"\0" + struct.pack(">4H", 51400, 25700, 0, 32896)),
        tiff(np.array([[[100, 50, 0, 128]]], np.uint8), photometric="rgb", extrasamples=["assocalpha"]),
        tiff(np.array([[[200, 100, 0, 128]]], np.uint8), photometric="rgb", extrasamples=["unassalpha"]),
    ):
        assert (numbers(decode(data, "a"))[0, 0].astype(int) - [227, 177, 127]).max() <= 1


# --- fewer bits than the file has room for ----------------------------------------------------------------------------------


@pytest.mark.parametrize("bits", [8, 10, 12, 14])
def test_few_bits_in_sixteen_keep_their_scale_and_are_remarked_on(bits):
    top = (1 << bits) - 1
    grey = np.array([[0, top // 2, top]], np.uint16)
    colour = struct.pack(">6H", 0, top // 2, top, top, 0, 0)
    for data in (
        saved(PIL.Image.fromarray(grey)),
        tiff(grey, photometric="minisblack"),
        tiff(grey, photometric="miniswhite"),
        png(2, 1, 16, COLOUR, b"\0" + colour),
        tiff(np.frombuffer(colour, ">u2").reshape(1, 2, 3), photometric="rgb"),
        png(1, 1, 16, 4, b"\0" + struct.pack(">2H", top, 65535)),
        b"P5 3 1 65535\n" + grey.astype(">u2").tobytes(),
        b"P6 2 1 65535\n" + colour,
    ):
        with remarks_heard() as heard:
            image = decode(data, "a")
        turned = data[:4] == b"II*\0" and image.max() == 255
        assert abs(int(255 - image.min() if turned else image.max()) - top / 257) <= 1
        if bits > 8 or heard:  # Pillow keeps the upper byte of colours, which is zero for 8 bits
            assert len(heard) == 1
            assert f"of which the picture uses {bits}: nothing in it is brighter than {top:,}" in heard[0]


def test_a_file_that_says_how_many_bits_it_has_is_scaled_to_white():
    for top in (15, 255, 1023, 4095, 65535):
        values = np.array([0, top // 3, top], ">u2" if top > 255 else "u1").tobytes()
        with remarks_heard() as heard:
            assert decode(b"P5 3 1 %d\n" % top + values, "a")[0, 0].tolist() == [0, 85, 255]
            assert numbers(decode(b"P6 1 1 %d\n" % top + values, "a"))[0, 0].tolist() == [0, 85, 255]
        assert heard == []


def test_bright_black_and_eight_bit_pictures_are_not_remarked_on():
    with remarks_heard() as heard:
        for grey in (np.array([[0, 20000]], np.uint16), np.array([[0, 0]], np.uint16), np.array([[0, 9]], np.uint8)):
            decode(saved(PIL.Image.fromarray(grey)), "a")
        for colours in (struct.pack(">3H", 0, 20000, 0), bytes(6)):
            decode(png(1, 1, 16, COLOUR, b"\0" + colours), "a")
    assert heard == []


@pytest.mark.parametrize("kind", ["GIF", "PNG", "WEBP", "TIFF"])
def test_an_animation_shows_its_first_frame(kind):
    first, second = PIL.Image.new("RGB", (4, 4), "red"), PIL.Image.new("RGB", (4, 4), "blue")
    options = {"lossless": True} if kind == "WEBP" else {}
    image = decode(saved(first, kind, save_all=True, append_images=[second], **options), "a")
    assert numbers(image)[0, 0].tolist() == [255, 0, 0]


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "WEBP"])
@pytest.mark.parametrize("turned", range(1, 9))
def test_the_rotation_noted_by_the_camera_is_applied(turned, kind):
    exif = PIL.Image.Exif()
    exif[decoding.ORIENTATION] = turned
    data = saved(smooth(16, 32), kind, exif=exif)
    with PIL.Image.open(io.BytesIO(data)) as image:
        wanted = np.asarray(PIL.ImageOps.exif_transpose(image).convert("RGB"))
    assert wanted.shape == ((32, 16, 3) if turned >= 5 else (16, 32, 3))
    np.testing.assert_array_equal(numbers(decode(data, "a")), wanted)


def test_broken_exif_does_not_lose_the_picture():
    data = saved(smooth(8, 8), "JPEG", exif=b"Exif\0\0II*\0\xff\xff\xff\xff")
    assert decode(data, "a").shape == (3, 8, 8)


def test_a_draft_keeps_the_shorter_side():
    data = saved(smooth(200, 410), "JPEG")
    assert decode(data, "a").shape == (3, 200, 410)
    assert decode(data, "a", at_least=50).shape == (3, 50, 103)
    assert decode(data, "a", at_least=51).shape == (3, 100, 205)
    assert decode(data, "a", at_least=101).shape == (3, 200, 410)
    assert decode(saved(smooth(200, 410)), "a", at_least=50).shape == (3, 200, 410)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF"])
def test_a_truncated_file_is_named(kind):
    data = saved(PIL.Image.fromarray(noise(64, 64)), kind)
    for keep in (0.1, 0.6):
        with pytest.raises(DecodeError, match=r"^cats/one\.x: "):
            decode(data[: int(len(data) * keep)], "cats/one.x")


@pytest.mark.parametrize(("data", "reason"), [(b"", "the file is empty"), (b"hello" * 100, "not a picture in a known format")])
def test_what_is_no_picture_says_so(data, reason):
    with pytest.raises(DecodeError, match=f"^a: {reason}$"):
        decode(data, "a")


def test_formats_that_start_other_programs_are_not_read():
    with pytest.raises(DecodeError, match="not a picture in a known format"):
        decode(saved(PIL.Image.new("RGB", (4, 4)), "EPS"), "a.eps")


def png_of(width, height):
    return png(width, height, 8, 0, bytes(100))


def test_a_bomb_is_refused_whatever_the_limit_of_pillow_is(monkeypatch):
    with pytest.raises(DecodeError, match=r"^bomb: has more pixels than the limit of Pillow"):
        decode(png_of(40000, 40000), "bomb")
    monkeypatch.setattr(PIL.Image, "MAX_IMAGE_PIXELS", None)
    with pytest.raises(DecodeError, match=r"^bomb: is 40000 x 40000, over the limit of 178,956,970 pixels"):
        decode(png_of(40000, 40000), "bomb")


def test_a_picture_that_only_makes_pillow_warn_is_read_silently(monkeypatch):
    data = saved(PIL.Image.fromarray(noise(10, 10)))
    monkeypatch.setattr(PIL.Image, "MAX_IMAGE_PIXELS", 60)
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        assert decode(data, "a").shape == (3, 10, 10)
    assert seen == []


def test_a_picture_without_pixels_is_refused():
    with pytest.raises(DecodeError, match=r"^a: "):
        decode(png_of(0, 5), "a")


def test_leaves_the_filters_for_warnings_as_they_were_with_threads_too():
    data, before = saved(smooth(64, 64), "JPEG"), list(warnings.filters)
    start = threading.Barrier(8)

    def work():
        start.wait()
        for _ in range(20):
            decode(data, "a")

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert warnings.filters == before
    assert decoding.inside == 0


def test_other_warnings_still_speak_while_a_picture_is_decoded():
    with decoding.quiet_pillow(), pytest.warns(UserWarning, match="mine"):
        warnings.warn("mine", stacklevel=1)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "LA", "P", "1", "L", "CMYK", "I;16"])
def test_a_picture_that_is_converted_in_strips_is_the_same(mode, monkeypatch):
    pixels = PIL.Image.fromarray(noise(23, 17, 4), "RGBA")
    image = PIL.Image.fromarray(noise(23, 17)[:, :, 0].astype(np.uint16) * 250) if mode == "I;16" else pixels.convert(mode)
    data = saved(image, "TIFF" if mode == "CMYK" else "PNG")
    whole = decode(data, "a")
    monkeypatch.setattr(decoding, "STRIP", 17 * 5)
    assert torch.equal(decode(data, "a"), whole)
    assert decode(data, "a").stride() == whole.stride()


MEASURE = """
import os, resource, sys
os.cpu_count = lambda: 4
import numpy as np
from paretina.data import pictures as module
from paretina.data.decode import decode
from paretina.data.source import Collection, Sample

class Same(Collection):
    def image(self, sample, at_least=None):
        return decode(DATA, sample.name, at_least)

DATA = open(sys.argv[1], "rb").read()
module.GROUP = 1
small = Same(("a",), {})
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
read = module.read_pictures(small, tuple(Sample(str(i), 0) for i in range(4)), at_least=64, budget=0)
assert len(read) == 4, read.damaged
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="counts memory in its units")
@pytest.mark.parametrize(("depth", "kind", "size"), [(16, GREY, 2), (8, 6, 4)])
def test_pictures_just_under_the_limit_take_no_more_than_the_room(depth, kind, size, tmp_path):
    side = math.isqrt(decoding.MAX_PIXELS)
    (tmp_path / "large.png").write_bytes(png(side, side, depth, kind, bytes(side * (1 + side * size))))
    (tmp_path / "measure.py").write_text(MEASURE)
    found = subprocess.run(
        [sys.executable, str(tmp_path / "measure.py"), str(tmp_path / "large.png")], capture_output=True, text=True, check=True
    )
    # one is decoded at a time, and the other three threads may still hold the pixels of their last
    assert int(found.stdout) < decoding.ROOM.size + 3 * 3 * decoding.MAX_PIXELS


# --- HEIC -----------------------------------------------------------------------------------------------------------------


def heic(rows=48, columns=64, **options):
    import pillow_heif

    ramp = np.stack(
        [np.linspace(0, 255, columns)[None].repeat(rows, 0), np.linspace(255, 0, rows)[:, None].repeat(columns, 1)], 2
    )
    pixels = np.concatenate([ramp, np.full((rows, columns, 1), 90)], 2).astype(np.uint8)
    file = io.BytesIO()
    pillow_heif.from_pillow(PIL.Image.fromarray(pixels)).save(file, quality=95, **options)
    return file.getvalue(), pixels


def test_heic_is_read_where_its_package_is_installed(monkeypatch):
    data, pixels = heic()
    monkeypatch.delitem(PIL.Image.OPEN, "HEIF", raising=False)  # as in a new process
    found = decode(data, "a.heic").permute(1, 2, 0).numpy()
    assert found.shape == pixels.shape
    assert np.abs(found.astype(int) - pixels).mean() < 4
    assert decode(data, "a.heic", 16).shape == (3, 48, 64)  # it has no smaller form


def test_heic_without_its_package_says_what_to_install(monkeypatch):
    data, _ = heic()
    monkeypatch.delitem(PIL.Image.OPEN, "HEIF", raising=False)
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    with pytest.raises(DecodeError, match=r"^photos/a\.heic: is HEIC, .*pip install 'paretina\[heic\]'$"):
        decode(data, "photos/a.heic")


@pytest.mark.parametrize("length", [12, 20, 100, 400])
def test_cut_heic_is_named(length):
    data, _ = heic()
    with pytest.raises(DecodeError, match=r"^a\.heic: "):
        decode(data[:length], "a.heic")


# --- what other libraries report ----------------------------------------------------------------------------------------------


@pytest.mark.skipif(not LISTENING, reason="the functions of libtiff are hidden in this build of Pillow")
def test_what_libtiff_makes_up_is_damage_and_is_not_printed(capfd):
    pixels = PIL.Image.fromarray(noise(60, 80)[:, :, 0] > 128)
    data = bytearray(saved(pixels, "TIFF", compression="group4"))
    assert decode(bytes(data), "a").shape == (3, 60, 80)
    for at in range(40, 400, 20):
        data[at] ^= 0x5A
    with pytest.raises(DecodeError, match=r"^a: is damaged \(Fax4Decode: .*\)$"):
        decode(bytes(data), "a")
    assert capfd.readouterr().err == ""


def test_a_bitmap_without_the_header_of_its_file_is_read():
    np.testing.assert_array_equal(numbers(decode(saved(PIL.Image.fromarray(noise()), "DIB"), "a")), noise())
