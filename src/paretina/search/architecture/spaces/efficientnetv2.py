"""EfficientNetV2's space: MBConv or Fused-MBConv in each row, kernel, expansion and number of blocks; widths are inherited.

The table around it is that of V2-B0, with its widths scaled and its late strides taken out for small images, see `fitted`.
MBConv squeezes to a quarter and Fused-MBConv not at all, as in the released networks.

Source: Tan & Le 2021 (arXiv:2104.00298), section 3.2.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from paretina.model.blocks.fused_mbconv import FusedMBConv
from paretina.model.blocks.mbconv import MBConv
from paretina.model.blueprint import Block, Blueprint
from paretina.model.families.efficientnetv2 import B0
from paretina.search.architecture.space import Dimension, NetworkSpace, Value, fitted
from paretina.train.asked import Asked


@dataclass(frozen=True, kw_only=True)
class EfficientNetV2Space(NetworkSpace):
    """The space of EfficientNetV2."""

    WORD: ClassVar[str] = "efficientnetv2"

    def table(self) -> Blueprint:
        return fitted(B0, self.size, self.width)

    def own_dimensions(self, base: Asked) -> tuple[Dimension, ...]:
        found = []
        for number, row in enumerate(self.table().stages, 1):
            found += [
                Dimension(f"operation.{number}", ("mbconv", "fused"), ordered=False),
                Dimension(f"kernel.{number}", (3, 5)),
                Dimension(f"expand.{number}", (1, 4, 6)),
                Dimension(f"layers.{number}", tuple(sorted({max(1, row.depth + more) for more in (-1, 0, 1, 2)}))),
            ]
        return tuple(found)

    def blueprint(self, point: Mapping[str, Value]) -> Blueprint:
        table = self.table()
        rows = []
        for number, row in enumerate(table.stages, 1):
            here: dict[str, Any] = {name: point[f"{name}.{number}"] for name in ("operation", "kernel", "expand", "layers")}
            block: Block = (
                FusedMBConv(expand=here["expand"], kernel=here["kernel"])
                if here["operation"] == "fused"
                else MBConv(expand=here["expand"], kernel=here["kernel"])
            )
            rows.append(replace(row, block=block, depth=here["layers"]))
        return replace(table, source="searched in EfficientNetV2's space", stages=tuple(rows))


EXAMPLES = (EfficientNetV2Space(size=64), EfficientNetV2Space(size=28, width=0.25))
