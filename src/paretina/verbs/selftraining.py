"""Self-training: a model labels pictures for itself, and learns from them and from its labelled ones in turn."""

import json
import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from paretina.data.named import source_named
from paretina.data.pictures import read_pictures
from paretina.data.source import Source
from paretina.data.sources.apart import Apart
from paretina.data.sources.folder import Folder
from paretina.data.sources.inner_split import InnerSplit
from paretina.data.sources.pseudo import Pseudo
from paretina.data.sources.several import Set, Several
from paretina.data.sources.unlabelled import Unlabelled
from paretina.data.sources.without_labels import WithoutLabels
from paretina.measure.process import process_settings
from paretina.model.tasks.one_of import OneOf
from paretina.model.weights import load_model
from paretina.run import Run, write_aside
from paretina.spec import Spec, encode
from paretina.text import how_many
from paretina.train.finetuning import trained
from paretina.train.journal import Listener
from paretina.train.training import Say
from paretina.verbs.answering import answering
from paretina.verbs.checks import MisuseError, check_place, misuse, model_file
from paretina.verbs.evaluating import inference_plan
from paretina.verbs.shipping import check_unshipped
from paretina.verbs.training import ask_further, resume, start

Order = Literal["random", "greedy", "fixed", "labelled"]
"""What the rounds train on: labelled or pseudo-labelled pictures, by chance or by which is better; always both; or the labelled
ones alone, the control."""

Phase = Literal["labelled", "pseudo", "both"]

PHASES: dict[Phase, str] = {
    "labelled": "the labelled pictures",
    "pseudo": "the pictures that it labelled itself",
    "both": "all pictures",
}
"""Phases in words."""


@dataclass(frozen=True)
class SelfTrainingRound:
    """
    Attributes:
        phase: what was trained on.
        run: its run.
        top1: on the validation pictures, in percent, with the ends of its 95 % interval.
        pseudo: number of pictures with pseudo-labels.
    """

    phase: Phase
    run: Path
    top1: tuple[float, float, float]
    pseudo: int

    def to_dict(self) -> dict[str, Any]:
        value, low, high = self.top1
        return {
            "phase": self.phase,
            "run": str(self.run),
            "top1": value,
            "top1_low": low,
            "top1_high": high,
            "pseudo": self.pseudo,
        }


@dataclass(frozen=True)
class SelfTrained:
    """
    Attributes:
        before: top-1 of the model that it began with, and the ends of its 95 % interval over pictures, in percent.
        rounds: in order; the last one's run has the model.
    """

    before: tuple[float, float, float]
    rounds: tuple[SelfTrainingRound, ...]

    def to_dict(self) -> dict[str, Any]:
        value, low, high = self.before
        return {"before": value, "before_low": low, "before_high": high, "rounds": [each.to_dict() for each in self.rounds]}

    def lines(self) -> list[str]:
        rows = [
            f"round {number}: trained on {PHASES[each.phase]}, {each.pseudo:,} pseudo-labels: top-1 {each.top1[0]:.1f} % "
            f"({each.top1[1]:.1f} to {each.top1[2]:.1f})"
            for number, each in enumerate(self.rounds, 1)
        ]
        value, low, high = self.before
        return [
            f"before: top-1 {value:.1f} % ({low:.1f} to {high:.1f})",
            *rows,
            f"model:  {self.rounds[-1].run / 'model.safetensors'}, of the last round",
            *self.better_said(),
        ]

    def better_said(self) -> list[str]:
        """What was better than the last round, on the validation pictures."""
        last = self.rounds[-1].top1[0]
        number, best = max(enumerate(self.rounds, 1), key=lambda each: each[1].top1[0])
        if max(self.before[0], best.top1[0]) <= last:
            return []
        where = (
            "the model that it began with"
            if self.before[0] >= best.top1[0]
            else f"round {number}, {best.run / 'model.safetensors'}"
        )
        return [
            f"{where}, was better: top-1 {max(self.before[0], best.top1[0]):.1f} % against {last:.1f} %; the last round is the "
            "result since choosing by validation pictures flatters"
        ]


def selftrain(
    run: Path | str,
    pictures: str | Source,
    rounds: int = 4,
    order: str = "random",
    confidence: float = 0.0,
    seed: int = 0,
    output: Path | str | None = None,
    recipe: str | None = None,
    device: str | None = None,
    listen: Listener = lambda line: None,
    say: Say = lambda text: None,
    **fields: Any,
) -> SelfTrained:
    """Trains a model on from its own labels of further pictures, and from its labelled pictures, in turn.

    In each round the model of the round before labels the pictures, and is trained on: on the labelled pictures or on the
    pseudo-labelled ones, which is drawn ("random", RIST), or tried, where the better one on held-out labelled training pictures
    counts ("greedy", GIST). Training on both at once ("fixed") is known to lose from round to round, since the model confirms
    its own mistakes.

    Source: Teh et al. 2021 (arXiv:2103.17105), here for whole pictures.

    Args:
        run: the directory of a finished run, whose data are the labelled pictures.
        pictures: a folder of pictures without labels, or other data, whose labels are not used.
        rounds: number of rounds.
        order: "random", "greedy", "fixed" or "labelled".
        confidence: probability from which a pseudo-label is used, in [0, 1).
        seed: of the drawn order.
        output: directory of the rounds' runs; default: beside the run, with "-selftrained", or with the next free number behind
            it if other arguments are there. What was begun there with the same arguments is continued; more rounds may be
            asked for.
        recipe: of each round; default: finetune.
        fields: fields of the recipe by name, such as `epochs=5`.

    Raises:
        MisuseError: there is no such run or data, or a value does not fit.
        ValueError: no pseudo-label is confident enough.
    """
    check_unshipped(run, "self-train")
    path = model_file(run)
    if order not in get_args(Order):
        raise MisuseError(f"there is no order {order!r}; there are: {', '.join(get_args(Order))}")
    if rounds < 1 or not 0 <= confidence < 1:
        raise MisuseError(f"rounds must be at least 1 and confidence in [0, 1), got {rounds} and {confidence:g}")
    known = trained(path)
    if known.data is None:
        raise MisuseError(f"{path} does not lie in its run, so its labelled pictures are not known")
    about = load_model(path)[1]
    if not isinstance(about.task, OneOf):
        raise MisuseError(f"self-training is for one class a picture; the task of {path} is {about.task.WORDS}")
    with misuse():
        source = pictures if isinstance(pictures, Source) else without_their_labels(pictures, about.classes)
        source.open()
    named = {name.replace("__", "."): value for name, value in fields.items()}
    asked = {
        "run": str(path.absolute()),
        "pictures": encode(source),
        "order": order,
        "confidence": confidence,
        "seed": seed,
        "recipe": recipe,
        "fields": {name: encode(value) if isinstance(value, Spec) else value for name, value in named.items()},
    }
    place = Path(output) if output is not None else own_place(path.parent, asked)
    check_same(place, asked, getattr(known.data, "path", None))
    chance, found = random.Random(seed), []
    before = result_of(Run(path.parent))
    for number in range(1, rounds + 1):
        folder = place / f"round-{number}"
        folder.mkdir(parents=True, exist_ok=True)
        labels = folder / "labels.json"
        count = labelled(labels) if labels.exists() else label(path, source, labels, confidence, device or "auto")
        say(f"round {number}: {how_many(count, 'picture has', ',', 'pictures have')} a pseudo-label")
        if not count:
            raise ValueError(f"no picture has a label of {confidence:g} or more; lower --confidence, or train longer first")
        sources = sources_of(known.data, source, labels)

        def learn(phase: Phase, where: Path, data: Source, model: Path = path) -> Run:
            if (where / "asked.json").exists():
                return resume(where, listen=listen, say=say)
            choice, _ = ask_further(model, data, None, recipe or "finetune", device, None, named)
            return start(choice, where, None, listen, say)

        phase: Phase
        if order == "greedy":
            phase = better(learn, sources, known.data, folder)
        else:
            drawn: Phase = "labelled" if chance.random() < 0.5 else "pseudo"
            phase = {"random": drawn, "fixed": "both", "labelled": "labelled"}[order]  # type: ignore[assignment]
        made = learn(phase, folder / phase, sources[phase])
        path = made.path / "model.safetensors"
        found.append(SelfTrainingRound(phase, made.path, result_of(made), count))
        write_aside(place / "selftrained.json", json.dumps(SelfTrained(before, tuple(found)).to_dict(), indent=2).encode())
    return SelfTrained(before, tuple(found))


def own_place(run: Path, asked: dict[str, Any]) -> Path:
    """The directory beside a run where this self-training was begun, or the next one that nothing is in."""
    number = 1
    while True:
        place = run.with_name(f"{run.name}-selftrained{'' if number == 1 else f'-{number}'}")
        if not place.exists() or not changed_in(place, asked):
            return place
        number += 1


def changed_in(place: Path, asked: dict[str, Any]) -> list[tuple[str, Any, Any]]:
    """What a self-training in a directory was asked for otherwise: name, there and here; one entry where there is none."""
    file = place / "asked-selftraining.json"
    if not file.exists():
        return [("directory", "something else", "a self-training")] if any(place.iterdir()) else []
    before, now = json.loads(file.read_text()), json.loads(json.dumps(asked, default=str))
    return [(name, before.get(name), now[name]) for name in now if before.get(name) != now[name]]


def in_words(value: Any) -> str:
    """A value of a request for people: data by its path, and nothing as the default."""
    if isinstance(value, dict):
        return str(
            value.get("path") or value.get("kind") or ", ".join(f"{name}={each}" for name, each in value.items()) or "none"
        )
    return "the default" if value is None else str(value)


def check_same(place: Path, asked: dict[str, Any], folder: str | None) -> None:
    """Writes what is asked into the directory of the rounds, or checks that an interrupted one there was asked for the same.

    Raises:
        MisuseError: it was not, or the directory holds something else.
    """
    file = place / "asked-selftraining.json"
    if not file.exists():
        check_place(place, folder)
        place.mkdir(parents=True, exist_ok=True)
        write_aside(file, json.dumps(asked, indent=2, default=str).encode())
        return
    for name, there, here in changed_in(place, asked)[:1]:
        word = {"pictures": "other pictures", "fields": "other fields"}.get(name, f"another {name}")
        raise MisuseError(
            f"{place} holds a self-training with {word}: {in_words(there)} there, {in_words(here)} here; choose "
            "another --output, or give the same to continue it"
        )


def labelled(labels: Path) -> int:
    """How many pictures a file gives a label."""
    return len(json.loads(labels.read_text())["labels"])


def without_their_labels(pictures: str, classes: tuple[str, ...]) -> Source:
    """The pictures of a folder, whatever its folders are, or of data of another form."""
    found = source_named(pictures)
    if isinstance(found, Folder):
        return Unlabelled(path=pictures, val_share=0.0, classes=classes)
    return WithoutLabels(source=found.undivided(), classes=classes)


def sources_of(labelled: Source, pictures: Source, labels: Path) -> dict[Phase, Source]:
    """The data of each phase; validation pictures are always those of the labelled data."""
    pseudo = Pseudo(source=pictures, labels=str(labels.absolute()))
    return {
        "labelled": labelled,
        "pseudo": Apart(train=pseudo, val=labelled),
        "both": Several(sets=(Set(name="labelled", source=labelled), Set(name="pseudo", source=pseudo))),
    }


def better(learn: Callable[[Phase, Path, Source], Run], sources: dict[Phase, Source], labelled: Source, folder: Path) -> Phase:
    """The phase after which the model is better on a part of the labelled training pictures that neither trial trains on.

    Validation pictures are not looked at, so their figures stay honest. The weights that both begin with have been trained on
    that part, so both figures are too good, and the phase that keeps most of what was learned there has an advantage.
    """
    held = InnerSplit(source=labelled)
    trial: dict[Phase, Source] = {
        "labelled": held,
        "pseudo": Apart(train=sources["pseudo"], val=held),
    }
    scores = {phase: result_of(learn(phase, folder / f"try-{phase}", data))[0] for phase, data in trial.items()}
    return max(scores, key=lambda phase: scores[phase])


def result_of(run: Run) -> tuple[float, float, float]:
    """Top-1 on the validation pictures with its interval, in percent."""
    metrics = (run.result() or {}).get("metrics", {})
    return tuple(float(metrics[f"val/top1{end}"]) for end in ("", "_low", "_high"))  # type: ignore[return-value]


@process_settings()
def label(model: Path, source: Source, path: Path, confidence: float, device: str) -> int:
    """Writes the labels that a model gives the training pictures of a source; returns how many are confident enough."""
    opened = answering(model)
    collection = source.open()
    pictures = read_pictures(collection, collection.split("train"))
    with misuse():
        plan = inference_plan(device)
    logits, ids, _ = opened.logits(pictures, plan)
    shares, numbers = opened.about.task.probabilities(logits).max(1)
    labels = {
        pictures.samples[index].name: opened.about.classes[number]
        for index, share, number in zip(ids.tolist(), shares.tolist(), numbers.tolist(), strict=True)
        if share >= confidence
    }
    write_aside(path, json.dumps({"classes": list(opened.about.classes), "labels": labels}).encode())
    return len(labels)
