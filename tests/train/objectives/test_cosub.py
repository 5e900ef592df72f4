import pytest
import torch

from paretina.train.objectives import cosub


def written(*rows):
    return torch.tensor(rows, dtype=torch.float32)


def test_losses():
    first, second = (x.requires_grad_() for x in (written([2, -1], [0, 1]), written([1, -2], [0.5, 0.5])))
    labels, peers = cosub.Cosub().parts(first, second, torch.eye(2))
    assert labels.item() == pytest.approx((0.361650 + 0.472086) / 2, abs=1e-6)
    assert peers.item() == pytest.approx((0.620306 + 0.607475) / 2, abs=1e-6)
    (0.5 * labels + 0.5 * peers).backward()
    torch.testing.assert_close(first.grad, written([0.001908, 0.026167], [0.023596, -0.010021]), atol=1e-6, rtol=0)


def test_that_says_the_same_twice_learns_nothing_from_itself():
    logits = written([2, -1], [0, 1]).requires_grad_()
    cosub.Cosub().parts(logits, logits, torch.eye(2))[1].backward()
    torch.testing.assert_close(logits.grad, torch.zeros(2, 2))
