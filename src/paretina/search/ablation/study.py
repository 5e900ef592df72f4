"""The definition of an ablation study: a baseline, changes of it, and the seeds to train them with."""

import random
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import torch

from paretina.clock import END, START
from paretina.data.source import Collection, Source
from paretina.data.sources.part import Part
from paretina.data.transform import Sight
from paretina.model.blueprint import Model
from paretina.model.pretrained import WORDS, lies_here
from paretina.search.ablation.switches import Switch, check_once
from paretina.spec import Spec
from paretina.train.asked import Asked
from paretina.train.feasible import check_asked
from paretina.train.resolve import resolve
from paretina.train.tasks import require_top1, require_updates

LengthUnit = Literal["updates", "epochs"]

BASE = "base"
"""Name of the unchanged variant."""


@dataclass(frozen=True, kw_only=True)
class Rival(Spec):
    """Another network to compare with the baseline; `name` is that in `paretina models`."""

    name: str
    model: Model


def in_a_row(values: Iterable[float]) -> str:
    """0.1, 2"""
    return ", ".join(f"{value:g}" for value in values)


@dataclass(frozen=True, kw_only=True)
class Study(Spec):
    """
    Attributes:
        base: the baseline; its seed does not matter.
        seeds: seeds with which each change is trained.
        switches: changes of a field or an edit.
        shares: fractions of the training pictures, in (0, 1]; 1 is always included.
        noises: fractions of wrong training labels, in [0, 1]; 0 is always included.
        rivals: other networks, trained for as long as the baseline, with each data fraction.
        budgets: what stays equal with fewer pictures: `updates` repeats them, so that a run has the same length; `epochs` shows
            each equally often, so that the run is shorter.
        time_limit_s: seconds for a run of the baseline; the epochs that fit are determined once and used for all runs except
            those of rivals, which get as many as take equally long.
    """

    base: Asked
    seeds: tuple[int, ...] = (0, 1, 2, 3, 4)
    switches: tuple[Switch, ...] = ()
    shares: tuple[float, ...] = ()
    noises: tuple[float, ...] = ()
    rivals: tuple[Rival, ...] = ()
    budgets: tuple[LengthUnit, ...] = ("updates",)
    time_limit_s: float | None = None

    def __post_init__(self) -> None:
        if not self.seeds or not self.budgets:
            raise ValueError(f"a study needs at least one seed and one budget, got seeds={self.seeds}, budgets={self.budgets}")
        if not all(0 < share <= 1 for share in self.shares):
            raise ValueError(f"fractions of the data must be in (0, 1], got {in_a_row(self.shares)}")
        if not all(0 <= noise <= 1 for noise in self.noises):
            raise ValueError(f"fractions of wrong labels must be in [0, 1], got {in_a_row(self.noises)}")
        names = {
            "seeds": self.seeds,
            "switches": [switch.title for switch in self.switches],
            "shares": self.shares,
            "noises": self.noises,
            "rivals": [rival.name for rival in self.rivals],
            "budgets": self.budgets,
        }
        for what, each in names.items():
            twice = [name for name in each if list(each).count(name) > 1]
            if twice:
                raise ValueError(f"{twice[0]} is given twice among the {what} of a study; leave one out")

    def variants(self, epochs: Mapping[str, float] | None = None) -> tuple["Variant", ...]:
        """All variants, the baseline first.

        Args:
            epochs: by name of the network, "" for the baseline: how many fit into the time, if determined.

        Raises:
            ValueError: a switch cannot be made, or changes nothing; the message names it.
        """
        base = with_epochs(self.base, (epochs or {}).get(""))
        found = [Variant(BASE, base)]
        found += [Variant("", switched(base, switch), switch=switch, named=switch.title) for switch in self.switches]
        for rival in (None, *self.rivals):
            asked, name = base, ""
            if rival is not None:
                name = rival.name
                asked = replace(base, model=rival.model, model_name=rival.name)
                asked = with_epochs(asked, (epochs or {}).get(name))
                found.append(Variant("", asked, rival=name, named=name))
            for budget in self.budgets:
                for share in sorted(share for share in self.shares if share < 1):
                    part = Part(source=self.base.data, share=share, repeat=budget == "updates")
                    words = (name, f"data {share:g}", "" if budget == "updates" else "equal epochs")
                    named = ", ".join(word for word in words if word)
                    changed = replace(asked, data=part)
                    found.append(Variant("", changed, share=share, rival=name, budget=budget, named=named))
        for noise in sorted(noise for noise in self.noises if noise):
            changed = replace(base, data=Part(source=self.base.data, noise=noise))
            found.append(Variant("", changed, noise=noise, named=f"noise {noise:g}"))
        return tuple(with_names(found))

    def jobs(self, epochs: Mapping[str, float] | None = None) -> list[tuple["Variant", int]]:
        """All runs in the order of training: seed by seed, in a different order for each."""
        found = []
        for seed in self.seeds:
            variants = list(self.variants(epochs))
            random.Random(seed).shuffle(variants)
            found += [(variant, seed) for variant in variants]
        return found


@dataclass(frozen=True)
class Variant:
    """One configuration that is trained with every seed.

    Attributes:
        name: name of its folder.
        asked: the request, with any seed.
        switch: its switch, if it has one.
        share: fraction of the training pictures; `noise` is that of wrong labels.
        rival: name of the network if it is not that of the baseline.
    """

    name: str
    asked: Asked
    switch: Switch | None = None
    share: float = 1.0
    noise: float = 0.0
    rival: str = ""
    budget: LengthUnit = "updates"
    named: str = ""

    def at(self, seed: int) -> Asked:
        """The request for the run with a seed; subsets and wrong labels are drawn anew for each."""
        asked = replace(self.asked, recipe=replace(self.asked.recipe, seed=seed))
        if isinstance(asked.data, Part) and (self.share < 1 or self.noise):
            asked = replace(asked, data=replace(asked.data, seed=seed))
        return asked

    def folder(self, path: Path, seed: int) -> Path:
        return path / "runs" / self.name / str(seed)


def switched(asked: Asked, switch: Switch) -> Asked:
    try:
        return switch(asked)
    except ValueError as error:
        raise ValueError(f"{switch.title}: {error}") from None


def with_epochs(asked: Asked, epochs: float | None) -> Asked:
    return asked if epochs is None else replace(asked, recipe=replace(asked.recipe, epochs=epochs))


def with_names(variants: Sequence[Variant]) -> Iterator[Variant]:
    """Adds unique folder names that are valid on any system."""
    taken: set[str] = set()
    for variant in variants:
        plain = variant.name or re.sub(r"[^a-z0-9.]+", "-", variant.named.lower()).strip("-.")[:60] or "switch"
        name, number = plain, 2
        while name in taken:
            name, number = f"{plain}-{number}", number + 1
        taken.add(name)
        yield replace(variant, name=name)


# --- before anything is trained ------------------------------------------------------------------------------------------


def settled(asked: Asked) -> Asked:
    """The baseline as it will be trained: without parts that do not fit the data or the weights, and with seed 0.

    Otherwise leaving such a part out would be trained, although it changes nothing.

    Raises:
        ValueError: the data or the weights cannot be read.
    """
    recipe = replace(asked.recipe, seed=0)
    collection = asked.data.open()
    require_top1(collection.task, "an ablation judges changes")
    require_updates(recipe, "an ablation compares networks")
    if not collection.mirrors:
        recipe = replace(recipe, transforms=tuple(each for each in recipe.transforms if not each.MIRRORS))
    if recipe.start.zero_gamma and asked.starts():
        recipe = replace(recipe, start=replace(recipe.start, zero_gamma=False))
    return replace(asked, recipe=recipe)


def check(study: Study) -> None:
    """Applies every change and checks it without reading a picture and without training.

    Raises:
        ValueError: a change is unknown, changes nothing, equals another one, sets something twice, or cannot be trained; the
            message names it.
    """
    if study.rivals and study.base.weights not in WORDS:
        raise ValueError(
            f"the weights {study.base.weights} fit only one network, so others cannot be compared; use none or auto"
        )
    seen: dict[Asked, str] = {}
    opened: dict[Source, Collection] = {}
    for variant in study.variants():
        title, asked = variant.named or BASE, variant.asked
        alike = replace(asked, recipe=replace(asked.recipe, seed=0))
        try:
            if variant.switch is not None and asked.recipe.seed != study.base.recipe.seed:
                raise ValueError("every run of a study has its own seed, so a seed cannot be a switch; leave it out")
            if alike in seen:
                raise ValueError(f"it is the same as {seen[alike]}; leave one out")
            seen[alike] = title
            if variant.switch is not None:
                check_once(variant.switch, asked)
            if asked.data not in opened:
                opened[asked.data] = asked.data.open()
            trainable(asked, opened[asked.data])
            check_start(study.base, variant)
        except ValueError as error:
            raise ValueError(f"{title}: {error}") from None


def check_start(base: Asked, variant: "Variant") -> None:
    """Checks that a change does not alter whether a run starts from weights or from scratch.

    Raises:
        ValueError: it does, although it does not set the weights; its gain would be that of the weights.
    """
    asked = variant.asked
    if variant.switch and asked.weights == base.weights and asked.starts() != base.starts():
        known, other = ("base", "changed network") if base.starts() else ("changed network", "base")
        raise ValueError(f"the {known} starts from weights, which do not fit the {other}; compare both with --weights none")


def trainable(asked: Asked, collection: Collection) -> None:
    """Checks that a run can be trained, without reading a picture.

    Raises:
        ValueError: an edit does not fit, the network does not take the images, named weights cannot be read or do not fit, an
            update is too small, or the recipe has no transform to a square.
    """
    check_asked(asked)
    at_hand = asked.weights not in WORDS and lies_here(asked.weights, asked.published)
    # auto and hub use any weights that fit, and nothing is downloaded here
    resolve(asked if at_hand else replace(asked, weights="none", model_name=""), collection)
    recipe = asked.recipe
    side = round(asked.sizes()(END))
    with torch.random.fork_rng(devices=[]):
        for look in recipe.looks():
            look([Sight(torch.zeros(3, side + 9, side + 4, dtype=torch.uint8), None, 0, START)], side)
