"""The command line: a thin layer over `paretina.verbs`.

Heavy modules are imported inside the commands, so `--help` answers at once. Exit codes: 0 done, 1 failed, 2 misuse (a word that
means nothing here, so nothing was done), 3 a gate was not met, 130 interrupted. With `--json` a command prints one JSON
document to standard output, which is `{"error": ...}` if it fails; progress, remarks and errors go to standard error.
"""

import json
import re
import shlex
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from difflib import get_close_matches
from pathlib import Path
from typing import Any, NoReturn

import click

from paretina.cli.planning import TuneCommand, planning_named, planning_options
from paretina.measure.process import let_threads_sleep

Decorator = Callable[[Callable[..., Any]], click.Command]

CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 110}

INTERRUPTED = 130
"""Exit code after Ctrl-C, as shells have it."""


# --- errors ---------------------------------------------------------------------------------------------------------------


class FailedError(Exception):
    """Ends a command.

    Attributes:
        code: the exit code.
        more: what else belongs into the JSON document.
    """

    def __init__(self, message: str, code: int = 1, **more: Any) -> None:
        super().__init__(message)
        self.code = code
        self.more = more


def outcome(error: BaseException) -> FailedError | None:
    """What an error means to the person at the keyboard; None if it is a fault of this program."""
    if isinstance(error, FailedError):
        return error
    if isinstance(error, click.UsageError):
        hint = f"\ntry: {error.ctx.command_path} --help" if error.ctx else ""
        return FailedError(f"{error.format_message()}{hint}", 2)
    if isinstance(error, click.ClickException):
        return FailedError(error.format_message(), error.exit_code)
    if isinstance(error, KeyboardInterrupt | click.Abort):
        return FailedError("interrupted", INTERRUPTED)
    text = "\n".join([str(error), *getattr(error, "__notes__", ())])
    if isinstance(error, MemoryError) or is_out_of_memory(error):
        return FailedError(f"out of memory; lower batch_size or size, or raise accumulate ({text.strip() or 'no details'})")
    if isinstance(error, OSError) and error.strerror:
        where = f": {error.filename}" if error.filename is not None else ""
        return FailedError(f"{error.strerror}{where}")
    if isinstance(error, ValueError | FloatingPointError | OSError):
        return FailedError(text, getattr(error, "exit_code", 1))
    return None


def is_out_of_memory(error: BaseException) -> bool:
    return isinstance(error, RuntimeError) and bool(re.search("out of memory|can't allocate memory", str(error)))


class Suggesting(click.Group):
    """Names the near command for a misspelt one."""

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        if args and self.get_command(ctx, args[0]) is None and not args[0].startswith("-"):
            known = self.list_commands(ctx)
            close = get_close_matches(args[0], known, n=1)
            hint = f"did you mean {close[0]!r}?" if close else f"there are: {', '.join(known)}"
            raise click.UsageError(f"there is no command {args[0]!r}; {hint}", ctx)
        return super().resolve_command(ctx, args)


class Program(Suggesting):
    """The program: every error becomes one sentence, an exit code and, if asked for, a JSON document."""

    def main(self, args: Sequence[str] | None = None, *rest: Any, standalone_mode: bool = True, **extra: Any) -> Any:
        if not standalone_mode:
            return super().main(args, *rest, standalone_mode=False, **extra)  # type: ignore[call-overload]
        given = list(sys.argv[1:] if args is None else args)
        try:
            code = super().main(given, *rest, standalone_mode=False, **extra)  # type: ignore[call-overload]
        except getattr(click.exceptions, "NoArgsIsHelpError", ()) as error:  # its text is the help
            error.show()
            sys.exit(2)
        except (Exception, KeyboardInterrupt) as error:
            found = outcome(error)
            if "--json" in given:
                print_json({"error": str(found), **found.more} if found else {"error": f"{type(error).__name__}: {error}"})
            if found is None:
                raise
            click.echo(f"error: {found}", err=True)
            sys.exit(found.code)
        sys.exit(code if isinstance(code, int) else 0)


class FieldCommand(TuneCommand):
    """Explains `--epochs 30` as `epochs=30`, since fields are not options."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        try:
            return super().parse_args(ctx, args)
        except click.NoSuchOption as error:
            from paretina.verbs import ELSEWHERE, known_path

            name = error.option_name.lstrip("-").replace("-", "_")
            try:
                known_path(name)
            except ValueError as reason:
                if error.possibilities and name not in ELSEWHERE:
                    raise error from None
                raise click.UsageError(f"{error.option_name} is no option, and {reason}", ctx) from None
            raise click.UsageError(f"{error.option_name} is no option; write it as a field: {name}=VALUE", ctx) from None


def example(text: str) -> str:
    return "\b\nExample:\n  " + text.replace("\n", "\n  ")


def command(group: click.Group, usage: str, cls: type[click.Command] = click.Command, **settings: Any) -> Decorator:
    """A command with `--json` and an example under its help."""

    def wrap(function: Callable[..., Any]) -> click.Command:
        made = group.command(cls=cls, epilog=example(usage), context_settings=CONTEXT, **settings)(function)
        made.params.append(click.Option(["--json", "as_json"], is_flag=True, help="Print one JSON document."))
        return made

    return wrap


def misuse(message: str) -> NoReturn:
    raise click.UsageError(message, click.get_current_context(silent=True))


def print_json(value: Any) -> None:
    click.echo(json.dumps(value, indent=2))


def note(text: str) -> None:
    click.echo(f"note: {text}", err=True)


@contextmanager
def waiting(text: str) -> Iterator[None]:
    """Says on a terminal what takes a while."""
    from paretina.progress import Progress

    with Progress() as progress:
        progress.doing(text)
        yield


# --- the program ------------------------------------------------------------------------------------------------------------


@click.group(
    cls=Program,
    context_settings=CONTEXT,
    epilog=example("paretina data check photos/\nparetina train photos/ --model efficientnet_lite0 --weights auto"),
)
@click.version_option(package_name="paretina")
def main() -> None:
    """Image classifiers that are as accurate as they can be for what they cost."""
    let_threads_sleep()


# --- data -----------------------------------------------------------------------------------------------------------------


@main.group(cls=Suggesting, context_settings=CONTEXT, epilog=example("paretina data check photos/"))
def data() -> None:
    """Look at a folder of pictures."""


@command(data, "paretina data check photos/", name="check", short_help="Classes, counts, sizes, faults, duplicates.")
@click.argument("source", metavar="DATA")
def data_check(source: str, as_json: bool) -> None:
    """Classes, counts, sizes, faults, and duplicates between splits; DATA is a folder, an .npz file, clipart or shapes."""
    from paretina import verbs

    with waiting("looking at every picture"):
        report = verbs.data_check(source)
    if as_json:
        print_json(report.to_dict())
    else:
        click.echo("\n".join(report.lines()))


# --- train ----------------------------------------------------------------------------------------------------------------


@command(
    main,
    "paretina train photos/ --model efficientnet_lite0 --weights auto epochs=10 size=160\n"
    "paretina train photos/ --resume runs/photos-efficientnet_b0-1",
    cls=FieldCommand,
    short_help="Train a classifier on a folder of pictures.",
)
@click.argument("source", metavar="[DATA]", required=False)
@click.argument("fields", metavar="[FIELD=VALUE]...", nargs=-1)
@click.option("--model", "-m", default=None, help="A name from `paretina models`; efficientnet_b0 unless told.")
@click.option("--recipe", "-r", default=None, help="A name from `paretina recipes`; chosen by --weights unless told.")
@click.option("--weights", default=None, help="Weights to start from: auto, none, or a model file.  [none]")
@click.option("--config", "-c", type=click.Path(path_type=Path), help="YAML or JSON file of fields, by the same names.")
@click.option(
    "--output", "-o", type=click.Path(path_type=Path), help="The run directory; the next free one in runs/ unless told."
)
@click.option("--resume", type=click.Path(path_type=Path), help="Go on with an interrupted run, as it was asked for.")
@click.option("--device", default=None, help="auto, cpu, cuda, cuda:1 or mps.  [auto]")
@click.option("--time-limit", default=None, help="Fit the schedule into this time: 90s, 10m, 2h.")
@click.option(
    "--progressive", metavar="START:END", default=None, help="Image size and regularisation rise together in stages: 96:160."
)
@planning_options
@click.option("--print-config", is_flag=True, help="Print every field and where its value came from, and stop.")
@click.option("--dry-run", is_flag=True, help="Say what would be done, with an estimate of time and memory, and stop.")
def train(
    source: str | None,
    fields: tuple[str, ...],
    model: str | None,
    recipe: str | None,
    weights: str | None,
    config: Path | None,
    output: Path | None,
    resume: Path | None,
    device: str | None,
    time_limit: str | None,
    progressive: str | None,
    tuning: str,
    plan: str | None,
    print_config: bool,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Train a classifier on DATA: a folder, an .npz file, clipart or shapes.

    A folder is DATA/train/CLASS/* and DATA/val/CLASS/*, or DATA/CLASS/*, of which a part is then held out.

    Any field of the recipe, plan or network can be given by name: epochs=30 size=160 optimizer.rate=0.001. All of them, with
    their values: --print-config.
    """
    if source is not None and "=" in source and not Path(source).exists():
        fields, source = (source, *fields), None
    seconds = None if time_limit is None else duration(time_limit)
    if resume is not None:
        options = {
            "--model": model,
            "--recipe": recipe,
            "--weights": weights,
            "--config": config,
            "--output": output,
            "--device": device,
            "--time-limit": time_limit,
            "--progressive": progressive,
            "--tune": None if tuning == "none" else tuning,
            "--plan": plan,
            "--print-config": print_config or None,
            "--dry-run": dry_run or None,
        }
        given = [*(name for name, value in options.items() if value is not None), *fields]
        if given:
            misuse(f"a resumed run goes on as it was asked for; leave out {', '.join(given)}")

        finished(lambda progress: resumed(resume, source, progress), resume, as_json)
        return

    from paretina import verbs

    planning = planning_named(tuning, plan)
    choice = verbs.ask(source, model, recipe, weights, device, config, taken_apart(fields), progressive)
    if print_config:
        rows = choice.table()
        if as_json:
            print_json([{"field": path, "value": value, "from": origin} for path, value, origin in rows])
        else:
            width = max(len(path) for path, _, _ in rows)
            for path, value, origin in rows:
                click.echo(f"{path:<{width}}  {value}  ({origin})")
        return
    if dry_run:
        verbs.check_output(output, choice.asked.data)
        with waiting("reading the pictures and trying a few updates"):
            prepared, estimate = verbs.estimate(choice, seconds)
        show_estimate(prepared, estimate, as_json)
        return
    finished(lambda progress: verbs.start(choice, output, seconds, progress.listen, progress.say, planning), None, as_json)


def resumed(path: Path, source: str | None, progress: Any) -> Any:
    from paretina import verbs

    return verbs.resume(path, source, progress.listen, progress.say)


def taken_apart(fields: Sequence[str]) -> dict[str, str]:
    from paretina.train.asked import assignment

    found: dict[str, str] = {}
    for text in fields:
        try:
            name, value = assignment(text)
        except ValueError as error:
            misuse(f"{error}; fields look like epochs=30, and options come with two dashes")
        if name in found:
            misuse(f"{name} is given twice, as {found[name]} and as {value}; leave one out")
        found[name] = value
    return found


def finished(start: Callable[[Any], Any], path: Path | None, as_json: bool) -> None:
    """Runs to the end and says what came out; after an interruption, how to go on."""
    from paretina.progress import Progress

    progress = Progress()
    try:
        with progress:
            progress.doing("reading the pictures")
            run = start(progress)
    except KeyboardInterrupt as stopped:
        raise interrupted(progress.run or path, str(stopped)) from None
    except Exception as error:
        if progress.run:
            error.add_note(f"what happened so far is in {progress.run}")
        raise

    from paretina.train.ranks import Ranks

    if not Ranks.is_first():
        return
    result = run.result() or {}
    if as_json:
        print_json({"run": str(run.path), **result})
        return
    metrics = result["metrics"]
    click.echo(
        f"top-1 {metrics['val/top1']:.1f} % ({metrics['val/top1_low']:.1f} to {metrics['val/top1_high']:.1f}), "
        f"balanced {metrics['val/balanced']:.1f} %, on {result['data']['val']} validation pictures"
    )
    click.echo(f"model:  {run.path / 'model.safetensors'} ({result['chosen']})")
    click.echo(f"report: {run.path / 'report.html'}")


def interrupted(path: Path | str | None, said: str) -> FailedError:
    if path is None:
        return FailedError("interrupted before the training began; there is nothing to go on with", INTERRUPTED)
    resume = shlex.join(["paretina", "train", "--resume", str(path)])
    said = said or "at once, so what was done since the last saved state is done again"
    return FailedError(f"interrupted: {said}; go on with\n  {resume}", INTERRUPTED, run=str(path), resume=resume)


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
        "resolution": prepared.blueprint.resolution,
        **asdict(estimate),
    }
    if as_json:
        print_json(described)
        return
    for text in prepared.notes:
        click.echo(f"- {text}")
    for name, reason in prepared.damaged.items():
        click.echo(f"- left out: {name}: {reason}")
    asked = prepared.asked
    click.echo(f"model   {asked.model_name or 'given blueprint'}, tested at {prepared.blueprint.resolution} pixels")
    click.echo(
        f"data    {len(prepared.train)} pictures to train on, {len(prepared.val)} to validate on, "
        f"{len(prepared.collection.classes)} classes"
    )
    click.echo(
        f"recipe  {asked.recipe_name or 'given recipe'}: {prepared.recipe.epochs:g} epochs, {estimate.updates} updates of "
        f"{prepared.epochs.batch} pictures"
    )
    click.echo(f"plan    {asked.plan.device}, {asked.plan.precision}, {asked.plan.memory_format}")
    click.echo(
        f"time    about {clock(estimate.total_s)}: {estimate.update_s:.2f} s an update, {estimate.evaluate_s:.1f} s an "
        "evaluation"
    )
    click.echo(f"memory  {estimate.peak_mb:,.0f} MB after a few updates")


def duration(text: str, option: str = "--time-limit") -> float:
    """Seconds of "90s", "10m", "1h30m" or a plain number, as an option gives them."""
    units = {"s": 1, "m": 60, "h": 3600, "d": 86400}
    parts = re.findall(r"([0-9.]+)([smhd])", text)
    try:
        if parts and "".join(map("".join, parts)) == text:
            seconds = sum(float(number) * units[unit] for number, unit in parts)
        else:
            seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < float("inf"):
        misuse(f"{option} must be a time such as 90s, 10m or 1h30m, got {text!r}")
    return seconds


# --- evaluate, predict -----------------------------------------------------------------------------------------------------


@command(
    main,
    "paretina evaluate runs/photos-efficientnet_b0-1/model.safetensors photos/val\n"
    "paretina evaluate runs/photos-efficientnet_b0-1 photos/ --resolution 96:224:16 --html sweep.html\n"
    "paretina evaluate runs/photos-efficientnet_b0-1 photos/ --corruptions noise,jpeg --ood other-photos/",
    short_help="Measure a model file on labelled pictures.",
)
@click.argument("model", type=click.Path(path_type=Path))
@click.argument("source", metavar="DATA")
@click.option("--split", default=None, help="Which split of DATA.  [val, or all of a folder that has no splits]")
@click.option("--resolution", default=None, help="Side of the image in pixels, or several: 96:224:16, 96,128.  [the model's]")
@click.option("--csv", type=click.Path(path_type=Path), help="Write the answer to every picture.")
@click.option("--html", type=click.Path(path_type=Path), help="Draw accuracy and cost against the resolution.")
@click.option("--corruptions", metavar="KINDS", default=None, help="Measure on corrupted pictures too: all, or noise,jpeg.")
@click.option("--ood", type=click.Path(path_type=Path), help="A folder of other pictures, to be told from these.")
@click.option("--device", default="auto", help="auto, cpu, cuda or mps.  [auto]")
def evaluate(
    model: Path,
    source: str,
    split: str | None,
    resolution: str | None,
    csv: Path | None,
    html: Path | None,
    corruptions: str | None,
    ood: Path | None,
    device: str,
    as_json: bool,
) -> None:
    """Measure a model file on labelled pictures: accuracy, calibration, confusion, with 95 % intervals.

    MODEL is a model file or the directory of a finished run; DATA a folder, an .npz file, clipart or shapes.
    """
    from paretina import verbs

    with waiting("measuring"):
        found = verbs.evaluate(model, source, split, resolution, device, csv, html, corruptions, ood)
    if as_json:
        print_json(found.to_dict())
        return
    for text in found.notes:
        note(text)
    if found.sweep is not None:
        click.echo(f"{found.sweep.table()}\n{found.sweep.verdict()}\n")
    click.echo("\n".join(accuracy_lines(found)))
    for more in (found.corrupted, found.unknown):
        if more is not None:
            click.echo(f"\n{more.table()}")
    if html is not None:
        click.echo(f"page: {html}")


def accuracy_lines(found: Any) -> list[str]:
    accuracy = found.accuracy
    low = accuracy.intervals

    def line(title: str, name: str, unit: str, digits: int) -> str:
        value = getattr(accuracy, name)
        between = f"  [{low[name][0]:.{digits}f} to {low[name][1]:.{digits}f}]" if name in low else ""
        return f"{title:<28}{value:8.{digits}f}{unit}{between}"

    lines = [f"{accuracy.n} pictures ({found.split}) at {found.resolution} pixels; in brackets the 95 % interval"]
    lines.append(line("top-1", "top1", " %", 1))
    if accuracy.top5 is not None:
        lines.append(line("top-5", "top5", " %", 1))
    lines.append(line("balanced accuracy", "balanced", " %", 1))
    lines.append(line("macro F1", "f1_macro", " %", 1))
    lines.append(line("negative log-likelihood", "nll", "  ", 3))
    lines.append(line("  after temperature scaling", "nll_scaled", "  ", 3))
    lines.append(line("calibration error (ECE)", "ece", "  ", 3))
    lines.append(line("  after temperature scaling", "ece_scaled", "  ", 3))
    worst = sorted((each for each in accuracy.per_class if each.n), key=lambda each: each.recall)[:5]
    lines.append("hardest classes: " + ", ".join(f"{each.name} {each.recall:.0f} % of {each.n}" for each in worst))
    lines += [f"not counted, because it cannot be read: {name}: {reason}" for name, reason in found.damaged.items()]
    return lines


@command(
    main,
    "paretina predict runs/photos-efficientnet_b0-1/model.safetensors a.jpg b.png folder/ --csv out.csv",
    short_help="Classify pictures with a model file.",
)
@click.argument("model", type=click.Path(path_type=Path))
@click.argument("paths", type=click.Path(path_type=Path), nargs=-1, required=True)
@click.option("--top", type=click.IntRange(1), default=3, show_default=True, help="Number of answers a picture.")
@click.option("--csv", type=click.Path(path_type=Path), help="Write all answers to a file.")
@click.option("--device", default="auto", help="auto, cpu, cuda or mps.  [auto]")
def predict(model: Path, paths: tuple[Path, ...], top: int, csv: Path | None, device: str, as_json: bool) -> None:
    """Classify pictures and folders of pictures with a model file.

    MODEL is a model file or the directory of a finished run. Pictures that cannot be read are named and left out; only if there
    is no other one, the exit code is 1.
    """
    from paretina import verbs

    with waiting("reading the pictures"):
        found = verbs.predict(model, paths, top, device, csv)
    if not found.predictions:
        reasons = "".join(f"\n  {name}: {reason}" for name, reason in found.damaged.items())
        raise FailedError(f"none of the pictures could be read:{reasons}", **found.to_dict())
    if as_json:
        print_json(found.to_dict())
    else:
        width = max((len(each.name) for each in found.predictions), default=0)
        for each in found.predictions:
            answers = "   ".join(f"{name} {100 * share:.1f} %" for name, share in each.answers)
            click.echo(f"{each.name:<{width}}  {answers}")
        for name, reason in found.damaged.items():
            click.echo(f"could not be read: {name}: {reason}", err=True)


# --- weights of others ------------------------------------------------------------------------------------------------------


@command(
    main,
    "paretina import efficientnet_lite0\n"
    "paretina import timm:tf_efficientnet_b0.ns_jft_in1k --out b0.safetensors\n"
    "paretina import torchvision:resnet50.IMAGENET1K_V2\n"
    "paretina import checkpoint.pth --network resnet50 --classes names.txt",
    name="import",
    short_help="Make a model file of others' weights.",
)
@click.argument("source")
@click.option("--network", "-n", default=None, help="Of a FILE: a name from `paretina models`, or timm:NAME.")
@click.option(
    "--out", "-o", type=click.Path(path_type=Path), default=None, help="The model file; named after SOURCE unless told."
)
@click.option("--classes", type=click.Path(path_type=Path), default=None, help="Text file with the name of a class a line.")
@click.option("--licence", default=None, help="Of the weights, where SOURCE says nothing.")
def import_(
    source: str, network: str | None, out: Path | None, classes: Path | None, licence: str | None, as_json: bool
) -> None:
    """Make a model file of somebody else's weights.

    SOURCE is timm:NAME[.TAG] or torchvision:NAME[.WEIGHTS], which that library downloads; a name from `paretina models` whose
    weights an installed package brings; or a FILE with a state dict, of safetensors or of torch. Nothing in a file is executed.
    """
    from paretina import verbs

    with waiting("reading the weights"):
        written = verbs.import_weights(source, network, out, classes, licence)
    if as_json:
        print_json(written.to_dict())
        return
    for text in written.notes:
        note(text)
    about, blueprint = written.about, written.blueprint
    click.echo(f"{written.name}, {blueprint.classes:,} classes, tested at {blueprint.resolution} pixels")
    click.echo(f"{about.origin}; licence: {about.licence or 'not known'}")
    click.echo(f"model: {written.path}")


@command(
    main,
    "paretina export-weights runs/photos-resnet50-1 --to timm --out weights.safetensors",
    name="export-weights",
    short_help="Write weights under another library's names.",
)
@click.argument("model", type=click.Path(path_type=Path))
@click.option("--to", required=True, help="timm or torchvision.")
@click.option(
    "--out", "-o", type=click.Path(path_type=Path), default=None, help="The file; named after the network unless told."
)
def export_weights(model: Path, to: str, out: Path | None, as_json: bool) -> None:
    """Write the weights of a model file as the state dict that timm or torchvision has for the same network.

    MODEL is a model file or the directory of a finished run.
    """
    from paretina import verbs

    with waiting("moving the weights"):
        written = verbs.export_weights(model, to, out)
    if as_json:
        print_json(written.to_dict())
        return
    for text in written.notes:
        note(text)
    click.echo(f"weights of {to}'s {written.name}: {written.path}")


# --- show, models, recipes, report --------------------------------------------------------------------------------------------


@command(main, "paretina show efficientnet_b0", short_help="The table of a network or model file, a row a stage.")
@click.argument("model")
@click.option("--resolution", type=click.IntRange(1), default=None, help="Side of the image in pixels.")
def show(model: str, resolution: int | None, as_json: bool) -> None:
    """The table of a network or model file: a row a stage, with output shape, parameters and multiply-adds.

    MODEL is a name from `paretina models`, a model file, or the directory of a finished run.
    """
    from paretina import verbs

    shown = verbs.show(model, resolution)
    if as_json:
        print_json(shown.to_dict())
        return
    counted, published = shown.cost, shown.published
    click.echo(f"{shown.name} ({shown.blueprint.source}) at {counted.resolution} pixels, {shown.blueprint.classes} classes")
    rows = [("", "output", "params", "MACs", "spec")]
    for stage in counted.stages:
        output = " x ".join(map(str, stage.output))
        rows.append((stage.name, output, f"{stage.params:,}", f"{stage.macs / 1e6:,.1f} M", stage.spec))
    rows.append(("total", "", f"{counted.params:,}", f"{counted.macs / 1e6:,.1f} M", ""))
    widths = [max(len(row[i]) for row in rows) for i in range(4)]
    for name, output, params, macs, spec in rows:
        click.echo(f"{name:<{widths[0]}}  {output:<{widths[1]}}  {params:>{widths[2]}}  {macs:>{widths[3]}}  {spec}".rstrip())
    click.echo(
        f"activations {counted.activations / 1e6:,.2f} M, weights {counted.weight_bytes / 1e6:,.1f} MB, "
        f"feature maps at strides {', '.join(map(str, shown.blueprint.strides))}"
    )
    if published:
        top1 = f", ImageNet top-1 {published.top1} % ({published.note})" if published.top1 else ""
        click.echo(f"published: {published.params:,} params, {published.macs:g} G MACs{top1}")
    if shown.about:
        licence = f"; licence of the weights it started from: {shown.about.licence}" if shown.about.licence else ""
        click.echo(f"{shown.about.origin}{licence}")
        figures = {"top-1": "val/top1", "balanced": "val/balanced"}
        measured = [f"{name} {shown.about.metrics[key]:.1f} %" for name, key in figures.items() if key in shown.about.metrics]
        if measured:
            click.echo(f"measured when it was saved: {', '.join(measured)}")
        click.echo(f"classes: {', '.join(shown.about.classes[:12])}{' ...' if len(shown.about.classes) > 12 else ''}")


@command(
    main,
    "paretina models 'efficientnetv2_*'\nparetina models --max-params 10M --max-macs 1G --family ghostnet --weights",
    short_help="The named networks, with published figures.",
)
@click.argument("pattern", default="*")
@click.option("--max-params", metavar="COUNT", default=None, help="Parameters at most, with 1,000 classes: 10M.")
@click.option("--max-macs", metavar="COUNT", default=None, help="Multiply-adds of an image at most: 600M, 1G.")
@click.option("--family", default=None, help="Only networks of this family.")
@click.option("--weights", is_flag=True, help="Only networks of which trained weights can be had.")
def models(
    pattern: str, max_params: str | None, max_macs: str | None, family: str | None, weights: bool, as_json: bool
) -> None:
    """The named networks that fit a PATTERN, with published figures and where weights can be had."""
    from paretina import verbs

    limits = (count("--max-params", max_params), count("--max-macs", max_macs))
    rows = verbs.models(pattern, *limits, family, weights)
    if as_json:
        print_json(rows)
        return
    name_width, weights_width = (max(7, *(len(row[field]) for row in rows)) for field in ("name", "weights"))
    header = f"{'name':<{name_width}} {'params':>8} {'GMACs':>8} {'pixels':>6} {'top-1':>6}"
    click.echo(f"{header}  {'weights':<{weights_width}}  published by")
    for row in rows:
        top1 = f"{row['top1']:.1f}" if row["top1"] else "-"
        figures = f"{row['params'] / 1e6:7.1f}M {row['gmacs']:8.2f} {row['resolution']:6} {top1:>6}"
        had = f"{row['weights'] or '-':<{weights_width}}"
        click.echo(f"{row['name']:<{name_width}} {figures}  {had}  {row['note']}".rstrip())


def count(option: str, text: str | None) -> float | None:
    """A number such as 10M, 1.5G or 300000; None stays None."""
    if text is None:
        return None
    units = {"": 1, "k": 1e3, "m": 1e6, "g": 1e9, "b": 1e9}
    found = re.fullmatch(r"(\d+(?:\.\d*)?|\.\d+)([kmgb]?)", text.strip().lower())
    if found is None or not float(found[1]):
        misuse(f"{option} must be a number such as 300000, 10M or 1.5G, got {text!r}")
    return float(found[1]) * units[found[2]]


@command(main, "paretina recipes", short_help="The named recipes, and what they give.")
def recipes(as_json: bool) -> None:
    """The named recipes, each with what it is for and what it was measured to give."""
    from paretina.spec import encode
    from paretina.train.asked import recipes as named

    found = named()
    if as_json:
        print_json({name: {"about": about, "recipe": encode(recipe)} for name, (recipe, about) in found.items()})
        return
    texts: dict[str, list[str]] = {}
    for name, (_, about) in found.items():
        texts.setdefault(about, []).append(name)
    for about, names in texts.items():
        click.echo(f"{', '.join(names)}\n  " + about.replace("\n", "\n  ").replace("\n  \n", "\n\n") + "\n")


@command(main, "paretina report runs/*", short_help="Write reports, and compare several runs.")
@click.argument("runs", type=click.Path(path_type=Path), nargs=-1, required=True)
@click.option(
    "--output",
    "-o",
    type=click.Path(path_type=Path),
    default=None,
    help="Where the comparison of several runs goes.  [comparison.html]",
)
def report(runs: tuple[Path, ...], output: Path | None, as_json: bool) -> None:
    """Write the report of each run, and of several a comparison; made from the run directories alone.

    Of several, what is no run is named and left out.
    """
    from paretina import verbs

    found = verbs.report(runs, output)
    for reason in found.left_out.values():
        note(f"left out: {reason}")
    if as_json:
        print_json(found.to_dict())
        return
    for path in found.written:
        click.echo(path)


# --- commands with files of their own, which need the names above ------------------------------------------------------------

from paretina.cli import ablate, finetune, frontier, measure  # noqa: E402

command(main, ablate.EXAMPLE, cls=FieldCommand, short_help="What each refinement of a recipe brings and costs.")(ablate.ablate)
command(
    main, finetune.EXAMPLE, cls=FieldCommand, short_help="Go on with a trained network: another image size, other pictures."
)(finetune.finetune)
main.add_command(frontier.frontier)
main.add_command(measure.measure)
