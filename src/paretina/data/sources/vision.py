"""Vision: data sets of torchvision by name, `torchvision:FashionMNIST`.

They are looked for in the cache folder, or in `root`, as torchvision stores them. Nothing is downloaded unless it is asked for:
`torchvision+download:FashionMNIST`, or `data.download=on`. `torchvision:EMNIST@letters` names one part of a set that has
several.

Only sets in the list `SETS` are opened, whose files torchvision reads without unpickling: CIFAR, LSUN and ImageNet are not
among them, since reading their files can run code. Pictures that are files are decoded here, as those of a folder are.
"""

import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import torch

from paretina.data.divide import Dividing, with_splits
from paretina.data.source import Collection, Sample, Source
from paretina.data.sources.folder import FolderCollection
from paretina.shapes import Image
from paretina.spec import near
from paretina.system import cache_folder
from paretina.text import how_many, printable

PREFIX, DOWNLOADING = "torchvision:", "torchvision+download:"


@dataclass(frozen=True)
class VisionSet:
    """How torchvision opens a set.

    Attributes:
        splits: what opens each split; one split that is called "" is divided.
        part: the argument that the part after @ is for; "" if there is none.
        parts: the parts that there are, of which the first is the default.
        labels: the attribute with the labels, of a set that is in memory; "" where each picture is a file.
        files: where torchvision takes no function that opens a file, the attributes with the paths and the labels.
        mirrors: whether the mirror image of a picture still belongs to its class.
        turned: whether rows and columns are exchanged.
    """

    splits: Mapping[str, Mapping[str, Any]]
    part: str = ""
    parts: tuple[str, ...] = ()
    labels: str = ""
    files: tuple[str, ...] = ()
    mirrors: bool = True
    turned: bool = False


def by_name(**names: str) -> dict[str, dict[str, Any]]:
    """Splits by the name that torchvision has for each."""
    return {split: {"split": name} for split, name in names.items()}


HALVES = {"train": {"train": True}, "test": {"train": False}}
THREE = by_name(train="train", val="val", test="test")
TWO = by_name(train="train", test="test")
WHOLE: dict[str, dict[str, Any]] = {"": {}}
LEVELS = ("variant", "family", "manufacturer")
LETTERS = ("balanced", "byclass", "bymerge", "letters", "digits", "mnist")

SETS = {
    "MNIST": VisionSet(HALVES, labels="targets", mirrors=False),
    "FashionMNIST": VisionSet(HALVES, labels="targets"),
    "KMNIST": VisionSet(HALVES, labels="targets", mirrors=False),
    "QMNIST": VisionSet(HALVES, labels="targets", mirrors=False),
    "EMNIST": VisionSet(HALVES, "split", LETTERS, labels="targets", mirrors=False, turned=True),
    "USPS": VisionSet(HALVES, labels="targets", mirrors=False),
    "SVHN": VisionSet(TWO, labels="labels", mirrors=False),
    "STL10": VisionSet(TWO, labels="labels"),
    "SEMEION": VisionSet(WHOLE, labels="labels", mirrors=False),
    "DTD": VisionSet(THREE),
    "EuroSAT": VisionSet(WHOLE),
    "FGVCAircraft": VisionSet(THREE, "annotation_level", LEVELS),
    "Flowers102": VisionSet(THREE),
    "Food101": VisionSet(TWO),
    "Imagenette": VisionSet(by_name(train="train", val="val"), "size", ("full", "320px", "160px")),
    "Country211": VisionSet(by_name(train="train", val="valid", test="test")),
    "RenderedSST2": VisionSet(THREE, mirrors=False),
    "StanfordCars": VisionSet(TWO),
    "SUN397": VisionSet(WHOLE),
    "GTSRB": VisionSet(TWO, files=("_samples",), mirrors=False),
    "OxfordIIITPet": VisionSet(by_name(train="trainval", test="test"), files=("_images", "_labels")),
}
"""The sets that are opened, by the name of their class in torchvision. Read there: none of them unpickles; MNIST and those like
it load files of old releases of torchvision with `weights_only`."""

REFUSED = {
    "CIFAR10": "its files are pickles",
    "CIFAR100": "its files are pickles",
    "ImageNet": "the list of its classes is a file of torch.save; name its folder, train/ and val/, instead",
    "LSUN": "its keys are kept in a pickle",
    "PhotoTour": "its pictures are kept in a file of torch.save, and it has no classes",
}


@dataclass(frozen=True, kw_only=True)
class Vision(Source):
    """
    Attributes:
        path: `torchvision:NAME` or `torchvision:NAME@PART`; `torchvision+download:NAME` to download it.
        root: the folder that torchvision stores it in; default: one in the cache.
        download: whether it may be downloaded if it is not there.
        val_share: share of each class that is held out as `val` if the set has no split, in [0, 1].
        mirrors: whether the mirror image of a picture still belongs to its class; default: what is known of the set.
        copies: whether copies of a picture stay `together` on one side of an automatic split, or may be `anywhere`.
        moved: pictures that are therefore on the other side than by name; default: found by searching. A run stores them.
    """

    PREFIXES = (PREFIX, DOWNLOADING)

    path: str
    root: str = ""
    download: bool = False
    val_share: float = 0.2
    mirrors: bool | None = None
    copies: Literal["together", "anywhere"] = "together"
    moved: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.val_share <= 1:
            raise ValueError(f"Vision.val_share must be in [0, 1], got {self.val_share}")

    def open(self) -> Collection:
        name, part = self.named()
        known = SETS[name]
        root = (Path(self.root).expanduser() if self.root else cache_folder() / "torchvision").absolute()
        opened = {split: self.opened(name, part, root, options) for split, options in known.splits.items()}
        pairs = {split: self.pairs(name, split, each, root) for split, each in opened.items()}
        first = next(iter(opened.values()))
        named = getattr(first, "classes", None)
        most = max(label for some in pairs.values() for _, label in some)
        names = [str(each) for each in named] if named else [str(number) for number in range(most + 1)]
        if most >= len(names):
            raise ValueError(f"{self.path!r} has the label {most}, and {how_many(len(names), 'class')}: its files are damaged")
        there = sorted({label for some in pairs.values() for _, label in some})
        numbers = {label: number for number, label in enumerate(there)}
        classes = tuple(names[label] for label in there)
        notes = []
        if len(there) < len(names):
            absent = ", ".join(name for number, name in enumerate(names) if number not in numbers)
            notes.append(f"classes without a picture were left out: {absent}")
        pools = {split: tuple(Sample(picture, numbers[label]) for picture, label in some) for split, some in pairs.items()}
        mirrors = known.mirrors if self.mirrors is None else self.mirrors
        found: Collection
        if known.labels:
            memory = {split or "all": each for split, each in opened.items()}
            found = VisionCollection(classes, {}, tuple(notes), mirrors, self.path, memory, known.turned)
        else:
            found = FolderCollection(classes, {}, tuple(notes), mirrors, str(root))
        return with_splits(found, pools, Dividing(self.val_share, self.copies, self.moved), self.path)

    def pinned(self, collection: Collection) -> "Vision":
        return replace(self, moved=collection.moved)

    def named(self) -> tuple[str, str]:
        """The name of the set, and its part.

        Raises:
            ValueError: it is none of those that are opened.
        """
        word = self.path.removeprefix(DOWNLOADING).removeprefix(PREFIX)
        name, _, part = word.partition("@")
        if name not in SETS:
            why = f"{name} is not opened: {REFUSED[name]}, and reading one can run code" if name in REFUSED else ""
            raise ValueError(why or f"{name!r} is none of the sets of torchvision that are opened{near(name, SETS)}")
        parts = SETS[name].parts
        if part and part not in parts:
            raise ValueError(f"{name} has no part {part!r}" + (near(part, parts) if parts else ", nor any other"))
        return name, part or (parts[0] if parts else "")

    def opened(self, name: str, part: str, root: Path, options: Mapping[str, Any]) -> Any:
        """A split as torchvision opens it.

        Raises:
            ValueError: it is not there, or cannot be read.
        """
        from torchvision import datasets

        known = SETS[name]
        kind = getattr(datasets, name, None)
        if kind is None:
            raise ValueError(f"the torchvision that is installed has no {name}")
        more: dict[str, Any] = {known.part: part} if known.part else {}
        if not known.labels and not known.files:
            more["loader"] = as_it_is
        download = self.download or self.path.startswith(DOWNLOADING)
        try:
            if download:
                root.mkdir(parents=True, exist_ok=True)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                return kind(root=str(root), download=download, **options, **more)
        except Exception as error:  # what torchvision raises for damaged files is not documented
            reason = printable(next(iter(str(error).splitlines()), type(error).__name__))
            what = "" if download else f"; {DOWNLOADING}{name} downloads it"
            raise ValueError(f"{name} cannot be opened in {root}: {reason}{what}") from None

    def pairs(self, name: str, split: str, opened: Any, root: Path) -> list[tuple[str, int]]:
        """Name and label of each picture."""
        known = SETS[name]
        try:
            if known.labels:
                values = np.asarray(getattr(opened, known.labels))
                values = values if values.ndim == 1 else values[:, 0]  # QMNIST has more than the class
                return [(f"{split or 'all'}/{i}", label) for i, label in enumerate(values.astype(int).tolist())]
            columns = [getattr(opened, each) for each in known.files]
            found: Iterable[Any] = map(opened.__getitem__, range(len(opened)))
            if columns:
                found = zip(*columns, strict=True) if len(columns) > 1 else columns[0]
            return [(Path(path).absolute().relative_to(root).as_posix(), int(label)) for path, label in found]
        except Exception as error:
            raise ValueError(f"{name} cannot be read in {root}: {printable(str(error)) or type(error).__name__}") from None


def as_it_is(path: Any) -> Any:
    """In place of a function that reads a picture."""
    return path


@dataclass(frozen=True)
class VisionCollection(Collection):
    """
    Attributes:
        name: of the set.
        memory: of each split, what torchvision holds in memory; a picture is named `split/number`.
        turned: whether rows and columns are exchanged.
    """

    COSTLY: ClassVar[bool] = False

    name: str = ""
    memory: dict[str, Any] = field(default_factory=dict, repr=False, compare=False)
    turned: bool = False

    def image(self, sample: Sample, at_least: int | None = None) -> Image:
        """The exact picture; `at_least` has no effect, since nothing is decoded."""
        split, _, number = sample.name.partition("/")
        picture = self.memory[split][int(number)][0]
        pixels = torch.from_numpy(np.array(picture.convert("RGB")))
        return pixels.permute(2, 1, 0) if self.turned else pixels.permute(2, 0, 1)  # h w c -> c h w


EXAMPLES = (
    Vision(path="torchvision:FashionMNIST"),
    Vision(path="torchvision+download:EMNIST@letters", root="sets", mirrors=False),
)
