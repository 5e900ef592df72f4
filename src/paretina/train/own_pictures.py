"""How well a network answers on the pictures that it was trained on.

Beside the figure on validation pictures this tells a network that is too small or was trained for too short a time (both are
low) from one that learnt its pictures by heart (only this one is high).
"""

from typing import Any

from paretina.measure.evaluate import Evaluation
from paretina.model.build import Network
from paretina.model.tasks.nothing import Nothing
from paretina.train.loop import Job
from paretina.train.resolve import Prepared

MOST = 1000
"""Training pictures that are looked at, at most; never more than there are validation pictures."""


def looked_at(prepared: Prepared) -> list[int]:
    """The numbers of the training pictures that are evaluated after the last update; empty where none has a label."""
    judge = prepared.recipe.test.judge
    if isinstance(prepared.collection.task, Nothing) or (judge is not None and judge.LOSS):
        return []
    labels = prepared.train.labels()
    known = [number for number, label in enumerate(labels) if label >= 0]
    count = min(MOST, len(prepared.val), len(known))
    return [known[at * len(known) // count] for at in range(count)]


def on_own_pictures(job: Job, prepared: Prepared, network: Network, workers: int) -> dict[str, Any] | None:
    """The main metric on training pictures, prepared as in evaluation and with the labels that they were trained with.

    Args:
        network: on the device of the evaluation's plan.

    Returns:
        `value`, in the unit of the main metric, and `pictures`, the number of them, evenly spaced over the split; None where no
        picture has a label or the metric is of the training loss.
    """
    some = looked_at(prepared)
    if not some:
        return None
    before, ranks = job.evaluation, job.ranks
    model = prepared.model
    evaluation = Evaluation(
        prepared.train,
        model.preprocessing,
        model.resolution,
        model.classes,
        before.plan,
        ranks.rank,
        ranks.count,
        judge=before.judge,
        some=some,
    )
    evaluation.KEEP = 0  # each is looked at once
    first, *others = ranks.every(evaluation.tally(network, workers))
    tally = first.with_all(others)
    value = tally.quick()[tally.KEY]
    return {"value": value, "pictures": len(some)} if value == value else None
