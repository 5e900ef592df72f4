import json

import numpy as np
import pytest
from PIL import Image

from paretina.data.check import check
from paretina.data.damage import allowing, is_too_much
from paretina.data.sources.arrays import from_arrays
from paretina.data.sources.folder import Folder

RNG = np.random.default_rng(0)


def save(root, name, size=(6, 4), like=None):
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    if like is None:
        Image.fromarray(RNG.integers(0, 256, (size[1], size[0], 3), np.uint8)).save(path)
    else:
        Image.open(root / like).save(path)


@pytest.fixture
def folder(tmp_path):
    save(tmp_path, "train/cat/1.png")
    save(tmp_path, "train/cat/2.png", size=(10, 8))
    save(tmp_path, "train/dog/1.png", size=(40, 4))
    save(tmp_path, "val/cat/1.bmp", like="train/cat/1.png")  # the same pixels in another format
    save(tmp_path, "val/dog/1.png")
    save(tmp_path, "val/dog/2.png", like="val/dog/1.png")
    save(tmp_path, "val/cat/9.png", like="val/dog/1.png")
    (tmp_path / "train/dog/broken.jpg").write_bytes(b"\xff\xd8\xff\xe0 no more")
    (tmp_path / "val/dog/empty.png").write_bytes(b"")
    return Folder(path=str(tmp_path)).open()


def test_counts_by_split_and_class(folder):
    report = check(folder)
    assert report.classes == ("cat", "dog")
    assert report.counts == {"train": {"cat": 2, "dog": 2}, "val": {"cat": 2, "dog": 3}}
    assert report.samples == 9
    assert report.imbalance == 1.0


def test_measures_what_can_be_read(folder):
    report = check(folder, ["train"])
    assert (report.width.min, report.width.median, report.width.max) == (6, 10, 40)
    assert (report.height.min, report.height.median, report.height.max) == (4, 4, 8)
    assert report.sizes == 3
    assert report.odd_aspects == {"train/dog/1.png": 10.0}


def test_names_each_fault_with_its_reason(folder):
    faults = check(folder).faults
    assert faults["val/dog/empty.png"] == "the file is empty"
    assert list(faults) == ["train/dog/broken.jpg", "val/dog/empty.png"]


def test_finds_the_same_pixels_within_and_between_splits(folder):
    report = check(folder)
    (leak,) = report.leaks
    assert [(seen.split, seen.name, seen.label) for seen in leak] == [
        ("train", "train/cat/1.png", "cat"),
        ("val", "val/cat/1.bmp", "cat"),
    ]
    (contradiction,) = report.contradictions
    assert {seen.name for seen in contradiction} == {"val/dog/1.png", "val/dog/2.png", "val/cat/9.png"}
    assert len(report.duplicates) == 2


def test_equal_bytes_in_another_shape_are_no_duplicates(tmp_path):
    for name, size in (("a/wide.png", (8, 2)), ("b/tall.png", (2, 8)), ("b/also.png", (2, 8))):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.new("RGB", size).save(tmp_path / name)
    (group,) = check(Folder(path=str(tmp_path)).open()).duplicates
    assert {seen.name for seen in group} == {"b/tall.png", "b/also.png"}


def test_workers_do_not_change_the_report(folder):
    assert check(folder, workers=1) == check(folder, workers=4)
    with pytest.raises(ValueError, match="workers must be at least 1, got 0"):
        check(folder, workers=0)


def test_many_pictures_keep_their_order():
    images = RNG.integers(0, 256, (150, 3, 3), np.uint8)
    collection = from_arrays(images, np.arange(150) % 2, split=["train"] * 149 + ["val"])
    report = check(collection, workers=3)
    assert report.faults == {}
    assert report.duplicates == ()
    twice = from_arrays(np.concatenate((images, images[:1])), np.arange(151) % 2, split=["train"] * 150 + ["val"])
    assert [seen.name for seen in check(twice, workers=3).leaks[0]] == ["0", "150"]


def test_says_how_uneven_the_classes_are():
    labels = [0] * 20 + [1] * 2
    collection = from_arrays(RNG.integers(0, 256, (22, 3, 3), np.uint8), labels, split=["train"] * 22)
    report = check(collection)
    assert report.imbalance == 10.0
    assert any("10 times" in line for line in report.lines())
    missing = from_arrays(RNG.integers(0, 256, (4, 3, 3), np.uint8), [0, 1, 0, 1], ["a", "b", "c"], split=["train"] * 4)
    assert check(missing).imbalance is None


def test_is_json_and_text(folder):
    report = check(folder)
    data = json.loads(json.dumps(report.to_dict()))
    assert data["counts"]["val"] == {"cat": 2, "dog": 3}
    assert data["width"] == {"min": 6, "median": 6, "max": 40}
    assert data["leaks"][0][1]["name"] == "val/cat/1.bmp"
    text = report.lines()
    assert text[0] == "2 classes, 9 pictures: 4 train, 5 val"
    assert text[2].split() == ["class", "train", "val"]
    assert text[4].split() == ["dog", "2", "3"]
    assert "  train/cat/1.png (train, cat) = val/cat/1.bmp (val, cat)" in text
    assert "  val/dog/empty.png: the file is empty" in text
    assert "  train/dog/1.png: 10.0 to 1" in text


def test_says_that_train_will_refuse_it(folder):
    report = check(folder, max_damaged=0.01)
    assert report.refusal == (
        "2 of 9 pictures in train and val cannot be read, more than max_damaged=0.01 allows; repair or remove them, or allow "
        "it with max_damaged=0.223"
    )
    assert f"train refuses this data: {report.refusal}" in report.lines()
    assert report.to_dict()["refusal"] == report.refusal
    assert check(folder, max_damaged=0.223).refusal == ""
    assert check(folder, ["train"], max_damaged=0.01).refusal == ""
    assert check(folder).refusal == ""


def test_says_that_a_split_has_nothing_that_can_be_read(tmp_path):
    save(tmp_path, "train/cat/1.png")
    save(tmp_path, "train/dog/1.png")
    for name in ("cat", "dog"):
        (tmp_path / "val" / name).mkdir(parents=True)
        (tmp_path / "val" / name / "2.png").write_bytes(b"")
    assert check(Folder(path=str(tmp_path)).open(), max_damaged=1.0).refusal == "there is no picture in val that can be read"


@pytest.mark.parametrize("count", range(1, 301, 13))
def test_the_share_that_is_named_allows_what_there_is(count):
    for damaged in range(count + 1):
        assert not is_too_much(damaged, count, allowing(damaged, count))
        assert allowing(damaged, count) <= damaged / count + 0.0021


def test_names_with_line_breaks_do_not_break_the_text(tmp_path):
    save(tmp_path, "train/c\nat/1\t.png")
    save(tmp_path, "train/dog/1.png", size=(40, 4))
    (tmp_path / "train/dog/a\r\x1b[2Jb.png").write_bytes(b"")
    save(tmp_path, "val/c\nat/2.png", like="train/c\nat/1\t.png")
    save(tmp_path, "val/dog/2.png")
    report = check(Folder(path=str(tmp_path)).open())
    text = report.lines()
    assert all(line.isprintable() for line in text)
    at = next(i for i, line in enumerate(text) if line.startswith("class"))
    assert [line.split() for line in text[at + 1 : at + 3]] == [["c\\nat", "1", "1"], ["dog", "2", "1"]]
    assert len({len(line) for line in text[at : at + 3]}) == 1
    assert "  train/dog/a\\r\\x1b[2Jb.png: the file is empty" in text
    assert "  train/c\\nat/1\\t.png (train, c\\nat) = val/c\\nat/2.png (val, c\\nat)" in text
    assert report.classes == ("c\nat", "dog")  # JSON keeps the names
    assert list(report.to_dict()["faults"]) == ["train/dog/a\r\x1b[2Jb.png"]


def test_says_that_all_is_well_only_then(folder):
    fine = from_arrays(RNG.integers(0, 256, (4, 3, 3), np.uint8), [0, 1, 0, 1])
    assert check(fine).lines()[-1] == "no damaged pictures, no duplicates"
    assert "no damaged pictures, no duplicates" not in check(folder).lines()


def test_long_lists_are_cut_and_counted():
    images = np.repeat(RNG.integers(0, 256, (15, 3, 3), np.uint8), 2, axis=0)
    text = check(from_arrays(images, np.arange(30) // 2 % 2, split=["train"] * 30)).lines()
    assert "same picture several times in one class: 15" in text
    assert text[-1] == "  and 5 more"


def test_an_unknown_split_is_an_error(folder):
    with pytest.raises(ValueError, match="there is no split 'dev'; there are: train, val"):
        check(folder, ["dev"])


def test_tells_what_is_odd_about_pictures_that_can_be_read(tmp_path):
    for kind in ("a", "b"):
        (tmp_path / kind).mkdir()
        for number in range(3):
            values = RNG.integers(0, 4096, (4, 6)).astype(np.uint16)
            values[0, 0] = 4095
            Image.fromarray(values).save(tmp_path / kind / f"{number}.png")
    report = check(Folder(path=str(tmp_path)).open())
    assert report.faults == {}
    (found,) = [note for note in report.notes if "16-bit values" in note]
    assert " and 5 other pictures: 16-bit values, of which the picture uses 12: nothing" in found
    assert f"note: {found}" in report.lines()


def smooth(*seeds, side=64):
    """Pictures with large shades, one a seed."""
    grids = [np.random.default_rng(seed).integers(0, 256, (9, 9, 3), np.uint8) for seed in seeds]
    return np.stack([np.asarray(Image.fromarray(grid).resize((side, side), Image.Resampling.BICUBIC)) for grid in grids])


def test_finds_near_copies_within_and_between_splits():
    pictures = smooth(0, 1, 2, 3, 4, 5)
    images = np.concatenate((pictures, (pictures[:3] * 0.93).astype(np.uint8), smooth(6), pictures[1:2]))
    split = ["train"] * 6 + ["val", "val", "train", "val", "val"]
    report = check(from_arrays(images, [0, 1, 0, 1, 0, 1, 0, 0, 0, 1, 1], ["cat", "dog"], split=split))
    assert [[seen.name for seen in group] for group in report.near] == [["0", "6"], ["1", "7"], ["2", "8"]]
    assert [[seen.name for seen in group] for group in report.duplicates] == [["1", "10"]]
    text = report.lines()
    # 7 is near a picture of another class, which cannot make the accuracy look better
    assert "warning: 2 of 4 validation pictures are also in train (1 exact, 1 near): the accuracy is too high by it" in text
    assert "nearly the same picture in several splits (the score may look too good): 1" in text
    assert "  6 (val) ~ 0 (train)" in text
    at = text.index("nearly the same picture in several classes: 1")
    assert text[at + 1] == "  1 (train, dog) ~ 7 (val, cat)"
    at = text.index("nearly the same picture several times in one class: 1")
    assert text[at + 1] == "  2 (train, cat) ~ 8 (train, cat)"
    data = json.loads(json.dumps(report.to_dict()))
    assert (data["copied"]["val"]["equal"], data["copied"]["val"]["near"]) == (1, 1)
    assert {pair["kind"] for pair in data["copied"]["val"]["pairs"]} == {"equal", "near"}


def test_among_too_many_only_equal_ones_are_found_and_that_is_said(monkeypatch):
    monkeypatch.setattr("paretina.data.likeness.MOST", 3)
    pictures = smooth(0, 1)
    images = np.concatenate((pictures, (pictures * 0.93).astype(np.uint8), pictures[:1]))
    report = check(from_arrays(images, [0, 1, 0, 1, 0], split=["train", "train", "val", "val", "val"]))
    assert report.near == ()
    assert report.copied["val"].equal == 1
    assert "there are 5 pictures, more than 3: only equal ones were looked for, not near copies" in report.notes
