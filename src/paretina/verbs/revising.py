"""Changes of labels that are asked for on a command line: classes to ignore, corrected labels, groups of classes."""

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from paretina.data.source import Collection, Source
from paretina.data.sources.ignoring import Ignoring
from paretina.data.sources.relabelled import Relabelled, hint
from paretina.model.tasks.one_of import OneOf
from paretina.spec import near
from paretina.verbs.checks import MisuseError, misuse

COLUMNS = ("picture", "given", "suggested", "confidence", "keep")
"""Columns of a file of corrections; `picture` and `suggested` are needed."""

LEAVE_OUT = ("", "-")
"""In place of a suggested class: the picture is left out."""

YES, NO = ("yes", "y", "true", "x", "1"), ("", "no", "n", "false", "0")


@dataclass(frozen=True)
class Correction:
    """A line of a file of corrections.

    Attributes:
        line: its number in the file.
        picture: name of the picture.
        given: its class in the data; None where the file does not say it.
        label: the class that it is to have; "" to leave the picture out.
    """

    line: int
    picture: str
    given: str | None
    label: str


def read_corrections(path: Path) -> list[Correction]:
    """Reads a file of corrections, as `paretina data labels --csv` writes it, without the lines whose labels are kept.

    Raises:
        MisuseError: it cannot be read, lacks a column, or a line is not what it should be; the message has the line.
    """
    if not path.is_file():
        raise MisuseError(f"there is no file {path} with corrected labels")
    found: list[Correction] = []
    seen: dict[str, int] = {}
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, strict=True, restkey="more")
            names = [name.strip() for name in reader.fieldnames or ()]
            reader.fieldnames = names
            for name in ("picture", "suggested"):
                if name not in names:
                    other = next((f"{each!r}" for each in (";", "\t") if each in "".join(names)), "")
                    instead = f"; it seems to be separated by {other}: write commas" if other else ""
                    raise MisuseError(f"{path} has no column {name!r}, only {', '.join(names) or 'nothing'}{instead}")
            if strange := [name for name in names if name not in COLUMNS]:
                raise MisuseError(f"{path} has a column {strange[0]!r}{near(strange[0], COLUMNS)}")
            for row in reader:
                where = f"{path}, line {reader.line_num}"
                if "more" in row or None in row.values():
                    raise MisuseError(f"{where}: it should have {len(names)} cells; quote text that has commas")
                keep = (row.get("keep") or "").strip().lower()
                if keep not in YES + NO:
                    raise MisuseError(f"{where}: keep is yes, to keep the given label, or no or empty; got {row['keep']!r}")
                picture = row["picture"]
                if picture in seen:
                    raise MisuseError(f"{where}: {picture!r} is in line {seen[picture]} already; leave one out")
                seen[picture] = reader.line_num
                if keep in NO:
                    label = "" if row["suggested"].strip() in LEAVE_OUT else row["suggested"]
                    found.append(Correction(reader.line_num, picture, row.get("given"), label))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise MisuseError(f"{path} is not a CSV file in UTF-8: {error}") from None
    return found


def check_corrections(path: Path, corrections: Sequence[Correction], collection: Collection) -> None:
    """Checks that each line names a picture and classes of the data, and the label that the picture has there.

    Raises:
        MisuseError: one does not; the message has the line.
    """
    if collection.task != OneOf():
        raise MisuseError(
            f"{path}: labels can be corrected where each picture has one class, but the task of this data is "
            f"{collection.task.WORDS}"
        )
    labels = {sample.name: sample.label for samples in collection.splits.values() for sample in samples}
    for each in corrections:
        where = f"{path}, line {each.line}"
        if each.picture not in labels:
            raise MisuseError(f"{where}: there is no picture {each.picture!r} in the data{hint(each.picture, {*labels})}")
        for name in (each.label, each.given or ""):
            if name and name not in collection.classes:
                raise MisuseError(f"{where}: there is no class {name!r} in the data{near(name, collection.classes)}")
        number = labels[each.picture]
        now = collection.classes[number] if number >= 0 else ""
        if each.given is not None and each.given != now:
            raise MisuseError(
                f"{where}: {each.picture!r} has the label {now!r} in the data, not {each.given!r}; the file is for other labels"
            )


def revised(source: Source, ignore: Sequence[str] = (), relabel: Path | str | None = None, relabel_val: bool = False) -> Source:
    """A source with corrected labels, and without some of its classes.

    Args:
        ignore: classes whose pictures are left out.
        relabel: a file of corrections; see `read_corrections`.
        relabel_val: whether the labels of validation and test pictures are corrected too.

    Raises:
        MisuseError: there is no such class or picture, or the file is not what it should be.
    """
    if relabel_val and relabel is None:
        raise MisuseError("--relabel-val says which labels a file corrects; name the file with --relabel")
    if relabel is None and not ignore:
        return source
    with misuse():
        if relabel is not None:
            path = Path(relabel)
            corrections = read_corrections(path)
            check_corrections(path, corrections, source.open())
            labels = tuple((each.picture, each.label) for each in corrections)
            source = Relabelled(source=source, labels=labels, val=relabel_val)
        if ignore:
            source = Ignoring(source=source, classes=tuple(dict.fromkeys(ignore)))
            source.open()
    return source
