"""The operations of a frontier on its candidates (train, time, lock, wait), replaceable in tests."""

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from paretina.measure.energy import counter_of
from paretina.measure.machine import Device, Others
from paretina.measure.plan import default_plan
from paretina.run import Run
from paretina.search.claims import Claims, DeviceLock, claiming
from paretina.system import cache_folder
from paretina.text import how_many
from paretina.train import estimate, resolve, training
from paretina.train.asked import Asked
from paretina.train.journal import Listener

Say = Callable[[str], None]


@runtime_checkable
class Lock(Protocol):
    """A lock between training and timing; see `DeviceLock`."""

    def shared(self) -> AbstractContextManager[None]: ...

    def alone(self) -> AbstractContextManager[None]: ...


TimeRuns = Callable[[Mapping[str, Path], Say], dict[str, Any]]
"""Times the finished runs of candidates, by name, and returns a session: `costs` (value and interval of each cost, by
candidate), `disturbed`, `others_cores`, and further values to keep."""


def rehearse(asked: Asked) -> dict[str, float]:
    """Estimates the time of a run: seconds per epoch, and seconds that do not depend on epochs.

    If other processes use the machine it is done twice and the faster result is used, since too slow an estimate leaves all
    candidates too few epochs.

    Raises:
        ValueError: it cannot be trained.
    """
    began = time.monotonic()
    prepared = resolve.prepare(asked)
    read_s = time.monotonic() - began
    others = Others()
    found = estimate.rehearse(prepared)
    if others.disturbed(others.used()):
        found = min(found, estimate.rehearse(prepared), key=lambda each: each.update_s)
    evaluations = found.evaluate_s / asked.recipe.test.every
    return {
        "epoch_s": found.update_s * found.updates_per_epoch + evaluations,
        "fixed_s": read_s + found.begin_s + 2 * found.evaluate_s,
        "updates_per_epoch": float(found.updates_per_epoch),
    }


@dataclass(frozen=True)
class Tools:
    """The operations on candidates; tests replace them.

    Attributes:
        train: starts a run in a directory, with limited time if a number of seconds is given.
        resume: resumes a run; its data may have been moved.
        lock: lock between training and timing.
        claims: opens the claims on a directory.
        wait: sleeps.
        device: identifies this machine for timings: name of the processor or GPU, and cores.
    """

    time_runs: TimeRuns
    lock: Lock
    device: str
    rehearse: Callable[[Asked], dict[str, float]] = rehearse
    train: Callable[[Asked, Path, float | None, Listener], Run] = training.train
    resume: Callable[[Path, str | None, Listener], Run] = training.resume
    claims: Callable[[Path], AbstractContextManager[Claims]] = claiming
    wait: Callable[[float], None] = time.sleep
    clock: Callable[[], float] = time.monotonic


def device_name(device: str) -> str:
    """What timings depend on, in words."""
    here = Device.here(default_plan(device).device)
    return f"{here.name}, {how_many(here.cores, 'core')}, {here.device}"


def timer(device: str, seconds: float, tune: bool = False, fold: Any = None) -> TimeRuns:
    """Times finished runs in alternation with `paretina.measure.timing`: one image, best batch, memory, energy.

    Args:
        seconds: seconds per network.
        tune: whether to search for the fastest eager plan of each first, instead of using the default one.
        fold: returns a copy of a network in inference form, such as `paretina.model.fold.fold`; used only with `tune`.
    """

    def time_runs(runs: Mapping[str, Path], say: Say) -> dict[str, Any]:
        from paretina.measure.choose_plan import default_inference_plan, settle
        from paretina.measure.opened import Steps, open_model
        from paretina.measure.timing import Subject, Turns, time_subjects

        here = Device.here(default_plan(device).device)
        others = Others()
        subjects, notes = [], {}
        for name, run in runs.items():
            opened = open_model(str(run))
            steps = Steps(opened, fold, here.device, here.threads)
            plan = default_inference_plan(here.device)
            if tune:
                found = settle(steps, here, "eager", training=False, say=partial(said_of, say, name))
                plan, notes[name] = found.inference, list(found.notes)
            weight_mb = sum(tensor.nbytes for tensor in opened.network.state_dict().values()) / 2**20
            subjects.append(Subject(name=name, plan=plan, infer=steps.infer(plan), weight_mb=weight_mb))
        timings = time_subjects(
            subjects,
            here,
            Turns(None, seconds, wait=here.wait),
            others=others,
            counter=counter_of(here.device),
            say=say,
        )
        costs: dict[str, dict[str, Sequence[float]]] = {}
        for name, timing in timings.items():
            batch = timing.inference
            costs[name] = {"latency_ms": timing.latency.p50, "throughput": batch.img_s}
            for cost, value in (("peak_mb", batch.peak_mb), ("energy_j", batch.energy.image_j if batch.energy else None)):
                if value is not None:
                    costs[name][cost] = (value, value, value)
        first = next(iter(timings.values()))
        return {
            "device": here.to_dict(),
            "disturbed": first.disturbed,
            "others_cores": first.others,
            "costs": costs,
            "notes": notes,
            "timings": {name: timing.to_dict() for name, timing in timings.items()},
        }

    return time_runs


def said_of(say: Say, name: str, text: str) -> None:
    say(f"{name}: {text}")


def tools_for(device: str, seconds: float, tune: bool = False, fold: Any = None) -> Tools:
    """The real tools for a device of this machine."""
    name = default_plan(device).device
    return Tools(
        time_runs=timer(device, seconds, tune, fold),
        lock=DeviceLock(name, cache_folder() / "locks"),
        device=device_name(device),
    )
