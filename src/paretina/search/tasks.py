"""Pieces of work of a study, and what carries them out.

A study (a scaling, a search) is a list of tasks. Each is done once, wherever, and leaves one file, so an interrupted study
continues where it was: what has a file is not done again. Tasks are independent of each other; what depends on their outcomes
is decided by the study between two calls of `Engine.run`.

An error that says that one candidate cannot be trained is an outcome like another; any other error stops the study. A task
whose process or machine is lost is done again, up to `ATTEMPTS` times. Tasks that time something are done last, one at a time,
while no other task of the study runs on that machine; what is to be compared belongs in one of them, since timings of several
machines cannot be compared.
"""

import json
import socket
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from paretina.measure.timing import is_out_of_memory
from paretina.run import TakenError, write_aside
from paretina.search.device_lock import DeviceLock, file_locks, held

ATTEMPTS = 3
"""How often a task is begun that loses its process or machine."""

FAULTS = (ValueError, FloatingPointError, MemoryError, RuntimeError)
"""Errors of one candidate, which are its outcome; of runtime errors only out-of-memory."""

Say = Callable[[str], None]

Do = Callable[[Path, dict[str, Any]], dict[str, Any]]
"""Does a task, and continues what it finds begun: gets the folder of the study and the arguments, returns JSON."""


TELL: ContextVar[Say] = ContextVar("TELL", default=lambda text: None)
"""What a piece of work tells its progress, where it is done in the process of the study."""


@dataclass(frozen=True)
class StudyTask:
    """
    Attributes:
        name: unique in the study; the name of its file, and of its folder if it needs one.
        do: a function of a module, since it may run in another process.
        given: its arguments, JSON.
        cores: processor cores that it keeps busy.
        gpus: GPUs that it needs.
        alone: whether it times something.
        leaves: of a task that keeps its outcome itself, files in the folder of the study, any of which says that it is done;
            the last is written where its process is lost too often. Without any, the outcome is kept in a file of its name.
        title: what progress calls it; "" for its name.
    """

    name: str
    do: Do
    given: Mapping[str, Any] = field(default_factory=dict, hash=False)
    cores: int = 1
    gpus: float = 0.0
    alone: bool = False
    leaves: tuple[str, ...] = ()
    title: str = ""

    @property
    def said(self) -> str:
        return self.title or self.name

    def __post_init__(self) -> None:
        if not self.name or self.name.startswith(".") or set(self.name) & set("/\\:\0"):
            raise ValueError(f"a task's name is a file name, got {self.name!r}")

    def is_done(self, folder: Path) -> bool:
        if self.leaves:
            return any((folder / each).exists() for each in self.leaves)
        return path_of(folder, self.name).exists()


@dataclass(frozen=True)
class TaskOutcome:
    """
    Attributes:
        value: what the task returned; empty if it failed.
        error: why it failed; None if it did not.
        machine: where it was done.
        took_s: seconds that it took.
    """

    value: dict[str, Any]
    error: str | None
    machine: str
    took_s: float

    FIELDS: ClassVar = ("value", "error", "machine", "took_s")


def path_of(folder: Path, name: str) -> Path:
    return folder / "tasks" / f"{name}.json"


def outcome_of(folder: Path, name: str) -> TaskOutcome | None:
    """The outcome of a task; None while it is not done.

    Raises:
        ValueError: its file is damaged.
    """
    path = path_of(folder, name)
    try:
        found = json.loads(path.read_text())
        return TaskOutcome(**{key: found[key] for key in TaskOutcome.FIELDS})
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError):
        raise ValueError(f"{path} is damaged; remove it, and the task is done again") from None


def kept(folder: Path, name: str, outcome: TaskOutcome) -> None:
    """Writes the outcome of a task, whole or not at all."""
    path = path_of(folder, name)
    path.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps({key: getattr(outcome, key) for key in TaskOutcome.FIELDS}, indent=1)
    write_aside(path, text.encode())


@contextmanager
def telling(say: Say) -> Iterator[None]:
    """Lets pieces of work that are done in this process tell their progress."""
    token = TELL.set(say)
    try:
        yield
    finally:
        TELL.reset(token)


def carry_out(task: StudyTask, folder: Path) -> None:
    """Does a task in this process, and leaves its file; nothing if that is there."""
    if task.is_done(folder):
        return
    if task.leaves:
        task.do(folder, dict(task.given))
        return
    began, value, error = time.monotonic(), {}, None
    try:
        value = task.do(folder, dict(task.given))
    except TakenError:
        raise  # another process works on it
    except FAULTS as fault:
        if isinstance(fault, RuntimeError) and not is_out_of_memory(fault):
            raise
        error = " ".join(str(fault).split()) or type(fault).__name__
    kept(folder, task.name, TaskOutcome(value, error, socket.gethostname(), time.monotonic() - began))


def lost(folder: Path, task: StudyTask) -> None:
    """Records that a task has lost its process too often."""
    text = f"its process ended {ATTEMPTS} times without a result, perhaps for lack of memory"
    if task.leaves:
        path = folder / task.leaves[-1]
        path.parent.mkdir(parents=True, exist_ok=True)
        write_aside(path, json.dumps({"stage": task.name, "error": text, "reason": text}).encode())
        return
    kept(folder, task.name, TaskOutcome({}, text, socket.gethostname(), 0.0))


class Engine(ABC):
    """Carries out tasks.

    Attributes:
        several: whether tasks run side by side, so that each takes longer than it would alone.
    """

    several: bool = False

    @abstractmethod
    def share(self, tasks: Sequence[StudyTask], folder: Path, say: Say) -> None:
        """Carries out tasks that may run side by side, in any order; returns when each has its file.

        Raises:
            KeyboardInterrupt: interrupted; begun tasks continue next time.
        """

    def alone(self, tasks: Sequence[StudyTask], folder: Path, say: Say, device: str) -> None:
        """Carries out timings, one at a time, while nothing else of the study runs on that machine."""
        for task in tasks:
            say(task.said)
            with DeviceLock(device, folder / "workers").alone(), telling(say):
                carry_out(task, folder)

    def run(
        self, tasks: Sequence[StudyTask], folder: Path, say: Say = lambda text: None, device: str = "cpu"
    ) -> dict[str, TaskOutcome]:
        """The outcomes of tasks by name, in the order given; those that are not done are carried out.

        Tasks that keep their outcomes themselves have none here.

        Args:
            folder: of the study; with a cluster, one that all machines see.
            device: that timings have to themselves.

        Raises:
            ValueError: two tasks have the same name.
        """
        names = [task.name for task in tasks]
        if twice := {name for name in names if names.count(name) > 1}:
            raise ValueError(f"two tasks are called {min(twice)}")
        left = [task for task in tasks if not task.is_done(folder)]
        if side_by_side := [task for task in left if not task.alone]:
            self.share(side_by_side, folder, say)
        if timings := [task for task in left if task.alone]:
            self.alone(timings, folder, say, device)
        found = {task.name: outcome_of(folder, task.name) for task in tasks if not task.leaves}
        return {name: outcome for name, outcome in found.items() if outcome is not None}


@contextmanager
def sole(folder: Path) -> Iterator[None]:
    """The right to work on a study.

    Raises:
        ValueError: another process has it, or this system has no locks for it.
    """
    locks = file_locks()
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with held(folder / "workers" / "study.lock", locks.LOCK_EX | locks.LOCK_NB):
            yield
    except BlockingIOError:
        raise TakenError(f"another process is working on {folder}; wait until it is done, or stop it") from None


FAILED = "failed.json"
"""What a study leaves in its directory that could not be finished."""


@contextmanager
def tried_again(folder: Path) -> Iterator[None]:
    """Notes that a study failed; where it did before, the pieces of work that ended with an error are done again."""
    if (folder / FAILED).exists():
        for path in (folder / "tasks").glob("*.json"):
            found = outcome_of(folder, path.stem)
            if found is not None and found.error:
                path.unlink()
        (folder / FAILED).unlink()
    try:
        yield
    except ValueError as error:
        if not isinstance(error, TakenError):
            write_aside(folder / FAILED, json.dumps({"error": str(error)}).encode())
        raise


def engine(cluster: str | None = None, workers: int | None = None) -> Engine:
    """What carries out the tasks.

    Args:
        cluster: `auto` or an address such as ray://host:10001; None for this machine alone.
        workers: processes of this machine; None for one for each core that a task keeps busy.

    Raises:
        ValueError: Ray is not installed, or there is no such cluster.
    """
    if cluster is not None:
        if workers is not None:
            raise ValueError("--workers is for this machine alone; on a cluster the tasks' cores decide")
        from paretina.search.engines.ray import OnRay

        return OnRay(cluster)
    from paretina.search.engines.here import Here

    return Here(workers)
