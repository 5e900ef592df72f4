"""Interrupts: on Ctrl-C or SIGTERM a run finishes its update and saves a checkpoint first."""

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from paretina.system import TerminatedError


@dataclass
class Stop:
    """Whether the run was interrupted.

    Attributes:
        error: what to raise when the checkpoint is saved.
    """

    asked: bool = False
    error: type[KeyboardInterrupt] = KeyboardInterrupt


@contextmanager
def asked_to_stop() -> Iterator[Stop]:
    """Records the first Ctrl-C or SIGTERM, so that the update is finished and a checkpoint saved; a second one acts at once."""
    stop = Stop()
    before: dict[int, Callable[..., Any] | int | None] = {}

    def put_back() -> None:
        for number, handler in before.items():
            # None is a handler that Python did not install and cannot restore
            signal.signal(number, signal.SIG_DFL if handler is None else handler)

    def note(number: int, frame: Any) -> None:
        stop.asked = True
        stop.error = TerminatedError if number == signal.SIGTERM else KeyboardInterrupt
        put_back()

    try:
        for number in (signal.SIGINT, signal.SIGTERM):
            before[number] = signal.signal(number, note)
    except ValueError:  # not in the main thread, which alone can install handlers: the caller must stop the run in another way
        pass
    try:
        yield stop
    finally:
        put_back()
