"""What the system says: how many processors there are for us, how busy they are, how much memory is left, where caches lie.

Where it does not say, memory and busy seconds are None, and child processes count for nothing.
"""

import math
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

ROOT = Path("/")


def cpus() -> frozenset[int]:
    """Numbers of the processors that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return frozenset(os.sched_getaffinity(0))
    return frozenset(range(os.cpu_count() or 1))


def cores(root: Path = ROOT) -> int:
    """How many processors this process can keep busy: those that it may run on, or fewer where its container has a quota.

    It is what "cores" means everywhere in this project; at least 1.
    """
    return max(1, min([len(cpus()), *map(math.ceil, quotas(root))]))


def quotas(root: Path = ROOT) -> list[float]:
    """Processor seconds a second that the container of this process may use, and each container around it, where limited."""
    group, found = root / "sys/fs/cgroup", []
    own = ""
    with suppress(OSError, IndexError):
        lines = (root / "proc/self/cgroup").read_text().splitlines()
        own = next((line[3:].strip("/") for line in lines if line.startswith("0::")), "")
    inner = group / own
    for folder in (inner, *inner.parents):
        if not folder.is_relative_to(group):
            break
        with suppress(OSError, ValueError):  # "max 100000" where there is no limit
            limit, period = map(int, (folder / "cpu.max").read_text().split())
            found.append(limit / period)
    with suppress(OSError, ValueError, ZeroDivisionError):  # version 1; -1 where there is no limit
        limit, period = (int((group / "cpu" / f"cpu.cfs_{name}_us").read_text()) for name in ("quota", "period"))
        if limit > 0:
            found.append(limit / period)
    return [quota for quota in found if quota > 0]


def available_bytes(root: Path = ROOT) -> int | None:
    """Memory that this process could still take, by what the system says and by the limit of its container.

    Files that the system only keeps because there is room count as free in both.
    """
    found = []
    with suppress(OSError, ValueError, IndexError):
        lines = (root / "proc/meminfo").read_text().splitlines()
        found += [int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:")]
    group = root / "sys/fs/cgroup"
    with suppress(OSError, ValueError):  # "max" where there is no limit
        limit, used = (int((group / f"memory.{name}").read_text()) for name in ("max", "current"))
        found.append(limit - used + kept_files(group))
    return max(0, min(found)) if found else None


def kept_files(group: Path) -> int:
    """Bytes of files that a container's memory holds and would give back first."""
    with suppress(OSError, ValueError, IndexError):
        for line in (group / "memory.stat").read_text().splitlines():
            if line.startswith("inactive_file "):
                return int(line.split()[1])
    return 0


class Usage(NamedTuple):
    """Seconds since some start.

    Attributes:
        wall: by the clock.
        busy: of all processors together that this process may run on, in use by anyone; None where the system does not say.
        own: of them, by this process and those that it started.
    """

    wall: float
    busy: float | None
    own: float


def usage(root: Path = ROOT) -> Usage:
    """What the system says about its processors now."""
    times = os.times()
    ended = times.children_user + times.children_system
    return Usage(times.elapsed, busy_seconds(root), times.user + times.system + ended + running_children_seconds(root))


def process_seconds(root: Path = ROOT) -> float:
    """Seconds since this process began, imports included; 0 where the system does not say."""
    with suppress(OSError, ValueError, IndexError):
        began = int((root / "proc/self/stat").read_text().rpartition(") ")[2].split()[19]) / os.sysconf("SC_CLK_TCK")
        return max(0.0, float((root / "proc/uptime").read_text().split()[0]) - began)
    return 0.0


def busy_seconds(root: Path = ROOT) -> float | None:
    """Seconds that the processors which this process may run on were busy or taken away by the host."""
    ours, ticks = cpus(), []
    try:
        for line in (root / "proc/stat").read_text().splitlines():
            name, *fields = line.split()
            if name.startswith("cpu") and name[3:].isdecimal() and int(name[3:]) in ours:
                user, nice, system, _, _, irq, softirq, steal = map(int, fields[:8])
                ticks.append(user + nice + system + irq + softirq + steal)
    except (OSError, ValueError, IndexError):
        return None
    return sum(ticks) / os.sysconf("SC_CLK_TCK") if ticks else None


def running_children_seconds(root: Path = ROOT) -> float:
    """Seconds of processor that the processes below this one have used, such as those that read the pictures."""
    parents, ticks = {}, {}
    for process, parent, used in processes(root):
        parents[process], ticks[process] = parent, used
    below = {os.getpid()}
    while more := {process for process, parent in parents.items() if parent in below} - below:
        below |= more
    return sum(ticks.get(process, 0) for process in below - {os.getpid()}) / os.sysconf("SC_CLK_TCK")


def processes(root: Path) -> Iterator[tuple[int, int, int]]:
    """Each process: its number, its parent's, and the ticks that it and its ended children have used."""
    for place in (root / "proc").glob("[0-9]*/stat"):
        with suppress(OSError, ValueError, IndexError):  # it may end while it is read
            number, _, rest = place.read_text().partition(" (")
            fields = rest.rpartition(") ")[2].split()  # a name may have brackets and blanks in it
            yield int(number), int(fields[1]), sum(map(int, fields[11:15]))


VARIABLE = "PARETINA_CACHE"


def cache_folder(environment: Mapping[str, str] | None = None, platform: str = sys.platform) -> Path:
    """Where this user's caches lie, by the convention of the platform; not made.

    $XDG_CACHE_HOME or ~/.cache on Linux, ~/Library/Caches on macOS, %LOCALAPPDATA% on Windows; PARETINA_CACHE names another.
    """
    environment = os.environ if environment is None else environment
    if named := environment.get(VARIABLE):
        return Path(named)
    if platform == "darwin":
        return Path.home() / "Library" / "Caches" / "paretina"
    if platform == "win32":
        return Path(environment.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local") / "paretina" / "Cache"
    base = environment.get("XDG_CACHE_HOME", "")
    # the convention says that a path which is not absolute is to be ignored
    return (Path(base) if Path(base).is_absolute() else Path.home() / ".cache") / "paretina"
