"""CoTraining: the networks of an ensemble learn side by side, each from its own view, and are kept different from one another.

For what `Divide` makes: large networks in parts (EfficientNet-B7 at 320 pixels: 81.8 % alone, 82.7 % as two); parts of a small
one lose. Costs what the networks cost. With as many views as networks each sees its own, otherwise all see the same. The sum
over the networks is larger than a single loss, which matters to clipping by the norm of all gradients, but not to the rate.

Source: Zhao et al. 2020 (arXiv:2011.14660), section 3.2; weights as in their code: 0.5, reached in a line over 40 epochs.
Invariant: the divergence is 0 for networks that answer the same, and at most ln(networks).
"""

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from paretina.clock import Clock
from paretina.data.batch import Batch
from paretina.data.bounds import require_within
from paretina.model.assemblies.divide import Ensemble, Ensembled
from paretina.model.blueprint import Model
from paretina.model.build import Network
from paretina.model.task import Task
from paretina.model.tasks.one_of import OneOf
from paretina.schedules import Constant, Schedule, Warmup
from paretina.shapes import Loss
from paretina.train.objective import Learner, Outputs, Teacher
from paretina.train.objectives.supervised import Supervised
from paretina.train.terms.cross_entropy import CrossEntropy
from paretina.traits import STAYS, Never, SetTo, traits

if TYPE_CHECKING:
    from paretina.train.recipe import Recipe

Answers = Float[Tensor, "network batch classes"]


def divergence(logits: Answers) -> Loss:
    """Jensen-Shannon divergence of the networks' answers, the mean over the batch: entropy of the mean less mean entropy."""
    each = logits.float().log_softmax(2)
    mean = each.logsumexp(0) - math.log(len(each))
    return (each.exp() * (each - mean)).sum(2).mean()


class CoTrainingLearner(Learner):
    def __init__(self, network: Ensembled, choice: "CoTraining", teacher: Teacher | None) -> None:
        super().__init__()
        self.network = network
        self.choice = choice
        self.terms = {type(term).__name__: term.make(teacher) for term in choice.terms}

    def forward(self, batch: Batch, clock: Clock) -> dict[str, Loss]:
        if len(batch.views) == 1:
            answers = self.network(batch.images, extras=True)[1]["members"]
        else:
            members = self.network.members
            answers = torch.stack([member(view) for member, view in zip(members, batch.views, strict=True)])
        answers = answers.float()
        losses = {
            name: torch.stack([term(Outputs(logits), batch, clock) for logits in answers]).sum()
            for name, term in self.terms.items()
        }
        return {**losses, "divergence": self.choice.weight(clock) * divergence(answers)}

    def result(self) -> Network:
        return self.network


@dataclass(frozen=True, kw_only=True)
class CoTraining(Supervised):
    """
    Attributes:
        terms: terms of the loss of each network.
        weight: factor on the divergence of the answers.
    """

    TASKS: ClassVar[tuple[type[Task], ...]] = (OneOf,)
    LOW_PRECISION: ClassVar[bool | Never] = False
    MAPS: ClassVar[bool] = False
    WEIGHTS: ClassVar[bool] = False  # the divergence is that of all pictures alike

    weight: Schedule = field(
        default_factory=lambda: Warmup(epochs=40.0, then=Constant(value=0.5), share=0.5),
        metadata=traits(left_out=SetTo("divergence", "0"), rises=STAYS),
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        require_within(self, 0.0, math.inf, "weight")

    @classmethod
    def switched_on(cls, recipe: "Recipe") -> tuple[str, ...]:
        return ("assembly=Divide", "objective=CoTraining", "views=[{}, {}]")

    def check(self, recipe: "Recipe", model: Model) -> None:
        if not isinstance(model, Ensemble) or model.count < 2:
            raise ValueError(
                f"CoTraining trains several networks side by side, and the model is {type(model).__name__} of "
                f"{len(model.blueprints())}; set assembly=Divide"
            )
        if len(recipe.views) not in (0, 1, model.count):
            raise ValueError(
                f"CoTraining gives each of the {model.count} networks its own view, or all of them one, and the recipe makes "
                f"{len(recipe.views)}; give it {model.count} or leave views out"
            )
        for term in self.terms:
            term.check(recipe, model)

    def make(self, network: Network, teacher: Teacher | None) -> Learner:
        assert isinstance(network, Ensembled)
        return CoTrainingLearner(network, self, teacher)


EXAMPLES = (
    CoTraining(),
    CoTraining(weight=Constant(value=0.3), terms=(CrossEntropy(smoothing=Constant(value=0.0)),)),
)
