"""Blockwise: a network learns the maps of another one, behind the stem and each stage; labels are not used.

Gives accuracy back to a network that was changed a lot: by few bits, other operators, fewer channels, another activation. It
needs no labels, and few pictures, so long as they show all classes. `paretina distill --blockwise` trains in periods, each a
run that begins with the weights of the one before: the first matches the map behind the stem, each further one also that of
the next stage, and the last one all maps and the logits. Parts behind the deepest map that is matched are not run or trained.

The loss is the sum of the mean squared differences of maps; the deepest has weight 1, each one before it `decay` times that of
the next, since early maps have large numbers. The last period adds 1 - cosine of the logits. Maps are compared where stages
end, on both sides behind whatever ends them. Where a map has other channels than the teacher's, a 1x1 convolution adapts it;
it is trained along, begins anew in each period, and is not in what is saved. The teacher must be a network of ours with maps
at the same strides.

Source: Arch-Net (arXiv:2111.01135): periods, weights, cosine. There, features are those of each layer, and the adapters have
three convolutions and a gate that the teacher's feature opens; after a period for each comes one of all that is most of the
training.
"""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar, cast

import torch.nn.functional as F
from torch import nn

from paretina.clock import Clock
from paretina.data.batch import Batch
from paretina.model.blueprint import Blueprint, Model
from paretina.model.build import Network
from paretina.model.task import Task
from paretina.model.tasks.nothing import Nothing
from paretina.model.tasks.one_of import OneOf
from paretina.shapes import Images, Loss, Map
from paretina.train.objective import Learner, Objective, Teacher
from paretina.traits import SETTING, traits

if TYPE_CHECKING:
    from paretina.train.recipe import Recipe


def widths_of(table: Blueprint) -> tuple[int, ...]:
    """Channels of the maps behind the stem and each stage."""
    return (table.stem.width, *(stage.width for stage in table.stages))


class BlockwiseLearner(Learner):
    """
    Attributes:
        adapters: by number of the map, where the teacher's has other channels.
        matched: how many maps are compared.
    """

    def __init__(self, network: Network, teacher: Teacher, choice: "Blockwise") -> None:
        super().__init__()
        self.network = network
        self.teacher = teacher
        self.choice = choice
        own, theirs = widths_of(network.blueprint), widths_of(cast(Network, teacher.module).blueprint)
        self.matched = len(own) if choice.upto is None else choice.upto + 1
        pairs = list(zip(own, theirs, strict=True))[: self.matched]
        self.adapters = nn.ModuleDict({str(n): nn.Conv2d(*pair, 1) for n, pair in enumerate(pairs) if pair[0] != pair[1]})
        if choice.upto is not None:
            network.freeze(network.parts()[self.matched :])

    def maps(self, images: Images) -> list[Map]:
        """The first maps of the network, without what is behind them."""
        found = [self.network.stem(self.network.normalise(images))]
        for stage in self.network.stages[: self.matched - 1]:
            out = stage(found[-1])
            found.append(out[0] if isinstance(out, tuple) else out)
        return found

    def forward(self, batch: Batch, clock: Clock) -> dict[str, Loss]:
        wanted = self.teacher(batch)
        losses: dict[str, Loss] = {}
        if self.choice.upto is None:
            logits, extras = self.network(batch.images, extras=True)
            maps = extras["maps"]
            losses["logits"] = 1.0 - F.cosine_similarity(logits.float(), wanted.logits).mean()
        else:
            maps = self.maps(batch.images)
        for number, (own, theirs) in enumerate(zip(maps, wanted.extras["maps"], strict=False)):
            name = str(number)
            own = self.adapters[name](own) if name in self.adapters else own
            weight = self.choice.decay ** (self.matched - 1 - number)
            losses[f"map {number}"] = weight * F.mse_loss(own.float(), theirs.float())
        return losses

    def result(self) -> Network:
        return self.network


@dataclass(frozen=True, kw_only=True)
class Blockwise(Objective):
    """
    Attributes:
        upto: number of the deepest map that is matched, 0 for that behind the stem and n for that behind stage n; None for all
            maps and the logits.
        decay: weight of a map as a share of that of the next deeper one, in (0, 1].
    """

    TEACHER: ClassVar[bool] = True
    TASKS: ClassVar[tuple[type[Task], ...]] = (OneOf, Nothing)

    upto: int | None = field(default=None, metadata=traits(left_out=SETTING))
    decay: float = field(default=0.8, metadata=traits(left_out=SETTING))

    def __post_init__(self) -> None:
        if self.upto is not None and self.upto < 0:
            raise ValueError(f"Blockwise.upto is the number of a map, from 0 for that behind the stem, got {self.upto}")
        if not 0 < self.decay <= 1:
            raise ValueError(f"Blockwise.decay is a share in (0, 1], got {self.decay:g}")

    def check(self, recipe: "Recipe", model: Model) -> None:
        if recipe.teacher is None:
            raise ValueError("Blockwise learns the maps of a teacher, and there is none; set it: teacher=FILE")
        if recipe.teacher.startswith("timm:"):
            raise ValueError(
                f"Blockwise compares maps, and those of {recipe.teacher} are not known here; take a network of ours as the "
                "teacher"
            )
        if not isinstance(model, Blueprint):
            raise ValueError(
                f"Blockwise trains a single network, and the model is {type(model).__name__}; leave the assembly out"
            )
        if self.upto is not None and self.upto > len(model.stages):
            raise ValueError(f"Blockwise.upto is {self.upto}, but the network has {len(model.stages)} stages")
        if len(recipe.views) > 1:
            raise ValueError(f"Blockwise learns from one view, and the recipe makes {len(recipe.views)}; leave views out")

    def make(self, network: Network, teacher: Teacher | None) -> Learner:
        if teacher is None or not isinstance(teacher.module, Network) or not isinstance(teacher.module.model, Blueprint):
            raise ValueError("Blockwise learns the maps of a single network of ours; set one as the teacher: teacher=FILE")
        own, theirs = network.blueprint, teacher.module.blueprint
        if own.border_strides != theirs.border_strides:
            raise ValueError(
                f"Blockwise compares maps stage by stage, but the strides of the network's are {said(own)}, and those of the "
                f"teacher's {said(theirs)}; choose a student with as many stages and the same strides"
            )
        if own.classes != theirs.classes:
            raise ValueError(f"Blockwise compares logits, of {own.classes} classes and of the teacher's {theirs.classes}")
        return BlockwiseLearner(network, teacher, self)


def said(table: Blueprint) -> str:
    return ", ".join(map(str, table.border_strides))


EXAMPLES = (Blockwise(), Blockwise(upto=1, decay=0.5))
"""The teacher is given with the run: teacher=FILE."""
