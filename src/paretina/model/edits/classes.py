"""Classes: the number of answers.

The same body for another question. It costs the width before the last layer, times the number of classes.

Invariant: nothing but the last layer changes.
"""

from dataclasses import dataclass, replace

from paretina.model.blueprint import Blueprint, Edit


@dataclass(frozen=True, kw_only=True)
class Classes(Edit):
    """
    Attributes:
        count: number of answers, at least 1.
    """

    count: int

    def edit(self, blueprint: Blueprint) -> Blueprint:
        return replace(blueprint, classes=self.count)


EXAMPLES = (Classes(count=7),)
