"""Finds the first part of a network whose output in a runtime is not that of torch."""

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from paretina.data.pictures import Pictures
from paretina.data.preprocess import preprocess
from paretina.model.build import Network
from paretina.model.weights import About
from paretina.ship.format import Format
from paretina.ship.header import Header, Precision
from paretina.ship.steps import in_inference_form
from paretina.ship.whole import Whole, parts_of

TOLERANCE: dict[Precision, float] = {"float32": 0.01, "bfloat16": 0.1, "int8": 0.5}
"""Largest difference of an output, as a share of its largest value, that is no departure; a grey level is 0.004 of white."""

PICTURES = 4


class Begun(nn.Module):
    """The first parts of a network: pixels to the output of a part, one row for each picture.

    Attributes:
        part: number of the part in `parts_of`; -1 for the preprocessed picture itself.
    """

    def __init__(self, network: Network, part: int) -> None:
        super().__init__()
        self.inner, self.part, self.model = network, part, network.model
        self.normalise, self.head = network.normalise, network.head  # under these names they stay in float32

    def forward(self, images: Tensor) -> Tensor:
        found = images
        if self.part >= 0:
            found = self.inner.stem(self.normalise(images))
            for stage in self.inner.stages[: self.part]:
                out = stage(found)
                found = out[0] if isinstance(out, tuple) else out
        return found.flatten(1)


@dataclass(frozen=True, kw_only=True)
class AsItIs:
    """In place of a task: outputs are what they are."""

    DENSE = True  # no features
    BOXES = False

    def probabilities(self, logits: Tensor) -> Tensor:
        return logits


def first_departure(network: Network, about: About, format: Format, precision: Precision, pictures: Pictures) -> str:
    """The name of the first part that departs, "preprocessing" and "head" among them, found by halving; "" if that cannot be
    told, as for a model of several networks."""
    parts = parts_of(network)
    if not parts:
        return ""
    images = [pictures.image(number) for number in range(min(PICTURES, len(pictures)))]

    def departs(part: int) -> bool:
        form, _ = in_inference_form(network)
        return difference(Begun(form, part), about, format, precision, images) > TOLERANCE[precision]

    low, high = -1, len(parts)  # the head departs if nothing before it does
    while low < high:
        middle = (low + high) // 2
        if departs(middle):
            high = middle
        else:
            low = middle + 1
    return "preprocessing" if low < 0 else "head" if low == len(parts) else parts[low]


def difference(begun: Begun, about: About, format: Format, precision: Precision, images: list[Tensor]) -> float:
    """The largest difference between a runtime's output and torch's, as a share of the largest value."""
    model: Any = begun.model
    header = Header(about, model.preprocessing, model.resolution, model.channels, precision)
    wanted = []
    for image in images:
        prepared = preprocess(image, model.preprocessing, model.resolution)[None]
        with torch.inference_mode():
            wanted.append(begun(prepared.float() / 255.0))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"part{format.SUFFIX}"
        format.write(Whole(begun, AsItIs(), features=False), path, header)
        run = format.open(path).run
        worst = 0.0
        for image, found in zip(images, wanted, strict=True):
            worst = max(worst, float((run(image[None]) - found).abs().max() / found.abs().max().clamp(min=1e-6)))
    return worst
