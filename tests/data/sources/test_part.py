import itertools
import pickle
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.stats import chisquare

from paretina.data.likeness import leaks
from paretina.data.sources.arrays import Arrays
from paretina.data.sources.part import Part
from paretina.data.sources.shapes import Shapes

TRAIN = (50, 21, 3)
"""Training pictures of each class; one picture of each is val."""


@pytest.fixture(scope="module")
def numbers(tmp_path_factory):
    labels = [label for label, count in enumerate(TRAIN) for _ in range(count + 1)]
    split = ["val" if i == count else "train" for count in TRAIN for i in range(count + 1)]
    images = np.arange(len(labels), dtype=np.uint8)[:, None, None].repeat(2, 1).repeat(2, 2)
    path = tmp_path_factory.mktemp("part") / "numbers.npz"
    np.savez(path, images=images, labels=np.array(labels), split=split)
    return Arrays(path=str(path))


def names(source, split="train"):
    return [sample.name for sample in source.open().split(split)]


def test_each_class_keeps_its_share_and_at_least_one(numbers):
    kept = Part(source=numbers, share=0.1).open().split("train")
    assert Counter(sample.label for sample in kept) == {0: 5, 1: 2, 2: 1}


def test_smaller_shares_are_among_larger_ones(numbers):
    shares = [set(names(Part(source=numbers, share=share))) for share in (0.05, 0.1, 0.3, 0.77, 1.0)]
    assert all(small < large for small, large in itertools.pairwise(shares))
    assert shares[-1] == set(names(numbers))


def test_another_seed_keeps_others_in_the_order_that_they_had(numbers):
    whole = names(numbers)
    first, second = (names(Part(source=numbers, share=0.3, seed=seed)) for seed in (0, 1))
    assert set(first) != set(second)
    assert first == [name for name in whole if name in set(first)]


def test_validation_is_untouched(numbers):
    part = Part(source=numbers, share=0.2, noise=1.0, repeat=True).open()
    assert part.split("val") == numbers.open().split("val")


def test_wrong_labels_are_as_many_as_asked_for_and_always_wrong():
    source = Shapes(per_class=400, val_per_class=1, size=8)
    right = {sample.name: sample.label for sample in source.open().split("train")}
    for noise in (0.2, 0.4):
        samples = Part(source=source, noise=noise).open().split("train")
        wrong = [sample for sample in samples if sample.label != right[sample.name]]
        # 4,000 labels: the standard deviation of the share is below 0.8 %
        assert len(wrong) / len(samples) == pytest.approx(noise, abs=0.025)
        # every class but the right one is as likely: 9 others
        moves = Counter((sample.label - right[sample.name]) % 10 for sample in wrong)
        assert sorted(moves) == list(range(1, 10))
        assert chisquare(list(moves.values())).pvalue > 0.001
    everywhere = Part(source=source, noise=1.0).open().split("train")
    assert all(sample.label != right[sample.name] for sample in everywhere)


def test_a_wrong_label_is_the_same_at_more_noise_and_in_any_share(numbers):
    right = {sample.name: sample.label for sample in numbers.open().split("train")}

    def wrong(**choices):
        samples = Part(source=numbers, **choices).open().split("train")
        return {sample.name: sample.label for sample in samples if sample.label != right[sample.name]}

    some, more, part = wrong(noise=0.2), wrong(noise=0.6), wrong(noise=0.6, share=0.5)
    assert 0 < len(some) < len(more)
    assert some.items() <= more.items()
    assert part.items() <= more.items()
    assert wrong(noise=0.6, seed=5) != more


def test_what_is_repeated_is_as_much_as_before_and_shows_the_same_pictures(numbers):
    whole = numbers.open()
    part = Part(source=numbers, share=0.4, repeat=True).open()
    samples = part.split("train")
    kept = names(Part(source=numbers, share=0.4))
    assert len(samples) == len(whole.split("train")) == 74
    assert len({sample.name for sample in samples}) == 74
    times = Counter(int(part.image(sample)[0, 0, 0]) for sample in samples)
    assert sorted(times) == sorted(map(int, kept))
    assert set(times.values()) == {2, 3}
    by_class = Counter(sample.label for sample in samples)
    assert all(abs(by_class[label] - count) <= 3 for label, count in enumerate(TRAIN))


def test_pictures_are_those_of_the_source(numbers):
    whole, part = numbers.open(), pickle.loads(pickle.dumps(Part(source=numbers, share=0.3).open()))
    for sample in part.split("train"):
        assert torch.equal(part.image(sample), whole.image(sample))


def test_says_what_was_done(numbers):
    notes = Part(source=numbers, share=0.1, noise=1.0, repeat=True).open().notes
    assert "kept 8 of 74 training pictures" in notes[-3]
    assert "made 8 of 8 training labels wrong" in notes[-2]
    assert "until they were 74 again" in notes[-1]
    assert Part(source=numbers).open().notes == numbers.open().notes


def test_a_part_of_a_part_can_be_had(numbers):
    inner = Part(source=numbers, share=0.5, seed=1)
    assert set(names(Part(source=inner, share=0.5, seed=2))) < set(names(inner))
    assert Part.from_json(Part(source=inner, share=0.5).to_json()) == Part(source=inner, share=0.5)


@pytest.mark.parametrize("wrong", [{"share": 0.0}, {"share": 1.5}, {"noise": -0.1}, {"noise": 1.1}])
def test_shares_must_be_shares(numbers, wrong):
    with pytest.raises(ValueError, match=f"Part.{next(iter(wrong))} must be in"):
        Part(source=numbers, **wrong)


def test_the_split_of_a_part_is_pinned_too(tmp_path):
    pictures = np.random.default_rng(0).integers(0, 256, (20, 8, 8, 3), np.uint8)
    np.savez(tmp_path / "a.npz", images=np.tile(pictures, (4, 1, 1, 1)), labels=np.arange(80) % 20 % 2)
    source = Part(source=Arrays(path=str(tmp_path / "a.npz")), share=0.5, repeat=True)
    pinned = source.pinned(source.open())
    assert pinned.source.moved
    assert pinned.open().splits == source.open().splits
    assert leaks(pinned.open()).equal == 0
    anywhere = replace(source, source=replace(source.source, copies="anywhere"))
    assert leaks(anywhere.open()).equal > 0
