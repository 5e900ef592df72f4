"""How well features find pictures of the same class: their votes, and Recall@k."""

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

ROWS = 1024
"""Rows whose neighbours are searched for at a time."""

TEMPERATURE = 0.07
"""Of the votes of neighbours: the weight of one is exp(cosine / temperature)."""

RECALLS = (1, 2, 4, 8)
"""Numbers of neighbours among which one of the same class is looked for (Teh et al. 2020, arXiv:2004.01113, section 4)."""


def nearest(features: Tensor, count: int) -> list[list[tuple[int, float]]]:
    """For each row the numbers of the most similar other rows with the cosine, the most similar first."""
    count = min(count, len(features) - 1)
    if count < 1:
        return [[] for _ in features]
    unit = F.normalize(features.double(), dim=1)
    found: list[list[tuple[int, float]]] = []
    for start in range(0, len(unit), ROWS):
        alike = unit[start : start + ROWS] @ unit.T
        rows = torch.arange(len(alike))
        alike[rows, rows + start] = -2.0  # not itself
        best = alike.topk(count, dim=1)
        for values, numbers in zip(best.values.tolist(), best.indices.tolist(), strict=True):
            found.append(list(zip(numbers, values, strict=True)))
    return found


def recalls(features: Float[Tensor, "sample feature"], labels: Int[Tensor, " sample"]) -> dict[int, float]:
    """By k, the share of samples in percent that have one of their class among the k nearest others."""
    near = nearest(features, RECALLS[-1])
    right = torch.zeros(len(RECALLS))
    for number, row in enumerate(near):
        same = [bool(labels[other] == labels[number]) for other, _ in row]
        right += torch.tensor([any(same[:k]) for k in RECALLS]).float()
    return {k: 100 * float(value) / len(features) for k, value in zip(RECALLS, right, strict=True)}


def voted(
    known: Float[Tensor, "sample feature"],
    labels: Int[Tensor, " sample"],
    asked: Float[Tensor, "other feature"],
    classes: int,
    count: int,
) -> Float[Tensor, "other classes"]:
    """The votes of the nearest known samples for each class."""
    unit, count = F.normalize(known, dim=1), min(count, len(known))
    found = []
    for part in F.normalize(asked, dim=1).split(ROWS):
        cosine, number = (part @ unit.T).topk(count, dim=1)
        weight = ((cosine - cosine[:, :1]) / TEMPERATURE).exp()
        found.append(torch.zeros(len(part), classes).scatter_add_(1, labels[number], weight))
    return torch.cat(found)
