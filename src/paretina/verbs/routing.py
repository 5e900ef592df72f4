"""Trains a network that chooses its image size: first at all sizes, then the choice too."""

import json
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from paretina.data.source import innermost
from paretina.model.assemblies.route import Routed
from paretina.model.weights import load_model
from paretina.run import OF_STAGES, Run, free_folder, write_aside
from paretina.spec import decode
from paretina.text import how_many
from paretina.train import feasible
from paretina.train.asked import Asked, Choice
from paretina.train.journal import Listener
from paretina.train.learning import PartRate
from paretina.train.objectives.routing import Routing
from paretina.train.planning import Planning
from paretina.train.ranks import Ranks
from paretina.train.resolve import as_started
from paretina.train.routes import FIRST_STAGE, SLOWER
from paretina.train.training import Say, run_name
from paretina.verbs.checks import MisuseError, check_place, misuse, restarted
from paretina.verbs.folding import aside
from paretina.verbs.reporting import LogTo
from paretina.verbs.training import left, resume, start

FIRST = "sizes"
"""The directory of the first stage, inside that of the second."""

TIME_SHARE = 0.45
"""Of a time limit, for the first stage: its epochs are fewer, and each of its updates computes more."""


def train_routed(
    choice: Choice,
    output: Path | str | None = None,
    time_limit: float | None = None,
    listen: Listener = lambda line: None,
    say: Say = lambda text: None,
    planning: Planning = "known",
    log_to: LogTo = (),
) -> Run:
    """Trains both stages, each as a run: the first in `sizes/` inside the directory of the second, whose run is returned.

    Both have the recipe of the request; the first has 0.7 of its epochs, and the second a tenth of the rate for the predictor.

    Args:
        choice: the request with the assembly `Route` and the objective `Routing`, as `train(..., routes=...)` makes it.
        output: the run directory; default: the next free one in runs/.
        time_limit: seconds for both together.
        log_to: trackers that are told the log of the second stage.

    Raises:
        MisuseError: there is something else at `output`, the budget is out of reach, or the request cannot be trained.
        KeyboardInterrupt: interrupted; `continue_routed` continues.
    """
    began = time.monotonic()
    recipe = choice.asked.recipe
    if not isinstance(recipe.objective, Routing):
        raise MisuseError(
            f"a network that chooses its size is trained by Routing, and the objective is {type(recipe.objective).__name__}"
        )
    first, _ = first_stage(choice, None)
    epochs = first.asked.recipe.epochs
    with misuse():
        feasible.check_asked(first.asked)
        check_routed(choice)
    ranks = Ranks.start(choice.asked.plan.device)
    place = None if output is None else Path(output)
    limit = choice.seconds if time_limit is None else time_limit
    if restarted() and place and ranks.from_first((place / OF_STAGES).exists()):
        return continue_routed(place, listen, say, log_to)
    if ranks.first:
        check_place(place, getattr(innermost(choice.asked.data), "path", None))
        path = place or free_folder(Path("runs"), f"{run_name(choice.asked, choice.title)}-routed")
        path.mkdir(parents=True, exist_ok=True)
        write_aside(path / OF_STAGES, json.dumps({"epochs": recipe.epochs}).encode())
    path = ranks.from_first(path if ranks.first else None)
    listen({"event": "start", "step": 0, "run": str(path)})
    say(f"stage 1 of 2: learns at all sizes, {how_many(epochs, 'epoch')}")
    share = first_stage(choice, limit)[1]
    with undone(path, ranks.first):
        start(first, path / FIRST, share, aside(listen), say, planning)
    return then_routes(path, recipe.epochs, left(limit, began), listen, say, log_to)


def first_stage(choice: Choice, seconds: float | None) -> tuple[Choice, float | None]:
    """What the first stage of a routed training is, which learns at all sizes, and its seconds of those for both."""
    recipe = replace(choice.asked.recipe, epochs=FIRST_STAGE * choice.asked.recipe.epochs)
    first = replace(choice, asked=replace(choice.asked, recipe=recipe), seconds=None)
    return first, None if seconds is None else TIME_SHARE * seconds


def check_routed(choice: Choice) -> None:
    """Checks that the second stage can be trained, before the first is.

    Raises:
        ValueError: it cannot: the budget is out of reach, or pictures are given at another size than the largest.
    """
    recipe = choice.asked.recipe
    model, side = choice.asked.assembled(), choice.asked.final_size()
    if isinstance(model, Routed) and side != model.sizes[-1]:
        raise ValueError(
            f"pictures are given at the largest of the sizes to choose from, {model.sizes[-1]} pixels, and the fields ask for "
            f"{side}: leave size out, or make {side} the largest of --routes"
        )
    if isinstance(recipe.objective, Routing):
        replace(recipe.objective, stage="routes").check(recipe, choice.asked.assembled())


@contextmanager
def undone(path: Path, first: bool) -> Iterator[None]:
    """Leaves nothing behind of a training whose first stage did not begin.

    Args:
        first: whether this process is the first of several.
    """
    try:
        yield
    except BaseException:
        if first and not (path / FIRST / "asked.json").exists():
            (path / OF_STAGES).unlink(missing_ok=True)
            with suppress(OSError):  # it is not there, or not empty
                path.rmdir()
        raise


def continue_routed(
    path: Path | str,
    listen: Listener = lambda line: None,
    say: Say = lambda text: None,
    log_to: LogTo = (),
    data: str | None = None,
) -> Run:
    """Continues a training of both stages that was interrupted, or returns the run of one that is finished.

    Args:
        data: the current location of the data, if it was moved.

    Raises:
        MisuseError: there is none, or it was interrupted before its first stage began.
    """
    path = Path(path)
    try:
        epochs = float(json.loads((path / OF_STAGES).read_text())["epochs"])
    except (OSError, ValueError, KeyError, TypeError):
        raise MisuseError(f"{path / OF_STAGES} cannot be read, so there are no stages to continue") from None
    if not (path / FIRST / "asked.json").exists():
        raise MisuseError(f"{path} was interrupted before its first stage began; remove it and start anew")
    if (path / "asked.json").exists():
        return resume(path, data, listen, say, log_to)
    listen({"event": "start", "step": 0, "run": str(path)})
    if not (path / FIRST / "result.json").exists():
        resume(path / FIRST, data, aside(listen), say)
    return then_routes(path, epochs, None, listen, say, log_to, data)


def then_routes(
    path: Path, epochs: float, seconds: float | None, listen: Listener, say: Say, log_to: LogTo, data: str | None = None
) -> Run:
    """The second stage, from the weights of the first."""
    asked = second_stage(path / FIRST, epochs)
    if data is not None:
        from paretina.data.named import source_named
        from paretina.train.training import moved_to

        asked = replace(asked, data=moved_to(asked.data, source_named(data)))
    say(f"stage 2 of 2: learns which size each picture needs, {how_many(epochs, 'epoch')}")
    return start(Choice(asked), path, seconds, listen, say, "default", log_to, inside=(OF_STAGES, FIRST))


def second_stage(first: Path, epochs: float) -> Asked:
    """The request of the second stage: that of the first, from its weights.

    Args:
        first: directory of the finished run.
    """
    run = Run.open(first)
    saved: Mapping[str, Any] = run.asked()
    asked = as_started(decode(Asked, saved["asked"]), saved)
    file = (first / "model.safetensors").absolute()
    objective, learning = asked.recipe.objective, asked.recipe.learning
    assert isinstance(objective, Routing)
    recipe = replace(
        asked.recipe,
        epochs=epochs,
        objective=replace(objective, stage="routes"),
        learning=replace(learning, part_rates=(*learning.part_rates, PartRate(network="predictor", factor=SLOWER))),
    )
    model = load_model(file)[0].model
    return replace(asked, model=model, edits=(), assembly=None, weights=str(file), recipe=recipe)
