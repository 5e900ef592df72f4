"""Look cache: what was found out about pictures, kept for the next time, one file a folder of pictures.

An entry holds as long as its picture's file stays the same file with the same size and times. The cache lies in the user's
cache folder, see `paretina.system.cache_folder`, never beside the pictures. A damaged cache file is as good as none and is
written anew; a folder that cannot be written is a note. Nothing else depends on it: removing it costs the time to look again.
"""

import hashlib
import io
import json
import os
import zipfile
from collections.abc import Mapping
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from paretina.run import write_aside
from paretina.system import cache_folder

VERSION = 2
"""Of the entries; one more where the same picture gives others."""

Stamp = tuple[int, ...]
"""Size in bytes, times of the last change of the content and of the entry (where the system has it) in nanoseconds, and number
of the file. The first two alone do not tell a file from one that an archive or a copy put in its place with its time kept."""

STAMP = 4
"""Numbers in a stamp."""


class LookCache:
    """What is known of some pictures, by their names.

    Args:
        files: by name, the file that a picture is read from; None for those that have none and are not kept.
        kind: type of an entry.
        use: what entries are for; those for another use lie elsewhere.

    Attributes:
        note: why nothing can be kept for the next time; "" if it can.
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
            with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as file:
                text, when, entries = (file[name] for name in ("text", "stamps", "entries"))
            header, names = json.loads(text.tobytes())
            if header != self.header:
                return {}
            if entries.dtype != self.kind or when.shape != (len(names), STAMP) or entries.shape != (len(names),):
                raise ValueError("its parts do not fit together")
            return {name: (tuple(stamp), one) for name, stamp, one in zip(names, when.tolist(), entries, strict=True)}
        except OSError:  # there is none yet, or the folder cannot be used, which writing will say
            return {}
        except (ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile, RecursionError):
            return {}  # damaged; nothing is lost but the time to look again, and `keep` mends it

    def keep(self, found: Mapping[str, Any]) -> None:
        """Adds entries and writes all of them down; entries of other pictures stay, unless they are the greater part."""
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
            self.note = f"what was found out about the pictures cannot be kept for the next time in {where}"


def stamps(files: Mapping[str, Path | None]) -> dict[str, Stamp]:
    """By name, the stamp of the file; those without a readable one are left out."""
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
