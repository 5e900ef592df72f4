"""BYOL: an embedding learned without labels. What one view says must tell what a second, slower network says of the other view.

Helps where labels are few and pictures many, with long schedules and strong views; where all pictures have labels, supervised
training is better and cheaper. Costs two passes forward and back, and two forward of the target, an update. Batch norm sees the
part of one process, and parts under about 32 pictures learn little.

The classifier learns from the labels on embeddings that it cannot change, as the published code does to watch a run, so what is
saved is a whole network; fine-tune it for its accuracy. The target starts as a copy of the online network (the published code
draws it anew), so that weights to start from count for both.

Source: Grill et al. 2020 (arXiv:2006.07733), section 3 and appendix J. Decay: 0.99 for 300 epochs, 0.996 for 1000.
Invariant: the target gets no gradient; it moves by 1 - decay of its distance to the online network after each update.
"""

import copy
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import nn

from paretina.clock import Clock
from paretina.data.batch import Batch
from paretina.data.bounds import require_within
from paretina.data.transform import View
from paretina.model.blueprint import Blueprint, Model
from paretina.model.build import Network
from paretina.schedules import Constant, Cosine, Schedule
from paretina.shapes import Features, Images, Loss
from paretina.train.objective import Learner, Objective, Outputs, Teacher
from paretina.train.terms.cross_entropy import CrossEntropy
from paretina.traits import SETTING, STAYS, traits

if TYPE_CHECKING:
    from paretina.train.recipe import Recipe


def perceptron(width_in: int, hidden: int, width_out: int) -> nn.Sequential:
    """One hidden layer; the last layer has no bias."""
    return nn.Sequential(
        nn.Linear(width_in, hidden), nn.BatchNorm1d(hidden), nn.ReLU(), nn.Linear(hidden, width_out, bias=False)
    )


def distance(said: Features, wanted: Features) -> Loss:
    """2 - 2 cos of the angle between each pair of rows, in [0, 4]; their mean."""
    return (2 - 2 * F.cosine_similarity(said.float(), wanted.float())).mean()


class Projected(nn.Module):
    """A network and the projector behind its embedding."""

    def __init__(self, network: Network, projector: nn.Module) -> None:
        super().__init__()
        self.network = network
        self.projector = projector

    def forward(self, images: Images) -> tuple[Features, Features]:
        """The embedding, and its projection."""
        embedding = self.network(images, extras=True)[1]["embedding"]
        return embedding, self.projector(embedding)


class BYOLLearner(Learner):
    def __init__(self, network: Network, choice: "BYOL") -> None:
        super().__init__()
        self.choice = choice
        shape = network.model.build("meta").eval().embedding(seen(network.model)).shape
        self.online = Projected(network, perceptron(shape[1], choice.hidden, choice.width))
        self.predictor = perceptron(choice.width, choice.hidden, choice.width)
        self.target = copy.deepcopy(self.online).requires_grad_(False)
        self.labels = CrossEntropy(smoothing=Constant(value=0.0)).make(None)

    def forward(self, batch: Batch, clock: Clock) -> dict[str, Loss]:
        (embedding, first), (_, second) = (self.online(view) for view in batch.views)
        with torch.no_grad():
            (_, of_first), (_, of_second) = (self.target(view) for view in batch.views)
        views = distance(self.predictor(first), of_second) + distance(self.predictor(second), of_first)
        logits = self.online.network.head.classifier(embedding.detach())  # type: ignore[operator, union-attr]
        return {"views": views, "classifier": self.labels(Outputs(logits.float()), batch, clock)}

    @torch.no_grad()
    def updated(self, clock: Clock) -> None:
        share = 1.0 - self.choice.decay(clock)
        for moved, online in zip(self.target.parameters(), self.online.parameters(), strict=True):
            moved.lerp_(online, share)

    def result(self) -> Network:
        return self.online.network


def seen(model: Model) -> torch.Tensor:
    """A picture of the model's size, without values."""
    return torch.empty(1, model.channels, model.resolution, model.resolution, device="meta")


@dataclass(frozen=True, kw_only=True)
class BYOL(Objective):
    """
    Attributes:
        hidden: width of the hidden layers of projector and predictor.
        width: of the projections that are compared.
        decay: share of the target that is kept at an update, in [0, 1].
    """

    hidden: int = field(default=4096, metadata=traits(left_out=SETTING))
    width: int = field(default=256, metadata=traits(left_out=SETTING))
    decay: Schedule = field(default_factory=lambda: Cosine(start=0.99, end=1.0), metadata=traits(left_out=SETTING, rises=STAYS))

    def __post_init__(self) -> None:
        if self.hidden < 1 or self.width < 1:
            raise ValueError(f"BYOL needs hidden >= 1 and width >= 1, got hidden={self.hidden}, width={self.width}")
        require_within(self, 0.0, 1.0, "decay")

    def check(self, recipe: "Recipe", model: Model) -> None:
        if not isinstance(model, Blueprint):
            raise ValueError(f"BYOL trains a single network, and the model is {type(model).__name__}; leave the assembly out")
        if len(recipe.views) != 2:
            raise ValueError(
                f"BYOL compares two views of each picture, and the recipe makes {max(1, len(recipe.views))}; give it two: "
                "views='[{}, {}]'"
            )
        first, second = recipe.views
        if second == View(transforms=first.transforms, own=False):
            raise ValueError("BYOL compares two views, and the second is the same as the first; set views.1.own=true")

    def make(self, network: Network, teacher: Teacher | None) -> Learner:
        return BYOLLearner(network, self)


EXAMPLES = (BYOL(), BYOL(hidden=16, width=8, decay=Constant(value=0.9)))
