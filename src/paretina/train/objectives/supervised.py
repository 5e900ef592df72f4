"""Supervised: one forward pass, and a sum of loss terms.

The usual case: cross entropy with the labels, plus any other terms.
"""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

from paretina.clock import Clock
from paretina.data.batch import Batch
from paretina.model.blueprint import Model
from paretina.model.build import Network
from paretina.model.task import Task
from paretina.shapes import Loss
from paretina.train.objective import Learner, Objective, Outputs, Teacher, Term
from paretina.train.terms.cross_entropy import CrossEntropy
from paretina.traits import Inside, Never, traits

if TYPE_CHECKING:
    from paretina.train.recipe import Recipe


class SupervisedLearner(Learner):
    def __init__(self, network: Network, terms: tuple[Term, ...], teacher: Teacher | None) -> None:
        super().__init__()
        self.network = network
        self.terms = {type(term).__name__: term.make(teacher) for term in terms}

    def forward(self, batch: Batch, clock: Clock) -> dict[str, Loss]:
        logits, extras = self.network(batch.images, extras=True)
        outputs = Outputs(logits.float(), extras)
        return {name: term(outputs, batch, clock) for name, term in self.terms.items()}

    def result(self) -> Network:
        return self.network


@dataclass(frozen=True, kw_only=True)
class Supervised(Objective):
    """
    Attributes:
        terms: terms of the loss; Distill needs a teacher in the recipe.
    """

    TASKS: ClassVar[tuple[type[Task], ...]] = (Task,)
    LOW_PRECISION: ClassVar[bool | Never] = True
    MAPS: ClassVar[bool] = True
    WEIGHTS: ClassVar[bool] = True

    terms: tuple[Term, ...] = field(default=(CrossEntropy(),), metadata=traits(left_out=Inside(least=1)))

    def __post_init__(self) -> None:
        if not self.terms:
            raise ValueError(f"{type(self).__name__} needs at least one term, got none")

    def check(self, recipe: "Recipe", model: Model) -> None:
        seen = {0, *(getattr(term, "view", 0) for term in self.terms)}
        if not set(range(len(recipe.views))) <= seen:
            raise ValueError(
                f"{type(self).__name__} learns from one view, but the recipe has {len(recipe.views)}; leave out views"
            )
        for term in self.terms:
            term.check(recipe, model)

    def make(self, network: Network, teacher: Teacher | None) -> Learner:
        return SupervisedLearner(network, self.terms, teacher)


EXAMPLES = (Supervised(),)
