"""Ships a model as one file of another format, checked against the model."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import get_args

import torch

from paretina.data.named import source_named
from paretina.data.pictures import read_pictures
from paretina.data.source import Collection, Sample, Source
from paretina.model.build import Network
from paretina.model.weights import load_model
from paretina.run import folds_begun
from paretina.ship.box_answers import check_one_step
from paretina.ship.format import Calibration, format_named, format_of
from paretina.ship.gate import LIMITS, PICTURES
from paretina.ship.header import Precision
from paretina.ship.shipping import Shipped, check_fixed, check_int8, check_precision, check_task, instead_of_int8
from paretina.ship.shipping import ship as ship_file
from paretina.spec import near
from paretina.train.finetuning import trained
from paretina.verbs.answering import forward
from paretina.verbs.checks import MisuseError, beside, check_new, misuse, model_file
from paretina.verbs.evaluating import inference_plan
from paretina.verbs.labelled import labelled

Say = Callable[[str], None]

CALIBRATION = 300
"""Training pictures that ranges of int8 are measured on."""

HELD = 300
"""Further training pictures on which it is decided which layers stay in float."""

LEAST = 20
"""Training pictures that int8 needs at least."""

DENSE = 64
"""Pictures that are compared at most where each pixel has probabilities, which take the memory."""


def ship(
    model: Path | str,
    to: str,
    precision: str = "float32",
    out: Path | str | None = None,
    data: str | Source | None = None,
    split: str | None = None,
    pictures: int = PICTURES,
    seconds: float = 6.0,
    max_loss: float | None = None,
    point_estimate: bool = False,
    say: Say = lambda text: None,
) -> Shipped:
    """Writes a model as one file with everything in it, and compares that file, in its own runtime, with the model.

    A model that finds boxes has to have a detector of one step (FcosHead, RetinaHead). Its file gives the box and the scores of
    every place; what is compared are the boxes that are chosen of these.

    Args:
        model: a model file, or the directory of a finished run.
        to: "onnx", "openvino" or "torch-export".
        precision: "float32", "bfloat16" or "int8".
        out: the file to write; default: beside the model file, named after it.
        data: labelled pictures to compare on; default: those that the model was trained on.
        split: of the data; default: val, or all of data that have no split to judge on.
        pictures: number of them to compare on.
        seconds: for each comparison of latencies; 0 leaves them out.
        max_loss: points of top-1 that the file may lose; default: 0.5 in int8, elsewhere agreement decides.
        point_estimate: whether the loss that is seen decides, whatever its interval.

    Raises:
        MisuseError: there is no such model, format, precision or data, or the file is there already.
        ValueError: the model cannot be shipped.
    """
    check_unshipped(model)
    path = model_file(model)
    with misuse():
        format = format_named(to)
        if precision not in get_args(Precision):
            raise ValueError(f"there is no precision {precision!r}{near(precision, get_args(Precision))}")
        check_precision(format, precision)
        if pictures < 1:
            raise ValueError(f"pictures must be at least 1, got {pictures}")
        if max_loss is not None and max_loss < 0:
            raise ValueError(f"max_loss is in points of top-1, at least 0, got {max_loss:g}")
    chosen_precision: Precision = precision  # type: ignore[assignment]
    format.require()
    name = f"{path.stem}{'' if precision == 'float32' else f'-{precision}'}{format.SUFFIX}"
    target = path.with_name(name) if out is None else Path(out)
    if not target.name.endswith(format.SUFFIX):
        raise MisuseError(f"a file for {to} ends with {format.SUFFIX}, got {target.name}")
    check_new(target)
    network, about = load_model(path)
    check_task(path, about)
    check_fixed(path, network)
    check_int8(path, about, format, chosen_precision)
    if about.task.BOXES:
        check_one_step(path, network)
        if max_loss is not None or point_estimate:
            option = "--point-estimate" if max_loss is None else "--max-loss"
            raise MisuseError(f"{option} is for a loss of top-1, and {path} finds boxes; leave it out")
    source = source_of(path, data)
    say("reading pictures")
    if split is None and precision == "int8":
        split = "val"  # the others are what it is calibrated on
    found = labelled(path, about, source, split, str(data or getattr(source, "path", source)))
    for note in found.notes:
        say(note)
    most = min(pictures, DENSE) if about.task.DENSE else pictures
    chosen = read_pictures(found.collection, spread(found.samples, most))
    if not len(chosen):
        raise ValueError(f"there is no readable picture in {data or source} ({found.split})")
    calibration = None
    if precision == "int8":
        calibration = calibrated(network, found.collection, path, max_loss, instead_of_int8(format))
    limits = replace(LIMITS[chosen_precision], point=point_estimate)
    if max_loss is not None:
        limits = replace(limits, loss=max_loss)
    return ship_file(path, format, chosen_precision, target, chosen, seconds, limits, calibration, say)


def check_unshipped(model: Path | str, verb: str = "ship") -> None:
    """Checks that a model is not shipped already.

    Raises:
        MisuseError: it is.
    """
    if format_of(Path(model)) is not None:
        raise MisuseError(f"{model} is shipped already; {verb} the run or the .safetensors file that it was made of")


def calibrated(network: Network, collection: Collection, path: Path, max_loss: float | None, instead: str) -> Calibration:
    """Training pictures for int8, and the answers of the float network to those that are held out.

    Args:
        instead: other precisions, in words.

    Raises:
        ValueError: there are too few that can be read.
    """
    samples = spread(tuple(collection.splits.get("train", ())), CALIBRATION + HELD)
    pictures = read_pictures(collection, samples)
    if len(pictures) < LEAST:
        raise ValueError(
            f"int8 needs at least {LEAST} training pictures to calibrate on, and there are {len(pictures)} that can be read; "
            f"name data with more with --data, or ship {path} in {instead}"
        )
    images = [pictures.image(number) for number in range(len(pictures))]
    # in turn, so that both have all classes
    share = min(CALIBRATION, len(images) // 2)
    chosen = {number * len(images) // share for number in range(share)}
    held = [number for number in range(len(images)) if number not in chosen]
    plan = inference_plan("cpu")
    logits, ids, _ = forward(network, pictures, network.model.resolution, plan)
    answers = dict(zip(ids.tolist(), logits.argmax(1).tolist(), strict=True))
    held = [number for number in held if number in answers]
    return Calibration(
        tuple(images[number] for number in sorted(chosen)),
        tuple(images[number] for number in held),
        torch.tensor([answers[number] for number in held]),
        torch.tensor([pictures.samples[number].label for number in held]),
        (0.5 if max_loss is None else max_loss) / 100,
    )


def source_of(path: Path, data: str | Source | None) -> Source:
    """The data to compare a model on.

    Raises:
        MisuseError: none is given, and the model's own is not known or not there.
    """
    if data is not None:
        with misuse():
            return source_named(data)
    own = trained(path).data
    if own is None:
        why = "does not lie in its run, so its validation pictures are not known"
        if path.name == "model.safetensors" and folds_begun(path.parent):
            why = "averages the networks of a cross-validation, of whose pictures none was held out from all"
        raise MisuseError(f"{path} {why}; name labelled pictures with --data")
    place = getattr(own, "path", None)
    if place is not None and not Path(place).expanduser().exists():
        raise MisuseError(
            f"the data that {path} was trained on is not at {Path(place).expanduser().absolute()}{beside(Path(place))}; run "
            "this where it was trained, or name labelled pictures with --data"
        )
    return own


def spread(samples: tuple[Sample, ...], most: int) -> tuple[Sample, ...]:
    """At most so many samples, evenly spread."""
    if len(samples) <= most:
        return samples
    return tuple(samples[number * len(samples) // most] for number in range(most))
