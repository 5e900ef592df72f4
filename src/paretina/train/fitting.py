"""The batch that fits: as many pictures an update as the memory of the device bears.

Found by updates of the run itself, at its largest image size, with its objective and its teacher, on a network that is thrown
away. On a GPU sizes are tried; on a CPU, where a batch that does not fit can end other processes, the memory of two small ones
is continued in a straight line. Of what fits, a tenth is left free; what is left is rounded down to a power of two.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

from paretina.measure.machine import Device
from paretina.measure.memory import peak_of
from paretina.measure.timing import MakeStep, tried_batch
from paretina.train.estimate import rehearse
from paretina.train.resolve import Prepared

FILLED = 0.9
"""Share of the pictures that fit which is used at most: memory differs from update to update, and evaluation takes some."""

LEAST_UPDATES = 16
"""Updates that an epoch has at least where the batch is made larger than the recipe's; with fewer, a network learns little."""

SMALL = 16
"""The smaller of the two batches that are continued in a straight line."""


@dataclass(frozen=True)
class FittingBatch:
    """
    Attributes:
        batch: pictures an update.
        fits: pictures that would fit, as far as was looked: up to `most`.
        how: "tried" or "extrapolated".
        most: pictures an update at which an epoch still has `LEAST_UPDATES` of them, or those of the recipe if that is more.
    """

    batch: int
    fits: int
    how: str
    most: int


def fitting_batch(prepared: Prepared, device: Device) -> FittingBatch:
    """The largest power of two of pictures that an update can have.

    Raises:
        ValueError: the memory of the device cannot be seen, or it is too small for one picture.
    """
    most = max(prepared.recipe.batch_size, len(prepared.train) // LEAST_UPDATES)

    def make(size: int) -> Callable[[], object]:
        recipe = replace(prepared.recipe, batch_size=size, accumulate=min(prepared.recipe.accumulate, size))
        sized = replace(prepared, asked=replace(prepared.asked, recipe=recipe))
        return lambda: rehearse(sized, updates=1)

    return fitting_steps(make, device, most)


def fitting_steps(make: MakeStep, device: Device, most: int) -> FittingBatch:
    """As `fitting_batch`, for steps of any kind.

    Args:
        make: makes a step for a number of pictures.
        most: pictures that are looked at, at most.
    """
    if device.kind == "cuda":
        found, how = tried_batch(make, device.wait, 2 * most), "tried"  # twice, so that a tenth is free at `most` too
    else:
        free = device.free_bytes()
        make(2 * SMALL)()  # what is kept between runs is not of a batch
        low, high = peak_of(make(SMALL), device.device), peak_of(make(2 * SMALL), device.device)
        if free is None or low is None or high is None:
            raise ValueError(f"how much memory a batch takes cannot be seen on {device.name}; give a number: --batch 64")
        found, how = extrapolated(low, high, free / 2**20, 2 * most), "extrapolated"
    if found < 1:
        raise ValueError(f"not even one picture an update fits into the memory of {device.name}; lower size")
    room = min(most, max(1, int(found * FILLED)))
    return FittingBatch(1 << (room.bit_length() - 1), min(most, found), how, most)


def extrapolated(low: float, high: float, free: float, most: int) -> int:
    """How many pictures fit, at most `most`.

    Args:
        low, high: peak memory with `SMALL` pictures and with twice as many, in MiB.
        free: memory that is free, in MiB.
    """
    slope = (high - low) / SMALL
    if slope * most <= 0:  # too little to be seen
        return most if free > max(low, high) else 0
    return max(0, min(most, int((free - (low - slope * SMALL)) / slope)))
