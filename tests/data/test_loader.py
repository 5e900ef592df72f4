import pickle
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
import torch

from paretina.clock import START
from paretina.data.decode import DecodeError
from paretina.data.loader import Collate, FixedResults, Preprocessed, Transformed, evaluation_batches, training_batches
from paretina.data.pictures import Pictures, read_pictures
from paretina.data.preprocess import preprocess
from paretina.data.sampler import Epochs
from paretina.data.source import Collection, Sample
from paretina.data.sources.arrays import ArrayCollection, from_arrays
from paretina.data.transform import Look, Sight, View
from paretina.data.transforms.centre_crop import CentreCrop
from paretina.data.transforms.crop import RandomResizedCrop
from paretina.data.transforms.erase import RandomErasing
from paretina.data.transforms.flip import HorizontalFlip
from paretina.data.transforms.jitter import ColorJitter
from paretina.data.transforms.letterbox import Letterbox
from paretina.data.transforms.randaugment import RandAugment
from paretina.data.transforms.shift import RandomShift
from paretina.data.transforms.squash import Squash
from paretina.model.blueprint import Preprocessing
from paretina.model.tasks.places import Places
from paretina.schedules import Constant, Linear, Staged
from paretina.train.recipes import fast, finetune, scratch

TRANSFORMS = (
    RandomResizedCrop(smallest=Linear(start=0.9, end=0.1)),
    HorizontalFlip(),
    ColorJitter(),
    RandAugment(),
    RandomErasing(),
)
SIZE = Staged(values=(8.0, 12.0))
EPOCHS = Epochs(samples=22, batch=6, epochs=2.0, seed=3, whole=False)


def pixels(count=22, side=14):
    return np.random.default_rng(1).integers(0, 256, (count, side, side + 3, 3), dtype=np.uint8)


def pictures(budget=None):
    collection = from_arrays(pixels(), np.arange(22) % 4, split=["train"] * 22)
    return read_pictures(collection, collection.split("train"), budget=budget)


def loaded(shown, workers=0, start=0, transforms=TRANSFORMS, parts=1, part=slice(None), epochs=EPOCHS):
    requests = epochs.requests(SIZE, start, parts, part)
    return list(training_batches(shown, (Look(tuple(transforms)),), requests, 4, workers))


def assert_equal(given, wanted):
    assert len(given) == len(wanted)
    for one, other in zip(given, wanted, strict=True):
        assert one.faults == other.faults
        assert one.batch.images.dtype == torch.uint8
        assert torch.equal(one.batch.images, other.batch.images)
        assert torch.equal(one.batch.targets, other.batch.targets)
        assert torch.equal(one.batch.ids, other.batch.ids)


@pytest.fixture(scope="module")
def wanted():
    return loaded(pictures())


# --- always the same --------------------------------------------------------------------------------------------------


def test_the_batches_are_what_they_should_be(wanted):
    assert [tuple(each.batch.images.shape) for each in wanted] == [(6, 3, 8, 8)] * 3 + [(6, 3, 12, 12)] * 3
    for each in wanted:
        assert torch.equal(each.batch.targets.argmax(1), each.batch.ids % 4)
        assert torch.equal(each.batch.targets.sum(1), torch.ones(6))
    first = torch.cat([each.batch.images for each in wanted[:3]])
    assert len(first.flatten(1).unique(dim=0)) == 18


@pytest.mark.filterwarnings("ignore:This DataLoader will create")  # that is more than this machine has cores
@pytest.mark.parametrize("workers", [1, 4])
def test_any_number_of_workers_gives_the_same_bytes(wanted, workers):
    assert_equal(loaded(pictures(), workers), wanted)


@pytest.mark.slow
def test_spawned_workers_give_the_same_bytes(wanted, monkeypatch):
    # what newer Pythons and other systems do
    true = torch.utils.data.DataLoader.__init__

    def spawning(self, *given, **named):
        true(self, *given, **named, multiprocessing_context="spawn")

    monkeypatch.setattr(torch.utils.data.DataLoader, "__init__", spawning)
    assert_equal(loaded(pictures(), workers=1), wanted)


def test_everything_that_a_worker_needs_can_be_sent_to_it():
    request = next(EPOCHS.requests(SIZE, 3, 1, slice(None)))[0]
    for dataset, asked in (
        (Transformed(pictures(), (Look(TRANSFORMS),)), request),
        (Preprocessed(pictures(), Preprocessing(), 8), 5),
    ):
        wanted, given = dataset[asked], pickle.loads(pickle.dumps(dataset))[asked]
        assert given[:2] == wanted[:2]
        assert all(torch.equal(one, other) for one, other in zip(given[2], wanted[2], strict=True))
    assert pickle.loads(pickle.dumps(Collate(4))) == Collate(4)


def test_pictures_that_were_not_kept_give_the_same_bytes(wanted):
    assert pictures(budget=0).pixels is None
    assert_equal(loaded(pictures(budget=0)), wanted)
    assert_equal(loaded(pictures(budget=0), workers=1), wanted)


@pytest.mark.parametrize("start", [1, 3, 4, 6])
def test_a_resume_needs_only_the_number_of_the_update(wanted, start):
    assert_equal(loaded(pictures(), start=start), wanted[start:])


@pytest.mark.parametrize("parts", [2, 3, 4])
def test_all_parts_together_are_the_batch(wanted, parts):
    streams = [loaded(pictures(), parts=parts, part=slice(n, n + 1)) for n in range(parts)]
    for number, whole in enumerate(wanted):
        own = [stream[number].batch for stream in streams]
        assert torch.equal(torch.cat([batch.images for batch in own]), whole.batch.images)
        assert torch.equal(torch.cat([batch.targets for batch in own]), whole.batch.targets)
        assert torch.equal(torch.cat([batch.ids for batch in own]), whole.batch.ids)


def test_a_sample_looks_different_in_each_epoch(wanted):
    epochs = Epochs(samples=22, batch=22, epochs=2.0, seed=3)
    first, second = (each.batch for each in loaded(pictures(), transforms=(RandomResizedCrop(),), epochs=epochs))
    first, second = (batch.images[batch.ids.argsort()] for batch in (first, second))
    assert first.shape[-1] == 8
    assert (torch.nn.functional.interpolate(first.float(), 12) - second.float()).abs().mean() > 10


def test_the_generator_of_the_network_is_left_alone():
    for workers in (0, 1):
        torch.manual_seed(5)
        before = torch.get_rng_state()
        loaded(pictures(), workers)
        list(evaluation_batches(pictures(), Preprocessing(), 8, 4, 5, workers))
        assert torch.equal(torch.get_rng_state(), before)


def test_the_generator_of_the_network_does_not_matter(wanted):
    torch.manual_seed(12345)
    assert_equal(loaded(pictures()), wanted)


def test_kept_pixels_are_never_written_to():
    shown = pictures()
    before = shown.pixels.clone()
    loaded(shown)
    assert torch.equal(shown.pixels, before)


def test_without_randomness_a_batch_is_its_pictures():
    shown = pictures()
    for each in loaded(shown, transforms=(CentreCrop(),)):
        for place, index in enumerate(each.batch.ids.tolist()):
            wanted = CentreCrop()(shown.image(index), each.batch.images.shape[-1], EPOCHS.clock(0))
            assert torch.equal(each.batch.images[place], wanted)


def test_a_recipe_that_forgets_to_resize_is_told_so():
    with pytest.raises(ValueError, match=r"HorizontalFlip\) gave a picture of \(3, 14, 17\), not 3 x 8 x 8; one of them must"):
        loaded(pictures(), transforms=(HorizontalFlip(),))


# --- pictures that become unreadable ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Folder(Collection):
    """Each picture is a file that can be taken away in mid-run, also while workers are running."""

    root: str = ""

    def image(self, sample, at_least=None):
        path = Path(self.root, sample.name)
        if not path.exists():
            raise DecodeError(f"{sample.name}: No such file or directory")
        return torch.full((3, 14, 14), int(path.read_text()), dtype=torch.uint8)


@pytest.fixture
def folder(tmp_path):
    for n in range(22):
        (tmp_path / f"{n}.txt").write_text(str(n))
    collection = Folder(
        ("a", "b", "c", "d"), {"train": tuple(Sample(f"{n}.txt", n % 4) for n in range(22))}, root=str(tmp_path)
    )
    return tmp_path, read_pictures(collection, collection.split("train"), budget=0)


@pytest.mark.parametrize("workers", [0, 2])
def test_a_picture_that_became_unreadable_is_left_out_and_named(folder, workers):
    root, shown = folder
    whole = loaded(shown, workers, transforms=(CentreCrop(),))
    gone = whole[2].batch.ids[3].item()
    (root / f"{gone}.txt").unlink()
    missed = 0
    for each, before in zip(loaded(shown, workers, transforms=(CentreCrop(),)), whole, strict=True):
        stays = before.batch.ids != gone
        assert torch.equal(each.batch.ids, before.batch.ids[stays])
        assert torch.equal(each.batch.images, before.batch.images[stays])
        assert torch.equal(each.batch.targets, before.batch.targets[stays])
        assert each.faults == (() if stays.all() else (f"{gone}.txt: No such file or directory",))
        missed += len(each.faults)
    assert missed >= 1


def test_a_picture_can_vanish_while_the_batches_are_drawn(folder):
    root, shown = folder
    batches = training_batches(shown, (Look((CentreCrop(),)),), EPOCHS.requests(SIZE, 0, 1, slice(None)), 4, 0)
    later = loaded(shown, transforms=(CentreCrop(),))[1].batch.ids[0].item()
    assert len(next(batches).batch) == 6
    (root / f"{later}.txt").unlink()
    second = next(batches)
    assert len(second.batch) == 5
    assert second.faults == (f"{later}.txt: No such file or directory",)


def test_a_batch_without_any_readable_picture_is_an_error_in_training(folder):
    root, shown = folder
    for path in root.iterdir():
        path.unlink()
    with pytest.raises(DecodeError, match=r"no picture of a batch can be read any more: .*txt: No such file"):
        loaded(shown, transforms=(CentreCrop(),))


# --- evaluation -------------------------------------------------------------------------------------------------------


def evaluated(shown, workers=0, size=8, batch=5, indices=None):
    return list(evaluation_batches(shown, Preprocessing(), size, 4, batch, workers, indices))


@pytest.mark.parametrize("workers", [0, 1, 2])
def test_evaluation_sees_each_picture_once_and_in_order(workers):
    shown = pictures()
    found = evaluated(shown, workers)
    assert torch.cat([each.batch.ids for each in found]).tolist() == list(range(22))
    images = torch.cat([each.batch.images for each in found])
    for n in range(22):
        assert torch.equal(images[n], preprocess(shown.image(n), Preprocessing(), 8))


def test_evaluation_sees_only_the_pictures_that_are_asked_for():
    found = evaluated(pictures(), indices=range(1, 22, 2))
    assert torch.cat([each.batch.ids for each in found]).tolist() == list(range(1, 22, 2))


def test_evaluation_goes_on_where_a_whole_batch_cannot_be_read(folder):
    root, shown = folder
    for n in (3, 20, 21):
        (root / f"{n}.txt").unlink()
    found = evaluated(shown)
    assert torch.cat([each.batch.ids for each in found]).tolist() == [n for n in range(20) if n != 3]
    assert found[-1].batch.images.shape == (0, 3, 8, 8)
    assert found[-1].batch.targets.shape == (0, 4)
    assert [fault for each in found for fault in each.faults] == [f"{n}.txt: No such file or directory" for n in (3, 20, 21)]


def test_pictures_of_any_size_make_one_batch():
    shapes = ((5, 9), (30, 4), (8, 8))

    class Mixed(Collection):
        def image(self, sample, at_least=None):
            return torch.zeros(3, *shapes[int(sample.name)], dtype=torch.uint8)

    collection = Mixed(("a", "b"), {"val": tuple(Sample(str(n), 0) for n in range(3))})
    shown = read_pictures(collection, collection.split("val"))
    assert isinstance(shown, Pictures)
    assert evaluated(shown)[0].batch.images.shape == (3, 3, 8, 8)


# --- several views --------------------------------------------------------------------------------------------------------

VIEWS = (Look(TRANSFORMS), Look(TRANSFORMS), Look(TRANSFORMS, own=False), Look((*TRANSFORMS[:2], RandomErasing()), own=False))


def shown_as(looks, workers=0, start=0):
    return list(training_batches(pictures(), looks, EPOCHS.requests(SIZE, start, 1, slice(None)), 4, workers))


def test_the_first_view_is_that_of_a_plain_run():
    for one, several in zip(shown_as(VIEWS[:1]), shown_as(VIEWS), strict=True):
        assert torch.equal(one.batch.images, several.batch.views[0])
        assert len(several.batch.views) == 4
        assert torch.equal(one.batch.ids, several.batch.ids)


def test_a_view_of_its_own_draws_anew_and_another_repeats_the_draws():
    for loaded in shown_as(VIEWS):
        first, own, same, _ = loaded.batch.views
        assert not torch.equal(first, own)
        assert torch.equal(first, same)


def test_views_do_not_depend_on_workers_and_a_resumed_run_has_the_same():
    whole = shown_as(VIEWS)
    for others, wanted in ((shown_as(VIEWS, workers=2), whole), (shown_as(VIEWS, start=3), whole[3:])):
        for one, other in zip(others, wanted, strict=True):
            assert all(torch.equal(a, b) for a, b in zip(one.batch.views, other.batch.views, strict=True))


def test_a_view_can_have_another_size_of_the_same_part():
    # each picture is a slope, whose mean says which part of it is seen
    slope = np.broadcast_to(np.arange(40, dtype=np.uint8)[None, :, None] * 6, (40, 40, 3))
    collection = from_arrays(np.stack([slope] * 22), np.arange(22) % 4, split=["train"] * 22)
    shown = read_pictures(collection, collection.split("train"))
    crop = (RandomResizedCrop(smallest=Constant(value=0.3)),)
    looks = (Look(crop), Look(crop, own=False, scale=2.0), Look(crop, own=True))
    for each in training_batches(shown, looks, EPOCHS.requests(SIZE, 0, 1, slice(None)), 4, 0):
        small, large, other = each.batch.views
        assert large.shape[-1] == 2 * small.shape[-1]
        middles = [view.float().mean((1, 2, 3)) for view in (small, large, other)]
        assert (middles[0] - middles[1]).abs().max() < 3
        assert (middles[0] - middles[2]).abs().max() > 6


def test_a_view_that_is_too_small_or_of_a_wrong_shape_is_named():
    with pytest.raises(ValueError, match=r"a view at 0.01 times 8 pixels has no pixel left"):
        shown_as((Look((CentreCrop(),)), Look((CentreCrop(),), scale=0.01)))
    with pytest.raises(ValueError, match=r"the transforms \(HorizontalFlip\) gave a picture of .* one of them must crop"):
        shown_as((Look((CentreCrop(),)), Look((HorizontalFlip(),))))
    with pytest.raises(ValueError, match="above 0, got 0"):
        View(scale=0.0)


# --- many at once, each as if alone ---------------------------------------------------------------------------------------


def sizes_of(*shapes):
    """Pictures of the given sizes, in turn."""

    class Mixed(Collection):
        def image(self, sample, at_least=None):
            number = int(sample.name)
            generator = torch.Generator().manual_seed(number)
            return torch.randint(256, (3, *shapes[number % len(shapes)]), dtype=torch.uint8, generator=generator)

    collection = Mixed(("a", "b", "c", "d"), {"train": tuple(Sample(str(n), n % 4) for n in range(22))})
    return read_pictures(collection, collection.split("train"))


@pytest.mark.parametrize(
    "transforms",
    [
        *(recipe.RECIPE.image_transforms() for recipe in (fast, finetune, scratch)),
        TRANSFORMS,
        (Squash(), RandomErasing(fill="noise"), RandAugment(), HorizontalFlip(), ColorJitter(), RandomShift()),
        (Letterbox(), RandAugment(number=3, fill="border"), CentreCrop(share=0.5)),
        (RandomShift(), HorizontalFlip(), Squash()),
    ],
    ids=str,
)
@pytest.mark.parametrize("shapes", [((14, 17),), ((14, 17), (20, 9), (12, 12))])
def test_a_batch_is_what_its_pictures_become_one_after_the_other(transforms, shapes):
    shown = sizes_of(*shapes)
    dataset = Transformed(shown, (Look(tuple(transforms)),))
    for requests in EPOCHS.requests(SIZE, 0, 1, slice(None)):
        items = dataset.__getitems__(requests)
        for request, (index, _, (view,)) in zip(requests, items, strict=True):
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(request.seed)
                image = shown.image(request.index)
                for transform in transforms:
                    image = transform(image, request.size, request.clock)
            assert index == request.index
            assert torch.equal(view, image)


def test_what_stands_beside_a_picture_changes_nothing():
    dataset = Transformed(pictures(), VIEWS)
    requests = next(Epochs(22, 22, 1.0, 3).requests(SIZE, 0, 1, slice(None)))
    whole = dataset.__getitems__(requests)
    for chosen in (slice(3, 4), slice(5, 20, 3), slice(None, None, -1)):
        for one, other in zip(dataset.__getitems__(requests[chosen]), whole[chosen], strict=True):
            assert one[0] == other[0]
            assert all(torch.equal(a, b) for a, b in zip(one[2], other[2], strict=True))


def test_masks_of_a_batch_move_as_one_after_the_other():
    dataset = Transformed(
        masked(), (Look((Squash(), RandomShift(), RandAugment(fill="border"), HorizontalFlip())), Look((Squash(),)))
    )
    requests = next(Epochs(8, 8, 1.0, 3).requests(SIZE, 0, 1, slice(None)))
    for request, (_, target, views) in zip(requests, dataset.__getitems__(requests), strict=True):
        _, alone, seen = dataset[request]
        assert torch.equal(target, alone)
        assert target.shape == (8, 8)
        assert all(torch.equal(a, b) for a, b in zip(views, seen, strict=True))


class Counted(Squash):
    """Says how often it was asked for how many pictures."""

    seen: ClassVar[list[int]] = []

    def many(self, images, drawn, size):
        self.seen.append(len(images))
        return super().many(images, drawn, size)


def counted(shown, remembered=None, looks=None):
    Counted.seen.clear()
    dataset = Transformed(shown, looks or (Look((Counted(), RandomShift(), RandAugment())),))
    dataset.remembered = FixedResults() if remembered is None else remembered
    found = [dataset.__getitems__(requests) for requests in Epochs(22, 6, 4.0, 3).requests(SIZE, 0, 1, slice(None))]
    return sum(Counted.seen), [(index, *views) for items in found for index, _, views in items]


def same(found, wanted):
    return all(
        one[0] == other[0] and all(torch.equal(a, b) for a, b in zip(one[1:], other[1:], strict=True))
        for one, other in zip(found, wanted, strict=True)
    )


def test_a_fixed_beginning_is_done_once_for_each_picture_and_size():
    times, found = counted(pictures())
    anew, wanted = counted(pictures(), FixedResults(room=0))
    assert (times, anew) == (2 * 22, 4 * 22)
    assert same(found, wanted)


def test_what_is_remembered_stays_within_its_room():
    remembered = FixedResults(room=10 * 3 * 12 * 12)
    _, found = counted(pictures(), remembered)
    assert same(found, counted(pictures())[1])
    assert remembered.used == sum(image.untyped_storage().nbytes() for image in remembered.kept.values())
    assert 0 < remembered.used <= remembered.room


def test_each_view_remembers_its_own_beginning():
    looks = (Look((Counted(), HorizontalFlip())), Look((Counted(interpolation="bilinear"), HorizontalFlip()), scale=2.0))
    assert same(counted(pictures(), looks=looks)[1], counted(pictures(), FixedResults(room=0), looks=looks)[1])


def test_pictures_that_are_read_each_time_are_not_remembered():
    assert counted(pictures(budget=0))[0] == 4 * 22


# --- targets of every shape -------------------------------------------------------------------------------------------


def numbered(count, side=12):
    """Pictures whose red channel is also their mask, where it is below 4, and labels by their number."""
    red = np.random.default_rng(0).integers(0, 4, (count, 3, 3)).repeat(side // 3, 1).repeat(side // 3, 2).astype(np.uint8)
    images = np.stack([red * 60, np.full_like(red, 9), np.full_like(red, 9)], -1)
    return images, red


@dataclass(frozen=True)
class Masked(ArrayCollection):
    masks: np.ndarray = field(kw_only=True, repr=False, compare=False)

    def target(self, sample):
        return torch.from_numpy(self.masks[int(sample.name)])


def masked(count=8, side=12, mask_side=None):
    images, red = numbered(count, side)
    whole = from_arrays(images, np.arange(count) % 4, split=["val"] * count)
    fields = {name: getattr(whole, name) for name in ("classes", "splits", "notes", "mirrors", "images", "path")}
    masks = red if mask_side is None else red[:, :: side // mask_side, :: side // mask_side]
    collection = Masked(**fields, task=Places(), masks=masks.copy())
    return read_pictures(collection, collection.split("val"))


@pytest.mark.parametrize("workers", [0, 2])
def test_a_mask_moves_with_its_picture(workers):
    shown = masked()
    look = Look((Squash(interpolation="bilinear"), RandomShift(share=Constant(value=0.4)), HorizontalFlip(), ColorJitter()))
    requests = Epochs(len(shown), 4, 2.0, 0).requests(Constant(value=12.0), 0, 1, slice(None))
    seen = 0
    for loaded in training_batches(shown, (look,), requests, 4, workers):
        batch = loaded.batch
        assert batch.targets.shape == (4, 4, 12, 12)
        known = batch.targets.any(1)
        for image, target, there in zip(batch.images, batch.targets.argmax(1), known, strict=True):
            levels = [image[0][there & (target == n)].float() for n in range(4)]
            order = [level.median().item() for level in levels if len(level)]
            assert order == sorted(order)  # jitter changes colours, but not which is the brighter
        seen += int((~known).sum())
    assert seen  # gaps are not known


def test_masks_are_seen_through_the_preprocessing_as_pictures_are():
    (loaded,) = evaluation_batches(masked(), Preprocessing(crop=0.5), 6, 4, 8, 0)
    assert torch.equal(loaded.batch.targets.argmax(1) * 60, loaded.batch.images[:, 0].long())


def test_a_smaller_mask_is_brought_to_the_size_of_its_picture():
    (whole,), (small,) = (
        list(evaluation_batches(shown, Preprocessing(crop=1.0), 12, 4, 8, 0)) for shown in (masked(), masked(8, 12, 3))
    )
    assert torch.equal(small.batch.targets, whole.batch.targets)


def test_only_the_first_view_moves_the_mask():
    shown = masked()
    looks = (Look((Squash(),)), Look((Squash(), HorizontalFlip(probability=Constant(value=1.0)))))
    loaded = next(training_batches(shown, looks, Epochs(8, 8, 1.0, 0).requests(Constant(value=12.0), 0, 1, slice(None)), 4, 0))
    first, second = loaded.batch.views
    assert torch.equal(second, first.flip(-1))
    assert torch.equal(loaded.batch.targets.argmax(1) * 60, first[:, 0].long())


def test_a_transform_that_forgets_to_say_that_it_changes_the_size_is_named(monkeypatch):
    monkeypatch.setattr(Squash, "MOVES", False)
    with pytest.raises(ValueError, match=r"after Squash a picture has .* pixels, but its mask .*must set MOVES"):
        Look((Squash(),))([Sight(*torch.zeros(2, 3, 9, 9, dtype=torch.uint8), 0, START)], 6)
