"""Ships a model: writes it, opens what was written, and compares it with the network that was trained."""

import hashlib
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from paretina.data.pictures import Pictures
from paretina.measure.cost import cost
from paretina.measure.machine import Device
from paretina.model.assemblies.route import Router
from paretina.model.build import Network
from paretina.model.tasks.nothing import Nothing
from paretina.model.tasks.one_of import OneOf
from paretina.model.weights import About, load_model
from paretina.ship.box_answers import box_rule, check_one_step, giving_places
from paretina.ship.box_gate import compared_boxes
from paretina.ship.departure import first_departure
from paretina.ship.format import Calibration, Format
from paretina.ship.gate import LIMITS, Gate, Limits, compared
from paretina.ship.header import Header, Precision
from paretina.ship.rival import Rivalry, rivalled
from paretina.ship.steps import in_inference_form
from paretina.ship.whole import Whole

Say = Callable[[str], None]


@dataclass(frozen=True)
class Shipped:
    """A file that was written and compared.

    Attributes:
        bytes: size of the file.
        bytes_before: size of the model file.
        rivalry: for int8, how fast it is beside bfloat16; None for others, and where that was not timed.
    """

    path: Path
    header: Header
    gate: Gate
    bytes: int
    bytes_before: int
    rivalry: Rivalry | None = None

    def to_dict(self) -> dict[str, Any]:
        return {
            "file": str(self.path),
            "bytes": self.bytes,
            "bytes_before": self.bytes_before,
            "precision": self.header.precision,
            "steps": list(self.header.steps),
            "gate": self.gate.to_dict(),
            "against_floats": None if self.rivalry is None else self.rivalry.to_dict(),
        }


def ship(
    model: Path,
    format: Format,
    precision: Precision,
    out: Path,
    pictures: Pictures,
    seconds: float = 6.0,
    limits: Limits | None = None,
    calibration: Calibration | None = None,
    say: Say = lambda text: None,
) -> Shipped:
    """Writes a model in a format, and compares the file with the model.

    Args:
        model: a model file.
        out: the file to write.
        pictures: validation pictures with labels.
        seconds: for each comparison of latencies, that with the trained network and that of int8 with bfloat16; 0 leaves them
            out.
        limits: what the file may differ by; default: those of its precision.
        calibration: for int8.

    Raises:
        ValueError: the model cannot be shipped, or not in this format or precision.
    """
    say(f"writing {out.name}")
    network, header = written(model, format, precision, out, calibration)
    about = header.about
    say("comparing it with the trained network")
    running = format.open(out)
    limits, machine = limits or LIMITS[precision], Device.here().name
    if about.task.BOXES:
        found = compared_boxes(network, about, running, pictures, limits, seconds, machine)
    else:
        found = compared(network, about.task, running, pictures, limits, seconds, machine)
    if found.verdict == "failed" and precision == "float32":
        found = replace(found, departs=first_departure(network, about, format, precision, pictures))
    header = replace(header, gate=found.to_dict())
    format.amended(out, header)
    rivalry = None
    if precision == "int8" and seconds > 0:
        say("comparing its speed with that of the other precisions")
        whole = Whole(in_inference_form(network)[0], about.task)
        rivalry = rivalled(format, whole, header, running, pictures.image(len(pictures) // 2), seconds)
    return Shipped(out, header, found, out.stat().st_size, model.stat().st_size, rivalry)


def written(
    model: Path, format: Format, precision: Precision, out: Path, calibration: Calibration | None = None
) -> tuple[Network, Header]:
    """Writes a model in a format, without comparing anything; returns the trained network and the header of the file.

    Args:
        model: a model file.
        out: the file to write.
        calibration: for int8.

    Raises:
        ValueError: the model cannot be shipped, or not in this format or precision.
    """
    format.require()
    check_precision(format, precision)
    network, about = load_model(model)
    check_task(model, about)
    check_fixed(model, network)
    check_bits(model, network, precision)
    check_int8(model, about, format, precision)
    if about.task.BOXES:
        check_one_step(model, network)
    form, steps = in_inference_form(network)
    header = described(model, network, about, precision, (*steps, *described_precision(format, precision)))
    if about.task.BOXES:
        form = giving_places(form)
    return network, format.write(Whole(form, about.task), out, header, calibration)


def described_precision(format: Format, precision: Precision) -> tuple[str, ...]:
    """What a precision means in a format, in words; nothing for float32, in which the network was trained."""
    return () if precision == "float32" else (f"{precision}: {format.PRECISIONS[precision]}",)


def described(model: Path, network: Network, about: About, precision: Precision, steps: tuple[str, ...]) -> Header:
    """The header of a file that is made of a model file; one that finds boxes has one step."""
    return Header(
        about=about,
        preprocessing=network.model.preprocessing,
        resolution=network.model.resolution,
        channels=network.model.channels,
        precision=precision,
        steps=steps,
        network=about.called(model),
        sha256=hashlib.sha256(model.read_bytes()).hexdigest(),
        cost={name: value for name, value in asdict(cost(network.model)).items() if isinstance(value, int)},
        boxes=box_rule(network.eval()) if about.task.BOXES else None,
    )


def check_precision(format: Format, precision: str) -> None:
    """Checks that a format can be written in a precision.

    Raises:
        ValueError: it cannot.
    """
    if precision not in format.PRECISIONS:
        raise ValueError(f"{format.NAME} is written in {', '.join(format.PRECISIONS)}, not in {precision}")


def instead_of_int8(format: Format) -> str:
    """The other precisions of a format: "float32 or bfloat16"."""
    return " or ".join(each for each in format.PRECISIONS if each != "int8")


def check_int8(model: Path, about: About, format: Format, precision: Precision) -> None:
    """Checks that int8 is asked of a model whose loss it can be judged by.

    Raises:
        ValueError: it is not.
    """
    if precision == "int8" and not isinstance(about.task, OneOf):
        raise ValueError(
            f"int8 is for one class a picture; the task of {model} is {about.task.WORDS}; ship it in {instead_of_int8(format)}"
        )


def check_fixed(model: Path, network: Network) -> None:
    """Checks that a network does the same with all pictures.

    Raises:
        ValueError: it chooses what it does while it runs.
    """
    if isinstance(network, Router):
        raise ValueError(
            f"{model} chooses an image size for each picture while it runs, and a shipped file does the same with all of them; "
            "use the model file itself, with `paretina predict` or `paretina serve`, or ship a network that has one size"
        )


def check_bits(model: Path, network: Network, precision: Precision) -> None:
    """Checks that a network with a quantiser is not rounded once more.

    Raises:
        ValueError: it would be.
    """
    rounded = next((table.quantiser for table in network.model.blueprints() if table.quantiser is not None), None)
    if rounded is not None and precision != "float32":
        raise ValueError(
            f"{model} is rounded to few bits by {type(rounded).__name__}, and in {precision} its levels would be others; "
            "ship it with --precision float32, which computes the same numbers with floats"
        )


def check_task(model: Path, about: About) -> None:
    """Checks that the outputs of a model mean something.

    Raises:
        ValueError: it was trained without labels.
    """
    if isinstance(about.task, Nothing):
        raise ValueError(f"{model} was trained without labels, so it has no classes to ship; fine-tune it first")
