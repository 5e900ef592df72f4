"""Route: a small network looks at a small copy of each picture, and chooses the size at which the network sees it.

Easy pictures are answered at few pixels, hard ones at many. Weights are shared by all sizes, norms are not: each size has its
own set. Inference runs what was chosen and nothing else: the pictures of a batch are sorted by size, each size is one smaller
batch, and the answers are put back in order; a single picture is a branch. It pays where pictures differ in how hard they are,
and less in time than in multiply-adds, since each size of a batch is a call of its own. Judge it by `paretina measure`, beside
the network at a fixed size.

It is trained in two runs, with the objective `Routing`: first the network at all sizes, then the choice too. Published, on
ImageNet: ResNet-50 with 112, 168 and 224 pixels 76.2 % at 2.7 GMACs and 77.5 % at 3.7; the plain one 76.1 % at 4.1, and the
same with sizes drawn by chance 74.7 % at 2.6.

Source: Zhu et al. 2021 (arXiv:2106.02898), section 3. Unlike there, the predictor is the network itself with one block a stage
and narrower, in place of a table for each family, and it starts without a preference. In the released code evaluation computes
all sizes, and draws noise; here it does neither. In training, the norms of a size learn from the pictures that take it; what
the other sizes would answer is computed without gradient, with the statistics of evaluation. That is only needed for the
gradient of the choice: the weights would get none through it. In the paper all sizes see all pictures.
Invariant: in evaluation each picture gets the answer of the network at its own size, whatever else is in the batch.
"""

import copy
import functools
import itertools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, cast

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from paretina.model.blueprint import Assembly, Blueprint, Model, deepened
from paretina.model.build import Combined, Network, Way, materialise
from paretina.model.edits.scale import Scale
from paretina.model.layers import Pixels
from paretina.model.norms.switched import Switched, switch, switched
from paretina.model.sizes import check_side
from paretina.model.weights import fitted
from paretina.shapes import Logits
from paretina.spec import field_map

Wishes = Float[Tensor, "batch size"]
"""One number for each size of each picture; the largest is chosen."""

Numbers = Int[Tensor, " batch"]
"""The number of the size of each picture, from 0 for the smallest."""

LEAST = 2
"""Pictures of one size from which on its norms learn; a single one has no variance on maps of one place."""


def resized(images: Pixels, side: int) -> Pixels:
    """Square images at another side, bilinear with antialias, as floats from 0 to 1; unchanged if they have that side."""
    if images.shape[-1] == side:
        return images
    floats = images.float() / 255 if images.dtype == torch.uint8 else images
    return F.interpolate(floats, (side, side), mode="bilinear", antialias=True)


def preferred(wishes: Wishes) -> Numbers:
    """The size that each picture takes; the largest of those that are wanted alike."""
    return wishes.shape[1] - 1 - wishes.flip(1).argmax(1)


def relaxed(wishes: Wishes, temperature: Tensor, noise: Tensor) -> Wishes:
    """Shares of the sizes, drawn by Gumbel noise from what is wished (logits); the largest is a draw from their softmax.

    Args:
        noise: factor on the noise; with 0 the largest is what is wished most.

    Source: Jang et al. 2017 (arXiv:1611.01144), equation 2.
    """
    drawn = -torch.empty_like(wishes).exponential_().log()
    return ((wishes + noise * drawn) / temperature).softmax(1)


class Router(Combined):
    """A network that runs each picture at the size that its predictor chooses.

    Attributes:
        sizes: sides in pixels, rising.
        look: side of what the predictor sees.
        predictor: gives the wishes.
        draw: gives the numbers of a batch in place of the predictor, which runs all the same; None to follow the predictor.
    """

    predictor: Network

    def __init__(self, model: "Routed") -> None:
        super().__init__(model)
        self.sizes = model.sizes
        self.look = model.predictor.resolution
        self.draw: Callable[[int], Numbers] | None = None

    def at(self, images: Pixels, number: int, extras: bool = False) -> Any:
        """The output of the network at one size; see `Network.forward`."""
        raise TypeError(f"{type(self).__name__} must define at(images, number, extras)")

    def plain(self, number: int) -> Network:
        """A copy of the network at one size, as a network of its own, in evaluation mode."""
        raise TypeError(f"{type(self).__name__} must define plain(number)")

    def wishes(self, images: Pixels) -> Wishes:
        return self.predictor(resized(images, self.look)).float()  # type: ignore[no-any-return]

    def ways(self, images: Pixels) -> tuple[Way, ...]:
        """The predictor, and the network at each size with the share of the pictures that take it."""
        each = (
            Way(share, functools.partial(self.at, images, number), str(size))
            for number, (size, share) in enumerate(zip(self.sizes, cast(Routed, self.model).expected, strict=True))
        )
        return (Way(1.0, lambda: self.wishes(images)), *each)

    def answers(self, images: Pixels) -> Float[Tensor, "size batch classes"]:
        """The logits at every size."""
        return torch.stack([self.at(images, number) for number in range(len(self.sizes))])

    def check_images(self, images: Pixels) -> None:
        if min(images.shape[-2:]) < self.sizes[-1]:
            raise ValueError(
                f"it runs at {', '.join(map(str, self.sizes))} pixels, to which it resizes pictures itself, so they must have "
                f"a side of at least {self.sizes[-1]}, got {min(images.shape[-2:])}"
            )

    def forward(self, images: Pixels, extras: bool = False) -> Logits | tuple[Logits, dict[str, Any]]:
        """Logits; with `extras` also `embedding`, and as `routes` the number of each picture's size."""
        self.check_images(images)
        chosen = preferred(self.wishes(images))
        if images.is_meta:  # there is nothing to choose by
            logits, said = [self.at(images, number, extras=True) for number in range(len(self.sizes))][-1]
        else:
            chosen = chosen if self.draw is None else self.draw(len(images)).to(chosen.device)
            logits, said = self.sent(images, chosen, extras)
        return (logits, {"embedding": said["embedding"], "routes": chosen}) if extras else logits

    def sent(self, images: Pixels, chosen: Numbers, extras: bool) -> tuple[Logits, dict[str, Any]]:
        """Logits and embedding of each picture at its size; a call for each size that is chosen."""
        counts = torch.bincount(chosen, minlength=len(self.sizes)).tolist()
        present = [number for number, count in enumerate(counts) if count]
        if len(present) == 1:
            return self.run(images, present[0], extras)
        order = chosen.argsort(stable=True)
        parts = images[order].split([counts[number] for number in present])
        found = [self.run(part, number, extras) for part, number in zip(parts, present, strict=True)]
        back = order.argsort()
        logits = torch.cat([logits for logits, _ in found])[back]
        return logits, {name: torch.cat([said[name] for _, said in found])[back] for name in found[0][1]}

    def run(self, images: Pixels, number: int, extras: bool) -> tuple[Logits, dict[str, Any]]:
        if not extras:
            return self.at(images, number), {}
        logits, said = self.at(images, number, extras=True)
        return logits, {"embedding": said["embedding"]}


class SharedRouter(Router):
    """As it is trained: one network with a set of norms for each size.

    Attributes:
        base: the network; its switched norms are set before each call.
        choosing: whether it chooses in training; otherwise each picture is answered at all sizes.
        odds: of the sizes in training, where these are drawn at random in place of by the predictor.
        temperature: of the draw in training; buffer, not saved.
        noise: factor on the noise of the draw in training; buffer, not saved.
    """

    temperature: Tensor
    noise: Tensor

    def __init__(self, model: "Routed", base: Network, predictor: Network) -> None:
        super().__init__(model)
        self.base = base
        self.predictor = predictor
        self.choosing = True
        self.odds: tuple[float, ...] | None = None
        for name in ("temperature", "noise"):
            self.register_buffer(name, torch.ones((), device=next(base.parameters()).device), persistent=False)

    def reset_buffers(self) -> None:
        self.temperature.fill_(1.0)
        self.noise.fill_(1.0)

    def at(self, images: Pixels, number: int, extras: bool = False) -> Any:
        switch(self.base, number)
        return self.base(resized(images, self.sizes[number]), extras=extras)

    def forward(self, images: Pixels, extras: bool = False) -> Logits | tuple[Logits, dict[str, Any]]:
        """As `Router.forward`; in training a choice is drawn, and the gradient reaches it as if the answers were mixed.

        In training `extras` has `embedding`, and as `shares` (picture, size) ones for what was drawn, with the gradient of the
        relaxed draw; while it does not choose it has `answers`, the logits at every size, and the logits are their mean.
        """
        if not self.learns:
            return super().forward(images, extras)
        self.check_images(images)
        logits, said = self.drawn(images) if self.choosing else self.at_all(images)
        return (logits, said) if extras else logits

    @property
    def learns(self) -> bool:
        """Whether a forward pass is one of training; with frozen statistics the modes do not tell."""
        return self.training or (self.frozen_statistics and torch.is_grad_enabled())

    def at_all(self, images: Pixels) -> tuple[Logits, dict[str, Any]]:
        """Each picture at every size."""
        found = [self.at(images, number, extras=True) for number in range(len(self.sizes))]
        answers = torch.stack([logits for logits, _ in found])
        embedding = torch.stack([said["embedding"] for _, said in found]).mean(0)
        return answers.mean(0), {"answers": answers, "embedding": embedding}

    def drawn(self, images: Pixels) -> tuple[Logits, dict[str, Any]]:
        """Each picture at a size that is drawn: its answer there, with the gradient of the mean of all by the shares."""
        wishes, noise = (self.wishes(images), self.noise) if self.odds is None else (self.even(len(images)), torch.ones(()))
        soft = relaxed(wishes, self.temperature, noise)
        through = soft - soft.detach()  # zeros, with a gradient
        chosen = preferred(soft)
        every_logits, every_embedding = self.in_evaluation(images)
        logits, said = self.sent(images, chosen, extras=True)
        logits = logits + weighted(through, every_logits).to(logits.dtype) + self.idle(chosen).to(logits.dtype)
        embedding = said["embedding"] + weighted(through, every_embedding).to(said["embedding"].dtype)
        return logits, {"embedding": embedding, "shares": F.one_hot(chosen, len(self.sizes)).to(soft.dtype) + through}

    def even(self, count: int) -> Wishes:
        """The wishes of pictures whose sizes are drawn by the odds."""
        odds = torch.tensor(self.odds, dtype=torch.float32, device=self.temperature.device)
        return odds.log().expand(count, -1)

    def run(self, images: Pixels, number: int, extras: bool) -> tuple[Logits, dict[str, Any]]:
        if not self.training or len(images) >= LEAST:
            return super().run(images, number, extras)
        with held(self.base):
            return super().run(images, number, extras)

    @torch.no_grad()
    def in_evaluation(self, images: Pixels) -> tuple[Tensor, Tensor]:
        """Logits and embeddings at every size as in evaluation: (size, picture, ...), without gradient."""
        with held(self.base):
            found = [self.at(images, number, extras=True) for number in range(len(self.sizes))]
        return torch.stack([logits for logits, _ in found]), torch.stack([said["embedding"] for _, said in found])

    def idle(self, chosen: Numbers) -> Tensor:
        """Zero, with a gradient of zero for the norms of sizes that no picture takes, as several processes need it."""
        present = set(chosen.unique().tolist())
        unused = [
            parameter.sum()
            for _, unit in switched(self.base)
            for number, each in enumerate(unit.units)
            if number not in present
            for parameter in each.parameters()
            if parameter.requires_grad
        ]
        return 0.0 * torch.stack(unused).sum() if unused else torch.zeros((), device=chosen.device)

    def plain(self, number: int) -> Network:
        blueprint = cast(Routed, self.model).plain(number)
        network = blueprint.build("meta")
        materialise(network)
        own = self.base.state_dict()
        for name, unit in switched(self.base):
            for other in range(len(unit.units)):
                inside = f"{name}.units.{other}."
                for path in [path for path in own if path.startswith(inside)]:
                    tensor = own.pop(path)
                    if other == number:
                        own[f"{name}.{path.removeprefix(inside)}"] = tensor
        wanted = network.state_dict()
        network.load_state_dict({name: fitted(network, name, tensor, wanted) for name, tensor in own.items()})
        return network.to(next(self.base.parameters()).device).eval()

    def apart(self) -> Network:
        found = ApartRouter(
            cast(Routed, self.model), [self.plain(number) for number in range(len(self.sizes))], copy.deepcopy(self.predictor)
        )
        found.draw = self.draw
        return found.eval()


class ApartRouter(Router):
    """For inference: a network for each size, so that the norms of each can be folded into its weights.

    Attributes:
        branches: the networks, in the order of the sizes.
    """

    def __init__(self, model: "Routed", branches: list[Network], predictor: Network) -> None:
        super().__init__(model)
        self.branches = nn.ModuleList(branches)
        self.predictor = predictor

    def at(self, images: Pixels, number: int, extras: bool = False) -> Any:
        return self.branches[number](resized(images, self.sizes[number]), extras=extras)

    def plain(self, number: int) -> Network:
        return copy.deepcopy(cast(Network, self.branches[number])).eval()


def weighted(shares: Wishes, each: Tensor) -> Tensor:
    """The sum over the sizes, each times its share: (size, picture, ...) -> (picture, ...)."""
    return torch.einsum("bs,sb...->b...", shares, each.to(shares.dtype))


@contextmanager
def held(network: Network) -> Iterator[None]:
    """Context in which a network is in evaluation mode."""
    training = network.training
    network.eval()
    try:
        yield
    finally:
        network.train(training)


# --- as data ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Routed(Model):
    """
    Attributes:
        base: the table of the network; its own classes, size, preprocessing and channels give way to those of the model.
        predictor: the table of what chooses; likewise, but for its size, at which it sees the pictures, and its classes, which
            are the sizes.
        sizes: sides in pixels to choose from, rising; none is larger than the resolution, at which pictures are given.
        shares: of the validation pictures of its training that took each size; empty before. Costs are means by these shares,
            and without them as if all pictures took the largest size.
    """

    LOW_PRECISION = False

    base: Blueprint
    predictor: Blueprint
    sizes: tuple[int, ...]
    shares: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        check_rising(self.sizes, "Routed.sizes")
        if self.sizes[-1] > self.resolution:
            raise ValueError(
                f"Routed.sizes must be at most the resolution, {self.resolution}, at which pictures are given; got {self.sizes}"
            )
        fits = len(self.shares) == len(self.sizes) and min(self.shares) >= 0 and abs(sum(self.shares) - 1) < 1e-6
        if self.shares and not fits:
            raise ValueError(f"Routed.shares needs one for each of {len(self.sizes)} sizes, which sum to 1; got {self.shares}")

    @property
    def expected(self) -> tuple[float, ...]:
        """The share of the pictures that take each size."""
        return self.shares or (*(0.0 for _ in self.sizes[1:]), 1.0)

    def plain(self, number: int) -> Blueprint:
        """The network at one size, as a network of its own."""
        return replace(
            self.base,
            classes=self.classes,
            resolution=self.sizes[number],
            preprocessing=self.preprocessing,
            channels=self.channels,
        )

    def blueprints(self) -> tuple[Blueprint, ...]:
        largest = self.plain(len(self.sizes) - 1)
        return (
            replace(largest, norm=Switched(norm=largest.norm, count=len(self.sizes))),
            replace(self.predictor, classes=len(self.sizes), preprocessing=self.preprocessing, channels=self.channels),
        )

    def build(self, device: torch.device | str = "cpu") -> Network:
        base, predictor = (each.build(device) for each in self.blueprints())
        with torch.no_grad():  # it prefers nothing, so that the draws of training begin even, and the largest size is taken
            for parameter in cast(nn.Module, predictor.head.classifier).parameters():
                parameter.zero_()
        return SharedRouter(self, base, predictor)


def check_rising(sizes: tuple[int, ...], name: str) -> None:
    """Checks sizes to choose from.

    Raises:
        ValueError: there are none or too many, or they do not rise.
    """
    if not 1 <= len(sizes) <= 16:
        raise ValueError(f"{name} needs 1 to 16 sizes, got {len(sizes)}")
    if sizes[0] < 1 or any(before >= after for before, after in itertools.pairwise(sizes)):
        raise ValueError(f"{name} are sides in pixels, each larger than the one before it, got {sizes}")


@dataclass(frozen=True, kw_only=True)
class Route(Assembly):
    """
    Attributes:
        sizes: sides in pixels to choose from, rising; the largest becomes the resolution. Empty: half, three quarters and all
            of the resolution.
        look: side of what the predictor sees, as a share of the largest size, in (0, 1].
        width: factor on the widths of the predictor, in (0, 1].
    """

    sizes: tuple[int, ...] = ()
    look: float = 4 / 7
    width: float = 0.5

    def __post_init__(self) -> None:
        if self.sizes:
            check_rising(self.sizes, "Route.sizes")
        if not 0 < self.look <= 1 or not 0 < self.width <= 1:
            raise ValueError(f"Route needs look and width in (0, 1], got look={self.look:g}, width={self.width:g}")

    def __call__(self, blueprint: Blueprint) -> Routed:
        side = blueprint.resolution
        sizes = self.sizes or tuple(sorted({max(1, round(side * share)) for share in (0.5, 0.75, 1.0)}))
        largest = replace(blueprint, resolution=sizes[-1])
        for size in sizes:
            check_taken(largest, size)
        own = {name: getattr(largest, name) for name in field_map(Model)}
        return Routed(base=largest, predictor=small(largest, self.look, self.width), sizes=sizes, **own)


@functools.lru_cache(maxsize=64)
def check_taken(blueprint: Blueprint, size: int) -> None:
    """Checks that a network takes images of a size with the weights of another one.

    Raises:
        ValueError: it does not.
    """
    try:
        check_side(blueprint, size)
    except ValueError as error:
        raise ValueError(f"{size} cannot be one of the sizes: {error}") from None


@functools.lru_cache(maxsize=64)
def small(blueprint: Blueprint, look: float, width: float) -> Blueprint:
    """A network with one block a stage, and smaller in widths and size.

    Raises:
        ValueError: there is no such network of these blocks.
    """
    side = max(1, round(blueprint.resolution * look))
    shallow = replace(blueprint, stages=tuple(deepened(stage, 1) for stage in blueprint.stages), resolution=side)
    try:
        found = shallow if width == 1 else Scale(width=width)(shallow)
        check_side(found, side)
    except (ValueError, RuntimeError, TypeError) as error:  # torch has no narrower class for shapes that do not fit
        raise ValueError(f"Route cannot make a small network of this one for choosing sizes: {error}") from None
    return found


EXAMPLES = (Route(), Route(sizes=(96, 224), look=0.5, width=0.25))
