"""Assigns jobs to the processes or machines that work on one directory.

Finished jobs are marked by files in that directory; claims only prevent two workers from doing the same job at the same time.
`SharedClaims` keeps them in Optuna's journal, which any Optuna tool can read. Its pitfalls, and how they are handled:

- `study.ask()` on an empty queue creates a new trial, and samplers may suggest the same job twice. Here nothing is suggested: a
  worker adds a running trial with the name of its job, then reads the journal; of several live trials of a job the one with the
  lowest number wins, and the others are withdrawn. All read the journal in the same order, so exactly one wins.
- The journal has no heartbeat, so a trial of a killed worker would run forever. Each worker holds a lock on its own file, which
  the kernel releases when it ends, so workers on the same machine notice at once. On another machine, a worker counts as dead
  if a counter in that file has not changed for five minutes, by the observer's clock.
- File locks do not always work on network file systems. Several machines need a file system that supports them.

`LoneClaims` needs no Optuna and allows one process.
"""

import fcntl
import json
import os
import secrets
import socket
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import IO, Any

BEAT_S = 20.0
SILENT_S = 300.0
"""Seconds without a heartbeat after which a worker on another machine counts as dead."""


class Claims(ABC):
    """Claims of workers on jobs."""

    @abstractmethod
    def take(self, stage: str, jobs: Sequence[str]) -> str | None:
        """Claims the first of these jobs that no other worker has, and returns it; None if there is none."""

    @abstractmethod
    def give_back(self, stage: str, job: str, value: float | None = None, **said: Any) -> None:
        """Ends a claim.

        Args:
            value: result of the job; None if it has none.
            said: further values to store with it.
        """

    @abstractmethod
    def others(self) -> int:
        """The number of other live workers."""


@contextmanager
def held(path: Path, mode: int) -> Iterator[IO[str]]:
    """An open file, locked in a mode of `fcntl.flock`; waits for the lock unless the mode is non-blocking.

    Raises:
        BlockingIOError: another process has the lock, and the mode is non-blocking.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "a+") as file:
        fcntl.flock(file, mode)
        yield file


class LoneClaims(Claims):
    """Gives all jobs to this process; `claiming` keeps others out."""

    def take(self, stage: str, jobs: Sequence[str]) -> str | None:
        return jobs[0] if jobs else None

    def give_back(self, stage: str, job: str, value: float | None = None, **said: Any) -> None:
        pass

    def others(self) -> int:
        return 0


class Presence:
    """The heartbeat of a worker, visible to others.

    Attributes:
        name: name of the worker; new at each start.
    """

    def __init__(self, folder: Path, machine: str | None = None, now: Callable[[], float] = time.monotonic) -> None:
        self.folder = folder
        self.machine = machine or socket.gethostname()
        self.name = f"{self.machine}-{os.getpid()}-{secrets.token_hex(3)}"
        self.now = now
        self.seen: dict[str, tuple[str, float]] = {}
        self.gone = threading.Event()

    @contextmanager
    def shown(self, every: float | None = BEAT_S) -> Iterator["Presence"]:
        """A context in which this worker counts as alive.

        Args:
            every: seconds between heartbeats; None for only the first.
        """
        with held(self.folder / self.name, fcntl.LOCK_EX) as file:
            file.write(json.dumps({"machine": self.machine, "pid": os.getpid()}) + "\n")
            self.beat(0)
            thread = None
            if every is not None:
                thread = threading.Thread(target=self.beats, args=(every,), daemon=True)
                thread.start()
            try:
                yield self
            finally:
                self.gone.set()
                if thread:
                    thread.join()
                for path in (self.folder / self.name, self.pulse(self.name)):
                    path.unlink(missing_ok=True)

    def pulse(self, worker: str) -> Path:
        return self.folder / f"{worker}.beat"

    def beat(self, count: int) -> None:
        with suppress(OSError):  # a full disk is reported where a result is written
            self.pulse(self.name).write_text(f"{self.machine} {count}")

    def beats(self, every: float) -> None:
        count = 1
        while not self.gone.wait(every):
            self.beat(count)
            count += 1

    def alive(self, worker: str) -> bool:
        """Whether a worker is alive."""
        if worker == self.name:
            return not self.gone.is_set()
        try:
            pulse = self.pulse(worker).read_text()
        except OSError:
            return False
        if pulse.partition(" ")[0] == self.machine:
            try:
                with open(self.folder / worker, "r+") as file:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except FileNotFoundError:
                return False
            except BlockingIOError:
                return True
            return False
        last, since = self.seen.get(worker, ("", self.now()))
        if last != pulse:
            last, since = pulse, self.now()
        self.seen[worker] = (last, since)
        return self.now() - since < SILENT_S

    def others(self) -> int:
        names = [path.name.removesuffix(".beat") for path in self.folder.glob("*.beat")]
        return sum(name != self.name and self.alive(name) for name in names)


class SharedClaims(Claims):
    """Claims in Optuna's journal: one study per stage, one trial per claim."""

    def __init__(self, storage: Any, presence: Presence) -> None:
        import optuna

        self.optuna = optuna
        self.storage = storage
        self.presence = presence
        self.mine: dict[tuple[str, str], int] = {}

    def study(self, stage: str) -> int:
        try:
            return int(self.storage.create_new_study([self.optuna.study.StudyDirection.MAXIMIZE], stage))
        except self.optuna.exceptions.DuplicatedStudyError:
            return int(self.storage.get_study_id_from_name(stage))

    def running(self, study: int) -> list[Any]:
        """The running trials of live workers, oldest first; those of dead workers are ended."""
        state = self.optuna.trial.TrialState
        found = []
        for trial in sorted(
            self.storage.get_all_trials(study, deepcopy=False, states=(state.RUNNING,)), key=lambda t: t.number
        ):
            if self.presence.alive(str(trial.user_attrs.get("worker"))):
                found.append(trial)
            else:
                self.end(self.storage.get_trial_id_from_study_id_trial_number(study, trial.number), None)
        return found

    def take(self, stage: str, jobs: Sequence[str]) -> str | None:
        study, state = self.study(stage), self.optuna.trial.TrialState
        taken = {trial.user_attrs["job"] for trial in self.running(study)}
        for job in jobs:
            if job in taken:
                continue
            said = {"job": job, "worker": self.presence.name, "machine": self.presence.machine}
            trial_id = self.storage.create_new_trial(
                study, self.optuna.trial.create_trial(state=state.RUNNING, user_attrs=said)
            )
            first = next(trial for trial in self.running(study) if trial.user_attrs["job"] == job)
            if first.number == self.storage.get_trial_number_from_id(trial_id):
                self.mine[stage, job] = trial_id
                return job
            self.end(trial_id, None)
        return None

    def give_back(self, stage: str, job: str, value: float | None = None, **said: Any) -> None:
        trial_id = self.mine.pop((stage, job))
        with suppress(self.optuna.exceptions.UpdateFinishedTrialError):  # another machine considered this worker dead
            for name, text in said.items():
                self.storage.set_trial_user_attr(trial_id, name, text)
            self.end(trial_id, value)

    def end(self, trial_id: int, value: float | None) -> None:
        state = self.optuna.trial.TrialState
        values = None if value is None else [value]
        with suppress(self.optuna.exceptions.UpdateFinishedTrialError):  # another worker has ended it
            self.storage.set_trial_state_values(trial_id, state.FAIL if value is None else state.COMPLETE, values)

    def others(self) -> int:
        return self.presence.others()


def has_optuna() -> bool:
    from importlib.util import find_spec

    return find_spec("optuna") is not None


@contextmanager
def claiming(folder: Path) -> Iterator[Claims]:
    """The claims on the jobs of a directory: shared if Optuna is installed, otherwise exclusive.

    Raises:
        ValueError: another process is working there, and one of the two has no Optuna.
    """
    shared = has_optuna()
    with ExitStack() as stack:
        try:
            stack.enter_context(held(folder / "workers" / "lone", (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB))
        except BlockingIOError:
            raise ValueError(
                f"another process is working on {folder}, and several need Optuna: "
                'pip install "paretina[search]", for each of them'
            ) from None
        if not shared:
            yield LoneClaims()
            return
        import optuna
        from optuna.storages import JournalStorage
        from optuna.storages.journal import JournalFileBackend

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        storage = JournalStorage(JournalFileBackend(str(folder / "journal.log")))
        presence = stack.enter_context(Presence(folder / "workers").shown())
        yield SharedClaims(storage, presence)


# --- the device ---------------------------------------------------------------------------------------------------------


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
        with ExitStack() as stack:
            with held(self.gate, fcntl.LOCK_EX):
                stack.enter_context(held(self.lock, fcntl.LOCK_SH))
            yield

    @contextmanager
    def alone(self) -> Iterator[None]:
        """The lock for timing; waits until no process trains."""
        with held(self.gate, fcntl.LOCK_EX), held(self.lock, fcntl.LOCK_EX):
            yield
