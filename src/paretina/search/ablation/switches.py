"""Switches: the named changes that an ablation compares, and the default ones of a recipe."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace

from paretina.data.transform import Transform
from paretina.model.pretrained import weights_named
from paretina.spec import Spec, encode, field_map, put, short
from paretina.train.asked import Asked, assignment, change, check_held, full_path, once, word
from paretina.train.progressive import progressive_named
from paretina.train.recipe import Recipe
from paretina.traits import GIVES_WAY, OFF, By, Inside, Method, SetTo, held, said

WORDS = ("progressive", "weights")
"""What a switch may set besides fields."""

WORDS_OFF = ("off", "false", "0", "none", "[]")
WORDS_ON = ("on", "true")


@dataclass(frozen=True, kw_only=True)
class Switch(Spec):
    """A change of the baseline, and which side of it is judged.

    Attributes:
        fields: assignments `field=value`, as on the command line, applied in this order. `progressive=96:160` is as in
            `paretina train --progressive`; `weights=none` sets other weights to start from.
        adds: if true, the change is judged, and its gain is that of the changed run over the baseline; if false, what the
            baseline has is judged, and its gain is that of the baseline over the changed run.
        name: name of what is judged; the fields if "".
    """

    fields: tuple[str, ...]
    adds: bool = False
    name: str = ""

    def __post_init__(self) -> None:
        if not self.fields:
            raise ValueError("a switch needs a field to change, such as average=off, got none")
        for field in self.fields:
            assignment(field)

    @property
    def title(self) -> str:
        return self.name or " ".join(self.fields)

    @property
    def judged(self) -> str:
        """What is judged, for tables: "dropout=0.5", or "not dropout=0.5" if the baseline's own value is judged."""
        return self.title if self.adds or self.name else f"not {self.title}"

    def __call__(self, asked: Asked) -> Asked:
        """Applies the change to the baseline.

        Raises:
            ValueError: a field does not exist, a value does not fit, or nothing is changed; the message has the near name.
        """
        changed = asked
        for field in self.fields:
            changed = assigned(changed, *assignment(field))
        if changed == asked:
            raise ValueError(f"{' '.join(self.fields)} changes nothing, since the baseline already has it; leave it out")
        return changed


def check_once(switch: Switch, changed: Asked) -> None:
    """Checks that each field of a switch has its value in the result.

    Raises:
        ValueError: a value is given twice, or one overwrites another; the message has both.
    """
    pairs = [assignment(field) for field in switch.fields]
    fields = [pair for pair in pairs if pair[0] not in WORDS]
    for name in WORDS:
        values = [value for other, value in pairs if other == name]
        if len(values) > 1:
            raise ValueError(f"{name} is given twice, as {values[0]} and as {values[1]}; leave one out")
    once(fields)
    rises = dict(pairs).get("progressive")
    size = next((word(*pair) for pair in fields if full_path(pair[0]) == "recipe.size"), None)
    if rises and size:
        raise ValueError(f"the size is given twice, as progressive={rises} and as {size}; leave one out")
    if not rises:  # also changes the strengths that are given with it
        check_held(changed, dict(fields))


def assigned(asked: Asked, path: str, value: str) -> Asked:
    """A copy with one field changed."""
    if path == "progressive":
        return replace(asked, recipe=progressive_named(value)(asked.recipe))
    if path == "weights":
        return replace(asked, weights=weights_named(value))
    return change(asked, path, value)


def switch_of(text: str, adds: bool = False) -> Switch:
    """Parses a switch of the command line.

    `average=off`, or `average` alone, leaves something out; `edits.Fuse=on`, or `edits.Fuse` with `adds`, adds something.
    Several fields separated by spaces make one switch. Any other value is an alternative: without `adds` the baseline is judged
    against it, with `adds` it is judged against the baseline.

    Raises:
        ValueError: it is not an assignment.
    """
    text = text.strip()
    if text and "=" not in text:
        text = f"{text}={'on' if adds else 'off'}"
    fields = tuple(re.split(r"\s+(?=[A-Za-z_][\w.*-]*=)", text))  # JSON has spaces too, but not followed by a name with =
    path, value = assignment(fields[0])
    name = ""
    if len(fields) == 1 and value.lower() in (*WORDS_OFF, *WORDS_ON):
        name = path.removeprefix("recipe.").removeprefix("transforms.")
    return Switch(fields=fields, adds=adds or value.lower() in WORDS_ON, name=name)


# --- those of a recipe --------------------------------------------------------------------------------------------------------


def default_switches(asked: Asked) -> tuple[Switch, ...]:
    """A switch for each refinement of a recipe and its edits, which leaves it out.

    A refinement is anything beyond a fixed image size, a constant learning rate and cross entropy with the labels; it declares
    how it is left out (`paretina.traits`). A random crop is replaced by the plain resizing of the recipe's evaluation.
    """
    found: dict[str, list[str]] = {}
    for name, text in sorted(refinements(asked, asked.recipe), key=lambda each: not each[1].startswith("recipe.")):
        path, value = assignment(text)
        path = short(Recipe, path.removeprefix("recipe.")) if path.startswith("recipe.") else path
        found.setdefault(name, []).append(f"{path}={value}")
    return tuple(Switch(fields=tuple(fields), name=name) for name, fields in found.items())


def refinements(spec: Spec, recipe: Recipe, prefix: str = "") -> Iterator[tuple[str, str]]:
    """The name of each refinement in the fields of a spec, and the assignment that leaves it out; methods come first.

    Args:
        recipe: the recipe that contains the spec, or is contained in it.
        prefix: path of the spec, ending with a dot.
    """
    answers = {name: said(type(spec), name).left_out for name in field_map(type(spec))}
    plain = {name for name in answers if isinstance(getattr(spec, name), Spec) and not isinstance(getattr(spec, name), Method)}
    for name in sorted(answers, key=lambda name: not isinstance(answers[name], Inside) or name in plain):
        answer, value, path = answers[name], getattr(spec, name), f"{prefix}{name}"
        if isinstance(answer, SetTo):
            if put(spec, name, answer.text) != spec:
                yield answer.name, f"{path}={answer.text}"
        elif isinstance(answer, By):
            yield from answer.function(value, path)
        elif isinstance(answer, Inside):
            inner = list(held(value, path))
            for place, each in inner:
                if not isinstance(each, Method) or isinstance(each.LEFT_OUT, Inside):
                    yield from refinements(each, recipe, f"{place}.")
                elif each.LEFT_OUT == OFF and len(inner) > answer.least:
                    yield type(each).__name__, f"{place}=off"
                    if recipe.teacher is not None and recipe.taught() == (type(each).__name__,):  # nothing else learns from it
                        yield type(each).__name__, "recipe.teacher=none"
                elif isinstance(each, Transform) and each.LEFT_OUT == GIVES_WAY:
                    others = json.dumps([encode(other) for other in recipe.without(each)])
                    yield type(each).__name__, f"{path}={others}"
