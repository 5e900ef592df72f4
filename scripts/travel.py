"""How far what is asked of a run travels before its training begins.

Follows one run from `verbs.start` to the first line of the loop, and looks at each call of a function of the package that gets
what is asked (a choice, the recipe, the plan, or what they were resolved to) as an argument. Prints the files that it passes
through, and how often it returns to a file that it had left.

    python scripts/travel.py
"""

import inspect
import sys
import tempfile
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np

import paretina
from paretina import verbs
from paretina.measure.plan import Plan
from paretina.train import resolve
from paretina.train.asked import Asked, Choice
from paretina.train.recipe import Recipe

ROOT = Path(paretina.__file__).parent
CARRIES = (Asked, Choice, Recipe, Plan, resolve.Prepared)


class ArrivedError(Exception):
    """The loop is reached."""


def carried(frame: FrameType) -> bool:
    """Whether a call gets something of what is asked."""
    given = inspect.getargvalues(frame)
    return any(isinstance(given.locals.get(name), CARRIES) for name in given.args)


def followed(start: Any) -> list[str]:
    """The files that what is asked passes through, in order, each once for each visit."""
    visits: list[str] = []

    def watch(frame: FrameType, event: str, _: Any) -> None:
        path = Path(frame.f_code.co_filename)
        if event != "call" or ROOT not in path.parents or frame.f_code.co_name.startswith("<") or not carried(frame):
            return
        file = str(path.relative_to(ROOT))
        if file == "train/loop.py" and frame.f_code.co_name == "run_updates":
            raise ArrivedError
        if not visits or visits[-1] != file:
            visits.append(file)

    sys.setprofile(watch)
    try:
        start()
    except ArrivedError:
        return visits
    finally:
        sys.setprofile(None)
    raise RuntimeError("the run never reached the loop")


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        random = np.random.default_rng(0)
        labels = np.arange(33) % 3
        images = random.integers(0, 255, (33, 40, 40, 3), dtype=np.uint8)
        data = Path(folder, "pictures.npz")
        np.savez(data, images=images, labels=labels, split=["train"] * 24 + ["val"] * 9, classes=["a", "b", "c"])
        choice = verbs.ask(str(data), "resnet18", "scratch", device="cpu", fields={"epochs": 1, "size": 32, "workers": 0})
        visits = followed(lambda: verbs.start(choice, Path(folder, "run")))
    files = list(dict.fromkeys(visits))
    for file in files:
        print(f"{visits.count(file):>4}  {file}")
    print(f"{len(files)} files, {len(visits) - len(files)} returns to a file that was left")


if __name__ == "__main__":
    main()
