"""Labelled pictures for a model: which of them are judged, with its class numbers."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from paretina.data.names import composed, counterpart
from paretina.data.source import ALL_HELD_OUT, Collection, Sample, Source, innermost, with_innermost
from paretina.data.sources.folder import Folder
from paretina.data.sources.ignoring import Ignoring
from paretina.data.sources.several import Several
from paretina.model.tasks.nothing import Nothing
from paretina.model.tasks.one_of import OneOf
from paretina.model.weights import About
from paretina.spec import field_map, near
from paretina.text import printable
from paretina.train.finetuning import Learned
from paretina.verbs.checks import MisuseError, misuse
from paretina.verbs.seen import has_held_out, is_elsewhere, is_named_after, learned_by, warnings_of


@dataclass(frozen=True)
class Labelled:
    """Labelled pictures for a model, with its class numbers.

    Attributes:
        split: their split; "all" for all together, and for data that have none to judge on.
        notes: what is unusual about them, a sentence each.
    """

    collection: Collection
    samples: tuple[Sample, ...]
    split: str
    notes: list[str]


def labelled(
    path: Path,
    about: About,
    source: Source,
    split: str | None,
    data: str,
    ignore: Sequence[str] = (),
    other: Path | None = None,
) -> Labelled:
    """Pictures of a split of the data, for a model.

    Args:
        path: the model file; the data that it was trained on keeps the split of its run.
        split: None for val, or for all of data that have no split to judge on, unless the model was trained on them or on data
            of their name: of these it is judged on what training held out. "all" for all splits together.
        data: what the source is called.
        ignore: classes of the data whose pictures are left out; the data of the run leaves out those that the run did.
        other: a model file that is judged on the same pictures; if it alone was trained on the data, its held-out part counts.

    Raises:
        MisuseError: the split does not exist, or task or classes are not those of the model.
        ValueError: the data cannot be used.
    """
    before, given = learned_by(path, source), source
    if before.data is None and not before.new and other is not None:
        before = learned_by(other, source)
    notes: list[str] = []
    made, named = innermost(before.source), innermost(source.read_as(about.task, about.classes))
    if named.WORD and type(made) is type(named) and made != named:
        notes.append(f"{data} is made as for the training of the model: {differing(made, named)}")
    left_out = ignored_in(before.source)
    gone = [name for name in ignore if name not in left_out] if about.task.BOXES else []  # which a folder may be asked for
    source = before.source.read_as(about.task, (*about.classes, *gone))
    if more := [name for name in ignore if name not in left_out]:
        source = Ignoring(source=source, classes=tuple(dict.fromkeys(more)))
        left_out += more
    inner = innermost(source)
    if isinstance(inner, Several) and split is None:
        inner = whole_sets(inner, before, about, data, notes)
        source = with_innermost(source, inner)
    if isinstance(inner, Folder) and inner.folders():
        known = (*about.classes, *left_out)
        if all(counterpart(name, known) for name in inner.folders()):
            inner = replace(inner, layout="classes")  # the model knows the layout that would have to be guessed
            source = with_innermost(source, inner)
    one_run = before.data is not None and before.folds is None  # of all folds together, none of the pictures was held out
    trained_on = one_run and (not before.inside or before.split == "val")
    named_alike = before.data is None and is_named_after(about, inner)
    alike = named_alike and has_held_out(about, inner) and not is_elsewhere(path)
    undivided = without_split(source) if split in (None, "all") else None
    if undivided is not None and split is None and (trained_on or alike):
        undivided, split = None, "val"
        if_same = ", if it is what the model was trained on, as its name says," if alike else ""
        notes.append(f"of {data} only the pictures that training held out{if_same} are judged; --split all judges all of them")
    if undivided is not None:
        split, collection = "all", undivided.open()
        samples = collection.split("val")
        if named_alike:
            instead = "; --split val uses only the held-out ones" if has_held_out(about, inner) else ""
            notes.append(
                "warning: the model was trained on data of this name, so most of these pictures may be among its training "
                f"pictures{instead}"
            )
    else:
        split, collection = split or "val", source.open()
        with misuse():
            samples = every_split(collection) if split == "all" else collection.split(split)
    own = before.remarks(split, samples)
    notes += own
    check_task(path, about, collection, data)
    if about.task == OneOf():
        samples = renumbered(collection, samples, about.classes, notes)
    notes += [each for each in warnings_of(path, given, split, samples, collection) if each not in own]
    if other is not None:
        theirs = warnings_of(other, given, split, samples, collection)
        notes += [f"{each} (of {other})" for each in theirs]
    said = [note for note in collection.notes if split != "all" or "val_share" not in note]
    notes += [note for note in said if not note.startswith("training pictures: ") and "val_share is 1," not in note]
    return Labelled(collection, tuple(samples), split, notes)


def differing(source: Source, other: Source) -> str:
    """The fields of a source that another of its kind has not: 'looks=["bright"], train=24'."""
    values = {name: getattr(source, name) for name in field_map(type(source)) if getattr(source, name) != getattr(other, name)}
    return ", ".join(f"{name}={json.dumps(v) if isinstance(v, tuple) else v}" for name, v in values.items())


def whole_sets(source: Several, before: Learned, about: About, data: str, notes: list[str]) -> Several:
    """Joined sets of which those that a network was not trained on are judged as a whole, as one alone is.

    Those that it was trained on are judged by what its training held out. Sets that come with splits keep them.

    Args:
        notes: which are judged how is added to them, where they do not all come with splits.
    """
    new = before.new if before.new or before.data is not None else tuple(each.name for each in source.sets)
    if before.data is None:  # a file that has left its run knows them by name
        new = tuple(each.name for each in source.sets if each.name in new and not is_named_after(about, each.source))
    undivided = {each.name: whole for each in source.sets if (whole := without_split(each.source))}
    sets = tuple(
        replace(each, source=undivided[each.name]) if each.name in new and each.name in undivided else each
        for each in source.sets
    )
    held = [each.name for each in source.sets if each.name in undivided and each.name not in new]
    if held and before.folds is None:  # of all folds together, none of the pictures was held out
        notes.append(
            f"of {', '.join(map(printable, held))} only the pictures that training held out are judged; --split all judges all "
            f"of {data}"
        )
    if others := [name for name in new if name in undivided]:
        notes.append(f"of {', '.join(map(printable, others))} all pictures are judged, as of data that training did not have")
    return replace(source, sets=sets)


def without_split(source: Source) -> Source | None:
    """A source that holds out all of its pictures as val, if its data have no split to judge on; None if they have."""
    inner = innermost(source)
    if "val_share" not in field_map(type(inner)):
        return None
    whole = with_innermost(source, replace(inner, val_share=1.0))  # type: ignore[call-arg]
    if isinstance(inner, Folder):
        return None if inner.has_splits() else whole
    return whole if any(note.endswith(ALL_HELD_OUT) for note in whole.open().notes) else None


def every_split(collection: Collection) -> tuple[Sample, ...]:
    """The labelled pictures of all splits together, each once; of a split `all`, if there is one, only its."""
    if "all" in collection.splits:
        return collection.split("all")
    found = {each.name: each for samples in collection.splits.values() for each in samples}
    return tuple(each for each in found.values() if each.label >= 0)


def ignored_in(source: Source) -> list[str]:
    """The classes that a source leaves out."""
    found = list(source.classes) if isinstance(source, Ignoring) else []
    within = getattr(source, "source", None)
    return [*found, *(ignored_in(within) if isinstance(within, Source) else [])]


def check_task(path: Path, about: About, collection: Collection, data: str) -> None:
    """Checks that a model has the task and, where needed, the classes of the data.

    Raises:
        MisuseError: the data has another task, or (where classes are not found by name) other classes.
        ValueError: the model was trained without labels, so its outputs cannot be scored.
    """
    names = about.task.WORDS, collection.task.WORDS
    if isinstance(about.task, Nothing):
        raise ValueError(f"{path} was trained without labels, so its logits cannot be scored; fine-tune it first")
    if isinstance(collection.task, Nothing):
        known = f"{', '.join(map(printable, about.classes[:5]))}{' ...' if len(about.classes) > 5 else ''}"
        raise MisuseError(
            f"training used the pictures of {data} alone, without labels, so {path} cannot be judged on them; name pictures "
            f"with labels of its classes ({known})"
        )
    if about.task != collection.task:
        raise MisuseError(f"the task of {path} is {names[0]}, but that of {data} is {names[1]}")
    if about.task != OneOf() and about.classes != collection.classes:
        raise MisuseError(
            f"the classes of {path} ({', '.join(map(printable, about.classes[:5]))}) are not those of {data} "
            f"({', '.join(map(printable, collection.classes[:5]))}), or in another order; the task of {names[0]} needs the "
            "same classes"
        )


def renumbered(
    collection: Collection, samples: Sequence[Sample], classes: tuple[str, ...], notes: list[str]
) -> tuple[Sample, ...]:
    """The samples with a model's class indices; notes class names that are spelt differently in the model."""
    known = {name: counterpart(name, classes) for name in {collection.classes[sample.label]: None for sample in samples}}
    unknown = [name for name, own in known.items() if own is None]
    if unknown:
        others = f", nor {', '.join(map(repr, unknown[1:]))}" if unknown[1:] else ""
        raise MisuseError(f"the model does not know the class {unknown[0]!r}{others}{near(unknown[0], classes)}")
    respelt = [f"{name!r} as {own!r}" for name, own in known.items() if own and composed(own) != composed(name)]
    if respelt:
        notes.append(f"class names that differ only in case or spaces are matched to those of the model: {', '.join(respelt)}")
    number = {name: classes.index(own) for name, own in known.items() if own is not None}
    return tuple(Sample(sample.name, number[collection.classes[sample.label]]) for sample in samples)
