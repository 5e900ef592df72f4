"""Taylor: by how much the loss would change without a weight, to first order. Needs some batches of training pictures.

The numbers of all layers have one unit, that of the loss, so layers are compared with each other too. The gradients of a
trained network are small on the whole, those of single batches are not; so absolute values are taken batch by batch.
"""

from collections.abc import Iterable, Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

from paretina.data.batch import Batch
from paretina.model.build import Network
from paretina.search.pruning.importance import Importance


class Taylor(Importance):
    NAME = "taylor"
    SOURCE = "Molchanov et al. 2019 (arXiv:1906.10771), section 3.1, with absolute values of single weights"
    BATCHES = True
    SHARED = True

    def weights(self, network: Network, batches: Iterable[Batch]) -> Mapping[str, Tensor]:
        network.requires_grad_(True)
        parameters = dict(network.named_parameters())
        found = {name: torch.zeros_like(parameter) for name, parameter in parameters.items()}
        seen = 0
        for batch in batches:
            with torch.enable_grad():
                loss = F.cross_entropy(network(batch.images).float(), batch.targets)
                gradients = torch.autograd.grad(loss, list(parameters.values()), allow_unused=True)
            for (name, parameter), gradient in zip(parameters.items(), gradients, strict=True):
                if gradient is not None:
                    found[name] += (parameter * gradient).detach().abs()
            seen += 1
        if not seen:
            raise ValueError("taylor needs training pictures, and there are none; use --importance magnitude")
        return {name: total / seen for name, total in found.items()}


METHOD = Taylor()
