import hashlib
import pickle
import zipfile
from collections import Counter, defaultdict

import pytest

from paretina.data.sources.clipart import PACK, Clipart, pictures

# reference: the figures for the Debian package
COUNTS = {
    "flags": 526, "people": 378, "food": 278, "cards": 237, "weather_maps": 158, "tools": 139, "office": 128, "mammals": 116,
    "arrows": 103, "vehicles": 91, "plants": 69, "music": 67, "roadsigns": 66, "buildings": 65, "sports": 52, "hardware": 51,
    "bugs": 49, "birds": 48, "party": 35,
}  # fmt: skip


@pytest.fixture(scope="module")
def clipart():
    return Clipart().open()


def test_has_the_classes_and_counts_of_its_description(clipart):
    both = clipart.split("train") + clipart.split("val")
    assert clipart.classes == tuple(sorted(COUNTS))
    assert Counter(clipart.classes[sample.label] for sample in both) == COUNTS
    assert len({sample.name for sample in both}) == 2656


def test_a_quarter_of_each_class_is_held_out(clipart):
    held = Counter(clipart.classes[sample.label] for sample in clipart.split("val"))
    for name, count in COUNTS.items():
        assert abs(held[name] - count / 4) <= 1


def test_no_picture_is_twice_in_the_pack_on_two_sides(clipart):
    places = defaultdict(set)
    for split in ("train", "val"):
        for sample in clipart.split(split):
            places[hashlib.sha256(pictures()[sample.name]).digest()].add(split)
    assert all(len(splits) == 1 for splits in places.values())


def test_pictures_are_colour_on_white_and_at_most_128_pixels(clipart):
    for sample in clipart.split("val")[::20]:
        image = clipart.image(sample)
        assert image.shape[0] == 3
        assert max(image.shape[1:]) <= 128
    # a drawing with a transparent ground: its corner is white, not the black that lies under the transparency
    card = next(sample for sample in clipart.split("train") if clipart.classes[sample.label] == "birds")
    assert clipart.image(card)[:, 0, 0].min() > 240


def test_every_picture_has_a_source_and_the_pack_fits_the_wheel(clipart):
    with zipfile.ZipFile(PACK) as pack:
        rows = pack.read("SOURCES.tsv").decode().splitlines()
    assert "public domain" in rows[0]
    assert rows[1] == "file\tbytes\toriginal"
    sources = {row.split("\t")[0]: row.split("\t")[2] for row in rows[2:]}
    assert set(sources) == {sample.name for sample in clipart.split("train") + clipart.split("val")}
    assert all(original.endswith(".png") for original in sources.values())
    assert PACK.stat().st_size < 4_000_000


def test_survives_pickle_without_carrying_the_pictures(clipart):
    data = pickle.dumps(clipart)
    assert len(data) < 400_000
    sample = clipart.split("val")[0]
    assert pickle.loads(data).image(sample).equal(clipart.image(sample))
