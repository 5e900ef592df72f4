"""FasterHead: finds boxes in two steps, proposals and their classes, by torchvision's Faster R-CNN.

Most of its parameters are in the two layers behind the pooled proposals, and its time depends on how many of these there are:
    it is
counted with `proposals` of them in every picture.

Source: Ren et al. 2015 (arXiv:1506.01497), with feature pyramids as in arXiv:1612.03144; torchvision's `FasterRCNN`.
"""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn
from torchvision.models.detection.faster_rcnn import FasterRCNN, FastRCNNPredictor, TwoMLPHead
from torchvision.ops import MultiScaleRoIAlign

from paretina.model.detection import Anchors, BoxHead, Finder, GivenMaps, SmallConv
from paretina.traits import Never

POOLED = 7
"""Rows and columns that a proposal is pooled to."""


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
            box_predictor=FastRCNNPredictor(self.hidden, classes + 1),
            **{f"box_{name}": value for name, value in self.settings().items()},
        )
        for name in ("cls_logits", "bbox_pred"):
            setattr(detector.rpn.head, name, SmallConv(getattr(detector.rpn.head, name)))
        return TwoSteps(detector, classes, self.most, self.proposals)


EXAMPLES = (
    FasterHead(width=8, finest=2, most=20, hidden=16),
    FasterHead(width=8, finest=4, anchor=2.0, proposals=50, hidden=16),
)
