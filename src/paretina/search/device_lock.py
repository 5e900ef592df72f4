"""File locks: of a study, and between training and timing on one device of this machine."""

import socket
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, Any

try:
    import fcntl
except ImportError:  # Windows has none
    fcntl = None  # type: ignore[assignment]


def file_locks() -> Any:
    """The module `fcntl`.

    Raises:
        ValueError: this system has no such locks.
    """
    if fcntl is None:
        raise ValueError(
            f"studies need file locks that several processes share, which {sys.platform} does not have; run this command on "
            "Linux, on macOS or in WSL"
        )
    return fcntl


@contextmanager
def held(path: Path, mode: int) -> Iterator[IO[str]]:
    """An open file, locked in a mode of `fcntl.flock`; waits for the lock unless the mode is non-blocking.

    Raises:
        BlockingIOError: another process has the lock, and the mode is non-blocking.
        ValueError: this system has no such locks.
    """
    locks = file_locks()
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "a+") as file:
        locks.flock(file, mode)
        yield file


class DeviceLock:
    """A lock between training and timing on one device of this machine.

    Trainings share the device; a timing has it exclusively. A waiting timing takes precedence over later trainings. Processes
    that do not use the lock are only detected (`paretina.measure.machine.Others`).
    """

    def __init__(self, device: str, folder: Path) -> None:
        name = f"{socket.gethostname()}-{device.replace(':', '')}"
        self.gate = folder / f"{name}.gate"
        self.lock = folder / f"{name}.lock"

    @contextmanager
    def shared(self) -> Iterator[None]:
        """The lock for training; waits for a timing."""
        locks = file_locks()
        with ExitStack() as stack:
            with held(self.gate, locks.LOCK_EX):
                stack.enter_context(held(self.lock, locks.LOCK_SH))
            yield

    @contextmanager
    def alone(self) -> Iterator[None]:
        """The lock for timing; waits until no process trains."""
        exclusive = file_locks().LOCK_EX
        with held(self.gate, exclusive), held(self.lock, exclusive):
            yield
