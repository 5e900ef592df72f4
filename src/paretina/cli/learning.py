"""Options of the commands that train by another objective than labels."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from paretina.cli.planning import planning_options
from paretina.cli.tracking import follow_option


def learning_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """The options of commands that train, but those that say what."""
    for option in (
        click.option(
            "--dry-run", is_flag=True, help="Print what would be done, with an estimate of time and memory, without training."
        ),
        click.option("--print-config", is_flag=True, help="Print every field and where its value came from, without training."),
        follow_option,
        planning_options,
        click.option("--time-limit", default=None, help="Fit the schedule into this time: 90s, 10m, 2h."),
        click.option("--device", default=None, help="auto, cpu, cuda, cuda:1 or mps.  [auto]"),
        click.option(
            "--output", "-o", type=click.Path(path_type=Path), help="Run directory; default: the next free one in runs/."
        ),
        click.option(
            "--config", "-c", type=click.Path(path_type=Path), help="YAML or JSON file with fields, by the same names."
        ),
    ):
        function = option(function)
    return function
