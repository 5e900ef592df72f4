"""The main figure of each of several sets of pictures that are judged together."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from paretina.data.pictures import Pictures
from paretina.measure.judge import Tally
from paretina.tables import in_columns
from paretina.text import how_many, printable


@dataclass(frozen=True)
class SetFigure:
    """
    Attributes:
        n: pictures that are counted.
        value: the main figure over these pictures alone; None if undefined.
        low: lower end of its 95 % interval; None where the judge gives none.
        high: upper end.
    """

    n: int
    value: float | None
    low: float | None = None
    high: float | None = None

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def figures_by_set(tally: Tally, pictures: Pictures, sets: Sequence[str], classes: tuple[str, ...]) -> dict[str, SetFigure]:
    """The main figure of each set, by its name; empty where there is one set, or the tally cannot be taken apart.

    Args:
        sets: names of the sets, which begin the names of their pictures; see `Several`. One without a counted picture is left
            out.
    """
    numbers: dict[str, set[int]] = {name: set() for name in sets}
    for number, sample in enumerate(pictures.samples if len(sets) > 1 else ()):
        if (name := sample.name.partition("/")[0]) in numbers:
            numbers[name].add(number)
    found = {}
    for name, own in numbers.items():
        part = tally.only(own)
        if part is None or not (n := part.counted()):
            continue
        try:
            metrics = part.judged(classes).metrics
        except ValueError:  # there is too little of it to say anything
            metrics = {}
        found[name] = SetFigure(n, *(metrics.get(f"val/{tally.KEY}{end}") for end in ("", "_low", "_high")))
    return found


def sets_said(found: Mapping[str, Any], shown: Mapping[str, str], brackets: str = "()") -> list[str]:
    """The figures of sets as lines.

    Args:
        found: entries of a result, by the name of the set.
        shown: the title and the unit of the figure, as `Tally.shown` gives them.
        brackets: around an interval.
    """
    digits, unit = (1, f" {shown['unit']}") if shown["unit"] else (3, "")
    rows = []
    for name, each in found.items():
        value, low, high = each["value"], each["low"], each["high"]
        text = "unknown" if value is None else f"{value:.{digits}f}{unit}"
        between = "" if low is None or high is None else f"{brackets[0]}{low:.{digits}f} to {high:.{digits}f}{brackets[1]}"
        rows.append((f"  {printable(name)}", shown["title"], text, between, f"on {how_many(each['n'], 'picture')}"))
    return in_columns(rows, "<<><<") if rows else []
