"""Shows where a network looks, and measures whether that is true."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from paretina.data.decode import DecodeError
from paretina.data.preprocess import preprocess
from paretina.data.source import Sample
from paretina.model.build import Combined
from paretina.model.heads.pool import Pooled
from paretina.model.tasks.one_of import OneOf
from paretina.run import write_aside
from paretina.ship.faithfulness import Faithfulness, faithfulness
from paretina.ship.maps.occlusion import occluded
from paretina.ship.overlay import overlaid, sheet
from paretina.ship.saliency import Saliency, joins_tokens, method_named, scaled
from paretina.spec import near
from paretina.text import how_many
from paretina.verbs.answering import Answering, answering
from paretina.verbs.checks import MisuseError, misuse
from paretina.verbs.files import FileCollection, pictures_in

MOST = 200
"""Pictures that are explained at once."""


@dataclass(frozen=True)
class ExplainedPicture:
    """
    Attributes:
        name: of the picture.
        model: path of the model.
        shown: the class that the map is for.
        probability: of it.
        file: the overlay.
    """

    name: str
    model: str
    shown: str
    probability: float
    file: Path


@dataclass(frozen=True)
class Explained:
    """
    Attributes:
        sheet: all pictures and models side by side.
        methods: by model.
        faithful: by model, if requested.
        damaged: reason by name, for pictures that could not be read.
    """

    pictures: tuple[ExplainedPicture, ...]
    sheet: Path
    methods: dict[str, str]
    faithful: dict[str, Faithfulness]
    damaged: dict[str, str]

    def to_dict(self) -> dict[str, Any]:
        rows = [
            {
                "name": each.name,
                "model": each.model,
                "class": each.shown,
                "probability": each.probability,
                "file": str(each.file),
            }
            for each in self.pictures
        ]
        return {
            "pictures": rows,
            "sheet": str(self.sheet),
            "methods": self.methods,
            "faithfulness": {name: found.to_dict() for name, found in self.faithful.items()},
            "damaged": self.damaged,
        }


def explain(
    models: Sequence[Path | str],
    paths: Iterable[Path | str],
    method: str = "auto",
    of: str | None = None,
    out: Path | str = "explained",
    faithful: bool = False,
    trust: bool = False,
) -> Explained:
    """Writes pictures with a map over each of where a network looks for a class, and a sheet with all of them.

    Args:
        models: model files, finished runs or shipped files; the first ones are columns on the left of the sheet.
        paths: pictures, or folders of them.
        method: name of a saliency method; "auto" takes cam where the network ends in a mean and a linear layer, and grad-cam
            elsewhere, occlusion for shipped files.
        of: name of the class; default: the one that each network answers.
        out: a new or empty directory for the pictures.
        faithful: whether to measure the maps too, on the same pictures.
        trust: whether shipped files that can run code are opened.

    Raises:
        MisuseError: a model, a picture, the method or the class does not exist, or the directory is not empty.
        ValueError: a model has not what the method needs, or no picture can be read.
    """
    if not models:
        raise MisuseError("there is no model to explain; name at least one")
    folder = Path(out)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise MisuseError(f"{folder} exists already and is not empty; name another directory with --out")
    with misuse():
        chosen = None if method == "auto" else method_named(method)
    left_out: Counter[str] = Counter()
    names = pictures_in(paths, left_out)
    if len(names) > MOST:
        raise MisuseError(f"{len(names):,} pictures are too many to look at; name {MOST} or fewer")
    opened = [answering(model, trust) for model in models]
    for each in opened:
        if each.about.task != OneOf():
            raise ValueError(f"the task of {each.path} is {each.about.task.WORDS}; explain is for one class a picture")
        if of is not None and of not in each.about.classes:
            raise MisuseError(f"{each.path} has no class {of!r}{near(of, each.about.classes)}")
    used = [saliency_for(each, chosen) for each in opened]
    images, damaged = read(names)
    if not images:
        raise ValueError(f"none of the pictures can be read: {'; '.join(f'{name}: {why}' for name, why in damaged.items())}")
    folder.mkdir(parents=True, exist_ok=True)
    found: list[ExplainedPicture] = []
    rows, lines = [], []
    for number, (name, image) in enumerate(images.items()):
        row: list[Image.Image] = []
        captions: list[str] = []
        for which, (each, saliency) in enumerate(zip(opened, used, strict=True)):
            drawn, answer, probability = explained(each, saliency, image, of)
            place = folder / f"{number:03d}-{Path(name).stem}{f'-{which}' if len(opened) > 1 else ''}.png"
            save(drawn, place)
            found.append(ExplainedPicture(name, str(each.path), answer, probability, place))
            row.append(drawn)
            captions.append(f"{answer} {100 * probability:.0f} %")
        rows.append(row)
        lines.append(captions)
    titles = [each.about.called(each.path) for each in opened]
    place = folder / "sheet.png"
    save(sheet(rows, titles, lines), place)
    measured = {}
    if faithful:
        for each, saliency in zip(opened, used, strict=True):
            if each.network is None:
                raise ValueError(f"{each.path} is run by {each.runtime}; how true its maps are is measured on model files only")
            model = each.network.model
            small = [preprocess(image, model.preprocessing, model.resolution) for image in images.values()]
            measured[str(each.path)] = faithfulness(each.network, small, [saliency])
    methods = {str(each.path): saliency.NAME for each, saliency in zip(opened, used, strict=True)}
    return Explained(tuple(found), place, methods, measured, damaged)


def saliency_for(opened: Answering, chosen: Saliency | None) -> Saliency:
    """The method for a model.

    Raises:
        MisuseError: the method needs the inside of a network, and this is a shipped file.
    """
    if opened.network is None:
        if chosen is not None and chosen.NAME != "occlusion":
            raise MisuseError(
                f"{opened.path} is run by {opened.runtime}, which shows nothing of the inside that {chosen.NAME} needs; use "
                "--method occlusion, or the model file"
            )
        return method_named("occlusion")
    if chosen is not None:
        return chosen
    if isinstance(opened.network, Combined) or joins_tokens(opened.network):
        return method_named("occlusion")
    return method_named("cam" if isinstance(opened.network.head, Pooled) else "grad-cam")


def explained(opened: Answering, saliency: Saliency, image: Tensor, of: str | None) -> tuple[Image.Image, str, float]:
    """The overlay of a picture, the class it is for and its probability."""
    classes = opened.about.classes
    if opened.network is None:
        assert opened.running is not None
        shares = opened.running.run(image[None])[0]
        number = int(shares.argmax()) if of is None else classes.index(of)
        found = occluded(opened.running.run, image[None], torch.tensor([number]))
        whole = opened.running.header.preprocessing
        # squares of the whole picture, and not of what the network sees of it
        drawn = overlaid(image, scaled(found)[0], type(whole)(mean=whole.mean, std=whole.std, crop=1.0, fit="squash"))
        return drawn, classes[number], float(shares[number])
    network, model = opened.network, opened.network.model
    small = preprocess(image, model.preprocessing, model.resolution)[None]
    with torch.inference_mode():
        shares = network(small).softmax(1)[0]
    number = int(shares.argmax()) if of is None else classes.index(of)
    found = saliency.maps(network, small, torch.tensor([number]))
    return overlaid(image, scaled(found)[0], model.preprocessing), classes[number], float(shares[number])


def read(names: Sequence[str]) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The pictures by name, and the reason for each that cannot be read."""
    collection = FileCollection((), {})
    images: dict[str, Tensor] = {}
    damaged: dict[str, str] = {}
    for name in names:
        try:
            images[name] = collection.image(Sample(name, 0))
        except DecodeError as error:
            damaged[name] = str(error).removeprefix(f"{name}: ")
    return images, damaged


def save(picture: Image.Image, place: Path) -> None:
    import io

    data = io.BytesIO()
    picture.save(data, "PNG")
    write_aside(place, data.getvalue())


def summary(found: Explained) -> list[str]:
    """The result as lines of text."""
    several = len(found.methods) > 1
    lines = [
        f"{each.name}: {each.shown} {100 * each.probability:.1f} %  {each.file}{f'  ({each.model})' if several else ''}"
        for each in found.pictures
    ]
    lines += [f"could not be read: {name}: {reason}" for name, reason in found.damaged.items()]
    for model, method in found.methods.items():
        lines.append(f"{model}: {method}")
    for model, figures in found.faithful.items():
        lines += ["", f"how true the maps of {model} are:", *figures.table()]
    return [*lines, f"{how_many(len(found.pictures), 'overlay')} and a sheet of all: {found.sheet}"]
