"""DistilledHead: two classifiers on the mean of the last map, one trained on labels and one by a teacher.

In training, a distillation objective takes both outputs from `head.both(maps, extras)`; calling the head returns their mean,
as in inference. The second classifier costs parameters; the inference form has only one.

Source: Graham et al. 2021 (arXiv:2104.01136), section 4.3; Touvron et al. 2020 (arXiv:2012.12877), section 4.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from paretina.model.blueprint import Head, Kit, MapShape, NormUnit
from paretina.model.layers import Dropout, pooled
from paretina.shapes import Features, Logits, Map


class NormedLinear(nn.Module):
    """A norm, then a linear layer.

    Attributes:
        norm: without activation; None once it is folded into the linear layer.
    """

    def __init__(self, norm: NormUnit, linear: nn.Linear) -> None:
        super().__init__()
        self.norm: NormUnit | None = norm
        self.linear = linear

    def forward(self, x: Features) -> Logits:
        return self.linear(x if self.norm is None else self.norm(x[:, :, None, None]).flatten(1))


class TwoClassifiers(nn.Module):
    """The mean of two classifiers of the same features; a single linear layer in inference form."""

    def __init__(self, label: nn.Module, teacher: nn.Module) -> None:
        super().__init__()
        self.label: nn.Module | None = label
        self.teacher: nn.Module | None = teacher
        self.merged: nn.Linear | None = None

    def parted(self, x: Features) -> tuple[Features, Features]:
        """The input features of each classifier."""
        return x, x

    def both(self, x: Features) -> tuple[Logits, Logits]:
        """Returns the logits of the classifier trained on labels, and of the one trained by a teacher.

        Raises:
            RuntimeError: in inference form there is only one classifier.
        """
        if self.label is None or self.teacher is None:
            raise RuntimeError("in inference form both classifiers are merged; use the original network for both outputs")
        label, teacher = self.parted(x)
        return self.label(label), self.teacher(teacher)

    def forward(self, x: Features) -> Logits:
        if self.merged is not None:
            return self.merged(x)
        label, teacher = self.both(x)
        return (label + teacher) / 2

    def fold(self) -> None:
        """Merges both into one layer, unless there are norms before them that could not be folded."""
        label, teacher = self.label, self.teacher
        if isinstance(label, NormedLinear) and isinstance(teacher, NormedLinear) and label.norm is teacher.norm is None:
            self.merge(label.linear, teacher.linear, lambda label, teacher: (label + teacher) / 2)

    def merge(self, label: nn.Linear, teacher: nn.Linear, kernel: Callable[[Tensor, Tensor], Tensor]) -> None:
        """Replaces two linear layers by one; `kernel` combines their weights."""
        weight = kernel(label.weight.double(), teacher.weight.double()).to(label.weight.dtype)
        self.merged = nn.Linear(weight.shape[1], weight.shape[0], device="meta")
        self.merged.weight = nn.Parameter(weight)
        self.merged.bias = nn.Parameter((label.bias + teacher.bias) / 2)
        self.label = self.teacher = None


class PooledTwice(nn.Module):
    """Mean, dropout, two classifiers."""

    def __init__(self, classifier: TwoClassifiers) -> None:
        super().__init__()
        self.dropout = Dropout()
        self.classifier = classifier

    def embedding(self, maps: list[Map], extras: dict[str, Any]) -> Features:
        return pooled(maps[-1])

    def both(self, maps: list[Map], extras: dict[str, Any]) -> tuple[Logits, Logits]:
        """Returns the logits of both classifiers; see `TwoClassifiers.both`."""
        return self.classifier.both(self.dropout(self.embedding(maps, extras)))

    def forward(self, maps: list[Map], extras: dict[str, Any]) -> Logits:
        return self.classifier(self.dropout(self.embedding(maps, extras)))


@dataclass(frozen=True, kw_only=True)
class DistilledHead(Head):
    """Each classifier has a norm of its own before it, of the blueprint's kind."""

    def make(self, maps: tuple[MapShape, ...], classes: int, kit: Kit) -> nn.Module:
        width = maps[-1].width
        label, teacher = (NormedLinear(kit.norm.make(width, None), kit.classifier(width, classes)) for _ in range(2))
        return PooledTwice(TwoClassifiers(label, teacher))


EXAMPLES = (DistilledHead(),)
