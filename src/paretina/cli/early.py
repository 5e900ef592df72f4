"""Early: puts a check before each command, so that most slips are found before torch is imported, which takes seconds."""

import functools
from collections.abc import Callable
from typing import Any

import click


def watch(group: click.Group) -> None:
    """Puts its check before each command of a group; see `paretina.cli.slips`."""
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            watch(command)
        elif command.callback is not None:
            command.callback = checked(command.callback, name)


def checked(callback: Callable[..., Any], name: str) -> Callable[..., Any]:
    """The function of a command, which looks for slips first, unless the source has changed since they were written down."""

    @functools.wraps(callback)
    def run(**given: Any) -> Any:
        from paretina.cli.slips import CHECKS
        from paretina.verbs.outline import read

        if name in CHECKS and read() is not None:
            CHECKS[name](given)
        return callback(**given)

    return run
