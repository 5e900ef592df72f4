import re

import pytest

from paretina import verbs
from paretina.data.named import (
    data_in_words,
    folder_source,
    may_be_there,
    prefixes,
    signs,
    source_named,
    sources,
    suffixes,
)
from paretina.data.naming import source_of_path
from paretina.data.sources.arrays import Arrays
from paretina.data.sources.clipart import Clipart
from paretina.data.sources.folder import Folder
from paretina.data.sources.hub import Hub
from paretina.data.sources.shapes import Shapes
from paretina.data.sources.shards import Shards
from paretina.spec import field_map
from paretina.verbs import outline
from paretina.verbs.checks import MisuseError


def test_every_source_that_can_be_named_is_named_in_one_way():
    for name, kind in sources().items():
        by_path = [bool(kind.SUFFIXES), kind.FOLDERS, bool(kind.PREFIXES), bool(kind.SIGNS)]
        assert not (kind.WORD and any(by_path)), name
        assert "path" in field_map(kind) or not any(by_path), name
    words = [kind.WORD for kind in sources().values() if kind.WORD]
    suffixes = [suffix for kind in sources().values() for suffix in kind.SUFFIXES]
    assert len({*words}) == len(words)
    assert len({*suffixes}) == len(suffixes)
    assert sum(kind.FOLDERS for kind in sources().values()) == 1
    assert ["joined" in vars(kind) for kind in sources().values() if kind.JOINS] == [True]
    assert data_in_words() == (
        "a folder, a .csv, .npz, .parquet, .tar, .tar.gz, .tgz or .tsv file, hf:NAME, torchvision:NAME, cells, clipart or "
        "shapes, or several of them with commas"
    )


def test_a_word_a_file_and_a_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert source_named("clipart") == Clipart()
    assert source_named("numbers.npz") == Arrays(path="numbers.npz")
    (tmp_path / "pictures.npz").mkdir()
    assert source_named("pictures.npz") == Folder(path="pictures.npz")
    assert source_named(Shapes(seed=2)) == Shapes(seed=2)
    (tmp_path / "shapes").mkdir()  # one's own folder comes first
    assert source_named("shapes") == Folder(path="shapes")


def test_what_is_none_of_them_is_refused_with_what_there_is(tmp_path):
    (tmp_path / "photos.zip").write_bytes(b"")
    with pytest.raises(
        ValueError,
        match=r"photos.zip' is a file of an unknown type; name a folder, a .csv, .npz, .*, or several of them with commas$",
    ):
        source_named(str(tmp_path / "photos.zip"))
    with pytest.raises(ValueError, match=r"there is no folder 'clipatr', and no built-in data of .*; did you mean 'clipart'"):
        source_named("clipatr")


def test_a_folder_is_of_the_source_whose_files_it_has(tmp_path):
    (tmp_path / "x.tar").write_bytes(b"")
    (tmp_path / ".hidden").mkdir()
    assert source_named(str(tmp_path)) == Shards(path=str(tmp_path))
    (tmp_path / "cat").mkdir()
    assert source_named(str(tmp_path)) == Folder(path=str(tmp_path))
    (tmp_path / "train").mkdir()
    (tmp_path / "train" / "state.json").write_text("{}")
    assert source_named(str(tmp_path)) == Hub(path=str(tmp_path))


def test_the_checks_before_torch_find_the_same_source(tmp_path, monkeypatch):
    outlined = outline.made()
    names = ("suffixes", "prefixes", "signs", "folder")
    found = {"suffixes": suffixes(), "prefixes": prefixes(), "signs": signs(), "folder": folder_source()}
    assert {name: outlined[name] for name in names} == found
    for word, name in (
        ("hf:a/b", "Hub"),
        ("torchvision:MNIST", "Vision"),
        ("torchvision+download:MNIST", "Vision"),
        ("https://a.b/{0..3}.tar", "Shards"),
        ("A.CSV", "Table"),
        ("a.npz", "Arrays"),
        (str(tmp_path), "Folder"),
        ("photos", None),
    ):
        assert source_of_path(word, **found) == name
        assert may_be_there(word) == (word.startswith(("hf", "torchv", "https")) or word == str(tmp_path))


@pytest.mark.parametrize("value", ['{"kind": "Shapes", "per_class": 3}', {"kind": "Shapes", "per_class": 3}])
def test_a_source_with_all_its_fields_is_enough(value):
    choice = verbs.ask(fields={"data": value, "data.seed": 4}, model="resnet18", weights="none", device="cpu")
    assert choice.asked.data == Shapes(per_class=3, seed=4)
    assert choice.origin("data.per_class") == "command line"


def test_a_source_in_a_file_gives_way_to_what_is_named(tmp_path):
    config = tmp_path / "asked.yaml"
    config.write_text("data: {kind: Shapes, per_class: 3}\nmodel: resnet18\nweights: none\n")
    assert verbs.ask(config=config, device="cpu").asked.data == Shapes(per_class=3)
    assert verbs.ask("clipart", config=config, device="cpu").asked.data == Clipart()


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ('{"kind": "Shapse"}', "data: there is no Source named 'Shapse'; did you mean 'Shapes'?"),
        ('{"kind": "Shapes", "per_clas": 3}', "data: Shapes has no field 'per_clas'; did you mean 'per_class'?"),
        ('{"kind": "Shapes"', "data: not JSON: "),
        ('{"path": "photos"}', "data: there is no Source named 'Source'"),
    ],
)
def test_a_source_that_is_none_is_refused(value, said):
    with pytest.raises(MisuseError, match=re.escape(said)):
        verbs.ask(fields={"data": value}, model="resnet18")


def test_a_source_is_given_once():
    with pytest.raises(MisuseError, match=r"^data is given twice, as clipart and as data=\{"):
        verbs.ask("clipart", fields={"data": '{"kind": "Shapes"}'}, model="resnet18")
