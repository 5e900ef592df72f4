"""Pictures that count more or less in the loss, from the table to the update."""

from dataclasses import replace

import numpy as np
import PIL.Image
import pytest
import torch
import torch.nn.functional as F

from paretina.clock import Clock
from paretina.data.batch import Batch
from paretina.data.loader import training_batches, weighed
from paretina.data.pictures import read_pictures
from paretina.data.sampler import Request
from paretina.data.sources.apart import Apart
from paretina.data.sources.table import Table
from paretina.data.transform import Look
from paretina.data.transforms.cutmix import CutMix
from paretina.data.transforms.mixup import MixUp
from paretina.measure.plan import Plan
from paretina.model.tasks.one_of import OneOf
from paretina.schedules import Constant
from paretina.spec import kinds
from paretina.train.asked import Asked
from paretina.train.objective import Objective, Outputs, Term
from paretina.train.objectives.cotraining import CoTraining
from paretina.train.objectives.supervised import Supervised
from paretina.train.recipe import Recipe
from paretina.train.resolve import prepare
from paretina.train.tasks import check_weights
from paretina.train.terms.binary_cross_entropy import BinaryCrossEntropy
from paretina.train.terms.cross_entropy import CrossEntropy
from paretina.train.terms.distill import Distill
from paretina.train.terms.tampered_cross_entropy import TamperedCrossEntropy
from tiny import tiny_blueprint

HALFWAY = Clock(5, 10, 10.0)
TERMS = [kind(smoothing=Constant(value=smoothing)) for kind in (CrossEntropy, TamperedCrossEntropy) for smoothing in (0.0, 0.1)]
every_term = pytest.mark.parametrize("term", TERMS, ids=repr)


def gradient(term, logits, targets):
    """The loss times the number of its rows, and its gradient."""
    given = logits.clone().requires_grad_()
    images = torch.zeros(len(logits), 3, 4, 4, dtype=torch.uint8)
    value = term.make(None)(Outputs(given), Batch((images,), targets, torch.arange(len(logits))), HALFWAY) * len(logits)
    value.backward()
    return value.detach(), given.grad


@pytest.fixture
def some():
    random = torch.Generator().manual_seed(0)
    logits, labels = torch.randn(6, 4, generator=random), torch.randint(4, (6,), generator=random)
    return logits, F.one_hot(labels, 4).float(), torch.tensor([0.5, 2.0, 1.0, 0.25, 3.0, 1.5])


@every_term
def test_a_weight_multiplies_the_loss_of_its_picture_exactly(term, some):
    logits, targets, weights = some
    value, slopes = gradient(term, logits, weighed(targets, weights))
    alone = [gradient(term, logits[i : i + 1], targets[i : i + 1]) for i in range(6)]
    torch.testing.assert_close(value, sum(weight * each for weight, (each, _) in zip(weights, alone, strict=True)))
    torch.testing.assert_close(slopes, torch.cat([weight * each for weight, (_, each) in zip(weights, alone, strict=True)]))


@every_term
def test_a_picture_of_weight_two_is_that_picture_twice(term, some):
    logits, targets, _ = some
    both, _ = gradient(term, torch.cat((logits, logits[:1])), torch.cat((targets, targets[:1])))
    once, _ = gradient(term, logits, weighed(targets, torch.tensor([2.0, 1, 1, 1, 1, 1])))
    torch.testing.assert_close(once, both)


@every_term
def test_a_picture_without_weight_says_nothing(term, some):
    logits, targets, weights = some
    weights[2] = 0.0
    _, slopes = gradient(term, logits, weighed(targets, weights))
    assert slopes[2].eq(0).all()


@every_term
@pytest.mark.parametrize("transform", [MixUp(), CutMix()], ids=repr)
def test_mixed_pictures_weigh_what_their_parts_do(term, transform, some):
    logits, targets, weights = some
    images = torch.randint(256, (6, 3, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))

    def mixed(rows):
        batch = Batch((images,), rows, torch.arange(6))
        return transform(batch, HALFWAY, torch.Generator().manual_seed(2)).targets

    # row i is the sum over all pictures k of share[i, k] times the targets of k
    share = mixed(torch.eye(6))
    value, slopes = gradient(term, logits, mixed(weighed(targets, weights)))
    expected = torch.zeros(6, 4)
    total = torch.zeros(())
    for i in range(6):
        for k in range(6):
            one, slope = gradient(term, logits[i : i + 1], targets[k : k + 1])
            total += share[i, k] * weights[k] * one
            expected[i] += share[i, k] * weights[k] * slope[0]
    torch.testing.assert_close(value, total)
    torch.testing.assert_close(slopes, expected)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_without_weights_the_loss_is_that_of_torch(smoothing, some):
    logits, targets, _ = some
    value, _ = gradient(CrossEntropy(smoothing=Constant(value=smoothing)), logits, targets)
    torch.testing.assert_close(value / 6, F.cross_entropy(logits, targets.argmax(1), label_smoothing=smoothing))


# --- from the table ---------------------------------------------------------------------------------------------------


@pytest.fixture
def source(tmp_path, monkeypatch):
    monkeypatch.setenv("PARETINA_CACHE", str(tmp_path / "cache"))
    lines = ["path,label,split,weight"]
    for number in range(18):
        noise = np.random.default_rng(number).integers(0, 256, (16, 16, 3), np.uint8)
        PIL.Image.fromarray(noise).save(tmp_path / f"{number}.png")
        lines.append(f"{number}.png,{'abc'[number % 3]},{'val' if number > 11 else 'train'},{1 + number}")
    (tmp_path / "photos.csv").write_text("\n".join(lines))
    return Table(path=str(tmp_path / "photos.csv"))


@pytest.mark.parametrize("workers", [0, 1])
def test_the_loader_scales_targets_of_training_and_of_nothing_else(source, workers):
    found = source.open()
    pictures = read_pictures(found, found.split("train"))
    requests = [[Request(i, i, HALFWAY, 16) for i in (3, 0)], [Request(i, i, HALFWAY, 16) for i in (11,)]]
    batches = list(training_batches(pictures, [Look((), True, 1.0)], iter(requests), 3, workers))
    for batch, asked in zip(batches, requests, strict=True):
        for row, request in zip(batch.batch.targets, asked, strict=True):
            expected = F.one_hot(torch.tensor(request.index % 3), 3) * (1 + request.index) / 6.5
            torch.testing.assert_close(row, expected.float())
    assert found.task.targets([found.target(sample) for sample in found.split("train")], 3).sum() == 12


def test_a_run_is_prepared_with_them_and_changes_with_them(source):
    asked = Asked(data=source, model=tiny_blueprint(), recipe=Recipe(epochs=1.0, batch_size=4), plan=Plan(workers=0))
    prepared = prepare(asked)
    torch.testing.assert_close(prepared.train.weights(), torch.arange(1, 13) / 6.5)
    assert any("in the loss" in note for note in prepared.notes)
    digest = prepared.digest()
    with open(source.path) as file:
        text = file.read()
    with open(source.path, "w") as file:
        file.write(text.replace("train,1\n", "train,7\n"))
    assert prepare(asked).digest() != digest


@pytest.mark.parametrize(
    ("objective", "said"),
    [
        (Supervised(terms=(BinaryCrossEntropy(),)), "BinaryCrossEntropy"),
        (Supervised(terms=(CrossEntropy(), Distill())), "Distill"),
        (CoTraining(), "CoTraining"),
    ],
)
def test_what_cannot_count_by_weight_is_refused(source, objective, said):
    recipe = replace(Recipe(epochs=1.0), objective=objective)
    with pytest.raises(ValueError, match=f"have weights, and {said} cannot count a picture by its weight; CrossEntropy"):
        check_weights(recipe, source.open())
    plain = replace(source.open(), weighted=False)
    check_weights(recipe, plain)
    with pytest.raises(ValueError, match=said):
        check_weights(recipe, Apart(train=source, val=source).open())


def test_every_term_that_says_that_it_counts_by_weight_is_tested_here():
    able = {kind for kind in kinds(Term).values() if kind.WEIGHTS and kind.__module__.startswith("paretina.")}
    assert able == {type(term) for term in TERMS}
    objectives = {name for name, kind in kinds(Objective).items() if kind.WEIGHTS}
    assert objectives == {"Supervised", "Quantised"}
    assert OneOf in CrossEntropy.TASKS
