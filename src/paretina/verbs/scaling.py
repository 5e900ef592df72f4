"""Scales a network up to a cost with several shares of depth, width and resolution, and finds the best."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from paretina.data.named import source_named
from paretina.data.source import Source
from paretina.measure.cost import cost as counted
from paretina.model.blueprint import Blueprint
from paretina.model.network_file import is_network_file, read_network
from paretina.model.weights import from_file
from paretina.report.scale_page import write_scale
from paretina.run import free_folder, model_in, not_left_empty
from paretina.search.scaling.run import work
from paretina.search.scaling.shares import Shares, named, usual, with_controls
from paretina.search.scaling.solve import TOLERANCE, Rules
from paretina.search.scaling.study import ScalingStudy, begin, settled
from paretina.search.tasks import Engine, Say, engine
from paretina.verbs.asking import ask
from paretina.verbs.checks import MisuseError, misuse
from paretina.verbs.training import check_output


def base_named(base: str) -> tuple[str, str | Blueprint]:
    """A name for the base, and what `ask` takes as its network: a named network, or the blueprint in a file or a run.

    Raises:
        MisuseError: the file holds no single network.
    """
    if is_network_file(base):
        with misuse():
            found = read_network(base)
        return found.name, found.blueprint
    if Path(base).exists() or base.endswith(".safetensors") or "/" in base:
        with misuse():
            path = model_in(Path(base))
            model = from_file(path).model
        if not isinstance(model, Blueprint):
            raise MisuseError(f"{base} is made of several networks; a single one can be scaled")
        return path.stem if path.stem != "model" else path.parent.name, model
    return base, base


def shares_named(words: Sequence[str], step: float, late: bool, cap: int | None) -> tuple[Shares, ...]:
    """The candidates that are asked for, and the single dimensions.

    Raises:
        MisuseError: there are no such shares.
    """
    with misuse():
        found = with_controls(map(named, words)) if words else usual(step)
        if cap is not None:
            found = tuple(each if each.cap else replace(each, cap=cap) for each in found)
        if late:
            found = tuple(replace(each, late=True) if each.depth else each for each in found)
    return found


def ask_scaled(
    base: str,
    data: str | Source,
    cost: str = "macs",
    times: Sequence[float] = (2.0, 4.0),
    shares: Sequence[str] = (),
    step: float = 0.25,
    seeds: int = 3,
    time_limit: float | None = None,
    recipe: str | None = None,
    device: str | None = None,
    divisor: int | None = None,
    multiple: int | None = None,
    tolerance: float = TOLERANCE,
    cap: int | None = None,
    late_depth: bool = False,
    curves: bool = False,
    timing: float = 2.0,
    reward_weight: float = -0.07,
    fields: Mapping[str, Any] | None = None,
) -> ScalingStudy:
    """Builds the request of a study; see `scale` for the arguments.

    Raises:
        MisuseError: a name is unknown, or a value does not fit; the message has the near name.
    """
    given = dict(fields or {})
    for name in given:
        if name in ("seed", "recipe.seed"):
            raise MisuseError(f"{name} does nothing here: every training of a study has its own seed; see --seeds")
        if time_limit is not None and name in ("epochs", "recipe.epochs"):
            raise MisuseError(f"{name} and --time-limit both set the length of the trainings; leave one out")
    name, network = base_named(base)
    choice = ask(data, network, recipe or "scratch", "none", device, None, given)
    wanted = shares_named(shares, step, late_depth, cap)
    with misuse():
        study = ScalingStudy(
            name=name,
            base=settled(choice.asked),
            asked=choice.asked,
            cost=cost,
            times=tuple(float(each) for each in times),
            shares=wanted,
            seeds=tuple(range(seeds)),
            rules=Rules(divisor=divisor, multiple=multiple, tolerance=tolerance),
            time_limit_s=time_limit,
            curves=curves,
            timing_s=timing,
            weight=reward_weight,
        )
        if cap is not None and cap < study.base.resolution:
            raise ValueError(f"--cap {cap} is below the image size of the base, {study.base.resolution} pixels")
        counted(study.base)
    return study


def scale(
    base: str,
    data: str | Source,
    output: Path | str | None = None,
    cluster: str | None = None,
    workers: int | None = None,
    say: Say = lambda text: None,
    **options: Any,
) -> dict[str, Any]:
    """Scales a network up, trains the candidates briefly, and writes the family of the best; returns the result.

    Args:
        base: a named network, a file with one, a model file, or the directory of a finished run.
        output: the directory of the study; default: the next free one in runs/.
        cluster: a Ray cluster; see `paretina.search.tasks.engine`.
        workers: processes of this machine.
        options: as of `ask_scaled`: cost, times, shares, seeds, time_limit, fields and others.
    """
    study = ask_scaled(base, data, **options)
    with misuse():
        does = engine(cluster, workers)
    folder = started(study, data, Path(output) if output else None)
    return finished(folder, does, say)


def started(study: ScalingStudy, data: str | Source, output: Path | None) -> Path:
    """Begins a study and returns its directory."""
    check_output(output, study.asked.data)
    word = Path(data).expanduser().absolute().name if isinstance(data, str) else type(data).__name__.lower()
    folder = output or free_folder(Path("runs"), f"{word}-scale")
    with misuse(), not_left_empty(folder):
        begin(folder, study)
    return folder


def finished(folder: Path, does: Engine, say: Say = lambda text: None, data: str | None = None) -> dict[str, Any]:
    """Does what is left of a study, and returns its result with the path of its page."""
    result = work(folder, does, say, source_named(data) if data else None, data)
    return {"directory": str(folder), **result, "report": str(write_scale(folder))}
