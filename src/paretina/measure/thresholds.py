"""Thresholds of several labels a picture: for each class the probability above which it is taken to be there.

Networks that learn from rare labels seldom give them more than 0.5, and F1 of a class asks for another threshold than 0.5 in
any case: half of the F1 that is reached, where the probabilities are right. So each class gets the threshold with the best F1
on pictures that were not trained on, half way between two neighbouring probabilities; of equally good ones that nearest to
0.5. A class with fewer than 5 pictures that show it, or that do not, keeps 0.5, since a threshold chosen on so few is chance.

Thresholds are never judged on the pictures that they were chosen on: those of pictures with even numbers are chosen on those
with odd numbers, and the other way round. A model file gets the thresholds chosen on all of them.

Source: Lipton, Elkan & Naryanaswamy 2014 (arXiv:1402.1892).
"""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

USUAL = 0.5

LEAST = 5
"""Pictures with a class, and without it, from which on its threshold is chosen."""

Shares = Float[Tensor, "picture classes"]
Present = Bool[Tensor, "picture classes"]


def best_threshold(shares: Float[Tensor, " picture"], there: Bool[Tensor, " picture"]) -> float:
    """The threshold of one class with the best F1.

    Args:
        shares: its probability for each picture.
        there: which pictures show it.
    """
    positives = int(there.sum())
    if positives < LEAST or len(there) - positives < LEAST:
        return USUAL
    order = shares.double().argsort(descending=True, stable=True)
    ranked, hits = shares.double()[order], there[order].double().cumsum(0)
    named = torch.arange(1, len(ranked) + 1, dtype=torch.float64)
    f1 = 2 * hits / (named + positives)
    below = torch.cat((ranked[1:], ranked.new_zeros(1)))
    cuts = ranked > below  # equal probabilities cannot be told apart
    thresholds = (ranked + below) / 2
    best = cuts & (f1 >= f1[cuts].max() - 1e-12)
    found = thresholds[best]
    return float(found[(found - USUAL).abs().argmin()])


def best_thresholds(shares: Shares, there: Present) -> Float[Tensor, " classes"]:
    """The threshold of each class, float64; see `best_threshold`."""
    found = [best_threshold(shares[:, each], there[:, each]) for each in range(shares.shape[1])]
    return torch.tensor(found, dtype=torch.float64)


def cross_chosen(shares: Shares, there: Present) -> Float[Tensor, "picture classes"]:
    """For each picture the thresholds that were chosen on the other half of the pictures."""
    found = torch.full(shares.shape, USUAL, dtype=torch.float64)
    even, odd = slice(0, None, 2), slice(1, None, 2)
    found[even] = best_thresholds(shares[odd], there[odd])
    found[odd] = best_thresholds(shares[even], there[even])
    return found
