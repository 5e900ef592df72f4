"""Tasks: the kind of labels, and with it the meaning of a network's logits.

The shape of a source's label determines its kind: `()` is a class index, `[class]` are probabilities, `[row column]` are the
class indices of the pixels, and `[object 6]` in floats are boxes. A task turns labels into the targets of a batch: one float
tensor with the classes on axis 1. A row of zeros means unlabelled and gets no weight, in every loss term and every judge.
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
"""The value of unknown pixels in a mask: those that annotators left out, and gaps opened by transforms."""


@dataclass(frozen=True, kw_only=True)
class Task(Method):
    """What a network learns to predict.

    Attributes:
        DENSE: whether each pixel has a prediction: targets and logits are (batch, class, row, column), not (batch, class).
        BOXES: whether objects are found: targets and answers are (batch, class, slot, 5), see `paretina.model.tasks.boxes`.
        JUDGE: name of the default judge of this task.
        WORDS: what kind of labels it has, as messages say it: "one class a picture".
    """

    PLUGINS = ("paretina.model.tasks",)
    LEFT_OUT = Never("it is determined by the data")
    LOW_PRECISION = Never("it has no arithmetic of its own in training")
    DENSE: ClassVar[bool] = False
    BOXES: ClassVar[bool] = False
    JUDGE: ClassVar[str]
    WORDS: ClassVar[str]

    @abstractmethod
    def targets(self, given: Sequence[Tensor], classes: int) -> Targets:
        """Returns the targets of a batch, in float32.

        Args:
            given: the label of each picture, see `Collection.target`.
            classes: number of classes.

        Raises:
            ValueError: a label does not have a shape or values for this task.
        """

    def places(self, side: int) -> tuple[int, ...]:
        """The axes of targets behind that of the classes, for pictures of `side` x `side` pixels."""
        return (side, side) if self.DENSE else ()

    @abstractmethod
    def probabilities(self, logits: Logits) -> Logits:
        """Returns class probabilities, in the shape of the logits."""

    @abstractmethod
    def answer(self, logits: Logits) -> Tensor:
        """Returns the predictions: class indices without axis 1, or for each class whether it is present."""


OF_BOXES = 3
"""What `form_of` gives for boxes."""


def form_of(target: Tensor) -> int:
    """The number of dimensions of a target, or `OF_BOXES`: masks are whole numbers, and boxes are not."""
    return OF_BOXES if target.ndim == 2 and target.is_floating_point() else target.ndim


def require_shape(task: Task, given: Sequence[Tensor], *forms: int) -> None:
    """Checks that all targets have the same form, one of those given; see `form_of`.

    Raises:
        ValueError: one has another.
    """
    names = {
        0: "() (the number of a class)",
        1: "[class] (probabilities)",
        2: "[row column] (numbers of classes)",
        OF_BOXES: "[object 6] (boxes)",
    }
    found = {form_of(target) for target in given}
    wrong = found - set(forms)
    wanted = " or ".join(names[each] for each in forms)
    if wrong:
        shape = next(list(target.shape) for target in given if form_of(target) in wrong)
        raise ValueError(f"the task of {task.WORDS} takes targets of the shape {wanted}, got one of the shape {shape}")
    if len(found) > 1:
        raise ValueError(f"all targets of a source have one shape, {wanted}; got both")


def from_numbers(numbers: Tensor, classes: int) -> Targets:
    """One-hot targets from class indices; a negative index means unlabelled and gives a row of zeros.

    Args:
        numbers: (batch) or (batch, row, column), int64.

    Raises:
        ValueError: an index is out of range.
    """
    if numbers.numel() and int(numbers.max()) >= classes:
        raise ValueError(f"class numbers lie in 0 to {classes - 1} (with {classes} classes), got {int(numbers.max())}")
    hot = F.one_hot(numbers.clamp(min=0), classes)
    return (hot * (numbers >= 0)[..., None]).movedim(-1, 1).float()


def from_probabilities(task: Task, given: Sequence[Tensor], classes: int) -> Targets:
    """Stacks the rows.

    Raises:
        ValueError: a row does not have one probability for each class.
    """
    lengths = {len(row) for row in given} - {classes}
    if lengths:
        raise ValueError(
            f"a target of the task of {task.WORDS} has one probability for each of {classes} classes, got {lengths.pop()}"
        )
    rows = torch.stack(list(given)).float()
    if not bool(((rows >= 0) & (rows <= 1)).all()):
        raise ValueError(f"probabilities lie in 0 to 1, got {rows.min().item():g} to {rows.max().item():g}")
    return rows
