"""Writes the features of pictures, and which pictures are most alike by them."""

import csv
import io
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from paretina.data.pictures import read_pictures
from paretina.data.source import Sample
from paretina.measure.neighbours import nearest
from paretina.run import write_aside
from paretina.verbs.answering import answering
from paretina.verbs.checks import MisuseError, check_csv, misuse
from paretina.verbs.evaluating import inference_plan
from paretina.verbs.files import FileCollection, pictures_in
from paretina.verbs.predicting import readable


@dataclass(frozen=True)
class EmbeddedPictures:
    """
    Attributes:
        names: of the pictures, in the order of the features.
        features: (picture, feature), float32.
        neighbours: for each picture the names of the most similar others, with the cosine of the angle between their features,
            the most similar first.
        damaged: reason by name, for pictures that could not be read.
        left_out: number of files and subfolders skipped in the folders, by reason.
    """

    names: tuple[str, ...]
    features: Tensor
    neighbours: tuple[tuple[tuple[str, float], ...], ...]
    damaged: dict[str, str]
    left_out: dict[str, int] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """All but the features themselves, which are written to a file."""
        rows = [
            {"name": name, "neighbours": [{"name": other, "cosine": value} for other, value in found]}
            for name, found in zip(self.names, self.neighbours, strict=True)
        ]
        return {
            "pictures": rows,
            "width": self.features.shape[1],
            "damaged": self.damaged,
            "left_out": self.left_out,
        }


def embed(
    model: Path | str,
    paths: Iterable[Path | str],
    out: Path | str | None = None,
    neighbours: int = 5,
    csv: Path | str | None = None,
    device: str = "auto",
    trust: bool = False,
) -> EmbeddedPictures:
    """Computes the features of pictures before the classifier, and the nearest neighbours of each.

    Args:
        model: a model file, the directory of a finished run, or a shipped file.
        paths: pictures, or folders of them.
        out: an .npz file to write, with `names` (text) and `features` (picture, feature), float32.
        neighbours: number of them for each picture; 0 for none.
        csv: where to write the neighbours, a line for each picture.
        trust: whether shipped files that can run code are opened.

    Raises:
        MisuseError: there is no such model, path or device, or a file cannot be written there.
        ValueError: the model has no features of whole pictures, or none of the pictures can be read.
    """
    check_csv(csv)
    check_csv(out, "--out")
    if out is not None and Path(out).suffix != ".npz":
        raise MisuseError(f"features are written to a file that ends with .npz, got {Path(out).name}")
    if neighbours < 0:
        raise MisuseError(f"neighbours must be at least 0, got {neighbours}")
    with misuse():
        plan = inference_plan(device)
    left_out: Counter[str] = Counter()
    opened, names = answering(model, trust), pictures_in(paths, left_out)
    collection = FileCollection(opened.about.classes, {"all": tuple(Sample(name, 0) for name in names)})
    pictures = read_pictures(collection, collection.split("all"))
    found, ids, damaged = opened.features(pictures, plan)
    damaged = {readable(name): reason for name, reason in damaged.items()}
    if not len(ids):
        reasons = "; ".join(f"{name}: {reason}" for name, reason in damaged.items())
        raise ValueError(f"none of the pictures can be read: {reasons}")
    shown = tuple(readable(pictures.samples[number].name) for number in ids.tolist())
    near = nearest(found, neighbours)
    named = tuple(tuple((shown[other], value) for other, value in row) for row in near)
    if out is not None:
        data = io.BytesIO()
        np.savez(data, names=np.array(shown), features=found.numpy())
        write_aside(Path(out), data.getvalue())
    if csv is not None:
        write_neighbours(Path(csv), shown, named, neighbours)
    return EmbeddedPictures(shown, found, named, damaged, dict(left_out))


def write_neighbours(path: Path, names: Iterable[str], neighbours: Iterable[tuple[tuple[str, float], ...]], count: int) -> None:
    """A line for each picture, as CSV in UTF-8: name, neighbour_1, cosine_1 and so on."""
    text = io.StringIO()
    lines = csv.writer(text, lineterminator="\n")
    lines.writerow(["name", *(f"{column}_{place}" for place in range(1, count + 1) for column in ("neighbour", "cosine"))])
    for name, found in zip(names, neighbours, strict=True):
        lines.writerow([name, *(cell for other, value in found for cell in (other, f"{value:.6f}"))])
    write_aside(path, text.getvalue().encode("utf-8", "backslashreplace"))
