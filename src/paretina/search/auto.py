"""Chooses network, image size, recipe and length of a run for a folder of pictures, this machine and a time limit.

What counts: the pictures (how many, of how many classes, how large), the weights that are available, and the measured pace of
candidate networks on this device (`paretina.measure.pace`). With weights, the head starts as a linear classifier on frozen
features (`start.head=probe`) and the last stages are fine-tuned on remembered feature maps; a pilot on part of the *training*
pictures first decides at which rate, or whether the linear classifier itself is better; validation pictures are never used for
a choice. The whole network is fine-tuned only where fields are given that this does not go with: no record shows yet that it
beats the linear classifier, and nothing would notice if it did not. Without weights, a small network is trained from scratch.

Every decision becomes a field of the run, so a resumed run, other processes and an ablation decide nothing again. Whatever is
given by hand is kept.
"""

import statistics
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from paretina.data.decode import DecodeError
from paretina.data.source import Collection, Source
from paretina.measure.pace import NetworkPace, pace
from paretina.measure.plan import Plan
from paretina.model.family import Published, network_named, networks
from paretina.model.pretrained import known_place
from paretina.model.tasks.one_of import OneOf
from paretina.text import how_many
from paretina.train.asked import Asked, Choice, full_path, recipe_named, related
from paretina.train.learning import Learning
from paretina.train.pilot import LEAST_UPDATES, PROBE, pilot
from paretina.train.recipe import Recipe
from paretina.train.resolve import prepare

Say = Callable[[str], None]

TIME_S = 600.0
"""Seconds of a run if no limit is given."""

END_S = 6.0
"""Seconds reserved for metrics with intervals, the model file and the report at the end of a run."""

LOOKED_AT = 48
"""Pictures that are decoded to see how large they are."""

SIDES = (96, 128, 160, 192, 224, 256, 288, 320)
"""Image sizes to choose from, in pixels; multiples of the largest stride, 32."""

PASSES = 5.0
"""Epochs that fine-tuning the whole network should have."""

VISITS = 4_000
"""Pictures that fine-tuning the whole network should see, if there are so few that `PASSES` epochs are a handful of updates."""

LATE_STRIDE = 16
"""Stages whose maps have this stride or less are frozen where only the last stages are fine-tuned."""


@dataclass(frozen=True)
class FolderLook:
    """What a data set holds.

    Attributes:
        train: number of training pictures.
        val: number of validation pictures.
        smallest: number of training pictures of the smallest class.
        side: median of the shorter side, in pixels.
        aspect: median of the longer side divided by the shorter one.
    """

    train: int
    val: int
    classes: int
    smallest: int
    side: int
    aspect: float

    def said(self) -> str:
        shape = f"{self.side} pixels" if self.aspect < 1.2 else f"{self.side} x {round(self.side * self.aspect)} pixels"
        return (
            f"data: {how_many(self.train, 'training picture', ',')} of {how_many(self.classes, 'class')} (the smallest has "
            f"{self.smallest}), {self.val:,} for validation, typically {shape}"
        )


def look_at(collection: Collection) -> FolderLook:
    """Counts the pictures and decodes a few of them to see their size.

    Raises:
        ValueError: there are no training pictures, or none of those that were tried can be read.
    """
    train, val = collection.split("train"), collection.splits.get("val", ())
    if not train:
        raise ValueError("there are no pictures to train on")
    shapes = []
    tried = train[:: max(1, len(train) // LOOKED_AT)][:LOOKED_AT]
    for sample in tried:
        try:
            shapes.append(collection.image(sample).shape[-2:])
        except DecodeError:
            continue
    if not shapes:
        raise ValueError(f"none of the {how_many(len(tried), 'picture')} that were tried can be read: paretina data check")
    counts = Counter(sample.label for sample in train)
    side = round(statistics.median(min(shape) for shape in shapes))
    aspect = statistics.median(max(shape) / min(shape) for shape in shapes)
    return FolderLook(len(train), len(val), len(collection.classes), min(counts.values()), side, aspect)


@dataclass(frozen=True)
class Chosen:
    """
    Attributes:
        model: name of a network.
        recipe: name of a recipe.
        fields: changes of the recipe and the network, by path.
        pilot: whether a pilot is to decide how the last stages are fine-tuned.
        seconds: time limit of the whole run; None if its length is given in epochs.
        said: what was chosen and why, one sentence each.
    """

    model: str
    recipe: str
    fields: dict[str, Any]
    pilot: bool
    seconds: float | None
    said: tuple[str, ...]


def choose_auto(
    data: Source,
    plan: Plan,
    weights: str = "auto",
    recipe: str | None = None,
    given: Mapping[str, Any] | None = None,
    seconds: float | None = None,
) -> Chosen:
    """Chooses a network and how it is trained.

    Args:
        weights: "auto", "hub" or "none".
        recipe: name of the recipe if it is given.
        given: fields that are given by hand, by any of their names; they are kept.
        seconds: time limit of the whole run; default: `TIME_S`, unless epochs are given.

    Raises:
        ValueError: the data cannot be used.
    """
    paths = {full_path(name): value for name, value in (given or {}).items()}
    if "recipe.epochs" in paths:
        seconds = None
    elif seconds is None:
        seconds = TIME_S
    collection = data.open()
    seen = look_at(collection)
    plan = replace(plan, precision="float32", depthwise="same")
    scratch = weights == "none" or recipe in ("scratch", "fast")
    known = [] if scratch else with_weights(ask=weights == "hub")
    time_s = TIME_S if seconds is None else seconds
    side = side_given(paths)
    if known:
        rising = side is None and "recipe.size" in paths
        plain = recipe is None and not rising and not any(related(path, own) for path in paths for own in OWN)
        found = fine_tuned(seen, known, plan, side, time_s, plain and isinstance(collection.task, OneOf))
    else:
        found = from_scratch(seen, plan, side, time_s)
    fields = {path: value for path, value in found.fields.items() if not any(related(path, other) for other in paths)}
    return replace(found, recipe=recipe or found.recipe, fields=fields, seconds=seconds, said=(seen.said(), *found.said))


def side_given(paths: Mapping[str, Any]) -> int | None:
    """The image size if it is given by hand as a number."""
    for path in ("recipe.size", "model.resolution", "recipe.test.size"):
        value = paths.get(path)
        if isinstance(value, int | float) or (isinstance(value, str) and value.isdecimal()):
            return int(value)
    return None


# --- with weights -------------------------------------------------------------------------------------------------------


def with_weights(ask: bool) -> list[Published]:
    """The networks with trained weights, smallest first.

    Args:
        ask: whether a library may download them.
    """
    found = [network for network in networks().values() if known_place(network, ask) is not None]
    return sorted(found, key=lambda network: network.params)


def whole_passes(measured: NetworkPace, side: int, seen: FolderLook, seconds: float) -> float:
    """Epochs of fine-tuning the whole network that fit into the time, with the evaluation at the end."""
    at = measured.at(side)
    return max(0.0, 0.9 * seconds - at.infer_s * seen.val) / (at.train_s * seen.train)


def fine_tuned(
    seen: FolderLook, known: Sequence[Published], plan: Plan, side: int | None, seconds: float, probe: bool
) -> Chosen:
    """The network with weights and the image size that suit the time, and whether a pilot decides about the last stages.

    Args:
        side: image size if it is given.
        probe: whether the head may start as a linear classifier on frozen features.
    """
    network, measured = known[0], pace(known[0].blueprint, 128, plan)
    if not probe:
        return whole_network(seen, network, measured, side, seconds)
    for larger in known[1:]:
        other = pace(larger.blueprint, 128, plan)
        if features_s(seen, larger, other) > FEATURES * seconds:
            break
        network, measured = larger, other
    own = side or network.blueprint.resolution
    view_s = measured.at(own).infer_s * seen.train
    views = 2 if features_s(seen, network, measured) + view_s <= VIEWS * seconds else 1
    fields: dict[str, Any] = {
        "recipe.size": own,
        "model.resolution": own,
        "recipe.start.head": "probe",
        "recipe.learning": late(views),
    }
    said = (
        f"network: {network.name}, whose weights are on this machine, at {own} pixels",
        "recipe: finetune, the last stages only, from a linear classifier on frozen features; a pilot on held-out training "
        "pictures decides whether that improves on the classifier",
        f"expected: at least the accuracy of the linear classifier, whose features take about "
        f"{features_s(seen, network, measured):.0f} s of {seconds:.0f} s",
    )
    return Chosen(network.name, "finetune", fields, True, seconds, said)


FEATURES = 0.25
"""Share of the time that the features of all pictures may take with a larger network; the smallest is taken in any case."""


VIEWS = 0.35
"""Share of the time that features and the maps of a second view may take; otherwise one view is remembered."""


def features_s(seen: FolderLook, network: Published, measured: NetworkPace) -> float:
    """Seconds for the features of all pictures, at the size of the weights."""
    return measured.at(network.blueprint.resolution).infer_s * (seen.train + seen.val)


def whole_network(seen: FolderLook, network: Published, measured: NetworkPace, side: int | None, seconds: float) -> Chosen:
    """The image size at which the whole network has enough epochs in the time."""
    wanted, left = max(PASSES, VISITS / seen.train), seconds - END_S
    sides = [side] if side else [each for each in SIDES if each <= network.blueprint.resolution]
    fits = {each: whole_passes(measured, each, seen, left) for each in sides}
    best = max([each for each, passes in fits.items() if passes >= wanted] or [min(sides)])
    said = (
        f"network: {network.name}, the smallest with weights on this machine, at {best} pixels",
        "recipe: finetune",
        f"expected: about {fits[best]:.2g} epochs in {seconds:.0f} s",
    )
    return Chosen(network.name, "finetune", {"recipe.size": best, "model.resolution": best}, False, seconds, said)


def late(views: int) -> Learning:
    """What learns where only the last stages do, on so many views of each picture."""
    return Learning(frozen_stride=LATE_STRIDE, freeze_norm_statistics=True, remembered_views=views)


RATES: Mapping[str, float] = {"lr=1e-4": 1e-4, "lr=3e-4": 3e-4}
"""Peaks of the learning rate that a pilot compares, as far as there is time, in this order."""


OWN = ("recipe.objective", "recipe.teacher", "recipe.views", "recipe.learning", "recipe.start", "recipe.epochs")
"""Fields with which a run is more than plain fine-tuning for a time, so that nothing but network and image size is chosen."""

PILOT = 0.2
"""Share of the time that a pilot takes for its trials."""


def piloted(choice: Choice, seconds: float, say: Say) -> Asked:
    """The request after a pilot on held-out training pictures: with the best learning rate, or the linear classifier alone.

    Args:
        choice: a learning rate that is given by hand is kept.
        seconds: left for the whole run.
    """
    began = time.monotonic()
    prepared = prepare(choice.asked)
    recipe, own = prepared.recipe, choice.asked.recipe
    rates = {"fine-tuning": None} if "recipe.optimizer.lr" in choice.origins else RATES
    ways = {name: recipe if rate is None else with_rate(recipe, rate) for name, rate in rates.items()}
    found = pilot(prepared, ways, PILOT * seconds)
    say(found.said())
    left = seconds - END_S - (time.monotonic() - began)
    if found.chosen != PROBE and left < 2 * LEAST_UPDATES * (found.update_s or 0.0):
        say("the time that is left is too short for fine-tuning, so the linear probe is kept")
        found = replace(found, chosen=PROBE)
    if found.chosen == PROBE:
        return probe_alone(choice.asked)
    return replace(choice.asked, recipe=replace(own, optimizer=ways[found.chosen].optimizer))


def probe_alone(asked: Asked) -> Asked:
    """The request with the linear classifier as its result; maps that a pilot has computed serve it too."""
    return replace(asked, recipe=replace(asked.recipe, epochs=0.0))


def without_pilot(asked: Asked, say: Say) -> Asked:
    """The request at the lowest rate that a pilot would try, for several processes, which have none."""
    name, rate = min(RATES.items(), key=lambda each: each[1])
    say(f"several processes have no pilot, so the last stages are fine-tuned at {name}; compare with the linear probe")
    return replace(asked, recipe=with_rate(asked.recipe, rate))


def with_rate(recipe: Recipe, peak: float) -> Recipe:
    return replace(recipe, optimizer=recipe.optimizer.with_peak(peak))


# --- from scratch -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Small:
    """A network for training from scratch in minutes.

    Attributes:
        passes: epochs below which a faster network is better.
    """

    name: str
    passes: float


SMALL: tuple[Small, ...] = (
    Small("resnet8_w16_s2", 0.0),
    Small("resnet9_w16_s2", 12.0),
    Small("resnet9_w24_s2", 16.0),
    Small("resnet9_w32_s2", 20.0),
    Small("resnet9_w32", 30.0),
)
"""The fastest first; the last one that has its epochs in the time is taken."""

LARGEST_SIDE = 64
"""Image size in pixels at which the small networks are trained at most; larger ones were not compared."""


def from_scratch(seen: FolderLook, plan: Plan, side: int | None, seconds: float) -> Chosen:
    """The small network and the image size that suit the time."""
    best = side or max(24, min(LARGEST_SIDE, seen.side))
    chosen, passes = SMALL[0], 0.0
    for each in SMALL:
        blueprint = replace(network_named(each.name).blueprint, resolution=best)
        found = whole_passes(pace(blueprint, best, plan), best, seen, seconds - END_S)
        if passes and found < each.passes:
            break
        chosen, passes = each, found
    fields = {"recipe.size": best, "model.resolution": best}
    recipe = "scratch" if passes >= 2 * recipe_named("scratch").epochs else "fast"  # a short run underfits with the other
    return Chosen(
        chosen.name,
        recipe,
        fields,
        False,
        seconds,
        (
            f"network: {chosen.name} from scratch at {best} pixels: no weights are on this machine, or none are wanted",
            f"recipe: {recipe}",
            f"expected: about {passes:.2g} epochs in {seconds:.0f} s",
        ),
    )
