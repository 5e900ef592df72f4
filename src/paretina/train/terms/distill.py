"""Distill: knowledge distillation from a teacher, in addition to the labels or instead of them.

Helps with a long schedule and a clearly better teacher, and less if the two have different architectures: with a ResNet as
teacher it hurt MobileNet (He et al. 2019, arXiv:1812.01187, table 6). Costs one forward pass of the teacher per update. Train
the teacher without label smoothing.

Source: Hinton et al. 2015 (arXiv:1503.02531); the teacher sees the student's images: Beyer et al. 2022 (arXiv:2106.05237).
Bag of Tricks writes the divergence as a cross entropy, whose gradient is the same and whose value is larger by the teacher's
entropy times the squared temperature.
"""

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

import torch.nn.functional as F

from paretina.clock import Clock
from paretina.data.batch import Batch
from paretina.data.bounds import require_within
from paretina.model.blueprint import Model
from paretina.model.task import Task
from paretina.model.tasks.nothing import Nothing
from paretina.model.tasks.one_of import OneOf
from paretina.model.tasks.places import Places
from paretina.schedules import Constant, Schedule
from paretina.shapes import Loss
from paretina.train.objective import Outputs, Teacher, Term, TermFn
from paretina.traits import STAYS, traits

if TYPE_CHECKING:
    from paretina.train.recipe import Recipe


@dataclass(frozen=True, kw_only=True)
class Distill(Term):
    """
    Attributes:
        weight: factor on this term. Bag of Tricks has 0.5 here and 0.5 on the cross entropy.
        view: index of the view that the teacher gets, from 0. It can be larger than the student's (`View.scale`).
        temperature: softens both outputs; the loss is rescaled so that `weight` has the same effect at every temperature.
    """

    TASKS: ClassVar[tuple[type[Task], ...]] = (OneOf, Places, Nothing)
    TEACHER: ClassVar[bool] = True

    weight: Schedule = field(default_factory=lambda: Constant(value=1.0), metadata=traits(rises=STAYS))
    temperature: Schedule = field(default_factory=lambda: Constant(value=4.0), metadata=traits(rises=STAYS))
    view: int = 0

    def __post_init__(self) -> None:
        require_within(self, 0.0, math.inf, "weight")
        require_within(self, 0.0, math.inf, "temperature", above=True)
        if self.view < 0:
            raise ValueError(f"Distill.view is an index of the recipe's views, from 0, got {self.view}")

    def check(self, recipe: "Recipe", model: Model) -> None:
        if recipe.teacher is None:
            raise ValueError("Distill needs a teacher; set one in the recipe: teacher=FILE")
        if self.view >= max(1, len(recipe.views)):
            views = max(1, len(recipe.views))
            raise ValueError(f"Distill.view is {self.view}, but the recipe has {views}, counted from 0")

    def make(self, teacher: Teacher | None) -> TermFn:
        if teacher is None:
            raise ValueError("Distill needs a teacher; set one in the recipe: teacher=FILE")

        def term(outputs: Outputs, batch: Batch, clock: Clock) -> Loss:
            temperature = self.temperature(clock)
            wanted = (teacher(batch, self.view).logits / temperature).log_softmax(1)
            given = (outputs.logits / temperature).log_softmax(1)
            divergence = F.kl_div(given, wanted, log_target=True, reduction="sum") / (given.numel() // given.shape[1])
            return self.weight(clock) * temperature**2 * divergence

        return term


EXAMPLES = (Distill(),)
