"""Several: the training pictures of several sources together, judged on the validation pictures of the first or of all.

As a word it is a list with commas, such as `nuclei/,phase/`, and then all are judged and have the same classes. All have one
class a picture; where the first alone is judged, classes are its, and a picture whose class is not among them has no label. Or
all have masks of the same classes, or of objects, or boxes of the same classes; then all are judged.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar, Literal

from torch import Tensor

from paretina.data.source import Collection, Sample, Source, innermost
from paretina.data.sources.apart import NO_LABEL
from paretina.data.sources.shapes import Shapes
from paretina.model.task import Task
from paretina.model.tasks.boxes import Boxes
from paretina.model.tasks.nothing import Nothing
from paretina.model.tasks.one_of import OneOf
from paretina.shapes import Image
from paretina.spec import Spec, field_map
from paretina.text import printable


@dataclass(frozen=True, kw_only=True)
class Set(Spec):
    """
    Attributes:
        name: stands before the names of its pictures; without a slash.
        source: where they come from.
    """

    name: str
    source: Source

    def __post_init__(self) -> None:
        if not self.name or "/" in self.name:
            raise ValueError(f"the name of a set stands before those of pictures and has no slash, got {self.name!r}")

    def open(self) -> Collection:
        """Opens its source.

        Raises:
            ValueError: there is no usable data; the message names the set.
        """
        try:
            return self.source.open()
        except ValueError as error:
            raise ValueError(f"{self.name}: {error}") from error


@dataclass(frozen=True, kw_only=True)
class Several(Source):
    """
    Attributes:
        sets: where the training pictures come from; the first also gives classes, `val` and `test`.
        judged: where pictures have one class each: whose `val` and `test` there are, those of the "first", or those of "all",
            which must then have the same classes. Masks and boxes are judged on all.
    """

    JOINS: ClassVar[bool] = True

    sets: tuple[Set, ...]
    judged: Literal["first", "all"] = "first"

    @classmethod
    def joined(cls, sets: Mapping[str, Source]) -> "Several":
        return cls(sets=tuple(Set(name=name, source=source) for name, source in sets.items()), judged="all")

    def __post_init__(self) -> None:
        names = [each.name for each in self.sets]
        if not names or len(set(names)) < len(names):
            raise ValueError(
                f"Several needs at least one set, each with a name of its own, got {', '.join(map(printable, names)) or 'none'}"
            )

    def title(self) -> str:
        """The names of the sets, of the first three where there are more."""
        return "+".join([*(each.name for each in self.sets[:3]), *(["more"] if len(self.sets) > 3 else [])])

    def dense(self) -> bool:
        return self.sets[0].source.dense()

    def boxed(self) -> bool:
        return self.sets[0].source.boxed()

    def asked_for(self, task: str) -> "Several | None":
        found = [each.source.asked_for(task) for each in self.sets]
        sets = [replace(each, source=own) for each, own in zip(self.sets, found, strict=True) if own is not None]
        return replace(self, sets=tuple(sets)) if len(sets) == len(found) else None

    def undivided(self) -> "Several":
        return replace(self, sets=tuple(replace(each, source=each.source.undivided()) for each in self.sets))

    def read_as(self, task: Task, classes: tuple[str, ...]) -> "Several":
        return replace(self, sets=tuple(replace(each, source=each.source.read_as(task, classes)) for each in self.sets))

    def open(self) -> "SeveralCollection":
        found = [each.open() for each in self.sets]
        first = found[0]
        alike = first.task.DENSE or first.task.BOXES
        task = shared_task([each.task for each in found])
        for name, each in zip((own.name for own in self.sets), found, strict=True):
            if alike and (shared_task([first.task, each.task]) is None or each.classes != first.classes):
                raise ValueError(
                    f"sets of pictures that are joined have masks, or boxes, of the same kind and classes, and those of {name} "
                    f"({each.task.WORDS}: "
                    f"{', '.join(map(printable, each.classes[:5]))}) are not those of {self.sets[0].name} ({first.task.WORDS}: "
                    f"{', '.join(map(printable, first.classes[:5]))})"
                )
        for each in () if alike else found:
            if not isinstance(each.task, OneOf if each is first or self.judged == "all" else OneOf | Nothing):
                raise ValueError(f"several sets together are for one class a picture, and one of them is for {each.task.WORDS}")
        if self.judged == "all" and not alike:
            self.check_classes([each.classes for each in found])
        numbers = {name: number for number, name in enumerate(first.classes)}
        splits: dict[str, tuple[Sample, ...]] = {}
        for number, (name, each) in enumerate(zip((own.name for own in self.sets), found, strict=True)):
            known = [NO_LABEL if isinstance(each.task, Nothing) else numbers.get(name, NO_LABEL) for name in each.classes]
            for split, samples in each.splits.items():
                if number and split != "train" and not alike and self.judged == "first":
                    continue
                own = tuple(Sample(f"{name}/{sample.name}", 0 if alike else known[sample.label]) for sample in samples)
                splits[split] = (*splits.get(split, ()), *own)
        counts = ", ".join(
            f"{len(each.split('train')):,} of {printable(own.name)}" for own, each in zip(self.sets, found, strict=True)
        )
        own_notes = (f"{own.name}: {note}" for own, each in zip(self.sets, found, strict=True) for note in each.notes)
        notes = (*own_notes, f"training pictures: {counts}")
        if len(found) > 1 and any(each.is_soft() for each in found):
            raise ValueError("several sets together need labels that are classes, and those of one of them are probabilities")
        more: dict[str, Any] = {"parts": dict(zip((own.name for own in self.sets), found, strict=True))}
        more["task"] = task if alike else first.task
        more["weighted"] = any(each.weighted for each in found)
        return SeveralCollection(first.classes, splits, notes, all(each.mirrors for each in found), **more)

    def check_classes(self, classes: list[tuple[str, ...]]) -> None:
        """Checks that all sets have the classes of the first.

        Raises:
            ValueError: one has others.
        """
        for each, own in zip(self.sets[1:], classes[1:], strict=True):
            more, fewer = sorted({*own} - {*classes[0]}), sorted({*classes[0]} - {*own})
            if more or fewer:
                what = [f"also has {listed(more)}"] * bool(more) + [f"has no {listed(fewer)}"] * bool(fewer)
                raise ValueError(
                    f"sets of pictures that are joined have the same classes, and {each.name} {' and '.join(what)}, unlike "
                    f"{self.sets[0].name}; give the folders of classes the same names, or leave one set out"
                )

    def pinned(self, collection: Collection) -> "Several":
        if not isinstance(collection, SeveralCollection):
            return self
        return replace(
            self,
            sets=tuple(
                replace(each, source=each.source.pinned(part))
                for each, part in zip(self.sets, collection.parts.values(), strict=True)
            ),
        )


def joined_names(source: Source) -> tuple[str, ...]:
    """The names of the sets that are judged together; none of a source that is not joined."""
    inner = innermost(source)
    if not isinstance(inner, Several) or not (inner.judged == "all" or inner.dense() or inner.boxed()):
        return ()
    return tuple(each.name for each in inner.sets)


def spread(source: Source, fields: Mapping[str, Any]) -> dict[str, Any]:
    """Fields by path; those of data that all joined sets have, and not `Several` itself, are those of each set."""
    found: dict[str, Any] = {}
    for path, value in fields.items():
        head, _, rest = path.partition(".")
        name = rest.partition(".")[0]
        sets = source.sets if head == "data" and name and isinstance(source, Several) else ()
        if sets and name not in field_map(Several) and all(name in field_map(type(each.source)) for each in sets):
            found |= {f"data.sets.{number}.source.{rest}": value for number in range(len(sets))}
        else:
            found[path] = value
    return found


def listed(names: Sequence[str]) -> str:
    """Up to five names, and how many more there are."""
    more = f" and {len(names) - 5:,} more" if len(names) > 5 else ""
    return ", ".join(map(printable, names[:5])) + more


def shared_task(tasks: list[Task]) -> Task | None:
    """The one task of several sets, with boxes for as many objects as one of them has; None where they differ."""
    boxes = [each for each in tasks if isinstance(each, Boxes)]
    if len(boxes) == len(tasks):
        return max(boxes, key=lambda each: each.most)
    return tasks[0] if all(each == tasks[0] for each in tasks) else None


@dataclass(frozen=True)
class SeveralCollection(Collection):
    """
    Attributes:
        parts: the collection of each set, by its name, the first one first.
    """

    COSTLY: ClassVar[bool] = True

    parts: dict[str, Collection] = field(kw_only=True)

    def file(self, sample: Sample) -> Path | None:
        part, own = self.own(sample)
        return part.file(own)

    def image(self, sample: Sample, at_least: int | None = None) -> Image:
        part, own = self.own(sample)
        return part.image(own, at_least)

    def encoded(self, sample: Sample) -> bytes | None:
        part, own = self.own(sample)
        return part.encoded(own)

    def target(self, sample: Sample) -> Tensor:
        part, own = self.own(sample)
        if self.task.DENSE or self.task.BOXES or part is next(iter(self.parts.values())):
            return part.target(own)
        return super().target(sample)

    def unit(self, sample: Sample) -> str:
        part, own = self.own(sample)
        return sample.name[: -len(own.name)] + part.unit(own)

    def weight(self, sample: Sample) -> float:
        part, own = self.own(sample)
        return part.weight(own)

    def group(self, sample: Sample) -> int:
        """The number of the set, in the order in which they were given."""
        return tuple(self.parts).index(sample.name.partition("/")[0])

    def own(self, sample: Sample) -> tuple[Collection, Sample]:
        """The collection that a sample is from, and the sample by its name there."""
        part, _, name = sample.name.partition("/")
        return self.parts[part], replace(sample, name=name)


EXAMPLES = (
    Several(sets=(Set(name="some", source=Shapes(per_class=20)), Set(name="more", source=Shapes(per_class=10, seed=1)))),
)
