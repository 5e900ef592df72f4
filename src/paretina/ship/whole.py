"""The network as it is shipped: whole-number pixels of any size in, probabilities out.

The cut and the resize are arithmetic that every runtime has (comparisons, multiplications and two products of matrices), so
that a file computes the same in each of them. Exporters' own antialiased resize differs between runtimes and from training.
"""

import math
from typing import Any, Literal

import torch
from torch import Tensor, nn

from paretina.data.preprocess import SLACK
from paretina.model.blueprint import Preprocessing
from paretina.model.build import Combined, Network
from paretina.ship.header import FEATURES, output_of

BITS = 15
"""Bits of the whole numbers that torch's resize of uint8 pictures multiplies with, their sign left out."""

MOST_BITS = 22
"""Bits behind the point of these numbers at most."""

RADIUS: dict[str, float] = {"bilinear": 1.0, "bicubic": 2.0}
"""Pixels from the centre of the filter to where it ends, without antialias."""


class Resize(nn.Module):
    """Cuts and resizes pictures as `paretina.data.preprocess`, to whole grey levels; any height and width.

    A pixel differs from torch's uint8 resize by one grey level at most, and seldom: where its sum is within rounding of a half.
    Source: Keys 1981 (the cubic filter, a = -0.5); Pillow's resize, whose order and rounding torch has: along each row, rounded
    to a grey level, then along each column.
    """

    places: Tensor

    def __init__(self, preprocessing: Preprocessing, size: int) -> None:
        super().__init__()
        self.fit, self.crop = preprocessing.fit, preprocessing.crop
        self.interpolation: Literal["bilinear", "bicubic"] = preprocessing.interpolation
        self.size = size
        self.register_buffer("places", torch.arange(size, dtype=torch.float32) + 0.5, persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """(batch, channel, row, column) grey levels of any size, as (batch, channel, size, size) whole numbers in float32."""
        rows, columns = pixels_along(images, -2), pixels_along(images, -1)
        height, width = rows[-1] + 1, columns[-1] + 1  # tensors, since an exporter would keep a number as it is
        if self.fit == "crop":
            side = self.kept(height, width)
            down, right = self.filters(rows, height, side), self.filters(columns, width, side)
        else:
            down, right = self.filters(rows, height, height), self.filters(columns, width, width)
        along_rows = grey_levels(images.float() @ right.transpose(0, 1))
        return grey_levels(down @ along_rows)

    def kept(self, height: Tensor, width: Tensor) -> Tensor:
        """The side of the square that is cut out."""
        return torch.clamp(torch.floor(torch.minimum(height, width) * self.crop + SLACK), min=1.0)

    def on_whole(self, places: Tensor, images: Tensor) -> Tensor:
        """Places whose boxes are shares of what is cut out, (batch, place, 4 + class), with boxes as shares of the whole."""
        if self.fit != "crop":
            return places
        height, width = (pixels_along(images, axis)[-1] + 1 for axis in (-2, -1))
        side = self.kept(height, width)
        top, left = (torch.floor((length - side + 1) / 2) for length in (height, width))
        corners = places[..., :4] * side + torch.stack((left, top, left, top))
        return torch.cat((corners / torch.stack((width, height, width, height)), places[..., 4:]), -1)

    def filters(self, pixels: Tensor, length: Tensor, side: Tensor) -> Tensor:
        """What each of the (length) pixels adds to each of (size) places: (size, length).

        Args:
            pixels: 0, 1, 2 and so on.
            side: how many of them are kept, in the middle.
        """
        first = torch.floor((length - side + 1) / 2)
        step = side / self.size
        stretch = torch.clamp(step, min=1.0)
        away = (pixels + 0.5 - (first + self.places * step).unsqueeze(1)).abs() / stretch
        kept = (pixels >= first) & (pixels < first + side)
        shares = torch.where(kept, weighed(away, self.interpolation), 0.0)
        shares = shares / shares.sum(1, keepdim=True)
        bits = torch.floor(torch.log((2.0**BITS - 0.5) / shares.max()) / math.log(2.0))
        unit = torch.round(torch.exp(torch.clamp(bits, max=float(MOST_BITS)) * math.log(2.0)))  # a power of two
        return torch.sign(shares) * torch.floor(shares.abs() * unit + 0.5) / unit


def pixels_along(images: Tensor, axis: int) -> Tensor:
    """0, 1, 2 and so on, for each row or column of pictures."""
    return torch.arange(images.shape[axis], device=images.device, dtype=torch.float32)


def weighed(away: Tensor, interpolation: Literal["bilinear", "bicubic"]) -> Tensor:
    """The filter at a distance from its centre, in pixels of the coarser of the two pictures."""
    if interpolation == "bilinear":
        return torch.clamp(1 - away, min=0.0)
    near = (1.5 * away - 2.5) * away * away + 1
    far = ((-0.5 * away + 2.5) * away - 4) * away + 2
    return torch.where(away < 1, near, torch.where(away < 2, far, 0.0))


def grey_levels(values: Tensor) -> Tensor:
    return torch.clamp(torch.floor(values + 0.5), 0.0, 255.0)


class Whole(nn.Module):
    """A network with its preprocessing and the last operation of its task.

    Attributes:
        network: in evaluation mode; takes pixels from 0 to 1, and has `model`, that it was built from. One that finds boxes
            gives all places, see `paretina.model.detection.EachPlace`.
        task: what its logits mean, with `DENSE`, `BOXES` and `probabilities`.
        features: whether the features before the classifier are a second output.
    """

    def __init__(self, network: nn.Module, task: Any, features: bool = True) -> None:
        super().__init__()
        model: Any = network.model
        self.features = features and not task.DENSE and not task.BOXES
        self.resize = Resize(model.preprocessing, model.resolution)
        self.network: Any = network.eval()
        self.task = task

    @property
    def outputs(self) -> tuple[str, ...]:
        """Names of what `forward` returns."""
        return (output_of(self.task), FEATURES) if self.features else (output_of(self.task),)

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Probabilities, and where there are any the features before the classifier.

        Args:
            images: (batch, channel, row, column), uint8 of any height and width.

        Returns:
            (batch, class), or with the rows and columns of the preprocessed picture behind them for a class per pixel; and
            (batch, feature). Of a network that finds boxes (batch, place, 4 + class): left, top, right and bottom as shares of
            the sides of the whole picture, and the score of each class.
        """
        pixels = self.resize(images) / 255.0
        if self.task.BOXES:
            return (self.resize.on_whole(self.network(pixels), images),)
        if not self.features:
            return (self.task.probabilities(self.network(pixels)),)
        logits, said = self.network(pixels, extras=True)
        return self.task.probabilities(logits), said["embedding"].float()


def parts_of(network: Network) -> tuple[str, ...]:
    """The parts whose outputs are compared to say where a file departs from its network; none of a model of several."""
    return () if isinstance(network, Combined) else ("stem", *(f"stages.{i}" for i in range(len(network.stages))))
