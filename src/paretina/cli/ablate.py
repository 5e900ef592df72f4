"""The command `paretina ablate`."""

from pathlib import Path
from typing import Any

import click

from paretina.cli.engines import engine_named, engine_options, with_threads

EXAMPLE = (
    "paretina ablate finetune photos/ --model efficientnet_lite0 --output studies/finetune\n"
    "paretina ablate scratch photos/ --output studies/two --switch average --add edits.Fuse --seeds 8\n"
    "paretina ablate scratch photos/ --model resnet18 --methods --output studies/methods\n"
    "paretina ablate scratch clipart --output studies/data --no-defaults --data-fractions 0.1,0.3 --label-noise 0.2,0.4"
)


def numbers(context: click.Context, parameter: click.Parameter, value: str | None) -> tuple[float, ...]:
    """0.1,0.3,1 as numbers."""
    if value is None:
        return ()
    try:
        return tuple(float(word) for word in value.split(","))
    except ValueError:
        raise click.BadParameter(f"expected numbers with commas between them, such as 0.1,0.3, got {value!r}") from None


@click.argument("recipe")
@click.argument("source", metavar="DATA")
@click.argument("fields", metavar="[FIELD=VALUE]...", nargs=-1)
@click.option(
    "--output",
    "-o",
    type=click.Path(path_type=Path),
    required=True,
    help="Directory of the study; an existing study is continued.",
)
@click.option("--model", "-m", default=None, help="A name from `paretina models`; default: efficientnet_b0.")
@click.option("--weights", default=None, help="Weights to start from, as in `paretina train`.  [auto]")
@click.option("--device", default=None, help="auto, cpu, cuda, cuda:1 or mps.  [auto]")
@click.option("--seeds", type=click.IntRange(1, 100), default=5, show_default=True, help="Runs of each change, paired by seed.")
@click.option("--switch", "switches", multiple=True, help="What to leave out or replace: average, dropout=0.")
@click.option(
    "--add", "additions", multiple=True, help="What to add: edits.Fuse, transforms.CutMix, size=160, progressive=96:160."
)
@click.option(
    "--defaults/--no-defaults",
    default=None,
    help="Leave out each refinement of the recipe, one at a time.  [yes, unless something else is given]",
)
@click.option(
    "--methods",
    is_flag=True,
    help="Add each training method that fits, such as Cosub and MixSKD: once for as many epochs, once for as long.",
)
@click.option("--data-fractions", "shares", callback=numbers, help="Fractions of the training data: 0.1,0.3,1.")
@click.option("--label-noise", "noises", callback=numbers, help="Fractions of wrong training labels: 0,0.2,0.4.")
@click.option("--models", "rivals", default=None, help="Other networks, comma-separated, trained for as long as the model.")
@click.option(
    "--equal",
    type=click.Choice(["updates", "epochs", "both"]),
    default="updates",
    show_default=True,
    help="What stays equal with less data: the number of updates or of epochs.",
)
@click.option("--time-limit", default=None, help="Fit the epochs of the baseline into this time, for all runs alike: 90s, 10m.")
@click.option(
    "--price-train", type=click.FloatRange(0), default=0.0, help="Points of top-1 that 1 % more training time must gain."
)
@click.option(
    "--price-inference", type=click.FloatRange(0), default=0.0, help="Points of top-1 that 1 % more inference time must gain."
)
@click.option("--price-memory", type=click.FloatRange(0), default=0.0, help="Points of top-1 that 1 % more memory must gain.")
@click.option("--least", type=click.FloatRange(0), default=0.0, help="Smallest gain that counts, in points of top-1.")
@click.option(
    "--most",
    type=click.FloatRange(0, min_open=True),
    default=None,
    help="Largest factor on training time.  [2, or no limit with --price-train]",
)
@engine_options
@click.option("--final", is_flag=True, help="Last look at the verdicts: spends all of the remaining error rate.")
@click.option("--dry-run", is_flag=True, help="Check and list the runs without training.")
@click.option(
    "--csv", "table", type=click.Path(path_type=Path), default=None, help="Also write the table of switches to this file."
)
def ablate(
    recipe: str,
    source: str,
    fields: tuple[str, ...],
    output: Path,
    model: str | None,
    weights: str | None,
    device: str | None,
    seeds: int,
    switches: tuple[str, ...],
    additions: tuple[str, ...],
    defaults: bool | None,
    methods: bool,
    shares: tuple[float, ...],
    noises: tuple[float, ...],
    rivals: str | None,
    equal: str,
    time_limit: str | None,
    price_train: float,
    price_inference: float,
    price_memory: float,
    least: float,
    most: float | None,
    workers: int | None,
    cluster: str | None,
    final: bool,
    dry_run: bool,
    table: Path | None,
    as_json: bool,
) -> None:
    """Measure what each refinement of RECIPE gains and costs on DATA, by training with and without it, paired by seed.

    A switch is a field of the recipe, plan or network, or an edit of the network: --switch average leaves out weight averaging,
    --switch dropout=0.5 trains with another rate, --add edits.Fuse adds an edit. Several fields in quotes make one switch. By
    default each refinement of the recipe is left out, one at a time.

    Run the same command again to resume an interrupted study, or with more seeds, switches or data fractions to extend it.
    Adding seeds until a result looks good would bias it, so each look at the verdicts spends half of the remaining error rate.
    """
    from paretina import verbs
    from paretina.cli.program import INTERRUPTED, FailedError, duration, note, print_json, print_lines, taken_apart
    from paretina.progress import Progress
    from paretina.report.ablation_page import csv_table, text_tables, write_ablation, write_tables
    from paretina.run import write_aside
    from paretina.search.ablation.run import opened, run_study
    from paretina.search.ablation.study import Study, check, settled
    from paretina.search.ablation.switches import default_switches
    from paretina.search.ablation.verdicts import Price

    seconds = None if time_limit is None else duration(time_limit)
    limit = most if most is not None else None if price_train else 2.0
    price = Price(train=price_train, inference=price_inference, memory=price_memory, least=least, most=limit)
    verbs.check_csv(table)
    engine = engine_named(workers, cluster)
    given_fields = with_threads(taken_apart(fields), workers)
    for name in given_fields:
        if name in ("seed", "recipe.seed"):
            raise verbs.MisuseError(f"{name} does nothing here: every run of a study has its own seed; see --seeds")
    choice = verbs.ask(source, model or "efficientnet_b0", recipe, weights, device, None, given_fields)
    if not (output / "study.json").exists():
        verbs.check_output(output, choice.asked.data)
    with Progress() as progress:
        progress.doing("checking every change")
        with verbs.misuse():
            base = settled(choice.asked)
            given = [switch_named(text, False) for text in switches] + [switch_named(text, True) for text in additions]
            wanted = defaults if defaults is not None else not (given or methods or shares or noises or rivals)
            own = default_switches(base) if wanted else ()
            if methods:
                given += methods_of(base, output, progress.say, dry_run)
            study = Study(
                base=base,
                seeds=tuple(range(seeds)),
                switches=(*own, *(switch for switch in given if switch not in own)),
                shares=shares,
                noises=noises,
                rivals=tuple(rival_named(name.strip()) for name in rivals.split(",")) if rivals else (),
                budgets=("updates", "epochs") if equal == "both" else (equal,),  # type: ignore[arg-type]
                time_limit_s=seconds,
            )
            study, state = opened(output, study)
            check(study)
        if dry_run:
            show_plan(study, state["epochs"], output, as_json)
            return
        try:
            found = run_study(output, study, price, final, progress.say, progress.listen, engine=engine)
        except KeyboardInterrupt:
            raise FailedError("interrupted; run the same command again to resume", INTERRUPTED) from None
    written = write_tables(found)
    page = write_ablation(output)
    if table is not None:
        write_aside(table, csv_table(found).encode())
    if as_json:
        print_json(found.to_dict())
        return
    for text in found.notes:
        note(text)
    print_lines(text_tables(found))
    click.echo(f"tables: {', '.join(map(str, written))}")
    click.echo(f"report: {page}")


def methods_of(base: Any, output: Path, say: Any, dry_run: bool) -> list[Any]:
    """A switch for each method that fits, at equal epochs and in equal time; those in the study keep the epochs they have."""
    from paretina.search.ablation.findings import read_state
    from paretina.search.ablation.methods import EQUAL_TIME, in_equal_time, methods_for
    from paretina.search.ablation.study import Study
    from paretina.spec import decode

    found = methods_for(base)
    for name, reason in found.refused.items():
        say(f"{name} is left out: {reason}")
    known: dict[str, Any] = {}
    if (output / "study.json").exists():
        known = {each.title: each for each in decode(Study, read_state(output)["study"]).switches}
    new = tuple(each for each in found.switches if f"{each.title} {EQUAL_TIME}" not in known)
    kept = [known[f"{each.title} {EQUAL_TIME}"] for each in found.switches if each not in new]
    timed = () if dry_run else in_equal_time(base, new, say)
    return [*found.switches, *kept, *timed]


def switch_named(text: str, adds: bool) -> Any:
    """A switch; a field name of another tool is answered with ours."""
    from paretina.search.ablation.switches import WORDS, switch_of
    from paretina.train.asked import assignment
    from paretina.verbs import known_path

    switch = switch_of(text, adds)
    for field in switch.fields:
        path, _ = assignment(field)
        if path not in WORDS:
            known_path(path)
    return switch


def rival_named(name: str) -> Any:
    from paretina.model.family import network_named
    from paretina.search.ablation.study import Rival

    return Rival(name=name, model=network_named(name).blueprint)


def abridged(field: str) -> str:
    """A field in a list, where a value of many parts would fill the screen; `--json` has it whole."""
    name, _, value = field.partition("=")
    long = value.startswith(("{", "[")) and len(value) > 48
    return f"{name}={value[:22]}...{value[-22:]}" if long else field


def show_plan(study: Any, epochs: Any, output: Path, as_json: bool) -> None:
    """Lists the runs that would be made and those that are done."""
    from paretina.cli.program import print_json, print_lines
    from paretina.search.ablation.findings import is_over
    from paretina.text import how_many

    rows = [
        {
            "name": variant.named or variant.name,
            "fields": list(variant.switch.fields) if variant.switch else [],
            "runs": len(study.seeds),
            "done": sum(is_over(variant.folder(output, seed)) for seed in study.seeds),
        }
        for variant in study.variants(epochs)
    ]
    if as_json:
        print_json({"runs": sum(row["runs"] for row in rows), "variants": rows})
        return
    titles = [" ".join(map(abridged, str(row["name"]).split(" "))) for row in rows]
    width = max(map(len, titles))
    for title, row in zip(titles, rows, strict=True):
        counts = f"{row['runs'] - row['done']} to run, {row['done']} done"
        fields = " ".join(map(abridged, row["fields"]))
        print_lines([f"{title:<{width}}  {counts}  {fields if fields != title else ''}".rstrip()])
    click.echo(f"{how_many(sum(row['runs'] - row['done'] for row in rows), 'run')} to make")
