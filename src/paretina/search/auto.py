"""Chooses network, image size, recipe and length of a run for a folder of pictures, this machine and a time limit.

What counts: the pictures (how many, of how many classes, how large), the weights that are available, and the measured pace of
candidate networks on this device (`paretina.measure.pace`). With weights, the head starts as a linear classifier on frozen
features (`start.head=probe`) and the last stages are fine-tuned on remembered feature maps; a pilot on part of the *training*
pictures first decides whether the linear classifier itself is better; validation pictures are never used for a choice. The
whole network is fine-tuned only where fields are given that this does not go with: no record shows yet that it beats the linear
classifier, and nothing would notice if it did not. Without weights, a small network is trained from scratch.

Every decision becomes a field of the run, so a resumed run, other processes and an ablation decide nothing again. Whatever is
given by hand is kept.
"""

import math
import statistics
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from paretina.data.decode import DecodeError
from paretina.data.source import Collection, Source
from paretina.data.transform import Transform
from paretina.data.transforms.crop import RandomResizedCrop
from paretina.data.transforms.shift import RandomShift
from paretina.data.transforms.squash import Squash
from paretina.measure.pace import NetworkPace, pace
from paretina.measure.plan import Plan
from paretina.measure.process import process_settings
from paretina.model.blueprint import Blueprint, Head
from paretina.model.family import Published, network_named, networks
from paretina.model.heads.fcos import FcosHead
from paretina.model.heads.pyramid import PyramidHead
from paretina.model.pretrained import known_place
from paretina.model.tasks.one_of import OneOf
from paretina.schedules import Constant
from paretina.text import how_many
from paretina.train.asked import Asked, Choice, full_path, recipe_named, related
from paretina.train.average import Average
from paretina.train.learning import Learning
from paretina.train.objectives.supervised import Supervised
from paretina.train.pilot import LEAST_UPDATES, PROBE, pilot
from paretina.train.recipe import Recipe
from paretina.train.remembered import check_room, room
from paretina.train.resolve import LOOKING, prepare
from paretina.train.terms.cross_entropy import CrossEntropy

Say = Callable[[str], None]

TIME_S = 600.0
"""Seconds of a run if no limit is given."""

BEGIN_S, READ_S, PIXEL_S = 7.0, 3e-4, 1e-7
"""Seconds reserved for imports, the look at the pictures and the pace of networks; for reading each picture, and each pixel."""

END_S = 4.0
"""Seconds reserved for metrics with intervals, the model file and the report at the end of a run."""

LOOKED_AT = 48
"""Pictures that are decoded to see how large they are."""

SIDES = (96, 128, 160, 192, 224, 256, 288, 320)
"""Image sizes to choose from, in pixels; multiples of the largest stride, 32."""

PASSES = 5.0
"""Epochs that fine-tuning the whole network should have."""

VISITS = 4_000
"""Pictures that fine-tuning the whole network should see, if there are so few that `PASSES` epochs are a handful of updates."""

PACE_SIDE = 160
"""Image size in pixels at which the pace of networks with weights is measured."""

LATE_STRIDE = 16
"""Stages whose maps have this stride or less are frozen where only the last stages are fine-tuned."""


@dataclass(frozen=True)
class FolderLook:
    """What a data set holds.

    Attributes:
        train: number of training pictures.
        val: number of validation pictures.
        smallest: number of training pictures of the smallest class; None where pictures have several or none.
        side: median of the shorter side, in pixels.
        aspect: median of the longer side divided by the shorter one.
    """

    train: int
    val: int
    classes: int
    smallest: int | None
    side: int
    aspect: float

    def said(self) -> str:
        shape = f"{self.side} pixels" if self.aspect < 1.2 else f"{self.side} x {round(self.side * self.aspect)} pixels"
        smallest = "" if self.smallest is None else f" (the smallest has {self.smallest})"
        return (
            f"data: {how_many(self.train, 'training picture', ',')} of {how_many(self.classes, 'class')}{smallest}, "
            f"{self.val:,} for validation, typically {shape}"
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
    smallest = min(Counter(sample.label for sample in train).values()) if isinstance(collection.task, OneOf) else None
    side = round(statistics.median(min(shape) for shape in shapes))
    aspect = statistics.median(max(shape) / min(shape) for shape in shapes)
    return FolderLook(len(train), len(val), len(collection.classes), smallest, side, aspect)


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
    if seconds is None and "recipe.epochs" not in paths:
        seconds = TIME_S
    collection = data.open()
    seen = look_at(collection)
    plan = replace(plan, precision="float32", depthwise="same")
    scratch = weights == "none" or recipe in ("scratch", "fast")
    known = [] if scratch else with_weights(ask=weights == "hub")
    time_s = TIME_S if seconds is None else seconds
    side = side_given(paths)
    if collection.task.DENSE or collection.task.BOXES:
        found = for_places(seen, known, side, len(collection.classes), collection.task.BOXES)
    elif known:
        hindered = hindrance(collection, recipe, side, paths)
        found = fine_tuned(seen, known, plan, side, time_s, hindered, number_given(paths, "recipe.epochs"))
    else:
        why = "none are wanted" if scratch else "no weights are on this machine"
        found = from_scratch(seen, plan, side, time_s, why)
    if "recipe.epochs" in paths:
        found = replace(found, said=tuple(text for text in found.said if not text.startswith(EXPECTED)))
    fields = {path: value for path, value in found.fields.items() if not any(related(path, other) for other in paths)}
    return replace(found, recipe=recipe or found.recipe, fields=fields, seconds=seconds, said=(seen.said(), *found.said))


EXPECTED = "expected: "


def hindrance(collection: Collection, recipe: str | None, side: int | None, paths: Mapping[str, Any]) -> str:
    """Why the last stages are not fine-tuned from a linear classifier: what is given that this does not go with; or ""."""
    if recipe is not None:
        return f"the recipe {recipe} is given"
    if side is None and "recipe.size" in paths:
        return "the image size rises"
    given = [path for path in paths if any(related(path, own) for own in OWN)]
    if given:
        return f"{given[0].removeprefix('recipe.')} is given"
    return "" if isinstance(collection.task, OneOf) else "the task is not one class a picture"


def side_given(paths: Mapping[str, Any]) -> int | None:
    """The image size if it is given by hand as a number."""
    sides = (number_given(paths, path) for path in ("recipe.size", "model.resolution", "recipe.test.size"))
    return next((int(side) for side in sides if side is not None), None)


def number_given(paths: Mapping[str, Any], path: str) -> float | None:
    """The value of a field if it is given by hand as a number."""
    try:
        found = float(paths[path])
    except (KeyError, TypeError, ValueError):
        return None
    return found if math.isfinite(found) else None


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
    seen: FolderLook,
    known: Sequence[Published],
    plan: Plan,
    side: int | None,
    seconds: float,
    hindered: str = "",
    epochs: float | None = None,
) -> Chosen:
    """The network with weights and the image size that suit the time, and whether a pilot decides about the last stages.

    Args:
        side: image size if it is given.
        hindered: why the head does not start as a linear classifier on frozen features; "" if it does.
        epochs: if they are given; they are made, whatever the time.
    """
    network, measured = known[0], pace(known[0].blueprint, PACE_SIDE, plan, learning=bool(hindered))
    if hindered:
        return whole_network(seen, network, measured, side, seconds, hindered)
    left = seconds - BEGIN_S - END_S - read_s(seen)
    for larger in known[1:]:
        other = pace(larger.blueprint, PACE_SIDE, plan, learning=False)
        if late_passes(seen, other, larger.blueprint.resolution, left) < passes_wanted(seen):
            break
        network, measured = larger, other
    own = side or best_side(seen, network, measured, left)
    blueprint = replace(network.blueprint, resolution=own)
    passes = late_passes(seen, measured, own, left) if epochs is None else epochs
    views = views_that_fit(seen, blueprint, min(VIEWS, max(1, round(passes / PASSES_A_VIEW))))
    batch = recipe_named("finetune").batch_size
    enough = passes >= 1 and passes * seen.train / batch >= PILOTS * LEAST_UPDATES  # or the pilot makes too few
    trains = views > 0 and (enough if epochs is None else epochs > 0)
    most = most_passes(seen, batch)
    fields: dict[str, Any] = {
        "recipe.size": own,
        "model.resolution": own,
        "recipe.epochs": most if trains else 0.0,
        "recipe.start.head": "probe",
        "recipe.start.probe_size": own,
        "recipe.learning": late(views),
        "recipe.test.every": max(most, passes),  # the end alone: an evaluation takes as long as an epoch of updates
    }
    recipe = recipe_named("finetune")
    light = brief(recipe) if passes < BRIEF else replace(recipe, average=Average(initial=LONG_INITIAL))
    fields |= {f"recipe.{name}": getattr(light, name) for name in ("transforms", "objective", "average")}
    full = network.blueprint.resolution
    smaller = f", since the time is too short for {full}" if own < full and not side else ""
    if not views:
        way = "a linear classifier on frozen features: the memory that is left has no room for feature maps to train on"
    elif not trains:
        more = longer(seen, measured, own, batch, seconds)
        why = f"epochs={epochs:g}" if epochs is not None else f"the time is too short for more{more}"
        way = f"a linear classifier on frozen features: {why}"
    else:
        way = (
            "finetune, the last stages only, from a linear classifier on frozen features; a pilot on held-out training "
            "pictures decides whether that improves on the classifier"
        )
    least = "at least " if trains else ""
    needed = BEGIN_S + END_S + read_s(seen) + probe_s(seen, measured, own)
    late_by = f", which is too short: about {needed:.0f} s are needed" if needed > seconds and epochs is None else ""
    said = (
        f"network: {network.name}, whose weights are on this machine, at {own} pixels{smaller}",
        f"recipe: {way}",
        f"{EXPECTED}{least}the accuracy of the linear classifier, whose features take about "
        f"{probe_s(seen, measured, own):.0f} s of {seconds:.0f} s{late_by}",
    )
    return Chosen(network.name, "finetune", fields, trains, seconds, said)


def longer(seen: FolderLook, measured: NetworkPace, side: int, batch: int, given: float) -> str:
    """With what limit of time the last stages would be fine-tuned, as the end of a sentence; "" where none is found."""
    wanted = max(1.0, PILOTS * LEAST_UPDATES * batch / seen.train)
    for seconds in (60, 90, 120, 180, 300, 600, 1200, 1800, 3600, 7200):
        left = seconds - BEGIN_S - END_S - read_s(seen)
        if seconds > given and late_passes(seen, measured, side, left) >= wanted:
            text = f"{seconds}s" if seconds <= 90 else f"{seconds // 60}m"
            return f"; fine-tuning at {side} pixels needs about --time-limit {text}"
    return ""


PROBE_SHARE = 0.75
"""Share of the time that the linear classifier may take; images are smaller where it would take more."""

LEAST = 24
"""Image size in pixels at which the small networks are trained at least."""

LATE_PASSES = 4.0
"""Epochs that fine-tuning the last stages should have; images are smaller, or the network, where it would have fewer. On the
built-in drawings 1.7 epochs at 224 pixels lost 0.4 points against the linear classifier there, and 8 at 160 gained 2.6."""

LATE_UPDATES = 80
"""Updates that fine-tuning the last stages should have."""

PILOTS = 3
"""How many times as many updates as its pilot a run makes."""

TUNING_S, TUNING_IMAGE_S = 4.0, 0.004
"""Seconds that fine-tuning costs beside views, updates and evaluation, and those for each training picture: two linear
classifiers, and the timing of updates."""

LEAST_SIDE = 0.7
"""Share of the side that the weights are used to, below which fine-tuning does not make up for what smaller images lose."""

VIEWS, PASSES_A_VIEW = 4, 2.0
"""Views of each picture that are remembered at most, and epochs for each of them."""

LATE_S, VIEW_S = 0.8, 0.8
"""Seconds a picture for an update of the last stages, and for a view that is remembered, as shares of those for features."""

TRAINING = 0.75
"""Share of the time behind features and evaluation that goes into views and updates; the pilot has the rest."""


def probe_s(seen: FolderLook, measured: NetworkPace, side: int) -> float:
    """Seconds for the features of all pictures, of those for validation too."""
    return measured.at(side).infer_s * (seen.train + seen.val)


def late_passes(seen: FolderLook, measured: NetworkPace, side: int, seconds: float) -> float:
    """Epochs of the last stages that fit into the time behind the linear classifier, the evaluation and a pilot.

    A view is remembered for every `PASSES_A_VIEW` of them; the first one is there from the linear classifier.
    """
    image_s = measured.at(side).infer_s
    spent = TUNING_S + TUNING_IMAGE_S * seen.train + probe_s(seen, measured, side) + image_s * seen.val
    left = TRAINING * (seconds - spent) / (image_s * seen.train)
    return (left + VIEW_S) / (LATE_S + VIEW_S / PASSES_A_VIEW) if left > 0 else 0.0


def evaluate_every(seen: FolderLook, measured: NetworkPace) -> float:
    """Epochs between evaluations, so that they take a twentieth of the time at most; the end is evaluated in any case."""
    return float(max(1, math.ceil(measured.infer_s * seen.val / (0.05 * measured.train_s * seen.train))))


def read_s(seen: FolderLook) -> float:
    """Seconds for reading all pictures."""
    return (READ_S + PIXEL_S * seen.side**2 * seen.aspect) * (seen.train + seen.val)


def passes_wanted(seen: FolderLook) -> float:
    """Epochs that fine-tuning the last stages should have; more where a set is so small that these are few updates."""
    return max(LATE_PASSES, LATE_UPDATES * recipe_named("finetune").batch_size / seen.train)


def best_side(seen: FolderLook, network: Published, measured: NetworkPace, seconds: float) -> int:
    """The largest image size that leaves time for fine-tuning, or else at which the linear classifier fits into the time."""
    own = network.blueprint.resolution
    sides = [*(side for side in SIDES if side < own), own]
    tuned = [
        side for side in sides if side >= LEAST_SIDE * own and late_passes(seen, measured, side, seconds) >= passes_wanted(seen)
    ]
    probed = [side for side in sides if probe_s(seen, measured, side) <= PROBE_SHARE * seconds]
    return max(tuned or probed or sides[:1])


def views_that_fit(seen: FolderLook, blueprint: Blueprint, wanted: int) -> int:
    """As many views of each picture as are wanted, or fewer where their maps would not fit into the memory; 0 for none."""
    bytes_each = seen.train * room(blueprint, late(1).frozen_parts(blueprint), blueprint.resolution)
    for views in range(wanted, 0, -1):
        try:
            check_room(views * bytes_each)
        except ValueError:
            continue
        return views
    return 0


MOST_PASSES, MOST_UPDATES = 12.0, 400
"""Epochs of fine-tuning beyond which nothing is gained, or updates where a set is so small that those are more."""


def most_passes(seen: FolderLook, batch: int) -> float:
    """Epochs of fine-tuning at most, however much time there is."""
    return max(MOST_PASSES, MOST_UPDATES / max(1.0, seen.train / batch))


def whole_network(
    seen: FolderLook, network: Published, measured: NetworkPace, side: int | None, seconds: float, why: str
) -> Chosen:
    """The image size at which the whole network has enough epochs in the time.

    Args:
        why: the last stages are not fine-tuned from a linear classifier.
    """
    wanted, left = max(PASSES, VISITS / seen.train), seconds - BEGIN_S - END_S
    sides = [side] if side else [each for each in SIDES if each <= network.blueprint.resolution]
    fits = {each: whole_passes(measured, each, seen, left) for each in sides}
    best = max([each for each, passes in fits.items() if passes >= wanted] or [min(sides)])
    said = (
        f"network: {network.name}, the smallest with weights on this machine, at {best} pixels",
        f"recipe: finetune, from a new last layer: since {why}, neither a linear classifier nor a pilot",
        f"{EXPECTED}about {in_epochs(fits[best])} in {seconds:.0f} s",
    )
    fields = {"recipe.size": best, "model.resolution": best, "recipe.test.every": evaluate_every(seen, measured)}
    return Chosen(network.name, "finetune", fields, False, seconds, said)


PIXEL_SIDE = 224
"""Largest image size in pixels that is chosen where each pixel has a class."""
PIXEL_STEP = 32
"""What it is a multiple of, so that the maps of every network fit on each other."""


def for_places(seen: FolderLook, known: Sequence[Published], side: int | None, classes: int, boxed: bool) -> Chosen:
    """A network with a head for pixels or boxes, at the size of the pictures as far as it is not too large.

    Args:
        known: networks with weights.
        side: image size if it is given.
        boxed: whether objects have boxes.
    """
    name = known[0].name if known else "resnet18_w16"
    own = side or max(PIXEL_STEP, min(PIXEL_SIDE, seen.side // PIXEL_STEP * PIXEL_STEP))
    head: Head = PyramidHead() if known else PyramidHead(width=32, finest=1)
    if boxed:
        head = FcosHead()
    recipe, what = ("detect", "objects") if boxed else ("segment", "pixels")
    how = "whose weights are on this machine" if known else "from scratch, without weights"
    said = (
        f"network: {name}, {how}, with a head for {how_many(classes, 'class')} of {what}, at {own} pixels",
        f"recipe: {recipe}; its length follows from the time",
    )
    fields = {"recipe.size": own, "model.resolution": own, "model.head": head}
    return Chosen(name, recipe, fields, False, None, said)


def late(views: int) -> Learning:
    """What learns where only the last stages do, on so many views of each picture."""
    return Learning(frozen_stride=LATE_STRIDE, freeze_norm_statistics=True, remembered_views=views)


RATES: Mapping[str, float] = {"lr=1e-3": 1e-3}
"""Peaks of the learning rate that a pilot compares. Of 1,991 drawings at 160 pixels 5e-4 and 1.5e-3 gave the same accuracy, and
3e-4 and 1e-3 of 312 of them, so that one is enough."""


BRIEF = 5.0
"""Epochs of fine-tuning below which nothing regularises it: a short run underfits. Of 587 pictures held out of the drawings at
160 pixels 1.5 epochs without mixing, smoothing and average recognised 73.1 %, with them 69.3 %, the linear classifier 71.4 %; 3
epochs 75.8 and 73.6, 6 epochs 76.0 and 76.8."""


def brief(recipe: Recipe) -> Recipe:
    """A recipe for a few epochs: without mixing and label smoothing, and half way back to where it began."""
    objective = recipe.objective
    if isinstance(objective, Supervised):
        terms = (replace(t, smoothing=Constant(value=0.0)) if isinstance(t, CrossEntropy) else t for t in objective.terms)
        objective = replace(objective, terms=tuple(terms))
    unmixed = tuple(each for each in recipe.transforms if not each.MIXES)
    average = Average(decay=Constant(value=0.0), share=None, initial=BRIEF_INITIAL)
    return replace(recipe, transforms=unmixed, objective=objective, average=average)


BRIEF_INITIAL, LONG_INITIAL = 0.5, 0.25
"""Share of the weights that fine-tuning began with in its result, for a few epochs and for more. On the drawings half of them
gave 75.3 % after 3 epochs, none 74.6 %, all 73.1 %, and after 1.5 epochs 71.9 and 71.6 %."""


OWN = ("recipe.objective", "recipe.teacher", "recipe.views", "recipe.learning", "recipe.start")
"""Fields with which a run is more than plain fine-tuning, so that nothing but network and image size is chosen."""

PILOT = 0.25
"""Share of the time that is left behind the feature maps for the trials of a pilot."""


@process_settings()
def piloted(choice: Choice, seconds: float, say: Say) -> Asked:
    """The request after a pilot on held-out training pictures: with the best learning rate, or the linear classifier alone.

    Args:
        choice: a learning rate that is given by hand is kept.
        seconds: left for the whole run.
    """
    began = time.monotonic()
    prepared = prepare(choice.asked, look_s=LOOKING * seconds)
    recipe, own = brief(prepared.recipe), choice.asked.recipe  # a pilot is short, whatever the run is
    rates = {"fine-tuning": None} if "recipe.optimizer.lr" in choice.origins else RATES
    ways = {name: recipe if rate is None else with_rate(recipe, rate) for name, rate in rates.items()}
    found = pilot(prepared, ways, lambda: PILOT * (seconds - END_S - (time.monotonic() - began)))
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


SMALL: tuple[tuple[str, int], ...] = (
    ("resnet9_w16", 32),
    ("resnet9_w24", 32),
    ("resnet9_w16", 48),
    ("resnet9_w24", 48),
    ("resnet9_w24", 64),
    ("resnet9_w32", 64),
)
"""Networks for training from scratch in minutes with the largest side of their images, the fastest first: the last one that
makes `ENOUGH` updates in the time is taken. In 60 s of wall time the first gave 85.1 % on `shapes`, and 87.4 % on 2,000
pictures of 28 pixels; at 120 s on the drawings it gave the same 63 % at 48 pixels as in 60 s at 32. Source: records/auto."""

MADE = 0.9
"""Share of the epochs that follow from a network's pace which a run really makes: it also loads, augments and averages. In 60 s
on 2,000 pictures of 28 pixels 16 epochs were made of 16 that followed, on the drawings 16 of 15, on 20,000 1.1 of 1.3."""

ENOUGH = 900
"""Updates that training from scratch should make, as `MADE` estimates them."""

REACH = 0.0625
"""Maximum shift of pictures from scratch, as a share of the side. With it, and the picture squashed, 2,000 pictures of 28
pixels gave 87.4 % in 60 s; it costs a fraction of a resized crop, and pictures keep the scale that they have in the test."""

SCRATCH_LR = 5e-3
"""Peak of the learning rate from scratch: against the 1.5e-2 of `fast` 62.7 to 58.1 % on the drawings, 81.8 to 81.5 % on
`shapes`, 87.2 to 87.6 % on 2,000 pictures of Fashion-MNIST."""


def shifted(recipe: Recipe) -> tuple[Transform, ...]:
    """The transforms of a recipe with a squash and a small shift in place of the resized crop."""
    found: list[Transform] = []
    for each in recipe.transforms:
        if isinstance(each, RandomResizedCrop):
            found += [Squash(interpolation="bilinear"), RandomShift(share=Constant(value=REACH))]
        else:
            found.append(each)
    return tuple(found)


def in_epochs(passes: float) -> str:
    return how_many(round(passes, 1) if passes < 10 else round(passes), "epoch")


def from_scratch(seen: FolderLook, plan: Plan, side: int | None, seconds: float, why: str) -> Chosen:
    """The small network and the image size that suit the time.

    Args:
        why: there are no weights to start from.
    """
    batch = recipe_named("fast").batch_size
    left = seconds - BEGIN_S - END_S - read_s(seen)
    found: list[tuple[str, int, float, float]] = []
    for name, largest in SMALL:
        size = side or max(LEAST, min(largest, seen.side))
        blueprint = replace(network_named(name).blueprint, resolution=size)
        measured = pace(blueprint, size, plan)
        passes = MADE * whole_passes(measured, size, seen, left)
        if found and passes * seen.train / batch < ENOUGH:
            break
        found.append((name, size, passes, evaluate_every(seen, measured)))
    chosen, best, passes, every = found[-1]
    recipe = "scratch" if passes >= 2 * recipe_named("scratch").epochs else "fast"  # a short run underfits with the other
    fields = {
        "recipe.size": best,
        "model.resolution": best,
        "recipe.test.every": every,
        "recipe.optimizer": recipe_named(recipe).optimizer.with_peak(SCRATCH_LR),
        "recipe.transforms": shifted(recipe_named(recipe)),
    }
    return Chosen(
        chosen,
        recipe,
        fields,
        False,
        seconds,
        (
            f"network: {chosen} from scratch at {best} pixels, since {why}",
            f"recipe: {recipe}",
            f"{EXPECTED}about {in_epochs(passes)} in {seconds:.0f} s",
        ),
    )
