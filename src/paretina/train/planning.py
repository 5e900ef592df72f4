"""Chooses the execution plan of a run, in the first process before training.

The plan is saved in `asked.json`, so a resumed run keeps it, and all processes share it. Candidates are timed on updates of the
whole network with random weights, without frozen parts.
"""

from dataclasses import replace
from typing import Literal

from paretina.measure.choose_plan import Plans, Tuning, training_plan
from paretina.measure.plan import Plan, trains_low
from paretina.measure.tune import Tuned, brief, repays
from paretina.model.blueprint import Model
from paretina.text import how_many
from paretina.train.asked import Asked, Choice
from paretina.traits import methods_in, shown_low

Planning = Literal["default", "known", "eager", "full"]
"""default: the requested plan, without timing. known: the result of an earlier search on this device for this network, if any,
unless its precision is below float32 and the default's is not.
eager: a search in under 30 s, which compiles only if the run is long enough to repay that. full: always compiles."""

LONG_S = 1200.0
"""Seconds of a run above which compiling is tried: trying takes minutes, and gains a third at best."""

CHOSEN = ("memory_format", "precision", "depthwise", "grouped", "compile", "graphs", "tf32")
"""Fields of a plan that a search chooses; if one of them is given, there is no search."""


def with_safe_precision(choice: Choice) -> Asked:
    """The request in float32, unless the precision was given or records show that a lower one loses nothing.

    They do for some networks trained from scratch (`trains_low`) if the objective and its terms allow it; for fine-tuning the
    intervals are too wide to tell.
    """
    asked = choice.asked
    if asked.plan.precision == "float32" or {"plan", "plan.precision"} & set(choice.origins):
        return asked
    try:
        shown = trains_low(asked.assembled()) and shown_low(methods_in(asked.recipe))
    except ValueError:
        return asked  # cannot be trained at all, which is reported when training begins
    if shown and not asked.starts():
        return asked
    depthwise = asked.plan.depthwise if "plan.depthwise" in choice.origins else "same"
    return replace(asked, plan=replace(asked.plan, precision="float32", depthwise=depthwise))


def found_plan(asked: Asked, model: Model, pictures: int, planning: Planning, ranks: int) -> tuple[Plan, tuple[str, ...]]:
    """The plan of a run, and notes for the user, one sentence each.

    Args:
        model: of the network, with its classes.
        pictures: to train on.
        ranks: number of processes (world size).
    """
    recipe = asked.recipe
    epochs = recipe.updates(pictures)
    batch, steps = epochs.batch, epochs.updates * recipe.accumulate
    sides = asked.sides()
    part = max(2, batch // (ranks * recipe.accumulate))  # batch norm needs at least two images

    def search(tuning: Tuning) -> Plans:
        low = (
            planning != "known" or asked.plan.precision != "float32"
        )  # precision below the default only when a search is requested
        return training_plan(model, asked.plan.device, part, max(sides), tuning, low)

    plans = search("none" if planning == "known" else "eager")
    tuned = plans.tuned[1]
    long = tuned is not None and steps * step_s(tuned, tuned.plan) * part / tuned.batch > LONG_S
    if planning == "full" or (planning == "eager" and long):
        plans = search("full")
        tuned = plans.tuned[1]
    if tuned is None:
        return asked.plan, plans.notes
    plan, notes = affordable(tuned, part, len(sides), steps)
    when = "from an earlier search" if tuned.cached else f"found in {tuned.seconds:.0f} s"
    notes = (f"execution plan: {brief(plan)}, {when}", *notes, *plans.notes)
    given, threads = asked.plan, asked.plan.threads or plan.threads
    return replace(plan, threads=threads, workers=given.workers, cache_gb=given.cache_gb), notes


def step_s(tuned: Tuned, plan: Plan) -> float:
    """Seconds per step of `tuned.batch` images under one of the timed plans."""
    return next((each.step_ms or 0.0) / 1000 for each in tuned.tried if each.plan == plan)


def affordable(tuned: Tuned, batch: int, sizes: int, steps: int) -> tuple[Plan, tuple[str, ...]]:
    """The plan that was found, or its eager form if the run is too short to repay compiling.

    Args:
        batch: images per step of the run.
        sizes: number of image sizes in the run; each is compiled separately.
    """
    compiled, eager = tuned.plan, replace(tuned.plan, compile=False, graphs=False)
    if not compiled.compile:
        return compiled, ()
    compile_s = sizes * next(each.ready_s for each in tuned.tried if each.plan == compiled)
    scale = batch / tuned.batch
    eager_s, compiled_s = scale * step_s(tuned, eager), scale * step_s(tuned, compiled)
    if repays(compile_s, eager_s, compiled_s, steps):
        return compiled, ()
    saved = max(0.0, steps * (eager_s - compiled_s))
    return eager, (
        f"not compiled: compiling takes {compile_s:.0f} s and would save {saved:.0f} s in {how_many(steps, 'step', ',')}",
    )
