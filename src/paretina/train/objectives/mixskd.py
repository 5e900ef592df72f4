"""MixSKD: a network learns from itself: what it says of a blend of two pictures must be the blend of what it says of each.

Behind every stage but the last stands a branch with stages and a head of its own, and a self-teacher reads the last maps of
all of them; they learn beside the network and are gone from what is saved. Helps in long training from scratch (CIFAR-100,
ResNet-18: 80.3 % against 78.7 % with MixUp alone). Costs several plain updates. It blends by itself, so transforms that mix
are refused.

Source: Yang et al. 2022 (arXiv:2208.05768), section 3, all weights 1. The self-teacher learns from the labels, as in the paper
(one of the published scripts leaves that out). The discriminator is left out: in the published code it has no effect on the
features that it should.
"""

import math
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from paretina.clock import Clock
from paretina.data.batch import Batch, sent
from paretina.data.beta import beta
from paretina.data.bounds import require_within
from paretina.model.blueprint import Blueprint, Model
from paretina.model.build import Network
from paretina.schedules import Constant, Schedule
from paretina.shapes import Images, Logits, Loss, Map
from paretina.train.objective import Learner, Objective, Outputs, Teacher
from paretina.train.terms.cross_entropy import CrossEntropy
from paretina.traits import SETTING, STAYS, traits

if TYPE_CHECKING:
    from paretina.train.recipe import Recipe


class Branch(nn.Module):
    """The last stages and the head of another network of the same table."""

    def __init__(self, other: Network, first: int) -> None:
        super().__init__()
        self.stages = nn.ModuleList(list(other.stages)[first:])
        self.head = other.head

    def forward(self, maps: list[Map], extras: dict[str, Any]) -> tuple[Map, Logits]:
        """The last map and the logits.

        Args:
            maps: behind the stem and each stage before the branch.
            extras: what the stages of the network said.
        """
        maps, extras = list(maps), dict(extras)
        for stage in self.stages:
            out = stage(maps[-1])
            if isinstance(out, tuple):
                out, more = out
                extras.update(more)
            maps.append(out)
        return maps[-1], self.head(maps, extras)


class SelfTeacher(nn.Module):
    """Fuses the last maps of all branches and of the network."""

    def __init__(self, width: int, count: int, classes: int) -> None:
        super().__init__()
        self.fuse = nn.Conv2d(width * count, width, 1, bias=False)
        self.norm = nn.BatchNorm2d(width)
        self.classifier = nn.Linear(width, classes)

    def forward(self, maps: list[Map]) -> Logits:
        return self.classifier(F.relu(self.norm(self.fuse(torch.cat(maps, 1)))).mean((2, 3)))


def divergence(said: Logits, wanted: Logits, temperature: float) -> Loss:
    """Squared temperature times the Kullback-Leibler divergence from what is said to what is wanted, which gets no gradient."""
    answer = (wanted.detach() / temperature).log_softmax(1)
    return temperature**2 * F.kl_div((said / temperature).log_softmax(1), answer, log_target=True, reduction="batchmean")


class MixSKDLearner(Learner):
    def __init__(self, network: Network, choice: "MixSKD") -> None:
        super().__init__()
        self.network = network
        self.choice = choice
        table = network.blueprint
        self.branches = nn.ModuleList(Branch(table.build(), first) for first in range(1, len(table.stages)))
        self.teacher = SelfTeacher(table.stages[-1].width, len(table.stages), table.classes)
        self.labels = CrossEntropy(smoothing=Constant(value=0.0)).make(None)

    def answers(self, images: Images) -> list[tuple[Map, Logits]]:
        """Last map and logits of each branch, and of the network itself, which stands last."""
        logits, extras = self.network(images, extras=True)
        maps = extras["maps"]
        found = [branch(maps[: first + 1], extras) for first, branch in enumerate(self.branches, 1)]
        return [(last, said.float()) for last, said in (*found, (maps[-1], logits))]

    def forward(self, batch: Batch, clock: Clock) -> dict[str, Loss]:
        temperature = self.choice.temperature(clock)
        images = batch.images if batch.images.is_floating_point() else batch.images.float() / 255
        partner = sent(torch.randperm(len(batch)), images.device)
        kept = float(beta(self.choice.alpha(clock), 1, torch.default_generator))

        def blended(each: Tensor) -> Tensor:
            return each * kept + each[partner] * (1.0 - kept)

        mixed_batch = replace(batch, targets=blended(batch.targets))
        found = self.answers(torch.cat((images, blended(images))))
        # of each branch: the blend of what it says of two pictures, and what it says of their blend
        maps = [(blended(own), mixed) for own, mixed in (last.chunk(2) for last, _ in found)]
        said = [(blended(own), mixed) for own, mixed in (logits.chunk(2) for _, logits in found)]
        of_blend, of_mixed = (self.teacher([pair[which] for pair in maps]).float() for which in (0, 1))

        labels = [
            self.labels(Outputs(own), batch, clock) + self.labels(Outputs(mixed), mixed_batch, clock)
            for own, mixed in (logits.chunk(2) for _, logits in found)
        ]
        features = [F.mse_loss(mixed.float(), blend.float()) for blend, mixed in maps]
        branches = [divergence(mixed, blend, temperature) + divergence(blend, mixed, temperature) for blend, mixed in said[:-1]]
        blend, mixed = said[-1]
        return {
            "labels": torch.stack(labels).sum(),
            "features": torch.stack(features).sum(),
            "branches": torch.stack(branches).sum(),
            "teacher": torch.stack([self.labels(Outputs(each), mixed_batch, clock) for each in (of_blend, of_mixed)]).sum(),
            "network": divergence(blend, of_mixed, temperature) + divergence(mixed, of_blend, temperature),
        }

    def result(self) -> Network:
        return self.network


@dataclass(frozen=True, kw_only=True)
class MixSKD(Objective):
    """
    Attributes:
        alpha: the blend is drawn from Beta(alpha, alpha), one for each batch; above 0. 0.4 on CIFAR-100, 0.2 on ImageNet-1k.
        temperature: softens the answers that are compared; above 0.
    """

    alpha: Schedule = field(default=Constant(value=0.2), metadata=traits(left_out=SETTING, rises=STAYS))
    temperature: Schedule = field(default=Constant(value=3.0), metadata=traits(left_out=SETTING, rises=STAYS))

    def __post_init__(self) -> None:
        require_within(self, 0.0, math.inf, "alpha", "temperature", above=True)

    @classmethod
    def switched_on(cls, recipe: "Recipe") -> tuple[str, ...]:
        mixing = dict.fromkeys(type(each).__name__ for each in recipe.transforms if each.MIXES)
        return ("objective=MixSKD", *(f"transforms.{name}=off" for name in mixing))

    def check(self, recipe: "Recipe", model: Model) -> None:
        if not isinstance(model, Blueprint):
            raise ValueError(f"MixSKD trains a single network, and the model is {type(model).__name__}; leave the assembly out")
        if len(model.stages) < 2:
            raise ValueError("MixSKD has a branch behind every stage but the last, and the network has one stage; take another")
        if len(recipe.views) > 1:
            raise ValueError(f"MixSKD learns from one view, and the recipe makes {len(recipe.views)}; leave views out")
        if mixing := [type(each).__name__ for each in recipe.transforms if each.MIXES]:
            raise ValueError(
                f"MixSKD blends the pictures of a batch by itself, and the recipe mixes them before it; leave {mixing[0]} out: "
                f"transforms.{mixing[0]}=off"
            )

    def make(self, network: Network, teacher: Teacher | None) -> Learner:
        return MixSKDLearner(network, self)


EXAMPLES = (MixSKD(), MixSKD(alpha=Constant(value=0.4), temperature=Constant(value=2.0)))
