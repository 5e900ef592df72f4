"""The steps from ResNet-50 to ConvNeXt-T, each an edit that can be used on its own.

`MODERNISATION` lists them in the paper's order; applied in sequence they turn `resnet50` into exactly `convnext_tiny`. Each
changes one thing in a network of bottlenecks, so each can also be tried alone or left out. The paper's results (ImageNet-1k
top-1 in percent, mean of three runs of 300 epochs with one recipe; billions of MACs):

    ResNet-50, new recipe    78.82  4.09      LargeKernel, 7        80.57  4.15
    StageRatio               79.36  4.53      ToGELU                80.62  4.15
    Patchify                 79.51  4.42      FewerActivations      81.27  4.15
    Depthwise                78.28  2.35      FewerNorms            81.41  4.15
    Scale, width 1.5         80.50  5.27      ToLayerNorm           81.47  4.46 (4.2 in figure 2)
    Invert                   80.64  4.64      SeparateDownsampling  81.97  4.49
    MoveUp                   79.92  4.07

A norm adds no MACs, so `ToLayerNorm` leaves them at 4.15, as in figure 2; 4.46 is our count of the step after it. The recipe
itself, worth 2.7 points, is none of these edits. MACs say little of the time that depthwise convolutions and layer norms take,
so measure.

Source: Liu et al. 2022 (arXiv:2201.03545), section 2, figures 2 to 4 and table 10. Where the paper is silent on details,
`model/blocks/modern.py` says what is done here.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

from paretina.model.activations.pointwise import GELU
from paretina.model.blocks.convnext import ConvNeXt
from paretina.model.blocks.modern import ModernBottleneck
from paretina.model.blocks.resnet import Bottleneck
from paretina.model.blueprint import Block, Blueprint, Edit, Stage, deepened
from paretina.model.edits.scale import Scale
from paretina.model.heads.norm_pool import NormPoolHead
from paretina.model.heads.pool import PoolHead
from paretina.model.norms.channel import ChannelNorm
from paretina.model.stems.patch import PatchStem


def modern(block: Block) -> ModernBottleneck | None:
    """The equivalent `ModernBottleneck`, or None if the block has none."""
    if isinstance(block, Bottleneck) and block.strided == "3x3":
        return ModernBottleneck(expand=1 / block.squeeze, group_width=block.group_width, shortcut=block.shortcut)
    return block if isinstance(block, ModernBottleneck) else None


def bottlenecks(edit: Edit, blueprint: Blueprint) -> list[ModernBottleneck]:
    """The bottlenecks of a blueprint.

    Raises:
        ValueError: it has none.
    """
    found = [block for stage in blueprint.stages if (block := modern(stage.block)) is not None]
    if not found:
        raise ValueError(
            f"{edit} changes networks of bottlenecks with the stride in the 3x3 (resnet50, say), "
            f"and no stage of this one ({blueprint.source}) has them"
        )
    return found


def rebuilt(edit: Edit, blueprint: Blueprint, change: Callable[[Stage, ModernBottleneck], Stage]) -> Blueprint:
    """The blueprint with its stages of bottlenecks changed; a stage whose block the change leaves alone stays as it was."""
    bottlenecks(edit, blueprint)
    stages = []
    for stage in blueprint.stages:
        block = modern(stage.block)
        changed = stage if block is None else change(stage, block)
        stages.append(stage if changed.block == block else changed)
    return replace(blueprint, stages=tuple(stages))


@dataclass(frozen=True, kw_only=True)
class StageRatio(Edit):
    """Sets the depth of every stage.

    Attributes:
        depths: number of blocks of each stage.
    """

    depths: tuple[int, ...]

    def edit(self, blueprint: Blueprint) -> Blueprint:
        if len(self.depths) != len(blueprint.stages):
            raise ValueError(f"{self} needs one depth for each of the {len(blueprint.stages)} stages of {blueprint.source}")
        rows = zip(blueprint.stages, self.depths, strict=True)
        return replace(blueprint, stages=tuple(deepened(stage, depth) for stage, depth in rows))


@dataclass(frozen=True, kw_only=True)
class Patchify(Edit):
    """Replaces the stem by a single patch convolution, with patches as large as the stem's stride."""

    def edit(self, blueprint: Blueprint) -> Blueprint:
        stem = blueprint.stem
        return (
            blueprint
            if isinstance(stem, PatchStem)
            else replace(blueprint, stem=PatchStem(width=stem.width, patch=stem.stride))
        )


@dataclass(frozen=True, kw_only=True)
class Depthwise(Edit):
    """Makes the spatial convolution of bottlenecks depthwise."""

    def edit(self, blueprint: Blueprint) -> Blueprint:
        return rebuilt(self, blueprint, lambda stage, block: replace(stage, block=replace(block, group_width=1)))


@dataclass(frozen=True, kw_only=True)
class Invert(Edit):
    """Inverts bottlenecks: swaps the hidden width and the width of the stage.

    Use `Depthwise` first: a dense spatial convolution between wide layers is costly.
    """

    def edit(self, blueprint: Blueprint) -> Blueprint:
        def inverted(stage: Stage, block: ModernBottleneck) -> Stage:
            if block.expand >= 1:
                return stage
            return replace(stage, width=block.hidden(stage.width), block=replace(block, expand=1 / block.expand))

        return rebuilt(self, blueprint, inverted)


@dataclass(frozen=True, kw_only=True)
class MoveUp(Edit):
    """Moves the spatial convolution to the start of the block, where it has the width of the block's input."""

    def edit(self, blueprint: Blueprint) -> Blueprint:
        return rebuilt(self, blueprint, lambda stage, block: replace(stage, block=replace(block, spatial="first")))


@dataclass(frozen=True, kw_only=True)
class LargeKernel(Edit):
    """Changes the kernel size of the spatial convolution of bottlenecks.

    Attributes:
        kernel: its side, in pixels; odd.
    """

    kernel: int = 7

    def edit(self, blueprint: Blueprint) -> Blueprint:
        return rebuilt(self, blueprint, lambda stage, block: replace(stage, block=replace(block, kernel=self.kernel)))


@dataclass(frozen=True, kw_only=True)
class ToGELU(Edit):
    """GELU as the activation of a network of bottlenecks."""

    def edit(self, blueprint: Blueprint) -> Blueprint:
        bottlenecks(self, blueprint)
        return replace(blueprint, activation=GELU())


@dataclass(frozen=True, kw_only=True)
class FewerActivations(Edit):
    """Keeps only one activation per bottleneck, before its last convolution."""

    def edit(self, blueprint: Blueprint) -> Blueprint:
        return rebuilt(self, blueprint, lambda stage, block: replace(stage, block=replace(block, activations="one")))


@dataclass(frozen=True, kw_only=True)
class FewerNorms(Edit):
    """Keeps only one norm per bottleneck, after its spatial convolution; a layer scale ends the block instead."""

    def edit(self, blueprint: Blueprint) -> Blueprint:
        return rebuilt(self, blueprint, lambda stage, block: replace(stage, block=replace(block, norms="one")))


@dataclass(frozen=True, kw_only=True)
class ToLayerNorm(Edit):
    """Layer norm over channels as the norm of a network of bottlenecks."""

    def edit(self, blueprint: Blueprint) -> Blueprint:
        bottlenecks(self, blueprint)
        return replace(blueprint, norm=ChannelNorm(eps=1e-6))


@dataclass(frozen=True, kw_only=True)
class SeparateDownsampling(Edit):
    """Downsamples between blocks, with layer norms at every place where the size changes.

    They come before each downsampling, after a patch stem and after the final pool. A block that then has all of
    the other switches set is ConvNeXt's and becomes it, whose depthwise convolution has a bias too.
    """

    def edit(self, blueprint: Blueprint) -> Blueprint:
        def separate(stage: Stage, block: ModernBottleneck) -> Stage:
            block = replace(block, downsampling="separate")
            finished = replace(block, group_width=1, spatial="first", activations="one", norms="one")
            if block == finished and block.expand.is_integer() and blueprint.norm == ChannelNorm(eps=1e-6):
                return replace(stage, block=ConvNeXt(expand=int(block.expand), kernel=block.kernel))
            return replace(stage, block=block)

        separated = rebuilt(self, blueprint, separate)
        stem, head = blueprint.stem, blueprint.head
        return replace(
            separated,
            stem=replace(stem, norm=True) if isinstance(stem, PatchStem) else stem,
            head=NormPoolHead() if head == PoolHead() else head,
        )


MODERNISATION: tuple[Edit, ...] = (
    StageRatio(depths=(3, 3, 9, 3)),
    Patchify(),
    Depthwise(),
    Scale(width=1.5),
    Invert(),
    MoveUp(),
    LargeKernel(kernel=7),
    ToGELU(),
    FewerActivations(),
    FewerNorms(),
    ToLayerNorm(),
    SeparateDownsampling(),
)

EXAMPLES = (
    StageRatio(depths=(1, 4)),
    Patchify(),
    Depthwise(),
    Invert(),
    MoveUp(),
    LargeKernel(kernel=5),
    ToGELU(),
    FewerActivations(),
    FewerNorms(),
    ToLayerNorm(),
    SeparateDownsampling(),
)
