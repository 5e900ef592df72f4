"""FasterHead: finds boxes in two steps, proposals and their classes, by torchvision's Faster R-CNN.

Most of its parameters are in the two layers behind the pooled proposals, and its time depends on how many of these there are:
it is counted with `proposals` of them in every picture. Anchors and proposals in a region that is ignored and of no object are
not among those that are drawn for the losses.

Source: Ren et al. 2015 (arXiv:1506.01497), with feature pyramids as in arXiv:1612.03144; torchvision's `FasterRCNN`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torchvision.models.detection.faster_rcnn import FasterRCNN, TwoMLPHead
from torchvision.models.detection.roi_heads import RoIHeads
from torchvision.models.detection.rpn import RegionProposalNetwork
from torchvision.ops import MultiScaleRoIAlign, box_iou

from paretina.model.detection import Anchors, BoxHead, Finder, GivenMaps, Labelled, SmallConv, passed_over
from paretina.traits import Never

POOLED = 7
"""Rows and columns that a proposal is pooled to."""


class ClassesOfBoxes(nn.Module):
    """The class of each proposal, and its box if it is of a class; every class has a row of its own in the weights.

    The first class that it gives is the background, whose box is never asked for.
    """

    ROLES = dict.fromkeys(("score", "place", "ground"), "kernel") | dict.fromkeys(("shift", "centre"), "bias")

    def __init__(self, width: int, classes: int) -> None:
        super().__init__()
        self.score = nn.Parameter(torch.empty(classes, width))
        self.shift = nn.Parameter(torch.empty(classes))
        self.place = nn.Parameter(torch.empty(classes, 4, width))
        self.centre = nn.Parameter(torch.empty(classes, 4))
        self.ground = nn.Parameter(torch.empty(1, width))
        self.reset_parameters()

    @torch.no_grad()
    def reset_parameters(self) -> None:
        for weight, deviation in ((self.score, 0.01), (self.ground, 0.01), (self.place, 0.001)):
            weight.normal_(0.0, deviation)
        for bias in (self.shift, self.centre):
            bias.zero_()

    def forward(
        self, x: Float[Tensor, "proposal feature"]
    ) -> tuple[Float[Tensor, "proposal scores"], Float[Tensor, "proposal corners"]]:
        scores = torch.cat((x @ self.ground.t(), x @ self.score.t() + self.shift), 1)
        boxes = x @ self.place.flatten(0, 1).t() + self.centre.flatten()
        return scores, torch.cat((boxes.new_zeros(len(boxes), 4), boxes), 1)


class PassingProposals(RegionProposalNetwork):
    """torchvision's, which passes over regions that are ignored.

    Args:
        made: whose parts and settings it takes over.
    """

    def __init__(self, made: RegionProposalNetwork) -> None:
        nn.Module.__init__(self)
        self.__dict__.update(made.__dict__)

    def assign_targets_to_anchors(self, anchors: list[Tensor], targets: list[Labelled]) -> tuple[list[Tensor], list[Tensor]]:
        labels, boxes = super().assign_targets_to_anchors(anchors, targets)
        return [
            own.masked_fill((own == 0) & passed_over(places, each["ignored"]), -1.0)
            for own, places, each in zip(labels, anchors, targets, strict=True)
        ], boxes

    def compute_loss(
        self, objectness: Tensor, pred_bbox_deltas: Tensor, labels: list[Tensor], regression_targets: Sequence[Tensor]
    ) -> tuple[Tensor, Tensor]:
        if all(bool((own < 0).all()) for own in labels):  # of nothing there is no mean
            return objectness.sum() * 0.0, pred_bbox_deltas.sum() * 0.0
        return super().compute_loss(objectness, pred_bbox_deltas, labels, list(regression_targets))


class PassingRoIs(RoIHeads):
    """torchvision's, which passes over regions that are ignored.

    Args:
        made: whose parts and settings it takes over.
    """

    def __init__(self, made: RoIHeads) -> None:
        nn.Module.__init__(self)
        self.__dict__.update(made.__dict__)

    def forward(
        self,
        features: dict[str, Tensor],
        proposals: list[Tensor],
        image_shapes: list[tuple[int, int]],
        targets: list[Labelled] | None = None,
    ) -> tuple[list[Labelled], dict[str, Tensor]]:
        if targets is not None:
            proposals = [self.remaining(own, each) for own, each in zip(proposals, targets, strict=True)]
            if not sum(len(own) + len(each["boxes"]) for own, each in zip(proposals, targets, strict=True)):
                nothing = sum((each.sum() * 0.0 for each in features.values()), proposals[0].new_zeros(()))
                return [], {"loss_classifier": nothing, "loss_box_reg": nothing}
        return super().forward(features, proposals, image_shapes, targets)  # type: ignore[no-any-return]

    def remaining(self, proposals: Tensor, target: Labelled) -> Tensor:
        """The proposals that are near an object or in no region that is ignored."""
        passed = passed_over(proposals, target["ignored"])
        if len(target["boxes"]):
            passed &= box_iou(target["boxes"], proposals).amax(0) < self.proposal_matcher.low_threshold
        return proposals[~passed]


class TwoSteps(Finder):
    """
    Args:
        proposals: of a picture.
    """

    def __init__(self, detector: nn.Module, classes: int, most: int, proposals: int) -> None:
        super().__init__(detector, classes, most, first=1)  # 0 is the background
        self.proposals = proposals

    def count(self, maps: list[Tensor]) -> None:
        rpn, second = self.detector.rpn, self.detector.roi_heads
        rpn.head(maps)  # type: ignore[operator, union-attr]
        pooled = maps[0].new_empty(len(maps[0]) * self.proposals, maps[0].shape[1], POOLED, POOLED)
        second.box_predictor(second.box_head(pooled))  # type: ignore[operator, union-attr]


@dataclass(frozen=True, kw_only=True)
class FasterHead(BoxHead):
    """
    Attributes:
        anchor: side of the anchors of a map as a multiple of its stride; they have three shapes.
        proposals: of a picture, at most, in training and in use.
        hidden: width of the two layers behind the pooled proposals.
    """

    LOW_PRECISION: ClassVar[bool | Never] = False

    anchor: float = 4.0
    proposals: int = 300
    hidden: int = 256

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.anchor <= 0:
            raise ValueError(f"FasterHead.anchor is a multiple of the stride, above 0, got {self.anchor:g}")
        for field in ("proposals", "hidden"):
            if getattr(self, field) < 1:
                raise ValueError(f"FasterHead.{field} must be at least 1, got {getattr(self, field)}")

    def finder(self, strides: list[int], classes: int) -> Finder:
        anchors = Anchors(strides, [(round(self.anchor * stride),) for stride in strides], (0.5, 1.0, 2.0))
        detector = FasterRCNN(
            GivenMaps(self.width),
            rpn_anchor_generator=anchors,
            rpn_post_nms_top_n_train=self.proposals,
            rpn_post_nms_top_n_test=self.proposals,
            box_roi_pool=MultiScaleRoIAlign([str(n) for n in range(len(strides))], output_size=POOLED, sampling_ratio=2),
            box_head=TwoMLPHead(self.width * POOLED**2, self.hidden),
            box_predictor=ClassesOfBoxes(self.hidden, classes),
            **{f"box_{name}": value for name, value in self.settings().items()},
        )
        for name in ("cls_logits", "bbox_pred"):
            setattr(detector.rpn.head, name, SmallConv(getattr(detector.rpn.head, name)))
        detector.rpn, detector.roi_heads = PassingProposals(detector.rpn), PassingRoIs(detector.roi_heads)
        return TwoSteps(detector, classes, self.most, self.proposals)


EXAMPLES = (
    FasterHead(width=8, finest=2, most=20, hidden=16),
    FasterHead(width=8, finest=4, anchor=2.0, proposals=50, hidden=16),
)
