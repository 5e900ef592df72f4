"""What belongs to the whole process: the number of threads, how freed memory is kept, random numbers, how threads wait.

`process_settings` is the only owner of all but the last. Whoever trains or measures does so inside of it, and finds the process
afterwards as it was before.
"""

import ctypes
import os
import random
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from paretina.system import cores

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3

USUAL = 128 << 10
"""Both thresholds of glibc as a process begins, in bytes."""

DEPTH = [0]
"""How many `process_settings` are open; the outermost sets up how memory is kept and undoes it."""


@contextmanager
def process_settings(threads: int | None = None) -> Iterator[None]:
    """While it lasts, tensors are computed by so many threads, and their freed memory is kept for the next ones.

    Neither changes a number. Afterwards the number of threads and the global random state are what they were, and freed memory
    goes back to the system.

    Args:
        threads: as in `threaded`.
    """
    kept = not DEPTH[0] and keep_freed_memory()
    DEPTH[0] += 1
    try:
        with threaded(threads), randomness_kept():
            yield
    finally:
        DEPTH[0] -= 1
        if kept:
            give_back_freed_memory()


@contextmanager
def randomness_kept() -> Iterator[None]:
    """Afterwards the global random state of Python, numpy and torch is what it was: a run seeds itself, and its caller too."""
    import numpy as np
    import torch

    python, numpys, torchs = random.getstate(), np.random.get_state(), torch.get_rng_state()
    cudas = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else []
    try:
        yield
    finally:
        random.setstate(python)
        np.random.set_state(numpys)
        torch.set_rng_state(torchs)
        if cudas:
            torch.cuda.set_rng_state_all(cudas)


@contextmanager
def threaded(threads: int | None = None) -> Iterator[None]:
    """While it lasts, tensors are computed by so many threads.

    Args:
        threads: None leaves what torch has, but for a container with fewer cores than the machine, of which torch knows
            nothing; what the user has set in OMP_NUM_THREADS stands.
    """
    import torch

    before = torch.get_num_threads()
    if threads is None and before > cores() and "OMP_NUM_THREADS" not in os.environ:
        threads = cores()
    if threads is not None:
        torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def keep_freed_memory() -> bool:
    """Lets glibc reuse the memory of freed tensors instead of giving it back and faulting it in again at every update.

    Returns whether it was done; on other systems, or where the user has set glibc's own variables, nothing happens.
    """
    return thresholds(1 << 30, (1 << 31) - 1)


def give_back_freed_memory() -> None:
    """Undoes `keep_freed_memory`, and gives back what was kept."""
    if thresholds(USUAL, USUAL):
        ctypes.CDLL(None).malloc_trim(0)


def thresholds(mapped: int, trimmed: int) -> bool:
    """Sets the sizes in bytes from which on glibc maps memory by itself, and gives freed memory back."""
    if sys.platform != "linux" or any(name.startswith("MALLOC_") for name in os.environ):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):  # musl has none
        return False
    return bool(mallopt(M_MMAP_THRESHOLD, mapped) and mallopt(M_TRIM_THRESHOLD, trimmed))


SPINS = 5000
"""Turns that a waiting OpenMP thread makes before it sleeps, some 50 microseconds."""


def spin_briefly() -> None:
    """Lets OpenMP threads that wait for each other sleep after a moment; has an effect only before torch is imported.

    Between two operations of a network lie some microseconds, so threads that sleep at once are woken hundreds of times in an
    update, which can take half of its time. Threads that spin for milliseconds, as is usual, take the processor from
    whatever else runs on the machine. GNU's OpenMP, which torch brings on Linux, counts the turns; others sleep at once.
    What the user has set in the environment is left as it is. Source: records/waiting-threads.
    """
    if "OMP_WAIT_POLICY" not in os.environ and "GOMP_SPINCOUNT" not in os.environ:
        os.environ.update(OMP_WAIT_POLICY="PASSIVE", GOMP_SPINCOUNT=str(SPINS))
