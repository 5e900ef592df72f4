"""Finds the fastest plan for a network on this device by timing.

The first candidate is the default, which any other one must beat by 3 %, so that noise alone changes nothing. Candidates are
timed in turn; one that is a third slower than the best after a few rounds is dropped. Then the predictions of the fastest are
checked, and those of the next one if it fails: inference plans must give the same top-1 prediction as float32 for 99.5 % of the
pictures, and the largest change of a probability in a picture may be at most 0.01, on average over the pictures.

If steps with the whole batch would not fit into the time, fewer images are timed: which plan is fastest depends on kernels and
memory formats far more than on the number of images.
"""

import dataclasses
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any, TypeVar

from torch import Tensor, nn

from paretina.measure.plan import InferencePlan, Plan, cpu_flags, default_plan, slow_below_float32
from paretina.measure.timing import Clock, Step
from paretina.model.build import Network
from paretina.model.layers import Convolution
from paretina.model.norms.batch import BatchNormUnit
from paretina.shapes import Logits
from paretina.spec import decode, encode

P = TypeVar("P", bound=Plan)

EAGER_S = 28.0
"""Time limit in seconds for trying eager candidates."""

GAIN = 0.03
"""Factor by which another plan must be faster than the first."""

HOPELESS = 4 / 3
"""A candidate this much slower than the best after three rounds is not timed again."""

AGREEMENT = 0.995
PROBABILITY = 0.01

MakeTrial = Callable[[Plan, int], Step]
"""Makes the step for a plan and a batch size."""


@dataclass(frozen=True)
class Judgement:
    """The deviation of a plan's predictions from those of float32.

    Attributes:
        n: number of pictures.
        agreement: share of them with the same top-1 prediction.
        probability: largest change of a class probability in each picture, averaged over the pictures.
        worst: the largest change of all.
    """

    n: int
    agreement: float
    probability: float
    worst: float

    @property
    def passed(self) -> bool:
        return self.agreement >= AGREEMENT and self.probability <= PROBABILITY

    def __str__(self) -> str:
        return (
            f"{100 * self.agreement:.1f} % of {self.n} top-1 predictions agree with float32, and probabilities change by "
            f"{self.probability:.4f}, at most {self.worst:.4f}"
        )


def compare_answers(wanted: Logits, found: Logits) -> Judgement:
    """Compares logits for the same pictures; logits that are not finite never agree.

    Raises:
        ValueError: there are no pictures, or the shapes differ.
    """
    if not len(wanted) or wanted.shape != found.shape:
        raise ValueError(f"the logits must be for the same pictures, got {tuple(wanted.shape)} and {tuple(found.shape)}")
    wanted, found = wanted.detach().cpu().double(), found.detach().cpu().double()
    sound = found.isfinite().all(1)
    same = (wanted.argmax(1) == found.argmax(1)) & sound
    moved: Tensor = (wanted.softmax(1) - found.softmax(1)).abs().amax(1).where(sound, 1.0)
    return Judgement(len(wanted), same.double().mean().item(), moved.mean().item(), moved.amax().item())


@dataclass(frozen=True)
class Tried:
    """The result of one candidate.

    Attributes:
        step_ms: median of its samples; None if it was rejected or failed.
        samples_ms: those samples.
        judgement: None if its predictions could not be checked.
        why: why it was rejected or dropped; "" for those timed to the end.
        ready_s: seconds until its first step was done, including compilation.
    """

    plan: Plan
    step_ms: float | None
    samples_ms: tuple[float, ...] = ()
    judgement: Judgement | None = None
    why: str = ""
    ready_s: float = 0.0

    def to_dict(self) -> dict[str, Any]:
        return {**vars(self), "plan": encode(self.plan), "judgement": vars(self.judgement) if self.judgement else None}


@dataclass(frozen=True)
class Tuned:
    """
    Attributes:
        plan: the chosen plan.
        tried: every candidate, in the order given.
        batch: number of images that were timed.
        seconds: duration of the tuning.
        gain: speedup of the plan over the first candidate.
        cached: whether it comes from the cache.
    """

    plan: Plan
    tried: tuple[Tried, ...]
    batch: int
    seconds: float
    gain: float
    cached: bool = False

    def to_dict(self) -> dict[str, Any]:
        return {
            "plan": encode(self.plan),
            "batch": self.batch,
            "seconds": self.seconds,
            "gain": self.gain,
            "cached": self.cached,
            "tried": [each.to_dict() for each in self.tried],
        }

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> "Tuned":
        """Reads what `to_dict` wrote.

        Raises:
            ValueError, KeyError, TypeError: it is something else.
        """
        tried = tuple(
            Tried(
                plan=decode(Plan, each["plan"]),
                step_ms=None if each["step_ms"] is None else float(each["step_ms"]),
                samples_ms=tuple(map(float, each["samples_ms"])),
                judgement=Judgement(**each["judgement"]) if each["judgement"] else None,
                why=str(each["why"]),
                ready_s=float(each["ready_s"]),
            )
            for each in data["tried"]
        )
        plan = decode(Plan, data["plan"])
        if not tried or plan not in [each.plan for each in tried]:
            raise ValueError("the plan is none of those that were tried")
        return cls(plan, tried, int(data["batch"]), float(data["seconds"]), float(data["gain"]), bool(data["cached"]))


def tune(
    candidates: Sequence[Plan],
    make: MakeTrial,
    *,
    batch: int = 1,
    least_batch: int = 1,
    check: Callable[[Plan], Judgement | None] = lambda plan: None,
    seconds: float = EAGER_S,
    rounds: int = 15,
    clock: Clock = time.perf_counter,
    wait: Callable[[], None] = lambda: None,
    say: Callable[[str], None] = lambda text: None,
) -> Tuned:
    """Times plans in turn and returns the fastest that keeps the predictions.

    Args:
        candidates: the first is the default.
        make: prepares a step under a plan. An error rejects that plan, except for the first, where it is raised.
        batch: batch size of the plan; fewer images are timed if these take too long, but at least `least_batch`.
        check: compares the predictions of a plan with those of float32; None to skip the check. The first candidate is not
            checked.
        seconds: time limit. The first candidate is timed in any case.
        rounds: maximum number of rounds.

    Raises:
        ValueError: there are no candidates.
    """
    if not candidates:
        raise ValueError("there are no plans to choose from")
    began = clock()
    trials = [Trial(plan) for plan in dict.fromkeys(candidates)]
    first = trials[0]

    def took(trial: Trial) -> float:
        with trial.plan.threaded():
            start = clock()
            trial.step()
            wait()
            return clock() - start

    def ready(trial: Trial, size: int) -> float:
        """Prepares a trial and returns the seconds of its second call; the first one allocates and compiles."""
        say(f"trying {brief(trial.plan)}")
        start = clock()
        with trial.plan.threaded():
            trial.step = make(trial.plan, size)
        took(trial)
        trial.ready_s = clock() - start
        return took(trial)

    size = least_batch
    image_s = ready(first, size) / size
    # each candidate is prepared, called twice, and then timed in about three rounds
    share = seconds / len(trials) / 6
    while size < batch and 2 * size * image_s <= share:
        size *= 2
    size = min(size, batch) if batch >= least_batch else least_batch
    pace = ready(first, size)
    best = pace
    for trial in trials[1:]:
        if clock() - began > seconds / 2:
            trial.why = "no time was left to try it"
            continue
        try:
            pace = ready(trial, size)
        except (ValueError, RuntimeError, NotImplementedError, MemoryError) as error:
            trial.give_up(" ".join(str(error).split())[:300] or type(error).__name__)
            continue
        best = min(best, pace)
        if pace > 3 * best:
            trial.samples.append(pace)
            trial.give_up("more than three times as slow as the best")
    for number in range(rounds):
        running = [trial for trial in trials if not trial.why]
        if number >= 3:
            quickest = min(median(trial.samples) for trial in running)
            for trial in running:
                if trial is not first and median(trial.samples) > HOPELESS * quickest:
                    trial.give_up("more than a third slower than the best")
            running = [trial for trial in running if not trial.why]
        if number and (clock() - began) + sum(median(trial.samples) for trial in running) > seconds:
            break
        for trial in running:
            trial.samples.append(took(trial))
    chosen = first
    to_beat = median(first.samples) / (1 + GAIN)
    for trial in sorted((trial for trial in trials if not trial.why), key=lambda trial: median(trial.samples)):
        if trial is first or median(trial.samples) > to_beat:
            break
        trial.judgement = check(trial.plan)
        if trial.judgement is None or trial.judgement.passed:
            chosen = trial
            break
        trial.give_up(f"changes the predictions: {trial.judgement}")
    gain = median(first.samples) / median(chosen.samples)
    return Tuned(chosen.plan, tuple(trial.result() for trial in trials), size, clock() - began, gain)


class Trial:
    """A candidate during tuning."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.step: Step = lambda: None
        self.judgement: Judgement | None = None
        self.samples: list[float] = []
        self.why = ""
        self.ready_s = 0.0

    def give_up(self, why: str) -> None:
        self.why = why
        self.step = lambda: None  # its network is not needed any more

    def result(self) -> Tried:
        samples = tuple(round(1000 * sample, 5) for sample in self.samples)
        return Tried(self.plan, median(samples) if samples else None, samples, self.judgement, self.why, round(self.ready_s, 3))


def brief(plan: Plan) -> str:
    """A short description of a plan: its differences from the default."""
    plain = type(plan)(device=plan.device)
    fields = [field.name for field in dataclasses.fields(plan) if field.name not in ("device", "memory_format", "precision")]
    more = [f"{name}={getattr(plan, name)}" for name in fields if getattr(plan, name) != getattr(plain, name)]
    return " ".join([plan.device, plan.precision, plan.memory_format, *(text.replace("=True", "") for text in more)])


# --- candidates ---------------------------------------------------------------------------------------------------------


def low_precisions(device: str) -> tuple[str, ...]:
    """The precisions in which a device multiplies faster than float32."""
    if device.startswith("cpu"):
        return ("bfloat16",) if cpu_flags() & {"amx_bf16", "avx512_bf16"} else ()
    if not device.startswith("cuda"):
        return ()
    return ("bfloat16",) if default_plan(device).precision == "bfloat16" else ("float16",)


def training_candidates(network: nn.Module, device: str, *, low: bool = True) -> tuple[Plan, ...]:
    """The eager plans to try for training, the default first.

    Args:
        low: whether precisions below float32 are among them, and the default is what `default_plan` says.
    """
    plans = [default_plan(device)] if low else []
    # where the default may multiply float32 as TF32, the others may too
    plain = Plan(device=device, tf32=default_plan(device).tf32)
    plans += [plain, dataclasses.replace(plain, memory_format="contiguous")]
    for precision in low_precisions(device) if low else ():
        found = dataclasses.replace(plain, precision=precision)  # type: ignore[arg-type]
        plans.append(found)
        layers = convolutions(network)
        slow = device.startswith("cpu") and any(layer.depthwise and slow_below_float32(layer) for layer in layers)
        grouped = any(layer.groups > 1 and not layer.depthwise for layer in layers)
        apart = dataclasses.replace(found, depthwise="float32")
        plans += [apart] if slow else []
        plans += [dataclasses.replace(apart if slow else found, grouped="float32")] if grouped else []
    return tuple(dict.fromkeys(plans))


def inference_candidates(
    network: nn.Module, device: str, *, batch: int | None = None, fold: bool = True
) -> tuple[InferencePlan, ...]:
    """The eager plans to try for inference; the first is plain float32.

    Args:
        fold: whether norms can be folded.
    """
    first = InferencePlan(device=device, batch=batch)
    contiguous = dataclasses.replace(first, memory_format="contiguous")
    own = isinstance(network, Network)
    foldable = fold and own and any(isinstance(module, BatchNormUnit) for module in network.modules())
    # what is usually fastest comes first, since there may be no time for the last ones
    plans = [first]
    for precision in low_precisions(device):
        low = dataclasses.replace(first, precision=precision, fold=foldable)  # type: ignore[arg-type]
        stored = dataclasses.replace(low, weights="same")
        plans += [stored, low] if own else [low]
        if device.startswith("cpu") and any(layer.depthwise for layer in convolutions(network)):
            plans.append(dataclasses.replace(low, depthwise="float32"))
        plans += [dataclasses.replace(stored, memory_format="contiguous")] if own else []
    plans += [dataclasses.replace(plan, fold=True) for plan in (first, contiguous)] if foldable else []
    return tuple(dict.fromkeys([*plans, contiguous]))


def thread_candidates(plan: P, most: int) -> tuple[P, ...]:
    """A plan, and variants with half of the threads and with one."""
    if plan.device_type != "cpu":
        return (plan,)
    fewer = [count for count in dict.fromkeys((most // 2, 1)) if 1 <= count < most]
    return (plan, *(dataclasses.replace(plan, threads=count) for count in fewer))


def compiled_forms(plan: P) -> tuple[P, ...]:
    """A plan compiled, and on a GPU also replayed as CUDA graphs."""
    compiled = dataclasses.replace(plan, compile=True)
    return (compiled, dataclasses.replace(compiled, graphs=True)) if plan.device_type == "cuda" else (compiled,)


def convolutions(network: nn.Module) -> list[Convolution]:
    return [module for module in network.modules() if isinstance(module, Convolution)]


def repays(compile_s: float, eager_s: float, compiled_s: float, steps: int) -> bool:
    """Whether compiling saves more time over a run than it takes, with a margin of a fifth.

    Args:
        compile_s: seconds of the first compiled step, and of one for each further image size.
        eager_s: seconds of a step without compiling; `compiled_s` with it.
        steps: of the run.
    """
    return steps * (eager_s - compiled_s) > 1.2 * compile_s
