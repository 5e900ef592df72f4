"""TwoPaths: a chain of ConvNeXt blocks in which the places that matter less take a short path, as small predictors find them.

A map cannot lose places as a transformer loses tokens, since its convolutions need all of them. So after some of the blocks a
predictor scores every place: a share of them goes on through both linear layers of each block, the others through one layer of
norm and one linear layer, with a quarter of the width of the former. The depthwise convolutions see all places. ConvNeXt-T with
0.7: 81.6 % in place of 82.1, 3.6 GMACs in place of 4.5; images per second were not published, and gathering places and putting
them back takes its own time. Training takes no less time than without: there both paths are computed everywhere.

It is trained by the objective `TokenDropping`, from the weights of the network with the wiring `Chain`, whose parameters it
has; predictors and short paths are new. A place that takes the short path takes it up to the end of the stage.

Extras: "kept_excess" (batch, predictor): the share of places on the long path, less the share that should be; "kept_places"
(batch, rows, columns): how many of the predictors have kept a place.

Source: Rao et al. 2022 (arXiv:2207.01580), the part on hierarchical networks; that a place stays on the short path is a choice
made here, as for tokens.
"""

from dataclasses import dataclass
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from paretina.model.blocks.convnext import ConvNeXt, ConvNeXtBody, LayerScale, ShortPath
from paretina.model.blueprint import Block, Chain, Kit, each_narrowed
from paretina.model.layers import Residual
from paretina.model.wirings.dropped_tokens import KeepPredictor
from paretina.shapes import Map


class TwoPathRun(nn.Module):
    """The blocks, by their numbers as in a chain, and the predictors.

    Attributes:
        predictors: by the number of the block that each stands before.
        shares: of all places, that each predictor keeps on the long path.
    """

    def __init__(self, blocks: list[nn.Module], width: int, after: tuple[int, ...], shares: tuple[float, ...]) -> None:
        super().__init__()
        self.depth = len(blocks)
        for number, block in enumerate(blocks):
            if number >= after[0]:
                body = cast(ConvNeXtBody, cast(Residual, block).body)
                body.short_path = ShortPath(width, cast(LayerScale, body.scale).start)
            self.add_module(str(number), block)
        self.predictors = nn.ModuleDict({str(number): KeepPredictor(width) for number in after})
        self.shares = shares

    def counts(self, places: int) -> list[int]:
        """How many of that many places each predictor keeps."""
        return [max(1, int(share * places + 1e-9)) for share in self.shares]

    def forward(self, x: Map) -> tuple[Map, dict[str, Tensor]]:
        run = self.masked if self.training else self.gathered
        x, kept, found = run(x)
        wanted = torch.tensor(self.shares, device=x.device)
        return x, {"kept_excess": found - wanted, "kept_places": kept}

    def masked(self, x: Map) -> tuple[Map, Tensor, Tensor]:
        """Both paths everywhere, joined by which one is taken."""
        kept: Tensor | None = None
        times: Tensor | None = None
        found: list[Tensor] = []
        for number in range(self.depth):
            if str(number) in self.predictors:
                before = torch.ones(x.shape[0], x.shape[2] * x.shape[3], device=x.device) if kept is None else kept.flatten(1)
                scores = self.scores(number, x)
                chosen = F.gumbel_softmax(scores.float(), hard=True, dim=2)[:, :, 0] * before
                found.append(chosen.mean(1))
                kept = chosen.unflatten(1, x.shape[2:])
                times = kept if times is None else times + kept
            block = self.get_submodule(str(number))
            x = block(x) if kept is None else block(x, kept)
        assert times is not None
        return x, times, torch.stack(found, 1)

    def gathered(self, x: Map) -> tuple[Map, Tensor, Tensor]:
        """Each place on its path only."""
        batch, places = x.shape[0], 0
        long: Tensor | None = None
        short: Tensor | None = None
        times, counts = torch.empty(0), iter(tuple[int, ...]())
        found: list[Tensor] = []
        for number in range(self.depth):
            if str(number) in self.predictors:
                scores = self.scores(number, x)[:, :, 0]
                if long is None:
                    places = scores.shape[1]
                    counts = iter(tuple(self.counts(places)))
                    long = torch.arange(places, device=x.device).expand(batch, -1)
                    times = torch.zeros(batch, places, device=x.device)
                count = next(counts)
                order = scores.gather(1, long).topk(count, 1, sorted=False).indices.sort(1).values
                long = long.gather(1, order)
                there = torch.zeros(batch, places, device=x.device).scatter(1, long, 1.0)
                short = (1.0 - there).topk(places - count, 1, sorted=False).indices
                times = times + there
                found.append(torch.full((batch,), count / places, device=x.device))
            block = self.get_submodule(str(number))
            x = block(x) if long is None else block(x, None, long, short)
        return x, times.unflatten(1, x.shape[2:]), torch.stack(found, 1)

    def scores(self, number: int, x: Map) -> Tensor:
        """Of each place, from it and from the mean of all places."""
        places = x.flatten(2).transpose(1, 2)
        ones = torch.ones(places.shape[:2], device=x.device)
        return cast(Tensor, self.predictors[str(number)](places, ones))


@dataclass(frozen=True, kw_only=True)
class TwoPaths(Chain):
    """
    Attributes:
        keep: share of the places that the first predictor keeps on the long path, in (0, 1].
        less: how much less of all places each further one keeps.
        after: how many blocks stand before each predictor, rising, at least 1; fewer than there are blocks.
    """

    LEARNS_BY = ("the predictors of places", "TokenDropping")

    keep: float = 0.7
    less: float = 0.2
    after: tuple[int, ...] = (1, 2, 3)

    def __post_init__(self) -> None:
        if not self.after or min(self.after) < 1 or sorted({*self.after}) != [*self.after]:
            raise ValueError(f"TwoPaths.after has numbers of blocks, at least 1 and rising, got {self.after}")
        if not 0 < self.keep <= 1 or self.less < 0 or self.shares()[-1] <= 0:
            raise ValueError(
                f"TwoPaths keeps a share in (0, 1] at each predictor, got {', '.join(f'{share:g}' for share in self.shares())} "
                f"from keep={self.keep} and less={self.less}"
            )

    def shares(self) -> tuple[float, ...]:
        """Of all places, that each predictor keeps on the long path."""
        return tuple(self.keep - at * self.less for at in range(len(self.after)))

    def make(self, block: Block, depth: int, width_in: int, width_out: int, stride: int, kit: Kit) -> nn.Module:
        if not isinstance(block, ConvNeXt):
            raise ValueError(f"TwoPaths is for blocks of the kind ConvNeXt, got {block}; leave this stage a Chain")
        if self.after[-1] >= depth:
            raise ValueError(f"TwoPaths.after is {self.after}, but the stage has {depth} blocks; each is to stand before one")
        if width_out < 4:
            raise ValueError(f"TwoPaths needs a width of at least 4, got {width_out}")
        blocks = []
        for each in each_narrowed(block, depth, self.hidden):
            blocks.append(kit.block(each, width_in, width_out, stride))
            kit = kit.behind(blocks[-1], width_in)
            width_in, stride = width_out, 1
        return TwoPathRun(blocks, width_out, self.after, self.shares())


EXAMPLES = (TwoPaths(after=(1,)), TwoPaths(keep=0.9, less=0.3, after=(1, 2)))
