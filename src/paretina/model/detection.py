"""Detection: what the heads that find boxes share, so that each of torchvision's detectors takes a few lines.

The maps of a network at some strides are brought to one width, from the coarsest down (a feature pyramid, arXiv:1612.03144),
and one of torchvision's detectors makes boxes of them. It gets the maps as they are: resizing and normalisation are the
network's own. Boxes are found in evaluation mode only; in training mode the answer is empty, and `Finder.losses` gives what is
learned. Both compute in float32.

torchvision's detectors know no regions that are ignored. The heads here pass them over: what is matched with no object and lies
by more than half in such a region (`passed_over`) is not learned as background.
"""

import math
from abc import abstractmethod
from collections import OrderedDict
from collections.abc import Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, replace
from typing import Any, ClassVar, cast

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.image_list import ImageList

from paretina.model.blueprint import Head, Kit, MapShape, Rounding
from paretina.model.build import Network
from paretina.model.heads.pyramid import levels
from paretina.model.layers import Dropout, Pixels
from paretina.model.tasks.boxes import IGNORED, SURE
from paretina.shapes import Logits, Loss, Map, Targets

PRIOR = 0.01
"""Probability of an object at each place before anything is learned (arXiv:1708.02002, section 3.3)."""

Labelled = dict[str, Tensor]
"""The objects of a picture as torchvision takes them: `boxes` in pixels, [object, 4], and `labels`; and, which it leaves to the
heads here, `ignored`, the regions that are ignored, [region, 4]."""

WITHIN = 0.5
"""Share of a place above which it counts as within a region."""
BEYOND = 1e6
"""How far a region that ends at an edge of the picture reaches there, in pixels, as places there are partly outside."""
SILENT = -100.0
"""A logit whose focal loss as background is 0 in float32."""


@dataclass(frozen=True)
class LevelMaps:
    """Maps of one width.

    Attributes:
        maps: the finest first.
        side: rows and columns of the picture, in pixels.
    """

    maps: tuple[Map, ...]
    side: tuple[int, int]

    def float(self) -> "LevelMaps":
        """In float32."""
        return replace(self, maps=tuple(each.float() for each in self.maps))


class EachMap(nn.Module):
    """Applies a module to each map."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, found: LevelMaps) -> LevelMaps:
        return replace(found, maps=tuple(self.module(each) for each in found.maps))


class SmallConv(nn.Module):
    """A convolution with small initial weights, of which torchvision's detectors have their last ones.

    Args:
        like: a convolution of the same shape.
        prior: the probability that its logits begin with; None for logits of 0.
        classes: of its outputs, if they are the classes of each anchor: each class then has a row of its own in the weights.
    """

    ROLES = {"weight": "kernel", "bias": "bias"}

    def __init__(self, like: nn.Conv2d, prior: float | None = None, classes: int = 0) -> None:
        super().__init__()
        outputs, inputs, *taps = like.weight.shape
        anchors = outputs // classes if classes else 1
        # of four axes, as channels_last needs, so those of the anchors and the inputs are one
        self.weight = nn.Parameter(torch.empty(outputs // anchors, anchors * inputs, *taps))
        self.bias = nn.Parameter(torch.empty((classes, anchors) if classes else (outputs,)))
        self.first = 0.0 if prior is None else -math.log((1 - prior) / prior)
        self.around = cast(int, like.padding[0])
        self.reset_parameters()

    @torch.no_grad()
    def reset_parameters(self) -> None:
        self.weight.normal_(0.0, 0.01)
        self.bias.fill_(self.first)

    def forward(self, x: Map) -> Map:
        weight: Tensor = self.weight
        bias: Tensor = self.bias
        if bias.ndim > 1:  # the detectors have the classes of the first anchor first
            weight = weight.unflatten(1, (bias.shape[1], -1)).transpose(0, 1).flatten(0, 1)
            bias = bias.t().flatten()
        return F.conv2d(x, weight, bias, padding=self.around)


class Anchors(AnchorGenerator):
    """torchvision's anchors, at the true strides of the maps, which it takes from the size of the picture otherwise.

    Args:
        strides: of the maps.
        sizes: sides of the anchors of each map in pixels.
        ratios: their heights as multiples of their widths.
    """

    def __init__(self, strides: Sequence[int], sizes: Sequence[tuple[int, ...]], ratios: tuple[float, ...]) -> None:
        super().__init__(tuple(sizes), (ratios,) * len(strides))
        self.strides = tuple(strides)

    def forward(self, image_list: ImageList, feature_maps: list[Tensor]) -> list[Tensor]:
        found = []
        for cells, stride, each in zip(self.cell_anchors, self.strides, feature_maps, strict=True):
            down, across = (torch.arange(side, device=each.device) * stride for side in each.shape[-2:])
            y, x = (line.flatten() for line in torch.meshgrid(down, across, indexing="ij"))
            found.append((torch.stack((x, y, x, y), 1)[:, None] + cells.to(each.device)).reshape(-1, 4))
        return [torch.cat(found)] * len(image_list.image_sizes)


class GivenMaps(nn.Module):
    """Stands where torchvision's detectors have their backbone: gives the maps that it was given.

    Attributes:
        out_channels: of each map.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.out_channels = width
        self.maps: tuple[Map, ...] = ()

    def forward(self, images: Tensor) -> "OrderedDict[str, Tensor]":
        return OrderedDict((str(number), each) for number, each in enumerate(self.maps))

    @contextmanager
    def holding(self, maps: tuple[Map, ...]) -> Any:
        self.maps = maps
        try:
            yield
        finally:
            self.maps = ()


class Unchanged(nn.Module):
    """Stands where torchvision's detectors resize and normalise."""

    def forward(self, images: list[Tensor], targets: Any = None) -> tuple[ImageList, Any]:
        return ImageList(torch.stack(images), [(each.shape[-2], each.shape[-1]) for each in images]), targets

    def postprocess(self, result: list[Labelled], *_: Any) -> list[Labelled]:
        return result


class Finder(nn.Module):
    """One of torchvision's detectors on maps of one width.

    Args:
        detector: whose backbone is `GivenMaps`.
        classes: number of classes.
        most: boxes that an answer has room for.
        first: what the detector calls the first class.
    """

    def __init__(self, detector: nn.Module, classes: int, most: int, first: int = 0) -> None:
        super().__init__()
        detector.transform = Unchanged()
        self.detector = detector
        self.classes = classes
        self.most = most
        self.first = first

    def run(self, found: LevelMaps, targets: list[Labelled] | None = None) -> Any:
        """What the detector gives: losses by name, or the objects of each picture."""
        maps = found.float().maps
        given = cast(GivenMaps, self.detector.backbone)
        images = [maps[0].new_empty(0, *found.side) for _ in range(len(maps[0]))]  # of which only the size is asked
        kind = maps[0].device.type
        plain: AbstractContextManager[Any] = nullcontext() if kind == "meta" else torch.autocast(kind, enabled=False)
        with given.holding(maps), plain:
            return self.detector(images, targets) if targets is not None else self.detector(images)

    def forward(self, found: LevelMaps) -> Logits:
        """(picture, class, slot, 5), best first; see `paretina.model.tasks.boxes`. No slot in training mode."""
        first = found.maps[0]
        if self.training:
            return first.new_empty(len(first), self.classes, 0, 5, dtype=torch.float32)
        answers = first.new_zeros(len(first), self.classes, self.most, 5, dtype=torch.float32)
        if first.is_meta:
            self.count([*found.float().maps])
            return answers
        rows, columns = found.side
        size = first.new_tensor([columns, rows, columns, rows], dtype=torch.float32)
        for number, objects in enumerate(self.run(found)):
            scores, order = objects["scores"].float().sort(descending=True, stable=True)
            slots = torch.arange(min(len(order), self.most), device=first.device)
            order = order[: self.most]
            labels = objects["labels"][order] - self.first
            places = (objects["boxes"][order].float() / size).clamp(0, 1)
            answers[number, labels, slots] = torch.cat((places, scores[: self.most, None]), 1)
        return answers

    def count(self, maps: list[Tensor]) -> None:
        """Computes without values what costs something, for counting."""
        self.detector.head(maps)  # type: ignore[operator]

    def losses(self, found: LevelMaps, targets: Targets) -> dict[str, Loss]:
        """The parts of the loss, by the names that torchvision gives them; pictures without a label are in none."""
        known = targets[..., 4].flatten(1).any(1)
        if not bool(known.any()):
            return {
                "unlabelled": sum((each.float().sum() * 0.0 for each in found.maps), torch.zeros((), device=targets.device))
            }
        if not bool(known.all()):
            found, targets = replace(found, maps=tuple(each[known] for each in found.maps)), targets[known]
        training = self.detector.training
        self.detector.train()
        try:
            losses = self.run(found, objects_in(targets, found.side, self.first))
        finally:
            self.detector.train(training)
        return {name.removeprefix("loss_"): loss.float() for name, loss in losses.items()}


class OneStep(Finder):
    """A detector that chooses among fixed places, each with a score for every class and a box."""

    @property
    def candidates(self) -> int:
        """Places of each map that are considered at most, with one of their classes each."""
        return cast(int, self.detector.topk_candidates)

    @abstractmethod
    def scores(self, outputs: dict[str, Tensor]) -> Float[Tensor, "picture place classes"]:
        """The scores by what torchvision's head gives, in [0, 1]."""

    @abstractmethod
    def corners(
        self, regression: Float[Tensor, "picture place 4"], anchors: Float[Tensor, "place 4"]
    ) -> Float[Tensor, "picture place 4"]:
        """Left, top, right and bottom in pixels."""

    def places(self, found: LevelMaps) -> Float[Tensor, "picture place numbers"]:
        """All that is chosen from: left, top, right and bottom of the box of each place, as shares of the picture's sides,
        and the score of each class. Those of the finest map come first."""
        maps = [*found.float().maps]
        outputs = self.detector.head(maps)  # type: ignore[operator]
        anchors = self.detector.anchor_generator(ImageList(maps[0], [found.side]), maps)[0]  # type: ignore[operator]
        rows, columns = found.side
        size = anchors.new_tensor([columns, rows, columns, rows])
        corners = self.corners(outputs["bbox_regression"], anchors) / size
        return torch.cat((corners.clamp(0, 1), self.scores(outputs)), 2)

    def levels(self, found: LevelMaps) -> tuple[int, ...]:
        """The number of places of each map, the finest first."""
        anchors = self.detector.anchor_generator.num_anchors_per_location()  # type: ignore[operator, union-attr]
        return tuple(each.shape[2] * each.shape[3] * many for each, many in zip(found.maps, anchors, strict=True))


class EachPlace(nn.Module):
    """Stands where a head has its detector: gives all places, so that the answer has the same shape for every picture."""

    def __init__(self, finder: OneStep) -> None:
        super().__init__()
        self.finder = finder

    def forward(self, found: LevelMaps) -> Float[Tensor, "picture place numbers"]:
        return self.finder.places(found)


def level_maps(network: Network, images: Pixels) -> LevelMaps:
    """What the detector of a network is given for pictures."""
    return network.head.embedding(*network.borders(images))  # type: ignore[operator, no-any-return]


def objects_in(targets: Float[Tensor, "batch classes slot 5"], side: tuple[int, int], first: int = 0) -> list[Labelled]:
    """The objects of each picture as torchvision takes them, and its regions to be ignored; boxes without a size are left out.

    Args:
        side: rows and columns of the pictures in pixels.
        first: number of the first class.
    """
    size = targets.new_tensor([side[1], side[0], side[1], side[0]])
    found = []
    for own in targets:
        numbers, slots = (own[..., 4] > SURE).nonzero(as_tuple=True)
        boxes = own[numbers, slots, :4] * size
        real = (boxes[:, 2:] - boxes[:, :2] > 1e-3).all(1)
        each = own.amax(0)  # of a slot, whatever its class
        regions = each[(each[:, 4] >= IGNORED) & (each[:, 4] <= SURE), :4] * size
        found.append({"boxes": boxes[real], "labels": numbers[real] + first, "ignored": reaching(regions, size)})
    return found


def reaching(regions: Float[Tensor, "region 4"], size: Float[Tensor, "4"]) -> Float[Tensor, "region 4"]:
    """The regions, but `BEYOND` the edges of the picture where they end at less than a pixel from these.

    Args:
        size: columns, rows, columns and rows of the picture.
    """
    first = torch.where(regions[:, :2] < 1, -BEYOND, regions[:, :2])
    last = torch.where(regions[:, 2:] > size[2:] - 1, BEYOND, regions[:, 2:])
    return torch.cat((first, last), 1)


def passed_over(places: Float[Tensor, "place 4"], regions: Float[Tensor, "region 4"]) -> Bool[Tensor, " place"]:
    """Which boxes lie in one of the regions by more than half of their area."""
    first = torch.maximum(places[:, None, :2], regions[None, :, :2])
    last = torch.minimum(places[:, None, 2:], regions[None, :, 2:])
    area = (places[:, 2:] - places[:, :2]).prod(1)
    return ((last - first).clamp(min=0).prod(2) > WITHIN * area[:, None]).any(1)


def without_passed(
    outputs: dict[str, Tensor], targets: list[Labelled], places: list[Tensor], matched: list[Tensor]
) -> dict[str, Tensor]:
    """What a head gives, with logits that have no loss at places of no object in a region that is ignored.

    Args:
        outputs: of them, `cls_logits` (picture, place, class) are the logits of a focal loss.
        places: of each picture, their boxes in pixels, [place, 4].
        matched: of each picture, the number of the object at each place; below 0 for none.
    """
    if not any(len(own["ignored"]) for own in targets):
        return outputs
    passed = [(who < 0) & passed_over(own, each["ignored"]) for own, each, who in zip(places, targets, matched, strict=True)]
    return {**outputs, "cls_logits": outputs["cls_logits"].masked_fill(torch.stack(passed)[..., None], SILENT)}


class PassingOver:
    """Before a head of torchvision among the base classes: its loss passes over regions that are ignored."""

    def compute_loss(
        self,
        targets: list[Labelled],
        head_outputs: dict[str, Tensor],
        anchors: list[Tensor],
        matched_idxs: list[Tensor],
    ) -> dict[str, Tensor]:
        outputs = without_passed(head_outputs, targets, anchors, matched_idxs)
        return super().compute_loss(targets, outputs, anchors, matched_idxs)  # type: ignore[misc, no-any-return]


class PyramidOfBoxes(nn.Module):
    """Maps of several strides to one width each; dropout; the detector in place of a classifier.

    Args:
        numbers: of the maps, the coarsest first.
        stride: of the first map of the network, from whose size that of the picture follows.
    """

    def __init__(
        self, numbers: list[int], stride: int, laterals: list[nn.Module], merges: list[nn.Module], classifier: Finder
    ) -> None:
        super().__init__()
        self.numbers = numbers
        self.stride = stride
        self.laterals = nn.ModuleList(laterals)
        self.merges = nn.ModuleList(merges)
        self.dropout = EachMap(Dropout())
        self.classifier = classifier

    def embedding(self, maps: list[Map], extras: dict[str, Any]) -> LevelMaps:
        found: list[Map] = []
        above: Map | None = None
        for number, lateral, merge in zip(self.numbers, self.laterals, self.merges, strict=True):
            own = lateral(maps[number])
            above = own if above is None else own + F.interpolate(above, size=own.shape[2:], mode="nearest")
            found.insert(0, merge(above))
        rows, columns = (side * self.stride for side in maps[0].shape[2:])
        return LevelMaps(tuple(found), (rows, columns))

    def forward(self, maps: list[Map], extras: dict[str, Any]) -> Logits:
        return self.classifier(self.dropout(self.embedding(maps, extras)))  # type: ignore[no-any-return]

    def losses(self, found: LevelMaps, targets: Targets) -> dict[str, Loss]:
        """As `Finder.losses`, of an embedding."""
        return self.classifier.losses(self.dropout(found), targets)


@dataclass(frozen=True, kw_only=True)
class BoxHead(Head):
    """Base of the heads that find boxes.

    Attributes:
        width: channels of each level of the pyramid.
        finest: stride of the finest map that is used; finer ones find smaller objects and cost more.
        most: boxes of an answer, at most.
        least: score below which a box is left out, in [0, 1).
        overlap: of two boxes of one class with a larger intersection over union the better one stays, in (0, 1].
    """

    BOXES: ClassVar[bool] = True

    width: int = 64
    finest: int = 8
    most: int = 100
    least: float = 0.05
    overlap: float = 0.5

    def __post_init__(self) -> None:
        name = type(self).__name__
        for field in ("width", "finest", "most"):
            if getattr(self, field) < 1:
                raise ValueError(f"{name}.{field} must be at least 1, got {getattr(self, field)}")
        if not 0 <= self.least < 1:
            raise ValueError(f"{name}.least is a score in [0, 1), got {self.least:g}")
        if not 0 < self.overlap <= 1:
            raise ValueError(f"{name}.overlap is an intersection over union in (0, 1], got {self.overlap:g}")

    @abstractmethod
    def finder(self, strides: list[int], classes: int) -> Finder:
        """The detector for maps at these strides, the finest first."""

    def settings(self) -> dict[str, Any]:
        """What torchvision's detectors are told alike, where they choose among boxes."""
        return {"score_thresh": self.least, "nms_thresh": self.overlap, "detections_per_img": self.most}

    def make(self, maps: tuple[MapShape, ...], classes: int, kit: Kit) -> nn.Module:
        numbers = levels(maps, self.finest, type(self).__name__)
        laterals: list[nn.Module] = [kit.unit(maps[number].width, self.width, act=False) for number in numbers]
        merges: list[nn.Module] = [kit.unit(self.width, self.width, 3) for _ in numbers]
        finder = self.finder([maps[number].stride for number in numbers[::-1]], classes)
        return PyramidOfBoxes(numbers, maps[0].stride, laterals, merges, finder)

    def widened(self, rounding: Rounding) -> "Head":
        return replace(self, width=rounding(self.width))
