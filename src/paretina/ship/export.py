"""Makes one graph of a whole network, with free batch, height and width."""

import contextlib
import io
import logging
import os
import warnings
from collections.abc import Iterator

import torch
from torch.export import Dim, ExportedProgram

from paretina.model.weights import shortened
from paretina.ship.header import INPUT
from paretina.ship.whole import Whole

EXAMPLE = (2, 37, 53)
"""Batch, height and width of the pictures that are traced; a batch of 1 would be taken for a constant."""


def exported(whole: Whole) -> ExportedProgram:
    """The graph of a whole network.

    Raises:
        ValueError: the network cannot be expressed as one graph; the message names it and why.
    """
    batch, height, width = EXAMPLE
    channels = whole.network.model.channels
    images = torch.zeros(batch, channels, height, width, dtype=torch.uint8)
    free = {INPUT: {0: Dim.DYNAMIC, 2: Dim.DYNAMIC, 3: Dim.DYNAMIC}}
    try:
        with quiet(), torch.no_grad():
            return torch.export.export(whole.eval(), (images,), dynamic_shapes=free)
    except Exception as error:  # tracing can fail in any way
        name = type(whole.network.model).__name__
        raise ValueError(f"this network ({name}) cannot be shipped, since it is no single graph: {shortened(error)}") from error


@contextlib.contextmanager
def conversion(whole: Whole, to: str, instead: str) -> Iterator[None]:
    """Turns what a converter raises, in any way, into an error that names the network, the format and the reason.

    Args:
        instead: formats that may have what this one lacks, in words.

    Raises:
        ValueError: the conversion failed.
    """
    try:
        with quiet():
            yield
    except Exception as error:
        reason: BaseException = error
        while reason.__cause__ is not None:
            reason = reason.__cause__
        name = type(whole.network.model).__name__
        said = " ".join((str(reason) or type(reason).__name__).split())
        said = said if len(said) <= 600 else f"{said[:600]} ..."
        raise ValueError(f"this network ({name}) cannot be written as {to}: {said}; ship it --to {instead}") from error


SILENT = {"CI": "true", "NNCF_CI": "1"}
"""Environment in which OpenVINO and NNCF send no telemetry; they have no other switch that works without a user's file."""


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Without the progress reports and warnings of exporters, which are about their own insides, and without telemetry."""
    before = {name: os.environ.get(name) for name in SILENT}
    os.environ.update(SILENT)
    level = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(level)
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
