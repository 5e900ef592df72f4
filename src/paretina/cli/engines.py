"""The options `--workers` and `--cluster`, shared by the commands that train many networks."""

import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click


def engine_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """`--workers` and `--cluster`."""
    function = click.option(
        "--cluster",
        default=None,
        help="Train on a Ray cluster: auto on one of its machines, or ray://HOST:10001; --output is a folder that all see.",
    )(function)
    return click.option(
        "--workers",
        type=click.IntRange(1),
        default=None,
        help="Networks that are trained side by side on this machine, which lengthens the training of each.  [1]",
    )(function)


def resumed_by(command: str, folder: Path, workers: int | None, cluster: str | None) -> str:
    """The command line that continues an interrupted study in the same way."""
    words = ["paretina", command, "--resume", str(folder)]
    words += ["--workers", str(workers)] if workers and workers > 1 else []
    return shlex.join([*words, *(["--cluster", cluster] if cluster else [])])


def engine_named(workers: int | None, cluster: str | None) -> Any:
    """What carries out the trainings; None for this process, one after the other.

    Raises:
        MisuseError: both options are given, Ray is not installed, or there is no such cluster.
    """
    if cluster is None and workers in (None, 1):
        return None
    from paretina.search.tasks import engine
    from paretina.verbs import misuse

    with misuse():
        return engine(cluster, workers)


def with_threads(fields: dict[str, Any], workers: int | None) -> dict[str, Any]:
    """The fields, with the threads that each of several workers gets, unless they are given."""
    from paretina.system import cores

    if workers in (None, 1) or fields.keys() & {"threads", "plan.threads"}:
        return fields
    return {**fields, "threads": max(1, cores() // int(workers or 1))}
