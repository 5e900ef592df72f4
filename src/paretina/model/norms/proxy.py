"""Proxy norm: layer or group norm whose activations are normalised once more, by what they would be for normal inputs.

Layer and group norm leave each channel of an activation with a mean and a variance of its own, which batch norm would have
removed. Proxy norm removes them without looking at a batch: it sends a normal variable, the proxy, through the same affine
and the same activation, and normalises by mean and variance of what comes out. Two more parameters a channel place and scale
the proxy. So an image's output never depends on its companions, and small batches train like large ones.

    out = (act(w n + b) - E act(w p + b)) / sqrt(Var act(w p + b) + proxy_eps),   p ~ Normal(proxy_bias, (1 + proxy_weight)^2)

where n is what the layer or group norm gives. Without an activation there is only the scale. In MBConv the squeeze's gate
carries the factor, as in the released code, or the next convolution takes it into its weights; a head that pools leaves it
out.

In training it costs one more pass over each map, and the statistics, which are 200 activations a channel whatever the batch;
so small batches pay more (benchmarks/proxy_norm.py). Once shipped the statistics are constants. In bfloat16 the mean is
rounded to bfloat16, as the map is.

Source: Labatie et al. 2021 (arXiv:2106.03743); in EfficientNet: Masters et al. 2021 (arXiv:2106.03640). Expectations are
means over normal quantiles, 200 as in the released code (the paper has 256).

Proxy normalisation is the subject of patent application WO 2023/052547: have this checked before you ship it. It is never a
default and must be chosen explicitly.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from paretina.model.activations.pointwise import Pointwise
from paretina.model.blueprint import Activation, Norm, NormUnit
from paretina.model.layers import overwriting
from paretina.model.roles import Role
from paretina.shapes import Map


class ProxyStatistics(torch.autograd.Function):
    """-mean and 1 / standard deviation of an activation over the proxy, a channel at a time.

    A channel is `act(a q + c)` at the quantiles q, with a = weight (1 + proxy_weight) and c = weight proxy_bias + bias. So the
    derivatives of mean and variance by these two are all that the backward pass needs, and they are sums over the quantiles
    that the forward pass has at hand. As plain differentiable operations it takes three times as long.
    """

    @staticmethod
    def forward(
        ctx: Any,
        weight: Tensor,
        bias: Tensor,
        proxy_weight: Tensor,
        proxy_bias: Tensor,
        quantiles: Tensor,
        eps: float,
        activation: nn.Module,
    ) -> tuple[Tensor, Tensor]:
        spread = proxy_weight + 1
        a, c = weight * spread, torch.addcmul(bias, weight, proxy_bias)
        # on a CPU in portions that stay in the cache, and that one thread does faster than two
        portion = max(1, 32768 // len(quantiles)) if a.is_cpu else len(a)
        found = [moments(*pair, quantiles, activation) for pair in zip(a.split(portion), c.split(portion), strict=True)]
        sums = (torch.cat(parts).div_(len(quantiles)) for parts in zip(*found, strict=True))
        mean, mean_by_a, mean_by_c, variance, half_by_a, half_by_c = sums
        gain = variance.add_(eps).rsqrt_()
        by_half = gain.pow(3)
        ctx.save_for_backward(
            weight, spread, proxy_bias, mean_by_a, mean_by_c, half_by_a.mul_(by_half), half_by_c.mul_(by_half)
        )
        return mean.neg_(), gain

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, by_away: Tensor, by_gain: Tensor) -> tuple[Tensor | None, ...]:
        weight, spread, proxy_bias, mean_by_a, mean_by_c, gain_by_a, gain_by_c = ctx.saved_tensors
        by_a = (by_away * mean_by_a).addcmul_(by_gain, gain_by_a).neg_()
        by_c = (by_away * mean_by_c).addcmul_(by_gain, gain_by_c).neg_()
        by_weight = (by_a * spread).addcmul_(by_c, proxy_bias)
        return by_weight, by_c, by_a * weight, by_c * weight, None, None, None


def moments(a: Tensor, c: Tensor, quantiles: Tensor, activation: nn.Module) -> tuple[Tensor, ...]:
    """Sums over the quantiles, one a channel: of f = act(a q + c), q f' and f', then of g = f - mean squared, q f' g and f' g.

    The last three are variance and half of its derivatives by a and c, but for the number of quantiles.
    """
    column = quantiles[:, None]
    points = torch.addcmul(c, a, column)  # quantile channel
    if isinstance(activation, Pointwise) and activation.function == "silu":  # half of the time of what follows
        gate = torch.sigmoid(points)
        acted = points.mul_(gate)
        slope = torch.addcmul(gate, acted, gate, value=-1).add_(acted)
    else:
        with torch.enable_grad():
            points.requires_grad_()
            acted = activation(points.clone()[:, :, None, None]).flatten(1)  # it may write over its input
            (slope,) = torch.autograd.grad(acted, points, torch.ones_like(points))
        acted = acted.detach()
    sloped = slope * column
    total, by_a, by_c = acted.sum(0), sloped.sum(0), slope.sum(0)
    centred = acted.sub_(total / len(quantiles))
    half_by_a, half_by_c = sloped.mul_(centred).sum(0), slope.mul_(centred).sum(0)
    return total, by_a, by_c, centred.square_().sum(0), half_by_a, half_by_c


def plain_statistics(
    weight: Tensor,
    bias: Tensor,
    proxy_weight: Tensor,
    proxy_bias: Tensor,
    quantiles: Tensor,
    eps: float,
    activation: nn.Module,
) -> tuple[Tensor, Tensor]:
    """What `ProxyStatistics` computes, with gradients also for an activation that learns."""
    points = torch.addcmul(torch.addcmul(bias, weight, proxy_bias), weight * (1 + proxy_weight), quantiles[:, None])
    acted = activation(points[:, :, None, None]).flatten(1)  # each quantile is an image of one pixel
    mean = acted.mean(0)
    return -mean, ((acted - mean).square().mean(0) + eps).rsqrt()


class ProxyNormUnit(NormUnit):
    """Group norm, activation, and the normalisation by the proxy after them.

    Attributes:
        weight: factor before the activation, one per channel; the only parameter without an activation.
        bias: added before the activation.
        proxy_weight: by how much the proxy's standard deviation is above 1.
        proxy_bias: the proxy's mean.
        away, factor: buffers with the result of `behind`; only after `fold`.
        given: the result of `behind`, while a network runs that has computed it for all its units.
    """

    ROLES: dict[str, Role] = {"weight": "norm", "bias": "norm", "proxy_weight": "proxy", "proxy_bias": "proxy"}

    bias: nn.Parameter
    quantiles: Tensor
    away: Tensor | None
    factor: Tensor | None

    def __init__(self, choice: "ProxyNorm", width: int, activation: nn.Module | None) -> None:
        super().__init__()
        self.choice = choice
        self.activation = activation
        self.given: tuple[Tensor, Tensor] | None = None
        self.weight = nn.Parameter(torch.empty(width))
        self.register_buffer("away", None)
        self.register_buffer("factor", None)
        if activation is None:
            self.register_parameter("bias", None)
        else:
            self.bias = nn.Parameter(torch.empty(width))
            self.proxy_weight = nn.Parameter(torch.empty(width))
            self.proxy_bias = nn.Parameter(torch.empty(width))
            self.register_buffer("quantiles", torch.empty(choice.quantiles), persistent=False)
            self.reset_buffers()

    @property
    def apart(self) -> bool:
        return self.activation is not None

    def reset_parameters(self) -> None:
        for parameter in self.parameters(recurse=False):
            parameter.zero_()
        self.weight.fill_(1.0)

    def reset_buffers(self) -> None:
        if self.activation is not None:
            count = len(self.quantiles)
            self.quantiles.copy_(torch.special.ndtri((torch.arange(count, dtype=torch.float64) + 0.5) / count))

    def behind(self) -> tuple[Tensor, Tensor]:
        """-mean and 1 / standard deviation of the activated proxy, shaped (channel, 1, 1); in float32 also under autocast."""
        if self.away is not None and self.factor is not None:
            return self.away, self.factor
        return self.given or statistics([self])[0]

    def acted(self, x: Map) -> Map:
        x = F.group_norm(x, self.choice.groups, self.weight, self.bias, self.choice.eps)
        return x if self.activation is None else self.activation(x)

    def parts(self, x: Map) -> tuple[Map, Tensor | None]:
        x = self.acted(x)
        if self.activation is None:
            return x, None
        away, gain = self.behind()
        # a sum of two precisions takes twenty times as long on CPUs; the map itself is not finer than its own
        away = away.to(x.dtype)
        # in place where the activation's backward pass does without its output; `x - mean` would write the gradient once more
        return (x.add_(away) if isinstance(self.activation, Pointwise) else x + away), gain

    def centred(self, x: Map) -> Map:
        return self.parts(x)[0]

    def gain(self) -> Tensor | None:
        return None if self.activation is None else self.behind()[1]

    def forward(self, x: Map) -> Map:
        x = self.acted(x)
        if self.activation is None:
            return x
        away, gain = self.behind()
        return torch.addcmul((away * gain).to(x.dtype), x, gain.to(x.dtype))

    def extra_repr(self) -> str:
        return f"{len(self.weight)}, {self.choice}"

    def fold(self) -> None:
        """Converts to inference form in place: keeps the statistics as constants and drops the proxy."""
        if self.activation is None or self.away is not None:
            return
        with torch.no_grad():
            self.away, self.factor = self.behind()
        del self.proxy_weight, self.proxy_bias, self.quantiles


def statistics(units: Sequence[ProxyNormUnit]) -> list[tuple[Tensor, Tensor]]:
    """The result of `behind` for several units at once with the same settings and activation, or for a single one."""
    first = units[0]
    if first.activation is None:
        raise TypeError("there are no statistics without an activation")
    names = ("weight", "bias", "proxy_weight", "proxy_bias")
    parameters = [[getattr(unit, name) for unit in units] for name in names]
    joined = [torch.cat(each) if len(units) > 1 else each[0] for each in parameters]
    learns = next(first.activation.parameters(), None) is not None
    # inference mode records nothing, so no derivative of the activation can be had there, and none is needed
    plain = learns or not torch.is_grad_enabled()
    function: Callable[..., tuple[Tensor, Tensor]] = plain_statistics if plain else ProxyStatistics.apply
    found = function(*joined, first.quantiles, first.choice.proxy_eps, first.activation)
    widths = [len(unit.weight) for unit in units]
    away, gain = (each[:, None, None].split(widths) for each in found)
    return list(zip(away, gain, strict=True))


def give(network: nn.Module, inputs: Any) -> None:
    """Computes the statistics of all units of a network before it runs: many small computations take far longer than one."""
    alike: dict[str, list[ProxyNormUnit]] = {}
    for unit in network.proxied:  # type: ignore[union-attr]
        if unit.away is None:
            alike.setdefault(f"{unit.choice} {unit.activation}", []).append(unit)
    for units in alike.values():
        for unit, given in zip(units, statistics(units), strict=True):
            unit.given = given


def take_back(network: nn.Module, inputs: Any, output: Any) -> None:
    for unit in network.proxied:  # type: ignore[union-attr]
        unit.given = None


@dataclass(frozen=True, kw_only=True)
class ProxyNorm(Norm):
    """
    Attributes:
        groups: of the group norm; each width of the network must be a multiple of it. 1 is layer norm.
        eps: added to the variance of the group norm.
        proxy_eps: added to the variance of the proxy; large on purpose.
        quantiles: number of points at which the proxy is evaluated; the paper has 256.
    """

    groups: int = 1
    eps: float = 1e-3
    proxy_eps: float = 0.03
    quantiles: int = 200

    def __post_init__(self) -> None:
        if self.groups < 1 or self.quantiles < 2 or self.eps < 0 or self.proxy_eps < 0:
            raise ValueError(f"ProxyNorm needs groups >= 1, quantiles >= 2, eps >= 0 and proxy_eps >= 0, got {self}")

    def make(self, width: int, activation: Activation | None) -> NormUnit:
        if width % self.groups:
            raise ValueError(f"ProxyNorm(groups={self.groups}) needs widths that are multiples of {self.groups}, got {width}")
        return ProxyNormUnit(self, width, None if activation is None else overwriting(activation.make(width)))

    def connect(self, network: nn.Module) -> None:
        units = [module for module in network.modules() if isinstance(module, ProxyNormUnit)]
        # not by attribute, which would make them parts of the network a second time
        network.proxied = tuple(  # type: ignore[assignment]
            unit for unit in units if unit.activation is not None and next(unit.activation.parameters(), None) is None
        )
        network.register_forward_pre_hook(give)
        network.register_forward_hook(take_back, always_call=True)


EXAMPLES = (ProxyNorm(), ProxyNorm(groups=2, eps=1e-5))
