"""Committee: several trained networks of any kind as one, whose logits are averaged.

Several runs of one network gain a point or so over the best of them, and cost what they cost together; as a teacher they cost
only training time. `Divide` is for networks that are made and trained together.

Source: Lakshminarayanan et al. 2017 (arXiv:1612.01474), section 2.4, with the mean of logits as in Beyer et al. 2022
(arXiv:2106.05237).
"""

from dataclasses import dataclass, replace

import torch

from paretina.model.assemblies.divide import Ensembled
from paretina.model.blueprint import Blueprint, Model
from paretina.model.build import Network
from paretina.model.family import network_named
from paretina.spec import Spec


@dataclass(frozen=True, kw_only=True)
class Member(Spec):
    """
    Attributes:
        blueprint: of one network of a committee.
    """

    blueprint: Blueprint


@dataclass(frozen=True, kw_only=True)
class Committee(Model):
    """
    Attributes:
        members: the networks; each has the classes, resolution and channels of the committee, and normalises pixels for itself.
    """

    LOW_PRECISION = False

    members: tuple[Member, ...]

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 1 <= len(self.members) <= 100:
            raise ValueError(f"Committee needs 1 to 100 members, got {len(self.members)}")

    def blueprints(self) -> tuple[Blueprint, ...]:
        return tuple(
            replace(each.blueprint, classes=self.classes, resolution=self.resolution, channels=self.channels)
            for each in self.members
        )

    def build(self, device: torch.device | str = "cpu") -> Network:
        return Ensembled(self, [each.build(device) for each in self.blueprints()])


def example() -> Committee:
    blueprint = network_named("resnet18").blueprint
    return Committee(
        members=(Member(blueprint=blueprint), Member(blueprint=network_named("mobilenet_v2").blueprint)),
        resolution=blueprint.resolution,
        classes=blueprint.classes,
        preprocessing=blueprint.preprocessing,
    )


EXAMPLES = (example(),)
