"""Skip: another block with its shortcut left out, or averaged over 3x3 places.

MnasNet's space may choose this for each row of the table; EfficientNetV2's dropped it, since the identity nearly always won.
What a pooled shortcut is at a place where width or stride changes is not said there, so such places have none, as with the
identity.

Source: Tan et al. 2019 (arXiv:1807.11626), section 4.1, "skip operations".
"""

from dataclasses import dataclass, replace
from typing import Literal

from torch import nn

from paretina.model.blocks.mbconv import MBConv
from paretina.model.blueprint import Block, Kit, Rounding
from paretina.model.layers import Residual


@dataclass(frozen=True, kw_only=True)
class Skip(Block):
    """
    Attributes:
        block: the block whose shortcut is changed; one without any stays as it is.
        shortcut: "none", or "pool" for the average of the 3x3 places around each, of those inside the map.
    """

    block: Block
    shortcut: Literal["none", "pool"] = "none"

    def make(self, width_in: int, width_out: int, stride: int, kit: Kit) -> nn.Module:
        module = self.block.make(width_in, width_out, stride, kit)
        if not isinstance(module, Residual):
            return module
        if self.shortcut == "none":
            return module.body
        pooled = nn.AvgPool2d(3, stride=1, padding=1, count_include_pad=False)
        return Residual(module.body, module.last_norm, pooled, module.after)

    def widened(self, rounding: Rounding) -> "Skip":
        return replace(self, block=self.block.widened(rounding))

    def regrouped(self, group_width: int, expand: int | None) -> "Skip":
        return replace(self, block=self.block.regrouped(group_width, expand))


EXAMPLES = (Skip(block=MBConv(expand=4, kernel=3)), Skip(block=MBConv(expand=1, kernel=5), shortcut="pool"))
