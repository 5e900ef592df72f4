"""Fold: a network in inference form, without what only training needs.

A batch norm in evaluation is one factor and one shift a channel, which the convolution or linear layer beside it can take over:
fewer passes over memory, the same answers up to rounding. A module that knows a better form of its own has a method
`fold() -> None`, which puts it in that form in place; it is called once, on a copy, in evaluation mode, after those of the
modules inside it, and its products are made in float64. Norms whose statistics are those of the image itself stay, and so does
a batch norm that stands alone: it is right in evaluation.

Source: Jacob et al. 2017 (arXiv:1712.05877), section 3.2; for attention: Graham et al. 2021 (arXiv:2104.01136), section 4.
"""

import copy
from typing import Any

import torch
from torch import Tensor, nn

from paretina.model.blueprint import NormUnit, Unit
from paretina.model.build import Combined, Network
from paretina.model.heads.distilled import NormedLinear
from paretina.model.norms.batch import BatchNormUnit
from paretina.shapes import Map


class Folded(Network):
    """A network in inference form: it gives the same logits, but neither learns nor goes into a model file.

    `blueprint` is that of the network it was made from; its tensors have other names.
    """

    def train(self, mode: bool = True) -> "Folded":
        if mode:
            raise RuntimeError("a folded network has no norms to train; train the network that it was made from, then fold it")
        super().train(False)
        return self

    def state_dict(self, *args: Any, **kwargs: Any) -> Any:
        """The state for those who do not save it: live tensors (`keep_vars=True`), which tracers want, or shapes on "meta".

        Raises:
            RuntimeError: values are asked for, as in writing a file. No blueprint could read it.
        """
        values = any(not tensor.is_meta for tensor in self.parameters())
        if values and not kwargs.get("keep_vars", False):
            raise RuntimeError(
                "a folded network is not saved as a model file, which no blueprint could read; save the network that it was "
                "made from and fold it after loading, or export this one"
            )
        return super().state_dict(*args, **kwargs)


class Behind(NormUnit):
    """What is left of a norm that was folded: the activation behind it."""

    def __init__(self, activation: nn.Module | None) -> None:
        super().__init__()
        self.activation = activation

    def centred(self, x: Map) -> Map:
        return x if self.activation is None else self.activation(x)


@torch.no_grad()
def fold(network: Network) -> Network:
    """Returns a copy in inference form, in evaluation mode; of several networks, each is folded.

    Raises:
        ValueError: the network is folded already.
        TypeError: it is of a class that is not known here, so neither is what a copy is made of.
    """
    if isinstance(network, Folded):
        raise ValueError("this network is folded already")
    if isinstance(network, Combined):
        whole = copy.deepcopy(network).eval()
        inner_names = {id(each): name for name, each in whole.named_modules()}
        for each in whole.networks():
            whole.set_submodule(inner_names[id(each)], fold(each))
        return whole.requires_grad_(False)
    if type(network) is not Network:
        raise TypeError(f"only networks of ours can be folded, got {type(network).__name__}")
    inner = copy.deepcopy(network).eval()
    folded = Folded(inner.blueprint, inner.normalise, inner.stem, [*inner.stages], inner.head)
    folded.blocks = inner.blocks
    # a module stands before those inside it
    for module in reversed([*folded.modules()]):
        fold_module(module)
    folded.eval().requires_grad_(False)
    return folded


def fold_module(module: nn.Module) -> None:
    """Puts one module in inference form, in place; what is inside it is in that form already."""
    if isinstance(module, NormedLinear) and isinstance(module.norm, BatchNormUnit) and module.norm.activation is None:
        scale, shift = scale_and_shift(module.norm)
        kernel = exact(module.linear.weight)
        put(module.linear, kernel * scale, exact(module.linear.bias) + kernel @ shift)
        module.norm = None
    elif isinstance(module, Unit) and isinstance(module.norm, BatchNormUnit) and isinstance(module.conv, nn.Conv2d | nn.Linear):
        scale, shift = scale_and_shift(module.norm)
        layer = module.conv
        bias = shift if layer.bias is None else exact(layer.bias) * scale + shift
        put(layer, exact(layer.weight) * scale.view(-1, *[1] * (layer.weight.ndim - 1)), bias)
        module.norm = Behind(module.norm.activation)
    elif callable(own := getattr(module, "fold", None)):
        own()


def scale_and_shift(norm: nn.BatchNorm2d) -> tuple[Tensor, Tensor]:
    """A batch norm in evaluation as x * scale + shift.

    Raises:
        ValueError: it always uses the statistics of its batch.
    """
    if norm.running_mean is None or norm.running_var is None:
        raise ValueError("a batch norm without running statistics cannot be folded: its output depends on the batch")
    scale = (exact(norm.running_var) + norm.eps).rsqrt()
    if norm.affine:
        scale = scale * exact(norm.weight)
    shift = -exact(norm.running_mean) * scale
    return scale, shift + exact(norm.bias) if norm.affine else shift


def exact(tensor: Tensor) -> Tensor:
    # some devices have no float64
    return (tensor.cpu() if tensor.device.type == "mps" else tensor).double()


def put(layer: nn.Conv2d | nn.Linear, weight: Tensor, bias: Tensor) -> None:
    """Gives a layer its new weight, and a bias if it had none."""
    old = layer.weight
    layer.weight = nn.Parameter(weight.to(old.device, old.dtype))
    layer.bias = nn.Parameter(bias.to(old.device, old.dtype))
