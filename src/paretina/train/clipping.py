"""Gradient clipping before the optimizer step.

Applied once per update, after accumulation and unscaling. Keeps rare huge gradients from ruining a run; a limit that acts at
every update is a lower learning rate in disguise, so the norm before clipping is logged.

ClipNorm scales the gradient of the whole model and keeps its direction; costs one pass. AdaptiveClip compares the gradient of
each output unit with its weights, which allows larger learning rates without batch norm; it is better not applied to the
classifier.

Source: Pascanu et al. 2013 (arXiv:1211.5063), algorithm 1; adaptive: Brock et al. 2021 (arXiv:2102.06171), 4.1.
"""

import math
from abc import abstractmethod
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.utils import get_total_norm

from paretina.clock import Clock
from paretina.data.bounds import require_within
from paretina.schedules import Constant, Schedule
from paretina.torch_internals import foreach_mul_
from paretina.traits import OFF, STAYS, Method, Never, traits


@dataclass(frozen=True, kw_only=True)
class Clip(Method):
    """A method of gradient clipping."""

    PLUGINS = ("paretina.train.clipping",)
    LEFT_OUT = OFF
    LOW_PRECISION = Never("gradients are float32")

    def choose(self, named: Iterable[tuple[str, nn.Parameter]], place_of: Callable[[str], str]) -> list[nn.Parameter]:
        """The trainable parameters whose gradients are clipped; `place_of` gives the place of a parameter by name."""
        return [parameter for _, parameter in named if parameter.requires_grad]

    @abstractmethod
    def __call__(self, parameters: Iterable[nn.Parameter], clock: Clock) -> Float[Tensor, ""]:
        """Clips the gradients in place and returns their total norm before clipping.

        Does not synchronise with the device; parameters without a gradient are skipped. If the norm is not finite, it is
        returned unchanged and the gradients are unusable.
        """


@dataclass(frozen=True, kw_only=True)
class ClipNorm(Clip):
    """Scales all gradients by one factor.

    Attributes:
        limit: largest total gradient norm; above 0.
    """

    ELSEWHERE = ("clip_grad",)

    limit: Schedule = field(default=Constant(value=1.0), metadata=traits(rises=STAYS))

    def __post_init__(self) -> None:
        require_within(self, 0.0, math.inf, "limit", above=True)

    def __call__(self, parameters: Iterable[nn.Parameter], clock: Clock) -> Float[Tensor, ""]:
        limit = self.limit(clock)
        gradients = gradients_of(parameters)
        total = get_total_norm(gradients)
        if gradients:
            # clip_grad_norm_ divides by the norm plus 1e-6, which would change the results of existing runs
            foreach_mul_(gradients, (limit / total).clamp(max=1.0))
        return total


CLASSIFIER = "classifier"
"""The module of the last layer in every head."""


@dataclass(frozen=True, kw_only=True)
class AdaptiveClip(Clip):
    """Clips the gradient of each output unit relative to the norm of the unit's weights.

    A unit is a row of a kernel; a bias, or the scale or shift of a norm layer, counts as one unit.

    Attributes:
        limit: largest ratio of a unit's gradient norm to its weight norm; above 0. floor: lower bound of the weight norm, so
        that units initialised to zero can learn. exclude: places whose gradients are not clipped, or "classifier" for the last
        layer alone, as in the source: a head has a
            convolution before it in some networks.
    """

    limit: Schedule = field(default=Constant(value=0.01), metadata=traits(rises=STAYS))
    floor: float = 1e-3
    exclude: tuple[str, ...] = (CLASSIFIER,)

    def __post_init__(self) -> None:
        if self.floor <= 0:
            raise ValueError(f"AdaptiveClip needs floor > 0, got floor={self.floor}")
        require_within(self, 0.0, math.inf, "limit", above=True)

    def choose(self, named: Iterable[tuple[str, nn.Parameter]], place_of: Callable[[str], str]) -> list[nn.Parameter]:
        """The trainable parameters outside the excluded places.

        Raises:
            ValueError: an excluded place has no parameters.
        """
        placed = [({place_of(name), *([CLASSIFIER] if CLASSIFIER in name.split(".") else [])}, each) for name, each in named]
        places = {place for own, _ in placed for place in own}
        for place in self.exclude:
            if place not in places:
                raise ValueError(
                    f"AdaptiveClip.exclude names {place!r}, but parameters are only in {', '.join(sorted(places))}"
                )
        return [each for own, each in placed if each.requires_grad and not own & set(self.exclude)]

    @torch.no_grad()
    def __call__(self, parameters: Iterable[nn.Parameter], clock: Clock) -> Float[Tensor, ""]:
        limit = self.limit(clock)
        parameters = list(parameters)
        total = get_total_norm(gradients_of(parameters))
        for parameter in parameters:
            if parameter.grad is not None:
                allowed = limit * unit_norm(parameter).clamp(min=self.floor)
                parameter.grad.mul_((allowed / unit_norm(parameter.grad)).clamp(max=1.0))
        return total


def gradients_of(parameters: Iterable[nn.Parameter]) -> list[Tensor]:
    return [parameter.grad for parameter in parameters if parameter.grad is not None]


def unit_norm(tensor: Tensor) -> Tensor:
    """The norm of each row, broadcastable to the tensor; for a vector or scalar, the norm of the whole."""
    axes = tuple(range(1, tensor.ndim)) if tensor.ndim > 1 else None
    return torch.linalg.vector_norm(tensor, dim=axes, keepdim=True)


EXAMPLES = (ClipNorm(), AdaptiveClip())
