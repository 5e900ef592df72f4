"""Channels: changes the number of input channels.

For grey pictures, or for more than red, green and blue (infrared, depth). Only the first convolution changes its size: kernel
area times width for each channel.

The statistics of the new channels are unknown, so all channels get the average over the previous ones; set
`preprocessing.mean` and `preprocessing.std` if you know them.

Invariant: nothing but the preprocessing and the first convolution changes.
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
        mean, std = (
            (sum(values) / len(values),) * self.count for values in (blueprint.preprocessing.mean, blueprint.preprocessing.std)
        )
        return replace(blueprint, channels=self.count, preprocessing=replace(blueprint.preprocessing, mean=mean, std=std))


EXAMPLES = (Channels(count=1),)
