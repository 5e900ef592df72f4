"""Folder: pictures in one folder per class.

`DIR/train/CLASS/*` and `DIR/val/CLASS/*` are taken as they are (`val` may be called valid or validation; `test` is a split
of its own, and stands in for `val` where there is none). Other names that say so, such as training_set and test_set, or dev,
are understood, and so is a single folder around it all; a note says so. `DIR/CLASS/*` is split by a hash of the names, which
stays the same on every machine and when pictures are added; copies of one picture, see `paretina.data.likeness`, stay on one
side. Pictures may lie deeper inside the folder of their class. Folders that can be read in two ways, such as fold1/CLASS and
fold2/CLASS, are an error that says what was found; `layout="classes"` decides that they are classes.

Class folders whose names differ only in the Unicode form of a letter are one class; so are those of different splits that
differ only in case or spaces. In one folder, names that differ only in case or spaces are an error. Hidden files, what systems
leave behind (`@eaDir`, `__MACOSX`, `Thumbs.db`) and files with other endings are left out and counted.

Opening looks at names only, unless it makes a split: then it looks at the pictures, once. Nothing is ever written into the
folder.
"""

import os
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar, Literal

from paretina.data.decode import DecodeError, decode
from paretina.data.divide import Dividing, sides
from paretina.data.grouping import FOLDER, grouped
from paretina.data.layout import Reading, class_folders, exact_splits, is_labelled, layout_of, listed, shown, split_said
from paretina.data.names import composed, counterpart, likeness, spelt
from paretina.data.scan import UNWRITABLE, PicturePlace, UnusableError, left_out_text, readable
from paretina.data.source import ALL_HELD_OUT, NONE_HELD_OUT, Collection, Sample, Source, split_by_names_alone
from paretina.shapes import Image
from paretina.spec import near
from paretina.text import how_many, printable


def read_plainly(data: dict[str, Any]) -> dict[str, Any]:
    """Upgrades the data of a run of an earlier release, so that its folder is read as it was then."""
    return {"layout": "plain", **data} if {"val_share", "mirrors"} <= set(data) else data


@dataclass(frozen=True, kw_only=True)
class Folder(Source):
    """
    Attributes:
        path: the folder; `~` is the home folder.
        val_share: share of each class that is held out as `val` if the folder has none, in [0, 1]. 1 holds out everything
            (for evaluating on a folder), 0 nothing.
        mirrors: whether the mirror image of a picture still belongs to its class; set it to off for letters or left and right
        hands.
        layout: "auto" tells splits from classes; "classes" takes the folders as classes, whatever their names; "plain" uses
            only the names train, val and test (valid, ...) as splits and takes every other name as a class, as earlier
            releases did, and as their runs continue to do.
        copies: whether copies of a picture stay `together` on one side of an automatic split, or may be `anywhere`.
        groups: how pictures are grouped that stay on one side of an automatic split and of folds: "folder", a regular
            expression with parentheses, or a CSV file; see `paretina.data.grouping`. "" for no groups.
        moved: pictures that are therefore on the other side than by name; default: found by searching. A run stores them,
            so that its split never changes.
    """

    UPGRADES = (split_by_names_alone, read_plainly)
    FOLDERS = True

    path: str
    val_share: float = 0.2
    mirrors: bool = True
    layout: Reading = "auto"
    copies: Literal["together", "anywhere"] = "together"
    groups: str = ""
    moved: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.val_share <= 1:
            raise ValueError(f"Folder.val_share must be in [0, 1], got {self.val_share}")

    def open(self) -> "FolderCollection":
        findings = FolderFindings()
        with listing():
            layout = layout_of(self.place(), self.reading())
            for place, leading in layout.passed:
                findings.pass_through(place, leading)
            parts = {split: findings.classes_in(place) for split, place in layout.splits.items()}
            if self.layout != "plain":
                parts = {split: findings.with_one_form(parts[split], place) for split, place in layout.splits.items()}
        notes = [*layout.notes, *findings.notes]
        train = layout.splits.get("train")
        classes = tuple(sorted(parts["train" if train else ""]))
        least = 1 if self.val_share == 1 and "val" not in parts else 2
        if len(classes) < least:
            raise UnusableError(too_few(self.path, classes, findings, layout.splits["train" if train else ""]))
        if train:
            if "val" in parts and not any(parts["val"].values()):
                empty = layout.splits["val"]
                raise UnusableError(
                    f"{shown(empty)} has folders but no pictures in them; put pictures there, or remove it, and a part of "
                    f"{train.path}/ is held out instead"
                )
            parts = {
                split: agree(layout.splits[split].path, by_class, train.path, classes, notes)
                for split, by_class in parts.items()
            }
            if not any(parts.get("test", {}).values()):
                parts.pop("test", None)
        samples = {
            split: tuple(Sample(name, label) for label, kind in enumerate(classes) for name in by_class.get(kind, ()))
            for split, by_class in parts.items()
        }
        found = FolderCollection(classes, samples, (), self.mirrors, str(layout.root.root))
        if self.groups:
            above = {split: len(place.path) + 1 if place.path else 0 for split, place in layout.splits.items()}
            inner = {
                sample.name: sample.name[above[split] :].partition("/")[2] for split, each in samples.items() for sample in each
            }
            groups, told = grouped(self.groups, inner)
            notes += told
            found = replace(found, groups=groups)
        splits, moved = self.divided(found, notes)
        notes += straddling(found, splits)
        if findings.left_out:
            notes.append(left_out_text(findings.left_out))
        return replace(found, splits=splits, notes=tuple(notes), moved=moved)

    def has_splits(self) -> bool:
        """Whether the folder has splits of its own.

        Raises:
            ValueError: there is no such folder, or its layout is ambiguous.
        """
        with listing():
            return "" not in layout_of(self.place(), self.reading()).splits

    def folders(self) -> tuple[str, ...]:
        """Names of the folders in it that have pictures.

        Raises:
            ValueError: there is no such folder.
        """
        with listing():
            return tuple(folder.name for folder in class_folders(self.place()))

    def reading(self) -> Reading:
        """How the layout is found: the folders are classes where those in them are groups, unless they are named as splits."""
        within = self.layout == "auto" and self.groups == FOLDER
        return "classes" if within and "train" not in exact_splits(self.place()) else self.layout

    def place(self) -> PicturePlace:
        root = Path(self.path).expanduser().absolute()
        if not root.exists():
            raise UnusableError(f"there is no folder {self.path!r}")
        if not root.is_dir():
            raise UnusableError(f"{self.path!r} is a file; name the folder that holds the class folders")
        return PicturePlace(root)

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
        units = {sample.name: found.unit(sample) for sample in pool} if self.groups else None
        held, moved = sides(found, pool, Dividing(self.val_share, self.copies, self.moved), units)
        train = tuple(sample for sample in pool if sample.name not in held)
        val = tuple(sample for sample in pool if sample.name in held)
        if self.val_share in (0, 1):
            notes.append(ALL_HELD_OUT if val else NONE_HELD_OUT)
            return {"train": train, "val": val}, None
        notes.append(
            f"there is no val folder, so {len(val)} of {how_many(len(pool), 'picture')} "
            f"({100 * len(val) / len(pool):.1f} %) were held out as val, "
            f"chosen by a hash of their names; {GROUPED if self.groups else UNGROUPED}"
        )
        notes += moved.notes
        missing = sorted({sample.label for sample in train} - {sample.label for sample in val})
        alone = [found.classes[label] for label in missing if sum(sample.label == label for sample in train) == 1]
        copied = [found.classes[label] for label in missing if found.classes[label] not in alone]
        if alone:
            notes.append(f"classes with a single picture have none in val: {', '.join(alone)}")
        if copied:
            what = "of one group, or" if self.groups else "all"
            notes.append(
                f"classes whose pictures are {what} copies of each other or of other classes have none in val: "
                f"{', '.join(copied)}"
            )
        return {"train": train, "val": val}, moved.names


@dataclass(frozen=True)
class FolderCollection(Collection):
    """
    Attributes:
        root: the folder that the names of the samples are relative to.
        groups: the group of each picture that has one.
    """

    COSTLY: ClassVar[bool] = True

    root: str = ""
    groups: Mapping[str, str] = field(default_factory=dict, repr=False, hash=False)

    def unit(self, sample: Sample) -> str:
        group = self.groups.get(sample.name)
        return sample.name if group is None else f"{group}/"  # no picture is called that

    def file(self, sample: Sample) -> Path:
        return Path(self.root, sample.name)

    def image(self, sample: Sample, at_least: int | None = None) -> Image:
        """Decodes one picture; `at_least` as in `decode`.

        Raises:
            DecodeError: the picture cannot be read; the message names it.
        """
        return decode(self.encoded(sample), sample.name, at_least)

    def encoded(self, sample: Sample) -> bytes:
        try:
            return Path(self.root, sample.name).read_bytes()
        except OSError as error:
            raise DecodeError(f"{sample.name}: {error.strerror or error}") from None


GROUPED = "groups stay on one side"
UNGROUPED = "where several show one scene, name what they have in common (--groups), or make train/ and val/ yourself"


def straddling(found: FolderCollection, splits: Mapping[str, tuple[Sample, ...]]) -> list[str]:
    """A note about groups that the folder's own splits divide."""
    units = {
        split: {found.groups[sample.name] for sample in each if sample.name in found.groups} for split, each in splits.items()
    }
    train = units.pop("train", set())
    return [
        f"warning: {how_many(len(both), 'group has', ',', 'groups have')} pictures in train and in {split}, such as "
        f"{spelt(min(both))}: the accuracy may be too high by {'it' if len(both) == 1 else 'them'}"
        for split, own in units.items()
        if (both := train & own)
    ]


# --- reading the folder -----------------------------------------------------------------------------------------------


class FolderFindings:
    """The contents of a folder, and what is left out.

    Attributes:
        notes: sentences about folders.
        left_out: how many files and folders were left out, by reason.
        loose: how many pictures lie in no class folder.
    """

    def __init__(self) -> None:
        self.notes: list[str] = []
        self.left_out: Counter[str] = Counter()
        self.loose = 0

    def pass_through(self, place: PicturePlace, leading: tuple[PicturePlace, ...]) -> None:
        """Notes what lies beside the folders that lead on."""
        self.look_at(place)
        beside = [told_aside(folder) for folder in place.folders if folder not in leading]
        if beside:
            names = ", ".join(f"{folder.name}/" for folder in leading)
            self.notes.append(f"folders beside {names} were left out: {', '.join(beside)}")

    def look_at(self, place: PicturePlace) -> None:
        self.left_out.update(place.left_out)
        if place.pictures:
            self.loose += len(place.pictures)
            self.left_out["pictures outside of class folders"] += len(place.pictures)

    def classes_in(self, place: PicturePlace) -> dict[str, list[str]]:
        """Class -> names of its pictures, for each class folder that has any."""
        self.look_at(place)
        found: dict[str, list[str]] = {}
        for folder in place.folders:
            if pictures := list(folder.all_pictures(self.left_out)):
                found[folder.name] = pictures
        empty = [folder.path for folder in place.folders if folder.name not in found]
        if empty:
            self.notes.append(f"folders without pictures are not classes, left out: {', '.join(f'{each}/' for each in empty)}")
        return found

    def with_one_form(self, by_class: dict[str, list[str]], place: PicturePlace) -> dict[str, list[str]]:
        """The classes, with different Unicode forms of a name merged into one class.

        Raises:
            ValueError: two names differ only in case or spaces.
        """
        found: dict[str, list[str]] = {}
        alike: dict[str, str] = {}
        forms = Counter(composed(name) for name in by_class)
        for name, pictures in by_class.items():
            own = composed(name) if forms[composed(name)] > 1 else name
            if own in found:
                self.notes.append(f"{own} is there in two Unicode forms, which are taken as one class")
            found.setdefault(own, []).extend(pictures)
            other = alike.setdefault(likeness(name), own)
            if other != own:
                raise UnusableError(
                    f"the class folders {spelt(other)} and {spelt(own)} in {shown(place)} differ only in case or spaces; "
                    "move their pictures into one of them, or rename one if they are two classes"
                )
        letters = sorted(name for name in found if len(name) == 1 and name != name.swapcase() and name.swapcase() in found)
        if letters:
            self.notes.append(f"letters in both cases are taken as classes of their own: {', '.join(letters)}")
        return found


@contextmanager
def listing() -> Iterator[None]:
    """Turns the failure to list a folder into an error for the user."""
    try:
        yield
    except OSError as error:
        raise UnusableError(f"cannot list {readable(error.filename)}: {error.strerror}") from None


def told_aside(folder: PicturePlace) -> str:
    """A folder that is neither split nor class, with the reason, if its name says that it should be one."""
    if not folder.has_pictures:
        return f"{folder.name} (no pictures)"
    split = split_said(folder.name)
    return f"{folder.name} (no class folders in it)" if split and not is_labelled(folder, split) else folder.name


def agree(
    folder: str, by_class: dict[str, list[str]], train: str, classes: tuple[str, ...], notes: list[str]
) -> dict[str, list[str]]:
    """The pictures of a split under the class names of `train`; notes missing classes.

    Raises:
        ValueError: it has a class that `train` lacks.
    """
    names = {name: counterpart(name, classes) for name in by_class}
    strange = sorted(name for name, known in names.items() if known is None)
    if strange:
        more = f" (nor have {', '.join(map(printable, strange[1:]))})" if strange[1:] else ""
        raise UnusableError(
            f"{folder}/ has the class {spelt(strange[0])}, which has no pictures in {train}/{more}{near(strange[0], classes)}"
        )
    respelt = [
        f"{spelt(name)} as {spelt(known)}" for name, known in names.items() if known and composed(name) != composed(known)
    ]
    if respelt:
        notes.append(
            f"names in {folder}/ that differ only in case or spaces are taken for those in {train}/: {', '.join(respelt)}"
        )
    found = {known: pictures for name, pictures in by_class.items() if (known := names[name]) is not None}
    missing = sorted(set(classes) - set(found))
    if missing:
        notes.append(f"classes that have no pictures in {folder}/: {', '.join(map(printable, missing))}")
    return found


def too_few(path: str, classes: tuple[str, ...], findings: FolderFindings, train: PicturePlace) -> str:
    where = repr(os.path.join(path, train.path) if train.path else path)
    wanted = "one folder per class is needed, such as photos/cat/1.jpg and photos/dog/2.jpg"
    unnamed = Counter({reason: count for reason, count in findings.left_out.items() if UNWRITABLE in reason})
    lost = f" ({left_out_text(unnamed)})" if unnamed else ""
    if classes:
        (only,) = class_folders(train)[:1]
        within = class_folders(only)
        hint = f"; if the classes are {listed(within)} in it, name {shown(only)}" if len(within) > 1 else ""
        return f"{where} has a single class, {spelt(classes[0])}{lost}; a classifier needs two or more: {wanted}{hint}"
    if findings.loose:
        return f"{where} has {how_many(findings.loose, 'picture')} but no class folders with pictures in them{lost}; {wanted}"
    rest = f" ({left_out_text(findings.left_out)})" if findings.left_out else ""
    return f"{where} has no pictures{rest}; {wanted}"


EXAMPLES = (Folder(path="photos"), Folder(path="photos", val_share=0.1, mirrors=False), Folder(path="photos", groups="folder"))
