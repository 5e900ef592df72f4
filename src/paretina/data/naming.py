"""Decides which source a word or a path names, from what each source declares; needs no torch."""

import os
import re
from collections.abc import Collection, Mapping, Sequence
from fnmatch import fnmatch
from pathlib import Path


def source_of_path(
    data: str,
    suffixes: Mapping[str, str],
    prefixes: Mapping[str, str],
    signs: Mapping[str, Sequence[str]],
    folder: str,
) -> str | None:
    """The name of the source that opens a path, or a word with a prefix; None if none does.

    Args:
        suffixes: name of a source by the ending of its files.
        prefixes: name of a source by the beginning of its words.
        signs: patterns of files by the name of the source whose folders have them, see `Source.SIGNS`.
        folder: the source of all other folders.
    """
    place = Path(data).expanduser()
    if place.is_dir():
        return next((name for name, patterns in signs.items() if has_signs(place, patterns)), folder)
    begun = next((name for prefix, name in prefixes.items() if data.startswith(prefix)), None)
    return begun or next((name for suffix, name in suffixes.items() if data.lower().endswith(suffix)), None)


COMMA = re.compile(r",(?![^{]*\})")
"""Not within braces, which stand for several files of one source."""


def pieces(data: str, words: Collection[str] = (), prefixes: Sequence[str] = ()) -> list[str]:
    """The sources that a list with commas names, such as "nuclei/,phase/"; none if it is the name of one.

    Args:
        words: names of built-in data.
        prefixes: of words that name what is on no path of this machine; such a word may have commas itself.
    """
    words_between = COMMA.split(data)
    if len(words_between) < 2 or Path(data).expanduser().exists():
        return []
    found: list[str] = []
    while words_between:  # the longest beginning that is there, since a name may have commas too
        counts = range(len(words_between), 0, -1)
        count = next((n for n in counts if Path(",".join(words_between[:n])).expanduser().exists()), 1)
        found.append(",".join(words_between[:count]))
        del words_between[:count]
    there = all(each in words or is_remote(each, prefixes) or Path(each).expanduser().exists() for each in found)
    return found if there or not is_remote(data, prefixes) else []


def has_signs(place: Path, patterns: Sequence[str]) -> bool:
    """Whether a folder has a file by which a source knows its own folders."""
    flat = [pattern for pattern in patterns if "/" not in pattern]
    deep = [pattern for pattern in patterns if "/" in pattern]
    try:
        if any(next(place.glob(pattern), None) for pattern in deep):
            return True
        found = False
        with os.scandir(place) as entries:
            for entry in entries:
                if entry.is_dir() and not entry.name.startswith("."):
                    return False
                found = found or any(fnmatch(entry.name, pattern) for pattern in flat)
        return found
    except OSError:
        return False


def is_remote(data: str, prefixes: Sequence[str] = ()) -> bool:
    """Whether a word names something that is on no path of this machine."""
    return data.startswith(("http://", "https://", *prefixes))
