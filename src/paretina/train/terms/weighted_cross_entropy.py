"""WeightedCrossEntropy: cross entropy in which pictures of rare classes weigh more.

For folders in which some classes have many times the pictures of others, where recall of the rare ones matters more than
overall accuracy. Costs no time. Networks that can fit all training pictures make little of it (Byrd & Lipton 2019,
arXiv:1812.03372), and large weights make the loss noisy.

Of a class with n of N training pictures, and K classes that have pictures, the weight is in proportion to

- `inverse`: 1 / n, as scikit-learn's `class_weight="balanced"`, so N / (K n);
- `effective`: (1 - beta) / (1 - beta^n), the inverse of the effective number of pictures, which grows ever more slowly, since
  further pictures of a class are more and more like those that are there. With beta = 0 all classes weigh the same, towards
  1 it becomes `inverse`;

and is scaled so that its mean over the training pictures is 1, and the loss has the size that it has without. The paper scales
so that the mean over classes is 1, which is another learning rate for the loss. A label counts with the weight of its class,
also where several are mixed, and is then smoothed. The sum over a batch is divided by the number of rows, not by the sum of
weights, so that batches do not undo the weights.

A row of zeros in the targets has no label: it adds nothing to the loss and does not count in its mean. Where each pixel has a
class, the rows are pixels, and what is counted of each class are pixels.

Where masks number the objects, `w0` adds to the weight of the class of a pixel w0 exp(-(d1 + d2)^2 / (2 sigma^2)), with its
distances d1 and d2 to the borders of the nearest and of the second nearest object, so that objects which nearly touch are kept
apart. The U-Net has w0 = 10 and sigma = 5 at 512 pixels. It is computed where pictures are loaded, some milliseconds for each
object, and adds nothing where there are not two objects.

Source: Cui et al. 2019 (arXiv:1901.05555), equations 2 and 10; `w0`: Ronneberger et al. 2015 (arXiv:1505.04597), equation 2.
"""

import math
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from paretina.clock import Clock
from paretina.data.batch import Batch, sent
from paretina.data.borders import BetweenObjects
from paretina.data.bounds import require_within
from paretina.model.blueprint import Model
from paretina.model.task import Task
from paretina.model.tasks.one_of import OneOf
from paretina.model.tasks.places import Places
from paretina.schedules import Constant, Schedule
from paretina.shapes import Loss
from paretina.train.class_counts import check_alone, checked_counts
from paretina.train.objective import Outputs, Teacher, Term, TermFn
from paretina.traits import INSIDE, SETTING, STAYS, HowLeftOut, SetTo, traits

if TYPE_CHECKING:
    from paretina.train.recipe import Recipe


@dataclass(frozen=True, kw_only=True)
class WeightedCrossEntropy(Term):
    """
    Attributes:
        by: what the weights follow from: `inverse` frequency, `effective` number of pictures, the `given` numbers; `none`
            weighs all alike.
        beta: of `effective`, in [0, 1).
        weights: the `given` weights, one for each class in the order of the classes, at least 0; they are taken as they are.
        counts: training pictures of each class; default: counted when a run is prepared, which stores them.
        w0: weight that is added between two objects, at most, 0 or more; above 0 for masks that number the objects alone.
        sigma: how far from their borders that reaches, in pixels of the network's input, above 0.
        smoothing: probability that is spread over all classes, in [0, 1).
        weight: factor on this term.
    """

    TASKS: ClassVar[tuple[type[Task], ...]] = (OneOf, Places)
    LEFT_OUT: ClassVar[HowLeftOut] = INSIDE
    ELSEWHERE: ClassVar[tuple[str, ...]] = ()

    by: Literal["inverse", "effective", "given", "none"] = field(
        default="inverse", metadata=traits(left_out=SetTo("class weights", "none"))
    )
    beta: float = field(default=0.999, metadata=traits(left_out=SETTING))
    weights: tuple[float, ...] = field(default=(), metadata=traits(left_out=SETTING))
    counts: tuple[float, ...] = field(default=(), metadata=traits(left_out=SETTING))
    w0: float = field(default=0.0, metadata=traits(left_out=SetTo("border weights", "0")))
    sigma: float = field(default=5.0, metadata=traits(left_out=SETTING))
    smoothing: Schedule = field(
        default_factory=lambda: Constant(value=0.1), metadata=traits(left_out=SetTo("label smoothing", "0"), rises=STAYS)
    )
    weight: Schedule = field(default_factory=lambda: Constant(value=1.0), metadata=traits(left_out=SETTING, rises=STAYS))

    def __post_init__(self) -> None:
        require_within(self, 0.0, 1.0, "smoothing", below=True)
        require_within(self, 0.0, math.inf, "weight")
        if not 0 <= self.beta < 1:
            raise ValueError(f"WeightedCrossEntropy.beta must be in [0, 1), got {self.beta:g}")
        if not 0 <= self.w0 < math.inf:
            raise ValueError(f"WeightedCrossEntropy.w0 is a weight, 0 or more, got {self.w0:g}")
        if not 0 < self.sigma <= 100:
            raise ValueError(f"WeightedCrossEntropy.sigma is in pixels, above 0 and at most 100, got {self.sigma:g}")
        if self.by == "given" and not self.weights:
            raise ValueError("WeightedCrossEntropy.weights is empty, and by=given needs a weight for each class")
        if self.by in ("inverse", "effective") and self.weights:
            raise ValueError(f"WeightedCrossEntropy.weights are for by=given, and by={self.by} finds its own; leave one out")
        if min((*self.weights, *self.counts), default=0.0) < 0 or not sum(self.weights or (1.0,)):
            raise ValueError("WeightedCrossEntropy.weights and counts are at least 0, and some weight is above 0")

    def check(self, recipe: "Recipe", model: Model) -> None:
        check_alone(self, recipe)
        if self.w0 and recipe.learning.remembered_views:
            raise ValueError(
                "WeightedCrossEntropy.w0 needs the masks in each update, and remembered_views keeps what frozen parts make of "
                "pictures; set w0=0 or remembered_views=0"
            )

    def pixels(self) -> BetweenObjects | None:
        return BetweenObjects(self.w0, self.sigma) if self.w0 else None

    def counted(self, counts: tuple[float, ...]) -> "WeightedCrossEntropy":
        """The term with the pictures of each class.

        Raises:
            ValueError: it has counts or weights for another number of classes.
        """
        if self.weights and len(self.weights) != len(counts):
            raise ValueError(
                f"WeightedCrossEntropy.weights has {len(self.weights)} weights for {len(counts)} classes; give one for each, "
                "in the order of the classes"
            )
        return replace(self, counts=checked_counts(self, self.counts, counts))

    def by_class(self) -> Tensor | None:
        """The weight of each class, float32; None where all weigh the same, as with counts that are not known yet."""
        if self.by == "given":
            return torch.tensor(self.weights)
        if self.by == "none" or not self.counts:
            return None
        counts = torch.tensor(self.counts, dtype=torch.float64)
        if self.by == "inverse":
            raw = 1 / counts
        else:  # without the numerator, 1 - beta, which is the same for all classes and goes with the scale
            raw = 1 / -torch.expm1(counts * math.log(self.beta)) if self.beta else torch.ones_like(counts)
        raw = torch.where(counts > 0, raw, 0.0)
        return (raw * counts.sum() / (raw * counts).sum()).float()

    def make(self, teacher: Teacher | None) -> TermFn:
        known = self.by_class()

        def term(outputs: Outputs, batch: Batch, clock: Clock) -> Loss:
            smoothing = self.smoothing(clock)
            says = batch.targets.any(1, keepdim=True).float()
            weighed = batch.targets
            more: Tensor | float = 0.0
            if self.w0:  # a pixel adds up to 1 and what is added
                total = weighed.sum(1, keepdim=True)
                weighed, more = weighed / total.clamp(min=1.0), (total - 1.0).clamp(min=0.0)
            if known is not None:
                there = sent(known, weighed.device).to(weighed.dtype).view(-1, *[1] * (weighed.ndim - 2))
                weighed = weighed * (there + more)
            elif self.w0:
                weighed = weighed * (1.0 + more)
            wanted = weighed * (1.0 - smoothing) + smoothing / batch.targets.shape[1] * weighed.sum(1, keepdim=True)
            total = F.cross_entropy(outputs.logits, wanted, reduction="sum")
            return self.weight(clock) * total / says.sum().clamp(min=1.0)

        return term


EXAMPLES = (
    WeightedCrossEntropy(),
    WeightedCrossEntropy(by="effective", beta=0.99, counts=(60.0, 30.0, 10.0, 5.0)),
    WeightedCrossEntropy(by="none", w0=10.0, sigma=3.0),
    WeightedCrossEntropy(by="given", weights=(1.0, 1.0, 2.0, 4.0), smoothing=Constant(value=0.0)),
)
