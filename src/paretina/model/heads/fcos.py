"""FcosHead: finds boxes without anchors, by torchvision's FCOS.

Each place of each map says which class it is in the middle of, how far away the four sides of the box are, and how central it
is. The lightest of the three heads, and the one to begin with. A place in a region that is ignored and in no object has no part
in the loss of the classes.

Source: Tian et al. 2019 (arXiv:1904.01355), with centre sampling as in arXiv:2006.09214; torchvision's `FCOS`. There
a distance below zero is zero and has no gradient, so that a network whose distances fall below zero in the first updates never
finds anything; here, in training, it has the gradient of a distance that is nearly zero. Its answers are the same.
"""

from dataclasses import dataclass, replace
from typing import ClassVar

from jaxtyping import Float
from torch import Tensor
from torchvision.models.detection.fcos import FCOS, FCOSHead

from paretina.model.blueprint import Head, Rounding
from paretina.model.detection import PRIOR, Anchors, BoxHead, Finder, GivenMaps, OneStep, PassingOver, SmallConv
from paretina.shapes import Map
from paretina.traits import Never

GROUPS = 32
"""Of the group norms in torchvision's head."""


NEARLY = 1e-6
"""Strides of a map that count as no distance."""


class Distances(SmallConv):
    """The distances of the four sides of a box, in strides; those below zero learn as well."""

    def forward(self, x: Map) -> Map:
        found = super().forward(x)
        return found - found.detach() + found.detach().clamp(min=NEARLY) if self.training else found


class PassingFcos(PassingOver, FCOSHead):
    """torchvision's, which passes over regions that are ignored."""


class FcosFinder(OneStep):
    """A score is the geometric mean of those of the class and of being central."""

    def scores(self, outputs: dict[str, Tensor]) -> Float[Tensor, "picture place classes"]:
        return (outputs["cls_logits"].sigmoid() * outputs["bbox_ctrness"].sigmoid()).sqrt()

    def corners(
        self, regression: Float[Tensor, "picture place 4"], anchors: Float[Tensor, "place 4"]
    ) -> Float[Tensor, "picture place 4"]:
        return self.detector.box_coder.decode(regression, anchors)  # type: ignore[operator, union-attr, no-any-return]


@dataclass(frozen=True, kw_only=True)
class FcosHead(BoxHead):
    """`width` is a multiple of 32, the number of groups of its norms."""

    LOW_PRECISION: ClassVar[bool | Never] = False

    overlap: float = 0.6

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.width % GROUPS:
            raise ValueError(f"FcosHead.width is a multiple of {GROUPS}, for its group norms, got {self.width}")

    def finder(self, strides: list[int], classes: int) -> Finder:
        anchors = Anchors(strides, [(stride,) for stride in strides], (1.0,))
        head = PassingFcos(self.width, 1, classes)
        detector = FCOS(GivenMaps(self.width), classes, anchor_generator=anchors, head=head, **self.settings())
        head.classification_head.cls_logits = SmallConv(head.classification_head.cls_logits, PRIOR, classes)
        head.regression_head.bbox_reg = Distances(head.regression_head.bbox_reg)
        head.regression_head.bbox_ctrness = SmallConv(head.regression_head.bbox_ctrness)
        return FcosFinder(detector, classes, self.most)

    def widened(self, rounding: Rounding) -> Head:
        return replace(self, width=max(GROUPS, round(rounding(self.width) / GROUPS) * GROUPS))


EXAMPLES = (FcosHead(width=32, finest=2, most=20), FcosHead(width=32, finest=4, least=0.0))
