"""Checks which image sizes a network accepts."""

import torch

from paretina.model.blueprint import Model
from paretina.model.build import Network


def size_fault(network: Network, side: int) -> str:
    """Why a network does not accept an image size; "" if it does. Works on any device, most cheaply on "meta".

    Args:
        network: in evaluation mode.
        side: of the image, in pixels, at least 1.
    """
    device = next(network.parameters()).device
    try:
        with torch.inference_mode():
            network(torch.zeros(1, network.model.channels, side, side, dtype=torch.uint8, device=device))
    # torch has no narrower exception for mismatched shapes
    except (ValueError, RuntimeError) as error:
        reason = str(error).strip().partition("\n")[0] or type(error).__name__
        return f"the network does not take images of {side} x {side} pixels: {reason}"
    return ""


def check_side(model: Model, side: int) -> None:
    """Checks an image size by running a network without values.

    Raises:
        ValueError: the network does not accept the size; the message says why, and which it accepts if known.
    """
    fault = size_fault(model.build("meta").eval(), side)
    if fault:
        raise ValueError(fault)
