"""Clipping: gradients that are too long are shortened before the step.

Acts once an update, after accumulation and after loss scaling is undone. Keeps rare huge gradients from wrecking a run; a limit
that acts at every update is a lower learning rate in disguise, so the norm before clipping is returned for the log.

ClipNorm shortens the gradient of the whole model, so its direction stays; costs one pass. AdaptiveClip compares each output
unit's gradient with its weights, which allows larger rates where batch norm is missing; the classifier is better left alone.

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
    """A way of shortening gradients."""

    PLUGINS = ("paretina.train.clipping",)
    LEFT_OUT = OFF
    LOW_PRECISION = Never("gradients are float32")

    def choose(self, named: Iterable[tuple[str, nn.Parameter]], place_of: Callable[[str], str]) -> list[nn.Parameter]:
        """The parameters that learn and whose gradients this clip acts on; `place_of` gives the place of the one so named."""
        return [parameter for _, parameter in named if parameter.requires_grad]

    @abstractmethod
    def __call__(self, parameters: Iterable[nn.Parameter], clock: Clock) -> Float[Tensor, ""]:
        """Shortens the gradients in place and returns their total norm as it was before.

        Nothing waits for the device, and parameters without a gradient are passed over. A norm that is not finite is returned
        as it is, and the gradients are then of no use.
        """


@dataclass(frozen=True, kw_only=True)
class ClipNorm(Clip):
    """Shortens all gradients by one factor.

    Attributes:
        limit: largest norm of all gradients together; above 0.
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
            # clip_grad_norm_ divides by the norm plus 1e-6, which changes the bits of runs that were trained with this
            foreach_mul_(gradients, (limit / total).clamp(max=1.0))
        return total


@dataclass(frozen=True, kw_only=True)
class AdaptiveClip(Clip):
    """Shortens the gradient of each output unit that is long beside the unit's weights.

    A unit is a row of a kernel; a bias, or the scale or shift of a norm, is one unit as a whole.

    Attributes:
        limit: largest norm of a unit's gradient as a share of the norm of its weights; above 0.
        floor: smallest norm of weights that is reckoned with, so that units that start at zero can learn.
        exclude: places whose gradients are left alone.
    """

    limit: Schedule = field(default=Constant(value=0.01), metadata=traits(rises=STAYS))
    floor: float = 1e-3
    exclude: tuple[str, ...] = ("head",)

    def __post_init__(self) -> None:
        if self.floor <= 0:
            raise ValueError(f"AdaptiveClip needs floor > 0, got floor={self.floor}")
        require_within(self, 0.0, math.inf, "limit", above=True)

    def choose(self, named: Iterable[tuple[str, nn.Parameter]], place_of: Callable[[str], str]) -> list[nn.Parameter]:
        """The parameters that learn, but for those in the excluded places.

        Raises:
            ValueError: no parameter stands in an excluded place.
        """
        placed = [(place_of(name), parameter) for name, parameter in named]
        places = {place for place, _ in placed}
        for place in self.exclude:
            if place not in places:
                raise ValueError(
                    f"AdaptiveClip.exclude names {place!r}, but parameters are only in {', '.join(sorted(places))}"
                )
        return [parameter for place, parameter in placed if parameter.requires_grad and place not in self.exclude]

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
    """The norm of each row, in a shape that multiplies the tensor; of a vector or a number, the norm of the whole."""
    axes = tuple(range(1, tensor.ndim)) if tensor.ndim > 1 else None
    return torch.linalg.vector_norm(tensor, dim=axes, keepdim=True)


EXAMPLES = (ClipNorm(), AdaptiveClip())
