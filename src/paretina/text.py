"""Text for people: names as they are printed, whatever they hold, and numbers with their nouns.

Names of files, folders and classes may hold line breaks, tabs, bytes that are no text, and codes that a terminal obeys. Tables
and messages show such a character as Python would write it; JSON and CSV keep the name as it is.
"""

import unicodedata
from collections.abc import Iterable

HIDDEN = ("Cc", "Cs", "Zl", "Zp")
"""Kinds of characters that break a line, steer a terminal or are no text: controls, surrogates, separators of lines."""

TURNING = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
"""They change the direction of what follows, so that a name can look like another one."""


def printable(text: str) -> str:
    r"""The text on one line: what would break it, or would not be seen, as an escape: `a\nb`, `\x1b`; other text as it is."""
    if text.isprintable():
        return text
    return "".join(escaped(each) if unicodedata.category(each) in HIDDEN or each in TURNING else each for each in text)


def escaped(character: str) -> str:
    """A character as Python writes it; what stands for a byte that is no text, as that byte."""
    number = ord(character)
    return f"\\x{number - 0xDC00:02x}" if 0xDC80 <= number <= 0xDCFF else character.encode("unicode_escape").decode("ascii")


def paragraphs(text: str) -> str:
    """The same for a text of several lines, which stay apart."""
    return "\n".join(map(printable, text.split("\n")))


def markdown_cells(cells: Iterable[str]) -> str:
    """A row of a Markdown table."""
    return f"| {' | '.join(printable(cell).replace('|', chr(92) + '|') for cell in cells)} |"


def how_many(number: int | float, noun: str, form: str = "", plural: str = "") -> str:
    """Returns "1 picture", "3 pictures", "0.5 epochs".

    Args:
        noun: in the singular.
        form: how the number is written, as in format strings; default: whole numbers in full, others as with "g".
        plural: where it is not the noun with an s, or es behind s: "epochs fit" of "epoch fits".
    """
    text = format(number, form or ("g" if isinstance(number, float) else ""))
    several = plural or f"{noun}{'es' if noun.endswith('s') else 's'}"
    return f"{text} {noun if text == '1' else several}"
