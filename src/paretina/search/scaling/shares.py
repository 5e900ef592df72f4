"""Shares: how the growth of a network is divided among depth, width and resolution. Needs no torch.

The cost of a convolution is proportional to depth * width^2 * resolution^2. With shares a that sum to 1 and a factor s, depth
grows by s^a_depth, width by s^(a_width / 2) and resolution by s^(a_resolution / 2): every choice of shares has the same
theoretical cost, growth in one dimension is a corner of the triangle, and no two choices are the same network under two names.

Source: the rule is that of Tan & Le 2019 (arXiv:1905.11946), section 3.3, whose alpha, beta, gamma are converted here; "fast"
is dWr of Dollar et al. 2021 (arXiv:2103.06877), section 4, with the recommended weight of 0.8; uneven depth and the limit of
the image size: Tan & Le 2021 (arXiv:2104.00298), section 3.3.
"""

import itertools
import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import NamedTuple

from paretina.spec import Spec, near

EXACT = 1e-6
"""Shares that differ by less are the same."""


class Factors(NamedTuple):
    """Factors on depth, width and resolution."""

    depth: float
    width: float
    resolution: float


@dataclass(frozen=True, kw_only=True)
class Shares(Spec):
    """
    Attributes:
        depth: share of the growth that goes into the number of blocks; shares are 0 or more and sum to 1.
        width: share that goes into channels.
        resolution: share that goes into the side of the image.
        late: whether only the later half of the stages gets more blocks.
        cap: largest side of the image in pixels; what resolution cannot take goes into the others. None for no limit.
    """

    depth: float
    width: float
    resolution: float
    late: bool = False
    cap: int | None = None

    def __post_init__(self) -> None:
        each = (self.depth, self.width, self.resolution)
        if min(each) < 0 or abs(sum(each) - 1) > EXACT:
            raise ValueError(
                "shares of depth, width and resolution are 0 or more and sum to 1, got "
                f"{self.depth:g}/{self.width:g}/{self.resolution:g}"
            )
        if self.cap is not None and self.cap < 1:
            raise ValueError(f"the cap of the image size is at least 1 pixel, got {self.cap}")
        if self.late and not self.depth:
            raise ValueError(f"late stages get no more blocks where depth has no share, got {self.plain}+late")

    @property
    def plain(self) -> str:
        """The three shares, as `named` reads them."""
        return f"{self.depth:.3g}/{self.width:.3g}/{self.resolution:.3g}"

    @property
    def name(self) -> str:
        """A name that can be a file's: a well-known one, or the three shares."""
        known = next((name for name, each in NAMED.items() if each.alike(self)), "")
        words = [known or f"d{self.depth:.3g}-w{self.width:.3g}-r{self.resolution:.3g}"]
        return "+".join([*words, *(["late"] if self.late else []), *([f"cap{self.cap}"] if self.cap else [])])

    @property
    def single(self) -> str:
        """The only dimension that grows; "" if several do."""
        return next((name for name in CORNERS if getattr(self, name) > 1 - EXACT), "")

    def alike(self, other: "Shares") -> bool:
        """Whether the three shares are the same, up to rounding."""
        pairs = ((self.depth, other.depth), (self.width, other.width), (self.resolution, other.resolution))
        return all(abs(a - b) < EXACT for a, b in pairs)

    def factors(self, s: float) -> Factors:
        """The factors for a total factor s, without cap."""
        return Factors(s**self.depth, s ** (self.width / 2), s ** (self.resolution / 2))

    def bases(self, product: float = 2.0) -> Factors:
        """Alpha, beta and gamma with alpha * beta^2 * gamma^2 = product, as in the paper."""
        return self.factors(product)


def from_bases(alpha: float, beta: float, gamma: float) -> Shares:
    """The shares that are meant by the paper's alpha (depth), beta (width) and gamma (resolution).

    Raises:
        ValueError: one is below 1, or all are 1.
    """
    if min(alpha, beta, gamma) < 1 or max(alpha, beta, gamma) == 1:
        raise ValueError(f"alpha, beta and gamma are at least 1, and not all of them 1, got {alpha}, {beta}, {gamma}")
    whole = math.log(alpha) + 2 * math.log(beta) + 2 * math.log(gamma)
    return Shares(depth=math.log(alpha) / whole, width=2 * math.log(beta) / whole, resolution=2 * math.log(gamma) / whole)


def fast(weight: float = 0.8) -> Shares:
    """dWr: width gets `weight`, depth and resolution half of the rest each; activations grow by s^(1 - weight / 2)."""
    return Shares(depth=(1 - weight) / 2, width=weight, resolution=(1 - weight) / 2)


CORNERS = {
    "depth": Shares(depth=1.0, width=0.0, resolution=0.0),
    "width": Shares(depth=0.0, width=1.0, resolution=0.0),
    "resolution": Shares(depth=0.0, width=0.0, resolution=1.0),
}
"""Growth in a single dimension, which any study has as its controls."""

NAMED = {
    **CORNERS,
    "efficientnet": from_bases(1.2, 1.1, 1.15),
    "uniform": Shares(depth=1 / 3, width=1 / 3, resolution=1 / 3),
    "fast": fast(),
}


def grid(step: float = 0.25) -> tuple[Shares, ...]:
    """All shares that are multiples of a step: 15 for .25, 66 for .1.

    Raises:
        ValueError: the step does not divide 1.
    """
    count = round(1 / step) if step > 0 else 0
    if count < 1 or abs(count * step - 1) > EXACT:
        raise ValueError(f"the step of a grid of shares divides 1, such as 0.5, 0.25, 0.2 or 0.1, got {step:g}")
    found = []
    for depth, width in itertools.product(range(count, -1, -1), repeat=2):
        if depth + width <= count:
            rest = count - depth - width
            found.append(Shares(depth=depth / count, width=width / count, resolution=rest / count))
    return tuple(found)


def named(text: str) -> Shares:
    """Reads `fast`, `efficientnet`, `0.2/0.5/0.3` (depth/width/resolution), each also with `+late` and `+cap480`.

    Raises:
        ValueError: there is no such name, or the numbers are not shares.
    """
    word, *more = text.strip().split("+")
    if "/" in word:
        try:
            numbers = [float(part) for part in word.split("/")]
        except ValueError:
            numbers = []
        if len(numbers) != 3:
            raise ValueError(f"shares are three numbers, depth/width/resolution, such as 0.2/0.5/0.3, got {word!r}")
        if abs(sum(numbers) - 1) < 0.006:  # 0.333/0.333/0.333, and as they are printed
            numbers = [number / sum(numbers) for number in numbers]
        found = Shares(depth=numbers[0], width=numbers[1], resolution=numbers[2])
        found = next((each for each in NAMED.values() if each.plain == found.plain), found)
    elif word in NAMED:
        found = NAMED[word]
    else:
        raise ValueError(f"there are no shares named {word!r} (others are written depth/width/resolution){near(word, NAMED)}")
    for each in more:
        if each == "late":
            found = replace(found, late=True)
        elif each.startswith("cap") and each[3:].isdecimal():
            found = replace(found, cap=int(each[3:]))
        else:
            raise ValueError(f"what follows a + is late or cap with a number of pixels, such as fast+late+cap480, got {each!r}")
    return found


def with_controls(wanted: Iterable[Shares]) -> tuple[Shares, ...]:
    """The three single dimensions, and the shares, each once."""
    found: list[Shares] = []
    for each in (*CORNERS.values(), *wanted):
        if not any(each.alike(other) and (each.late, each.cap) == (other.late, other.cap) for other in found):
            found.append(each)
    return tuple(found)


def usual(step: float = 0.25) -> tuple[Shares, ...]:
    """The candidates of a study that names none: a grid, and the shares that have a name."""
    return with_controls((*(each for each in NAMED.values() if not each.single), *grid(step)))


def reward(accuracy: float, cost: float, target: float, weight: float = -0.07) -> float:
    """MnasNet's reward, accuracy * (cost / target)^weight; doubling the cost must gain about 5 % of the accuracy.

    Source: Tan et al. 2019 (arXiv:1807.11626), section 3.1, with the same weight on both sides of the target; used for shares
    in Li et al. 2021 (arXiv:2102.05610), section 4.
    """
    return float(accuracy * (cost / target) ** weight)
