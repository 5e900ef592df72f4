"""Claims: who does what, where several processes or machines work on one thing in one directory.

What is done is told by files in that directory; claims only keep two from doing the same at a time. `SharedClaims` keeps them
in Optuna's journal, which any Optuna tool can read. Its traps, and what is done about them:

- `study.ask()` on an empty queue invents a new trial, and a sampler may suggest what another has suggested. Nothing is
  suggested here: a worker writes a running trial with the name of its job, then looks; of several live trials of a job the one
  with the lowest number has it, and the others give way. All read the journal in the same order, so exactly one wins.
- The journal knows no heartbeat, so a trial of a killed worker would run forever. Each worker holds a lock on a file of its
  own, which the kernel gives up at its end, and whoever asks on the same machine knows at once. On another machine a count in
  that file must stand still for five minutes, by the clock of the one who looks.
- Locks of network file systems are not always locks. Several machines need a directory whose file system keeps them.

`LoneClaims` needs nothing installed, and lets in one process.
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
"""Seconds without a sign of life after which a worker of another machine counts as dead."""


class Claims(ABC):
    """Who does what."""

    @abstractmethod
    def take(self, stage: str, jobs: Sequence[str]) -> str | None:
        """The first of these jobs that nobody else is doing, which from now on is this worker's; None if there is none."""

    @abstractmethod
    def give_back(self, stage: str, job: str, value: float | None = None, **said: Any) -> None:
        """Ends a claim.

        Args:
            value: what came out; None where nothing did.
            said: what else to write down about it.
        """

    @abstractmethod
    def others(self) -> int:
        """How many other workers are alive."""


@contextmanager
def held(path: Path, mode: int) -> Iterator[IO[str]]:
    """An open file that is locked in a mode of `fcntl.flock`; waits for the lock unless the mode says not to.

    Raises:
        BlockingIOError: somebody else has the lock, and the mode says not to wait.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "a+") as file:
        fcntl.flock(file, mode)
        yield file


class LoneClaims(Claims):
    """All jobs are this process's; `claiming` keeps others out."""

    def take(self, stage: str, jobs: Sequence[str]) -> str | None:
        return jobs[0] if jobs else None

    def give_back(self, stage: str, job: str, value: float | None = None, **said: Any) -> None:
        pass

    def others(self) -> int:
        return 0


class Presence:
    """A sign that a worker is alive, for others to see.

    Attributes:
        name: of the worker; another one at each start.
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
        """Where this worker is alive.

        Args:
            every: seconds between two beats; None for only the first.
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
        with suppress(OSError):  # a full disk is reported by whoever needs it
            self.pulse(self.name).write_text(f"{self.machine} {count}")

    def beats(self, every: float) -> None:
        count = 1
        while not self.gone.wait(every):
            self.beat(count)
            count += 1

    def alive(self, worker: str) -> bool:
        """Whether a worker is."""
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
    """Claims in Optuna's journal: a study a stage, a trial a claim."""

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
        """The trials of a study that somebody alive is working on, the oldest first; those of the dead are ended."""
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
        with suppress(self.optuna.exceptions.UpdateFinishedTrialError):  # another machine took this worker for dead
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
    """The claims on the jobs of a directory: shared with others if Optuna is installed, otherwise alone.

    Raises:
        ValueError: somebody else works there, and one of the two has no Optuna.
    """
    shared = has_optuna()
    with ExitStack() as stack:
        try:
            stack.enter_context(held(folder / "workers" / "lone", (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB))
        except BlockingIOError:
            raise ValueError(
                f"another process works on {folder}, and several can do so only with Optuna: "
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
    """Keeps trainings and timings apart, on one device of this machine, among all that use this lock.

    Trainings share the device; a timing has it alone. A timing that waits goes before trainings that come later. Whoever uses
    the device without the lock is not kept away, only noticed (`paretina.measure.machine.Others`).
    """

    def __init__(self, device: str, folder: Path) -> None:
        name = f"{socket.gethostname()}-{device.replace(':', '')}"
        self.gate = folder / f"{name}.gate"
        self.lock = folder / f"{name}.lock"

    @contextmanager
    def shared(self) -> Iterator[None]:
        """For a training; waits for a timing."""
        with ExitStack() as stack:
            with held(self.gate, fcntl.LOCK_EX):
                stack.enter_context(held(self.lock, fcntl.LOCK_SH))
            yield

    @contextmanager
    def alone(self) -> Iterator[None]:
        """For a timing; waits until nobody trains."""
        with held(self.gate, fcntl.LOCK_EX), held(self.lock, fcntl.LOCK_EX):
            yield
