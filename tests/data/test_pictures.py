import multiprocessing
import os
import threading
import weakref
from dataclasses import dataclass, field
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from paretina.data import pictures as module
from paretina.data.decode import DecodeError
from paretina.data.pictures import GROUP, SETS, memory_budget, pictures_kept, read_pictures
from paretina.data.remarks import remark
from paretina.data.source import Collection, Sample
from paretina.data.sources.arrays import from_arrays
from paretina.data.sources.part import PartCollection


@dataclass(frozen=True)
class Files(Collection):
    """Pictures of different sizes, some damaged, that count how often they are read."""

    COSTLY = True

    broken: frozenset[str] = frozenset()
    reads: list[str] = field(default_factory=list, compare=False)

    def image(self, sample, at_least=None):
        self.reads.append(sample.name)
        if sample.name in self.broken:
            raise DecodeError(f"{sample.name}: not a picture in a known format")
        number = int(sample.name)
        pixels = torch.full((3 + number, 5, 3), number, dtype=torch.uint8)
        pixels[0, 0] = torch.tensor([number, 100, 200], dtype=torch.uint8)
        return pixels.permute(2, 0, 1)


def files(broken=(), count=7):
    samples = tuple(Sample(str(n), n % 2) for n in range(count))
    return Files(("a", "b"), {"train": samples}, broken=frozenset(broken))


@pytest.fixture(params=["kept", "not kept"])
def budget(request):
    return 10**6 if request.param == "kept" else 0


def test_every_picture_comes_back_as_it_was_decoded(budget):
    collection = files()
    pictures = read_pictures(collection, collection.split("train"), budget=budget)
    assert (pictures.pixels is not None) == (budget > 0)
    assert len(pictures) == 7
    for number, sample in enumerate(pictures.samples):
        image, wanted = pictures.image(number), collection.image(sample)
        assert torch.equal(image, wanted)
        assert image.stride() == wanted.stride()  # kernels can round differently where the layout differs


def test_damaged_pictures_are_named_and_left_out(budget):
    collection = files(broken=["0", "3", "6"])
    pictures = read_pictures(collection, collection.split("train"), budget=budget)
    assert pictures.damaged == dict.fromkeys(["0", "3", "6"], "not a picture in a known format")
    assert [sample.name for sample in pictures.samples] == ["1", "2", "4", "5"]
    assert pictures.labels() == [1, 0, 0, 1]
    assert [int(pictures.image(i)[0, 0, 0]) for i in range(4)] == [1, 2, 4, 5]


def test_everything_damaged_leaves_nothing(budget):
    collection = files(broken=map(str, range(7)))
    pictures = read_pictures(collection, collection.split("train"), budget=budget)
    assert len(pictures) == 0
    assert len(pictures.damaged) == 7


def test_an_empty_split_is_no_error():
    assert len(read_pictures(files(), ())) == 0


def test_kept_pictures_are_read_once():
    collection = files()
    pictures = read_pictures(collection, collection.split("train"))
    for number in range(7):
        pictures.image(number)
    assert sorted(collection.reads) == [str(n) for n in range(7)]


def test_pictures_that_are_not_kept_are_read_again():
    collection = files()
    pictures = read_pictures(collection, collection.split("train"), budget=0)
    pictures.image(4)
    assert sorted(collection.reads) == sorted([*map(str, range(7)), "4"])


@pytest.mark.parametrize(("spare", "kept"), [(0, True), (-1, False)])
def test_the_budget_is_counted_in_bytes(spare, kept):
    needed = sum(3 * 5 * (3 + n) for n in range(7))
    collection = files()
    pictures = read_pictures(collection, collection.split("train"), budget=needed + spare)
    assert (pictures.pixels is not None) == kept
    if kept:
        assert pictures.pixels.numel() == needed


def test_a_picture_that_became_unreadable_raises_and_names_itself():
    collection = files()
    pictures = read_pictures(collection, collection.split("train"), budget=0)
    object.__setattr__(collection, "broken", frozenset({"2"}))
    with pytest.raises(DecodeError, match=r"^2: not a picture"):
        pictures.image(2)


def test_order_and_pixels_do_not_depend_on_the_threads_that_read(monkeypatch):
    images = np.random.default_rng(0).integers(0, 256, (600, 4, 4, 3), dtype=np.uint8)
    collection = from_arrays(images, np.arange(600) % 3)
    samples = collection.split("train")
    many = read_pictures(collection, samples)
    monkeypatch.setattr(module, "cores", lambda: 1)
    one = read_pictures(collection, samples)
    assert many.samples == one.samples == samples
    assert torch.equal(many.pixels, one.pixels)
    assert np.array_equal(many.image(300).permute(1, 2, 0).numpy(), images[int(samples[300].name)])


def test_the_size_that_is_enough_reaches_the_decoder():
    asked = []

    class Watched(Files):
        def image(self, sample, at_least=None):
            asked.append(at_least)
            return super().image(sample)

    collection = Watched(("a", "b"), {"train": (Sample("0", 0), Sample("1", 1))})
    read_pictures(collection, collection.split("train"), at_least=64, budget=0).image(0)
    assert asked == [64, 64, 64]


# --- memory -----------------------------------------------------------------------------------------------------------


def test_pixels_lie_in_memory_that_workers_share():
    assert read_pictures(files(), files().split("train")).pixels.is_shared()


def room_for(monkeypatch, count):
    monkeypatch.setattr(os, "statvfs", lambda path: SimpleNamespace(f_bavail=count, f_frsize=1))


def test_a_small_shared_memory_is_not_overfilled(monkeypatch):
    room_for(monkeypatch, 100)
    monkeypatch.setattr(multiprocessing, "get_start_method", lambda allow_none: "fork")
    pictures = read_pictures(files(), files().split("train"))
    assert pictures.pixels is not None  # forked workers see it all the same
    assert not pictures.pixels.is_shared()


def test_without_room_to_share_spawned_workers_read_for_themselves(monkeypatch):
    room_for(monkeypatch, 100)
    monkeypatch.setattr(multiprocessing, "get_start_method", lambda allow_none: "spawn")
    pictures = read_pictures(files(), files().split("train"))
    assert pictures.pixels is None
    assert len(pictures) == 7


@pytest.mark.parametrize(("left", "budget"), [(4_096_000, 1_024_000), (None, 2**30)])
def test_the_budget_is_a_quarter_of_the_memory_that_is_left(monkeypatch, left, budget):
    monkeypatch.setattr("paretina.data.pictures.available_bytes", lambda: left)
    assert memory_budget() == budget


# --- kept from one run of a study to the next -----------------------------------------------------------------------------


def reading(collection, names=None, at_least=None, budget=10**6):
    """The pictures of some samples, and which of them were decoded for it."""
    before = len(collection.reads)
    samples = [s for s in collection.split("train") if names is None or s.name in names]
    return read_pictures(collection, samples, at_least, budget), collection.reads[before:]


def test_a_study_reads_once_what_it_trains_on_many_times():
    with pictures_kept():
        first, read = reading(files(broken=["3"]))
        assert len(read) == 7
        again, read = reading(files(broken=["3"]))  # another run opens its data anew
        assert not read
        assert (again.samples, again.damaged) == (first.samples, first.damaged)
        assert all(torch.equal(again.image(n), first.image(n)) for n in range(6))
        assert again.pixels.data_ptr() == first.pixels.data_ptr()  # and takes no memory of its own


def test_outside_a_study_everything_is_read_anew():
    with pictures_kept():
        reading(files())
    assert len(reading(files())[1]) == 7


def test_a_part_finds_its_pictures_in_the_whole_with_labels_of_its_own():
    whole = files(broken=["3"])
    samples = (Sample("0", 1), Sample("0 (2)", 1), Sample("3", 0), Sample("5", 0))
    part = PartCollection(whole.classes, {"train": samples}, whole=whole, originals={"0 (2)": "0"})
    with pictures_kept():
        reading(whole)
        before = len(whole.reads)
        pictures = read_pictures(part, samples, budget=10**6)
        assert len(whole.reads) == before
    assert [(s.name, s.label) for s in pictures.samples] == [("0", 1), ("0 (2)", 1), ("5", 0)]
    assert list(pictures.damaged) == ["3"]
    assert [int(pictures.image(n)[0, 1, 1]) for n in range(3)] == [0, 0, 5]


def test_the_whole_is_read_where_only_a_part_was():
    with pictures_kept():
        reading(files(), names={"1", "2"})
        assert len(reading(files())[1]) == 7


def test_what_differs_is_read():
    with pictures_kept():
        reading(files(), at_least=64)
        assert len(reading(files(), at_least=128)[1]) == 7
        assert len(reading(files(count=8), at_least=64)[1]) == 8
        assert not reading(files(), at_least=64)[1]


def test_only_the_last_sets_stay_in_memory():
    with pictures_kept():
        for size in range(1, SETS + 2):
            reading(files(), at_least=size)
        assert not reading(files(), at_least=SETS + 1)[1]
        assert not reading(files(), at_least=2)[1]
        assert len(reading(files(), at_least=1)[1]) == 7


def test_what_does_not_fit_into_memory_is_read_each_time():
    with pictures_kept():
        reading(files(), budget=0)
        assert len(reading(files(), budget=0)[1]) == 7


def test_arrays_are_never_taken_for_others_of_the_same_names():
    with pictures_kept():
        for level in (3, 9):
            images = np.full((4, 2, 2, 3), level, np.uint8)
            collection = from_arrays(images, [0, 1, 0, 1], split=["train"] * 4)
            assert int(read_pictures(collection, collection.split("train")).image(0).max()) == level


@dataclass(frozen=True)
class Odd(Collection):
    """Pictures of which every other one is remarked on."""

    COSTLY = True

    def image(self, sample, at_least=None):
        if int(sample.name.split()[0]) % 2:
            remark("odd")
            remark("very odd")
        return torch.zeros(3, 2, 2, dtype=torch.uint8)


def test_remarks_are_kept_by_name(budget):
    samples = tuple(Sample(str(n), 0) for n in range(20))
    pictures = read_pictures(Odd(("a",), {"train": samples}), samples, budget=budget)
    assert pictures.remarks == {str(n): "odd; very odd" for n in range(1, 20, 2)}
    assert list(pictures.remarks) == sorted(pictures.remarks, key=int)


def test_remarks_stay_with_pictures_that_are_kept():
    samples = tuple(Sample(str(n), 0) for n in range(6))
    whole = Odd(("a",), {"train": samples})
    renamed = (Sample("1", 0), Sample("1 (2)", 0), Sample("2", 0))
    part = PartCollection(("a",), {"train": renamed}, whole=whole, originals={"1 (2)": "1"})
    with pictures_kept():
        read_pictures(whole, samples, budget=10**6)
        assert read_pictures(part, renamed).remarks == {"1": "odd; very odd", "1 (2)": "odd; very odd"}


class Counted:
    """How many pictures are in memory, and how many were at most."""

    def __init__(self):
        self.lock = threading.Lock()
        self.alive = self.most = self.made = 0

    def picture(self):
        image = torch.zeros(3, 10, 10, dtype=torch.uint8)
        with self.lock:
            self.alive += 1
            self.made += 1
            self.most = max(self.most, self.alive)
        weakref.finalize(image, self.drop)
        return image

    def drop(self):
        with self.lock:
            self.alive -= 1


@pytest.mark.parametrize("kept", [0, 3, 100])
def test_pictures_that_wait_for_the_first_count_too(monkeypatch, kept):
    # the first group comes last, so all others wait for it
    count, threads = 5 * GROUP, 2
    counted, others = Counted(), threading.Event()

    class Late(Collection):
        def image(self, sample, at_least=None):
            if sample.name == "0":
                assert others.wait(60)
            image = counted.picture()
            if counted.made == count - GROUP:
                others.set()
            return image

    monkeypatch.setattr(module.os, "cpu_count", lambda: threads)
    samples = tuple(Sample(str(n), 0) for n in range(count))
    pictures = read_pictures(Late(("a",), {"train": samples}), samples, budget=300 * kept)
    assert len(pictures) == count
    assert (pictures.pixels is not None) == (kept == 100)
    assert counted.most <= min(kept, count) + threads + 1
