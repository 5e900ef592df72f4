"""Encoder: the transformer block, attention among all tokens and then an MLP for each.

The best accuracy where there is much data or a good teacher, all of it dense matrix products; the cost of the attention grows
with the square of the number of tokens. Its layer norms come first in each branch and belong to it, whatever the blueprint's
norm. It takes tokens, as the wiring `Tokens` makes them; or a map, whose places are its tokens then, and a first use
that adapts width or stride makes the new map with a convolution before it.

Source: Dosovitskiy et al. 2020 (arXiv:2010.11929), section 3.1.
"""

from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from paretina.model.blueprint import Block, Kit, Rounding
from paretina.model.layers import Residual, overwriting
from paretina.shapes import Map

TokenRows = Float[Tensor, "batch _token _channel"]

EPS = 1e-6
"""Of the layer norms, as in the released networks."""

KEPT_EPS = 1e-6
"""Share of attention that is spread over all tokens where some are dropped."""


class SelfAttention(nn.Module):
    """Layer norm, attention, projection."""

    def __init__(self, width: int, heads: int, head_width: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm = nn.LayerNorm(width, eps=EPS)
        # rows of the weight: queries of all heads, then keys, then values
        self.project_in = nn.Linear(width, 3 * heads * head_width)
        self.project_out = nn.Linear(heads * head_width, width)

    def forward(
        self,
        x: TokenRows,
        bias: Float[Tensor, "batch 1 1 token"] | None = None,
        kept: Float[Tensor, "batch token"] | None = None,
    ) -> TokenRows:
        """
        Args:
            bias: added to the score of each token as a key.
            kept: 1 for tokens that all others attend to, 0 for those that only attend to themselves; has a gradient.
        """
        parts = self.project_in(self.norm(x)).unflatten(2, (3, self.heads, -1))
        query, key, value = parts.permute(2, 0, 3, 1, 4)  # b token part head channel -> part b head token channel
        if kept is None:
            out = F.scaled_dot_product_attention(query, key, value, attn_mask=bias)
        else:
            scores = query.float() @ key.float().mT / query.shape[3] ** 0.5
            out = attended(scores, kept).to(value.dtype) @ value
        return self.project_out(out.transpose(1, 2).flatten(2))

    def mean_key(self, x: TokenRows) -> TokenRows:
        """The key of each token, averaged over heads."""
        weight = self.project_in.weight.unflatten(0, (3, self.heads, -1))[1].mean(0)
        bias = self.project_in.bias.unflatten(0, (3, self.heads, -1))[1].mean(0)
        return F.linear(self.norm(x), weight, bias)


def attended(scores: Float[Tensor, "batch head token token"], kept: Float[Tensor, "batch token"]) -> Tensor:
    """The shares of attention where only some tokens are kept: a softmax over these and the token itself.

    Source: arXiv:2106.02034, section 3.3, with the released code's epsilon, which keeps rows and gradients finite.
    """
    tokens = kept.shape[1]
    factors = kept[:, None, None]
    factors = factors + (1.0 - factors) * torch.eye(tokens, device=kept.device)
    weights = (scores - scores.amax(3, keepdim=True)).exp() * factors
    return (weights + KEPT_EPS / tokens) / (weights.sum(3, keepdim=True) + KEPT_EPS)


class Transformer(nn.Module):
    """Both branches, on tokens or on the places of a map."""

    def __init__(self, attention: Residual, perceptron: Residual) -> None:
        super().__init__()
        self.attention = attention
        self.perceptron = perceptron

    def forward(self, x: TokenRows | Map) -> TokenRows | Map:
        if x.ndim == 3:
            return self.perceptron(self.attention(x))
        tokens = self.perceptron(self.attention(x.flatten(2).transpose(1, 2)))
        return tokens.transpose(1, 2).unflatten(2, x.shape[2:])


@dataclass(frozen=True, kw_only=True)
class Encoder(Block):
    """
    Attributes:
        head_width: channels of one head; there are as many heads as fit into the width.
        expand: hidden width of the perceptron, as a multiple of the width.
        hidden: hidden width of the perceptron; 0 for the width * `expand`.
    """

    head_width: int = 64
    expand: int = 4
    hidden: int = 0

    def __post_init__(self) -> None:
        if min(self.head_width, self.expand) < 1:
            raise ValueError(f"Encoder needs head_width and expand of at least 1, got {self}")

    def hidden_width(self, width_in: int, width_out: int) -> int:
        return self.hidden or width_out * self.expand

    def widened(self, rounding: Rounding) -> "Encoder":
        return replace(self, hidden=self.hidden and rounding(self.hidden))

    def make(self, width_in: int, width_out: int, stride: int, kit: Kit) -> nn.Module:
        attention = SelfAttention(width_out, max(1, width_out // self.head_width), self.head_width)
        hidden = self.hidden_width(width_in, width_out)
        last = nn.Linear(hidden, width_out)
        layers = (
            nn.LayerNorm(width_out, eps=EPS),
            nn.Linear(width_out, hidden),
            overwriting(kit.row_activation(hidden, self)),
            last,
        )
        # only a linear layer ends a branch; with a weight of zero the branch starts at zero
        block = Transformer(Residual(attention, attention.project_out), Residual(nn.Sequential(*layers), last))
        if stride == 1 and width_in == width_out:
            return block
        return nn.Sequential(adapted(width_in, width_out, stride, kit), block)


def adapted(width_in: int, width_out: int, stride: int, kit: Kit) -> nn.Module:
    """The convolution that changes the width or size of a map before it becomes tokens."""
    return kit.unit(width_in, width_out, 3 if stride > 1 else 1, stride, act=False)


EXAMPLES = (Encoder(head_width=8), Encoder(head_width=5, expand=2), Encoder(head_width=8, hidden=20))
