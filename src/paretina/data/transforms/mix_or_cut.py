"""MixOrCut: applies either MixUp or CutMix to each batch.

The usual pair of long recipes for transformers and ConvNeXt: MixUp 0.8, CutMix 1.0, half and half. `MixUp` and `CutMix` one
after the other in a recipe do something else: both act on the same batch, and blend up to four pictures.

Source: Touvron et al. 2021 (DeiT, arXiv:2012.12877), section 6.
"""

import math
from dataclasses import dataclass, field
from typing import ClassVar

import torch

from paretina.clock import Clock
from paretina.data.batch import Batch
from paretina.data.bounds import require_within
from paretina.data.transform import BatchTransform
from paretina.data.transforms.cutmix import CutMix
from paretina.data.transforms.mixup import MixUp
from paretina.model.task import Task
from paretina.model.tasks.any_of import AnyOf
from paretina.model.tasks.nothing import Nothing
from paretina.model.tasks.one_of import OneOf
from paretina.schedules import Constant, Linear, Schedule
from paretina.traits import STAYS, traits


@dataclass(frozen=True, kw_only=True)
class MixOrCut(BatchTransform):
    """
    Attributes:
        mixup_alpha: as `MixUp.alpha`; at 0, the batches that fall to MixUp stay as they are.
        cutmix_alpha: as `CutMix.alpha`; at 0, the batches that fall to CutMix stay as they are.
        share: share of the mixed batches that fall to CutMix, in [0, 1].
        probability: share of the batches that are mixed at all, in [0, 1].
    """

    TASKS: ClassVar[tuple[type[Task], ...]] = (OneOf, AnyOf, Nothing)
    MIXES = True

    mixup_alpha: Schedule = field(default=Constant(value=0.8), metadata=traits(rises=STAYS))
    cutmix_alpha: Schedule = field(default=Constant(value=1.0), metadata=traits(rises=STAYS))
    share: Schedule = field(default=Constant(value=0.5), metadata=traits(rises=STAYS))
    probability: Schedule = field(default=Constant(value=1.0), metadata=traits(rises=0.0))

    def __post_init__(self) -> None:
        require_within(self, 0.0, math.inf, "mixup_alpha", "cutmix_alpha")
        require_within(self, 0.0, 1.0, "share", "probability")

    def __call__(self, batch: Batch, clock: Clock, generator: torch.Generator) -> Batch:
        if torch.rand((), generator=generator) < self.share(clock):
            return CutMix(alpha=self.cutmix_alpha, probability=self.probability)(batch, clock, generator)
        return MixUp(alpha=self.mixup_alpha, probability=self.probability)(batch, clock, generator)


EXAMPLES = (
    MixOrCut(),
    MixOrCut(mixup_alpha=Linear(start=0.0, end=0.5), cutmix_alpha=Linear(start=0.0, end=0.5), share=Constant(value=0.25)),
)
