"""Batch: what the loader hands to the objective."""

from dataclasses import dataclass, replace

import torch

from paretina.shapes import Ids, Targets, View


@dataclass(frozen=True)
class Batch:
    """Pictures with what is said about them.

    Attributes:
        views: the same pictures, once for each view that the recipe asks for; unnormalised. Maps stand in place of images where
            the frozen parts of the network have been computed before; see `paretina.train.remembered`.
        targets: class probabilities, of dense tasks for each pixel; a row of zeros says nothing and weighs nothing.
        ids: number of each sample in its split.
    """

    views: tuple[View, ...]
    targets: Targets
    ids: Ids

    @property
    def images(self) -> View:
        """The first view."""
        return self.views[0]

    def __len__(self) -> int:
        return len(self.targets)

    def to(self, device: torch.device | str, memory_format: torch.memory_format = torch.contiguous_format) -> "Batch":
        """The batch on another device; images in the given memory format."""
        views = tuple(view.to(device, non_blocking=True, memory_format=memory_format) for view in self.views)
        return replace(self, views=views, targets=self.targets.to(device), ids=self.ids.to(device))
