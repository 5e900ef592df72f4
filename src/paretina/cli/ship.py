"""The command `paretina ship`."""

from pathlib import Path

import click

from paretina.cli.program import FailedError, command, main, print_json, print_lines, waiting

GATE = 3
"""Exit code where the file is not the model, or lost too much."""


@command(
    main,
    "paretina ship runs/photos-efficientnet_lite0-1 --to onnx\n"
    "paretina ship runs/photos-efficientnet_lite0-1 --to openvino --precision int8 --out photos.ovz",
    short_help="Write a model as one ONNX, OpenVINO or torch.export file.",
)
@click.argument("model", type=click.Path(path_type=Path))
@click.option("--to", required=True, metavar="FORMAT", help="onnx, openvino or torch-export.")
@click.option("--precision", default="float32", help="float32, bfloat16 or int8.  [float32]")
@click.option("--out", type=click.Path(path_type=Path), help="File to write.  [beside the model]")
@click.option("--data", default=None, help="Labelled pictures to compare on.  [those that it was trained on]")
@click.option("--split", default=None, help="Split of the data to compare on.  [val: what training held out]")
@click.option("--pictures", type=int, default=1000, help="Number of pictures to compare on.  [1000]")
@click.option(
    "--seconds", type=click.FloatRange(0), default=6.0, help="Time for each comparison of latencies; 0 for none.  [6]"
)
@click.option("--max-loss", type=float, default=None, help="Points of top-1 that the file may lose.  [0.5 in int8]")
@click.option("--point-estimate", is_flag=True, help="Judge by the loss that is seen, not by its interval.")
def ship(
    model: Path,
    to: str,
    precision: str,
    out: Path | None,
    data: str | None,
    split: str | None,
    pictures: int,
    seconds: float,
    max_loss: float | None,
    point_estimate: bool,
    as_json: bool,
) -> None:
    """Write a trained model as one file with everything in it: pixels of any size in, probabilities or boxes out.

    MODEL is a model file or the directory of a finished run. The file is then opened by its own runtime and compared with the
    model on validation pictures: answers, probabilities, accuracy, time. The exit code is 3 if it is not the same model, or if
    that cannot be told. In int8 the same network in bfloat16 is timed too, if FORMAT has it, to say which to ship.
    """
    from paretina import verbs
    from paretina.cli.program import note
    from paretina.text import printable

    with waiting("shipping"):
        found = verbs.ship(model, to, precision, out, data, split, pictures, seconds, max_loss, point_estimate, note)
    gate = found.gate
    trouble = (
        ""
        if gate.passed
        else f"{gate.verdict}: {gate.why}" + (f"; it departs first in: {gate.departs}" if gate.departs else "")
    )
    if as_json:
        if trouble:
            raise FailedError(trouble, GATE, **found.to_dict())
        print_json(found.to_dict())
        return
    print_lines([*found.header.steps, *gate.lines()])
    click.echo(
        printable(f"file: {found.path}, {found.bytes / 1e6:.3g} MB (the model file is {found.bytes_before / 1e6:.3g} MB)")
    )
    if ending := gate.ending():
        click.echo(ending)
    if found.rivalry is not None:
        click.echo(found.rivalry.line())
    if trouble:
        raise FailedError(f"{trouble}; the file was written all the same", GATE)
