"""Trains classifiers further on other data, with the same head, recipe and seeds, and compares them."""

import hashlib
import itertools
import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open

from paretina.data.named import source_named
from paretina.data.source import Source, innermost
from paretina.model.family import networks
from paretina.model.weights import load_model
from paretina.report.transfer_page import write_transfer
from paretina.run import Run, free_folder, not_left_empty
from paretina.search.tasks import Engine, Say, engine
from paretina.search.transfer.run import work
from paretina.search.transfer.study import Backbone, TransferStudy, begin
from paretina.spec import decode
from paretina.text import how_many
from paretina.train.asked import Asked
from paretina.train.finetuning import whole_of
from paretina.train.tasks import require_updates
from paretina.verbs.asking import source_for
from paretina.verbs.checks import MisuseError, misuse, model_file
from paretina.verbs.evaluating import evaluate
from paretina.verbs.training import ask_further, check_output


def place_and_accuracy(word: str) -> tuple[str, float | None]:
    """A backbone as it is named, `PLACE` or `PLACE@TOP1`, in its two parts.

    Raises:
        MisuseError: what stands behind the sign is no number of percent.
    """
    place, sign, said = word.rpartition("@")
    if not sign or Path(word).exists():
        return word, None
    try:
        top1 = float(said)
    except ValueError:
        top1 = math.nan
    if not 0 <= top1 <= 100 and Path(place).exists():
        raise MisuseError(
            f"{word}: behind @ stands the accuracy as a classifier in percent, from 0 to 100: {place}@82.5, got {said!r}"
        )
    return (place, top1) if 0 <= top1 <= 100 else (word, None)


def backbone_file(place: str) -> Path:
    """The model file of a backbone.

    Raises:
        MisuseError: there is none.
    """
    if not Path(place).exists() and place in networks():
        raise MisuseError(
            f"{place} is a network without weights of its own; a backbone is the directory of a run, or a model file, which "
            f"`paretina train DATA --model {place}` makes"
        )
    return model_file(place)


def label_of(file: Path) -> str:
    """A name for a backbone: of its run, or of its file."""
    name = file.stem if file.name != "model.safetensors" else file.resolve().parent.name
    return re.sub(r"[^\w.+-]", "-", name).lstrip(".") or "backbone"


def features_digest(file: Path) -> str:
    """A digest of the weights of a model file but for those of the head."""
    found = hashlib.sha256()
    with safe_open(file, "pt") as tensors:
        for name in sorted(tensors.keys()):
            if not re.search(r"(^|\.)head\.|num_batches_tracked$", name):
                tensor = tensors.get_tensor(name).contiguous()
                found.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode())
                found.update(tensor.view(-1).view(torch.uint8).numpy().tobytes())
    return found.hexdigest()


def known_accuracy(file: Path) -> tuple[float, float | None, float | None, str] | None:
    """Top-1 as the model file says it, with its interval, in percent, and what it is of; None if it says none."""
    about = load_model(file)[1]
    value = about.metrics.get("val/top1")
    if value is None:
        return None
    ends = about.metrics.get("val/top1_low"), about.metrics.get("val/top1_high")
    folder = file.parent
    if file.name == "model.safetensors" and (folder / "asked.json").is_file() and (folder / "result.json").is_file():
        run = Run.open(folder)
        inner = innermost(whole_of(decode(Asked, run.asked()["asked"]).data))
        place = getattr(inner, "path", type(inner).__name__.lower())
        count = ((run.result() or {}).get("data") or {}).get("val")
        return value, *ends, f"{how_many(count, 'validation picture', ',')} of {Path(place).name}" if count else str(place)
    return value, *ends, f"as {file.name} says, {about.origin}"


def ask_transfer(
    data: str | Source,
    backbones: Sequence[Path | str],
    seeds: int = 3,
    time_limit: float | None = None,
    recipe: str | None = None,
    device: str | None = None,
    task: str | None = None,
    accuracy_on: str | None = None,
    fields: Mapping[str, Any] | None = None,
    say: Say = lambda text: None,
) -> TransferStudy:
    """Builds the request of a study; see `transfer` for the arguments.

    Raises:
        MisuseError: a name is unknown, or a value does not fit; or backbones are for different image sizes, or one has no
            classification accuracy.
    """
    given = dict(fields or {})
    for name in given:
        if name in ("seed", "recipe.seed"):
            raise MisuseError(f"{name} does nothing here: every training of a study has its own seed; see --seeds")
        if time_limit is not None and name in ("epochs", "recipe.epochs"):
            raise MisuseError(f"{name} and --time-limit both set the length of the trainings; leave one out")
    if len(backbones) < 2:
        raise MisuseError(f"a transfer compares two or more backbones, got {len(backbones)}; name runs or model files")
    with misuse():
        source = source_named(data) if task is None else source_for(data, task)
    files: dict[str, tuple[Path, float | None]] = {}
    for word in backbones:
        place, accuracy = place_and_accuracy(str(word))
        file = backbone_file(place)
        name = label_of(file)
        if any(file.samefile(other) for other, _ in files.values()):
            raise MisuseError(f"the backbone {place} is given twice; leave one out")
        while name in files:
            name += "+"
        if accuracy is not None and accuracy_on is not None:
            raise MisuseError(f"--accuracy-on measures every backbone, and {word} has an accuracy already; leave one out")
        files[name] = (file, accuracy)
    choices = {}
    for name, (file, _) in files.items():
        choices[name], notes = ask_further(file, source, None, recipe, device, None, given)
        for text in notes:
            say(text)
    features = {name: features_digest(file) for name, (file, _) in files.items()}
    for name, other in itertools.combinations(files, 2):
        if features[name] == features[other]:
            say(f"{name} and {other} are one backbone: their weights differ in the head alone, which is not taken over")
    sizes = {name: choice.asked.final_size() for name, choice in choices.items()}
    if len(set(sizes.values())) > 1:
        said = ", ".join(f"{name} {size}" for name, size in sizes.items())
        raise MisuseError(f"the backbones are for different image sizes ({said} pixels); give one for all: size=SIZE")
    with misuse():
        require_updates(next(iter(choices.values())).asked.recipe, "a transfer compares networks")
    known = {name: accuracy_of(name, file, given_top1, accuracy_on, say) for name, (file, given_top1) in files.items()}
    word = Path(data).expanduser().absolute().name if isinstance(data, str) else type(data).__name__.lower()
    with misuse():
        found = []
        for name, choice in choices.items():
            top1, low, high, where = known[name]
            place = str(files[name][0])
            found.append(Backbone(name=name, file=place, top1=top1, low=low, high=high, measured_on=where, asked=choice.asked))
        return TransferStudy(data=word, backbones=tuple(found), seeds=tuple(range(seeds)), time_limit_s=time_limit)


def accuracy_of(
    name: str, file: Path, given: float | None, accuracy_on: str | None, say: Say
) -> tuple[float, float | None, float | None, str]:
    """The classification accuracy of a backbone, with its interval and what it is of.

    Raises:
        MisuseError: it is unknown, or cannot be measured on those pictures.
    """
    if given is not None:
        return given, None, None, "as given"
    if accuracy_on is not None:
        say(f"measuring the accuracy of {name} on {accuracy_on}")
        found = evaluate(file, accuracy_on).accuracy
        if found is None:
            raise MisuseError(f"{name} does not say one class a picture, so it has no accuracy on {accuracy_on}")
        return found.top1, *found.intervals["top1"], f"{how_many(found.n, 'picture', ',')} of {Path(accuracy_on).name}"
    known = known_accuracy(file)
    if known is None:
        raise MisuseError(
            f"{file} does not say how accurate it is as a classifier; give that in percent, {file}@82.5, or measure all "
            "backbones on the same pictures with --accuracy-on DATA"
        )
    return known


def transfer(
    data: str | Source,
    backbones: Sequence[Path | str],
    output: Path | str | None = None,
    cluster: str | None = None,
    workers: int | None = None,
    say: Say = lambda text: None,
    **options: Any,
) -> dict[str, Any]:
    """Trains classifiers further on the same data, with the same head, recipe and seeds, and compares them; returns the result.

    Args:
        data: what is trained on: pictures with masks or objects, or a folder with a class for each picture.
        backbones: model files or directories of finished runs, two or more; "FILE@82.5" gives the classification accuracy of
            one in percent, where its file does not say it.
        output: the directory of the study; default: the next free one in runs/.
        cluster: a Ray cluster; see `paretina.search.tasks.engine`.
        workers: processes of this machine.
        options: `seeds` (number of trainings of each backbone; default: 3), `time_limit` (seconds for all trainings; default:
            the epochs of the recipe), `recipe`, `device`, `task` (what is learned from a folder), `accuracy_on` (labelled
            pictures on which the accuracy of all backbones as classifiers is measured; default: what their files say), and
            `fields` (of recipe, plan and network, by name).
    """
    study = ask_transfer(data, backbones, say=say, **options)
    with misuse():
        does = engine(cluster, workers)
    folder = started(study, Path(output) if output else None)
    return finished(folder, does, say)


def started(study: TransferStudy, output: Path | None) -> Path:
    """Begins a study and returns its directory."""
    check_output(output, study.asked.data)
    folder = output or free_folder(Path("runs"), f"{study.data}-transfer")
    with misuse(), not_left_empty(folder):
        begin(folder, study)
    return folder


def finished(folder: Path, does: Engine, say: Say = lambda text: None, data: str | None = None) -> dict[str, Any]:
    """Does what is left of a study, and returns its result with the path of its page."""
    result = work(folder, does, say, source_named(data) if data else None, data)
    return {"directory": str(folder), **result, "report": str(write_transfer(folder))}
