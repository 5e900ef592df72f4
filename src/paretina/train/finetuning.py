"""Further: from a trained network to a run that continues with it, at another image size or on other data."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from paretina.clock import Clock
from paretina.data.likeness import leaks
from paretina.data.named import source_named
from paretina.data.source import Sample, Source
from paretina.data.sources.part import Part
from paretina.data.transforms.centre_crop import CentreCrop
from paretina.data.transforms.squash import Squash
from paretina.measure.plan import Plan
from paretina.model.blueprint import Preprocessing
from paretina.model.family import networks
from paretina.model.weights import load_model
from paretina.run import Run, model_in
from paretina.spec import decode
from paretina.text import how_many
from paretina.train.asked import Asked, Choice, choose, recipe_named
from paretina.train.recipe import ALIGNED, Recipe


@dataclass(frozen=True)
class Trained:
    """A network to continue with.

    Attributes:
        file: its model file.
        side: side in pixels at which it was last trained; that of its file where no run says it.
        data: what it was trained on; None where no run says it.
        max_damaged: share of unreadable pictures that was allowed in that data; None where no run says it.
    """

    file: Path
    side: int
    data: Source | None
    max_damaged: float | None = None


def trained(path: Path) -> Trained:
    """What to continue with: a model file, or the directory of a finished run.

    Raises:
        ValueError: there is no model file.
    """
    file = model_in(path)
    folder = file.parent
    if (folder / "asked.json").is_file() and (folder / "result.json").is_file():
        asked = decode(Asked, Run.open(folder).asked()["asked"])
        side = round(asked.sizes()(Clock(1, 1, asked.recipe.epochs))) if asked.recipe.epochs else network_side(file)
        return Trained(file, side, asked.data, asked.recipe.max_damaged)
    return Trained(file, network_side(file), None)


def network_side(file: Path) -> int:
    """The side in pixels that a model file is for."""
    return load_model(file)[0].model.resolution


@dataclass(frozen=True)
class Learned:
    """Data beside what a network was trained on.

    Attributes:
        source: the data, with the split that the run used where it is the same.
        warning: what the run says of copies of its validation pictures in train; "" where it says nothing.
        split: which split of the source those pictures are, "all" for the whole of it, "" if they are not among it.
        data: what the network was trained on; None if the source is neither that nor a folder in it.
        inside: where the source lies in that, with "/" at its end; "" if it is the whole of it.
    """

    source: Source
    warning: str = ""
    split: str = ""
    data: Source | None = None
    inside: str = ""

    def remarks(self, split: str, samples: Sequence[Sample]) -> list[str]:
        """What must stand beside an accuracy on pictures of the source, because the network has learned them or copies of them.

        Looks at pictures unless the run has done so, or the network has learned these; what is known of them is kept.

        Args:
            split: of the source that is measured, "all" for the whole of it.
            samples: the pictures that are measured.
        """
        if split == self.split:
            return [self.warning] if self.warning else []
        if self.data is None:
            return []
        try:
            whole = self.data.open()
        except (ValueError, OSError) as error:
            return [f"copies of what the model has learned were not looked for, since that cannot be opened any more: {error}"]
        names = {f"{self.inside}{sample.name}" for sample in samples}
        known = len(names & {sample.name for sample in whole.split("train")})
        if known:
            if known == len(names):
                text = "warning: these are pictures that the model has learned"
            else:
                text = (
                    f"warning: {known:,} of {how_many(len(names), 'picture', ',')} are among those that the model has learned"
                )
            return [f"{text}: the accuracy says little about new ones"]
        held = {name: [s for s in some if s.name in names] for name, some in whole.splits.items()}
        home = next((name for name, some in held.items() if len(some) == len(names)), split)
        found = leaks(whole, home, list({s.name: s for some in held.values() for s in some}.values()))
        return [text for text in (found.warning(), found.note(), *found.notes) if text]


def learned(path: Path, source: Source) -> Learned:
    """Looks whether the run that a model file lies in was trained on this data; reads files of the run, but no picture.

    Args:
        path: a model file, or the directory of a finished run.
        source: as it is opened by who knows nothing of the run.
    """
    before = trained(path)
    used = before.data.source if isinstance(before.data, Part) else before.data
    if used is None or type(used) is not type(source):
        return Learned(source)
    here, there = place_of(source), place_of(used)
    if here is None or there is None:  # built in
        return Learned(source, "", "val", before.data) if source == used else Learned(source)
    if not here.is_relative_to(there):
        return Learned(source)
    copies = ((Run(before.file.parent).result() or {}).get("data") or {}).get("copies") or {}
    warning = str(copies.get("warning") or copies.get("note") or "")
    if here == there:
        return Learned(used, warning, "val", before.data)
    inside = f"{here.relative_to(there).as_posix()}/"
    measured = used.open().split("val") if warning else ()
    whole = bool(measured) and all(sample.name.startswith(inside) for sample in measured)
    return Learned(source, warning, "all" if whole else "", before.data, inside)


def place_of(source: Source) -> Path | None:
    """Where a source lies; None if it has no place."""
    path = getattr(source, "path", None)
    return None if path is None else Path(path).expanduser().resolve()


def as_tested(preprocessing: Preprocessing) -> CentreCrop | Squash:
    """The transform that prepares pictures as they are prepared in the test."""
    if preprocessing.fit == "squash":
        return Squash(interpolation=preprocessing.interpolation)
    return CentreCrop(share=preprocessing.crop, interpolation=preprocessing.interpolation)


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
    """Puts together a run that continues with a trained network.

    A run passes on its network with the way in which pictures are prepared for it, its data with everything that was said of
    that (split, layout, mirror images), and, for the same data, the share of pictures that may be unreadable (`max_damaged`),
    since the same pictures would be refused otherwise. How is trained (optimizer, epochs, batch, transforms, seed) and how that
    is executed is a matter of the recipe and the plan. Fields win over what is passed on, and so does a recipe that is given as
    a value.

    Args:
        path: a model file, or the directory of a finished run.
        data: what to learn from; default: that of the run. Its classes may be others: those that the network knows by name
            keep their row of the last layer, the rest start anew. The data of the run, named again, keeps its split.
        resolution: side in pixels to train and test at; default: that of the model file.
        recipe: default: `finetune` where data is given, and `test-resolution` where only a resolution is.

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
    model = network.model if resolution is None else replace(network.model, resolution=resolution)
    name = recipe if recipe is not None else "finetune" if data is not None else "test-resolution"
    settings = recipe_named(name) if isinstance(name, str) else name
    settings = replace(settings, size=None, pixel_share=1.0, test=replace(settings.test, size=None))
    most = before.max_damaged if isinstance(name, str) and source == before.data else None
    if most is not None:
        settings = replace(settings, max_damaged=most)
    choice = choose(source, model, settings, plan, str(before.file), config, dict(fields or {}))
    if most is not None:
        choice.origins.setdefault("recipe.max_damaged", str(path))
    if name == "test-resolution" and not any(path.startswith("recipe.transforms") for path in choice.origins):
        preprocessing = choice.asked.recipe.test.preprocessing(choice.asked.assembled().preprocessing)
        choice.asked = replace(choice.asked, recipe=replace(choice.asked.recipe, transforms=(as_tested(preprocessing),)))
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
