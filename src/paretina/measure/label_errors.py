"""Labels that are likely wrong, by confident learning, from probabilities of a classifier that has not seen these labels.

A class has a threshold: the mean probability that pictures labelled with it get for it. A picture is confidently of the
likeliest class whose threshold its probability reaches. Where that is not the class that it is labelled with, and likelier
than that, the label is likely wrong. Counted by label and confident class this is the confident joint; scaled so that each
label has its number of pictures, it estimates how many pictures with a label are really of another class. Thresholds make it
robust against classifiers that are too sure, or surer of some classes than of others.

What is found is ranked by the margin, the probability of the suggested class less that of the label. It assumes that mistakes
depend on the class, not on the picture; pictures that are hard, or show both classes, are found with the mistakes.

Source: Northcutt, Jiang & Chuang 2021 (arXiv:1911.00068), section 3: equations 1 to 3, and the errors that are the
off-diagonals of the confident joint, ranked by margin. As in its authors' library, a class without any confident picture gets
one on the diagonal, and a picture whose label is the likeliest class is not called wrong.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

Shares = Float[Tensor, "picture classes"]
Labels = Int[Tensor, " picture"]

ROUNDING = 1e-6
"""Probability by which a threshold may be missed: where all pictures of a class have one probability, all reach it."""


@dataclass(frozen=True)
class ConfidentJoint:
    """
    Attributes:
        thresholds: mean probability of each class for the pictures that are labelled with it; above 1 for a class without any.
        confident: number of the class that each picture is confidently of; -1 for none.
        counts: number of pictures by label (row) and confident class (column), at least 1 on the diagonal.
    """

    thresholds: Float[Tensor, " classes"]
    confident: Labels
    counts: Int[Tensor, "label truth"]

    @classmethod
    def of(cls, shares: Shares, labels: Labels) -> "ConfidentJoint":
        """Counts the confident pictures; see the module.

        Raises:
            ValueError: there are no pictures, or a label or probability is out of range.
        """
        width = shares.shape[1]
        if not len(labels) or labels.min() < 0 or labels.max() >= width:
            raise ValueError(f"confident learning needs pictures with labels from 0 to {width - 1}")
        if not bool(((shares >= 0) & (shares <= 1)).all()):
            raise ValueError("confident learning needs probabilities in [0, 1]")
        shares = shares.double()
        own = shares.gather(1, labels[:, None])[:, 0]
        sizes = torch.bincount(labels, minlength=width)
        sums = torch.zeros(width, dtype=torch.float64).index_add_(0, labels, own)
        thresholds = torch.where(sizes > 0, sums / sizes.clamp(min=1), 2.0)  # out of reach without pictures
        reached = shares >= thresholds - ROUNDING
        likeliest = torch.where(reached, shares, -1.0).argmax(1)
        confident = torch.where(reached.any(1), likeliest, -1)
        sure = confident >= 0
        pairs = labels[sure] * width + confident[sure]
        counts = torch.bincount(pairs, minlength=width * width).view(width, width)
        counts.diagonal().clamp_(min=1)
        return cls(thresholds, confident, counts)

    def joint(self, labels: Labels) -> Float[Tensor, "label truth"]:
        """The estimated share of pictures with each label that are really of each class; all add up to 1."""
        sizes = torch.bincount(labels, minlength=len(self.counts)).double()
        rows = self.counts.double()
        return rows / rows.sum(1, keepdim=True) * sizes[:, None] / len(labels)


@dataclass(frozen=True)
class LabelErrors:
    """
    Attributes:
        numbers: of the pictures whose labels are likely wrong, the surest first.
        suggested: the class that each of them is confidently of.
        margins: of all pictures: the largest probability of another class less that of the label, in [-1, 1].
        joint: estimated share of pictures by label (row) and true class (column).
    """

    numbers: Int[Tensor, " found"]
    suggested: Int[Tensor, " found"]
    margins: Float[Tensor, " picture"]
    joint: Float[Tensor, "label truth"]

    @property
    def wrong(self) -> float:
        """The estimated share of labels that are wrong."""
        return float(self.joint.clone().fill_diagonal_(0.0).sum())


def label_errors(shares: Shares, labels: Labels) -> LabelErrors:
    """Finds labels that are likely wrong.

    Args:
        shares: probabilities, by classifiers that were not fitted to the picture.
        labels: number of the class that each picture is labelled with.

    Raises:
        ValueError: there are no pictures, or a label or probability is out of range.
    """
    found = ConfidentJoint.of(shares, labels)
    shares = shares.double()
    own = shares.gather(1, labels[:, None])[:, 0]
    others = shares.scatter(1, labels[:, None], -1.0)
    margins = others.amax(1) - own
    suspect: Bool[Tensor, " picture"] = (found.confident >= 0) & (found.confident != labels) & (shares.argmax(1) != labels)
    numbers = suspect.nonzero().flatten()
    suggested = found.confident[numbers]
    sure = shares[numbers, suggested] - own[numbers]
    order = sure.sort(descending=True, stable=True).indices
    return LabelErrors(numbers[order], suggested[order], margins, found.joint(labels))
