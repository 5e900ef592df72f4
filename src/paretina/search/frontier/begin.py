"""Creates a frontier directory, and gives an existing one more time.

Files are written atomically, and the first version is kept, so other workers see a complete file or none.
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
from paretina.search.frontier.runtimes import EAGER
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
    runtimes: Sequence[str] = (EAGER,),
) -> None:
    """Writes the request of a frontier; nothing is trained.

    Args:
        data: the data as given, for the recommended command.
        device: `device_name` of the machine that takes the timings.
        runtimes: that networks are timed in, by their names in `RUNTIMES`.

    Raises:
        ValueError: the directory is not empty, or there are too few candidates.
    """
    if len(candidates) < 2:
        raise ValueError(f"a frontier needs at least two candidates, got {len(candidates)}")
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ValueError(f"{folder} is not empty; choose another --output, or resume the frontier there: --resume {folder}")
    folder.mkdir(parents=True, exist_ok=True)
    asked = {
        "verb": "frontier",
        "command": command,
        "data": data,
        "device": device,
        "halving": encode(halving),
        "runtimes": list(runtimes),
        "budgets": [asdict(budget) for budget in budgets],
        "candidates": [candidate.to_dict() for candidate in candidates],
        "environment": {"paretina": training.version()},
    }
    write_once(folder / "asked.json", asked)


def give_time(folder: Path, seconds: float) -> None:
    """Raises the total time of a frontier; rungs that were skipped for lack of time become due again.

    Raises:
        ValueError: there is no frontier, the time is less than before, or all rungs have their lengths already.
    """
    standing = read_standing(folder)
    had = standing.halving.seconds
    if seconds < had:
        raise ValueError(
            f"the time of a frontier is the total of all its trainings, and can only be raised: {folder} has {had:g} s, got "
            f"{seconds:g} s; give a longer --time-limit, or leave it out"
        )
    again = [place for place in lacking_time(standing) if place.exists()]
    if seconds > had and not again and len(standing.rungs) == len(standing.counts):
        raise ValueError(
            f"all {len(standing.counts)} rungs of {folder} have their lengths already, so a longer --time-limit would change "
            "nothing; leave it out, or start a new frontier"
        )
    asked = {**standing.asked, "halving": encode(replace(standing.halving, seconds=seconds))}
    written_aside(folder / "asked.json", asked).replace(folder / "asked.json")
    for place in again if seconds > had else ():
        place.unlink()


def lacking_time(standing: Standing) -> list[Path]:
    """The files that record what was skipped for lack of time: a rung, or candidates that did not fit into one."""
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
    """Writes a JSON file atomically; an existing one is kept."""
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = written_aside(path, value)
    try:
        os.link(aside, path)
    except FileExistsError:
        pass
    finally:
        aside.unlink()


def written_aside(path: Path, value: Any) -> Path:
    """Writes a temporary JSON file next to another, under a name that is unique among workers on all machines."""
    aside = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    aside.write_text(json.dumps(value, indent=2))
    return aside
