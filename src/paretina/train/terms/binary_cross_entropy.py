"""BinaryCrossEntropy: an independent binary loss for each class.

The loss for multi-label data. It can also be used for single-label data, as in ResNet strikes back, which pays off with MixUp
and CutMix in long runs; the probabilities of such a network are those of `AnyOf`, so `nll` and calibration before temperature
scaling look worse than they are.

A row of zeros in the targets has no label: it adds nothing to the loss and does not count in its mean.

Source: Wightman et al. 2021 (arXiv:2110.00476), section 4; the mean is over classes and rows, as in timm.
"""

from dataclasses import dataclass, field
from typing import ClassVar

import torch.nn.functional as F

from paretina.clock import Clock
from paretina.data.batch import Batch
from paretina.model.task import Task
from paretina.model.tasks.any_of import AnyOf
from paretina.model.tasks.one_of import OneOf
from paretina.schedules import Constant, Schedule
from paretina.shapes import Loss
from paretina.train.objective import Outputs, Teacher, Term, TermFn
from paretina.traits import SETTING, STAYS, traits


@dataclass(frozen=True, kw_only=True)
class BinaryCrossEntropy(Term):
    """
    Attributes:
        weight: factor on this term.
    """

    TASKS: ClassVar[tuple[type[Task], ...]] = (AnyOf, OneOf)

    weight: Schedule = field(default_factory=lambda: Constant(value=1.0), metadata=traits(left_out=SETTING, rises=STAYS))

    def make(self, teacher: Teacher | None) -> TermFn:
        def term(outputs: Outputs, batch: Batch, clock: Clock) -> Loss:
            says = batch.targets.any(1, keepdim=True).float()
            losses = F.binary_cross_entropy_with_logits(outputs.logits, batch.targets, reduction="none")
            return self.weight(clock) * (losses * says).sum() / (says.sum().clamp(min=1.0) * losses.shape[1])

        return term


EXAMPLES = (BinaryCrossEntropy(), BinaryCrossEntropy(weight=Constant(value=2.0)))
