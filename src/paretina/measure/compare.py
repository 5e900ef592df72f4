"""Measures the cost of several networks, counted and timed, side by side on this machine.

Implements `paretina measure`: opens the networks, counts their operations, tunes their plans if requested, times them in turn,
and reports what bounds each stage.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from typing import Any

from paretina.data.source import Source
from paretina.measure.choose_plan import Plans, Say, Tuning, settle
from paretina.measure.cost import Cost, cost, rounded_in_words, without
from paretina.measure.energy import counter_of
from paretina.measure.inference import Fold
from paretina.measure.machine import Device, Others
from paretina.measure.opened import Opened, Steps, open_model
from paretina.measure.parts import parts_of
from paretina.measure.plan import InferencePlan, Plan, default_plan
from paretina.measure.process import process_settings
from paretina.measure.roofline import Ceilings, StageTime, measure_ceilings, roofline, time_parts
from paretina.measure.roofline import table as stage_table
from paretina.measure.timing import MakeStep, Series, Step, Subject, Timing, Turns, is_out_of_memory, time_subjects
from paretina.measure.tune import Tuned
from paretina.model.build import Network
from paretina.model.rounding import in_words
from paretina.tables import html_lines, in_columns
from paretina.text import how_many, printable


@dataclass(frozen=True)
class MeasuredModel:
    """The measurements of one network.

    Attributes:
        cost: counted for one image.
        stages: counts and times at the inference batch size; empty for compiled plans, which have no separate stages.
        trained: whether its weights are trained.
        notes: notes on the figures, a sentence each.
    """

    name: str
    resolution: int
    cost: Cost
    timing: Timing
    stages: tuple[StageTime, ...]
    tuned: tuple[Tuned | None, Tuned | None]
    trained: bool
    notes: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        inference, training = self.tuned
        return {
            "name": self.name,
            "resolution": self.resolution,
            "cost": {**asdict(self.cost), "intensity": self.cost.intensity},
            "timing": self.timing.to_dict(),
            "stages": [stage.to_dict() for stage in self.stages],
            "tuned": inference.to_dict() if inference else None,
            "training_tuned": training.to_dict() if training else None,
            "trained": self.trained,
            "notes": list(self.notes),
        }

    def row(self) -> dict[str, Any]:
        """The figures as a row of a CSV file, without samples."""
        timing, flat = self.timing, asdict(self.cost)
        del flat["stages"]
        flat["uncounted"] = " ".join(self.cost.uncounted)
        flat["routes"] = " ".join(f"{route.name}:{route.share:.4g}" for route in self.cost.routes)
        flat["bits"] = in_words(self.cost.bits)
        row = {"name": self.name, **flat, "intensity": self.cost.intensity}
        row |= {f"latency_{key}": value for key, value in timing.latency.to_dict().items() if key != "samples_ms"}
        for prefix, batch in (("inference", timing.inference), ("training", timing.training)):
            data = batch.to_dict() if batch else {}
            row |= {f"{prefix}_{key}": value for key, value in data.items() if key not in ("samples_ms", "tried_img_s")}
        return {
            **row,
            "plan": timing.plan.to_json(),
            "training_plan": timing.training_plan.to_json() if timing.training_plan else None,
            "others_cores": timing.others,
            "disturbed": timing.disturbed,
            "device": timing.device.name,
        }


@dataclass(frozen=True)
class Measured:
    """The measurements of networks that were timed in turn on one device.

    Attributes:
        ceilings: of the device, by precision and threads.
    """

    device: Device
    models: tuple[MeasuredModel, ...]
    ceilings: dict[str, Ceilings]

    @property
    def disturbed(self) -> bool:
        return any(model.timing.disturbed for model in self.models)

    def to_dict(self) -> dict[str, Any]:
        return {
            "device": self.device.to_dict(),
            "disturbed": self.disturbed,
            "ceilings": {name: asdict(ceiling) for name, ceiling in self.ceilings.items()},
            "models": [model.to_dict() for model in self.models],
        }

    def _repr_html_(self) -> str:
        return html_lines([*self.table(), *(f"{each.name}: {note}" for each in self.models for note in each.notes)])

    def rows(self) -> list[dict[str, Any]]:
        """One row per network, all with the same columns."""
        rows = [model.row() for model in self.models]
        columns = list(dict.fromkeys(name for row in rows for name in row))
        return [{name: row.get(name) for name in columns} for row in rows]

    def table(self) -> list[str]:
        """The networks as lines of text."""
        title = ("network", "pixels", "params", "GMACs", "MB", "FLOP/B", "latency ms", "p95", "img/s", "batch")
        rows = [(*title, "training img/s", "batch", "peak MB")]
        for model in self.models:
            counted, timing = model.cost, model.timing
            p95, training, peak = timing.latency.p95, timing.training, timing.inference.peak_mb
            rows.append(
                (
                    printable(model.name),
                    f"{model.resolution}",
                    f"{counted.params / 1e6:.2f}M",
                    f"{counted.macs / 1e9:.3f}",
                    f"{counted.weight_bytes / 1e6:.1f}",
                    f"{counted.intensity:.1f}",
                    between(timing.latency.p50, 2),
                    f"{p95.value:.2f}" if p95 else "-",
                    between(timing.inference.img_s, 1),
                    f"{timing.inference.batch}",
                    between(training.img_s, 1) if training else "-",
                    f"{training.batch}" if training else "-",
                    f"{peak:.0f}" if peak is not None else "-",
                )
            )
        return in_columns(rows, "<>")

    def stage_tables(self) -> list[str]:
        """What bounds the stages of each network, as lines of text."""
        lines = []
        for model in self.models:
            if model.stages:
                title = f"{model.name}, {how_many(model.timing.inference.batch, 'image')} of {model.resolution} pixels"
                lines += ["", title, *stage_table(model.stages)]
        return lines


def between(interval: tuple[float, float, float], digits: int) -> str:
    value, low, high = interval
    return f"{value:.{digits}f} [{low:.{digits}f}, {high:.{digits}f}]"


@process_settings()
def measure_models(
    names: Sequence[str],
    device: str = "auto",
    resolution: int | None = None,
    batch: int | None = None,
    training: bool = True,
    tuning: Tuning = "none",
    use_cache: bool = True,
    rounds: int | None = None,
    seconds: float = 10.0,
    source: Source | None = None,
    fold: Fold | None = None,
    say: Say = lambda text: None,
    open_one: Callable[[str, int | None], Opened] = open_model,
) -> Measured:
    """Counts networks and times them in turn.

    Args:
        names: our names, model files, directories of finished runs, or timm:NAME.
        device: auto, cpu, cuda, cuda:1 or mps.
        resolution: side of the image in pixels; default: each network's own.
        batch: batch size of inference and training; default: the fastest one found.
        training: whether to time the training step too.
        tuning: how plans are chosen; see `settle`.
        use_cache: False uses the default plans instead of cached ones.
        rounds: of timing; default: as many as fit into the time.
        seconds: time limit per network, without opening, tuning and memory.
        source: of the pictures for checking plans; default: the built-in drawings.
        fold: gives a copy in inference form, such as `paretina.model.fold.fold`; without it no plan folds.
        say: called with progress messages.
        open_one: opens a network by name.

    Raises:
        ValueError: a network does not exist or cannot be run as requested; the message names it.
    """
    if not names:
        raise ValueError("name at least one network to measure")
    twice = sorted({name for name in names if list(names).count(name) > 1})
    if twice:
        raise ValueError(f"{twice[0]} is named twice; name each network once")
    here = Device.here(default_plan(device).device)
    turns = Turns(rounds=rounds, seconds=seconds, wait=here.wait)
    every = [open_one(name, resolution) for name in names]
    counts: dict[str, Cost] = {}
    plans: dict[str, Plans] = {}
    steps: dict[str, Steps] = {}
    for opened in every:
        if opened.run is not None and opened.counted is not None:
            counts[opened.name], plans[opened.name] = opened.counted, as_shipped(opened, batch)
            continue
        say(f"{opened.name}: counting")
        with named(opened):
            counts[opened.name] = cost(opened.network, opened.resolution)
            steps[opened.name] = Steps(opened, fold, here.device, here.threads)
            chosen = settle(
                steps[opened.name],
                here,
                tuning,
                use_cache=use_cache,
                training=training,
                batch=batch,
                training_batch=batch or 16,
                source=source,
                say=about(say, opened.name),
            )
        plans[opened.name] = chosen
    subjects = [
        Subject(
            name=opened.name,
            plan=plans[opened.name].inference,
            infer=guarded(opened, inferring(opened, steps, plans[opened.name])),
            train=guarded(opened, steps[opened.name].train(plans[opened.name].training))
            if training and opened.name in steps
            else None,
            training_plan=plans[opened.name].training,
            weight_mb=counts[opened.name].weight_bytes / 2**20,
        )
        for opened in every
    ]
    timings = time_subjects(
        subjects,
        here,
        turns,
        batch=batch,
        training_batch=batch,
        others=Others(),
        counter=counter_of(here.device),
        say=say,
    )
    say("measuring the limits of this device")
    ceilings: dict[str, Ceilings] = {}
    models = []
    for opened in every:
        chosen, timing = plans[opened.name], timings[opened.name]
        timing = replace(timing, plan=replace(chosen.inference, batch=timing.inference.batch))
        counted = counts[opened.name]
        missing = [note for note in (without(counted.uncounted), rounded_in_words(counted)) if note]
        stages: tuple[StageTime, ...] = ()
        notes: tuple[str, ...] = ()
        if opened.name in steps:
            stages, notes = staged(opened, steps[opened.name], chosen.inference, timing.inference.batch, ceilings, here)
        models.append(
            MeasuredModel(
                name=opened.name,
                resolution=opened.resolution,
                cost=counts[opened.name],
                timing=timing,
                stages=stages,
                tuned=chosen.tuned,
                trained=opened.trained,
                notes=(*missing, *route_notes(counts[opened.name], timing.latency), *chosen.notes, *notes),
            )
        )
    return Measured(here, tuple(models), ceilings)


def route_notes(counted: Cost, latency: Series) -> tuple[str, ...]:
    """What was timed of a network that chooses its image size; empty for others."""
    if not counted.routes:
        return ()
    shares = ", ".join(f"{route.name} {100 * route.share:.0f} %" for route in counted.routes)
    return (
        f"counted and timed with the sizes of its validation pictures ({shares}), which take turns; the mean latency is "
        f"{sum(latency.samples) / latency.n:.2f} ms",
    )


def as_shipped(opened: Opened, batch: int | None) -> Plans:
    """The plan of a shipped file, which its own runtime executes as it is."""
    precision = "bfloat16" if opened.precision == "bfloat16" else "float32"
    plan = InferencePlan(precision=precision, batch=batch, runtime=opened.runtime)  # type: ignore[arg-type]
    counts = "; its counts are those of the network in float32" if opened.precision == "int8" else ""
    note = f"executed by {opened.runtime} from pixels to probabilities, its preprocessing included{counts}"
    return Plans(plan, Plan(), notes=(note,))


def inferring(opened: Opened, steps: Mapping[str, Steps], plans: Plans) -> MakeStep:
    """Makes forward passes for a batch size."""
    if opened.run is None:
        return steps[opened.name].infer(plans.inference)
    run = opened.run

    def made(batch: int) -> Step:
        images = opened.images(batch)
        opened.fit(images)
        return lambda: run(images)

    return made


def staged(
    opened: Opened, steps: Steps, plan: InferencePlan, batch: int, ceilings: dict[str, Ceilings], device: Device
) -> tuple[tuple[StageTime, ...], tuple[str, ...]]:
    """The table of stages, or a note why there is none."""
    if plan.compile:
        return (), ("a compiled network has no separate stages, so there is no table of stages",)
    key = f"{plan.precision}, {plan.threads or device.threads} threads"
    with plan.threaded():
        if key not in ceilings:
            ceilings[key] = measure_ceilings(plan, wait=device.wait)
        network = steps.prepared(plan)
        step = steps.infer(plan)(batch)
        measured = time_parts(parts_of(network), step, device=plan.device, seconds=3.0)
        executed = steps.fold(opened.network) if plan.fold and steps.fold and isinstance(opened.network, Network) else None
        counted = cost(executed or opened.network, opened.resolution, batch)
    return roofline(counted, measured, ceilings[key]), ()


@contextmanager
def named(opened: Opened) -> Iterator[None]:
    """Adds the name of the network to errors within the context."""
    try:
        yield
    except (ValueError, AssertionError, RuntimeError) as error:
        text = " ".join(str(error).split())[:400] or type(error).__name__
        where = f"{opened.name} at {opened.resolution} pixels"
        if is_out_of_memory(error):
            raise MemoryError(f"{where}: {text}") from error
        raise ValueError(f"{where} cannot be measured: {text}") from error


def about(say: Say, name: str) -> Say:
    return lambda text: say(f"{name}: {text}")


def guarded(opened: Opened, make: MakeStep) -> MakeStep:
    """Wraps steps so that errors name the network; out-of-memory errors are unchanged."""

    def made(batch: int) -> Step:
        with named(opened):
            return make(batch)

    return made
