"""Frequencies of classes in training, and logit adjustment: the answers of a network as if all classes were equally frequent.

A network that was trained with cross entropy puts rare classes last where it is in doubt, which is best for accuracy on
pictures of classes as they occur, and worst for recall of the rare ones. Subtracting tau * log(frequency) from its logits
undoes that: with tau = 1 it answers what balanced accuracy asks for, as far as its probabilities are right.

Source: Menon et al. 2021 (arXiv:2007.07314), equation 9.
"""

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from paretina.model.weights import About
from paretina.shapes import Logits


def log_priors(counts: Sequence[float]) -> Float[Tensor, " classes"]:
    """The logarithm of the frequency of each class, float32; a class without pictures is taken as if it had one.

    Args:
        counts: training pictures of each class.

    Raises:
        ValueError: there is no picture, or a count below 0.
    """
    found = torch.tensor(list(counts), dtype=torch.float64)
    if not len(found) or found.min() < 0 or not found.sum():
        raise ValueError(f"frequencies need training pictures, and counts of at least 0, got {list(counts)[:10]}")
    return (torch.where(found > 0, found, 1.0) / found.sum()).log().float()


def adjusted(logits: Logits, about: About, tau: float) -> Logits:
    """The logits of a model less tau * log(frequency).

    Args:
        about: what the model file says of itself.
        tau: factor, at least 0.

    Raises:
        ValueError: tau is none, the model file does not know the frequencies, or it was trained so that they do not matter.
    """
    check_adjusting(about, tau)
    return logits - tau * log_priors(about.counts).to(logits) if tau else logits


def check_adjusting(about: About, tau: float) -> None:
    """Checks that the logits of a model can be adjusted; see `adjusted`.

    Raises:
        ValueError: they cannot.
    """
    if not (math.isfinite(tau) and tau >= 0):
        raise ValueError(f"logit_adjustment is a factor of at least 0, usually 1, got {tau:g}")
    if tau and about.balanced:
        raise ValueError(
            f"the model was trained with {about.balanced}, so that it answers as if all classes were equally frequent already; "
            "leave logit_adjustment out"
        )
    if tau and not about.counts:
        raise ValueError(
            "the model file does not say how many training pictures each class had, which logit_adjustment needs; it is saved "
            "by runs with one class a picture, from this release on"
        )
