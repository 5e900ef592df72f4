"""Opens a shipped file for measuring, in its own runtime."""

from pathlib import Path
from typing import Literal

from torch import nn

from paretina.measure.cost import Cost
from paretina.measure.opened import Opened
from paretina.ship.box_answers import in_answers
from paretina.ship.format import Format

RUNTIMES: dict[str, Literal["torch", "onnxruntime", "openvino"]] = {
    "onnx": "onnxruntime",
    "openvino": "openvino",
    "torch-export": "torch",
}
"""The runtime of each format, as plans name it."""


def open_shipped(name: str, path: Path, format: Format) -> Opened:
    """Loads a shipped file into its runtime; the file is not needed any more.

    Args:
        name: of what is opened.

    Raises:
        ValueError: it is damaged, or its runtime is not installed.
    """
    running = in_answers(format.open(path))
    header = running.header
    return Opened(
        name,
        nn.Identity(),
        None,
        header.preprocessing,
        header.resolution,
        header.channels,
        True,
        running.run,
        RUNTIMES[format.NAME],
        header.precision,
        Cost(**{"stages": (), **header.cost}),  # type: ignore[arg-type]
        running.fit,
    )
