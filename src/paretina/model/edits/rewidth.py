"""Rewidth: sets the widths of stages, without rounding.

For widths that no common factor gives, for searches that choose each width, and to spend channels where they count. The cost of
a stage grows with the square of its width; the next stage changes too, because it reads that map.

Invariant: nothing but the widths of the stages named changes, and those are what was given.
"""

from dataclasses import dataclass, replace

from paretina.model.blueprint import Blueprint, Edit


@dataclass(frozen=True, kw_only=True)
class Rewidth(Edit):
    """
    Attributes:
        widths: output channels of each stage in `stages`, in the same order.
        stages: numbers of stages, from 1 as in a paper's table; None for all of them.
    """

    widths: tuple[int, ...]
    stages: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        if self.stages is not None and len(set(self.stages)) != len(self.stages):
            raise ValueError(f"Rewidth names a stage twice: stages={self.stages}")
        if not self.widths or (self.stages is not None and len(self.stages) != len(self.widths)):
            raise ValueError(f"Rewidth needs one width for each stage, got widths={self.widths}, stages={self.stages}")

    def edit(self, blueprint: Blueprint) -> Blueprint:
        numbers = self.stages if self.stages is not None else tuple(range(1, len(blueprint.stages) + 1))
        if len(numbers) != len(self.widths):
            raise ValueError(
                f"Rewidth has {len(self.widths)} widths, but there are {len(numbers)} stages; name them in `stages`"
            )
        rows = list(blueprint.stages)
        for number, width in zip(numbers, self.widths, strict=True):
            if not 1 <= number <= len(rows):
                raise ValueError(f"Rewidth names stage {number}, but stages are numbered from 1 to {len(rows)}")
            rows[number - 1] = replace(rows[number - 1], width=width)
        return replace(blueprint, stages=tuple(rows))


EXAMPLES = (Rewidth(widths=(32, 64)), Rewidth(widths=(64,), stages=(2,)))
