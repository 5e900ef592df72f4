"""The command `paretina frontier`."""

import shlex
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import click

from paretina.cli.engines import engine_named, engine_options, resumed_by, with_threads
from paretina.cli.program import INTERRUPTED, Explaining, FailedError
from paretina.text import how_many

EXAMPLE = (
    "  paretina frontier photos/ --models efficientnet_lite0,resnet18 --sizes 96,128 --time-limit 1h\n"
    "  paretina frontier photos/ --candidates list.yaml --time-limit 2h --budget latency_ms=10\n"
    "  paretina frontier photos/ --models efficientnet_lite0,resnet18 --time-limit 1h --runtimes eager,openvino\n"
    "  paretina frontier --resume runs/photos-frontier-1"
)

NEW_ONLY = ("models", "sizes", "recipes", "weights", "candidates", "rungs", "keep", "by", "cost", "runtimes", "output")


class UnmetError(ValueError):
    """No candidate meets the budget."""

    exit_code = 3


@click.command(
    "frontier",
    cls=Explaining,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
    epilog=f"\b\nExample:\n{EXAMPLE}",
    short_help="Find the best trade-off of accuracy and cost among many networks.",
)
@click.argument("source", metavar="[DATA]", required=False)
@click.argument("fields", metavar="[FIELD=VALUE]...", nargs=-1)
@click.option(
    "--models", "-m", multiple=True, help="Names from `paretina models` or patterns such as 'resnet*', comma-separated."
)
@click.option("--sizes", default=None, help="Image sizes in pixels, comma-separated; default: the networks' own.")
@click.option(
    "--recipes", "-r", default=None, help="Names from `paretina recipes`, comma-separated; default: chosen by --weights."
)
@click.option("--weights", default=None, help="Weights to start from, as in `paretina train`.  [auto]")
@click.option(
    "--candidates",
    type=click.Path(path_type=Path),
    help="YAML list of candidates (model, size, any fields) instead of --models.",
)
@click.option(
    "--time-limit",
    "--time",
    "time",
    default=None,
    help="Total training time of all candidates: 30m; can be raised with --resume.",
)
@click.option("--rungs", type=click.IntRange(1), default=None, help="Maximum number of rungs of successive halving.  [3]")
@click.option("--keep", type=float, default=None, help="Reduction factor: 1 in this many candidates continues.  [2]")
@click.option(
    "--by",
    type=click.Choice(["epochs", "seconds"]),
    default=None,
    help="Unit of the training budget per candidate.  [epochs]",
)
@click.option(
    "--cost",
    default=None,
    help="latency_ms, throughput, train_seconds, weight_bytes, peak_mb, macs or energy_j.  [latency_ms]",
)
@click.option(
    "--runtimes",
    default=None,
    help="What networks are timed in, comma-separated: eager, compiled, onnxruntime, openvino; the best counts.  [eager]",
)
@click.option("--budget", "budgets", multiple=True, help="Limit for the recommendation: latency_ms=10, throughput=100.")
@click.option("--output", "-o", type=click.Path(path_type=Path), help="Output directory; default: the next free one in runs/.")
@click.option("--resume", type=click.Path(path_type=Path), help="Resume a frontier.")
@engine_options
@click.option("--device", default=None, help="auto, cpu, cuda, cuda:1 or mps.  [auto]")
@click.option("--tune", is_flag=True, help="Time each network under its fastest plan instead of the default.")
@click.option(
    "--timing",
    type=click.FloatRange(0.1),
    default=5.0,
    show_default=True,
    help="Seconds of timing per network and runtime.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def frontier(
    source: str | None,
    fields: tuple[str, ...],
    models: tuple[str, ...],
    sizes: str | None,
    recipes: str | None,
    weights: str | None,
    candidates: Path | None,
    time: str | None,
    rungs: int | None,
    keep: float | None,
    by: str | None,
    cost: str | None,
    runtimes: str | None,
    budgets: tuple[str, ...],
    output: Path | None,
    resume: Path | None,
    workers: int | None,
    cluster: str | None,
    device: str | None,
    tune: bool,
    timing: float,
    as_json: bool,
) -> None:
    """Train many candidates on DATA within a time budget, time them, and plot the accuracy-cost frontier.

    Candidates are all combinations of --models, --sizes and --recipes, or a list. All are trained briefly; the better part
    continues until the time is used up (successive halving). Fields such as seed=1 apply to all. Resume with --resume, and a
    longer --time-limit if it was too short. With --runtimes each network is timed as it would be run, compiled or as a shipped
    file, and its best runtime is named with it. One candidate is recommended, of those that meet each --budget; the exit code
    is 3 if none does.
    """
    from paretina.cli.program import duration
    from paretina.measure.plan import default_plan
    from paretina.model.fold import fold
    from paretina.progress import Pace, Progress
    from paretina.report.frontier_page import write_frontier
    from paretina.run import command_line, free_folder, not_left_empty
    from paretina.search.frontier.begin import begin, give_time
    from paretina.search.frontier.run import work
    from paretina.search.frontier.runtimes import EAGER, check_runtimes, runtimes_of
    from paretina.search.frontier.standing import budget_of, read_standing, with_budgets
    from paretina.search.frontier.tools import tools_for
    from paretina.verbs import check_output, misuse

    given = click.get_current_context().params
    if source is not None and "=" in source and not Path(source).exists():
        fields, source = (source, *fields), None
    named = [text for text in fields if text.partition("=")[0] in ("device", "plan.device")]
    if resume is None and device is None and len(named) == 1:  # networks are timed where they are trained
        (text,) = named
        fields, device = tuple(field for field in fields if field != text), text.partition("=")[2].strip()
    with misuse():
        limits = [budget_of(text) for text in budgets]
        wanted = (EAGER,) if runtimes is None else runtimes_of(runtimes)
    engine = engine_named(workers, cluster)
    if resume is not None:
        wrong = [f"--{name}" for name in NEW_ONLY if given.get(name)] + list(fields)
        if wrong:
            usage(f"a frontier is resumed with its original settings; leave out {', '.join(wrong)}")
        with misuse():
            begun = read_standing(resume)
            if time is not None:
                give_time(resume, duration(time, "--time-limit"))
        folder, wanted = resume, begun.runtimes
    else:
        found = asked_for(source, fields, models, sizes, recipes, weights, candidates, device, workers)
        halving = halving_of(time, rungs, keep, by, cost)
        check_energy(halving.cost, device)
        check_output(output, found[0].asked.data)
        with misuse():  # before a directory is made
            check_runtimes(wanted, default_plan(device or "auto").device)
        name = Path(str(source)).expanduser().absolute().name
        folder = output or free_folder(Path("runs"), f"{name}-frontier")
    with misuse(), not_left_empty(folder):
        tools = tools_for(device or "auto", timing, tune, fold, wanted)
        if resume is None or (
            tools.device == begun.asked["device"] and (begun.session is None or begun.disturbed)
        ):  # else it only trains
            check_runtimes(wanted, default_plan(device or "auto").device)
    progress = Progress()

    def listen(line: dict[str, Any]) -> None:
        if line["event"] == "start":
            progress.pace, progress.value = Pace(), None
        elif line["event"] != "val" or progress.live:
            progress.listen(line)

    with progress:
        if resume is None:
            with misuse(), not_left_empty(folder):
                begin(folder, str(source), found, halving, tools.device, limits, command_line(), wanted)
            progress.plain(f"directory: {shlex.quote(str(folder))}, {how_many(len(found), 'candidate')}")
        try:
            others = partial(tools_for, device or "auto", timing, tune, fold, wanted) if engine and engine.several else None
            standing = work(folder, tools, source if resume else None, listen, progress.plain, engine, others)
        except KeyboardInterrupt:
            again = resumed_by("frontier", folder, workers, cluster)
            raise FailedError(f"interrupted; resume with\n  {again}", INTERRUPTED) from None
    standing = with_budgets(standing, limits or standing.budgets)
    show(standing, write_frontier(standing), as_json)


def show(standing: Any, written: Sequence[Path], as_json: bool) -> None:
    """Prints the results.

    Raises:
        UnmetError: no candidate meets the budgets.
    """
    from paretina.cli.program import note, print_json, print_lines
    from paretina.report.frontier_page import cost_lines, recommended_lines, spelled
    from paretina.search.frontier.run import result_of
    from paretina.search.frontier.standing import recommend

    best, cost = recommend(standing, standing.budgets), standing.halving.cost
    if as_json:
        print_json({"directory": str(standing.folder), **result_of(standing)})
    else:
        front = standing.frontier(cost).front()
        entries = {entry.name: entry for entry in standing.entries}
        click.echo(
            f"the front of accuracy and {cost}, among {how_many(len(standing.finalists), 'finalist')} of "
            f"{len(standing.entries)}:"
        )
        width = max((len(point.name) for point in front), default=0)
        for point in front:
            share = standing.shares.get(point.name)
            often = f"  on the front in {100 * share:.0f} % of resamples" if share is not None else ""
            where = f"  {entries[point.name].runtime}" if len(standing.runtimes) > 1 else ""
            row = (
                f"  {point.name:<{width}}  {point.values['top1']:5.1f} %  {spelled(cost, point.values[cost]):>10}{where}{often}"
            )
            print_lines([row])
        if best:
            click.echo("\nrecommended: " + "\n  ".join([*recommended_lines(best), *cost_lines(best)]))
        for text in standing.notes():
            note(text)
        click.echo(f"\nreport: {written[0]}")
    if standing.budgets and best is None:
        raise UnmetError(f"no candidate meets {' and '.join(map(str, standing.budgets))}")


def usage(message: str) -> None:
    raise click.UsageError(message, click.get_current_context(silent=True))


def parts(text: str | None) -> list[str]:
    """The items of a comma-separated list."""
    return [part.strip() for part in (text or "").split(",") if part.strip()]


def check_candidates(
    source: str | None, models: Sequence[str], listing: Path | None, sizes: str | None, recipes: str | None
) -> None:
    """Checks that data and candidates are given, and only once each."""
    from paretina.verbs.outline import table

    if source is None:
        usage(f"name the data: {table()['data']}; or resume a frontier with --resume DIR")
    if bool(models) == (listing is not None):
        usage("name the candidates with either --models or --candidates FILE")
    if listing is not None and (sizes or recipes):
        usage("--sizes and --recipes need --models; in a list each candidate has its own")


def asked_for(
    source: str | None,
    fields: Sequence[str],
    models: Sequence[str],
    sizes: str | None,
    recipes: str | None,
    weights: str | None,
    listing: Path | None,
    device: str | None,
    workers: int | None = None,
) -> tuple[Any, ...]:
    """The candidates that the options ask for."""
    from dataclasses import replace

    from paretina import verbs
    from paretina.cli.program import taken_apart
    from paretina.measure.plan import default_plan
    from paretina.model.network_file import is_network_file
    from paretina.search.frontier.candidates import check_any, grid, listed

    check_candidates(source, models, listing, sizes, recipes)
    values = with_threads(taken_apart(fields), workers)
    verbs.check_names(values)
    options = {"DATA": source, "--models": ",".join(models), "--sizes": sizes, "--recipes": recipes, "--device": device}
    verbs.check_parts({name: value or None for name, value in options.items()}, values)
    with verbs.misuse():
        plan = default_plan(device or "auto")
        if listing is not None:
            found = listed(listing, str(source), plan, weights, values)
        else:
            names = [
                name
                for pattern in parts(",".join(models))
                for name in ([pattern] if is_network_file(pattern) else [row["name"] for row in verbs.models(pattern)])
            ]
            found = grid(
                str(source),
                plan,
                list(dict.fromkeys(names)),
                [side_of(side) for side in parts(sizes)] or [None],
                [*parts(recipes)] or [None],
                weights,
                values,
            )
        check_any(found)
    chosen = ("--device", device) if device else ()
    return tuple(replace(each, words=(*each.words, *chosen)) for each in found)


def side_of(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise ValueError(f"--sizes takes whole numbers of pixels, such as 96,128, got {text!r}")
    return int(text)


def halving_of(time: str | None, rungs: int | None, keep: float | None, by: str | None, cost: str | None) -> Any:
    from paretina.cli.program import duration
    from paretina.search.frontier.standing import Halving
    from paretina.spec import decode
    from paretina.verbs import misuse

    if time is None:
        usage("give the total training time, such as --time-limit 30m")
    named = {"rungs": rungs, "factor": keep, "by": by, "cost": cost}
    with misuse():
        given = {name: value for name, value in named.items() if value is not None}
        return decode(Halving, {"seconds": duration(str(time), "--time-limit"), **given})


def check_energy(cost: str, device: str | None) -> None:
    """Checks that energy can be measured.

    Raises:
        ValueError: this machine has no readable energy counter.
    """
    from paretina.measure.energy import counter_of
    from paretina.measure.plan import default_plan
    from paretina.verbs import MisuseError

    if cost == "energy_j" and counter_of(default_plan(device or "auto").device) is None:
        raise MisuseError("this machine has no readable energy counter; choose another --cost")
