"""BYOL: an embedding learned without labels. What one view says must tell what a second, slower network says of the other view.

Helps where labels are few and pictures many, with long schedules and strong views; where all pictures have labels, supervised
training is better and cheaper. Costs two passes forward and back, and two forward of the target, an update. Batch norm sees the
part of one process, and parts under about 32 pictures learn little.

Where there are labels, the classifier learns from them on embeddings that it cannot change, as the published code does to watch
a run; where there are none it stays as it was. The target starts as a copy of the online network (the published code draws it
anew), so that weights to start from count for both. Its norms use the statistics of their own batch, and keep them.

Source: Grill et al. 2020 (arXiv:2006.07733), section 3 and appendix J. Decay: 0.97 for 40 epochs, 0.99 for 100 to 300, 0.996
for 1000 (table 16). The losses of both directions are added. Invariant: the target gets no gradient; it moves by 1 - decay of
its distance to the online network after each update.
"""

import copy
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

import torch
import torch.nn.functional as F
from torch import nn

from paretina.clock import Clock
from paretina.data.batch import Batch
from paretina.data.bounds import require_within
from paretina.data.transform import View
from paretina.model.blueprint import Blueprint, Model
from paretina.model.build import Network
from paretina.model.task import Task
from paretina.model.tasks.nothing import Nothing
from paretina.model.tasks.one_of import OneOf
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


class TwoViewLearner(Learner):
    """Learns to predict from the projection of one view what is wanted of the other; `wanted` is what methods differ in."""

    def __init__(self, network: Network, hidden: int, width: int) -> None:
        super().__init__()
        self.online = Projected(network, perceptron(embedding_width(network.model), hidden, width))
        self.predictor = perceptron(width, hidden, width)
        self.labels = CrossEntropy(smoothing=Constant(value=0.0)).make(None)

    def wanted(self, batch: Batch, projections: tuple[Features, Features]) -> tuple[Features, Features]:
        """What is to be predicted of each of the two views, without gradient."""
        raise TypeError(f"{type(self).__name__} must define wanted(batch, projections)")

    def forward(self, batch: Batch, clock: Clock) -> dict[str, Loss]:
        (embedding, first), (_, second) = (self.online(view) for view in batch.views)
        of_first, of_second = self.wanted(batch, (first, second))
        views = distance(self.predictor(first), of_second) + distance(self.predictor(second), of_first)
        logits = self.online.network.head.classifier(embedding.detach())  # type: ignore[operator, union-attr]
        return {"views": views, "classifier": self.labels(Outputs(logits.float()), batch, clock)}

    def result(self) -> Network:
        return self.online.network


class BYOLLearner(TwoViewLearner):
    def __init__(self, network: Network, choice: "BYOL") -> None:
        super().__init__(network, choice.hidden, choice.width)
        self.choice = choice
        self.target = copy.deepcopy(self.online).requires_grad_(False)

    @torch.no_grad()
    def wanted(self, batch: Batch, projections: tuple[Features, Features]) -> tuple[Features, Features]:
        first, second = (self.target(view)[1] for view in batch.views)
        return first, second

    @torch.no_grad()
    def updated(self, clock: Clock) -> None:
        decay = self.choice.decay(clock)
        share = 1.0 - decay if self.moved is None else (1.0 - decay) * self.moved.float()
        for target, online in zip(self.target.parameters(), self.online.parameters(), strict=True):
            target.lerp_(online, share)


def embedding_width(model: Model) -> int:
    """Features before the classifier."""
    side = model.resolution
    images = torch.empty(1, model.channels, side, side, device="meta")
    return int(model.build("meta").eval().embedding(images).shape[1])


def check_two_views(name: str, recipe: "Recipe", model: Model) -> None:
    """Checks that a recipe has two views, and that a model is one network.

    Args:
        name: of the objective.

    Raises:
        ValueError: they do not.
    """
    if not isinstance(model, Blueprint):
        raise ValueError(f"{name} trains a single network, and the model is {type(model).__name__}; leave the assembly out")
    if len(recipe.views) != 2:
        raise ValueError(
            f"{name} compares two views of each picture, and the recipe makes {max(1, len(recipe.views))}; give it two: "
            "views='[{}, {}]'"
        )
    first, second = recipe.views
    if second == View(transforms=first.transforms, own=False):
        raise ValueError(f"{name} compares two views, and the second is the same as the first; set views.1.own=true")


@dataclass(frozen=True, kw_only=True)
class BYOL(Objective):
    """
    Attributes:
        hidden: width of the hidden layers of projector and predictor.
        width: of the projections that are compared.
        decay: share of the target that is kept at an update, in [0, 1].
    """

    TASKS: ClassVar[tuple[type[Task], ...]] = (OneOf, Nothing)

    hidden: int = field(default=4096, metadata=traits(left_out=SETTING))
    width: int = field(default=256, metadata=traits(left_out=SETTING))
    decay: Schedule = field(default_factory=lambda: Cosine(start=0.99, end=1.0), metadata=traits(left_out=SETTING, rises=STAYS))

    def __post_init__(self) -> None:
        if self.hidden < 1 or self.width < 1:
            raise ValueError(f"BYOL needs hidden >= 1 and width >= 1, got hidden={self.hidden}, width={self.width}")
        require_within(self, 0.0, 1.0, "decay")

    def check(self, recipe: "Recipe", model: Model) -> None:
        check_two_views("BYOL", recipe, model)

    def make(self, network: Network, teacher: Teacher | None) -> Learner:
        return BYOLLearner(network, self)


EXAMPLES = (BYOL(hidden=16, width=8, decay=Constant(value=0.9)), BYOL())
