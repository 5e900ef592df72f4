"""Objective: who owns what learns, and how a batch becomes losses."""

from abc import abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from torch import nn

from paretina.clock import Clock
from paretina.data.batch import Batch
from paretina.model.build import Network
from paretina.shapes import Logits, Loss
from paretina.spec import Spec


@dataclass(frozen=True)
class Outputs:
    """What a network said about a batch.

    Attributes:
        extras: `maps`, `embedding`, and what the stages said besides, by name; see `Network.forward`.
    """

    logits: Logits
    extras: dict[str, Any] = field(default_factory=dict)


TermFn = Callable[[Outputs, Batch, Clock], Loss]


@dataclass(frozen=True, kw_only=True)
class Term(Spec):
    """A summand of the loss; owns no parameters."""

    PLUGINS = ("paretina.train.terms",)

    @abstractmethod
    def make(self, teacher: nn.Module | None) -> TermFn:
        """Returns the function; `teacher` gets the batch that the student gets and answers through its own door.

        Raises:
            ValueError: the term needs a teacher and there is none.
        """


class Learner(nn.Module):
    """What an objective makes: a module that owns everything that learns and has frozen the rest.

    `forward(batch, clock)` gives the parts of the loss by name; the loop adds them up. The loop, DDP and the checkpoint see
    nothing else.
    """

    def forward(self, batch: Batch, clock: Clock) -> dict[str, Loss]:
        raise TypeError(f"{type(self).__name__} must define forward(batch, clock)")

    def updated(self, clock: Clock) -> None:
        """Called after each optimizer step."""

    def result(self) -> Network:
        """The network that is averaged, evaluated and saved."""
        raise TypeError(f"{type(self).__name__} must define result()")


def learning_modules(module: nn.Module) -> Iterator[nn.Module]:
    """The modules of a learner, without those of networks in which nothing learns: a target that follows, a teacher."""
    yield module
    for child in module.children():
        if not isinstance(child, Network) or any(parameter.requires_grad for parameter in child.parameters()):
            yield from learning_modules(child)


@dataclass(frozen=True, kw_only=True)
class Objective(Spec):
    """What is learned."""

    PLUGINS = ("paretina.train.objectives",)

    @abstractmethod
    def make(self, network: Network, teacher: nn.Module | None) -> Learner: ...
