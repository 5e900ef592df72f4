"""Objects in masks: what hangs together, how the objects of an answer and of the truth match, and what is counted of that.

Sources: average precision over objects as in the Data Science Bowl 2018 (Caicedo et al. 2019, doi:10.1038/s41592-019-0612-7);
SEG and DET of the Cell Tracking Challenge (Maska et al. 2023, doi:10.1038/s41592-023-01879-y; DET: Matula et al. 2015,
doi:10.1371/journal.pone.0144959, without edges).
"""

import numpy as np
from scipy import ndimage

THRESHOLDS = tuple(round(0.5 + 0.05 * step, 2) for step in range(10))
"""Intersections over union from which on two objects match: 0.5 to 0.95."""

SPLIT, MISSED, MADE_UP = 5.0, 10.0, 1.0
"""Costs of DET: an object of the answer to be split, one to be added, one to be deleted."""

NUMBERS = 254
"""Different numbers of objects in a mask of 8 bits; where all are used, one number may stand for several objects."""


def components(there: np.ndarray, smallest: int = 0, fill: bool = True) -> np.ndarray:
    """Numbers what hangs together along rows and columns, from 1 on, int32.

    Args:
        there: (row, column), bool.
        smallest: pixels of the smallest object that is kept.
        fill: whether holes of objects belong to them.
    """
    if fill:
        there = ndimage.binary_fill_holes(there)
    found, count = ndimage.label(there)
    sizes = np.bincount(found.ravel(), minlength=count + 1)
    kept = sizes >= smallest
    kept[0] = False
    table = np.zeros(count + 1, np.int32)
    table[kept] = np.arange(1, int(kept.sum()) + 1)
    return table[found]


def objects_of(numbers: np.ndarray) -> np.ndarray:
    """The objects of a mask of 8 bits, numbered from 1 on, int32; of one number, those that do not touch are several where
    there were more objects than numbers."""
    if int(numbers.max(initial=0)) < NUMBERS:
        return numbers.astype(np.int32)
    found = np.zeros(numbers.shape, np.int32)
    for number in np.unique(numbers[numbers > 0]):
        parts, _ = ndimage.label(numbers == number)
        found[parts > 0] = parts[parts > 0] + int(found.max())
    return found


def counted(truth: np.ndarray, answer: np.ndarray) -> dict[str, np.ndarray]:
    """What a picture adds to the figures: counts, and the sum of SEG over the objects of the truth.

    Args:
        truth, answer: (row, column), the number of the object at each pixel, 0 for none.

    Returns:
        `matched`: objects that match, by threshold; `objects` and `answers`: how many there are; `seg`: the sum over the true
        objects of the Jaccard index with the object that covers more than half of it, 0 where none does; `missed`, `made_up`
        and `splits`: what would have to be changed in the answer.
    """
    true, own = (np.unique(each[each > 0]) for each in (truth, answer))
    rows, columns = np.searchsorted(true, truth), np.searchsorted(own, answer)
    both = (truth > 0) & (answer > 0)
    overlap = np.zeros((len(true), len(own)), np.int64)
    np.add.at(overlap, (rows[both], columns[both]), 1)
    sizes = np.bincount(rows[truth > 0], minlength=len(true)) if len(true) else np.zeros(0, np.int64)
    others = np.bincount(columns[answer > 0], minlength=len(own)) if len(own) else np.zeros(0, np.int64)
    union = sizes[:, None] + others[None] - overlap
    iou = overlap / np.maximum(union, 1)
    # two objects whose intersection is more than half of their union match no other ones; at exactly half the best are taken
    best = (iou == iou.max(1, keepdims=True, initial=0)) & (iou == iou.max(0, keepdims=True, initial=0))
    matched = np.array([int(min((best & (iou >= t)).any(1).sum(), (best & (iou >= t)).any(0).sum())) for t in THRESHOLDS])
    covering = 2 * overlap > sizes[:, None]
    seg = (iou * covering).sum()
    taken = covering.sum(0)
    return {
        "matched": matched,
        "objects": np.array(len(true)),
        "answers": np.array(len(own)),
        "seg": np.array(seg, np.float64),
        "missed": np.array(int((~covering.any(1)).sum()) if len(own) else len(true)),
        "made_up": np.array(int((taken == 0).sum())),
        "splits": np.array(int(np.maximum(taken - 1, 0).sum())),
    }
