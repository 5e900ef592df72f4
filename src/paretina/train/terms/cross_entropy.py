"""CrossEntropy: the usual loss, against class probabilities, with label smoothing.

Smoothing helps with longer schedules and larger data and makes probabilities less certain; it costs nothing. Do not use it for
a network that will be a teacher (Müller et al. 2019, arXiv:1906.02629).

A row of zeros in the targets has no label: it adds nothing to the loss and does not count in its mean. A row that adds up to
another number than 1 adds that many times the loss of its picture, as pictures with weights do.

Source: Szegedy et al. 2015 (arXiv:1512.00567), section 7; He et al. 2019 (arXiv:1812.01187), section 5.2, in the form of their
code: the true class gets 1 - s + s / K, every other s / K.
"""

import math
from dataclasses import dataclass, field
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from paretina.clock import Clock
from paretina.data.batch import Batch
from paretina.data.bounds import require_within
from paretina.model.task import Task
from paretina.model.tasks.one_of import OneOf
from paretina.model.tasks.places import Places
from paretina.schedules import Constant, Schedule
from paretina.shapes import Loss, Targets
from paretina.train.objective import Outputs, Teacher, Term, TermFn
from paretina.traits import INSIDE, SETTING, STAYS, HowLeftOut, Never, SetTo, traits

ROUNDING = 1e-4
"""By how much probabilities may miss a sum of 1 and still count as one picture; no weight is so near to 1 on purpose."""


def weights_of(targets: Targets) -> Tensor:
    """What each row of targets adds up to, with one class left; exactly 1 for probabilities, whatever their rounding."""
    total = targets.sum(1, keepdim=True)
    return torch.where((total - 1.0).abs() < ROUNDING, torch.ones_like(total), total)


@dataclass(frozen=True, kw_only=True)
class CrossEntropy(Term):
    """
    Attributes:
        smoothing: probability that is spread over all classes, in [0, 1).
        weight: factor on this term.
    """

    TASKS: ClassVar[tuple[type[Task], ...]] = (OneOf, Places)
    LEFT_OUT: ClassVar[HowLeftOut] = INSIDE
    WEIGHTS: ClassVar[bool] = True
    LOW_PRECISION: ClassVar[bool | Never] = True

    smoothing: Schedule = field(
        default_factory=lambda: Constant(value=0.1),
        metadata=traits(left_out=SetTo("label smoothing", "0"), rises=STAYS, elsewhere=("label_smoothing", "smoothing")),
    )
    weight: Schedule = field(default_factory=lambda: Constant(value=1.0), metadata=traits(left_out=SETTING, rises=STAYS))

    def __post_init__(self) -> None:
        require_within(self, 0.0, 1.0, "smoothing", below=True)
        require_within(self, 0.0, math.inf, "weight")

    def make(self, teacher: Teacher | None) -> TermFn:
        def term(outputs: Outputs, batch: Batch, clock: Clock) -> Loss:
            smoothing = self.smoothing(clock)
            says = batch.targets.any(1).float()
            weighs = weights_of(batch.targets)
            wanted = batch.targets * (1.0 - smoothing) + smoothing / batch.targets.shape[1] * weighs
            total = F.cross_entropy(outputs.logits, wanted, reduction="sum")
            return self.weight(clock) * total / says.sum().clamp(min=1.0)

        return term


EXAMPLES = (CrossEntropy(), CrossEntropy(smoothing=Constant(value=0.0)))
