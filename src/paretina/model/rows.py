"""Matches the rows of the last layer, one per class, between weights and a network.

Classes are matched by name, never by index: the third class of two data sets is rarely the same. Tensors with a row for each
class are found by building the head for two numbers of classes, so this works for heads of any kind.
"""

import functools
import math
import unicodedata
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from paretina.model.blueprint import Model
from paretina.model.build import Network

LISTED = 5
"""Maximum number of classes named in a note."""


def class_tensors(model: Model) -> dict[str, bool]:
    """The tensors of a network whose shape depends on the number of classes, and whether they have a row for each class."""
    return tensors_of_classes(replace(model, classes=2))


@functools.lru_cache(maxsize=16)
def tensors_of_classes(model: Model) -> dict[str, bool]:
    few, more = (replace(model, classes=count).build("meta").state_dict() for count in (2, 3))
    return {
        name: few[name].shape == (2, *tensor.shape[1:]) and tensor.shape[:1] == (3,)
        for name, tensor in more.items()
        if tensor.shape != few[name].shape
    }


SMALL = 0.1
"""Limit of the first values of the last layer, in units of 1 / sqrt(its inputs): with features of mean square 10 the first loss
is still within 1 % of ln(classes). With zeros it would be exact, but for some updates no other layer would learn."""


def start_small(network: Network, generator: torch.Generator | None = None) -> None:
    """Reinitialises the layers that output the logits, in place, so that the initial loss is ln(classes).

    The published rules are made for 1,000 classes, such as 1 / sqrt(outputs), which begins far above that with few, or for
    features of a certain size, which are larger in a deep network without weights.

    Args:
        generator: default: torch's global one.
    """
    with torch.no_grad():
        for name, has_rows in class_tensors(network.model).items():
            place, _, field = name.rpartition(".")
            layer = network.get_submodule(place)
            if not has_rows or not isinstance(layer, nn.Linear | nn.Conv2d):
                continue
            if field == "bias":
                getattr(layer, field).zero_()
            else:
                bound = SMALL / math.sqrt(layer.weight[0].numel())
                layer.weight.uniform_(-bound, bound, generator=generator)


@dataclass(frozen=True)
class Rows:
    """The mapping from rows of trained weights to classes of a network.

    Attributes:
        classes: names of the network's classes.
        taken: for each of them, the index of its row in the weights, or None if it is reinitialised.
        same: whether both have the same classes, in the same order.
        words: whether the weights know classes by words that may mean something else in the data, so that none was matched.
    """

    classes: tuple[str, ...]
    taken: tuple[int | None, ...]
    same: bool = False
    words: bool = False

    @property
    def new(self) -> tuple[str, ...]:
        """The classes whose rows are reinitialised."""
        return tuple(name for name, row in zip(self.classes, self.taken, strict=True) if row is None)

    def said(self) -> str:
        """A note on the last layer for the user."""
        known = [name for name in self.classes if name not in self.new]
        count = len(self.classes)
        every, none = "the class", "do not know the class"
        if count > 1:
            every, none = f"all {count} classes", f"know none of the {count} classes"
        if self.words:
            return (
                f"the last layer is new for {every}: the weights know those of ImageNet, which are matched only where all "
                "1,000 are the same, since a word can mean another thing there (crane: the machine)"
            )
        if not self.new:
            return f"the last layer keeps the rows of {every}, which the weights know by name"
        if not known:
            return f"the last layer is new: the weights {none} by name"
        return (
            f"the last layer keeps the rows of the {counted(known)} that the weights know by name; "
            f"{counted(self.new)} {'starts' if len(self.new) == 1 else 'start'} anew"
        )

    def merged(self, old: Tensor, new: Tensor) -> Tensor:
        """A tensor with the reused rows of `old`, the rest as in `new`; `old` itself if its rows do not fit."""
        if old.shape[1:] != new.shape[1:]:
            return old
        found = new.clone()
        for number, row in enumerate(self.taken):
            if row is not None:
                found[number] = old[row]
        return found


def counted(names: Sequence[str]) -> str:
    """The number of classes, and their names if they are few."""
    listed = f" ({', '.join(names)})" if len(names) <= LISTED else ""
    return f"{len(names)} {'class' if len(names) == 1 else 'classes'}{listed}"


def normalised(name: str) -> str:
    """The form of a name for comparison: file systems encode the same letters in two ways."""
    return unicodedata.normalize("NFC", name)


def match_rows(old: Sequence[str], new: Sequence[str], dictionary: Sequence[str] = ()) -> Rows:
    """Matches classes with the rows of trained weights by name.

    A name that occurs twice on one side is ambiguous, so its classes are reinitialised.

    Args:
        old: names of the weights' classes, in the order of their rows.
        new: names of the network's classes.
        dictionary: names that count only all together. A folder named by hand, `crane`, need not be that of ImageNet.
    """
    before, after = [normalised(name) for name in old], [normalised(name) for name in new]
    if before == after:
        return Rows(tuple(new), tuple(range(len(after))), same=True)
    general = {*map(normalised, dictionary)}
    words = {*before} == general != {*after} and bool(general & {*after})
    times, again = Counter(before), Counter(after)
    places = {name: row for row, name in enumerate(before) if times[name] == 1} if not words else {}
    return Rows(tuple(new), tuple(places.get(name) if again[name] == 1 else None for name in after), words=words)
