import pickle
import shutil
from dataclasses import replace

import numpy as np
import PIL.Image
import pytest
import torch

from paretina.data.decode import DecodeError
from paretina.data.pictures import read_pictures
from paretina.data.source import Source
from paretina.data.sources.masks import Masks
from paretina.model.tasks.instances import Instances
from paretina.model.tasks.places import Places

SIDE = 12


def write(folder, count=4, mask=None, deep=False, ending=".png", first=0):
    """Pictures and masks of classes 0 to 2, by number."""
    (folder / "images").mkdir(parents=True, exist_ok=True)
    (folder / "masks").mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(first)
    for number in range(first, first + count):
        image = random.integers(0, 255, (SIDE, SIDE + 2, 3)).astype(np.uint8)
        own = random.integers(0, 3, (SIDE, SIDE + 2)) if mask is None else np.full((SIDE, SIDE + 2), 0) + mask
        PIL.Image.fromarray(image).save(folder / "images" / f"{number}.png")
        own = own.astype(np.uint16 if deep else np.uint8)
        PIL.Image.fromarray(own).save(folder / "masks" / f"{number}{ending}")
    return folder


def paint(path, values, mode=None):
    image = PIL.Image.fromarray(np.asarray(values, np.uint8))
    (image if mode is None else image.convert(mode)).save(path)


def target(collection, number=0):
    return collection.target(next(s for each in collection.splits.values() for s in each if s.name.endswith(f"/{number}.png")))


def test_numbers_are_those_of_classes_and_255_is_not_known(tmp_path):
    write(tmp_path)
    mask = np.zeros((SIDE, SIDE + 2), np.uint8)
    mask[0, :3] = 1, 2, 255
    paint(tmp_path / "masks" / "0.png", mask)
    found = Masks(path=str(tmp_path)).open()
    assert found.classes == ("0", "1", "2")
    assert found.task == Places()
    assert torch.equal(target(found), torch.from_numpy(mask))
    assert {split: len(each) for split, each in found.splits.items()}.keys() == {"train", "val"}
    assert pickle.loads(pickle.dumps(found)) == found


def test_names_of_classes_are_read_from_a_file(tmp_path):
    write(tmp_path)
    (tmp_path / "classes.txt").write_text("ground\ncell\nrim\nmud\n")
    found = Masks(path=str(tmp_path)).open()
    assert found.classes == ("ground", "cell", "rim", "mud")
    assert "1 of 4 classes has no pixel in any mask: mud" in found.notes


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a\na\n", "'a' twice"),
        ("a\n\nb\n", "an empty line"),
        ("", "no names"),
        ("\n\n", "no names"),
        ("a\n", "one class is not"),
    ],
)
def test_names_that_are_none_are_refused(text, said, tmp_path):
    write(tmp_path)
    (tmp_path / "classes.txt").write_text(text)
    with pytest.raises(ValueError, match=said):
        Masks(path=str(tmp_path)).open()


def test_a_palette_gives_its_numbers_and_not_its_colours(tmp_path):
    write(tmp_path)
    with PIL.Image.open(tmp_path / "masks" / "0.png") as file:
        image = file.convert("L")
    numbers = np.asarray(image).copy()
    image.putpalette(bytes(range(255, -1, -1)) * 3)
    image.save(tmp_path / "masks" / "0.png")
    with PIL.Image.open(tmp_path / "masks" / "0.png") as file:
        assert file.mode == "P"
    assert torch.equal(target(Masks(path=str(tmp_path)).open()), torch.from_numpy(numbers))


def test_black_and_white_is_a_foreground(tmp_path):
    write(tmp_path, mask=np.arange(SIDE)[:, None] % 2 * 255)
    found = Masks(path=str(tmp_path)).open()
    assert found.classes == ("background", "foreground")
    assert "labels=binary" in found.notes[0]
    assert target(found)[:3, 0].tolist() == [0, 1, 0]


@pytest.mark.parametrize("ending", [".png", ".tif"])
def test_16_bits_number_objects(ending, tmp_path):
    mask = np.zeros((SIDE, SIDE + 2))
    mask[2:5, 2:5], mask[7:9, 7:9] = 700, 3
    write(tmp_path, mask=mask, deep=True, ending=ending)
    found = Masks(path=str(tmp_path), border=1).open()
    assert found.task == Instances(border=1)
    assert found.classes == ("background", "inside", "border")
    assert "labels=instances" in found.notes[0]
    numbers = target(found)
    assert (int(numbers[3, 3]), int(numbers[8, 8]), int(numbers[0, 0])) == (1, 2, 0)  # from the top


def test_more_objects_than_8_bits_can_number_stay_apart(tmp_path):
    grid = np.zeros((64, 64), np.int32)
    grid[::3, ::3] = np.arange(1, 22 * 22 + 1).reshape(22, 22)
    from paretina.data.masks import numbered
    from paretina.measure.objects import objects_of

    found = numbered(grid)
    assert found.max() == 254
    assert objects_of(found).max() == 22 * 22


def test_splits_lie_inside_or_outside(tmp_path):
    for split, first in (("train", 0), ("val", 4), ("test", 8)):
        write(tmp_path / "outer" / split, 3, first=first)
    outer = Masks(path=str(tmp_path / "outer")).open()
    assert {split: len(each) for split, each in outer.splits.items()} == {"train": 3, "val": 3, "test": 3}
    for kind in ("images", "masks"):
        for split in ("train", "valid"):
            (tmp_path / "inner" / kind).mkdir(parents=True, exist_ok=True)
            shutil.copytree(
                tmp_path / "outer" / ("val" if split == "valid" else split) / kind, tmp_path / "inner" / kind / split
            )
    inner = Masks(path=str(tmp_path / "inner")).open()
    assert {split: len(each) for split, each in inner.splits.items()} == {"train": 3, "val": 3}
    shutil.rmtree(tmp_path / "inner" / "masks" / "valid")
    with pytest.raises(ValueError, match="has the pictures of val, but there is no folder of it"):
        Masks(path=str(tmp_path / "inner")).open()


def test_a_mask_may_have_a_word_behind_its_name(tmp_path):
    write(tmp_path)
    for path in list((tmp_path / "masks").iterdir()):
        path.rename(path.with_name(f"{path.stem}_mask.png"))
    assert not Masks(path=str(tmp_path)).open().faults


def test_the_run_keeps_what_was_found_out(tmp_path):
    write(tmp_path, mask=np.arange(SIDE)[:, None] % 2 * 255)
    source = Masks(path=str(tmp_path))
    pinned = source.pinned(source.open())
    assert (pinned.labels, pinned.names) == ("binary", ("background", "foreground"))
    again = pinned.open()
    assert again.splits == source.open().splits
    assert pinned.pinned(again) == pinned
    assert Source.from_json(pinned.to_json()) == pinned


def test_groups_stay_together(tmp_path):
    write(tmp_path, 12)
    for number in range(12):
        for kind in ("images", "masks"):
            (tmp_path / kind / f"{number}.png").rename(tmp_path / kind / f"film{number // 3}_{number}.png")
    found = Masks(path=str(tmp_path), groups=r"(film\d)_", val_share=0.5).open()
    films = [{sample.name.partition("_")[0] for sample in each} for each in found.splits.values()]
    assert films[0].isdisjoint(films[1])
    assert all(films)


# --- masks that cannot be used ----------------------------------------------------------------------------------------------


def spoil(folder):
    """What is wrong with the mask of each picture, and what is said of it."""
    masks = folder / "masks"
    paint(masks / "0.png", np.zeros((SIDE, SIDE)))
    (masks / "1.png").unlink()
    (masks / "2.png").write_bytes(b"no picture")
    paint(masks / "3.png", np.random.default_rng(0).integers(0, 9, (SIDE, SIDE + 2, 3)))
    paint(masks / "4.png", np.full((SIDE, SIDE + 2), 7))
    (masks / "5.png").unlink()
    paint(masks / "5.jpg", np.zeros((SIDE, SIDE + 2)))
    return {
        "0": "its mask masks/0.png has 12 x 12 pixels, and the picture 14 x 12",
        "1": "has no mask",
        "2": "its mask masks/2.png: not a picture in a known format",
        "3": r"its mask masks/3.png: has colours \(RGB\)",
        "4": r"its mask masks/4.png has the number 7, and the classes are 0 to 2 \(255 for",
        "5": "its mask masks/5.jpg: is a JPEG, which changes the numbers",
    }


def test_bad_masks_are_named_and_count_as_damaged(tmp_path):
    said = spoil(write(tmp_path, 9))
    found = Masks(path=str(tmp_path), names=("a", "b", "c"), val_share=0.0).open()
    read = read_pictures(found, found.split("train"))
    assert len(read) == 3
    assert sorted(read.damaged) == [f"images/{number}.png" for number in said]
    for number, text in said.items():
        sample = next(sample for sample in found.split("train") if sample.name == f"images/{number}.png")
        for ask in (found.target, found.image):
            with pytest.raises(DecodeError, match=f"^images/{number}.png: {text}"):
                ask(sample)


def test_a_mask_that_changes_later_is_found(tmp_path):
    found = Masks(path=str(write(tmp_path))).open()
    paint(tmp_path / "masks" / "0.png", np.full((SIDE, SIDE + 2), 9))
    with pytest.raises(DecodeError, match=r"its mask masks/0.png has changed since it was opened"):
        target(found)
    (tmp_path / "masks" / "0.png").unlink()
    with pytest.raises(DecodeError, match=r"its mask masks/0.png: No such file"):
        target(found)


def test_a_turned_picture_has_a_mask_as_it_is_shown(tmp_path):
    write(tmp_path)
    exif = PIL.Image.Exif()
    exif[0x0112] = 6
    PIL.Image.fromarray(np.zeros((SIDE + 2, SIDE, 3), np.uint8)).save(tmp_path / "images" / "0.png", exif=exif)
    found = Masks(path=str(tmp_path)).open()
    assert not found.faults
    assert found.image(replace(found.split("train")[0], name="images/0.png")).shape == (3, SIDE, SIDE + 2)


def test_masks_of_no_picture_are_left_out_and_named(tmp_path):
    write(tmp_path)
    shutil.copy(tmp_path / "masks" / "0.png", tmp_path / "masks" / "other.png")
    assert "1 mask belongs to no picture and is left out: masks/other.png" in Masks(path=str(tmp_path)).open().notes


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda folder: shutil.rmtree(folder / "masks"), r"there are: images/. Folders of other names .* data.masks=NAME"),
        (lambda folder: shutil.rmtree(folder / "images"), "data.images=NAME"),
        (lambda folder: [path.unlink() for path in (folder / "images").iterdir()], "there are no pictures in .*images/"),
        (lambda folder: [path.unlink() for path in (folder / "masks").iterdir()], "no picture in .* has a mask of its name"),
        (lambda folder: paint(folder / "images" / "0.bmp", np.zeros((3, 3))), "differ only in their endings"),
        (
            lambda folder: paint(folder / "masks" / "0.bmp", np.zeros((3, 3))),
            "0.png has two masks, masks/0.bmp and masks/0.png",
        ),
        (lambda folder: [path.write_bytes(b"x") for path in (folder / "masks").iterdir()], "no mask in masks/ can be read"),
    ],
)
def test_folders_that_are_no_pairs_are_refused(change, said, tmp_path):
    change(write(tmp_path))
    with pytest.raises(ValueError, match=said):
        Masks(path=str(tmp_path)).open()


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"val_share": 2.0}, r"Masks.val_share must be in \[0, 1\], got 2"),
        ({"images": "a/b"}, "Masks.images is the name of a folder, without a slash"),
        ({"images": "x", "masks": "x"}, "are two folders, got 'x' for both"),
        ({"names": ("a", "a")}, "Masks.names are different names"),
        ({"names": ("a", "b"), "labels": "instances"}, "Masks.labels=instances has 3 classes, got 2 names"),
        ({"border": 0}, "Instances.border is a width in pixels"),
    ],
)
def test_fields_that_cannot_be_are_refused(fields, said):
    with pytest.raises(ValueError, match=said):
        Masks(path="x", **fields)


def test_a_model_gives_names_that_the_folder_does_not(tmp_path):
    write(tmp_path)
    source = Masks(path=str(tmp_path))
    assert source.read_as(Places(), ("a", "b", "c", "d")).open().classes == ("a", "b", "c", "d")
    assert source.read_as(Instances(border=3), ("p", "q", "r")).open().task == Instances(border=3)
    named = replace(source, names=("x", "y", "z"))
    assert named.read_as(Places(), ("a", "b", "c")) == named


def test_what_binary_makes_of_several_classes_is_said(tmp_path):
    write(tmp_path)
    (tmp_path / "classes.txt").write_text("a\nb\nc\n")
    found = Masks(path=str(tmp_path), labels="binary").open()
    assert found.classes == ("background", "foreground")
    assert any("numbers up to 2, and by labels=binary all above 0 are foreground" in note for note in found.notes)
    assert any("classes.txt is not used" in note for note in found.notes)
    (tmp_path / "classes.txt").unlink()
    write(tmp_path, mask=np.arange(SIDE)[:, None] % 2 * 255)
    assert not Masks(path=str(tmp_path), labels="binary").open().notes[1:]
