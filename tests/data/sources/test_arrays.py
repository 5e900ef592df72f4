import pickle
from dataclasses import replace

import numpy as np
import pytest

from paretina.data.sources.arrays import Arrays, from_arrays
from paretina.data.split import held_out

GREY = np.arange(12 * 2 * 3, dtype=np.uint8).reshape(12, 2, 3)
COLOUR = np.arange(12 * 2 * 3 * 3).astype(np.uint8).reshape(12, 2, 3, 3)
LABELS = np.array([0, 1, 2] * 4)


def test_gives_colour_as_it_is_and_grey_three_times():
    collection = from_arrays(COLOUR, LABELS)
    for sample in collection.split("train") + collection.split("val"):
        place = int(sample.name)
        assert sample.label == place % 3
        np.testing.assert_array_equal(collection.image(sample).numpy(), COLOUR[place].transpose(2, 0, 1))
    grey = from_arrays(GREY, LABELS)
    sample = grey.split("train")[0]
    np.testing.assert_array_equal(grey.image(sample).numpy(), np.stack([GREY[int(sample.name)]] * 3))


def test_a_changed_picture_leaves_the_array_alone():
    images = COLOUR.copy()
    collection = from_arrays(images, LABELS)
    collection.image(collection.split("train")[0]).zero_()
    np.testing.assert_array_equal(images, COLOUR)


def test_holds_out_a_part_of_each_class_and_says_so():
    collection = from_arrays(GREY, LABELS, ["a", "b", "c"], val_share=0.25)
    assert collection.classes == ("a", "b", "c")
    assert {sample.label for sample in collection.split("val")} == {0, 1, 2}
    assert len(collection.split("train")) + len(collection.split("val")) == 12
    assert "no split was given" in collection.notes[0]


def test_takes_a_split_as_given():
    collection = from_arrays(GREY, LABELS, split=["train"] * 6 + ["val"] * 4 + ["test"] * 2)
    assert [sample.name for sample in collection.split("test")] == ["10", "11"]
    assert [len(samples) for samples in collection.splits.values()] == [6, 4, 2]
    assert collection.notes == ()


def test_reads_a_file_without_running_what_is_in_it(tmp_path):
    path = tmp_path / "digits.npz"
    split = np.array(["train", "val"] * 6)
    np.savez_compressed(path, images=COLOUR, labels=LABELS, classes=np.array(["a", "b", "c"]), split=split)
    collection = Arrays(path=str(path), mirrors=False).open()
    assert collection.classes == ("a", "b", "c")
    assert not collection.mirrors
    assert [sample.name for sample in collection.split("val")] == ["1", "3", "5", "7", "9", "11"]
    np.savez(path, images=GREY, labels=LABELS.astype(object))
    with pytest.raises(ValueError, match=r"digits\.npz' is not a usable \.npz file: its array .labels. holds Python objects"):
        Arrays(path=str(path)).open()


def test_says_what_is_wrong_with_a_file(tmp_path):
    with pytest.raises(ValueError, match="there is no file"):
        Arrays(path=str(tmp_path / "none.npz")).open()
    (tmp_path / "text.npz").write_text("hello")
    with pytest.raises(ValueError, match=r"is not a usable \.npz file"):
        Arrays(path=str(tmp_path / "text.npz")).open()
    np.save(tmp_path / "one.npy", GREY)
    with pytest.raises(ValueError, match="it holds a single array"):
        Arrays(path=str(tmp_path / "one.npy")).open()
    np.savez(tmp_path / "x.npz", x=GREY, labels=LABELS)
    with pytest.raises(ValueError, match="it has no array 'images', only x, labels"):
        Arrays(path=str(tmp_path / "x.npz")).open()
    np.savez(tmp_path / "whole.npz", images=GREY, labels=LABELS)
    data = (tmp_path / "whole.npz").read_bytes()
    (tmp_path / "half.npz").write_bytes(data[: len(data) // 2])
    with pytest.raises(ValueError, match=r"is not a usable \.npz file"):
        Arrays(path=str(tmp_path / "half.npz")).open()
    np.savez(tmp_path / "few.npz", images=GREY, labels=LABELS[:5])
    with pytest.raises(ValueError, match=r"few\.npz': labels must be one number per picture"):
        Arrays(path=str(tmp_path / "few.npz")).open()
    np.savez(tmp_path / "objects.npz", images=GREY, labels=np.array([*LABELS], object))
    with pytest.raises(
        ValueError, match=r"objects\.npz' is not a usable .* its array 'labels' holds Python objects, which are not"
    ):
        Arrays(path=str(tmp_path / "objects.npz")).open()


@pytest.mark.parametrize(
    ("images", "labels", "options", "message"),
    [
        (GREY / 255, LABELS, {}, "images must be uint8 from 0 to 255, got float64"),
        (
            np.zeros((12, 3, 4, 5), np.uint8),
            LABELS,
            {},
            r"must be \[n, h, w\] or \[n, h, w, 3\] and not empty, got \[12, 3, 4, 5\]",
        ),
        (COLOUR[..., :2], LABELS, {}, r"got \[12, 2, 3, 2\]"),
        (GREY[:0], LABELS[:0], {}, "not empty"),
        (GREY, LABELS[:5], {}, r"one number per picture, got \[5\] for 12"),
        (GREY, np.array(["a", "b"] * 6), {}, r"got text; .* classes, labels = numpy.unique\(labels, return_inverse=True\)"),
        (GREY, LABELS / 2, {}, "integers, got float64"),
        (GREY, LABELS - 1, {}, r"must lie in 0 to 1 \(2 classes\), got -1"),
        (GREY, LABELS, {"classes": ["a", "b"]}, r"must lie in 0 to 1 \(2 classes\), got 2"),
        (GREY, LABELS, {"classes": ["a", "b", "a"]}, "different names"),
        (GREY, LABELS * 0, {}, "two or more classes"),
        (GREY, LABELS, {"split": ["train"]}, "one split per picture, got 1 for 12"),
        (GREY, LABELS, {"split": ["dev"] * 12}, "must be train, val or test, got 'dev'"),
        (GREY, LABELS, {"val_share": -0.1}, r"\[0, 1\], got -0.1"),
    ],
)
def test_says_what_does_not_fit(images, labels, options, message):
    with pytest.raises(ValueError, match=message):
        from_arrays(images, labels, **options)


def test_survives_pickle():
    collection = from_arrays(COLOUR, LABELS)
    again = pickle.loads(pickle.dumps(collection))
    assert again == collection
    sample = again.split("val")[0]
    assert again.image(sample).equal(collection.image(sample))


def test_copies_stay_on_one_side_and_what_was_decided_stays(tmp_path, monkeypatch):
    pictures = np.random.default_rng(0).integers(0, 256, (20, 8, 8, 3), np.uint8)
    np.savez(tmp_path / "a.npz", images=np.tile(pictures, (4, 1, 1, 1)), labels=np.arange(80) % 20 % 2)
    source = Arrays(path=str(tmp_path / "a.npz"))
    before = source.open()
    sides = [{int(sample.name) % 20 for sample in before.split(split)} for split in ("train", "val")]
    assert sides[0].isdisjoint(sides[1])
    assert len(sides[1]) >= 2
    assert f"{len(before.moved)} pictures are on the other side than by name" in before.notes[1]
    pinned = source.pinned(before)
    monkeypatch.setattr("paretina.data.likeness.looked_at", None)
    assert pinned.open().splits == before.splits
    old = Arrays.from_json(f'{{"kind": "Arrays", "path": "{tmp_path / "a.npz"}", "val_share": 0.2, "mirrors": true}}')
    assert old == replace(source, copies="anywhere")
    assert Arrays.from_json(f'{{"kind": "Arrays", "path": "{tmp_path / "a.npz"}"}}') == source  # written by hand
    every = [str(place) for place in range(80)]
    assert {sample.name for sample in old.open().split("val")} == held_out(every, [int(name) % 20 % 2 for name in every], 0.2)
    assert old.pinned(old.open()) == old
