"""Trains a student on what a teacher says, and networks on pictures without labels."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from paretina.data.named import source_named
from paretina.data.source import Source
from paretina.data.sources.apart import Apart
from paretina.data.sources.folder import Folder
from paretina.data.sources.unlabelled import Unlabelled
from paretina.data.sources.without_labels import WithoutLabels
from paretina.data.transform import View
from paretina.model.interop import timm_model
from paretina.model.network_file import is_network_file
from paretina.model.task import Task
from paretina.model.tasks.boxes import Boxes
from paretina.model.tasks.one_of import OneOf
from paretina.model.weights import load_model
from paretina.run import Run
from paretina.text import printable
from paretina.train.asked import Choice
from paretina.train.finetuning import trained
from paretina.train.journal import Listener
from paretina.train.planning import Planning
from paretina.train.terms.distill import Distill
from paretina.train.training import Say
from paretina.verbs.asking import ask, source_spelled
from paretina.verbs.blockwise import distill_blockwise
from paretina.verbs.checks import MisuseError, misuse, model_file
from paretina.verbs.shipping import check_unshipped
from paretina.verbs.training import LogTo, ask_further, left, start

FIXED = (".npz", ".npy", ".csv", ".json", ".pkl", ".pt", ".pth")
"""Endings of files with answers or tensors, which people give as a teacher."""

TIMM = "timm:"


def teacher_about(teacher: Path | str) -> tuple[str, tuple[str, ...], Task]:
    """A teacher as a recipe names it, the names of its classes, and its task.

    Raises:
        MisuseError: there is no such model, or it cannot be a teacher; the message says why.
    """
    name = str(teacher)
    if name.startswith(TIMM):
        with misuse():
            return name, tuple(timm_model(name.removeprefix(TIMM)).classes), OneOf()
    if name.lower().endswith(FIXED):
        raise MisuseError(
            f"{name} is no network: answers that were computed once belong to other views of the pictures than the student's, "
            "and such a teacher is overfitted to (arXiv:2106.05237, figure 2); give the model that made them"
        )
    check_unshipped(teacher, "it prepares its own pixels, where a teacher must see the student's very view: distil from")
    path = model_file(teacher)
    about = load_model(path)[1]
    if isinstance(about.task, Boxes):
        raise MisuseError(
            f"the task of {path} is {about.task.WORDS}; distilling is for classes of pictures or pixels: train a smaller "
            "network on the labels instead, with `paretina train --task detect`"
        )
    return str(path), about.classes, about.task


def pictures_for(data: str | Source, classes: tuple[str, ...], task: Task, judged: bool, say: Say) -> Source:
    """The data with labels where these are a teacher's, and without any where it has others or none.

    Args:
        classes: the teacher's.
        task: the teacher's.
        judged: whether a part of pictures without labels is held out for the loss.
        say: called with a note where there are labels and they are not used.

    Raises:
        MisuseError: there is no such data, or the teacher needs masks and the data has none.
    """
    if isinstance(data, Source):
        return data
    with misuse():
        source = source_named(data)
    if not isinstance(source, Folder):
        return as_taught(source, data, classes, task, say)
    if task.DENSE:
        raise MisuseError(f"the teacher's answers are {task.WORDS}, and {data} has no masks; name data that have them")
    labelled = source
    try:
        found = set(replace(labelled, copies="anywhere").open().classes)
    except ValueError:
        found = set()
    if found == set(classes):
        return labelled
    if found:
        missing, strange = sorted(set(classes) - found), sorted(found - set(classes))
        parts = [f"no folder for {', '.join(map(printable, missing[:3]))}"] if missing else []
        parts += [f"folders {', '.join(map(printable, strange[:3]))}"] if strange else []
        say(
            f"the folders of {data} are not the teacher's classes ({'; '.join(parts)}), so they are not taken for labels; name "
            "labelled pictures with --val for a top-1"
        )
    return Unlabelled(path=data, classes=classes) if judged else Unlabelled(path=data, classes=classes, val_share=0.0)


def as_taught(source: Source, data: str, classes: tuple[str, ...], task: Task, say: Say) -> Source:
    """As `pictures_for`, for data other than folders of pictures.

    Raises:
        MisuseError: it cannot be opened, or the teacher needs masks and the data has none.
    """
    source = source.read_as(task, classes)
    with misuse():
        found = source.open()
    if found.task == task and set(found.classes) == set(classes):
        return source
    if task.DENSE:
        raise MisuseError(
            f"the teacher's answers are {task.WORDS}, {listed(classes)}, and {data} has {found.task.WORDS}, "
            f"{listed(found.classes)}; name data that have the teacher's"
        )
    what = found.task.WORDS if found.task != task else f"the classes {listed(found.classes)}"
    say(f"{data} has {what}, unlike the teacher, so its labels are not used; name labelled pictures with --val for a top-1")
    return WithoutLabels(source=source, classes=classes)


def listed(classes: Sequence[str]) -> str:
    """The first classes by name."""
    return f"{', '.join(map(printable, classes[:4]))}{' ...' if len(classes) > 4 else ''}"


def ask_distilled(
    teacher: Path | str,
    data: str | Source | None = None,
    model: str | None = None,
    val: str | None = None,
    teacher_size: int | None = None,
    recipe: str | None = None,
    weights: str | None = None,
    device: str | None = None,
    config: Path | str | None = None,
    fields: Mapping[str, Any] | None = None,
    blockwise: bool = False,
) -> Choice:
    """Builds the request for distilling a teacher into a student; see `distill`."""
    if blockwise and teacher_size is not None:
        raise MisuseError("maps are compared place by place, so the teacher sees the student's size; leave --teacher-size out")
    path, classes, task = teacher_about(teacher)
    fields = dict(fields or {})
    if data is None and "data" in fields:
        with misuse():
            data = source_spelled(fields.pop("data"))
    if data is None and not path.startswith(TIMM):
        data = trained(Path(path)).data
    if data is None:
        raise MisuseError(f"{teacher} does not state its training data; name the pictures")
    if model is None:
        raise MisuseError("name the student, a network from `paretina models`: --model resnet18")
    notes: list[str] = []
    source = pictures_for(data, classes, task, val is None, notes.append)
    if val is not None:
        with misuse("--val"):
            source = Apart(train=source, val=source_named(val))
    if "teacher" in fields or "recipe.teacher" in fields:
        raise MisuseError(f"the teacher is given twice, as {path} and as a field; leave one out")
    given = {"teacher": path, **fields}
    name = recipe or ("blockwise" if blockwise else "distill")
    if Path(model).exists() and not is_network_file(model):
        if weights is not None:
            raise MisuseError(f"the student {model} has its own weights; leave --weights out, or name a network with --model")
        choice, said = ask_further(model, source, None, name, device, config, given)
        notes += said
    else:
        choice = ask(source, model, name, weights, device, config, given)
    choice.said = (*notes, *choice.said)
    if teacher_size is not None:
        choice.asked = with_teacher_size(choice, teacher_size)
    return choice


def with_teacher_size(choice: Choice, size: int) -> Any:
    """The request with a second view, of the same part of each picture in more pixels, for the teacher.

    Raises:
        MisuseError: the recipe has views, rising sizes, or not one term that asks a teacher.
    """
    asked = choice.asked
    sides = sorted(asked.training_sides())
    if asked.recipe.views or len(sides) != 1:
        raise MisuseError(
            "--teacher-size is for one training size and a recipe without views; set views and Distill.view yourself"
        )
    terms = getattr(asked.recipe.objective, "terms", ())
    if sum(isinstance(term, Distill) for term in terms) != 1:
        raise MisuseError("--teacher-size needs a recipe with the term Distill, which asks the teacher")
    if size == sides[0]:
        return asked
    views = (View(), View(own=False, scale=size / sides[0]))
    terms = tuple(replace(term, view=1) if isinstance(term, Distill) else term for term in terms)
    objective = replace(asked.recipe.objective, terms=terms)  # type: ignore[call-arg]
    choice.origins["recipe.views"] = "--teacher-size"
    return replace(asked, recipe=replace(asked.recipe, views=views, objective=objective))


def distill(
    teacher: Path | str,
    data: str | Source | None = None,
    model: str | None = None,
    val: str | None = None,
    teacher_size: int | None = None,
    recipe: str | None = None,
    weights: str | None = None,
    device: str | None = None,
    output: Path | str | None = None,
    config: Path | str | None = None,
    time_limit: float | None = None,
    planning: Planning = "known",
    listen: Listener = lambda line: None,
    say: Say = lambda text: None,
    log_to: LogTo = (),
    blockwise: bool = False,
    period_epochs: float | None = None,
    **fields: Any,
) -> Run:
    """Trains a student on what a teacher says of the same views of the same pictures; labels are not used.

    Args:
        teacher: a model file, the directory of a finished run, or "timm:NAME"; an ensemble is one file, see `ensemble`.
        data: pictures to learn from, with the teacher's classes or without labels: a folder is looked through, whatever its
            folders. Default: the data of the teacher's run.
        model: name of the student's network; or a model file or the directory of a finished run, whose weights it begins with.
        val: labelled pictures to judge the student on, where the data has no labels.
        teacher_size: side in pixels at which the teacher sees the part of the picture that the student sees.
        log_to: trackers that are told the log too; see `train`.
        blockwise: match the teacher's maps stage by stage, in periods; see `paretina.train.objectives.blockwise`. With an
            `output`, the same call continues an interrupted one.
        period_epochs: epochs of each period before the last; default: 0.2 of those of the last, which are the recipe's.
        fields: any field of the recipe, plan or network by name; see `train`.

    Raises:
        MisuseError: a name is unknown, or the teacher is a shipped file or a table of answers; the message says why.
    """
    began = time.monotonic()
    named = {name.replace("__", "."): value for name, value in fields.items()}
    choice = ask_distilled(teacher, data, model, val, teacher_size, recipe, weights, device, config, named, blockwise)
    check_periods(blockwise, period_epochs, time_limit)
    if blockwise:
        return distill_blockwise(choice, period_epochs, output, listen, say, planning, log_to)
    return start(choice, output, left(time_limit, began), listen, say, planning, log_to)


def check_periods(blockwise: bool, period_epochs: float | None, time_limit: float | None) -> None:
    """Checks that options of periods go with each other.

    Raises:
        MisuseError: they do not.
    """
    if period_epochs is not None and not blockwise:
        raise MisuseError("--period-epochs is for training in periods; add --blockwise, or leave it out")
    if time_limit is not None and blockwise:
        raise MisuseError(
            "--time-limit is for one run, and --blockwise makes several; give epochs=N and --period-epochs instead"
        )


def ask_pretrained(
    data: str | Source,
    model: str | None = None,
    recipe: str | None = None,
    weights: str | None = None,
    device: str | None = None,
    config: Path | str | None = None,
    fields: Mapping[str, Any] | None = None,
) -> Choice:
    """Builds the request for learning without labels; see `pretrain`."""
    source = data
    if isinstance(data, str):
        with misuse():
            source = source_named(data)
    if isinstance(data, str) and isinstance(source, Folder):
        try:
            replace(source, copies="anywhere").open()
        except ValueError:
            source = Unlabelled(path=data)
    elif isinstance(data, str) and isinstance(source, Source) and (source.dense() or source.boxed()):
        source = WithoutLabels(source=source)
    return ask(source, model or "resnet18", recipe or "byol", weights or "none", device, config, fields)


def pretrain(
    data: str | Source,
    model: str | None = None,
    recipe: str | None = None,
    weights: str | None = None,
    device: str | None = None,
    output: Path | str | None = None,
    config: Path | str | None = None,
    time_limit: float | None = None,
    planning: Planning = "known",
    listen: Listener = lambda line: None,
    say: Say = lambda text: None,
    log_to: LogTo = (),
    **fields: Any,
) -> Run:
    """Trains the features of a network on pictures alone, as a run that can be probed and fine-tuned.

    Args:
        data: a folder of pictures, with class folders or without, or other data. Labels, where there are any, train only the
            last layer, on features that it cannot change, to show how the run goes.
        model: name of the network; default: resnet18.
        recipe: default: byol.
        weights: to start from; default: none.
        log_to: trackers that are told the log too; see `train`.
        fields: any field of the recipe, plan or network by name; see `train`.
    """
    began = time.monotonic()
    named = {name.replace("__", "."): value for name, value in fields.items()}
    choice = ask_pretrained(data, model, recipe, weights, device, config, named)
    return start(choice, output, left(time_limit, began), listen, say, planning, log_to)
