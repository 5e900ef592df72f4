"""The Beta(alpha, alpha) distribution, from which mixers draw how much of each picture they keep."""

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor


def beta(alpha: float, count: int, generator: torch.Generator) -> Float[Tensor, " count"]:
    """Draws numbers in [0, 1]; near 0 and 1 for a small alpha, uniform for 1, near 1/2 for a large one.

    torch's own distributions take no generator, so this seeds a numpy one from it.
    """
    seed = int(torch.randint(2**62, (), generator=generator))
    return torch.from_numpy(np.random.default_rng(seed).beta(alpha, alpha, size=count)).float()
