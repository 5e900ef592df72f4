"""The batch that the loader passes to the objective."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

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
        views = tuple(sent(view, device, memory_format) for view in self.views)
        return replace(self, views=views, targets=sent(self.targets, device), ids=sent(self.ids, device))

    def pin_memory(self) -> "Batch":
        """The batch in memory that the system keeps in place, from which a GPU copies by itself."""
        views = tuple(view.pin_memory() for view in self.views)
        return replace(self, views=views, targets=self.targets.pin_memory(), ids=self.ids.pin_memory())


def sent(tensor: Tensor, device: torch.device | str, memory_format: torch.memory_format = torch.preserve_format) -> Tensor:
    """A tensor on another device, without a wait for it: what goes to a GPU goes from memory that the system keeps in place."""
    there = torch.device(device)
    if there.type == "cuda" and tensor.device.type == "cpu" and not tensor.is_pinned():
        tensor = tensor.pin_memory()
    if there.type != "cuda":
        return tensor.to(there, memory_format=memory_format)
    moved = tensor.to(there, non_blocking=True)
    return moved if memory_format is torch.preserve_format else moved.contiguous(memory_format=memory_format)
