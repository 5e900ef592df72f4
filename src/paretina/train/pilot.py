"""Pilot: short trainings on a part of the training pictures, judged on another part of them, before the real run.

Ways to fine-tune are set against each other and against the linear classifier on frozen features from which all of them start.
Nothing is drawn from validation pictures. Everything is learned from remembered maps (`paretina.train.remembered`), which the
real run then uses too, so that a pilot costs the parts that learn and nothing else.
"""

import math
import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from paretina.data.sampler import Epochs, Request
from paretina.data.split import held_out_units
from paretina.model.build import Network
from paretina.schedules import Constant
from paretina.shapes import Logits
from paretina.train.journal import read
from paretina.train.probe import Probe, fit_probe
from paretina.train.ranks import Ranks
from paretina.train.recipe import Recipe
from paretina.train.remembered import BATCH, Remembered
from paretina.train.resolve import Prepared, make_job, remembered_of
from paretina.train.step import Step

SHARE = 0.3
"""Part of the training pictures that is held out."""

PROBE = "linear probe"

LEAST_UPDATES = 20
"""Updates below which a training says nothing: its first ones, at any rate, only make a good network worse."""


@dataclass(frozen=True)
class Pilot:
    """
    Attributes:
        held: number of pictures that were held out.
        top1: share of them that each way recognises, in percent, by name; the linear probe among them.
        chosen: the name of the best way; the linear probe only where it is better by more than a standard error, since a run
            trains for longer than its pilot.
        update_s: seconds per update; None where no way was tried.
    """

    held: int
    top1: Mapping[str, float]
    chosen: str
    update_s: float | None = None

    def said(self) -> str:
        if not self.held:
            return f"pilot: there are too few pictures to hold some out, so {self.chosen}"
        if len(self.top1) == 1:
            return f"pilot: the time is too short for {LEAST_UPDATES} updates, so {self.chosen}"
        figures = ", ".join(f"{name} {value:.1f} %" for name, value in self.top1.items())
        return f"pilot: of {self.held:,} held-out training pictures: {figures}; so {self.chosen}"


def pilot(prepared: Prepared, ways: Mapping[str, Recipe], seconds: Callable[[], float]) -> Pilot:
    """Tries ways to fine-tune on part of the training pictures.

    Args:
        prepared: of a run with remembered views; all ways freeze the same parts.
        ways: recipes by name, in the order of preference where they are equally good.
        seconds: for all trials together; asked when maps and probe are there. The last ways are left out where that is too
            short for all.
    """
    maps = remembered_of(prepared, Ranks())
    assert maps is not None
    network = make_job(prepared, Ranks()).learner.result().eval()
    names = [sample.name for sample in prepared.train.samples]
    labels = torch.where(maps.targets.sum(1) > 0, maps.targets.argmax(1), -1)
    usable = [number for number in range(len(names)) if number not in maps.faults and labels[number] >= 0]
    units = {sample.name: prepared.collection.unit(sample) for sample in prepared.train.samples}
    among = [names[number] for number in usable]
    out = held_out_units(among, labels[usable].tolist(), [units[name] for name in among], SHARE, "pilot/")
    if not out:
        return Pilot(0, {}, PROBE)
    kept = torch.tensor([number for number in usable if names[number] not in out])
    held = torch.tensor([number for number in usable if names[number] in out])
    features = maps.features(network, network.entry)
    probe = fit_probe(features[kept], labels[kept], len(prepared.collection.classes))
    found = {PROBE: right(probe(features[held]), labels[held])}
    began, allowed = time.monotonic(), seconds()
    first = next(iter(ways.values()))
    batch = min(first.batch_size, len(kept))
    epochs = Epochs(len(kept), batch, first.epochs, first.seed)
    _, spent = trained(prepared, first, maps, kept, probe, epochs, 3)
    update_s = statistics.median(spent)
    least = min(epochs.updates, LEAST_UPDATES)
    allowed -= time.monotonic() - began
    tried = [*ways][: max(0, int(allowed / (least * update_s)))]
    for name in tried:
        recipe = ways[name]
        fits = allowed / len(tried) / update_s / epochs.updates_per_epoch
        own = replace(epochs, epochs=min(recipe.epochs, fits))
        network, _ = trained(prepared, recipe, maps, kept, probe, own, own.updates)
        found[name] = right(answers(network, maps.maps[0][held]), labels[held])
    top1 = {name: 100.0 * float(each.float().mean()) for name, each in found.items()}
    best = max(tried, key=lambda name: top1[name], default=PROBE)
    lost, won = ((found[PROBE] & ~found[best]).sum().item(), (found[best] & ~found[PROBE]).sum().item())
    clear = lost - won > math.sqrt(lost + won)  # by more than a standard error: the run is longer than its pilot
    return Pilot(len(held), top1, PROBE if clear else best, update_s)


def right(logits: Logits, labels: Int[Tensor, " sample"]) -> Bool[Tensor, " sample"]:
    return logits.argmax(1) == labels


def answers(network: Network, maps: Tensor) -> Logits:
    with torch.inference_mode():
        return torch.cat([network(part.float()).float() for part in maps.split(BATCH)])


def trained(
    prepared: Prepared,
    recipe: Recipe,
    maps: Remembered,
    kept: Int[Tensor, " sample"],
    probe: Probe,
    epochs: Epochs,
    updates: int,
) -> tuple[Network, list[float]]:
    """Makes the first updates of a training on some of the pictures.

    Args:
        kept: numbers of the pictures.
        probe: that the last layer begins as.
        epochs: over the pictures that are kept; schedules follow them.

    Returns:
        The network in evaluation mode, with averaged weights if the recipe has them, and the seconds of each update.
    """
    job = make_job(replace(prepared, asked=replace(prepared.asked, recipe=recipe)), Ranks(), probe.give)
    network = job.learner.result()
    job.learner.train()
    averager = recipe.average.make(network) if recipe.average else None
    step = Step(job.learner, recipe, job.plan, Ranks(), epochs)
    step.begin()
    batches = maps.batches(numbered(epochs, kept, prepared.model.resolution), epochs.updates_per_epoch)
    spent = []
    for update in range(min(updates, epochs.updates)):
        began = time.monotonic()
        made = step(update, batches)
        if averager:
            averager.update(network, epochs.clock(update), made.moved)
        read(list(made.losses.values()))  # waits for the device
        spent.append(time.monotonic() - began)
    return (averager.module if averager else network).eval(), spent  # type: ignore[return-value]


def numbered(epochs: Epochs, kept: Int[Tensor, " sample"], side: int) -> Iterator[list[Request]]:
    """The requests of a training on some of the pictures, by their numbers among all."""
    stream = epochs.requests(Constant(value=float(side)), 0, 1, slice(None))
    for chosen in stream:
        yield [replace(each, index=int(kept[each.index])) for each in chosen]
