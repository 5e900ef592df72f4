"""The gate: is a shipped file the network that was trained?

The file is opened by its own runtime and asked about real pictures, from their pixels; the trained network answers the same
ones through this library's own preprocessing. What is compared are the most likely classes, the probabilities, the accuracy and
the time of one picture.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from paretina.data.pictures import Pictures
from paretina.data.preprocess import preprocess
from paretina.measure.evaluate import Evaluation
from paretina.measure.plan import Plan
from paretina.measure.statistics import Interval, as_object, mcnemar, paired_difference, wilson
from paretina.measure.timing import Series, Turns, ratio
from paretina.model.build import Network
from paretina.model.fold import fastest_form
from paretina.model.task import Task
from paretina.model.tasks.one_of import OneOf
from paretina.ship.format import Runner, Running
from paretina.ship.header import Precision
from paretina.text import how_many

PICTURES = 1000
"""Pictures that are compared, if there are so many."""

BATCH = 32
"""Pictures of one size that a runtime is given at a time."""

Verdict = Literal["passed", "failed", "undecided"]


@dataclass(frozen=True)
class Limits:
    """What a file may differ by.

    Attributes:
        agreement: share of pictures with the same answer, at least.
        largest: difference of a probability, at most.
        tie: where the probabilities of the two best classes differ by less, another answer does not count.
        loss: of accuracy, in points of top-1, at most; None where the two limits above decide.
        point: whether the loss that was seen decides, and not the interval around it.
    """

    agreement: float
    largest: float
    tie: float
    loss: float | None = None
    point: bool = False


LIMITS: dict[Precision, Limits] = {
    "float32": Limits(0.999, 5e-3, 0.01),
    "bfloat16": Limits(0.99, 1.0, 0.1),
    "int8": Limits(0.0, 1.0, 1.0, 0.5),
}


@dataclass(frozen=True)
class Gate:
    """What the comparison found.

    Attributes:
        n: pictures that were compared.
        agreement: share of them with the same answer, in [0, 1].
        moved: pictures with another answer that are no ties.
        largest: largest difference of a probability.
        before, after: top-1 in percent, with its interval; None where there is no label or no single class.
        gained: after less before, in points, with the interval over the same pictures; None likewise.
        p: McNemar's; None likewise.
        timing: milliseconds for one picture from pixels to probabilities, without decoding: p50 and p95 of both, taken in turn.
        faster: ratio of the medians, above 1 where the file is faster.
        runtime: name and version.
        machine: where it was timed.
        verdict: by the limits.
        why: in words, of another verdict than "passed".
        departs: the first part whose output is not that of the network; "" where all is well or that is not known.
        boxes: number of boxes that the network finds in all pictures, of a score of 0.3 and more; None of other tasks. For
            boxes `largest` is the difference of a score, or of a side of a box as a share of the picture's.
        ap_before, ap_after: of boxes, average precision as in COCO, in percent; None of other tasks, and where no object or no
            pycocotools is there.
    """

    n: int
    agreement: float
    moved: int
    largest: float
    before: Interval | None
    after: Interval | None
    gained: Interval | None
    p: float | None
    timing: dict[str, float | None]
    faster: Interval | None
    runtime: str
    machine: str
    limits: Limits
    verdict: Verdict
    why: str = ""
    departs: str = ""
    boxes: int | None = None
    ap_before: float | None = None
    ap_after: float | None = None

    @property
    def passed(self) -> bool:
        return self.verdict == "passed"

    def to_dict(self) -> dict[str, Any]:
        found = asdict(self)
        for name in ("before", "after", "gained", "faster"):
            found[name] = as_object(getattr(self, name))
        return found

    def lines(self) -> list[str]:
        """The figures as lines of text."""
        answer, numbers = "answer", "probabilities"
        if self.boxes is not None:
            answer, numbers = f"boxes ({self.boxes:,} in all)", "their scores and sides"
        shown = [
            f"{how_many(self.n, 'validation picture', ',')}: the same {answer} for {100 * self.agreement:.2f} %, "
            f"{numbers} differ by {self.largest:.1g} at most"
        ]
        if self.before is not None and self.after is not None and self.gained is not None:
            shown.append(
                f"top-1 {self.before.value:.1f} % before, {self.after.value:.1f} % after: {self.gained.value:+z.2f} points "
                f"[{self.gained.low:+z.2f} to {self.gained.high:+z.2f}]"
            )
        if self.ap_before is not None and self.ap_after is not None:
            shown.append(f"AP {self.ap_before:.1f} % before, {self.ap_after:.1f} % after")
        if self.faster is not None:
            before, after = self.timing["before_p50_ms"], self.timing["after_p50_ms"]
            late = [self.timing["before_p95_ms"], self.timing["after_p95_ms"]]
            tail = f"; p95 {late[0]:.2f} and {late[1]:.2f} ms" if None not in late else ""
            shown.append(f"one picture {before:.2f} ms before, {after:.2f} ms in {self.runtime}{tail}")
        return shown

    def ending(self) -> str:
        """How much faster it became, in one line; "" where it was not timed."""
        if self.faster is None:
            return ""
        value, low, high = self.faster
        where = f"[{low:.2f} to {high:.2f}], {self.runtime} on {self.machine}"
        if low > 1:
            return f"{value:.2f} times as fast as the trained network in torch {where}"
        if high < 1:
            return f"slower than the trained network in torch: {value:.2f} times its speed {where}"
        return f"as fast as the trained network in torch: {value:.2f} times {where}"


# --- answers ------------------------------------------------------------------------------------------------------------


def shares_of_network(network: Network, task: Task, pictures: Pictures) -> tuple[Tensor, list[int]]:
    """Probabilities by the trained network in float32, and the numbers of the pictures that could be read."""
    model = network.model
    seen = Evaluation(pictures, model.preprocessing, model.resolution, model.classes, Plan())
    logits, ids = seen.run(network)
    return task.probabilities(logits), ids.tolist()


def shares_of_file(run: Runner, images: Callable[[int], Tensor], numbers: Sequence[int]) -> Tensor:
    """Probabilities by a runtime, from raw pictures; neighbours of one size are given to it together."""
    found: list[Tensor] = []
    group: list[Tensor] = []
    for number in numbers:
        image = images(number)
        if group and (image.shape != group[0].shape or len(group) == BATCH):
            found.append(run(torch.stack(group)))
            group = []
        group.append(image)
    if group:
        found.append(run(torch.stack(group)))
    return torch.cat(found)


def compared(
    network: Network, task: Task, running: Running, pictures: Pictures, limits: Limits, seconds: float, machine: str
) -> Gate:
    """Compares a file in its runtime with the network that it was made of.

    Args:
        network: in evaluation mode, unfolded; unchanged.
        pictures: with labels.
        seconds: for timing; 0 leaves it out.
        machine: its name.

    Raises:
        ValueError: none of the pictures can be read.
    """
    own, numbers = shares_of_network(network, task, pictures)
    if not numbers:
        raise ValueError("none of the pictures for the comparison can be read")
    theirs = shares_of_file(running.run, pictures.image, numbers)
    if theirs.shape != own.shape:
        raise ValueError(f"{running.path} gives {tuple(theirs.shape)} probabilities, the network {tuple(own.shape)}")
    labels = torch.tensor([pictures.samples[number].label for number in numbers])
    single = isinstance(task, OneOf) and bool((labels >= 0).all())
    differing = (
        task.answer(own.log()) != task.answer(theirs.log()) if isinstance(task, OneOf) else answers(own) != answers(theirs)
    )
    agreement, moved = agreements(own, differing, limits)
    largest = float((own - theirs).abs().max()) if torch.isfinite(theirs).all() else math.inf
    before = after = gained = None
    p = None
    if single:
        right, now = (each.argmax(1) == labels for each in (own, theirs))
        before, after, gained, p = accuracies(right, now)
    timing, faster = timed(network, task, running, pictures.image(numbers[len(numbers) // 2]), seconds)
    verdict, why = judged(agreement, moved, largest, gained, len(numbers), limits, running.header.precision)
    return Gate(
        len(numbers), agreement, moved, largest, before, after, gained, p, timing, faster, running.runtime, machine, limits,
        verdict, why,
    )  # fmt: skip


def answers(shares: Tensor) -> Tensor:
    """The answers of tasks of which a picture has several: each class on its own side of a half, or the class of each pixel."""
    return shares.argmax(1) if shares.ndim == 4 else shares > 0.5


def agreements(own: Tensor, differing: Tensor, limits: Limits) -> tuple[float, int]:
    """The share of the same answers, and how many differ although the network was sure enough."""
    if own.ndim == 2 and differing.ndim == 1:
        top = own.topk(min(2, own.shape[1]), dim=1).values
        margin = top[:, 0] - top[:, -1] if own.shape[1] > 1 else torch.ones(len(own))
    elif own.ndim == 4:
        top = own.topk(min(2, own.shape[1]), dim=1).values
        margin = top[:, 0] - top[:, -1]
    else:
        margin = 2 * (own - 0.5).abs()
    moved = differing & (margin > limits.tie)
    return 1.0 - float(differing.float().mean()), int(moved.sum())


def accuracies(right: Tensor, now: Tensor) -> tuple[Interval, Interval, Interval, float]:
    """Top-1 of both in percent, the difference in points over the same pictures, and McNemar's p."""
    n = len(right)
    lost, won = int((right & ~now).sum()), int((~right & now).sum())
    before, after = (Interval(*(100 * each for each in wilson(int(some.sum()), n))) for some in (right, now))
    gained = Interval(*(100 * each for each in paired_difference(won, lost, n)))
    return before, after, gained, mcnemar(lost, won)


def judged(
    agreement: float,
    moved: int,
    largest: float,
    gained: Interval | None,
    n: int,
    limits: Limits,
    precision: Precision,
    what: str = "a probability",
) -> tuple[Verdict, str]:
    """The verdict and its reason.

    Args:
        what: differs by `largest`.
    """
    if moved > (1 - limits.agreement) * n:
        return "failed", (
            f"{how_many(moved, 'picture')} of {n:,} {'has' if moved == 1 else 'have'} another answer than the trained network, "
            f"more than the {100 * (1 - limits.agreement):g} % that {precision} may have"
        )
    if largest > limits.largest:
        return "failed", f"{what} differs by {largest:.2g}, more than the {limits.largest:g} that {precision} may have"
    if limits.loss is None or gained is None:
        return "passed", ""
    return loss_judged(gained, n, limits.loss, limits.point)


def loss_judged(gained: Interval, n: int, most: float, point: bool = False) -> tuple[Verdict, str]:
    """The verdict on a change of top-1, and its reason.

    Args:
        gained: in points, over the same n pictures.
        most: points that may be lost.
        point: whether the change that was seen decides, whatever its interval.
    """
    if point:
        gained = Interval(gained.value, gained.value, gained.value)
    if gained.low >= -most:
        return "passed", ""
    if gained.high < -most:
        return "failed", f"top-1 changed by {gained.value:+z.2f} points, and only {most:g} may be lost"
    if gained.value < -most:
        return "undecided", (
            f"top-1 changed by {gained.value:+z.2f} points on {how_many(n, 'picture', ',')} [{gained.low:+z.2f} to "
            f"{gained.high:+z.2f}]: whether more than the {most:g} that may be is lost cannot be told from so few"
        )
    return "undecided", (
        f"top-1 changed by {gained.value:+z.2f} points on {how_many(n, 'picture', ',')}, but the interval reaches to "
        f"{gained.low:+z.2f}: to show a loss of at most {most:g} about {enough(gained, n, most):,} pictures are needed"
    )


def enough(gained: Interval, n: int, loss: float) -> int:
    """About how many pictures would make the interval narrow enough, if the difference stayed as it is."""
    arm = gained.value - gained.low
    return math.ceil(n * (arm / (gained.value + loss)) ** 2) if gained.value + loss > 0 else 0


# --- time ---------------------------------------------------------------------------------------------------------------


def timed(
    network: Network, task: Task, running: Running, image: Tensor, seconds: float
) -> tuple[dict[str, float | None], Interval | None]:
    """Milliseconds of one picture from pixels to probabilities, of the trained network and of the file, in turn."""
    if seconds <= 0:
        return {}, None
    model, quick = network.model, fastest_form(network).to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def before() -> None:
        with torch.inference_mode():
            one = preprocess(image, model.preprocessing, model.resolution)[None].contiguous(memory_format=torch.channels_last)
            task.probabilities(quick(one))

    def after() -> None:
        running.run(image[None])

    running.fit(image[None])
    found = Turns(seconds=seconds).run({"before": before, "after": after})
    figures = {**columns("before", found["before"]), **columns("after", found["after"])}
    return figures, ratio(found["before"], found["after"])


def columns(name: str, series: Series) -> dict[str, float | None]:
    return {f"{name}_p50_ms": series.p50.value, f"{name}_p95_ms": series.p95.value if series.p95 else None}
