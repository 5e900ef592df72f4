"""Around a network: any table, of which widths, depths, kernels, expansions, squeezes and the resolution may vary.

Only what a row has can vary: a kernel where its block has one, an expansion likewise. Widths are factors on those of the row,
rounded to multiples of 8; depths are numbers of blocks.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal, get_args

from paretina.model.blocks.fused_mbconv import FusedMBConv
from paretina.model.blocks.mbconv import MBConv
from paretina.model.blocks.resnet import Basic
from paretina.model.blueprint import Block, Blueprint, Stage, deepened
from paretina.model.edits.scale import Round, Scale
from paretina.model.families.small import resnet8
from paretina.search.architecture.space import Dimension, NetworkSpace, Value
from paretina.spec import field_map
from paretina.train.asked import Asked

Varying = Literal["width", "depth", "kernel", "expand", "squeeze", "resolution"]

VARYING: tuple[Varying, ...] = get_args(Varying)

ROUND = Round()


@dataclass(frozen=True, kw_only=True)
class AroundNetwork(NetworkSpace):
    """The space around a network.

    Attributes:
        network: the network in its middle.
        vary: what may vary; empty for whatever it has.
    """

    WORD: ClassVar[str] = "around"
    OF: ClassVar[str] = "network"

    network: Blueprint
    vary: tuple[Varying, ...] = ()

    def table(self) -> Blueprint:
        found = replace(self.network, resolution=self.size)
        return found if self.width == 1.0 else Scale(width=self.width).edit(found)

    def own_dimensions(self, base: Asked) -> tuple[Dimension, ...]:
        table = self.table()
        found = []
        for number, row in enumerate(table.stages, 1):
            found += [Dimension(f"{name}.{number}", values) for name, values in of_row(row).items()]
        found.append(Dimension("resolution", tuple(sorted({max(8, round(self.size * share / 4) * 4) for share in SHARES}))))
        if not self.vary:
            return tuple(found)
        kept = tuple(dimension for dimension in found if dimension.name.partition(".")[0] in self.vary)
        there = {dimension.name.partition(".")[0] for dimension in kept}
        if missing := [name for name in self.vary if name not in there]:
            can = dict.fromkeys(dimension.name.partition(".")[0] for dimension in found)
            raise ValueError(f"no row of this network has a {missing[0]} that could vary; there are {', '.join(can)}")
        return kept

    def blueprint(self, point: Mapping[str, Value]) -> Blueprint:
        table = self.table()
        rows = []
        for number, row in enumerate(table.stages, 1):
            here: dict[str, Any] = {
                name: value for path, value in point.items() for name, _, at in [path.partition(".")] if at == str(number)
            }
            row = deepened(row, here.get("depth", row.depth))
            if here.get("width", 1.0) != 1.0:
                row = replace(row, width=ROUND(row.width * here["width"]))
            rows.append(replace(row, block=changed(row.block, here)))
        resolution: Any = point.get("resolution", table.resolution)
        found = replace(table, stages=tuple(rows), resolution=resolution)
        return found if found == table else replace(found, source=f"searched around {table.source}")


SHARES = (0.75, 1.0, 1.25)
WIDTHS = (0.5, 0.75, 1.0, 1.25, 1.5)


def of_row(row: Stage) -> dict[str, tuple[Value, ...]]:
    """What may vary in a row, with its values."""
    found: dict[str, tuple[Value, ...]] = {
        "width": WIDTHS,
        "depth": tuple(sorted({max(1, row.depth + more) for more in (-1, 0, 1, 2)})),
    }
    fields = field_map(type(row.block))
    if "kernel" in fields:
        found["kernel"] = tuple(sorted({3, 5, int(getattr(row.block, "kernel"))}))  # noqa: B009
    if isinstance(row.block, MBConv | FusedMBConv):
        found["expand"] = tuple(sorted({1, 3, 4, 6, row.block.expand}))
        found["squeeze"] = tuple(sorted({0.0, 0.25, row.block.squeeze}))
    return found


def changed(block: Block, here: Mapping[str, Any]) -> Block:
    """The block with the kernel, expansion and squeeze of a point."""
    fields = {name: value for name, value in here.items() if name in ("kernel", "expand", "squeeze")}
    if isinstance(block, MBConv | FusedMBConv) and fields.get("expand", block.expand) == 1:
        fields |= {"hidden": 0} | ({"squeeze": 0.0} if isinstance(block, FusedMBConv) else {})
    return replace(block, **fields) if fields else block


EXAMPLES = (
    AroundNetwork(network=resnet8(16, 2), size=28),
    AroundNetwork(
        network=replace(resnet8(16, 2), stages=(Stage(block=Basic(), depth=1, width=16, stride=2),)), size=32, vary=("width",)
    ),
)
