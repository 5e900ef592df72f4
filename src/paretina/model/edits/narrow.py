"""Narrow: sets single widths of a network: of the stem, of the stages, inside each block, of the head.

The shape that pruning leaves (`paretina prune`), as data: a blueprint that is trained, measured and shipped like any other,
with the same names of its tensors. Widths are absolute, and where none is given they stay.

Invariant: depths, strides and the names of all tensors stay. So widths are refused that would add or remove a layer: a shortcut
without convolution where a block did not keep its width before, or did.
"""

from dataclasses import dataclass, replace
from functools import lru_cache

from paretina.model.blueprint import Blueprint, Edit, Head, Stage


@dataclass(frozen=True, kw_only=True)
class Narrow(Edit):
    """
    Attributes:
        stem: channels of the stem; 0 keeps them.
        widths: channels of each stage; 0 keeps those of one, () those of all.
        hidden: stage by stage the hidden widths of its blocks; () for a stage keeps them, 0 that of one block, and () as a
            whole all of them.
        head: channels of the convolution in the head; 0 keeps them.
    """

    stem: int = 0
    widths: tuple[int, ...] = ()
    hidden: tuple[tuple[int, ...], ...] = ()
    head: int = 0

    def __post_init__(self) -> None:
        if min(self.stem, self.head, *self.widths, *(width for row in self.hidden for width in row), 0) < 0:
            raise ValueError(f"Narrow needs widths of at least 1, or 0 for as before, got {self}")

    def edit(self, blueprint: Blueprint) -> Blueprint:
        count = len(blueprint.stages)
        for name in ("widths", "hidden"):
            given = getattr(self, name)
            if given and len(given) != count:
                raise ValueError(f"Narrow.{name} has {len(given)} entries, but there are {count} stages; give one for each")
        rows = tuple(
            narrowed(row, self.widths[number] if self.widths else 0, self.hidden[number] if self.hidden else ())
            for number, row in enumerate(blueprint.stages)
        )
        stem = replace(blueprint.stem, width=self.stem) if self.stem else blueprint.stem
        head = with_width(blueprint.head, self.head) if self.head else blueprint.head
        found = replace(blueprint, stem=stem, stages=rows, head=head)
        before, after = tensor_shapes(blueprint), tensor_shapes(found)
        if before.keys() != after.keys():
            name = sorted(before.keys() ^ after.keys())[0]
            raise ValueError(
                f"{self} would {'add' if name in after else 'remove'} the layer {name}: a block has a plain shortcut exactly "
                "where it keeps the width; choose widths that are equal where they were, and differ where they did"
            )
        return found


def narrowed(row: Stage, width: int, hidden: tuple[int, ...]) -> Stage:
    """A stage with another width, and with hidden widths of its blocks."""
    kept = getattr(row.wiring, "hidden", ())
    if hidden and kept and len(kept) == len(hidden):
        hidden = tuple(new or old for new, old in zip(hidden, kept, strict=True))
    wiring = row.wiring.narrowed(hidden) if any(hidden) else row.wiring
    return replace(row, width=width or row.width, wiring=wiring)


def with_width(head: Head, width: int) -> Head:
    """The head with another width of its convolution.

    Raises:
        ValueError: it has none.
    """
    if not getattr(head, "width", 0):
        raise ValueError(f"{type(head).__name__} has no convolution whose width could be set")
    return replace(head, width=width)  # type: ignore[call-arg]


@lru_cache(maxsize=8)
def tensor_shapes(blueprint: Blueprint) -> dict[str, tuple[int, ...]]:
    """The shapes of all tensors of a network, by name."""
    return {name: tuple(tensor.shape) for name, tensor in blueprint.build("meta").state_dict().items()}


EXAMPLES = (Narrow(stem=8, widths=(12, 20)), Narrow(hidden=((), (40, 24))))
"""The second is for two stages, of which the second has two blocks."""
