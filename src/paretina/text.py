"""Formats text for output: escapes names, and puts numbers before nouns.

Names of files, folders and classes may contain line breaks, tabs, invalid bytes and terminal control codes. Tables and messages
show such characters as Python escapes; JSON and CSV keep the name as it is.
"""

import os
import unicodedata
from collections.abc import Iterable

HIDDEN = ("Cc", "Cs", "Zl", "Zp")
"""Unicode categories that break a line, control a terminal or are not text: controls, surrogates, line separators."""

TURNING = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
"""They change the text direction, so that a name can look like another one."""


def printable(text: str) -> str:
    r"""The text on one line, with line breaks and invisible characters escaped: `a\nb`, `\x1b`."""
    if text.isprintable():
        return text
    return "".join(escaped(each) if unicodedata.category(each) in HIDDEN or each in TURNING else each for each in text)


def escaped(character: str) -> str:
    """A character as Python escapes it; a surrogate that stands for an undecodable byte, as that byte."""
    number = ord(character)
    return f"\\x{number - 0xDC00:02x}" if 0xDC80 <= number <= 0xDCFF else character.encode("unicode_escape").decode("ascii")


def paragraphs(text: str) -> str:
    """Like `printable`, for text of several lines; line breaks are kept."""
    return "\n".join(map(printable, text.split("\n")))


def markdown_cells(cells: Iterable[str]) -> str:
    """A row of a Markdown table."""
    return f"| {' | '.join(printable(cell).replace('|', chr(92) + '|') for cell in cells)} |"


SPLITS = ("train", "training", "val", "valid", "validation", "test", "testing")


def split_hint(place: str) -> str:
    """What to do where there is no folder of a split, as the end of a sentence; "" for any other place."""
    folder, name = os.path.split(place.rstrip("/"))
    if name.lower() not in SPLITS or not os.path.isdir(folder or "."):
        return ""
    return f"; {folder or '.'}/ has no folder {name}: name {folder or '.'}/ itself, whose held-out pictures are its split val"


def how_many(number: int | float, noun: str, form: str = "", plural: str = "") -> str:
    """Returns "1 picture", "3 pictures", "0.5 epochs".

    Args:
        noun: in the singular.
        form: format spec of the number; default: integers in full, others as with "g".
        plural: if it is not the noun with s (or es after s): "epochs fit" for "epoch fits".
    """
    text = format(number, form or ("g" if isinstance(number, float) else ""))
    several = plural or f"{noun}{'es' if noun.endswith('s') else 's'}"
    return f"{text} {noun if text == '1' else several}"


PARTS = {2: "half", 3: "a third", 4: "a quarter", 9: "a ninth"}


def length_of(share: float) -> str:
    """The length of a trial in words: "a whole trial", "a ninth of a trial", "30 % of a trial"."""
    if share == 1:
        return "a whole trial"
    for number, word in PARTS.items():
        if abs(share * number - 1) < 1e-6:
            return f"{word} a trial" if number == 2 else f"{word} of a trial"
    return f"{100 * share:.3g} % of a trial"
