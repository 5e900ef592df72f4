"""Folder: pictures in folders named after their classes.

`DIR/train/CLASS/*` and `DIR/val/CLASS/*` are taken as they are (`val` may be called valid or validation; `test` is a split
of its own, and stands in for `val` where there is none). `DIR/CLASS/*` is split by a hash of the names, which stays the same on
every machine and when pictures are added; copies of one picture, see `paretina.data.likeness`, stay on one side. Pictures may
lie deeper inside the folder of their class.

Opening looks at names only, unless it makes a split: then it looks at the pictures, once. Nothing is ever written into the
folder.
"""

import os
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar, Literal

from paretina.data.decode import SUFFIXES, DecodeError, decode
from paretina.data.likeness import Moved, together
from paretina.data.source import Collection, Sample, Source, split_by_names_alone
from paretina.data.split import held_out
from paretina.shapes import Image
from paretina.spec import near

SPLITS = {
    "train": ("train", "training"),
    "val": ("val", "valid", "validation"),
    "test": ("test", "testing"),
}
"""What the folder of each split may be called, in any case."""


@dataclass(frozen=True, kw_only=True)
class Folder(Source):
    """
    Attributes:
        path: the folder; `~` is the home folder.
        val_share: part of each class that is held out as `val` where the folder itself has none, in [0, 1]. 1 holds out
            everything (for measuring on a folder), 0 nothing.
        mirrors: whether the mirror image of a picture still belongs to its class; say no for letters or left and right hands.
        copies: whether copies of one picture stay `together` on one side of a split that is made here, or may be `anywhere`.
        moved: pictures that are for this on the other side than their names say; found by looking unless given. A run writes
            down what it found, so that its split never moves.
    """

    UPGRADES = (split_by_names_alone,)

    path: str
    val_share: float = 0.2
    mirrors: bool = True
    copies: Literal["together", "anywhere"] = "together"
    moved: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.val_share <= 1:
            raise ValueError(f"Folder.val_share must be in [0, 1], got {self.val_share}")

    def open(self) -> "FolderCollection":
        root = Path(self.path).expanduser().absolute()
        if not root.exists():
            raise ValueError(f"there is no folder {self.path!r}")
        if not root.is_dir():
            raise ValueError(f"{self.path!r} is a file; name the folder that holds the class folders")
        try:
            scan = Scan(root)
            given = split_folders(root)
            parts = {split: scan.classes_in(folder) for split, folder in given.items()} if given else {"": scan.classes_in("")}
            if given:
                scan.set_aside([name for name in subfolders(root) if name not in given.values()], given)
        except OSError as error:
            raise ValueError(f"cannot list {error.filename}: {error.strerror}") from None
        classes = tuple(sorted(parts["train" if given else ""]))
        least = 1 if self.val_share == 1 and "val" not in parts else 2
        if len(classes) < least:
            raise ValueError(too_few(self.path, classes, scan, given))
        for split, by_class in parts.items():
            agree(given.get(split, ""), by_class, given.get("train", ""), classes, scan.notes)
        samples = {
            split: tuple(Sample(name, label) for label, kind in enumerate(classes) for name in by_class.get(kind, ()))
            for split, by_class in parts.items()
        }
        found = FolderCollection(classes, samples, (), self.mirrors, str(root))
        splits, moved = self.divided(found, scan.notes)
        return replace(found, splits=splits, notes=tuple(scan.notes + scan.left_out()), moved=moved)

    def pinned(self, collection: Collection) -> "Folder":
        return replace(self, moved=collection.moved)

    def divided(self, found: Collection, notes: list[str]) -> tuple[dict[str, tuple[Sample, ...]], tuple[str, ...] | None]:
        """The splits, and what is `moved` in them; makes `val` where the folder has none."""
        samples = found.splits
        if "val" in samples:
            return samples, None
        if "test" in samples:
            notes.append("there is no val folder, so the pictures in test stand in for it; nothing is left to test on")
            return {"train": samples["train"], "val": samples["test"]}, None
        pool = samples.get("train", samples.get("", ()))
        held = held_out([sample.name for sample in pool], [sample.label for sample in pool], self.val_share)
        moved = together(found, pool, self.val_share, self.moved) if self.copies == "together" else Moved(None)
        held ^= {*(moved.names or ())}
        train = tuple(sample for sample in pool if sample.name not in held)
        val = tuple(sample for sample in pool if sample.name in held)
        if self.val_share in (0, 1):
            notes.append(f"val_share is {self.val_share:g}, so {'all' if val else 'no'} pictures are held out as val")
            return {"train": train, "val": val}, None
        notes.append(
            f"there is no val folder, so {len(val)} of {len(pool)} pictures ({len(val) / len(pool):.1%}) were held out as val, "
            "chosen by a hash of their names; where several show one scene, make train/ and val/ yourself"
        )
        notes += moved.notes
        missing = sorted({sample.label for sample in train} - {sample.label for sample in val})
        alone = [found.classes[label] for label in missing if sum(sample.label == label for sample in train) == 1]
        copied = [found.classes[label] for label in missing if found.classes[label] not in alone]
        if alone:
            notes.append(f"classes with a single picture have none in val: {', '.join(alone)}")
        if copied:
            notes.append(
                f"classes whose pictures are all copies of each other or of other classes have none in val: {', '.join(copied)}"
            )
        return {"train": train, "val": val}, moved.names


@dataclass(frozen=True)
class FolderCollection(Collection):
    """
    Attributes:
        root: the folder that the names of the samples start from.
    """

    COSTLY: ClassVar[bool] = True

    root: str = ""

    def file(self, sample: Sample) -> Path:
        return Path(self.root, sample.name)

    def image(self, sample: Sample, at_least: int | None = None) -> Image:
        """Decodes one picture; `at_least` as in `decode`.

        Raises:
            DecodeError: the picture cannot be read; the message names it.
        """
        try:
            data = Path(self.root, sample.name).read_bytes()
        except OSError as error:
            raise DecodeError(f"{sample.name}: {error.strerror or error}") from None
        return decode(data, sample.name, at_least)


# --- what is there ----------------------------------------------------------------------------------------------------


class Scan:
    """Looks for pictures and remembers what it left out.

    Attributes:
        notes: sentences about folders.
        skipped: how many files were left out, by what they are.
        loose: how many pictures lie in no class folder.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.notes: list[str] = []
        self.skipped: Counter[str] = Counter()
        self.loose = 0

    def classes_in(self, folder: str) -> dict[str, list[str]]:
        """Class -> names of its pictures, relative to the root, for each class folder that has any."""
        found, empty = {}, []
        for entry in entries(self.root / folder):
            if entry.name.startswith("."):
                self.skipped["hidden"] += 1
            elif not entry.is_dir():
                if is_picture(entry):
                    self.loose += 1
                    self.skipped["pictures outside of class folders"] += 1
                else:
                    self.skipped[suffix(entry.name)] += 1
            elif not writable(entry.name):
                self.skipped["folders whose name is not valid text"] += 1
            elif pictures := self.pictures_below(Path(folder, entry.name), ()):
                found[entry.name] = pictures
            else:
                empty.append(entry.name)
        if empty:
            self.notes.append(
                f"folders without pictures are no classes, left out: {', '.join(Path(folder, e).as_posix() for e in empty)}"
            )
        return found

    def pictures_below(self, folder: Path, above: tuple[tuple[int, int], ...]) -> list[str]:
        place = os.stat(self.root / folder)
        here = (place.st_dev, place.st_ino)
        if here in above:  # a link that leads back up would never end
            self.skipped["links to a folder above them"] += 1
            return []
        found = []
        for entry in entries(self.root / folder):
            if entry.name.startswith("."):
                self.skipped["hidden"] += 1
            elif entry.is_dir():
                found += self.pictures_below(folder / entry.name, (*above, here))
            elif not is_picture(entry):
                self.skipped[suffix(entry.name)] += 1
            elif not writable(entry.name) or not writable(str(folder)):
                self.skipped["names that are not valid text"] += 1
            else:
                found.append((folder / entry.name).as_posix())
        return found

    def set_aside(self, folders: list[str], given: dict[str, str]) -> None:
        if folders:
            self.notes.append(
                f"folders beside {', '.join(f'{name}/' for name in given.values())} were left out: {', '.join(folders)}"
            )

    def left_out(self) -> list[str]:
        if not self.skipped:
            return []
        return ["files left out: " + ", ".join(f"{kind}: {count}" for kind, count in sorted(self.skipped.items()))]


def entries(folder: Path) -> list[os.DirEntry[str]]:
    with os.scandir(folder) as found:
        return sorted(found, key=lambda entry: entry.name)


def subfolders(folder: Path) -> list[str]:
    return [entry.name for entry in entries(folder) if entry.is_dir() and not entry.name.startswith(".")]


def suffix(name: str) -> str:
    return Path(name).suffix.lower() or "no suffix"


def is_picture(entry: os.DirEntry[str]) -> bool:
    # A broken link counts: it is a damaged picture, which gets reported, and not a file to be left out.
    return suffix(entry.name) in SUFFIXES and (entry.is_file() or entry.is_symlink())


def writable(name: str) -> bool:
    """Whether the name can be written into logs and tables."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def split_folders(root: Path) -> dict[str, str]:
    """Split -> the name of its folder, or nothing where the folder has classes and no splits.

    Raises:
        ValueError: two folders claim one split, or there is no `train` beside another split.
    """
    names = subfolders(root)
    found: dict[str, str] = {}
    for split, aliases in SPLITS.items():
        claims = [name for name in names if name.lower() in aliases and subfolders(root / name)]
        if len(claims) > 1:
            raise ValueError(f"{' and '.join(claims)} in {str(root)!r} both say they are the {split} split; keep one of them")
        if claims:
            found[split] = claims[0]
    if found and "train" not in found:
        there = ", ".join(f"{name}/" for name in found.values())
        raise ValueError(
            f"{str(root)!r} has {there} but no train/ with class folders in it; name {there} itself to measure on it"
        )
    return found


def agree(folder: str, by_class: dict[str, list[str]], train: str, classes: tuple[str, ...], notes: list[str]) -> None:
    """Notes the classes that a split lacks.

    Raises:
        ValueError: it has a class that `train` lacks.
    """
    strange = sorted(set(by_class) - set(classes))
    if strange:
        more = f" (nor have {', '.join(strange[1:])})" if strange[1:] else ""
        raise ValueError(
            f"{folder}/ has the class {strange[0]!r}, which has no pictures in {train}/{more}{near(strange[0], classes)}"
        )
    missing = sorted(set(classes) - set(by_class))
    if missing:
        notes.append(f"classes that have no pictures in {folder}/: {', '.join(missing)}")


def too_few(path: str, classes: tuple[str, ...], scan: Scan, given: dict[str, str]) -> str:
    where = repr(os.path.join(path, given["train"])) if given else repr(path)
    wanted = "one folder a class is needed, such as photos/cat/1.jpg and photos/dog/2.jpg"
    if classes:
        return f"{where} has a single class, {classes[0]!r}; a classifier needs two or more: {wanted}"
    if scan.loose:
        return f"{where} has {scan.loose} pictures but no class folders with pictures in them; {wanted}"
    rest = f" ({'; '.join(scan.left_out())})" if scan.skipped else ""
    return f"{where} has no pictures{rest}; {wanted}"


EXAMPLES = (Folder(path="photos"), Folder(path="photos", val_share=0.1, mirrors=False))
