"""Sources that change which pictures of other sources are trained on, and what is said of them."""

import inspect
import json
import pickle
import shutil
from dataclasses import replace

import numpy as np
import PIL.Image
import pytest
import torch

from paretina.data.source import Collection, Source, WrappedCollection
from paretina.data.sources.apart import NO_LABEL, Apart
from paretina.data.sources.arrays import Arrays
from paretina.data.sources.fold import Fold
from paretina.data.sources.folder import Folder
from paretina.data.sources.image_patches import ImagePatches
from paretina.data.sources.inner_split import InnerSplit
from paretina.data.sources.pseudo import Pseudo
from paretina.data.sources.several import Set, Several
from paretina.data.sources.shapes import Shapes
from paretina.data.sources.table import Table
from paretina.data.sources.unlabelled import Unlabelled
from paretina.data.sources.without_labels import WithoutLabels
from paretina.model.tasks.nothing import Nothing
from paretina.model.tasks.one_of import OneOf
from paretina.spec import encode
from tiny import noise_npz


def draw(path, level, side=20):
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(level).integers(0, 30, (side, side, 3))
    PIL.Image.fromarray((noise + level).astype(np.uint8)).save(path)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    root = tmp_path_factory.mktemp("wrapping")
    for number in range(20):
        draw(root / "loose" / f"{number:02d}.png", 10 * number)
        draw(root / "labelled" / ("cat" if number % 2 else "dog") / f"{number:02d}.png", 10 * number + 3)
    draw(root / "loose" / "deeper" / "x.png", 77)
    (root / "loose" / "notes.txt").write_text("no picture")
    draw(root / "large.png", 40, side=128)
    return root


# --- Unlabelled ---------------------------------------------------------------------------------------------------------------


def test_pictures_that_are_made_by_their_class_stay_what_they_are_without_labels():
    source = Shapes(per_class=3, val_per_class=2)
    whole, found = source.open(), WithoutLabels(source=source, classes=("a", "b")).open()
    assert found.task == Nothing()
    assert found.classes == ("a", "b")
    for split in ("train", "val"):
        for sample, own in zip(whole.split(split), found.split(split), strict=True):
            assert (own.name, own.label) == (sample.name, 0)
            assert torch.equal(found.image(own), whole.image(sample))
            assert found.target(own) == 0
    with pytest.raises(ValueError, match="needs at least one name"):
        WithoutLabels(source=source, classes=())


def test_pictures_keep_their_weights_without_labels(place, tmp_path):
    pictures = sorted((place / "labelled").rglob("*.png"))
    rows = [f"{path},{path.parent.name},{1 + number % 3}" for number, path in enumerate(pictures)]
    (tmp_path / "weighted.csv").write_text("\n".join(["path,label,weight", *rows, ""]))
    whole = Table(path=str(tmp_path / "weighted.csv"))
    before, found = whole.open(), WithoutLabels(source=whole).open()
    assert found.weighted is before.weighted is True
    for sample, own in zip(before.split("train"), found.split("train"), strict=True):
        assert found.weight(own) == before.weight(sample)


def test_all_pictures_of_a_folder_are_found_at_any_depth(place):
    found = Unlabelled(path=str(place / "loose")).open()
    names = {sample.name for samples in found.splits.values() for sample in samples}
    assert len(names) == 21
    assert "deeper/x.png" in names
    assert found.task == Nothing()
    assert found.split("val")
    assert any("files left out: .txt: 1" in note for note in found.notes)
    assert found.image(found.split("train")[0]).shape == (3, 20, 20)


def test_the_split_does_not_move_when_pictures_are_added(place, tmp_path):
    before = Unlabelled(path=str(place / "loose"), val_share=0.3).open()
    more = tmp_path / "more"
    more.mkdir()
    for sample in (*before.split("train"), *before.split("val")):
        (more / sample.name).parent.mkdir(parents=True, exist_ok=True)
        (more / sample.name).write_bytes((place / "loose" / sample.name).read_bytes())
    draw(more / "new.png", 99)
    after = Unlabelled(path=str(more), val_share=0.3).open()
    assert set(before.split("val")) <= set(after.split("val"))
    assert set(before.split("train")) <= set(after.split("train"))


@pytest.mark.parametrize(("name", "said"), [("nowhere", "there is no folder"), ("large.png", "is a file; name a folder")])
def test_what_is_no_folder_is_said(place, name, said):
    with pytest.raises(ValueError, match=said):
        Unlabelled(path=str(place / name)).open()


def test_a_folder_without_pictures_is_said(tmp_path):
    (tmp_path / "a.txt").write_text("")
    with pytest.raises(ValueError, match=r"has 0 pictures \(files left out: .txt: 1\); learning needs two or more"):
        Unlabelled(path=str(tmp_path)).open()


# --- Apart --------------------------------------------------------------------------------------------------------------------


def test_training_pictures_without_labels_are_judged_on_labelled_ones(place):
    found = Apart(train=Unlabelled(path=str(place / "loose")), val=Folder(path=str(place / "labelled"))).open()
    assert found.classes == ("cat", "dog")
    assert found.task == OneOf()
    assert {sample.label for sample in found.split("train")} == {NO_LABEL}
    assert all(float(found.target(sample)) == NO_LABEL for sample in found.split("train"))
    assert {sample.label for sample in found.split("val")} == {0, 1}
    assert OneOf().targets([found.target(found.split("train")[0])], 2).tolist() == [[0.0, 0.0]]
    assert found.image(found.split("train")[0]).shape == found.image(found.split("val")[0]).shape


def test_labels_are_matched_by_name(tmp_path):
    images, splits = np.zeros((4, 8, 8), np.uint8), ["train", "train", "val", "val"]
    first, second = tmp_path / "first.npz", tmp_path / "second.npz"
    np.savez(first, images=images, labels=[0, 1, 0, 1], split=splits, classes=["b", "z"])
    np.savez(second, images=images, labels=[0, 1, 0, 1], split=splits, classes=["a", "b"])
    found = Apart(train=Arrays(path=str(first)), val=Arrays(path=str(second))).open()
    assert [sample.label for sample in found.split("train")] == [1, NO_LABEL]
    assert any("1 of 2 training pictures have no label" in note for note in found.notes)


def test_dense_tasks_are_refused(tmp_path):
    with pytest.raises(ValueError, match="there is no file"):
        Apart(train=Shapes(per_class=2), val=Arrays(path=str(tmp_path / "none.npz"))).open()


# --- Several ------------------------------------------------------------------------------------------------------------------


def test_pictures_of_several_sources_are_trained_on_together(tmp_path):
    one, two = (noise_npz(tmp_path / f"{name}.npz", count, 3) for name, count in (("one", 6), ("two", 9)))
    found = Several(sets=(Set(name="one", source=Arrays(path=one)), Set(name="two", source=Arrays(path=two)))).open()
    assert len(found.split("train")) == 15
    assert len(found.split("val")) == 3
    names = [sample.name for sample in found.split("train")]
    assert len(set(names)) == 15
    assert torch.equal(
        found.image(found.split("train")[0]), Arrays(path=one).open().image(Arrays(path=one).open().split("train")[0])
    )
    assert found.classes == ("a", "b", "c")


def test_sets_have_names_of_their_own():
    with pytest.raises(ValueError, match="each with a name of its own, got a, a"):
        Several(sets=(Set(name="a", source=Shapes()), Set(name="a", source=Shapes(seed=1))))
    with pytest.raises(ValueError, match="has no slash, got 'a/b'"):
        Set(name="a/b", source=Shapes())


# --- Pseudo -------------------------------------------------------------------------------------------------------------------


def written(path, classes, labels):
    path.write_text(json.dumps({"classes": classes, "labels": labels}))
    return str(path)


def test_labels_come_from_the_file(place, tmp_path):
    labels = written(tmp_path / "labels.json", ["cat", "dog"], {"00.png": "dog", "01.png": "cat", "deeper/x.png": "dog"})
    found = Pseudo(source=Unlabelled(path=str(place / "loose"), val_share=0.0), labels=labels).open()
    assert [(sample.name, sample.label) for sample in found.split("train")] == [
        ("00.png", 1),
        ("01.png", 0),
        ("deeper/x.png", 1),
    ]
    assert found.task == OneOf()
    assert any("3 of 21 pictures have labels of a model" in note for note in found.notes)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "is no file of labels"),
        ("[1, 2]", "is no file of labels"),
        ('{"classes": ["a"]}', "is no file of labels"),
        ('{"classes": ["a", 3], "labels": {}}', "has classes or labels that are no names"),
        ('{"classes": ["a"], "labels": {"00.png": "b"}}', "has the label 'b', which is none of its classes"),
        ('{"classes": ["a"], "labels": {"other.png": "a"}}', "names no training picture of this data"),
    ],
)
def test_a_file_of_something_else_is_refused(place, tmp_path, text, said):
    (tmp_path / "labels.json").write_text(text)
    with pytest.raises(ValueError, match=said):
        Pseudo(source=Unlabelled(path=str(place / "loose")), labels=str(tmp_path / "labels.json")).open()


def test_a_missing_file_is_named(place):
    with pytest.raises(ValueError, match=r"cannot read nowhere\.json: No such file"):
        Pseudo(source=Unlabelled(path=str(place / "loose")), labels="nowhere.json").open()


# --- InnerSplit ---------------------------------------------------------------------------------------------------------------


def test_validation_pictures_are_not_among_those_judged_on(tmp_path):
    source = Arrays(path=noise_npz(tmp_path / "noise.npz", 30, 6))
    whole, found = source.open(), InnerSplit(source=source, share=0.3).open()
    train = {sample.name for sample in whole.split("train")}
    held, kept = ({sample.name for sample in found.split(split)} for split in ("val", "train"))
    assert held | kept == train
    assert not held & kept
    assert held
    assert {sample.label for sample in found.split("val")} == {0, 1, 2}


# --- ImagePatches -------------------------------------------------------------------------------------------------------------


def test_a_patch_follows_from_seed_and_number(place):
    source = ImagePatches(path=str(place / "large.png"), count=5, size=16)
    one, two = source.open(), source.open()
    for sample in one.split("train"):
        assert torch.equal(one.image(sample), two.image(sample))
        assert one.image(sample).shape == (3, 16, 16)
        assert one.image(sample).dtype == torch.uint8
    other = replace(source, seed=1).open()
    assert not torch.equal(one.image(one.split("train")[0]), other.image(other.split("train")[0]))
    assert not torch.equal(one.image(one.split("train")[0]), one.image(one.split("train")[1]))


def test_patches_leave_the_generator_as_it_was(place):
    found = ImagePatches(path=str(place / "large.png"), count=5, size=16).open()
    torch.manual_seed(0)
    before = torch.get_rng_state()
    found.image(found.split("train")[0])
    assert torch.equal(torch.get_rng_state(), before)


def test_few_corners_stay_black(tmp_path):
    PIL.Image.new("RGB", (256, 256), (200, 200, 200)).save(tmp_path / "grey.png")
    found = ImagePatches(path=str(tmp_path / "grey.png"), count=300, size=32).open()
    black = [float((found.image(sample) == 0).all(0).float().mean()) for sample in found.split("train")]
    # turned by 30 degrees and sheared by 30, a corner can reach into the patch
    assert np.mean(black) < 0.02


def test_a_picture_that_is_too_small_is_said(place):
    with pytest.raises(ValueError, match="a shorter side of 128 pixels, of which patches of 65 need at least twice"):
        ImagePatches(path=str(place / "large.png"), size=65).open()


def test_what_is_no_picture_is_said(tmp_path):
    (tmp_path / "a.png").write_text("no picture")
    with pytest.raises(ValueError, match=r"a\.png"):
        ImagePatches(path=str(tmp_path / "a.png")).open()
    with pytest.raises(ValueError, match="there is no picture"):
        ImagePatches(path=str(tmp_path / "b.png")).open()


def test_an_inner_split_of_what_an_automatic_split_has_left_has_its_share(tmp_path):
    for number in range(200):
        draw(tmp_path / "flat" / ("a" if number % 2 else "b") / f"{number:03d}.png", number)
    source = Folder(path=str(tmp_path / "flat"), copies="anywhere")
    outer = source.open()
    for share in (0.2, 0.5):
        found = InnerSplit(source=source, share=share).open()
        kept = len(outer.split("train"))
        assert len(found.split("train")) + len(found.split("val")) == kept
        assert abs(len(found.split("val")) / kept - share) < 0.08
        assert not {sample.name for sample in outer.split("val")} & {sample.name for sample in found.split("val")}
    # a study of an earlier release keeps the split that it had
    old = Source.from_json(json.dumps({"kind": "InnerSplit", "source": encode(source), "share": 0.2}))
    assert old.salt == ""
    assert len(old.open().split("val")) == 2  # one of each class
    assert Source.from_json(InnerSplit(source=source).to_json()).salt == "inner/"


# --- all ----------------------------------------------------------------------------------------------------------------------


def test_all_survive_json_and_can_be_sent_to_workers(place, tmp_path):
    labels = written(tmp_path / "labels.json", ["cat", "dog"], {"00.png": "dog", "01.png": "cat"})
    loose, labelled = Unlabelled(path=str(place / "loose")), Folder(path=str(place / "labelled"))
    pseudo = Pseudo(source=loose, labels=labels)
    for source in (
        loose,
        Apart(train=pseudo, val=labelled),
        Several(sets=(Set(name="a", source=labelled), Set(name="b", source=pseudo))),
        InnerSplit(source=labelled),
        Fold(source=labelled, count=3),
    ):
        assert Source.from_json(source.to_json()) == source
        found = pickle.loads(pickle.dumps(source.open()))
        sample = found.split("train")[0]
        assert torch.equal(found.image(sample), source.open().image(sample))
        pinned = source.pinned(source.open())
        assert pinned.open().splits == source.open().splits


# --- Fold and groups ----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def sites(tmp_path_factory):
    """Two classes, five sites in each, the same sites; and two copies in different classes' sites."""
    root = tmp_path_factory.mktemp("sites") / "photos"
    for label, kind in enumerate(("bad", "good")):
        for site in range(5):
            for number in range(4):
                draw(root / kind / f"site{site}" / f"{number}.png", 100 * label + 20 * site + 3 * number + 1)
    return root


def test_every_picture_is_in_one_fold_and_groups_stay_whole(sites):
    source = Folder(path=str(sites), groups="folder")
    folds = [Fold(source=source, count=5, number=number).open() for number in range(1, 6)]
    held = [sample.name for fold in folds for sample in fold.split("val")]
    assert len(held) == len(set(held)) == 40
    for fold in folds:
        sides = [{sample.name.split("/")[1] for sample in fold.split(split)} for split in ("train", "val")]
        assert not sides[0] & sides[1]
        assert len(fold.split("val")) == 8
        assert len(fold.split("train")) == 32
        assert "5 groups of pictures (folder) stay on one side of every split" in fold.notes
        assert not any("held out" in note for note in fold.notes)


def test_copies_stay_in_one_fold(tmp_path):
    for number in range(12):
        draw(tmp_path / "data" / ("a" if number % 2 else "b") / f"{number:02d}.png", 15 * number, side=48)
    for number in (1, 4):
        name = f"{'a' if number % 2 else 'b'}/{number:02d}.png"
        shutil.copy(tmp_path / "data" / name, tmp_path / "data" / name.replace(".png", "-again.png"))
    source = Fold(source=Folder(path=str(tmp_path / "data")), count=4)
    opened = source.open()
    assert len(opened.alike) == 2
    for number in range(1, 5):
        names = {sample.name for sample in replace(source, number=number).open().split("val")}
        for group in opened.alike:
            assert {*group} <= names or not {*group} & names
    assert source.pinned(opened).alike == opened.alike


def test_test_pictures_are_in_no_fold(place, tmp_path):
    for split in ("train", "val", "test"):
        shutil.copytree(place / "labelled", tmp_path / "three" / split)
    draw(tmp_path / "three" / "test" / "cat" / "more.png", 200)
    found = Fold(source=Folder(path=str(tmp_path / "three"), copies="anywhere"), count=2).open()
    assert len(found.split("test")) == 21
    assert len(found.split("train")) + len(found.split("val")) == 40
    assert "none of 21 test pictures is in a fold" in found.notes[-1]


def test_folds_without_sense(sites):
    with pytest.raises(ValueError, match="2 or more, got 1"):
        Fold(source=Folder(path=str(sites)), count=1)
    with pytest.raises(ValueError, match="from 1 to 3, got 4"):
        Fold(source=Folder(path=str(sites)), count=3, number=4)
    with pytest.raises(ValueError, match="5 pictures or groups of pictures, too few for 6 folds"):
        Fold(source=Folder(path=str(sites), groups="folder"), count=6).open()
    with pytest.raises(ValueError, match="all pictures of bad are in fold"):
        Fold(source=Folder(path=str(sites), groups="^(bad)", layout="classes"), count=3, number=1).open()


def test_an_automatic_split_keeps_groups_whole(sites):
    for groups in ("folder", r"(site\d)"):
        found = Folder(path=str(sites), groups=groups, layout="classes").open()
        sides = [{sample.name.split("/")[1] for sample in found.split(split)} for split in ("train", "val")]
        assert all(sides)
        assert not sides[0] & sides[1]
        inner = InnerSplit(source=Folder(path=str(sites), groups=groups, layout="classes")).open()
        sides = [{sample.name.split("/")[1] for sample in inner.split(split)} for split in ("train", "val")]
        assert all(sides)
        assert not sides[0] & sides[1]
        assert Source.from_json(Folder(path=str(sites), groups=groups).to_json()).groups == groups


def test_folders_that_are_groups_are_no_doubt_about_the_classes(sites):
    with pytest.raises(ValueError, match="--groups folder if site0/"):
        Folder(path=str(sites)).open()
    assert Folder(path=str(sites), groups="folder").open().classes == ("bad", "good")


def test_groups_on_both_sides_of_an_own_split_are_told(sites, tmp_path):
    for split in ("train", "val"):
        shutil.copytree(sites, tmp_path / "own" / split)
    found = Folder(path=str(tmp_path / "own"), groups="folder").open()
    warnings = [note for note in found.notes if note.startswith("warning")]
    assert warnings == [
        "warning: 5 groups have pictures in train and in val, such as 'site0': the accuracy may be too high by them"
    ]


def test_a_wrapped_collection_passes_on_whatever_a_collection_answers():
    """A method that is added to Collection and not passed on would be wrong in silence: weights of 1, no groups."""
    own = {"split", "is_soft"}  # answered from what is passed on
    answers = {name for name, value in vars(Collection).items() if inspect.isfunction(value) and not name.startswith("_")} - own
    assert answers <= vars(WrappedCollection).keys()
