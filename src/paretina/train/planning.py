"""Planning: under which plan a run is executed, found by the first process before anything is trained.

The plan stands in `asked.json` with the rest, so a resumed run continues under it, and all processes have the same. Candidates
are timed on updates of the whole network with random weights; parts that will be frozen learn too meanwhile.
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
"""default: what was asked for, without timing. known: what an earlier search found on this device for this network, if one did,
and if that is not below float32 where the default is not.
eager: a search in under 30 s, which compiles only for a run so long that it can repay that. full: compiles always."""

LONG_S = 1200.0
"""Seconds of a run from which on it is worth trying to compile: trying takes minutes, and gains a third at best."""

CHOSEN = ("memory_format", "precision", "depthwise", "grouped", "compile")
"""Fields of a plan that a search decides; whoever gives one of them has decided himself."""


def with_safe_precision(choice: Choice) -> Asked:
    """What was chosen, in float32 unless somebody gave the precision or records show that less loses nothing.

    They do for some networks that train from scratch (`trains_low`) where the objective and its terms say so of themselves; for
    fine-tuning, intervals are too wide to say.
    """
    asked = choice.asked
    if asked.plan.precision == "float32" or {"plan", "plan.precision"} & set(choice.origins):
        return asked
    try:
        shown = trains_low(asked.assembled()) and shown_low(methods_in(asked.recipe))
    except ValueError:
        return asked  # cannot be trained at all, which is said when training begins
    if shown and not asked.starts():
        return asked
    depthwise = asked.plan.depthwise if "plan.depthwise" in choice.origins else "same"
    return replace(asked, plan=replace(asked.plan, precision="float32", depthwise=depthwise))


def found_plan(asked: Asked, model: Model, pictures: int, planning: Planning, ranks: int) -> tuple[Plan, tuple[str, ...]]:
    """The plan of a run, and what the user should know of it, a sentence each.

    Args:
        model: of the network, with its classes.
        pictures: to train on.
        ranks: number of processes that share an update.
    """
    recipe = asked.recipe
    epochs = recipe.updates(pictures)
    batch, steps = epochs.batch, epochs.updates * recipe.accumulate
    sides = asked.sides()
    part = max(2, batch // (ranks * recipe.accumulate))  # batch norm learns from two images at least

    def search(tuning: Tuning) -> Plans:
        low = planning != "known" or asked.plan.precision != "float32"  # below the default only when a search is asked for
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
    when = "as found earlier" if tuned.cached else f"found in {tuned.seconds:.0f} s"
    notes = (f"runs under the plan {brief(plan)}, {when}", *notes, *plans.notes)
    return replace(plan, threads=asked.plan.threads or plan.threads, workers=asked.plan.workers), notes


def step_s(tuned: Tuned, plan: Plan) -> float:
    """Seconds of a step of `tuned.batch` images under one of the plans that were tried."""
    return next((each.step_ms or 0.0) / 1000 for each in tuned.tried if each.plan == plan)


def affordable(tuned: Tuned, batch: int, sizes: int, steps: int) -> tuple[Plan, tuple[str, ...]]:
    """The plan that was found, or its eager form where a run of so many steps is too short to repay compiling.

    Args:
        batch: images of a step of the run.
        sizes: number of image sizes in the run; each is compiled anew.
    """
    compiled, eager = tuned.plan, replace(tuned.plan, compile=False)
    if not compiled.compile:
        return compiled, ()
    compile_s = sizes * next(each.ready_s for each in tuned.tried if each.plan == compiled)
    scale = batch / tuned.batch
    eager_s, compiled_s = scale * step_s(tuned, eager), scale * step_s(tuned, compiled)
    if repays(compile_s, eager_s, compiled_s, steps):
        return compiled, ()
    saved = max(0.0, steps * (eager_s - compiled_s))
    return eager, (
        f"not compiled: that takes {compile_s:.0f} s and would save {saved:.0f} s in {how_many(steps, 'step', ',')}",
    )
