"""Groups of classes, groups of groups and so on: how far a mistake is from the truth.

Mistaking one breed of dogs for another is not as bad as mistaking a dog for a car. From pairs of a class, or group, and the
group that it belongs to follow

- the accuracy at each level: the probability of a group is the sum of those of its classes, and the group with the largest
  one is the answer. `by_answer` beside it takes the group of the likeliest class;
- the severity of mistakes: the height of the lowest group that holds both classes, where classes have the height 0 and a group
  is one above the highest in it, as a mean over wrong answers. The hierarchical distance is the mean over all answers, 0 for
  right ones. A method can have less severe mistakes by making more of them, so both are given.

A class that has fewer levels above it than others stands for itself at the levels below it. A level with a single group says
nothing and is left out.

Source: Bertinetto et al. 2020, "Making better mistakes" (arXiv:1912.09393), section 4.
"""

import csv
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import yaml
from jaxtyping import Float, Int
from torch import Tensor

from paretina.measure.statistics import Interval, as_object, wilson
from paretina.shapes import Logits
from paretina.spec import near
from paretina.text import how_many

Pairs = tuple[tuple[str, str], ...]
"""Each class or group with the group that it belongs to."""


# --- reading ------------------------------------------------------------------------------------------------------------


def read_hierarchy(path: Path) -> Pairs:
    """Reads groups of classes from a file.

    A CSV file has the columns `class` and `parent`. A JSON or YAML file has an object with parents by class, `cat: animal`, or
    with what is in each group, `animal: [cat, dog]` or `animal: {pet: [cat, dog]}`.

    Raises:
        ValueError: it cannot be read, or is not of that form; the message names the file.
    """
    if not path.is_file():
        raise ValueError(f"there is no file {path} with groups of classes")
    suffix = path.suffix.lower()
    if suffix not in (".csv", ".json", ".yaml", ".yml"):
        raise ValueError(f"{path}: groups of classes are read from .csv, .json, .yaml or .yml")
    try:
        text = path.read_text("utf-8-sig")
        if suffix == ".csv":
            return tuple(rows_of(text))
        data = json.loads(text) if suffix == ".json" else yaml.safe_load(text)
        if not isinstance(data, dict):
            raise ValueError("it must be an object, such as {cat: animal, dog: animal} or {animal: [cat, dog]}")
        return tuple(pairs_of(data))
    except (OSError, UnicodeDecodeError, ValueError, csv.Error, yaml.YAMLError, RecursionError) as error:
        raise ValueError(f"{path}: {' '.join(str(error).split())}") from None


def rows_of(text: str) -> Iterator[tuple[str, str]]:
    reader = csv.DictReader(text.splitlines(keepends=True), strict=True, restkey="more")
    if list(reader.fieldnames or ()) != ["class", "parent"]:
        raise ValueError(f"its first line must be class,parent, got {','.join(reader.fieldnames or ()) or 'nothing'}")
    for row in reader:
        if "more" in row or not row["class"] or not row["parent"]:
            raise ValueError(f"line {reader.line_num} must have a class and its parent; quote text that has commas")
        yield row["class"], row["parent"]


def pairs_of(data: Mapping[Any, Any]) -> Iterator[tuple[str, str]]:
    for name, value in data.items():
        if isinstance(value, Mapping):
            yield from ((str(inner), str(name)) for inner in value)
            yield from pairs_of(value)
        elif isinstance(value, list):
            for item in value:
                if isinstance(item, list | Mapping) or item is None:
                    raise ValueError(f"the group {name!r} must list names, got {item!r}")
                yield str(item), str(name)
        elif value is None:
            raise ValueError(f"{name!r} must have a parent or a list of what is in it")
        else:
            yield str(name), str(value)


def without(pairs: Pairs, names: Sequence[str]) -> Pairs:
    """The pairs without some classes, and without groups that are empty then."""
    gone = set(names)
    while True:
        left = tuple(pair for pair in pairs if pair[0] not in gone)
        empty = {child for child, _ in left} & {parent for _, parent in pairs} - {parent for _, parent in left}
        if not empty:
            return left
        gone |= empty


# --- the tree -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Hierarchy:
    """
    Attributes:
        classes: names of the classes.
        paths: for each class the groups that it is in, the largest first, and itself.
        heights: for each pair of classes the height of the lowest group that holds both: (classes, classes), 0 on the diagonal.
    """

    classes: tuple[str, ...]
    paths: tuple[tuple[str, ...], ...]
    heights: Int[Tensor, "classes classes"]

    @classmethod
    def of(cls, pairs: Pairs, classes: tuple[str, ...]) -> "Hierarchy":
        """The tree that pairs describe.

        Raises:
            ValueError: a name has two parents or is in itself, a class has no parent or is a group, or a name that is in a
                group is neither class nor group.
        """
        parents: dict[str, str] = {}
        for child, parent in pairs:
            if parents.setdefault(child, parent) != parent:
                raise ValueError(f"the hierarchy has {child!r} in {parents[child]!r} and in {parent!r}; leave one out")
        groups = set(parents.values())
        for name in classes:
            if name in groups:
                raise ValueError(f"the hierarchy has {name!r} as a group, and it is a class; give the group another name")
            if name not in parents:
                raise ValueError(f"the hierarchy has no parent of the class {name!r}{near(name, parents)}")
        known = {*classes, *groups}
        strange = next((name for name in parents if name not in known), None)
        if strange is not None:
            raise ValueError(f"the hierarchy has {strange!r}, which is no class{near(strange, classes)}")
        paths = tuple(path_of(name, parents) for name in classes)
        return cls(classes, paths, heights_of(paths))

    @property
    def levels(self) -> tuple[tuple[str, ...], ...]:
        """The group of each class, for each level with several groups but that of the classes themselves; the largest first."""
        depth = max(map(len, self.paths))
        found = [tuple(path[min(level, len(path) - 1)] for path in self.paths) for level in range(depth - 1)]
        return tuple(level for level in found if len(set(level)) > 1)

    def sums(self, shares: Float[Tensor, "picture classes"], level: Sequence[str]) -> tuple[tuple[str, ...], Tensor]:
        """The names of the groups of a level, and the probability of each: (picture, group).

        Args:
            level: the group of each class; see `levels`.
        """
        names = tuple(dict.fromkeys(level))
        numbers = torch.tensor([names.index(name) for name in level])
        return names, shares.new_zeros(len(shares), len(names)).index_add_(1, numbers, shares)


def path_of(name: str, parents: Mapping[str, str]) -> tuple[str, ...]:
    """The groups above a class, the largest first, and itself.

    Raises:
        ValueError: a group is in itself.
    """
    found = [name]
    while found[-1] in parents:
        above = parents[found[-1]]
        if above in found:
            raise ValueError(f"the hierarchy has {above!r} in itself: {' in '.join(map(repr, [*found, above]))}")
        found.append(above)
    return tuple(reversed(found))


def heights_of(paths: Sequence[tuple[str, ...]]) -> Int[Tensor, "classes classes"]:
    """The height of the lowest group that holds two classes, for each pair; what holds all of them need have no name."""
    heights: dict[tuple[str, ...], int] = {}
    for path in paths:
        for length in range(len(path) + 1):
            above = path[:length]
            heights[above] = max(heights.get(above, 0), len(path) - length)
    found = torch.zeros(len(paths), len(paths), dtype=torch.int64)
    for one, path in enumerate(paths):
        for other, second in enumerate(paths[:one]):
            shared = next((at for at, (a, b) in enumerate(zip(path, second, strict=False)) if a != b), 0)
            found[one, other] = found[other, one] = heights[path[:shared]]
    return found


# --- figures ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class LevelAccuracy:
    """
    Attributes:
        level: its number, from 1 for the largest groups.
        groups: names of its groups.
        accuracy: share of the pictures whose likeliest group, by the sums of probabilities, is right, in percent.
        by_answer: the same for the group of the likeliest class.
    """

    level: int
    groups: tuple[str, ...]
    accuracy: Interval
    by_answer: Interval


@dataclass(frozen=True)
class Severity:
    """Accuracy at each level of a hierarchy, and how far mistakes are from the truth.

    Attributes:
        mistakes: number of wrong answers.
        severity: mean height over wrong answers; None without any.
        distance: mean height over all answers.
        highest: the largest height that there is.
    """

    levels: tuple[LevelAccuracy, ...]
    mistakes: int
    severity: Interval | None
    distance: Interval
    highest: int

    def to_dict(self) -> dict[str, Any]:
        levels = [
            {
                "level": each.level,
                "groups": list(each.groups),
                "accuracy": as_object(each.accuracy),
                "by_answer": as_object(each.by_answer),
            }
            for each in self.levels
        ]
        return {
            "levels": levels,
            "mistakes": self.mistakes,
            "mistake_severity": as_object(self.severity),
            "hierarchical_distance": as_object(self.distance),
            "highest": self.highest,
        }

    def metrics(self) -> dict[str, float | None]:
        """The figures by metric key."""
        named = {f"level{each.level}": each.accuracy for each in self.levels}
        figures: dict[str, Interval | None] = {
            **named,
            "mistake_severity": self.severity,
            "hierarchical_distance": self.distance,
        }
        found: dict[str, float | None] = {}
        for name, value in figures.items():
            ends = (None, None, None) if value is None else value
            found |= {f"val/{name}{end}": each for end, each in zip(("", "_low", "_high"), ends, strict=True)}
        return found

    def lines(self) -> list[str]:
        """The figures as lines of text."""
        lines = []
        for each in self.levels:
            title = f"level {each.level}, {how_many(len(each.groups), 'group')}"
            lines.append(
                f"{title:<28}{each.accuracy.value:8.1f} %  [{each.accuracy.low:.1f} to {each.accuracy.high:.1f}]  "
                f"by the likeliest class {each.by_answer.value:.1f} %"
            )
        for title, value in (("severity of mistakes", self.severity), ("hierarchical distance", self.distance)):
            if value is not None:
                end = f"  of at most {self.highest}" if title == "severity of mistakes" else ""
                lines.append(f"{title:<28}{value.value:8.3f}    [{value.low:.3f} to {value.high:.3f}]{end}")
        return lines


RESAMPLES = 1000


def severity(logits: Logits, labels: Int[Tensor, " picture"], tree: Hierarchy, seed: int = 0) -> Severity:
    """Accuracy at each level and severity of mistakes, with 95 % intervals: Wilson's of shares, else of resampled pictures.

    Args:
        logits: of the classes of the tree.
        labels: number of the true class of each picture.
        seed: of the resampling.

    Raises:
        ValueError: there are no pictures.
    """
    if not len(labels):
        raise ValueError("there are no pictures to judge; the split is empty")
    shares, answers = logits.double().softmax(1), logits.argmax(1)
    levels = []
    for number, level in enumerate(tree.levels, start=1):
        names, sums = tree.sums(shares, level)
        of_class = torch.tensor([names.index(name) for name in level])
        truth = of_class[labels]
        right, by_answer = (int((found == truth).sum()) for found in (sums.argmax(1), of_class[answers]))
        accuracy = tuple(Interval(*(100 * end for end in wilson(count, len(labels)))) for count in (right, by_answer))
        levels.append(LevelAccuracy(number, names, *accuracy))
    heights = tree.heights[labels, answers].double()
    wrong = (answers != labels).double()
    generator = torch.Generator().manual_seed(seed)
    drawn_heights, drawn_wrong = [], []
    for _ in range(RESAMPLES):
        drawn = torch.randint(len(labels), (len(labels),), generator=generator)
        drawn_heights.append(float(heights[drawn].sum()))
        drawn_wrong.append(float(wrong[drawn].sum()))
    sums_of, wrongs = torch.tensor(drawn_heights, dtype=torch.float64), torch.tensor(drawn_wrong, dtype=torch.float64)
    mean, mistakes = float(heights.mean()), int(wrong.sum())
    ratio = (sums_of / wrongs)[wrongs > 0]
    severe = None if not mistakes else middle(float(heights.sum()) / mistakes, ratio)
    return Severity(tuple(levels), mistakes, severe, middle(mean, sums_of / len(labels)), int(tree.heights.max()))


def middle(value: float, drawn: Float[Tensor, " resample"]) -> Interval:
    """A figure with the middle 95 % of what resampling gives for it."""
    low, high = torch.quantile(drawn, torch.tensor([0.025, 0.975], dtype=drawn.dtype)).tolist()
    return Interval(value, min(value, low), max(value, high))
