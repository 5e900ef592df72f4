import gzip
import pickle
import struct

import numpy as np
import PIL.Image
import pytest
import torchvision

from paretina import verbs
from paretina.data.decode import DecodeError
from paretina.data.named import may_be_there, source_named
from paretina.data.sources.vision import REFUSED, SETS, Vision

PICTURES = np.random.default_rng(0).integers(0, 256, (20, 28, 28), np.uint8)


def idx(path, values):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(bytes((0, 0, 8, values.ndim)) + struct.pack(f">{values.ndim}I", *values.shape) + values.tobytes())


def fashion(root, name="FashionMNIST", front="", first=0):
    """Files as torchvision stores them."""
    for split, count in (("train", 20), ("t10k" if not front else "test", 10)):
        labels = np.arange(count) % 10 if not first else first + np.arange(count) % 26
        idx(root / name / "raw" / f"{front}{split}-images-idx3-ubyte", PICTURES[:count])
        idx(root / name / "raw" / f"{front}{split}-labels-idx1-ubyte", labels.astype(np.uint8))


def files(root, folders, count=6):
    """Pictures in class folders, whose colour is their number."""
    for folder in folders:
        (root / folder).mkdir(parents=True)
        for number in range(count):
            PIL.Image.new("RGB", (8, 6), (20 * number, 0, 0)).save(root / folder / f"{folder}_{number}.jpg", quality=95)


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("PARETINA_CACHE", str(tmp_path / "cache"))


def test_a_set_is_known_by_its_name_and_looked_for_in_the_cache(tmp_path):
    source = source_named("torchvision:FashionMNIST")
    assert source == Vision(path="torchvision:FashionMNIST")
    assert may_be_there(source.path)
    with pytest.raises(ValueError, match=r"FashionMNIST cannot be opened in .*/cache/torchvision: .*\+download:FashionMNIST"):
        source.open()
    assert not (tmp_path / "cache").exists()
    fashion(tmp_path / "cache" / "torchvision")
    found = source.open()
    assert found.classes[9] == "Ankle boot"
    assert [len(found.split(split)) for split in ("train", "val")] == [20, 10]
    for sample in found.split("val"):
        number = int(sample.name.removeprefix("test/"))
        assert sample.label == number
        np.testing.assert_array_equal(found.image(sample).numpy(), np.stack([PICTURES[number]] * 3))
    again = pickle.loads(pickle.dumps(found))
    assert again == found
    assert again.image(again.split("train")[3]).equal(found.image(found.split("train")[3]))
    assert verbs.data_check("torchvision:FashionMNIST").samples == 30
    assert found.mirrors
    assert not Vision(path=source.path, mirrors=False).open().mirrors


def test_a_part_is_chosen_and_pictures_are_upright(tmp_path):
    fashion(tmp_path, "EMNIST", "emnist-letters-", first=1)
    found = Vision(path="torchvision:EMNIST@letters", root=str(tmp_path)).open()
    assert found.classes[:2] == ("a", "b")
    assert len(found.classes) == 20
    assert "classes without a picture were left out: N/A, u" in found.notes[0]
    assert not found.mirrors
    np.testing.assert_array_equal(found.image(found.split("train")[3])[0].numpy(), PICTURES[3].T)


def test_pictures_that_are_files_are_decoded_here(tmp_path):
    files(tmp_path / "eurosat" / "2750", ["Forest", "River"])
    source = Vision(path="torchvision:EuroSAT", root=str(tmp_path), val_share=0.3)
    found = source.open()
    assert found.classes == ("Forest", "River")
    assert len(found.split("train")) + len(found.split("val")) == 12
    assert source.pinned(found).open().splits == found.splits
    every = (*found.split("train"), *found.split("val"))
    sample = next(each for each in every if each.name.endswith("Forest_5.jpg"))
    assert sample.name == "eurosat/2750/Forest/Forest_5.jpg"
    assert abs(int(found.image(sample)[0, 0, 0]) - 100) < 4
    (tmp_path / sample.name).write_bytes(b"no picture")
    with pytest.raises(DecodeError, match=r"^eurosat/2750/Forest/Forest_5\.jpg: not a picture"):
        found.image(sample)
    assert pickle.loads(pickle.dumps(found)) == found


def test_sets_with_lists_of_files_have_their_splits(tmp_path):
    base = tmp_path / "dtd" / "dtd"
    files(base / "images", ["banded", "dotted"])
    (base / "labels").mkdir()
    for split, numbers in (("train", (0, 1)), ("val", (2,)), ("test", (3, 4, 5))):
        lines = [f"{kind}/{kind}_{number}.jpg" for kind in ("banded", "dotted") for number in numbers]
        (base / "labels" / f"{split}1.txt").write_text("\n".join(lines))
    found = Vision(path="torchvision:DTD", root=str(tmp_path)).open()
    assert {split: len(samples) for split, samples in found.splits.items()} == {"train": 4, "val": 2, "test": 6}
    assert found.classes == ("banded", "dotted")


def test_sets_without_a_function_that_opens_files_are_read_without_decoding(tmp_path, monkeypatch):
    files(tmp_path / "gtsrb" / "GTSRB" / "Training", ["00000", "00001"])
    for path in (tmp_path / "gtsrb").rglob("*.jpg"):
        PIL.Image.open(path).save(path.with_suffix(".ppm"))
    place = tmp_path / "gtsrb" / "GTSRB" / "Final_Test" / "Images"
    place.mkdir(parents=True)
    (tmp_path / "gtsrb" / "GTSRB" / "Training" / "00000" / "00000_0.ppm").rename(place / "a.ppm")
    (tmp_path / "gtsrb" / "GT-final_test.csv").write_text("Filename;Width;ClassId\na.ppm;8;0\n")
    found = Vision(path="torchvision:GTSRB", root=str(tmp_path)).open()
    assert found.classes == ("0", "1")
    assert len(found.split("train")) == 11
    assert found.split("val")[0].name == "gtsrb/GTSRB/Final_Test/Images/a.ppm"
    assert found.image(found.split("val")[0]).shape == (3, 6, 8)
    pets = tmp_path / "oxford-iiit-pet"
    files(pets, ["images"])
    (pets / "annotations").mkdir()
    for split, numbers in (("trainval", (0, 1, 2, 3)), ("test", (4, 5))):
        lines = [f"images_{number} {1 + number % 2} {1 + number % 2} 1" for number in numbers]
        (pets / "annotations" / f"{split}.txt").write_text("\n".join(lines))
    found = Vision(path="torchvision:OxfordIIITPet", root=str(tmp_path)).open()
    assert [len(found.split(split)) for split in ("train", "val")] == [4, 2]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        *((name, f"{name} is not opened: .*, and reading one can run code") for name in REFUSED),
        ("FashonMNIST", "'FashonMNIST' is none of the sets of torchvision that are opened; did you mean 'FashionMNIST'"),
        ("MNIST@letters", "MNIST has no part 'letters', nor any other"),
        ("EMNIST@leters", "EMNIST has no part 'leters'; did you mean 'letters'"),
        ("folder.pickle", "is none of the sets"),
        ("__builtins__", "is none of the sets"),
    ],
)
def test_other_names_are_refused(name, message, monkeypatch):
    monkeypatch.setattr(pickle, "load", lambda *given: pytest.fail("it was unpickled"))
    with pytest.raises(ValueError, match=message):
        Vision(path=f"torchvision:{name}").open()


def test_all_sets_are_those_of_torchvision():
    for name in SETS:
        assert hasattr(torchvision.datasets, name), name
    assert not SETS.keys() & REFUSED.keys()


def test_nothing_is_downloaded_unless_asked_for(tmp_path, monkeypatch):
    asked = []

    def download(self):
        asked.append(type(self).__name__)
        fashion(tmp_path / "sets", "KMNIST")

    monkeypatch.setattr(torchvision.datasets.MNIST, "download", download)
    with pytest.raises(ValueError, match=r"torchvision\+download:KMNIST downloads it"):
        Vision(path="torchvision:KMNIST", root=str(tmp_path / "sets")).open()
    assert not asked
    assert Vision(path="torchvision+download:KMNIST", root=str(tmp_path / "sets")).open().classes[0] == "o"
    assert asked == ["KMNIST", "KMNIST"]
    assert source_named("torchvision+download:KMNIST") == Vision(path="torchvision+download:KMNIST")
    assert len(Vision(path="torchvision:KMNIST", download=True, root=str(tmp_path / "sets")).open().split("train")) == 20


def test_damaged_files_are_said(tmp_path):
    fashion(tmp_path)
    raw = tmp_path / "FashionMNIST" / "raw"
    for broken in (b"", b"hello", (raw / "train-images-idx3-ubyte").read_bytes()[:100], gzip.compress(b"x")):
        (raw / "train-images-idx3-ubyte").write_bytes(broken)
        with pytest.raises(ValueError, match="FashionMNIST cannot be opened in"):
            Vision(path="torchvision:FashionMNIST", root=str(tmp_path)).open()
