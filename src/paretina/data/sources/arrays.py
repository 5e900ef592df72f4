"""Arrays: pictures as arrays, from an `.npz` file or directly from Python.

For small data sets in a single file (`numpy.savez("digits.npz", images=images, labels=labels)`), and for notebooks.
Everything is held in memory.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import numpy as np
import torch

from paretina.data.likeness import Moved, together
from paretina.data.npz import arrays_in
from paretina.data.source import ALL_HELD_OUT, NONE_HELD_OUT, Collection, Sample, Source, split_by_names_alone
from paretina.data.split import held_out
from paretina.shapes import Image
from paretina.text import how_many

SPLITS = ("train", "val", "test")


@dataclass(frozen=True, kw_only=True)
class Arrays(Source):
    """
    The file contains `images` (uint8, [n, h, w] grey or [n, h, w, 3] colour) and `labels` (integers from 0, [n]); optionally
    `classes` (text, one per class) and `split` (text, [n]: train, val or test). Pickled objects in it are refused, since
    reading them could run code.

    Attributes:
        path: the `.npz` file; `~` is the home folder.
        val_share: share of each class that is held out as `val` if the file has no `split`, in [0, 1].
        mirrors: whether the mirror image of a picture still belongs to its class.
        copies: whether copies of a picture stay `together` on one side of an automatic split, or may be `anywhere`.
        moved: pictures that are therefore on the other side than by their indices; default: found by searching. A run stores
            them, so that its split never changes.
    """

    UPGRADES = (split_by_names_alone,)
    SUFFIXES = (".npz",)

    path: str
    val_share: float = 0.2
    mirrors: bool = True
    copies: Literal["together", "anywhere"] = "together"
    moved: tuple[str, ...] | None = None

    def open(self) -> "ArrayCollection":
        path = Path(self.path).expanduser()
        if not path.is_file():
            raise ValueError(f"there is no file {self.path!r}")
        try:
            with path.open("rb") as data:  # opened here, since numpy leaves a broken file open
                held = arrays_in(data, ("images", "labels", "classes", "split"), ("images", "labels"))
        except (ValueError, OSError) as error:
            raise ValueError(f"{self.path!r} is not a usable .npz file: {error}") from None
        classes = None if "classes" not in held else [str(name) for name in np.atleast_1d(held["classes"])]
        split = None if "split" not in held else [str(name) for name in np.atleast_1d(held["split"])]
        try:
            return from_arrays(
                held["images"],
                held["labels"],
                classes,
                split=split,
                val_share=self.val_share,
                mirrors=self.mirrors,
                copies=self.copies,
                moved=self.moved,
                path=path,
            )
        except ValueError as error:
            raise ValueError(f"{self.path!r}: {error}") from None

    def pinned(self, collection: Collection) -> "Arrays":
        return replace(self, moved=collection.moved)


@dataclass(frozen=True)
class ArrayCollection(Collection):
    """
    Attributes:
        images: all pictures, [n, h, w] or [n, h, w, 3]; a sample's name is its index in them.
        path: the file that they were read from, if any.
    """

    images: np.ndarray = field(default_factory=lambda: np.zeros((0, 1, 1), np.uint8), repr=False, compare=False)
    path: Path | None = None

    def file(self, sample: Sample) -> Path | None:
        return self.path

    def image(self, sample: Sample, at_least: int | None = None) -> Image:
        """The exact picture; `at_least` has no effect, since nothing is decoded."""
        pixels = torch.from_numpy(np.array(self.images[int(sample.name)]))
        if pixels.ndim == 2:
            pixels = pixels[:, :, None].repeat(1, 1, 3)
        return pixels.permute(2, 0, 1)  # h w c -> c h w


def from_arrays(
    images: np.ndarray,
    labels: np.ndarray | Sequence[int],
    classes: Sequence[str] | None = None,
    *,
    split: Sequence[str] | None = None,
    val_share: float = 0.2,
    mirrors: bool = True,
    copies: Literal["together", "anywhere"] = "together",
    moved: tuple[str, ...] | None = None,
    path: Path | None = None,
) -> ArrayCollection:
    """Makes a collection from pictures in memory.

    Args:
        images: uint8, [n, h, w] grey or [n, h, w, 3] colour.
        labels: integers from 0, one per picture.
        classes: the name of each class; default: the numbers.
        split: train, val or test for each picture; default: a share of each class is held out as `val`.
        val_share: that share, in [0, 1]. Which pictures it takes depends on their indices, so pictures can be appended.
        mirrors: whether the mirror image of a picture still belongs to its class.
        copies, moved: as in `Arrays`.
        path: the file that the pictures come from, if any.

    Raises:
        ValueError: shapes, types or lengths do not fit together.
    """
    images, numbers = np.asarray(images), np.asarray(labels)
    if images.dtype != np.uint8:
        raise ValueError(
            f"images must be uint8 from 0 to 255, got {images.dtype}; floats from 0 to 1: (255 * images).astype('uint8')"
        )
    if images.ndim not in (3, 4) or (images.ndim == 4 and images.shape[3] != 3) or 0 in images.shape:
        raise ValueError(f"images must be [n, h, w] or [n, h, w, 3] and not empty, got {list(images.shape)}")
    if numbers.ndim != 1 or len(numbers) != len(images):
        raise ValueError(
            f"labels must be one number per picture, got {list(numbers.shape)} for {how_many(len(images), 'picture')}"
        )
    if numbers.dtype.kind in "US":
        raise ValueError(
            "labels must be integers, got text; give the numbers, and the names as classes: "
            "classes, labels = numpy.unique(labels, return_inverse=True)"
        )
    if numbers.dtype.kind not in "iu":
        raise ValueError(f"labels must be integers, got {numbers.dtype}")
    names = tuple(str(name) for name in classes) if classes is not None else tuple(map(str, range(int(numbers.max()) + 1)))
    if numbers.min() < 0 or numbers.max() >= len(names):
        wrong = numbers.min() if numbers.min() < 0 else numbers.max()
        raise ValueError(f"labels must lie in 0 to {len(names) - 1} ({how_many(len(names), 'class')}), got {wrong}")
    if len(set(names)) != len(names) or len(names) < 2:
        raise ValueError(f"two or more classes with different names are needed, got {list(names)}")
    samples = [Sample(str(place), int(label)) for place, label in enumerate(numbers)]
    found = ArrayCollection(names, {}, (), mirrors, images, path)
    notes: tuple[str, ...] = ()
    changed = Moved(None)
    if split is None:
        held = held_out([sample.name for sample in samples], [sample.label for sample in samples], val_share)
        if copies == "together":
            changed = together(found, samples, val_share, moved)
        held ^= {*(changed.names or ())}
        split = ["val" if sample.name in held else "train" for sample in samples]
        some = f"{len(held)} of {how_many(len(samples), 'picture')} were held out as val"
        by_hash = f"no split was given, so {some} by a hash of their indices"
        notes = ({0.0: NONE_HELD_OUT, 1.0: ALL_HELD_OUT}.get(val_share, by_hash), *changed.notes)
    elif len(split) != len(samples):
        raise ValueError(f"split must name one split per picture, got {len(split)} for {how_many(len(samples), 'picture')}")
    strange = sorted(set(split) - set(SPLITS))
    if strange:
        raise ValueError(f"split must be train, val or test, got {strange[0]!r}")
    splits = {
        name: tuple(sample for sample, its in zip(samples, split, strict=True) if its == name)
        for name in SPLITS
        if name != "test" or "test" in split
    }
    return replace(found, splits=splits, notes=notes, moved=changed.names)


EXAMPLES = (Arrays(path="digits.npz"), Arrays(path="digits.npz", val_share=0.1, mirrors=False))
