"""Coco: pictures with annotations in the format of COCO, one JSON file for all of them or one for each split.

    DIR/annotations.json, with the pictures in DIR/ or DIR/images/; a part is held out as val
    DIR/annotations/instances_train2017.json and instances_val2017.json, with the pictures in DIR/train2017/ and DIR/val2017/,
    or in folders of these names in DIR/images/, or all in DIR/images/

Of the file, `images` (id, file_name, width, height), `annotations` (image_id, category_id, bbox, iscrowd, segmentation) and
`categories` (id, name) are read; the classes are the categories, in the order of their numbers. A crowd is neither to be found
nor to be missed. Masks of pixels (`labels`) are drawn from polygons, by pycocotools, or from run lengths, the smaller objects
above the larger ones.

What is malformed is named by its file and field: in an annotation of a picture, this picture counts as damaged; elsewhere the
file is refused. Nothing is ever written into the folder.

Source: Lin et al. 2014 (arXiv:1405.0312); https://cocodataset.org/#format-data.
"""

import json
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from paretina.data.annotated import (
    AnnotatedCollection,
    Labels,
    Row,
    number,
    painted,
    row_of,
    sizes_of,
    task_for,
    too_many,
)
from paretina.data.decode import DecodeError
from paretina.data.divide import Copies, Dividing, with_splits
from paretina.data.layout import split_said
from paretina.data.scan import UnusableError
from paretina.data.source import Collection, Sample, Source
from paretina.model.task import UNKNOWN, Task
from paretina.model.tasks.boxes import Boxes
from paretina.model.tasks.instances import CLASSES as PARTS
from paretina.model.tasks.instances import Instances
from paretina.model.tasks.places import Places
from paretina.packages import require_coco
from paretina.text import how_many, printable

ONE = "annotations.json"
"""The file in the folder with the annotations of all pictures."""
EACH = "annotations/instances_*.json"
"""The files of the splits."""
GROUND = "background"
"""The first class of pixels."""


@dataclass(frozen=True, kw_only=True)
class Coco(Source):
    """
    Attributes:
        path: the folder; `~` is the home folder.
        file: name of the file in it with the annotations of all pictures; "" for those above.
        labels: what is learned of objects: "boxes", "classes" (of pixels) or "instances" (pixels of each object).
        most: with boxes, objects that a picture may have; 0 for as many as one has, 100 at least. A run stores it.
        border: with instances, width of the border in pixels of the network's input.
        val_share: share that is held out as `val` if there is one file, in [0, 1].
        mirrors: whether the mirror image of a picture still belongs to its classes.
        copies: whether copies of a picture stay `together` on one side of an automatic split, or may be `anywhere`.
        moved: pictures that are therefore on the other side than by name; default: found by searching. A run stores them.
    """

    SIGNS = (ONE, f"*/../{ONE}", EACH)

    path: str
    file: str = ""
    labels: Labels = "boxes"
    most: int = 0
    border: int = 2
    val_share: float = 0.2
    mirrors: bool = True
    copies: Copies = "together"
    moved: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.val_share <= 1:
            raise ValueError(f"Coco.val_share must be in [0, 1], got {self.val_share:g}")
        if self.most:
            Boxes(most=self.most)
        Instances(border=self.border)

    def dense(self) -> bool:
        return self.labels != "boxes"

    def boxed(self) -> bool:
        return self.labels == "boxes"

    def asked_for(self, task: str) -> Source | None:
        if task == "segment":
            return self if self.dense() else replace(self, labels="classes")
        return replace(self, labels="boxes") if task == "detect" else None

    def read_as(self, task: Task, classes: tuple[str, ...]) -> "Coco":
        if isinstance(task, Boxes):
            return replace(self, labels="boxes", most=task.most)
        if isinstance(task, Instances):
            return replace(self, labels="instances", border=task.border)
        return replace(self, labels="classes") if isinstance(task, Places) else self

    def pinned(self, collection: Collection) -> "Coco":
        found = replace(self, moved=collection.moved)
        return replace(found, most=collection.task.most) if isinstance(collection.task, Boxes) else found

    def open(self) -> AnnotatedCollection:
        root = Path(self.path).expanduser().absolute()
        if not root.is_dir():
            there = f"{self.path!r} is a file; name the folder" if root.exists() else f"there is no folder {self.path!r}"
            raise UnusableError(there)
        if self.labels != "boxes":
            require_coco("drawing the pixels of objects")
        files = files_in(self, root)
        read = {split: ReadFile.of(file, root) for split, file in files.items()}
        categories = next(iter(read.values())).categories
        for split, each in read.items():
            if each.categories != categories:
                raise UnusableError(
                    f"{files[split].name} has other categories than {next(iter(files.values())).name}; all files of a folder "
                    "have the same"
                )
        names = tuple(name for _, name in categories)
        pictures: dict[str, Picture] = {}
        pools: dict[str, tuple[Sample, ...]] = {}
        for split, each in read.items():
            for name, picture in each.pictures.items():
                if name in pictures:
                    raise UnusableError(
                        f"{printable(name)} is in two files of annotations, {picture.file} and another; remove one"
                    )
                pictures[name] = picture
            pools[split] = tuple(Sample(name, 0) for name in each.pictures)
        if not pictures:
            raise UnusableError(f"{self.path}: there is no picture in {', '.join(file.name for file in files.values())}")
        sizes, faults = sizes_of(root, {name: picture.size for name, picture in pictures.items()})
        rows, lost, gone = rows_of(pictures, sizes)
        faults |= lost
        task = task_for(self.labels, rows, self.most, self.border)
        faults |= too_many(rows, task)
        if len(faults) == len(pictures):
            name, why = next(iter(faults.items()))
            raise UnusableError(f"{self.path}: none of the {how_many(len(pictures), 'picture')} can be used; {name}: {why}")
        notes = [f"{how_many(gone, 'box', ',', 'boxes')} without an area in the picture left out"] if gone else []
        if strays := [at for each in read.values() for at in each.strays]:
            notes.append(
                f"{how_many(len(strays), 'annotation', ',')} of no image left out; the first is {strays[0]} (image_id)"
            )
        classes = names if self.labels == "boxes" else PARTS if self.labels == "instances" else (GROUND, *names)
        found = AnnotatedCollection(
            classes,
            {},
            tuple(notes),
            self.mirrors,
            task=task,
            root=str(root),
            labels=self.labels,
            rows=rows if self.labels == "boxes" else {},
            sizes=sizes,
            faults=faults,
            pixels=None if self.labels == "boxes" else Outlines(self.labels, pictures),
        )
        return with_splits(found, pools, Dividing(self.val_share, self.copies, self.moved), self.path)


@dataclass(frozen=True)
class Picture:
    """What the annotations say of a picture.

    Attributes:
        file: the name of the file of annotations.
        size: rows and columns; None where it does not say.
        objects: entry and number of the class of each; the entry as it is in the file, with its place there.
    """

    file: str
    size: tuple[int, int] | None
    objects: tuple[tuple[str, Mapping[str, Any], int], ...] = field(default=(), repr=False)


@dataclass(frozen=True)
class ReadFile:
    """
    Attributes:
        categories: numbers and names.
        pictures: by their names from the root of the data.
        strays: places of annotations of images that are not in the file, as where somebody took a part of the pictures.
    """

    categories: tuple[tuple[int, str], ...]
    pictures: dict[str, Picture]
    strays: tuple[str, ...]

    @classmethod
    def of(cls, file: Path, root: Path) -> "ReadFile":
        """Reads a file of annotations.

        Raises:
            ValueError: it is malformed; the message names the field.
        """
        data = loaded(file)
        where = file.relative_to(root).as_posix()
        lists = {name: listed(data, name, where) for name in ("images", "annotations", "categories")}
        categories: dict[int, str] = {}
        for place, entry in enumerate(lists["categories"]):
            at = f"{where}: categories[{place}]"
            own, name = whole(entry, "id", at), entry.get("name")
            if not isinstance(name, str) or not name.strip():
                raise UnusableError(f"{at}.name must be a name, got {name!r}")
            if own in categories or name in categories.values():
                raise UnusableError(f"{at} has the id or the name of another category: {own}, {name!r}")
            categories[own] = name
        order = tuple(sorted(categories.items()))
        if not order:
            raise UnusableError(f"{where}: categories is empty, so there is nothing to find")
        numbers = {own: position for position, (own, _) in enumerate(order)}
        images: dict[int, tuple[str, tuple[int, int] | None]] = {}
        home = home_of(file, root, lists["images"], where)
        for place, entry in enumerate(lists["images"]):
            at = f"{where}: images[{place}]"
            own, name = whole(entry, "id", at), named(entry, at)
            if own in images:
                raise UnusableError(f"{at}.id is that of another image: {own}")
            given = [entry.get(side) for side in ("height", "width")]
            size = None if given == [None, None] else (whole(entry, "height", at), whole(entry, "width", at))
            images[own] = (f"{home}{name}", size)
        if len({name for name, _ in images.values()}) < len(images):
            raise UnusableError(f"{where}: two images have the same file_name")
        objects: dict[int, list[tuple[str, Mapping[str, Any], int]]] = defaultdict(list)
        for place, entry in enumerate(lists["annotations"]):
            at = f"{where}: annotations[{place}]"
            image, category = whole(entry, "image_id", at), whole(entry, "category_id", at)
            objects[image].append((at, entry, numbers.get(category, -1)))
        strays = tuple(at for own, each in objects.items() if own not in images for at, *_ in each)
        pictures = {name: Picture(where, size, tuple(objects.get(own, ()))) for own, (name, size) in images.items()}
        return cls(order, pictures, strays)


def files_in(source: Coco, root: Path) -> dict[str, Path]:
    """The files of annotations of each split; of "" where there is one for all.

    Raises:
        ValueError: there is none, or two are of one split.
    """
    one = root / (source.file or ONE)
    if source.file or one.is_file():
        if not one.is_file() or not one.resolve().is_relative_to(root.resolve()):
            raise UnusableError(f"there is no file {source.file!r} in {source.path} (data.file)")
        return {"": one}
    found: dict[str, Path] = {}
    for file in sorted(root.glob(EACH)):
        split = split_said(file.stem.removeprefix("instances_"))
        if split is None:
            continue
        if split in found:
            raise UnusableError(f"{found[split].name} and {file.name} are both of the split {split}; remove one")
        found[split] = file
    if not found:
        raise UnusableError(
            f"{source.path} has neither {ONE} nor {EACH.replace('*', 'train')}; a file of another name is given with "
            "data.file=NAME"
        )
    return found


def home_of(file: Path, root: Path, images: list[Any], where: str) -> str:
    """The folder with the pictures of a file, from the root of the data, with a slash; "" for the root itself."""
    split = file.stem.removeprefix("instances_")
    homes = [f"images/{split}/", f"{split}/", "images/", ""]
    if not images:
        return ""
    first = named(images[0], f"{where}: images[0]")
    return next((home for home in homes if (root / home / first).is_file()), "images/" if (root / "images").is_dir() else "")


def loaded(file: Path) -> dict[str, Any]:
    """The content of a JSON file.

    Raises:
        ValueError: it cannot be read, or holds something else.
    """
    try:
        found = json.loads(file.read_bytes())
    except RecursionError:
        raise UnusableError(f"{file} cannot be read as JSON: it is nested too deeply") from None
    except (OSError, ValueError) as error:
        raise UnusableError(f"{file} cannot be read as JSON: {error}") from None
    if not isinstance(found, dict):
        raise UnusableError(f"{file} must hold an object with images, annotations and categories, got a {type(found).__name__}")
    return found


def listed(data: Mapping[str, Any], name: str, where: str) -> list[Any]:
    found = data.get(name)
    if not isinstance(found, list):
        raise UnusableError(f"{where}: {name} must be a list, got {'nothing' if found is None else type(found).__name__}")
    for place, entry in enumerate(found):
        if not isinstance(entry, dict):
            raise UnusableError(f"{where}: {name}[{place}] must be an object with fields, got {type(entry).__name__}")
    return found


def whole(entry: Mapping[str, Any], name: str, at: str) -> int:
    """A field that is a whole number from 0 on.

    Raises:
        ValueError: it is not.
    """
    value = entry.get(name)
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise UnusableError(f"{at}.{name} must be a whole number from 0 on, got {'nothing' if value is None else repr(value)}")
    return value


def named(entry: Any, at: str) -> str:
    """The file name of an image, which stays inside the data.

    Raises:
        ValueError: it does not, or there is none.
    """
    name = entry.get("file_name")
    if not isinstance(name, str) or not name:
        raise UnusableError(f"{at}.file_name must be the name of a file, got {'nothing' if name is None else repr(name)}")
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or "\\" in name or "\0" in name:
        raise UnusableError(f"{at}.file_name must be a name inside the folder, got {name!r}")
    return path.as_posix()


def rows_of(
    pictures: Mapping[str, Picture], sizes: Mapping[str, tuple[int, int]]
) -> tuple[dict[str, tuple[Row, ...]], dict[str, str], int]:
    """The objects of each picture, why the annotations of others cannot be used, and how many boxes have no area inside."""
    rows: dict[str, tuple[Row, ...]] = {}
    faults: dict[str, str] = {}
    gone = 0
    for name, size in sizes.items():
        own: list[Row] = []
        try:
            for at, entry, label in pictures[name].objects:
                if label < 0:
                    raise ValueError(f"{at}.category_id is that of no category: {entry.get('category_id')}")
                box = entry.get("bbox")
                if not isinstance(box, list) or len(box) != 4:
                    raise ValueError(f"{at}.bbox must be four numbers, [left, top, width, height], got {box!r}")
                left, top, width, height = (number(each, f"{at}.bbox[{place}]") for place, each in enumerate(box))
                if width < 0 or height < 0:
                    raise ValueError(f"{at}.bbox has a width or height below 0: {box}")
                crowd = entry.get("iscrowd", 0)
                if crowd not in (0, 1):
                    raise ValueError(f"{at}.iscrowd must be 0 or 1, got {crowd!r}")
                row = row_of((left, top, left + width, top + height), size, label, not crowd)
                if row is None:
                    gone += 1
                else:
                    own.append(row)
        except ValueError as error:
            faults[name] = str(error)
            continue
        rows[name] = tuple(own)
    return rows, faults, gone


# --- pixels of objects ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Outlines:
    """Draws the masks of pictures.

    Attributes:
        labels: "classes" or "instances".
    """

    labels: Labels
    pictures: Mapping[str, Picture] = field(repr=False)

    def __call__(self, name: str, rows: int, columns: int) -> np.ndarray:
        layers = []
        for place, (at, entry, label) in enumerate(self.pictures[name].objects):
            value = place % (UNKNOWN - 1) + 1 if self.labels == "instances" else label + 1
            inside = pixels_of(entry.get("segmentation"), rows, columns, f"{at}.segmentation")
            layers.append((UNKNOWN if entry.get("iscrowd") else value, inside))
        return painted(layers, rows, columns)


def pixels_of(said: Any, rows: int, columns: int, at: str) -> np.ndarray:
    """The pixels of an object, [row, column], bool.

    Args:
        said: polygons, or run lengths, as numbers or as text.

    Raises:
        DecodeError: it is malformed.
    """
    if isinstance(said, list) and said and all(isinstance(each, list) for each in said):
        return polygons(said, rows, columns, at)
    if isinstance(said, dict):
        counts = said.get("counts")
        if said.get("size") != [rows, columns]:
            raise DecodeError(
                f"{at}.size must be [{rows}, {columns}], the rows and columns of the picture, got {said.get('size')}"
            )
        lengths = unpacked(counts, at) if isinstance(counts, str) else counts
        if not isinstance(lengths, list) or any(isinstance(n, bool) or not isinstance(n, int) or n < 0 for n in lengths):
            raise DecodeError(f"{at}.counts must be whole numbers from 0 on, or their text")
        if sum(lengths) != rows * columns:
            raise DecodeError(f"{at}.counts add up to {sum(lengths):,}, and the picture has {rows * columns:,} pixels")
        values = np.arange(len(lengths)) % 2 == 1
        return np.repeat(values, lengths).reshape(columns, rows).T
    raise DecodeError(f"{at} must be polygons or run lengths, got {'nothing' if not said else type(said).__name__}")


def polygons(said: list[Any], rows: int, columns: int, at: str) -> np.ndarray:
    from pycocotools import mask

    corners = []
    for place, each in enumerate(said):
        if len(each) < 6 or len(each) % 2:
            raise DecodeError(f"{at}[{place}] must be x and y of three corners or more, got {len(each)} numbers")
        try:
            flat = np.array([number(value, f"{at}[{place}]") for value in each]).reshape(-1, 2)
        except ValueError as error:
            raise DecodeError(str(error)) from None
        corners.append(flat.clip(0, [columns, rows]).ravel().tolist())
    found = mask.merge(mask.frPyObjects(corners, rows, columns))
    return pixels_of({"size": [rows, columns], "counts": found["counts"].decode("ascii")}, rows, columns, at)


def unpacked(text: str, at: str) -> list[int]:
    """Run lengths from COCO's text: 5 bits a letter, from the third on as differences from that two before.

    Raises:
        DecodeError: it has other letters, or ends in the middle of a number.
    """
    found: list[int] = []
    value, shift = 0, 0
    for letter in text:
        bits = ord(letter) - 48
        if not 0 <= bits < 64 or shift > 40:
            raise DecodeError(f"{at}.counts is no text of run lengths")
        value |= (bits & 31) << shift
        shift += 5
        if bits & 32:
            continue
        if bits & 16:
            value -= 1 << shift
        found.append(value + (found[-2] if len(found) > 2 else 0))
        value, shift = 0, 0
    if shift:
        raise DecodeError(f"{at}.counts ends in the middle of a number")
    return found


EXAMPLES = (Coco(path="coco"), Coco(path="cars", file="cars.json", labels="instances", border=1, mirrors=False))
