"""Fine-tuning a trained network at another image size or on other data."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from paretina.clock import Clock
from paretina.data.likeness import leaks
from paretina.data.named import source_named
from paretina.data.source import Sample, Source, innermost, with_innermost
from paretina.data.sources.fold import Fold
from paretina.data.sources.part import Part
from paretina.data.sources.several import Set, Several
from paretina.data.transform import PLAIN
from paretina.data.transforms.centre_crop import CentreCrop
from paretina.data.transforms.squash import Squash
from paretina.measure.plan import Plan
from paretina.model.blueprint import Blueprint, Preprocessing
from paretina.model.family import networks
from paretina.model.heads.fcos import FcosHead
from paretina.model.heads.pool import PoolHead
from paretina.model.heads.pyramid import PyramidHead
from paretina.model.weights import load_model
from paretina.run import Run, folds_begun, folds_figure, model_in
from paretina.spec import decode
from paretina.text import how_many
from paretina.train.asked import Asked, Choice, choose, full_path, recipe_named
from paretina.train.recipe import ALIGNED, Recipe


@dataclass(frozen=True)
class Trained:
    """A trained network to fine-tune.

    Attributes:
        file: its model file.
        side: image size in pixels at which it was last trained; that of its file if the run is unknown.
        data: its training data; None if the run is unknown.
        max_damaged: fraction of unreadable pictures that was allowed in that data; None if the run is unknown.
    """

    file: Path
    side: int
    data: Source | None
    max_damaged: float | None = None


def trained(path: Path) -> Trained:
    """Reads a trained network from a model file or the directory of a finished run.

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
    """How data relates to the training data of a network.

    Attributes:
        source: the data, with the split of the run if it is the same.
        warning: the run's warning about copies of validation pictures in train; "" if there is none.
        split: the split of the source that has those validation pictures, "all" for the whole source, "" for none.
        data: the training data of the network; None if the source is neither that nor a folder in it.
        inside: path of the source inside that data, or the name of a set of it, ending with "/"; "" if it is the whole of it.
        folds: the folder of the cross-validation whose networks are averaged; `data` is then that of its first fold. None for
            the network of a run.
        new: names of the sets that it was not trained on, where several are given that are not those of its training.
        outside: the name of the set, ending with "/", that is all of that data; "" if there is none.
    """

    source: Source
    warning: str = ""
    split: str = ""
    data: Source | None = None
    inside: str = ""
    folds: Path | None = None
    new: tuple[str, ...] = ()
    outside: str = ""

    def remarks(self, split: str, samples: Sequence[Sample]) -> list[str]:
        """Warnings that belong to an accuracy on these pictures, because the network was trained on them or on copies of them.

        Reads pictures to find copies, unless the run has done so or the pictures are training pictures.

        Args:
            split: split of the source that is evaluated, "all" for the whole of it.
            samples: the pictures that are evaluated.
        """
        if split == self.split:
            return [self.warning] if self.warning else []
        if self.data is None:
            return []
        try:
            whole = self.data.open()
        except (ValueError, OSError) as error:
            return [
                f"copies of training pictures were not searched for, since the training data cannot be opened any more: {error}"
            ]
        if self.folds is not None:  # each picture that is in a fold was trained on for all the others
            pool = (*whole.split("train"), *whole.split("val"))
            others = {name: some for name, some in whole.splits.items() if name != "val"}
            whole = replace(whole, splits={**others, "train": pool})
        names = {f"{self.inside}{sample.name.removeprefix(self.outside)}" for sample in samples}
        known = len(names & {sample.name for sample in whole.split("train")})
        if known:
            those = "these pictures"
            if known < len(names):
                those = f"{known:,} of {how_many(len(names), 'picture', ',')}"
            if self.folds is None:
                return [f"warning: the model was trained on {those}: the accuracy says little about new ones"]
            figure = folds_figure(self.folds)
            honest = f"; the honest figure is that of the cross-validation: {figure}" if figure else ""
            return [
                f"warning: for each of {those}, all but one of the networks that are averaged were trained on it: "
                f"the accuracy says little about new ones{honest}"
            ]
        held = {name: [s for s in some if s.name in names] for name, some in whole.splits.items()}
        home = next((name for name, some in held.items() if len(some) == len(names)), split)
        found = leaks(whole, home, list({s.name: s for some in held.values() for s in some}.values()))
        return [text for text in (found.warning(), found.note(), *found.notes) if text]


def learned(path: Path, source: Source) -> Learned:
    """Compares data with the training data of the run that a model file lies in; reads files of the run, but no picture.

    Args:
        path: a model file, or the directory of a finished run.
        source: the data, opened without knowledge of the run.
    """
    file = model_in(path)
    folds, before = None, trained(file)
    if file.name == "model.safetensors" and (begun := folds_begun(file.parent)):
        data = decode(Asked, Run.open(begun[0]).asked()["asked"]).data
        folds, before = file.parent, replace(before, data=data)
    used = None if before.data is None else whole_of(before.data)
    if folds is not None and isinstance(used, Fold):
        used = used.source
    inner = None if used is None else innermost(used)
    if isinstance(inner, Several) and not isinstance(source, Several):
        own = next((each for each in inner.sets if same_place(each.source, source)), None)
        if own is None:
            return Learned(source)
        held, warning = ("", "") if folds else ("val", copies_warning(before.file))
        return Learned(own.source, warning, held, before.data, f"{own.name}/", folds)
    if isinstance(source, Several) and used is not None and inner is not None:
        if isinstance(inner, Several) and are_same_sets(inner, source):
            return Learned(used, "" if folds else copies_warning(before.file), "" if folds else "val", before.data, folds=folds)
        return learned_sets(used, source, before.data, folds)
    if used is None or type(inner) is not type(source):
        return Learned(source)
    assert inner is not None
    here, there = place_of(source), place_of(inner)
    if here is None or there is None:  # built in
        held = "" if folds else "val"
        return Learned(used, "", held, before.data, folds=folds) if same_place(inner, source) else Learned(source)
    if not here.is_relative_to(there) or (here != there and not here.is_dir()):
        return Learned(source)
    if folds is not None:
        whole, inside = here == there, f"{here.relative_to(there).as_posix()}/"
        return Learned(used if whole else source, "", "", before.data, "" if whole else inside, folds)
    warning = copies_warning(before.file)
    if here == there:
        return Learned(used, warning, "val", before.data)
    inside = f"{here.relative_to(there).as_posix()}/"
    measured = used.open().split("val") if warning else ()
    whole = bool(measured) and all(sample.name.startswith(inside) for sample in measured)
    return Learned(source, warning, "all" if whole else "", before.data, inside)


def are_same_sets(some: Several, others: Several) -> bool:
    """Whether two lists name the same sets in the same order."""
    return [each.name for each in some.sets] == [each.name for each in others.sets] and all(
        same_place(one.source, other.source) for one, other in zip(some.sets, others.sets, strict=True)
    )


def learned_sets(used: Source, source: Several, data: Source | None, folds: Path | None) -> Learned:
    """As `learned`, for a list of sets of which a network was trained on some, or on none: those keep the split of its run.

    Args:
        used: what it was trained on.
        data: the training data of the network.
    """
    inner = innermost(used)
    before = inner.sets if isinstance(inner, Several) else (Set(name=source.sets[0].name, source=used),)
    taken = {each.name for each in before} if isinstance(inner, Several) else set()
    sets, new = [], []
    for each in source.sets:
        own = next((old for old in before if same_place(innermost(old.source), innermost(each.source))), None)
        if own is None:
            numbered = (each.name, *(f"{each.name}-{number}" for number in range(2, 2 + len(taken) + len(source.sets))))
            name = next(name for name in numbered if name not in taken)  # pictures of one name are told apart by their set
            sets.append(replace(each, name=name))
            new.append(name)
            taken.add(name)
        else:
            sets.append(own if isinstance(inner, Several) else replace(own, name=each.name))
    if len(new) == len(sets):
        return Learned(source, new=tuple(each.name for each in source.sets))
    joined: Source = replace(source, sets=tuple(sets))
    if isinstance(inner, Several):
        joined = with_innermost(used, joined)
    outside = "" if isinstance(inner, Several) else next(f"{each.name}/" for each in sets if each.name not in new)
    return Learned(joined, "", "", data, folds=folds, new=tuple(new), outside=outside)


def copies_warning(file: Path) -> str:
    """What the run of a model file says about copies of validation pictures in train; "" if nothing."""
    copies = ((Run(file.parent).result() or {}).get("data") or {}).get("copies") or {}
    return str(copies.get("warning") or copies.get("note") or "")


def same_place(own: Source, given: Source) -> bool:
    """Whether data that are given are those of a run: of one folder or file, or generated alike.

    What is generated may be given by its name alone, as a folder is: without the fields that the run had.
    """
    if type(own) is not type(given):
        return False
    here, there = place_of(given), place_of(own)
    if here is None or there is None:
        return given == own or (bool(own.WORD) and given == type(own)())
    return here == there


def whole_of(source: Source) -> Source:
    """A source with all training pictures of it: without `Part`, but with the classes and the labels of the run."""
    if isinstance(source, Part):
        return whole_of(source.source)
    within = getattr(source, "source", None)
    return replace(source, source=whole_of(within)) if isinstance(within, Source) else source  # type: ignore[call-arg]


def place_of(source: Source) -> Path | None:
    """The resolved path of a source; None if it has none."""
    path = getattr(source, "path", None)
    return None if path is None else Path(path).expanduser().resolve()


def as_tested(preprocessing: Preprocessing) -> CentreCrop | Squash:
    """The training transform that equals the test preprocessing."""
    if preprocessing.fit == "squash":
        return Squash(interpolation=preprocessing.interpolation)
    return CentreCrop(share=preprocessing.crop, interpolation=preprocessing.interpolation)


def with_own_resize(recipe: Recipe, own: Preprocessing) -> Recipe:
    """A recipe whose plain resizing, if it has any, is that of the test.

    Args:
        own: preprocessing of the trained network.
    """
    plain = as_tested(recipe.test.preprocessing(own))
    return replace(recipe, transforms=tuple(plain if type(each).LEFT_OUT == PLAIN else each for each in recipe.transforms))


def aligned(side: int, resolution: int) -> str | None:
    """A warning if feature maps of two image sizes are aligned differently; None otherwise."""
    wanted, found = side % ALIGNED, resolution % ALIGNED
    if wanted == found:
        return None
    below = resolution - (found - wanted) % ALIGNED
    near = [str(each) for each in (below, below + ALIGNED) if each > 0]
    return (
        f"{resolution} is {found} modulo {ALIGNED}, but the network was trained at {side}, which is {wanted}: its feature maps "
        f"are aligned differently at these sizes; {' or '.join(near)} would fit"
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
    """Builds the request for fine-tuning a trained network.

    Inherited from the run are its network with the preprocessing, its data with split, layout and mirror images, and, for the
    same data, `max_damaged`, since the same pictures would be rejected otherwise. The training settings (optimizer, epochs,
    batch, transforms, seed) come from the recipe, and the execution from the plan. Fields, and a recipe given as a value,
    override what is inherited.

    Args:
        path: a model file, or the directory of a finished run.
        data: training data; default: that of the run. Its classes may differ: those that the network knows by name keep their
            weights in the last layer, others are initialised anew. The data of the run, if given again, keeps its split.
        resolution: image size in pixels for training and testing; default: that of the model file.
        recipe: default: `finetune` if data is given, `test-resolution` if only a resolution is.

    Returns:
        The choice, and notes for the user, one sentence each.

    Raises:
        ValueError: neither data nor resolution nor recipe is given, the run's data is unknown, or something does not fit.
    """
    before = trained(path)
    network, about = load_model(before.file)
    if data is None and resolution is None and recipe is None:
        raise ValueError("give other data to fine-tune on, another image size with --resolution, or a recipe with --recipe")
    source = learned(path, source_named(data)).source if isinstance(data, str) else data or before.data
    if source is None:
        raise ValueError(f"{path} does not state its training data; name the data")
    # without a size the recipe trains and tests at the resolution of the network, which fields and edits may change
    model = network.model if resolution is None else replace(network.model, resolution=resolution)
    usual = "detect" if source.boxed() else "segment" if source.dense() else "finetune"
    name = recipe if recipe is not None else usual if data is not None else "test-resolution"
    given = {full_path(path) for path in (fields or {})}
    if source.dense() and isinstance(model, Blueprint) and not model.head.DENSE and "model.head" not in given:
        model = replace(model, head=PyramidHead())
    if source.boxed() and isinstance(model, Blueprint) and not model.head.BOXES and "model.head" not in given:
        model = replace(model, head=FcosHead())
    plain = not source.dense() and not source.boxed() and "model.head" not in given
    if plain and data is not None and isinstance(model, Blueprint) and (model.head.DENSE or model.head.BOXES):
        model = replace(model, head=PoolHead())
    settings = recipe_named(name) if isinstance(name, str) else name
    settings = replace(settings, size=None, pixel_share=1.0, test=replace(settings.test, size=None))
    most = before.max_damaged if isinstance(name, str) and source == before.data else None
    if most is not None:
        settings = replace(settings, max_damaged=most)
    choice = choose(source, model, settings, plan, str(before.file), config, dict(fields or {}))
    if most is not None:
        choice.origins.setdefault("recipe.max_damaged", str(path))
    follows = isinstance(name, str) and settings.test.fit is None  # training then resizes as the network's own test
    if follows and not any(path.startswith("recipe.transforms") for path in choice.origins):
        own = choice.asked.assembled().preprocessing
        choice.asked = replace(choice.asked, recipe=with_own_resize(choice.asked.recipe, own))
    known = about.name if about.name in networks() else ""
    choice.asked = replace(choice.asked, model_name=known, recipe_name=name if isinstance(name, str) else "", verb="finetune")
    final = choice.asked.final_size()
    if resolution is not None and final != resolution:
        raise ValueError(
            f"--resolution {resolution} trains and tests at {resolution} pixels, but the fields test at {final}; leave one"
            f" out, or set different sizes for training and testing: size=SIZE test_size={resolution}"
        )
    warning = aligned(before.side, final)
    return choice, (*([f"warning: {warning}"] if warning else []), *seen_before(path, choice.asked.data))


def seen_before(path: Path, source: Source) -> list[str]:
    """Warnings that validation pictures of the data are among those that a network was trained on; [] where none can be.

    The data of its own run holds out what that run held out; that of a cross-validation, and other parts of its data, do not.
    """
    same = learned(path, source)
    if same.folds is None and not same.inside and not same.new:
        return []
    with suppress(ValueError, OSError):  # training says so itself
        return [note for note in same.remarks("val", source.open().split("val")) if note.startswith("warning")]
    return []
