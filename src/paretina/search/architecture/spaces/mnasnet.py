"""MnasNet's space: seven rows of equal blocks, around the table of MobileNetV2.

Each row chooses its operation (a convolution, a depthwise-separable one, or an inverted bottleneck of expansion 3 or 6), its
kernel, whether it squeezes, its shortcut, its width and its number of blocks. A choice that an operation does not have (the
squeeze of a plain convolution, a shortcut where width or stride changes) has no effect. For small images late strides are taken
out, and widths can be scaled, see `fitted`.

Source: Tan et al. 2019 (arXiv:1807.11626), section 4.1; expansions of the released search (tensorflow/tpu, mnasnet).
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from paretina.model.blocks.fused_mbconv import FusedMBConv
from paretina.model.blocks.mbconv import MBConv
from paretina.model.blocks.skip import Skip
from paretina.model.blueprint import Block, Blueprint
from paretina.model.edits.scale import Round
from paretina.model.families.mobilenet import V2
from paretina.search.architecture.space import Dimension, NetworkSpace, Value, fitted
from paretina.train.asked import Asked

ROUND = Round()


@dataclass(frozen=True, kw_only=True)
class MnasNetSpace(NetworkSpace):
    """The space of MnasNet."""

    WORD: ClassVar[str] = "mnasnet"

    def table(self) -> Blueprint:
        return fitted(V2, self.size, self.width)

    def own_dimensions(self, base: Asked) -> tuple[Dimension, ...]:
        found = []
        for number, row in enumerate(self.table().stages, 1):
            found += [
                Dimension(f"operation.{number}", ("conv", "separable", "mbconv3", "mbconv6"), ordered=False),
                Dimension(f"kernel.{number}", (3, 5)),
                Dimension(f"squeeze.{number}", (0.0, 0.25)),
                Dimension(f"shortcut.{number}", ("identity", "pool", "none"), ordered=False),
                Dimension(f"width.{number}", (0.75, 1.0, 1.25)),
                Dimension(f"layers.{number}", tuple(sorted({max(1, row.depth + more) for more in (-1, 0, 1)}))),
            ]
        return tuple(found)

    def blueprint(self, point: Mapping[str, Value]) -> Blueprint:
        table = self.table()
        rows, before = [], table.stem.width
        for number, row in enumerate(table.stages, 1):
            here: dict[str, Any] = {name: point[f"{name}.{number}"] for name in NAMES}
            width = ROUND(row.width * here["width"])
            block = block_of(here["operation"], here["kernel"], here["squeeze"])
            if here["shortcut"] != "identity" and (here["layers"] > 1 or (row.stride == 1 and width == before)):
                block = Skip(block=block, shortcut=here["shortcut"])
            rows.append(replace(row, block=block, depth=here["layers"], width=width))
            before = width
        return replace(table, source="searched in MnasNet's space", stages=tuple(rows))


NAMES = ("operation", "kernel", "squeeze", "shortcut", "width", "layers")


def block_of(operation: str, kernel: int, squeeze: float) -> Block:
    if operation == "conv":
        return FusedMBConv(expand=1, kernel=kernel)
    if operation == "separable":
        return MBConv(expand=1, kernel=kernel, squeeze=squeeze)
    return MBConv(expand=int(operation.removeprefix("mbconv")), kernel=kernel, squeeze=squeeze)


EXAMPLES = (MnasNetSpace(size=64), MnasNetSpace(size=28, width=0.5))
