"""Channels: the number of channels of a picture.

For grey pictures, or for more than red, green and blue (infrared, depth). Only the first convolution changes its size: it has
kernel area times width for each channel.

Nobody told the statistics of the new channels, so that the door gives all of them the average over those that it had; set
`door.mean` and `door.std` where you know better.

Invariant: nothing but the door and the first convolution changes.
"""

from dataclasses import dataclass, replace

from paretina.model.blueprint import Blueprint, Edit


@dataclass(frozen=True, kw_only=True)
class Channels(Edit):
    """
    Attributes:
        count: channels of a picture, at least 1.
    """

    count: int

    def __post_init__(self) -> None:
        if self.count < 1:
            raise ValueError(f"Channels needs a count of at least 1, got {self.count}")

    def edit(self, blueprint: Blueprint) -> Blueprint:
        if self.count == blueprint.channels:
            return blueprint
        mean, std = ((sum(values) / len(values),) * self.count for values in (blueprint.door.mean, blueprint.door.std))
        return replace(blueprint, channels=self.count, door=replace(blueprint.door, mean=mean, std=std))


EXAMPLES = (Channels(count=1),)
