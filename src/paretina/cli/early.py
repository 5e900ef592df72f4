"""Checks the arguments of each command before torch is imported, which takes seconds."""

import functools
from collections.abc import Callable
from typing import Any

import click


def watch(group: click.Group) -> None:
    """Runs the check of each command of a group before the command; see `paretina.cli.slips`."""
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            watch(command)
        elif command.callback is not None:
            command.callback = checked(command.callback, name)


def checked(callback: Callable[..., Any], name: str) -> Callable[..., Any]:
    """The function of a command, run after its check; no check if the source has changed since the outline was made."""

    @functools.wraps(callback)
    def run(**given: Any) -> Any:
        from paretina.cli.slips import CHECKS
        from paretina.verbs.outline import read

        if name in CHECKS and read() is not None:
            CHECKS[name](given)
        return callback(**given)

    return run
