"""RetinaHead: finds boxes from nine anchors at each place, with the focal loss, by torchvision's RetinaNet.

An anchor in a region that is ignored and of no object has no part in the loss of the classes.

Source: Lin et al. 2017 (arXiv:1708.02002); torchvision's `RetinaNet`. As there the anchors of a map have 4 times its stride,
and times 2^(1/3) and 2^(2/3), in three shapes.
"""

from dataclasses import dataclass
from typing import ClassVar

from jaxtyping import Float
from torch import Tensor
from torchvision.models.detection.retinanet import RetinaNet, RetinaNetHead

from paretina.model.detection import PRIOR, Anchors, BoxHead, Finder, GivenMaps, OneStep, PassingOver, SmallConv
from paretina.traits import Never


class PassingRetina(PassingOver, RetinaNetHead):
    """torchvision's, which passes over regions that are ignored."""


class RetinaFinder(OneStep):
    """A score is that of the class alone."""

    def scores(self, outputs: dict[str, Tensor]) -> Float[Tensor, "picture place classes"]:
        return outputs["cls_logits"].sigmoid()

    def corners(
        self, regression: Float[Tensor, "picture place 4"], anchors: Float[Tensor, "place 4"]
    ) -> Float[Tensor, "picture place 4"]:
        coder = self.detector.box_coder
        flat = coder.decode_single(regression.transpose(0, 1).flatten(1), anchors)  # type: ignore[operator, union-attr]
        return flat.unflatten(1, (-1, 4)).transpose(0, 1)  # type: ignore[no-any-return]


@dataclass(frozen=True, kw_only=True)
class RetinaHead(BoxHead):
    """
    Attributes:
        anchor: side of the smallest anchor of a map as a multiple of its stride.
    """

    LOW_PRECISION: ClassVar[bool | Never] = False

    anchor: float = 4.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.anchor <= 0:
            raise ValueError(f"RetinaHead.anchor is a multiple of the stride, above 0, got {self.anchor:g}")

    def finder(self, strides: list[int], classes: int) -> Finder:
        sizes = [tuple(round(self.anchor * stride * 2 ** (step / 3)) for step in range(3)) for stride in strides]
        anchors = Anchors(strides, sizes, (0.5, 1.0, 2.0))
        head = PassingRetina(self.width, anchors.num_anchors_per_location()[0], classes)
        detector = RetinaNet(GivenMaps(self.width), classes, anchor_generator=anchors, head=head, **self.settings())
        head.classification_head.cls_logits = SmallConv(head.classification_head.cls_logits, PRIOR, classes)
        head.regression_head.bbox_reg = SmallConv(head.regression_head.bbox_reg)
        return RetinaFinder(detector, classes, self.most)


EXAMPLES = (RetinaHead(width=16, finest=2, most=20), RetinaHead(width=16, finest=4, anchor=2.0))
