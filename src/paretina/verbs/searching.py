"""Searches for a network, or for settings of a recipe, within a budget; see `paretina.search.architecture.run`."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from time import monotonic
from typing import Any, get_args

from paretina.data.source import Collection
from paretina.data.sources.inner_split import InnerSplit
from paretina.model.blueprint import Blueprint
from paretina.model.family import network_named
from paretina.model.network_file import is_network_file, read_network
from paretina.report.search_page import read_search, write_search
from paretina.run import command_line
from paretina.search.architecture.ceilings import Ceiling, ceiling_of
from paretina.search.architecture.procedure import procedure_named
from paretina.search.architecture.rewards import Plain, reward_named
from paretina.search.architecture.run import work
from paretina.search.architecture.space import NetworkSpace, Space, narrowed_of, space_named
from paretina.search.architecture.spaces.around import VARYING, AroundNetwork, Varying
from paretina.search.architecture.study import SearchStudy, begin, give_time, read_asked, read_study
from paretina.search.auto import look_at
from paretina.search.tasks import engine
from paretina.spec import near
from paretina.train.asked import Asked, full_path
from paretina.train.feasible import check_asked
from paretina.train.resolve import prepare
from paretina.train.tasks import require_top1, require_updates
from paretina.verbs.asking import ask
from paretina.verbs.checks import MisuseError, misuse
from paretina.verbs.training import check_output

SIZES = ("recipe.size", "model.resolution")

RECIPE = "scratch"
"""The recipe of all candidates unless another is named: none has weights to start from."""


def study_of(
    space: str,
    data: str,
    *,
    budgets: Sequence[str] = (),
    target: str | None = None,
    time_limit: float | None = None,
    trials: int | None = None,
    by: str | None = None,
    reward: str | None = None,
    recipe: str | None = None,
    model: str | None = None,
    width: float = 1.0,
    vary: Sequence[str] = (),
    narrow: Sequence[str] = (),
    share: float = 0.25,
    held_out: float = 0.2,
    finalists: int = 3,
    seeds: int = 2,
    seed: int = 0,
    control: bool = True,
    workers: int | None = None,
    timing: float = 1.0,
    shared_weights: bool = False,
    device: str | None = None,
    fields: Mapping[str, Any] | None = None,
) -> SearchStudy:
    """The study that the arguments ask for; see `search`.

    Raises:
        MisuseError: a name is unknown, a value does not fit, or the data cannot be used. Nothing was done.
    """
    fields = dict(fields or {})
    with misuse():
        kind, of = space_named(space)
        procedure = procedure_named(by or ("evolution" if kind.NETWORKS else "halving"))
        ceilings = tuple(map(ceiling_of, budgets))
        wanted = reward_named(reward or "accuracy")
        narrowed = narrowed_of(narrow)
        aim: Ceiling | None = ceiling_of(target, "--target") if target is not None else ceilings[0] if ceilings else None
        if target is not None and isinstance(wanted, Plain):
            raise ValueError(
                "--target is the cost that a reward weighs, and the reward `accuracy` weighs none; choose --reward soft, hard, "
                "calibrated, training or front, or limit the cost by --budget"
            )
        check_twice(ceilings)
        network = blueprint_of(of) if kind.OF == "network" else None
        check_kind(kind, ceilings, aim, model, width, vary)
    if kind.OF == "recipe":
        if recipe is not None:
            raise MisuseError(f"the recipe is given twice, as {space} and as --recipe {recipe}; leave --recipe out")
        recipe = of
    size = taken_size(fields) if kind.NETWORKS else None
    middle: Any = network or model or ("mobilenet_v2" if kind.NETWORKS else "resnet8_w16_s2")
    base = ask(data, middle, recipe or RECIPE, "none", device, fields=fields).asked
    if base.plan.threads is None and base.plan.device_type == "cpu":
        base = replace(base, plan=replace(base.plan, threads=1))
    with misuse():
        require_updates(base.recipe, "a search compares networks")
        collection = base.data.open()
        require_top1(collection.task, "a search compares candidates")
        built = space_of(kind, network, size, width, vary, narrowed, base)
        study = SearchStudy(
            name=space,
            space=built,
            base=base,
            procedure=procedure,
            reward=wanted,
            budgets=ceilings,
            target=aim,
            classes=len(collection.classes),
            trials=trials,
            seconds=time_limit,
            share=share,
            held_out=held_out,
            finalists=finalists,
            seeds=seeds,
            seed=seed,
            control=control,
            workers=workers or 1,
            timing_s=timing,
            shared_weights=shared_weights,
        )
        built.check(base)
        check_asked(study.full(built.first(base), 0))
        check_inner(InnerSplit(source=base.data, share=held_out).open())
    return study


def check_inner(parts: Collection) -> None:
    """Checks that trials have pictures to train on and to be judged on.

    Raises:
        ValueError: they have not.
    """
    held, left = len(parts.split("val")), len(parts.split("train"))
    if not held:
        raise ValueError("--held-out leaves no training picture to judge trials on; raise it, or give more pictures")
    if left <= len(parts.classes):
        raise ValueError(
            f"--held-out leaves {left} pictures to train on, no more than one for each of {len(parts.classes)} classes; lower "
            "it, or give more pictures"
        )


def blueprint_of(name: str) -> Blueprint:
    """The network in the middle of a space: by name, or from a file."""
    return read_network(name).blueprint if is_network_file(name) else network_named(name).blueprint


def check_twice(ceilings: Sequence[Ceiling]) -> None:
    names = [ceiling.cost for ceiling in ceilings]
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"the budget of {name} is given twice; leave one out")


def check_kind(
    kind: type[Space],
    ceilings: Sequence[Ceiling],
    target: Ceiling | None,
    model: str | None,
    width: float,
    vary: Sequence[str],
) -> None:
    """Checks what only some spaces have.

    Raises:
        ValueError: an option does not go with the space.
    """
    if kind.NETWORKS and model is not None:
        raise ValueError("--model is for a space around a recipe; around a network, write around:NETWORK")
    if not kind.NETWORKS and (ceilings or target):
        raise ValueError("all points of a space around a recipe have the same network, so a budget of its cost decides nothing")
    if not kind.NETWORKS and width != 1:
        raise ValueError("--width scales the table of a space of networks; leave it out")
    if vary and kind is not AroundNetwork:
        raise ValueError("--vary is for a space around:NETWORK; narrow other spaces with --set DIMENSION=VALUES")
    for name in vary:
        if name not in VARYING:
            raise ValueError(f"there is nothing called {name!r} that may vary{near(name, get_args(Varying))}")


def taken_size(fields: dict[str, Any]) -> int | None:
    """Takes the image size out of the fields: it is that of the space, and not the same for all candidates.

    Raises:
        MisuseError: it is not a number of pixels.
    """
    sizes = {}
    for name in list(fields):
        with misuse():
            if full_path(name) in SIZES:
                sizes[name] = fields.pop(name)
    if len(sizes) > 1:
        raise MisuseError(f"the size is given twice, as {' and as '.join(sizes)}; leave one out")
    for name, value in sizes.items():
        if not str(value).isdecimal() or int(value) < 8:
            raise MisuseError(f"{name} of a search is a whole number of pixels from 8, got {value!r}")
        return int(value)
    return None


def space_of(
    kind: type[Space],
    network: Blueprint | None,
    size: int | None,
    width: float,
    vary: Sequence[str],
    narrowed: tuple[Any, ...],
    base: Asked,
) -> Space:
    """The space, scaled to the pictures unless a size is given."""
    if not issubclass(kind, NetworkSpace):
        return kind(narrowed=narrowed)
    if size is None:
        own = base.model.resolution
        size = max(8, min(own, look_at(base.data.open()).side // 4 * 4))
    given: dict[str, Any] = {"size": size, "width": width, "narrowed": narrowed}
    if network is not None:
        given |= {"network": network, "vary": tuple(dict.fromkeys(vary))}
    return kind(**given)


def search(
    space: str | None = None,
    data: str | None = None,
    *,
    output: Path | None = None,
    resume: Path | None = None,
    time_limit: float | None = None,
    cluster: str | None = None,
    workers: int | None = None,
    say: Callable[[str], None] = lambda text: None,
    study: SearchStudy | None = None,
    **options: Any,
) -> dict[str, Any]:
    """Searches a space within a budget, and returns what `result.json` then has, with the `directory`.

    Args:
        space: `mnasnet`, `efficientnetv2`, `around:NETWORK` or `recipe:RECIPE`.
        data: as for `train`.
        output: a new directory; default: the next free one in `runs/`.
        resume: directory of an interrupted or failed search, in place of all but `time_limit`, `cluster`, `workers` and `say`.
        time_limit: seconds for everything; of a search that is resumed no fewer than it had.
        cluster: see `paretina.search.tasks.engine`.
        study: what `study_of` gave, in place of `space` and `options`.
        options: of `study_of`.

    Raises:
        MisuseError: something does not fit; nothing was done.
        KeyboardInterrupt: interrupted; `resume` continues it.
    """
    began = monotonic()
    with misuse():
        carrier = engine(cluster, None if cluster else workers or 1)
    if resume is not None:
        with misuse():
            read_asked(resume)
            read_study(resume)
            if time_limit is not None:
                give_time(resume, time_limit)
        folder = resume
    else:
        if space is None or data is None or output is None:
            raise MisuseError("name the space, the data and the output directory, or a search to resume")
        study = study or study_of(space, data, workers=workers, time_limit=time_limit, **options)
        check_output(output, study.base.data)
        with misuse():
            prepare(study.full(study.space.first(study.base), 0))  # damaged pictures would end it at the finalists
        folder = output
        with misuse():
            begin(folder, study, data, command_line())
    work(folder, carrier, say, began)
    page = write_search(folder)
    return {**read_search(folder), "directory": str(folder), "report": str(page)}
