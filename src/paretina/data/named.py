"""Finds the source that a word or a path names; each source declares its own names."""

import itertools
from collections.abc import Sequence
from pathlib import Path

from paretina.data.naming import is_remote, pieces, source_of_path
from paretina.data.source import Source
from paretina.spec import kinds, near
from paretina.text import split_hint


def sources() -> dict[str, type[Source]]:
    """The kinds of source by name."""
    return kinds(Source)  # type: ignore[type-abstract]


def suffixes() -> dict[str, str]:
    """Names of sources by the ending of the files that they open."""
    return {suffix: name for name, kind in sources().items() for suffix in kind.SUFFIXES}


def prefixes() -> dict[str, str]:
    """Names of sources by the beginning of the words that they take."""
    return {prefix: name for name, kind in sources().items() for prefix in kind.PREFIXES}


def signs() -> dict[str, list[str]]:
    """Patterns of files by which sources know their folders, by the name of the source."""
    return {name: list(kind.SIGNS) for name, kind in sources().items() if kind.SIGNS}


def folder_source() -> str:
    """The source of folders that have the signs of no other."""
    return next(name for name, kind in sources().items() if kind.FOLDERS)


def source_named(data: str | Source) -> Source:
    """The source for a word: a path, a built-in data set unless there is a file of that name, or several of them with commas.

    Raises:
        ValueError: there is none; the message suggests a similar name, or lists what can be named.
    """
    if isinstance(data, Source):
        return data
    known = sources()
    if listed := pieces(data, {kind.WORD for kind in known.values() if kind.WORD}, tuple(prefixes())):
        if "" in listed:
            raise ValueError(f"{data!r} has nothing before or after a comma; name each set of pictures, such as nuclei/,phase/")
        places = [each if is_remote(each, tuple(prefixes())) else str(Path(each).expanduser().resolve()) for each in listed]
        if again := next((each for number, each in enumerate(listed) if places[number] in places[:number]), None):
            raise ValueError(f"{data!r} names the same pictures twice: {again!r}; name each set of pictures once")
        joined = next(kind for kind in known.values() if kind.JOINS)
        return joined.joined({own: source_named(each) for own, each in zip(own_names(listed), listed, strict=True)})
    path = Path(data).expanduser()
    words = {kind.WORD: kind for kind in known.values() if kind.WORD}
    if data in words and not Path(data).exists():
        return words[data]()
    name = source_of_path(data, suffixes(), prefixes(), signs(), folder_source())
    if name is not None:
        return known[name](path=data)  # type: ignore[call-arg]
    if path.exists():
        raise ValueError(f"{data!r} is a file of an unknown type; name {data_in_words()}")
    raise ValueError(f"there is no folder {data!r}, and no built-in data of that name{split_hint(data) or near(data, words)}")


def own_names(paths: Sequence[str]) -> list[str]:
    """A name for each of several paths: its last part, with a number if others have it too."""
    found: list[str] = []
    for path in paths:
        name = Path(path).expanduser().absolute().name.rpartition(":")[2] or "data"
        numbered = (f"{name}-{number}" for number in itertools.count(2))
        found.append(next(text for text in itertools.chain([name], numbered) if text not in found))
    return found


def may_be_there(data: str) -> bool:
    """Whether the path of a source is there, or is none that could be looked for on this machine."""
    return is_remote(data, tuple(prefixes())) or "{" in data or Path(data).expanduser().exists()


def data_in_words() -> str:
    """The possible values: "a folder, a .csv or .tar file, hf:NAME, clipart or shapes, or several of them with commas"."""
    known = sources().values()
    found = ["a folder"] if any(kind.FOLDERS for kind in known) else []
    endings = sorted(suffixes())
    found += [f"a {either(endings)} file"] if endings else []
    found += sorted({f"{kind.PREFIXES[0]}NAME" for kind in known if kind.PREFIXES})
    found += [kind.WORD for kind in known if kind.WORD]
    return f"{either(found)}, or several of them with commas"


def either(names: Sequence[str]) -> str:
    return f"{', '.join(names[:-1])} or {names[-1]}" if len(names) > 1 else "".join(names)
