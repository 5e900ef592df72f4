import pytest
import torch

from paretina.clock import START
from paretina.data.batch import Batch
from paretina.train.objectives import mixskd
from tiny import row, tiny_blueprint

TABLE = tiny_blueprint(row(1, 16, 1), row(1, 32, 2))


def written(*rows):
    return torch.tensor(rows, dtype=torch.float32)


def test_divergences():
    blend, mixed = written([1, 1, 0]), written([1, 0.5, 0])
    assert mixskd.divergence(mixed, blend, 3.0).item() == pytest.approx(0.0286242, abs=1e-6)
    assert mixskd.divergence(blend, mixed, 3.0).item() == pytest.approx(0.0281482, abs=1e-6)


def test_gives_no_gradient_to_what_is_wanted():
    said, wanted = (x.requires_grad_() for x in (written([1, 0.5, 0]), written([1, 1, 0])))
    mixskd.divergence(said, wanted, 3.0).backward()
    assert said.grad.any()
    assert wanted.grad is None


def test_has_nothing_to_learn_from_blends_of_one_picture_and_itself():
    # in evaluation, and with one picture everywhere, a blend is the picture
    torch.manual_seed(0)
    learner = mixskd.MixSKD().make(TABLE.build(), None).eval()
    view = torch.randint(256, (1, 3, 16, 16), dtype=torch.uint8).expand(4, -1, -1, -1)
    losses = learner(Batch((view,), torch.eye(3)[torch.zeros(4, dtype=torch.long)], torch.arange(4)), START)
    assert losses["features"].item() == pytest.approx(0.0, abs=1e-8)
    assert losses["branches"].item() == pytest.approx(0.0, abs=1e-5)
    assert losses["labels"].item() > 1.0
