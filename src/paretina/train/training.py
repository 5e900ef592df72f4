"""Trains a classifier: from a request to a run directory with a model file."""

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from paretina.data.named import source_named
from paretina.data.source import Source, innermost, with_innermost
from paretina.data.sources.several import Several
from paretina.measure.machine import Others
from paretina.measure.plan import Plan, machine
from paretina.measure.process import process_settings
from paretina.measure.routes import routes_taken
from paretina.model.assemblies.route import Router
from paretina.model.tasks.one_of import OneOf
from paretina.run import Run, command_line, free_folder
from paretina.spec import decode, encode, field_map
from paretina.text import how_many
from paretina.train.accidents import accidents_named
from paretina.train.asked import Asked
from paretina.train.deadline import Deadline
from paretina.train.estimate import fit
from paretina.train.journal import Journal, Listener
from paretina.train.loop import run_updates, tallied
from paretina.train.own_pictures import on_own_pictures
from paretina.train.planning import Planning, found_plan
from paretina.train.probing import probed
from paretina.train.ranks import Ranks
from paretina.train.resolve import LOOKING, Prepared, as_started, make_job, prepare, remembered_of, with_memory_notes
from paretina.train.results import as_saved, save_results

Say = Callable[[str], None]
"""Called with a note, one sentence."""


def planned(prepared: Prepared, planning: Planning, ranks: Ranks) -> Prepared:
    """The prepared run with the plan that rank 0 has chosen."""
    asked = prepared.asked
    found = found_plan(asked, prepared.model, len(prepared.train), planning, ranks.count) if ranks.first else None
    plan, notes = ranks.from_first(found)
    return replace(prepared, asked=replace(asked, plan=plan), notes=(*prepared.notes, *notes))


LEAST_WATCH_S = 1.0
"""Seconds over which the load of the machine is measured; the system's counters are too coarse for less."""


def shared_cores(plan: Plan, others: Others) -> tuple[str, ...]:
    """A warning if other processes use more than half of the cores that the threads of this process need.

    Threads of one process wait for each other after each layer, so one that has lost its core stalls all of them.
    Source: records/waiting-threads.
    """
    used = others.used()
    if plan.device_type != "cpu" or (plan.threads or torch.get_num_threads()) == 1 or used is None or used <= others.cores / 2:
        return ()
    return (
        f"warning: other processes use {used:.1f} of {others.cores} cores; threads that share cores with them can be "
        "many times slower: wait for them, or set threads=1",
    )


@process_settings()
def train(
    asked: Asked,
    output: Path | None = None,
    time_limit: float | None = None,
    listen: Listener = lambda line: None,
    say: Say = lambda text: None,
    save_every: float = 60.0,
    stop_after: int | None = None,
    planning: Planning = "default",
    capped: bool = False,
    said: Sequence[str] = (),
    title: str = "",
) -> Run:
    """Trains a classifier and leaves a run directory with `model.safetensors`, `result.json`, predictions and a report.

    Args:
        output: the run directory; default: the next free one in `runs/`.
        time_limit: seconds for the whole call; the epochs are chosen to fit.
        listen: called with each line of the log.
        say: called with each note.
        save_every: seconds between checkpoints.
        stop_after: number of updates after which to stop early, with a checkpoint saved.
        planning: whether a faster plan than the requested one is searched for; see `paretina.train.planning`.
        capped: whether the epochs of the recipe are the most that are made, however much time there is.
        said: notes from before, which `asked.json` keeps with those from here on.
        title: of the network, for the name of the directory, where it is from a file.

    Raises:
        ValueError: the request cannot be trained; nothing was done.
        FloatingPointError: the loss is not finite.
        AccidentError: a full disk, lost pictures or the like; the last checkpoint is whole, for `resume`.
        KeyboardInterrupt: interrupted; a checkpoint is saved, for `resume`.
    """
    entered = time.monotonic()
    ranks = Ranks.start(asked.plan.device)
    began, others = time.monotonic(), Others()
    prepared = prepare(asked, ranks.count, None if time_limit is None else LOOKING * time_limit)
    if ranks.count == 1 and time.monotonic() - began > LEAST_WATCH_S:
        for warning in shared_cores(asked.plan, others):
            say(warning)
    if planning != "default":
        began = time.monotonic()
        if planning != "known" and ranks.first:
            say("searching for the fastest execution plan")
        prepared = planned(prepared, planning, ranks)
    deadline = None
    if time_limit is not None:
        most = prepared.recipe.epochs if capped else None
        fitted = fit(prepared, max(0.0, time_limit - (time.monotonic() - entered)), ranks.count, capped)
        prepared = replace(fitted.prepared, asked=ranks.from_first(fitted.prepared.asked))
        prepared = replace(prepared, notes=(*prepared.notes, ranks.from_first(fitted.said)))
        if len(prepared.asked.training_sides()) == 1:  # or later updates take longer than earlier ones
            deadline = Deadline(entered + time_limit - fitted.end_s, most)
    prepared = with_memory_notes(prepared)
    path = ranks.from_first(output or free_folder(Path("runs"), run_name(asked, title)) if ranks.first else None)
    if ranks.first:
        run = Run.create(path, description(prepared, said))
    ranks.wait()
    run = Run(path)
    with run.held() if ranks.first else nullcontext(), failure_logged(run, ranks), accidents_named(run):
        return finish(prepared, run, ranks, listen, say, save_every, stop_after, deadline)


@process_settings()
def resume(
    path: Path,
    data: str | None = None,
    listen: Listener = lambda line: None,
    say: Say = lambda text: None,
    save_every: float = 60.0,
    stop_after: int | None = None,
) -> Run:
    """Resumes an interrupted run with its original settings; the result is the same as without the interruption.

    Args:
        data: the current location of the data, if it was moved; the pictures must be the same.

    Raises:
        ValueError: there is no such run, its data has changed, or another process is working on it.
    """
    saved = Run.open(path).asked()
    asked = as_started(decode(Asked, saved["asked"]), saved)
    if data is not None:
        asked = replace(asked, data=moved_to(asked.data, source_named(data)))
    ranks = Ranks.start(asked.plan.device)
    with Run(path).held() if ranks.first else nullcontext():
        run = Run.open(path)  # no other process writes to it from here on
        if run.result() is not None:
            say(f"{path} is finished already")
            return run
        prepared = with_memory_notes(prepare(asked, ranks.count))
        if prepared.digest() != saved.get("samples"):
            raise ValueError(
                f"the pictures are not those that {path} was trained on; {changed_since(prepared, saved)}: restore them, or "
                "start a new run"
            )
        say(run.point())
        with failure_logged(run, ranks), accidents_named(run):
            return finish(prepared, run, ranks, listen, say, save_every, stop_after)


def changed_since(prepared: Prepared, saved: Mapping[str, Any]) -> str:
    """What is known of a change of the pictures since a run was started."""
    before, now = saved.get("pictures"), pictures_counted(prepared)
    if not isinstance(before, dict) or before == now:
        return "as many as there were have other names, labels or places"
    parts = [
        f"{name} had {int(before.get(name, 0)):,} and has {now.get(name, 0):,}"
        for name in dict.fromkeys([*before, *now])
        if before.get(name, 0) != now.get(name, 0)
    ]
    return ", ".join(parts[:5]) + (f" and {len(parts) - 5} more" if len(parts) > 5 else "")


def pictures_counted(prepared: Prepared) -> dict[str, int]:
    """The pictures of each split, and of each class where a picture has one."""
    found = {f"the split {name}": len(prepared.collection.split(name)) for name in ("train", "val")}
    if prepared.collection.task == OneOf():
        counts = Counter(sample.label for name in ("train", "val") for sample in prepared.collection.split(name))
        found |= {f"the class {name}": counts[number] for number, name in enumerate(prepared.collection.classes)}
    return found


@contextmanager
def failure_logged(run: Run, ranks: Ranks) -> Iterator[None]:
    """Logs the error that ends a run; an interruption is none."""
    try:
        yield
    except Exception as error:
        if ranks.first:
            step = max((line["step"] for line in run.lines() if isinstance(line.get("step"), int)), default=0)
            with suppress(OSError):  # such as a full disk, which may be why it failed
                run.log("failed", step, message=f"{type(error).__name__}: {error}")
        raise


def moved_to(old: Source, place: Source) -> Source:
    """A source with another path and the same settings."""
    inner = innermost(old)
    if inner is not old:
        return with_innermost(old, moved_to(inner, place))
    if type(place) is type(old) and "path" in field_map(type(place)):
        return replace(old, path=getattr(place, "path", ""))  # type: ignore[call-arg]
    return place


def run_name(asked: Asked, title: str = "") -> str:
    """The name of a run: data and network.

    Args:
        title: of the network, where it is from a file.
    """
    return f"{data_word(asked.data)}-{asked.model_name or title or 'model'}"


def data_word(source: Source) -> str:
    """The name of data: the last part of its path, or the kind of what has none; where it is made from others, theirs."""
    path = getattr(source, "path", None)
    if path is not None:
        return Path(path).expanduser().absolute().name.rpartition(":")[2]  # of hf:NAME, the name
    inner = next(
        (each for each in (getattr(source, name, None) for name in ("source", "val", "train")) if each is not None), None
    )
    if isinstance(source, Several) and source.judged == "all":
        return source.title()
    sets: Sequence[Any] = getattr(source, "sets", ())
    if isinstance(inner, Source) or sets:
        return data_word(inner if isinstance(inner, Source) else sets[0].source)
    return type(source).__name__.lower()


def description(prepared: Prepared, said: Sequence[str] = ()) -> dict[str, Any]:
    """The content of `asked.json`."""
    asked = prepared.asked
    start = prepared.start
    return {
        "verb": asked.verb,
        "command": command_line(),
        "model": encode(prepared.model),
        "model_name": asked.model_name,
        "recipe_name": asked.recipe_name,
        "edits": [encode(edit) for edit in asked.edits],
        "data": encode(asked.data),
        "recipe": encode(asked.recipe),
        "plan": encode(asked.plan),
        "start": None if start is None else {"weights": start.said, "licence": start.licence, "origin": start.origin},
        "environment": {"paretina": version(), **machine(), "device": asked.plan.device},
        "asked": encode(asked),
        "samples": prepared.digest(),
        "pictures": pictures_counted(prepared),
        "notes": [*said, *prepared.notes],
    }


def version() -> str:
    from importlib.metadata import version as installed

    return installed("paretina")


def finish(
    prepared: Prepared,
    run: Run,
    ranks: Ranks,
    listen: Listener,
    say: Say,
    save_every: float,
    stop_after: int | None,
    deadline: Deadline | None = None,
) -> Run:
    """Trains to the end, evaluates, saves."""
    if ranks.first:
        listen({"event": "start", "step": 0, "run": str(run.path)})
    plan = prepared.asked.plan
    with plan.threaded():
        found, remembered = None, remembered_of(prepared, ranks)
        if prepared.probe_size is not None and run.last_state() is None:  # a state has the head, as it was trained since
            if ranks.first:
                say(f"fits a linear probe to {how_many(len(prepared.train), 'picture')} at {prepared.probe_size} pixels")
            found = probed(prepared, ranks, remembered)
        job = make_job(prepared, ranks, found.probe.give) if found else make_job(prepared, ranks)
        job = replace(job, save_every=save_every, updates=stop_after, remembered=remembered, deadline=deadline)
        most, count = prepared.recipe.max_damaged, len(prepared.train) + len(prepared.val)
        journal = Journal(run, ranks, job.plan.device, listen, say=say, pictures=count, most=most)
        damaged = [f"left out, because it cannot be read: {name}: {reason}" for name, reason in prepared.damaged.items()]
        for note in (*prepared.notes, *damaged):
            if run.attempt == 0:
                journal.note(0, note)
        if found:
            journal.left_out(0, found.faults)
            if not found.open:
                journal.tell("probe", 0, probe=found.figures)
        kept = run_updates(job, prepared.recipe, run, journal)
        if slow := journal.loading(job.plan, prepared.train.kept, ranks.locals):
            journal.note(kept.epochs.updates, slow)
    kept = replace(kept, network=as_saved(kept.network))
    # as in `paretina evaluate`, so that both give the same figures for any training plan
    job.evaluation.plan = Plan(device=job.plan.device)
    job.evaluation.plan.place(kept.network)
    workers = job.plan.worker_count(ranks.locals, kept=prepared.val.kept)
    tally = tallied(job, kept.network, workers)
    own = on_own_pictures(job, prepared, kept.network, workers)
    if found and found.open:
        journal.tell("probe", 0, probe=found.completed(tally).figures)
    if kept.judged:
        journal.val(kept.epochs.updates, kept.epochs.clock(kept.epochs.updates).epoch, kept.judged, tally)
    journal.left_out(kept.epochs.updates, job.evaluation.faults, job.evaluation.changed)
    for faults, changed in ranks.every(([*journal.faults], [f"{path}: {what}" for path, what in journal.changed.items()])):
        journal.left_out(kept.epochs.updates, faults, changed)
    taken = None
    if isinstance(kept.network, Router):
        counts = ranks.every(job.evaluation.taken(len(kept.network.sizes)))
        taken = routes_taken(kept.network, [sum(column) for column in zip(*counts, strict=True)])
    if ranks.first:
        save_results(prepared, run, journal, kept, tally, own, taken)
        run.drop_states()
    ranks.wait()
    return run
