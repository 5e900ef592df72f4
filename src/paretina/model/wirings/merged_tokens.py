"""MergedTokens: `Tokens` in which every block joins the tokens that are most alike, so that later blocks have fewer.

Needs no training: it has the parameters of `Tokens` and takes its weights. DeiT-S on ImageNet, as the paper has it: 79.8 % with
4.6 GMACs; 79.4 % with 2.7 where 13 tokens go in each block. It is the baseline for methods that learn which tokens to drop, and
may be trained with too. Time falls with the tokens where batches are large; a single picture is bound by the number of small
operations, of which this adds some in every block.

After the attention of a block, tokens are split into two sets by turns. Each of the first set is paired with the token of the
second whose key is most alike, by the cosine of the mean key over heads; of the closest pairs `merged` become one token, their
mean weighted by how many places each stands for. The attention counts a token that stands for n places n times. Class and
distillation tokens are never merged. The map of the stage has at each place the token that stands for it.

Source: Bolya et al. 2022 (arXiv:2210.09461), section 3. Where the released code moves tokens by index, this multiplies by a
matrix of zeros and ones, which rounds the same on every device.
"""

from dataclasses import dataclass
from typing import cast

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from paretina.model.blocks.encoder import SelfAttention, TokenRows, Transformer
from paretina.model.blueprint import Kit
from paretina.model.layers import rows
from paretina.model.wirings.tokens import TokenRun, Tokens
from paretina.shapes import Map

Sizes = Float[Tensor, "batch token 1"]
"""How many places of the map a token stands for."""

Owners = Int[Tensor, "batch place"]
"""The number of the token that stands for a place, or for a token of before."""


@dataclass(frozen=True)
class Matching:
    """Which tokens stay, and which are merged into which; tokens with even numbers are the first set, odd ones the second.

    Attributes:
        stay: numbers within the first set, rising.
        gone: numbers within the first set.
        into: for each of `gone`, the number within the second set.
        first: tokens that stand at the head of the sequence: 1, or 2 with a distillation token.
    """

    stay: Tensor
    gone: Tensor
    into: Tensor
    first: int

    def apply(self, x: Tensor) -> Tensor:
        """Adds each of the merged rows to the row that it goes into; (batch, token, channel) -> (batch, fewer, channel)."""
        one, other = x[:, ::2], x[:, 1::2]
        moves = F.one_hot(self.into, other.shape[1]).to(x.dtype)  # (batch, gone, second set)
        other = other + moves.mT @ rows(one, self.gone)
        one = rows(one, self.stay)
        if self.first == 1:
            return torch.cat((one, other), 1)
        return torch.cat((one[:, :1], other[:, :1], one[:, 1:], other[:, 1:]), 1)

    def renumbered(self, tokens: int) -> Owners:
        """The new number of each token."""
        stays, others = self.stay.shape[1], tokens // 2
        batch, device = self.stay.shape[0], self.stay.device
        one = torch.zeros(batch, tokens - others, dtype=torch.long, device=device)
        one = one.scatter(1, self.stay, torch.arange(stays, device=device).expand(batch, -1))
        one = one.scatter(1, self.gone, stays + self.into)
        other = torch.arange(stays, stays + others, device=device).expand(batch, -1)
        found = torch.cat((one, other), 1)
        if self.first == 2:  # the first of the second set stands behind the first token
            found = torch.where(found == stays, 1, torch.where((found > 0) & (found < stays), found + 1, found))
        one, other = found.split((tokens - others, others), 1)
        both = torch.stack((one[:, :others], other), 2).flatten(1)  # by turns again
        return torch.cat((both, one[:, others:]), 1)


def matched(keys: TokenRows, merged: int, first: int) -> Matching:
    """Pairs the tokens that are most alike.

    Args:
        merged: how many tokens go; no more than the first set has beside the class token.
        first: tokens at the head of the sequence, which stay.
    """
    keys = F.normalize(keys.float(), dim=2)
    scores = keys[:, ::2] @ keys[:, 1::2].mT
    scores = torch.cat((torch.full_like(scores[:, :1], -torch.inf), scores[:, 1:]), 1)  # the class token goes into none
    if first == 2:  # and none into the distillation token
        scores = torch.cat((torch.full_like(scores[:, :, :1], -torch.inf), scores[:, :, 1:]), 2)
    best, into = scores.max(2)
    order = best.argsort(stable=True, dim=1, descending=True)
    gone, stay = order[:, :merged], order[:, merged:].sort(1).values
    return Matching(stay, gone, into.gather(1, gone), first)


class MergedRun(TokenRun):
    """
    Attributes:
        merged: tokens that go in each block.
    """

    def __init__(
        self, adapt: nn.Module | None, width: int, size: tuple[int, int], distilled: bool, blocks: list[nn.Module], merged: int
    ) -> None:
        super().__init__(adapt, width, size, distilled, blocks)
        self.merged = merged

    def forward(self, x: Map) -> tuple[Map, dict[str, Tensor]]:
        tokens, names, (height, width) = self.entered(x)
        first = len(names)
        sizes = torch.ones_like(tokens[:, :, :1])
        owners = torch.arange(tokens.shape[1], device=tokens.device).expand(tokens.shape[0], -1)
        for block in cast("list[Transformer]", list(self.blocks)):
            attention = cast(SelfAttention, block.attention.body)
            keys = attention.mean_key(tokens)
            tokens = block.attention(tokens, sizes.log().squeeze(2)[:, None, None])
            count = min(self.merged, (tokens.shape[1] - first) // 2)
            if count > 0:
                matching = matched(keys, count, first)
                owners = matching.renumbered(tokens.shape[1]).gather(1, owners)
                joined = matching.apply(torch.cat((tokens * sizes, sizes), 2))
                tokens, sizes = joined[:, :, :-1] / joined[:, :, -1:], joined[:, :, -1:]
            tokens = block.perceptron(tokens)
        places = rows(tokens, owners[:, first:]).transpose(1, 2).unflatten(2, (height, width))
        return places, {name: tokens[:, number] for number, name in enumerate(names)}


@dataclass(frozen=True, kw_only=True)
class MergedTokens(Tokens):
    """
    Attributes:
        merged: tokens that go in each block, at least 1; as many as there are to merge, if fewer. 196 tokens and 12 blocks bear
            up to 16.
    """

    merged: int = 8

    def __post_init__(self) -> None:
        if self.merged < 1:
            raise ValueError(
                f"MergedTokens.merged must be at least 1, got {self.merged}; without merging, the wiring is Tokens"
            )

    def run(self, adapt: nn.Module | None, width: int, kit: Kit, blocks: list[nn.Module]) -> TokenRun:
        return MergedRun(adapt, width, kit.size, self.distilled, blocks, self.merged)


EXAMPLES = (MergedTokens(merged=2), MergedTokens(distilled=True, merged=3))
