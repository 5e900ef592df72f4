"""Orders that are computed place by place, and the sampler far beyond what one machine holds."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from paretina.data.permutation import MOST, Permutation, shuffled
from paretina.data.sampler import Epochs, order_of
from paretina.data.samplings.near import Near
from paretina.schedules import Constant


@settings(deadline=None, derandomize=True, max_examples=100, database=None)
@given(st.integers(1, 3000), st.integers(0, 1 << 63))
def test_each_number_comes_once(count, seed):
    order = Permutation(count, seed)
    assert len(order) == count
    assert np.array_equal(np.sort(order[:]), np.arange(count))
    parts = np.array_split(np.arange(count), 7)
    assert np.array_equal(np.concatenate([order.at(part) for part in parts]), order[:])


@pytest.mark.slow
def test_orders_are_as_random_as_shuffled_ones():
    count, orders = 12, 4000
    drawn = np.stack([Permutation(count, seed)[:] for seed in range(orders)])
    for place in range(count):
        assert stats.chisquare(np.bincount(drawn[:, place], minlength=count)).pvalue > 1e-4
    pairs = np.bincount(drawn[:, 0] * count + drawn[:, 1], minlength=count * count).reshape(count, count)
    assert not pairs.diagonal().any()
    assert stats.chisquare(pairs[~np.eye(count, dtype=bool)]).pvalue > 1e-4
    large = Permutation(1_000_003, 5)[:]
    assert abs(np.corrcoef(large[1:], large[:-1])[0, 1]) < 5e-3
    assert abs(np.corrcoef(large, np.arange(len(large)))[0, 1]) < 5e-3
    assert not np.array_equal(large, Permutation(1_000_003, 6)[:])


def test_up_to_ten_million_the_order_is_the_one_of_all_releases():
    assert np.array_equal(shuffled(1000, 3), np.random.default_rng(3).permutation(1000))
    assert isinstance(shuffled(MOST, 3), np.ndarray)
    assert isinstance(shuffled(MOST + 1, 3), Permutation)


@pytest.mark.parametrize("count", [0, -1, (1 << 62) + 1])
def test_counts_that_cannot_be(count):
    with pytest.raises(ValueError, match=f"got {count}"):
        Permutation(count, 0)


def ids(epochs, update, ranks, rank, order=None):
    (requests,) = (next(epochs.requests(Constant(value=64.0), update, ranks, slice(rank, rank + 1), order)),)
    return [request.index for request in requests]


@pytest.mark.slow
def test_three_hundred_million_samples_over_a_thousand_ranks():
    epochs = Epochs(300_000_000, 65_536, 2.0, 0)
    last = epochs.updates_per_epoch - 1
    for update in (0, last // 2, last, last + 1):
        parts = [ids(epochs, update, 1024, rank) for rank in (0, 1, 511, 1023)]
        assert all(63 <= len(part) <= 64 for part in parts)
        whole = ids(epochs, update, 1, 0)
        assert len(set(whole)) == epochs.count(update)
        assert whole[: len(parts[0])] == parts[0]
        assert whole[-len(parts[-1]) :] == parts[-1]
        # half as many ranks after a restart: the same samples in the same order
        assert ids(epochs, update, 512, 0) == parts[0] + parts[1]
    assert not {*ids(epochs, 0, 1, 0)} & {*ids(epochs, 1, 1, 0)}
    assert ids(epochs, 0, 1, 0) != ids(epochs, last + 1, 1, 0)


# --- Near ---------------------------------------------------------------------------------------------------------------


@pytest.mark.slow
@settings(deadline=None, derandomize=True, max_examples=100, database=None)
@given(st.integers(1, 400), st.integers(1, 30), st.integers(1, 6), st.integers(0, 1 << 62))
def test_near_gives_each_sample_once_and_is_the_same_in_parts(count, block, window, seed):
    order = order_of(Near(block=block, window=window), np.random.default_rng(0).integers(0, 2, count).tolist()).drawn(seed, 0)
    whole = order[:]
    assert np.array_equal(np.sort(whole), np.arange(count))
    assert np.array_equal(np.concatenate([order[low : low + 17] for low in range(0, count, 17)]), whole)


def test_near_reads_few_blocks_at_a_time():
    order = order_of(Near(block=100, window=4), [number % 3 for number in range(10_050)]).drawn(7, 0)
    whole = order[:]
    for low in range(0, 10_000, 400):
        assert len({*(whole[low : low + 400] // 100)}) == 4
    assert {*whole[10_000:]} == {*range(10_000, 10_050)}
    assert not np.array_equal(whole[:400], np.sort(whole[:400]))
    other = order_of(Near(block=100, window=4), [number % 3 for number in range(10_050)]).drawn(8, 1)
    assert not np.array_equal(other[:400], whole[:400])


def test_near_is_refused_where_classes_lie_together():
    labels = [number // 500 for number in range(5000)]
    with pytest.raises(ValueError, match="Near mixes 400 neighbours of 5,000, and 100 % of them"):
        order_of(Near(block=100, window=4), labels)
    order_of(Near(block=100, window=40), labels)  # which mixes nearly all
    with pytest.raises(ValueError, match="at least 1, got 0 and 16"):
        Near(block=0)
