"""Supervised: one forward pass, and a sum of terms.

The plain case: cross entropy with the labels, and whatever terms are added to it.
"""

from dataclasses import dataclass

from torch import nn

from paretina.clock import Clock
from paretina.data.batch import Batch
from paretina.model.build import Network
from paretina.shapes import Loss
from paretina.train.objective import Learner, Objective, Outputs, Term
from paretina.train.terms.cross_entropy import CrossEntropy


class SupervisedLearner(Learner):
    def __init__(self, network: Network, terms: tuple[Term, ...], teacher: nn.Module | None) -> None:
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
        terms: summands of the loss; a Distill among them needs a teacher in the recipe.
    """

    terms: tuple[Term, ...] = (CrossEntropy(),)

    def __post_init__(self) -> None:
        if not self.terms:
            raise ValueError("Supervised needs at least one term, got none")

    def make(self, network: Network, teacher: nn.Module | None) -> Learner:
        return SupervisedLearner(network, self.terms, teacher)


EXAMPLES = (Supervised(),)
