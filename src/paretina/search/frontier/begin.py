"""Begin: what is asked of a frontier, written down; more time for one that has begun.

Every file is written whole, and the first one stands: whoever else works on the directory sees all of it or nothing.
"""

import json
import os
import secrets
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from paretina.search.frontier.candidates import Candidate
from paretina.search.frontier.costs import Budget
from paretina.search.frontier.standing import Halving, Standing, read_json, read_standing
from paretina.spec import encode
from paretina.train import training


def begin(
    folder: Path,
    data: str,
    candidates: Sequence[Candidate],
    halving: Halving,
    device: str,
    budgets: Sequence[Budget] = (),
    command: str = "",
) -> None:
    """Writes down what is asked; nothing is trained.

    Args:
        data: the word for the data, as it stands in the command that is recommended.
        device: `device_name` of the machine that takes the timings.

    Raises:
        ValueError: there is something in the directory already, or there are too few candidates.
    """
    if len(candidates) < 2:
        raise ValueError(f"a frontier needs at least two candidates, got {len(candidates)}")
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ValueError(f"{folder} is not empty; name another --output, or continue with a frontier there: --resume {folder}")
    folder.mkdir(parents=True, exist_ok=True)
    asked = {
        "verb": "frontier",
        "command": command,
        "data": data,
        "device": device,
        "halving": encode(halving),
        "budgets": [asdict(budget) for budget in budgets],
        "candidates": [candidate.to_dict() for candidate in candidates],
        "environment": {"paretina": training.version()},
    }
    write_once(folder / "asked.json", asked)


def give_time(folder: Path, seconds: float) -> None:
    """Gives a frontier more time, what it has spent included; rungs that were left out for lack of it come up again.

    Raises:
        ValueError: there is no frontier, it is less than it had, or every rung has its length already.
    """
    standing = read_standing(folder)
    had = standing.halving.seconds
    if seconds < had:
        raise ValueError(
            f"the time of a frontier is that of all its trainings, and can only grow: {folder} was given {had:g} s, got "
            f"{seconds:g} s; name a longer --time, or leave it out"
        )
    again = [place for place in lacking_time(standing) if place.exists()]
    if seconds > had and not again and len(standing.rungs) == len(standing.counts):
        raise ValueError(
            f"all {len(standing.counts)} rungs of {folder} have their lengths already, so more --time would change nothing; "
            "leave it out, or begin a new frontier"
        )
    asked = {**standing.asked, "halving": encode(replace(standing.halving, seconds=seconds))}
    written_aside(folder / "asked.json", asked).replace(folder / "asked.json")
    for place in again if seconds > had else ():
        place.unlink()


def lacking_time(standing: Standing) -> list[Path]:
    """The files that say what was not done for lack of time: a rung left out, or one for which nobody's time sufficed."""
    if not standing.rungs:
        return []
    number, last = len(standing.rungs) - 1, standing.rungs[-1]
    decided = standing.folder / "rungs" / f"{number}.json"
    if last["stopped"]:
        return [decided]
    faults = [standing.folder / "runs" / name / "failed.json" for name in last["names"]]
    found = [place for place in faults if (read_json(place) or {}).get("needed_s")]
    return [decided, *found] if found and not any(entry.rung == number for entry in standing.entries) else []


def write_once(path: Path, value: Any) -> None:
    """Writes a JSON file whole; whoever comes second changes nothing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = written_aside(path, value)
    try:
        os.link(aside, path)
    except FileExistsError:
        pass
    finally:
        aside.unlink()


def written_aside(path: Path, value: Any) -> Path:
    """A JSON file beside another, under a name that no other worker takes, on whatever machine."""
    aside = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    aside.write_text(json.dumps(value, indent=2))
    return aside
