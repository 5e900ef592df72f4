"""Prunes a trained network to a share of its cost, which is counted or measured on the result."""

import copy
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import torch

from paretina.data.batch import Batch
from paretina.measure.cost import cost as counted
from paretina.measure.statistics import Interval, as_object
from paretina.measure.timing import Turns, ratio
from paretina.model.blueprint import Blueprint
from paretina.model.build import Combined, Network
from paretina.model.fold import fastest_form
from paretina.search.pruning.channels import channels_of, cut
from paretina.search.pruning.importance import Importance, channel_scores
from paretina.search.pruning.select import COSTS, Selection, layer_costs
from paretina.spec import near
from paretina.text import how_many

Say = Callable[[str], None]

TRIES = 5
"""How often the choice is made again where the cost of the result missed the target."""

CLOSE = 0.03
"""Share of the target by which the cost of the result may lie below it."""


NOUNS = {"latency_ms": "latency", "macs": "multiply-adds", "params": "parameters"}
"""Of the costs, for sentences."""

NOISY = 1.3
"""Ratio of the ends of an interval above which a latency is too noisy to choose by."""


@dataclass(frozen=True)
class Costs:
    """The cost of a network before and after pruning.

    Attributes:
        name: of the cost, with its unit.
        before, after: of one image.
        faster: ratio of the medians of one image, before over after, taken in turn, with its 95 % interval; None where the cost
            is counted.
    """

    name: str
    before: float
    after: float
    faster: Interval | None = None

    @property
    def share(self) -> float:
        return self.after / self.before if self.faster is None else 1 / self.faster.value

    @property
    def noun(self) -> str:
        return NOUNS[self.name]

    def line(self) -> str:
        if self.faster is None:
            return f"{self.noun}: {self.before:,.0f} before, {self.after:,.0f} after ({100 * self.share:.1f} % of it)"
        value, low, high = self.faster
        return (
            f"{self.noun}: {self.before:.2f} ms before, {self.after:.2f} ms after ({100 * self.share:.1f} % of it); "
            f"{value:.2f} times as fast [{low:.2f} to {high:.2f}]"
        )

    def to_dict(self) -> dict[str, Any]:
        return {**asdict(self), "faster": as_object(self.faster), "share": self.share}


@dataclass(frozen=True)
class PrunedNetwork:
    """A network without some of its channels.

    Attributes:
        network: in evaluation mode, before any recovery.
        widths: channels before and after by the name of the group, of the groups that lost some.
        refused: why other widths cannot be pruned, by their name.
        costs: as counted or measured on this network.
        target: share of the cost that was asked for.
    """

    network: Network
    widths: dict[str, tuple[int, int]]
    refused: dict[str, str]
    costs: Costs
    target: float

    @property
    def reached(self) -> bool:
        return self.costs.share <= self.target * (1 + CLOSE)

    def lines(self) -> list[str]:
        """The widths as lines of text."""
        shown = [f"{name}: {before} channels, now {after}" for name, (before, after) in self.widths.items()]
        if self.refused:
            shown.append(f"not pruned: {', '.join(self.refused)}")
        return shown


def check_prunable(network: Network) -> None:
    """Checks that it is a single network of floats.

    Raises:
        ValueError: it is made of several, or it rounds its weights.
    """
    if isinstance(network, Combined) or not isinstance(network.model, Blueprint):
        raise ValueError(
            f"{type(network.model).__name__} is made of {len(network.networks())} networks; pruning takes a single one"
        )
    if network.model.quantiser is not None:
        raise ValueError(
            f"the layers of this network are rounded by {type(network.model.quantiser).__name__}, and channels are weighed and "
            "cut in float networks; prune that one, then train the result with model.quantiser"
        )


def check_cost(cost: str, target: float, multiple: int) -> None:
    """Checks a request.

    Raises:
        ValueError: there is no such cost, or a number is out of range.
    """
    if cost not in COSTS:
        raise ValueError(f"there is no cost {cost!r} to lower{near(cost, COSTS)}")
    if not 0 < target < 1:
        raise ValueError(f"the target is the share of the cost that may be left, above 0 and below 1, got {target:g}")
    if multiple < 1:
        raise ValueError(f"widths become multiples of at least 1, got {multiple}")


def prune(
    network: Network,
    importance: Importance,
    batches: Iterable[Batch],
    cost: str,
    target: float,
    multiple: int = 8,
    seconds: float = 4.0,
    say: Say = lambda text: None,
) -> PrunedNetwork:
    """Takes channels out of a network until a share of its cost is left.

    Args:
        network: trained, unfolded; unchanged.
        batches: of training pictures, for importances that look at some.
        cost: "latency_ms" of one image in inference form, in float32 and channels_last; "macs" or "params".
        target: share of the cost, between 0 and 1.
        multiple: channels are taken out by so many, and what is left is a multiple of it where it was before.
        seconds: for each measurement of a latency.

    Raises:
        ValueError: the network or the request cannot be.
    """
    check_prunable(network)
    check_cost(cost, target, multiple)
    network = copy.deepcopy(network).cpu().eval()
    say("looking for channels that can be taken out")
    channels = channels_of(network.blueprint)
    side = network.model.resolution
    images = torch.randint(0, 256, (1, network.model.channels, side, side), dtype=torch.uint8)
    say(f"weighing the channels of {how_many(len(channels.groups), 'group')} by {importance.NAME}")
    scores = channel_scores(importance, copy.deepcopy(network), channels, batches)
    layers = layer_costs(network, channels, cost, images)
    whole = Selection.of(channels, layers, scores, multiple, importance.SHARED).predicted()
    share, best = target, None
    tried: list[dict[str, int]] = []
    for _ in range(TRIES):
        selection = Selection.of(channels, layers, scores, multiple, importance.SHARED)
        selection.lower(share * whole)
        kept = selection.kept()
        if not kept:
            raise ValueError(
                f"no chunk of {multiple} channels is taken out: the target of {target:g} is too close to 1 for that, or no "
                "width is large enough; give a lower target, or a lower --multiple"
            )
        chosen = {name: len(numbers[0]) for name, numbers in kept.items()}
        if chosen in tried:
            break
        tried.append(chosen)
        small = cut(network, channels, kept)
        costs = costs_of(network, small, cost, images, seconds)
        widths = {name: (len(scores[name][0]), len(numbers[0])) for name, numbers in kept.items()}
        found = PrunedNetwork(small, widths, channels.refused, costs, target)
        say(f"{costs.line()}")
        if best is None or better(found, best):
            best = found
        if found.reached and costs.share >= target * (1 - CLOSE):
            break
        if selection.predicted() > share * whole * (1 + CLOSE):
            break  # nothing more may go
        # one wild measurement must not ruin the next choice
        share = min(0.99, max(0.02, share * min(1.5, max(0.67, target / costs.share))))
    assert best is not None
    for text in remarks(best, multiple):
        say(text)
    return best


def remarks(found: PrunedNetwork, multiple: int) -> Iterable[str]:
    """What to know of a choice before it is trained, a sentence each."""
    costs = found.costs
    if costs.faster is not None and costs.faster.high > NOISY * costs.faster.low:
        yield "warning: latencies vary much while other processes run; prune again on an idle machine, or by --cost macs"
    if not found.reached:
        yield f"warning: no choice reached {found.target:g} of the {costs.noun}; the nearest one has {costs.share:.2f}"
    elif costs.share < 0.9 * found.target and multiple > 1:
        yield (
            f"chunks of {multiple} channels are coarse for this network: {costs.share:.2f} of the {costs.noun} is left, and "
            f"{found.target:g} was asked for; a lower --multiple comes nearer"
        )


def better(one: PrunedNetwork, other: PrunedNetwork) -> bool:
    """Whether one network is nearer to the target from below, or, where neither reaches it, from above."""
    if one.reached != other.reached:
        return one.reached
    return one.costs.share > other.costs.share if one.reached else one.costs.share < other.costs.share


def in_form(network: Network) -> Network:
    """A network as it is timed."""
    return fastest_form(network).to(memory_format=torch.channels_last)  # type: ignore[no-any-return, call-overload]


def costs_of(before: Network, after: Network, cost: str, images: torch.Tensor, seconds: float) -> Costs:
    """Counts or measures the cost of one image of two networks; latencies are taken in turn."""
    if cost != "latency_ms":
        one, two = (float(getattr(counted(each.model), cost)) for each in (before, after))
        return Costs(cost, one, two)
    images = images.contiguous(memory_format=torch.channels_last)
    steps = {name: partial(in_form(each), images) for name, each in (("before", before), ("after", after))}
    with torch.inference_mode():
        found = Turns(seconds=seconds).run(steps)
    return Costs(
        cost, found["before"].p50.value, found["after"].p50.value, ratio(found["before"], found["after"])
    )  # fmt: skip
