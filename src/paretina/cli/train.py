"""The command `paretina train`, and what is printed when a run ends."""

import json
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from paretina import system
from paretina.cli.planning import planning_named, planning_options
from paretina.cli.program import (
    INTERRUPTED,
    FailedError,
    FieldCommand,
    command,
    duration,
    main,
    misuse,
    note,
    print_json,
    print_lines,
    taken_apart,
    waiting,
)
from paretina.cli.tracking import follow_option
from paretina.run import OF_FOLDS, OF_PERIODS, OF_STAGES, folds_result
from paretina.text import how_many
from paretina.verbs.checks import misuse as refused


@command(
    main,
    "paretina train photos/ --time-limit 3m\n"
    "paretina train photos/ --model efficientnet_lite0 epochs=10 size=160\n"
    "paretina train cars/ --task detect\n"
    "paretina train photos/ --resume runs/photos-efficientnet_b0-1",
    cls=FieldCommand,
    short_help="Train a classifier on a folder of pictures.",
)
@click.argument("source", metavar="[DATA]", required=False)
@click.argument("fields", metavar="[FIELD=VALUE]...", nargs=-1)
@click.option(
    "--model",
    "-m",
    default=None,
    help="A name from `paretina models`, or auto: network, image size, recipe and length that suit the pictures, this machine "
    "and the time limit.  [auto]",
)
@click.option("--recipe", "-r", default=None, help="A name from `paretina recipes`.  [auto]")
@click.option(
    "--weights",
    metavar="WORD|FILE",
    default=None,
    help="Weights to start from: auto (what is on this machine), hub (timm or torchvision may download them), none, timm:NAME, "
    "torchvision:NAME, or a model file.  [auto; none for the recipe scratch]",
)
@click.option(
    "--task",
    metavar="WORD",
    default=None,
    help="What is learned from a folder: classify (a class for each picture, by folders), segment (a class for each pixel, or "
    "objects, by masks in images/ and masks/) or detect (objects with boxes, by annotations of COCO or Pascal VOC).  [what the "
    "folder looks like]",
)
@click.option("--config", "-c", type=click.Path(path_type=Path), help="YAML or JSON file with fields, by the same names.")
@click.option("--output", "-o", type=click.Path(path_type=Path), help="Run directory; default: the next free one in runs/.")
@click.option("--resume", type=click.Path(path_type=Path), help="Resume an interrupted run with its original settings.")
@click.option("--device", default=None, help="auto, cpu, cuda, cuda:1 or mps.  [auto]")
@click.option("--time-limit", default=None, help="Time for the whole command: 90s, 10m, 2h.  [10m with --model auto]")
@click.option(
    "--progressive",
    metavar="START:END",
    default=None,
    help="Increase image size and regularisation together in stages of equal cost, at a held learning rate: 96:160. Behind it, "
    "each with a colon: number of stages; constant (regularisation), random (sizes), epochs (equally long stages), restarted "
    "or kept (learning rate).",
)
@click.option(
    "--divide",
    type=click.IntRange(2, 100),
    default=None,
    help="Train this many narrow networks together in place of the one, at the same cost; the model averages them.",
)
@click.option(
    "--routes",
    metavar="SIZES",
    default=None,
    help="Image sizes, such as 112,168,224, of which a small network chooses one for each picture; trained in two stages.",
)
@click.option(
    "--budget",
    metavar="COST=LIMIT",
    default=None,
    help="With --routes, what a picture may cost on average: macs=0.6x (of the cost at the largest size) or macs=1.2G; also "
    "activations and bytes_moved.  [macs=0.6x]",
)
@click.option(
    "--folds",
    type=click.IntRange(2, 100),
    default=None,
    help="Cross-validate: divide the pictures into this many parts and train once for each, on all the others.",
)
@click.option(
    "--groups",
    metavar="WORD|PATTERN|FILE",
    default=None,
    help="Pictures that stay on one side of a split: folder (those of one folder inside that of their class), a regular "
    "expression with parentheses around the group's name, or a .csv file with the columns picture and group.",
)
@click.option(
    "--imbalance",
    type=click.Choice(["sampling", "weights", "effective", "logits"]),
    default=None,
    help="Rare classes count as much as large ones: balanced sampling, class weights (inverse frequency, or effective number "
    "of pictures), or logit adjustment.",
)
@click.option("--ignore", multiple=True, metavar="CLASS", help="Leave out the pictures of this class; may be given again.")
@click.option(
    "--relabel", type=click.Path(path_type=Path), help="Correct labels by this file, which `paretina data labels` writes."
)
@click.option("--relabel-val", is_flag=True, help="Correct the labels of validation and test pictures too.")
@click.option(
    "--hierarchy",
    type=click.Path(path_type=Path),
    help="Groups of classes (.csv with class,parent, .json or .yaml): accuracy at each level, and how severe mistakes are.",
)
@click.option(
    "--batch",
    metavar="N|auto",
    default=None,
    help="Pictures an update; auto for as many as fit into memory, with the learning rate scaled.  [as the recipe says]",
)
@click.option(
    "--cache-gb",
    type=click.FloatRange(0),
    default=None,
    help="For pictures that do not fit into memory: decode them once and keep them on the disk, in the user's cache folder, up "
    "to so many gigabytes for all data sets; `paretina data cache` shows and clears it. 0 keeps none.  [0]",
)
@planning_options
@follow_option
@click.option("--print-config", is_flag=True, help="Print every field and where its value came from, without training.")
@click.option(
    "--dry-run", is_flag=True, help="Print what would be done, with an estimate of time and memory, without training."
)
def train(
    source: str | None,
    fields: tuple[str, ...],
    model: str | None,
    recipe: str | None,
    weights: str | None,
    task: str | None,
    config: Path | None,
    output: Path | None,
    resume: Path | None,
    device: str | None,
    time_limit: str | None,
    progressive: str | None,
    divide: int | None,
    routes: str | None,
    budget: str | None,
    folds: int | None,
    groups: str | None,
    imbalance: str | None,
    ignore: tuple[str, ...],
    relabel: Path | None,
    relabel_val: bool,
    hierarchy: Path | None,
    batch: str | None,
    cache_gb: float | None,
    tuning: str,
    plan: str | None,
    log_to: str | None,
    print_config: bool,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Train a classifier on DATA: {data}.

    A folder has DATA/train/CLASS/* and DATA/val/CLASS/*, or DATA/CLASS/*, of which a part is then held out for validation. With
    masks, for a class for each pixel, it has DATA/images/* and DATA/masks/*; with boxes, DATA/annotations.json or
    DATA/Annotations/*.xml.

    Any field of the recipe, plan or network can be given by name: epochs=30 size=160 lr=0.001. --print-config lists all of them
    with their values. lr=0.001 sets the peak learning rate and keeps warm-up and decay; another schedule is given as JSON:
    lr='{"kind": "Constant", "value": 0.001}'.
    """
    if source is not None and "=" in source and not Path(source).exists():
        fields, source = (source, *fields), None
    seconds = None if time_limit is None else duration(time_limit)
    if resume is not None:
        options = {
            "--model": model,
            "--recipe": recipe,
            "--weights": weights,
            "--task": task,
            "--config": config,
            "--output": output,
            "--device": device,
            "--time-limit": time_limit,
            "--progressive": progressive,
            "--divide": divide,
            "--routes": routes,
            "--budget": budget,
            "--folds": folds,
            "--groups": groups,
            "--imbalance": imbalance,
            "--ignore": ignore or None,
            "--relabel": relabel,
            "--relabel-val": relabel_val or None,
            "--hierarchy": hierarchy,
            "--batch": batch,
            "--cache-gb": cache_gb,
            "--tune": None if tuning == "none" else tuning,
            "--plan": plan,
            "--print-config": print_config or None,
            "--dry-run": dry_run or None,
        }
        given = [*(name for name, value in options.items() if value is not None), *fields]
        if given:
            misuse(f"a run is resumed with its original settings; leave out {', '.join(given)}")

        if (resume / OF_FOLDS).exists():
            if source is not None:
                misuse("a cross-validation is continued on the data that it began with; leave out DATA")
            if log_to:
                misuse("--log-to follows one run, and this is a run for each fold; leave it out")
            validated(lambda verbs, progress: verbs.continue_folds(resume, progress.listen, progress.say), resume, as_json)
            return
        if (resume / OF_STAGES).exists():
            finished(
                lambda progress: continued(resume, source, progress, log_to or ()),
                resume,
                as_json,
            )
            return
        if (resume / OF_PERIODS).exists():
            if source is not None:
                misuse("a distillation in periods is continued on the pictures that it began with; leave out DATA")
            finished(lambda progress: periods(resume, progress, log_to or ()), resume, as_json)
            return
        finished(lambda progress: resumed(resume, source, progress, log_to or ()), resume, as_json)
        whole = resume.absolute().parent
        if (whole / OF_FOLDS).exists() and folds_result(whole) is None:
            note(f"this is one fold of the cross-validation {whole}, which is not finished: paretina train --resume {whole}")
        return

    from paretina import verbs

    planning = planning_named(tuning, plan)
    by_name = routed(routes, budget, divide, folds, fields)
    if groups is not None:
        if "data.groups" in by_name or "groups" in by_name:
            misuse("--groups and the field data.groups are both given; leave one out")
        check_groups(source, groups)
        by_name["data.groups"] = groups
    labels = (imbalance, ignore, relabel, relabel_val, hierarchy)
    by_name = verbs.with_batch(cached(cache_gb, by_name), batch)
    named = (source, model, recipe, weights, device, config, by_name, progressive, seconds)
    choice = verbs.ask(*named, *labels, task)
    if batch == "auto":
        choice = verbs.fitted(choice)
    limit = choice.seconds if seconds is None else seconds
    # the limit is for the command, from the start of its process
    seconds = None if limit is None else max(0.0, limit - system.process_seconds())
    if print_config:
        show_config(choice, as_json)
        return
    if dry_run:
        tried(choice, output, seconds, as_json, folds, routes is not None)
        return
    if folds is not None:
        if log_to:
            misuse("--log-to follows one run, and --folds makes one for each fold; leave one out")
        validated(
            lambda verbs, progress: verbs.cross_validate(
                choice, folds, output, seconds, progress.listen, progress.say, planning
            ),
            None,
            as_json,
        )
        return
    begun, then = (choice, output, seconds), (planning, log_to or ())
    begin = verbs.start if routes is None else verbs.train_routed
    finished(lambda progress: begin(*begun, progress.listen, progress.say, *then), None, as_json)


def check_groups(source: str | None, groups: str) -> None:
    """Checks that `--groups` says something, and that it is for this kind of data."""
    from paretina.data.named import source_named
    from paretina.data.sources.several import Several
    from paretina.spec import field_map
    from paretina.verbs.checks import misuse as misused

    if not groups:
        misuse("--groups is empty; give folder, a regular expression with parentheses, or a .csv file; or leave it out")
    if source is None:
        return
    with misused():
        found = source_named(source)
    sets = [each.source for each in found.sets] if isinstance(found, Several) else [found]
    known = set.intersection(*({*field_map(type(each))} for each in sets))
    if "groups" not in known:
        instead = "name the column of groups: data.group=NAME" if "group" in known else "leave it out"
        misuse(f"--groups is for folders with a subfolder for each class, and {source} is none; {instead}")


def routed(
    routes: str | None, budget: str | None, divide: int | None, folds: int | None, fields: tuple[str, ...]
) -> dict[str, str]:
    """The fields by name, with those that `--routes` and `--budget`, or `--divide`, stand for."""
    from paretina.train.routes import check_routes

    if routes is not None:
        for option, value in (("--divide", divide), ("--folds", folds)):
            if value is not None:
                misuse(f"--routes trains one network in two stages; leave it out, or {option}")
    with refused():
        return check_routes(routes, budget, divided(divide, fields))


def divided(count: int | None, fields: tuple[str, ...]) -> dict[str, str]:
    """The fields by name, with those that `--divide` stands for."""
    given = taken_apart(fields)
    if count is None:
        return given
    own = {
        "assembly": json.dumps({"kind": "Divide", "count": count}),
        "objective": "CoTraining",
        "views": json.dumps([{}] * count),
    }
    for name in given:
        if name.removeprefix("recipe.") in own:
            misuse(f"--divide {count} sets {name}, which is also given; leave one out")
    return {**own, **given}


def cached(gigabytes: float | None, given: dict[str, str]) -> dict[str, str]:
    """The fields by name, with the one that `--cache-gb` stands for."""
    if gigabytes is None:
        return given
    for name in given:
        if name.removeprefix("plan.") == "cache_gb":
            misuse(f"--cache-gb {gigabytes:g} sets {name}, which is also given; leave one out")
    return {**given, "cache_gb": f"{gigabytes:g}"}


def show_config(choice: Any, as_json: bool) -> None:
    """Prints every field with its value and where that came from."""
    rows = choice.table()
    if as_json:
        print_json([{"field": path, "value": value, "from": origin} for path, value, origin in rows])
        return
    width = max(len(path) for path, _, _ in rows)
    for path, value, origin in rows:
        print_lines([f"{path:<{width}}  {typed(value)}  ({origin})"])


def typed(value: Any) -> str:
    """A value as it is typed after `field=`."""
    return value if isinstance(value, str) else "none" if value is None else json.dumps(value)


def tried(
    choice: Any,
    output: Path | None,
    seconds: float | None,
    as_json: bool,
    folds: int | None = None,
    routes: bool = False,
    stages: str = "",
) -> None:
    """Times a few updates that are thrown away, and prints what the run would do and take.

    Args:
        routes: whether it would be the first of the two stages of a network that chooses its size.
        stages: a line on other runs that would go before this one.
    """
    from paretina import verbs

    verbs.check_output(output, choice.asked.data)
    if routes:
        with verbs.misuse():
            verbs.check_routed(choice)
        whole = choice.asked.recipe.epochs
        choice, seconds = verbs.first_stage(choice, seconds)
    if folds is not None:
        choice.asked = verbs.fold_of(choice.asked, folds)
        seconds = None if seconds is None else seconds / folds
    with waiting("reading the pictures and timing a few updates"):
        prepared, estimate = verbs.estimate(choice, seconds)
    if not as_json:
        print_lines([f"- {text}" for text in choice.said])
    show_estimate(prepared, estimate, as_json)
    if routes and not as_json:
        click.echo(
            f"stages  2: this is for the first, at all sizes; the second, for the choice, has {how_many(whole, 'epoch')}"
        )
    if stages and not as_json:
        print_lines([stages])
    if folds is not None and not as_json:
        click.echo(f"folds   {folds}: this is for each of {folds} folds")


def validated(start: Callable[[Any, Any], Any], path: Path | None, as_json: bool) -> None:
    """Cross-validates to the end and prints the results; after an interruption, how to resume."""
    from paretina import verbs
    from paretina.progress import Progress
    from paretina.train.ranks import Ranks

    progress = Progress()
    try:
        with progress:
            progress.doing("reading the pictures")
            found = start(verbs, progress)
    except KeyboardInterrupt as stopped:
        raise interrupted(progress.run or path, str(stopped)) from None
    if not Ranks.is_first():
        return
    if as_json:
        print_json(found.to_dict())
        return
    print_lines(found.lines())


def continued(path: Path, source: str | None, progress: Any, log_to: str | tuple[()]) -> Any:
    from paretina import verbs

    return verbs.continue_routed(path, progress.listen, progress.say, log_to, source)


def periods(path: Path, progress: Any, log_to: str | tuple[()]) -> Any:
    from paretina import verbs

    return verbs.continue_blockwise(path, progress.listen, progress.say, log_to)


def resumed(path: Path, source: str | None, progress: Any, log_to: str | tuple[()]) -> Any:
    from paretina import verbs

    return verbs.resume(path, source, progress.listen, progress.say, log_to)


def finished(start: Callable[[Any], Any], path: Path | None, as_json: bool, judge: str = "") -> None:
    """Runs to the end and prints the results; after an interruption, how to resume.

    Args:
        judge: what gave the accuracy, where it is not the network that was trained; `{run}` stands for the directory.
    """
    from paretina.progress import Progress

    progress = Progress()
    try:
        with progress:
            progress.doing("reading the pictures")
            run = start(progress)
    except KeyboardInterrupt as stopped:
        raise interrupted(progress.run or path, str(stopped)) from None
    except Exception as error:
        if progress.run and not getattr(error, "says_how", False):
            error.add_note(f"the log so far is in {progress.run}")
        raise

    from paretina.measure.routes import routes_said
    from paretina.measure.sets import sets_said
    from paretina.report.records import probe_said
    from paretina.train.ranks import Ranks

    if not Ranks.is_first():
        return
    result = run.result() or {}
    if as_json:
        print_json({"run": str(run.path), **result})
        return
    metrics = result["metrics"]
    shown = result.get("shown") or {"key": "top1", "title": "top-1", "unit": "%"}
    value, low, high = (metrics.get(f"val/{shown['key']}{end}") for end in ("", "_low", "_high"))
    digits, unit = (1, f" {shown['unit']}") if shown["unit"] else (3, "")
    text = "unknown" if value is None else f"{rounded(value, digits)}{unit}"
    between = "" if low is None or high is None else f" ({low:.{digits}f} to {high:.{digits}f})"
    balanced = f" balanced {metrics['val/balanced']:.1f} %," if "val/balanced" in metrics else ""
    fits = ""
    if own := result.get("on_train"):
        fits = f"; {rounded(own['value'], digits)}{unit} on {own['pictures']} of its training pictures"
    judged = how_many(result["data"]["val"], "validation picture")
    click.echo(f"{shown['title']} {text}{between},{balanced} on {judged}{fits}")
    if judge and shown["key"] == "top1":
        print_lines([judge.format(run=shlex.quote(str(run.path)))])
    if said := probe_said(run.asked(), result):
        click.echo(said)
    print_lines(sets_said(result.get("sets", {}), shown))
    if "routes" in result:
        print_lines([routes_said(result["routes"])])
    if warning := result["data"].get("copies", {}).get("warning"):
        print_lines([warning])
    print_lines([f"model:  {run.path / 'model.safetensors'} ({result['chosen']})", f"report: {run.path / 'report.html'}"])


def rounded(value: float, digits: int) -> str:
    """A figure with that many digits behind the point, or with two that are not zero where it would be shown as zero."""
    return f"{value:.2g}" if 0 < abs(value) < 0.5 * 10.0**-digits else f"{value:.{digits}f}"


def interrupted(path: Path | str | None, said: str) -> FailedError:
    if path is None:
        return FailedError("interrupted before training began; there is nothing to resume", INTERRUPTED)
    resume = shlex.join(["paretina", "train", "--resume", str(path)])
    said = f"interrupted: {said}" if said else f"interrupted at once: {repeated(Path(path))}"
    return FailedError(f"{said}; resume with\n  {resume}", INTERRUPTED, run=str(path), resume=resume)


def repeated(path: Path) -> str:
    """What a run that was stopped between two checkpoints does again."""
    from paretina.run import Run

    if not (path / "asked.json").exists():  # folds or stages, each with checkpoints of its own
        return "updates since the last checkpoint will be repeated"
    state = Run(path).last_state()
    if state is None:
        return "no checkpoint was saved yet, so it will start over"
    return f"updates since the last checkpoint (update {int(state.name)}) will be repeated"


def show_estimate(prepared: Any, estimate: Any, as_json: bool) -> None:
    from dataclasses import asdict

    from paretina.progress import clock

    described = {
        "notes": list(prepared.notes),
        "damaged": prepared.damaged,
        "train": len(prepared.train),
        "val": len(prepared.val),
        "classes": list(prepared.collection.classes),
        "epochs": prepared.recipe.epochs,
        "resolution": prepared.model.resolution,
        **asdict(estimate),
    }
    if as_json:
        print_json(described)
        return
    for text in prepared.notes:
        print_lines([f"- {text}"])
    for name, reason in prepared.damaged.items():
        print_lines([f"- left out: {name}: {reason}"])
    asked = prepared.asked
    print_lines([f"model   {asked.model_name or 'given blueprint'}, tested at {prepared.model.resolution} pixels"])
    click.echo(
        f"data    {how_many(len(prepared.train), 'picture')} to train on, {len(prepared.val)} to validate on, "
        f"{how_many(len(prepared.collection.classes), 'class')}"
    )
    length = (
        f"{how_many(prepared.recipe.epochs, 'epoch')}, {how_many(estimate.updates, 'update')} of "
        f"{how_many(prepared.epochs.batch, 'picture')}"
    )
    click.echo(
        f"recipe  {asked.recipe_name or 'given recipe'}: {length if estimate.updates else 'the linear probe, no update'}"
    )
    click.echo(f"plan    {asked.plan.device}, {asked.plan.precision}, {asked.plan.memory_format}")
    pace = f"{estimate.update_s:.2f} s per update, " if estimate.updates else ""
    click.echo(f"time    about {clock(estimate.total_s)}: {pace}{estimate.evaluate_s:.1f} s per evaluation")
    click.echo(f"memory  {estimate.peak_mb:,.0f} MB after a few updates")
