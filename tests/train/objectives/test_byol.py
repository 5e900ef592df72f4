import copy

import pytest
import torch

from paretina.clock import START, Clock
from paretina.data.batch import Batch
from paretina.schedules import Constant, Cosine
from paretina.train.objectives import byol
from tiny import row, tiny_blueprint

TABLE = tiny_blueprint(row(1, 16, 1), row(1, 32, 2))


def written(*rows):
    return torch.tensor(rows, dtype=torch.float32)


def test_distances():
    first = byol.distance(written([1, 0], [3, 4]), written([1, 1], [4, 3]))
    second = byol.distance(written([0, 2], [1, 0]), written([1, 0], [3, 4]))
    assert (first + second).item() == pytest.approx(1.732893, abs=1e-6)
    assert byol.distance(written([1, 2]), written([10, 20])).item() == pytest.approx(0.0, abs=1e-6)


def test_target_follows_as_the_schedule_says():
    found = [Cosine(start=0.996, end=1.0)(Clock(update, 1000, 1.0)) for update in (0, 250, 500, 750, 1000)]
    assert found == pytest.approx([0.996, 0.99658579, 0.998, 0.99941421, 1.0], abs=1e-8)

    torch.manual_seed(0)
    learner = byol.BYOL(hidden=16, width=8, decay=Constant(value=0.9)).make(TABLE.build(), None).train()
    before = copy.deepcopy(learner.target)
    with torch.no_grad():
        for parameter in learner.online.parameters():
            parameter.add_(torch.randn_like(parameter))
    learner.updated(START)
    for old, new, online in zip(before.parameters(), learner.target.parameters(), learner.online.parameters(), strict=True):
        torch.testing.assert_close(new - old, 0.1 * (online - old))
    assert not any(parameter.requires_grad for parameter in learner.target.parameters())
    assert all(module.training for module in learner.target.modules())


def test_labels_change_the_classifier_alone():
    torch.manual_seed(0)
    learner = byol.BYOL(hidden=16, width=8).make(TABLE.build(), None).train()
    view = torch.randint(256, (6, 3, 16, 16), dtype=torch.uint8)
    losses = learner(Batch((view, view.flip(-1)), torch.eye(3)[torch.arange(6) % 3], torch.arange(6)), START)
    losses["classifier"].backward()
    assert {name for name, p in learner.named_parameters() if p.grad is not None} == {
        "online.network.head.classifier.weight",
        "online.network.head.classifier.bias",
    }
