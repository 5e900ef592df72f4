"""What is done to a network before it is written, each with how exact it is."""

from torch import nn

from paretina.model.build import Combined, Network
from paretina.model.fold import fold
from paretina.model.roles import BATCH_NORMS


def in_inference_form(network: Network) -> tuple[Network, tuple[str, ...]]:
    """A copy to write, with what was done to it, a sentence each; the network is unchanged.

    Norms go into the layers before them, LeViT's heads and biases into their layers, constants of proxy norms into theirs; see
    `paretina.model.fold`. A network that has no inference form is written as it is.

    Raises:
        ValueError: the network's answers depend on what else is in the batch, so that one picture has no answer of its own.
    """
    try:
        found = fold(network)
    except TypeError as error:
        return network.eval(), (f"written as it was trained: {error}",)
    before = sum(1 for module in network.modules() if is_norm(module))
    after = sum(1 for module in found.modules() if is_norm(module))
    if isinstance(network, Combined):
        return found, (f"batch norms of {len(network.networks())} networks folded: exact up to rounding in float32",)
    if before == after:
        return found, ()
    left = f", {after} are left, which stand alone or have no fixed statistics" if after else ""
    return found, (f"{before - after} norms folded into the layers before them: exact up to rounding in float32{left}",)


def is_norm(module: nn.Module) -> bool:
    return isinstance(module, BATCH_NORMS)
