"""The layers of blocks: convolution, residual, dropout, squeeze-and-excitation, pixel normalisation.

Rates are buffers that the training loop sets, never Python floats: a changing float would trigger recompilation for every
value. They are not part of the state dict, and nothing is drawn while a module is in evaluation mode or its rate was never set.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from paretina.model.rounding import LayerRounding, settled
from paretina.shapes import Map

Pixels = UInt8[Tensor, "batch _channel _height _width"] | Map
"""The input of a network: `Images` of `paretina.shapes`, with any number of channels."""


def overwriting(activation: nn.Module) -> nn.Module:
    """Lets an activation overwrite its input, if it can; for callers that created the input and no longer need it.

    Otherwise activations keep their input, since a block may use it again: one that begins with an activation has a shortcut
    from the same map.
    """
    if isinstance(getattr(activation, "inplace", None), bool):
        activation.inplace = True  # type: ignore[assignment]
    return activation


class Convolution(nn.Conv2d):
    """A convolution that supports TensorFlow's padding, and can stay in float32 inside a bfloat16 network.

    Attributes:
        same: pad so that the output has ceil(size / stride) pixels, an odd pixel at the end (TensorFlow's SAME). With stride 1,
            or if the padding is even, this is symmetric padding.
        float32: compute in float32 under autocast; a `Plan` sets it for layers whose bfloat16 kernels are slow.
        rounding: how weights and inputs are rounded to few bits; None for not at all.
        kept: whether its block asks for more bits than others have, or floats, where layers are rounded.
    """

    def __init__(
        self,
        width_in: int,
        width_out: int,
        kernel: int | tuple[int, int],
        stride: int,
        groups: int,
        *,
        bias: bool,
        pad: bool = True,
        same: bool = False,
    ) -> None:
        sides = (kernel, kernel) if isinstance(kernel, int) else kernel
        padded = pad and not (same and stride > 1)
        symmetric = ((sides[0] - 1) // 2, (sides[1] - 1) // 2) if padded else (0, 0)
        super().__init__(width_in, width_out, sides, stride, padding=symmetric, groups=groups, bias=bias)
        self.same = same and stride > 1 and max(sides) > 1
        self.float32 = False
        self.rounding: LayerRounding | None = None
        self.kept = False

    @property
    def depthwise(self) -> bool:
        return self.groups == self.in_channels and self.groups > 1

    def forward(self, x: Map, gain: Tensor | None = None) -> Map:
        """The convolution of `x`, or of `x` times a gain shaped (channel, 1, 1), which is multiplied into the weights."""
        if self.rounding is not None:
            x, weight = self.rounding.both(x if gain is None else x * gain.to(x.dtype), self.weight)
        else:
            weight = self.weight if gain is None else self.scaled(gain)
        if self.float32 and not x.is_meta and torch.is_autocast_enabled(x.device.type):
            with torch.autocast(x.device.type, enabled=False):
                return self.convolve(x.float(), weight)
        return self.convolve(x, weight)

    def fold(self) -> None:
        """The same layer, whose weight is the rounded one."""
        if self.rounding is not None:
            self.rounding = settled(self, self.rounding)

    def scaled(self, gain: Tensor) -> Tensor:
        """The weights, each times the gain of its input channel."""
        per_group = gain.view(self.groups, 1, -1, 1, 1)
        return (self.weight.unflatten(0, (self.groups, -1)) * per_group).flatten(0, 1)

    def convolve(self, x: Map, weight: Tensor) -> Map:
        if self.kernel_size == (1, 1) and self.groups == 1 and (as_product(x) or self.overruns(x)):
            step = self.stride[0]
            places = x.permute(0, 2, 3, 1)[:, ::step, ::step]  # sliced like this, its gradient is in channels_last too
            out = F.linear(places.reshape(-1, self.in_channels), weight.flatten(1), self.bias)
            return out.view(*places.shape[:3], -1).permute(0, 3, 1, 2)
        padding, edge = self.padding, 0.0 if self.rounding is None else self.rounding.edge
        if self.same:
            rows, columns = (self.missing(side, axis) for axis, side in enumerate(x.shape[-2:]))
            padding = (rows // 2, columns // 2)
            if rows % 2 or columns % 2 or edge:
                x = F.pad(x, (columns // 2, columns - columns // 2, rows // 2, rows - rows // 2), value=edge)
                padding = (0, 0)
        elif edge and any(padding):
            rows, columns = (int(side) for side in padding)
            x, padding = F.pad(x, (columns, columns, rows, rows), value=edge), (0, 0)
        return F.conv2d(x, weight, self.bias, self.stride, padding, self.dilation, self.groups)

    def overruns(self, x: Map) -> bool:
        """Whether the gradient of a 1x1 convolution's weights would be written beyond its memory, which ends the process.

        torch 2.14 does that on CPUs where the stride is above 1, there are fewer input channels than a register has floats (8
        with AVX2, 16 with AVX-512), and the picture, what it is a part of, or the weights are in channels_last; with AVX-512
        for some numbers of pictures only, such as 33 and 37.
        """
        return self.in_channels < 16 and self.stride[0] > 1 and x.device.type == "cpu"

    def missing(self, side: int, axis: int) -> int:
        """Pixels of padding that a side needs for an output of ceil(side / stride); axis 0 has rows, 1 columns."""
        kernel, stride = self.kernel_size[axis], self.stride[axis]
        return max(0, (-(-side // stride) - 1) * stride + kernel - side)

    def extra_repr(self) -> str:
        return super().extra_repr() + (", same" if self.same else "")


PRODUCT_PLACES = 256
"""Places of a batch up to which a 1x1 convolution in float32 is computed as a matrix product; see `as_product`."""


def as_product(x: Map) -> bool:
    """Whether a 1x1 convolution is computed as a matrix product over all places of the batch.

    That is faster on CPUs in channels_last: in bfloat16 nearly always, in float32 with few places (`records/pointwise`).
    """
    if x.device.type != "cpu" or torch.compiler.is_compiling() or not x.is_contiguous(memory_format=torch.channels_last):
        return False
    low = x.dtype == torch.bfloat16 or torch.is_autocast_enabled("cpu")
    return low or len(x) * x.shape[2] * x.shape[3] <= PRODUCT_PLACES


def pooled(x: Map) -> Float[Tensor, "batch channel"]:
    """The mean over all places, with a gradient in the memory format of `x`.

    That of `x.mean((2, 3))` has no format of its own, so where only sums stand between the head and a stage, the whole chain of
    residual branches would get gradients in another format than its images, and copy each of them.
    """
    return F.avg_pool2d(x, x.shape[2:]).flatten(1)


class Rate(nn.Module):
    """Base of layers with a drop rate that the training loop sets.

    Attributes:
        rate: buffer, between 0 and 1; not saved.
        active: whether the rate was ever above zero.
    """

    rate: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("rate", torch.zeros(()), persistent=False)
        self.active = False

    def reset_buffers(self) -> None:
        self.rate.zero_()

    def set(self, rate: float) -> None:
        if not 0 <= rate < 1:
            raise ValueError(f"a drop rate must be in [0, 1), got {rate}")
        self.rate.fill_(rate)
        self.active = self.active or rate > 0

    def mask(self, x: Tensor, shape: Sequence[int]) -> Tensor:
        """Zeros with probability `rate`, otherwise 1 / (1 - rate), so that the expectation stays."""
        kept = torch.rand(shape, device=x.device) >= self.rate
        return (kept / (1.0 - self.rate)).to(x.dtype)


class Dropout(Rate):
    """Drops single features (Srivastava et al. 2014)."""

    def forward(self, x: Tensor) -> Tensor:
        return x * self.mask(x, x.shape) if self.training and self.active else x


LEAST = 2
"""Images that a body is computed for at least: with one, batch norms of 1 x 1 maps have no variance."""


class Residual(Rate):
    """`after(shortcut(x) + body(x))`, where the body of single images is dropped at a rate (Huang et al., arXiv:1603.09382).

    Attributes:
        last_norm: the norm that ends the body; recipes may start its scale at zero (arXiv:1706.02677, section 5.1). Where the
            body ends without norm, the layer that ends it.
        number: number of the block in its network, from 0, set by `build`.
        blocks: number of blocks in that network, set by `build`.
        subset: whether the body is computed only for the images that keep it, whose number is then fixed but for rounding;
            norms in it see only these.
    """

    number: int
    blocks: int

    def __init__(
        self,
        body: nn.Module,
        last_norm: nn.Module,
        shortcut: nn.Module | None = None,
        after: nn.Module | None = None,
    ) -> None:
        super().__init__()
        self.body = body
        self.shortcut = shortcut
        self.after = after
        self.number = 0
        self.blocks = 1
        self.subset = False
        self.share = 0.0
        self.last_norm_name = next(name for name, module in body.named_modules() if module is last_norm)

    @property
    def last_norm(self) -> nn.Module:
        return self.body.get_submodule(self.last_norm_name)

    def set(self, rate: float) -> None:
        super().set(rate)
        self.share = rate

    def forward(self, x: Float[Tensor, "batch ..."], *more: Tensor | None) -> Float[Tensor, "batch ..."]:
        """
        Args:
            more: what the body takes besides, with a row for each image; None for what it is to do without.
        """
        if self.training and self.subset and self.share > 0 and len(x) > LEAST:
            x = self.added_to_some(x, *more)
            return x if self.after is None else self.after(x)
        y = self.body(x, *more)
        x = x if self.shortcut is None else self.shortcut(x)
        if self.training and self.active:
            x = torch.addcmul(x, y, self.mask(y, (len(y), *[1] * (y.ndim - 1))))
        else:
            x = x + y
        return x if self.after is None else self.after(x)

    def added_to_some(self, x: Float[Tensor, "batch ..."], *more: Tensor | None) -> Float[Tensor, "batch ..."]:
        """The sum of shortcut and body, where the body is computed for a random subset of the images.

        Source: Oquab et al. 2023 (arXiv:2304.07193), section 5: dropped branches are skipped, not masked.
        """
        kept = min(len(x), max(LEAST, int(len(x) * (1.0 - self.share) + torch.rand(()).item())))
        chosen = torch.randperm(len(x), device=x.device)[:kept]
        y = self.body(x[chosen], *(None if each is None else each[chosen] for each in more))
        x = x if self.shortcut is None else self.shortcut(x)
        out = x.clone()
        # an index_add would give the branch gradients in another memory format
        out[chosen] = torch.add(x[chosen], y.to(x.dtype), alpha=len(x) / kept)
        return out


def rows(x: Tensor, numbers: Tensor) -> Tensor:
    """The rows with these numbers; (batch, token, channel), (batch, n) -> (batch, n, channel)."""
    return x.gather(1, numbers.unsqueeze(2).expand(-1, -1, x.shape[2]))


class SqueezeExcite(nn.Module):
    """One gate per channel, from the mean of all channels (Hu et al., arXiv:1709.01507).

    Attributes:
        gate: the function that turns the last convolution's output into a factor; default: sigmoid.
    """

    def __init__(self, width: int, squeezed: int, activation: nn.Module, gate: nn.Module | None = None) -> None:
        super().__init__()
        self.reduce = nn.Conv2d(width, squeezed, 1)
        self.activation = activation
        self.restore = nn.Conv2d(squeezed, width, 1)
        self.gate = nn.Sigmoid() if gate is None else gate

    def forward(self, x: Map, gain: Tensor | None = None) -> Map:
        """Returns `x` times its gate; a norm's gain is carried by the gate, behind the sigmoid (arXiv:2106.03743)."""
        gate = self.gate(self.restore(self.activation(self.reduce(x.mean((2, 3), keepdim=True)))))
        return x * (gate if gain is None else (gate * gain).to(gate.dtype))


class Normalise(nn.Module):
    """Normalises pixels by the mean and std of the preprocessing; the first layer of a network."""

    scale: Tensor
    shift: Tensor

    def __init__(self, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        self.mean, self.std = tuple(mean), tuple(std)
        self.register_buffer("scale", torch.empty(len(self.mean), 1, 1), persistent=False)
        self.register_buffer("shift", torch.empty(len(self.mean), 1, 1), persistent=False)

    def reset_buffers(self) -> None:
        mean, std = torch.tensor(self.mean).view(-1, 1, 1), torch.tensor(self.std).view(-1, 1, 1)
        self.scale.copy_(1.0 / std)
        self.shift.copy_(-mean / std)

    def forward(self, images: Pixels) -> Map:
        if images.dtype == torch.uint8:
            return torch.addcmul(self.shift, images.to(self.scale.dtype), self.scale / 255.0)
        return torch.addcmul(self.shift, images, self.scale)
