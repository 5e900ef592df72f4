"""Writes the results of a finished run into its directory."""

from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from paretina.data.source import innermost
from paretina.data.sources.several import Several, joined_names
from paretina.measure.cost import cost, rounded_in_words
from paretina.measure.judge import Tally, picture_digest
from paretina.measure.memory import peak_mb
from paretina.measure.routes import RoutesTaken
from paretina.measure.sets import figures_by_set
from paretina.model.build import Network, materialise
from paretina.model.task import Task
from paretina.model.tasks.nothing import Nothing
from paretina.model.tasks.one_of import OneOf
from paretina.model.weights import About, load_model, save_model
from paretina.run import Run, model_in
from paretina.spec import encode
from paretina.train.class_counts import balanced_by, class_counts
from paretina.train.journal import Journal
from paretina.train.loop import FinalNetwork
from paretina.train.resolve import Prepared


def as_saved(network: Network) -> Network:
    """The network as it is saved: rebuilt with the same weights, neither compiled nor frozen."""
    fresh = network.model.build("meta")
    materialise(fresh)
    fresh.load_state_dict(network.state_dict())
    return fresh.eval()


def save_results(
    prepared: Prepared,
    run: Run,
    journal: Journal,
    kept: FinalNetwork,
    tally: Tally,
    own: dict[str, Any] | None,
    taken: RoutesTaken | None = None,
) -> None:
    """Writes model file, `result.json`, and the files of the tally.

    Args:
        own: the main figure on training pictures; see `paretina.train.own_pictures`.
        taken: the sizes that the validation pictures took, of a network that chooses; the model file keeps their shares.
    """
    if taken is not None:
        kept.network.model = replace(kept.network.model, shares=taken.shares)  # type: ignore[call-arg]
    classes = prepared.collection.classes
    judged = tally.judged(classes)
    sets = figures_by_set(tally, prepared.val, joined_names(prepared.asked.data), classes)
    tally.write(run, prepared.val)
    start = prepared.start
    figures = judged.metrics
    inner = innermost(prepared.asked.data)
    data = getattr(inner, "path", type(inner).__name__.lower())
    if isinstance(inner, Several) and inner.judged == "all":
        data = inner.title()
    about = About(
        classes=classes,
        metrics={name: value for name, value in figures.items() if value is not None},
        licence=start.licence if start else "",
        origin=f"trained on {Path(data).name}" + (f", starting from {start.origin}" if start else ", from scratch"),
        name=prepared.asked.model_name,
        task=answered(prepared),
        counts=class_counts(prepared.collection) if prepared.collection.task == OneOf() else (),
        balanced=balanced_by(prepared.recipe),
        thresholds=judged.thresholds,
        thresholds_from=picture_digest(each.name for each in prepared.val.samples) if judged.thresholds else "",
        hierarchy=judged.hierarchy,
    )
    save_model(run.path / "model.safetensors", kept.network, about)
    lines = [*run.lines()]
    last = [line for line in lines if line["event"] == "train"]
    probes = [line["probe"] for line in lines if line["event"] == "probe"]
    counted = cost(kept.network.model)
    faults = dict(prepared.damaged)
    for fault in journal.faults:
        name, _, reason = fault.partition(": ")
        faults[name] = f"became unreadable during the run: {reason}"
    run.write(
        "result.json",
        {
            "status": "done",
            "metrics": figures,
            "classes": list(classes),
            "task": encode(prepared.collection.task),
            "shown": tally.shown(),
            "on_train": own,
            **judged.details,
            "chosen": kept.chosen,
            "updates": kept.epochs.updates,
            "epochs": kept.epochs.clock(kept.epochs.updates).epoch,
            **({"probe": probes[-1]} if probes else {}),
            **({"sets": {name: each.to_dict() for name, each in sets.items()}} if sets else {}),
            **({"routes": taken.to_dict()} if taken is not None else {}),
            "data": {
                "train": len(prepared.train),
                "val": len(prepared.val),
                "damaged": [{"name": name, "reason": reason} for name, reason in faults.items()],
                "copies": prepared.leaks.to_dict(),
                "notes": [*prepared.notes, *judged.notes],
            },
            "cost": asdict(counted),
            **({"low_bits": rounded_in_words(counted)} if counted.bits else {}),
            # the linear probe is training too, and all there is of it in a run without updates
            "time_s": sum(spent_by_attempt(last)) + (probes[-1].get("time_s", 0.0) if probes else 0.0),
            "throughput_img_s": last[-1]["throughput/img_s"] if last else None,
            "peak_mb": max((line["mem/peak_mb"] for line in last), default=peak_mb(prepared.asked.plan.device)),
        },
    )


def answered(prepared: Prepared) -> Task:
    """What the logits of the result mean: the task of the data, or where it has no labels that of the teacher."""
    task, teacher = prepared.collection.task, prepared.recipe.teacher
    if not isinstance(task, Nothing) or teacher is None:
        return task
    return OneOf() if teacher.startswith("timm:") else load_model(model_in(Path(teacher)))[1].task


def spent_by_attempt(lines: Sequence[dict[str, Any]]) -> list[float]:
    """Logged training seconds of each attempt."""
    spent: dict[int, float] = {}
    for line in lines:
        spent[line["attempt"]] = line["time_s"]
    return list(spent.values())
