"""The command `paretina serve`."""

from pathlib import Path

import click

from paretina.cli.program import command, main, note


@command(
    main,
    "paretina serve runs/photos-efficientnet_lite0-1\nparetina serve photos.onnx --port 8080",
    short_help="Serve a model over HTTP, with a page to try it on.",
)
@click.argument("model", type=click.Path(path_type=Path))
@click.option("--host", default="127.0.0.1", help="Address to listen on.  [127.0.0.1, this machine only]")
@click.option("--port", type=click.IntRange(0, 65535), default=8000, help="Port; 0 for a free one.  [8000]")
@click.option("--batch", type=click.IntRange(1), default=16, help="Pictures that are computed together at most.  [16]")
@click.option("--queue", type=click.IntRange(1), default=64, help="Pictures that may wait; more are refused.  [64]")
@click.option("--max-bytes", type=click.IntRange(1), default=20 << 20, help="Largest file that is read.  [20 MiB]")
@click.option("--max-pixels", type=click.IntRange(1), default=25_000_000, help="Largest picture that is decoded.  [25,000,000]")
@click.option("--timeout", type=click.FloatRange(0.001), default=30.0, help="Seconds for an answer.  [30]")
@click.option("--trust", is_flag=True, help="Open a file of torch.export, which can run code.")
def serve(
    model: Path,
    host: str,
    port: int,
    batch: int,
    queue: int,
    max_bytes: int,
    max_pixels: int,
    timeout: float,
    trust: bool,
    as_json: bool,
) -> None:
    """Serve a model over HTTP: predictions, health, Prometheus metrics, OpenAPI, and a page to drop pictures on.

    MODEL is a model file, the directory of a finished run, or a file that `paretina ship` has written. Only this machine can
    reach it unless --host says otherwise.
    """
    from paretina import verbs

    verbs.serve(
        model, host, port, trust, note, batch=batch, queue=queue, bytes=max_bytes, pixels=max_pixels, seconds=timeout
    )  # fmt: skip
