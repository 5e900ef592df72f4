"""Magnitude: squares of weights. Needs no picture; says nothing about how layers compare, so each is compared with itself."""

from collections.abc import Iterable, Mapping

from torch import Tensor

from paretina.data.batch import Batch
from paretina.model.build import Network
from paretina.search.pruning.importance import Importance


class Magnitude(Importance):
    NAME = "magnitude"
    SOURCE = "Li et al. 2016 (arXiv:1608.08710), section 3.1, with squares; over groups: arXiv:2301.12900"
    BATCHES = False
    SHARED = False

    def weights(self, network: Network, batches: Iterable[Batch]) -> Mapping[str, Tensor]:
        return {name: parameter.detach().square() for name, parameter in network.named_parameters()}


METHOD = Magnitude()
