"""Builds networks from blueprints."""

import copy
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn

from paretina.model.blueprint import Blueprint, Initialisation, Kit, MapShape, Model
from paretina.model.layers import Convolution, Dropout, Normalise, Pixels, Residual, SqueezeExcite
from paretina.model.rounding import layers_in, rounding_of
from paretina.shapes import Features, Logits, Map
from paretina.spec import near
from paretina.torch_internals import is_compiled


@dataclass(frozen=True)
class Way:
    """What a network may do with a picture.

    Attributes:
        share: of the pictures that it does it with.
        run: does it, with a batch.
        name: in tables; "" for what is done with all.
    """

    share: float
    run: Callable[[], Any]
    name: str = ""


class Network(nn.Module):
    """An image classifier: normalisation, stem, stages, head.

    Takes unnormalised images and returns logits. Its state dict has no entries for rates or for the normalisation.

    Attributes:
        model: the model that it was built from.
        head: turns maps into logits; `head.classifier` is the last layer.
        blocks: number of blocks in all stages.
        frozen: parts that are not trained and stay in evaluation mode.
        frozen_statistics: whether all parts stay in evaluation mode, also those that are trained.
        entry: number of leading parts, stem and stages, whose output map is accepted in place of images; 0 for none. Images,
            told by their number of channels, are accepted too.
    """

    def __init__(
        self, blueprint: Blueprint, normalise: nn.Module, stem: nn.Module, stages: Sequence[nn.Module], head: nn.Module
    ) -> None:
        super().__init__()
        self.model: Model = blueprint
        self.normalise = normalise
        self.stem = stem
        self.stages = nn.ModuleList(stages)
        self.head = head
        self.blocks = 0
        self.frozen: tuple[str, ...] = ()
        self.frozen_statistics = False
        self.entry = 0

    @property
    def blueprint(self) -> Blueprint:
        """The blueprint that it was built from.

        Raises:
            ValueError: it consists of several networks, each with its own blueprint.
        """
        if not isinstance(self.model, Blueprint):
            raise ValueError(
                f"{type(self.model).__name__} consists of {len(self.networks())} networks and has no blueprint of its own; "
                "this is supported for a single network only"
            )
        return self.model

    def networks(self) -> "tuple[Network, ...]":
        """The single networks in it, in the order of `Model.blueprints`: itself."""
        return (self,)

    def ways(self, images: Pixels) -> tuple[Way, ...]:
        """What is done with pictures, for counting: all the same, unless a network chooses."""
        return (Way(1.0, lambda: self(images)),)

    def parts(self) -> tuple[str, ...]:
        """The names of the parts that can be frozen."""
        return ("stem", *(f"stages.{i}" for i in range(len(self.stages))), "head")

    def freeze(self, places: Sequence[str]) -> None:
        """Freezes parts: their weights get no gradient, their norms keep their statistics, and dropout is off.

        Args:
            places: "stem", "head", or a stage by number, "stages.0".

        Raises:
            ValueError: there is no such part.
        """
        check_parts(places, self.parts())
        for place in places:
            self.get_submodule(place).requires_grad_(False)
        self.frozen = tuple(dict.fromkeys((*self.frozen, *places)))
        self.train(self.training)

    def train(self, mode: bool = True) -> "Network":
        super().train(mode and not self.frozen_statistics)
        for place in self.frozen:
            self.get_submodule(place).eval()
        return self

    def forward(self, images: Pixels, extras: bool = False) -> Logits | tuple[Logits, dict[str, Any]]:
        """Returns logits; with `extras` also `maps` (after stem and stages), `embedding`, and other outputs of stages, by name.

        Everything that an objective needs of a batch comes from this one call, which is the compiled one.
        """
        maps, said = self.borders(images)
        if not extras:
            return self.head(maps, said)  # type: ignore[no-any-return]
        head = cast(Any, self.head)
        embedding = head.embedding(maps, said)
        return head.classifier(head.dropout(embedding)), {"maps": maps, "embedding": embedding, **said}

    def borders(self, images: Pixels) -> tuple[list[Map], dict[str, Any]]:
        """Returns the maps after the stem and after every stage, and the extra outputs of the stages.

        If the map at `entry` is given in place of images, it comes first.
        """
        maps, extras = [images if self.enters(images) else self.stem(self.normalise(images))], {}
        for stage in self.stages[self.entry - 1 :] if self.enters(images) else self.stages:
            out = stage(maps[-1])
            if isinstance(out, tuple):
                out, more = out
                extras.update(more)
            maps.append(out)
        return maps, extras

    def enters(self, given: Tensor) -> bool:
        """Whether what is given is the map at `entry` and not images."""
        return self.entry > 0 and given.shape[1] != self.model.channels

    def lead(self, images: Pixels) -> Map:
        """The map at `entry`, which `forward` takes in place of the images."""
        found = self.stem(self.normalise(images))
        for stage in self.stages[: self.entry - 1]:
            found = stage(found)
        return found  # type: ignore[no-any-return]

    def embedding(self, images: Pixels) -> Features:
        """Returns the features before the classifier."""
        if is_compiled(self):  # only the whole call is compiled
            return self(images, extras=True)[1]["embedding"]  # type: ignore[no-any-return]
        return self.head.embedding(*self.borders(images))  # type: ignore[no-any-return, operator]

    def features(self, images: Pixels, strides: Sequence[int] | None = None) -> dict[int, Map]:
        """Returns the last map at each stride, by stride; default: all strides.

        Raises:
            ValueError: the network has no map at one of the strides.
        """
        last = {stride: i for i, stride in enumerate(self.blueprint.border_strides)}
        strides = tuple(last) if strides is None else tuple(strides)
        for stride in strides:
            if stride not in last:
                raise ValueError(f"there are feature maps at the strides {', '.join(map(str, last))}, not at {stride}")
        compiled = is_compiled(self)
        maps = self(images, extras=True)[1]["maps"] if compiled else self.borders(images)[0]
        return {stride: maps[last[stride]] for stride in strides}

    @contextmanager
    def taps(self, names: Sequence[str]) -> Iterator[dict[str, Any]]:
        """Context that collects copies of the outputs of submodules by name while the network runs.

        Raises:
            AttributeError: there is no module of that name.
        """
        caught: dict[str, Any] = {}
        hooks = []
        for name in names:

            def keep(_: nn.Module, __: Any, out: Any, name: str = name) -> None:
                # later layers may overwrite it
                caught[name] = out.clone() if isinstance(out, Tensor) else out

            hooks.append(self.get_submodule(name).register_forward_hook(keep))
        try:
            yield caught
        finally:
            for hook in hooks:
                hook.remove()

    def residuals(self) -> list[Residual]:
        """All residual modules, in order; each has the number of its block."""
        return [module for module in self.modules() if isinstance(module, Residual)]

    def dropouts(self) -> list[Dropout]:
        return [module for module in self.modules() if isinstance(module, Dropout)]


class Combined(Network):
    """A network that contains several single ones as submodules; the base of what assemblies build.

    A subclass defines `forward(images, extras)`, which returns logits, and with `extras` also a dict with `embedding` and
    further outputs. Parts are frozen in each of the networks; its other modules are always trained.
    """

    def __init__(self, model: Model) -> None:
        nn.Module.__init__(self)
        self.model = model
        self.frozen = ()
        self.frozen_statistics = False

    def networks(self) -> tuple[Network, ...]:
        return tuple(each for each in self.modules() if isinstance(each, Network) and not isinstance(each, Combined))

    def apart(self) -> Network:
        """A copy for inference, in which each weight belongs to one use of one network, so that norms can be folded into it."""
        return copy.deepcopy(self)

    def parts(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(part for network in self.networks() for part in network.parts()))

    def freeze(self, places: Sequence[str]) -> None:
        check_parts(places, self.parts())
        for network in self.networks():
            network.freeze([place for place in places if place in network.parts()])

    def forward(self, images: Pixels, extras: bool = False) -> Logits | tuple[Logits, dict[str, Any]]:
        raise TypeError(f"{type(self).__name__} must define forward(images, extras)")

    def borders(self, images: Pixels) -> tuple[list[Map], dict[str, Any]]:
        raise ValueError(f"{type(self.model).__name__} has no maps of its own; take those of one of its networks()")

    def embedding(self, images: Pixels) -> Features:
        """Returns the extra `embedding` of its forward: (image, feature)."""
        return self(images, extras=True)[1]["embedding"]  # type: ignore[no-any-return]


def check_parts(places: Sequence[str], known: Sequence[str]) -> None:
    for place in places:
        if place not in known:
            raise ValueError(f"there is no part {place!r} to freeze{near(place, known)}")


def build(blueprint: Blueprint, device: torch.device | str = "cpu") -> Network:
    """Builds the network of a blueprint; see `Model.build`."""
    size = (blueprint.resolution, blueprint.resolution)
    quantiser = blueprint.quantiser
    if quantiser is not None:
        quantiser.check(blueprint)
    kit = Kit(
        blueprint.norm, blueprint.activation, blueprint.padding, size, blueprint.channels, image=size, quantiser=quantiser
    )  # fmt: skip
    with torch.device("meta"):
        normalise = Normalise(blueprint.preprocessing.mean, blueprint.preprocessing.std)
        stem = blueprint.stem.make(kit)
        kit = kit.behind(stem, blueprint.channels)
        strides = blueprint.border_strides
        maps = [MapShape(blueprint.stem.width, kit.size, strides[0])]
        stages = []
        for stage, stride in zip(blueprint.stages, strides[1:], strict=True):
            width_in = maps[-1].width
            stages.append(stage.wiring.make(stage.block, stage.depth, width_in, stage.width, stage.stride, kit))
            kit = kit.behind(stages[-1], width_in)
            maps.append(MapShape(stage.width, kit.size, stride))
        head = blueprint.head.make(tuple(maps), blueprint.classes, kit)
        if quantiser is not None:
            first = next((module for module in stem.modules() if isinstance(module, Convolution)), None)
            if first is not None:
                first.rounding = quantiser.make("first", tuple(first.weight.shape))
            check_rounded(blueprint, stages)
    network = Network(blueprint, normalise, stem, stages, head)
    blueprint.norm.connect(network)
    network.blocks = next(kit.counter)
    for module in network.modules():
        if hasattr(module, "block_number"):
            for residual in module.modules():
                if isinstance(residual, Residual):
                    residual.number, residual.blocks = cast(int, module.block_number), network.blocks
    if torch.device(device).type == "meta":
        return network
    materialise(network)
    with torch.no_grad():
        initialise(network, blueprint.initialisation)
    return network.to(device)


def check_rounded(blueprint: Blueprint, stages: Sequence[nn.Module]) -> None:
    """Checks that every layer of the stages rounds, but for what blocks ask to be kept and squeeze-and-excitation, whose gates
    stay floats.

    Raises:
        ValueError: one does not, since its block does not make it with the kit.
    """
    for number, (stage, row) in enumerate(zip(stages, blueprint.stages, strict=True), 1):
        gates = {id(layer) for each in stage.modules() if isinstance(each, SqueezeExcite) for layer in each.modules()}
        own = (layer for _, layer in layers_in(stage) if not getattr(layer, "kept", False) and id(layer) not in gates)
        if any(rounding_of(layer) is None for layer in own):
            raise ValueError(
                f"{type(blueprint.quantiser).__name__} rounds layers that blocks make with the kit of their network, but "
                f"{type(row.block).__name__} in stage {number} makes some itself, which would stay floats; choose a network of "
                "other blocks, or leave it out: model.quantiser=none"
            )


def materialise(network: nn.Module) -> None:
    """Allocates a meta network on the CPU, and fills its constant buffers; in place.

    A module with non-persistent buffers defines `reset_buffers`.
    """
    network.to_empty(device="cpu")
    for module in network.modules():
        if hasattr(module, "reset_buffers"):
            cast(Any, module).reset_buffers()


def initialise(network: nn.Module, start: Initialisation) -> None:
    """Initialises all parameters; a module with parameters of its own defines `reset_parameters`."""
    for module in network.modules():
        kind = "conv" if isinstance(module, nn.Conv2d) else "linear"
        if isinstance(module, nn.Conv2d | nn.Linear) and getattr(start, kind) == "normal":
            nn.init.trunc_normal_(module.weight, std=0.02, a=-0.04, b=0.04)
        elif isinstance(module, nn.Conv2d):
            fan = module.out_channels if start.conv == "fan_out" else module.in_channels
            fan = fan * math.prod(module.kernel_size) // module.groups
            module.weight.normal_(0.0, math.sqrt(2.0 / fan))
        elif isinstance(module, nn.Linear):
            outputs, inputs = module.weight.shape
            bound = {"outputs": outputs**-0.5, "inputs": inputs**-0.5, "glorot": math.sqrt(6.0 / (inputs + outputs))}
            module.weight.uniform_(-bound[start.linear], bound[start.linear])
        elif hasattr(module, "reset_parameters"):
            cast(Any, module).reset_parameters()
            continue
        elif next(module.parameters(recurse=False), None) is not None:
            raise TypeError(f"{type(module).__name__} has parameters but no reset_parameters() to initialise them")
        bias = getattr(module, "bias", None)
        if isinstance(bias, Tensor):
            bias.zero_()
