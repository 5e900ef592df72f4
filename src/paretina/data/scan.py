"""Finds the picture files below a folder, and counts what is left out and why.

Everything that reads a folder uses this, so that training, evaluation and prediction see the same pictures in it. A picture is
a file with one of the endings in `SUFFIXES`, at any depth. Links are followed, except to a folder above them; a broken link
with such an ending is a picture that cannot be read. Left out, and counted by reason: hidden files and folders (all that
begins with a dot, such as `.ipynb_checkpoints` or `._1.jpg`), files that systems and programs keep beside the user's (`@eaDir`,
`__MACOSX`, `Thumbs.db`), files with other endings, and names that are not valid text.

Looks at names only: nothing is opened, and nothing is written.
"""

import os
import re
import stat
from collections import Counter
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path

from paretina.data.decode import SUFFIXES


class UnusableError(ValueError):
    """A folder cannot be used as data: it is not there, has no pictures, or its layout is not clear. Nothing was done."""

    exit_code = 2


SYSTEM_FOLDERS = frozenset(
    # Synology and QNAP: thumbnails, what was deleted, what is being copied
    {"@eadir", "@tmp", "@recycle", "@recently-snapshot", "@sharebin", "@__thumb", "#recycle", "#snapshot", "trashbox"}
    # NetApp: snapshots
    | {"~snapshot"}
    # Windows, on every drive
    | {"$recycle.bin", "recycler", "$extend", "system volume information", "dfsrprivate", "_vti_cnf"}
    # macOS: in archives, and on network shares
    | {"__macosx", "network trash folder", "temporary items", "thevolumesettingsfolder", "resource.frk"}
    # programs that synchronise folders or show pictures
    | {"_gsdata_", "catalogthumbs"}
    # the repair of a file system, and Python
    | {"lost+found", "__pycache__"}
)
"""Names of folders that do not contain the user's pictures, in lower case."""

RECYCLED = frozenset({"Recycled", "RECYCLED"})
"""The bin of Windows on FAT drives, as it spells it; `recycled` may be a class."""

SYSTEM_FOLDER = re.compile(r"found\.\d{3}|.+\.lrdata")
"""Folders that the repair of a Windows drive makes, and the previews of Lightroom, in lower case."""

UNWRITABLE = "whose name is not valid text"
"""Part of the reason for which a folder is left out that has such a name."""

SYSTEM_FILES = frozenset({"thumbs.db", "ehthumbs.db", "ehthumbs_vista.db", "desktop.ini", "icon\r"})
"""Names of files that systems leave in folders of pictures, in lower case."""


class PicturePlace:
    """A folder within a scan, listed on first access.

    Attributes:
        root: the folder that names are relative to.
        path: its name from there, with forward slashes; empty for the root itself.
    """

    def __init__(self, root: Path, path: str = "", above: tuple[tuple[int, int], ...] = ()) -> None:
        self.root = root
        self.path = path
        self.above = above

    @property
    def name(self) -> str:
        return self.path.rpartition("/")[2]

    @property
    def full_path(self) -> str:
        return os.path.join(self.root, self.path)

    @cached_property
    def listing(self) -> tuple[tuple["PicturePlace | str", ...], Counter[str]]:
        """Folders and names of pictures, sorted by name; and the number of files left out, by reason.

        Raises:
            OSError: it cannot be listed; `filename` names it.
        """
        here = identity(self.full_path)
        found: list[PicturePlace | str] = []
        left_out: Counter[str] = Counter()
        with os.scandir(self.full_path) as entries:
            for entry in sorted(entries, key=lambda entry: entry.name):
                path = f"{self.path}/{entry.name}" if self.path else entry.name
                is_folder, reason = judged(entry)
                if is_folder and not reason and identity(entry.path) in (*self.above, here):
                    reason = "links to a folder above them"  # it would never terminate
                if reason:
                    left_out[reason] += 1
                elif not is_folder:
                    found.append(path)
                elif writable(entry.name):
                    found.append(PicturePlace(self.root, path, (*self.above, here)))
                else:
                    lost = sum(1 for _ in PicturePlace(self.root, path, (*self.above, here)).all_pictures(Counter()))
                    if lost:
                        left_out[f"pictures in '{readable(entry.name)}', {UNWRITABLE} (rename the folder)"] += lost
                    else:
                        left_out[f"folders {UNWRITABLE}"] += 1
        return tuple(found), left_out

    @property
    def left_out(self) -> Counter[str]:
        """Number of files left out of this folder itself, by reason."""
        return self.listing[1]

    @property
    def folders(self) -> list["PicturePlace"]:
        return [each for each in self.listing[0] if isinstance(each, PicturePlace)]

    @property
    def pictures(self) -> list[str]:
        """Names of the pictures in this folder itself."""
        return [each for each in self.listing[0] if isinstance(each, str)]

    @cached_property
    def has_pictures(self) -> bool:
        """Whether there is one at any depth."""
        return bool(self.pictures) or any(folder.has_pictures for folder in self.folders)

    def all_pictures(self, left_out: Counter[str]) -> Iterator[str]:
        """Names of the pictures at any depth, in order; adds what is not among them to `left_out`."""
        left_out.update(self.left_out)
        for each in self.listing[0]:
            if isinstance(each, PicturePlace):
                yield from each.all_pictures(left_out)
            else:
                yield each


def identity(path: str) -> tuple[int, int]:
    """Identifies a folder, whichever link leads to it."""
    place = os.stat(path)
    return place.st_dev, place.st_ino


def judged(entry: os.DirEntry[str]) -> tuple[bool, str]:
    """Whether an entry is a folder, and why it is left out; "" for a picture or a folder to read."""
    name = entry.name.lower()
    if name.startswith("."):
        return False, "hidden"
    kind = kind_of(entry)
    if stat.S_ISDIR(kind):
        if name in SYSTEM_FOLDERS or entry.name in RECYCLED or SYSTEM_FOLDER.fullmatch(name):
            return True, f"system folders {readable(entry.name)}"
        return True, ""
    if name in SYSTEM_FILES:
        return False, "system files"
    suffix = Path(name).suffix
    if suffix not in SUFFIXES:
        ending = suffix if suffix and writable(suffix) else "no suffix"
        return False, ending if kind else "broken links"
    if kind and not stat.S_ISREG(kind):
        return False, "devices, pipes and sockets"  # reading one could block forever
    return False, "" if writable(entry.name) else "names that are not valid text"


def kind_of(entry: os.DirEntry[str]) -> int:
    """The type bits of what an entry is or leads to; 0 for a broken link."""
    if entry.is_dir(follow_symlinks=False):
        return stat.S_IFDIR
    if entry.is_file(follow_symlinks=False):
        return stat.S_IFREG
    try:
        return stat.S_IFMT(os.stat(entry.path).st_mode)
    except OSError:
        return 0


def writable(name: str) -> bool:
    """Whether the name can be written into logs and tables."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def readable(name: str) -> str:
    """The name with an escape for each invalid byte, so that it can be printed: K\\xe4se."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")


def left_out_text(left_out: Counter[str]) -> str:
    """A sentence about what was left out, or ""."""
    if not left_out:
        return ""
    return "files left out: " + ", ".join(f"{reason}: {count}" for reason, count in sorted(left_out.items()))
