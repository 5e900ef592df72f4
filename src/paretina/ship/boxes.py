"""How boxes are chosen among all places of a picture, in NumPy: what a shipped file leaves to its reader.

A file gives as many numbers for every picture: each place has a box and a score for each class. What is chosen of them has no
fixed number, so it is chosen outside of the file, by torchvision's rules: of each map the places with the best scores, in one
list, from which a box is taken out that overlaps a better one of its class.

Source: `torchvision.models.detection.fcos.FCOS.postprocess_detections`, and likewise of `RetinaNet`.
"""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class BoxRule:
    """
    Attributes:
        least: scores up to this are left out, in [0, 1).
        overlap: of two boxes of one class with a larger intersection over union the better one stays, in (0, 1].
        most: boxes of a picture, at most.
        candidates: scores of each map that are considered, at most.
        levels: number of places of each map, in the order of the places.
    """

    least: float
    overlap: float
    most: int
    candidates: int
    levels: tuple[int, ...]

    def __post_init__(self) -> None:
        if not 0 <= self.least < 1:
            raise ValueError(f"boxes.least is a score in [0, 1), got {self.least!r}")
        if not 0 < self.overlap <= 1:
            raise ValueError(f"boxes.overlap is an intersection over union in (0, 1], got {self.overlap!r}")
        for name in ("most", "candidates"):
            if getattr(self, name) < 1:
                raise ValueError(f"boxes.{name} must be at least 1, got {getattr(self, name)!r}")
        if not self.levels or min(self.levels) < 1:
            raise ValueError(f"boxes.levels has a number of places, at least 1, for each map, got {[*self.levels]!r}")

    @staticmethod
    def read(found: Any) -> "BoxRule":
        """From JSON.

        Raises:
            ValueError: a number is out of its range.
            KeyError: one is missing.
            TypeError: one is no number.
        """
        return BoxRule(
            least=float(found["least"]),
            overlap=float(found["overlap"]),
            most=int(found["most"]),
            candidates=int(found["candidates"]),
            levels=tuple(int(each) for each in found["levels"]),
        )

    def to_dict(self) -> dict[str, Any]:
        return {**asdict(self), "levels": list(self.levels)}

    def chosen(self, places: np.ndarray) -> np.ndarray:
        """The boxes of one picture, best first.

        Args:
            places: (place, 4 + class): left, top, right and bottom, and the score of each class.

        Returns:
            (box, 6): left, top, right and bottom as they were given, score, number of the class.

        Raises:
            ValueError: there are more or fewer places than the maps have.
        """
        if len(places) != sum(self.levels):
            raise ValueError(f"there are {len(places):,} places, and boxes.levels says {sum(self.levels):,}")
        scores = places[:, 4:]
        found, first = [], 0
        for count in self.levels:
            own = scores[first : first + count].ravel()
            above = np.flatnonzero(own > self.least)
            best = above[np.argsort(-own[above], kind="stable")[: self.candidates]]
            found.append(best + first * scores.shape[1])
            first += count
        place, label = np.divmod(np.concatenate(found), scores.shape[1])
        score, corners = scores[place, label], places[place, :4]
        left = np.argsort(-score, kind="stable")
        kept: list[int] = []
        while len(left) and len(kept) < self.most:
            best, left = left[0], left[1:]
            kept.append(int(best))
            left = left[(label[left] != label[best]) | ~overlapping(corners[best], corners[left], self.overlap)]
        return np.concatenate((corners[kept], score[kept, None], label[kept, None].astype(places.dtype)), 1)


def overlapping(box: np.ndarray, others: np.ndarray, limit: float) -> np.ndarray:
    """Which of the others have a larger intersection over union with a box than the limit; [other], bool.

    Args:
        box: left, top, right and bottom.
        others: likewise, (other, 4).
    """
    sides = np.minimum(box[2:], others[:, 2:]) - np.maximum(box[:2], others[:, :2])
    shared = sides.clip(min=0).prod(1)
    whole = (box[2:] - box[:2]).prod() + (others[:, 2:] - others[:, :2]).prod(1) - shared
    return shared > limit * whole
