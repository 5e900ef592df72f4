from collections import Counter

import numpy as np
import pytest

from paretina.data.sampler import Epochs, Order, occurrences, order_of
from paretina.data.sampling import Pool
from paretina.data.samplings.balanced import Balanced
from paretina.data.samplings.shuffled import Shuffled
from paretina.schedules import Constant

LABELS = [0] * 60 + [1] * 30 + [2] * 6
POOL = Pool(np.array(LABELS), np.zeros(len(LABELS), dtype=np.int64))


@pytest.mark.parametrize("group", [1, 2, 4])
@pytest.mark.parametrize("seed", range(5))
def test_classes_come_equally_often(group, seed):
    order = Balanced(group=group).order(POOL, seed, 0)
    counts = Counter(LABELS[i] for i in order)
    assert len(order) == len(LABELS)
    assert max(counts.values()) - min(counts.values()) <= group
    # and each picture of a class as often as any other of it, to within one
    for label in range(3):
        times = Counter(i for i in order if LABELS[i] == label)
        every = [times.get(i, 0) for i, own in enumerate(LABELS) if own == label]
        assert max(every) - min(every) <= 1


def test_neighbours_are_of_one_class():
    order = Balanced(group=4).order(POOL, 0, 0)
    for start in range(0, len(order) - 3, 4):
        assert len({LABELS[i] for i in order[start : start + 4]}) == 1


def test_a_batch_of_all_groups_has_every_class():
    order = Balanced(group=4).order(POOL, 3, 0)
    for start in range(0, len(order) - 11, 12):
        assert {LABELS[i] for i in order[start : start + 12]} == {0, 1, 2}


def test_shuffled_is_the_order_of_before():
    order = order_of(Shuffled(), LABELS)
    assert np.array_equal(order.drawn(5, 0), np.random.default_rng(5).permutation(len(LABELS)))
    epochs = Epochs(len(LABELS), 16, 2.0, 3)
    size = Constant(value=16.0)
    assert list(epochs.requests(size, 0, 1, slice(None), order)) == list(epochs.requests(size, 0, 1, slice(None)))


def test_a_picture_that_comes_again_is_transformed_otherwise():
    epochs = Epochs(len(LABELS), 16, 1.0, 3)
    requests = [
        each for some in epochs.requests(Constant(value=16.0), 0, 1, slice(None), order_of(Balanced(), LABELS)) for each in some
    ]
    twice = [index for index, count in Counter(each.index for each in requests).items() if count > 1]
    assert twice
    assert len({each.seed for each in requests}) == len(requests)


def test_a_resumed_run_gets_the_rest():
    epochs, order = Epochs(len(LABELS), 16, 2.0, 3), order_of(Balanced(group=2), LABELS)
    whole = list(epochs.requests(Constant(value=16.0), 0, 2, slice(None), order))
    assert list(epochs.requests(Constant(value=16.0), 4, 2, slice(None), order)) == whole[8:]


def test_occurrences():
    assert occurrences(np.array([3, 1, 3, 3, 1, 0])).tolist() == [0, 0, 1, 2, 1, 0]


def test_pictures_without_labels_are_refused():
    with pytest.raises(ValueError, match="2 of 3 training pictures have no label; leave it out: sampling=Shuffled"):
        order_of(Balanced(), [0, -1, -1])


def test_an_order_of_another_length_is_an_error():
    with pytest.raises(ValueError, match="an epoch has 5 samples, and the sampling gave 4"):
        list(Epochs(5, 2, 1.0, 0).requests(Constant(value=16.0), 0, 1, slice(None), Order(lambda seed, epoch: np.arange(4))))
