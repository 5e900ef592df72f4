"""Unlabelled: all pictures of a folder, without labels.

For what learns from pictures alone: `paretina pretrain`, and `paretina distill`, where a teacher says what they are. Folders in
it are looked through, whatever their names; a part of the pictures, chosen by a hash of their names, is held out as `val`, for
the loss that is shown.
"""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from paretina.data.scan import PicturePlace, UnusableError, left_out_text
from paretina.data.source import Collection, Sample, Source
from paretina.data.sources.folder import FolderCollection, listing
from paretina.data.split import held_out
from paretina.model.tasks.nothing import Nothing
from paretina.text import how_many


@dataclass(frozen=True, kw_only=True)
class Unlabelled(Source):
    """
    Attributes:
        path: the folder; `~` is the home folder.
        classes: names of the classes that a network for these pictures has; with a teacher they are the teacher's.
        val_share: share of the pictures that is held out as `val`, in [0, 1).
        mirrors: whether the mirror image of a picture is as likely as the picture.
    """

    path: str
    classes: tuple[str, ...] = ("unlabelled",)
    val_share: float = 0.1
    mirrors: bool = True

    def __post_init__(self) -> None:
        if not 0 <= self.val_share < 1:
            raise ValueError(f"Unlabelled.val_share must be in [0, 1), got {self.val_share}")
        if not self.classes:
            raise ValueError("Unlabelled.classes needs at least one name, got none")

    def open(self) -> Collection:
        root = Path(self.path).expanduser().absolute()
        if not root.is_dir():
            raise UnusableError(
                f"{self.path!r} is a file; name a folder of pictures" if root.exists() else f"there is no folder {self.path!r}"
            )
        left_out: Counter[str] = Counter()
        with listing():
            names = list(PicturePlace(root).all_pictures(left_out))
        beside = f" ({left_out_text(left_out)})" if left_out else ""
        if len(names) < 2:
            raise UnusableError(f"{self.path!r} has {how_many(len(names), 'picture')}{beside}; learning needs two or more")
        held = held_out(names, [0] * len(names), self.val_share)
        splits = {
            "train": tuple(Sample(name, 0) for name in names if name not in held),
            "val": tuple(Sample(name, 0) for name in names if name in held),
        }
        apart = f", of which {len(held)} are held out for the loss" if held else ""
        notes = [f"labels are not used: {how_many(len(names), 'picture')}{apart}"]
        if left_out:
            notes.append(left_out_text(left_out))
        return FolderCollection(self.classes, splits, tuple(notes), self.mirrors, str(root), task=Nothing())


EXAMPLES = (Unlabelled(path="photos"), Unlabelled(path="photos", classes=("cat", "dog"), val_share=0.0, mirrors=False))
