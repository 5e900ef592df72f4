import os

import numpy as np
import pytest
from PIL import Image

from paretina.data import likeness
from paretina.data.likeness import looked_at
from paretina.data.look_cache import LookCache
from paretina.data.sources.arrays import Arrays
from paretina.data.sources.folder import Folder

RNG = np.random.default_rng(0)


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("PARETINA_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "looks"


@pytest.fixture
def folder(tmp_path):
    for name in ("a/1.png", "a/2.png", "b/1.png", "b/2.png"):
        path = tmp_path / "photos" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(RNG.integers(0, 256, (40, 40, 3), np.uint8)).save(path)
    return tmp_path / "photos"


def look(folder):
    collection = Folder(path=str(folder), val_share=0.0).open()
    return looked_at(collection, collection.split("train"))


def test_looks_once_and_never_beside_the_pictures(folder, cache):
    before = sorted(folder.rglob("*"))
    first, second = look(folder), look(folder)
    assert (first.new, second.new) == (4, 0)
    assert (first.looks == second.looks).all()
    assert sorted(folder.rglob("*")) == before
    assert len(list(cache.iterdir())) == 1


def test_what_has_changed_is_looked_at_again(folder):
    before = look(folder).looks
    place = folder / "a/2.png"
    Image.new("RGB", (40, 40), "red").save(place)
    os.utime(folder / "b/1.png", ns=(5, 5))
    Image.new("RGB", (40, 40), "blue").save(folder / "b/3.png")
    after = look(folder)
    assert after.new == 3
    assert (after.looks["digest"][[0, 2, 3]] == before["digest"][[0, 2, 3]]).all()
    assert after.looks["digest"][1] != before["digest"][1]


def test_what_cannot_be_read_is_tried_again(folder):
    data = (folder / "a/1.png").read_bytes()
    (folder / "a/1.png").write_bytes(bytes(len(data)))
    os.utime(folder / "a/1.png", ns=(7, 7))
    assert not any(look(folder).looks["digest"][0].tobytes())
    (folder / "a/1.png").write_bytes(data)
    os.utime(folder / "a/1.png", ns=(7, 7))
    found = look(folder)
    assert found.new == 1
    assert any(found.looks["digest"][0].tobytes())


def test_without_time_only_equal_ones_are_looked_for_until_the_looks_are_known(folder):
    collection = Folder(path=str(folder), val_share=0.0).open()
    samples = collection.split("train")
    hurried = looked_at(collection, samples, fresh=3)
    assert (hurried.near, hurried.hurried, hurried.new) == (False, True, 4)
    assert any("the time limit is too short" in note for note in hurried.notes())
    assert not hurried.looks["comparable"].any()
    whole = looked_at(collection, samples, fresh=4)
    assert (whole.near, whole.hurried, whole.new) == (True, False, 4)
    again = looked_at(collection, samples, fresh=0)
    assert (again.near, again.hurried, again.new) == (True, False, 0)
    assert (again.looks == whole.looks).all()


def test_one_file_of_arrays_stands_for_all_its_pictures(tmp_path):
    images = RNG.integers(0, 256, (6, 40, 40, 3), np.uint8)
    np.savez(tmp_path / "a.npz", images=images, labels=np.arange(6) % 2, split=["train"] * 6)
    counts = []
    for _ in range(2):
        collection = Arrays(path=str(tmp_path / "a.npz")).open()
        counts.append(looked_at(collection, collection.split("train")).new)
    assert counts == [6, 0]


@pytest.mark.parametrize("damage", [b"", b"no archive", b"PK\x03\x04 cut short"])
def test_a_damaged_file_is_ignored_and_mended(folder, cache, damage):
    wanted = look(folder).looks
    (file,) = cache.iterdir()
    file.write_bytes(damage)
    found = look(folder)
    assert found.new == 4
    assert (found.looks == wanted).all()
    assert look(folder).new == 0


def test_a_file_with_an_object_in_it_is_not_run(folder, cache):
    look(folder)
    (file,) = cache.iterdir()
    with file.open("wb") as handle:
        np.savez(handle, text=np.array([print], object), stamps=np.zeros((1, 2)), entries=np.zeros(1))
    assert look(folder).new == 4


def test_another_version_of_the_decoder_looks_again(folder, monkeypatch):
    look(folder)
    monkeypatch.setattr("paretina.data.look_cache.version", lambda name: "99")
    assert look(folder).new == 4


def test_a_file_put_in_the_place_of_another_with_its_size_and_time_is_looked_at_again(folder, tmp_path):
    before = look(folder).looks
    place = folder / "a/1.png"
    old = place.stat()
    content = (folder / "b/1.png").read_bytes().ljust(old.st_size, b"\0")[: max(old.st_size, 1)]
    place.write_bytes(content)
    os.utime(place, ns=(old.st_atime_ns, old.st_mtime_ns))
    assert (place.stat().st_size, place.stat().st_mtime_ns) == (old.st_size, old.st_mtime_ns)
    after = look(folder)
    assert after.new == 1
    assert after.looks["digest"][0] != before["digest"][0]


def test_a_folder_that_cannot_be_written_is_a_note(folder, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("PARETINA_CACHE", str(tmp_path / "file"))
    found = look(folder)
    assert found.new == 4
    (said,) = found.notes()
    assert said.startswith("the results of the duplicate search cannot be cached in ")


def test_entries_of_other_pictures_stay_unless_they_are_the_greater_part(folder):
    whole = Folder(path=str(folder), val_share=0.0).open()
    samples = whole.split("train")
    looked_at(whole, samples)
    (folder / "a/1.png").touch()
    os.utime(folder / "a/1.png", ns=(9, 9))
    assert looked_at(whole, samples[:3]).new == 1
    assert looked_at(whole, samples).new == 0


def test_an_interruption_loses_little(folder, monkeypatch):
    monkeypatch.setattr(likeness, "SAVED", 2)
    collection = Folder(path=str(folder), val_share=0.0).open()
    found, real = [], LookCache.keep

    def keep(cache, entries):
        real(cache, entries)
        found.append(len(entries))
        if len(found) == 1:
            raise KeyboardInterrupt

    monkeypatch.setattr(LookCache, "keep", keep)
    with pytest.raises(KeyboardInterrupt):
        looked_at(collection, collection.split("train"))
    assert looked_at(collection, collection.split("train")).new == 2
