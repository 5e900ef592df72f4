"""The options `--tune` and `--plan`, shared by several commands."""

import itertools
from collections.abc import Callable
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import click

from paretina.cli.once import Once

TUNINGS = ("none", "eager", "full")

BEHIND = "paretina.cli.planning.behind"
"""Where a command keeps the word behind `--tune` that is neither one of these nor a file, so that an error can name both."""


class TuneCommand(Once):
    """Reads `--tune` alone as `--tune eager`."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        said = []
        for word, following in itertools.zip_longest(args, args[1:]):
            if word == "--tune" and following is not None and "=" not in following and not Path(following).exists():
                close = get_close_matches(following, TUNINGS[1:], n=1)
                if close and following not in TUNINGS and not ctx.resilient_parsing:
                    raise click.UsageError(f"--tune cannot be {following!r}; did you mean {close[0]!r}?", ctx)
                if following not in TUNINGS and not following.startswith("-"):
                    ctx.meta[BEHIND] = following
            said += [word, "eager"] if word == "--tune" and following not in TUNINGS else [word]
        return super().parse_args(ctx, said)


def planning_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """`--tune` and `--plan` of the commands that train or measure."""
    function = click.option(
        "--plan",
        type=click.Choice(["default"]),
        default=None,
        help="Use the default plan, even if an earlier --tune found a faster one.",
    )(function)
    return click.option(
        "--tune",
        "tuning",
        metavar="[eager|full]",
        type=click.Choice(TUNINGS),
        default="none",
        help="Search for the fastest plan first, in under 30 s per network; full also compiles, as before a long run.",
    )(function)


def planning_named(tuning: str, plan: str | None) -> Any:
    """What `--tune` and `--plan` ask for together, a `Planning`."""
    if plan is not None and tuning != "none":
        raise click.UsageError("--plan default and --tune exclude each other; leave one out", click.get_current_context())
    return plan or {"none": "known"}.get(tuning, tuning)
