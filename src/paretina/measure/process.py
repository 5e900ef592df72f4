"""Manages process-wide settings: number of threads, memory allocation, random state, thread waiting.

`process_settings` owns all but the last. Training and measurements run inside of it; afterwards the process is as before.
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
"""glibc's default for both thresholds, in bytes."""

DEPTH = [0]
"""Number of nested `process_settings`; the outermost sets up memory allocation and undoes it."""


@contextmanager
def process_settings(threads: int | None = None) -> Iterator[None]:
    """Context that sets the number of threads and keeps the memory of freed tensors for reuse.

    Neither changes results. Afterwards the number of threads and the global random state are restored, and freed memory is
    returned to the system.

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
    """Context that restores the global random state of Python, numpy and torch: a run seeds itself, and so may its caller."""
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
    """Context that sets the number of threads.

    Args:
        threads: None keeps torch's number, except in a container with fewer cores than the machine, which torch does not
            notice; OMP_NUM_THREADS, if set, is then kept.
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
    """Makes glibc reuse the memory of freed tensors instead of returning it and faulting it in again at every update.

    Returns whether it was done; on other systems, or where the user has set glibc's own variables, nothing happens.
    """
    return thresholds(1 << 30, (1 << 31) - 1)


def give_back_freed_memory() -> None:
    """Undoes `keep_freed_memory`, and returns the memory to the system."""
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
"""Spin iterations of a waiting OpenMP thread before it sleeps, about 50 microseconds."""


def spin_briefly() -> None:
    """Makes waiting OpenMP threads sleep after a short spin; has an effect only before torch is imported.

    Between two operations of a network lie some microseconds, so threads that sleep at once are woken hundreds of times in an
    update, which can take half of its time. Threads that spin for milliseconds, as is usual, take the processor from
    whatever else runs on the machine. GNU's OpenMP, which torch brings on Linux, counts the turns; others sleep at once.
    What the user has set in the environment is left as it is. Source: records/waiting-threads.
    """
    if "OMP_WAIT_POLICY" not in os.environ and "GOMP_SPINCOUNT" not in os.environ:
        os.environ.update(OMP_WAIT_POLICY="PASSIVE", GOMP_SPINCOUNT=str(SPINS))
