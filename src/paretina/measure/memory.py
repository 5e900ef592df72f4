"""Measures the peak memory of this process or of a device."""

import ctypes
import gc
import sys
from collections.abc import Callable
from pathlib import Path

import torch

try:
    import resource
except ImportError:  # Windows has none
    resource = None  # type: ignore[assignment]

PROCESS = Path("/proc/self")


def peak_mb(device: str = "cpu") -> float:
    """Peak memory so far in MiB: resident memory of the process on the CPU, tensors on a GPU; 0 where unknown."""
    if device.startswith("cuda"):
        return torch.cuda.max_memory_allocated(device) / 2**20
    if resource is None:
        return 0.0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 2**20 if sys.platform == "darwin" else peak / 2**10


def peak_of(run: Callable[[], object], device: str = "cpu") -> float | None:
    """The peak memory of a function above the current use, in MiB.

    On a GPU its tensors; on the CPU resident memory, for which freed memory is first given back to the system. None where the
    system cannot tell the peak of a part of a process.
    """
    if device.startswith("cuda"):
        torch.cuda.synchronize(device)
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        kept = run()
        torch.cuda.synchronize(device)
        del kept
        return (torch.cuda.max_memory_allocated(device) - before) / 2**20
    if not device.startswith("cpu"):
        return None
    gc.collect()
    give_back_freed()
    start = resident_mb("VmRSS")
    if start is None or not forget_peak():
        return None
    kept = run()
    peak = resident_mb("VmHWM")
    del kept
    return None if peak is None else max(0.0, peak - start)


def give_back_freed() -> None:
    """Lets glibc return memory of freed tensors, which it keeps for the next ones."""
    try:
        ctypes.CDLL(None).malloc_trim(0)
    except (OSError, AttributeError, TypeError):  # other systems return it by themselves, or never
        return


def forget_peak() -> bool:
    """Resets the peak memory of this process to the current value; returns whether that succeeded."""
    try:
        (PROCESS / "clear_refs").write_text("5")
    except OSError:
        return False
    return True


def resident_mb(name: str) -> float | None:
    """VmRSS, the resident memory of this process, or VmHWM, its peak; None where the system does not say."""
    try:
        lines = (PROCESS / "status").read_text().splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) / 2**10 for line in lines if line.startswith(f"{name}:")), None)
