"""Data check: checks every picture of a source. Data cache: what is cached of decoded pictures."""

from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from paretina.data.check import Report, check
from paretina.data.named import source_named
from paretina.data.packed import PackInfo, packs, pictures_folder
from paretina.data.source import Source
from paretina.text import how_many, printable
from paretina.train.recipe import Recipe
from paretina.verbs.checks import MisuseError, beside, misuse


def data_check(data: str | Source) -> Report:
    """Checks every picture of a source: classes, counts, sizes, unreadable pictures, duplicates and near-duplicates.

    The report says if `train` would refuse the data with the default `max_damaged`.

    Raises:
        ValueError: there is no such source, or nothing in it can be used.
    """
    with misuse():
        source = source_named(data)
    return check(source.open(), max_damaged=Recipe().max_damaged)


@dataclass(frozen=True)
class CachedData:
    """The cache of decoded pictures.

    Attributes:
        folder: where it is.
        sets: what it holds, last used first; after `clear`, what was removed.
        cleared: whether `sets` were removed.
        busy: sets that were not removed, because a process is adding pictures to them.
        within: the folder of pictures that was asked for; "" for all.
    """

    folder: Path
    sets: tuple[PackInfo, ...]
    cleared: bool = False
    busy: tuple[PackInfo, ...] = ()
    within: str = ""

    def to_dict(self) -> dict[str, Any]:
        """The same as JSON-compatible values."""

        def said(info: PackInfo) -> dict[str, Any]:
            return {**asdict(info), "index": str(info.index)}

        return {
            "folder": str(self.folder),
            "bytes": sum(info.bytes for info in self.sets),
            "cleared": self.cleared,
            "sets": [said(info) for info in self.sets],
            "busy": [said(info) for info in self.busy],
        }

    def lines(self) -> list[str]:
        """The same as lines of plain text."""
        if self.within and not self.sets and not self.busy:
            return [printable(f"no pictures of {self.within} are in the cache, {self.folder}")]
        sets = f"{how_many(len(self.sets), 'set')} of decoded pictures, {size_said(sum(info.bytes for info in self.sets))}"
        text = [f"removed {sets}, from {self.folder}" if self.cleared else f"{self.folder} holds {sets}"]
        text += [f"  {described(info)}" for info in self.sets]
        text += [f"in use, not removed: {described(info)}" for info in self.busy]
        return [printable(line) for line in text]


def described(info: PackInfo) -> str:
    size = "" if info.shorter is None else f" of at most {info.shorter} pixels on the shorter side"
    used = datetime.fromtimestamp(info.used).strftime("%Y-%m-%d %H:%M")
    return f"{info.root or 'unfinished'}: {how_many(info.pictures, 'picture')}{size}, {size_said(info.bytes)}, used {used}"


def size_said(count: int) -> str:
    return f"{count / 1e9:.2f} GB" if count >= 1e9 else f"{count / 1e6:.1f} MB"


def data_cache(folder: str | Path | None = None, clear: bool = False) -> CachedData:
    """What `cache_gb` has cached of decoded training pictures.

    Args:
        folder: only pictures in this folder; default: all.
        clear: whether to remove it; runs in progress decode their pictures again, to the same bits.

    Raises:
        MisuseError: there is no such folder, and nothing in the cache of one that was there before.
    """
    within = None if folder is None else Path(folder).expanduser().absolute()
    found = [info for info in packs() if within is None or (info.root and Path(info.root).is_relative_to(within))]
    if folder is not None and not found and not Path(folder).expanduser().is_dir():
        if Path(folder).expanduser().exists():
            raise MisuseError(f"{folder} is a file; name a folder of pictures")
        raise MisuseError(f"there is no folder {folder}{beside(Path(folder))}")
    found.sort(key=lambda info: -info.used)
    asked = "" if folder is None else str(folder)
    if not clear:
        return CachedData(pictures_folder(), tuple(found), within=asked)
    removed = {info.index: info.remove() for info in found}
    gone, busy = (tuple(info for info in found if removed[info.index] == state) for state in (True, False))
    return CachedData(pictures_folder(), gone, True, busy, asked)
