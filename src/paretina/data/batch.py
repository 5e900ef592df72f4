"""The batch that the loader passes to the objective."""

from dataclasses import dataclass, replace

import torch

from paretina.shapes import Ids, Targets, View


@dataclass(frozen=True)
class Batch:
    """Pictures with their targets.

    Attributes:
        views: the same pictures, once for each view in the recipe; unnormalised.
            Feature maps of frozen parts stand in place of images where these are precomputed; see `paretina.train.remembered`.
        targets: class probabilities, for each pixel in dense tasks; a row of zeros means unlabelled and gets no weight.
        ids: index of each sample in its split.
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
