"""What the system says: how much memory is left, how busy its processors are, and where a user's caches lie.

Where it does not say, memory and busy seconds are None, and child processes count for nothing.
"""

import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

ROOT = Path("/")


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
        busy: of all cores together, in use by anyone; None where the system does not say.
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


def busy_seconds(root: Path = ROOT) -> float | None:
    """Seconds that all cores were busy or taken away by the host."""
    try:
        line = (root / "proc/stat").read_text().splitlines()[0].split()
        user, nice, system, _, _, irq, softirq, steal = map(int, line[1:9])
    except (OSError, ValueError, IndexError):
        return None
    return (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK")


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
