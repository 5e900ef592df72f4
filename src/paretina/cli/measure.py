"""The command `paretina measure`."""

from pathlib import Path

import click

from paretina.cli.planning import TuneCommand, planning_named, planning_options
from paretina.tables import write_csv
from paretina.text import how_many


@click.command(
    "measure",
    cls=TuneCommand,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
    epilog="\b\nExample:\n  paretina measure efficientnet_b0 resnet50 timm:levit_256 --resolution 224 --tune",
    short_help="Measure the cost of networks: parameters, MACs, memory, speed.",
)
@click.argument("names", metavar="MODEL...", nargs=-1, required=True)
@click.option("--device", default="auto", help="auto, cpu, cuda, cuda:1 or mps.  [auto]")
@click.option("--resolution", type=click.IntRange(1), default=None, help="Image size in pixels; default: each network's own.")
@click.option("--batch", type=click.IntRange(1), default=None, help="Batch size; default: the fastest is searched for.")
@click.option("--training/--no-training", default=True, help="Also time the training step.  [yes]")
@planning_options
@click.option("--data", default=None, help="Data on which the outputs of plans are compared.  [clipart]")
@click.option("--rounds", type=click.IntRange(1), default=None, help="Timing rounds; default: as many as fit into --time.")
@click.option("--time", default="10s", show_default=True, help="Timing budget per network: 10s, 1m.")
@click.option(
    "--stages/--no-stages", default=None, help="Show what limits the speed of each stage.  [yes for one or two networks]"
)
@click.option(
    "--csv", "table", type=click.Path(path_type=Path), default=None, help="Write the figures to this file, one row per network."
)
@click.option("--trust", is_flag=True, help="Open a file of torch.export, which can run code.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def measure(
    names: tuple[str, ...],
    device: str,
    resolution: int | None,
    batch: int | None,
    training: bool,
    tuning: str,
    plan: str | None,
    data: str | None,
    rounds: int | None,
    time: str,
    stages: bool | None,
    table: Path | None,
    trust: bool,
    as_json: bool,
) -> None:
    """Measure the cost of networks on this machine: parameters, MACs and bytes; latency, throughput and training speed.

    MODEL is a name from `paretina models`, a model file, the directory of a finished run, timm:NAME, or a file that
    `paretina ship` has written, which its own runtime executes. Networks are timed in alternation; 95 % intervals of the
    median are in brackets.
    """
    from paretina.cli.program import duration, note, print_json, print_lines
    from paretina.data.named import source_named
    from paretina.measure.compare import measure_models
    from paretina.measure.plan import default_plan
    from paretina.model.fold import fold
    from paretina.progress import Progress
    from paretina.verbs import check_csv, misuse
    from paretina.verbs.opening import open_any

    check_once(names)
    planning_named(tuning, plan)  # refuses both together
    seconds = duration(time, "--time")
    check_csv(table)
    with misuse():
        default_plan(device)
        source = source_named(data) if data is not None else None
    with Progress() as progress:
        progress.doing("opening the networks")
        with misuse():
            opened = {name: open_any(name, resolution, trust) for name in names}
        found = measure_models(
            names,
            device,
            resolution,
            batch,
            training,
            tuning,  # type: ignore[arg-type]
            use_cache=plan is None,
            rounds=rounds,
            seconds=seconds,
            source=source,
            fold=fold,
            say=progress.doing,
            open_one=lambda name, _: opened[name],
        )
    if table is not None:
        write_csv(table, found.rows())
    if as_json:
        print_json(found.to_dict())
        return
    here = found.device
    click.echo(
        f"{here.name}, {how_many(here.cores, 'core')}, {how_many(here.threads, 'thread')}, torch {here.torch}; "
        "in brackets 95 % intervals"
    )
    print_lines(found.table())
    if stages or (stages is None and len(names) <= 2):
        print_lines(found.stage_tables())
        for key, ceiling in found.ceilings.items():
            name = key.removesuffix(", 1 threads") + ", 1 thread" if key.endswith(", 1 threads") else key
            click.echo(f"\nceilings ({name}): {ceiling.gmacs_s:,.0f} GMAC/s, {ceiling.gb_s:,.1f} GB/s")
    for model in found.models:
        for text in model.notes:
            note(f"{model.name}: {text}")
    if found.disturbed:
        used = found.models[0].timing.others
        note(f"other processes used {used:.1f} cores during timing, so these times are not reliable")


def check_once(names: tuple[str, ...]) -> None:
    if len(set(names)) < len(names):
        message = f"{max(names, key=names.count)} is named twice; name each network once"
        raise click.UsageError(message, click.get_current_context())
