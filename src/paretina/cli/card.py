"""The commands `paretina card` and `paretina embed`."""

from collections import Counter
from pathlib import Path

import click

from paretina.cli.program import command, main, note, print_json, print_lines, waiting


@command(
    main,
    "paretina card runs/photos-efficientnet_lite0-1 --out README.md\nparetina card photos.onnx",
    short_help="Write the model card of a model.",
)
@click.argument("model", type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), help="New file to write.  [the card is printed]")
def card(model: Path, out: Path | None, as_json: bool) -> None:
    """Write the model card of a model: what it is, its figures with intervals, where it is weak, its cost, licence and origin.

    MODEL is a model file, the directory of a finished run, or a file that `paretina ship` has written. The card is Markdown
    with the front matter that Hugging Face's hub reads; what is not known is not in it.
    """
    from paretina import verbs

    text = verbs.card(model, out)
    if as_json:
        print_json({"card": text, "file": None if out is None else str(out)})
    elif out is None:
        click.echo(text, nl=False)
    else:
        click.echo(f"card: {out}")


@command(
    main,
    "paretina embed runs/photos-efficientnet_lite0-1 folder/ --out features.npz --csv alike.csv",
    short_help="Write features of pictures, and which are alike.",
)
@click.argument("model", type=click.Path(path_type=Path))
@click.argument("paths", type=click.Path(path_type=Path), nargs=-1, required=True)
@click.option("--out", type=click.Path(path_type=Path), help="Write names and features to this .npz file.")
@click.option("--neighbours", type=int, default=5, help="Most similar pictures to show for each.  [5]")
@click.option("--csv", type=click.Path(path_type=Path), help="Write the neighbours to this file.")
@click.option("--device", default="auto", help="auto, cpu, cuda or mps.  [auto]")
@click.option("--trust", is_flag=True, help="Open a file of torch.export, which can run code.")
def embed(
    model: Path,
    paths: tuple[Path, ...],
    out: Path | None,
    neighbours: int,
    csv: Path | None,
    device: str,
    trust: bool,
    as_json: bool,
) -> None:
    """Compute the features of pictures before the classifier, and the pictures that are most alike by them.

    MODEL is a model file, the directory of a finished run, or a file that `paretina ship` has written.
    """
    from paretina import verbs
    from paretina.data.scan import left_out_text

    with waiting("reading the pictures"):
        found = verbs.embed(model, paths, out, neighbours, csv, device, trust)
    if as_json:
        print_json(found.to_dict())
        return
    if found.left_out:
        note(left_out_text(Counter(found.left_out)))
    if any(found.neighbours):
        note("the most similar other pictures, with the cosine of the angle between the features: 1 for the same direction")
    for name, near in zip(found.names, found.neighbours, strict=True):
        print_lines([f"{name}  {'   '.join(f'{other} {value:.3f}' for other, value in near)}".rstrip()])
    print_lines((f"could not be read: {name}: {reason}" for name, reason in found.damaged.items()), err=True)
    if csv is not None:
        click.echo(f"neighbours: {csv}")
    if out is not None:
        click.echo(f"features: {out}, {len(found.names):,} x {found.features.shape[1]:,}")
