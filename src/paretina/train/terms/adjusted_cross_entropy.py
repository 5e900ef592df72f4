"""AdjustedCrossEntropy: cross entropy of logits to which the frequencies of the classes are added, so that none is learned.

For folders in which some classes have many times the pictures of others, where recall of the rare ones matters more than
overall accuracy. The network learns to answer as if all classes were equally frequent: with tau = 1 its loss is the one whose
best network has the least error on average over classes, which class weights only come near to. Costs no time, and accuracy
on pictures of classes as they occur.

Without training anew the same can be done afterwards, to a network that was trained with plain cross entropy:
`paretina evaluate` and `paretina predict` with `--logit-adjustment 1`.

log(frequency) of a class without training pictures is taken as that of one picture.

A row of zeros in the targets has no label: it adds nothing to the loss and does not count in its mean.

Source: Menon et al. 2021 (arXiv:2007.07314), equation 10; afterwards: equation 9.
"""

import math
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, ClassVar

import torch.nn.functional as F

from paretina.clock import Clock
from paretina.data.batch import Batch, sent
from paretina.data.bounds import require_within
from paretina.measure.priors import log_priors
from paretina.model.blueprint import Model
from paretina.model.task import Task
from paretina.model.tasks.one_of import OneOf
from paretina.schedules import Constant, Schedule
from paretina.shapes import Loss
from paretina.train.class_counts import check_alone, checked_counts
from paretina.train.objective import Outputs, Teacher, Term, TermFn
from paretina.traits import INSIDE, SETTING, STAYS, HowLeftOut, SetTo, traits

if TYPE_CHECKING:
    from paretina.train.recipe import Recipe


@dataclass(frozen=True, kw_only=True)
class AdjustedCrossEntropy(Term):
    """
    Attributes:
        tau: factor on the logarithms of the frequencies, at least 0; 0 is plain cross entropy.
        counts: training pictures of each class; default: counted when a run is prepared, which stores them.
        smoothing: probability that is spread over all classes, in [0, 1).
        weight: factor on this term.
    """

    TASKS: ClassVar[tuple[type[Task], ...]] = (OneOf,)
    LEFT_OUT: ClassVar[HowLeftOut] = INSIDE
    ELSEWHERE: ClassVar[tuple[str, ...]] = ()

    tau: Schedule = field(
        default_factory=lambda: Constant(value=1.0), metadata=traits(left_out=SetTo("logit adjustment", "0"), rises=STAYS)
    )
    counts: tuple[float, ...] = field(default=(), metadata=traits(left_out=SETTING))
    smoothing: Schedule = field(
        default_factory=lambda: Constant(value=0.1), metadata=traits(left_out=SetTo("label smoothing", "0"), rises=STAYS)
    )
    weight: Schedule = field(default_factory=lambda: Constant(value=1.0), metadata=traits(left_out=SETTING, rises=STAYS))

    def __post_init__(self) -> None:
        require_within(self, 0.0, math.inf, "tau")
        require_within(self, 0.0, 1.0, "smoothing", below=True)
        require_within(self, 0.0, math.inf, "weight")
        if min(self.counts, default=0.0) < 0:
            raise ValueError("AdjustedCrossEntropy.counts are at least 0")

    def check(self, recipe: "Recipe", model: Model) -> None:
        check_alone(self, recipe)

    def counted(self, counts: tuple[float, ...]) -> "AdjustedCrossEntropy":
        """The term with the pictures of each class.

        Raises:
            ValueError: it has counts for another number of classes.
        """
        return replace(self, counts=checked_counts(self, self.counts, counts))

    def make(self, teacher: Teacher | None) -> TermFn:
        known = log_priors(self.counts) if self.counts else None

        def term(outputs: Outputs, batch: Batch, clock: Clock) -> Loss:
            smoothing = self.smoothing(clock)
            says = batch.targets.any(1, keepdim=True).float()
            wanted = batch.targets * (1.0 - smoothing) + smoothing / batch.targets.shape[1] * says
            logits = outputs.logits if known is None else outputs.logits + self.tau(clock) * sent(known, outputs.logits.device)
            return self.weight(clock) * F.cross_entropy(logits, wanted, reduction="sum") / says.sum().clamp(min=1.0)

        return term


EXAMPLES = (
    AdjustedCrossEntropy(),
    AdjustedCrossEntropy(tau=Constant(value=2.0), counts=(60.0, 30.0, 10.0, 0.0), smoothing=Constant(value=0.0)),
)
