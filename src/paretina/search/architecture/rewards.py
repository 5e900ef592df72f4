"""Rewards: one number, or two, for the accuracy and the cost of a candidate.

`soft` trades accuracy for cost around a target T: `A (C/T)^w` with w = -0.07, by which twice the cost has to buy 5 % relative
accuracy. `hard` counts accuracy alone up to T and punishes what is beyond: w = 0 below and -1 above. `calibrated` is the soft
one with w from the user's own data: minus the slope of ln accuracy against ln cost over the front of what the random control
trained. On easy data that slope is small, and -0.07 would end in the tiniest network. `training` is that of EfficientNetV2,
`A S^w P^v` with the seconds of an update S and the parameters P. `front` gives accuracy and cost apart, and the search returns
a front.

Accuracies are shares in [0, 1]. A constant factor of S, P or T changes no order.

Source: Tan et al. 2019 (arXiv:1807.11626), section 3 (soft, hard, and where -0.07 comes from); Tan & Le 2021
(arXiv:2104.00298), section 3.2 (training).
"""

import math
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from paretina.spec import kinds, near
from paretina.traits import Method, Never

SOFT_W = -0.07


@dataclass(frozen=True, kw_only=True)
class Reward(Method):
    """What a search makes as large as it can."""

    PLUGINS = ("paretina.search.architecture.rewards",)
    LEFT_OUT = Never("it is what a search makes large, and no part of a training")
    LOW_PRECISION = Never("it computes nothing in training")
    WORD: ClassVar[str] = ""
    TARGETED: ClassVar[bool] = False
    """Whether it needs a target."""
    OBJECTIVES: ClassVar[int] = 1

    @abstractmethod
    def __call__(self, accuracy: float, share: float, costs: Mapping[str, float]) -> tuple[float, ...]:
        """The reward; of two objectives, both are better if higher.

        Args:
            accuracy: in [0, 1].
            share: cost as a share of the target, above 0; 1 where there is no target.
            costs: by name; `update_s` is the time of a training update in seconds.
        """


@dataclass(frozen=True, kw_only=True)
class Plain(Reward):
    """Accuracy alone, of what meets the budget."""

    WORD: ClassVar[str] = "accuracy"

    def __call__(self, accuracy: float, share: float, costs: Mapping[str, float]) -> tuple[float, ...]:
        return (accuracy,)


@dataclass(frozen=True, kw_only=True)
class Soft(Reward):
    """
    Attributes:
        w: exponent of the cost, at most 0; None to take it from what the control trained.
    """

    WORD: ClassVar[str] = "soft"
    TARGETED: ClassVar[bool] = True

    w: float | None = SOFT_W

    def __post_init__(self) -> None:
        if self.w is not None and not -10 <= self.w <= 0:
            raise ValueError(f"the exponent of a cost is at most 0, such as {SOFT_W}, got {self.w:g}")

    def __call__(self, accuracy: float, share: float, costs: Mapping[str, float]) -> tuple[float, ...]:
        return (accuracy * share ** (SOFT_W if self.w is None else self.w),)


@dataclass(frozen=True, kw_only=True)
class Hard(Reward):
    """
    Attributes:
        w: exponent beyond the target, at most 0.
    """

    WORD: ClassVar[str] = "hard"
    TARGETED: ClassVar[bool] = True

    w: float = -1.0

    def __post_init__(self) -> None:
        if not -10 <= self.w <= 0:
            raise ValueError(f"the exponent of a cost is at most 0, such as -1, got {self.w:g}")

    def __call__(self, accuracy: float, share: float, costs: Mapping[str, float]) -> tuple[float, ...]:
        return (accuracy * share**self.w if share > 1 else accuracy,)


@dataclass(frozen=True, kw_only=True)
class TrainingAware(Reward):
    """
    Attributes:
        w: exponent of the seconds of a training update.
        v: exponent of the parameters.
    """

    WORD: ClassVar[str] = "training"

    w: float = -0.07
    v: float = -0.05

    def __call__(self, accuracy: float, share: float, costs: Mapping[str, float]) -> tuple[float, ...]:
        return (accuracy * costs["update_s"] ** self.w * costs["params"] ** self.v,)


@dataclass(frozen=True, kw_only=True)
class TwoObjectives(Reward):
    """Accuracy, and the logarithm of the cost with its sign turned."""

    WORD: ClassVar[str] = "front"
    TARGETED: ClassVar[bool] = True
    OBJECTIVES: ClassVar[int] = 2

    def __call__(self, accuracy: float, share: float, costs: Mapping[str, float]) -> tuple[float, ...]:
        return accuracy, -math.log(share)


def reward_named(text: str) -> Reward:
    """The reward of a word: `soft`, `soft:-0.15`, `calibrated`, `hard`, `training`, `front`, `accuracy`.

    Raises:
        ValueError: there is none; the message has the near name.
    """
    known = {kind.WORD: kind for kind in kinds(Reward).values()}  # type: ignore[type-abstract]
    word, colon, number = text.partition(":")
    if text == "calibrated":
        return Soft(w=None)
    if word not in known:
        raise ValueError(f"there is no reward {word!r}{near(word, (*known, 'calibrated'))}")
    if not colon:
        return known[word]()
    if word not in ("soft", "hard"):
        raise ValueError(f"the reward {word} takes no exponent, got {text!r}")
    try:
        w = float(number)
    except ValueError:
        raise ValueError(f"the exponent of the reward {word} is a number such as {word}:-0.07, got {number!r}") from None
    return Soft(w=w) if word == "soft" else Hard(w=w)


LEAST_PAIRS = 3
"""Networks on the front that a slope needs."""


def calibrated(accuracies: Sequence[float], costs: Sequence[float]) -> float | None:
    """The exponent w by which equal rewards lie along a front; None where the front has too few networks.

    Minus the slope, by least squares, of ln accuracy against ln cost over the pairs that no other pair dominates. Never above
    0: where more cost bought no accuracy, cost does not count for the search, and the budget alone limits it.

    Args:
        accuracies: in (0, 1], of trained networks.
        costs: of the same networks, above 0.
    """
    pairs = [(math.log(cost), math.log(accuracy)) for accuracy, cost in zip(accuracies, costs, strict=True) if accuracy > 0]
    front = {one for one in pairs if not any(other != one and other[0] <= one[0] and other[1] >= one[1] for other in pairs)}
    if len(front) < LEAST_PAIRS:
        return None
    x = sum(cost for cost, _ in front) / len(front)
    y = sum(accuracy for _, accuracy in front) / len(front)
    spread = sum((cost - x) ** 2 for cost, _ in front)
    slope = sum((cost - x) * (accuracy - y) for cost, accuracy in front) / spread
    return -max(0.0, slope)


EXAMPLES = (Plain(), Soft(), Soft(w=None), Hard(), TrainingAware(), TwoObjectives())
