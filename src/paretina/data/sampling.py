"""Samplings: in which order the samples of an epoch come, and which of them come more than once or not at all.

An order follows from (seed, epoch) and the labels alone, so that a resumed run needs only the number of its next update.
"""

from abc import abstractmethod
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from paretina.traits import Method, Never

Numbers = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Pool:
    """What a sampling may know of the samples.

    Attributes:
        labels: the class of each, negative where it has none.
    """

    labels: Numbers

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True, kw_only=True)
class Sampling(Method):
    """The order of the samples in an epoch."""

    PLUGINS = ("paretina.data.samplings",)
    LEFT_OUT = Never("there is always an order; another one is set by name: sampling=Shuffled")
    LOW_PRECISION = Never("it computes nothing")

    def check(self, pool: Pool) -> None:
        """Checks that it can be used on these samples.

        Raises:
            ValueError: it cannot; the message says what to change.
        """

    @abstractmethod
    def order(self, pool: Pool, seed: int) -> Numbers:
        """The indices of an epoch's samples, as many as there are samples; some may come twice, and others not.

        Args:
            seed: different for each epoch.
        """
