"""Measures the energy per image, if the machine has energy counters; it is never estimated.

Two counters are known: RAPL of Intel's and AMD's processors (the whole package, other processes included; on Linux readable by
root alone unless the administrator allows it, and missing in most virtual machines) and NVML of NVIDIA's GPUs (the whole board;
needs the package nvidia-ml-py). Both count on while nothing runs, so the energy above that of an idle machine is given too.
NVML refreshes every 20 to 100 ms, hence the long windows.

Source: the kernel's documentation of powercap; nvmlDeviceGetTotalEnergyConsumption in NVIDIA's NVML reference.
"""

import importlib
import math
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

POWERCAP = Path("/sys/class/powercap")

WINDOW_S = 10.0
"""Seconds for which a step is repeated."""

IDLE_S = 2.0
"""Seconds for measuring the idle consumption."""


class EnergyCounter(ABC):
    """Joules since an arbitrary start; never decreases."""

    name: str

    @abstractmethod
    def joules(self) -> float: ...


class Rapl(EnergyCounter):
    """The packages of the processor, summed; a counter that wraps around is unwrapped if it is read often enough."""

    name = "RAPL"

    def __init__(self, packages: list[Path]) -> None:
        self.packages = packages
        self.ranges = [int((package / "max_energy_range_uj").read_text()) for package in packages]
        self.last = self.read()
        self.total = 0

    def read(self) -> list[int]:
        return [int((package / "energy_uj").read_text()) for package in self.packages]

    def joules(self) -> float:
        now = self.read()
        for before, after, span in zip(self.last, now, self.ranges, strict=True):
            self.total += after - before if after >= before else after - before + span
        self.last = now
        return self.total / 1e6


def rapl(root: Path = POWERCAP) -> Rapl | None:
    """The counter of the processor; None where there is none or it may not be read."""
    zones = sorted(path for path in root.glob("*-rapl:*") if path.name.count(":") == 1)
    try:
        # "psys" is the whole platform, the packages included, which would count them twice
        packages = [zone for zone in zones if (zone / "name").read_text().strip() != "psys"] or zones
        return Rapl(packages) if packages else None
    except (OSError, ValueError):
        return None


class Nvml(EnergyCounter):
    """One GPU, by its UUID, since torch counts only those that it may see."""

    name = "NVML"

    def __init__(self, uuid: str) -> None:
        self.library = importlib.import_module("pynvml")
        self.library.nvmlInit()
        self.handle = self.library.nvmlDeviceGetHandleByUUID(uuid)
        self.joules()

    def joules(self) -> float:
        return self.library.nvmlDeviceGetTotalEnergyConsumption(self.handle) / 1e3  # type: ignore[no-any-return]


def counter_of(device: str) -> EnergyCounter | None:
    """The energy counter of a device as torch names it; None where there is none."""
    kind = device.partition(":")[0]
    if kind == "cpu":
        return rapl()
    if kind != "cuda":
        return None
    try:
        return Nvml(f"GPU-{torch.cuda.get_device_properties(device).uuid}")
    except Exception:  # the package, its library, the driver or the counter may be missing, each with its own error
        return None


@dataclass(frozen=True)
class Energy:
    """
    Attributes:
        image_j: joules per image, total of the device.
        above_idle_j: the same above the idle consumption; at least 0.
        counter: the counter that was read.
    """

    image_j: float
    above_idle_j: float
    counter: str


def measure_energy(
    step: Callable[[], object],
    images: int,
    counter: EnergyCounter,
    *,
    seconds: float = WINDOW_S,
    idle: float = IDLE_S,
    clock: Callable[[], float] = time.perf_counter,
    sleep: Callable[[float], None] = time.sleep,
    wait: Callable[[], None] = lambda: None,
) -> Energy | None:
    """Repeats a step and reads the counter before and after; None if it did not move.

    Args:
        images: per step.
        wait: blocks until the device is done.
    """
    before, began = counter.joules(), clock()
    sleep(idle)
    idle_watts = (counter.joules() - before) / max(clock() - began, 1e-9)
    before, began, done = counter.joules(), clock(), 0
    while clock() - began < seconds:
        step()
        wait()
        done += images
    joules, passed = counter.joules() - before, clock() - began
    if not joules > 0 or not math.isfinite(joules):
        return None
    return Energy(joules / done, max(0.0, joules - idle_watts * passed) / done, counter.name)
