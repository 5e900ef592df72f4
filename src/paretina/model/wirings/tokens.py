"""Tokens: turns a map into tokens with positional embeddings and a class token, followed by `Encoder` blocks.

The stage outputs the map of patch tokens, and as extras the tokens for the whole image: "class_token", and
"distillation_token" for learning from a teacher. `TokenHead` reads them. The positions are a table for the map at the
blueprint's resolution. For a map of another size they are interpolated, bicubically, as is usual for fine-tuning and testing
at other resolutions; a network that is built for another resolution has a table for that one.

Source: Dosovitskiy et al. 2020 (arXiv:2010.11929), sections 3.1 and 3.2; distillation token: Touvron et al. 2020
(arXiv:2012.12877), section 4.
"""

import math
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from paretina.model.blocks.encoder import Encoder, TokenRows, adapted
from paretina.model.blueprint import Block, Kit, Rounding, Wiring, each_narrowed
from paretina.shapes import Map

START = 0.02
"""Standard deviation of tokens and positions at first (arXiv:2012.12877)."""


def interpolated(table: Tensor, old: tuple[int, int], new: tuple[int, int]) -> Tensor:
    """A table of positions for a map of another size; the rows of the tokens that stand first are kept."""
    tokens, places = table.tensor_split((table.shape[1] - old[0] * old[1],), 1)
    grid = places.transpose(1, 2).unflatten(2, old)  # 1 place c -> 1 c h w
    grid = F.interpolate(grid.float(), new, mode="bicubic", antialias=True).to(table.dtype)
    return torch.cat((tokens, grid.flatten(2).transpose(1, 2)), 1)


class TokenRun(nn.Module):
    """Adapt the map (or not), add tokens and positions, blocks.

    Attributes:
        size: rows and columns that the table of positions is for.
        positions: one row a token: the class token, the distillation token if there is one, then the places row by row.
    """

    ROLES = {"class_token": "token", "distillation_token": "token", "positions": "table"}

    def __init__(
        self, adapt: nn.Module | None, width: int, size: tuple[int, int], distilled: bool, blocks: list[nn.Module]
    ) -> None:
        super().__init__()
        self.adapt = adapt
        self.size = size
        self.class_token = nn.Parameter(torch.empty(1, 1, width))
        self.distillation_token = nn.Parameter(torch.empty(1, 1, width)) if distilled else None
        self.positions = nn.Parameter(torch.empty(1, (2 if distilled else 1) + size[0] * size[1], width))
        self.blocks = nn.Sequential(*blocks)

    def reset_parameters(self) -> None:
        for parameter in self.parameters(recurse=False):
            nn.init.trunc_normal_(parameter, std=START)

    def positions_for(self, size: tuple[int, int]) -> TokenRows:
        """The table for a map of that size."""
        return self.positions if size == self.size else interpolated(self.positions, self.size, size)

    def fitted(self, name: str, table: Tensor) -> Tensor:
        """A table of positions from a network of another resolution as this one needs it; other tensors stay as they are."""
        places = table.shape[1] - self.positions.shape[1] + self.size[0] * self.size[1] if name == "positions" else 0
        side = math.isqrt(max(0, places))
        return interpolated(table, (side, side), self.size) if side and side * side == places else table

    def entered(self, x: Map) -> tuple[TokenRows, list[str], tuple[int, int]]:
        """The tokens before the first block, the names of those that stand first, and the rows and columns of the others."""
        x = x if self.adapt is None else self.adapt(x)
        size = (x.shape[2], x.shape[3])
        names = [name for name in ("class_token", "distillation_token") if getattr(self, name) is not None]
        first = [getattr(self, name).expand(x.shape[0], -1, -1) for name in names]
        tokens = torch.cat((*first, x.flatten(2).transpose(1, 2)), 1)
        return tokens + self.positions_for(size), names, size

    def forward(self, x: Map) -> tuple[Map, dict[str, Tensor]]:
        tokens, names, size = self.entered(x)
        tokens = self.blocks(tokens)
        places = tokens[:, len(names) :].transpose(1, 2).unflatten(2, size)
        return places, {name: tokens[:, number] for number, name in enumerate(names)}


@dataclass(frozen=True, kw_only=True)
class Tokens(Wiring):
    """Every block of the stage is an `Encoder`; a stage that adapts width or stride does so with a convolution before it.

    Attributes:
        distilled: whether there is a distillation token beside the class token.
        hidden: hidden width of each block, as pruning leaves it; 0 for as the block says, and () for all of them so.
    """

    distilled: bool = False
    hidden: tuple[int, ...] = ()

    def narrowed(self, hidden: tuple[int, ...]) -> "Tokens":
        return replace(self, hidden=hidden)

    def widened(self, rounding: Rounding) -> "Tokens":
        return replace(self, hidden=tuple(width and rounding(width) for width in self.hidden))

    def make(self, block: Block, depth: int, width_in: int, width_out: int, stride: int, kit: Kit) -> nn.Module:
        if not isinstance(block, Encoder):
            raise ValueError(f"Tokens joins blocks that take tokens, which is Encoder, got {block}; leave this stage a Chain")
        adapt = None
        if stride > 1 or width_in != width_out:
            adapt = adapted(width_in, width_out, stride, kit)
            kit = kit.behind(adapt, width_in)
        blocks = [kit.block(each, width_out, width_out, 1) for each in each_narrowed(block, depth, self.hidden)]
        return self.run(adapt, width_out, kit, blocks)

    def run(self, adapt: nn.Module | None, width: int, kit: Kit, blocks: list[nn.Module]) -> TokenRun:
        """The module of the stage, of its parts."""
        return TokenRun(adapt, width, kit.size, self.distilled, blocks)


EXAMPLES = (Tokens(), Tokens(distilled=True))
