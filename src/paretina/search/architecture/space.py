"""Space: what may vary in a search, as data: named dimensions with their values, and what a point of them is.

A point gives each dimension one of its values. Two points may mean the same request, where a dimension has no effect beside
another; such are trained once.
"""

import json
import math
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatch
from random import Random
from typing import Any, ClassVar

from paretina.model.blueprint import Blueprint
from paretina.model.edits.scale import Scale
from paretina.spec import Spec, kinds, near
from paretina.train.asked import Asked
from paretina.traits import Method, Never

Value = int | float | str
Point = dict[str, Value]

LEAST_MAP = 4
"""Rows of the last map of a network for small images; later strides that would leave fewer are taken out."""


@dataclass(frozen=True)
class Dimension:
    """
    Attributes:
        name: such as `kernel.3`, where a number stands for a row of the table, from 1.
        values: at least one, each once.
        ordered: whether neighbours in `values` resemble each other.
    """

    name: str
    values: tuple[Value, ...]
    ordered: bool = True

    def __post_init__(self) -> None:
        if not self.values or len(set(self.values)) < len(self.values):
            raise ValueError(f"the dimension {self.name} needs values, each once, got {', '.join(map(str, self.values))}")


@dataclass(frozen=True, kw_only=True)
class Narrowed(Spec):
    """
    Attributes:
        name: of a dimension, or what its name begins with before the dot: `kernel` stands for all kernels.
        values: as they were given.
    """

    name: str
    values: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Space(Method):
    """
    Attributes:
        narrowed: dimensions with other values than the space's own.
    """

    PLUGINS = ("paretina.search.architecture.spaces",)
    LEFT_OUT = Never("it is what a search chooses from, and no part of a training")
    LOW_PRECISION = Never("it computes nothing in training")
    WORD: ClassVar[str] = ""
    OF: ClassVar[str] = ""
    """What follows the colon behind its word: "network", "recipe", or nothing."""
    NETWORKS: ClassVar[bool] = True
    """Whether its points are networks, and not settings of their training."""

    narrowed: tuple[Narrowed, ...] = ()

    @abstractmethod
    def own_dimensions(self, base: Asked) -> tuple[Dimension, ...]:
        """All dimensions with the values of the space itself."""

    @abstractmethod
    def asked(self, point: Mapping[str, Value], base: Asked) -> Asked:
        """The request that a point means.

        Args:
            base: what all points share.

        Raises:
            ValueError: there is no such network.
        """

    @abstractmethod
    def first(self, base: Asked) -> Asked:
        """The request that the space was made around, which need not be in it; what is found is compared with it."""

    def dimensions(self, base: Asked) -> tuple[Dimension, ...]:
        """The dimensions, narrowed.

        Raises:
            ValueError: a name is unknown, or a value does not fit; the message has the near name.
        """
        found = {dimension.name: dimension for dimension in self.own_dimensions(base)}
        for each in self.narrowed:
            named = [name for name in found if each.name in (name, name.partition(".")[0]) or fnmatch(name, each.name)]
            if not named and (extra := self.extra(each, base)) is not None:
                found[each.name] = extra
                continue
            if not named:
                known = dict.fromkeys((*(name.partition(".")[0] for name in found), *found))
                raise ValueError(f"the space has no dimension {each.name!r}{near(each.name, known)}")
            for name in named:
                found[name] = replace(found[name], values=values_given(each, found[name]))
        return tuple(found.values())

    def extra(self, given: Narrowed, base: Asked) -> Dimension | None:
        """A dimension that is not among the space's own but may be added by name; None where there is none."""
        return None

    def check(self, base: Asked) -> None:
        """Builds a request with each value of each dimension.

        Raises:
            ValueError: one cannot be built; nothing was trained.
        """
        dimensions = self.dimensions(base)
        point = {dimension.name: dimension.values[0] for dimension in dimensions}
        for dimension in dimensions:
            for value in dimension.values:
                try:
                    self.asked({**point, dimension.name: value}, base).assembled()
                except ValueError as error:
                    raise ValueError(f"{dimension.name}={value}: {error}") from None

    def size_of(self, base: Asked) -> float:
        """How many points there are, those that mean the same counted apart."""
        return math.prod(float(len(dimension.values)) for dimension in self.dimensions(base))


def values_given(given: Narrowed, dimension: Dimension) -> tuple[Value, ...]:
    """The values of a narrowed dimension: numbers may be others than the space's own, words may not.

    Raises:
        ValueError: one does not fit.
    """
    known = {str(value): value for value in dimension.values}
    found: list[Value] = []
    for text in given.values:
        if text in known:
            found.append(known[text])
            continue
        kind = type(dimension.values[0])
        if kind is str or any(isinstance(value, str) for value in dimension.values):
            raise ValueError(f"{dimension.name} cannot be {text!r}{near(text, known)}")
        whole = all(isinstance(value, int) for value in dimension.values)
        try:
            number = int(text) if whole else float(text)
        except ValueError:
            raise ValueError(
                f"{dimension.name} takes {'whole numbers' if whole else 'numbers'} such as {', '.join(known)}, got {text!r}"
            ) from None
        if not math.isfinite(number):
            raise ValueError(f"{dimension.name} takes finite numbers, got {text!r}")
        found.append(number)
    return tuple(dict.fromkeys(found))


def narrowed_of(texts: Sequence[str]) -> tuple[Narrowed, ...]:
    """Reads `kernel=3,5`.

    Raises:
        ValueError: there is no value, or a name is given twice.
    """
    found: dict[str, Narrowed] = {}
    for text in texts:
        name, equals, rest = text.partition("=")
        values = tuple(value.strip() for value in rest.split(",") if value.strip())
        if not equals or not values or not name.strip():
            raise ValueError(f"--set takes a dimension and its values, such as kernel=3,5, got {text!r}")
        if name.strip() in found:
            raise ValueError(f"the dimension {name.strip()} is set twice; give all of its values together")
        found[name.strip()] = Narrowed(name=name.strip(), values=values)
    return tuple(found.values())


def drawn(dimensions: Sequence[Dimension], random: Random) -> Point:
    """A point, each value with equal chance."""
    return {dimension.name: random.choice(dimension.values) for dimension in dimensions}


def key_of(point: Mapping[str, Value]) -> str:
    return json.dumps(point, sort_keys=True)


def spaces() -> dict[str, type[Space]]:
    """The kinds of space by their word on the command line."""
    return {kind.WORD: kind for kind in kinds(Space).values()}  # type: ignore[type-abstract]


def space_named(text: str) -> tuple[type[Space], str]:
    """The space of a word such as `mnasnet` or `around:resnet18`, and what follows its colon.

    Raises:
        ValueError: there is no such space, or what follows is missing or too much; the message has the near name.
    """
    known = spaces()
    word, _, of = text.partition(":")
    if word not in known:
        spelled = [f"{name}:{kind.OF.upper()}" if kind.OF else name for name, kind in known.items()]
        raise ValueError(f"there is no space {word!r}{near(word, known)} (there are {', '.join(spelled)})")
    kind = known[word]
    if bool(kind.OF) != bool(of):
        usual = f"{word}:{kind.OF.upper()}" if kind.OF else word
        raise ValueError(f"the space is written {usual}, got {text!r}")
    return kind, of


# --- tables for small images ----------------------------------------------------------------------------------------------


def fitted(blueprint: Blueprint, size: int, width: float = 1.0) -> Blueprint:
    """A table for images of a size, with its widths scaled.

    Strides are taken out from the end, so that the last map has at least `LEAST_MAP` rows and the early maps, which cost the
    most, stay as small as they were.

    Args:
        size: side of the images, in pixels.
        width: factor on all widths, which stay multiples of 8.
    """
    rows = list(blueprint.stages)
    for at in reversed(range(len(rows))):
        stride = blueprint.stem.stride * math.prod(row.stride for row in rows)
        if math.ceil(size / stride) >= LEAST_MAP:
            break
        rows[at] = replace(rows[at], stride=1)
    found = replace(blueprint, stages=tuple(rows), resolution=size)
    return found if width == 1.0 else Scale(width=width).edit(found)


@dataclass(frozen=True, kw_only=True)
class NetworkSpace(Space):
    """A space of networks.

    Attributes:
        size: side of the images at test time, in pixels.
        width: factor on the widths of the table that the space is made of.
    """

    size: int
    width: float = 1.0

    def __post_init__(self) -> None:
        if self.size < 8:
            raise ValueError(f"{type(self).__name__}.size must be at least 8 pixels, got {self.size}")
        if not 0 < self.width <= 8:
            raise ValueError(f"{type(self).__name__}.width is a factor in (0, 8], got {self.width:g}")

    @abstractmethod
    def table(self) -> Blueprint:
        """The network that the space is made around."""

    @abstractmethod
    def blueprint(self, point: Mapping[str, Value]) -> Blueprint:
        """The network that a point means."""

    def asked(self, point: Mapping[str, Value], base: Asked) -> Asked:
        return with_network(base, self.blueprint(point))

    def first(self, base: Asked) -> Asked:
        return with_network(base, self.table())


def with_network(base: Asked, blueprint: Blueprint) -> Asked:
    """A request with another network, which keeps classes, channels and preprocessing."""
    kept: dict[str, Any] = {name: getattr(base.model, name) for name in ("classes", "channels", "preprocessing")}
    return replace(base, model=replace(blueprint, **kept), model_name="")
