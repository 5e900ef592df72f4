"""Trains, fine-tunes and resumes runs, and estimates their time and memory."""

import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from paretina import report as pages
from paretina.data.named import may_be_there, source_named
from paretina.data.pictures import pictures_kept
from paretina.data.source import Source
from paretina.data.sources.part import Part
from paretina.measure.plan import default_plan
from paretina.model.blueprint import Model
from paretina.report.following import followed, unfinished
from paretina.report.tracker import Tracker, trackers_named
from paretina.run import Run
from paretina.search.auto import TIME_S, piloted, probe_alone, without_pilot
from paretina.spec import specs_within
from paretina.train import feasible, resolve, training
from paretina.train.asked import Choice
from paretina.train.estimate import Estimate, ShortTimeError, fit_to_time, rehearse
from paretina.train.fields import AUTO, read_config
from paretina.train.finetuning import go_on, learned
from paretina.train.journal import Listener
from paretina.train.planning import CHOSEN, Planning, with_safe_precision
from paretina.train.progressive import Progressive
from paretina.train.ranks import Ranks
from paretina.train.recipe import Recipe
from paretina.train.remembered import maps_kept
from paretina.train.resolve import prepare, with_memory_notes
from paretina.train.routes import check_routes
from paretina.train.training import Say
from paretina.verbs.asking import ask, check_names, check_parts
from paretina.verbs.batching import fitted, with_batch
from paretina.verbs.checks import MisuseError, check_place, misuse, model_file, restarted
from paretina.verbs.reporting import LogTo as LogTo
from paretina.verbs.reporting import found_trackers


def usable(words: Sequence[str], say: Say) -> tuple[Tracker, ...]:
    """Those of some trackers that can be used here; a note for each of the others."""
    found: list[Tracker] = []
    for word in words:
        try:
            found += trackers_named(word)
        except ValueError as error:
            say(f"the run goes on without {word}: {error}")
    return tuple(found)


def check_output(output: Path | None, data: Source, inside: Sequence[str] = ()) -> None:
    """Checks that a run may be written there, before any long computation.

    Args:
        inside: names of what may be in the directory already.

    Raises:
        MisuseError: something else is there already, or it lies inside the data, where nothing is ever written.
    """
    paths = [getattr(each, "path", None) for each in specs_within(data) if isinstance(each, Source)]
    folders = [path for path in paths if path and Path(path).expanduser().is_dir()]
    for folder in folders or [None]:
        check_place(output, folder, inside)


def train(
    data: str | Source | None = None,
    model: str | Model | None = None,
    recipe: str | Recipe | None = None,
    weights: str | None = None,
    device: str | None = None,
    output: Path | str | None = None,
    config: Path | str | None = None,
    time_limit: float | None = None,
    progressive: str | Progressive | None = None,
    planning: Planning = "known",
    listen: Listener = lambda line: None,
    say: Say = lambda text: None,
    imbalance: str | None = None,
    ignore: Sequence[str] = (),
    relabel: Path | str | None = None,
    relabel_val: bool = False,
    hierarchy: Path | str | None = None,
    log_to: LogTo = (),
    routes: str | None = None,
    budget: str | None = None,
    task: str | None = None,
    batch: int | str | None = None,
    **fields: Any,
) -> Run:
    """Trains a classifier and leaves a run directory with the model file and a report.

    See `paretina.train.training.train` for the other files and the errors, and `ask` for the defaults.

    Args:
        data: a folder, a table, an .npz file, tar shards, "hf:NAME", "torchvision:NAME", "clipart", "shapes", or a source; all
            forms are in docs/data.md.
        output: the run directory; default: the next free one in runs/.
        time_limit: seconds for the whole call; the epochs are chosen to fit.
        progressive: first and last image size, "96:160"; see `ask`.
        planning: how the plan of execution is chosen: "default"; "known", from an earlier search; "eager" and "full" search.
            See `paretina.train.planning`.
        listen: called with each line of the log.
        say: called with each note.
        imbalance, ignore, relabel, relabel_val, hierarchy: rare classes, classes to leave out, corrected labels and groups of
            classes; see `ask`.
        log_to: trackers that are told the log too: "tensorboard,mlflow,wandb"; see `paretina.report.tracker`.
        routes: image sizes in pixels, "112,168,224", of which a small network chooses one for each picture; trained in two
            stages, see `paretina.verbs.routing`.
        budget: what a picture may cost on average with `routes`: "macs=0.6x", a share of the cost at the largest size, or
            "macs=1.2G"; default: "macs=0.6x".
        task: "classify", "segment" or "detect", what is learned from a folder; see `ask`.
        batch: pictures an update; "auto" for as many as fit into memory, with the learning rate scaled. Default: as the recipe
            says.
        fields: any field of the recipe, plan or network by name: `epochs=30`, `size=160`; dots are written as two underscores.
    """
    began = time.monotonic()
    named = {name.replace("__", "."): value for name, value in fields.items()}
    labels = (imbalance, ignore, relabel, relabel_val, hierarchy)
    with misuse():
        named = check_routes(routes, budget, named)
    choice = ask(data, model, recipe, weights, device, config, with_batch(named, batch), progressive, time_limit, *labels, task)
    if batch == "auto":
        choice = fitted(choice)
    limit = choice.seconds if time_limit is None else time_limit
    if routes is not None:
        from paretina.verbs.routing import train_routed  # which needs this module

        return train_routed(choice, output, left(limit, began), listen, say, planning, log_to)
    return start(choice, output, left(limit, began), listen, say, planning, log_to)


def left(time_limit: float | None, began: float) -> float | None:
    """What is left of a time limit in seconds; None if there is none.

    Args:
        began: when it began, by `time.monotonic`.
    """
    return None if time_limit is None else max(0.0, time_limit - (time.monotonic() - began))


def ask_further(
    model: Path | str,
    data: str | Source | None = None,
    resolution: int | None = None,
    recipe: str | Recipe | None = None,
    device: str | None = None,
    config: Path | str | None = None,
    fields: Mapping[str, Any] | None = None,
    labels: float | None = None,
) -> tuple[Choice, tuple[str, ...]]:
    """Builds the request for fine-tuning a trained network; see `paretina.train.finetuning.go_on`.

    Args:
        labels: share of the training pictures of each class that is used; default: all.

    Returns:
        The choice, and notes for the user, one sentence each.

    Raises:
        MisuseError: a name is unknown, or neither data nor resolution nor recipe is given.
    """
    if labels is not None and not 0 < labels <= 1:
        raise MisuseError(f"labels is a share of the training pictures, above 0 and at most 1, got {labels:g}")
    path = model_file(model)
    place = Path(model) if Path(model).is_dir() else path
    changes = dict(fields or {})
    check_names(changes)
    check_parts({"DATA": data, "--device": device, "--recipe": recipe, "--resolution": resolution}, changes)
    if config is not None:
        with misuse(str(config)):
            check_names(read_config(Path(config)))
    with misuse():
        plan = default_plan(device or "auto")
        choice, notes = go_on(place, plan, data, resolution, recipe, None if config is None else Path(config), changes)
        if labels is not None and labels < 1:
            choice.asked = replace(choice.asked, data=Part(source=choice.asked.data, share=labels))
        choice.asked = with_safe_precision(choice)
        return choice, notes


def finetune(
    model: Path | str,
    data: str | Source | None = None,
    resolution: int | None = None,
    recipe: str | Recipe | None = None,
    device: str | None = None,
    output: Path | str | None = None,
    config: Path | str | None = None,
    time_limit: float | None = None,
    planning: Planning = "known",
    listen: Listener = lambda line: None,
    say: Say = lambda text: None,
    labels: float | None = None,
    log_to: LogTo = (),
    **fields: Any,
) -> Run:
    """Fine-tunes a trained network at another image size or on other data, as a new run.

    Args:
        model: a model file, or the directory of a finished run.
        data: data to train on; default: that of the run.
        resolution: image size in pixels for training and testing.
        labels: share of the training pictures of each class that is used, in (0, 1]; default: all.
        log_to: trackers that are told the log too; see `train`.
        fields: any field of the recipe, plan or network by name, such as `trainable_stages=1`; see `train`.
    """
    named = {name.replace("__", "."): value for name, value in fields.items()}
    choice, notes = ask_further(model, data, resolution, recipe, device, config, named, labels)
    for text in notes:
        say(text)
    return start(choice, output, time_limit, listen, say, planning, log_to)


def start(
    choice: Choice,
    output: Path | str | None = None,
    time_limit: float | None = None,
    listen: Listener = lambda line: None,
    say: Say = lambda text: None,
    planning: Planning = "known",
    log_to: LogTo = (),
    inside: Sequence[str] = (),
) -> Run:
    """Runs the training that `ask` has put together; see `train`.

    Args:
        inside: names of what may be in the run directory already.

    Raises:
        MisuseError: a search for a plan is requested, but a field that it would choose is given; or the request cannot be
            trained on any data; or a tracker cannot be used.
    """
    told_to = found_trackers(log_to)
    place = None if output is None else Path(output)
    given = [path for path in (f"plan.{name}" for name in CHOSEN) if choice.origins.get(path, "default") != "default"]
    if given and planning in ("eager", "full"):
        raise MisuseError(f"--tune chooses {given[0]}, which is also given; leave one out")
    # the first process decides, since it may write the file before the others look
    if restarted() and place and Ranks.start(choice.asked.plan.device).from_first((place / "asked.json").exists()):
        say("torchrun has started the processes again, so the run continues from its last checkpoint")
        return resume(place, None, listen, say, log_to)
    if Ranks.is_first():
        check_output(place, choice.asked.data, inside)
        if place is None and os.environ.get("TORCHELASTIC_MAX_RESTARTS", "0") != "0":
            say("without --output, a restart by torchrun cannot find this run, and begins anew")
    with misuse():
        feasible.check_asked(choice.asked)
    planning = "default" if given else planning
    began = time.monotonic()
    told: list[str] = []

    def tell(text: str) -> None:
        told.append(text)
        say(text)

    for text in choice.said if Ranks.is_first() else ():
        tell(text)
    time_limit = whole = choice.seconds if time_limit is None else time_limit
    if choice.origin("recipe.epochs") == AUTO and not choice.asked.recipe.epochs:
        time_limit = None  # it has made this choice
    with pictures_kept(), maps_kept(), followed(told_to, listen, say) as listen:
        ranks = Ranks.start(choice.asked.plan.device)
        if choice.pilot and ranks.count > 1:
            choice.asked = without_pilot(choice.asked, tell if ranks.first else lambda text: None)
        elif choice.pilot:
            choice.asked = piloted(choice, TIME_S if time_limit is None else time_limit, tell)
            time_limit = left(time_limit, began) if choice.asked.recipe.epochs else None
        try:
            most = capped(choice)
            run = reported(
                training.train(
                    choice.asked,
                    place,
                    time_limit,
                    listen,
                    say,
                    planning=planning,
                    capped=most,
                    said=told,
                    title=choice.title,
                )
            )
            if time_limit is not None and ranks.first:
                for text in over_limit(time.monotonic() - began, whole):
                    say(text)
            return run
        except ShortTimeError as error:
            # processes that time updates each for itself need not agree that it is short
            if ranks.count > 1 or not choice.said or choice.asked.recipe.start.head != "probe":
                raise
            tell(f"{error}; so the linear probe is the result")
            return reported(training.train(probe_alone(choice.asked), place, None, listen, say, planning=planning, said=told))


OVER = 0.1
"""Share of a time limit by which a run may exceed it without a word."""


def over_limit(took: float, limit: float | None) -> tuple[str, ...]:
    """A note where a run took clearly longer than its limit."""
    if limit is None or took <= limit * (1 + OVER) + 2:
        return ()
    return (
        f"this took {took:.0f} s, and {limit:.0f} s were allowed: what runs before and behind the updates took longer than "
        "expected, as on a busy machine",
    )


def capped(choice: Choice) -> bool:
    """Whether the epochs were chosen or given by hand, and not just those of the recipe, so that a time limit adds none."""
    return "recipe.epochs" in choice.origins


def resume(
    run: Path | str,
    data: str | None = None,
    listen: Listener = lambda line: None,
    say: Say = lambda text: None,
    log_to: LogTo = (),
) -> Run:
    """Resumes an interrupted run; see `paretina.train.training.resume`.

    Args:
        data: the current location of the data, if it was moved.
        log_to: trackers that are told the log too; default: those that the run was logged to before.

    Raises:
        MisuseError: there is no such run, its data is not there, a tracker cannot be used, or it is finished and was trained on
            other data.
    """
    run = Path(run)
    with misuse():
        told_to = found_trackers(log_to)
        saved = Run.open(run)
        asked = saved.asked()
        named = None if data is None else source_named(data)
    stored = asked.get("data") or {}
    while isinstance(stored.get("source"), dict):
        stored = stored["source"]
    place = stored.get("path")
    gone = isinstance(place, str) and not may_be_there(place)
    if named is not None and saved.result() is not None and not gone:
        same = learned(run, named)
        if same.data is None or same.inside or same.split != "val":
            raise MisuseError(
                f"{run} is finished and was trained on other data than {data}, so there is nothing to resume; "
                f"to train on {data} too: paretina finetune {run} {data}"
            )
    if data is None and saved.result() is None and gone:
        raise MisuseError(
            f"the data of {run}, {place!r}, is not there; give its current location: paretina train DATA --resume {run}"
        )
    if not log_to and saved.result() is None:
        told_to = usable(unfinished(run), say)
    with followed(told_to, listen, say) as listen:
        return reported(training.resume(run, data, listen, say))


def reported(run: Run) -> Run:
    """The run, with its report."""
    if Ranks.is_first():
        pages.write_report(run.path)
    return run


def estimate(choice: Choice, time_limit: float | None = None) -> tuple[resolve.Prepared, Estimate]:
    """Prepares a run and estimates its time and memory, from a few updates that are made and thrown away."""
    with misuse():
        feasible.check_asked(choice.asked)
    prepared = prepare(choice.asked)
    if time_limit is not None:
        prepared, said = fit_to_time(prepared, time_limit, capped=capped(choice))
        prepared = replace(prepared, notes=(*prepared.notes, said))
    prepared = with_memory_notes(prepared)
    return prepared, rehearse(prepared)
