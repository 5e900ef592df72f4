"""Cosub: two draws of stochastic depth from one network teach each other.

Each picture passes through twice, in one batch of twice the size; each pass learns one half from the labels and one half from
what the other pass said. Helps large networks on long schedules. Costs two passes an update, and twice the memory; batch norm
sees each picture twice. Without stochastic depth both passes are the same and teach each other nothing, so it is refused.

Binary cross entropy averages over the classes too, so its gradients are small: take the learning rate of a recipe with it.

Source: Touvron et al. 2022 (arXiv:2212.04884), equation 3; binary cross entropy as in their code, where a class counts as
right if it has any share of the target.
"""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from paretina.clock import Clock
from paretina.data.batch import Batch
from paretina.data.bounds import require_within
from paretina.model.blueprint import Model
from paretina.model.build import Network
from paretina.schedules import Constant, Schedule
from paretina.shapes import Logits, Loss, Targets
from paretina.train.objective import Learner, Objective, Teacher
from paretina.traits import SETTING, STAYS, SetTo, traits

if TYPE_CHECKING:
    from paretina.train.recipe import Recipe

MOMENTS = 100
"""At how many moments of a run its drop rates are looked up before it begins."""


class CosubLearner(Learner):
    def __init__(self, network: Network, choice: "Cosub") -> None:
        super().__init__()
        self.network = network
        self.choice = choice

    def forward(self, batch: Batch, clock: Clock) -> dict[str, Loss]:
        first, second = self.network(torch.cat((batch.images, batch.images))).float().chunk(2)
        labels, peers = self.choice.parts(first, second, batch.targets)
        share = self.choice.labels(clock)
        return {"labels": share * labels, "peers": (1.0 - share) * peers}

    def result(self) -> Network:
        return self.network


@dataclass(frozen=True, kw_only=True)
class Cosub(Objective):
    """
    Attributes:
        labels: share of the loss that comes from the labels, in [0, 1]; the rest comes from the other pass.
        loss: binary cross entropy of each class by itself, or cross entropy over all classes.
    """

    labels: Schedule = field(default=Constant(value=0.5), metadata=traits(left_out=SetTo("cosub", "1"), rises=STAYS))
    loss: Literal["binary", "softmax"] = field(default="binary", metadata=traits(left_out=SETTING))

    def __post_init__(self) -> None:
        require_within(self, 0.0, 1.0, "labels")

    @classmethod
    def switched_on(cls, recipe: "Recipe") -> tuple[str, ...]:
        drops = () if recipe.stochastic_depth is not None else ("stochastic_depth=on",)
        return ("objective=Cosub", *drops, "stochastic_depth.rate=0.1", "stochastic_depth.shape=uniform")

    def check(self, recipe: "Recipe", model: Model) -> None:
        if len(recipe.views) > 1:
            raise ValueError(f"Cosub learns from one view, and the recipe makes {len(recipe.views)}; leave views out")
        if recipe.stochastic_depth is None:
            raise ValueError("Cosub compares two draws of stochastic depth, and the recipe has none; set stochastic_depth=on")
        network = model.build("meta")
        recipe.learning.apply(network)
        network.train()
        for moment in range(MOMENTS + 1):
            recipe.set_rates(network, Clock(moment, MOMENTS, recipe.epochs))
        if not any(each.active and each.training for each in network.residuals()):
            raise ValueError(
                "Cosub compares two draws of stochastic depth, but nothing is ever dropped: it needs residual branches that "
                "learn, freeze_norm_statistics=off, and stochastic_depth.rate above 0 in one of them "
                "(stochastic_depth.shape=uniform: in all)"
            )

    def parts(self, first: Logits, second: Logits, targets: Targets) -> tuple[Loss, Loss]:
        """What both passes make of the labels, and of each other; a row of targets without any label counts in the latter."""
        known, every = targets.any(1).float(), torch.ones_like(targets[:, 0])
        wanted = (targets > 0).float() if self.loss == "binary" else targets
        labels = self.apart(first, wanted, known) + self.apart(second, wanted, known)
        peers = self.apart(first, self.answer(second), every) + self.apart(second, self.answer(first), every)
        return 0.5 * labels, 0.5 * peers

    def apart(self, said: Logits, wanted: Targets, counts: Float[Tensor, " batch"]) -> Loss:
        """The mean of the loss over the rows that count."""
        if self.loss == "binary":
            rows = F.binary_cross_entropy_with_logits(said, wanted, reduction="none").mean(1)
        else:
            rows = F.cross_entropy(said, wanted, reduction="none")
        return (rows * counts).sum() / counts.sum().clamp(min=1.0)

    def answer(self, logits: Logits) -> Targets:
        """The probabilities, as something to be learned and not to be changed."""
        return (logits.sigmoid() if self.loss == "binary" else logits.softmax(1)).detach()

    def make(self, network: Network, teacher: Teacher | None) -> Learner:
        return CosubLearner(network, self)


EXAMPLES = (Cosub(), Cosub(labels=Constant(value=0.7), loss="softmax"))
