"""Annotations of COCO and of Pascal VOC as data: what is read, and what is said of files that are malformed."""

import json
import pickle
import shutil
from dataclasses import replace

import numpy as np
import PIL.Image
import pytest
import torch
from pycocotools import mask

from paretina.data.decode import DecodeError
from paretina.data.named import source_named
from paretina.data.pictures import read_pictures
from paretina.data.source import Source
from paretina.data.sources.coco import Coco, pixels_of
from paretina.data.sources.voc import Voc
from paretina.model.tasks.boxes import Boxes
from paretina.model.tasks.instances import Instances
from paretina.model.tasks.places import Places

ROWS, COLUMNS = 20, 30


def pictures(folder, names, seed=0):
    folder.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(seed)
    for name in names:
        PIL.Image.fromarray(random.integers(0, 255, (ROWS, COLUMNS, 3)).astype(np.uint8)).save(folder / name)


def entry(number, image, category, box, **more):
    return {"id": number, "image_id": image, "category_id": category, "bbox": list(box), "iscrowd": 0, **more}


def described(count=4):
    """Two categories whose numbers are not in order; an object in each picture, two in the first."""
    return {
        "images": [{"id": 10 + n, "file_name": f"{n}.png", "width": COLUMNS, "height": ROWS} for n in range(count)],
        "categories": [{"id": 7, "name": "dog"}, {"id": 3, "name": "cat"}],
        "annotations": [
            entry(1, 10, 7, (3, 5, 12, 10)),
            *(entry(2 + n, 10 + n, 3, (0, 0, 15, 10)) for n in range(count)),
        ],
    }


@pytest.fixture
def coco(tmp_path):
    def made(change=lambda data: None, images="images"):
        pictures(tmp_path / images if images else tmp_path, [f"{n}.png" for n in range(4)])
        data = described()
        change(data)
        (tmp_path / "annotations.json").write_text(json.dumps(data))
        return Coco(path=str(tmp_path), copies="anywhere")

    return made


def every(collection):
    return {sample.name: sample for each in collection.splits.values() for sample in each}


def target(collection, name):
    return collection.target(every(collection)[name])


@pytest.mark.parametrize("images", ["images", ""])
def test_boxes_are_shares_with_the_number_of_their_category(coco, images):
    source = coco(images=images)
    found = source.open()
    assert (found.classes, found.task) == (("cat", "dog"), Boxes())
    name = f"{images}/0.png".lstrip("/")
    expected = torch.tensor([[0.1, 0.25, 0.5, 0.75, 1, 1], [0, 0, 0.5, 0.5, 0, 1]])
    torch.testing.assert_close(target(found, name), expected)
    assert pickle.loads(pickle.dumps(found)) == found
    assert Source.from_json(source.pinned(found).to_json()).open().splits == found.splits
    assert type(source_named(source.path)) is Coco
    assert len(read_pictures(found, found.split("train"))) == len(found.split("train"))


def test_files_of_splits_with_the_folders_of_coco(tmp_path):
    (tmp_path / "annotations").mkdir()
    for split in ("train2017", "val2017"):
        pictures(tmp_path / split, [f"{n}.png" for n in range(4)])
        (tmp_path / "annotations" / f"instances_{split}.json").write_text(json.dumps(described()))
    assert type(source_named(str(tmp_path))) is Coco
    found = Coco(path=str(tmp_path)).open()
    assert {split: [s.name for s in each][:1] for split, each in found.splits.items()} == {
        "train": ["train2017/0.png"],
        "val": ["val2017/0.png"],
    }
    changed = described()
    changed["categories"][0]["name"] = "wolf"
    (tmp_path / "annotations" / "instances_val2017.json").write_text(json.dumps(changed))
    with pytest.raises(ValueError, match=r"instances_val2017\.json has other categories than instances_train2017\.json"):
        Coco(path=str(tmp_path)).open()


def test_a_crowd_is_ignored_and_what_lies_outside_is_cut_off(coco):
    def change(data):
        data["annotations"][0]["iscrowd"] = 1
        data["annotations"][1]["bbox"] = [-5, -5, 20, 200]
        data["annotations"].append(entry(99, 10, 3, (40, 2, 5, 5)))

    found = coco(change).open()
    assert target(found, "images/0.png").tolist() == [
        pytest.approx([0.1, 0.25, 0.5, 0.75, 1, 0]),
        pytest.approx([0, 0, 0.5, 1, 0, 1]),
    ]
    assert "1 box without an area in the picture left out" in found.notes


def put(path, value):
    """Sets a value deep in the data."""

    def change(data):
        *way, last = path
        for step in way:
            data = data[step]
        if value is None:
            del data[last]
        else:
            data[last] = value

    return change


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        (("annotations", 0, "bbox"), [1, 2, 3], r"annotations\.json: annotations\[0\]\.bbox must be four numbers"),
        (("annotations", 0, "bbox"), [1, 2, "x", 4], r"annotations\[0\]\.bbox\[2\] must be a number, got 'x'"),
        (("annotations", 0, "bbox"), [1, 2, -3, 4], r"annotations\[0\]\.bbox has a width or height below 0"),
        (("annotations", 0, "category_id"), 8, r"annotations\[0\]\.category_id is that of no category: 8"),
        (("annotations", 0, "iscrowd"), "no", r"annotations\[0\]\.iscrowd must be 0 or 1, got 'no'"),
        (("images", 0, "width"), 31, r"it has 30 x 20 pixels, and its annotations are for 31 x 20"),
        (("images", 0, "file_name"), "gone.png", r"there is no such file"),
    ],
)
def test_what_is_malformed_in_an_annotation_damages_its_picture(coco, path, value, said):
    found = coco(put(path, value)).open()
    (name,) = found.faults
    with pytest.raises(DecodeError, match=rf"^{name}: .*{said}"):
        target(found, name)
    with pytest.raises(DecodeError, match=said):
        found.encoded(every(found)[name])


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        (("categories",), None, r"annotations\.json: categories must be a list, got nothing"),
        (("categories", 0, "name"), 5, r"categories\[0\]\.name must be a name, got 5"),
        (("categories", 0, "id"), 3, r"categories\[1\] has the id or the name of another category"),
        (("images", 1, "id"), 10, r"images\[1\]\.id is that of another image: 10"),
        (("images", 1, "file_name"), "../x.png", r"images\[1\]\.file_name must be a name inside the folder"),
        (("images", 1, "file_name"), "/etc/x.png", r"images\[1\]\.file_name must be a name inside the folder"),
        (("annotations", 2), "x", r"annotations\[2\] must be an object with fields, got str"),
    ],
)
def test_what_is_malformed_elsewhere_is_refused(coco, path, value, said):
    with pytest.raises(ValueError, match=said):
        coco(put(path, value)).open()


def test_annotations_of_no_image_are_left_out_with_a_note(coco):
    found = coco(put(("annotations", 2, "image_id"), 5)).open()
    assert not found.faults
    assert "1 annotation of no image left out; the first is annotations.json: annotations[2] (image_id)" in found.notes
    whole = coco().open()
    assert not any("of no image" in note for note in whole.notes)
    assert sum(map(len, found.rows.values())) == sum(map(len, whole.rows.values())) - 1


def test_no_json_is_named(coco, tmp_path):
    source = coco()
    (tmp_path / "annotations.json").write_text("[" * 100_000)
    with pytest.raises(ValueError, match=r"annotations\.json cannot be read as JSON: it is nested too deeply"):
        source.open()
    (tmp_path / "annotations.json").write_text("{")
    with pytest.raises(ValueError, match=r"annotations\.json cannot be read as JSON"):
        source.open()


def test_more_objects_than_there_is_room_for(coco):
    source = replace(coco(), most=1)
    assert source.open().faults == {"images/0.png": "it has 2 objects, and there is room for 1 (data.most)"}


# --- pixels -----------------------------------------------------------------------------------------------------------------


def test_polygons_and_run_lengths_become_masks(coco):
    inside = np.zeros((ROWS, COLUMNS), np.uint8, order="F")
    inside[2:6, 20:28] = 1
    packed = mask.encode(inside)
    flat = inside.ravel(order="F")
    ends = np.flatnonzero(np.diff(np.concatenate(([0], flat)))).tolist()
    lengths = np.diff([0, *ends, flat.size]).tolist()

    def change(data):
        data["annotations"][0]["segmentation"] = [[3, 5, 15, 5, 15, 15, 3, 15]]
        data["annotations"][1]["segmentation"] = {"size": [ROWS, COLUMNS], "counts": packed["counts"].decode()}
        data["annotations"].append(entry(9, 10, 3, (0, 15, 5, 5), segmentation={"size": [ROWS, COLUMNS], "counts": lengths}))

    source = coco(change)
    found = source.asked_for("segment").open()
    assert (found.classes, found.task) == (("background", "cat", "dog"), Places())
    numbers = target(found, "images/0.png")
    assert numbers.dtype == torch.uint8
    assert bool((numbers[5:15, 3:15] == 2).all())
    assert torch.equal(numbers == 1, torch.from_numpy(inside) > 0)
    objects = Coco(path=source.path, labels="instances", copies="anywhere").open()
    assert objects.task == Instances()
    assert target(objects, "images/0.png").unique().tolist() == [0, 1, 3]  # the second lies below the third


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ([[1, 2, 3, 4]], r"s\[0\] must be x and y of three corners or more, got 4 numbers"),
        ([[1, 2, 3, 4, "a", 6]], r"s\[0\] must be a number, got 'a'"),
        ({"size": [2, 2], "counts": [4]}, r"s\.size must be \[3, 4\]"),
        ({"size": [3, 4], "counts": [4]}, r"s\.counts add up to 4, and the picture has 12 pixels"),
        ({"size": [3, 4], "counts": [13, -1]}, r"s\.counts must be whole numbers"),
        ({"size": [3, 4], "counts": "~~"}, r"s\.counts is no text of run lengths|ends in the middle"),
        (None, r"s must be polygons or run lengths, got nothing"),
    ],
)
def test_malformed_outlines_are_named(said, why):
    with pytest.raises(DecodeError, match=why):
        pixels_of(said, 3, 4, "s")


# --- Pascal VOC ---------------------------------------------------------------------------------------------------------------

OBJECT = (
    "<object><name>{name}</name><difficult>{hard}</difficult>"
    "<bndbox><xmin>4</xmin><ymin>6</ymin><xmax>15</xmax><ymax>15</ymax></bndbox></object>"
)
SIZE = f"<size><width>{COLUMNS}</width><height>{ROWS}</height><depth>3</depth></size>"


@pytest.fixture
def voc(tmp_path):
    def made(first=None, lists=True):
        pictures(tmp_path / "JPEGImages", [f"{n}.jpg" for n in range(4)])
        (tmp_path / "Annotations").mkdir(exist_ok=True)
        for n in range(4):
            objects = OBJECT.format(name="dog", hard=0) + OBJECT.format(name="cat", hard=1)
            text = f"<annotation>{SIZE}{objects}</annotation>"
            (tmp_path / "Annotations" / f"{n}.xml").write_text(first if first and n == 0 else text)
        if lists:
            (tmp_path / "ImageSets" / "Main").mkdir(parents=True, exist_ok=True)
            (tmp_path / "ImageSets" / "Main" / "train.txt").write_text("0\n1\n2\n")
            (tmp_path / "ImageSets" / "Main" / "val.txt").write_text("3\n")
        return Voc(path=str(tmp_path), copies="anywhere")

    return made


def test_boxes_of_voc(voc):
    source = voc()
    found = source.open()
    assert type(source_named(source.path)) is Voc
    assert found.classes == ("cat", "dog")
    assert {split: len(each) for split, each in found.splits.items()} == {"train": 3, "val": 1}
    torch.testing.assert_close(
        target(found, "JPEGImages/0.jpg"), torch.tensor([[0.1, 0.25, 0.5, 0.75, 1, 1], [0.1, 0.25, 0.5, 0.75, 0, 0]])
    )
    assert Source.from_json(source.pinned(found).to_json()).open() == found
    assert pickle.loads(pickle.dumps(found)) == found


def test_an_annotation_without_its_picture_is_named(voc, tmp_path):
    source = voc()
    (tmp_path / "JPEGImages" / "2.jpg").unlink()
    for lists in (True, False):
        if not lists:
            shutil.rmtree(tmp_path / "ImageSets", ignore_errors=True)
        assert list(source.open().faults) == ["JPEGImages/2.jpg"]
    assert source.open().faults["JPEGImages/2.jpg"] == "there is no such file, and Annotations/2.xml is of it"


def test_without_lists_a_part_is_held_out(voc):
    found = voc(lists=False).open()
    assert sum(len(each) for each in found.splits.values()) == 4
    assert "val" in found.splits


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("<annotation><object>", r"Annotations/0\.xml is no XML"),
        ('<!DOCTYPE a [<!ENTITY x "y">]><annotation>&x;</annotation>', r"Annotations/0\.xml has a document type"),
        (f"<annotation>{SIZE}<object></object></annotation>", r"object\[0\]\.name must be the name of a class"),
        (f"<annotation>{SIZE}<object><name>dog</name></object></annotation>", r"object\[0\]\.bndbox is not there"),
        (
            f"<annotation>{SIZE}{OBJECT.format(name='dog', hard=0).replace('>15<', '>a<', 1)}</annotation>",
            r"Annotations/0\.xml: object\[0\]\.bndbox\.xmax must be a number, got 'a'",
        ),
        (f"<annotation>{SIZE}{OBJECT.format(name='dog', hard=7)}</annotation>", r"object\[0\]\.difficult must be 0 or 1"),
        (f"<annotation>{SIZE.replace('30', '31')}</annotation>", r"it has 30 x 20 pixels, and its annotations are for 31 x 20"),
    ],
)
def test_malformed_xml_damages_its_picture(voc, text, said):
    found = voc(text).open()
    assert list(found.faults) == ["JPEGImages/0.jpg"]
    with pytest.raises(DecodeError, match=said):
        target(found, "JPEGImages/0.jpg")


def test_entities_are_never_expanded(voc, tmp_path):
    (tmp_path / "secret.txt").write_text("dog")
    outside = f'<!DOCTYPE a [<!ENTITY x SYSTEM "file://{tmp_path}/secret.txt">]>'
    found = voc(f"{outside}<annotation>{SIZE}{OBJECT.format(name='&x;', hard=0)}</annotation>").open()
    assert "document type" in found.faults["JPEGImages/0.jpg"]


def test_masks_of_voc(voc, tmp_path):
    source = voc()
    (tmp_path / "SegmentationClass").mkdir()
    (tmp_path / "ImageSets" / "Segmentation").mkdir()
    for split, n in (("train", 0), ("val", 3)):
        values = np.zeros((ROWS, COLUMNS), np.uint8)
        values[3:9, 4:9], values[0] = 2, 255
        image = PIL.Image.fromarray(values)
        image.putpalette(bytes(range(256)) * 3)
        image.save(tmp_path / "SegmentationClass" / f"{n}.png")
        (tmp_path / "ImageSets" / "Segmentation" / f"{split}.txt").write_text(f"{n}\n")
    found = source.asked_for("segment").open()
    assert (found.task, len(found.classes)) == (Places(), 21)
    assert torch.equal(target(found, "JPEGImages/0.jpg"), torch.from_numpy(values))
    assert [sample.name for sample in found.split("val")] == ["JPEGImages/3.jpg"]
