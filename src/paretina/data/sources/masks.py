"""Masks: pictures with a mask each, whose pixels are the numbers of classes or of objects.

A mask belongs to the picture of the same name, whatever its ending; it may have one of the words mask, masks, label, labels,
seg or gt behind its name (`a.jpg` and `a_mask.png`). Both lie in folders of their own, `DIR/images/` and `DIR/masks/`, and
these have folders train and val in them (and test), or stand in such folders: `DIR/train/images/`. Without them a part is held
out, by a hash of the names. The folders may have other names, and folders in them.

What the pixels of masks mean is seen from all of them when the data is opened, unless it is said:

- `classes`: the number is that of a class, and 255 is not known. The names are the lines of `DIR/classes.txt`, or the numbers;
- `binary`: two classes, 0 and all others; where masks have 0 and 255 alone;
- `instances`: each object has a number, and 0 is the background; where masks have more than 8 bits.

A picture without a mask, or whose mask cannot be read, has another size than the picture or holds the number of no class,
counts as damaged and is named. Nothing is ever written into the folder.
"""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from torch import Tensor

from paretina.data.decode import DecodeError, decode
from paretina.data.divide import Copies, Dividing, with_splits
from paretina.data.grouping import grouped
from paretina.data.layout import exact_split
from paretina.data.masks import MaskLook, look_at_mask, numbered, read_mask, size_of_picture
from paretina.data.scan import PicturePlace, UnusableError, left_out_text
from paretina.data.source import Collection, Sample, Source
from paretina.model.task import UNKNOWN, Task
from paretina.model.tasks.instances import CLASSES as PARTS
from paretina.model.tasks.instances import Instances
from paretina.model.tasks.places import Places
from paretina.shapes import Image
from paretina.spec import near
from paretina.system import cores
from paretina.text import how_many, printable

Labels = Literal["auto", "classes", "binary", "instances"]

NAMES = "classes.txt"
"""The file in the folder with the names of the classes, one a line, from number 0 on."""
WORDS = ("mask", "masks", "label", "labels", "seg", "gt")
"""Words behind the name of a picture in that of its mask."""
BINARY = ("background", "foreground")
LISTED = 3
"""Names that a message lists."""


@dataclass(frozen=True, kw_only=True)
class Masks(Source):
    """
    Attributes:
        path: the folder; `~` is the home folder.
        images: name of the folder of pictures.
        masks: name of the folder of masks.
        labels: what the numbers in masks mean: "classes", "binary" or "instances"; "auto" finds out. A run stores it.
        names: names of the classes, from number 0 on; default: those of `classes.txt`, or the numbers. A run stores them.
        border: with instances, width of the border in pixels of the network's input.
        val_share: share that is held out as `val` if the folder has none, in [0, 1].
        mirrors: whether the mirror image of a picture still belongs to its classes.
        copies: whether copies of a picture stay `together` on one side of an automatic split, or may be `anywhere`.
        groups: how pictures are grouped that stay on one side of an automatic split, such as those of one film: "folder", a
            regular expression with parentheses, or a CSV file; see `paretina.data.grouping`. "" for no groups.
        moved: pictures that are therefore on the other side than by name; default: found by searching. A run stores them.
    """

    SIGNS = ("images/../masks/*", "train/images/../masks/*")

    path: str
    images: str = "images"
    masks: str = "masks"
    labels: Labels = "auto"
    names: tuple[str, ...] = ()
    border: int = 2
    val_share: float = 0.2
    mirrors: bool = True
    copies: Copies = "together"
    groups: str = ""
    moved: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.val_share <= 1:
            raise ValueError(f"Masks.val_share must be in [0, 1], got {self.val_share:g}")
        for name in ("images", "masks"):
            folder = getattr(self, name)
            if not folder or folder in (".", "..") or "/" in folder or "\\" in folder:
                raise ValueError(f"Masks.{name} is the name of a folder, without a slash, got {folder!r}")
        if self.images == self.masks:
            raise ValueError(f"Masks.images and Masks.masks are two folders, got {self.images!r} for both")
        if len(set(self.names)) < len(self.names) or not all(self.names):
            raise ValueError(f"Masks.names are different names, none of them empty, got {list(self.names)}")
        if self.labels in ("binary", "instances") and self.names:
            least = len(BINARY if self.labels == "binary" else PARTS)
            if len(self.names) != least:
                raise ValueError(f"Masks.labels={self.labels} has {least} classes, got {len(self.names)} names for them")
        Instances(border=self.border)

    def dense(self) -> bool:
        return True

    def read_as(self, task: Task, classes: tuple[str, ...]) -> "Masks":
        if self.labels != "auto" or self.names:
            return self
        if isinstance(task, Instances):
            return replace(self, labels="instances", border=task.border, names=classes)
        return replace(self, names=classes) if isinstance(task, Places) else self

    def pinned(self, collection: Collection) -> "Masks":
        if not isinstance(collection, MaskCollection):
            return self
        return replace(self, labels=collection.labels, names=collection.classes, moved=collection.moved)

    def open(self) -> "MaskCollection":
        root = Path(self.path).expanduser().absolute()
        if not root.is_dir():
            there = f"{self.path!r} is a file; name the folder" if root.exists() else f"there is no folder {self.path!r}"
            raise UnusableError(there)
        left_out: Counter[str] = Counter()
        pairs, pools, notes = pairs_in(self, root, left_out)
        looks, faults = looked_at(root, pairs)
        labels, names, said = self.understood(root, looks)
        notes += said
        if labels == "classes":
            largest = {name: max((each for each in look.values if each != UNKNOWN), default=0) for name, look in looks.items()}
            faults |= {
                name: f"its mask {printable(pairs[name])} has the number {most}, and the classes are 0 to {len(names) - 1} "
                f"({UNKNOWN} for pixels that are not known)"
                for name, most in largest.items()
                if most >= len(names)
            }
        if faults and len(faults) == len(pairs):
            name, why = next(iter(faults.items()))
            raise UnusableError(f"{self.path}: none of the {how_many(len(pairs), 'picture')} can be used; {name}: {why}")
        task = Instances(border=self.border) if labels == "instances" else Places()
        if left_out:
            notes.append(left_out_text(left_out))
        found = MaskCollection(
            names,
            {},
            tuple(notes),
            self.mirrors,
            task=task,
            root=str(root),
            labels=labels,
            pairs=pairs,
            faults=faults,
        )
        groups: dict[str, str] | None = None
        if self.groups:
            of, told = grouped(self.groups, {name: inner_name(name, self.images) for name in pairs})
            found = replace(found, groups=of, notes=(*found.notes, *told))
            groups = {name: found.unit(Sample(name, 0)) for name in pairs}
        samples = {split: tuple(Sample(name, 0) for name in each) for split, each in pools.items()}
        return with_splits(found, samples, Dividing(self.val_share, self.copies, self.moved), self.path, groups)

    def understood(self, root: Path, looks: Mapping[str, MaskLook]) -> tuple[Labels, tuple[str, ...], list[str]]:
        """What the numbers in masks mean, the names of the classes, and notes on what was found out.

        Raises:
            ValueError: there is no usable mask, or more classes than a mask has room for.
        """
        names, labels, notes = self.names, self.labels, []
        if not names and labels in ("auto", "classes"):
            names = names_in(root / NAMES)
        values = sorted({value for look in looks.values() for value in look.values})
        if labels == "auto" and not looks:
            raise UnusableError(f"{self.path}: no mask in {self.masks}/ can be read, so it is not known what they mean")
        if labels == "auto":
            labels = "classes"
            if not names and set(values) == {0, 255}:
                labels = "binary"
                notes.append("the masks have 0 and 255 alone, so they tell a foreground from a background (labels=binary)")
            elif not names and any(look.deep for look in looks.values()):
                labels = "instances"
                most = max(look.count - (look.values[0] == 0) for look in looks.values())
                notes.append(
                    f"the masks have more than 8 bits, so their numbers are those of objects, up to {most:,} in a picture "
                    "(labels=instances)"
                )
        if labels == "binary":
            more = sorted(set(values) - {0, 255, UNKNOWN} - ({1} if 255 not in values else set()))
            if more:
                notes.append(f"the masks have numbers up to {max(more)}, and by labels=binary all above 0 are foreground")
            if self.labels == "binary" and not names and (root / NAMES).is_file():
                notes.append(f"{NAMES} is not used: by labels=binary there are a background and a foreground")
            return labels, names or BINARY, notes
        if labels == "instances":
            return labels, names or PARTS, notes
        known = [value for value in values if value != UNKNOWN]
        if not names:
            most = max(known, default=0)
            if most >= UNKNOWN:
                raise UnusableError(
                    f"{self.path}: the masks have numbers up to {most:,}, and there is room for {UNKNOWN} classes; if they "
                    "number objects, say so with data.labels=instances"
                )
            names = tuple(map(str, range(max(2, most + 1))))
            count = how_many(len(names), "class")
            notes.append(f"the masks have numbers up to {most}, so there are {count}; {NAMES} can name them")
        if len(names) < 2:
            raise UnusableError(f"{self.path}: one class is not enough to tell pixels apart, got {names[0]!r} alone")
        if len(names) > UNKNOWN:
            raise UnusableError(f"{self.path}: a mask has room for {UNKNOWN} classes, got {len(names)} names")
        absent = [name for number, name in enumerate(names) if number not in known]
        if absent and looks:
            verb = "has" if len(absent) == 1 else "have"
            notes.append(f"{len(absent)} of {len(names)} classes {verb} no pixel in any mask: {listed_names(absent)}")
        return labels, names, notes


@dataclass(frozen=True)
class MaskCollection(Collection):
    """
    Attributes:
        root: the folder that the names of the samples are relative to.
        labels: what the numbers in masks mean.
        pairs: the mask of each picture, "" where it has none.
        faults: why the mask of a picture cannot be used.
        groups: the group of each picture that has one.
    """

    COSTLY: ClassVar[bool] = True

    root: str = ""
    labels: Labels = "classes"
    pairs: Mapping[str, str] = field(default_factory=dict, repr=False, hash=False)
    faults: Mapping[str, str] = field(default_factory=dict, repr=False, hash=False)
    groups: Mapping[str, str] = field(default_factory=dict, repr=False, hash=False)

    def unit(self, sample: Sample) -> str:
        group = self.groups.get(sample.name)
        return sample.name if group is None else f"{group}/"

    def file(self, sample: Sample) -> Path:
        return Path(self.root, sample.name)

    def image(self, sample: Sample, at_least: int | None = None) -> Image:
        return decode(self.encoded(sample), sample.name, at_least)

    def encoded(self, sample: Sample) -> bytes:
        if sample.name in self.faults:
            raise DecodeError(f"{sample.name}: {self.faults[sample.name]}")
        try:
            return Path(self.root, sample.name).read_bytes()
        except OSError as error:
            raise DecodeError(f"{sample.name}: {error.strerror or error}") from None

    def target(self, sample: Sample) -> Tensor:
        if sample.name in self.faults:
            raise DecodeError(f"{sample.name}: {self.faults[sample.name]}")
        mask = self.mask(sample)
        if self.labels == "instances":
            mask = numbered(mask)
        elif self.labels == "binary":
            mask = (mask > 0).astype(np.uint8)
        elif int(mask.max(initial=0, where=mask != UNKNOWN)) >= len(self.classes):
            raise DecodeError(f"{sample.name}: its mask {printable(self.pairs[sample.name])} has changed since it was opened")
        return torch.from_numpy(mask.astype(np.uint8))

    def mask(self, sample: Sample) -> np.ndarray:
        """The numbers of the mask as they are in its file, [row, column].

        Raises:
            DecodeError: it cannot be read.
        """
        name = self.pairs[sample.name]
        try:
            return read_mask(Path(self.root, name).read_bytes(), name)
        except OSError as error:
            raise DecodeError(f"{sample.name}: its mask {printable(name)}: {error.strerror or error}") from None
        except DecodeError as error:
            raise DecodeError(f"{sample.name}: its mask {error}") from None


# --- finding pictures and masks -----------------------------------------------------------------------------------------


def pairs_in(source: Masks, root: Path, left_out: Counter[str]) -> tuple[dict[str, str], dict[str, tuple[str, ...]], list[str]]:
    """The mask of each picture, "" for none; the pictures of each split, "" for no split; and notes.

    Raises:
        ValueError: the folders are not there, hold nothing, or a name does not say which mask belongs to which picture.
    """
    homes = homes_of(source, root)
    pairs: dict[str, str] = {}
    pools: dict[str, tuple[str, ...]] = {}
    notes: list[str] = []
    alone: list[str] = []
    for split, (images, masks) in homes.items():
        found = {name: name.removeprefix(f"{images.path}/") for name in images.all_pictures(left_out)}
        if not found:
            raise UnusableError(f"there are no pictures in {images.full_path}/")
        by_stem = stems_of(masks, left_out)
        taken: dict[str, str] = {}
        for name, inner in found.items():
            stem = inner.rpartition(".")[0]
            if stem in taken:
                raise UnusableError(
                    f"{printable(taken[stem])} and {printable(name)} differ only in their endings, so one mask would belong to "
                    "both; rename one"
                )
            taken[stem] = name
            worded = [f"{stem}{dash}{word}" for word in WORDS for dash in "_-"]
            fits = by_stem.get(stem) or [mask for each in worded for mask in by_stem.get(each, ())]
            if len(fits) > 1:
                raise UnusableError(f"{printable(name)} has two masks, {' and '.join(map(printable, fits[:2]))}; remove one")
            pairs[name] = fits[0] if fits else ""
        used = set(pairs.values())
        alone += [mask for names in by_stem.values() for mask in names if mask not in used]
        pools[split] = tuple(found)
    if not any(pairs.values()):
        images, masks = next(iter(homes.values()))
        some, other = next(iter(pairs)), next(iter(alone), "")
        hint = f"such as {printable(some)} and {printable(other)}"
        if not other:
            hint = f"and {masks.full_path}/ has no pictures at all"
        raise UnusableError(f"no picture in {images.full_path}/ has a mask of its name in {masks.full_path}/, {hint}")
    if alone:
        belong = how_many(len(alone), "mask belongs", ",", "masks belong")
        notes.append(f"{belong} to no picture and {'is' if len(alone) == 1 else 'are'} left out: {listed_names(sorted(alone))}")
    return pairs, pools, notes


def homes_of(source: Masks, root: Path) -> dict[str, tuple[PicturePlace, PicturePlace]]:
    """The folder of pictures and that of masks of each split; of "" where there are no splits."""
    place = PicturePlace(root)
    within = {folder.name: folder for folder in place.folders}
    if source.images in within and source.masks in within:
        images, masks = within[source.images], within[source.masks]
        splits = splits_of(images)
        if not splits:
            return {"": (images, masks)}
        others = splits_of(masks)
        for split, folder in splits.items():
            if split not in others:
                raise UnusableError(
                    f"{folder.full_path}/ has the pictures of {split}, but there is no folder of it in {masks.full_path}/"
                )
        return {split: (folder, others[split]) for split, folder in splits.items()}
    outer = splits_of(place)
    found: dict[str, tuple[PicturePlace, PicturePlace]] = {}
    for split, folder in outer.items():
        inner = {each.name: each for each in folder.folders}
        if source.images in inner and source.masks in inner:
            found[split] = (inner[source.images], inner[source.masks])
    if not found:
        there = sorted(within)
        wrong = next((name for name in (source.images, source.masks) if name not in within), source.masks)
        field_of = "images" if wrong == source.images else "masks"
        slip = near(wrong, there) if there else ""
        raise UnusableError(
            f"{source.path} has no folders {source.images}/ and {source.masks}/ of pictures and their masks, nor folders "
            f"train/ and val/ with these in them; there are: "
            f"{', '.join(f'{printable(name)}/' for name in there[:6]) or 'no folders'}. "
            f"Folders of other names are given with data.{field_of}=NAME{slip if 'mean' in slip else ''}"
        )
    return found


def splits_of(place: PicturePlace) -> dict[str, PicturePlace]:
    """The folders that are splits by their usual names, if one of them is for training.

    Raises:
        ValueError: two are of one split, or pictures lie beside them.
    """
    found: dict[str, PicturePlace] = {}
    for folder in place.folders:
        split = exact_split(folder.name)
        if split in found:
            raise UnusableError(f"{found[split].full_path}/ and {folder.full_path}/ are both the split {split}; rename one")
        if split is not None:
            found[split] = folder
    return found if "train" in found else {}


def stems_of(masks: PicturePlace, left_out: Counter[str]) -> dict[str, list[str]]:
    """The masks in a folder by their names without ending."""
    found: dict[str, list[str]] = defaultdict(list)
    for name in masks.all_pictures(left_out):
        found[name.removeprefix(f"{masks.path}/").rpartition(".")[0]].append(name)
    return found


def inner_name(name: str, images: str) -> str:
    """The name of a picture from the folder of pictures on, without that of its split."""
    before, _, inner = f"/{name}".partition(f"/{images}/")
    first, slash, rest = inner.partition("/")
    return rest if slash and not before and exact_split(first) else inner


def names_in(file: Path) -> tuple[str, ...]:
    """The names of classes in a file, one a line; () if there is none.

    Raises:
        ValueError: it is no text, has no names, or one of them twice.
    """
    if not file.is_file():
        return ()
    try:
        names = tuple(line.strip() for line in file.read_text("utf-8-sig").splitlines())
    except (OSError, UnicodeDecodeError) as error:
        raise UnusableError(f"{file}: {error}") from None
    while names and not names[-1]:
        names = names[:-1]
    twice = [name for name, count in Counter(names).items() if count > 1]
    if not names or "" in names or twice:
        what = f"{twice[0]!r} twice" if twice and twice[0] else "an empty line" if names else "no names"
        raise UnusableError(f"{file} has the name of a class on each line, from number 0 on, and all differ; it has {what}")
    return names


def looked_at(root: Path, pairs: Mapping[str, str]) -> tuple[dict[str, MaskLook], dict[str, str]]:
    """What is known of the mask of each picture, and why that of others cannot be used."""

    def look(name: str) -> MaskLook | str:
        mask = pairs[name]
        if not mask:
            return "has no mask"
        try:
            found = look_at_mask(root / mask, mask)
        except DecodeError as error:
            return f"its mask {error}"
        try:
            size = size_of_picture(root / name, name)
        except DecodeError:
            return found  # the picture itself is damaged, which is found when it is decoded
        if size != found.shape:
            there, wanted = (f"{columns} x {rows}" for rows, columns in (found.shape, size))
            return f"its mask {printable(mask)} has {there} pixels, and the picture {wanted}"
        return found

    names = list(pairs)
    with ThreadPoolExecutor(max(1, min(8, cores()))) as threads:
        found = dict(zip(names, threads.map(look, names), strict=True))
    good: dict[str, Any] = {name: each for name, each in found.items() if isinstance(each, MaskLook)}
    return good, {name: each for name, each in found.items() if isinstance(each, str)}


def listed_names(names: Sequence[str]) -> str:
    return f"{', '.join(map(printable, names[:LISTED]))}{' ...' if len(names) > LISTED else ''}"


EXAMPLES = (
    Masks(path="cells"),
    Masks(path="streets", masks="annotations", names=("road", "car", "sky"), labels="classes", mirrors=False),
    Masks(path="nuclei", labels="instances", border=1, groups="folder"),
)
