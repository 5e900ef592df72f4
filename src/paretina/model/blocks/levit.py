"""Levit: attention over the positions of a small map, and an MLP of 1x1 convolutions.

Every place sees every other; a learned bias for each distance tells what lies where, in place of positions. All norms stand
behind 1x1 convolutions: with batch norm, nothing but convolutions and two matrix products is left of the block in inference.
Fast for its accuracy on CPUs and GPUs on maps of about 14 x 14 and less; the cost grows with the square of the number of
places. The tables of biases belong to one size of the map: a network built for another resolution has others.

Source: Graham et al. 2021 (arXiv:2104.01136), section 4; sizes as in the released code.
"""

from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor, nn

from paretina.model.blueprint import Block, Kit, Rounding
from paretina.model.layers import Residual, overwriting
from paretina.shapes import Map


class BiasedAttention(nn.Module):
    """Attention with a bias for each distance; the queries may come from every `stride`-th place only.

    The products are written out: the fused attention of torch takes the bias, but with values wider than keys it was half as
    fast on a CPU.

    Attributes:
        size: rows and columns of the map that it takes.
        image: rows and columns of the images that give such a map.
        table: one bias for each head and distance; distances are |rows| * columns + |columns|, in places of the input.
        gathered: the biases of all pairs of places, in inference form only.
    """

    ROLES = {"table": "table"}
    offsets: Tensor
    gathered: Tensor | None

    def __init__(
        self, width_in: int, width_out: int, key: int, value: int, heads: int, kit: Kit, *, stride: int = 1, apart: bool = False
    ) -> None:
        super().__init__()
        self.key, self.value, self.heads, self.stride = key, value, heads, stride
        self.size, self.image = kit.size, kit.image or kit.size
        rows, columns = kit.size
        self.size_out = (-(-rows // stride), -(-columns // stride))
        # rows of the weight: head by head its queries (unless they are made apart), keys and values
        self.project_in = kit.unit(width_in, heads * ((key if apart else 2 * key) + value), act=False)
        self.query = kit.unit(width_in, heads * key, stride=stride, act=False) if apart else None
        self.activation = overwriting(kit.activation.make(heads * value))
        self.project_out = kit.unit(heads * value, width_out, act=False)
        self.table = nn.Parameter(torch.empty(heads, rows * columns))
        pairs = (self.size_out[0] * self.size_out[1], rows * columns)
        self.register_buffer("offsets", torch.empty(pairs, dtype=torch.long), persistent=False)
        self.register_buffer("gathered", None)
        self.reset_buffers()

    def reset_parameters(self) -> None:
        self.table.zero_()

    def reset_buffers(self) -> None:
        rows, columns = (torch.arange(side) for side in self.size)
        apart_rows = (rows[:: self.stride, None] - rows).abs()
        apart_columns = (columns[:: self.stride, None] - columns).abs()
        # row of the query, column of the query, row of the key, column of the key
        offsets = apart_rows[:, None, :, None] * len(columns) + apart_columns[None, :, None, :]
        self.offsets.copy_(offsets.reshape(self.offsets.shape))

    def fold(self) -> None:
        """Gathers the biases once; the module can no longer be trained."""
        self.gathered = self.biases().detach().clone()
        del self.table, self.offsets

    def biases(self) -> Tensor:
        return self.table[:, self.offsets] if self.gathered is None else self.gathered

    def forward(self, x: Map) -> Map:
        if tuple(x.shape[2:]) != self.size:
            raise ValueError(
                f"this attention has biases for maps of {self.size[0]} x {self.size[1]} only, got "
                f"{x.shape[2]} x {x.shape[3]}; give images of {self.image[0]} x {self.image[1]} pixels, or train a network "
                "that is built for another size: resolution=SIDE (Blueprint.resolution)"
            )
        parts = self.by_head(self.project_in(x))
        if self.query is None:
            query, key, value = parts.split((self.key, self.key, self.value), 3)
        else:
            query = self.by_head(self.query(x))
            key, value = parts.split((self.key, self.value), 3)
        scores = torch.add(self.biases(), query @ key.transpose(2, 3), alpha=self.key**-0.5)
        out = (scores.softmax(3) @ value).transpose(1, 2).flatten(2)  # b place channel
        return self.project_out(self.activation(out.transpose(1, 2).unflatten(2, self.size_out)))

    def by_head(self, maps: Map) -> Float[Tensor, "batch head place part"]:
        return maps.flatten(2).transpose(1, 2).unflatten(2, (self.heads, -1)).transpose(1, 2)


@dataclass(frozen=True, kw_only=True)
class Levit(Block):
    """
    Where the block adapts width or stride, its attention has no shortcut: it makes the new map, with queries from every
    `stride`-th place, as many heads as keys of that width fit into the input width, and values twice as wide.

    Attributes:
        key: width of the keys and queries of one head.
        heads: number of heads.
        value: width of one head's values, as a multiple of `key`.
        expand: hidden width of the perceptron, as a multiple of the output width.
        hidden: hidden width of the perceptron; 0 for the output width * `expand`.
    """

    key: int
    heads: int
    value: int = 2
    expand: int = 2
    hidden: int = 0

    def __post_init__(self) -> None:
        if min(self.key, self.heads, self.value, self.expand) < 1:
            raise ValueError(f"Levit needs key, heads, value and expand of at least 1, got {self}")

    def hidden_width(self, width_in: int, width_out: int) -> int:
        return self.hidden or width_out * self.expand

    def make(self, width_in: int, width_out: int, stride: int, kit: Kit) -> nn.Module:
        value = self.value * self.key
        attention: nn.Module
        if stride == 1 and width_in == width_out:
            body = BiasedAttention(width_in, width_out, self.key, value, self.heads, kit)
            attention = Residual(body, body.project_out.norm)
        else:
            heads = max(1, width_in // self.key)
            attention = BiasedAttention(width_in, width_out, self.key, 2 * value, heads, kit, stride=stride, apart=True)
        hidden = self.hidden_width(width_in, width_out)
        last = kit.unit(hidden, width_out, act=False)
        block = nn.Sequential()
        block.add_module("attention", attention)
        block.add_module("perceptron", Residual(nn.Sequential(kit.unit(width_out, hidden), last), last.norm))
        return block

    def widened(self, rounding: Rounding) -> "Levit":
        """Scales the number of heads, each of the same width."""
        heads = max(1, round(rounding(self.heads * self.key) / self.key))
        return replace(self, heads=heads, hidden=self.hidden and rounding(self.hidden))


EXAMPLES = (Levit(key=4, heads=2), Levit(key=8, heads=3, value=1, expand=4), Levit(key=4, heads=2, hidden=20))
