"""Which pictures a model has been trained on, as far as files say so: its run, those that its weights started from, names."""

import json
import re
from collections.abc import Sequence
from pathlib import Path

from paretina.data.likeness import LOOK_S, between, looked_at
from paretina.data.source import Collection, Sample, Source, innermost
from paretina.model.weights import About
from paretina.ship.format import format_of
from paretina.train.finetuning import Learned, learned, place_of, trained, whole_of

MOST_LOOKED_AT = 200_000
"""Pictures of training and evaluation together up to which copies are looked for."""

NEAR_WITHIN_S = 30.0
"""Seconds that looking for near copies may take."""

FOLDS = "cross-validated on "
"""How the origin of the average of folds says what they were trained on."""


def run_file(path: Path) -> Path | None:
    """The model file whose run says what a model was trained on: a shipped file belongs to the run that it lies in."""
    file = path if format_of(path) is None else path.parent / "model.safetensors"
    return file if file.is_file() else None


def lineage(path: Path) -> list[Path]:
    """A model file and those that its weights started from, the nearest first, where they and their runs are still there."""
    file = run_file(path)
    found: list[Path] = []
    while file is not None and file not in found and len(found) < 10:
        found.append(file)
        try:
            weights = Path(json.loads((file.parent / "asked.json").read_text("utf-8"))["asked"]["weights"])
        except (OSError, ValueError, KeyError, TypeError):
            break
        weights = weights / "model.safetensors" if weights.is_dir() else weights
        file = weights if weights.is_file() else None
    return found


def learned_by(path: Path, source: Source) -> Learned:
    """How data relates to what a model was trained on, or else to what the weights that it started from were trained on."""
    known = [learned(file, source) for file in lineage(path)]
    return next((each for each in known if each.data is not None or each.new), known[0] if known else Learned(source))


def warnings_of(path: Path, source: Source, split: str, samples: Sequence[Sample], collection: Collection) -> list[str]:
    """Warnings that a model, or the weights that it started from, were trained on these pictures or on copies of them.

    Args:
        split: of the source, as `Learned.remarks` takes it.
        samples: with the class numbers of the model.
    """
    files = lineage(path)
    known = [learned(file, source) for file in files]
    said = [note for each in known if each.data is not None for note in each.remarks(split, samples)]
    found = [note for note in dict.fromkeys(said) if note.startswith("warning")]
    related = [each for each in known if each.data is not None]
    new = tuple(f"{name}/" for each in related for name in each.new)
    unknown = [sample for sample in samples if sample.name.startswith(new)] if related else samples
    if found or not unknown:
        return found
    return next((notes for file in files if (notes := copies_learned(file, unknown, collection))), [])


def copies_learned(file: Path, samples: Sequence[Sample], collection: Collection) -> list[str]:
    """A warning if pictures of other data are copies of those that a network was trained on."""
    own = trained(file).data
    if own is None:
        return []
    try:
        whole = own.open()
        train = whole.split("train")
        if not train or not samples or not (whole.origin().COPIES and collection.origin().COPIES):
            return []
        if len(train) + len(samples) > MOST_LOOKED_AT:
            return [
                f"copies of pictures that {file} was trained on were not looked for: there are more than {MOST_LOOKED_AT:,} "
                "pictures in all"
            ]
        fresh = int(NEAR_WITHIN_S / LOOK_S)
        before, after = looked_at(whole, train, fresh=fresh), looked_at(collection, samples, fresh=fresh)
    except (ValueError, OSError):
        return []  # the data of the run are not there any more
    found = between("val", train, before.looks, samples, after.looks)
    if not found.equal + found.near:
        return []
    return [
        f"warning: {found.equal + found.near:,} of {found.of:,} pictures are copies of those that the model was trained on "
        f"({found.equal:,} exact, {found.near:,} near): the accuracy says little about new ones"
    ]


# --- by name --------------------------------------------------------------------------------------------------------------


def names_in(origin: str) -> set[str]:
    """The names of the data that weights were trained on, of those that they started from too."""
    found = re.findall(rf"(?:trained on |{FOLDS})([^,]+),", origin)
    return {*found, *(part for name in found for part in name.split("+"))}


def is_named_after(about: About, source: Source) -> bool:
    """Whether a model says that it was trained on data of this name, or on that of which this is the folder `train`."""
    place = place_of(innermost(source))
    if place is None:
        return False
    names = names_in(about.origin)
    return place.name in names or is_train_of(place, names)


def is_train_of(place: Path, names: set[str]) -> bool:
    return place.name == "train" and place.parent.name in names


def has_held_out(about: About, source: Source) -> bool:
    """Whether data that a model is named after has pictures that its training held out, as far as names tell."""
    place = place_of(innermost(source))
    return FOLDS not in about.origin and place is not None and not is_train_of(place, names_in(about.origin))


def is_elsewhere(path: Path) -> bool:
    """Whether the data that a model was trained on are where its run read them, so that others are not the same ones moved."""
    file = run_file(path)
    own = trained(file).data if file is not None else None
    place = None if own is None else place_of(innermost(whole_of(own)))
    return place is not None and place.exists()
