"""Quantised: the network learns with the rounding of int8 in its forward pass, so that its weights bear it.

For networks that lose too much by calibration alone (`paretina ship --precision int8`). Weights are rounded to 255 values a
channel around zero, inputs of convolutions and linear layers to 256 values a tensor, whose range is a moving average of the
extremes of the batches; gradients pass the rounding as if it were not there, and are zero outside the range. A weight's scale
is per output channel, so rounding before the norm is folded in is the same as rounding after it. Other operations, such as
sums of branches and products of attention, are not rounded.

Only the training pass is rounded: evaluation, average and model file are the float network, whose state has no new entries;
`ship` calibrates it as any other. The ranges are a buffer of the learner, so a checkpoint has them, and a resumed run is the
same. The training pass is not compiled, whatever the plan says.

Source: Jacob et al. 2017 (arXiv:1712.05877), section 3: rounding in training, moving averages of ranges; straight-through
gradients and per-channel weights: Nagel et al. 2021 (arXiv:2106.08295), sections 2 and 4; freezing ranges and norm statistics:
Krishnamoorthi 2018 (arXiv:1806.08342), section 3.2.
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor, nn

from paretina.clock import Clock
from paretina.data.batch import Batch
from paretina.model.blueprint import Model
from paretina.model.build import Network
from paretina.shapes import Loss
from paretina.train.objective import Learner, Outputs, Teacher, Term
from paretina.train.objectives.supervised import Supervised
from paretina.traits import SETTING, Never, traits

if TYPE_CHECKING:
    from paretina.train.recipe import Recipe

ROUNDED = (nn.Conv2d, nn.Linear)
"""Layers whose weights and inputs are rounded."""

STEPS = 127
"""Whole numbers on each side of zero that a weight is rounded to; those of an input are 0 to 2 * STEPS + 1."""


def rounded_weight(weight: Tensor) -> Tensor:
    """A weight of any shape, (output channel, ...), rounded to multiples of 1/127 of each channel's largest magnitude."""
    largest = weight.detach().abs().flatten(1).amax(1).float()
    scale = (largest / STEPS).clamp(min=torch.finfo(torch.float32).tiny)
    zero = torch.zeros_like(scale, dtype=torch.int32)
    return torch.fake_quantize_per_channel_affine(weight, scale, zero, 0, -STEPS, STEPS)


def rounded_input(x: Tensor, low: Tensor, high: Tensor) -> Tensor:
    """A tensor rounded to 256 equally spaced values from `low` to `high`; zero is always one of them, and the range has it."""
    most = 2 * STEPS + 1
    low, high = low.clamp(max=0.0), high.clamp(min=0.0)
    scale = ((high - low) / most).clamp(min=torch.finfo(torch.float32).eps)
    zero = torch.round(-low / scale).clamp(0, most).int()
    return torch.fake_quantize_per_tensor_affine(x.float(), scale, zero, 0, most).to(x.dtype)


class Uncompiled(nn.Module):
    """Calls a network without what it was compiled to, since rounding changes its weights at each call."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Any:
        return self.network.forward(images, extras=True)


class QuantisedLearner(Learner):
    """
    Attributes:
        ranges: lowest and highest value of the input of each rounded layer, (layer, 2); infinite until it was seen.
    """

    ranges: Tensor

    def __init__(self, network: Network, terms: tuple[Term, ...], teacher: Teacher | None, share: float, until: float) -> None:
        super().__init__()
        self.network = network
        self.terms = {type(term).__name__: term.make(teacher) for term in terms}
        self.share, self.until = share, until
        self.layers = {name: each for name, each in network.named_modules() if isinstance(each, ROUNDED)}
        start = torch.tensor([math.inf, -math.inf]).repeat(len(self.layers), 1)
        self.register_buffer("ranges", start.to(next(network.parameters()).device))

    def forward(self, batch: Batch, clock: Clock) -> dict[str, Loss]:
        if self.training:
            weights = {f"network.{name}.weight": rounded_weight(layer.weight) for name, layer in self.layers.items()}
            with self.rounding(moving=clock.progress < self.until):
                logits, extras = torch.func.functional_call(Uncompiled(self.network), weights, (batch.images,))
        else:
            logits, extras = self.network(batch.images, extras=True)
        outputs = Outputs(logits.float(), extras)
        return {name: term(outputs, batch, clock) for name, term in self.terms.items()}

    @contextmanager
    def rounding(self, moving: bool) -> Iterator[None]:
        """Context in which the inputs of layers are rounded.

        Args:
            moving: whether the ranges follow the inputs; those that were never seen are set in any case.
        """

        def before(number: int) -> Any:
            def rounded(_: nn.Module, given: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
                self.see(number, given[0], moving)
                low, high = self.ranges[number].clone()
                return (rounded_input(given[0], low, high), *given[1:])

            return rounded

        hooks = [layer.register_forward_pre_hook(before(number)) for number, layer in enumerate(self.layers.values())]
        try:
            yield
        finally:
            for hook in hooks:
                hook.remove()

    @torch.no_grad()
    def see(self, number: int, x: Tensor, moving: bool) -> None:
        """Moves the range of a layer towards the extremes of an input."""
        found, known = torch.stack(torch.aminmax(x.detach().float())), self.ranges[number]
        moved = known.lerp(found, self.share) if moving else known
        self.ranges[number] = torch.where(known.isfinite(), moved, found)

    def result(self) -> Network:
        return self.network


@dataclass(frozen=True, kw_only=True)
class Quantised(Supervised):
    """
    Attributes:
        share: how far the range of an input moves towards the extremes of a batch, in (0, 1].
        until: fraction of the run after which the ranges stay, in [0, 1].
    """

    LOW_PRECISION: ClassVar[bool | Never] = False
    MAPS: ClassVar[bool] = False

    share: float = field(default=0.05, metadata=traits(left_out=SETTING))
    until: float = field(default=0.7, metadata=traits(left_out=SETTING))

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.share <= 1:
            raise ValueError(f"Quantised.share is a fraction in (0, 1], got {self.share:g}")
        if not 0 <= self.until <= 1:
            raise ValueError(f"Quantised.until is a fraction of the run, in [0, 1], got {self.until:g}")

    def check(self, recipe: "Recipe", model: Model) -> None:
        super().check(recipe, model)
        rounded = next((table.quantiser for table in model.blueprints() if table.quantiser is not None), None)
        if rounded is not None:
            raise ValueError(
                f"Quantised rounds layers as int8 does, and those of this network are rounded by {type(rounded).__name__} "
                "already; leave one out: model.quantiser=none, or objective=Supervised"
            )

    def make(self, network: Network, teacher: Teacher | None) -> Learner:
        return QuantisedLearner(network, self.terms, teacher, self.share, self.until)


EXAMPLES = (Quantised(),)
