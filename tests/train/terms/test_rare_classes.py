"""Class weights and logit adjustment, against direct computations."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from sklearn.utils.class_weight import compute_class_weight

from paretina.clock import START, Clock
from paretina.data.batch import Batch
from paretina.data.borders import BetweenObjects, nearness
from paretina.data.loader import Collate
from paretina.data.sources.arrays import Arrays
from paretina.model.tasks.instances import Instances
from paretina.model.tasks.one_of import OneOf
from paretina.model.tasks.places import Places
from paretina.schedules import Constant
from paretina.spec import decode, encode, put
from paretina.train.class_counts import IMBALANCES, balanced_by, class_counts, with_counts
from paretina.train.learning import Learning
from paretina.train.objective import Outputs
from paretina.train.objectives.supervised import Supervised
from paretina.train.recipe import Recipe
from paretina.train.tasks import check_task
from paretina.train.terms.adjusted_cross_entropy import AdjustedCrossEntropy
from paretina.train.terms.cross_entropy import CrossEntropy
from paretina.train.terms.weighted_cross_entropy import WeightedCrossEntropy
from tiny import tiny_blueprint

COUNTS = (60.0, 30.0, 8.0, 2.0)
LABELS = torch.tensor([0, 1, 2, 3, 3, 0])
LOGITS = torch.randn(6, 4, generator=torch.Generator().manual_seed(0))
NONE = Constant(value=0.0)


def loss(term, logits=LOGITS, targets=None):
    targets = F.one_hot(LABELS, 4).float() if targets is None else targets
    images = torch.zeros(len(logits), 3, 4, 4, dtype=torch.uint8)
    return term.make(None)(Outputs(logits), Batch((images,), targets, torch.arange(len(logits))), START).item()


def test_inverse_frequency_is_that_of_scikit_learn():
    labels = [label for label, count in enumerate(COUNTS) for _ in range(int(count))]
    wanted = compute_class_weight("balanced", classes=np.arange(4), y=labels)
    assert WeightedCrossEntropy(counts=COUNTS).by_class().tolist() == pytest.approx(wanted.tolist())


@pytest.mark.parametrize("beta", [0.0, 0.9, 0.999, 0.99999])
def test_effective_numbers_by_the_formula_of_the_paper(beta):
    effective = [(1 - beta**count) / (1 - beta) for count in COUNTS]
    raw = [1 / each for each in effective]
    mean = sum(weight * count for weight, count in zip(raw, COUNTS, strict=True)) / sum(COUNTS)
    found = WeightedCrossEntropy(by="effective", beta=beta, counts=COUNTS).by_class().tolist()
    assert found == pytest.approx([weight / mean for weight in raw], rel=1e-4)


@pytest.mark.parametrize("by", ["inverse", "effective"])
def test_the_mean_weight_of_a_training_picture_is_one(by):
    weights = WeightedCrossEntropy(by=by, counts=COUNTS).by_class()
    assert float((weights * torch.tensor(COUNTS)).sum() / sum(COUNTS)) == pytest.approx(1.0)


def test_a_class_without_pictures_has_no_weight_and_changes_no_other():
    with_it = WeightedCrossEntropy(counts=(6.0, 0.0, 2.0)).by_class().tolist()
    assert with_it == pytest.approx([8 / 12, 0.0, 2.0])


def test_weighted_as_torch_does_but_divided_by_the_rows():
    term = WeightedCrossEntropy(counts=COUNTS, smoothing=NONE)
    wanted = F.cross_entropy(LOGITS, LABELS, weight=term.by_class(), reduction="sum") / 6
    assert loss(term) == pytest.approx(wanted.item(), rel=1e-6)


def test_smoothed_and_mixed_labels_weigh_what_their_classes_do():
    weights = (1.0, 2.0, 3.0, 4.0)
    term = WeightedCrossEntropy(by="given", weights=weights, smoothing=Constant(value=0.2))
    targets = torch.tensor([[0.25, 0.75, 0.0, 0.0]])
    one, other = (CrossEntropy(smoothing=Constant(value=0.2)) for _ in range(2))
    hot = torch.eye(4)
    apart = 0.25 * 1.0 * loss(one, LOGITS[:1], hot[:1]) + 0.75 * 2.0 * loss(other, LOGITS[:1], hot[1:2])
    assert loss(term, LOGITS[:1], targets) == pytest.approx(apart, rel=1e-5)


def test_without_weights_it_is_cross_entropy():
    for term in (WeightedCrossEntropy(by="none", counts=COUNTS), WeightedCrossEntropy(), AdjustedCrossEntropy()):
        assert loss(term) == pytest.approx(loss(CrossEntropy()))


@pytest.mark.parametrize("tau", [0.0, 1.0, 2.5])
def test_logits_are_adjusted_by_the_logarithm_of_the_frequency(tau):
    term = AdjustedCrossEntropy(tau=Constant(value=tau), counts=COUNTS, smoothing=NONE)
    shifted = [[z + tau * math.log(count / 100) for z, count in zip(row, COUNTS, strict=True)] for row in LOGITS.tolist()]
    by_hand = [math.log(sum(map(math.exp, row))) - row[label] for row, label in zip(shifted, LABELS.tolist(), strict=True)]
    assert loss(term) == pytest.approx(sum(by_hand) / 6, rel=1e-5)


def test_a_constant_network_learns_nothing_from_frequencies():
    # the least loss of logits that are the same for all pictures is at equal logits: the frequencies are in the loss already
    logits = torch.zeros(1, 4, requires_grad=True)
    targets = torch.tensor(COUNTS)[None] / 100
    term = AdjustedCrossEntropy(counts=COUNTS, smoothing=NONE).make(None)
    batch = Batch((torch.zeros(1, 3, 4, 4, dtype=torch.uint8),), targets, torch.arange(1))
    term(Outputs(logits), batch, START).backward()
    assert logits.grad.abs().max() < 1e-6


@pytest.mark.parametrize(
    ("kind", "fields", "said"),
    [
        (WeightedCrossEntropy, {"beta": 1.0}, r"WeightedCrossEntropy.beta must be in \[0, 1\), got 1"),
        (WeightedCrossEntropy, {"by": "given"}, "by=given needs a weight for each class"),
        (WeightedCrossEntropy, {"weights": (1.0, 2.0)}, "by=inverse finds its own; leave one out"),
        (WeightedCrossEntropy, {"by": "given", "weights": (1.0, -1.0)}, "at least 0"),
        (AdjustedCrossEntropy, {"tau": Constant(value=-1.0)}, "AdjustedCrossEntropy.tau must stay at least 0"),
        (AdjustedCrossEntropy, {"counts": (-1.0,)}, "counts are at least 0"),
    ],
)
def test_what_cannot_be_is_refused(kind, fields, said):
    with pytest.raises(ValueError, match=said):
        kind(**fields)


def test_counts_are_stored_and_checked():
    term = WeightedCrossEntropy().counted((3.0, 5.0))
    assert decode(WeightedCrossEntropy, encode(term)) == term
    assert term.counted((3.0, 5.0)) == term
    with pytest.raises(ValueError, match="counts has 2 numbers for 3 classes; leave counts out, and they are counted"):
        term.counted((1.0, 2.0, 3.0))
    with pytest.raises(ValueError, match="weights has 2 weights for 3 classes"):
        WeightedCrossEntropy(by="given", weights=(1.0, 2.0)).counted((1.0, 2.0, 3.0))


def test_beside_plain_cross_entropy_it_is_refused():
    both = Recipe(objective=Supervised(terms=(CrossEntropy(), AdjustedCrossEntropy())))
    with pytest.raises(ValueError, match=r"takes the place of CrossEntropy.*add objective.terms.CrossEntropy=off"):
        AdjustedCrossEntropy().check(both, tiny_blueprint())


def test_each_way_by_name_keeps_the_smoothing_of_the_recipe():
    recipe = Recipe(objective=Supervised(terms=(CrossEntropy(smoothing=Constant(value=0.3)),)))
    for way, said in {
        "sampling": "balanced sampling",
        "weights": "class weights",
        "effective": "class weights",
        "logits": "logit adjustment in the loss",
    }.items():
        changed = recipe
        for path, value in IMBALANCES[way](recipe).items():
            changed = put(changed, path, value)
        assert balanced_by(changed) == said
        assert [term.smoothing for term in changed.objective.terms] == [Constant(value=0.3)]
    assert balanced_by(recipe) == ""


def test_counts_come_from_the_training_split_alone(rare):
    collection = rare.open()
    assert class_counts(collection) == (12.0, 3.0)
    found = with_counts(Recipe(objective=Supervised(terms=(AdjustedCrossEntropy(),))), collection)
    assert found.objective.terms[0].counts == (12.0, 3.0)


@pytest.fixture
def rare(tmp_path):
    labels = [0] * 12 + [1] * 3 + [0, 1] * 4
    images = np.random.default_rng(0).integers(0, 255, (len(labels), 8, 8, 3)).astype(np.uint8)
    np.savez(tmp_path / "a.npz", images=images, labels=labels, split=["train"] * 15 + ["val"] * 8)
    return Arrays(path=str(tmp_path / "a.npz"))


# --- between objects --------------------------------------------------------------------------------------------------------

OBJECTS = torch.zeros(1, 12, 12, dtype=torch.uint8)
OBJECTS[0, 2:6, 2:10] = 1
OBJECTS[0, 6:10, 2:10] = 2
OBJECTS[0, 11, :3] = 255


def pixels_loss(term, logits, targets):
    images = torch.zeros(1, 3, 12, 12, dtype=torch.uint8)
    return term.make(None)(Outputs(logits), Batch((images,), targets, torch.arange(1)), Clock(5, 10, 10.0))


@pytest.mark.parametrize("known", [None, (1.0, 2.0, 7.0)])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_the_weight_of_a_pixel_is_that_of_its_class_and_what_is_between_objects(known, smoothing):
    by = {"by": "none"} if known is None else {"by": "given", "weights": known}
    term = WeightedCrossEntropy(w0=10.0, sigma=3.0, smoothing=Constant(value=smoothing), **by)
    items = [(0, OBJECTS[0], (torch.zeros(3, 12, 12, dtype=torch.uint8),))]
    targets = Collate(3, task=Instances(), pixels=term.pixels())(items).batch.targets
    plain = Collate(3, task=Instances())(items).batch.targets
    logits = torch.randn(1, 3, 12, 12, generator=torch.Generator().manual_seed(0))
    between = torch.from_numpy(10 * nearness(OBJECTS[0].numpy(), 3.0))
    assert 9 > float(between.max()) > 7  # exp(-4 / 18) of 10
    classes = torch.tensor(known or (1.0, 1.0, 1.0))
    each = F.cross_entropy(logits, plain, label_smoothing=smoothing, reduction="none")[0].double()
    there = plain[0].any(0)
    whole = (each * (classes[plain[0].argmax(0)].double() + between) * there).sum() / there.sum()
    assert int((~there).sum()) == 3
    torch.testing.assert_close(pixels_loss(term, logits, targets).double(), whole, atol=1e-4, rtol=1e-5)


def test_without_w0_nothing_is_looked_for():
    assert WeightedCrossEntropy(by="none").pixels() is None
    assert Recipe(objective=Supervised(terms=(WeightedCrossEntropy(by="none", w0=2.0),))).pixels() == BetweenObjects(2.0, 5.0)
    assert Recipe().pixels() is None


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"w0": -1.0}, "WeightedCrossEntropy.w0 is a weight, 0 or more, got -1"),
        ({"w0": 1.0, "sigma": 0.0}, "WeightedCrossEntropy.sigma is in pixels, above 0 and at most 100, got 0"),
    ],
)
def test_border_weights_that_cannot_be_are_refused(fields, said):
    with pytest.raises(ValueError, match=said):
        WeightedCrossEntropy(**fields)


def test_border_weights_are_for_masks_that_number_objects():
    recipe = Recipe(objective=Supervised(terms=(WeightedCrossEntropy(by="none", w0=2.0),)))
    check_task(recipe, Instances())
    for task in (Places(), OneOf()):
        with pytest.raises(ValueError, match=r"w0 weighs the pixels between objects, .*data.labels=instances"):
            check_task(recipe, task)
    kept = replace(recipe, learning=Learning(frozen_stride=16, remembered_views=2))
    with pytest.raises(ValueError, match=r"w0 needs the masks in each update, .*set w0=0 or remembered_views=0"):
        recipe.objective.terms[0].check(kept, tiny_blueprint())
