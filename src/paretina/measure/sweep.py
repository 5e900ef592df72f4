"""Measures accuracy and cost of a trained network at several test resolutions.

A network that was trained on random crops sees larger objects in training than at the same size in the test, so the best size
to test at is often larger than the one trained at; and a smaller one is often hardly worse, for a fraction of the time.

All sizes are judged on the same pictures, so they are compared in pairs: McNemar's exact test on the pictures that one size
gets right and the other wrong. The best size is chosen on these pictures, so its figure is optimistic; measure it again on
others before you state it. The cheapest size that is not clearly worse is the one with the least time (or MACs, where nothing
was timed) for which that test against the best size gives p >= 0.05. It does not prove that both are equally good: read the
interval of the difference, which few pictures leave wide.

Times are those of a batch, divided by its images; the sizes take turns, so that a drift of the machine hits all alike.

Source: Touvron et al. 2019 (arXiv:1906.06423), section 3; McNemar 1947, "Note on the sampling error of the difference between
correlated proportions or percentages".
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool
from torch import Tensor

from paretina.data.pictures import Pictures
from paretina.measure.cost import cost, without
from paretina.measure.evaluate import Evaluation
from paretina.measure.inference import forward
from paretina.measure.machine import Device, Others
from paretina.measure.plan import Plan
from paretina.measure.sizes import resolutions_named as resolutions_named
from paretina.measure.statistics import Interval, as_columns, mcnemar, paired_difference, wilson
from paretina.measure.timing import Step, Turns
from paretina.model.build import Network
from paretina.tables import in_columns

BATCH = 16
"""Batch size for timing."""

CLEARLY = 0.05


@dataclass(frozen=True)
class AtSize:
    """The network at one size.

    Attributes:
        size: side of the image, in pixels.
        top1: in percent, with its 95 % interval.
        macs: multiply-adds of one image.
        image_ms: milliseconds an image, the median, with its 95 % interval; None where nothing was timed.
        behind: points of top-1 that the best size has more, with the interval from the pairs; None with a single picture.
        p: of McNemar's exact test against the best size; 1 for that itself.
    """

    size: int
    top1: Interval
    macs: int
    image_ms: Interval | None
    behind: Interval | None
    p: float

    @property
    def clearly_worse(self) -> bool:
        """Whether it differs significantly from the best size."""
        return self.p < CLEARLY


@dataclass(frozen=True)
class Sweep:
    """
    Attributes:
        n: number of pictures.
        rows: one row per size, in order of size.
        refused: reason by size, for sizes that the network does not accept.
        best: the size with the highest top-1; of equals the cheapest.
        cheapest: the cheapest size that is not clearly worse than the best; often the best itself.
        where: name of the pictures in text, such as `validation`.
        batch: batch size of the timing.
        device: the device of the timing; None without timing.
        disturbed: whether other processes used the device meanwhile.
        faults: pictures that could not be read, as `name: reason`.
        uncounted: operators that the MACs lack, as in `Cost`.
    """

    n: int
    rows: tuple[AtSize, ...]
    refused: dict[int, str]
    best: int
    cheapest: int
    where: str
    batch: int
    device: Device | None
    disturbed: bool = False
    faults: tuple[str, ...] = ()
    uncounted: tuple[str, ...] = ()

    def at(self, size: int) -> AtSize:
        """The row of a size."""
        return next(row for row in self.rows if row.size == size)

    def verdict(self) -> tuple[str, ...]:
        """The findings, a sentence each."""
        best, cheapest = self.at(self.best), self.at(self.cheapest)
        these = "all pictures" if self.where == "all" else f"the {self.where} pictures"
        said = [f"best: {best.size} pixels with {best.top1.value:.1f} %; chosen on {these}, so its figure is optimistic"]
        if cheapest is best:
            least = best.macs == min(row.macs for row in self.rows)
            said.append(
                "it is also the cheapest" if least else f"every cheaper size is clearly worse on these {self.n} pictures"
            )
        else:
            # one criterion: an interval beside the p-value can seem to contradict it
            behind = f", {cheapest.behind.value:.1f} points behind" if cheapest.behind else ""
            said.append(
                f"cheapest that is not clearly worse: {cheapest.size} pixels with {cheapest.top1.value:.1f} %{behind}, which "
                f"chance could be (p = {cheapest.p:.2g}), {saved(best, cheapest)}"
            )
        if self.disturbed:
            said.append("other processes used the device meanwhile, so these times are not to be trusted")
        if self.uncounted:
            said.append(without(self.uncounted))
        return (*said, *(f"{size} pixels: {reason}" for size, reason in self.refused.items()))

    def table(self) -> Iterator[str]:
        """Lines for a terminal; the verdict comes after them."""
        timed = [f"ms per image, batches of {self.batch}"] if self.device else []
        lines = [["pixels", "top-1, %", "MMACs", *timed, "behind the best", "p"]]
        for row in self.rows:
            macs = row.macs / 1e6
            cells = [
                f"{row.size}",
                f"{row.top1.value:.1f}  [{ends(row.top1)}]",
                f"{macs:.1f}" if macs >= 10 else f"{macs:#.3g}",
            ]
            if self.device:
                cells.append(f"{row.image_ms.value:.3f}  [{ends(row.image_ms, 3)}]" if row.image_ms else "")
            behind = f"{row.behind.value:.1f}  [{ends(row.behind)}]" if row.behind else ""
            lines.append([*cells, "best" if row.size == self.best else behind, f"{row.p:.2g}"])
        yield from in_columns(lines, ">")

    def to_dict(self) -> dict[str, Any]:
        return {
            "n": self.n,
            "best": self.best,
            "cheapest": self.cheapest,
            "where": self.where,
            "batch": self.batch,
            "rows": self.records(),
            "refused": {str(size): reason for size, reason in self.refused.items()},
            "device": self.device.to_dict() if self.device else None,
            "disturbed": self.disturbed,
            "verdict": list(self.verdict()),
            "faults": list(self.faults),
            "uncounted": list(self.uncounted),
        }

    def records(self) -> list[dict[str, Any]]:
        """One row per size with plain values, for JSON and CSV."""
        found = []
        for row in self.rows:
            record: dict[str, Any] = {"size": row.size}
            for name, interval in (("top1", row.top1), ("image_ms", row.image_ms), ("behind", row.behind)):
                record |= as_columns(name, interval)
            found.append({**record, "p": row.p, "clearly_worse": row.clearly_worse, "macs": row.macs})
        return found


def ends(interval: Interval, digits: int = 1) -> str:
    return f"{interval.low:.{digits}f} to {interval.high:.{digits}f}"


def saved(best: AtSize, cheapest: AtSize) -> str:
    """The cost of the cheaper size relative to the best one, as text."""
    macs = f"{100 * cheapest.macs / best.macs:.0f} % of the MACs" if best.macs else "as many MACs"
    if best.image_ms is None or cheapest.image_ms is None:
        return f"for {macs}"
    return f"in {100 * cheapest.image_ms.value / best.image_ms.value:.0f} % of the time and {macs}"


# --- measuring ----------------------------------------------------------------------------------------------------------


def sweep(
    network: Network,
    pictures: Pictures,
    sizes: Sequence[int],
    plan: Plan,
    turns: Turns | None = None,
    *,
    timed: bool = True,
    where: str = "validation",
    batch: int = BATCH,
    say: Callable[[str], None] = lambda text: None,
) -> Sweep:
    """Measures a network at several sizes, on the same pictures.

    Sizes that it refuses, as networks with tables of positions do, are left out and named.

    Args:
        network: moved to the device of the plan.
        plan: for both accuracy and timing.
        turns: of the timing; default: 2 s per size.
        timed: whether to measure times.
        where: name of the pictures in text.
        batch: batch size of the timing.
        say: called with progress messages.

    Raises:
        ValueError: no size was given, one is given twice, or the network refuses all of them; no picture can be read.
    """
    sizes = sorted(sizes)
    if not sizes or sizes[0] < 1 or len(set(sizes)) < len(sizes):
        raise ValueError(f"name one size or more, each once and at least 1 pixel, got {list(sizes)}")
    plan.place(network)
    training = network.training
    network.eval()
    try:
        with plan.threaded():
            refused = {size: reason for size in sizes if (reason := refusal(network, size, plan))}
            taken = [size for size in sizes if size not in refused]
            if not taken:
                raise ValueError(f"the network accepts none of these sizes; {sizes[0]} pixels: {refused[sizes[0]]}")
            right, faults = answers(network, pictures, taken, plan, say)
            costs = {size: cost(network.model, size) for size in taken}
            macs = {size: counted.macs for size, counted in costs.items()}
            uncounted = tuple(sorted({name for counted in costs.values() for name in counted.uncounted}))
            times: dict[int, Interval] = {}
            device, disturbed = (Device.here(plan.device), False) if timed else (None, False)
            if device is not None:
                say("timing the sizes in turn")
                others = Others()
                times = image_times(network, taken, plan, batch, turns or Turns(seconds=2.0 * len(taken), wait=device.wait))
                disturbed = others.disturbed(others.used())
    finally:
        network.train(training)
    return swept(right, macs, times, refused, where, batch, device, disturbed, faults, uncounted)


def refusal(network: Network, size: int, plan: Plan) -> str:
    """Why a network cannot take images of a size; empty where it can."""
    images = torch.zeros(1, network.model.channels, size, size, dtype=torch.uint8)
    try:
        forward(network, plan, images)()
    # torch has no narrower exception for mismatched shapes
    except (ValueError, RuntimeError) as error:
        return str(error).strip().partition("\n")[0] or type(error).__name__
    return ""


def answers(
    network: Network, pictures: Pictures, sizes: Sequence[int], plan: Plan, say: Callable[[str], None]
) -> tuple[dict[int, Bool[Tensor, " picture"]], tuple[str, ...]]:
    """Which pictures are classified correctly at each size, and those not read; a picture counts if read at all sizes."""
    labels = torch.tensor(pictures.labels(), dtype=torch.int64)
    found: dict[int, Tensor] = {}
    counted = torch.ones(len(labels), dtype=torch.bool)
    faults: dict[str, None] = {}
    for size in sizes:
        say(f"accuracy at {size} pixels")
        evaluation = Evaluation(pictures, network.model.preprocessing, size, network.model.classes, plan)
        logits, ids = evaluation.run(network)
        read = torch.zeros(len(labels), dtype=torch.bool)
        read[ids] = True
        counted &= read
        found[size] = torch.zeros(len(labels), dtype=torch.bool)
        found[size][ids] = logits.argmax(1) == labels[ids]
        faults.update(evaluation.faults)
    if not counted.any():
        raise ValueError(f"there is no readable picture to evaluate: {'; '.join(list(faults)[:3]) or 'the split is empty'}")
    return {size: right[counted] for size, right in found.items()}, tuple(faults)


def image_times(network: Network, sizes: Sequence[int], plan: Plan, batch: int, turns: Turns) -> dict[int, Interval]:
    """Milliseconds an image at each size, timed in turn."""
    random = torch.Generator().manual_seed(0)
    steps: dict[str, Step] = {}
    for size in sizes:
        shape = (batch, network.model.channels, size, size)
        steps[str(size)] = forward(network, plan, torch.randint(0, 256, shape, dtype=torch.uint8, generator=random))
    series = turns.run(steps)
    return {size: Interval(*(end / batch for end in series[str(size)].p50)) for size in sizes}


# --- comparing ----------------------------------------------------------------------------------------------------------


def swept(
    right: dict[int, Bool[Tensor, " picture"]],
    macs: dict[int, int],
    times: dict[int, Interval],
    refused: dict[int, str],
    where: str = "validation",
    batch: int = BATCH,
    device: Device | None = None,
    disturbed: bool = False,
    faults: tuple[str, ...] = (),
    uncounted: tuple[str, ...] = (),
) -> Sweep:
    """Compares the sizes.

    Args:
        right: which pictures are recognised at each size.
        times: milliseconds an image; empty where nothing was timed.
    """
    counts = {size: int(hits.sum()) for size, hits in right.items()}

    def price(size: int) -> tuple[float, int]:
        return (times[size].value if times else 0.0, macs[size])

    best = min(counts, key=lambda size: (-counts[size], *price(size)))
    rows = []
    for size in sorted(right):
        share = wilson(counts[size], len(right[size]))
        top1 = Interval(*(100 * value for value in share))
        p = paired_p(right[best], right[size])
        # the best is not behind itself, whatever other pictures there were
        behind = Interval(0.0, 0.0, 0.0) if size == best else points_behind(right[best], right[size])
        rows.append(AtSize(size, top1, macs[size], times.get(size), behind, p))
    cheapest = min((row for row in rows if not row.clearly_worse), key=lambda row: price(row.size))
    return Sweep(
        n=len(right[best]),
        rows=tuple(rows),
        refused=refused,
        best=best,
        cheapest=cheapest.size,
        where=where,
        batch=batch,
        device=device,
        disturbed=disturbed,
        faults=faults,
        uncounted=uncounted,
    )


def points_behind(one: Bool[Tensor, " picture"], other: Bool[Tensor, " picture"]) -> Interval | None:
    """Points of top-1 that one has more than the other on the same pictures; None with a single picture."""
    if len(one) < 2:
        return None
    found = paired_difference(int((one & ~other).sum()), int((other & ~one).sum()), len(one))
    return Interval(*(max(-100.0, min(100.0, 100 * each)) for each in found))


def paired_p(one: Bool[Tensor, " picture"], other: Bool[Tensor, " picture"]) -> float:
    """McNemar's exact test, two-sided: how likely such a difference is where both recognise equally many pictures."""
    return mcnemar(int((one & ~other).sum()), int((other & ~one).sum()))
