"""SimSiam: BYOL without a target network. What is to be predicted is the other view's own projection, held still.

Learns nearly as much as BYOL in runs of 100 epochs, with batches of 64 to 512, and saves the passes of the target.

Source: Chen & He 2020 (arXiv:2011.10566), algorithm 1.
"""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from paretina.data.batch import Batch
from paretina.model.blueprint import Model
from paretina.model.build import Network
from paretina.shapes import Features
from paretina.train.objective import Learner, Objective, Teacher
from paretina.train.objectives.byol import TwoViewLearner, check_two_views
from paretina.traits import SETTING, traits

if TYPE_CHECKING:
    from paretina.train.recipe import Recipe


class SimSiamLearner(TwoViewLearner):
    def wanted(self, batch: Batch, projections: tuple[Features, Features]) -> tuple[Features, Features]:
        return projections[0].detach(), projections[1].detach()


@dataclass(frozen=True, kw_only=True)
class SimSiam(Objective):
    """
    Attributes:
        hidden: width of the hidden layers of projector and predictor.
        width: of the projections that are compared.
    """

    hidden: int = field(default=512, metadata=traits(left_out=SETTING))
    width: int = field(default=2048, metadata=traits(left_out=SETTING))

    def check(self, recipe: "Recipe", model: Model) -> None:
        check_two_views("SimSiam", recipe, model)

    def make(self, network: Network, teacher: Teacher | None) -> Learner:
        return SimSiamLearner(network, self.hidden, self.width)


EXAMPLES = (SimSiam(hidden=16, width=8),)
