"""Peak memory of this process or of a device."""

import resource
import sys

import torch


def peak_mb(device: str = "cpu") -> float:
    """Largest memory so far, in units of 2^20 bytes: resident memory of the process on the CPU, tensors on a GPU."""
    if device.startswith("cuda"):
        return torch.cuda.max_memory_allocated(device) / 2**20
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 2**20 if sys.platform == "darwin" else peak / 2**10
