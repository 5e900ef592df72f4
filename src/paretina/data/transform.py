"""The interfaces of transforms: of single pictures, in the loader's workers, and of whole batches, after loading.

A recipe lists both in one tuple and they act in the order written there, those of single pictures first.
"""

import functools
from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from torchvision import tv_tensors

from paretina.clock import Clock
from paretina.data.batch import Batch
from paretina.model.task import Task
from paretina.model.tasks.one_of import OneOf
from paretina.shapes import Image
from paretina.spec import Spec
from paretina.traits import OFF, HowLeftOut, Method, Never, traits

PLAIN = Never("it only brings a picture to its size, without which nothing can be trained")
"""Never left out: the answer of transforms that only make a picture square."""


@dataclass(frozen=True, kw_only=True)
class Transform(Method):
    """Base of both kinds.

    Attributes:
        TASKS: kinds of tasks whose targets stay valid after it; a run with another task is refused before it starts.
            `(Task,)` means every task.
        MOVES: whether it moves pixels or changes the size, so that a mask must move with the picture. It is then called on the
            mask too, as `torchvision.tv_tensors.Mask` with three equal channels, of which torchvision's functions take the
            nearest pixel; to change the size use `paretina.data.resize`. It must draw the same numbers for a mask as for a
            picture and must not change its values; gaps get 255.
        MIRRORS: whether the transform may turn a picture into its mirror image; a source can declare that illegal.
        MIXES: whether the transform may blend pictures with others of the batch, and targets with theirs; an objective that
            blends by itself refuses it.
    """

    PLUGINS = ("paretina.data.transforms",)
    TASKS: ClassVar[tuple[type[Task], ...]] = (OneOf,)
    MOVES: ClassVar[bool] = False
    LEFT_OUT: ClassVar[HowLeftOut] = OFF
    LOW_PRECISION = Never("pictures are transformed before anything is computed in low precision")
    MIRRORS: ClassVar[bool] = False
    MIXES: ClassVar[bool] = False


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


@dataclass(frozen=True, kw_only=True)
class View(Spec):
    """One view of a picture: the recipe's transforms, then those of this view only.

    Attributes:
        transforms: additional transforms of this view, in this order.
        own: whether it has its own random draws; otherwise it uses those of the first view, and so shows the same part.
        scale: its side as a multiple of that of the first view, above 0. With `own=False` it is the same part in more pixels
            or fewer, for a teacher that wants another size.
    """

    transforms: tuple[ImageTransform, ...] = field(default=(), metadata=traits(elsewhere=()))
    own: bool = field(default=True, metadata=traits(elsewhere=()))
    scale: float = field(default=1.0, metadata=traits(elsewhere=()))

    def __post_init__(self) -> None:
        if self.scale <= 0:
            raise ValueError(f"View.scale is a multiple of the side of the first view, above 0, got {self.scale:g}")


@dataclass(frozen=True)
class Look:
    """All transforms of one view of a picture; see `View`."""

    transforms: tuple[ImageTransform, ...]
    own: bool = True
    scale: float = 1.0

    def side(self, size: int) -> int:
        """Its side in pixels, for a network input of `size`.

        Raises:
            ValueError: nothing would be left of it.
        """
        side = round(size * self.scale)
        if side < 1:
            raise ValueError(f"a view at {self.scale:g} times {size} pixels has no pixel left; raise its scale or the size")
        return side

    def __call__(self, image: Image, size: int, clock: Clock) -> Image:
        """The view; `size` is the side of the first one in pixels.

        Raises:
            ValueError: the transforms do not bring the picture to its size.
        """
        return self.both(image, None, size, clock)[0]

    def both(self, image: Image, mask: Image | None, size: int, clock: Clock) -> tuple[Image, Image | None]:
        """The view, and the mask moved as its pixels are, by the same draws.

        Args:
            mask: as large as the picture, in three equal channels; None where there is none.

        Raises:
            ValueError: the transforms do not bring the picture to its size, or the mask to that of the picture.
        """
        side = self.side(size)
        for transform in self.transforms:
            before = torch.get_rng_state() if mask is not None and transform.MOVES else None
            image = transform(image, side, clock)
            if mask is not None and before is not None:
                after = torch.get_rng_state()
                torch.set_rng_state(before)
                mask = tv_tensors.Mask(transform(tv_tensors.Mask(mask), side, clock))
                torch.set_rng_state(after)
            if mask is not None and mask.shape != image.shape:
                raise ValueError(
                    f"after {type(transform).__name__} a picture has {tuple(image.shape[1:])} pixels, but its mask "
                    f"{tuple(mask.shape[1:])}; a transform that changes the size must set MOVES and treat both alike"
                )
        if image.shape != (3, side, side):
            names = ", ".join(type(transform).__name__ for transform in self.transforms) or "none"
            raise ValueError(
                f"the transforms ({names}) gave a picture of {tuple(image.shape)}, not 3 x {side} x {side}; "
                "one of them must crop or resize"
            )
        return image, mask


@functools.lru_cache(maxsize=64)
def made(kind: Callable[..., Any], *settings: Any, **named: Any) -> Any:
    """Caches constructed transforms: constructing one of torchvision's can take longer than applying it."""
    return kind(*settings, **named)
