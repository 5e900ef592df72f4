"""Divide: an ensemble of narrow networks in place of a wide one, at the same cost; their logits are averaged.

The widths of the members are such that all of them have as many parameters as the network had, without its classifier; about
1 / sqrt(count) of every width, in multiples of 8 where that is near enough, and of 4, 2 or 1 elsewhere. The paper has a rule
for each family, which leads to nearly the same.

It pays for large networks, where more width alone brings little (EfficientNet-B7 at 320 pixels: 81.8 % alone, 82.7 % as two);
a small one lost (WRN-50-2: 80.7 % and 79.6 %). The paper trains the members together, each on its own view; see the objectives.

Source: Zhao et al. 2020 (arXiv:2011.14660), section 3.1 and table 4.
Invariant: the logits are the mean of those of the members, which have the classes, size and preprocessing of the ensemble.
"""

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, cast

import torch
from torch import nn

from paretina.model.blueprint import Assembly, Blueprint, Model
from paretina.model.build import Combined, Network
from paretina.model.edits.scale import Round, Scale
from paretina.model.layers import Pixels
from paretina.shapes import Features, Logits


class Ensembled(Combined):
    """Averages the logits of several networks.

    Attributes:
        members: the networks; each prepares the images for itself.
    """

    def __init__(self, model: Model, members: list[Network]) -> None:
        super().__init__(model)
        self.members = nn.ModuleList(members)

    def forward(self, images: Pixels, extras: bool = False) -> Logits | tuple[Logits, dict[str, Any]]:
        """The mean of the members' logits; `extras` has those of each as `members`: (member, image, class)."""
        if not extras:
            return torch.stack([member(images) for member in self.members]).mean(0)
        logits, said = zip(*(member(images, extras=True) for member in self.members), strict=True)
        answers = torch.stack(logits)
        return answers.mean(0), {"members": answers, "embedding": torch.cat([each["embedding"] for each in said], 1)}

    def embedding(self, images: Pixels) -> Features:
        """The embeddings of the members, one after the other."""
        return super().embedding(images)


@dataclass(frozen=True, kw_only=True)
class Ensemble(Model):
    """
    Attributes:
        member: the blueprint of each network; its classes, resolution, preprocessing and channels are those of the ensemble.
        count: number of networks.
    """

    LOW_PRECISION = False

    member: Blueprint
    count: int = 2

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 1 <= self.count <= 100:
            raise ValueError(f"Ensemble.count must be between 1 and 100, got {self.count}")

    def blueprints(self) -> tuple[Blueprint, ...]:
        member = replace(
            self.member,
            classes=self.classes,
            resolution=self.resolution,
            preprocessing=self.preprocessing,
            channels=self.channels,
        )
        return (member,) * self.count

    def build(self, device: torch.device | str = "cpu") -> Network:
        return Ensembled(self, [each.build(device) for each in self.blueprints()])


@dataclass(frozen=True, kw_only=True)
class Divide(Assembly):
    """
    Attributes:
        count: number of networks; each has about 1 / sqrt(count) of every width, and 1 / count of the parameters and the cost.
    """

    count: int = 2

    def __post_init__(self) -> None:
        if not 2 <= self.count <= 100:
            raise ValueError(f"Divide.count must be between 2 and 100, got {self.count}")

    def __call__(self, blueprint: Blueprint) -> Ensemble:
        member = divided(blueprint, self.count)
        return Ensemble(
            member=member,
            count=self.count,
            resolution=member.resolution,
            classes=member.classes,
            preprocessing=member.preprocessing,
            channels=member.channels,
        )


NEAR = 0.05
"""By what share the parameters of the members may differ from those of the network for coarser widths to be taken."""


@lru_cache(maxsize=64)
def divided(blueprint: Blueprint, count: int) -> Blueprint:
    """The blueprint with smaller widths, of which `count` have as many parameters as one of it; the nearest there is.

    Raises:
        ValueError: its widths cannot be scaled.
    """
    wanted = parameters(blueprint) / count
    found: list[tuple[float, Blueprint]] = []
    reason = ""
    for divisor in (8, 4, 2, 1):
        low, high = 0.5 * count**-0.5, min(1.0, 1.5 * count**-0.5)
        for _ in range(STEPS):
            middle = (low + high) / 2
            try:
                member = Scale(width=middle, round=Round(divisor=divisor, floor=0.0))(blueprint)
                size = parameters(member)
            except ValueError as error:  # such as groups that do not divide a width
                reason = str(error)
                break
            found.append((abs(size / wanted - 1), member))
            low, high = (low, middle) if size > wanted else (middle, high)
        if found and min(off for off, _ in found) <= NEAR:
            break
    if not found:
        raise ValueError(f"Divide cannot scale the widths of this network: {reason}")
    return min(found, key=lambda pair: pair[0])[1]


STEPS = 7
"""Halvings of the range in which the factor on the widths is looked for."""


def parameters(blueprint: Blueprint) -> int:
    """Parameters but those of the classifier, which follow the classes."""
    network = blueprint.build("meta")
    last = {id(each) for each in cast(nn.Module, network.head.classifier).parameters()}
    return sum(each.numel() for each in network.parameters() if id(each) not in last)


EXAMPLES = (Divide(), Divide(count=4))
