"""This machine: one process a task, as many at a time as there are cores for.

With one worker the tasks run in this process, one after the other. Several run in processes that are started afresh, since
threads of torch do not survive a fork. A process that ends without a result (out of memory, killed) breaks the pool; what was
not done is begun again in a new one.
"""

import os
import signal
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from multiprocessing import active_children, get_context
from pathlib import Path

from paretina.search.tasks import ATTEMPTS, Engine, Say, StudyTask, carry_out, lost, telling
from paretina.system import TerminatedError, cores


def hold_interrupts() -> None:
    """Lets a process that waits for a task outlive Ctrl-C, which reaches the whole group; the pool ends it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def tell(say: Say, before: int, of: int, name: str, more: int) -> None:
    say(f"{before + more} of {of}: {name}")


def interruptible(task: StudyTask, folder: Path) -> None:
    """Does a task, which Ctrl-C interrupts."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        carry_out(task, folder)
    finally:
        hold_interrupts()


class Here(Engine):
    """
    Attributes:
        workers: processes; None for as many as the cores of this machine allow.
    """

    def __init__(self, workers: int | None = None) -> None:
        if workers is not None and workers < 1:
            raise ValueError(f"needs at least one worker, got {workers}")
        self.workers = workers
        self.several = (cores() if workers is None else workers) > 1

    def share(self, tasks: Sequence[StudyTask], folder: Path, say: Say) -> None:
        count = self.workers or max(1, cores() // max(task.cores for task in tasks))
        if min(count, len(tasks)) == 1:
            for number, task in enumerate(tasks, 1):
                say(f"{number} of {len(tasks)}: {task.said}" if len(tasks) > 1 else task.said)
                with telling(say):
                    carry_out(task, folder)
            return
        left = list(tasks)
        while left:
            done = len(tasks) - len(left)
            told = partial(tell, say, done, len(tasks))
            if self.together(left, min(count, len(left)), folder, told):
                return
            say("a process ended without a result; what was not done is begun again")
            left = [task for task in left if not task.is_done(folder)]
            # any of those in hand may have ended it, so each is tried alone
            for task in left[:count]:
                told = partial(tell, say, sum(each.is_done(folder) for each in tasks), len(tasks))
                if not any(self.together([task], 1, folder, told) for _ in range(ATTEMPTS - 1)):
                    lost(folder, task)
            left = [task for task in left if not task.is_done(folder)]

    def together(self, tasks: Sequence[StudyTask], count: int, folder: Path, told: Callable[[str, int], None]) -> bool:
        """Carries out tasks in processes; returns whether none of these ended without a result.

        Args:
            told: called with the name of each task that is done, and how many are.
        """
        spawned = get_context("spawn")
        with ProcessPoolExecutor(count, mp_context=spawned, initializer=hold_interrupts) as pool:
            waiting: dict[Future[None], StudyTask] = {pool.submit(interruptible, task, folder): task for task in tasks}
            try:
                for more, future in enumerate(as_completed(waiting), 1):
                    future.result()
                    told(waiting[future].said, more)
            except BrokenProcessPool:
                return False
            except BaseException as error:
                if isinstance(error, TerminatedError):  # which reaches this process alone
                    for process in active_children():
                        if process.pid is not None and process.is_alive():
                            os.kill(process.pid, signal.SIGINT)
                pool.shutdown(cancel_futures=True)
                raise
        return True
