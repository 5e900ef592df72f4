import io
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image, ImageEnhance

from paretina.data import likeness
from paretina.data.likeness import LOOK, bound, copies, leaders, leaks, look, looked_at, together
from paretina.data.source import Sample
from paretina.data.sources.arrays import from_arrays
from paretina.data.sources.clipart import Clipart, ClipartCollection
from paretina.data.sources.folder import Folder
from paretina.data.sources.shapes import Shapes

RNG = np.random.default_rng(0)


def scene(seed, width=160, height=120):
    """A picture with the spectrum of a photo: large shades and fine detail, in colour."""
    random = np.random.default_rng(seed)
    total = np.zeros((height, width, 3))
    for side in (3, 6, 12, 24, 48):
        grid = Image.fromarray(random.integers(0, 256, (side, side, 3), np.uint8)).resize(
            (width, height), Image.Resampling.BICUBIC
        )
        total += np.asarray(grid, float) / side**0.5
    total -= total.min()
    return Image.fromarray((255 * total / total.max()).astype(np.uint8))


def compressed(picture, quality):
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=quality)
    return Image.open(file).convert("RGB")


def seen(*pictures):
    return np.array([look(torch.from_numpy(np.array(picture)).permute(2, 0, 1)) for picture in pictures], LOOK)


def linked(*pictures):
    return leaders(seen(*pictures)) == [0] * len(pictures)


NEAR = {
    "compressed": lambda picture: compressed(picture, 40),
    "half the size": lambda picture: picture.resize((80, 60)),
    "twice the size": lambda picture: picture.resize((320, 240)),
    "brighter": lambda picture: ImageEnhance.Brightness(picture).enhance(1.1),
    "darker": lambda picture: ImageEnhance.Brightness(picture).enhance(0.9),
    "more contrast": lambda picture: ImageEnhance.Contrast(picture).enhance(1.15),
    "the next frame": lambda picture: picture.crop((1, 0, 160, 120)),
}


@pytest.mark.parametrize("change", NEAR.values(), ids=NEAR)
def test_finds_near_copies(change):
    for seed in range(5):
        assert linked(scene(seed), change(scene(seed)))


def test_different_scenes_are_not_near():
    assert leaders(seen(*map(scene, range(60)))) == list(range(60))


def test_the_same_shape_in_another_colour_is_not_near():
    grey = np.asarray(scene(0).convert("L"), float)
    red, blue = (np.stack([grey * share for share in shares], 2).astype(np.uint8) for shares in ((1, 0.4, 0.4), (0.5, 0.5, 1)))
    assert linked(red, red)
    assert not linked(red, blue)


def test_tiny_and_flat_pictures_are_only_equal():
    tiny = [RNG.integers(0, 256, (31, 40, 3), np.uint8)] * 2
    flat = [np.full((64, 64, 3), value, np.uint8) for value in (100, 101)]
    rough = np.clip(flat[0] + RNG.normal(0, 3, (64, 64, 3)), 0, 255).astype(np.uint8)
    looks = seen(*tiny, *flat, rough)
    assert not looks["comparable"].any()
    assert leaders(looks) == list(range(5))
    names = [str(i) for i in range(5)]
    assert copies(names, [0] * 5, looks) == [["0", "1"]]


def test_few_drawings_and_no_shapes_are_near(monkeypatch):
    drawings, shapes = Clipart().open(), Shapes(per_class=10).open()
    some = drawings.split("val")[::4]
    assert len(set(leaders(looked_at(drawings, some).looks))) >= len(some) - 2
    every = shapes.split("train")
    assert leaders(looked_at(shapes, every).looks) == list(range(len(every)))
    monkeypatch.setattr(ClipartCollection, "image", None)  # what is built in is not looked at before each run
    assert leaks(drawings).warning() == ""


def test_small_steps_make_no_chain():
    whole = scene(0, 400, 300)
    looks = seen(*(whole.crop((step, 0, 300 + step, 300)) for step in range(0, 100, 2)))
    found = leaders(looks)
    assert found[1] == 0
    assert len(set(found)) >= 5
    near = likeness.Comparable.of(looks)
    assert all(near[[i]].near(near[[leader]]).item() for i, leader in enumerate(found))


def test_blocks_do_not_matter(monkeypatch):
    looks = seen(*(change(scene(seed)) for seed in range(4) for change in NEAR.values()))
    wanted = leaders(looks)
    assert len(set(wanted)) == 4
    monkeypatch.setattr(likeness, "BLOCK", 3)
    assert leaders(looks) == wanted


@pytest.mark.parametrize(
    ("distinct", "smallest", "most"), [(10, 2, 2), (40, 6, 3), (100, 50, 8), (1000, 5, 10), (30_000, 9, 300)]
)
def test_a_group_of_near_ones_is_bounded(distinct, smallest, most):
    assert bound(distinct, smallest) == most


def test_a_large_group_of_near_ones_is_left_apart_but_equal_ones_stay(tmp_path):
    views = [ImageEnhance.Brightness(scene(0)).enhance(1 + n / 200) for n in range(12)]
    others = [scene(n) for n in range(1, 13)]
    looks = seen(*views, views[3], *others)
    names = [f"{n:02d}" for n in range(25)]
    assert len(set(leaders(looks))) == 13
    assert copies(names, [0] * 25, looks) == [["03", "12"]]


def test_equal_ones_are_found_in_any_format_and_class(tmp_path):
    for name in ("a/1.png", "b/2.bmp", "a/3.tiff", "a/4.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        scene(name == "a/4.png").save(tmp_path / name)
    (tmp_path / "a/5.png").write_bytes(b"")
    (tmp_path / "a/6.png").write_bytes(b"")
    collection = Folder(path=str(tmp_path), val_share=0.0).open()
    samples = collection.split("train")
    looks = looked_at(collection, samples).looks
    assert copies([s.name for s in samples], [s.label for s in samples], looks) == [["a/1.png", "a/3.tiff", "b/2.bmp"]]


def arrays(*pictures, labels=None, **more):
    images = np.stack([np.asarray(picture) for picture in pictures])
    return from_arrays(images, np.arange(len(images)) % 2 if labels is None else labels, **more)


def test_counts_the_copies_across_a_split():
    train = [scene(n) for n in range(6)]
    val = [scene(0), compressed(scene(1), 60), scene(20), scene(0)]
    found = leaks(arrays(*train, *val, split=["train"] * 6 + ["val"] * 4))
    assert (found.of, found.equal, found.near) == (4, 2, 1)
    assert found.pairs == (("6", "0", "equal"), ("7", "1", "near"), ("9", "0", "equal"))
    assert found.warning() == (
        "warning: 3 of 4 validation pictures are also in train (2 exact, 1 near): the accuracy is too high by it"
    )
    assert found.to_dict(1)["pairs"] == [{"name": "6", "train": "0", "kind": "equal"}]


def test_only_near_copies_may_make_the_accuracy_too_high():
    found = leaks(arrays(scene(0), scene(1), compressed(scene(1), 60), split=["train", "train", "val"], labels=[0, 1, 1]))
    assert found.warning() == (
        "warning: 1 of 1 validation pictures is also in train (0 exact, 1 near): the accuracy may be too high by it"
    )


def test_a_near_copy_of_another_class_does_not_help():
    found = leaks(arrays(scene(0), scene(1), compressed(scene(1), 60), split=["train", "train", "val"], labels=[0, 1, 0]))
    assert (found.equal, found.near, found.alike, found.warning(), found.note()) == (0, 0, 0, "", "")


def parts(number, seed):
    """Discs of one shape as one camera sees them, each with its own noise; every second has a defect somewhere."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:128, :128]
    far = np.hypot(y - 50, x - 60)
    disc = np.where((far < 45) & (far > 13), 170, 20) + 60 * (x > 110) + 80 * (y > 112)  # and the edge of the table
    found = []
    for i in range(number):
        picture = disc + rng.normal(0, 4, (128, 128))
        if i % 2:
            angle = rng.uniform(0, 2 * np.pi)
            row, column = int(50 + 30 * np.sin(angle)), int(60 + 30 * np.cos(angle))
            picture[row - 2 : row + 2, column - 2 : column + 2] = 60
        found.append(Image.fromarray(picture.clip(0, 255).astype(np.uint8)).convert("RGB"))
    return found


def test_the_pictures_of_a_fixed_camera_are_no_copies_of_each_other_but_equal_ones_stay():
    train, val = parts(60, 0), parts(24, 1)
    found = leaks(arrays(*train, *val, split=["train"] * 60 + ["val"] * 24))
    assert (found.equal, found.near, found.alike, found.warning()) == (0, 0, 24, "")
    assert found.note() == (
        "24 of 24 validation pictures look much like many pictures in train, as from a fixed camera; if they show the same "
        "scene, the accuracy may be too high"
    )
    found = leaks(
        arrays(*train, train[0], *val[1:], *[scene(3, 128, 128)] * 2, split=["train"] * 60 + ["val"] * 25 + ["train"])
    )
    assert (found.equal, found.near, found.alike) == (2, 0, 23)


def test_says_nothing_of_a_split_without_copies():
    found = leaks(arrays(*map(scene, range(6)), split=["train"] * 4 + ["val"] * 2))
    assert (found.equal, found.near, found.warning()) == (0, 0, "")


def test_what_cannot_be_read_is_no_copy(tmp_path):
    for name in ("train/a/1.png", "train/b/1.png", "val/a/1.png", "val/b/1.png"):
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).write_bytes(b"")
    found = leaks(Folder(path=str(tmp_path)).open())
    assert (found.of, found.equal, found.near) == (0, 0, 0)


def test_among_too_many_only_equal_files_are_found_and_that_is_said(tmp_path, monkeypatch):
    for name, picture in {
        "train/a/1": scene(0),
        "train/b/1": scene(1),
        "val/a/1": scene(0),
        "val/b/1": compressed(scene(1), 90),
    }.items():
        (tmp_path / name).parent.mkdir(parents=True)
        picture.save(tmp_path / f"{name}.png")
    folder = Folder(path=str(tmp_path)).open()
    assert (leaks(folder).equal, leaks(folder).near, leaks(folder).notes) == (1, 1, ())
    monkeypatch.setattr(likeness, "MOST", 3)
    monkeypatch.setattr(likeness, "look", None)  # nothing is decoded
    found = leaks(folder)
    assert (found.equal, found.near) == (1, 0)
    assert found.notes == ("there are 4 pictures, more than 3: only equal ones were looked for, not near copies",)


def test_a_long_look_is_said():
    looked = replace(looked_at(arrays(scene(0), scene(1)), [Sample("0", 0)]), new=48_000)
    assert looked.notes() == ("48,000 pictures were looked at once to find copies among them; that is kept for the next time",)


def test_what_was_decided_is_not_looked_for_again(monkeypatch):
    collection = arrays(*map(scene, range(4)), split=["train"] * 4)
    monkeypatch.setattr(likeness, "looked_at", None)
    found = together(collection, collection.split("train"), 0.5, ("2", "7"))
    assert found.names == ("2",)
    assert found.notes == ("1 picture is on the other side than by name, so that copies of one picture stay together",)
