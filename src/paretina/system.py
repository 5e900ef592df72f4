"""Queries the system: usable cores, their load, available memory, the cache folder.

Where the system does not report them, memory and busy seconds are None, and child processes count as zero.
"""

import ctypes
import math
import os
import re
import signal
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

ROOT = Path("/")


class TerminatedError(KeyboardInterrupt):
    """SIGTERM: ends what is being done like Ctrl-C."""


@contextmanager
def ended_like_interrupts() -> Iterator[None]:
    """Raises `TerminatedError` on SIGTERM, as Ctrl-C raises KeyboardInterrupt; outside of the main thread nothing changes."""

    def end(number: int, frame: Any) -> None:
        raise TerminatedError

    try:
        before = signal.signal(signal.SIGTERM, end)
    except ValueError:  # the main thread alone can install handlers
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL if before is None else before)


class SignalStack(ctypes.Structure):
    """`stack_t` of Linux."""

    _fields_: ClassVar[Any] = [("address", ctypes.c_void_p), ("flags", ctypes.c_int), ("size", ctypes.c_size_t)]


def signal_stack() -> SignalStack | None:
    """The memory that handlers of signals of this thread run in; None where that is not known."""
    if not sys.platform.startswith("linux"):
        return None
    found = SignalStack()
    return found if ctypes.CDLL(None).sigaltstack(None, ctypes.byref(found)) == 0 else None


@contextmanager
def signal_stack_kept() -> Iterator[None]:
    """Gives the thread its stack for signals back, whatever is done meanwhile.

    OpenVINO leaves another one behind where it compiles a network, whose memory goes away later. Then the first signal with a
    handler ends the process with a segmentation fault, without a word: Ctrl-C, SIGTERM, or the end of a process that reads
    pictures.
    """
    before = signal_stack()
    try:
        yield
    finally:
        now = signal_stack()
        if before is not None and now is not None and now.address != before.address:
            ctypes.CDLL(None).sigaltstack(ctypes.byref(before), None)


def cpus() -> frozenset[int]:
    """Indices of the processors that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return frozenset(os.sched_getaffinity(0))
    return frozenset(range(os.cpu_count() or 1))


def cores(root: Path = ROOT) -> int:
    """Number of processors this process can keep busy: those that it may run on, or fewer if its container has a quota.

    This is what "cores" means everywhere in this project; at least 1.
    """
    return max(1, min([len(cpus()), *map(math.ceil, quotas(root))]))


def quotas(root: Path = ROOT) -> list[float]:
    """CPU quotas, in processors, of this process's container and of each container around it, where limited."""
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
    """Memory that this process could still allocate, by the system's figures and by the limit of its container.

    The file cache that the system would drop counts as free in both.
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
    """Bytes of reclaimable file cache in a container's memory."""
    with suppress(OSError, ValueError, IndexError):
        for line in (group / "memory.stat").read_text().splitlines():
            if line.startswith("inactive_file "):
                return int(line.split()[1])
    return 0


class Usage(NamedTuple):
    """Seconds since an arbitrary start.

    Attributes:
        wall: elapsed time.
        busy: busy time of all processors that this process may run on, whoever uses them; None if not reported.
        own: the part of it that this process and its children used.
    """

    wall: float
    busy: float | None
    own: float


def usage(root: Path = ROOT) -> Usage:
    """The current processor usage."""
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
    """Seconds that the processors available to this process were busy or stolen by the host."""
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
    """Processor seconds used by child processes, such as data loader workers."""
    parents, ticks = {}, {}
    for process, parent, used in processes(root):
        parents[process], ticks[process] = parent, used
    below = {os.getpid()}
    while more := {process for process, parent in parents.items() if parent in below} - below:
        below |= more
    spent = sum(ticks.get(process, 0) for process in below - {os.getpid()})
    return spent / os.sysconf("SC_CLK_TCK") if spent else 0.0  # Windows has neither /proc nor sysconf


def processes(root: Path) -> Iterator[tuple[int, int, int]]:
    """Each process: its pid, its parent's pid, and the ticks that it and its ended children have used."""
    for place in (root / "proc").glob("[0-9]*/stat"):
        with suppress(OSError, ValueError, IndexError):  # it may end while being read
            number, _, rest = place.read_text().partition(" (")
            fields = rest.rpartition(") ")[2].split()  # a name may contain brackets and spaces
            yield int(number), int(fields[1]), sum(map(int, fields[11:15]))


LOST_WORKER = re.compile(
    r"DataLoader worker \(pid(?:\(s\))? ([\d, ]+)\) (?:is killed by signal: (.*?)\.|exited unexpectedly)", re.DOTALL
)
"""What torch says of a process that is no longer there."""


def lost_worker(error: BaseException) -> str:
    """A sentence about a process of the loader that was lost; "" for any other error."""
    found = LOST_WORKER.search(str(error)) if isinstance(error, RuntimeError) else None
    if found is None:
        return ""
    how = f"was killed ({found[2]})" if found[2] else "ended unexpectedly"
    scarce = {"Killed": ", as the system does where memory runs out", "Bus error": ", as where shared memory runs out"}
    return f"a process that reads pictures, {found[1].strip()}, {how}{scarce.get(found[2] or '', '')}"


VARIABLE = "PARETINA_CACHE"


def cache_folder(environment: Mapping[str, str] | None = None, platform: str = sys.platform) -> Path:
    """The user's cache folder, by the convention of the platform; not created.

    $XDG_CACHE_HOME or ~/.cache on Linux, ~/Library/Caches on macOS, %LOCALAPPDATA% on Windows; PARETINA_CACHE overrides it.
    """
    environment = os.environ if environment is None else environment
    if named := environment.get(VARIABLE):
        return Path(named)
    if platform == "darwin":
        return Path.home() / "Library" / "Caches" / "paretina"
    if platform == "win32":
        return Path(environment.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local") / "paretina" / "Cache"
    base = environment.get("XDG_CACHE_HOME", "")
    # the XDG specification says to ignore relative paths
    return (Path(base) if Path(base).is_absolute() else Path.home() / ".cache") / "paretina"
