"""The commands `paretina show`, `models` and `recipes`."""

import re

import click

from paretina.cli.program import command, main, misuse, print_json, print_lines
from paretina.tables import in_columns
from paretina.text import how_many


@command(main, "paretina show efficientnet_b0", short_help="Print the stages of a network or model file.")
@click.argument("model")
@click.option("--resolution", type=click.IntRange(1), default=None, help="Image size in pixels.")
def show(model: str, resolution: int | None, as_json: bool) -> None:
    """Print the stages of a network or model file, with output shape, parameters and MACs of each.

    MODEL is a name from `paretina models`, a model file, or the directory of a finished run.
    """
    from paretina import verbs
    from paretina.measure.cost import rounded_in_words, without
    from paretina.model.preprocessing import in_words

    shown = verbs.show(model, resolution)
    if as_json:
        print_json(shown.to_dict())
        return
    counted, published = shown.cost, shown.published
    print_lines([f"{shown.name} ({shown.source}) at {counted.resolution} pixels, {how_many(shown.model.classes, 'class')}"])
    rows = [("", "output", "params", "MACs", "spec")]
    for stage in counted.stages:
        if stage.name == "rest" and not stage.params and not stage.macs:
            continue
        output = " x ".join(map(str, stage.output))
        rows.append((stage.name, output, f"{stage.params:,}", f"{stage.macs / 1e6:,.1f} M", stage.spec))
    rows.append(("total", "", f"{counted.params:,}", f"{counted.macs / 1e6:,.1f} M", ""))
    click.echo("\n".join(in_columns(rows, "<<>><")))
    maps = f", feature maps at strides {', '.join(map(str, shown.strides))}" if shown.strides else ""
    click.echo(f"activations {counted.activations / 1e6:,.2f} M, weights {counted.weight_bytes / 1e6:,.1f} MB{maps}")
    if counted.bits:
        click.echo(rounded_in_words(counted))
        print_lines([f"  {stage.name}: {stage.bits}" for stage in counted.stages if stage.bits])
    if counted.routes:
        known = "as if all took the largest"
        if getattr(shown.model, "shares", ()):
            known = "as often as the validation pictures of its training took them"
        each = [(way.name, f"{100 * way.share:.0f} %", f"{way.macs / 1e6:,.1f} M") for way in counted.routes]
        print_lines([f"chooses one of {how_many(len(counted.routes), 'size')} for each picture; counted {known}:"])
        click.echo("\n".join(in_columns([("size", "share", "MACs"), *each], ">")))
    if counted.uncounted:
        click.echo(without(counted.uncounted))
    click.echo(f"pictures: {in_words(shown.model.preprocessing, counted.resolution)}")
    if published:
        top1 = f", ImageNet top-1 {published.top1} % ({published.note})" if published.top1 else ""
        click.echo(f"published: {published.params:,} params, {published.macs:g} G MACs{top1}")
    if shown.about:
        licence = f"; licence of the weights it started from: {shown.about.licence}" if shown.about.licence else ""
        print_lines([f"{shown.about.origin}{licence}"])
        figures = {"top-1": "val/top1", "balanced": "val/balanced", "mAP": "val/map", "mean IoU": "val/iou"}
        measured = [f"{name} {shown.about.metrics[key]:.1f} %" for name, key in figures.items() if key in shown.about.metrics]
        if type(shown.about.task).__name__ != "OneOf":
            click.echo(f"task: {shown.about.task.WORDS}")
        if measured:
            click.echo(f"measured after training: {', '.join(measured)}")
        print_lines([f"classes: {', '.join(shown.about.classes[:12])}{' ...' if len(shown.about.classes) > 12 else ''}"])


@command(
    main,
    "paretina models 'efficientnetv2_*'\nparetina models --max-params 10M --max-macs 1G --family ghostnet --weights",
    short_help="List the networks with published figures.",
)
@click.argument("pattern", default="*")
@click.option("--max-params", metavar="COUNT", default=None, help="Maximum number of parameters, with 1,000 classes: 10M.")
@click.option("--max-macs", metavar="COUNT", default=None, help="Maximum number of MACs per image: 600M, 1G.")
@click.option("--family", default=None, help="Only networks of this family.")
@click.option("--weights", is_flag=True, help="Only networks with pretrained weights.")
def models(
    pattern: str, max_params: str | None, max_macs: str | None, family: str | None, weights: bool, as_json: bool
) -> None:
    """List the networks that match PATTERN, with published figures and sources of pretrained weights."""
    from paretina import verbs

    limits = (count("--max-params", max_params), count("--max-macs", max_macs))
    rows = verbs.models(pattern, *limits, family, weights)
    if as_json:
        print_json(rows)
        return
    lines = [["name", "params", "GMACs", "pixels", "top-1", "weights", "published by"]]
    for row in rows:
        top1 = f"{row['top1']:.1f}" if row["top1"] else "-"
        figures = (f"{in_digits(row['params'] / 1e6, 1)}M", in_digits(row["gmacs"], 2), f"{row['resolution']}", top1)
        lines.append([row["name"], *figures, row["weights"] or "-", row["note"]])
    click.echo("\n".join(in_columns(lines, "<>>>><")))


def in_digits(value: float, places: int) -> str:
    """A number with that many decimal places, or as many as it takes to show two digits of it."""
    while 0 < value < 10 ** (1 - places):
        places += 1
    return f"{value:.{places}f}"


def count(option: str, text: str | None) -> float | None:
    """A number such as 10M, 1.5G or 300000; None stays None."""
    if text is None:
        return None
    units = {"": 1, "k": 1e3, "m": 1e6, "g": 1e9, "b": 1e9}
    found = re.fullmatch(r"(\d+(?:\.\d*)?|\.\d+)([kmgb]?)", text.strip().lower())
    if found is None or not float(found[1]):
        misuse(f"{option} must be a number such as 300000, 10M or 1.5G, got {text!r}")
    return float(found[1]) * units[found[2]]


@command(main, "paretina recipes", short_help="List the recipes and their measured results.")
def recipes(as_json: bool) -> None:
    """List the recipes, each with its purpose and measured results."""
    from paretina.verbs.outline import table

    found = table()["recipes"]
    if as_json:
        print_json(found)
        return
    texts: dict[str, list[str]] = {}
    for name, each in found.items():
        texts.setdefault(each["about"], []).append(name)
    for about, names in texts.items():
        click.echo(f"{', '.join(names)}\n  " + about.replace("\n", "\n  ").replace("\n  \n", "\n\n") + "\n")
