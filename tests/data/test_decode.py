import io
import struct
import threading
import warnings
import zlib

import numpy as np
import PIL.Image
import PIL.ImageOps
import pytest
import torch

import paretina.data.decode as decoding
from paretina.data.decode import DecodeError, decode


def saved(image, kind="PNG", **options):
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


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
    def chunk(kind, body):
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(b"\0" * 100)) + chunk(b"IEND", b"")


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
