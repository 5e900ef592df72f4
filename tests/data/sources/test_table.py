import io
import pickle
import random
import re

import numpy as np
import PIL.Image
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from paretina import verbs
from paretina.data.named import source_named
from paretina.data.pictures import read_pictures
from paretina.data.sources import table
from paretina.data.sources.apart import Apart
from paretina.data.sources.inner_split import InnerSplit
from paretina.data.sources.part import Part
from paretina.data.sources.several import Set, Several
from paretina.data.sources.shapes import Shapes
from paretina.data.sources.table import Table
from paretina.model.tasks.any_of import ABSENT, AnyOf
from paretina.model.tasks.one_of import OneOf


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with the pictures 0.png to 11.png, each of its own, and no table."""
    root = tmp_path_factory.mktemp("tables")
    (root / "in").mkdir()
    noise = np.random.default_rng(0)
    for number in range(12):
        picture = PIL.Image.fromarray(noise.integers(0, 256, (8, 6, 3), np.uint8))
        picture.save(root / f"{number}.png")
        picture.save(root / "in" / f"{number}.png")
    return root


@pytest.fixture(autouse=True)
def no_cache_of_others(tmp_path, monkeypatch):
    monkeypatch.setenv("PARETINA_CACHE", str(tmp_path / "cache"))


def written(place, text, name="photos.csv", **fields):
    (place / name).write_bytes(text.encode() if isinstance(text, str) else text)
    return Table(path=str(place / name), **fields)


def rows(*lines, header="path,label,split"):
    return "\n".join((header, *lines)) + "\n"


PLAIN = rows("0.png,cat,train", "1.png,dog,train", "2.png,cat,val", "3.png,dog,test")


def labels(found, split="train"):
    return {sample.name: found.classes[sample.label] for sample in found.split(split)}


# --- what is read -----------------------------------------------------------------------------------------------------


def test_a_table_has_classes_splits_and_pictures(place):
    source = source_named(str(place / "photos.csv"))
    written(place, PLAIN)
    assert source == Table(path=str(place / "photos.csv"))
    found = source.open()
    assert found.classes == ("cat", "dog")
    assert found.task == OneOf()
    assert {split: labels(found, split) for split in found.splits} == {
        "train": {"0.png": "cat", "1.png": "dog"},
        "val": {"2.png": "cat"},
        "test": {"3.png": "dog"},
    }
    assert found.notes == ()
    assert found.image(found.split("train")[0]).shape == (3, 8, 6)
    assert found.file(found.split("train")[0]) == place / "0.png"
    assert found.target(found.split("train")[1]) == 1
    again = pickle.loads(pickle.dumps(found))
    assert again == found
    assert again.image(again.split("val")[0]).equal(found.image(found.split("val")[0]))
    assert verbs.data_check(str(place / "photos.csv")).samples == 4


@pytest.mark.parametrize("image", ["image_path", "path", "Image", "FILE", "filename", "filepath"])
@pytest.mark.parametrize(("label", "split"), [("label", "split"), ("class", "set"), ("Target", "Subset")])
def test_columns_are_known_by_many_names(place, image, label, split):
    text = PLAIN.replace("path,label,split", f"{image},{label},{split}")
    assert labels(written(place, text).open()) == {"0.png": "cat", "1.png": "dog"}


def test_fields_name_other_columns_and_the_folder(place):
    text = rows("x,0.png,cat,a,train", "y,1.png,dog,b,valid", "z,2.png,dog,b,Training", header="path,where,what,label,when")
    found = written(place, text, image="where", label="what", split="when", root=str(place / "in")).open()
    assert labels(found) == {"0.png": "cat", "2.png": "dog"}
    assert labels(found, "val") == {"1.png": "dog"}
    assert found.file(found.split("val")[0]) == place / "in" / "1.png"


@pytest.mark.parametrize(
    "change",
    [
        lambda text: "\ufeff" + text,
        lambda text: text.replace("\n", "\r\n"),
        lambda text: text.replace("cat", '"cat"'),
        lambda text: text.replace("\n", "\n\n"),
        lambda text: text.replace("0.png", "./0.png").replace("1.png", "in/..//1.png"),
        lambda text: text.replace(",cat", ", cat "),
        lambda text: text.rstrip("\n"),
        lambda text: "\n".join(f"{i},{line}" for i, line in zip(("", 0, 1, 2, 3), text.strip().split("\n"), strict=True)),
    ],
)
def test_forms_of_writing_that_say_the_same(place, change):
    found = written(place, change(PLAIN)).open()
    assert labels(found) == {"0.png": "cat", "1.png": "dog"}


def test_tabs_separate_cells_of_a_tsv_file(place):
    found = written(place, PLAIN.replace(",", "\t"), "photos.tsv").open()
    assert labels(found) == {"0.png": "cat", "1.png": "dog"}


def test_a_quoted_cell_may_have_a_comma_and_a_line_break(place):
    text = rows('0.png,"a, b",train', '1.png,"two\nlines",train', '2.png,"a, b",val')
    assert written(place, text).open().classes == ("a, b", "two\nlines")


def test_numbers_are_classes_in_their_order(place):
    text = rows(*(f"{i}.png,{i},train" for i in range(11)), "11.png,2,val")
    found = written(place, text).open()
    assert found.classes == tuple(map(str, range(11)))
    assert labels(found, "val") == {"11.png": "2"}


def test_pictures_of_test_may_lack_a_label(place):
    found = written(place, PLAIN.replace("3.png,dog", "3.png,")).open()
    assert found.split("test")[0].label < 0
    assert found.notes == ("1 picture of test have no label",)
    report = verbs.data_check(str(place / "photos.csv"))
    assert report.counts["test"] == {"cat": 0, "dog": 0}


def test_the_same_row_twice_counts_once(place):
    found = written(place, PLAIN + "0.png,cat,train\n./0.png,cat,train\n").open()
    assert len(found.split("train")) == 2
    assert "2 rows that say the same as another one were left out" in found.notes


# --- labels -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("separator", ["|", ";", " | "])
def test_several_classes_in_a_cell_are_any_number_of_classes(place, separator):
    text = rows(f"0.png,cat{separator}dog,train", "1.png,dog,train", "2.png,,val", "3.png,,train")
    found = written(place, text).open()
    assert found.task == AnyOf()
    assert found.classes == ("cat", "dog")
    targets = {sample.name: found.target(sample).tolist() for split in found.splits.values() for sample in split}
    none = pytest.approx([ABSENT, ABSENT])
    assert targets == {"0.png": [1, 1], "1.png": [0, 1], "2.png": none, "3.png": none}
    found.task.targets([found.target(sample) for sample in found.split("train")], 2)
    assert verbs.data_check(str(place / "photos.csv")).counts["train"] == {"cat": 1, "dog": 2}


def test_the_field_task_decides_what_a_separator_means(place):
    text = rows("0.png,cat|dog,train", "1.png,dog,train", "2.png,dog,val")
    assert written(place, text, task="one").open().classes == ("cat|dog", "dog")
    text = rows("0.png,cat,train", "1.png,dog,train", "2.png,dog,val")
    found = written(place, text, task="any").open()
    assert found.target(found.split("train")[0]).tolist() == [1, 0]


def test_columns_of_probabilities_are_soft_labels(place):
    text = rows("0.png,0.333,0.667,train", "1.png,1,0,train", "2.png,0.2,0.8,val", header="path,dog,cat,split")
    found = written(place, text).open()
    assert found.classes == ("cat", "dog")
    assert found.task == OneOf()
    assert found.is_soft()
    first = found.split("train")[0]
    torch.testing.assert_close(found.target(first), torch.tensor([0.667, 0.333]))
    assert float(found.target(first).sum()) == pytest.approx(1, abs=1e-6)
    assert found.classes[first.label] == "cat"
    assert "each other column is a class: dog, cat" in found.notes[0]
    assert "soft labels" in found.notes[1]


def test_columns_of_zero_and_one_are_one_class_or_any_number(place):
    text = rows("0.png,1,0,train", "1.png,0,1,train", "2.png,0,1,val", header="path,cat,dog,split")
    found = written(place, text).open()
    assert found.task == OneOf()
    assert not found.is_soft()
    assert labels(found) == {"0.png": "cat", "1.png": "dog"}
    found = written(place, text, labels=("dog", "cat"), task="any").open()
    assert found.target(found.split("train")[0]).tolist() == [1, 0]
    text = rows("0.png,1,1,train", "1.png,0,0,train", "2.png,0,1,val", header="path,cat,dog,split")
    found = written(place, text).open()
    assert found.task == AnyOf()
    assert found.target(found.split("train")[0]).tolist() == [1, 1]
    assert found.target(found.split("train")[1]).tolist() == pytest.approx([ABSENT, ABSENT])


def test_the_field_labels_chooses_columns(place):
    text = rows("0.png,1,0,99,x,train", "1.png,0,1,98,y,train", "2.png,0,1,97,z,val", header="path,cat,dog,age,label,split")
    found = written(place, text, labels=("cat", "dog")).open()
    assert labels(found) == {"0.png": "cat", "1.png": "dog"}


# --- splits and groups ------------------------------------------------------------------------------------------------


def test_without_splits_a_part_is_held_out(place):
    text = rows(*(f"{i}.png,{'ab'[i % 2]}" for i in range(12)), header="path,label")
    source = written(place, text, val_share=0.3)
    found = source.open()
    assert set(labels(found, "val").values()) == {"a", "b"}
    assert len(found.split("train")) + len(found.split("val")) == 12
    assert found.moved == ()
    assert source.pinned(found).open().splits == found.splits
    assert "held out as val, chosen by a hash of their names" in found.notes[0]
    every = written(place, text, val_share=1.0).open()
    assert not every.split("train")
    assert len(every.split("val")) == 12


def test_copies_stay_on_one_side(place):
    for number in range(12):
        PIL.Image.open(place / f"{number % 4}.png").save(place / "in" / f"copy{number}.png")
    text = rows(*(f"in/copy{i}.png,{'ab'[i % 2]}" for i in range(12)), header="path,label")
    source = written(place, text, val_share=0.4)
    found = source.open()
    sides = [{int(re.findall(r"\d+", sample.name)[0]) % 4 for sample in found.split(split)} for split in ("train", "val")]
    assert sides[0].isdisjoint(sides[1])


def test_a_group_is_never_on_both_sides(place):
    text = rows(*(f"{i}.png,{'ab'[i % 2]},p{i // 3}" for i in range(12)), header="path,label,group")
    for share in (0.1, 0.3, 0.5, 0.8):
        found = written(place, text, val_share=share).open()
        sides = [{int(sample.name[:-4]) // 3 for sample in found.split(split)} for split in ("train", "val")]
        assert sides[0].isdisjoint(sides[1])
        assert sides[0]
        assert sides[1]
    assert "a hash of the names of their groups" in found.notes[0]


def test_groups_with_a_copy_of_each_other_are_one(place):
    PIL.Image.open(place / "0.png").save(place / "in" / "twin.png")
    lines = [*(f"{i}.png,{'ab'[i % 2]},p{i // 2}" for i in range(12)), "in/twin.png,a,p5"]
    for share in (0.2, 0.4, 0.6):
        source = written(place, rows(*lines, header="path,label,group"), val_share=share)
        found = source.open()
        val = {sample.name for sample in found.split("val")}
        assert ("0.png" in val) == ("in/twin.png" in val) == ("10.png" in val) == ("1.png" in val)
        assert source.pinned(found).open().splits == found.splits


def test_groups_on_both_sides_of_a_given_split_are_noted(place):
    text = rows("0.png,a,train,p", "1.png,b,train,q", "2.png,a,val,p", header="path,label,split,group")
    assert (
        "warning: 1 group has pictures in train and in val or test, such as 'p': the accuracy may be too high by it"
        in written(place, text).open().notes[0]
    )


def test_a_table_with_test_and_no_val_is_judged_on_test(place):
    found = written(place, PLAIN.replace("2.png,cat,val", "2.png,cat,test")).open()
    assert set(found.splits) == {"train", "val"}
    assert "stand in for it" in found.notes[0]


# --- weights ----------------------------------------------------------------------------------------------------------

WEIGHTS = rows(
    "0.png,cat,train,2", "1.png,dog,train,1", "2.png,cat,val,5", "3.png,cat,train,0", header="path,label,split,weight"
)


def test_weights_are_one_on_average(place):
    found = written(place, WEIGHTS).open()
    assert found.weighted
    assert [found.weight(sample) for sample in found.split("train")] == pytest.approx([4 / 3, 2 / 3, 0])
    pictures = read_pictures(found, found.split("train"))
    torch.testing.assert_close(pictures.weights(), torch.tensor([4 / 3, 2 / 3, 0]))
    assert "0.667 to 1.33 times as much as on average in the loss, and 1 of 3 not at all" in found.notes[0]
    assert pickle.loads(pickle.dumps(found)).weight(found.split("train")[0]) == pytest.approx(4 / 3)


def test_equal_weights_are_none(place):
    found = written(place, rows(*(f"{i}.png,{'ab'[i % 2]},3" for i in range(12)), header="path,label,sample_weight")).open()
    assert not found.weighted
    assert read_pictures(found, found.split("train")).weights() is None
    assert found.notes[-1].startswith("the weights of all pictures to train on are equal")


def test_what_changes_other_sources_keeps_the_weights(place):
    text = rows(
        *(f"{i}.png,{'ab'[i % 2]},{'val' if i > 9 else 'train'},{i}" for i in range(12)), header="path,label,split,weight"
    )
    plain = written(place, text)
    whole = plain.open()
    weights = {sample.name: whole.weight(sample) for sample in whole.split("train")}
    changed = (
        Part(source=plain, share=0.5),
        InnerSplit(source=plain),
        Several(sets=(Set(name="one", source=plain), Set(name="two", source=plain))),
        Apart(train=plain, val=plain),
    )
    for source in changed:
        found = source.open()
        assert found.weighted, source
        for sample in found.split("train"):
            assert found.weight(sample) == weights[sample.name.rpartition("/")[2]], source
    repeated = Part(source=plain, share=0.5, repeat=True).open()
    assert {repeated.weight(sample) for sample in repeated.split("train")} <= set(weights.values())


def test_soft_labels_are_not_taken_for_classes(place):
    text = rows(*(f"{i}.png,0.3,0.7,{'val' if i > 9 else 'train'}" for i in range(12)), header="path,a,b,split")
    soft = written(place, text)
    with pytest.raises(ValueError, match=r"Part\.noise needs labels that are classes"):
        Part(source=soft, noise=0.2).open()
    with pytest.raises(ValueError, match="several sets together need labels that are classes"):
        Several(sets=(Set(name="one", source=soft), Set(name="two", source=Shapes(per_class=10)))).open()
    with pytest.raises(ValueError, match="Apart needs training labels that are classes"):
        Apart(train=soft, val=Shapes(per_class=10)).open()


# --- what is wrong ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"photos\.csv' is empty; it must have the names of the columns"),
        ("\n\n", r"photos\.csv, row 1: is empty"),
        ("path,label,split\n", r"photos\.csv' has a header and no rows"),
        (PLAIN + "no.png,cat,train\n", r"photos\.csv, row 6, column 'path': there is no file 'no\.png'; files are seen from"),
        (PLAIN + "in,cat,train\nno.png,cat,train\n", "row 6, column 'path': there is no file 'in', nor those of 1 other row"),
        (PLAIN + r"in\4.png,cat,train" + "\n", r"row 6, column 'path': there is no file .*; write / between folders"),
        (PLAIN + "https://a.b/4.png,cat,train\n", "row 6, column 'path': 'https://a.b/4.png' is an address"),
        (PLAIN + ",cat,train\n", "row 6, column 'path': the path is empty"),
        (PLAIN + "4.png,,train\n", "row 6, column 'label': there is no label"),
        (PLAIN + "4.png,,val\n", "row 6, column 'label': there is no label"),
        (PLAIN + "4.png,cat,trian\n", "row 6, column 'split': there is no split 'trian'; write train, val or test"),
        (PLAIN + "4.png,cat,\n", "row 6, column 'split': there is no split ''"),
        (PLAIN + "0.png,dog,train\n", r"row 6, column 'path': '0\.png' is in row 2 too, with other labels"),
        (PLAIN + "0.png,cat,val\n", r"row 6, column 'path': '0\.png' is in row 2 too, with other splits"),
        (PLAIN + "4.png,bird,val\n", r"row 6, column 'label': 'bird' is a class of no picture to train on; known: cat, dog"),
        (PLAIN + "4.png,cat\n", r"row 6: has 2 cells where the header has 3"),
        (PLAIN + "4.png,cat,train,x\n", r"row 6: has 4 cells where the header has 3"),
        (PLAIN + '4.png,"cat,train\n', r"row 6: unexpected end of data"),
        (PLAIN + '4.png,"c"at,train\n', r"row 6: ',' expected after"),
        (PLAIN + "4.png,Cat,train\n", r"the classes 'Cat' and 'cat' differ only in case or spaces"),
        (PLAIN + "4.png,c\0at,train\n", r"row 6: has a NUL byte"),
        (PLAIN.encode() + b"4.png,k\xe4fer,train\n", r"row 6: the byte 0xe4 is not UTF-8"),
        (PLAIN.encode("utf-16"), r"photos\.csv is UTF-16; save it as UTF-8"),
        (PLAIN.replace(",", ";"), r"row 1: has a single column, 'path;label;split'; it seems separated by ';'; write commas"),
        (PLAIN.replace(",", "\t"), r"it seems separated by tabs; name it \.tsv"),
        (PLAIN.replace("split", "label"), r"row 1: there are two columns 'label'"),
        (PLAIN.replace("split", "image"), r"row 1: has the columns 'path' and 'image'; say which it is with data.image=path"),
        (PLAIN.replace("path", "name"), r"row 1: has no column of files, which is called image_path, path,"),
        ("path,split\n0.png,train\n", "row 1: has no column of labels, which is called label, class, target"),
        (PLAIN.replace("dog", "cat"), r"has a single class, 'cat'; two are needed"),
        (rows("0.png,a|,train", "1.png,b,train"), r"row 2, column 'label': a class in 'a\|' is empty"),
        (rows("0.png,a|a,train", "1.png,b,train"), r"row 2, column 'label': a class in 'a\|a' is there twice"),
        (rows("0.png,a|b,val", "1.png,b,train"), r"row 2, column 'label': 'a\|b' is a class of no picture to train on"),
        (rows("0.png,1.5", header="path,a"), r"row 2, column 'a': 1\.5 is not in 0 to 1; a column for a class has 0, 1 or"),
        (rows("0.png,cat", header="path,species"), r"'cat' is no number; .* names the classes .* with data\.label=species"),
        (rows("0.png,x", header="path,a"), r"row 2, column 'a': 'x' is no number"),
        (rows("0.png,", header="path,a"), r"row 2, column 'a': the cell is empty"),
        (rows("0.png,nan", header="path,a"), r"row 2, column 'a': 'nan' is no number"),
        (rows("0.png,a,-1", header="path,label,weight"), r"row 2, column 'weight': a weight is 0 or more, got -1"),
        (rows("0.png,a,inf", header="path,label,weight"), r"row 2, column 'weight': 'inf' is no number; a weight is 0 or more"),
        (rows("0.png,a,0", "1.png,b,0", header="path,label,weight"), r"all rows to train on have the weight 0"),
        (PLAIN.replace(",train", ",val"), r"no row is of the split train"),
    ],
)
def test_what_is_wrong_is_said_with_its_place(place, text, message):
    with pytest.raises(ValueError, match=message):
        written(place, text).open()


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"image": "pth"}, r"has no column 'pth', which image=pth names; did you mean 'path'\?"),
        ({"labels": ("cat",)}, r"has no column 'cat', which labels names"),
        ({"root": "nowhere"}, r"there is no folder 'nowhere' for the pictures"),
        ({"label": "a", "labels": ("b",)}, "give one of them"),
        ({"val_share": 2.0}, r"Table\.val_share must be in \[0, 1\], got 2"),
    ],
)
def test_fields_that_do_not_fit_are_refused(place, fields, message):
    with pytest.raises(ValueError, match=message):
        written(place, PLAIN, **fields).open()


def test_one_class_a_picture_needs_rows_of_one(place):
    text = rows("0.png,1,0,train", "1.png,1,1,train", "2.png,0,1,val", header="path,cat,dog,split")
    with pytest.raises(ValueError, match="row 3, column 'cat': adds up to 2 with the other classes"):
        written(place, text, task="one").open()


def test_no_file_is_looked_for_if_not_asked(place):
    found = written(place, PLAIN + "no.png,cat,train\n", check_files=False).open()
    with pytest.raises(ValueError, match=r"no\.png: No such file"):
        found.image(found.split("train")[-1])


def test_there_must_be_a_table(place):
    with pytest.raises(ValueError, match="there is no file"):
        Table(path=str(place / "none.csv")).open()
    (place / "folder.csv").mkdir(exist_ok=True)
    with pytest.raises(ValueError, match="is a folder"):
        Table(path=str(place / "folder.csv")).open()


# --- Parquet ----------------------------------------------------------------------------------------------------------


def parquet(place, columns, **fields):
    pq.write_table(pa.table(columns), place / "photos.parquet")
    return Table(path=str(place / "photos.parquet"), **fields)


def test_parquet_says_what_csv_says(place):
    columns = {"path": ["0.png", "1.png", "2.png"], "label": ["cat", "dog", "cat"], "split": ["train", "train", "val"]}
    found = parquet(place, columns).open()
    assert labels(found) == {"0.png": "cat", "1.png": "dog"}
    assert source_named(str(place / "photos.parquet")).open().splits == found.splits
    assert labels(parquet(place, {**columns, "label": [7, 10, 7]}).open()) == {"0.png": "7", "1.png": "10"}
    assert labels(parquet(place, {**columns, "label": [7.0, 10.0, 7.0]}).open()) == {"0.png": "7", "1.png": "10"}
    several = parquet(place, {**columns, "label": [["a", "b"], [], ["b"]]}).open()
    assert several.task == AnyOf()
    assert several.target(several.split("train")[0]).tolist() == [1, 1]
    weighed = parquet(place, {**columns, "weight": [1.0, 3.0, 1.0]}).open()
    assert weighed.weight(weighed.split("train")[1]) == 1.5


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"path": ["0.png", None], "label": ["a", "b"]}, "row 2, column 'path': the path is empty"),
        ({"path": ["0.png", "x.png"], "label": ["a", "b"]}, r"row 2, column 'path': there is no file 'x\.png'"),
        ({"path": ["0.png", "1.png"], "label": ["a", None]}, "row 2, column 'label': there is no label"),
        ({"path": ["0.png", "1.png"], "label": [1.5, 2]}, r"row 1, column 'label': 1\.5 is neither the name nor the number"),
        ({"path": ["0.png", "1.png"], "label": [["a|b"], ["c"]]}, r"row 1, column 'label': a class in a list has \| or ;"),
        ({"path": ["0.png", "1.png"], "label": ["a", "b"], "weight": [1, None]}, "row 2, column 'weight': the cell is empty"),
        ({"path": ["0.png\0", "1.png"], "label": ["a", "b"]}, "row 1, column 'path': has a NUL byte"),
        ({"image": [{"bytes": b"", "path": ""}], "label": ["a"]}, "has the pictures themselves, not their paths"),
        ({"image": [b""], "label": ["a"]}, "has the pictures themselves, not their paths"),
    ],
)
def test_what_is_wrong_with_parquet_is_said_with_its_place(place, columns, message):
    with pytest.raises(ValueError, match=message):
        parquet(place, columns).open()


def test_a_damaged_parquet_file_is_said(place):
    source = parquet(place, {"path": ["0.png"], "label": ["a"]})
    data = (place / "photos.parquet").read_bytes()
    for broken in (b"", b"hello", data[:-10], data[: len(data) // 2]):
        (place / "photos.parquet").write_bytes(broken)
        with pytest.raises(ValueError, match=r"photos\.parquet' is no usable Parquet file"):
            source.open()


def test_without_pyarrow_it_is_said_what_to_install(place, monkeypatch):
    source = parquet(place, {"path": ["0.png"], "label": ["a"]})
    monkeypatch.setattr(table.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r"pip install 'paretina\[tables\]'"):
        source.open()


def require_name(name, error):
    assert name in str(error)


# --- attempts to break it ---------------------------------------------------------------------------------------------


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(tmp_path_factory, data):
    path = tmp_path_factory.getbasetemp() / "any.csv"
    path.write_bytes(data)
    with pytest.raises(ValueError, match=r"any\.csv"):  # it has no pictures
        Table(path=str(path)).open()


@settings(max_examples=150, deadline=None)
@given(
    st.lists(
        st.lists(st.sampled_from(["0.png", "1.png", "cat", "dog", "a|b", "train", "val", "0", "0.5", "", '"', "\n", "é"]))
    ),
    st.lists(st.sampled_from(["path", "label", "split", "weight", "group", "a", "b"]), max_size=6),
)
def test_any_cells_are_read_or_refused(place, lines, header):
    (place / "cells.csv").write_text("\n".join(",".join(line) for line in (header, *lines)))
    try:
        found = Table(path=str(place / "cells.csv"), copies="anywhere").open()
    except ValueError as error:
        require_name("cells.csv", error)
        return
    samples = [sample for split in found.splits.values() for sample in split]
    assert len({sample.name for sample in samples}) == len(samples)
    found.task.targets([found.target(sample) for sample in samples], len(found.classes))


def test_mutations_of_a_parquet_file_are_read_or_refused(place):
    source = parquet(place, {"path": ["0.png", "1.png"] * 20, "label": ["a", "b"] * 20, "split": ["train", "train"] * 20})
    data, draw = (place / "photos.parquet").read_bytes(), random.Random(0)
    for _ in range(60):
        broken = bytearray(data)
        for _ in range(draw.randint(1, 4)):
            broken[draw.randrange(len(broken))] = draw.randrange(256)
        (place / "photos.parquet").write_bytes(broken)
        try:
            source.open()
        except ValueError as error:
            require_name("photos.parquet", error)


# --- the cache --------------------------------------------------------------------------------------------------------


def test_a_large_table_opens_from_the_cache_until_it_changes(place, monkeypatch):
    monkeypatch.setattr(table, "MANY", 4)
    text = rows(
        "0.png,cat|dog,train,2,p",
        "1.png,dog,train,1,q",
        "2.png,,val,1,",
        "3.png,dog,test,1,r",
        header="path,label,split,weight,group",
    )
    source = written(place, text)
    first = source.open()
    with monkeypatch.context() as patched:
        patched.setattr(table.TableRows, "read", None)
        again = source.open()
    assert again == first
    for split, samples in first.splits.items():
        for sample in samples:
            assert again.target(sample).equal(first.target(sample)), split
            assert again.weight(sample) == first.weight(sample)
    written(place, text.replace("1.png,dog", "1.png,cat"))
    assert source.open().target(first.split("train")[1]).tolist() == [1, 0]


def test_a_damaged_cache_is_written_anew(place, monkeypatch, tmp_path):
    monkeypatch.setattr(table, "MANY", 4)
    source = written(place, PLAIN)
    first = source.open()
    (cached,) = (tmp_path / "cache" / "tables").iterdir()
    data, draw = cached.read_bytes(), random.Random(1)
    for broken in (b"", data[:100], data[: len(data) // 2], io.BytesIO(b"PK").getvalue()):
        cached.write_bytes(broken)
        assert source.open() == first
        assert cached.read_bytes() == data
    for _ in range(20):
        broken = bytearray(data)
        broken[draw.randrange(len(broken))] ^= 1 << draw.randrange(8)
        cached.write_bytes(broken)
        assert source.open() == first


def test_a_cache_that_cannot_be_written_is_done_without(place, monkeypatch, tmp_path):
    monkeypatch.setattr(table, "MANY", 4)
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("PARETINA_CACHE", str(tmp_path / "file"))
    assert written(place, PLAIN).open().classes == ("cat", "dog")
