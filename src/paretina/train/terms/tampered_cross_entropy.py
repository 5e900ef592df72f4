"""TamperedCrossEntropy: cross entropy whose gradient is that of flattened probabilities ("softmax gradient tampering").

The value is that of the usual loss. For the gradient the probabilities p are flattened to p^a, divided by their sum: wrong
classes with small probabilities push longer, so the network fits its training pictures closer. Small gains in long runs of
networks that underfit (ResNet-50 on ImageNet: 0.3 to 0.7 points, single runs); costs nothing. A smaller exponent makes
gradients larger, so part of its effect is that of a larger learning rate: tune that of plain cross entropy too before
comparing.

Since p^a divided by its sum is the softmax of a times the logits, the gradient is exactly that of cross entropy at a
temperature of 1 / a, divided by a; that is how it is computed. The published code recovers p from the gradient, which is wrong
under loss scaling other than the square of the batch.

Source: Das et al. 2021 (arXiv:2111.12495), section 3; exponents: 0.25 for ResNet-18, 0.3 for ResNet-50.
"""

import json
import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

import torch.nn.functional as F

from paretina.clock import Clock
from paretina.data.batch import Batch
from paretina.data.bounds import require_within
from paretina.model.task import Task
from paretina.model.tasks.one_of import OneOf
from paretina.model.tasks.places import Places
from paretina.schedules import Constant, Schedule
from paretina.shapes import Loss
from paretina.spec import encode
from paretina.train.objective import Outputs, Teacher, Term, TermFn
from paretina.train.terms.cross_entropy import CrossEntropy, weights_of
from paretina.traits import INSIDE, SETTING, STAYS, HowLeftOut, SetTo, traits

if TYPE_CHECKING:
    from paretina.train.recipe import Recipe


@dataclass(frozen=True, kw_only=True)
class TamperedCrossEntropy(Term):
    """
    Attributes:
        exponent: power of the probabilities in the gradient, in (0, 1]; 1 is plain cross entropy.
        smoothing: probability that is spread over all classes, in [0, 1).
        weight: factor on this term.
    """

    TASKS: ClassVar[tuple[type[Task], ...]] = (OneOf, Places)
    LEFT_OUT: ClassVar[HowLeftOut] = INSIDE
    WEIGHTS: ClassVar[bool] = True

    exponent: Schedule = field(
        default_factory=lambda: Constant(value=0.3), metadata=traits(left_out=SetTo("tampered gradient", "1"), rises=STAYS)
    )
    smoothing: Schedule = field(
        default_factory=lambda: Constant(value=0.1), metadata=traits(left_out=SetTo("label smoothing", "0"), rises=STAYS)
    )
    weight: Schedule = field(default_factory=lambda: Constant(value=1.0), metadata=traits(left_out=SETTING, rises=STAYS))

    def __post_init__(self) -> None:
        require_within(self, 0.0, 1.0, "exponent", above=True)
        require_within(self, 0.0, 1.0, "smoothing", below=True)
        require_within(self, 0.0, math.inf, "weight")

    @classmethod
    def switched_on(cls, recipe: "Recipe") -> tuple[str, ...]:
        terms = getattr(recipe.objective, "terms", ())
        plain = next((term for term in terms if isinstance(term, CrossEntropy)), None)
        if plain is None:
            return ()
        own = [cls(smoothing=plain.smoothing, weight=plain.weight) if term is plain else term for term in terms]
        return (f"objective.terms={json.dumps([encode(term) for term in own])}",)

    def make(self, teacher: Teacher | None) -> TermFn:
        def term(outputs: Outputs, batch: Batch, clock: Clock) -> Loss:
            smoothing, exponent = self.smoothing(clock), self.exponent(clock)
            says = batch.targets.any(1).float()
            weighs = weights_of(batch.targets)
            wanted = batch.targets * (1.0 - smoothing) + smoothing / batch.targets.shape[1] * weighs
            plain = F.cross_entropy(outputs.logits.detach(), wanted, reduction="sum")
            learned = F.cross_entropy(outputs.logits * exponent, wanted, reduction="sum") / exponent
            # the value of the first with the gradient of the second
            total = plain + learned - learned.detach()
            return self.weight(clock) * total / says.sum().clamp(min=1.0)

        return term


EXAMPLES = (TamperedCrossEntropy(), TamperedCrossEntropy(exponent=Constant(value=0.5), smoothing=Constant(value=0.0)))
