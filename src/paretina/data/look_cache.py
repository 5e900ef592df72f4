"""Caches the results of the duplicate search, in one file per folder of pictures.

An entry is valid as long as its picture's file is the same file with the same size and times. The cache is in the user's
cache folder, see `paretina.system.cache_folder`, never beside the pictures. A damaged cache file is ignored and rewritten; a
folder that is not writable gives a note. Nothing else depends on it: removing it costs the time to read the pictures again.
"""

import hashlib
import io
import json
import os
from collections.abc import Mapping
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from paretina.data.npz import arrays_in
from paretina.run import write_aside
from paretina.system import cache_folder

VERSION = 2
"""Version of the entries; incremented when the same picture gives different ones."""

Stamp = tuple[int, ...]
"""Size in bytes, times of the last change of the content and of the entry (where the system has it) in nanoseconds, and number
of the file. The first two alone do not tell a file from one that an archive or a copy put in its place with its time kept."""

STAMP = 4
"""Numbers in a stamp."""


class LookCache:
    """The cached entries of some pictures, by name.

    Args:
        files: by name, the file that a picture is read from; None for those without a file, which are not cached.
        kind: type of an entry.
        use: purpose of the entries; other purposes have other files.

    Attributes:
        note: why nothing can be cached; "" if it can.
    """

    def __init__(self, files: Mapping[str, Path | None], kind: np.dtype, use: str) -> None:
        self.kind = kind
        self.known: dict[str, Any] = {}
        self.stamps = stamps(files)
        self.others: dict[str, tuple[Stamp, Any]] = {}
        self.path: Path | None = None
        self.note = ""
        own = {os.path.abspath(file) for file in files.values() if file is not None}
        if not own:
            return
        root = os.path.commonpath(own if len(own) == 1 else map(os.path.dirname, own))
        versions = {name: version(name) for name in ("pillow", "ImageHash", "paretina")}  # another decoder, other pixels
        self.header = {"format": VERSION, "root": os.fsencode(root).hex(), "use": use, "kind": str(kind.descr), **versions}
        place = hashlib.sha256(f"{use}\n{self.header['root']}".encode()).hexdigest()
        self.path = cache_folder() / "looks" / f"{place[:32]}.npz"
        for name, (stamp, entry) in self.read(self.path).items():
            if self.stamps.get(name) == stamp:
                self.known[name] = entry
            elif name not in files:
                self.others[name] = (stamp, entry)

    def read(self, path: Path) -> dict[str, tuple[Stamp, Any]]:
        try:
            found = arrays_in(io.BytesIO(path.read_bytes()))
            text, when, entries = (found[name] for name in ("text", "stamps", "entries"))
            header, names = json.loads(text.tobytes())
            if header != self.header:
                return {}
            if entries.dtype != self.kind or when.shape != (len(names), STAMP) or entries.shape != (len(names),):
                raise ValueError("its parts do not fit together")
            return {name: (tuple(stamp), one) for name, stamp, one in zip(names, when.tolist(), entries, strict=True)}
        except OSError:  # there is none yet, or the folder is unusable, which writing will report
            return {}
        except (ValueError, KeyError, TypeError, RecursionError):
            return {}  # damaged; only the time to read the pictures again is lost, and `keep` rewrites it

    def keep(self, found: Mapping[str, Any]) -> None:
        """Adds entries and saves all of them; entries of other pictures are kept unless they are the majority."""
        self.known.update(found)
        if self.path is None:
            return
        mine = {name: (stamp, self.known[name]) for name, stamp in self.stamps.items() if name in self.known}
        every = {**(self.others if len(self.others) <= len(self.stamps) else {}), **mine}
        buffer = io.BytesIO()
        np.savez(
            buffer,
            text=np.frombuffer(json.dumps([self.header, list(every)]).encode(), np.uint8),
            stamps=np.array([stamp for stamp, _ in every.values()], np.int64).reshape(-1, STAMP),
            entries=np.array([entry for _, entry in every.values()], self.kind),
        )
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            write_aside(self.path, buffer.getvalue())
        except OSError as error:
            where = f"{self.path.parent}: {error.strerror or error}"
            self.note = f"the results of the duplicate search cannot be cached in {where}"


def stamps(files: Mapping[str, Path | None]) -> dict[str, Stamp]:
    """The stamp of each file, by name; unreadable files are left out."""
    seen: dict[Path, Stamp] = {}
    found: dict[str, Stamp] = {}
    for name, file in files.items():
        if file is None:
            continue
        if file not in seen:
            with suppress(OSError):
                entry = file.stat()
                number = entry.st_ino & (2**63 - 1)  # some file systems use all 64 bits and more
                seen[file] = (entry.st_size, entry.st_mtime_ns, entry.st_ctime_ns, number)
        if file in seen:
            found[name] = seen[file]
    return found
