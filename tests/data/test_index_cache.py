import numpy as np
import pytest

from paretina.data.index_cache import IndexCache, packed, unpacked


@pytest.fixture
def file(tmp_path, monkeypatch):
    monkeypatch.setenv("PARETINA_CACHE", str(tmp_path / "cache"))
    (tmp_path / "a.csv").write_text("x")
    return tmp_path / "a.csv"


@pytest.mark.parametrize("texts", [[], [""], ["", ""], ["a"], ["a", "", "ü\n", "\udce4"]])
def test_texts_survive_packing(texts):
    assert unpacked(packed(texts), len(texts)) == texts
    with pytest.raises(ValueError, match="texts where there should be"):
        unpacked(packed(["a", "b"]), 3)


def test_an_index_is_there_until_a_file_changes(file):
    assert IndexCache("tables", [file]).read() is None
    IndexCache("tables", [file]).keep({"numbers": np.arange(3)})
    assert IndexCache("tables", [file]).read()["numbers"].tolist() == [0, 1, 2]
    assert IndexCache("tables", [file], {"root": "b"}).read() is None
    assert IndexCache("shards", [file]).read() is None
    file.write_text("longer")
    assert IndexCache("tables", [file]).read() is None


def test_a_file_that_is_not_there_is_not_cached(file, tmp_path):
    cache = IndexCache("tables", [file, tmp_path / "none"])
    cache.keep({"numbers": np.arange(3)})
    assert cache.read() is None
    assert not (tmp_path / "cache").exists()


def test_nothing_is_unpickled(file):
    cache = IndexCache("tables", [file])
    cache.keep({"numbers": np.arange(3)})
    np.savez(cache.path, header=np.array([object()], object), numbers=np.array([object()], object))
    assert cache.read() is None
