"""Table: pictures that a CSV, TSV or Parquet file lists, a row each.

Columns are known by their names, in any case: the picture's file as `path`, `image`, `image_path`, `file`, `filename` or
`filepath`; its label as `label`, `class` or `target`; and, where they are there, `split`, `set` or `subset` (train; val, valid
or validation; test), `weight` or `sample_weight`, and `group`. Fields of the source name others. Files are seen from the
table's folder.

A label is the name of a class. Cells with several, such as `cat|dog` or `cat;dog`, make it a table of any number of classes a
picture (`AnyOf`), where an empty cell means none of them. A table without a column of labels has a column for each class,
with 0, 1 or a probability: if each row adds up to 1, one class a picture with soft labels, otherwise any number of them.

A weight says how much a picture counts in the loss, in comparison with the others to train on; 0 is nothing. Pictures of one
group, such as a patient or a video, are never on both sides of a split that is made here.

The first bad row is an error that names the file, the row and the column; rows are counted as a spreadsheet does, so the
header of a CSV file is row 1. The index of a large table is kept in the cache: from then on a change of the table is noticed
while opening, but not that a picture was removed. Parquet needs the extra `tables`.
"""

import csv
import importlib.util
import math
import os
from array import array
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from torch import Tensor

from paretina.data.divide import Dividing, with_splits
from paretina.data.index_cache import Columns, IndexCache, packed, unpacked
from paretina.data.labels import NO_LABEL_YET, SPLITS, class_names, several_of, straddling
from paretina.data.source import Collection, Sample, Source
from paretina.data.sources.folder import FolderCollection
from paretina.model.task import Task
from paretina.model.tasks.any_of import ABSENT, AnyOf
from paretina.model.tasks.one_of import OneOf
from paretina.spec import near
from paretina.text import how_many, printable

KNOWN = {
    "image": ("image_path", "path", "image", "file", "filename", "filepath"),
    "label": ("label", "class", "target"),
    "split": ("split", "set", "subset"),
    "weight": ("weight", "sample_weight"),
    "group": ("group",),
}
"""Names of columns by the field that can name another one."""

INDEX_COLUMNS = ("", "unnamed: 0", "__index_level_0__", "index")
"""Names of columns with the numbers of the rows, which programs write."""

SEPARATORS = "|;"
MANY = 50_000
"""TableRows from which on the index of a table is kept in the cache."""

NEAR_ONE = 0.005
"""By how much the probabilities of a row may miss a sum of 1, as rounded ones do."""

FEW = 16
"""Pictures of a folder up to which each is looked up by itself, and the folder is not listed."""

SIDES = ("", "train", "val", "test")
"""The splits, by the number that stands for each."""


@dataclass(frozen=True, kw_only=True)
class Table(Source):
    """
    Attributes:
        path: the file, `.csv`, `.tsv` or `.parquet`, in UTF-8; `~` is the home folder.
        root: the folder that the files are seen from; default: that of the table.
        image: name of the column with the files, if it is none of those that are known.
        label: name of the column with the labels, likewise.
        labels: names of the columns that are classes, if not all other columns are.
        split: name of the column with the splits, likewise.
        weight: name of the column with the weights, likewise.
        group: name of the column with the groups, likewise.
        task: "one" takes each label as one class, also with | or ; in its name; "any" means any number of classes a picture;
            "auto" decides by the labels.
        val_share: share of each class, or of the groups, that is held out as `val` if no row says its split, in [0, 1].
        mirrors: whether the mirror image of a picture still belongs to its class.
        copies: whether copies of a picture stay `together` on one side of an automatic split, or may be `anywhere`.
        moved: pictures that are therefore on the other side than by name; default: found by searching. A run stores them.
        check_files: whether to look for each file while opening; otherwise one that is missing is found when it is read.
    """

    SUFFIXES = (".csv", ".tsv", ".parquet")

    path: str
    root: str = ""
    image: str = ""
    label: str = ""
    labels: tuple[str, ...] = ()
    split: str = ""
    weight: str = ""
    group: str = ""
    task: Literal["auto", "one", "any"] = "auto"
    val_share: float = 0.2
    mirrors: bool = True
    copies: Literal["together", "anywhere"] = "together"
    moved: tuple[str, ...] | None = None
    check_files: bool = True

    def __post_init__(self) -> None:
        if not 0 <= self.val_share <= 1:
            raise ValueError(f"Table.val_share must be in [0, 1], got {self.val_share}")
        if self.label and self.labels:
            raise ValueError("Table.label names one column of labels, Table.labels a column for each class; give one of them")

    def open(self) -> "TableCollection":
        path = Path(self.path).expanduser()
        if not path.is_file():
            raise ValueError(f"{self.path!r} is a folder" if path.is_dir() else f"there is no file {self.path!r}")
        root = Path(self.root).expanduser().absolute() if self.root else path.absolute().parent
        if not root.is_dir():
            raise ValueError(f"there is no folder {self.root!r} for the pictures of {self.path}")
        settings = [str(root), self.image, self.label, self.labels, self.split, self.weight, self.group, self.check_files]
        cache = IndexCache("tables", [path], settings)
        rows = TableRows.restored(cache.read())
        if rows is None:
            rows = TableRows.read(self, path)
            if self.check_files:
                rows.look_for_files(root)
            if len(rows.names) >= MANY:
                cache.keep(rows.columns())
                rows.notes += filter(None, [cache.note])
        return self.collected(rows, root)

    def pinned(self, collection: Collection) -> "Table":
        return replace(self, moved=collection.moved)

    def collected(self, rows: "TableRows", root: Path) -> "TableCollection":
        labelled = TableLabels.of(self, rows)
        samples = list(map(Sample, rows.names, labelled.labels))
        pools: dict[str, tuple[Sample, ...]] = {}
        for number, split in enumerate(SIDES):
            members = np.flatnonzero(np.frombuffer(rows.splits, np.int8) == number)
            pools[split] = tuple(samples) if len(members) == len(samples) else tuple(samples[i] for i in members.tolist())
        notes = [*rows.notes, *labelled.notes]
        groups = dict(zip(rows.names, (rows.group_names[i] for i in rows.groups), strict=True)) if rows.groups else None
        targets = (labelled.sets, labelled.codes, labelled.shares)
        by_row = any(each is not None for each in targets) or bool(rows.weights)
        found = TableCollection(
            labelled.classes,
            {},
            tuple(notes),
            self.mirrors,
            str(root),
            task=labelled.task,
            rows={name: number for number, name in enumerate(rows.names)} if by_row else {},
            sets=labelled.sets,
            codes=labelled.codes,
            shares=labelled.shares,
            groups=groups or {},
        )
        found = with_splits(found, pools, Dividing(self.val_share, self.copies, self.moved), self.path, groups)
        if groups and "" not in {split for split, some in pools.items() if some}:
            found = replace(found, notes=(*found.notes, *filter(None, [straddling(found.splits, groups)])))
        return found.with_weights(rows, self.path) if rows.weights else found


@dataclass(frozen=True)
class TableCollection(FolderCollection):
    """
    Attributes:
        rows: the row of each picture, where targets or weights are by row.
        sets: for any number of classes a picture: the classes of each different cell.
        codes: the cell of each row.
        shares: for soft labels, or columns of 0 and 1: [row, class].
        scale: of each row, by what its targets are multiplied.
    """

    COSTLY: ClassVar[bool] = True

    rows: dict[str, int] = field(default_factory=dict, repr=False, compare=False, kw_only=True)
    sets: tuple[tuple[int, ...], ...] | None = field(default=None, repr=False, compare=False, kw_only=True)
    codes: np.ndarray | None = field(default=None, repr=False, compare=False, kw_only=True)
    shares: np.ndarray | None = field(default=None, repr=False, compare=False, kw_only=True)
    scale: np.ndarray | None = field(default=None, repr=False, compare=False, kw_only=True)

    def target(self, sample: Sample) -> Tensor:
        if self.shares is not None:
            return torch.from_numpy(self.shares[self.rows[sample.name]].copy())
        if self.sets is not None and self.codes is not None:
            return several_of(self.sets[int(self.codes[self.rows[sample.name]])], len(self.classes))
        return super().target(sample)

    def weight(self, sample: Sample) -> float:
        return 1.0 if self.scale is None else float(self.scale[self.rows[sample.name]])

    def with_weights(self, rows: "TableRows", path: str) -> "TableCollection":
        """With weights that are 1 on average over those training pictures that have any.

        Raises:
            ValueError: all of these weigh nothing.
        """
        given = np.array(rows.weights)
        train = np.array([self.rows[sample.name] for sample in self.split("train")], int)
        some = given[train][given[train] > 0]
        if len(train) and not len(some):
            raise ValueError(f"{path}: all rows to train on have the weight 0")
        if not len(some) or (len(some) == len(train) and (some == some[0]).all()):
            note = "the weights of all pictures to train on are equal, so none counts more than another"
            return replace(self, notes=(*self.notes, note))
        low, high = some.min() / some.mean(), some.max() / some.mean()
        nothing = len(train) - len(some)
        note = (
            f"pictures count {low:.3g} to {high:.3g} times as much as on average in the loss"
            f"{f', and {nothing:,} of {len(train):,} not at all' if nothing else ''}; evaluation, sampling and the linear "
            "classifier that a head may start as do not use these weights"
        )
        return replace(self, notes=(*self.notes, note), weighted=True, scale=given / some.mean())


# --- rows -------------------------------------------------------------------------------------------------------------


def said(path: str, row: int, column: str, what: str) -> ValueError:
    return ValueError(f"{path}, row {row:,}, column {printable(column)!r}: {what}")


class TableRows:
    """The rows of a table, one entry in each list for each picture.

    Attributes:
        path: the table, in messages.
        first: the number of its first row.
        names: of the pictures.
        numbers: how many rows were before each that was kept, for messages.
        cells: what the column of labels has, each text once; empty if classes have columns.
        codes: the number of its cell for each picture.
        kinds: names of the columns that are classes.
        shares: their numbers, row after row.
        splits: number of the split, see SIDES.
        weights: empty if there are none.
        group_names, groups: each group once, and its number for each picture; empty if there are none.
        label_column, image_column, split_column: for messages.
        notes: sentences for the user.
    """

    def __init__(self, path: str, first: int) -> None:
        self.path, self.first = path, first
        self.names: list[str] = []
        self.numbers = array("q")
        self.cells: list[str] = []
        self.codes = array("l")
        self.kinds: list[str] = []
        self.shares = array("f")
        self.splits = array("b")
        self.weights = array("d")
        self.group_names: list[str] = []
        self.groups = array("l")
        self.label_column, self.image_column, self.split_column = "", "", ""
        self.notes: list[str] = []

    @classmethod
    def read(cls, table: Table, path: Path) -> "TableRows":
        """
        Raises:
            ValueError: the file cannot be read, or a row is bad; the message names the row and the column.
        """
        parquet = path.suffix.lower() == ".parquet"
        header, lines = parquet_rows(path, table.path, table) if parquet else csv_rows(path, table.path)
        rows = cls(table.path, 1 if parquet else 2)
        rows.fill(TableHeader.of(table, header), lines)
        if not rows.names:
            raise ValueError(f"{table.path!r} has a header and no rows")
        return rows

    def error_at(self, place: int, column: str, what: str) -> ValueError:
        """An error about a picture, by its place in the lists."""
        return said(self.path, self.numbers[place] + self.first, column, what)

    def fill(self, header: "TableHeader", lines: Iterator[Sequence[Any]]) -> None:
        places, width = header.places, header.width
        image = places["image"]
        label, split, weight, group = (places.get(each) for each in ("label", "split", "weight", "group"))
        self.kinds = [header.names[i] for i in header.kinds]
        self.image_column = header.names[image]
        self.label_column = "" if label is None else header.names[label]
        self.split_column = "" if split is None else header.names[split]
        self.notes += header.notes
        seen: dict[str, int] = {}
        cells: dict[Any, int] = {}
        groups: dict[str, int] = {}
        sides = {name: SIDES.index(side) for name, side in SPLITS.items()}
        repeated = 0
        for number, line in enumerate(lines):
            if not line:
                continue
            row = number + self.first
            if len(line) != width:
                raise ValueError(
                    f"{self.path}, row {row:,}: has {how_many(len(line), 'cell')} where the header has {width}; a cell with "
                    "the separator in it stands in quotes"
                )
            name = str(line[image] or "")
            if not name.strip():
                raise said(self.path, row, self.image_column, "the path is empty")
            if "\0" in name:
                raise said(self.path, row, self.image_column, "has a NUL byte")
            if "//" in name or "./" in name:
                if "://" in name:
                    raise said(self.path, row, self.image_column, f"{printable(name)!r} is an address; pictures must be files")
                name = os.path.normpath(name).replace(os.sep, "/")
            side = 0
            if split is not None:
                value = str(line[split] or "").strip()
                side = sides.get(value) or sides.get(value.lower(), 0)
                if not side:
                    what = f"there is no split {printable(value)!r}; write train, val or test"
                    raise said(self.path, row, self.split_column, what)
            code = -1
            if label is not None:
                cell = line[label]
                if not isinstance(cell, str):
                    cell = as_label(self.path, row, self.label_column, cell)
                elif "\0" in cell:
                    raise said(self.path, row, self.label_column, "has a NUL byte")
                else:
                    cell = cell.strip()
                code = cells.setdefault(cell, len(cells))
            parts = [share_of(self.path, row, header.names[i], line[i]) for i in header.kinds]
            heavy = None if weight is None else weight_of(self.path, row, header.names[weight], line[weight])
            together = None if group is None else str("" if line[group] is None else line[group]).strip()
            before = seen.setdefault(name, len(self.names))
            if before != len(self.names):
                self.require_same(before, row, name, (side, code, parts, heavy))
                repeated += 1
                continue
            self.names.append(name)
            self.numbers.append(number)
            self.splits.append(side)
            self.codes.append(code)
            self.shares.extend(parts)
            if heavy is not None:
                self.weights.append(heavy)
            if together is not None:
                # a picture without a group is one of its own
                self.groups.append(groups.setdefault(together or f"\n{name}", len(groups)))
        self.cells = list(cells)
        self.group_names = list(groups)
        if repeated:
            self.notes.append(f"{how_many(repeated, 'row', ',', 'rows')} that say the same as another one were left out")

    def require_same(self, before: int, row: int, name: str, values: tuple[Any, ...]) -> None:
        """
        Raises:
            ValueError: a picture has two rows that say different things.
        """
        side, code, parts, heavy = values
        own = self.shares[before * len(self.kinds) : (before + 1) * len(self.kinds)].tolist()
        other = {
            "labels": self.codes[before] != code or own != array("f", parts).tolist(),
            "splits": self.splits[before] != side,
            "weights": heavy is not None and self.weights[before] != heavy,
        }
        for what, differ in other.items():
            if differ:
                first = self.numbers[before] + self.first
                message = f"{printable(name)!r} is in row {first:,} too, with other {what}; leave one of them out"
                raise said(self.path, row, self.image_column, message)

    def look_for_files(self, root: Path) -> None:
        """
        Raises:
            ValueError: a picture is not there; the message names its row.
        """
        folders: dict[str, dict[str, int]] = defaultdict(dict)
        for place, name in enumerate(self.names):
            folder, _, file = name.rpartition("/")
            folders[folder if folder or not name.startswith("/") else "/"][file] = place
        missing: list[int] = []
        for folder, wanted in folders.items():
            where = root / folder
            if len(wanted) > FEW:
                try:
                    with os.scandir(where) as entries:
                        for entry in entries:
                            if entry.name in wanted and not entry.is_dir():
                                del wanted[entry.name]
                except OSError:
                    missing += wanted.values()
                    continue
            # also where a system knows a file by another spelling than its own
            missing += [place for file, place in wanted.items() if not os.path.isfile(where / file)]
        if missing:
            place = min(missing)
            name = self.names[place]
            others = f", nor those of {how_many(len(missing) - 1, 'other row', ',')}" if len(missing) > 1 else ""
            hint = "; write / between folders" if "\\" in name and os.sep == "/" else f"; files are seen from {root}"
            raise self.error_at(place, self.image_column, f"there is no file {printable(name)!r}{others}{hint}")

    # --- in the cache -----------------------------------------------------------------------------------------------

    def columns(self) -> Columns:
        texts = [self.path, self.label_column, self.image_column, self.split_column]
        return {
            "names": packed(self.names),
            "numbers": np.array(self.numbers, np.int64),
            "cells": packed(self.cells),
            "codes": np.array(self.codes, np.int64),
            "kinds": packed(self.kinds),
            "shares": np.array(self.shares, np.float32),
            "splits": np.array(self.splits, np.int8),
            "weights": np.array(self.weights, np.float64),
            "group_names": packed(self.group_names),
            "groups": np.array(self.groups, np.int64),
            "texts": packed(texts),
            "notes": packed(self.notes),
            "counts": np.array([len(self.cells), len(self.kinds), len(self.group_names), len(self.notes), self.first]),
        }

    @classmethod
    def restored(cls, columns: Columns | None) -> "TableRows | None":
        if columns is None:
            return None
        try:
            cells, kinds, group_names, notes, first = columns["counts"].tolist()
            path, label, image, split = unpacked(columns["texts"], 4)
            rows = cls(path, first)
            rows.label_column, rows.image_column, rows.split_column = label, image, split
            rows.names = unpacked(columns["names"], len(columns["numbers"]))
            rows.cells, rows.kinds = unpacked(columns["cells"], cells), unpacked(columns["kinds"], kinds)
            rows.group_names, rows.notes = unpacked(columns["group_names"], group_names), unpacked(columns["notes"], notes)
            for name in ("numbers", "codes", "shares", "splits", "weights", "groups"):
                column: array[Any] = getattr(rows, name)
                column.frombytes(columns[name].astype(column.typecode).tobytes())
        except (KeyError, ValueError, UnicodeDecodeError):
            return None
        return rows


# --- the columns ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class TableHeader:
    """
    Attributes:
        names: of all columns.
        places: column by field of the table: image, and label, split, weight and group where they are there.
        kinds: columns that are classes; empty if there is a column of labels.
        notes: sentences about columns.
    """

    names: tuple[str, ...]
    places: dict[str, int]
    kinds: tuple[int, ...]
    notes: tuple[str, ...] = ()

    @property
    def width(self) -> int:
        return len(self.names)

    @classmethod
    def of(cls, table: Table, names: Sequence[str]) -> "TableHeader":
        """
        Raises:
            ValueError: a column is there twice, or a needed one is not.
        """
        path = table.path
        plain = [name.strip() for name in names]
        twice = sorted({name for name in plain if plain.count(name) > 1})
        if twice:
            raise ValueError(f"{path}, row 1: there are two columns {printable(twice[0])!r}")
        places: dict[str, int] = {}
        for role, known in KNOWN.items():
            asked = getattr(table, role)
            if asked and asked not in plain:
                raise ValueError(f"{path} has no column {asked!r}, which {role}={asked} names{near(asked, plain)}")
            fits = [asked] if asked else [name for name in plain if name.lower() in known and name not in table.labels]
            if role == "label" and table.labels:
                continue
            if len(fits) > 1:
                listed = " and ".join(map(repr, fits))
                raise ValueError(f"{path}, row 1: has the columns {listed}; say which it is with data.{role}={fits[0]}")
            if fits:
                places[role] = plain.index(fits[0])
        listed = ", ".join(map(printable, plain))
        if "image" not in places:
            other = next((each for each in ";\t,|" if each in plain[0]), None) if len(plain) == 1 else None
            if other:
                kind = {"\t": "tabs; name it .tsv", ",": "commas; name it .csv"}.get(other, f"{other!r}; write commas")
                raise ValueError(f"{path}, row 1: has a single column, {printable(plain[0])!r}; it seems separated by {kind}")
            raise ValueError(
                f"{path}, row 1: has no column of files, which is called {', '.join(KNOWN['image'])}; it has {listed}; "
                "name the column with data.image=NAME"
            )
        if unknown := [name for name in table.labels if name not in plain]:
            raise ValueError(f"{path} has no column {unknown[0]!r}, which labels names{near(unknown[0], plain)}")
        kinds = tuple(plain.index(name) for name in table.labels)
        taken = {*places.values()}
        rest = [i for i in range(len(plain)) if i not in taken and plain[i].lower() not in INDEX_COLUMNS]
        notes: list[str] = []
        if "label" not in places and not kinds:
            kinds = tuple(rest)
            if not kinds:
                raise ValueError(
                    f"{path}, row 1: has no column of labels, which is called {', '.join(KNOWN['label'])}, and no columns that "
                    f"could be classes; it has {listed}; name the column with data.label=NAME"
                )
            notes.append(f"there is no column of labels, so each other column is a class: {', '.join(plain[i] for i in kinds)}")
        return cls(tuple(plain), places, kinds, tuple(notes))


def as_label(path: str, row: int, column: str, value: Any) -> str:
    """The label in a cell of a Parquet file as text; a list is joined with |."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, str):
        return value.strip()
    if isinstance(value, list):
        parts = [as_label(path, row, column, each) for each in value]
        if any(separator in part for part in parts for separator in SEPARATORS):
            raise said(path, row, column, "a class in a list has | or ; in its name")
        return SEPARATORS[0].join(parts)
    if isinstance(value, bool | int):
        return str(int(value))
    if isinstance(value, float) and value.is_integer():
        return str(int(value))  # whole numbers become these beside an empty cell
    raise said(path, row, column, f"{value!r:.40} is neither the name nor the number of a class")


def number_in(path: str, row: int, column: str, value: Any, what: str) -> float:
    try:
        found = float(value)
    except (TypeError, ValueError):
        found = math.nan
    if not math.isfinite(found):
        shown = "the cell is empty" if value in ("", None) else f"{printable(str(value))[:40]!r} is no number"
        raise said(path, row, column, f"{shown}; {what}")
    return found


def share_of(path: str, row: int, column: str, value: Any) -> float:
    what = (
        "a column for a class has 0, 1 or a probability; if this one names the classes of the pictures, say so with "
        f"data.label={column}"
    )
    found = number_in(path, row, column, value, what)
    if not 0 <= found <= 1:
        raise said(path, row, column, f"{found:g} is not in 0 to 1; {what}")
    return found


def weight_of(path: str, row: int, column: str, value: Any) -> float:
    found = number_in(path, row, column, value, "a weight is 0 or more")
    if found < 0:
        raise said(path, row, column, f"a weight is 0 or more, got {found:g}")
    return found


# --- labels -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class TableLabels:
    """What the labels of a table mean.

    Attributes:
        labels: number of the class of each picture, as in `Sample`.
        sets, codes, shares: as in `TableCollection`.
    """

    task: Task
    classes: tuple[str, ...]
    labels: list[int]
    sets: tuple[tuple[int, ...], ...] | None = None
    codes: np.ndarray | None = None
    shares: np.ndarray | None = None
    notes: tuple[str, ...] = ()

    @classmethod
    def of(cls, table: Table, rows: TableRows) -> "TableLabels":
        if not in_train(rows).any():
            raise ValueError(f"{table.path}: no row is of the split train")
        if rows.kinds:
            return cls.by_columns(table, rows)
        several = table.task == "any" or (
            table.task == "auto" and any(separator in cell for cell in rows.cells for separator in SEPARATORS)
        )
        return cls.any_of(table, rows) if several else cls.one_of(table, rows)

    @classmethod
    def one_of(cls, table: Table, rows: TableRows) -> "TableLabels":
        codes = np.array(rows.codes, np.int64)
        learned = in_train(rows)
        empty = np.array([not cell for cell in rows.cells])[codes]
        splits = np.frombuffer(rows.splits, np.int8)
        wrong = empty & (splits != SIDES.index("test"))
        if wrong.any():
            raise rows.error_at(
                int(wrong.argmax()), rows.label_column, "there is no label, which only pictures of test may lack"
            )
        least = 1 if table.val_share == 1 else 2
        classes = class_names((rows.cells[i] for i in np.unique(codes[learned]).tolist()), table.path, least)
        numbers = {name: number for number, name in enumerate(classes)} | {"": NO_LABEL_YET}
        known = np.array([numbers.get(cell, NO_LABEL_YET - 1) for cell in rows.cells])[codes]
        strange(rows, known < NO_LABEL_YET, classes)
        notes = [f"{how_many(int(empty.sum()), 'picture', ',')} of test have no label"] if empty.any() else []
        return cls(OneOf(), classes, known.tolist(), notes=tuple(notes))

    @classmethod
    def any_of(cls, table: Table, rows: TableRows) -> "TableLabels":
        codes = np.array(rows.codes, np.int64)
        parts = [names_in(cell) for cell in rows.cells]
        for code, names in enumerate(parts):
            if "" in names or len({*names}) < len(names):
                place = int((codes == code).argmax())
                what = "is empty" if "" in names else "is there twice"
                raise rows.error_at(place, rows.label_column, f"a class in {printable(rows.cells[code])!r} {what}")
        used = np.unique(codes[in_train(rows)]).tolist()
        classes = class_names((name for code in used for name in parts[code]), table.path, 1)
        known = np.array([not {*names} <= {*classes} for names in parts])[codes]
        strange(rows, known, classes)
        numbers = {name: number for number, name in enumerate(classes)}
        sets = tuple(tuple(numbers[name] for name in names) for names in parts)
        note = "labels name any number of classes a picture, separated by | or a semicolon; an empty cell means none of them"
        return cls(AnyOf(), classes, [0] * len(codes), sets, codes.astype(np.int32), notes=(note,))

    @classmethod
    def by_columns(cls, table: Table, rows: TableRows) -> "TableLabels":
        classes = class_names(rows.kinds, table.path, 1)
        order = [rows.kinds.index(name) for name in classes]
        shares = np.array(rows.shares, np.float32).reshape(len(rows.names), -1)[:, order]
        sums = shares.sum(1, dtype=np.float64)
        off = np.abs(sums - 1) > NEAR_ONE
        if table.task == "any" or (table.task == "auto" and off.any()):
            shares[sums == 0] = ABSENT
            place = int(off.argmax())
            note = (
                "columns are taken for any number of classes a picture, since not every row adds up to 1: row "
                f"{rows.numbers[place] + rows.first} adds up to {sums[place]:g}"
            )
            return cls(AnyOf(), classes, [0] * len(shares), shares=shares, notes=(note,) if table.task == "auto" else ())
        if off.any():
            place = int(off.argmax())
            what = f"adds up to {sums[place]:g} with the other classes; one class a picture needs 1"
            raise rows.error_at(place, rows.kinds[0], what)
        if len(classes) < 2:
            raise ValueError(f"{table.path}: has a single class, {classes[0]!r}; one class a picture needs two or more")
        labels = shares.argmax(1).tolist()
        if bool(((shares == 0) | (shares == 1)).all()):
            return cls(OneOf(), classes, labels)
        exact = (shares / sums[:, None]).astype(np.float32)
        return cls(OneOf(), classes, labels, shares=exact, notes=("rows add up to 1, so they are soft labels of one class",))


def names_in(cell: str) -> tuple[str, ...]:
    """The classes in a cell."""
    for separator in SEPARATORS[1:]:
        cell = cell.replace(separator, SEPARATORS[0])
    return tuple(name.strip() for name in cell.split(SEPARATORS[0])) if cell else ()


def in_train(rows: TableRows) -> np.ndarray:
    """Which pictures are trained on, or may be."""
    splits = np.frombuffer(rows.splits, np.int8)
    return (splits == SIDES.index("train")) | (splits == SIDES.index(""))


def strange(rows: TableRows, which: np.ndarray, classes: tuple[str, ...]) -> None:
    """
    Raises:
        ValueError: one has a class that no picture to train on has.
    """
    if which.any():
        place = int(which.argmax())
        cell = rows.cells[rows.codes[place]]
        what = f"{printable(cell)!r} is a class of no picture to train on{near(cell, classes)}"
        raise rows.error_at(place, rows.label_column, what)


# --- files ------------------------------------------------------------------------------------------------------------


def csv_rows(path: Path, name: str) -> tuple[list[str], Iterator[Sequence[Any]]]:
    """The names of the columns, and the rows; see `csv_lines` for the errors."""
    lines = csv_lines(path, name)
    return next(lines), lines


def csv_lines(path: Path, name: str) -> Iterator[list[str]]:
    """The header, then the rows; an empty list for an empty line.

    Raises:
        ValueError: the file is no such table; the message names the row.
    """
    delimiter = "\t" if path.suffix.lower() == ".tsv" else ","
    number = 0
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            lines = csv.reader(without_nul(file, name), delimiter=delimiter, strict=True)
            for line in lines:
                if not number and not line:
                    raise ValueError(f"{name}, row 1: is empty; it must have the names of the columns")
                yield line
                number += 1
    except UnicodeDecodeError:
        raise ValueError(f"{name}{not_utf8(path)}") from None
    except csv.Error as error:
        raise ValueError(f"{name}, row {number + 1:,}: {error}; a quote in a cell is written twice") from None
    except OSError as error:
        raise ValueError(f"{name!r} cannot be read: {error.strerror or error}") from None
    if not number:
        raise ValueError(f"{name!r} is empty; it must have the names of the columns, and a row for each picture")


def without_nul(lines: Iterator[str], name: str) -> Iterator[str]:
    for number, line in enumerate(lines):
        if "\0" in line:
            raise ValueError(f"{name}, row {number + 1:,}: has a NUL byte; save the table as text in UTF-8")
        yield line


def not_utf8(path: Path) -> str:
    """Where a file stops being UTF-8."""
    with path.open("rb") as file:
        for number, line in enumerate(file):
            if not number and line.startswith((b"\xff\xfe", b"\xfe\xff")):
                return " is UTF-16; save it as UTF-8"
            try:
                line.decode()
            except UnicodeDecodeError as error:
                return f", row {number + 1:,}: the byte {line[error.start]:#04x} is not UTF-8; save the table as UTF-8"
    return " is not UTF-8; save it as UTF-8"


def parquet_rows(path: Path, name: str, table: Table) -> tuple[list[str], Iterator[Sequence[Any]]]:
    """The names of the columns, and the rows with None in columns that are not used.

    Raises:
        ValueError: pyarrow is not installed, or the file is no Parquet file.
    """
    if importlib.util.find_spec("pyarrow") is None:
        raise ValueError(f"{name}: a Parquet file needs pyarrow, which is not installed: pip install 'paretina[tables]'")
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        file = pq.ParquetFile(path)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise ValueError(f"{name!r} is no usable Parquet file: {first_line(error)}") from None
    schema = file.schema_arrow
    header = TableHeader.of(table, schema.names)
    used = sorted({*header.places.values(), *header.kinds})
    kind = schema.field(header.places["image"]).type
    if pa.types.is_struct(kind) or pa.types.is_binary(kind) or pa.types.is_large_binary(kind):
        raise ValueError(
            f"{name}: its column {schema.names[header.places['image']]!r} has the pictures themselves, not their paths; put "
            "the file into a folder and name the folder, which is then read as a data set of Hugging Face"
        )

    def rows() -> Iterator[Sequence[Any]]:
        try:
            for batch in file.iter_batches(columns=[schema.names[i] for i in used]):
                columns: list[Any] = [[None] * batch.num_rows] * len(schema.names)
                for i in used:
                    columns[i] = batch.column(batch.schema.get_field_index(schema.names[i])).to_pylist()
                yield from zip(*columns, strict=True)
        except (pa.ArrowException, OSError, ValueError) as error:
            raise ValueError(f"{name!r} is no usable Parquet file: {first_line(error)}") from None

    return list(schema.names), rows()


def first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


EXAMPLES = (
    Table(path="photos.csv"),
    Table(path="xrays.parquet", root="scans", labels=("effusion", "nodule"), group="patient", task="any", val_share=0.1),
)
