"""Blueprint: an architecture as data, like the table in its paper.

One row a stage. A row names its block, depth, width and stride; its input width is the row above. What all blocks share
(norm, activation, padding, initialisation) stands once in the blueprint and reaches them in a `Kit`, whose `unit` is the only
way to make a convolution with its norm and activation. So a norm can be swapped, or the padding, in any network.
"""

import itertools
from abc import abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from paretina.model.layers import Convolution
from paretina.model.rounding import LayerRounding, RoundedLinear
from paretina.shapes import Map
from paretina.spec import Spec
from paretina.traits import OFF, Method, Never

if TYPE_CHECKING:
    from paretina.model.build import Network

Padding = Literal["symmetric", "same"]
Rounding = Callable[[int], int]

LARGEST = 4096
"""Maximum resolution of a network, in pixels."""


@dataclass(frozen=True, kw_only=True)
class Preprocessing(Spec):
    """The preprocessing of a network; normalisation is part of the network itself.

    Attributes:
        mean: mean of each channel, on the scale from 0 to 1.
        std: standard deviation of each channel, on the same scale.
        crop: in evaluation, side of the central square crop as a share of the picture's shorter side; 1 keeps all of the
            shorter side.
        fit: how pictures become square: cropped to the central square, or squashed.
        interpolation: of the resize.
    """

    FORMERLY = ("Door",)

    mean: tuple[float, ...] = (0.485, 0.456, 0.406)
    std: tuple[float, ...] = (0.229, 0.224, 0.225)
    crop: float = 0.875
    fit: Literal["crop", "squash"] = "crop"
    interpolation: Literal["bilinear", "bicubic"] = "bicubic"

    def __post_init__(self) -> None:
        if len(self.mean) != len(self.std) or not self.mean:
            raise ValueError(f"Preprocessing needs one mean and one std for each channel, got mean={self.mean}, std={self.std}")
        if not 0 < self.crop <= 1 or min(self.std) <= 0:
            raise ValueError(f"Preprocessing needs 0 < crop <= 1 and std > 0, got crop={self.crop}, std={self.std}")


@dataclass(frozen=True, kw_only=True)
class Model(Method):
    """Anything that can be built into a network: a blueprint, or an ensemble of several.

    Attributes:
        resolution: side of the square image at test time, in pixels.
        classes: number of classes.
        preprocessing: of the pictures; one mean and one std for each channel.
        channels: number of channels of a picture.
    """

    PLUGINS = ("paretina.model.blueprint", "paretina.model.assemblies")
    USUAL = "Blueprint"
    ALIASES = {"door": "preprocessing"}
    LEFT_OUT = Never("it is what is trained")
    LOW_PRECISION: ClassVar[bool | Never] = False

    resolution: int
    classes: int = 1000
    preprocessing: Preprocessing = Preprocessing()
    channels: int = 3

    def __post_init__(self) -> None:
        for name, low, high in (("resolution", 1, LARGEST), ("classes", 1, 1_000_000), ("channels", 1, 1000)):
            if not low <= getattr(self, name) <= high:
                raise ValueError(f"{type(self).__name__}.{name} must be between {low} and {high}, got {getattr(self, name)}")
        if len(self.preprocessing.mean) != self.channels:
            raise ValueError(
                f"{type(self).__name__}.preprocessing has statistics of {len(self.preprocessing.mean)} channels, but "
                f"channels={self.channels}; "
                f"the edit Channels(count={self.channels}) changes both"
            )

    @abstractmethod
    def blueprints(self) -> "tuple[Blueprint, ...]":
        """The blueprints of the single networks in it, in the order of `Network.networks`."""

    @abstractmethod
    def build(self, device: torch.device | str = "cpu") -> "Network":
        """Builds the network with random weights, drawn from torch's global generator.

        On the device "meta" it has shapes but no values: enough for counting, at no cost.
        """


@dataclass(frozen=True, kw_only=True)
class Piece(Method):
    """Base of the components of networks; a class for which low precision was shown to be harmless declares it."""

    LEFT_OUT = Never("a network is made of it")
    LOW_PRECISION: ClassVar[bool | Never] = False


@dataclass(frozen=True, kw_only=True)
class Activation(Piece):
    """A non-linearity; it may have parameters, hence the width.

    Attributes:
        RECTIFIES: whether nothing that it returns is below zero.
        LEARNS: whether it has parameters for each channel; its input is then a map.
    """

    PLUGINS = ("paretina.model.activations",)
    RECTIFIES: ClassVar[bool] = False
    LEARNS: ClassVar[bool] = False

    @abstractmethod
    def make(self, width: int) -> nn.Module: ...


class NormUnit(nn.Module):
    """The module of a `Norm`: a norm and the activation after it.

    `forward` equals `centred(x) * gain()`. The next layer may handle the two separately: a block that gates its channels
    multiplies the gate by the gain (proxy norm, arXiv:2106.03743), a convolution multiplies its weights. Ordinary norms have
    no gain, only `centred`.
    """

    @property
    def apart(self) -> bool:
        """Whether there may be a gain."""
        return type(self).gain is not NormUnit.gain

    def centred(self, x: Map) -> Map:
        raise TypeError(f"{type(self).__name__} must define centred(x)")

    def gain(self) -> Tensor | None:
        """One factor per channel, shaped (channel, 1, 1), or None."""
        return None

    def parts(self, x: Map) -> tuple[Map, Tensor | None]:
        """`centred(x)` and `gain()`; norms override it to share computation between the two."""
        return self.centred(x), self.gain()

    def forward(self, x: Map) -> Map:
        x, gain = self.parts(x)
        return x if gain is None else x * gain.to(x.dtype)


@dataclass(frozen=True, kw_only=True)
class Norm(Piece):
    """The normalisation of activations.

    Attributes:
        ENDS_WITH_ACTIVATION: whether what its unit returns is what the activation returned.
    """

    PLUGINS = ("paretina.model.norms",)
    ENDS_WITH_ACTIVATION: ClassVar[bool] = False

    @abstractmethod
    def make(self, width: int, activation: Activation | None) -> NormUnit:
        """Returns the norm of `width` channels with the activation after it, if any."""

    def connect(self, network: nn.Module) -> None:
        """Called once on each network that is built, for norms whose units share computation; in place."""


class Unit(nn.Module):
    """Convolution, norm, activation."""

    def __init__(self, conv: nn.Module, norm: NormUnit) -> None:
        super().__init__()
        self.conv = conv
        self.norm = norm

    def centred(self, x: Map) -> Map:
        return self.norm.centred(self.conv(x))

    def gain(self) -> Tensor | None:
        return self.norm.gain()

    def parts(self, x: Map, gain: Tensor | None = None) -> tuple[Map, Tensor | None]:
        """Centred map and gain after this unit, from a centred map and the gain to apply to it."""
        conv, norm = getattr(self, "conv", None), self.norm
        if not isinstance(conv, Convolution) or not isinstance(norm, NormUnit):  # a unit of another kind, without gain
            return self.centred(x if gain is None else x * gain.to(x.dtype)), self.gain()
        if gain is None and not norm.apart:
            return self(x), None
        x = conv(x) if gain is None else conv(x, gain)
        return norm.parts(x) if norm.apart else (norm(x), None)

    def forward(self, x: Map) -> Map:
        return self.norm(self.conv(x))


SIZES: dict[Any, tuple[int, int]] = {}
"""Output sizes of blocks in networks that were built before, by how they were made: a run builds its network several times."""


@dataclass(frozen=True)
class Kit:
    """The settings that a blueprint shares among all blocks, and the current position in the network.

    Attributes:
        size: rows and columns of the input map, at the blueprint's resolution.
        channels: of the picture, for stems.
        counter: numbers the blocks.
        sizes: output sizes of chains of blocks, by how they were made.
        image: rows and columns of the images at the blueprint's resolution; default: those of the map.
        quantiser: how layers round weights and inputs; None for not at all.
    """

    norm: Norm
    activation: Activation
    padding: Padding
    size: tuple[int, int]
    channels: int = 3
    counter: Iterator[int] = field(default_factory=itertools.count)
    sizes: dict[Any, tuple[int, int]] = field(default_factory=dict)
    image: tuple[int, int] | None = None
    quantiser: "Quantiser | None" = None

    def conv(
        self,
        width_in: int,
        width_out: int,
        kernel: int | tuple[int, int] = 1,
        stride: int = 1,
        groups: int = 1,
        *,
        bias: bool = False,
        pad: bool = True,
        kept: bool = False,
    ) -> nn.Module:
        """A bare convolution with the padding of the blueprint.

        Args:
            kernel: side of the kernel in pixels, or its rows and columns; odd.
            pad: False for patches that do not overlap.
            kept: whether a quantiser leaves it more bits than the others, as it does to the first layer.
        """
        same = self.padding == "same" and pad
        conv = Convolution(width_in, width_out, kernel, stride, groups, bias=bias, pad=pad, same=same)
        conv.kept = kept
        if self.quantiser is not None:
            conv.rounding = self.quantiser.make("kept" if kept else "inner", tuple(conv.weight.shape))
        return conv

    def classifier(self, width: int, classes: int) -> nn.Linear:
        """A last layer, from features to logits."""
        rounding = None if self.quantiser is None else self.quantiser.make("last", (classes, width))
        return nn.Linear(width, classes) if rounding is None else RoundedLinear(width, classes, rounding)

    def unit(
        self,
        width_in: int,
        width_out: int,
        kernel: int = 1,
        stride: int = 1,
        groups: int = 1,
        *,
        act: bool | Activation = True,
    ) -> Unit:
        """Convolution + norm + activation; `act` is False for none, or an activation other than the blueprint's."""
        conv = self.conv(width_in, width_out, kernel, stride, groups)
        activation = act if isinstance(act, Activation) else self.activation if act else None
        return Unit(conv, self.norm.make(width_out, activation))

    def row_activation(self, width: int, block: "Block") -> nn.Module:
        """The activation for rows of channels, (..., channel).

        Raises:
            ValueError: it learns something for each channel of a map.
        """
        if self.activation.LEARNS:
            raise ValueError(
                f"{type(self.activation).__name__} learns numbers for each channel of a map, but {type(block).__name__} gives "
                "its activation rows of channels; choose another model.activation"
            )
        return self.activation.make(width)

    def block(self, block: "Block", width_in: int, width_out: int, stride: int) -> nn.Module:
        """Makes the next block of the network and numbers it, so that drop rates can depend on depth."""
        module = block.make(width_in, width_out, stride, self)
        module.block_number = next(self.counter)  # type: ignore[assignment]
        settings = (self.norm, self.activation, self.padding, self.channels, self.image)
        module.made_as = (block, width_in, width_out, stride, self.size, settings)  # type: ignore[assignment]
        return module

    def behind(self, module: nn.Module, width_in: int) -> "Kit":
        """The kit at the output of a module that was made with this one."""
        key = getattr(module, "made_as", None)  # equal blocks are run only once; most of a network is repetition
        size = self.sizes.get(key) or SIZES.get(key)
        if size is None:
            size = self.run(module, width_in)[1:]
            if key is not None:
                SIZES[key] = size
        return replace(self, size=size)

    def run(self, module: nn.Module, width_in: int) -> tuple[int, int, int]:
        """Channels, rows and columns of a module's output, found by running it without values."""
        training = module.training
        with torch.no_grad():
            out = module.eval()(torch.empty(1, width_in, *self.size, device="meta"))
        module.train(training)
        out = out[0] if isinstance(out, tuple) else out
        return (out.shape[1], out.shape[2], out.shape[3])


QuantiserPlace = Literal["first", "inner", "kept", "last"]
"""Which layer is rounded: the convolution that reads pictures, one behind it, one there that keeps more, the classifier."""

KEPT_BITS = 8
"""Bits of the weights of the first and the last layer, and of others that blocks ask it for, where few bits lose most."""


@dataclass(frozen=True, kw_only=True)
class Quantiser(Piece):
    """Rounds weights and inputs of layers to few bits, in training and in use; the weights of the network stay floats.

    Attributes:
        weights: bits of a weight, 1 to 8; the first convolution and the classifier have 8, and so has what a block says is to
            be kept.
        activations: bits of a number that a layer reads, 1 to 8; pictures and the features before the classifier stay floats.
    """

    PLUGINS = ("paretina.model.quantisers",)

    weights: int = 2
    activations: int = 4

    def __post_init__(self) -> None:
        for name in ("weights", "activations"):
            if not 1 <= getattr(self, name) <= 8:
                raise ValueError(f"{type(self).__name__}.{name} must be 1 to 8 bits, got {getattr(self, name)}")

    def bits_at(self, place: QuantiserPlace) -> tuple[int, int | None]:
        """Bits of weights and of inputs at a place; None for inputs that are not rounded."""
        return (self.weights, self.activations) if place == "inner" else (KEPT_BITS, None)

    def check(self, blueprint: "Blueprint") -> None:
        """Checks that the network is one for it; by default, that no input of a layer is below zero.

        Raises:
            ValueError: it is not; the message says which field to change.
        """
        if fault := blueprint.below_zero():
            raise ValueError(
                f"{type(self).__name__} rounds what is below zero to zero, and {fault}; choose a network like resnet18, or "
                "model.quantiser=Lsq model.quantiser.signed=true"
            )

    @abstractmethod
    def make(self, place: QuantiserPlace, shape: tuple[int, ...]) -> LayerRounding | None:
        """How a layer rounds, or None where it stays floats; `shape` is that of its weight, (output, ...)."""


@dataclass(frozen=True, kw_only=True)
class Stem(Piece):
    """The first layers, from the picture's channels (`kit.channels`) to the first map.

    Attributes:
        width: channels of that map.
    """

    PLUGINS = ("paretina.model.stems",)

    width: int

    @property
    @abstractmethod
    def stride(self) -> int:
        """The stride of the map relative to the image."""

    @abstractmethod
    def make(self, kit: Kit) -> nn.Module: ...

    def widened(self, rounding: Rounding) -> "Stem":
        """Returns the stem with all of its widths passed through `rounding`."""
        return replace(self, width=rounding(self.width))


@dataclass(frozen=True, kw_only=True)
class Block(Piece):
    """A building block; the first one of a stage changes width and stride."""

    PLUGINS = ("paretina.model.blocks",)

    @property
    def rectified(self) -> bool:
        """Whether its output, and all that its convolutions read besides its input, comes from activations or sums of them."""
        return False

    @abstractmethod
    def make(self, width_in: int, width_out: int, stride: int, kit: Kit) -> nn.Module:
        """Returns the module: (batch, width_in, rows, columns) -> (batch, width_out, rows / stride, columns / stride)."""

    def widened(self, rounding: Rounding) -> "Block":
        """Returns the block with all of its own widths passed through `rounding`; most have none."""
        return self

    def regrouped(self, group_width: int, expand: int | None) -> "Block":
        """Returns the block with grouped convolutions in place of depthwise ones; most have none.

        Args:
            expand: the new expansion, in blocks that have one; None keeps it.
        """
        return self

    @property
    def width_step(self) -> int:
        """What the width of a stage of these blocks must be a multiple of; 1 for most."""
        return 1

    def with_wider_groups(self, factor: float) -> "Block":
        """Returns the block with groups that are wider by a factor, as the widths are, so that their number stays.

        Depthwise convolutions, whose groups have one channel, stay depthwise; most blocks have no groups.
        """
        width = getattr(self, "group_width", 0)
        return replace(self, group_width=max(2, round(width * factor))) if width > 1 else self  # type: ignore[call-arg]

    def __str__(self) -> str:
        """As `repr`, without a hidden width that is not its own."""
        return repr(self).replace(", hidden=0", "").replace("(hidden=0)", "()")

    def hidden_width(self, width_in: int, width_out: int) -> int:
        """The channels inside the block, of which a number of its own can be set; 0 where there are none."""
        return 0

    def narrowed(self, hidden: int) -> "Block":
        """Returns the block with that many hidden channels, whatever its widths; 0 leaves it as it is.

        Raises:
            ValueError: it has none of its own.
        """
        if not hidden:
            return self
        if "hidden" not in self.__dataclass_fields__:
            raise ValueError(f"{type(self).__name__} has no hidden width of its own, so hidden={hidden} cannot be set")
        return replace(self, hidden=hidden)  # type: ignore[call-arg]


@dataclass(frozen=True, kw_only=True)
class Wiring(Piece):
    """The connections between the blocks of a stage.

    The module that `make` returns outputs a map, or a map and a dict of extras for heads and objectives.

    Attributes:
        LEARNS_BY: the only objective that trains a part of it, the part in words and the name of the objective; None if any
            objective trains all of it.
    """

    PLUGINS = ("paretina.model.wirings", "paretina.model.blueprint")
    LEARNS_BY: ClassVar[tuple[str, str] | None] = None

    def narrowed(self, hidden: tuple[int, ...]) -> "Wiring":
        """Returns the wiring with a hidden width for each block; 0 for as the block says.

        Raises:
            ValueError: its blocks differ in kind, or are not one after the other.
        """
        raise ValueError(f"{type(self).__name__} has no hidden widths to set; only Chain and Tokens have")

    def widened(self, rounding: Rounding) -> "Wiring":
        """Returns the wiring with all of its own widths passed through `rounding`; most have none."""
        return self

    @abstractmethod
    def make(self, block: Block, depth: int, width_in: int, width_out: int, stride: int, kit: Kit) -> nn.Module:
        """Returns the stage; every block is made through `kit.block`, which numbers it."""


@dataclass(frozen=True, kw_only=True)
class Chain(Wiring):
    """The blocks in sequence.

    Attributes:
        hidden: hidden width of each block, as pruning leaves it; 0 for as the block says, and () for all of them so.
    """

    LOW_PRECISION: ClassVar[bool] = True

    hidden: tuple[int, ...] = ()

    def narrowed(self, hidden: tuple[int, ...]) -> "Chain":
        return replace(self, hidden=hidden)

    def widened(self, rounding: Rounding) -> "Chain":
        return replace(self, hidden=tuple(width and rounding(width) for width in self.hidden))

    def make(self, block: Block, depth: int, width_in: int, width_out: int, stride: int, kit: Kit) -> nn.Module:
        chain = nn.Sequential()
        for each in each_narrowed(block, depth, self.hidden):
            chain.append(kit.block(each, width_in, width_out, stride))
            kit = kit.behind(chain[-1], width_in)
            width_in, stride = width_out, 1
        chain.made_as = (self, block, depth, id(chain))  # type: ignore[assignment]
        kit.sizes[chain.made_as] = kit.size
        return chain


def each_narrowed(block: Block, depth: int, hidden: tuple[int, ...]) -> tuple[Block, ...]:
    """The blocks of a stage, each with its hidden width.

    Raises:
        ValueError: there is not one width for each block.
    """
    if hidden and len(hidden) != depth:
        raise ValueError(
            f"there are hidden widths for {len(hidden)} blocks, but the stage has {depth}; give one for each block, or none"
        )
    return tuple(block.narrowed(width) for width in hidden or (0,) * depth)


@dataclass(frozen=True, kw_only=True)
class Stage(Spec):
    """One row of the blueprint.

    Attributes:
        depth: number of blocks, at least 1.
        width: channels at the end of the stage.
        stride: of the first block; the others have stride 1.
    """

    block: Block
    depth: int
    width: int
    stride: int
    wiring: Wiring = field(default_factory=Chain)

    def __post_init__(self) -> None:
        # the upper bounds keep a malicious file from building forever
        for name, low, high in (("depth", 1, 1000), ("width", 1, 100_000), ("stride", 1, 32)):
            if not low <= getattr(self, name) <= high:
                raise ValueError(f"Stage.{name} must be between {low} and {high}, got {getattr(self, name)}")


def deepened(stage: Stage, depth: int) -> Stage:
    """The stage with another depth; of blocks with hidden widths of their own, new ones have that of the last.

    Raises:
        ValueError: its wiring has predictors before blocks that would not be there.
    """
    after = getattr(stage.wiring, "after", ())
    if after and after[-1] >= depth:
        raise ValueError(
            f"{type(stage.wiring).__name__}.after is {after}, which must end before the last of {depth} blocks; change the "
            "depth first, and then add the predictors"
        )
    hidden = getattr(stage.wiring, "hidden", ())
    if not hidden or depth == stage.depth:
        return replace(stage, depth=depth)
    hidden = (hidden + hidden[-1:] * max(0, depth - len(hidden)))[:depth]
    return replace(stage, depth=depth, wiring=stage.wiring.narrowed(hidden))


@dataclass(frozen=True)
class MapShape:
    """Shape of one map: its channels, size at the blueprint's resolution, and the stride against the image."""

    width: int
    size: tuple[int, int]
    stride: int


@dataclass(frozen=True, kw_only=True)
class Head(Piece):
    """The last layers, from the maps of the stages to the logits.

    The module that `make` returns is called with the list of maps (the stem's first) and the extras of the stages. It has
    `embedding(maps, extras)`, the features before the last layer, `dropout`, and `classifier`, the last layer; its output is
    `classifier(dropout(embedding))`.

    Attributes:
        DENSE: whether its logits are for each pixel of a picture, and not for the picture.
        BOXES: whether it finds objects, see `paretina.model.detection`; its loss is its own.
    """

    PLUGINS = ("paretina.model.heads",)
    DENSE: ClassVar[bool] = False
    BOXES: ClassVar[bool] = False

    @abstractmethod
    def make(self, maps: tuple[MapShape, ...], classes: int, kit: Kit) -> nn.Module: ...

    def widened(self, rounding: Rounding) -> "Head":
        """Returns the head with all of its widths passed through `rounding`."""
        return self


@dataclass(frozen=True, kw_only=True)
class Initialisation(Spec):
    """The initialisation of weights.

    Attributes:
        conv: variance 2 / fan of a convolution; a fan counts one group (TensorFlow's and timm's way, so that depthwise kernels
            start at sqrt(2) / kernel); "normal" as below.
        linear: of a fully connected weight: uniform within 1 / sqrt(its outputs) as in EfficientNet, 1 / sqrt(its inputs) as in
            torch, Glorot's rule, or "normal": deviation 0.02, cut off at twice that, as in ViT and ConvNeXt. (Their code calls
            a function that cuts at -2 and 2, a hundred deviations: there it is not cut off at all.)
    """

    conv: Literal["fan_out", "fan_in", "normal"] = "fan_out"
    linear: Literal["outputs", "inputs", "glorot", "normal"] = "inputs"


@dataclass(frozen=True, kw_only=True)
class Blueprint(Model):
    """A network: its stages, and the settings that they share.

    Attributes:
        source: paper and table.
        quantiser: how weights and inputs of layers are rounded to few bits; None for not at all.
    """

    LOW_PRECISION: ClassVar[bool | Never] = True  # it depends on its pieces, each of which is checked

    source: str
    stem: Stem
    stages: tuple[Stage, ...]
    head: Head
    norm: Norm
    activation: Activation
    padding: Padding = "symmetric"
    initialisation: Initialisation = Initialisation()
    quantiser: Quantiser | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.stages or len(self.stages) > 100:
            raise ValueError(f"Blueprint.stages must have 1 to 100 rows, got {len(self.stages)}")

    @property
    def border_strides(self) -> tuple[int, ...]:
        """Strides of the maps after the stem and after each stage, relative to the image."""
        return tuple(itertools.accumulate((self.stem.stride, *(stage.stride for stage in self.stages)), lambda a, b: a * b))

    @property
    def strides(self) -> tuple[int, ...]:
        """The strides at which there are feature maps, each once."""
        return tuple(self.feature_widths)

    @property
    def feature_widths(self) -> dict[int, int]:
        """Channels of the last map at each stride, by stride."""
        widths = (self.stem.width, *(stage.width for stage in self.stages))
        return dict(zip(self.border_strides, widths, strict=True))

    def below_zero(self) -> str:
        """Why inputs of layers in the stages may be below zero, as the end of a sentence; "" where none are."""
        for name, piece, fits in (
            ("activation", self.activation, self.activation.RECTIFIES),
            ("norm", self.norm, self.norm.ENDS_WITH_ACTIVATION),
        ):
            if not fits:
                return f"{type(piece).__name__}, the {name} of this network, lets some of that through"
        for number, stage in enumerate(self.stages, 1):
            if not stage.block.rectified or type(stage.wiring) is not Chain:
                what = stage.block if not stage.block.rectified else stage.wiring
                return f"{type(what).__name__} in stage {number} has layers that read what no activation was behind"
        return ""

    def blueprints(self) -> "tuple[Blueprint, ...]":
        return (self,)

    def build(self, device: torch.device | str = "cpu") -> "Network":
        from paretina.model.build import build

        return build(self, device)


@dataclass(frozen=True, kw_only=True)
class Edit(Method):
    """A change to a blueprint, as data: calling it with a blueprint returns the changed one."""

    PLUGINS = ("paretina.model.edits",)
    LEFT_OUT = OFF
    LOW_PRECISION = Never("it depends on the network that it makes")

    @abstractmethod
    def edit(self, blueprint: Blueprint) -> Blueprint: ...

    def __call__(self, blueprint: Blueprint) -> Blueprint:
        """Returns the edited blueprint.

        Raises:
            ValueError: the edit would change nothing, or does not fit this blueprint.
        """
        edited = self.edit(blueprint)
        if edited == blueprint:
            raise ValueError(f"{self} changes nothing in this blueprint ({blueprint.source}); leave it out")
        return edited


@dataclass(frozen=True, kw_only=True)
class Assembly(Method):
    """Builds a model of several networks, as data: calling it with a blueprint returns the combined model.

    It comes after the edits, which change a blueprint; its result cannot be edited.
    """

    PLUGINS = ("paretina.model.assemblies",)
    LEFT_OUT = OFF
    LOW_PRECISION = Never("it depends on the model that it makes")

    @abstractmethod
    def __call__(self, blueprint: Blueprint) -> Model:
        """Returns the combined model.

        Raises:
            ValueError: it cannot be built from this blueprint.
        """


def any_kit(padding: Padding = "symmetric", size: int = 12, **changes: Any) -> Kit:
    """A kit with batch norm and ReLU, for using a block outside of a network."""
    from paretina.model.activations.pointwise import ReLU
    from paretina.model.norms.batch import BatchNorm

    given: dict[str, Any] = {"norm": BatchNorm(), "activation": ReLU(), "padding": padding, "size": (size, size), **changes}
    return Kit(**given)
