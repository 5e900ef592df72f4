"""Routing: a network learns to answer at several image sizes, and then which of them each picture needs.

For what `Route` makes; `paretina train --routes` runs both stages. First the network alone learns: each picture is answered at
every size, and the losses are added. Then the predictor learns too: a size is drawn for each picture, and what the batch costs
above the target is a loss. The gradient of a draw is that of the mean of all answers, weighted by the relaxed draw
(straight-through), so an update computes every size forward, and the drawn ones backward. Each stage is a run; the second
starts from the weights of the first, so that there is something to choose from before it collapses to one size.

    E = sum over sizes of share * cost,   loss = terms + weight * max(0, E - target) / (cost of the largest - of the smallest)

Source: Zhu et al. 2021 (arXiv:2106.02898), section 3; stages and weight (0.2) as there. A smaller target costs less, as in
their tables; the text says the opposite. Unlike there, the cost is that of all that runs, the predictor too, and a share of
that of the network alone at the largest size. The target holds for the draws: evaluation, which draws none (the released code
does), takes what is wished most, and that may cost less or more. `noise` can fade, so that the target holds for evaluation; in
a short run a size that was then never drawn went stale.
Invariant: where all draws are of one size, the terms are those of the network at this size.
"""

import functools
import math
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, ClassVar, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from paretina.clock import Clock
from paretina.data.batch import Batch
from paretina.data.bounds import require_within
from paretina.measure.cost import cost
from paretina.model.assemblies.route import Routed, SharedRouter
from paretina.model.blueprint import Model
from paretina.model.build import Network
from paretina.model.task import Task
from paretina.model.tasks.any_of import AnyOf
from paretina.model.tasks.one_of import OneOf
from paretina.schedules import Constant, Schedule
from paretina.shapes import Loss
from paretina.train.objective import Learner, Outputs, Teacher
from paretina.train.objectives.supervised import Supervised
from paretina.traits import SETTING, STAYS, Never, SetTo, traits

if TYPE_CHECKING:
    from paretina.train.recipe import Recipe

Costed = Literal["macs", "activations", "bytes_moved"]
"""What a budget limits; see `paretina.measure.cost.Cost`."""


def excess(costs: Float[Tensor, " size"], shares: Float[Tensor, "batch size"], target: float) -> Loss:
    """By how much a batch is above its target, at least 0; 1 is the difference between the dearest size and the cheapest."""
    expected = (shares.mean(0) * costs).sum()
    return (expected - target).clamp(min=0.0) / (costs.max() - costs.min())


def odds_for(costs: tuple[float, ...], target: float) -> tuple[float, ...]:
    """The most even odds of the sizes whose expected cost is the target.

    Args:
        costs: of each size, rising.
        target: between the first and the last of them.
    """
    low, high = -1000.0, 1000.0

    def odds(slope: float) -> tuple[float, ...]:
        span = costs[-1] - costs[0]
        powers = [slope * (each - costs[0]) / span for each in costs]
        shares = [math.exp(power - max(powers)) for power in powers]
        return tuple(share / sum(shares) for share in shares)

    for _ in range(100):
        middle = (low + high) / 2
        expected = sum(share * each for share, each in zip(odds(middle), costs, strict=True))
        low, high = (low, middle) if expected > target else (middle, high)
    return odds((low + high) / 2)


@functools.lru_cache(maxsize=64)
def costs_of(model: Routed, name: Costed) -> tuple[float, ...]:
    """What a picture costs at each size, the predictor included; 1 is the network alone at the largest size."""
    counted = cost(replace(model, shares=()))
    each = [getattr(route, name) for route in counted.routes]
    choosing = getattr(counted, name) - each[-1]
    return tuple((one + choosing) / each[-1] for one in each)


def largest_cost(model: Routed, name: Costed) -> int:
    """The cost of a picture in the network alone at the largest size."""
    return getattr(cost(replace(model, shares=())).routes[-1], name)  # type: ignore[no-any-return]


class RoutingLearner(Learner):
    """
    Attributes:
        costs: of each size, as `costs_of`; buffer.
    """

    costs: Tensor

    def __init__(self, network: SharedRouter, model: Routed, choice: "Routing", teacher: Teacher | None) -> None:
        super().__init__()
        self.network = network
        self.choice = choice
        self.terms = {type(term).__name__: term.make(teacher) for term in choice.terms}
        self.sizes = model.sizes
        self.target = choice.target(model)
        costs = costs_of(model, choice.cost)
        self.register_buffer("costs", torch.tensor(costs, device=network.temperature.device), persistent=False)
        network.choosing = choice.stage == "routes"
        network.odds = odds_for(costs, self.target) if choice.chooser == "random" else None
        if choice.stage == "sizes" or choice.chooser == "random":
            network.predictor.requires_grad_(False)

    def forward(self, batch: Batch, clock: Clock) -> dict[str, Loss]:
        self.network.temperature.fill_(self.choice.temperature(clock))
        self.network.noise.fill_(self.choice.noise(clock))
        logits, said = self.network(batch.images, extras=True)
        if "answers" in said:
            return {
                f"{name}_{size}": term(Outputs(answer.float()), batch, clock)
                for size, answer in zip(self.sizes, said["answers"], strict=True)
                for name, term in self.terms.items()
            }
        losses = {name: term(Outputs(logits.float(), said), batch, clock) for name, term in self.terms.items()}
        if "shares" not in said:
            return losses
        return {**losses, "cost": self.choice.weight(clock) * excess(self.costs, said["shares"], self.target)}

    def result(self) -> Network:
        return self.network


@dataclass(frozen=True, kw_only=True)
class Routing(Supervised):
    """
    Attributes:
        terms: terms of the loss, at each size or at the drawn one.
        stage: "sizes": the network learns to answer at all sizes; "routes": the predictor learns too.
        cost: what is to be saved, a field of `paretina.measure.cost.Cost`: "macs", "activations" or "bytes_moved".
        share: the target: mean cost of a picture, predictor included, as a share of that of the network at the largest size.
        amount: the target in units of the cost, in place of `share`.
        weight: factor on what is above the target.
        temperature: of the draws, above 0; the lower, the steeper the gradient where two sizes are wished nearly alike.
        noise: factor on the noise of the draws, at least 0; as it fades, they become the choices of evaluation.
        chooser: "random" draws sizes by fixed odds that meet the target, and nothing learns to choose: the control.
    """

    TASKS: ClassVar[tuple[type[Task], ...]] = (OneOf, AnyOf)
    LOW_PRECISION: ClassVar[bool | Never] = False
    MAPS: ClassVar[bool] = False
    WEIGHTS: ClassVar[bool] = False  # the cost is that of all pictures alike

    stage: Literal["sizes", "routes"] = field(default="routes", metadata=traits(left_out=SETTING))
    cost: Costed = field(default="macs", metadata=traits(left_out=SETTING))
    share: float = field(default=0.6, metadata=traits(left_out=SETTING))
    amount: float | None = field(default=None, metadata=traits(left_out=SETTING))
    weight: Schedule = field(default=Constant(value=0.2), metadata=traits(left_out=SetTo("cost of sizes", "0"), rises=STAYS))
    temperature: Schedule = field(default=Constant(value=1.0), metadata=traits(left_out=SETTING, rises=STAYS))
    noise: Schedule = field(default=Constant(value=1.0), metadata=traits(left_out=SETTING, rises=STAYS))
    chooser: Literal["predictor", "random"] = field(default="predictor", metadata=traits(left_out=SETTING))

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.share <= 0 or (self.amount is not None and self.amount <= 0):
            raise ValueError(f"Routing needs share and amount above 0, got share={self.share:g}, amount={self.amount}")
        require_within(self, 0.0, math.inf, "weight", "noise")
        require_within(self, 0.0, math.inf, "temperature", above=True)

    def target(self, model: Routed) -> float:
        """The target as a share of the cost of the network at the largest size."""
        return self.share if self.amount is None else self.amount / largest_cost(model, self.cost)

    def check(self, recipe: "Recipe", model: Model) -> None:
        if not isinstance(model, Routed):
            raise ValueError(
                f"Routing trains a network that chooses its image size, and the model is {type(model).__name__}; set "
                "assembly=Route"
            )
        if len(model.sizes) < 2:
            raise ValueError(f"Routing chooses between two sizes or more, and the model has {model.sizes[0]} only; add one")
        super().check(recipe, model)
        if self.stage == "routes":
            self.check_reach(model)

    def check_reach(self, model: Routed) -> None:
        """Checks that the target lies within what the sizes can cost.

        Raises:
            ValueError: it does not; the message has the range.
        """
        costs, target = costs_of(model, self.cost), self.target(model)
        if not costs[0] < target < costs[-1]:
            unit = largest_cost(model, self.cost)
            given = f"{self.cost}={self.share:g}x" if self.amount is None else f"{self.cost}={self.amount:g}"
            raise ValueError(
                f"Routing cannot meet the budget {given}, {target:.3f} of the cost of the network at {model.sizes[-1]} pixels: "
                f"pictures cost, the predictor included, from {costs[0]:.3f} ({costs[0] * unit:.3g}) with all at "
                f"{model.sizes[0]} pixels to {costs[-1]:.3f} ({costs[-1] * unit:.3g}) with all at {model.sizes[-1]}; choose a "
                "budget between them, or other sizes"
            )

    def make(self, network: Network, teacher: Teacher | None) -> Learner:
        if not isinstance(network, SharedRouter) or not isinstance(network.model, Routed):
            raise ValueError(f"Routing trains a network that chooses its image size, not {type(network.model).__name__}")
        return RoutingLearner(network, network.model, self, teacher)


EXAMPLES = (Routing(), Routing(stage="sizes"), Routing(chooser="random", share=0.5))
