import gzip
import pickle
import random
import struct

import numpy as np
import pytest

from paretina import verbs
from paretina.data.named import source_named
from paretina.data.sources.folder import Folder
from paretina.data.sources.idx import Idx

PICTURES = np.random.default_rng(0).integers(0, 256, (40, 5, 4), np.uint8)
LABELS = (np.arange(40) % 4).astype(np.uint8)


def idx(values, kind=8):
    return bytes((0, 0, kind, values.ndim)) + struct.pack(f">{values.ndim}I", *values.shape) + values.tobytes()


def write(place, split, pictures=PICTURES, labels=LABELS, packed=True, front="", join="-"):
    place.mkdir(exist_ok=True)
    for what, axes, values in (("images", 3, pictures), ("labels", 1, labels)):
        data = idx(values)
        name = f"{front}{split}-{what}{join}idx{axes}-ubyte"
        (place / (f"{name}.gz" if packed else name)).write_bytes(gzip.compress(data) if packed else data)


@pytest.fixture
def place(tmp_path):
    write(tmp_path / "mnist", "train")
    write(tmp_path / "mnist", "t10k", PICTURES[:8], LABELS[:8])
    return tmp_path / "mnist"


def test_a_folder_of_them_is_known_by_its_files(place, tmp_path):
    assert source_named(str(place)) == Idx(path=str(place))
    write(tmp_path / "dots", "train", join=".", packed=False)
    assert isinstance(source_named(str(tmp_path / "dots")), Idx)
    (place / "cat").mkdir()  # class folders beside them
    assert isinstance(source_named(str(place)), Folder)


def test_pictures_and_labels_are_those_of_the_files(place):
    found = Idx(path=str(place)).open()
    assert found.classes == ("0", "1", "2", "3")
    assert [sample.name for sample in found.split("val")] == [f"test/{i}" for i in range(8)]
    for sample in found.split("train"):
        number = int(sample.name.partition("/")[2])
        assert sample.label == number % 4
        np.testing.assert_array_equal(found.image(sample).numpy(), np.stack([PICTURES[number]] * 3))
    assert "the pictures in test stand in for it" in found.notes[0]
    assert found.file(found.split("val")[0]).name == "t10k-images-idx3-ubyte.gz"
    again = pickle.loads(pickle.dumps(found))
    assert again == found
    assert again.image(again.split("val")[3]).equal(found.image(found.split("val")[3]))
    assert verbs.data_check(str(place)).samples == 48


def test_plain_files_are_read_like_packed_ones(place, tmp_path):
    write(tmp_path / "plain", "train", packed=False)
    write(tmp_path / "plain", "t10k", PICTURES[:8], LABELS[:8], packed=False)
    plain, packed = Idx(path=str(tmp_path / "plain")).open(), Idx(path=str(place)).open()
    assert plain.splits == packed.splits
    assert all(plain.image(sample).equal(packed.image(sample)) for sample in plain.split("train"))


def test_train_alone_is_divided_and_all_three_are_taken_as_they_are(tmp_path):
    write(tmp_path / "a", "train")
    source = Idx(path=str(tmp_path / "a"), val_share=0.25)
    found = source.open()
    assert len(found.split("train")) + len(found.split("val")) == 40
    assert {sample.label for sample in found.split("val")} == {0, 1, 2, 3}
    assert source.pinned(found).open().splits == found.splits
    write(tmp_path / "a", "valid", PICTURES[:4], LABELS[:4])
    write(tmp_path / "a", "test", PICTURES[:5], LABELS[:5])
    found = Idx(path=str(tmp_path / "a")).open()
    assert {split: len(samples) for split, samples in found.splits.items()} == {"train": 40, "val": 4, "test": 5}


def test_a_set_is_chosen_by_its_name(tmp_path):
    write(tmp_path / "e", "train", front="emnist-letters-", labels=LABELS + 1)
    write(tmp_path / "e", "train", front="emnist-digits-")
    with pytest.raises(ValueError, match=r"has several sets: 'emnist-digits', 'emnist-letters'; say which with data.name=NAME"):
        Idx(path=str(tmp_path / "e")).open()
    found = Idx(path=str(tmp_path / "e"), name="emnist-letters").open()
    assert found.classes == ("1", "2", "3", "4")
    assert "rows and columns exchanged" in found.notes[0]
    turned = Idx(path=str(tmp_path / "e"), name="emnist-letters", turned=True).open()
    sample = found.split("train")[0]
    assert turned.image(sample).equal(found.image(sample).mT)
    with pytest.raises(ValueError, match="has no idx files of a set 'letters'"):
        Idx(path=str(tmp_path / "e"), name="letters").open()


def test_classes_can_have_names(place):
    found = Idx(path=str(place), classes=("t-shirt", "trouser", "pullover", "dress", "coat")).open()
    assert found.classes[1] == "trouser"
    with pytest.raises(ValueError, match=r"has the label 2, but there are 2 classes"):
        Idx(path=str(place), classes=("a", "b")).open()


# --- what is wrong ----------------------------------------------------------------------------------------------------

IMAGES = "train-images-idx3-ubyte"
GOOD = idx(PICTURES)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "is no idx file: it begins with nothing"),
        (b"PK\3\4" + GOOD, "is no idx file: it begins with 50 4b 03 04"),
        (idx(PICTURES, kind=0x0D), "has values of the type 0x0d; only unsigned bytes"),
        (idx(LABELS), r"has 1 axis; pictures \(3 axes\) were expected"),
        (GOOD[:10], "ends in its header"),
        (GOOD[:-1], r"says that it has 40 x 5 x 4 values, but has 799; it is damaged, or cut off"),
        (GOOD + b"\0", r"says that it has 40 x 5 x 4 values, but has (801|more)"),
        (GOOD[:4] + struct.pack(">3I", 0, 5, 4), "says that it has 0 x 5 x 4 values, which is nothing"),
        (
            GOOD[:4] + struct.pack(">3I", *[2**32 - 1] * 3) + GOOD[16:],
            r"has 4294967295 x .* (but has 800|too much|cannot hold)",
        ),
        (idx(PICTURES[:39]), r"has 39 pictures, and .* 40 labels; they belong to different sets"),
    ],
)
@pytest.mark.parametrize("packed", [False, True])
def test_a_damaged_file_is_named(place, data, message, packed):
    (place / f"{IMAGES}.gz").unlink()
    name = f"{IMAGES}.gz" if packed else IMAGES
    (place / name).write_bytes(gzip.compress(data) if packed else data)
    with pytest.raises(ValueError, match=message) as error:
        Idx(path=str(place)).open()
    assert name in str(error.value)


def test_a_packed_file_that_is_cut_off_or_no_gzip_is_named(place):
    data = gzip.compress(GOOD)
    for broken in (data[:-9], data[:40], b"hello", GOOD, data[:30] + bytes(10) + data[40:]):
        (place / f"{IMAGES}.gz").write_bytes(broken)
        with pytest.raises(ValueError, match=f"{IMAGES}.gz"):
            Idx(path=str(place)).open()


def test_a_file_that_unpacks_to_more_than_it_says_is_not_unpacked(place):
    bomb = gzip.compress(GOOD[:4] + struct.pack(">3I", 100, 10_000, 10_000) + bytes(1000))
    (place / f"{IMAGES}.gz").write_bytes(bomb)
    with pytest.raises(ValueError, match="which its length cannot hold"):
        Idx(path=str(place)).open()
    (place / f"{IMAGES}.gz").write_bytes(gzip.compress(GOOD + bytes(10_000_000)))
    with pytest.raises(ValueError, match="but has more"):
        Idx(path=str(place)).open()


def test_missing_parts_are_named(place, tmp_path):
    (place / "train-labels-idx1-ubyte.gz").unlink()
    with pytest.raises(ValueError, match=r"there is no file of labels beside .*train-images-idx3-ubyte\.gz"):
        Idx(path=str(place)).open()
    with pytest.raises(ValueError, match="there is no folder"):
        Idx(path=str(tmp_path / "none")).open()
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="has no idx files, such as train-images-idx3-ubyte"):
        Idx(path=str(tmp_path / "empty")).open()
    write(tmp_path / "odd", "train")
    write(tmp_path / "odd", "t10k", PICTURES[:8], LABELS[:8] + 9)
    with pytest.raises(ValueError, match=r"t10k-labels-idx1-ubyte\.gz has the label 9, but no training picture has it"):
        Idx(path=str(tmp_path / "odd")).open()


def test_mutations_are_read_or_refused(place):
    draw = random.Random(0)
    (place / f"{IMAGES}.gz").unlink()
    packed = gzip.compress(GOOD)
    for turn in range(200):
        data = bytearray(packed if turn % 2 else GOOD)
        for _ in range(draw.randint(1, 3)):
            data[draw.randrange(min(len(data), 40))] = draw.randrange(256)
        path = place / (f"{IMAGES}.gz" if turn % 2 else IMAGES)
        path.write_bytes(data)
        try:
            found = Idx(path=str(place)).open()
            assert found.image(found.split("train")[-1]).shape[0] == 3
        except ValueError as error:
            if "train-" not in str(error):
                raise
        path.unlink()
