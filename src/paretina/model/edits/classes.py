"""Classes: changes the number of classes.

The rest of the network stays the same. The last layer costs its input width times the number of classes.

Invariant: nothing but the last layer changes.
"""

from dataclasses import dataclass, replace

from paretina.model.blueprint import Blueprint, Edit


@dataclass(frozen=True, kw_only=True)
class Classes(Edit):
    """
    Attributes:
        count: number of classes, at least 1.
    """

    count: int

    def edit(self, blueprint: Blueprint) -> Blueprint:
        return replace(blueprint, classes=self.count)


EXAMPLES = (Classes(count=7),)
