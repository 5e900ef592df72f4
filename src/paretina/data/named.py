"""Finds the source that a word or a path names; each source declares its own names."""

from pathlib import Path

from paretina.data.source import Source
from paretina.spec import kinds, near
from paretina.text import split_hint


def sources() -> dict[str, type[Source]]:
    """The kinds of source by name."""
    return kinds(Source)  # type: ignore[type-abstract]


def source_named(data: str | Source) -> Source:
    """The source for a word: a path, or a built-in data set unless there is a file of that name.

    Raises:
        ValueError: there is none; the message suggests a similar name, or lists what can be named.
    """
    if isinstance(data, Source):
        return data
    known = sources().values()
    path = Path(data).expanduser()
    words = {kind.WORD: kind for kind in known if kind.WORD}
    if data in words and not Path(data).exists():
        return words[data]()
    for kind in known:
        if path.is_dir() if kind.FOLDERS else data.lower().endswith(kind.SUFFIXES) and not path.is_dir():
            return kind(path=data)  # type: ignore[call-arg]
    if path.exists():
        raise ValueError(f"{data!r} is a file of an unknown type; name {data_in_words()}")
    raise ValueError(f"there is no folder {data!r}, and no built-in data of that name{split_hint(data) or near(data, words)}")


def data_in_words() -> str:
    """The possible values: "a folder, an .npz file, clipart or shapes"."""
    known = sources().values()
    found = ["a folder"] if any(kind.FOLDERS for kind in known) else []
    found += [f"an {suffix} file" for kind in known for suffix in kind.SUFFIXES]
    found += [kind.WORD for kind in known if kind.WORD]
    return f"{', '.join(found[:-1])} or {found[-1]}" if len(found) > 1 else "".join(found)
