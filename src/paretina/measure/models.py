"""Models: what each of several networks costs, counted and timed, side by side on this machine.

What `paretina measure` does: opens the networks, counts them, finds their plans if asked to, times them in turn, and says of
each stage what it is bound by.
"""

import copy
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from paretina.data.preprocess import preprocess
from paretina.data.source import Source
from paretina.data.sources.clipart import Clipart
from paretina.measure.cost import Cost, cost
from paretina.measure.device import Device, Others
from paretina.measure.energy import counter_of
from paretina.measure.inference import Fold, forward, prepared
from paretina.measure.parts import parts_of
from paretina.measure.plan import InferencePlan, Plan, default_plan
from paretina.measure.plan_cache import cached_plan, keep_plan, key_of
from paretina.measure.process import keep_freed_memory
from paretina.measure.roofline import Ceilings, StageTime, measure_ceilings, roofline, time_parts
from paretina.measure.roofline import table as stage_table
from paretina.measure.timing import MakeStep, Step, Subject, Timing, Turns, is_out_of_memory, time_subjects
from paretina.measure.tune import (
    Judgement,
    Tuned,
    inference_candidates,
    judge,
    thread_candidates,
    training_candidates,
    tune,
)
from paretina.model.blueprint import Blueprint, Door
from paretina.model.build import Network
from paretina.model.family import networks
from paretina.model.weights import from_package, load_model, load_start
from paretina.shapes import Logits
from paretina.spec import encode, near

Tuning = Literal["none", "eager", "full"]

Say = Callable[[str], None]
"""Takes a sentence about what is being done."""

PICTURES = 200
"""Pictures that the answers of a plan are judged by, unless they take too long; with 200, one may change."""

LEAST_PICTURES = 32
FEW_PICTURES = 8
"""What they take is judged by so many."""

INFERENCE_S, THREADS_S, JUDGE_S, TRAINING_S = 9.0, 2.5, 4.0, 12.0
"""Seconds of one network's tuning: trying plans and numbers of threads, judging, and training. Together under 30."""

COMPILE_S = 300.0
TUNED_BATCH = 8
"""Images that inference plans are compared on, unless a batch is asked for."""


@dataclass(frozen=True)
class Opened:
    """A network to measure.

    Attributes:
        name: as it was asked for.
        blueprint: None of another library's network.
        door: how it wants pictures cut.
        trained: whether its weights are; those of random ones say nothing about answers.
    """

    name: str
    network: nn.Module
    blueprint: Blueprint | None
    door: Door
    resolution: int
    channels: int
    trained: bool

    def images(self, batch: int) -> Tensor:
        """Random pixels, always the same."""
        shape = (batch, self.channels, self.resolution, self.resolution)
        return torch.randint(0, 256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def open_model(name: str, resolution: int | None = None) -> Opened:
    """The network that a word stands for: one of our names, a model file, the directory of a finished run, or timm:NAME.

    Of our names the weights are those of an installed package, otherwise random; those of timm are random.

    Raises:
        ValueError: there is none; the message has the name and the near one.
    """
    library, colon, rest = name.partition(":")
    path = Path(name)
    if colon and library == "timm":
        from paretina.model.interop import timm_model

        foreign = timm_model(rest, pretrained=False)
        return Opened(name, foreign, None, foreign.preprocessing, resolution or foreign.resolution, 3, False)
    if path.exists() or name.endswith(".safetensors") or "/" in name:
        network, _ = load_model(path / "model.safetensors" if path.is_dir() else path)
        blueprint = network.blueprint
        return Opened(name, network, blueprint, blueprint.door, resolution or blueprint.resolution, blueprint.channels, True)
    known = networks()
    if name not in known:
        hint = near(name, known)
        raise ValueError(f"there is no network and no model file {name!r}{hint if 'did you mean' in hint else ''}")
    published = known[name]
    blueprint = replace(published.blueprint, resolution=resolution or published.blueprint.resolution)
    network = blueprint.build()
    start = from_package(published)
    if start is not None:
        load_start(network, start)
    return Opened(name, network, blueprint, blueprint.door, blueprint.resolution, blueprint.channels, start is not None)


# --- steps --------------------------------------------------------------------------------------------------------------


def under(plan: Plan, threads: int, step: Step) -> Step:
    """A step that first sets the number of threads, which belongs to the whole process."""
    wanted = plan.threads or threads

    def run() -> object:
        if torch.get_num_threads() != wanted:
            torch.set_num_threads(wanted)
        return step()

    return run


@dataclass
class Steps:
    """Makes the steps of one network; the copies that it takes for them are made when they are first needed.

    Attributes:
        threads: that torch uses unless a plan says otherwise.
    """

    opened: Opened
    fold: Fold | None
    device: str
    threads: int
    ready: dict[Plan, nn.Module] = field(default_factory=dict)

    def prepared(self, plan: Plan) -> nn.Module:
        key = replace(plan, threads=None)
        if isinstance(key, InferencePlan):
            key = replace(key, batch=None)
        if key not in self.ready:
            self.ready[key] = prepared(self.opened.network, plan, self.fold)
        return self.ready[key]

    def infer(self, plan: Plan) -> MakeStep:
        """Forward passes under a plan."""
        return lambda batch: under(plan, self.threads, forward(self.prepared(plan), plan, self.opened.images(batch)))

    def train(self, plan: Plan) -> MakeStep:
        """Updates under a plan, by SGD with momentum and cross entropy, on a copy that they share."""
        learning: list[nn.Module] = []

        def make(batch: int) -> Step:
            if not learning:
                network = plan.place(copy.deepcopy(self.opened.network)).train().requires_grad_(True)
                if plan.compile:
                    network.forward = torch.compile(network.forward)  # type: ignore[method-assign]
                learning.append(network)
            return under(plan, self.threads, update(learning[0], plan, self.opened.images(batch)))

        return make

    def answers(self, plan: Plan, pictures: Tensor) -> Logits:
        """Logits of pictures, float32, on the CPU."""
        network = self.prepared(plan)
        with plan.threaded():
            found = [forward(network, plan, some)().float().cpu() for some in pictures.split(16)]
        return torch.cat(found)

    def judged_on(self, pictures: Tensor) -> Callable[[Plan], Judgement]:
        """Compares a plan with float32, whose answers are found at once."""
        wanted = self.answers(Plan(device=self.device), pictures)
        return lambda plan: judge(wanted, self.answers(plan, pictures))


def update(network: nn.Module, plan: Plan, images: Tensor) -> Step:
    """A function that makes one update of a network in training mode; every image has the first class."""
    images = images.to(device=plan.device).contiguous(memory_format=plan.torch_memory_format)
    labels = torch.zeros(len(images), dtype=torch.long, device=plan.device)
    optimizer = torch.optim.SGD(network.parameters(), lr=1e-5, momentum=0.9)

    def run() -> None:
        with plan.arithmetic():
            found = network(images)
            # a network of another library that is distilled answers twice while it learns
            answers = found if isinstance(found, tuple) else (found,)
            losses = [F.cross_entropy(each.float(), labels) for each in answers]
        torch.stack(losses).mean().backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    return run


def pictures_for(opened: Opened, source: Source, count: int) -> Tensor:
    """Pictures of the validation split as a network sees them, evenly spaced over the split."""
    collection = source.open()
    samples = collection.split("val")
    chosen = samples[:: max(1, len(samples) // count)][:count]
    return torch.stack([preprocess(collection.image(sample), opened.door, opened.resolution) for sample in chosen])


# --- plans --------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Plans:
    """How a network is executed.

    Attributes:
        tuned: what was tried for inference, and for training; None where nothing was.
        notes: what has to be known about it, a sentence each.
    """

    inference: InferencePlan
    training: Plan
    tuned: tuple[Tuned | None, Tuned | None] = (None, None)
    notes: tuple[str, ...] = ()


def default_inference_plan(device: str = "auto") -> InferencePlan:
    """float32, as the network stands: what every other plan is judged against."""
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
    """The plans of a network: the default ones, those that were found earlier, or those that are found now.

    Args:
        tuning: "none" takes what the cache has, otherwise the defaults; "eager" tries all but compiling; "full" compiles too.
        use_cache: whether plans are looked up and kept.
        inference: whether a plan for inference is wanted; `training` whether one for training is.
        low: whether training may be below float32.
        source: of the pictures that answers are judged by; the built-in drawings unless told.
    """
    opened, place = steps.opened, device.device
    network: Any = encode(opened.blueprint) if opened.blueprint else opened.name
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
        watch = Others(device.cores)
        tuned = search()
        if watch.disturbed(used := watch.used()):
            notes.append(f"other processes used {used:.1f} cores while its plan for {use} was looked for, so it was not kept")
        elif use_cache:
            keep_plan(key, tuned)
        return tuned

    def keeps_answers(plan: Plan) -> bool:
        if plan == inference_first or check is None:
            return True
        judgement = check(plan)
        if not judgement.passed:
            notes.append(f"the cached plan changes the answers of these weights, so it was not taken: {judgement}")
        return judgement.passed

    inference_first = replace(default_inference_plan(place), batch=batch)
    size = batch or TUNED_BATCH

    def search_inference() -> Tuned:
        candidates = inference_candidates(opened.network, place, batch=batch, fold=steps.fold is not None)

        def make(plan: Plan, count: int) -> Step:
            return steps.infer(plan)(count)

        asked = {"batch": size, "check": check or unjudged, **settings}
        tuned = tune(candidates, make, seconds=INFERENCE_S, **asked)
        if len(threaded := thread_candidates(tuned.plan, device.threads)) > 1:
            tuned = joined(tuned, tune(threaded, make, seconds=THREADS_S, **asked))
        if tuning == "full":
            compiled = (tuned.plan, replace(tuned.plan, compile=True))
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
            compiled = (tuned.plan, replace(tuned.plan, compile=True))
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
        notes.append("its weights are not trained, so that its plan keeps the answers of float32 could not be checked")
    default = default_plan(place) if low else Plan(device=place)
    return Plans(plan, for_training.plan if for_training else default, (for_inference, for_training), tuple(notes))


def training_plan(
    blueprint: Blueprint,
    device: str = "auto",
    batch: int = 16,
    resolution: int | None = None,
    tuning: Tuning = "eager",
    low: bool = True,
    use_cache: bool = True,
    say: Say = lambda text: None,
) -> Plans:
    """The plan for training a network; see `settle`.

    Args:
        batch: images of an update, on one rank and between two steps of the optimizer.
        resolution: side of the image in training, in pixels; the blueprint's unless told.
    """
    here = Device.here(default_plan(device).device)
    sized = replace(blueprint, resolution=resolution or blueprint.resolution)
    network = sized.build("meta" if tuning == "none" else "cpu")
    opened = Opened("this network", network, sized, sized.door, sized.resolution, sized.channels, False)
    steps = Steps(opened, None, here.device, here.threads)
    asked: dict[str, Any] = {"low": low, "training_batch": batch, "use_cache": use_cache, "say": say}
    return settle(steps, here, tuning, inference=False, **asked)


def unjudged(plan: Plan) -> None:
    return None


def lazily_judged(steps: Steps, source: Source, clock: Callable[[], float]) -> Callable[[Plan], Judgement]:
    """A check on as many pictures as can be looked at in a few seconds; opened when it is first used."""
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
    """Two rounds of tuning as one; the second began with the plan that the first had found."""
    tried = (*first.tried, *(each for each in second.tried if each.plan not in [old.plan for old in first.tried]))
    return Tuned(second.plan, tried, first.batch, first.seconds + second.seconds, first.gain * second.gain)


# --- the whole ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class MeasuredModel:
    """One network.

    Attributes:
        cost: counted, of one image.
        stages: counts beside times, at the batch of inference; empty for compiled plans, which have no stages any more.
        trained: whether its weights are.
        notes: what has to be known about the figures, a sentence each.
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
        """The figures on one line, for a CSV file; samples are left out."""
        timing, flat = self.timing, asdict(self.cost)
        del flat["stages"]
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
    """Networks that were timed in turn on one device.

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

    def rows(self) -> list[dict[str, Any]]:
        """A row a network with equal columns."""
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
                    model.name,
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
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        return ["  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]) for row in rows]

    def stage_tables(self) -> list[str]:
        """For each network what its stages are bound by, as lines of text."""
        lines = []
        for model in self.models:
            if model.stages:
                title = f"{model.name}, {model.timing.inference.batch} images of {model.resolution} pixels"
                lines += ["", title, *stage_table(model.stages)]
        return lines


def between(interval: tuple[float, float, float], digits: int) -> str:
    value, low, high = interval
    return f"{value:.{digits}f} [{low:.{digits}f}, {high:.{digits}f}]"


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
        resolution: side of the image in pixels; each network's own unless told.
        batch: images a step, in inference and training; the best is looked for unless told.
        training: whether the training step is timed too.
        tuning: how plans are chosen; see `settle`.
        use_cache: False takes the default plans, without looking for earlier ones.
        rounds: of timing; as many as fit into the time unless told.
        seconds: for each network, without opening, tuning and memory.
        source: of the pictures that plans are judged by; the built-in drawings unless told.
        fold: gives a copy in inference form, such as `paretina.ship.fold.fold`; without it no plan folds.
        say: called with what is being done.
        open_one: how a name becomes a network.

    Raises:
        ValueError: a network does not exist or cannot be run as asked; the message has its name.
    """
    if not names:
        raise ValueError("name at least one network to measure")
    twice = sorted({name for name in names if list(names).count(name) > 1})
    if twice:
        raise ValueError(f"{twice[0]} is named twice; name each network once")
    here = Device.here(default_plan(device).device)
    keep_freed_memory()
    turns = Turns(rounds=rounds, seconds=seconds, wait=here.wait)
    every = [open_one(name, resolution) for name in names]
    counts: dict[str, Cost] = {}
    plans: dict[str, Plans] = {}
    steps: dict[str, Steps] = {}
    for opened in every:
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
            infer=guarded(opened, steps[opened.name].infer(plans[opened.name].inference)),
            train=guarded(opened, steps[opened.name].train(plans[opened.name].training)) if training else None,
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
        others=Others(here.cores),
        counter=counter_of(here.device),
        say=say,
    )
    say("the ceilings of this device")
    ceilings: dict[str, Ceilings] = {}
    models = []
    for opened in every:
        chosen, timing = plans[opened.name], timings[opened.name]
        timing = replace(timing, plan=replace(chosen.inference, batch=timing.inference.batch))
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
                notes=(*chosen.notes, *notes),
            )
        )
    torch.set_num_threads(here.threads)
    return Measured(here, tuple(models), ceilings)


def staged(
    opened: Opened, steps: Steps, plan: InferencePlan, batch: int, ceilings: dict[str, Ceilings], device: Device
) -> tuple[tuple[StageTime, ...], tuple[str, ...]]:
    """The table of stages, and why there is none."""
    if plan.compile:
        return (), ("a compiled network has no stages, so there is no table of them",)
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
    """Where errors are those of one network, so that they say which."""
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
    """Steps whose errors say whose they are; running out of memory stays what it is."""

    def made(batch: int) -> Step:
        with named(opened):
            return make(batch)

    return made
