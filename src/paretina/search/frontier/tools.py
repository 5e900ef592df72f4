"""The operations of a frontier on its candidates (train, time, lock, wait), replaceable in tests."""

import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from paretina.measure.choose_plan import default_inference_plan, settle
from paretina.measure.compare import as_shipped, inferring
from paretina.measure.energy import counter_of
from paretina.measure.machine import Device, Others
from paretina.measure.opened import Steps, open_model
from paretina.measure.plan import Plan, default_plan
from paretina.measure.timing import MakeStep, Subject, Turns, time_subjects
from paretina.run import Run, model_in
from paretina.search.device_lock import DeviceLock
from paretina.search.frontier.runtimes import EAGER, RUNTIMES
from paretina.ship.format import format_named
from paretina.ship.opening import open_shipped
from paretina.ship.shipping import written
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
"""Times the finished runs of candidates, by name, and returns a session: `runtimes` (value and interval of each timed cost, by
candidate and runtime), `disturbed`, `others_cores`, and further values to keep, such as `untimed`: why a candidate was not
timed in a runtime."""


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
        "fixed_s": read_s + found.begin_s + 2 * found.evaluate_s + found.own_s,
        "updates_per_epoch": float(found.updates_per_epoch),
    }


@dataclass(frozen=True)
class Tools:
    """The operations on candidates; tests replace them.

    Attributes:
        train: starts a run in a directory, with limited time if a number of seconds is given.
        resume: resumes a run; its data may have been moved.
        lock: lock between training and timing.
        device: identifies this machine for timings: name of the processor or GPU, and cores.
    """

    time_runs: TimeRuns
    lock: Lock
    device: str
    rehearse: Callable[[Asked], dict[str, float]] = rehearse
    train: Callable[[Asked, Path, float | None, Listener], Run] = training.train
    resume: Callable[[Path, str | None, Listener], Run] = training.resume
    clock: Callable[[], float] = time.monotonic


def device_name(device: str) -> str:
    """What timings depend on, in words."""
    here = Device.here(default_plan(device).device)
    return f"{here.name}, {how_many(here.cores, 'core')}, {here.device}"


def timer(device: str, seconds: float, tune: bool = False, fold: Any = None, runtimes: Sequence[str] = (EAGER,)) -> TimeRuns:
    """Times finished runs in alternation with `paretina.measure.timing`: one image, best batch, memory, energy.

    All runtimes of a network are given the same pixels, of the network's own size. A runtime other than eager torch that cannot
    execute a network is left out for it, with the reason in `untimed`.

    Args:
        seconds: seconds per network and runtime.
        tune: whether to search for the fastest eager plan of each first, instead of using the default one.
        fold: returns a copy of a network in inference form, such as `paretina.model.fold.fold`; used only with `tune`.
        runtimes: that each network is timed in, by their names in `RUNTIMES`.
    """

    def time_runs(runs: Mapping[str, Path], say: Say) -> dict[str, Any]:
        here = Device.here(default_plan(device).device)
        subjects: list[Subject] = []
        places: dict[str, tuple[str, str]] = {}
        notes: dict[str, list[str]] = {}
        untimed: dict[str, dict[str, str]] = {}
        for name, run in runs.items():
            found = Subjects(run, here, tune, fold, partial(said_of, say, name))
            for runtime in runtimes:
                label = name if len(runtimes) == 1 else f"{name} in {runtime}"
                try:
                    subjects.append(found.made(runtime, label))
                except Exception as error:  # compilers and exporters can fail in any way
                    if runtime == EAGER:
                        raise
                    reason = " ".join(str(error).split())[:300] or type(error).__name__
                    untimed.setdefault(name, {})[runtime] = reason
                    say(f"{name} is not timed in {runtime}: {reason}")
                else:
                    places[label] = (name, runtime)
            if found.notes:
                notes[name] = found.notes
        others = Others()
        timings = (
            time_subjects(
                subjects,
                here,
                Turns(None, seconds, wait=here.wait),
                others=others,
                counter=counter_of(here.device),
                say=say,
            )
            if subjects
            else {}
        )
        costs: dict[str, dict[str, dict[str, Sequence[float]]]] = {}
        for label, timing in timings.items():
            batch = timing.inference
            known: dict[str, Sequence[float]] = {"latency_ms": timing.latency.p50, "throughput": batch.img_s}
            name, runtime = places[label]
            # what other runtimes allocate is not seen from torch
            peak = None if RUNTIMES[runtime].format else batch.peak_mb
            for cost, value in (("peak_mb", peak), ("energy_j", batch.energy.image_j if batch.energy else None)):
                if value is not None:
                    known[cost] = (value, value, value)
            costs.setdefault(name, {})[runtime] = known
        first = next(iter(timings.values()), None)
        return {
            "device": here.to_dict(),
            "disturbed": first is not None and first.disturbed,
            "others_cores": first.others if first else None,
            "runtimes": costs,
            "untimed": untimed,
            "notes": notes,
            "timings": {label: timing.to_dict() for label, timing in timings.items()},
        }

    return time_runs


class Subjects:
    """Makes what is timed of one finished run: its network in each runtime.

    Attributes:
        notes: on the search for its plan.
    """

    def __init__(self, run: Path, device: Device, tune: bool, fold: Any, say: Say) -> None:
        self.run, self.say = run, say
        opened = open_model(str(run))
        self.steps = Steps(opened, fold, device.device, device.threads)
        self.plan = default_inference_plan(device.device)
        self.notes: list[str] = []
        if tune:
            found = settle(self.steps, device, "eager", training=False, say=say)
            self.plan, self.notes = found.inference, list(found.notes)
        self.weight_mb = sum(tensor.nbytes for tensor in opened.network.state_dict().values()) / 2**20

    def made(self, runtime: str, label: str) -> Subject:
        """The network in a runtime, which has executed it already, unless it is eager torch.

        Args:
            label: unique name of the subject.

        Raises:
            ValueError: the network cannot be written for the runtime; further errors are those of compilers and exporters.
        """
        if RUNTIMES[runtime].format:
            plan, infer = self.shipped(RUNTIMES[runtime].format)
        else:
            plan = replace(self.plan, compile=runtime == "compiled")
            infer = self.steps.infer(plan)
        if runtime != EAGER:
            self.say(f"preparing it for {runtime}")
            for batch in (1, 2):  # compilers take a batch of one for a constant
                infer(batch)()
        return Subject(name=label, plan=plan, infer=infer, weight_mb=self.weight_mb)

    def shipped(self, format: str) -> tuple[Plan, MakeStep]:
        """The plan and the forward passes of a file of the network, in float32; the file itself is not kept."""
        chosen = format_named(format)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / f"model{chosen.SUFFIX}"
            written(model_in(self.run), chosen, "float32", path)
            opened = open_shipped(str(self.run), path, chosen)
        plans = as_shipped(opened, None)
        return plans.inference, inferring(opened, {}, plans)


def said_of(say: Say, name: str, text: str) -> None:
    say(f"{name}: {text}")


def tools_for(device: str, seconds: float, tune: bool = False, fold: Any = None, runtimes: Sequence[str] = (EAGER,)) -> Tools:
    """The real tools for a device of this machine; see `timer`."""
    name = default_plan(device).device
    return Tools(
        time_runs=timer(device, seconds, tune, fold, runtimes),
        lock=DeviceLock(name, cache_folder() / "locks"),
        device=device_name(device),
    )
