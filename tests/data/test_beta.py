import pytest
import torch

from paretina.data.beta import beta

COUNT = 20_000


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize(
    ("alpha", "larger", "extreme"),
    [(0.1, 0.942, 0.755), (0.2, 0.899, 0.582), (0.5, 0.818, 0.287), (0.8, 0.772, 0.151), (1.0, 0.75, 0.1)],
)
def test_has_the_known_moments(alpha, larger, extreme):
    drawn = beta(alpha, COUNT, generator())
    folded = torch.maximum(drawn, 1 - drawn)
    # four standard errors of a mean over 20,000; a number in [0, 1] has a deviation of at most 1/2
    assert drawn.mean() == pytest.approx(0.5, abs=0.014)
    assert drawn.var() == pytest.approx(1 / (4 * (2 * alpha + 1)), abs=0.004)
    assert folded.mean() == pytest.approx(larger, abs=0.005)
    assert ((1 - folded) < 0.05).float().mean() == pytest.approx(extreme, abs=0.014)


def test_follows_the_generator():
    assert torch.equal(beta(0.4, 5, generator()), beta(0.4, 5, generator()))
    assert not torch.equal(beta(0.4, 5, generator(0)), beta(0.4, 5, generator(1)))


def test_stays_a_number_for_a_tiny_alpha():
    assert set(beta(1e-6, 50, generator()).tolist()) == {0.0, 1.0}
