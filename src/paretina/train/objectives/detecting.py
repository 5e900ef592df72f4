"""Detecting: a network learns to find boxes, by the loss of its head.

Each of torchvision's detectors has a loss of its own, in which places, anchors or proposals are matched with objects, so the
head (`paretina.model.detection.BoxHead`) gives the parts of the loss by name and they are added up. A picture without objects
teaches that there is none; one without a label teaches nothing.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, cast

from paretina.clock import Clock
from paretina.data.batch import Batch
from paretina.model.blueprint import Blueprint, Model
from paretina.model.build import Network
from paretina.model.task import Task
from paretina.model.tasks.boxes import Boxes
from paretina.packages import require_coco
from paretina.shapes import Loss
from paretina.train.objective import Learner, Objective, Teacher

if TYPE_CHECKING:
    from paretina.train.recipe import Recipe


class DetectingLearner(Learner):
    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network

    def forward(self, batch: Batch, clock: Clock) -> dict[str, Loss]:
        _, extras = self.network(batch.images, extras=True)
        return cast(Any, self.network.head).losses(extras["embedding"], batch.targets)  # type: ignore[no-any-return]

    def result(self) -> Network:
        return self.network


@dataclass(frozen=True, kw_only=True)
class Detecting(Objective):
    """Has nothing to set: what there is to set is in the head."""

    TASKS: ClassVar[tuple[type[Task], ...]] = (Boxes,)

    def check(self, recipe: "Recipe", model: Model) -> None:
        if not isinstance(model, Blueprint) or not model.head.BOXES:
            head = type(getattr(model, "head", model)).__name__
            raise ValueError(
                f"Detecting trains a head that finds boxes, and this network has {head}; set head=FcosHead, RetinaHead or "
                "FasterHead, or give data with boxes"
            )
        if len(recipe.views) > 1:
            raise ValueError(f"Detecting learns from one view, but the recipe has {len(recipe.views)}; leave out views")
        require_coco("Detecting is judged by average precision, which")

    def make(self, network: Network, teacher: Teacher | None) -> Learner:
        return DetectingLearner(network)


EXAMPLES = (Detecting(),)
