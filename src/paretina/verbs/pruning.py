"""Prunes a trained network to a share of its cost, gives it back its accuracy, and says what it gained and lost."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from paretina.data.batch import Batch
from paretina.data.pictures import read_pictures
from paretina.data.source import Collection, Source
from paretina.measure.evaluate import Evaluation
from paretina.measure.plan import Plan, default_plan
from paretina.measure.process import process_settings
from paretina.model.build import Network
from paretina.model.tasks.one_of import OneOf
from paretina.model.weights import About, load_model, save_model
from paretina.run import Run, free_folder, write_aside
from paretina.search.pruning.importance import importance_named
from paretina.search.pruning.prune import Costs, PrunedNetwork, check_cost, check_prunable, costs_of
from paretina.search.pruning.prune import prune as prune_network
from paretina.spec import decode
from paretina.train import feasible, training
from paretina.train.asked import Asked, Choice, recipe_named
from paretina.train.finetuning import go_on
from paretina.train.journal import Listener
from paretina.train.planning import with_safe_precision
from paretina.train.recipe import Recipe
from paretina.train.training import Say
from paretina.verbs.asking import check_names
from paretina.verbs.checks import MisuseError, misuse, model_file
from paretina.verbs.evaluating import Against, evaluate
from paretina.verbs.shipping import check_unshipped, source_of, spread
from paretina.verbs.training import check_output, reported

START = "start.safetensors"
"""The network without the channels, before it is trained on."""

PICTURES = 512
"""Training pictures that importances look at."""

BATCH = 32

LOST = 1.0
"""Points of top-1 from which a loss is spoken of."""


@dataclass(frozen=True)
class Pruned:
    """A network that was pruned, and trained on.

    Attributes:
        run: of the training after the cut; its model is the result.
        widths: channels before and after, by the name of the group.
        refused: why other widths were not pruned.
        target: share of the cost that was asked for.
        costs: of the result and of the network before, as it is now.
        cut: against the network before, on its validation pictures, right after the cut.
        recovered: the same at the end.
    """

    run: Run
    widths: dict[str, tuple[int, int]]
    refused: dict[str, str]
    target: float
    costs: Costs
    cut: Against
    recovered: Against

    @property
    def trouble(self) -> str:
        """Why it is no gain; "" where it is one: faster by more than noise, or cheaper as asked."""
        if self.costs.faster is not None and self.costs.faster.low <= 1:
            value, low, high = self.costs.faster
            return (
                f"not a gain: the pruned network is {value:.2f} times as fast [{low:.2f} to {high:.2f}], so it is not faster "
                "by more than the noise of this machine"
            )
        if self.costs.share > self.target * 1.1:
            return f"{self.costs.share:.3f} of the {self.costs.noun} is left, and {self.target:g} was asked for"
        return ""

    @property
    def advice(self) -> str:
        """What to try where much accuracy is lost; "" elsewhere."""
        if self.recovered.gained.high >= 0 or self.recovered.gained.value > -LOST:
            return ""
        return f"accuracy is lost: train on for longer (epochs=20), or leave more of the {self.costs.noun} (--target 0.7x)"

    def to_dict(self) -> dict[str, Any]:
        return {
            "run": str(self.run.path),
            "model": str(self.run.path / "model.safetensors"),
            "target": self.target,
            "cost": self.costs.to_dict(),
            "widths": {name: list(pair) for name, pair in self.widths.items()},
            "refused": self.refused,
            "cut": self.cut.to_dict(),
            "recovered": self.recovered.to_dict(),
            "trouble": self.trouble,
        }

    def lines(self) -> list[str]:
        before, cut, after = self.recovered.before, self.cut.after, self.recovered.after
        value, low, high = self.recovered.gained
        return [
            f"{self.costs.line()}, {self.target:g} asked for",
            f"top-1 {before.value:.1f} % before, {cut.value:.1f} % without the channels, {after.value:.1f} % after training: "
            f"{value:+z.1f} points [{low:+z.1f} to {high:+z.1f}]",
            *([self.advice] if self.advice else []),
        ]


def prune(
    model: Path | str,
    data: str | Source | None = None,
    cost: str = "latency_ms",
    target: float = 0.5,
    importance: str = "taylor",
    multiple: int = 8,
    output: Path | str | None = None,
    recipe: str = "recover",
    device: str | None = None,
    time_limit: float | None = None,
    seconds: float = 4.0,
    listen: Listener = lambda line: None,
    say: Say = lambda text: None,
    **fields: Any,
) -> Pruned:
    """Takes channels out of a trained network until a share of its cost is left, and trains it on with the original as teacher.

    Args:
        model: a model file, or the directory of a finished run.
        data: pictures with labels; default: those that the model was trained on.
        cost: "latency_ms" of one picture in float32 on this machine's CPU, "macs" or "params".
        target: share of the cost that may be left, between 0 and 1.
        importance: what channels are chosen by: "taylor" or "magnitude".
        multiple: widths become multiples of it.
        output: run directory; default: the next free one in runs/. It also has start.safetensors, the network before it is
            trained on, and pruned.json, with what is returned.
        device: of the training; the cut and its measurements are always made on the CPU. Default: the best one.
        recipe: of the training. That of the model's own run lends its transforms, batch size and test.
        time_limit: seconds for the training after the cut; its epochs are chosen to fit.
        seconds: for each measurement of a latency.
        fields: fields of the recipe by name, such as `epochs=10`.

    Raises:
        MisuseError: there is no such model, data, cost or field, or the output is there already.
        ValueError: the network or its data cannot be pruned on.
    """
    check_unshipped(model, "prune")
    path = model_file(model)
    named = {name.replace("__", "."): value for name, value in fields.items()}
    check_names(named)
    with misuse():
        method = importance_named(importance)
        check_cost(cost, target, multiple)
        settings = recipe_named(recipe)
    network, about = load_model(path)
    if not isinstance(about.task, OneOf):
        raise MisuseError(f"pruning is for one class a picture; the task of {path} is {about.task.WORDS}")
    with misuse():
        check_prunable(network)
    source = source_of(path, data)
    check_output(None if output is None else Path(output), source)
    settings = lent(path, settings)
    asked_for(path, source, settings, path, named, device)  # before anything long begins
    with process_settings():
        collection = source.open()
        found = prune_network(
            network, method, batches_of(network, collection), cost, target, multiple, seconds, say
        )  # fmt: skip
        for text in found.lines():
            say(text)
        name = f"{path.parent.name or path.stem}-pruned"
        place = free_folder(Path("runs"), name) if output is None else Path(output)
        place.mkdir(parents=True, exist_ok=True)
        start = place / START
        save_model(start, found.network, described(about, path, found))
        choice = asked_for(start, source, settings, path, named, device)
        with misuse():
            feasible.check_asked(choice.asked)
        said = tuple(found.lines())
        run = reported(training.train(choice.asked, place, time_limit, listen, say, planning="known", said=said))
        trained, _ = load_model(run.path / "model.safetensors")
        side = network.model.resolution
        images = torch.randint(0, 256, (1, network.model.channels, side, side), dtype=torch.uint8)
        costs = costs_of(network, trained, cost, images, seconds)
    cut, recovered = (compared(each, source, path) for each in (start, run.path / "model.safetensors"))
    result = Pruned(run, found.widths, found.refused, target, costs, cut, recovered)
    write_aside(place / "pruned.json", json.dumps(result.to_dict(), indent=2).encode())
    return result


def compared(model: Path, source: Source, original: Path) -> Against:
    """A pruned network against the one before, on the validation pictures."""
    against = evaluate(model, source, "val", against=original, max_loss=100.0).against
    assert against is not None
    return against


def lent(path: Path, settings: Recipe) -> Recipe:
    """A recipe with the transforms, batch size and test of the run that a model is of."""
    folder = path.parent
    if not (folder / "asked.json").is_file() or not (folder / "result.json").is_file():
        return settings
    own = decode(Asked, Run.open(folder).asked()["asked"]).recipe
    return replace(
        settings,
        transforms=own.transforms,
        batch_size=own.batch_size,
        max_damaged=own.max_damaged,
        test=replace(own.test, size=None, keep="last"),
    )


def asked_for(
    model: Path, source: Source, settings: Recipe, teacher: Path, fields: Mapping[str, Any], device: str | None
) -> Choice:
    """The request for training a network on, with the original as teacher.

    Raises:
        MisuseError: a field does not fit.
    """
    given = {"teacher": str(teacher.absolute()), **fields}
    with misuse():
        choice, _ = go_on(model, default_plan(device or "auto"), source, None, settings, None, given)
        choice.asked = with_safe_precision(choice)
    return choice


def batches_of(network: Network, collection: Collection) -> Iterable[Batch]:
    """Training pictures, evenly spread, as the network sees them in evaluation.

    Raises:
        ValueError: none can be read.
    """
    pictures = read_pictures(collection, spread(tuple(collection.splits.get("train", ())), PICTURES))
    if not len(pictures):
        raise ValueError("there is no training picture that can be read; name data that has some")
    model = network.model
    seen = Evaluation(pictures, model.preprocessing, model.resolution, model.classes, Plan(), batch=BATCH)
    return (loaded.batch for loaded in seen.batches(0))


PRUNED = ", pruned"
"""What stands behind the name of a network that is no longer that of our tables."""


def described(about: About, path: Path, found: PrunedNetwork) -> About:
    """What the file of a pruned network says of itself."""
    origin = f"pruned to {found.costs.share:.2f} of its {found.costs.noun}; before that {about.origin}"
    name = f"{about.name.removesuffix(PRUNED)}{PRUNED}" if about.name else ""
    return replace(about, metrics={}, name=name, origin=origin)
