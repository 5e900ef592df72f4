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


def let_threads_sleep() -> None:
    """Lets OpenMP threads that wait for each other sleep instead of spin; has an effect only before torch is imported.

    Spinning threads take the processor from the workers that load pictures, and from whatever else runs on the machine.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
