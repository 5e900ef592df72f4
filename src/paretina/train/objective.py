"""Training objectives: how a batch becomes losses, and which modules are trained."""

from abc import abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor, nn

from paretina.clock import Clock
from paretina.data.batch import Batch
from paretina.data.borders import BetweenObjects
from paretina.model.blueprint import Model
from paretina.model.build import Network
from paretina.model.task import Task
from paretina.model.tasks.one_of import OneOf
from paretina.shapes import Logits, Loss
from paretina.traits import INSIDE, OFF, HowLeftOut, Method, Never

if TYPE_CHECKING:
    from paretina.train.recipe import Recipe


@dataclass(frozen=True)
class Outputs:
    """The outputs of a network for a batch.

    Attributes:
        extras: `maps`, `embedding`, and further outputs of the stages, by name; see `Network.forward`.
    """

    logits: Logits
    extras: dict[str, Any] = field(default_factory=dict)


class Teacher:
    """A frozen network to learn from. It runs once per view of a batch, however many terms use it, with its own normalisation.

    Attributes:
        module: one of our networks, or of another library.
    """

    def __init__(self, module: nn.Module) -> None:
        self.module = module.eval().requires_grad_(False)
        self.batch: Batch | None = None
        self.answers: dict[int, Outputs] = {}

    @torch.no_grad()
    def __call__(self, batch: Batch, view: int = 0) -> Outputs:
        """Its outputs for a view; logits are float32, and `extras` are those of `Network.forward`, empty for other libraries.

        Raises:
            ValueError: the batch has no such view.
        """
        if not 0 <= view < len(batch.views):
            raise ValueError(f"the teacher needs view {view}, but there are {len(batch.views)} views; see the recipe's views")
        if self.batch is not batch:
            self.batch, self.answers = batch, {}
        if view not in self.answers:
            images = batch.views[view]
            own = isinstance(self.module, Network)
            logits, extras = self.module(images, extras=True) if own else (self.module(images), {})
            self.answers[view] = Outputs(logits.float(), extras)
        return self.answers[view]


TermFn = Callable[[Outputs, Batch, Clock], Loss]


@dataclass(frozen=True, kw_only=True)
class Term(Method):
    """A term of the loss; has no parameters.

    Its value is a mean over rows; a row is the classes of one picture or of one pixel. A row of zeros in the targets has no
    weight: it adds nothing, and the sum is divided by the number of the other rows, or by 1 if there are none.

    Attributes:
        TASKS: kinds of tasks that it is a loss for; with another, a run is rejected before it begins. A term for `Nothing` does
            not use the targets, so it learns from every picture.
        TEACHER: whether it learns from a teacher. A teacher that nothing learns from is rejected before a run begins.
        WEIGHTS: whether a picture whose row of targets is multiplied by a weight, and so adds up to it and not to 1, adds
            exactly that many times its loss. With another term, data with weights are rejected before a run begins.
    """

    PLUGINS = ("paretina.train.terms",)
    LEFT_OUT: ClassVar[HowLeftOut] = OFF
    LOW_PRECISION: ClassVar[bool | Never] = False
    WEIGHTS: ClassVar[bool] = False
    TEACHER: ClassVar[bool] = False
    TASKS: ClassVar[tuple[type[Task], ...]] = (OneOf,)

    @classmethod
    def switched_on(cls, recipe: "Recipe") -> tuple[str, ...]:
        """As `Objective.switched_on`."""
        return ()

    def check(self, recipe: "Recipe", model: Model) -> None:
        """As `Objective.check`."""

    def counted(self, counts: tuple[float, ...]) -> "Term":
        """The term with what it needs to know of the training pictures; called when a run is prepared, and stored in it.

        Args:
            counts: training pictures of each class; of one with probabilities each class has its share.

        Raises:
            ValueError: it has numbers for other classes.
        """
        return self

    def pixels(self) -> BetweenObjects | None:
        """What gives the weight of each pixel, found beside the masks: the targets of a pixel then add up to its weight. None
        for 1."""
        return None

    @abstractmethod
    def make(self, teacher: Teacher | None) -> TermFn:
        """Returns the function; `teacher` gets the batch of the student and applies its own normalisation.

        Raises:
            ValueError: the term needs a teacher, but there is none.
        """


class Learner(nn.Module):
    """What an objective makes: a module that owns all trained modules and has frozen the rest.

    `forward(batch, clock)` returns the parts of the loss by name; the loop sums them. The loop, DDP and the checkpoint use only
    this module.

    Attributes:
        moved: whether the last optimizer step changed the weights, which it does not if float16 overflowed: a truth value on
            the device; None where it always does.
    """

    moved: Tensor | None = None

    def forward(self, batch: Batch, clock: Clock) -> dict[str, Loss]:
        raise TypeError(f"{type(self).__name__} must define forward(batch, clock)")

    def updated(self, clock: Clock) -> None:
        """Called after each optimizer step, also one that was skipped; see `moved`. Must not wait for the device."""

    def result(self) -> Network:
        """The network that is averaged, evaluated and saved."""
        raise TypeError(f"{type(self).__name__} must define result()")


def learning_modules(module: nn.Module) -> Iterator[nn.Module]:
    """The modules of a learner, without networks that are fully frozen, such as a teacher or an EMA target."""
    yield module
    for child in module.children():
        if not isinstance(child, Network) or any(parameter.requires_grad for parameter in child.parameters()):
            yield from learning_modules(child)


@dataclass(frozen=True, kw_only=True)
class Objective(Method):
    """A training objective.

    Attributes:
        TASKS: kinds of tasks that it fits, as `Term.TASKS`; those of its terms are checked too.
        TEACHER: whether it learns from a teacher itself, as `Term.TEACHER`; its terms are checked too.
        MAPS: whether it works on feature maps in place of images; see `paretina.train.remembered`.
        WEIGHTS: whether it has no loss but that of its terms, so that pictures can have weights; see `Term.WEIGHTS`.
    """

    PLUGINS = ("paretina.train.objectives",)
    LEFT_OUT = INSIDE
    LOW_PRECISION: ClassVar[bool | Never] = False
    WEIGHTS: ClassVar[bool] = False
    TEACHER: ClassVar[bool] = False
    MAPS: ClassVar[bool] = False
    TASKS: ClassVar[tuple[type[Task], ...]] = (OneOf,)

    @classmethod
    def switched_on(cls, recipe: "Recipe") -> tuple[str, ...]:
        """The fields, `field=value`, that add it to a recipe, for comparisons of methods; none if it is not to be compared."""
        return ()

    def check(self, recipe: "Recipe", model: Model) -> None:
        """Checks that the rest of a recipe and the model fit; called before anything is read or trained.

        Raises:
            ValueError: they do not; the message says which field to change.
        """

    @abstractmethod
    def make(self, network: Network, teacher: Teacher | None) -> Learner: ...
