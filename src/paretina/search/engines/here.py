"""This machine: one process a task, as many at a time as there are cores for.

With one worker the tasks run in this process, one after the other. Several run in processes that are started afresh, since
threads of torch do not survive a fork. A process that ends without a result (out of memory, killed) breaks the pool; what was
not done is begun again in a new one.
"""

import signal
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from pathlib import Path

from paretina.search.tasks import ATTEMPTS, Engine, Say, StudyTask, carry_out, lost
from paretina.system import cores


def hold_interrupts() -> None:
    """Lets a process that waits for a task outlive Ctrl-C, which reaches the whole group; the pool ends it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


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
                say(f"{number} of {len(tasks)}: {task.name}" if len(tasks) > 1 else task.name)
                carry_out(task, folder)
            return
        begun: Counter[str] = Counter()
        left, done = list(tasks), 0
        while left:
            spawned = get_context("spawn")
            with ProcessPoolExecutor(min(count, len(left)), mp_context=spawned, initializer=hold_interrupts) as pool:
                waiting: dict[Future[None], StudyTask] = {pool.submit(interruptible, task, folder): task for task in left}
                try:
                    for future in as_completed(waiting):
                        future.result()
                        done += 1
                        say(f"{done} of {len(tasks)}: {waiting[future].name}")
                except BrokenProcessPool:
                    say("a process ended without a result; what was not done is begun again")
                except BaseException:
                    pool.shutdown(cancel_futures=True)
                    raise
            # which process broke the pool is not known: of those in hand each may have
            left = [task for task in left if not task.is_done(folder)]
            for task in left[:count]:
                begun[task.name] += 1
                if begun[task.name] >= ATTEMPTS:
                    lost(folder, task)
            left = [task for task in left if not task.is_done(folder)]
            done = len(tasks) - len(left)
