"""Whatever classifies pictures: a network of ours in torch, or a shipped file in its own runtime."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from paretina.data.decode import DecodeError
from paretina.data.named import sources
from paretina.data.pictures import Pictures
from paretina.data.preprocess import preprocess
from paretina.measure.evaluate import Evaluation
from paretina.measure.flips import Mirrored, as_logits, mirrored_run
from paretina.measure.plan import Plan
from paretina.model.blueprint import Preprocessing
from paretina.model.build import Network
from paretina.model.task import Task
from paretina.model.weights import About, load_model
from paretina.ship.box_answers import in_answers
from paretina.ship.format import Runner, Running, format_of
from paretina.ship.gate import BATCH
from paretina.verbs.checks import MisuseError, misuse, model_file


@dataclass(frozen=True)
class Answering:
    """
    Attributes:
        network: None for a shipped file.
        running: None for a model file.
        flips: whether the answers are averaged over each picture and its mirror image.
    """

    path: Path
    about: About
    resolution: int
    network: Network | None = None
    running: Running | None = None
    flips: bool = False

    @property
    def runtime(self) -> str:
        return f"torch {torch.__version__}" if self.running is None else self.running.runtime

    @property
    def preprocessing(self) -> Preprocessing:
        """Of the pictures."""
        if self.network is not None:
            return self.network.model.preprocessing
        assert self.running is not None
        return self.running.header.preprocessing

    def logits(
        self, pictures: Pictures, plan: Plan, routes: list[Tensor] | None = None
    ) -> tuple[Tensor, Tensor, dict[str, str]]:
        """Logits and numbers of the pictures, and the reason by name for all that could not be read, now or before.

        Those of a shipped file are the logarithms of its probabilities, or of their odds for several classes a picture; boxes
        are what they are.

        Args:
            routes: gets the numbers of the sizes that pictures took, of a network that chooses.
        """
        if self.network is not None:
            return forward(self.network, pictures, self.resolution, plan, self.about.task if self.flips else None, routes)
        shares, ids, damaged = answered(self.shares(), pictures)
        return as_logits(self.about.task, shares), ids, damaged

    def shares(self) -> Runner:
        """What the runtime of a shipped file gives for raw pictures of one size."""
        assert self.running is not None
        return mirrored_run(self.running.run, self.about.task) if self.flips else self.running.run

    def features(self, pictures: Pictures, plan: Plan) -> tuple[Tensor, Tensor, dict[str, str]]:
        """As `logits`, of the features before the classifier: (picture, feature).

        Raises:
            ValueError: there are none.
        """
        if self.about.task.BOXES or (self.running is not None and self.running.features is None):
            raise ValueError(f"the task of {self.path} is {self.about.task.WORDS}; it has no features of a whole picture")
        if self.network is not None:
            plan.place(self.network)
            network, preprocessing = self.network, self.network.model.preprocessing

            def run(images: Tensor) -> Tensor:
                with torch.inference_mode():
                    return network.embedding(preprocess(images, preprocessing, self.resolution).to(plan.device)).float().cpu()

            return answered(run, pictures)
        assert self.running is not None
        assert self.running.features is not None
        return answered(self.running.features, pictures)


def answering(model: Path | str, trust: bool = False) -> Answering:
    """Opens a model file, the directory of a finished run, or a shipped file.

    Args:
        trust: whether formats that can run code are opened too.

    Raises:
        MisuseError: there is none, or its format needs to be trusted.
        ValueError: it cannot be used.
    """
    path = Path(model)
    format = format_of(path)
    if format is None:
        path = model_file(path)
        network, about = load_model(path)
        return Answering(path, about, network.model.resolution, network)
    with misuse():
        if not path.is_file():
            raise ValueError(f"there is no model file {path}")
    if format.RUNS_CODE and not trust:
        raise MisuseError(
            f"{path} is a file of {format.NAME}, which can run code when it is opened; if you made it, say so with --trust"
        )
    running = in_answers(format.open(path))
    return Answering(path, running.header.about, running.header.resolution, running=running)


def answered(run: Runner, pictures: Pictures) -> tuple[Tensor, Tensor, dict[str, str]]:
    """What a runtime gives for the pictures, their numbers, and the reason by name for those that cannot be read.

    Neighbours of one size are given to it together.
    """
    found: list[Tensor] = []
    ids: list[int] = []
    damaged = dict(pictures.damaged)
    group: list[Tensor] = []
    for number in range(len(pictures)):
        try:
            image = pictures.image(number)
        except DecodeError as error:
            name = pictures.samples[number].name
            damaged[name] = f"became unreadable during evaluation: {str(error).removeprefix(f'{name}: ')}"
            continue
        if group and (image.shape != group[0].shape or len(group) == BATCH):
            found.append(run(torch.stack(group)))
            group = []
        group.append(image)
        ids.append(number)
    if group:
        found.append(run(torch.stack(group)))
    return torch.cat(found) if found else torch.empty(0), torch.tensor(ids, dtype=torch.int64), damaged


def forward(
    network: Network,
    pictures: Pictures,
    resolution: int,
    plan: Plan,
    flips: Task | None = None,
    routes: list[Tensor] | None = None,
) -> tuple[Tensor, Tensor, dict[str, str]]:
    """Logits and numbers of the pictures, and the reason by name for all that could not be read, now or before.

    Args:
        flips: the task, if the answers are averaged over each picture and its mirror image.
        routes: gets the numbers of the sizes that pictures took, of a network that chooses.
    """
    plan.place(network)
    evaluation = Evaluation(pictures, network.model.preprocessing, resolution, network.model.classes, plan)
    logits, ids = evaluation.run(network if flips is None else Mirrored(network, flips))
    if routes is not None:
        routes += evaluation.routes
    read = set(ids.tolist())
    gone = [sample.name for i, sample in enumerate(pictures.samples) if i not in read]
    reasons = dict.fromkeys(gone, "became unreadable during evaluation")
    for fault in evaluation.faults:
        name = next((name for name in gone if fault.startswith(f"{name}: ")), "")
        if name:
            reasons[name] += f": {fault.removeprefix(f'{name}: ')}"
    return logits, ids, {**pictures.damaged, **reasons}


FLIPPED = "each picture and its mirror image are classified, and their probabilities averaged: twice the computing"


def check_flipped(path: Path, task: Task) -> None:
    """Checks that answers can be averaged with those for mirror images.

    Raises:
        MisuseError: they are boxes.
    """
    if task.BOXES:
        raise MisuseError(f"--flips averages probabilities, and {path} finds boxes; leave it out")


def check_mirrors(path: Path, mirrors: bool = True) -> None:
    """Checks that mirror images belong to the classes of their pictures, as far as is known.

    Args:
        path: the model file; what its run was trained on must allow it too.
        mirrors: whether the pictures that are classified allow it.

    Raises:
        MisuseError: they do not.
    """
    if not mirrors:
        raise MisuseError("the mirror images of these pictures are not of their classes (mirrors=off), so leave --flips out")
    try:
        data = json.loads((path.parent / "asked.json").read_text("utf-8")).get("data")
    except (OSError, ValueError, AttributeError):
        return  # nothing is known of its training
    if not mirrored_alike(data):
        raise MisuseError(
            f"{path} was trained on pictures whose mirror images are not of their classes (mirrors=off), so leave --flips out"
        )


def mirrored_alike(data: Any) -> bool:
    """Whether an encoded source, and all that it is made of, allows mirror images."""
    if isinstance(data, list):
        return all(map(mirrored_alike, data))
    if not isinstance(data, dict):
        return True
    kind = sources().get(str(data.get("kind")))
    own = bool(data.get("mirrors", kind is None or kind.MIRRORS))
    return own and all(mirrored_alike(value) for value in data.values())
