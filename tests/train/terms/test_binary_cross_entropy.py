import math

import pytest
import torch
import torch.nn.functional as F

from paretina.clock import Clock
from paretina.data.batch import Batch
from paretina.model.tasks.any_of import ABSENT
from paretina.schedules import Linear
from paretina.train.objective import Outputs
from paretina.train.terms.binary_cross_entropy import BinaryCrossEntropy

HALFWAY = Clock(5, 10, 10.0)


def loss(logits, targets, term=BinaryCrossEntropy(), clock=HALFWAY):  # noqa: B008
    images = torch.zeros(len(targets), 3, 2, 2, dtype=torch.uint8)
    return term.make(None)(Outputs(logits), Batch((images,), targets, torch.arange(len(targets))), clock)


def test_by_hand():
    # probabilities 3/4 and 1/2 for a class that is there and one that is not
    found = loss(torch.tensor([[math.log(3.0), 0.0]]), torch.tensor([[1.0, 0.0]]))
    assert found.item() == pytest.approx((math.log(4 / 3) + math.log(2)) / 2)


def test_is_the_mean_that_torch_has():
    generator = torch.Generator().manual_seed(0)
    logits, targets = torch.randn(64, 4, generator=generator), torch.rand(64, 4, generator=generator)
    assert loss(logits, targets).item() == pytest.approx(F.binary_cross_entropy_with_logits(logits, targets).item(), rel=1e-6)


def test_a_picture_that_shows_none_of_the_classes_is_learned_as_one():
    logits = torch.tensor([[2.0, -1.0], [0.5, 0.3]])
    none = torch.tensor([[1.0, 0.0], [ABSENT, ABSENT]])
    expected = F.binary_cross_entropy_with_logits(logits, torch.tensor([[1.0, 0.0], [0.0, 0.0]]))
    assert loss(logits, none).item() == pytest.approx(expected.item(), rel=1e-5)


def test_the_weight_follows_the_clock():
    term = BinaryCrossEntropy(weight=Linear(start=0.0, end=4.0))
    logits, targets = torch.tensor([[2.0, -1.0]]), torch.tensor([[1.0, 0.0]])
    assert loss(logits, targets, term).item() == pytest.approx(2 * loss(logits, targets).item())
    assert loss(logits, targets, term, Clock(0, 10, 10.0)).item() == 0.0
