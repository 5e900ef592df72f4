"""The two kinds of transform: of one picture, in the loader's workers; of a whole batch, after loading.

A recipe lists both in one tuple and they act in the order written there, those of single pictures first.
"""

import functools
from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import torch

from paretina.clock import Clock
from paretina.data.batch import Batch
from paretina.shapes import Image
from paretina.spec import Spec


@dataclass(frozen=True, kw_only=True)
class Transform(Spec):
    """Base of both kinds.

    Attributes:
        MIRRORS: whether the transform may turn a picture into its mirror image; a source can declare that illegal.
    """

    PLUGINS = ("paretina.data.transforms",)
    MIRRORS: ClassVar[bool] = False


@dataclass(frozen=True, kw_only=True)
class ImageTransform(Transform):
    """Acts on one picture at a time.

    Draws from torch's global generator, which the caller has forked and seeded for this sample.
    """

    @abstractmethod
    def __call__(self, image: Image, size: int, clock: Clock) -> Image:
        """Returns the transformed picture; `size` is the side in pixels that the network will see at this update."""


@dataclass(frozen=True, kw_only=True)
class BatchTransform(Transform):
    """Acts on a batch after loading, on the device of the network."""

    @abstractmethod
    def __call__(self, batch: Batch, clock: Clock, generator: torch.Generator) -> Batch:
        """Returns the transformed batch. Draws only from `generator`, a CPU generator seeded for this update."""


@functools.lru_cache(maxsize=64)
def made(kind: Callable[..., Any], *settings: Any, **named: Any) -> Any:
    """What a maker makes of hashable settings, kept: making one of torchvision's transforms can take longer than its work."""
    return kind(*settings, **named)
