"""The option `--log-to`, shared by the commands that train one network, and by `paretina report`."""

from collections.abc import Callable
from typing import Any

import click


def tracking_option(does: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """`--log-to`.

    Args:
        does: what is done with the run, as the start of its help.
    """
    return click.option(
        "--log-to",
        metavar="TRACKER,...",
        default=None,
        help=f"{does}: tensorboard, mlflow or wandb, or several, with commas. Each is an extra: pip install "
        "'paretina[tensorboard]'.  [none]",
    )


follow_option = tracking_option("Trackers of experiments that follow the log of the run")
