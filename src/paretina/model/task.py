"""Task: what is said about a picture, and therefore what the logits of a network mean.

The shape of what a source says about a picture tells what it is: `()` is the number of its class, `[class]` are probabilities,
`[row column]` are the class numbers of its pixels. A task makes the targets of a batch from it: one float tensor with the
classes on axis 1. A row of zeros there says nothing and weighs nothing, in every term and for every judge.
"""

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from paretina.shapes import Logits, Targets
from paretina.traits import Method, Never

UNKNOWN = 255
"""The number in a mask of a pixel whose class is not known: what annotators left out, and gaps that a transform opens."""


@dataclass(frozen=True, kw_only=True)
class Task(Method):
    """What a network learns to say about a picture.

    Attributes:
        DENSE: whether each pixel has an answer: targets and logits are (batch, class, row, column) instead of (batch, class).
        JUDGE: name of the judge of this task where the recipe names none.
    """

    PLUGINS = ("paretina.model.tasks",)
    LEFT_OUT = Never("it is what the data says")
    LOW_PRECISION = Never("it has no arithmetic of its own in training")
    DENSE: ClassVar[bool] = False
    JUDGE: ClassVar[str]

    @abstractmethod
    def targets(self, given: Sequence[Tensor], classes: int) -> Targets:
        """The targets of a batch, in float32.

        Args:
            given: what the source says of each picture, see `Collection.target`.
            classes: number of classes.

        Raises:
            ValueError: what is given does not have the shape or the values that belong to this task.
        """

    @abstractmethod
    def probabilities(self, logits: Logits) -> Logits:
        """The probability of each class, of the shape of the logits."""

    @abstractmethod
    def answer(self, logits: Logits) -> Tensor:
        """What the network says, decided: class numbers without axis 1, or for each class whether it is there."""


def require_shape(task: Task, given: Sequence[Tensor], *dimensions: int) -> None:
    """Looks whether each target has one of the numbers of dimensions, and all have the same.

    Raises:
        ValueError: one has another.
    """
    names = {0: "() (the number of a class)", 1: "[class] (probabilities)", 2: "[row column] (numbers of classes)"}
    found = {target.ndim for target in given}
    wrong = found - set(dimensions)
    wanted = " or ".join(names[each] for each in dimensions)
    if wrong:
        shape = next(list(target.shape) for target in given if target.ndim in wrong)
        raise ValueError(f"the task {type(task).__name__} takes targets of the shape {wanted}, got one of the shape {shape}")
    if len(found) > 1:
        raise ValueError(f"all targets of a source have one shape, {wanted}; got both")


def from_numbers(numbers: Tensor, classes: int) -> Targets:
    """One in the place of each class number, zero elsewhere; a negative number is no class, and its row is zero.

    Args:
        numbers: (batch) or (batch, row, column), int64.

    Raises:
        ValueError: a number is that of no class.
    """
    if numbers.numel() and int(numbers.max()) >= classes:
        raise ValueError(f"class numbers lie in 0 to {classes - 1} (with {classes} classes), got {int(numbers.max())}")
    hot = F.one_hot(numbers.clamp(min=0), classes)
    return (hot * (numbers >= 0)[..., None]).movedim(-1, 1).float()


def from_probabilities(task: Task, given: Sequence[Tensor], classes: int) -> Targets:
    """The rows one above the other.

    Raises:
        ValueError: a row has not one probability for each class.
    """
    lengths = {len(row) for row in given} - {classes}
    if lengths:
        raise ValueError(
            f"a target of the task {type(task).__name__} has one probability for each of {classes} classes, got {lengths.pop()}"
        )
    rows = torch.stack(list(given)).float()
    if not bool(((rows >= 0) & (rows <= 1)).all()):
        raise ValueError(f"probabilities lie in 0 to 1, got {rows.min().item():g} to {rows.max().item():g}")
    return rows
