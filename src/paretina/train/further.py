"""Further: from a trained network to a run that goes on with it, at another image size or on other data."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from paretina.clock import Clock
from paretina.data.source import Source
from paretina.data.sources.part import Part
from paretina.data.transforms.centre_crop import CentreCrop
from paretina.data.transforms.squash import Squash
from paretina.measure.plan import Plan
from paretina.model.blueprint import Door
from paretina.model.family import networks
from paretina.model.weights import load_model
from paretina.run import Run
from paretina.spec import decode
from paretina.train.asked import Asked, Choice, choose, recipe_named, source_named
from paretina.train.recipe import ALIGNED, Recipe


@dataclass(frozen=True)
class Trained:
    """A network to go on with.

    Attributes:
        file: its model file.
        side: side in pixels at which it was last trained; that of its file where no run says it.
        data: what it was trained on; None where no run says it.
    """

    file: Path
    side: int
    data: Source | None


def trained(path: Path) -> Trained:
    """What to go on with: a model file, or the directory of a finished run.

    Raises:
        ValueError: there is no model file.
    """
    file = path / "model.safetensors" if path.is_dir() else path
    folder = file.parent
    if (folder / "asked.json").is_file() and (folder / "result.json").is_file():
        asked = decode(Asked, Run.open(folder).asked()["asked"])
        return Trained(file, round(asked.sizes()(Clock(1, 1, asked.recipe.epochs))), asked.data)
    network, _ = load_model(file)
    return Trained(file, network.blueprint.resolution, None)


@dataclass(frozen=True)
class Learned:
    """Data beside what a network was trained on.

    Attributes:
        source: the data, with the split that the run used where it is the same.
        warning: what the run says of copies of its validation pictures in train; "" where it says nothing.
        split: which split of the source those pictures are, "all" for the whole of it, "" if they are not among it.
    """

    source: Source
    warning: str = ""
    split: str = ""


def learned(path: Path, source: Source) -> Learned:
    """Looks whether the run that a model file lies in was trained on this data; reads files of the run, but no picture.

    Args:
        path: a model file, or the directory of a finished run.
        source: as it is opened by who knows nothing of the run.
    """
    before = trained(path)
    used = before.data.source if isinstance(before.data, Part) else before.data
    here, there = place_of(source), None if used is None else place_of(used)
    if used is None or here is None or there is None or type(used) is not type(source) or not here.is_relative_to(there):
        return Learned(source)
    copies = ((Run(before.file.parent).result() or {}).get("data") or {}).get("copies") or {}
    warning = str(copies.get("warning") or "")
    if here == there:
        return Learned(used, warning, "val")
    inside = here.relative_to(there).as_posix()
    measured = used.open().split("val") if warning else ()
    return Learned(source, warning, "all" if all(sample.name.startswith(f"{inside}/") for sample in measured) else "")


def place_of(source: Source) -> Path | None:
    """Where a source lies; None if it has no place."""
    path = getattr(source, "path", None)
    return None if path is None else Path(path).expanduser().resolve()


def as_tested(door: Door) -> CentreCrop | Squash:
    """The transform that prepares pictures as they are prepared in the test."""
    if door.fit == "squash":
        return Squash(interpolation=door.interpolation)
    return CentreCrop(share=door.crop, interpolation=door.interpolation)


def aligned(side: int, resolution: int) -> str | None:
    """What to say where two sizes lie differently on the maps of a network; None where they lie alike."""
    wanted, found = side % ALIGNED, resolution % ALIGNED
    if wanted == found:
        return None
    below = resolution - (found - wanted) % ALIGNED
    near = [str(each) for each in (below, below + ALIGNED) if each > 0]
    return (
        f"{resolution} leaves {found} modulo {ALIGNED}, but the network was trained at {side}, which leaves {wanted}: its maps "
        f"lie differently on images of these sizes; {' or '.join(near)} would fit"
    )


def go_on(
    path: Path,
    plan: Plan,
    data: str | Source | None = None,
    resolution: int | None = None,
    recipe: str | Recipe | None = None,
    config: Path | None = None,
    fields: Mapping[str, Any] | None = None,
) -> tuple[Choice, tuple[str, ...]]:
    """Puts together a run that goes on with a trained network.

    Args:
        path: a model file, or the directory of a finished run.
        data: what to learn from; that of the run unless told. Its classes may be others: those that the network knows by name
            keep their row of the last layer, the rest start anew. The data of the run, named again, keeps its split.
        resolution: side in pixels to train and test at; that of the model file unless told.
        recipe: unless told, `finetune` where data is given, and `test-resolution` where only a resolution is.

    Returns:
        The choice, and what the user should know of it, a sentence each.

    Raises:
        ValueError: neither data nor resolution is given, or the run's data is not known, or something does not fit.
    """
    before = trained(path)
    network, about = load_model(before.file)
    if data is None and resolution is None:
        raise ValueError("name what to fine-tune for: other data, or another image size with --resolution")
    source = learned(path, source_named(data)).source if isinstance(data, str) else data or before.data
    if source is None:
        raise ValueError(f"{path} does not say what it was trained on; name the data")
    # without a size of its own the recipe trains and tests at the resolution of the network, which fields and edits may change
    blueprint = network.blueprint if resolution is None else replace(network.blueprint, resolution=resolution)
    name = recipe if recipe is not None else "finetune" if data is not None else "test-resolution"
    settings = recipe_named(name) if isinstance(name, str) else name
    settings = replace(settings, size=None, pixels=1.0, test_size=None)
    choice = choose(source, blueprint, settings, plan, str(before.file), config, dict(fields or {}))
    if name == "test-resolution" and not any(path.startswith("recipe.transforms") for path in choice.origins):
        door = choice.asked.recipe.door(choice.asked.edited().door)
        choice.asked = replace(choice.asked, recipe=replace(choice.asked.recipe, transforms=(as_tested(door),)))
    known = about.name if about.name in networks() else ""
    choice.asked = replace(choice.asked, model_name=known, recipe_name=name if isinstance(name, str) else "", verb="finetune")
    final = choice.asked.final_size()
    if resolution is not None and final != resolution:
        raise ValueError(
            f"--resolution {resolution} trains and tests at {resolution} pixels, but the fields test at {final}; leave one"
            f" out, or train at one size and test at another: size=SIZE test_size={resolution}"
        )
    warning = aligned(before.side, final)
    return choice, (f"warning: {warning}",) if warning else ()
