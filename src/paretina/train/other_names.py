"""Other names: what other tools call the fields and methods of a run, with what is written here instead."""

import functools
from collections.abc import Mapping

from paretina.spec import Spec, short
from paretina.train.fields import LR, WORDS, assignment
from paretina.train.recipe import Recipe
from paretina.traits import words

OPTIONS = {
    "name": "--output DIR",
    "output": "--output DIR",
    "resume": "--resume RUN",
    "time_limit": "--time-limit TIME",
}
"""What is an option of the command and no field, as other tools call it and as it would stand in a file."""


@functools.cache
def other_names(asked: type[Spec]) -> Mapping[str, str]:
    """What other tools call something, with what to write here; imports all plug-ins, since each says it of itself.

    Args:
        asked: the spec of all that is asked of a run.
    """
    found = dict(OPTIONS)
    for name, text in words(asked):
        found.setdefault(name, " ".join(map(as_written, text.split(" "))))
    return dict(sorted(found.items()))


def as_written(text: str) -> str:
    """An assignment as people write it: without the part that a field is in, and as an option where there is one."""
    path, value = assignment(text)
    if path in WORDS:
        return f"--{path} {value}"
    if path == LR:
        return f"lr={value}"
    part, _, rest = path.partition(".")
    if part == "recipe":
        return f"{short(Recipe, rest)}={value}"
    return f"{rest if part in ('plan', 'model') else path}={value}"
