"""Solves for the largest network that a target cost allows, with given shares: the built, rounded network counts.

The usual rule computes factors, rounds what they give, and takes the result for a network of the cost that was asked for. But
rounding the depth of each stage up makes 4.8 to 5.2 times EfficientNet-B0 of what was asked as 4 times. Here a factor s is
found by bisection on the costs of built networks: as s grows, blocks, channels and pixels are added one step at a time, and the
search ends at the step that would exceed the target. Steps can be coarse, so networks around that one are tried as well: one
block more or fewer, or in another stage, the next widths, and of the image as much as fits.

Roundings: blocks are added one at a time, in the order in which the depths of the stages come nearest to their share
(Webster's method), the last of equal stages first. Widths go to the nearest multiple of a divisor, which is made finer if the
target is missed otherwise. Groups of grouped convolutions get wider as the widths do, so that their number stays.

Source: the rule and its rounding: Tan & Le 2019 (arXiv:1905.11946); groups: Dollar et al. 2021 (arXiv:2103.06877), section 3.
"""

import heapq
import itertools
import math
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from types import SimpleNamespace
from typing import Any

from paretina.measure.cost import cost
from paretina.model.blueprint import LARGEST, Blueprint, Stage, deepened
from paretina.model.edits.scale import Round
from paretina.search.architecture.units import counts
from paretina.search.scaling.shares import Factors, Shares
from paretina.spec import Spec, near

COUNTED = ("macs", "params", "activations")

TOLERANCE = 0.05
"""By how much a counted cost may stay below what was asked for, as a share of it; it never exceeds it."""

DIVISORS = (8, 4, 2, 1)

APART = 1e-4
"""The bisection ends at factors that differ by less, as a share."""

MOST = 64.0
"""The search for s ends at the target to the power of this; what has not reached the target by then never will."""


GOOD = 0.03
"""A network this near to its target and shares, on a logarithmic scale, is taken without looking for a nearer one."""

MOST_BLOCKS, MOST_WIDER = 1000, 1000.0
"""Blocks that may be added, and the largest factor on widths."""

MOVED = 0.05
"""How much farther from the shares a network counts that has its blocks in other stages."""


class UnreachableError(ValueError):
    """These shares cannot reach this cost."""


@dataclass(frozen=True, kw_only=True)
class Rules(Spec):
    """What networks are allowed.

    Attributes:
        divisor: widths are multiples of it; None for the coarsest of 8, 4, 2, 1 that comes within the tolerance.
        multiple: sides of the image are multiples of it, in pixels; None for 1, for 4 from 128 on, or
            for what the network takes.
        tolerance: by how much the cost may stay below the target, as a share.
    """

    divisor: int | None = None
    multiple: int | None = None
    tolerance: float = TOLERANCE

    def __post_init__(self) -> None:
        for name in ("divisor", "multiple"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"the {name} is at least 1, got {value}")
        if not 0 < self.tolerance < 0.5:
            raise ValueError(f"the tolerance is a share of the cost, above 0 and below 0.5, got {self.tolerance:g}")


@dataclass(frozen=True, kw_only=True)
class Size(Spec):
    """The size of a grown network.

    Attributes:
        depths: number of blocks of each stage.
        width: factor on widths, before they are rounded.
        resolution: side of the image in pixels.
        divisor: widths are multiples of it.
    """

    depths: tuple[int, ...]
    width: float
    resolution: int
    divisor: int


@dataclass(frozen=True, kw_only=True)
class Solution(Spec):
    """A network of the cost that was asked for, or nearly.

    Attributes:
        s: the total factor at which the target is crossed.
        size: what was built.
        depth: factor on the number of blocks that was got.
        resolution: likewise on the side of the image.
        costs: counted, by name.
        ratio: the cost that was asked for as a multiple of the base's, as built.
        above: the same of the first network along the shares that exceeds the target; None for the base itself.
        within: whether the ratio is within the tolerance.
    """

    blueprint: Blueprint
    s: float
    size: Size
    depth: float
    resolution: float
    costs: tuple[int, ...]
    ratio: float
    above: float | None
    within: bool

    def cost(self, name: str) -> int:
        return self.costs[COUNTED.index(name)]


# --- growing ------------------------------------------------------------------------------------------------------------


def added(depths: tuple[int, ...], late: bool) -> Iterator[int]:
    """The stages to which blocks are added, one after the other, without end.

    Args:
        late: whether only the later half of the stages gets any.
    """
    first = len(depths) // 2 if late else 0
    heap = [(0.5 / depths[at], -at, 1) for at in range(first, len(depths))]
    heapq.heapify(heap)
    while True:
        _, at, count = heapq.heappop(heap)
        yield -at
        heapq.heappush(heap, ((count + 0.5) / depths[-at], at, count + 1))


def with_blocks(depths: tuple[int, ...], more: int, late: bool = False) -> tuple[int, ...]:
    """The depths of stages with so many blocks added; see `added`."""
    order = added(depths, late)
    counts = Counter(next(order) for _ in range(more))
    return tuple(depth + counts[at] for at, depth in enumerate(depths))


def grown(base: Blueprint, size: Size) -> Blueprint:
    """The network of a size; equal to the base where nothing is added."""
    nearest = Round(divisor=size.divisor, floor=0.0)

    def scaled(width: int) -> int:
        return width if size.width == 1.0 else max(width, nearest(width * size.width))

    def stage_of(stage: Stage, depth: int) -> Stage:
        stage = deepened(stage, depth)
        if size.width == 1.0:
            return stage
        block = stage.block.widened(scaled).with_wider_groups(size.width)
        step = block.width_step
        width = scaled(stage.width)
        if width % step:
            width = max(1, round(stage.width * size.width / step)) * step
        return replace(stage, width=width, block=block, wiring=stage.wiring.widened(scaled))

    return replace(
        base,
        stem=base.stem.widened(scaled),
        head=base.head.widened(scaled),
        stages=tuple(stage_of(stage, depth) for stage, depth in zip(base.stages, size.depths, strict=True)),
        resolution=size.resolution,
    )


def usual_multiple(base: Blueprint) -> int:
    """A multiple of pixels that a network takes: 1, or 4 from 128 pixels on, or the side of its patches."""
    for multiple in dict.fromkeys((4 if base.resolution >= 128 else 1, base.stem.stride, base.border_strides[-1])):
        try:
            cost(replace(base, resolution=base.resolution + multiple))
        except (ValueError, RuntimeError):
            continue
        return multiple
    return 1


def by_units(blueprint: Blueprint) -> Any:
    """The costs of a network, each of its units counted once: as `cost` counts it, in less time."""
    return SimpleNamespace(**counts(blueprint))


def built(blueprint: Blueprint) -> tuple[int, ...]:
    """The costs of a network as a whole."""
    found = cost(blueprint)
    return tuple(int(getattr(found, name)) for name in COUNTED)


# --- solving ------------------------------------------------------------------------------------------------------------


@dataclass
class Solver:
    """Finds networks that grow from a base by given shares.

    Attributes:
        by: the counted cost that is asked for.
        count: counts a network.
    """

    base: Blueprint
    shares: Shares
    by: str = "macs"
    rules: Rules = Rules()
    count: Callable[[Blueprint], Any] = by_units
    known: dict[Blueprint, tuple[int, ...]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.by not in COUNTED:
            raise ValueError(f"{self.by!r} is not counted{near(self.by, COUNTED)}")

    @cached_property
    def multiple(self) -> int:
        return self.rules.multiple or usual_multiple(self.base)

    @cached_property
    def depths(self) -> tuple[int, ...]:
        return tuple(stage.depth for stage in self.base.stages)

    @cached_property
    def base_costs(self) -> tuple[int, ...]:
        return self.costs(self.base)

    def costs(self, blueprint: Blueprint) -> tuple[int, ...]:
        if blueprint not in self.known:
            found = self.count(blueprint)
            self.known[blueprint] = tuple(int(getattr(found, name)) for name in COUNTED)
        return self.known[blueprint]

    def ratio(self, size: Size) -> float:
        """The cost of a size as a multiple of the base's."""
        at = COUNTED.index(self.by)
        return self.costs(grown(self.base, size))[at] / self.base_costs[at]

    def side(self, factor: float) -> int:
        """The side of the image for a factor, rounded, and not above the cap."""
        base = self.base.resolution
        side = max(base, round(base * factor / self.multiple) * self.multiple) if factor > 1 else base
        return max(base, min(side, self.shares.cap // self.multiple * self.multiple)) if self.shares.cap else side

    def at(self, s: float, divisor: int) -> Size:
        """The size at a total factor, rounded."""
        depth, width, resolution = self.shares.factors(s)
        more = round(sum(self.depths) * (depth - 1))
        if more > MOST_BLOCKS:
            raise UnreachableError(f"{more} more blocks are beyond any network")
        depths = with_blocks(self.depths, more, self.shares.late)
        return Size(depths=depths, width=width, resolution=self.side(resolution), divisor=divisor)

    def solve(self, times: float) -> Solution:
        """The largest network that costs at most so many times what the base costs.

        Raises:
            UnreachableError: what grows has no such effect on this cost, or is too large before it has.
            ValueError: a network cannot be built.
        """
        if times < 1:
            raise ValueError(f"networks are scaled up, so times is at least 1, got {times:g}")
        found = self.sought(times)
        if self.count is by_units and any(built(each) != self.costs(each) for each in (self.base, found.blueprint)):
            self.count, self.known = cost, {}
            self.__dict__.pop("base_costs", None)
            found = self.sought(times)
        return found

    def sought(self, times: float) -> Solution:
        best: Solution | None = None
        for divisor in (self.rules.divisor,) if self.rules.divisor else DIVISORS:
            found = self.solved(times, divisor)
            if best is None or found.ratio > best.ratio + 1e-9:
                best = found
            if best.within or not self.shares.width:
                break
        assert best is not None
        return best

    def solved(self, times: float, divisor: int) -> Solution:
        if times == 1:
            return self.solution(times, 1.0, self.at(1.0, divisor), None)
        low, high = 1.0, times
        while not self.exceeds(high, divisor, times):
            low, high = high, high**1.5
            if high > times**MOST:
                raise UnreachableError(self.said(times))
        while high / low > 1 + APART and grown(self.base, self.at(low, divisor)) != grown(self.base, self.at(high, divisor)):
            middle = math.sqrt(low * high)
            low, high = (low, middle) if self.exceeds(middle, divisor, times) else (middle, high)
        size = self.nearest(self.at(low, divisor), self.shares.factors(low), times)
        return self.solution(times, low, size, self.ratio(self.at(high, divisor)))

    def exceeds(self, s: float, divisor: int, times: float) -> bool:
        """Whether the network at a total factor costs more than so many times the base.

        Raises:
            UnreachableError: the image or the number of blocks is beyond any limit.
        """
        _, width, resolution = self.shares.factors(s)
        if self.side(resolution) > LARGEST or width > MOST_WIDER:
            raise UnreachableError(self.said(times))
        try:
            size = self.at(s, divisor)
        except UnreachableError:
            raise UnreachableError(self.said(times)) from None
        return self.ratio(size) > times

    def said(self, times: float) -> str:
        cap = f" with images of at most {self.shares.cap} pixels" if self.shares.cap else ""
        return f"{times:g} times the {self.by} cannot be reached by growing {self.shares.name}{cap}"

    def nearest(self, size: Size, ideal: Factors, times: float) -> Size:
        """The size around one that fits the target, and of those within the tolerance the one nearest to target and shares."""
        best, place = size, (math.inf, math.inf)
        for apart, found in sorted(self.around(size, ideal), key=lambda each: each[0]):
            if place[0] == 0 and place[1] <= max(apart, GOOD):
                break  # whatever its image is, it is not nearer
            for each in self.filled(found, times):
                short = 1 - self.ratio(each) / times
                if short < -1e-12:
                    continue
                from_side = 2 * abs(math.log(each.resolution / self.side(ideal.resolution)))
                here = (short if short > self.rules.tolerance else 0.0, apart + from_side + short)
                if here < place:
                    best, place = each, here
        return best

    def around(self, size: Size, ideal: Factors) -> Iterator[tuple[float, Size]]:
        """A size and its neighbours in depth and width, with how far they are from the shares."""
        widths = self.widths_near(size.width, size.divisor) if self.shares.width else [size.width]
        for depths in self.depths_near(size.depths) if self.shares.depth else [size.depths]:
            for width in widths:
                apart = abs(math.log(sum(depths) / (sum(self.depths) * ideal.depth))) + 2 * abs(math.log(width / ideal.width))
                usual = with_blocks(self.depths, sum(depths) - sum(self.depths), self.shares.late)
                yield apart + (0.0 if depths == usual else MOVED), replace(size, depths=depths, width=width)

    def depths_near(self, depths: tuple[int, ...]) -> list[tuple[int, ...]]:
        """Depths with a block more or fewer; where nothing else grows, also with a block in another stage."""
        more = sum(depths) - sum(self.depths)
        found = [with_blocks(self.depths, count, self.shares.late) for count in range(max(0, more - 1), more + 3)]
        if self.shares.single:
            first = len(depths) // 2 if self.shares.late else 0
            for one, (giving, taking) in itertools.product(tuple(found), itertools.permutations(range(first, len(depths)), 2)):
                moved = tuple(depth - (at == giving) + (at == taking) for at, depth in enumerate(one))
                if moved[giving] >= self.depths[giving]:
                    found.append(moved)
        return list(dict.fromkeys(found))

    def widths_near(self, factor: float, divisor: int) -> list[float]:
        """The factor itself and those around it at which some width takes another step; at least 1."""
        widths = {self.base.stem.width, *(stage.width for stage in self.base.stages)}
        steps = {
            (round(width * factor / divisor) + more + 0.5) * divisor / width * (1 + 1e-9)
            for width in widths
            for more in range(-3, 3)
        }
        below = sorted(step for step in steps if 1 < step < factor)[-3:]
        above = sorted(step for step in steps if step > factor)[:3]
        return [*below, factor, *above]

    def filled(self, size: Size, times: float) -> Iterator[Size]:
        """The size, and the one with the largest image with which it costs at most so many times the base."""
        step, least, most = self.multiple, self.base.resolution, self.side(LARGEST / self.base.resolution)
        if not self.shares.resolution or self.by == "params" or least >= most:
            yield size
            return
        guess = math.floor(size.resolution * math.sqrt(times / self.ratio(size)) / step + 0.1) * step
        low = high = max(least, min(guess, most))
        jump = step
        while low > least and self.ratio(replace(size, resolution=low)) > times:
            low, high, jump = max(least, low - jump), low, 2 * jump
        if self.ratio(replace(size, resolution=low)) > times:
            return  # with the smallest image it costs too much already
        while low == high < most:
            high = min(most, low + jump)
            if self.ratio(replace(size, resolution=high)) <= times:
                low, jump = high, 2 * jump
        while high - low > step:
            middle = low + (high - low) // (2 * step) * step
            low, high = (middle, high) if self.ratio(replace(size, resolution=middle)) <= times else (low, middle)
        yield replace(size, resolution=low)

    def solution(self, times: float, s: float, size: Size, above: float | None) -> Solution:
        blueprint = grown(self.base, size)
        costs, at = self.costs(blueprint), COUNTED.index(self.by)
        ratio = costs[at] / self.base_costs[at]
        return Solution(
            blueprint=blueprint,
            s=s,
            size=size,
            depth=sum(size.depths) / sum(self.depths),
            resolution=size.resolution / self.base.resolution,
            costs=costs,
            ratio=ratio,
            above=above,
            within=times * (1 - self.rules.tolerance) <= ratio <= times * (1 + 1e-12),
        )
