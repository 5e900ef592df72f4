import re

import pytest

from paretina import verbs
from paretina.data.named import data_in_words, source_named, sources
from paretina.data.sources.arrays import Arrays
from paretina.data.sources.clipart import Clipart
from paretina.data.sources.folder import Folder
from paretina.data.sources.shapes import Shapes
from paretina.spec import field_map
from paretina.verbs.checks import MisuseError


def test_every_source_that_can_be_named_is_named_in_one_way():
    for name, kind in sources().items():
        ways = [bool(kind.WORD), bool(kind.SUFFIXES), kind.FOLDERS]
        assert sum(ways) <= 1, name
        assert "path" in field_map(kind) or not (kind.SUFFIXES or kind.FOLDERS), name
    words = [kind.WORD for kind in sources().values() if kind.WORD]
    suffixes = [suffix for kind in sources().values() for suffix in kind.SUFFIXES]
    assert len({*words}) == len(words)
    assert len({*suffixes}) == len(suffixes)
    assert sum(kind.FOLDERS for kind in sources().values()) == 1
    assert data_in_words() == "a folder, an .npz file, clipart or shapes"


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
        ValueError, match=r"photos.zip' is a file of an unknown type; name a folder, an .npz file, clipart or sh"
    ):
        source_named(str(tmp_path / "photos.zip"))
    with pytest.raises(ValueError, match=r"there is no folder 'clipatr', and no built-in data of .*; did you mean 'clipart'"):
        source_named("clipatr")


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
