"""Folds batch norms into the neighbouring layers for inference.

A batch norm in evaluation is one scale and one shift per channel, which the adjacent convolution or linear layer can absorb:
fewer passes over memory, the same outputs up to rounding. A module with its own inference form has a method `fold() -> None`,
which converts it in place; it is called once, on a copy, in evaluation mode, after those of its submodules, and computes in
float64. Norms that use the statistics of the image itself are kept, and so is a batch norm that stands alone, which is correct
in evaluation.

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
    """A network in inference form: it gives the same logits, but can neither be trained nor saved as a model file.

    `blueprint` is that of the original network; the tensors have other names.
    """

    def train(self, mode: bool = True) -> "Folded":
        if mode:
            raise RuntimeError("a folded network has no norms to train; train the original network, then fold it")
        super().train(False)
        return self

    def state_dict(self, *args: Any, **kwargs: Any) -> Any:
        """The state for uses other than saving: live tensors (`keep_vars=True`) for tracers, or shapes on "meta".

        Raises:
            RuntimeError: values are requested, as for saving. No blueprint could load them.
        """
        values = any(not tensor.is_meta for tensor in self.parameters())
        if values and not kwargs.get("keep_vars", False):
            raise RuntimeError(
                "a folded network cannot be saved as a model file, since no blueprint could load it; save the original network "
                "and fold it after loading, or export this one"
            )
        return super().state_dict(*args, **kwargs)


class Behind(NormUnit):
    """What remains of a folded norm: the activation after it."""

    def __init__(self, activation: nn.Module | None) -> None:
        super().__init__()
        self.activation = activation

    def centred(self, x: Map) -> Map:
        return x if self.activation is None else self.activation(x)


@torch.no_grad()
def fold(network: Network) -> Network:
    """Returns a copy in inference form, in evaluation mode; each network of an ensemble is folded.

    Raises:
        ValueError: the network is already folded.
        TypeError: its class is unknown, and so is how to copy it.
    """
    if isinstance(network, Folded):
        raise ValueError("this network is already folded")
    if isinstance(network, Combined):
        whole = network.apart().eval()
        inner_names = {id(each): name for name, each in whole.named_modules()}
        for each in whole.networks():
            whole.set_submodule(inner_names[id(each)], fold(each))
        return whole.requires_grad_(False)
    if type(network) is not Network:
        raise TypeError(f"only Paretina networks can be folded, got {type(network).__name__}")
    inner = copy.deepcopy(network).eval()
    folded = Folded(inner.blueprint, inner.normalise, inner.stem, [*inner.stages], inner.head)
    folded.blocks, folded.entry = inner.blocks, inner.entry
    # a module comes before its submodules
    for module in reversed([*folded.modules()]):
        fold_module(module)
    folded.eval().requires_grad_(False)
    return folded


def fastest_form(network: Network) -> Network:
    """A copy in inference form where there is one, else the network itself; the same outputs up to rounding.

    A norm without running statistics depends on the batch, so that it has no such form.
    """
    try:
        return fold(network)
    except (TypeError, ValueError):
        return network


def fold_module(module: nn.Module) -> None:
    """Converts one module to inference form in place, after its submodules."""
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
    """The scale and shift of a batch norm in evaluation.

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
    """Sets a layer's weight and bias, adding a bias if it had none."""
    old = layer.weight
    layer.weight = nn.Parameter(weight.to(old.device, old.dtype))
    layer.bias = nn.Parameter(bias.to(old.device, old.dtype))
