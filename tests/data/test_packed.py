"""The cache of decoded pictures on the disk."""

import errno
import io
import mmap
import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import ClassVar

import filelock
import numpy as np
import PIL.Image
import pytest
import torch

from paretina.data import packed, pictures
from paretina.data.loader import training_batches
from paretina.data.packed import packs, read_index
from paretina.data.pictures import read_pictures
from paretina.data.sampler import Epochs
from paretina.data.source import Collection, Sample
from paretina.data.sources.arrays import from_arrays
from paretina.data.sources.folder import Folder, FolderCollection
from paretina.data.sources.part import PartCollection
from paretina.data.transform import Look
from paretina.data.transforms.crop import RandomResizedCrop
from paretina.data.transforms.flip import HorizontalFlip
from paretina.schedules import Staged

COUNT = 12
GB = 10**9


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("PARETINA_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "pictures"


@pytest.fixture
def photos(tmp_path):
    for n in range(COUNT):
        save(tmp_path / "photos", n, n)
    return tmp_path / "photos"


def save(root, n, seed, suffix="jpg"):
    place = root / "ab"[n % 2]
    place.mkdir(parents=True, exist_ok=True)
    small = np.random.default_rng(seed).integers(0, 256, (6 + n, 9, 3), dtype=np.uint8)
    PIL.Image.fromarray(small).resize((120, 80 + 3 * n), PIL.Image.Resampling.BICUBIC).save(place / f"{n}.{suffix}")


def opened(root):
    return Folder(path=str(root), val_share=0.0, copies="anywhere").open()


def read(root, limit=GB, smallest=16, side=64, **more):
    collection = opened(root) if isinstance(root, Path) else root
    return read_pictures(collection, collection.split("train"), side, smallest=smallest, packed=side, cache_bytes=limit, **more)


def every_level(shown):
    return [
        shown.levels(index).level(halvings)
        for index in range(len(shown))
        for halvings in range(1 + shown.copies(*shown.image(index).shape[1:]))
    ]


def assert_same(shown, others):
    assert shown.samples == others.samples
    for one, other in zip(every_level(shown), every_level(others), strict=True):
        assert torch.equal(one, other)
        assert one.stride() == other.stride()


@dataclass
class Decoded:
    """The names of pictures that were decoded."""

    names: ClassVar[list[str]] = []


@pytest.fixture
def decoded(monkeypatch):
    before = FolderCollection.image

    def image(self, sample, at_least=None):
        Decoded.names.append(Path(sample.name).stem)
        return before(self, sample, at_least)

    monkeypatch.setattr(FolderCollection, "image", image)

    def since():
        found, Decoded.names = sorted(Decoded.names, key=int), []
        return found

    since()
    return since


# --- the same pixels ------------------------------------------------------------------------------------------------------


def test_cached_pictures_are_those_that_are_decoded(photos, cache, decoded):
    cached = read(photos)
    assert decoded() == [str(n) for n in range(COUNT)]
    assert cached.kept
    assert cached.pixels is None
    assert cached.notes == ()
    assert [min(cached.image(n).shape[1:]) for n in range(COUNT)] == [64] * COUNT
    again = read(photos)
    every_level(again)
    assert decoded() == []
    assert_same(cached, again)
    assert_same(cached, read(photos, limit=0))
    assert_same(cached, read(photos, limit=0, budget=0))


@pytest.mark.parametrize("workers", [0, 1, 4])
@pytest.mark.filterwarnings("ignore:This DataLoader will create")
def test_batches_are_the_same_with_the_cache_and_without_for_any_number_of_workers(photos, cache, workers, monkeypatch):
    looks = (Look((RandomResizedCrop(), HorizontalFlip())),)
    epochs = Epochs(COUNT, 5, 2.0, 3)

    def batches(shown, count, start=0):
        requests = epochs.requests(Staged(values=(16.0, 24.0)), start, 1, slice(None))
        return [each.batch.images for each in training_batches(shown, looks, requests, 2, count)]

    wanted = batches(read(photos, limit=0, budget=0), 0)
    shown = read(photos)
    assert all(map(torch.equal, batches(shown, workers), wanted))
    assert all(map(torch.equal, batches(shown, workers, start=3), wanted[3:]))  # resumed in mid-epoch
    monkeypatch.setattr(pictures, "memory_budget", lambda: 0)
    half = read(photos, limit=100_000)
    assert half.pack is not None
    assert not half.kept
    assert all(map(torch.equal, batches(half, workers), wanted))


def test_workers_that_are_spawned_open_it_themselves_or_decode(photos, cache):
    import pickle

    shown = read(photos)
    sent = pickle.dumps(shown)
    assert len(sent) < 20_000
    assert_same(pickle.loads(sent), shown)
    for path in cache.iterdir():
        path.unlink()
    lost = pickle.loads(sent)
    assert lost.pack.levels(0) is None
    assert_same(lost, shown)  # which has it open


def test_a_part_finds_what_the_whole_has_cached(photos, cache, decoded):
    whole = read(photos)
    decoded()
    collection = opened(photos)
    samples = collection.split("train")
    repeated = (*samples[:8], Sample(f"{samples[0].name} (2)", 1))
    originals = {repeated[-1].name: samples[0].name}
    part = PartCollection(collection.classes, {"train": repeated}, whole=collection, originals=originals)
    found = read(part)
    assert decoded() == []
    assert torch.equal(found.image(8), whole.image(0))
    assert found.labels()[8] == 1


def test_what_is_not_read_from_a_file_is_not_cached(cache):
    collection = from_arrays(np.zeros((4, 8, 8, 3), np.uint8), [0, 1, 0, 1], split=["train"] * 4)
    shown = read_pictures(collection, collection.split("train"), 8, smallest=4, packed=8, cache_bytes=GB)
    assert shown.kept
    assert not cache.exists()


def test_another_size_is_another_set(photos, cache, decoded):
    read(photos, side=64)
    read(photos, side=32)
    assert len(decoded()) == 2 * COUNT
    assert sorted(pack.shorter for pack in packs()) == [32, 64]


# --- sources that change --------------------------------------------------------------------------------------------------


def test_a_changed_file_is_decoded_again_and_only_that(photos, cache, decoded):
    read(photos)
    decoded()
    save(photos, 3, 77)
    changed = read(photos)
    assert decoded() == ["3"]
    assert_same(changed, read(photos, limit=0))
    decoded()
    read(photos)
    assert decoded() == []


def test_a_file_of_the_same_size_and_time_is_still_noticed_by_the_system_s_own_time(photos, cache, decoded):
    read(photos)
    decoded()
    place = photos / "a" / "4.jpg"
    before = place.stat()
    data = bytearray(place.read_bytes())
    data[-40] ^= 1
    place.unlink()
    place.write_bytes(bytes(data))
    os.utime(place, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert place.stat().st_size == before.st_size
    read(photos)
    assert decoded() == ["4"]


def test_a_removed_file_is_no_picture_any_more(photos, cache):
    read(photos)
    collection = opened(photos)
    (photos / "a" / "4.jpg").unlink()
    left = read(opened(photos))
    assert len(left) == COUNT - 1
    gone = read(collection)  # it was there when the folder was listed
    assert list(gone.damaged) == ["a/4.jpg"]
    assert len(gone) == COUNT - 1


def test_damaged_pictures_and_remarks_are_those_of_a_run_without_a_cache(photos, cache):
    place = photos / "b" / "5.jpg"
    place.write_bytes(place.read_bytes()[:300])
    deep = np.full((70, 90), 1000, np.uint16)
    PIL.Image.fromarray(deep).save(photos / "a" / "0.png")
    (photos / "a" / "0.jpg").unlink()
    plain = read(photos, limit=0)
    for _ in range(2):
        cached = read(photos)
        assert cached.damaged == plain.damaged
        assert cached.remarks == plain.remarks
        assert list(cached.remarks) == ["a/0.png"]


def test_space_of_changed_pictures_is_given_back(photos, cache):
    read(photos)
    size = sum(path.stat().st_size for path in cache.glob("*.bin"))
    for n in range(COUNT):
        save(photos, n, 100 + n)
    read(photos)
    for n in range(COUNT):
        save(photos, n, 200 + n)
    again = read(photos)
    assert_same(again, read(photos, limit=0))
    assert sum(path.stat().st_size for path in cache.glob("*.bin")) <= 2 * size
    assert len(list(cache.glob("*.bin"))) == 1


# --- what goes wrong ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["*.npz", "*.bin"])
@pytest.mark.parametrize("damage", [lambda data: b"", lambda data: data[: len(data) // 2], lambda data: b"x" * len(data)])
def test_damaged_files_of_the_cache_are_made_again(photos, cache, name, damage):
    wanted = read(photos, limit=0)
    read(photos)
    (path,) = cache.glob(name)
    path.unlink()  # others may have it open
    data = damage(b"nothing" * 100)
    if name == "*.npz":
        path.write_bytes(data)
    else:
        path.write_bytes(data[:5])
    assert_same(read(photos), wanted)


def test_files_of_other_versions_are_made_again(photos, cache, monkeypatch, decoded):
    read(photos)
    decoded()
    monkeypatch.setattr(packed, "VERSION", packed.VERSION + 1)
    read(photos)
    assert len(decoded()) == COUNT
    assert len(list(cache.glob("*.bin"))) == 1


class Full(io.FileIO):
    """A file on a disk that is full after some writes, of which it takes only a part each."""

    left = 0

    def write(self, data):
        self.left -= 1
        if self.left < 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        return super().write(data[: max(1, len(data) // 2)])


@pytest.mark.parametrize("writes", [0, 5, 80])
def test_a_full_disk_gives_a_note_and_the_run_goes_on(photos, cache, monkeypatch, decoded, writes):
    wanted = read(photos, limit=0, budget=0)
    true = open
    monkeypatch.setattr(pictures, "memory_budget", lambda: 0)

    def limited(path, mode="r", *more, **named):
        if not str(path).endswith(".bin") or mode == "rb":
            return true(path, mode, *more, **named)
        file = Full(path, mode.replace("b", ""))
        file.left = writes
        return file

    monkeypatch.setattr(packed, "open", limited, raising=False)
    shown = read(photos)
    (note,) = shown.notes
    known = 0 if shown.pack is None else int((shown.pack.places[:, 0] >= 0).sum())
    assert known < COUNT
    assert (known > 0) == (writes == 80)
    assert note.endswith("No space left on device; the others are decoded again in each epoch")
    assert note.startswith(f"only {known} of 12 pictures are in the cache of decoded pictures, ")
    assert not shown.kept
    assert_same(shown, wanted)
    monkeypatch.undo()
    monkeypatch.setenv("PARETINA_CACHE", str(cache.parent))
    assert_same(read(photos), wanted)  # there is room again


def test_a_disk_is_not_filled(photos, cache, monkeypatch):
    monkeypatch.setattr(packed.shutil, "disk_usage", lambda place: SimpleNamespace(free=packed.RESERVE + 100))
    shown = read(photos)
    assert "less than 1.1 GB of the disk would be left" in shown.notes[0]
    assert shown.pixels is not None  # it fits into memory after all
    assert_same(shown, read(photos, limit=0))


def test_a_folder_that_cannot_be_made_gives_a_note(photos, cache):
    cache.parent.write_text("a file")
    shown = read(photos)
    assert shown.notes[0].endswith("; all are kept in memory")
    assert shown.notes[0].startswith("only 0 of 12 pictures are in the cache of decoded pictures")
    assert_same(shown, read(photos, limit=0))


@pytest.mark.parametrize("limit", [1, 45_000, 100_000])
@pytest.mark.parametrize("before", [False, True])
def test_the_size_is_bounded(photos, cache, limit, before):
    if before:  # there is more already
        read(photos)
    shown = read(photos, limit=limit)
    assert sum(path.stat().st_size for path in cache.glob("*.bin")) <= limit
    assert "GB are allowed (--cache-gb)" in shown.notes[0]
    assert_same(shown, read(photos, limit=0))
    assert not read(photos, limit=GB).notes


def test_the_sets_that_were_not_used_for_longest_make_room(photos, cache, tmp_path):
    for name in ("one", "two"):
        for n in range(COUNT):
            save(tmp_path / name, n, n)
    each = 0
    for number, name in enumerate(("one", "two")):
        read(tmp_path / name)
        for pack in packs():
            each = each or pack.bytes
            if pack.root.startswith(str(tmp_path / name)):
                for path in cache.glob(f"{pack.index.stem}*"):
                    os.utime(path, (10**9 + number,) * 2)
    assert not read(photos, limit=int(2.5 * each)).notes
    assert {Path(pack.root).relative_to(tmp_path).parts[0] for pack in packs()} == {"two", "photos"}
    assert sum(pack.bytes for pack in packs()) <= 2.5 * each


def test_a_set_that_another_process_adds_to_is_not_removed(photos, cache):
    read(photos)
    (pack,) = packs()
    with filelock.FileLock(pack.index.with_suffix(".lock")):
        assert not pack.remove()
    assert pack.remove()
    assert packs() == []


# --- processes that are killed, and several at once -----------------------------------------------------------------------

BUILD = """
import sys, time
from paretina.data import packed
packed.SAVE_S = 0.0
sys.path.insert(0, {tests!r})
true = packed.PictureCache.add
def add(self, *given):
    true(self, *given)
    time.sleep(float(sys.argv[2]))
packed.PictureCache.add = add
from paretina.data.pictures import read_pictures
from paretina.data.sources.folder import Folder
collection = Folder(path=sys.argv[1], val_share=0.0, copies="anywhere").open()
print("ready", flush=True)
shown = read_pictures(collection, collection.split("train"), 64, smallest=16, packed=64, cache_bytes=10**9)
print(shown.kept, len(shown.notes), flush=True)
"""


def builder(photos, pause):
    code = BUILD.format(tests=str(Path(__file__).parent))
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen([sys.executable, "-c", code, str(photos), str(pause)], stdout=subprocess.PIPE, env=environment)


@pytest.mark.slow
def test_what_was_saved_before_a_kill_is_found(photos, cache, decoded):
    wanted = read(photos, limit=0)
    decoded()
    process = builder(photos, 0.2)
    assert process.stdout.readline() == b"ready\n"
    while not [path for path in cache.glob("*.npz") if len(read_index(path)[1]) > 2]:
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    shown = read(photos)
    assert 0 < len(decoded()) < COUNT - 2
    assert_same(shown, wanted)


@pytest.mark.slow
def test_kills_at_any_moment_lose_nothing(photos, cache):
    wanted = read(photos, limit=0)
    chance = random.Random(0)
    for _ in range(6):
        process = builder(photos, 0.03)
        assert process.stdout.readline() == b"ready\n"
        time.sleep(chance.uniform(0, 0.5))
        process.send_signal(signal.SIGKILL)
        process.communicate()
        entries = [read_index(path)[1] for path in cache.glob("*.npz")]
        for path in cache.glob("*.bin"):
            ends = [place[0] for found in entries for place in (entry.place for entry in found.values())]
            assert path.stat().st_size >= max(ends, default=0)
    assert_same(read(photos), wanted)


@pytest.mark.slow
def test_two_processes_do_not_collide(photos, cache):
    wanted = read(photos, limit=0)
    both = [builder(photos, 0.02) for _ in range(2)]
    assert [process.communicate()[0] for process in both] == [b"ready\nTrue 0\n"] * 2
    assert len(list(cache.glob("*.bin"))) == 1
    assert sum(len(read_index(path)[1]) for path in cache.glob("*.npz")) == COUNT
    assert_same(read(photos), wanted)


def test_the_system_is_told_what_will_be_needed(photos, cache, monkeypatch):
    shown = read(photos, smallest=8)
    told = []

    class Watched(mmap.mmap):
        def madvise(self, option, start, length):
            told.append(length)

    shown.pack.mapped = Watched(-1, 1), shown.pack.opened()[1]
    shown.will_need(0, 64)
    assert not told  # it is small, and was read as a whole
    shown.pack.stays = False
    shown.will_need(0, 64)
    shown.will_need(0, 8)
    assert len(told) == 2
    assert told[1] < told[0]  # small images are made of a copy, which is all that is read


class Elsewhere(Collection):
    COSTLY = True

    def image(self, sample, at_least=None):
        return torch.full((3, 20, 20), int(sample.name), dtype=torch.uint8)


def test_pictures_without_a_file_are_kept_in_memory(cache):
    collection = Elsewhere(("a",), {"train": tuple(Sample(str(n), 0) for n in range(5))})
    shown = read(collection)
    assert shown.kept
    assert [int(shown.image(n)[0, 0, 0]) for n in range(5)] == list(range(5))
