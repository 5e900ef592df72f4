"""The page of labels that are likely wrong: each picture beside its label and the class that it is likely of.

See `paretina.report.run_page` for what all pages have in common.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from paretina.data.pictures import Pictures
from paretina.measure.judges.top_one import thumbnail
from paretina.report.run_page import environment, render, write_page
from paretina.text import printable

MOST = 200
"""Pictures on a page at most, the surest; each takes some kilobytes."""


@dataclass(frozen=True)
class LabelRow:
    """One picture on the page.

    Attributes:
        confidence: probability of the suggested class; `given_confidence` that of the label.
        number: of the picture among those that were read.
    """

    picture: str
    split: str
    given: str
    suggested: str
    confidence: float
    given_confidence: float
    number: int


def write_labels(rows: Sequence[LabelRow], summary: Sequence[str], pictures: Pictures, out: Path, data: str) -> Path:
    """Writes the page and returns its path.

    Args:
        rows: the surest first.
        summary: lines about the whole.
        data: what the pictures are called.
    """
    title = f"Labels of {printable(data)} that are likely wrong"
    shown = [
        {
            "picture": printable(row.picture),
            "split": row.split,
            "given": printable(row.given),
            "suggested": printable(row.suggested),
            "confidence": 100 * row.confidence,
            "given_confidence": 100 * row.given_confidence,
            "thumbnail": thumbnail(pictures, row.number),
        }
        for row in rows[:MOST]
    ]
    template = environment().get_template("labels.html.jinja")
    body = template.render(title=title, rows=shown, summary=list(summary), left_out=max(0, len(rows) - MOST))
    shell, opening, rest = render(title=title).partition("<body>\n")
    return write_page(out, shell + opening + body + rest)
