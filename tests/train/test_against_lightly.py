"""BYOL's loss, its target network and LARS beside the library lightly.

lightly is not among the test dependencies, since it brings a whole training framework along: pip install lightly.
"""

import copy

import pytest
import torch

from paretina.train.objectives.byol import distance
from paretina.train.optimizers.lars import LayerwiseSGD

pytest.importorskip("lightly")
pytestmark = pytest.mark.filterwarnings("ignore")


def test_the_loss_is_theirs():
    from lightly.loss import NegativeCosineSimilarity

    said, wanted = torch.randn(2, 8, 16, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(distance(said, wanted), 2 + 2 * NegativeCosineSimilarity()(said, wanted))


def test_the_target_moves_as_theirs():
    from lightly.models.utils import update_momentum

    torch.manual_seed(0)
    online, target = torch.nn.Linear(5, 3), torch.nn.Linear(5, 3)
    theirs = copy.deepcopy(target)
    update_momentum(online, theirs, m=0.97)
    with torch.no_grad():
        for moved, new in zip(target.parameters(), online.parameters(), strict=True):
            moved.lerp_(new, 1.0 - 0.97)
    for ours, other in zip(target.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(ours, other)


def test_steps_of_lars_are_theirs():
    """Their ratio divides by the sum of two norms, as in the paper, ours by the norm of the sum: alike where decay is small."""
    from lightly.utils.lars import LARS

    generator = torch.Generator().manual_seed(0)
    start = torch.randn(6, 4, generator=generator)
    ours, other = (start.clone().requires_grad_() for _ in range(2))
    groups = [{"params": [ours], "lr": 0.3, "weight_decay": 1e-6, "decayed": True}]
    own = LayerwiseSGD(groups, momentum=0.9, trust=1e-3)
    theirs = LARS([other], lr=0.3, momentum=0.9, weight_decay=1e-6, trust_coefficient=1e-3)
    for _ in range(5):
        gradient = torch.randn(6, 4, generator=generator)
        ours.grad, other.grad = gradient.clone(), gradient.clone()
        own.step()
        theirs.step()
    assert not torch.allclose(ours, start)
    torch.testing.assert_close(ours, other, rtol=0, atol=1e-6)
