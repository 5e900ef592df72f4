"""Where a network looks: the interface of saliency methods, and the map that they read.

A method gives each place of a map of the network a number, at least 0: how much it speaks for a class. The map is the last one
before the head, or the tokens before the last block where the head reads a class token only (gradients of other tokens behind
that block are zero).
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any, ClassVar

import torch
from torch import Tensor

from paretina.model.build import Combined, Network
from paretina.model.wirings.tokens import TokenRun
from paretina.spec import modules_in, near


@dataclass(frozen=True)
class Target:
    """A map of a network for a batch of pictures.

    Attributes:
        map: (batch, channel, row, column), detached from what was before.
        logits: of such a map, differentiable; of as many pictures as the batch has, or a multiple of it.
        network: in evaluation mode.
        images: preprocessed pixels, uint8.
    """

    map: Tensor
    logits: Callable[[Tensor], Tensor]
    network: Network
    images: Tensor

    def gradients(self, classes: Tensor) -> tuple[Tensor, Tensor]:
        """The map, and the gradient of each picture's class logit by it."""
        with torch.enable_grad():
            found = self.map.detach().clone().requires_grad_(True)
            score = self.logits(found).gather(1, classes[:, None]).sum()
            (gradient,) = torch.autograd.grad(score, found)
        return found.detach(), gradient


def target_of(network: Network, images: Tensor) -> Target:
    """The map that saliency methods read.

    Args:
        network: in evaluation mode; a single network, not folded.
        images: preprocessed pixels, uint8.

    Raises:
        ValueError: the network is made of several, or predicts a class for each pixel.
    """
    if isinstance(network, Combined):
        raise ValueError(
            f"{type(network.model).__name__} is made of {len(network.networks())} networks, which have no map in common; "
            "explain one of them, or use --method occlusion"
        )
    with torch.no_grad():
        maps, said = network.borders(images)
    last = network.stages[-1]
    if joins_tokens(network):
        raise ValueError(
            f"the last block of this network ({type(last).__name__}) does not see all tokens, so there is no map of them; use "
            "--method occlusion"
        )
    if isinstance(last, TokenRun) and said:
        return token_target(network, images, maps[-2], last, said)

    def logits(found: Tensor) -> Tensor:
        times = len(found) // len(images)
        extras = {name: value.repeat(times, *[1] * (value.ndim - 1)) for name, value in said.items()}
        return network.head([*maps[:-1], found], extras)  # type: ignore[no-any-return]

    return Target(maps[-1], logits, network, images)


def joins_tokens(network: Network) -> bool:
    """Whether the last block does not see all tokens, since others were dropped or merged before."""
    return isinstance(network.stages[-1], TokenRun) and type(network.stages[-1]) is not TokenRun


def token_target(network: Network, images: Tensor, before: Tensor, run: TokenRun, said: Mapping[str, Any]) -> Target:
    """The places among the tokens before the last block of a stage with class tokens."""
    extra = len(said)
    last = run.blocks[-1]
    caught: list[Tensor] = []
    hook = last.register_forward_pre_hook(lambda _, given: caught.append(given[0].detach()))
    try:
        with torch.no_grad():
            places, _ = run(before)
    finally:
        hook.remove()
    tokens, size = caught[0], places.shape[2:]
    first = tokens[:, :extra]

    def logits(found: Tensor) -> Tensor:
        times = len(found) // len(images)
        joined = torch.cat((first.repeat(times, 1, 1), found.flatten(2).transpose(1, 2)), 1)
        after = last(joined)
        extras = {name: after[:, number] for number, name in enumerate(said)}
        return network.head([after[:, extra:].transpose(1, 2).unflatten(2, size)], extras)  # type: ignore[no-any-return]

    return Target(tokens[:, extra:].transpose(1, 2).unflatten(2, size), logits, network, images)


def nowhere(found: Tensor) -> Tensor:
    raise NotImplementedError("the method says that it reads no map")


class Saliency(ABC):
    """A method that says how much each place of a map speaks for a class.

    Attributes:
        NAME: as in `--method`.
        SOURCE: where it is from.
        READS_MAP: whether it reads the map of `target_of`; without, it is for networks that have none too.
    """

    NAME: ClassVar[str]
    SOURCE: ClassVar[str]
    READS_MAP: ClassVar[bool] = True

    def maps(self, network: Network, images: Tensor, classes: Tensor) -> Tensor:
        """As the call itself, for preprocessed pixels (uint8).

        Raises:
            ValueError: the network has not what the method needs.
        """
        return self(target_of(network, images) if self.READS_MAP else Target(torch.empty(0), nowhere, network, images), classes)

    @abstractmethod
    def __call__(self, target: Target, classes: Tensor) -> Tensor:
        """(batch, row, column), at least 0; of any scale, and of any number of rows and columns.

        Args:
            classes: number of the class to explain, for each picture.

        Raises:
            ValueError: the network has not what the method needs.
        """


@cache
def methods() -> Mapping[str, Saliency]:
    """All methods by name."""
    found = [module.METHOD for module in modules_in("paretina.ship.maps") if hasattr(module, "METHOD")]
    return {each.NAME: each for each in found}


def method_named(name: str) -> Saliency:
    """The method with a given name.

    Raises:
        ValueError: there is none.
    """
    known = methods()
    if name not in known:
        raise ValueError(f"there is no method {name!r}{near(name, known)}")
    return known[name]


def scaled(found: Tensor) -> Tensor:
    """Maps from 0 to 1, each by its own largest value; an empty one stays 0. What was absolute strength is lost."""
    most = found.flatten(1).amax(1)[:, None, None]
    return torch.where(most > 0, found / most.clamp(min=1e-30), torch.zeros_like(found))


def enlarged(found: Tensor, side: int) -> Tensor:
    """Maps at the size of the preprocessed picture, (batch, side, side)."""
    wide = torch.nn.functional.interpolate(found[:, None], (side, side), mode="bilinear", align_corners=False)
    return wide[:, 0].clamp(min=0)


@contextmanager
def as_tested(network: Network) -> Any:
    """Context in which a network is in evaluation mode."""
    training = network.training
    network.eval()
    try:
        yield
    finally:
        network.train(training)
