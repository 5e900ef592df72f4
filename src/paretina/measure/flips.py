"""Averages the answers for a picture and its mirror image, at twice the cost.

The probabilities are averaged, not the logits, so that the answer has the meaning of a single one; where each pixel has a
class, those of the mirror image are mirrored back. What is returned are logits again, which give these probabilities.

Source: as in Krizhevsky et al. 2012 (NIPS), section 4.1, with the mirror image alone.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from paretina.model.build import Network
from paretina.model.fold import fastest_form
from paretina.model.task import Task
from paretina.model.tasks.any_of import AnyOf
from paretina.shapes import Images, Logits

Runner = Callable[[Tensor], Tensor]

LEAST_SHARE = 1e-12
"""Probabilities below it are taken for it, since they have no logarithm."""


def as_logits(task: Task, shares: Tensor) -> Tensor:
    """Logits of which a task makes these probabilities; answers with boxes are both."""
    if task.BOXES:
        return shares
    if isinstance(task, AnyOf):
        return shares.double().clamp(LEAST_SHARE, 1 - LEAST_SHARE).logit().float()
    return shares.double().clamp(min=LEAST_SHARE).log().float()


def averaged(task: Task, first: Tensor, mirrored: Tensor) -> Tensor:
    """The mean probabilities for pictures and for their mirror images.

    Args:
        first: probabilities for the pictures, (batch, class) or (batch, class, row, column).
        mirrored: likewise for the mirror images.
    """
    return (first + (mirrored.flip(-1) if task.DENSE else mirrored)) / 2


class Mirrored(nn.Module):
    """A network that also sees the mirror image of each picture; for inference only."""

    def __init__(self, network: nn.Module, task: Task) -> None:
        super().__init__()
        self.network = fastest_form(network) if isinstance(network, Network) else network
        self.task = task
        self.train(network.training)

    def forward(self, images: Images) -> Logits:
        one, other = (self.task.probabilities(self.network(each).float()) for each in (images, images.flip(-1)))
        return as_logits(self.task, averaged(self.task, one, other))


def mirrored_run(run: Runner, task: Task) -> Runner:
    """What a runtime gives for pictures, averaged likewise.

    Args:
        run: uint8 pixels, (batch, channel, row, column), to probabilities.
    """

    def both(images: Tensor) -> Tensor:
        return averaged(task, run(images), run(torch.flip(images, [-1]).contiguous()))

    return both
