import io
import re
from pathlib import Path

import numpy as np
import PIL.Image
import PIL.ImageOps
import pytest
import skimage
import sklearn.datasets

import paretina.data.decode as decoding
from paretina.data import jpeg
from paretina.data.decode import DecodeError, decode
from paretina.data.remarks import remarks_heard

PHOTO = Path(sklearn.datasets.__file__).parent / "images" / "china.jpg"

PHOTOS = sorted([*PHOTO.parent.glob("*.jpg"), *(Path(skimage.__file__).parent / "data").glob("*.jpg")])

END = b"\xff\xd9"

KINDS = {
    "baseline": {},
    "optimized": {"quality": 95, "optimize": True},
    "full colour": {"quality": 95, "subsampling": 0},
    "restarts": {"restart_marker_rows": 1},
    "progressive": {"progressive": True},
    "grey": {"mode": "L"},
    "four colours": {"mode": "CMYK"},
}


def saved(image, mode="RGB", **options):
    file = io.BytesIO()
    image.convert(mode).save(file, "JPEG", **options)
    return file.getvalue()


@pytest.fixture(scope="module")
def files():
    """A photo as JPEGs of each kind."""
    with PIL.Image.open(PHOTO) as photo:
        small = photo.resize((320, 213))
    return {kind: saved(small, **options) for kind, options in KINDS.items()}


def by_pillow(data, at_least=None):
    with PIL.Image.open(io.BytesIO(data)) as image:
        if at_least is not None:
            image.draft(None, (at_least, at_least))
        return np.asarray(PIL.ImageOps.exif_transpose(image).convert("RGB"))


def read(data, at_least=None):
    """The pixels, and what was remarked."""
    with remarks_heard() as heard:
        return decode(data, "a", at_least).permute(1, 2, 0).numpy(), heard


def check_good(data):
    """A good file has the pixels that Pillow gives it, at all sizes, and nothing is remarked on it."""
    for at_least in (None, 24, 64):
        pixels, heard = read(data, at_least)
        np.testing.assert_array_equal(pixels, by_pillow(data, at_least))
        assert heard == []


# --- good files ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("photo", PHOTOS, ids=lambda path: path.name)
def test_photos_are_as_pillow_gives_them(photo):
    check_good(photo.read_bytes())


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_is_as_pillow_gives_it(files, kind):
    check_good(files[kind])


@pytest.mark.parametrize("drawn", ["noise", "flat", "white", "smooth", "half flat"])
def test_drawings_of_each_kind_are_good(drawn):
    height, width = 67, 129
    rng = np.random.default_rng(0)
    pixels = {
        "noise": rng.integers(0, 256, (height, width, 3)),
        "flat": np.full((height, width, 3), 90),
        "white": np.full((height, width, 3), 255),
        "smooth": np.repeat((np.add.outer(np.arange(height), np.arange(width)) % 256)[:, :, None], 3, 2),
        "half flat": np.where(np.arange(width)[None, :, None] < 99, 40, rng.integers(0, 256, (height, width, 3))),
    }[drawn]
    image = PIL.Image.fromarray(pixels.astype(np.uint8))
    for options in ({}, {"optimize": True}, {"progressive": True}, {"restart_marker_blocks": 5}, {"keep_rgb": True}):
        for quality in (5, 75, 100):
            for subsampling in (0, 1, 2):
                colours = {} if "keep_rgb" in options else {"subsampling": subsampling}
                check_good(saved(image, quality=quality, **options, **colours))
        check_good(saved(image, "L", **{name: value for name, value in options.items() if name != "keep_rgb"}))


def test_a_large_flat_picture_has_zeros_in_its_data_and_is_good():
    flat = PIL.Image.new("L", (2000, 2000), 128)
    for options in ({"optimize": True}, {"progressive": True}):
        data = saved(flat, "L", **options)
        assert jpeg.ZEROS in data[data.index(b"\xff\xda") :]
        check_good(data)


def test_zeros_in_the_header_and_after_the_end_are_no_damage(files):
    data = files["baseline"]
    note = b"\xff\xe5" + (2002).to_bytes(2, "big") + bytes(2000)
    check_good(data[:2] + note + data[2:] + bytes(5000))
    thumbnail = b"\xff\xe6" + (2 + len(data[:6000])).to_bytes(2, "big") + data[:6000]  # holds a start of scan of its own
    check_good(data[:2] + thumbnail + data[2:])


def test_a_reader_that_cannot_read_a_file_leaves_it_to_pillow(files, monkeypatch):
    def refuse(*_, **__):
        raise ValueError("tj3DecompressHeader(): Could not determine subsampling level of JPEG image")

    monkeypatch.setattr(jpeg, "decode_jpeg", refuse)
    for kind in KINDS:
        check_good(files[kind])


def test_a_file_of_several_pictures_shows_the_first_as_the_camera_was_held(files):
    exif = PIL.Image.Exif()
    exif[decoding.ORIENTATION] = 6
    file = io.BytesIO()
    with PIL.Image.open(io.BytesIO(files["baseline"])) as first:
        other = PIL.Image.new("RGB", first.size, "red")
        first.save(file, "MPO", save_all=True, append_images=[other], exif=exif)
    data = file.getvalue()
    check_good(data)
    assert read(data)[0].shape == (320, 213, 3)
    with pytest.raises(DecodeError, match="damaged"):
        decode(data[:4000] + bytes(2000) + data[6000:], "a")


def segment(marker, body):
    return bytes([0xFF, marker]) + (2 + len(body)).to_bytes(2, "big") + body


def before_tables(data, added):
    start = data.index(b"\xff\xdb")
    return data[:start] + added + data[start:]


def with_scan_parameters(data):
    start = data.index(b"\xff\xda")
    end = start + 2 + int.from_bytes(data[start + 2 : start + 4], "big")
    return data[: end - 3] + b"\1\5\0" + data[end:]


def with_adobe(data, code):
    """Says what the colours are in Adobe's way only, in place of what is said already."""
    for marker in (0xE0, 0xEE):
        start = data.find(bytes([0xFF, marker]), 0, 40)
        if start >= 0:
            data = data[:start] + data[start + 2 + int.from_bytes(data[start + 2 : start + 4], "big") :]
    return data[:2] + segment(0xEE, b"Adobe\0\x64\0\0\0\0" + bytes([code])) + data[2:]


ODDITIES = {
    "a stray byte": lambda data: before_tables(data, b"\0"),
    "stray bytes twice": lambda data: before_tables(data, b"odd").replace(b"\xff\xc4", b"bytes\xff\xc4", 1),
    "stray bytes before the scan": lambda data: data.replace(b"\xff\xda", b"odd\xff\xda", 1),
    "an unknown version": lambda data: data.replace(b"JFIF\0\1", b"JFIF\0\7", 1),
    "an unknown code of Adobe": lambda data: with_adobe(data, 5),
    "a bad profile": lambda data: before_tables(data, segment(0xE2, b"ICC_PROFILE\0\2\1profile")),
    "scan parameters": with_scan_parameters,
    "all of them": lambda data: with_scan_parameters(
        before_tables(with_adobe(data, 7), b"\0" + segment(0xE2, b"ICC_PROFILE\0\0\0"))
    ),
    "EXIF and a stray byte": lambda data: before_tables(data, segment(0xE1, b"Exif\0\0" + data[:900]) + b"\0\xff\xff"),
}
"""What libjpeg warns of although no pixel is wrong."""


@pytest.mark.parametrize("oddity", ODDITIES)
@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "progressive"])
def test_warnings_that_mean_nothing_are_not_told(files, kind, oddity):
    check_good(ODDITIES[oddity](files[kind]))


@pytest.mark.parametrize("oddity", [oddity for oddity in ODDITIES if oddity not in ("scan parameters", "all of them")])
def test_progressive_files_may_be_odd_too(files, oddity):
    check_good(ODDITIES[oddity](files["progressive"]))


def test_colours_that_are_not_turned_stay_so_in_an_odd_file(files):
    with PIL.Image.open(io.BytesIO(files["baseline"])) as image:
        data = saved(image, keep_rgb=True)
    check_good(before_tables(data, b"\0"))
    check_good(before_tables(with_adobe(data, 0), b"\0"))


@pytest.mark.parametrize("oddity", ODDITIES)
@pytest.mark.parametrize("kind", ["baseline", "restarts", "grey", "four colours"])
def test_a_harmless_warning_hides_no_damage(files, kind, oddity):
    data = ODDITIES[oddity](files[kind])
    half = len(data) // 2
    for bad in (data[:half] + END, data[:half], data[:half] + bytes(1000) + data[half + 1000 :]):
        with pytest.raises(DecodeError, match="damaged"):
            decode(bad, "a")


def test_lost_bytes_in_an_odd_file_are_found_as_in_any_other(files):
    rng = np.random.default_rng(0)
    for oddity, change in ODDITIES.items():
        for kind in ("baseline", "restarts"):
            bad = spoiled(files[kind], "cut out", 700, rng)
            assert outcome(change(bad)) == outcome(bad), (oddity, kind)


def outcome(data):
    try:
        return read(data)[1]
    except DecodeError:
        return "refused"


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
def test_noise_between_restart_markers_is_damage(mode):
    rng = np.random.default_rng(0)
    with PIL.Image.open(PHOTO) as photo:
        data = saved(photo.resize((320, 213)), mode, quality=88, restart_marker_blocks=4)
    for _ in range(40):
        assert outcome(spoiled(data, "noise", 512, rng)) != []


@pytest.mark.parametrize("photo", PHOTOS, ids=lambda path: path.name)
def test_a_copy_in_text_mode_is_damaged(photo):
    assert outcome(photo.read_bytes().replace(b"\n", b"\r\n")) != []


def test_a_progressive_file_without_one_of_its_first_scans_is_not_passed_over(files):
    data = files["progressive"]
    scans = [found.start() for found in re.finditer(b"\xff\xc4|\xff\xda", data)]
    tables = [start for start in scans if data[start + 1] == 0xC4]
    assert outcome(data[: tables[1]] + data[tables[2] :]) != []


# --- the end ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_that_lacks_only_its_end_marker_is_whole(files, kind):
    data = files[kind]
    assert data.endswith(END)
    for cut in (data[:-2], data[:-1]):
        for at_least in (None, 24):
            np.testing.assert_array_equal(read(cut, at_least)[0], by_pillow(data, at_least))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("end", [b"", END, b"\xff" * 500], ids=["nothing", "marker", "ones"])
def test_a_file_that_lacks_data_is_damaged(files, kind, end):
    data = files[kind]
    for keep in (len(data) // 3, len(data) // 2, len(data) * 9 // 10, len(data) - 30):
        with pytest.raises(DecodeError, match=r"^a: .*(is damaged|truncated|broken)"):
            decode(data[:keep] + end, "a")


@pytest.mark.parametrize("kind", KINDS)
def test_text_in_place_of_the_rest_is_refused_or_remarked_on(files, kind):
    for keep in (len(files[kind]) // 3, len(files[kind]) // 2):
        try:
            assert read(files[kind][:keep] + b"<html>" * 9999)[1] == [jpeg.LEFT_OVER]
        except DecodeError:
            continue


def test_a_progressive_file_that_ends_between_two_scans_is_damaged(files):
    data = files["progressive"]
    scans = [found.start() for found in re.finditer(b"\xff\xc4|\xff\xda", data)]
    for start in scans[4:]:
        with pytest.raises(DecodeError, match="a: is damaged"):
            decode(data[:start], "a")


def test_what_stands_after_the_last_row_does_no_harm(files):
    wanted = by_pillow(files["baseline"])
    data = files["baseline"][:-2]
    for tail in (b"\xff" * 300 + END, END + b"<html>", b"\xff\x3fjunk"):
        pixels, heard = read(data + tail)
        np.testing.assert_array_equal(pixels, wanted)
        assert heard == []
    for tail in (bytes(60) + END, b"camera" * 50 + END, bytes(400) + END, b"<html>"):
        pixels, heard = read(data + tail)
        np.testing.assert_array_equal(pixels, wanted)
        assert heard == [jpeg.LEFT_OVER]


# --- the middle ---------------------------------------------------------------------------------------------------------


def spoiled(data, kind, length, rng):
    """The file with something else in the middle of its coded data."""
    start = int(rng.integers(data.index(b"\xff\xda") + 20, len(data) - length - 200))
    fill = {"zeros": bytes(length), "ones": b"\xff" * length, "noise": rng.bytes(length), "cut out": b""}[kind]
    return data[:start] + fill + data[start + length :]


@pytest.mark.parametrize("kind", ["baseline", "optimized", "full colour", "restarts", "grey", "four colours"])
def test_zeros_and_ones_in_the_middle_are_damage(files, kind):
    rng = np.random.default_rng(0)
    for damage in ("zeros", "ones"):
        for length in (128, 512, 3000):
            for _ in range(5):
                with pytest.raises(DecodeError, match=r"^a: .*damaged"):
                    decode(spoiled(files[kind], damage, length, rng), "a")


@pytest.mark.parametrize("kind", KINDS)
def test_other_damage_is_refused_or_remarked_on(files, kind):
    # what is lost in the middle can leave a file that is whole by all rules, if by chance the numbers of blocks agree
    rng = np.random.default_rng(0)
    missed = 0
    for damage in ("noise", "cut out", "zeros"):
        for length in (512, 3000):
            for _ in range(5):
                try:
                    missed += not read(spoiled(files[kind], damage, length, rng))[1]
                except DecodeError:
                    continue
    assert missed <= 3


def test_zeros_up_to_the_end_are_damage_whether_or_not_the_end_is_marked(files):
    for kind, data in files.items():
        half = len(data) // 2
        for tail in (b"", END):
            with pytest.raises(DecodeError, match="damaged"):
                decode(data[:half] + bytes(len(data) - half) + tail, kind)


def test_a_file_that_is_no_jpeg_behind_its_header_is_refused(files):
    header = files["baseline"][: files["baseline"].index(b"\xff\xda")]
    for tail in (b"", b"\xff", END, b"\xff\xda", b"\xff\xda\x00\x0c", bytes(999)):
        with pytest.raises(DecodeError, match=r"^a: "):
            decode(header + tail, "a")


def test_draws_on_the_room_that_its_pixels_need(files, monkeypatch):
    asked = []

    class Room(decoding.Room):
        def taken(self, count):
            asked.append(count)
            return super().taken(count)

    monkeypatch.setattr(decoding, "ROOM", Room(100))
    decode(files["baseline"], "a")
    decode(files["baseline"], "a", at_least=100)  # half of 320 x 213
    assert asked == [320 * 213 * decoding.JPEG_BYTES, 160 * 107 * decoding.JPEG_BYTES]
    with pytest.raises(DecodeError):
        decode(files["baseline"][:3000], "a")
    assert decoding.ROOM.used == 0
