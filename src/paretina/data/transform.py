"""The interfaces of transforms: of single pictures, in the loader's workers, and of whole batches, after loading.

A recipe lists both in one tuple and they act in the order written there, those of single pictures first. Among these are
some that take many pictures in one go (`ManyTransform`), each as if it were alone: what a sample becomes follows from its seed,
never from what stands beside it.
"""

import functools
from abc import abstractmethod
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from torchvision import tv_tensors

from paretina.clock import Clock
from paretina.data.batch import Batch
from paretina.data.fill import alone
from paretina.data.levels import MARGIN, WHOLE_MARGIN, Window, halvings_for
from paretina.model.task import Task
from paretina.model.tasks.one_of import OneOf
from paretina.shapes import Image, Images
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
        ANY_LAYOUT: whether it takes pictures that are channels last in memory, each by itself, gives the same bits of them and
            takes no longer. They come out of a crop like this, and to pack their channels takes as long as many a transform.
        MIXES: whether the transform may blend pictures with others of the batch, and targets with theirs; an objective that
            blends by itself refuses it.
    """

    PLUGINS = ("paretina.data.transforms",)
    TASKS: ClassVar[tuple[type[Task], ...]] = (OneOf,)
    MOVES: ClassVar[bool] = False
    LEFT_OUT: ClassVar[HowLeftOut] = OFF
    LOW_PRECISION = Never("pictures are transformed before anything is computed in low precision")
    MIRRORS: ClassVar[bool] = False
    ANY_LAYOUT: ClassVar[bool] = False
    MIXES: ClassVar[bool] = False


@dataclass(frozen=True, kw_only=True)
class ImageTransform(Transform):
    """Acts on one picture at a time.

    Draws from torch's global generator, which the caller has forked and seeded for this sample.
    """

    @abstractmethod
    def __call__(self, image: Image, size: int, clock: Clock) -> Image:
        """Returns the transformed picture; `size` is the side in pixels that the network will see at this update."""

    def needed(self, height: int, width: int) -> int | None:
        """Of a picture of this size, how many pixels become the side of the result, where it is the same part each time.

        A copy of the picture that is halved (`paretina.data.levels`) then stands in for it, if enough pixels are left. None
        where that would change more than the sharpness.
        """
        return None


@dataclass(frozen=True, kw_only=True)
class CropTransform(ImageTransform):
    """Cuts a random part out of a picture and brings it to its size.

    The part is drawn first, by the size of the picture alone; the pixels may then come from a copy of it that is halved.
    """

    @abstractmethod
    def window(self, height: int, width: int, size: int, clock: Clock) -> Window:
        """Draws the part that is kept of a picture of this size, from torch's global generator."""

    @abstractmethod
    def cut(self, image: Image, window: Window, size: int, any_layout: bool = False) -> Image:
        """The part of a picture or mask (`torchvision.tv_tensors.Mask`), at `size` x `size` pixels.

        Args:
            any_layout: whether the result may be channels last in memory.
        """

    def __call__(self, image: Image, size: int, clock: Clock) -> Image:
        return self.cut(image, self.window(image.shape[-2], image.shape[-1], size, clock), size)


@dataclass(frozen=True, kw_only=True)
class ManyTransform(ImageTransform):
    """Acts on one picture as any `ImageTransform`, and on many of one size in less time than on one after the other.

    What chance decides is drawn first, picture by picture, and so cannot depend on a picture or on its size. What a picture
    becomes must not depend on the others, to the bit.

    Attributes:
        FIXED: whether nothing is drawn and nothing asked of the clock, so that a picture becomes the same at every update and
            may be remembered.
    """

    FIXED: ClassVar[bool] = False

    @abstractmethod
    def draw(self, clock: Clock) -> Any:
        """What chance and the clock decide for one picture, drawn from torch's global generator."""

    @abstractmethod
    def many(self, images: Images, drawn: Sequence[Any], size: int) -> Images:
        """The pictures, or masks (`torchvision.tv_tensors.Mask`), each by what was drawn for it; the input stays as it is.

        `size` is the side in pixels that the network will see at this update.
        """

    def __call__(self, image: Image, size: int, clock: Clock) -> Image:
        return self.many(alone(image), [self.draw(clock)], size)[0]


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


@dataclass
class Sight:
    """A picture on its way through the transforms of a view.

    Attributes:
        mask: as large as the picture, in three equal channels; None where there is none.
        seed: of all that is drawn for it.
        state: of torch's global generator where this picture last drew; None before its first draw.
    """

    image: Image
    mask: Image | None
    seed: int
    clock: Clock
    state: torch.Tensor | None = None

    def resume(self) -> None:
        """Puts torch's global generator where this picture left it."""
        if self.state is None:
            torch.default_generator.manual_seed(self.seed)
        else:
            torch.set_rng_state(self.state)

    def go(self, transform: ImageTransform, side: int) -> None:
        """Through one transform alone; the mask moves as the pixels do, by the same draws."""
        before = torch.get_rng_state() if self.mask is not None and transform.MOVES else None
        self.image = transform(self.image, side, self.clock)
        if self.mask is not None and before is not None:
            after = torch.get_rng_state()
            torch.set_rng_state(before)
            self.mask = tv_tensors.Mask(transform(tv_tensors.Mask(self.mask), side, self.clock))
            torch.set_rng_state(after)
        self.check_mask(transform)

    def check_mask(self, transform: ImageTransform) -> None:
        if self.mask is not None and self.mask.shape != self.image.shape:
            raise ValueError(
                f"after {type(transform).__name__} a picture has {tuple(self.image.shape[1:])} pixels, but its mask "
                f"{tuple(self.mask.shape[1:])}; a transform that changes the size must set MOVES and treat both alike"
            )


def go_together(
    transform: ManyTransform, sights: Sequence[Sight], drawn: Sequence[Any], side: int, any_layout: bool = False
) -> None:
    """Pictures and their masks through one transform, those of one size in one go.

    Args:
        any_layout: whether pictures that are channels last in memory may stay so.
    """
    groups = defaultdict(list)
    for sight, each in zip(sights, drawn, strict=True):
        if any_layout and transform.ANY_LAYOUT and sight.mask is None and sight.image.stride(0) == 1:
            sight.image = transform.many(sight.image[None], [each], side)[0]  # to bring them together would take longer
            continue
        groups[sight.image.shape, sight.mask is None].append((sight, each))
    for (_, unmasked), group in groups.items():
        members, own = [sight for sight, _ in group], [each for _, each in group]
        for sight, image in zip(members, transform.many(stacked([sight.image for sight in members]), own, side), strict=True):
            sight.image = image
        if not unmasked and transform.MOVES:
            masks = tv_tensors.Mask(stacked([sight.mask for sight in members if sight.mask is not None]))
            for sight, mask in zip(members, transform.many(masks, own, side), strict=True):
                sight.mask = tv_tensors.Mask(mask)
        for sight in members:
            sight.check_mask(transform)


def stacked(images: Sequence[Image]) -> Images:
    return torch.stack(tuple(images)) if len(images) > 1 else images[0][None]


@dataclass(frozen=True)
class Beginning:
    """What was decided for a picture by its size.

    Attributes:
        halvings: how often the copy that it is made from may be halved.
        window: part that is cut out, in pixels of the whole picture; None where nothing was drawn.
        state: of torch's global generator behind it.
    """

    halvings: int
    window: Window | None = None
    state: torch.Tensor | None = None


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

    @property
    def fixed(self) -> ManyTransform | None:
        """The first transform, if it makes always the same of a picture."""
        first = self.transforms[0] if self.transforms else None
        return first if isinstance(first, ManyTransform) and first.FIXED else None

    @property
    def crop(self) -> CropTransform | None:
        """The first transform, if it cuts a random part out of the picture."""
        first = self.transforms[0] if self.transforms else None
        return first if isinstance(first, CropTransform) else None

    def begin(self, height: int, width: int, size: int, seed: int, clock: Clock) -> "Beginning":
        """What the first transform needs of a picture of this size, before it is decoded.

        Draws from torch's global generator, which the caller has forked.

        Args:
            size: side of the first view in pixels.
            seed: of all that is drawn for the picture.
        """
        side = self.side(size)
        if self.crop is not None:
            torch.default_generator.manual_seed(seed)
            window = self.crop.window(height, width, side, clock)
            return Beginning(halvings_for(window.shorter, side, MARGIN), window, torch.get_rng_state())
        needed = self.transforms[0].needed(height, width) if self.transforms else None
        return Beginning(0 if needed is None else halvings_for(needed, side, WHOLE_MARGIN))

    def cut(self, sight: Sight, begun: "Beginning", halvings: int, size: int) -> None:
        """Takes a picture, halved so many times, through the crop that comes first; its mask is as large as it."""
        assert self.crop is not None
        assert begun.window is not None
        side = self.side(size)
        window = begun.window.halved(halvings, sight.image.shape[1], sight.image.shape[2])
        sight.state = begun.state
        sight.image = self.crop.cut(sight.image, window, side, self.any_layout)
        if sight.mask is not None:
            sight.mask = tv_tensors.Mask(self.crop.cut(tv_tensors.Mask(sight.mask), window, side))
        sight.check_mask(self.crop)

    @functools.cached_property
    def any_layout(self) -> bool:
        """Whether there is nothing but a crop and transforms that take pictures that are channels last in memory."""
        return self.crop is not None and all(transform.ANY_LAYOUT for transform in self.transforms[1:])

    def __call__(self, sights: Sequence[Sight], size: int, begin: int = 0) -> None:
        """Makes views of pictures, in place. Each is what it would be without the others.

        Draws from torch's global generator, which the caller has forked.

        Args:
            size: side of the first view in pixels.
            begin: how many of the transforms the pictures have behind them already.

        Raises:
            ValueError: the transforms do not bring a picture to its size, or a mask to that of its picture.
        """
        side = self.side(size)
        stretches = runs(self.transforms[begin:])
        for stretch, (singles, manys) in enumerate(stretches, 1):
            drawn = []
            for sight in sights:
                sight.resume()
                for single in singles:
                    sight.go(single, side)
                drawn.append([many.draw(sight.clock) for many in manys])
                if stretch < len(stretches):
                    sight.state = torch.get_rng_state()
            for number, many in enumerate(manys):
                go_together(many, sights, [each[number] for each in drawn], side, self.any_layout)
        for shape in {sight.image.shape for sight in sights} - {(3, side, side)}:
            names = ", ".join(type(transform).__name__ for transform in self.transforms) or "none"
            raise ValueError(
                f"the transforms ({names}) gave a picture of {tuple(shape)}, not 3 x {side} x {side}; "
                "one of them must crop or resize"
            )


def runs(transforms: Sequence[ImageTransform]) -> list[tuple[list[ImageTransform], list[ManyTransform]]]:
    """The transforms in order, cut behind each stretch of those that take many pictures: all of a stretch draw at once."""
    found: list[tuple[list[ImageTransform], list[ManyTransform]]] = []
    for transform in transforms:
        many = isinstance(transform, ManyTransform)
        if not found or (found[-1][1] and not many):
            found.append(([], []))
        if isinstance(transform, ManyTransform):
            found[-1][1].append(transform)
        else:
            found[-1][0].append(transform)
    return found


@functools.lru_cache(maxsize=64)
def made(kind: Callable[..., Any], *settings: Any, **named: Any) -> Any:
    """Caches constructed transforms: constructing one of torchvision's can take longer than applying it."""
    return kind(*settings, **named)
