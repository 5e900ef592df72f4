import pickle

import numpy as np
import pytest
import torch
from scipy import ndimage

from paretina.data.sampler import order_of
from paretina.data.samplings.each import Each
from paretina.data.source import Sample
from paretina.data.sources.cells import LOOKS, Cells
from paretina.data.sources.several import Set, Several
from paretina.model.tasks.instances import Instances

SMALL = Cells(train=3, val=2, size=48)


def test_has_the_looks_and_counts_asked_for():
    found = SMALL.open()
    assert found.task == Instances(border=2)
    assert {split: len(each) for split, each in found.splits.items()} == {"train": 15, "val": 10}
    assert [found.group(sample) for sample in found.split("val")] == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4]
    for sample in found.split("val"):
        assert found.image(sample).shape == (3, 48, 48)
        assert found.target(sample).shape == (48, 48)
        assert found.target(sample).dtype == torch.uint8


def test_each_object_hangs_together():
    found = Cells(train=4, val=1, size=64).open()
    several = 0
    for sample in found.split("train"):
        numbers = found.target(sample).numpy()
        several += int(numbers.max())
        for number in range(1, int(numbers.max()) + 1):
            assert ndimage.label(numbers == number)[1] == 1
    assert several > 4 * len(found.split("train"))


def test_some_cells_touch():
    found = Cells(train=8, val=1).open()
    both = 0
    for sample in found.split("train"):
        numbers = found.target(sample).numpy().astype(int)
        both += int(((numbers[:, 1:] != numbers[:, :-1]) & (numbers[:, 1:] > 0) & (numbers[:, :-1] > 0)).sum())
    assert both > 0


def test_looks_differ_in_what_is_bright():
    found = Cells(train=6, val=1).open()
    lighter = {}
    for look in LOOKS:
        own = [sample for sample in found.split("train") if f"/{look}/" in sample.name]
        parts = [(found.image(s)[0].numpy().astype(float), found.target(s).numpy() > 0) for s in own]
        lighter[look] = np.mean([image[there].mean() - image[~there].mean() for image, there in parts])
    assert lighter["bright"] > 30
    assert lighter["dark"] < -30
    assert abs(lighter["grain"]) < 30


def test_a_picture_depends_on_seed_look_split_and_number_alone():
    first = SMALL.open()
    other = Cells(train=5, val=1, size=48, looks=("ring", "bright")).open()
    for sample in reversed(other.split("train")):
        if int(sample.name[-1]) < 3:
            assert torch.equal(other.image(sample), first.image(sample))
            assert torch.equal(other.target(sample), first.target(sample))
    again = pickle.loads(pickle.dumps(first))
    sample = first.split("train")[0]
    assert torch.equal(again.image(sample), first.image(sample))
    assert not torch.equal(Cells(size=48, seed=1).open().image(sample), first.image(sample))


def test_says_that_it_is_synthetic():
    assert "not evidence" in SMALL.open().notes[0]


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"looks": ()}, "Cells.looks are one or more different looks"),
        ({"looks": ("ring", "ring")}, "Cells.looks are one or more different looks"),
        ({"val": 0}, "at least one picture of each look"),
        ({"size": 20}, "Cells.size must be at least 24 pixels, got 20"),
        ({"seed": -1}, "Cells.seed must not be negative"),
        ({"border": 0}, "Instances.border is a width in pixels"),
    ],
)
def test_fields_that_cannot_be_are_refused(fields, said):
    with pytest.raises(ValueError, match=said):
        Cells(**fields)

    # one set has two pictures and the other four; with accumulate=2 an update is the mean of parts with both sets in each


def sets(**second):
    sizes = {"train": 2, "val": 1, "size": 32}
    first = Set(name="one", source=Cells(looks=("bright",), **sizes))
    return Several(sets=(first, Set(name="two", source=Cells(looks=("ring", "dark"), **(sizes | second)))))


def test_masks_of_several_sets_are_trained_and_judged_together():
    found = sets().open()
    assert found.task == Instances(border=2)
    assert sets().dense()
    assert [sample.name for sample in found.split("val")] == [
        "one/val/bright/00000",
        "two/val/ring/00000",
        "two/val/dark/00000",
    ]
    assert [found.group(sample) for sample in found.split("train")] == [0, 0, 1, 1, 1, 1]
    last = found.split("train")[-1]
    assert torch.equal(found.target(last), Cells(train=2, val=1, size=32).open().target(Sample("train/dark/00001", 0)))


def test_masks_of_other_kinds_are_refused():
    with pytest.raises(ValueError, match=r"those of two \(objects, each with its pixels: background, inside, border\) are not"):
        sets(border=1).open()


def test_an_update_sees_every_set_equally_often():
    # one set has two pictures and the other four; with accumulate=2 an update is the mean of parts with both sets in each
    found = sets().open()
    groups = [found.group(sample) for sample in found.split("train")]
    drawn = order_of(Each(), [0] * 6, groups).drawn(0, 0)
    assert [groups[number] for number in drawn] == [0, 1, 0, 1, 0, 1]
