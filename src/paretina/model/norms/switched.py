"""Switched norms: a set of norms for each of several uses of one network, such as sizes of its images.

The statistics of a map depend on the size of the image that it was made of, so a network whose weights serve several sizes
needs norms for each of them: published, on 100 classes of ImageNet, 81.4 % with and 80.3 % without, at equal cost. Costs
memory for scales, shifts and statistics, and no time. Norms that a block brings along, as in ConvNeXt and ViT, are not
switched.

Source: Zhu et al. 2021 (arXiv:2106.02898), section 3, "resolution-aware BN".
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

from torch import Tensor, nn

from paretina.model.blueprint import Activation, Norm, NormUnit
from paretina.model.norms.batch import BatchNorm
from paretina.shapes import Map


class SwitchedUnit(NormUnit):
    """
    Attributes:
        units: one for each use.
        chosen: number of the one in use, from 0; set by `switch`.
    """

    def __init__(self, units: list[NormUnit]) -> None:
        super().__init__()
        self.units = nn.ModuleList(units)
        self.chosen = 0

    @property
    def unit(self) -> NormUnit:
        return self.units[self.chosen]  # type: ignore[return-value]

    @property
    def apart(self) -> bool:
        return self.unit.apart

    def centred(self, x: Map) -> Map:
        return self.unit.centred(x)

    def gain(self) -> Tensor | None:
        return self.unit.gain()

    def parts(self, x: Map) -> tuple[Map, Tensor | None]:
        return self.unit.parts(x)

    def forward(self, x: Map) -> Map:
        return self.unit(x)  # type: ignore[no-any-return]


def switched(network: nn.Module) -> Iterator[tuple[str, SwitchedUnit]]:
    """The switched norms in a module, with their names."""
    for name, each in network.named_modules():
        if isinstance(each, SwitchedUnit):
            yield name, each


def switch(network: nn.Module, number: int) -> None:
    """Has all switched norms in a module use the norm of that number, from 0."""
    for _, each in switched(network):
        each.chosen = number


@dataclass(frozen=True, kw_only=True)
class Switched(Norm):
    """
    Attributes:
        norm: of each use.
        count: number of uses.
    """

    norm: Norm = field(default_factory=BatchNorm)
    count: int = 1

    def __post_init__(self) -> None:
        if not 1 <= self.count <= 16:
            raise ValueError(f"Switched.count must be between 1 and 16, got {self.count}")

    def make(self, width: int, activation: Activation | None) -> NormUnit:
        return SwitchedUnit([self.norm.make(width, activation) for _ in range(self.count)])

    def connect(self, network: nn.Module) -> None:
        self.norm.connect(network)


EXAMPLES = (Switched(),)
