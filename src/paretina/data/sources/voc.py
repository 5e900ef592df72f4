"""Voc: pictures with annotations in the format of Pascal VOC, an XML file for each picture.

    DIR/Annotations/a.xml     DIR/JPEGImages/a.jpg     DIR/ImageSets/Main/train.txt and val.txt     DIR/SegmentationClass/a.png

The files in `ImageSets/Main` (for masks `ImageSets/Segmentation`), a name a line, say which pictures are in train, val and
test; without them every picture with an XML file is taken, and a part is held out. The classes are the names of the objects,
sorted. An object that is `difficult` is neither to be found nor to be missed. Boxes are in whole pixels from 1 on, both ends
included. Masks are those of `SegmentationClass`, whose number 0 is the background and 255 unknown; the names of the classes are
then to be given, or those of the 20 classes of VOC.

XML is read without a document type, so that no entity is expanded. What is malformed is named by its file and field, and its
picture counts as damaged. Nothing is ever written into the folder.

Source: Everingham et al. 2010 (doi:10.1007/s11263-009-0275-4); http://host.robots.ox.ac.uk/pascal/VOC/voc2012/htmldoc/.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal
from xml.etree import ElementTree
from xml.parsers import expat

import numpy as np

from paretina.data.annotated import AnnotatedCollection, Row, row_of, sizes_of, task_for, too_many
from paretina.data.decode import DecodeError
from paretina.data.divide import Copies, Dividing, with_splits
from paretina.data.masks import read_mask
from paretina.data.scan import PicturePlace, UnusableError, left_out_text
from paretina.data.source import Collection, Sample, Source
from paretina.model.task import UNKNOWN, Task
from paretina.model.tasks.boxes import Boxes
from paretina.model.tasks.places import Places
from paretina.text import how_many, printable

NAMES = (
    *("aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow", "diningtable", "dog", "horse"),
    *("motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor"),
)
"""The classes of VOC, whose pixels have the numbers 1 to 20."""
LARGEST = 1 << 22
"""Bytes of an XML file, at most."""
GROUND = "background"


@dataclass(frozen=True, kw_only=True)
class Voc(Source):
    """
    Attributes:
        path: the folder; `~` is the home folder.
        labels: what is learned: "boxes", or "classes" of pixels.
        names: names of the classes; default: those of the objects in all XML files, or for pixels those of VOC. A run stores
            them.
        most: with boxes, objects that a picture may have; 0 for as many as one has, 100 at least. A run stores it.
        val_share: share that is held out as `val` if the folder has no lists of splits, in [0, 1].
        mirrors: whether the mirror image of a picture still belongs to its classes.
        copies: whether copies of a picture stay `together` on one side of an automatic split, or may be `anywhere`.
        moved: pictures that are therefore on the other side than by name; default: found by searching. A run stores them.
    """

    SIGNS = ("JPEGImages/../Annotations/*.xml", "JPEGImages/../SegmentationClass/*.png")

    path: str
    labels: Literal["boxes", "classes"] = "boxes"
    names: tuple[str, ...] = ()
    most: int = 0
    val_share: float = 0.2
    mirrors: bool = True
    copies: Copies = "together"
    moved: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.val_share <= 1:
            raise ValueError(f"Voc.val_share must be in [0, 1], got {self.val_share:g}")
        if len(set(self.names)) < len(self.names) or not all(self.names):
            raise ValueError(f"Voc.names are different names, none of them empty, got {list(self.names)}")
        if self.most:
            Boxes(most=self.most)

    def dense(self) -> bool:
        return self.labels == "classes"

    def boxed(self) -> bool:
        return self.labels == "boxes"

    def asked_for(self, task: str) -> Source | None:
        labels: dict[str, Literal["boxes", "classes"]] = {"segment": "classes", "detect": "boxes"}
        return replace(self, labels=labels[task]) if task in labels else None

    def read_as(self, task: Task, classes: tuple[str, ...]) -> "Voc":
        if isinstance(task, Boxes):
            return replace(self, labels="boxes", most=task.most, names=self.names or classes)
        if isinstance(task, Places):
            return replace(self, labels="classes", names=self.names or classes[1:])
        return self

    def pinned(self, collection: Collection) -> "Voc":
        names = collection.classes if self.labels == "boxes" else collection.classes[1:]
        found = replace(self, moved=collection.moved, names=names)
        return replace(found, most=collection.task.most) if isinstance(collection.task, Boxes) else found

    def open(self) -> AnnotatedCollection:
        root = Path(self.path).expanduser().absolute()
        if not root.is_dir():
            there = f"{self.path!r} is a file; name the folder" if root.exists() else f"there is no folder {self.path!r}"
            raise UnusableError(there)
        said, ending = ("Annotations", ".xml") if self.labels == "boxes" else ("SegmentationClass", ".png")
        for folder in ("JPEGImages", said):
            if not (root / folder).is_dir():
                raise UnusableError(f"{self.path} has no folder {folder}/, as Pascal VOC has it")
        left_out: Counter[str] = Counter()
        images = {Path(name).stem: name for name in PicturePlace(root, "JPEGImages").all_pictures(left_out)}
        pools, faults = pools_in(root, "Main" if self.labels == "boxes" else "Segmentation", images)
        if not pools:
            stems = {path.stem for path in (root / said).glob(f"*{ending}")}
            if not stems & images.keys():
                raise UnusableError(f"{self.path}: no picture in JPEGImages/ has a file of its name in {said}/")
            alone = {f"JPEGImages/{stem}.jpg": f"{said}/{stem}{ending}" for stem in sorted(stems - images.keys())}
            faults |= {name: f"there is no such file, and {each} is of it" for name, each in alone.items()}
            pools = {"": (*(name for stem, name in images.items() if stem in stems), *alone)}
        names = list(dict.fromkeys(name for pool in pools.values() for name in pool))
        beside = {name: f"{said}/{Path(name).stem}{ending}" for name in names}
        rows: dict[str, tuple[Row, ...]] = {}
        notes: list[str] = []
        if self.labels == "boxes":
            classes, rows, sizes, notes = self.read_boxes(root, names, beside, faults)
        else:
            sizes, lost = sizes_of(root, dict.fromkeys(names))
            faults |= {name: why for name, why in lost.items() if name not in faults}
            classes = (GROUND, *(self.names or NAMES))
        if left_out:
            notes.append(left_out_text(left_out))
        task = task_for(self.labels, rows, self.most, 1)
        faults |= too_many(rows, task)
        if len(faults) == len(names):
            name, why = next(iter(faults.items()))
            raise UnusableError(f"{self.path}: none of the {how_many(len(names), 'picture')} can be used; {name}: {why}")
        found = AnnotatedCollection(
            classes,
            {},
            tuple(notes),
            self.mirrors,
            task=task,
            root=str(root),
            labels=self.labels,
            rows=rows,
            sizes=sizes,
            faults=faults,
            pixels=None if self.labels == "boxes" else ClassMasks(str(root), beside, len(classes)),
        )
        samples = {split: tuple(Sample(name, 0) for name in pool) for split, pool in pools.items()}
        return with_splits(found, samples, Dividing(self.val_share, self.copies, self.moved), self.path)

    def read_boxes(
        self, root: Path, names: list[str], beside: Mapping[str, str], faults: dict[str, str]
    ) -> tuple[tuple[str, ...], dict[str, tuple[Row, ...]], dict[str, tuple[int, int]], list[str]]:
        """Classes, the objects and the size of each picture, and notes; what cannot be used is added to `faults`."""
        read: dict[str, Annotation] = {}
        for name in names:
            try:
                read[name] = annotation(root / beside[name], beside[name])
            except ValueError as error:
                faults.setdefault(name, str(error))
        sizes, lost = sizes_of(root, {name: each.size for name, each in read.items()})
        faults |= {name: why for name, why in lost.items() if name not in faults}
        seen = sorted({each.label for found in read.values() for each in found.objects})
        classes = self.names or tuple(seen)
        if not classes:
            raise UnusableError(f"{self.path}: there is no object in any XML file, so nothing to find")
        rows, gone = {}, 0
        for name, size in sizes.items():
            own = []
            for each in read[name].objects:
                if each.label not in classes:
                    faults[name] = f"{each.at}.name is {printable(each.label)!r}, which is none of the classes (data.names)"
                    break
                row = row_of(each.corners, size, classes.index(each.label), not each.difficult)
                gone += row is None
                own += [] if row is None else [row]
            rows[name] = tuple(own)
        notes = [f"{how_many(gone, 'box', ',', 'boxes')} without an area in the picture left out"] if gone else []
        return classes, rows, sizes, notes


# --- files ------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class VocObject:
    """
    Attributes:
        at: where it is described.
        corners: left, top, right, bottom in pixels, from the upper left corner of the picture.
    """

    at: str
    label: str
    corners: tuple[float, float, float, float]
    difficult: bool


@dataclass(frozen=True)
class Annotation:
    """
    Attributes:
        size: rows and columns; None where it is not said, or said to be 0.
    """

    size: tuple[int, int] | None
    objects: tuple[VocObject, ...]


@dataclass(frozen=True)
class ClassMasks:
    """Reads the masks of pictures.

    Attributes:
        beside: of each picture, the file of its mask.
        classes: how many there are.
    """

    root: str
    beside: Mapping[str, str] = field(repr=False)
    classes: int

    def __call__(self, name: str, rows: int, columns: int) -> np.ndarray:
        place = self.beside[name]
        try:
            found = read_mask(Path(self.root, place).read_bytes(), place)
        except OSError as error:
            raise DecodeError(f"its mask {place}: {error.strerror or error}") from None
        if found.shape != (rows, columns):
            raise DecodeError(
                f"its mask {place} has {found.shape[1]} x {found.shape[0]} pixels, the picture {columns} x {rows}"
            )
        most = int(found.max(initial=0, where=found != UNKNOWN))
        if most >= self.classes:
            raise DecodeError(
                f"its mask {place} has the number {most}, and the classes are 0 to {self.classes - 1} (data.names)"
            )
        return found.astype(np.uint8)


def pools_in(root: Path, kind: str, images: Mapping[str, str]) -> tuple[dict[str, tuple[str, ...]], dict[str, str]]:
    """The pictures of each split by the lists of a folder; and why a listed picture cannot be used."""
    pools: dict[str, tuple[str, ...]] = {}
    faults: dict[str, str] = {}
    for split in ("train", "val", "test"):
        file = root / "ImageSets" / kind / f"{split}.txt"
        if not file.is_file():
            continue
        try:
            stems = [line.split()[0] for line in file.read_text("utf-8-sig").splitlines() if line.strip()]
        except (OSError, UnicodeDecodeError) as error:
            raise UnusableError(f"{file}: {error}") from None
        own = dict.fromkeys(images.get(stem, f"JPEGImages/{stem}.jpg") for stem in stems)
        faults |= {
            name: f"it is listed in ImageSets/{kind}/{split}.txt, and there is no such file"
            for name, stem in zip(own, dict.fromkeys(stems), strict=True)
            if stem not in images
        }
        pools[split] = tuple(own)
    return (pools, faults) if "train" in pools else ({}, {})


def parsed(data: bytes, where: str) -> ElementTree.Element:
    """An XML document without a document type.

    Raises:
        ValueError: it has one, is too large, or is not well-formed.
    """
    if len(data) > LARGEST:
        raise ValueError(f"{where} has {len(data):,} bytes, more than an annotation has ({LARGEST:,})")

    def refuse(*_: object) -> None:
        raise ValueError(f"{where} has a document type (<!DOCTYPE ...>), which could hold anything; remove it")

    looked = expat.ParserCreate()
    looked.StartDoctypeDeclHandler = refuse
    try:
        looked.Parse(data, True)
        return ElementTree.fromstring(data)
    except (expat.ExpatError, ElementTree.ParseError, LookupError) as error:
        raise ValueError(f"{where} is no XML: {error}") from None


def annotation(file: Path, where: str) -> Annotation:
    """What an XML file says of its picture.

    Raises:
        ValueError: it is malformed; the message names the field.
    """
    try:
        root = parsed(file.read_bytes(), where)
    except OSError as error:
        raise ValueError(f"{where}: {error.strerror or error}") from None
    size = root.find("size")
    rows, columns = (0, 0) if size is None else (int(number_in(size, side, f"{where}: size")) for side in ("height", "width"))
    objects = []
    for place, each in enumerate(root.findall("object")):
        at = f"{where}: object[{place}]"
        label = (each.findtext("name") or "").strip()
        if not label:
            raise ValueError(f"{at}.name must be the name of a class, got nothing")
        box = each.find("bndbox")
        if box is None:
            raise ValueError(f"{at}.bndbox is not there")
        left, top, right, bottom = (number_in(box, side, f"{at}.bndbox") for side in ("xmin", "ymin", "xmax", "ymax"))
        if right < left or bottom < top:
            raise ValueError(f"{at}.bndbox ends before it begins: {left:g}, {top:g} to {right:g}, {bottom:g}")
        difficult = (each.findtext("difficult") or "0").strip()
        if difficult not in ("0", "1"):
            raise ValueError(f"{at}.difficult must be 0 or 1, got {difficult!r}")
        objects.append(VocObject(at, label, (left - 1, top - 1, right, bottom), difficult == "1"))
    return Annotation((rows, columns) if rows and columns else None, tuple(objects))


def number_in(element: ElementTree.Element, name: str, at: str) -> float:
    """A finite number in an element.

    Raises:
        ValueError: it is none.
    """
    text = element.findtext(name)
    try:
        value = float(text or "")
    except ValueError:
        value = float("nan")
    if not -1e9 < value < 1e9:
        raise ValueError(f"{at}.{name} must be a number, got {'nothing' if text is None else repr(text)}")
    return value


EXAMPLES = (Voc(path="VOC2012"), Voc(path="VOC2012", labels="classes", names=("road", "car"), val_share=0.1))
