"""MixUp: blends each picture with another one, and their targets alike.

Makes long runs of large networks generalise and calibrates them; typical alphas are 0.1 to 0.2 for ResNets and 0.8 for
transformers. Costs two passes over the batch. With mixing on, accuracy on the training pictures means nothing, and the
training loss lies above that of validation. Short runs and small networks seldom want it: EfficientNetV2-S trains without.

Pictures are mixed before normalisation, which is the same as after it, since normalisation is affine.

Source: Zhang et al. 2018 (arXiv:1710.09412), section 2: one blend for the batch, partners by a random permutation, no
folding of the blend to the larger half.
"""

import math
from dataclasses import dataclass, field, replace
from typing import ClassVar

import torch

from paretina.clock import Clock
from paretina.data.batch import Batch, sent
from paretina.data.beta import beta
from paretina.data.bounds import require_within
from paretina.data.transform import BatchTransform
from paretina.model.task import Task
from paretina.schedules import Constant, Linear, Schedule
from paretina.traits import STAYS, traits


@dataclass(frozen=True, kw_only=True)
class MixUp(BatchTransform):
    """Integer pictures become floats from 0 to 1 if they are mixed. All views share blend and partners.

    Attributes:
        alpha: the blend is drawn from Beta(alpha, alpha): near 0 or 1 for a small alpha, uniform for 1; 0 mixes nothing.
        probability: share of the batches that are mixed, in [0, 1].
        per_image: draw a blend factor for each picture instead of one for the batch.
    """

    TASKS: ClassVar[tuple[type[Task], ...]] = (Task,)
    MIXES = True
    ELSEWHERE = ("mixup",)

    alpha: Schedule = field(default=Constant(value=0.2), metadata=traits(rises=0.0))
    probability: Schedule = field(default=Constant(value=1.0), metadata=traits(rises=STAYS))
    per_image: bool = False

    def __post_init__(self) -> None:
        require_within(self, 0.0, math.inf, "alpha")
        require_within(self, 0.0, 1.0, "probability")

    def __call__(self, batch: Batch, clock: Clock, generator: torch.Generator) -> Batch:
        alpha = self.alpha(clock)
        if alpha == 0 or not torch.rand((), generator=generator) < self.probability(clock):
            return batch
        partner = sent(torch.randperm(len(batch), generator=generator), batch.targets.device)
        # the partner's share; its distribution is that of one minus it
        other = sent(beta(alpha, len(batch) if self.per_image else 1, generator), batch.targets.device)
        views = []
        for view in batch.views:
            images = view if view.is_floating_point() else view.float() / 255
            views.append(images.lerp(images[partner], other.to(images.dtype).view(-1, 1, 1, 1)))
        beside = [-1] + [1] * (batch.targets.ndim - 1)
        targets = batch.targets.lerp(batch.targets[partner], other.to(batch.targets.dtype).view(beside))
        return replace(batch, views=tuple(views), targets=targets)


EXAMPLES = (MixUp(), MixUp(alpha=Linear(start=0.0, end=0.8), probability=Constant(value=0.9), per_image=True))
