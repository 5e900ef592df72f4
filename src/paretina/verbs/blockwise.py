"""Trains a student on the maps of a teacher in periods, each a run that begins with the weights of the one before."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from paretina.data.source import innermost
from paretina.model.blueprint import Blueprint
from paretina.model.weights import load_model
from paretina.run import OF_PERIODS, Run, free_folder, write_aside
from paretina.spec import decode, encode
from paretina.text import how_many
from paretina.train import feasible
from paretina.train.asked import Asked, Choice
from paretina.train.journal import Listener
from paretina.train.objectives.blockwise import Blockwise
from paretina.train.planning import Planning
from paretina.train.ranks import Ranks
from paretina.train.resolve import as_started
from paretina.train.training import Say, run_name
from paretina.verbs.checks import MisuseError, check_place, misuse
from paretina.verbs.folding import aside
from paretina.verbs.reporting import LogTo
from paretina.verbs.training import resume, start

EARLIER = "periods"
"""The directory of the periods before the last, inside that of the last."""

PERIOD_SHARE = 0.2
"""Epochs of each period before the last, as a share of those of the last."""


def distill_blockwise(
    choice: Choice,
    period_epochs: float | None = None,
    output: Path | str | None = None,
    listen: Listener = lambda line: None,
    say: Say = lambda text: None,
    planning: Planning = "known",
    log_to: LogTo = (),
) -> Run:
    """Trains all periods, each as a run: earlier ones in `periods/` inside the directory of the last, whose run is returned.

    What was begun at `output` with the same request is continued, and ends as if it had not been interrupted.

    Args:
        choice: the request of the last period, as `ask_distilled(..., blockwise=True)` makes it.
        period_epochs: epochs of each earlier period; default: 0.2 of those of the last.
        output: the run directory; default: the next free one in runs/.
        log_to: trackers that are told the log of the last period.

    Raises:
        MisuseError: there is something else at `output`, or the request cannot be trained.
        KeyboardInterrupt: interrupted.
    """
    count, epochs = periods_of(choice, period_epochs)
    asked = choice.asked
    recipe, objective = asked.recipe, asked.recipe.objective
    assert isinstance(objective, Blockwise)
    say = once(say)
    ranks = Ranks.start(asked.plan.device)
    path = ranks.from_first(begun_at(choice, epochs, output) if ranks.first else None)
    listen({"event": "start", "step": 0, "run": str(path)})
    for number in range(count):
        folder = path / EARLIER / str(number)
        if (folder / "result.json").exists():
            continue
        where = "behind the stem" if not number else f"up to stage {number}"
        say(f"period {number + 1} of {count + 1}: matches maps {where}, {how_many(epochs, 'epoch')}")
        if (folder / "asked.json").exists():
            resume(folder, None, aside(listen), say)
            continue
        settings = replace(recipe, epochs=epochs, objective=replace(objective, upto=number))
        if number:
            start(Choice(following(path, number, settings)), folder, None, aside(listen), say, "default")
        else:
            first = replace(choice, asked=replace(asked, recipe=settings), seconds=None)
            with weights_fitting():
                start(first, folder, None, aside(listen), say, planning)
    if (path / "asked.json").exists():
        return resume(path, None, listen, say, log_to)
    say(f"period {count + 1} of {count + 1}: matches all maps and the logits, {how_many(recipe.epochs, 'epoch')}")
    last = Choice(following(path, count, recipe))
    return start(last, path, None, listen, say, "default", log_to, inside=(OF_PERIODS, EARLIER))


def periods_of(choice: Choice, period_epochs: float | None) -> tuple[int, float]:
    """The number of periods before the last, and the epochs of each.

    Raises:
        MisuseError: the request is for no periods, or cannot be trained.
    """
    recipe, objective = choice.asked.recipe, choice.asked.recipe.objective
    if not isinstance(objective, Blockwise) or objective.upto is not None:
        raise MisuseError(
            "periods need the objective Blockwise, which matches one map more in each of them; take the recipe blockwise, and "
            "leave objective.upto out"
        )
    epochs = PERIOD_SHARE * recipe.epochs if period_epochs is None else period_epochs
    if not epochs > 0:
        raise MisuseError(f"each period needs more than 0 epochs, got {epochs:g}")
    with misuse():
        feasible.check_asked(choice.asked)
        model = choice.asked.assembled()
    assert isinstance(model, Blueprint)  # as the objective has checked
    return len(model.stages) + 1, epochs


def once(say: Say) -> Say:
    """Says each text a single time, since all periods begin with the same notes."""
    said: set[str] = set()

    def first(text: str) -> None:
        if text not in said:
            said.add(text)
            say(text)

    return first


@contextmanager
def weights_fitting() -> Iterator[None]:
    """Adds to an error on weights of another form how a student without them is named."""
    try:
        yield
    except ValueError as error:
        if "the weights do not fit" in str(error):
            error.add_note(
                "an edit that makes other layers cannot keep trained weights; name the student as a network, such as --model "
                "resnet18, with --weights none"
            )
        raise


def continue_blockwise(
    path: Path | str, listen: Listener = lambda line: None, say: Say = lambda text: None, log_to: LogTo = ()
) -> Run:
    """Continues a distillation in periods that was interrupted, or returns the run of one that is finished.

    Raises:
        MisuseError: there is none.
    """
    path = Path(path)
    try:
        wanted = json.loads((path / OF_PERIODS).read_text())
        asked, epochs = decode(Asked, wanted["asked"]), float(wanted["period_epochs"])
    except (OSError, ValueError, KeyError, TypeError):
        raise MisuseError(f"{path / OF_PERIODS} cannot be read, so there are no periods to continue") from None
    return distill_blockwise(Choice(asked), epochs, path, listen, say, "known", log_to)


def begun_at(choice: Choice, epochs: float, output: Path | str | None) -> Path:
    """The directory of the last period, with a file that says what was asked for.

    Raises:
        MisuseError: something else is there, or periods of another request.
    """
    place = None if output is None else Path(output)
    wanted: dict[str, Any] = {"asked": encode(choice.asked), "period_epochs": epochs}
    if place is not None and (place / OF_PERIODS).exists():
        if json.loads((place / OF_PERIODS).read_text()) != json.loads(json.dumps(wanted)):
            raise MisuseError(
                f"{place} holds periods of another request; choose another --output, or give the same to continue"
            )
        return place
    check_place(place, getattr(innermost(choice.asked.data), "path", None))
    path = place or free_folder(Path("runs"), f"{run_name(choice.asked, choice.title)}-blockwise")
    path.mkdir(parents=True, exist_ok=True)
    write_aside(path / OF_PERIODS, json.dumps(wanted, indent=2).encode())
    return path


def following(path: Path, number: int, recipe: Any) -> Asked:
    """The request of a period: that of the first, from the weights of the one before, with a recipe."""
    saved = Run.open(path / EARLIER / "0").asked()
    asked = as_started(decode(Asked, saved["asked"]), saved)
    file = (path / EARLIER / str(number - 1) / "model.safetensors").absolute()
    return replace(asked, model=load_model(file)[0].model, edits=(), assembly=None, weights=str(file), recipe=recipe)
