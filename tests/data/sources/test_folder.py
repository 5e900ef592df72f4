import json
import os
import pickle
import shutil
import unicodedata
from collections import defaultdict

import numpy as np
import pytest
from PIL import Image

from paretina.data.decode import DecodeError
from paretina.data.likeness import leaks
from paretina.data.source import Source
from paretina.data.sources.folder import Folder
from paretina.data.split import held_out
from paretina.spec import decode


def fill(root, *names):
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix in (".png", ".JPG"):
            Image.new("RGB", (3, 2), "red").save(path, "PNG")
        else:
            path.write_text("not a picture")


def names(collection, split):
    return [sample.name for sample in collection.split(split)]


def opened(root, **fields):
    return Folder(path=str(root), **fields).open()


def test_reads_train_and_val_as_they_are(tmp_path):
    fill(tmp_path, "train/dog/1.png", "train/cat/2.png", "train/cat/1.png", "val/dog/3.png", "val/cat/3.png")
    collection = opened(tmp_path)
    assert collection.classes == ("cat", "dog")
    assert names(collection, "train") == ["train/cat/1.png", "train/cat/2.png", "train/dog/1.png"]
    assert [sample.label for sample in collection.split("train")] == [0, 0, 1]
    assert names(collection, "val") == ["val/cat/3.png", "val/dog/3.png"]
    assert collection.notes == ()
    assert collection.mirrors
    assert collection.image(collection.split("val")[0]).shape == (3, 2, 3)


@pytest.mark.parametrize(("train", "val"), [("train", "valid"), ("Train", "Validation"), ("training", "val")])
def test_knows_the_usual_names_of_splits(tmp_path, train, val):
    fill(tmp_path, f"{train}/a/1.png", f"{train}/b/1.png", f"{val}/a/2.png", f"{val}/b/2.png", "test/a/3.png")
    collection = opened(tmp_path)
    assert list(collection.splits) == ["train", "val", "test"]
    assert names(collection, "val") == [f"{val}/a/2.png", f"{val}/b/2.png"]
    assert names(collection, "test") == ["test/a/3.png"]
    assert collection.notes == ("classes that have no pictures in test/: b",)


def test_takes_test_for_val_only_where_there_is_none_and_says_so(tmp_path):
    fill(tmp_path, "train/a/1.png", "train/b/1.png", "test/a/2.png", "test/b/2.png")
    collection = opened(tmp_path)
    assert list(collection.splits) == ["train", "val"]
    assert names(collection, "val") == ["test/a/2.png", "test/b/2.png"]
    assert "test stand in" in collection.notes[0]


def test_splits_class_folders_the_same_way_whatever_is_added(tmp_path):
    fill(tmp_path, *(f"{kind}/{n}.png" for kind in ("cat", "dog") for n in range(30)))
    before = opened(tmp_path)
    train, val = names(before, "train"), names(before, "val")
    assert set(train).isdisjoint(val)
    assert len(train) + len(val) == 60
    assert {name.split("/")[0] for name in val} == {"cat", "dog"}
    assert f"{len(val)} of 60 pictures" in before.notes[0]
    fill(tmp_path, "cat/new.png", "emu/1.png", "emu/2.png")
    after = opened(tmp_path)
    assert set(val) <= set(names(after, "val"))
    assert set(train) <= set(names(after, "train"))
    assert [name for name in names(after, "val") if name.startswith("emu")] != []


def test_splits_train_where_there_is_neither_val_nor_test(tmp_path):
    fill(tmp_path, *(f"train/{kind}/{n}.png" for kind in ("cat", "dog") for n in range(5)))
    collection = opened(tmp_path, val_share=0.4)
    assert {name.split("/")[1] for name in names(collection, "val")} == {"cat", "dog"}
    assert "there is no val folder" in collection.notes[0]


def test_a_share_of_one_holds_out_everything_even_a_single_class(tmp_path):
    fill(tmp_path, "cat/1.png", "cat/2.png")
    collection = opened(tmp_path, val_share=1.0)
    assert names(collection, "train") == []
    assert names(collection, "val") == ["cat/1.png", "cat/2.png"]


def test_says_which_classes_have_no_picture_to_hold_out(tmp_path):
    fill(tmp_path, "cat/1.png", "cat/2.png", "dog/1.png")
    assert "classes with a single picture have none in val: dog" in opened(tmp_path).notes


def test_finds_pictures_deeper_inside_a_class_and_behind_links(tmp_path):
    fill(tmp_path, "data/cat/1.png", "data/cat/black/old/2.png", "data/dog/1.JPG", "data/dog/2.png", "elsewhere/3.png")
    (tmp_path / "data/dog/linked").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "data/dog/up").symlink_to(tmp_path / "data/dog")
    collection = opened(tmp_path / "data")
    found = sorted(names(collection, "train") + names(collection, "val"))
    assert found == ["cat/1.png", "cat/black/old/2.png", "dog/1.JPG", "dog/2.png", "dog/linked/3.png"]
    assert "files left out: links to a folder above them: 1" in collection.notes


def test_counts_what_it_leaves_out(tmp_path):
    fill(tmp_path, "cat/1.png", "cat/2.png", "dog/1.png", "dog/2.png", "empty/notes.txt", "loose.png", "readme.txt")
    fill(tmp_path, "cat/.hidden.png", "dog/README", ".git/x.png")
    notes = opened(tmp_path).notes
    assert "folders without pictures are not classes, left out: empty/" in notes
    assert "files left out: .txt: 2, hidden: 2, no suffix: 1, pictures outside of class folders: 1" in notes


def test_says_which_folders_lie_beside_the_splits(tmp_path):
    fill(tmp_path, "train/a/1.png", "train/b/1.png", "val/a/2.png", "val/b/2.png", "raw/x/1.png")
    assert opened(tmp_path).notes == ("folders beside train/, val/ were left out: raw",)


def test_splits_by_other_names_are_taken_as_they_are(tmp_path):
    fill(tmp_path, *(f"{split}/{kind}/{n}.png" for split in ("training_set", "test_set") for kind in "ab" for n in range(3)))
    fill(tmp_path, "test_set/readme.txt", "loose.png", "@eaDir/x/1.png")
    collection = opened(tmp_path)
    assert collection.classes == ("a", "b")
    assert names(collection, "train") == [f"training_set/{kind}/{n}.png" for kind in "ab" for n in range(3)]
    assert names(collection, "val") == [f"test_set/{kind}/{n}.png" for kind in "ab" for n in range(3)]
    assert collection.notes == (
        "by their names, training_set/ is taken as train, test_set/ is taken as test",
        "there is no val folder, so the pictures in test stand in for it; nothing is left to test on",
        "files left out: .txt: 1, pictures outside of class folders: 1, system folders @eaDir: 1",
    )


def test_a_folder_around_it_all_changes_neither_names_nor_the_split(tmp_path):
    fill(tmp_path, *(f"deeper/set/{kind}/{n}.png" for kind in ("cat", "dog") for n in range(9)), "deeper/readme.txt")
    (tmp_path / "deeper/docs").mkdir()
    inner, outer = opened(tmp_path / "deeper/set"), opened(tmp_path)
    assert outer.splits == inner.splits
    assert outer.image(outer.split("val")[0]).shape == (3, 2, 3)
    assert "folders beside set/ were left out: docs (no pictures)" in outer.notes
    assert "files left out: .txt: 1" in outer.notes
    assert sum("so that folder is read" in note for note in outer.notes) == 2


def test_unlabelled_pictures_to_test_on_are_set_aside_with_the_reason(tmp_path):
    fill(tmp_path, "train/a/1.png", "train/a/2.png", "train/b/1.png", "test/1.png")
    (tmp_path / "val").mkdir()
    assert "folders beside train/ were left out: test (no class folders in it), val (no pictures)" in opened(tmp_path).notes


def test_an_empty_test_folder_does_not_stand_in_for_val(tmp_path):
    fill(tmp_path, "train/a/1.png", "train/a/2.png", "train/b/1.png", "train/b/2.png")
    (tmp_path / "test/a").mkdir(parents=True)
    collection = opened(tmp_path)
    assert list(collection.splits) == ["train", "val"]
    assert len(collection.split("val")) == 2
    assert "folders without pictures are not classes, left out: test/a/" in collection.notes


def test_what_are_classes_can_be_said(tmp_path):
    fill(tmp_path, *(f"fold{fold}/{kind}/1.png" for fold in (1, 2) for kind in "ab"))
    with pytest.raises(ValueError, match=r"look like parts of one set.*data\.layout=classes"):
        opened(tmp_path)
    assert opened(tmp_path, layout="classes").classes == ("fold1", "fold2")


def test_what_a_run_of_an_earlier_release_wrote_down_is_read_as_it_was_then(tmp_path):
    fill(tmp_path, *(f"{split}/{kind}/{n}.png" for split in ("fold1", "fold2") for kind in ("a", "b") for n in range(3)))
    then = {"kind": "Folder", "path": str(tmp_path), "val_share": 0.2, "mirrors": True}
    collection = Folder.from_json(json.dumps(then)).open()
    assert collection.classes == ("fold1", "fold2")
    assert names(collection, "val") == ["fold1/a/1.png", "fold1/b/2.png", "fold2/a/0.png", "fold2/b/0.png"]
    source = Folder(path=str(tmp_path))
    assert Folder.from_json(source.to_json()) == source
    assert Folder.from_json(json.dumps({"kind": "Folder", "path": str(tmp_path)})) == source


def test_a_plain_reading_doubts_nothing(tmp_path):
    fill(tmp_path, "train/a/1.png", "train/A /1.png", "dev/a/2.png", "car/1.png")
    collection = opened(tmp_path, layout="plain", val_share=0.0)
    assert collection.classes == ("A ", "a")
    assert names(collection, "train") == ["train/A /1.png", "train/a/1.png"]
    assert "folders beside train/ were left out: car, dev" in collection.notes
    with pytest.raises(ValueError, match=r"layout cannot be .splits.; known: auto, classes, plain"):
        Folder(path="x", layout="splits")


NFC, NFD = unicodedata.normalize("NFC", "Äpfel"), unicodedata.normalize("NFD", "Äpfel")


@pytest.fixture
def keeps_forms(tmp_path):
    for name in (NFC, NFD):
        (tmp_path / "probe" / name).mkdir(parents=True, exist_ok=True)
    if len(os.listdir(tmp_path / "probe")) < 2:
        pytest.skip("this file system has one form of a name")


@pytest.mark.usefixtures("keeps_forms")
def test_the_forms_of_unicode_are_one_class_between_splits(tmp_path):
    fill(tmp_path, f"set/train/{NFD}/1.png", "set/train/Birnen/1.png", f"set/val/{NFC}/2.png", "set/val/Birnen/2.png")
    collection = opened(tmp_path / "set")
    assert collection.classes == (NFD, "Birnen")  # as in the folder, so that a run of it continues with the same numbers
    assert [sample.label for sample in collection.split("val")] == [0, 1]
    assert collection.notes == ()


@pytest.mark.usefixtures("keeps_forms")
def test_the_forms_of_unicode_are_one_class_in_one_folder(tmp_path):
    fill(tmp_path, *(f"set/{name}/{n}.png" for name in (NFC, NFD, "Birnen") for n in (1, 2)))
    collection = opened(tmp_path / "set", val_share=0.0)
    assert collection.classes == ("Birnen", NFC)
    assert sorted(sample.name for sample in collection.split("train") if sample.label == 1) == sorted(
        f"{name}/{n}.png" for name in (NFC, NFD) for n in (1, 2)
    )
    assert f"{NFC} is there in two Unicode forms, which are taken as one class" in collection.notes


@pytest.mark.parametrize("name", ["cat", "CAT", " Cat", "cat "])
def test_case_and_spaces_make_no_other_class_between_splits(tmp_path, name):
    fill(tmp_path, "train/Cat/1.png", "train/dog/1.png", f"val/{name}/2.png", "val/dog/2.png")
    collection = opened(tmp_path)
    assert collection.classes == ("Cat", "dog")
    assert names(collection, "val") == [f"val/{name}/2.png", "val/dog/2.png"]
    assert [sample.label for sample in collection.split("val")] == [0, 1]
    assert collection.notes == (
        f"names in val/ that differ only in case or spaces are taken for those in train/: {name!r} as 'Cat'",
    )


@pytest.mark.parametrize("split", ["", "train/", "val/"])
@pytest.mark.parametrize("name", ["cat", "Cat "])
def test_case_and_spaces_make_no_two_classes_in_one_folder(tmp_path, split, name):
    fill(
        tmp_path,
        *(f"{part}{kind}/1.png" for part in ({"", split} if not split else ("train/", "val/")) for kind in ("Cat", "dog")),
    )
    fill(tmp_path, f"{split}{name}/2.png")
    if name not in os.listdir(tmp_path / split) or "Cat" not in os.listdir(tmp_path / split):
        pytest.skip("this file system knows no case")
    with pytest.raises(ValueError, match=rf"the class folders 'Cat' and '{name}' in .* differ only in case or spaces"):
        opened(tmp_path)


def test_letters_in_both_cases_are_classes_of_their_own(tmp_path):
    fill(tmp_path, "A/1.png", "B/1.png", "a/1.png")
    if len(os.listdir(tmp_path)) < 3:
        pytest.skip("this file system knows no case")
    collection = opened(tmp_path, val_share=0.0)
    assert collection.classes == ("A", "B", "a")
    assert "letters in both cases are taken as classes of their own: A, a" in collection.notes


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="whoever runs this may list everything")
def test_a_folder_that_cannot_be_listed_is_named(tmp_path):
    fill(tmp_path, "a/1.png", "b/1.png")
    (tmp_path / "b").chmod(0)
    try:
        with pytest.raises(ValueError, match=r"cannot list .*b: Permission denied"):
            opened(tmp_path)
    finally:
        (tmp_path / "b").chmod(0o755)


def test_a_class_may_be_called_train(tmp_path):
    fill(tmp_path, "train/1.png", "train/2.png", "plane/1.png", "plane/2.png")
    assert opened(tmp_path).classes == ("plane", "train")


@pytest.mark.skipif(os.name == "nt", reason="names are text there")
def test_leaves_out_names_that_cannot_be_written_down(tmp_path):
    fill(tmp_path, "cat/1.png", "cat/2.png", "dog/1.png", "dog/2.png")
    bad = os.path.join(os.fsencode(tmp_path), b"cat", b"caf\xe9.png")
    try:
        with open(bad, "wb"):
            pass
    except OSError:
        pytest.skip("this file system refuses such names")
    assert "files left out: names that are not valid text: 1" in opened(tmp_path).notes


def unwritable(root, *names):
    """A picture in each folder, whose name need not be valid text."""
    for name in names:
        folder = os.path.join(os.fsencode(root), name)
        try:
            os.makedirs(folder)
        except OSError:
            pytest.skip("this file system refuses such names")
        shutil.copy(root / "cat/1.png", os.path.join(folder, b"1.png"))


@pytest.mark.skipif(os.name == "nt", reason="names are text there")
def test_a_class_whose_name_cannot_be_written_down_is_named_with_what_it_holds(tmp_path):
    fill(tmp_path, "cat/1.png", "cat/2.png", "dog/1.png", "dog/2.png")
    unwritable(tmp_path, b"K\xe4se", b"K\xe4se/alt")
    os.makedirs(os.path.join(os.fsencode(tmp_path), b"\xff"))
    assert opened(tmp_path).notes[-1] == (
        "files left out: folders whose name is not valid text: 1, "
        r"pictures in 'K\xe4se', whose name is not valid text (rename the folder): 2"
    )


@pytest.mark.skipif(os.name == "nt", reason="names are text there")
def test_a_class_whose_name_cannot_be_written_down_is_named_where_too_few_are_left(tmp_path):
    fill(tmp_path, "cat/1.png")
    unwritable(tmp_path, b"K\xe4se")
    with pytest.raises(ValueError, match=r"a single class, 'cat' \(.*pictures in 'K\\xe4se', .* \(rename the folder\): 1\); a"):
        opened(tmp_path)


def test_other_letters_are_other_classes_between_splits(tmp_path):
    fill(tmp_path, "train/Maße/1.png", "train/Holz/1.png", "val/Masse/2.png", "val/Holz/2.png")
    with pytest.raises(ValueError, match="val/ has the class 'Masse', which has no pictures in train/"):
        opened(tmp_path)


def test_a_space_that_cannot_be_seen_is_told_by_name(tmp_path):
    fill(tmp_path, "train/black cat/1.png", "train/dog/1.png", "val/black\u00a0cat/2.png", "val/dog/2.png")
    assert "'black<no-break space>cat' as 'black cat'" in opened(tmp_path).notes[0]


def test_what_cannot_be_read_is_named(tmp_path):
    fill(tmp_path, "a/1.png", "b/1.png")
    (tmp_path / "a/bad.png").write_text("")
    (tmp_path / "b/gone.png").symlink_to(tmp_path / "nowhere.png")
    collection = opened(tmp_path, val_share=0.0)
    found = {sample.name: sample for sample in collection.split("train")}
    assert collection.image(found["a/1.png"]).shape == (3, 2, 3)
    with pytest.raises(DecodeError, match=r"^a/bad\.png: the file is empty$"):
        collection.image(found["a/bad.png"])
    with pytest.raises(DecodeError, match=r"^b/gone\.png: No such file"):
        collection.image(found["b/gone.png"])


def test_a_strange_class_in_val_is_an_error_with_the_near_name(tmp_path):
    fill(tmp_path, "train/cat/1.png", "train/dog/1.png", "val/dgo/1.png", "val/cat/1.png")
    with pytest.raises(ValueError, match=r"val/ has the class 'dgo', which has no pictures in train/; did you mean 'dog'\?"):
        opened(tmp_path)


@pytest.mark.parametrize(
    ("files", "path", "message"),
    [
        ([], "nowhere", "there is no folder"),
        (["a.png"], "a.png", "is a file; name the folder"),
        (["readme.txt"], ".", r"has no pictures \(files left out: .txt: 1\); one folder per class is needed"),
        (["1.png", "2.png"], ".", "has 2 pictures but no class folders"),
        (["cat/1.png", "dog/readme.txt"], ".", "has a single class, 'cat'; a classifier needs two or more"),
        (["train/cat/1.png", "val/cat/1.png"], ".", "train' has a single class, 'cat'"),
        (["val/cat/1.png", "val/dog/1.png"], ".", "has val/ but no train/"),
        (["dataset/cat/1.png", "dataset/dog/1.png", "1.png"], ".", r"if the classes are cat/ and dog/ in it, name '.*dataset'"),
        (["train/a/1.png", "train/b/1.png", "val/a/notes.txt"], ".", r"val' has folders but no pictures in them"),
        (["@eaDir/cat/1.png", ".cat/1.png"], ".", r"no pictures \(files left out: hidden: 1, system folders @eaDir: 1\)"),
        (["train/a/1.png", "val/a/1.png", "valid/a/1.png"], ".", "val and valid .* are both named like the val split"),
    ],
)
def test_says_what_is_missing(tmp_path, files, path, message):
    fill(tmp_path, *files)
    with pytest.raises(ValueError, match=message):
        opened(tmp_path / path)


def test_a_share_outside_its_range_is_refused():
    with pytest.raises(ValueError, match=r"val_share must be in \[0, 1\], got 20.0"):
        Folder(path="x", val_share=20.0)


def test_survives_json_and_pickle_and_writes_nothing(tmp_path):
    fill(tmp_path, "a/1.png", "a/2.png", "b/1.png", "b/2.png")
    source = Folder(path=str(tmp_path), mirrors=False)
    assert Folder.from_json(source.to_json()) == source
    before = sorted(tmp_path.rglob("*"))
    collection = source.open()
    assert not collection.mirrors
    again = pickle.loads(pickle.dumps(collection))
    assert again == collection
    assert again.image(again.split("train")[0]).shape == (3, 2, 3)
    assert sorted(tmp_path.rglob("*")) == before


def test_does_not_depend_on_where_it_is_asked_later(tmp_path, monkeypatch):
    fill(tmp_path, "photos/a/1.png", "photos/b/1.png")
    monkeypatch.chdir(tmp_path)
    collection = Folder(path="photos").open()
    monkeypatch.chdir("/")
    assert collection.image(collection.split("train")[0]).shape == (3, 2, 3)


# --- copies -----------------------------------------------------------------------------------------------------------


def fill_with_noise(root, *names):
    """A picture of its own under each name, which follows from the name."""
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(list(name.encode())).integers(0, 256, (40, 40, 3), np.uint8)
        Image.fromarray(pixels).save(root / name)


KINDS = [f"{kind}/{n}.png" for kind in ("cat", "dog") for n in range(20)]


def test_without_copies_the_split_is_that_of_the_names(tmp_path):
    fill_with_noise(tmp_path, *KINDS)
    collection, plain = opened(tmp_path), opened(tmp_path, copies="anywhere")
    assert collection.splits == plain.splits
    assert collection.notes == plain.notes
    assert (collection.moved, plain.moved) == ((), None)
    assert set(names(collection, "val")) == held_out(KINDS, [name[0] == "d" for name in KINDS], 0.2)


def copied(root):
    """Four of each picture: as it is, copied, as another format, and compressed."""
    fill_with_noise(root, *KINDS)
    for name in KINDS:
        picture = Image.open(root / name)
        shutil.copy(root / name, root / f"{name}.copy.png")
        picture.save(root / f"{name}.bmp")
        picture.save(root / f"{name}.jpg", quality=95, subsampling=0)


def sides(collection):
    """Picture -> the splits that it is in, by the number in its name."""
    found = defaultdict(set)
    for split, samples in collection.splits.items():
        for sample in samples:
            found[sample.name.partition(".png")[0]].add(split)
    return found


def test_copies_stay_on_one_side(tmp_path):
    copied(tmp_path)
    collection = opened(tmp_path)
    assert {len(found) for found in sides(collection).values()} == {1}
    assert {kind for kind, _ in (name.split("/") for name in names(collection, "val"))} == {"cat", "dog"}
    assert f"{len(collection.moved)} pictures are on the other side than by name" in collection.notes[1]
    assert leaks(collection).warning() == ""
    assert {len(found) for found in sides(opened(tmp_path, copies="anywhere")).values()} == {1, 2}


def test_what_was_decided_stays_whatever_the_pictures_become(tmp_path, monkeypatch):
    copied(tmp_path)
    source = Folder(path=str(tmp_path))
    before = source.open()
    pinned = source.pinned(before)
    assert pinned.moved == before.moved
    assert Folder.from_json(pinned.to_json()) == pinned
    fill(tmp_path, *KINDS)  # all red now
    monkeypatch.setattr("paretina.data.likeness.looked_at", None)
    after = pinned.open()
    assert (after.splits, after.notes) == (before.splits, before.notes)


def test_a_folder_that_was_written_down_by_an_earlier_release_is_split_by_names_alone(tmp_path):
    copied(tmp_path)
    old = f'{{"kind": "Folder", "path": "{tmp_path}", "val_share": 0.3, "mirrors": false}}'
    source = decode(Source, json.loads(old))
    assert source == Folder(path=str(tmp_path), val_share=0.3, mirrors=False, copies="anywhere", layout="plain")
    assert source.pinned(source.open()) == source
    every = [sample.name for samples in source.open().splits.values() for sample in samples]
    assert set(names(source.open(), "val")) == held_out(every, [name[0] == "d" for name in every], 0.3)


def test_a_split_that_is_there_is_left_alone(tmp_path, monkeypatch):
    fill(tmp_path, "train/a/1.png", "train/b/1.png", "val/a/2.png", "val/b/2.png")
    monkeypatch.setattr("paretina.data.likeness.looked_at", None)
    collection = opened(tmp_path)
    assert collection.moved is None
    assert Folder(path=str(tmp_path)).pinned(collection) == Folder(path=str(tmp_path))
    shutil.rmtree(tmp_path / "val")
    assert opened(tmp_path, val_share=1.0).moved is None


def test_where_all_are_copies_of_one_the_names_decide_and_it_is_said(tmp_path):
    fill(tmp_path, *KINDS)
    collection = opened(tmp_path)
    assert collection.splits == opened(tmp_path, copies="anywhere").splits
    assert "all pictures are copies of each other, so they were split as if they were not" in collection.notes
    assert leaks(collection).equal == len(collection.split("val"))


def test_a_class_of_copies_has_none_in_val_and_it_is_said(tmp_path):
    fill(tmp_path, "red/1.png", "red/2.png")
    fill_with_noise(tmp_path, *KINDS)
    collection = opened(tmp_path)
    assert [name for name in names(collection, "val") if name.startswith("red")] == []
    assert collection.notes[-1] == (
        "classes whose pictures are all copies of each other or of other classes have none in val: red"
    )
