"""Hub: data sets of Hugging Face, from a folder on this machine or from the hub.

`hf:NAME` or `hf:NAME@CONFIG` is a data set of the hub, which the library `datasets` downloads into its own cache; a folder is
one that `save_to_disk` wrote, or one with `.parquet` files, in which the names of files begin with the split. Needs the extra
`datasets`.

No code of a data set is run: only the forms parquet, arrow and imagefolder are read, and only releases of the library that know
no scripts. Pictures are decoded here and not by the library, so errors and formats are those of all other pictures. Classes are
the names that a `ClassLabel` has; a list of them means any number of classes a picture. A split validation is val.
"""

import importlib.util
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar, Literal

from torch import Tensor

from paretina.data.decode import DecodeError, decode
from paretina.data.divide import Dividing, with_splits
from paretina.data.labels import NO_LABEL_YET, SPLITS, class_names, several_of
from paretina.data.source import Collection, Sample, Source
from paretina.model.task import Task
from paretina.model.tasks.any_of import AnyOf
from paretina.model.tasks.one_of import OneOf
from paretina.shapes import Image
from paretina.spec import near
from paretina.system import cache_folder
from paretina.text import printable

PREFIX = "hf:"
NAME = re.compile(r"\w[\w.-]*(/\w[\w.-]*)?(@[\w.+-]+)?")
FORMS = ("parquet", "arrow", "imagefolder")
"""Forms of data sets that are read from the hub: those that have pictures and run nothing."""

PICTURES = ("image", "img", "picture")
LABELS = ("label", "labels", "class", "target", "fine_label")
"""Names of columns, the first of which is taken where several could be meant."""


@dataclass(frozen=True, kw_only=True)
class Hub(Source):
    """
    Attributes:
        path: `hf:NAME`, `hf:NAME@CONFIG`, or a folder; `~` is the home folder.
        revision: branch, tag or commit on the hub; default: the newest.
        image: name of the column with the pictures; default: the one that there is.
        label: name of the column with the labels; default: the column of classes that there is, or one called label.
        val_share: share of each class that is held out as `val` if there is no such split, in [0, 1].
        mirrors: whether the mirror image of a picture still belongs to its class.
        copies: whether copies of a picture stay `together` on one side of an automatic split, or may be `anywhere`.
        moved: pictures that are therefore on the other side than by name; default: found by searching. A run stores them.
    """

    PREFIXES = (PREFIX,)
    SIGNS = ("state.json", "*/state.json", "*.parquet", "data/*.parquet")

    path: str
    revision: str = ""
    image: str = ""
    label: str = ""
    val_share: float = 0.2
    mirrors: bool = True
    copies: Literal["together", "anywhere"] = "together"
    moved: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.val_share <= 1:
            raise ValueError(f"Hub.val_share must be in [0, 1], got {self.val_share}")

    def open(self) -> "HubCollection":
        require_library(self.path)
        with quietly():
            sets = self.loaded()
        notes: list[str] = []
        by_split: dict[str, list[str]] = {}
        for name in sets:
            known = SPLITS.get(re.split(r"[-_.]", name.lower())[0])
            if known is None and len(sets) > 1:
                notes.append(f"the split {name!r} is none of train, validation and test, and was left out")
            else:
                by_split.setdefault(known or "", []).append(name)
        for split, names in by_split.items():
            if len(names) > 1:
                raise ValueError(f"{self.path!r} has several splits that could be {split}: {', '.join(names)}")
        if not by_split:
            raise ValueError(f"{self.path!r} has no split train, only {', '.join(sets) or 'none'}")
        tables = {split: sets[names[0]] for split, names in by_split.items()}
        return self.collected(tables, notes)

    def pinned(self, collection: Collection) -> "Hub":
        return replace(self, moved=collection.moved)

    def loaded(self) -> dict[str, Any]:
        """The data sets of the library, by the name of the split.

        Raises:
            ValueError: there is no such data set, or it is of another form.
        """
        import datasets

        if self.path.startswith(PREFIX):
            return self.downloaded(self.path.removeprefix(PREFIX))
        place = Path(self.path).expanduser().absolute()
        if not place.is_dir():
            raise ValueError(f"there is no folder {self.path!r}")
        try:
            if (place / "state.json").is_file():
                return {"": datasets.load_from_disk(str(place))}
            if (place / "dataset_dict.json").is_file() or next(place.glob("*/state.json"), None):
                return {str(name): each for name, each in datasets.load_from_disk(str(place)).items()}
            files = parquet_files(place)
            if not files:
                raise ValueError("it has neither what save_to_disk writes, nor .parquet files")
            cache = str(cache_folder() / "datasets")
            return dict(datasets.load_dataset("parquet", data_files=files, cache_dir=cache))
        except Exception as error:  # the library raises errors of many kinds for damaged files
            raise ValueError(f"{self.path!r} is no usable data set: {said(error)}") from None

    def downloaded(self, named: str) -> dict[str, Any]:
        import datasets

        if not NAME.fullmatch(named):
            raise ValueError(f"{self.path!r}: a data set of the hub is written hf:NAME, hf:OWNER/NAME or hf:OWNER/NAME@CONFIG")
        name, _, config = named.partition("@")
        if Path(name).exists():
            raise ValueError(f"there is {name!r} on this machine, so {self.path!r} could mean either; name it ./{name}")
        try:
            builder = datasets.load_dataset_builder(name, config or None, revision=self.revision or None)
        except Exception as error:
            raise ValueError(f"{self.path!r} cannot be had from the hub: {said(error)}") from None
        form = type(builder).__module__.removeprefix("datasets.packaged_modules.").partition(".")[0]
        if not type(builder).__module__.startswith("datasets.packaged_modules.") or form not in FORMS:
            raise ValueError(f"{self.path!r} has the form {form!r}; only {', '.join(FORMS)} are read, which run no code")
        try:
            return dict(datasets.load_dataset(name, config or None, revision=self.revision or None))
        except Exception as error:
            raise ValueError(f"{self.path!r} cannot be had from the hub: {said(error)}") from None

    def collected(self, tables: dict[str, Any], notes: list[str]) -> "HubCollection":
        import datasets

        first = tables["train" if "train" in tables else next(iter(tables))]
        features = first.features
        pictures = [name for name, kind in features.items() if isinstance(kind, datasets.Image)]
        image = self.column("image", pictures, PICTURES, first)
        of_classes = [name for name, kind in features.items() if class_label(kind) is not None]
        label = self.column("label", of_classes or [name for name in LABELS if name in features], LABELS, first)
        for split, table in tables.items():
            if missing := [name for name in (image, label) if name not in table.features]:
                raise ValueError(f"{self.path!r}: the split {split or 'train'} has no column {missing[0]!r}, as others have")
        given = {
            split: table.with_format("arrow").select_columns([label])[:][label].to_pylist() for split, table in tables.items()
        }
        several = any(isinstance(value, list) for values in given.values() for value in values[:1])
        classes, sets = self.labelled(given, label, class_label(features[label]), several)
        pools = {
            split: tuple(
                Sample(f"{split or 'all'}/{row}", 0 if several else own[0] if own else NO_LABEL_YET)
                for row, own in enumerate(found)
            )
            for split, found in sets.items()
        }
        plain = {
            split or "all": table.with_format(None).select_columns([image]).cast_column(image, datasets.Image(decode=False))
            for split, table in tables.items()
        }
        task: Task = AnyOf() if several else OneOf()
        found = HubCollection(
            classes,
            {},
            tuple(notes),
            self.mirrors,
            tuple(map(fingerprint, tables.values())),
            image,
            plain,
            task=task,
            sets={split or "all": own for split, own in sets.items()} if several else None,
        )
        return with_splits(found, pools, Dividing(self.val_share, self.copies, self.moved), self.path)

    def labelled(
        self, given: dict[str, list[Any]], label: str, named: Any, several: bool
    ) -> tuple[tuple[str, ...], dict[str, list[tuple[int, ...]]]]:
        """The classes, and those of each row of each split.

        Args:
            given: the cells of the column `label`.
            named: its ClassLabel, if it has one.
            several: whether the task is any number of classes a picture.

        Raises:
            ValueError: a row has no label, or one that is no class.
        """
        cells = {split: [as_names(value, named) for value in values] for split, values in given.items()}
        for split, values in cells.items():
            for row, names in enumerate(values):
                if names is None or (not names and not several and split != "test"):
                    what = "is no class" if names is None else "is no label"
                    value = printable(repr(given[split][row]))[:60]
                    raise ValueError(f"{self.path!r}: row {row:,} of {split or 'train'}, column {label!r}: {value} {what}")
        classes = tuple(named.names) if named is not None and named.names else None
        if classes is None:
            learned = cells.get("train", cells.get("", []))
            least = 1 if several or self.val_share == 1 else 2
            classes = class_names((name for names in learned for name in names or ()), self.path, least)
        numbers = {name: number for number, name in enumerate(classes)}
        sets: dict[str, list[tuple[int, ...]]] = {}
        for split, values in cells.items():
            if strange := sorted({name for names in values for name in names or ()} - set(numbers)):
                what = f"the class {strange[0]!r}, which no picture to train on has{near(strange[0], classes)}"
                raise ValueError(f"{self.path!r}: {split} has {what}")
            sets[split] = [tuple(numbers[name] for name in names or ()) for names in values]
        return classes, sets

    def column(self, field: str, fits: Sequence[str], usual: Sequence[str], table: Any) -> str:
        """The column that a field names, or the only one that fits.

        Raises:
            ValueError: none or several do.
        """
        asked = getattr(self, field)
        if asked:
            if asked not in table.features:
                hint = near(asked, table.features)
                raise ValueError(f"{self.path!r} has no column {asked!r}, which {field}={asked} names{hint}")
            return str(asked)
        if len(fits) > 1:
            fits = [name for name in usual if name in fits][:1] or fits
        if len(fits) != 1:
            columns = ", ".join(f"{name} ({type(kind).__name__})" for name, kind in table.features.items())
            count = "several columns that could be" if fits else "no column that is"
            raise ValueError(f"{self.path!r} has {count} the {field}; say which with data.{field}=NAME; it has {columns}")
        return fits[0]


@dataclass(frozen=True)
class HubCollection(Collection):
    """
    Attributes:
        fingerprints: of the data sets, by which the library tells them apart.
        column: of the pictures.
        tables: the data set of each split, with that column alone; a picture is named `split/row`.
        sets: for any number of classes a picture: the classes of each row of each split.
    """

    COSTLY: ClassVar[bool] = True

    fingerprints: tuple[str, ...] = ()
    column: str = ""
    tables: dict[str, Any] = field(default_factory=dict, repr=False, compare=False)
    sets: dict[str, list[tuple[int, ...]]] | None = field(default=None, repr=False, compare=False, kw_only=True)

    def file(self, sample: Sample) -> Path | None:
        """The first file of the split, which changes with all of it."""
        files = self.tables[sample.name.partition("/")[0]].cache_files
        return Path(files[0]["filename"]) if files else None

    def target(self, sample: Sample) -> Tensor:
        if self.sets is None:
            return super().target(sample)
        split, _, row = sample.name.partition("/")
        return several_of(self.sets[split][int(row)], len(self.classes))

    def image(self, sample: Sample, at_least: int | None = None) -> Image:
        split, _, row = sample.name.partition("/")
        try:
            found = self.tables[split][int(row)][self.column] or {}
            data, path = found.get("bytes"), found.get("path")
            if data is None and path and "://" not in path:
                data = Path(path).read_bytes()
        except Exception as error:  # what the library raises for a file that has become shorter is not documented
            raise DecodeError(f"{sample.name}: {said(error)}") from None
        if data is None:
            raise DecodeError(f"{sample.name}: the cell of the picture is empty")
        return decode(data, sample.name, at_least)


def require_library(path: str) -> None:
    """
    Raises:
        ValueError: the library is not installed, or it is of a release that runs scripts.
    """
    if importlib.util.find_spec("datasets") is None:
        raise ValueError(f"{path}: needs the library datasets, which is not installed: pip install 'paretina[datasets]'")
    import datasets

    if int(datasets.__version__.partition(".")[0]) < 4:
        here = datasets.__version__
        raise ValueError(f"{path}: needs datasets 4 or later, which runs no code of data sets, and {here} is installed")


@contextmanager
def quietly() -> Iterator[None]:
    """Without the library's own progress bars."""
    from datasets.utils import are_progress_bars_disabled, disable_progress_bars, enable_progress_bars

    before = are_progress_bars_disabled()
    disable_progress_bars()
    try:
        yield
    finally:
        if not before:
            enable_progress_bars()


def parquet_files(place: Path) -> dict[str, list[str]]:
    """The files of each split, by the beginnings of their names; those that say no split are train."""
    found: dict[str, list[str]] = {}
    for path in sorted((*place.glob("*.parquet"), *place.glob("data/*.parquet"))):
        word = re.split(r"[-_.]", path.name.lower())[0]
        found.setdefault(SPLITS.get(word, "train"), []).append(str(path))
    return found


def class_label(kind: Any) -> Any:
    """The ClassLabel of a column, or of the lists in it; None if it has none."""
    import datasets

    inner = getattr(kind, "feature", kind)
    return inner if isinstance(inner, datasets.ClassLabel) else None


def as_names(value: Any, named: Any) -> tuple[str, ...] | None:
    """The classes in a cell; None if they are no classes. A negative number stands for no label."""
    values = value if isinstance(value, list) else [value]
    found: list[str] = []
    for each in values:
        if each is None or (isinstance(each, int) and each < 0):
            continue
        if not isinstance(each, str | int):
            return None
        if isinstance(each, int) and named is not None and named.names:
            if each >= len(named.names):
                return None
            each = named.names[each]
        found.append(str(int(each)) if isinstance(each, bool | int) else each)
    return tuple(dict.fromkeys(found))


def said(error: Exception) -> str:
    """An error of the library in a line."""
    lines = [line for line in str(error).splitlines() if line.strip()]
    return printable(lines[0]) if lines else type(error).__name__


def fingerprint(table: Any) -> str:
    """What tells a table from another one of the same name: its rows, and the files that they are in."""
    files = [Path(each["filename"]) for each in table.cache_files]
    states = [(path.name, path.stat().st_size, path.stat().st_mtime_ns) for path in files if path.exists()]
    return f"{table.num_rows} {table.column_names} {states}"


EXAMPLES = (Hub(path="hf:zalando-datasets/fashion_mnist", mirrors=False), Hub(path="saved", label="species", val_share=0.1))
