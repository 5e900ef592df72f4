"""The command line: a thin layer over `paretina.verbs`.

Heavy modules are imported inside the commands, so `--help` answers at once. Exit codes: 0 done, 1 failed, 2 misuse, 3 a gate
was not met. With `--json` a command prints one JSON document to standard output; progress and remarks go to standard error.
"""

import functools
import json
import sys
from collections.abc import Callable
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import click

Decorator = Callable[[Callable[..., Any]], click.Command]

CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 110}


class Suggesting(click.Group):
    """Names the near command for a misspelt one."""

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        if args and self.get_command(ctx, args[0]) is None and not args[0].startswith("-"):
            known = self.list_commands(ctx)
            close = get_close_matches(args[0], known, n=1)
            hint = f"did you mean {close[0]!r}?" if close else f"there are: {', '.join(known)}"
            raise click.UsageError(f"there is no command {args[0]!r}; {hint}", ctx)
        return super().resolve_command(ctx, args)


class FieldCommand(click.Command):
    """Explains `--epochs 30` as `epochs=30`, since fields are not options."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        try:
            return super().parse_args(ctx, args)
        except click.NoSuchOption as error:
            name = error.option_name.lstrip("-").replace("-", "_")
            if not error.possibilities:
                from paretina.train.asked import full_path

                try:
                    full_path(name)
                except ValueError as reason:
                    raise click.UsageError(f"{error.format_message()} {reason}", ctx) from None
                raise click.UsageError(f"{error.option_name} is no option; write it as a field: {name}=VALUE", ctx) from None
            raise


def command(group: click.Group, example: str, cls: type[click.Command] = click.Command, **settings: Any) -> Decorator:
    """A command with `--json`, an example under its help, and errors as one line."""

    def wrap(function: Callable[..., Any]) -> click.Command:
        @functools.wraps(function)
        def guarded(**options: Any) -> None:
            try:
                function(**options)
            except (ValueError, FloatingPointError, OSError) as error:
                fail(str(error))
            except MemoryError as error:
                fail(f"out of memory ({error}); lower batch_size or size, or raise accumulate")
            except RuntimeError as error:
                if "out of memory" in str(error) or "can't allocate memory" in str(error):
                    fail(f"out of memory; lower batch_size or size, or raise accumulate ({str(error).splitlines()[0]})")
                raise

        epilog = "\b\nExample:\n  " + example.replace("\n", "\n  ")
        made = group.command(cls=cls, epilog=epilog, context_settings=CONTEXT, **settings)(guarded)
        made.params.append(click.Option(["--json", "as_json"], is_flag=True, help="Print one JSON document."))
        return made

    return wrap


def fail(message: str, code: int = 1) -> None:
    click.echo(f"error: {message}", err=True)
    sys.exit(code)


def misuse(message: str) -> None:
    fail(message, 2)


def print_json(value: Any) -> None:
    click.echo(json.dumps(value, indent=2))


def note(text: str) -> None:
    click.echo(f"note: {text}", err=True)


@click.group(cls=Suggesting, context_settings=CONTEXT)
@click.version_option(package_name="paretina")
def main() -> None:
    """Image classifiers that are as accurate as they can be for what they cost."""


# --- data -----------------------------------------------------------------------------------------------------------------


@main.group(cls=Suggesting, context_settings=CONTEXT)
def data() -> None:
    """Look at a folder of pictures."""


@command(data, "paretina data check photos/", name="check")
@click.argument("source", metavar="DATA")
def data_check(source: str, as_json: bool) -> None:
    """Classes, counts, sizes, faults, and duplicates between splits; DATA is a folder, an .npz file, clipart or shapes."""
    from paretina import verbs

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
    print_config: bool,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Train a classifier on DATA: a folder, an .npz file, clipart or shapes.

    Any field of the recipe, plan or network can be given by name: epochs=30 size=160 optimizer.rate=0.001.
    """
    if source is not None and "=" in source and not Path(source).exists():
        fields, source = (source, *fields), None
    if resume is not None:
        asked_anew: dict[str, Any] = {
            "--model": model,
            "--recipe": recipe,
            "--weights": weights,
            "--config": config,
            "--output": output,
        }
        asked_anew.update({"--device": device, "--time-limit": time_limit, **dict.fromkeys(fields, True)})
        given = [name for name, value in asked_anew.items() if value is not None]
        if given:
            misuse(f"a resumed run goes on as it was asked for; leave out {', '.join(given)}")
    elif source is None:
        misuse("name the data: a folder, an .npz file, clipart or shapes")
    seconds = None if time_limit is None else duration(time_limit)

    from paretina import verbs
    from paretina.progress import Progress

    if resume is not None:
        with Progress() as progress:
            finished(lambda: verbs.resume(resume, source, progress.listen, progress.say), resume, as_json)
        return
    from paretina.train import training
    from paretina.train.asked import assignment

    try:
        named = dict(assignment(text) for text in fields)
        choice = verbs.ask(source or "", model or "efficientnet_b0", recipe, weights or "none", device or "auto", config, named)
    except ValueError as error:
        misuse(str(error))
        return
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
        prepared, estimate = verbs.estimate(choice, seconds)
        show_estimate(prepared, estimate, as_json)
        return
    with Progress() as progress:
        finished(lambda: training.train(choice.asked, output, seconds, progress.listen, progress.say), output, as_json)


def finished(start: Callable[[], Any], path: Path | None, as_json: bool) -> None:
    """Runs to the end and says what came out; after an interruption, how to go on."""
    from paretina.report import write_report
    from paretina.train.ranks import Ranks

    try:
        run = start()
    except KeyboardInterrupt as stopped:
        click.echo(f"\ninterrupted: {stopped or 'before the first update'}", err=True)
        click.echo("go on with: paretina train --resume RUN (the run directory is named above)", err=True)
        sys.exit(130)
    if not Ranks.is_first():
        return
    write_report(run.path)
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


def show_estimate(prepared: Any, estimate: Any, as_json: bool) -> None:
    from dataclasses import asdict

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


def duration(text: str) -> float:
    """Seconds of "90s", "10m", "2h" or a plain number."""
    units = {"s": 1, "m": 60, "h": 3600, "d": 86400}
    number, unit = (text[:-1], text[-1]) if text and text[-1] in units else (text, "s")
    try:
        seconds = float(number) * units[unit]
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < float("inf"):
        misuse(f"--time-limit must be a time such as 90s, 10m or 2h, got {text!r}")
    return seconds


def clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


# --- evaluate, predict -----------------------------------------------------------------------------------------------------


@command(main, "paretina evaluate runs/photos-efficientnet_b0-1/model.safetensors photos/val")
@click.argument("model", type=click.Path(path_type=Path))
@click.argument("source", metavar="DATA")
@click.option("--split", default=None, help="Which split of DATA.  [val, or all of a folder that has no splits]")
@click.option(
    "--resolution", type=click.IntRange(1), default=None, help="Side of the image in pixels; the model's unless told."
)
@click.option("--csv", type=click.Path(path_type=Path), help="Write the answer to every picture.")
@click.option("--device", default="auto", help="auto, cpu, cuda or mps.  [auto]")
def evaluate(
    model: Path, source: str, split: str | None, resolution: int | None, csv: Path | None, device: str, as_json: bool
) -> None:
    """Measure a model file on labelled pictures: accuracy, calibration, confusion, with 95 % intervals."""
    from paretina import verbs

    found = verbs.evaluate(model, source, split, resolution, device, csv)
    if as_json:
        print_json(found.to_dict())
        return
    for text in found.notes:
        note(text)
    click.echo("\n".join(accuracy_lines(found)))


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


@command(main, "paretina predict runs/photos-efficientnet_b0-1/model.safetensors a.jpg b.png folder/ --csv out.csv")
@click.argument("model", type=click.Path(path_type=Path))
@click.argument("paths", type=click.Path(path_type=Path), nargs=-1, required=True)
@click.option("--top", type=click.IntRange(1), default=3, show_default=True, help="Number of answers a picture.")
@click.option("--csv", type=click.Path(path_type=Path), help="Write all answers to a file.")
@click.option("--device", default="auto", help="auto, cpu, cuda or mps.  [auto]")
def predict(model: Path, paths: tuple[Path, ...], top: int, csv: Path | None, device: str, as_json: bool) -> None:
    """Classify pictures and folders of pictures with a model file."""
    from paretina import verbs

    found = verbs.predict(model, paths, top, device, csv)
    if as_json:
        print_json(found.to_dict())
    else:
        width = max((len(each.name) for each in found.predictions), default=0)
        for each in found.predictions:
            answers = "   ".join(f"{name} {100 * share:.1f} %" for name, share in each.answers)
            click.echo(f"{each.name:<{width}}  {answers}")
        for name, reason in found.damaged.items():
            click.echo(f"could not be read: {name}: {reason}", err=True)
    if not found.predictions:
        sys.exit(1)


# --- show, models, recipes, report --------------------------------------------------------------------------------------------


@command(main, "paretina show efficientnet_b0")
@click.argument("model")
@click.option("--resolution", type=click.IntRange(1), default=None, help="Side of the image in pixels.")
def show(model: str, resolution: int | None, as_json: bool) -> None:
    """The table of a network or model file: a row a stage, with output shape, parameters and multiply-adds."""
    from paretina import verbs

    try:
        shown = verbs.show(model, resolution)
    except ValueError as error:
        misuse(str(error))
        return
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
        click.echo(f"{shown.about.origin}; licence of the weights it started from: {shown.about.licence or 'none'}")
        click.echo(f"classes: {', '.join(shown.about.classes[:12])}{' ...' if len(shown.about.classes) > 12 else ''}")


@command(main, "paretina models 'efficientnetv2_*'")
@click.argument("pattern", default="*")
def models(pattern: str, as_json: bool) -> None:
    """The named networks that fit a PATTERN, with published figures and where weights can be had."""
    from paretina import verbs

    rows = verbs.models(pattern)
    if as_json:
        print_json(rows)
        return
    click.echo(f"{'name':<20} {'params':>8} {'GMACs':>8} {'pixels':>6} {'top-1':>6}  published by, weights")
    for row in rows:
        top1 = f"{row['top1']:.1f}" if row["top1"] else "-"
        said = "; ".join(text for text in (row["note"], f"weights: {row['weights']}" if row["weights"] else "") if text)
        figures = f"{row['params'] / 1e6:7.1f}M {row['gmacs']:8.2f} {row['resolution']:6} {top1:>6}"
        click.echo(f"{row['name']:<20} {figures}  {said}".rstrip())


@command(main, "paretina recipes")
def recipes(as_json: bool) -> None:
    """The named recipes, each with what it is for and what it was measured to give."""
    from paretina.spec import encode
    from paretina.train.asked import recipes as named

    found = named()
    if as_json:
        print_json({name: {"about": about, "recipe": encode(recipe)} for name, (recipe, about) in found.items()})
        return
    for name, (_, about) in found.items():
        click.echo(f"{name}\n  " + about.replace("\n", "\n  ").replace("\n  \n", "\n\n") + "\n")


@command(main, "paretina report runs/*")
@click.argument("runs", type=click.Path(path_type=Path), nargs=-1, required=True)
@click.option(
    "--output",
    "-o",
    type=click.Path(path_type=Path),
    default=Path("comparison.html"),
    show_default=True,
    help="Where the comparison of several runs goes.",
)
def report(runs: tuple[Path, ...], output: Path, as_json: bool) -> None:
    """Write the report of each run, and of several a comparison; made from the run directories alone."""
    from paretina import report as pages

    written = [pages.write_report(run) for run in runs]
    if len(runs) > 1:
        written.append(pages.write_comparison(list(runs), output))
    if as_json:
        print_json({"written": [str(path) for path in written], "runs": pages.table(list(runs))})
        return
    for path in written:
        click.echo(path)
