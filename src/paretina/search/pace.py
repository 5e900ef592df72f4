"""How many epochs fit into a time limit that several trainings share."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from paretina.search.frontier.tools import rehearse
from paretina.spec import decode
from paretina.text import how_many
from paretina.train.asked import Asked

RESERVE = 0.9
"""Share of a time limit that is planned for."""


def pace(folder: Path, given: dict[str, Any]) -> dict[str, Any]:
    """The task that times a few updates."""
    return dict(rehearse(decode(Asked, given["asked"])))


def epochs_within(limit_s: float, paces: Sequence[Mapping[str, Any]], count: int, instead: str, more: float = 0.0) -> float:
    """The epochs of every training, the same for all.

    Args:
        limit_s: of all trainings together, in seconds.
        paces: what `pace` returned for each network.
        count: trainings of each network.
        instead: what can be given for a limit that is too short, as the end of a sentence.
        more: work that is planned for besides, as a share of that of these trainings.

    Raises:
        ValueError: not even one update of each fits, or there is no network to train.
    """
    if not paces:
        raise ValueError("no network can be trained, so nothing fits into the time limit")
    epoch_s, fixed_s = ((1 + more) * count * sum(each[key] for each in paces) for key in ("epoch_s", "fixed_s"))
    epochs = (RESERVE * limit_s - fixed_s) / epoch_s
    if epochs < 1 / max(each["updates_per_epoch"] for each in paces):
        needed = (fixed_s + epoch_s) / RESERVE
        raise ValueError(
            f"the time limit of {limit_s:g} s is too short: {how_many(len(paces), 'network')} with {how_many(count, 'seed')} "
            f"need about {needed:.0f} s for one epoch each; {instead}"
        )
    return float(f"{epochs:.3g}")
