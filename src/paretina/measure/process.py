"""Settings of the process that make training on a CPU faster without changing a single number."""

import ctypes
import os
import sys

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3


def keep_freed_memory() -> bool:
    """Lets glibc reuse the memory of freed tensors instead of giving it back and faulting it in again at every update.

    Returns whether it was done; on other systems, or where the user has set glibc's own variables, nothing happens.
    """
    if sys.platform != "linux" or any(name.startswith("MALLOC_") for name in os.environ):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):  # musl has none
        return False
    return bool(mallopt(M_MMAP_THRESHOLD, 1 << 30) and mallopt(M_TRIM_THRESHOLD, (1 << 31) - 1))


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
