import io
import os
import pickle
import random

import numpy as np
import PIL.Image
import pytest

from paretina import verbs
from paretina.data.decode import DecodeError
from paretina.data.named import may_be_there, source_named
from paretina.data.sources import hub
from paretina.data.sources.folder import Folder
from paretina.data.sources.hub import Hub
from paretina.model.tasks.any_of import ABSENT, AnyOf

datasets = pytest.importorskip("datasets")


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("PARETINA_CACHE", str(tmp_path / "cache"))


def pixels(number):
    return np.random.default_rng(number).integers(0, 256, (6, 5, 3), np.uint8)


def picture(number):
    buffer = io.BytesIO()
    PIL.Image.fromarray(pixels(number)).save(buffer, "PNG")
    return {"bytes": buffer.getvalue(), "path": None}


NAMED = datasets.ClassLabel(names=["cat", "dog"])


def made(numbers, labels=None, kind=NAMED, **more):
    """A data set of pictures whose class is their number modulo 2."""
    numbers = list(numbers)
    labels = [number % 2 for number in numbers] if labels is None else labels
    features = datasets.Features({"image": datasets.Image(), "label": kind, **{name: one[0] for name, one in more.items()}})
    columns = {
        "image": [picture(number) for number in numbers],
        "label": labels,
        **{name: one[1] for name, one in more.items()},
    }
    return datasets.Dataset.from_dict(columns, features=features)


def require_right(found, first):
    """Each picture has the pixels and the class of its number; `first` is the number of the first one of each split."""
    for samples in found.splits.values():
        for sample in samples:
            split, _, row = sample.name.partition("/")
            number = first[split] + int(row)
            np.testing.assert_array_equal(found.image(sample).numpy(), pixels(number).transpose(2, 0, 1))
            assert found.classes[sample.label] == ("cat", "dog")[number % 2]


@pytest.fixture(scope="module")
def both():
    return datasets.DatasetDict(train=made(range(8)), validation=made(range(8, 12)))


def test_what_save_to_disk_wrote_is_known_and_read(both, tmp_path):
    place = tmp_path / "saved"
    both.save_to_disk(str(place))
    assert source_named(str(place)) == Hub(path=str(place))
    found = Hub(path=str(place)).open()
    assert found.classes == ("cat", "dog")
    assert {split: len(samples) for split, samples in found.splits.items()} == {"train": 8, "val": 4}
    require_right(found, {"train": 0, "val": 8})
    assert found.file(found.split("val")[0]).name.endswith(".arrow")
    again = pickle.loads(pickle.dumps(found))
    assert again == found
    require_right(again, {"train": 0, "val": 8})
    assert verbs.data_check(str(place)).samples == 12


def test_a_single_data_set_is_divided(tmp_path):
    made(range(30)).save_to_disk(str(tmp_path / "one"))
    source = source_named(str(tmp_path / "one"))
    found = source.open()
    assert {sample.label for sample in found.split("val")} == {0, 1}
    require_right(found, {"all": 0})
    assert source.pinned(found).open().splits == found.splits


@pytest.mark.parametrize("folder", ["", "data"])
def test_a_folder_of_parquet_files_is_read(both, tmp_path, folder):
    place = tmp_path / "pq"
    (place / folder).mkdir(parents=True)
    for split, data in both.items():
        half = len(data) // 2
        for number, part in enumerate((data.select(range(half)), data.select(range(half, len(data))))):
            part.to_parquet(str(place / folder / f"{split}-{number:05d}-of-00002.parquet"))
    assert isinstance(source_named(str(place)), Hub)
    found = Hub(path=str(place)).open()
    assert {split: len(samples) for split, samples in found.splits.items()} == {"train": 8, "val": 4}
    require_right(found, {"train": 0, "val": 8})
    assert not datasets.utils.are_progress_bars_disabled()


def test_class_folders_beside_a_parquet_file_are_a_folder(tmp_path):
    (tmp_path / "cat").mkdir()
    made(range(2)).to_parquet(str(tmp_path / "x.parquet"))
    assert isinstance(source_named(str(tmp_path)), Folder)


def test_labels_may_be_names_numbers_or_lists(tmp_path):
    made(range(4), ["b", "a", "b", "a"], datasets.Value("string")).save_to_disk(str(tmp_path / "names"))
    assert Hub(path=str(tmp_path / "names"), val_share=0).open().classes == ("a", "b")
    made(range(4), [10, 9, 10, 9], datasets.Value("int64")).save_to_disk(str(tmp_path / "numbers"))
    assert Hub(path=str(tmp_path / "numbers"), val_share=0).open().classes == ("9", "10")
    lists = datasets.List(NAMED) if hasattr(datasets, "List") else datasets.Sequence(NAMED)
    made(range(3), [[0, 1], [], [1]], lists).save_to_disk(str(tmp_path / "lists"))
    found = Hub(path=str(tmp_path / "lists"), val_share=0).open()
    assert found.task == AnyOf()
    none = pytest.approx([ABSENT, ABSENT])
    assert [found.target(sample).tolist() for sample in found.split("train")] == [[1, 1], none, [0, 1]]


def test_fields_choose_columns(tmp_path):
    coarse = (datasets.ClassLabel(names=["x", "y", "z"]), [2, 0, 2, 0])
    made(range(4), coarse=coarse).save_to_disk(str(tmp_path / "two"))
    assert Hub(path=str(tmp_path / "two"), val_share=0).open().classes == ("cat", "dog")
    found = Hub(path=str(tmp_path / "two"), label="coarse", val_share=0).open()
    assert [found.classes[sample.label] for sample in found.split("train")] == ["z", "x", "z", "x"]
    with pytest.raises(ValueError, match="has no column 'coarce', which label=coarce names; did you mean 'coarse'"):
        Hub(path=str(tmp_path / "two"), label="coarce").open()


def test_pictures_of_test_may_lack_a_label(tmp_path):
    data = datasets.DatasetDict(train=made(range(4)), test=made(range(3), [-1, -1, -1]), validation=made(range(2)))
    data.save_to_disk(str(tmp_path / "a"))
    assert {sample.label for sample in Hub(path=str(tmp_path / "a")).open().split("test")} == {-1}


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (lambda: made(range(3), [0, -1, 1]), "row 1 of train, column 'label': -1 is no label"),
        (
            lambda: made(range(3), ["a", None, "b"], datasets.Value("string")),
            "row 1 of train, column 'label': None is no label",
        ),
        (lambda: made(range(2), [0.5, 1.5], datasets.Value("float32")), "row 0 of train, column 'label': 0.5 .*is no class"),
        (lambda: made(range(2)).remove_columns("image"), r"has no column that is the image; .* it has label \(ClassLabel\)"),
        (lambda: made(range(2)).remove_columns("label"), "has no column that is the label; say which with data.label=NAME"),
        (lambda: made(range(2), [0, 0], datasets.Value("int64")), "has a single class, '0'"),
    ],
)
def test_what_is_wrong_with_a_data_set_is_said(tmp_path, data, message):
    data().save_to_disk(str(tmp_path / "a"))
    with pytest.raises(ValueError, match=message):
        Hub(path=str(tmp_path / "a")).open()


def test_a_class_of_val_that_train_lacks_is_said(tmp_path):
    text = datasets.Value("string")
    data = datasets.DatasetDict(train=made(range(2), ["a", "b"], text), validation=made(range(1), ["c"], text))
    data.save_to_disk(str(tmp_path / "a"))
    with pytest.raises(ValueError, match="val has the class 'c', which no picture to train on has; known: a, b"):
        Hub(path=str(tmp_path / "a")).open()


def test_damaged_pictures_have_the_errors_of_all_pictures(tmp_path):
    data = made(range(4))
    broken = [picture(0), {"bytes": b"no picture", "path": None}, {"bytes": None, "path": str(tmp_path / "x.png")}, None]
    (tmp_path / "x.png").write_bytes(picture(2)["bytes"])
    data = datasets.Dataset.from_dict({"image": broken, "label": [0, 1, 0, 1]}, features=data.features)
    data.save_to_disk(str(tmp_path / "a"))
    (tmp_path / "x.png").unlink()
    found = Hub(path=str(tmp_path / "a"), val_share=0).open()
    samples = found.split("train")
    assert found.image(samples[0]).shape == (3, 6, 5)
    assert found.image(samples[2]).shape == (3, 6, 5)  # save_to_disk put the file into the data set
    for place, message in (
        (1, "not a picture in a known format"),
        (3, "the cell of the picture is empty"),
    ):
        with pytest.raises(DecodeError, match=rf"^all/{place}: .*{message}"):
            found.image(samples[place])


def test_damaged_files_are_refused(tmp_path):
    made(range(6)).save_to_disk(str(tmp_path / "a"))
    (file,) = (tmp_path / "a").glob("*.arrow")
    data, draw = file.read_bytes(), random.Random(0)
    for broken in (b"", data[:100], data[: len(data) // 2]):
        file.write_bytes(broken)
        with pytest.raises(ValueError, match="is no usable data set"):
            Hub(path=str(tmp_path / "a")).open()
    file.write_bytes(data)
    for name in ("state.json", "dataset_info.json"):
        whole = (tmp_path / "a" / name).read_bytes()
        for _ in range(10):
            mutated = bytearray(whole)
            mutated[draw.randrange(len(whole))] = draw.randrange(32, 127)
            (tmp_path / "a" / name).write_bytes(mutated)
            try:
                Hub(path=str(tmp_path / "a")).open()
            except ValueError as error:
                if str(tmp_path / "a") not in str(error):
                    raise
        (tmp_path / "a" / name).write_bytes(whole)
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "train.parquet").write_bytes(b"PAR1")
    with pytest.raises(ValueError, match="is no usable data set"):
        Hub(path=str(tmp_path / "b")).open()
    with pytest.raises(ValueError, match="there is no folder"):
        Hub(path=str(tmp_path / "none")).open()


# --- the hub ----------------------------------------------------------------------------------------------------------


class Builder:
    pass


def test_a_name_of_the_hub_goes_to_the_library(both, monkeypatch):
    asked = []
    Builder.__module__ = "datasets.packaged_modules.parquet.parquet"
    monkeypatch.setattr(datasets, "load_dataset_builder", lambda *given, **named: asked.append((given, named)) or Builder())
    monkeypatch.setattr(datasets, "load_dataset", lambda *given, **named: asked.append((given, named)) or both)
    source = source_named("hf:someone/pets@small")
    assert source == Hub(path="hf:someone/pets@small")
    assert may_be_there(source.path)
    found = Hub(path=source.path, revision="v1").open()
    require_right(found, {"train": 0, "val": 8})
    assert asked == [(("someone/pets", "small"), {"revision": "v1"})] * 2
    assert all("trust_remote_code" not in named for _, named in asked)


@pytest.mark.parametrize("module", ["datasets.packaged_modules.pandas.pandas", "datasets_modules.someone.pets", "os"])
def test_other_forms_are_refused_before_anything_is_loaded(monkeypatch, module):
    monkeypatch.setattr(Builder, "__module__", module)
    monkeypatch.setattr(datasets, "load_dataset_builder", lambda *given, **named: Builder())
    monkeypatch.setattr(datasets, "load_dataset", lambda *given, **named: pytest.fail("it was loaded"))
    with pytest.raises(ValueError, match="only parquet, arrow, imagefolder are read, which run no code"):
        Hub(path="hf:someone/pets").open()


@pytest.mark.parametrize("name", ["hf:", "hf:a/b/c", "hf:../x", "hf:a b", "hf:https://x.y/z", "hf:a@b@c"])
def test_what_is_no_name_is_refused(name, monkeypatch):
    monkeypatch.setattr(datasets, "load_dataset_builder", lambda *given, **named: pytest.fail("it was asked for"))
    with pytest.raises(ValueError, match="is written hf:NAME, hf:OWNER/NAME"):
        Hub(path=name).open()


def test_a_folder_of_the_same_name_is_not_taken_for_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    os.mkdir("pets")
    with pytest.raises(ValueError, match=r"there is 'pets' on this machine, so 'hf:pets' could mean either"):
        Hub(path="hf:pets").open()


def test_errors_of_the_hub_are_one_line(monkeypatch):
    def fails(*given, **named):
        raise ConnectionError("Couldn't reach the Hub\nfor many\nreasons")

    monkeypatch.setattr(datasets, "load_dataset_builder", fails)
    with pytest.raises(ValueError, match=r"'hf:pets' cannot be had from the hub: Couldn't reach the Hub$"):
        Hub(path="hf:pets").open()


def test_the_library_is_needed_and_not_too_old(monkeypatch, tmp_path):
    monkeypatch.setattr(datasets, "__version__", "3.6.0")
    with pytest.raises(ValueError, match=r"needs datasets 4 or later, .* and 3\.6\.0 is installed"):
        Hub(path=str(tmp_path)).open()
    monkeypatch.setattr(hub.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r"pip install 'paretina\[datasets\]'"):
        Hub(path=str(tmp_path)).open()
