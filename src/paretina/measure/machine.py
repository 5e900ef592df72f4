"""Describes the device of a timing, waits for it, and detects load from other processes."""

import os
from collections.abc import Callable
from dataclasses import asdict, dataclass
from importlib.metadata import version
from typing import Any

import torch

from paretina.measure.plan import machine
from paretina.system import Usage, available_bytes, cores, cpus, usage

QUIET = 0.05
"""Share of the cores that other processes may use before a timing counts as disturbed; at least 0.1 cores."""


@dataclass(frozen=True)
class Device:
    """The device of a timing; timings of different devices are never ranked against each other.

    Attributes:
        device: as torch names it.
        name: of the processor or the GPU.
        cores: number that this process can keep busy; see `paretina.system.cores`.
        threads: that torch uses unless the plan sets them.
        torch: version of torch; likewise `paretina`.
    """

    device: str
    name: str
    cores: int
    threads: int
    system: str
    python: str
    torch: str
    paretina: str

    @classmethod
    def here(cls, device: str = "cpu") -> "Device":
        """The device of that name on this machine."""
        found = machine()
        kind = device.partition(":")[0]
        name = torch.cuda.get_device_name(device) if kind == "cuda" else str(found["cpu"])
        return cls(
            device=device,
            name=name,
            cores=int(found["cores"]),
            threads=torch.get_num_threads(),
            system=str(found["system"]),
            python=str(found["python"]),
            torch=str(found["torch"]),
            paretina=version("paretina"),
        )

    @property
    def kind(self) -> str:
        return self.device.partition(":")[0]

    def wait(self) -> None:
        """Blocks until all work queued on the device is done."""
        if self.kind == "cuda":
            torch.cuda.synchronize(self.device)
        elif self.kind == "mps":
            torch.mps.synchronize()

    def free_bytes(self) -> int | None:
        """Memory that could be allocated now; None if unknown."""
        if self.kind == "cuda":
            return int(torch.cuda.mem_get_info(self.device)[0])
        if self.kind != "cpu":
            return None
        return available_bytes()

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


# --- other processes ----------------------------------------------------------------------------------------------------


class Others:
    """Measures how many cores other processes use from now on; children of this process are not counted.

    If a container has fewer cores than it may run on, others may use the rest. If the system does not report usage, the load
    average is used, which lags by a minute.

    Attributes:
        cores: number that this process can keep busy.
        spare: further processors that it may run on.
    """

    def __init__(self, count: int | None = None, read: Callable[[], Usage] = usage) -> None:
        self.cores = cores() if count is None else count
        self.spare = max(0, len(cpus()) - self.cores) if count is None else 0
        self.read = read
        self.start = read()

    def used(self) -> float | None:
        """Cores used by others, on average since the start; None if unknown."""
        now = self.read()
        wall, own = now.wall - self.start.wall, now.own - self.start.own
        if wall <= 0:
            return None
        if now.busy is None or self.start.busy is None:
            return max(0.0, os.getloadavg()[0] - own / wall - self.spare) if hasattr(os, "getloadavg") else None
        return max(0.0, (now.busy - self.start.busy - own) / wall - self.spare)

    def disturbed(self, used: float | None) -> bool:
        """Whether that is more than on a quiet machine."""
        return used is not None and used > max(0.1, QUIET * self.cores)
