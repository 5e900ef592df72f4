"""Sources that leave out classes, or correct labels."""

from dataclasses import dataclass, field

import numpy as np
import PIL.Image
import pytest
import torch

from paretina.data.source import Collection, Sample, Source, innermost, with_innermost
from paretina.data.sources.folder import Folder
from paretina.data.sources.ignoring import Ignoring
from paretina.data.sources.part import Part
from paretina.data.sources.relabelled import Relabelled
from paretina.model.task import Task
from paretina.model.tasks.any_of import ABSENT, AnyOf
from paretina.model.tasks.nothing import Nothing
from paretina.model.tasks.one_of import OneOf
from paretina.model.tasks.places import Places
from paretina.spec import decode, encode

HOSTILE = ("<script>alert(1)</script>", 'a, "b"', "line\nbreak", "\u202eright to left")


@dataclass(frozen=True)
class Written(Collection):
    targets: dict = field(default_factory=dict, kw_only=True)

    def image(self, sample, at_least=None):
        return torch.zeros(3, 4, 4, dtype=torch.uint8)

    def target(self, sample):
        return self.targets.get(sample.name, torch.tensor(sample.label))


@dataclass(frozen=True, kw_only=True)
class Writing(Source):
    """Four classes, whose labels are what a test says."""

    task: Task = field(default_factory=OneOf)

    def open(self):
        targets = TARGETS.get(type(self.task), {})
        names = tuple(targets) or ("0", "1", "2", "3")
        train = tuple(Sample(name, 0 if targets else int(name)) for name in names)
        splits = {"train": train, "val": ()}
        return Written(("a", "b", "c", "d"), splits, ("opened",), True, task=self.task, targets=targets)


MASK = torch.tensor([[0, 1], [3, 255]], dtype=torch.uint8)
TARGETS = {
    AnyOf: {
        "both": torch.tensor([0.0, 1.0, 1.0, 0.0]),
        "alone": torch.tensor([0.0, 1.0, 0.0, 0.0]),
        "none": torch.full((4,), ABSENT),
        "unlabelled": torch.zeros(4),
    },
    Places: {"mask": MASK},
}


@pytest.fixture
def photos(tmp_path):
    random = np.random.default_rng(0)
    for name in ("cat", "dog", "unknown"):
        for split, count in (("train", 4), ("val", 2)):
            (tmp_path / split / name).mkdir(parents=True)
            for number in range(count):
                pixels = random.integers(0, 255, (8, 8, 3)).astype(np.uint8)
                PIL.Image.fromarray(pixels).save(tmp_path / split / name / f"{number}.png")
    return Folder(path=str(tmp_path))


# --- ignored classes ----------------------------------------------------------------------------------------------------


def test_ignored_classes_are_in_neither_split_and_the_others_are_renumbered(photos):
    found = Ignoring(source=photos, classes=("cat",)).open()
    assert found.classes == ("dog", "unknown")
    assert {sample.label for sample in found.split("train")} == {0, 1}
    assert not any("cat" in sample.name for samples in found.splits.values() for sample in samples)
    first = found.split("train")[0]
    assert int(found.target(first)) == first.label == 0
    assert found.notes[-1] == "ignored 1 class (cat): pictures left out: 4 of 12 in train, 2 of 6 in val"
    assert found.file(first).is_file()


def test_case_and_spaces_may_differ_as_for_class_folders(photos):
    assert Ignoring(source=photos, classes=("Unknown ",)).open().classes == ("cat", "dog")


@pytest.mark.parametrize(
    ("classes", "said"),
    [
        (("unknwon",), "there is no class 'unknwon' to ignore; did you mean 'unknown'?"),
        (("cat", "dog"), "only 'unknown' is left"),
    ],
)
def test_classes_that_cannot_be_ignored(photos, classes, said):
    with pytest.raises(ValueError, match=said.replace("?", r"\?")):
        Ignoring(source=photos, classes=classes).open()


def test_no_class_or_one_twice_is_refused(photos):
    for classes in ((), ("cat", "cat")):
        with pytest.raises(ValueError, match="one or more different names"):
            Ignoring(source=photos, classes=classes)


def test_of_several_labels_only_the_ignored_one_goes():
    found = Ignoring(source=Writing(task=AnyOf()), classes=("b",)).open()
    names = {sample.name: found.target(sample).tolist() for sample in found.split("train")}
    assert names == {
        "both": [0.0, 1.0, 0.0],
        "none": pytest.approx([ABSENT] * 3),
        "unlabelled": [0.0, 0.0, 0.0],
    }


def test_ignored_pixels_are_unknown():
    found = Ignoring(source=Writing(task=Places()), classes=("b",)).open()
    assert found.target(found.split("train")[0]).tolist() == [[0, 255], [2, 255]]
    assert found.notes[-1] == "ignored 1 class (b), whose pixels count as unknown"


def test_without_labels_nothing_can_be_ignored():
    with pytest.raises(ValueError, match="this data has none"):
        Ignoring(source=Writing(task=Nothing()), classes=("b",)).open()


# --- corrected labels ---------------------------------------------------------------------------------------------------


def test_labels_are_changed_and_pictures_left_out_of_train_alone(photos):
    labels = (("train/cat/0.png", "dog"), ("train/cat/1.png", ""), ("train/dog/0.png", "dog"), ("val/cat/0.png", "dog"))
    found = Relabelled(source=photos, labels=labels).open()
    after = {sample.name: found.classes[sample.label] for samples in found.splits.values() for sample in samples}
    assert after["train/cat/0.png"] == "dog"
    assert "train/cat/1.png" not in after
    assert after["val/cat/0.png"] == "cat"
    assert found.notes[-2:] == (
        "corrected labels: 1 changed, 1 picture left out",
        "corrected labels of validation or test pictures, which keep those that they have: 1",
    )
    changed = next(sample for sample in found.split("train") if sample.name == "train/cat/0.png")
    assert int(found.target(changed)) == changed.label
    assert torch.equal(found.image(changed), photos.open().image(changed))


def test_validation_pictures_only_when_asked(photos):
    found = Relabelled(source=photos, labels=(("val/cat/0.png", "dog"), ("val/cat/1.png", "")), val=True).open()
    after = {sample.name: found.classes[sample.label] for sample in found.split("val")}
    assert after["val/cat/0.png"] == "dog"
    assert "val/cat/1.png" not in after


def test_an_automatic_split_stays_what_it_was_with_the_labels_before(tmp_path):
    random = np.random.default_rng(0)
    for name in ("cat", "dog"):
        (tmp_path / name).mkdir()
        for number in range(10):
            PIL.Image.fromarray(random.integers(0, 255, (8, 8, 3)).astype(np.uint8)).save(tmp_path / name / f"{number}.png")
    plain = Folder(path=str(tmp_path))
    labels = tuple((f"cat/{number}.png", "dog") for number in range(5))
    source = Relabelled(source=plain, labels=labels)
    found = source.open()
    for split, samples in plain.open().splits.items():
        assert [sample.name for sample in found.split(split)] == [sample.name for sample in samples]
    pinned = source.pinned(found)
    assert pinned.source.moved is not None
    assert decode(Source, encode(pinned)) == pinned


@pytest.mark.parametrize(
    ("label", "said"),
    [
        (("train/cat/0.png", "horse"), "names the class 'horse', which this data does not have"),
        (("cat/0.png", "dog"), "not in this data, such as 'cat/0.png'; did you mean 'train/cat/0.png'"),
    ],
)
def test_what_is_not_in_the_data_is_refused(photos, label, said):
    with pytest.raises(ValueError, match=said):
        Relabelled(source=photos, labels=(label,)).open()


def test_twice_the_same_picture_is_refused(photos):
    with pytest.raises(ValueError, match="has the picture 'x' twice"):
        Relabelled(source=photos, labels=(("x", "cat"), ("x", "dog")))


def test_several_labels_a_picture_cannot_be_corrected():
    with pytest.raises(
        ValueError, match="where each picture has one class, but the task of this data is several labels a picture"
    ):
        Relabelled(source=Writing(task=AnyOf()), labels=()).open()


# --- wrapping -----------------------------------------------------------------------------------------------------------


def test_the_innermost_source_is_found_and_replaced(photos):
    wrapped = Part(source=Ignoring(source=Relabelled(source=photos, labels=()), classes=("cat",)), share=0.5)
    other = Folder(path="elsewhere")
    assert innermost(wrapped) == photos
    assert innermost(photos) == photos
    assert with_innermost(wrapped, other).source.source.source == other
    assert with_innermost(photos, other) == other
