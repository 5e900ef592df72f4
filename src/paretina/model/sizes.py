"""Sizes of images that a network takes."""

import torch

from paretina.model.blueprint import Model
from paretina.model.build import Network


def size_fault(network: Network, side: int) -> str:
    """Why a network takes no images of a size; "" where it does. Says it of a network on any device, most cheaply on "meta".

    Args:
        network: in evaluation mode.
        side: of the image, in pixels, at least 1.
    """
    device = next(network.parameters()).device
    try:
        with torch.inference_mode():
            network(torch.zeros(1, network.model.channels, side, side, dtype=torch.uint8, device=device))
    # torch has no narrower class for shapes that do not fit
    except (ValueError, RuntimeError) as error:
        reason = str(error).strip().partition("\n")[0] or type(error).__name__
        return f"the network does not take images of {side} x {side} pixels: {reason}"
    return ""


def check_side(model: Model, side: int) -> None:
    """Sends an image of a size through a network, without values.

    Raises:
        ValueError: it takes no images of that size; the message says why, and which it takes where that is known.
    """
    fault = size_fault(model.build("meta").eval(), side)
    if fault:
        raise ValueError(fault)
