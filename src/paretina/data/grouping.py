"""Groups of pictures that must stay on one side of a split: all pictures of one patient, place, film or object.

A word says how a picture's group is found: `folder`, the folders between that of its class and the picture, so that
`benign/patient7/1.jpg` and `malignant/patient7/2.jpg` are of the group patient7; a regular expression that is searched for in
the picture's name, whose parts in parentheses are the group, such as `(patient\\d+)_`; or a CSV file with the columns `picture`
and `group`. A picture that has no group is one of its own.
"""

import csv
import io
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from paretina.spec import near
from paretina.text import how_many

FOLDER = "folder"
PICTURES = ("picture", "name", "path", "image_path", "image", "file", "filename", "filepath")
"""Names of the column of a CSV file that names the picture."""


def grouped(word: str, names: Mapping[str, str]) -> tuple[dict[str, str], tuple[str, ...]]:
    """The group of each picture that has one, and notes for the user.

    Args:
        word: `folder`, a regular expression with parentheses, or a CSV file.
        names: of each picture, by its name from the folder of the data on, its name from the folder of its class on.

    Raises:
        ValueError: the word is none of these, no picture has a group, or all have the same one; or the file is damaged or names
            a picture that is not there.
    """
    if word == FOLDER:
        found = {name: inner.rpartition("/")[0] for name, inner in names.items() if "/" in inner}
        hint = "there are no folders between those of the classes and the pictures"
    elif word.lower().endswith(".csv"):
        found = read_groups(Path(word).expanduser(), names)
        hint = "it names no picture"
    else:
        found = by_pattern(word, names)
        example = f"; the first name is {min(names)!r}" if names else ""
        hint = f"it is found in no picture's name{example}"
    if names and not found:
        raise ValueError(f"groups='{word}': {hint}")
    groups = Counter(found.values())
    alone = len(names) - len(found)
    if len(groups) == 1 and not alone:
        raise ValueError(
            f"groups='{word}': all {len(names):,} pictures are of one group, {min(groups)!r}, so nothing can be split"
        )
    notes = [f"{how_many(len(groups), 'group', ',')} of pictures ({word}) stay on one side of every split"]
    if alone:
        notes.append(
            f"{how_many(alone, 'picture has', ',', 'pictures have')} no group and {'is' if alone == 1 else 'are'} split alone"
        )
    return found, tuple(notes)


def by_pattern(pattern: str, names: Iterable[str]) -> dict[str, str]:
    """The part of each name that a regular expression captures; of several parts, all of them.

    Raises:
        ValueError: it is no regular expression, or has no parentheses.
    """
    try:
        compiled = re.compile(pattern)
    except re.error as error:
        raise ValueError(
            f"groups='{pattern}' is no regular expression ({error}); it is also neither {FOLDER!r} nor a .csv file"
        ) from None
    if not compiled.groups:
        slip = f"; did you mean {FOLDER!r}?" if "did you mean" in near(pattern, (FOLDER,)) else ""
        raise ValueError(
            f"groups='{pattern}' has no parentheses around what names a group; give {FOLDER!r}, a .csv file with the columns "
            f"picture and group, or a regular expression such as '(patient\\d+)_'{slip}"
        )
    found = {}
    for name in names:
        if match := compiled.search(name):
            parts = [part for part in match.groups() if part is not None]
            if any(parts):
                found[name] = "/".join(parts)
    return found


def read_groups(path: Path, names: Mapping[str, str]) -> dict[str, str]:
    """The groups that a CSV file gives.

    Raises:
        ValueError: the file cannot be read, lacks a column, or a row names a picture that is not there or was named before with
            another group.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise ValueError(f"groups={str(path)!r} cannot be read: {error.strerror or error}") from None
    except UnicodeDecodeError:
        raise ValueError(f"{path}: is not UTF-8 text; save it as UTF-8") from None
    if "\0" in text:
        raise ValueError(f"{path}: holds a NUL byte, so it is no CSV file")
    reader = csv.reader(io.StringIO(text, newline=""))
    header = [cell.strip().lower() for cell in next(reader, [])]
    columns = [next((header.index(name) for name in wanted if name in header), None) for wanted in (PICTURES, ("group",))]
    if None in columns:
        raise ValueError(f"{path}: the first line must name the columns picture and group; it is {','.join(header)[:80]!r}")
    picture, group = (column for column in columns if column is not None)
    found: dict[str, str] = {}
    for row in reader:
        if not row:
            continue
        if len(row) != len(header):
            raise ValueError(f"{path}, line {reader.line_num}: has {len(row)} cells, and the first line {len(header)}")
        name, own = row[picture].strip(), row[group].strip()
        if name not in names:
            raise ValueError(
                f"{path}, line {reader.line_num}: there is no picture {name!r} (pictures are named from the folder of the data "
                f"on, such as {min(names, default='cat/1.jpg')!r}){near(name, list(names)[:10_000])}"
            )
        if found.setdefault(name, own) != own:
            raise ValueError(
                f"{path}, line {reader.line_num}: {name!r} is of the group {found[name]!r} before, and of {own!r} here"
            )
    return {name: own for name, own in found.items() if own}


def members(groups: Mapping[str, str]) -> list[list[str]]:
    """The names of each group that has two or more."""
    found: dict[str, list[str]] = defaultdict(list)
    for name, group in groups.items():
        found[group].append(name)
    return [names for names in found.values() if len(names) > 1]


def joined(*kinds: Iterable[Sequence[str]]) -> list[list[str]]:
    """Joins groups that have a name in common, whichever of the kinds they are of: what is together in any is together."""
    leader: dict[str, str] = {}

    def first(name: str) -> str:
        while leader.setdefault(name, name) != name:
            leader[name] = leader[leader[name]]
            name = leader[name]
        return name

    for group in (group for kind in kinds for group in kind):
        for name in group:
            leader[first(name)] = first(group[0])
    found: dict[str, list[str]] = defaultdict(list)
    for name in leader:
        found[first(name)].append(name)
    return list(found.values())
