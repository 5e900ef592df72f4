"""Is a saliency map true to the network? Insertion, deletion, ROAD, and a check against an untrained network.

Each figure is a mean over pictures with a 95 % interval, beside that of a random map, below which a map says nothing.

- deletion: pixels are greyed in the order of the map, the highest first; area under the probability of the class against the
  share that is gone. Lower is better.
- insertion: the same from a blurred picture to the whole one. Higher is better.
- road: probability where the least relevant pixels are gone less that where the most relevant are, halved, averaged over 20,
  40, 60 and 80 %; what is gone is filled in from its neighbours. Higher is better.
- randomised: rank correlation between the map of the trained network and that of one with new weights. A map that does not
  change shows the picture, not the network. Lower is better.

Source: Petsiuk et al. 2018 (arXiv:1806.07421), section 4.2; Rong et al. 2022 (arXiv:2202.00449), section 4; Adebayo et al. 2018
(arXiv:1810.03292), section 3.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from paretina.measure.statistics import Interval, as_object, mean_interval, paired_interval
from paretina.model.build import Network
from paretina.ship.saliency import Saliency, enlarged, scaled
from paretina.tables import in_columns
from paretina.text import how_many

STEPS = 20
"""Steps of insertion and deletion."""

GONE = (0.2, 0.4, 0.6, 0.8)
"""Shares of pixels that ROAD takes away."""

BLUR = 11
"""Pixels of the Gaussian kernel that insertion begins with, at a standard deviation of 5, for a picture of 224."""

RELAXATIONS = 60
"""Passes in which missing pixels are filled in from their neighbours."""

Shares = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Faithful:
    """The figures of one map, or of a random one.

    Attributes:
        deletion, insertion, road: of each picture.
        randomised: rank correlation of each picture; None for a random map.
    """

    deletion: tuple[float, ...]
    insertion: tuple[float, ...]
    road: tuple[float, ...]
    randomised: tuple[float, ...] | None = None

    def intervals(self) -> dict[str, Interval]:
        named = {"deletion": self.deletion, "insertion": self.insertion, "road": self.road, "randomised": self.randomised}
        return {name: mean_interval(values) for name, values in named.items() if values is not None}


@dataclass(frozen=True)
class Faithfulness:
    """The figures of maps on the same pictures.

    Attributes:
        n: number of pictures.
        methods: figures by method; "random" is a map of noise.
    """

    n: int
    methods: Mapping[str, Faithful]

    def against_random(self, name: str) -> dict[str, Interval]:
        """The differences between a map and a random one, picture by picture."""
        own, other = self.methods[name], self.methods["random"]
        return {each: paired_interval(getattr(own, each), getattr(other, each)) for each in ("deletion", "insertion", "road")}

    def to_dict(self) -> dict[str, Any]:
        found = {
            name: {each: as_object(interval) for each, interval in figures.intervals().items()}
            for name, figures in self.methods.items()
        }
        return {"n": self.n, "methods": found}

    def table(self) -> list[str]:
        """The figures as lines of text."""
        rows: list[Sequence[str]] = [("method", "deletion (low)", "insertion (high)", "ROAD (high)", "randomised (low)")]
        for name, figures in self.methods.items():
            shown = figures.intervals()
            rows.append((name, *(said(shown.get(each)) for each in ("deletion", "insertion", "road", "randomised"))))
        return [*in_columns(rows, "<"), f"{how_many(self.n, 'picture')}; in brackets the 95 % interval of the mean"]


def said(interval: Interval | None) -> str:
    return "" if interval is None else f"{interval.value:.3g} [{interval.low:.3g} to {interval.high:.3g}]"


def faithfulness(network: Network, images: Sequence[Tensor], saliencies: Sequence[Saliency], seed: int = 0) -> Faithfulness:
    """Measures methods on pictures, each for the class that the network answers.

    Args:
        network: in evaluation mode.
        images: preprocessed pictures, each (channel, side, side) of uint8; at least 2.

    Raises:
        ValueError: fewer than two pictures, or the network has not what a method needs.
    """
    if len(images) < 2:
        raise ValueError(f"faithfulness needs at least 2 pictures for an interval, got {len(images)}")
    fresh = untrained(network, seed)
    figures: dict[str, list[dict[str, float]]] = {name: [] for name in (*(each.NAME for each in saliencies), "random")}
    generator = torch.Generator().manual_seed(seed)

    def shares(pictures: Tensor) -> Tensor:
        with torch.inference_mode():
            return network(pictures).softmax(1)

    for image in images:
        one = image[None]
        classes = shares(one).argmax(1)
        side = image.shape[-1]
        found = {each.NAME: each.maps(network, one, classes) for each in saliencies}
        other = {each.NAME: each.maps(fresh, one, classes) for each in saliencies}
        found["random"] = torch.rand(1, 7, 7, generator=generator)
        for name, raw in found.items():
            order = ranking(enlarged(scaled(raw), side)[0])
            row = {
                "deletion": deletion(shares, image, order, int(classes)),
                "insertion": insertion(shares, image, order, int(classes)),
                "road": road(shares, image, order, int(classes), generator),
            }
            if name in other:
                row["randomised"] = rank_correlation(raw[0], other[name][0])
            figures[name].append(row)
    return Faithfulness(
        len(images),
        {
            name: Faithful(
                tuple(row["deletion"] for row in rows),
                tuple(row["insertion"] for row in rows),
                tuple(row["road"] for row in rows),
                None if name == "random" else tuple(row["randomised"] for row in rows),
            )
            for name, rows in figures.items()
        },
    )


def untrained(network: Network, seed: int) -> Network:
    """A network of the same model with new weights; its batch norms have no statistics to go by."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return network.model.build().eval()


def ranking(found: Tensor) -> Tensor:
    """The pixels from the highest to the lowest, as numbers; of equal ones the first comes first."""
    return found.flatten().sort(descending=True, stable=True).indices


def area(values: Sequence[float]) -> float:
    """Area under values at equal steps from 0 to 1, by trapezoids."""
    return float(np.trapezoid(values, dx=1 / (len(values) - 1)))


def stepwise(shares: Shares, start: Tensor, end: Tensor, order: Tensor, number: int) -> list[float]:
    """Probabilities of a class while pixels of one picture are replaced by those of another, in an order."""
    count = start[0].numel()
    pictures = []
    for step in range(STEPS + 1):
        changed = order[: round(count * step / STEPS)]
        picture = start.clone().flatten(1)
        picture[:, changed] = end.flatten(1)[:, changed]
        pictures.append(picture.view_as(start))
    return shares(torch.stack(pictures))[:, number].tolist()


def deletion(shares: Shares, image: Tensor, order: Tensor, number: int) -> float:
    grey = image.float().mean((1, 2), keepdim=True).round().to(image.dtype).expand_as(image)
    return area(stepwise(shares, image, grey, order, number))


def insertion(shares: Shares, image: Tensor, order: Tensor, number: int) -> float:
    return area(stepwise(shares, blurred(image), image, order, number))


def blurred(image: Tensor) -> Tensor:
    """The picture behind a Gaussian that is as wide for its size as 11 pixels are for 224."""
    side = image.shape[-1]
    radius = max(1, round(BLUR / 2 * side / 224))
    places = torch.arange(-radius, radius + 1, dtype=torch.float32)
    kernel = torch.exp(-(places**2) / (2 * (5 * side / 224) ** 2))
    kernel = kernel / kernel.sum()
    channels = len(image)
    found = F.pad(image[None].float(), (radius,) * 4, mode="replicate")
    found = F.conv2d(found, kernel.view(1, 1, 1, -1).expand(channels, 1, 1, -1), groups=channels)
    found = F.conv2d(found, kernel.view(1, 1, -1, 1).expand(channels, 1, -1, 1), groups=channels)
    return found[0].round().clamp(0, 255).to(image.dtype)


def road(shares: Shares, image: Tensor, order: Tensor, number: int, generator: torch.Generator) -> float:
    """(least relevant first - most relevant first) / 2, averaged over the shares that are taken away."""
    count = len(order)
    pictures = []
    for share in GONE:
        gone = round(share * count)
        for chosen in (order[:gone], order[count - gone :]):  # the most relevant, the least relevant
            pictures.append(filled(image, chosen, generator))
    found = shares(torch.stack(pictures))[:, number].view(len(GONE), 2)
    return float((found[:, 1] - found[:, 0]).mean() / 2)


def filled(image: Tensor, gone: Tensor, generator: torch.Generator) -> Tensor:
    """The picture with pixels filled in from their neighbours: 1/6 of each beside, 1/12 of each across, and a little noise.

    The equations are relaxed instead of solved, from the mean of what is left.
    """
    rows, columns = image.shape[-2:]
    known = torch.ones(rows * columns, dtype=torch.bool)
    known[gone] = False
    known = known.view(1, 1, rows, columns)
    kernel = torch.tensor([[1 / 12, 1 / 6, 1 / 12], [1 / 6, 0.0, 1 / 6], [1 / 12, 1 / 6, 1 / 12]])
    kernel = kernel.view(1, 1, 3, 3).expand(len(image), 1, 3, 3)
    given = image[None].float()
    left = given * known
    found = torch.where(known, given, left.sum((2, 3), keepdim=True) / known.sum().clamp(min=1))
    for _ in range(RELAXATIONS):
        around = F.conv2d(F.pad(found, (1, 1, 1, 1), mode="replicate"), kernel, groups=len(image))
        found = torch.where(known, given, around)
    noise = torch.randn(found.shape, generator=generator) * 0.01 * 255
    found = torch.where(known, given, found + noise)
    return found[0].round().clamp(0, 255).to(image.dtype)


def rank_correlation(one: Tensor, other: Tensor) -> float:
    """Spearman's, of two maps; 0 where one of them is flat."""
    from scipy.stats import spearmanr

    a, b = one.flatten().numpy(), other.flatten().numpy()
    if np.ptp(a) == 0 or np.ptp(b) == 0:
        return 0.0
    return float(spearmanr(a, b).statistic)
