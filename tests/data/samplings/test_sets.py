from collections import Counter

import numpy as np
import pytest

from paretina.data.sampler import Epochs, order_of
from paretina.data.samplings.alternating import Alternating
from paretina.data.samplings.each import Each
from paretina.data.sources.apart import Apart
from paretina.data.sources.inner_split import InnerSplit
from paretina.data.sources.part import Part
from paretina.data.sources.several import Set, Several
from paretina.data.sources.shapes import Shapes
from paretina.schedules import Constant

GROUPS = [0] * 6 + [1] * 18
LABELS = [number % 3 for number in range(24)]


def epochs_of(sampling, count=6, seed=3):
    """The sets that the samples of each epoch are from."""
    epochs = Epochs(24, 8, float(count), seed)
    batches = list(epochs.requests(Constant(value=16.0), 0, 1, slice(None), order_of(sampling, LABELS, GROUPS)))
    each = [[request.index for request in batch] for batch in batches]
    return [[index for batch in each[3 * at : 3 * at + 3] for index in batch] for at in range(count)]


def sets_of(indices):
    return {GROUPS[index] for index in indices}


def test_turns_have_one_set_an_epoch_in_their_order():
    assert [sets_of(epoch) for epoch in epochs_of(Alternating())] == [{0}, {1}] * 3
    assert [sets_of(epoch) for epoch in epochs_of(Alternating(every=2))] == [{0}, {0}, {1}, {1}, {0}, {0}]


def test_a_small_set_comes_several_times_each_picture_as_often():
    first, second = epochs_of(Alternating())[:2]
    assert Counter(first) == dict.fromkeys(range(6), 4)
    assert set(second) == set(range(6, 24))
    assert max(Counter(second).values()) == 2


def test_random_turns_depend_on_the_seed_and_are_the_same_again():
    found = [next(iter(sets_of(epoch))) for epoch in epochs_of(Alternating(random=True), 40)]
    assert set(found) == {0, 1}
    assert found == [next(iter(sets_of(epoch))) for epoch in epochs_of(Alternating(random=True), 40)]
    assert found != [next(iter(sets_of(epoch))) for epoch in epochs_of(Alternating(random=True), 40, seed=4)]


def test_a_resumed_run_of_turns_needs_only_the_number_of_its_update():
    epochs, order = Epochs(24, 8, 6.0, 3), order_of(Alternating(random=True), LABELS, GROUPS)
    whole = list(epochs.requests(Constant(value=16.0), 0, 1, slice(None), order))
    assert list(epochs.requests(Constant(value=16.0), 7, 1, slice(None), order)) == whole[7:]


@pytest.mark.parametrize("parts", [1, 2, 4])
def test_each_part_of_an_update_has_all_sets_alike(parts):
    epochs = Epochs(24, 8, 2.0, 3)
    order = order_of(Each(), LABELS, GROUPS)
    for part in range(parts):
        for batch in epochs.requests(Constant(value=16.0), 0, parts, slice(part, part + 1), order):
            counts = Counter(GROUPS[request.index] for request in batch)
            assert counts[0] == counts[1] == len(batch) / 2


@pytest.mark.parametrize(("accumulate", "ranks"), [(2, 1), (2, 3), (4, 2)])
@pytest.mark.parametrize("samples", [24, 23])
def test_sets_apart_have_a_part_of_an_update_each(accumulate, ranks, samples):
    epochs, groups = Epochs(samples, 8 if ranks == 1 else 16, 3.0, 3), GROUPS[:samples]
    order = order_of(Each(apart=True), LABELS[:samples], groups, accumulate)
    every: list[int] = []
    for rank in range(ranks):
        mine = slice(rank * accumulate, (rank + 1) * accumulate)
        parts = list(epochs.requests(Constant(value=16.0), 0, accumulate * ranks, mine, order))
        found = [{groups[request.index] for request in part} for part in parts]
        assert all(len(each) == 1 for each in found)
        for update in range(epochs.updates):
            of_update = [next(iter(each)) for each in found[update * accumulate : (update + 1) * accumulate]]
            assert Counter(of_update) == dict.fromkeys((0, 1), accumulate // 2)
        every += [request.index for part in parts for request in part]
    together = epochs.requests(Constant(value=16.0), 0, 1, slice(None), order_of(Each(), LABELS[:samples], groups))
    assert Counter(every) == Counter(request.index for batch in together for request in batch)


@pytest.mark.parametrize("accumulate", [1, 3])
def test_sets_apart_need_as_many_parts(accumulate):
    with pytest.raises(ValueError, match=rf"2 sets cannot share accumulate={accumulate} evenly; set accumulate=2"):
        order_of(Each(apart=True), LABELS, GROUPS, accumulate)


@pytest.mark.parametrize("sampling", [Alternating(), Each()])
def test_one_set_has_no_turns(sampling):
    with pytest.raises(ValueError, match="the training pictures are of one; name several with a comma"):
        order_of(sampling, LABELS)


def test_turns_of_no_length_are_refused():
    with pytest.raises(ValueError, match=r"Alternating\.every is a number of epochs, at least 1, got 0"):
        Alternating(every=0)
    with pytest.raises(ValueError, match="so every=1, got every=2"):
        Alternating(every=2, random=True)


def test_sets_are_known_through_other_sources():
    both = Several(sets=(Set(name="a", source=Shapes(per_class=3)), Set(name="b", source=Shapes(per_class=5, seed=1))))
    for source in (both, InnerSplit(source=both, share=0.3), Part(source=both, share=0.7), Apart(train=both, val=Shapes())):
        opened = source.open()
        groups = [opened.group(sample) for sample in opened.split("train")]
        assert set(groups) == {0, 1}
        assert np.mean(groups) > 0.5
    alone = Shapes(per_class=3).open()
    assert {alone.group(sample) for sample in alone.split("train")} == {0}
