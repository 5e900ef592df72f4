from collections import Counter
from dataclasses import replace

import pytest

from paretina.clock import Clock
from paretina.data.sampler import Epochs, seed_of
from paretina.schedules import Constant, Linear, Staged

SIZE = Constant(value=32.0)
RUN = Epochs(samples=23, batch=5, epochs=3.0, seed=7, whole=False)
WHOLE = replace(RUN, whole=True)
ALL = slice(None)


def requests(epochs=RUN, start=0, parts=1, part=ALL, size=SIZE):
    return list(epochs.requests(size, start, parts, part))


def test_an_epoch_shows_every_sample_once_in_updates_of_nearly_equal_length():
    assert (WHOLE.updates_per_epoch, WHOLE.updates, WHOLE.per_update) == (5, 15, 5)
    batches = requests(WHOLE)
    assert [len(batch) for batch in batches] == [WHOLE.count(update) for update in range(15)] == [4, 5, 4, 5, 5] * 3
    for epoch in range(3):
        shown = [request.index for batch in batches[5 * epoch : 5 * epoch + 5] for request in batch]
        assert sorted(shown) == list(range(23))


@pytest.mark.parametrize(("samples", "batch"), [(66, 35), (127, 64), (100, 64), (63, 64), (65, 64), (1, 1), (7, 2)])
def test_no_epoch_leaves_anything_out(samples, batch):
    run = Epochs(samples=samples, batch=min(batch, samples), epochs=1.0, seed=0)
    batches = requests(run)
    assert sorted(request.index for each in batches for request in each) == list(range(samples))
    assert max(map(len, batches)) <= batch
    assert max(map(len, batches)) - min(map(len, batches)) <= 1


def test_what_divides_evenly_comes_as_it_did_before():
    run = Epochs(samples=20, batch=5, epochs=3.0, seed=7)
    assert requests(run) == requests(replace(run, whole=False))


@pytest.mark.parametrize("start", [0, 1, 5, 7, 14, 15])
def test_a_resumed_run_of_whole_epochs_needs_only_the_number_of_its_update(start):
    size = Linear(start=16.0, end=32.0)
    assert requests(WHOLE, start=start, size=size) == requests(WHOLE, size=size)[start:]


@pytest.mark.parametrize(("parts", "least"), [(1, 4), (2, 2), (3, 1), (4, 1)])
def test_the_smallest_part_is_known_before_anything_is_drawn(parts, least):
    assert WHOLE.smallest_part(parts) == min(map(len, requests(WHOLE, parts=parts))) == least
    with pytest.raises(ValueError, match=r"4 pictures cannot be cut into 5 parts .*lower accumulate"):
        WHOLE.smallest_part(5)


def test_without_whole_epochs_every_update_is_as_long():
    assert (RUN.updates_per_epoch, RUN.updates) == (4, 12)
    assert [len(batch) for batch in requests()] == [5] * 12


def test_no_sample_comes_twice_in_an_epoch():
    batches = requests()
    for epoch in range(3):
        indices = [request.index for batch in batches[4 * epoch : 4 * epoch + 4] for request in batch]
        assert len(set(indices)) == 20
        assert set(indices) <= set(range(23))


def test_what_is_left_over_changes_from_epoch_to_epoch():
    batches = requests(replace(RUN, epochs=40.0))
    seen = Counter(request.index for batch in batches for request in batch)
    assert sum(seen.values()) == 40 * 20
    assert set(seen) == set(range(23))  # nobody sits out all the time
    assert min(seen.values()) >= 28  # 40 * 20 / 23 are 35 on average


def test_epochs_have_different_orders_and_seeds():
    batches = requests()
    first, second = ([request for batch in batches[n : n + 4] for request in batch] for n in (0, 4))
    assert [request.index for request in first] != [request.index for request in second]
    seeds = [request.seed for request in [*first, *second]]
    assert len(set(seeds)) == 40


def test_another_seed_is_another_run():
    other = requests(replace(RUN, seed=8))
    assert [[r.index for r in batch] for batch in other] != [[r.index for r in batch] for batch in requests()]


@pytest.mark.parametrize("start", [0, 1, 4, 7, 11, 12])
def test_a_resumed_run_needs_only_the_number_of_its_update(start):
    size = Linear(start=16.0, end=32.0)
    assert requests(start=start, size=size) == requests(size=size)[start:]


@pytest.mark.parametrize("parts", [1, 2, 3, 5])
def test_all_parts_together_are_the_batch(parts):
    batches, pieces = requests(), requests(parts=parts)
    assert len(pieces) == 12 * parts
    for update, batch in enumerate(batches):
        own = pieces[update * parts : (update + 1) * parts]
        assert [request for piece in own for request in piece] == batch
        assert max(map(len, own)) - min(map(len, own)) <= 1


def test_ranks_and_accumulated_parts_divide_the_batch_between_them():
    ranks, accumulate = 2, 2
    streams = [
        iter(requests(parts=ranks * accumulate, part=slice(rank * accumulate, (rank + 1) * accumulate)))
        for rank in range(ranks)
    ]
    for batch in requests():
        drawn = [next(streams[rank]) for rank in range(ranks) for _ in range(accumulate)]
        assert [request for piece in drawn for request in piece] == batch
    assert all(next(stream, None) is None for stream in streams)


def test_more_parts_than_pictures_are_refused_before_anything_is_drawn():
    with pytest.raises(ValueError, match=r"5 pictures cannot be cut into 6 parts .*lower accumulate"):
        RUN.requests(SIZE, 0, 6, ALL)


@pytest.mark.parametrize(("epochs", "updates"), [(0.01, 1), (0.5, 2), (1.25, 5), (2.6, 10), (3.0, 12)])
def test_a_fraction_of_epochs(epochs, updates):
    run = replace(RUN, epochs=epochs)
    assert run.updates == updates
    batches = requests(run)
    assert len(batches) == updates
    assert [request.clock.update for batch in batches for request in batch] == [u for u in range(updates) for _ in range(5)]
    assert all(request.clock.updates == updates for batch in batches for request in batch)
    whole = requests()
    assert [[r.index for r in batch] for batch in batches] == [[r.index for r in batch] for batch in whole[:updates]]


def test_the_clock_counts_passes_over_the_data():
    run = replace(RUN, epochs=2.6)
    assert run.clock(0) == Clock(0, 10, 2.5)  # 10 updates are two epochs and a half
    assert run.clock(4).epoch == pytest.approx(1.0)
    assert run.clock(10).progress == 1.0


def test_fewer_samples_than_a_batch_are_one_update():
    run = Epochs(samples=3, batch=8, epochs=2.0, seed=0)
    assert run.updates == 2
    assert [sorted(request.index for request in batch) for batch in requests(run)] == [[0, 1, 2], [0, 1, 2]]


def test_each_request_carries_the_size_of_its_update():
    sizes = [batch[0].size for batch in requests(size=Staged(values=(16.0, 24.0, 32.0)))]
    assert sizes == [16] * 4 + [24] * 4 + [32] * 4


def test_no_epochs_are_no_updates():
    run = replace(RUN, epochs=0.0)
    assert run.updates == 0
    assert requests(run) == []
    assert run.clock(0) == Clock(0, 0, 0.0)


@pytest.mark.parametrize("wrong", [{"samples": 0}, {"batch": 0}, {"epochs": -1.0}])
def test_a_run_over_nothing_is_refused(wrong):
    with pytest.raises(ValueError, match="needs samples and a batch above 0, and epochs of 0 or more"):
        replace(RUN, **wrong)


def test_each_combination_has_its_own_seed():
    found = {seed_of(a, b, c) for a in range(12) for b in range(12) for c in range(12)}
    assert len(found) == 12**3
    assert seed_of(1, 23) != seed_of(12, 3)
    assert all(0 <= seed < 2**63 for seed in found)


def test_seeds_are_the_same_everywhere():
    # they are part of every result, so they must not change from release to release
    assert seed_of(0, 1, 2) == 603432347784401458
