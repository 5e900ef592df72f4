"""Chooses the execution plan of a network: the default, a cached one, or one found by tuning."""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal

from paretina.data.source import Source
from paretina.data.sources.clipart import Clipart
from paretina.measure.machine import Device, Others
from paretina.measure.opened import Opened, Steps, pictures_for
from paretina.measure.plan import InferencePlan, Plan, default_plan, trains_low
from paretina.measure.plan_cache import cached_plan, keep_plan, key_of
from paretina.measure.timing import Step
from paretina.measure.tune import (
    Judgement,
    Tuned,
    compiled_forms,
    inference_candidates,
    thread_candidates,
    training_candidates,
    tune,
)
from paretina.model.blueprint import Model
from paretina.spec import encode

Tuning = Literal["none", "eager", "full"]

Say = Callable[[str], None]
"""A callback that receives progress messages."""

PICTURES = 200
"""Pictures for checking the predictions of a plan, unless they take too long; of 200, one may change."""

LEAST_PICTURES = 32
FEW_PICTURES = 8
"""Pictures by which their time is estimated."""

INFERENCE_S, THREADS_S, JUDGE_S, TRAINING_S = 9.0, 2.5, 4.0, 12.0
"""Time limits in seconds for tuning one network: plans, numbers of threads, checks, and training. Together under 30."""

COMPILE_S = 300.0
TUNED_BATCH = 8
"""Batch size for comparing inference plans, unless one is given."""


@dataclass(frozen=True)
class Plans:
    """The execution plans of a network.

    Attributes:
        tuned: the tuning results for inference and for training; None without tuning.
        notes: notes for the user, a sentence each.
    """

    inference: InferencePlan
    training: Plan
    tuned: tuple[Tuned | None, Tuned | None] = (None, None)
    notes: tuple[str, ...] = ()


def default_inference_plan(device: str = "auto") -> InferencePlan:
    """float32, without changes to the network: the reference for every other plan."""
    return InferencePlan(device=default_plan(device).device)


def settle(
    steps: Steps,
    device: Device,
    tuning: Tuning,
    *,
    use_cache: bool = True,
    inference: bool = True,
    training: bool = True,
    low: bool = True,
    batch: int | None = None,
    training_batch: int = 16,
    source: Source | None = None,
    clock: Callable[[], float] = time.perf_counter,
    say: Say = lambda text: None,
) -> Plans:
    """Chooses the plans of a network: the defaults, cached ones, or new ones found by tuning.

    Args:
        tuning: "none" uses the cache, otherwise the defaults; "eager" tries everything but compiling; "full" compiles too.
        use_cache: whether to read and write cached plans.
        inference: whether to choose a plan for inference; likewise `training`.
        low: whether training may use a precision below float32.
        source: of the pictures for checking predictions; default: the built-in drawings.
    """
    opened, place = steps.opened, device.device
    network: Any = encode(opened.model) if opened.model else opened.name
    common = {"resolution": opened.resolution, "tuning": tuning if tuning != "none" else "eager"}
    notes: list[str] = []
    check = None
    if opened.trained:
        check = lazily_judged(steps, source or Clipart(), clock)
    settings: dict[str, Any] = {"clock": clock, "wait": device.wait, "say": say}

    def found(use: str, size: int, search: Callable[[], Tuned], keeps: Callable[[Plan], bool]) -> Tuned | None:
        key = key_of(device, network, use=use, batch=size, **common)
        known = cached_plan(key) if use_cache else None
        if known is not None and keeps(known.plan):
            return known
        if tuning == "none":
            return None
        watch = Others()
        tuned = search()
        if watch.disturbed(used := watch.used()):
            notes.append(f"other processes used {used:.1f} cores during the tuning for {use}, so the plan was not cached")
        elif use_cache:
            keep_plan(key, tuned)
        return tuned

    def keeps_answers(plan: Plan) -> bool:
        if plan == inference_first or check is None:
            return True
        judgement = check(plan)
        if not judgement.passed:
            notes.append(f"the cached plan changes the predictions of these weights, so it was not used: {judgement}")
        return judgement.passed

    inference_first = replace(default_inference_plan(place), batch=batch)
    size = batch or TUNED_BATCH

    def search_inference() -> Tuned:
        candidates = inference_candidates(opened.network, place, batch=batch, fold=steps.fold is not None)

        def make(plan: Plan, count: int) -> Step:
            return steps.infer(plan)(count)

        asked = {"batch": size, "check": check or unjudged, **settings}
        tuned = tune(candidates, make, seconds=INFERENCE_S, **asked)
        # fewer threads are often faster with one image, never with many: so only a step with the full batch can tell how many
        if tuned.batch == size and len(threaded := thread_candidates(tuned.plan, device.threads)) > 1:
            tuned = joined(tuned, tune(threaded, make, seconds=THREADS_S, **asked))
        if tuning == "full":
            compiled = (tuned.plan, *compiled_forms(tuned.plan))
            tuned = joined(tuned, tune(compiled, make, seconds=COMPILE_S, rounds=5, **asked))
        steps.ready.clear()
        return tuned

    def search_training() -> Tuned:
        def make(plan: Plan, count: int) -> Step:
            return steps.train(plan)(count)

        candidates = training_candidates(opened.network, place, low=low)
        asked = {"batch": training_batch, "least_batch": 2, **settings}
        tuned = tune(candidates, make, seconds=TRAINING_S, **asked)
        if tuning == "full":
            compiled = (tuned.plan, *compiled_forms(tuned.plan))
            tuned = joined(tuned, tune(compiled, make, seconds=COMPILE_S, rounds=5, **asked))
        return tuned

    for_inference = for_training = None
    if inference:
        for_inference = found("inference", size, search_inference, keeps_answers)
    if training:
        use = "training" if low else "training in float32"
        for_training = found(use, training_batch, search_training, lambda plan: True)
    plan = for_inference.plan if for_inference else inference_first
    assert isinstance(plan, InferencePlan)
    if plan != inference_first and check is None and (plan.precision != "float32" or plan.compile):
        notes.append("its weights are not trained, so it could not be checked that its plan keeps the predictions of float32")
    low_by_default = low and opened.model is not None and not opened.trained and trains_low(opened.model)
    default = default_plan(place) if low_by_default else Plan(device=place)
    return Plans(plan, for_training.plan if for_training else default, (for_inference, for_training), tuple(notes))


def training_plan(
    model: Model,
    device: str = "auto",
    batch: int = 16,
    resolution: int | None = None,
    tuning: Tuning = "eager",
    low: bool = True,
    use_cache: bool = True,
    say: Say = lambda text: None,
) -> Plans:
    """Chooses the plan for training a network; see `settle`.

    Args:
        batch: images per forward and backward pass of one rank.
        resolution: side of the image in training, in pixels; default: the model's.
    """
    here = Device.here(default_plan(device).device)
    sized = replace(model, resolution=resolution or model.resolution)
    network = sized.build("meta" if tuning == "none" else "cpu")
    opened = Opened("this network", network, sized, sized.preprocessing, sized.resolution, sized.channels, False)
    steps = Steps(opened, None, here.device, here.threads)
    asked: dict[str, Any] = {"low": low, "training_batch": batch, "use_cache": use_cache, "say": say}
    return settle(steps, here, tuning, inference=False, **asked)


def unjudged(plan: Plan) -> None:
    return None


def lazily_judged(steps: Steps, source: Source, clock: Callable[[], float]) -> Callable[[Plan], Judgement]:
    """A check on as many pictures as fit into a few seconds; set up on first use."""
    checks: list[Callable[[Plan], Judgement]] = []

    def check(plan: Plan) -> Judgement:
        if not checks:
            few = pictures_for(steps.opened, source, FEW_PICTURES)
            began = clock()
            steps.answers(Plan(device=plan.device), few)
            image_s = (clock() - began) / len(few)
            count = max(LEAST_PICTURES, min(PICTURES, int(JUDGE_S / 2 / max(image_s, 1e-9))))
            checks.append(steps.judged_on(pictures_for(steps.opened, source, count)))
        return checks[0](plan)

    return check


def joined(first: Tuned, second: Tuned) -> Tuned:
    """Joins two rounds of tuning, the second of which started from the plan found by the first."""
    tried = (*first.tried, *(each for each in second.tried if each.plan not in [old.plan for old in first.tried]))
    return Tuned(second.plan, tried, first.batch, first.seconds + second.seconds, first.gain * second.gain)
