"""From a blueprint to a network."""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, cast

import torch
from torch import Tensor, nn

from paretina.model.blueprint import Blueprint, Initialisation, Kit, MapShape, Model
from paretina.model.layers import Dropout, Normalise, Pixels, Residual
from paretina.shapes import Features, Logits, Map
from paretina.spec import near
from paretina.torch_internals import is_compiled


class Network(nn.Module):
    """An image classifier: normalisation, stem, stages, head.

    Takes unnormalised images and gives logits. Its state has no entry for rates or for the normalisation.

    Attributes:
        model: what it was built from.
        head: what turns maps into logits; `head.classifier` is the last layer.
        blocks: number of blocks in all stages.
        frozen: parts that do not learn and stay in evaluation mode.
        frozen_statistics: whether all parts stay in evaluation mode, also those that learn.
        entry: number of leading parts, stem and stages, whose output may be given in place of images; 0 for none. What is given
            is told by its channels, so such a network takes images of `model.channels` channels as before.
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
        """The table that it was built from.

        Raises:
            ValueError: it is made of several networks, each with a table of its own.
        """
        if not isinstance(self.model, Blueprint):
            raise ValueError(
                f"{type(self.model).__name__} is made of {len(self.networks())} networks and has no table of its own; this can "
                "be done with a single network only"
            )
        return self.model

    def networks(self) -> "tuple[Network, ...]":
        """The plain networks in it, in the order of `Model.blueprints`: itself."""
        return (self,)

    def parts(self) -> tuple[str, ...]:
        """The parts that can be frozen, by name."""
        return ("stem", *(f"stages.{i}" for i in range(len(self.stages))), "head")

    def freeze(self, places: Sequence[str]) -> None:
        """Stops parts from learning: their weights get no gradient, their norms keep their statistics, nothing is dropped.

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
        """Logits; with `extras` also `maps` (behind stem and stages), `embedding`, and what else the stages say, by name.

        Whatever an objective wants of a batch comes from this one call, which is the one that is compiled.
        """
        maps, said = self.borders(images)
        if not extras:
            return self.head(maps, said)  # type: ignore[no-any-return]
        head = cast(Any, self.head)
        embedding = head.embedding(maps, said)
        return head.classifier(head.dropout(embedding)), {"maps": maps, "embedding": embedding, **said}

    def borders(self, images: Pixels) -> tuple[list[Map], dict[str, Any]]:
        """The map behind the stem and behind every stage, and what else the stages have to say.

        Where the map at `entry` is given in place of images, it stands first.
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
        """What comes before the classifier."""
        if is_compiled(self):  # only the whole call is compiled
            return self(images, extras=True)[1]["embedding"]  # type: ignore[no-any-return]
        return self.head.embedding(*self.borders(images))  # type: ignore[no-any-return, operator]

    def features(self, images: Pixels, strides: Sequence[int] | None = None) -> dict[int, Map]:
        """The last map at each stride, by stride; default: all that there are.

        Raises:
            ValueError: the network has no map at a stride that is asked for.
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
        """Collects copies of the outputs of inner modules, by their names, while the network runs.

        Raises:
            AttributeError: there is no module of that name.
        """
        caught: dict[str, Any] = {}
        hooks = []
        for name in names:

            def keep(_: nn.Module, __: Any, out: Any, name: str = name) -> None:
                # what follows may write over it
                caught[name] = out.clone() if isinstance(out, Tensor) else out

            hooks.append(self.get_submodule(name).register_forward_hook(keep))
        try:
            yield caught
        finally:
            for hook in hooks:
                hook.remove()

    def residuals(self) -> list[Residual]:
        """Every residual, in order; each has the number of its block."""
        return [module for module in self.modules() if isinstance(module, Residual)]

    def dropouts(self) -> list[Dropout]:
        return [module for module in self.modules() if isinstance(module, Dropout)]


class Combined(Network):
    """A network that is made of plain ones, which stand in it as modules; the base of what assemblies build.

    A subclass defines `forward(images, extras)`, which gives logits, and with `extras` also a dict with `embedding` and what
    else it has to say. The parts of the plain networks are frozen in each of them; what it owns besides always learns.
    """

    def __init__(self, model: Model) -> None:
        nn.Module.__init__(self)
        self.model = model
        self.frozen = ()
        self.frozen_statistics = False

    def networks(self) -> tuple[Network, ...]:
        return tuple(each for each in self.modules() if isinstance(each, Network) and not isinstance(each, Combined))

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
        """What its forward calls `embedding`: (image, feature)."""
        return self(images, extras=True)[1]["embedding"]  # type: ignore[no-any-return]


def check_parts(places: Sequence[str], known: Sequence[str]) -> None:
    for place in places:
        if place not in known:
            raise ValueError(f"there is no part {place!r} to freeze{near(place, known)}")


def build(blueprint: Blueprint, device: torch.device | str = "cpu") -> Network:
    """Returns the network of a blueprint; see `Model.build`."""
    size = (blueprint.resolution, blueprint.resolution)
    kit = Kit(blueprint.norm, blueprint.activation, blueprint.padding, size, blueprint.channels, image=size)
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


def materialise(network: nn.Module) -> None:
    """Gives a network without values memory on the CPU, and its constant buffers their values; in place.

    A module with buffers that are not saved has `reset_buffers`.
    """
    network.to_empty(device="cpu")
    for module in network.modules():
        if hasattr(module, "reset_buffers"):
            cast(Any, module).reset_buffers()


def initialise(network: nn.Module, start: Initialisation) -> None:
    """Gives every parameter its first value; a module with parameters of its own has `reset_parameters`."""
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
            raise TypeError(f"{type(module).__name__} owns parameters but has no reset_parameters() to give them a first value")
        bias = getattr(module, "bias", None)
        if isinstance(bias, Tensor):
            bias.zero_()
