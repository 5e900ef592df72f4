import math

import pytest
import torch
from torch import nn

from paretina.clock import START, Clock
from paretina.data.batch import Batch
from paretina.model.assemblies.divide import Divide
from paretina.schedules import Constant
from paretina.train.objectives import cotraining
from tiny import row, tiny_blueprint

TABLE = tiny_blueprint(row(1, 16, 1), row(1, 32, 2))


def written(*rows):
    return torch.tensor(rows, dtype=torch.float32)


def test_divergence():
    logits = written([[0.7, 0.2, 0.1]], [[0.3, 0.4, 0.3]]).log() + 5.0
    assert cotraining.divergence(logits).item() == pytest.approx(0.084294, abs=1e-6)
    assert cotraining.divergence(torch.stack((logits[0], logits[0]))).item() == pytest.approx(0.0, abs=1e-6)
    opposed = written([[100.0, 0.0]], [[0.0, 100.0]])
    assert cotraining.divergence(opposed).item() == pytest.approx(math.log(2), abs=1e-6)


def test_weight_rises_in_a_line():
    weight = cotraining.CoTraining().weight
    assert [weight(Clock(epoch, 300, 300.0)) for epoch in (0, 10, 20, 40, 200)] == pytest.approx([0, 0.125, 0.25, 0.5, 0.5])


def test_shows_each_network_its_own_view():
    torch.manual_seed(0)
    network = Divide()(TABLE).build()
    learner = cotraining.CoTraining(weight=Constant(value=0.0)).make(network, None).eval()
    first, second = torch.randint(256, (2, 4, 3, 16, 16), dtype=torch.uint8)
    targets, ids = torch.eye(3)[torch.arange(4) % 3], torch.arange(4)
    before = learner(Batch((first, first), targets, ids), START)["CrossEntropy"]
    assert before.item() == pytest.approx(learner(Batch((first,), targets, ids), START)["CrossEntropy"].item(), rel=1e-5)
    changed = learner(Batch((first, second), targets, ids), START)["CrossEntropy"]
    nn.init.zeros_(network.members[1].head.classifier.weight)
    nn.init.zeros_(network.members[1].head.classifier.bias)
    alone = [learner(Batch((first, view), targets, ids), START)["CrossEntropy"] for view in (first, second)]
    assert changed.item() != before.item()
    assert alone[0].item() == alone[1].item()
