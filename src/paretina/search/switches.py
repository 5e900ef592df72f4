"""Switches: changes of what is asked of a training run, each with a name, and those that a recipe has by itself."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from paretina.clock import END, START
from paretina.data.transforms.centre_crop import CentreCrop
from paretina.data.transforms.crop import RandomResizedCrop
from paretina.data.transforms.letterbox import Letterbox
from paretina.data.transforms.squash import Squash
from paretina.model.pretrained import weights_named
from paretina.schedules import Constant, Schedule, Warmup
from paretina.spec import Spec, encode
from paretina.train.asked import Asked, assignment, change, check_held, full_path, once, word
from paretina.train.progressive import progressive_named
from paretina.train.recipe import Recipe

PLAIN = (CentreCrop, Letterbox, Squash)
"""The transforms that only bring a picture to its size: without one of them nothing can be trained."""

WORDS = ("progressive", "weights")
"""What a switch may say beside fields."""

OFF = ("off", "false", "0", "none", "[]")
ON = ("on", "true")


@dataclass(frozen=True, kw_only=True)
class Switch(Spec):
    """A change of the base, and which side of it is judged.

    Attributes:
        fields: assignments `field=value`, as on the command line, made in this order. `progressive=96:160` stands for a rise of
            size and strength as in `paretina train --progressive`; `weights=none` for other weights to start from.
        adds: whether the change is judged, and its gain is that of the changed run over the base; otherwise what the base has
            is judged, and its gain is that of the base over the changed run.
        name: what is judged, in a word; the fields themselves if it is "".
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
        """What the gain is that of, for tables: "dropout=0.5", or "not dropout=0.5" where the base's own choice is judged."""
        return self.title if self.adds or self.name else f"not {self.title}"

    def __call__(self, asked: Asked) -> Asked:
        """The base with the change.

        Raises:
            ValueError: a field does not exist, a value does not fit, or nothing is changed; the message has the near name.
        """
        changed = asked
        for field in self.fields:
            changed = assigned(changed, *assignment(field))
        if changed == asked:
            raise ValueError(f"{' '.join(self.fields)} changes nothing, since the base has that already; leave it out")
        return changed


def check_once(switch: Switch, changed: Asked) -> None:
    """Looks whether each field of a switch holds in what it makes.

    Raises:
        ValueError: a value is given twice, or one takes back another; the message has both.
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
    if not rises:  # which also changes the strengths that are given beside it
        check_held(changed, dict(fields))


def assigned(asked: Asked, path: str, value: str) -> Asked:
    """The same with one field changed."""
    if path == "progressive":
        return replace(asked, recipe=progressive_named(value)(asked.recipe))
    if path == "weights":
        return replace(asked, weights=weights_named(value))
    return change(asked, path, value)


def switch_of(text: str, adds: bool = False) -> Switch:
    """What a switch on the command line stands for.

    `average=off` leaves something out, `average` alone does so too; `edits.Fuse=on` adds something, as does `edits.Fuse` where
    `adds` is set. Several fields with spaces between them make one switch. A value that is neither on nor off stands for
    another choice: without `adds` the base is judged against it, with `adds` it is judged against the base.

    Raises:
        ValueError: it is no assignment.
    """
    text = text.strip()
    if text and "=" not in text:
        text = f"{text}={'on' if adds else 'off'}"
    fields = tuple(re.split(r"\s+(?=[A-Za-z_][\w.*-]*=)", text))  # JSON has spaces too, but no name with = behind them
    path, value = assignment(fields[0])
    name = ""
    if len(fields) == 1 and value.lower() in (*OFF, *ON):
        name = path.removeprefix("recipe.").removeprefix("transforms.")
    return Switch(fields=fields, adds=adds or value.lower() in ON, name=name)


# --- those of a recipe --------------------------------------------------------------------------------------------------------


def default_switches(asked: Asked) -> tuple[Switch, ...]:
    """Every refinement that a recipe and its edits have, each to be left out once.

    A refinement is whatever goes beyond one image size, a constant rate and cross entropy with the labels. The crop of random
    size gives way to the plain way of making a square that the recipe has in the test.
    """
    found = [Switch(fields=fields, name=name) for name, fields in refinements(asked.recipe)]
    found += [Switch(fields=(f"edits.{name}=off",), name=name) for name in (type(edit).__name__ for edit in asked.edits)]
    return tuple(found)


def refinements(recipe: Recipe) -> Iterator[tuple[str, tuple[str, ...]]]:
    """The name of each refinement, and how it is left out."""
    for transform in recipe.transforms:
        name = type(transform).__name__
        if isinstance(transform, RandomResizedCrop):
            plain = Squash() if recipe.test_fit == "squash" else CentreCrop()
            others = [plain if other is transform else other for other in recipe.transforms if not isinstance(other, PLAIN)]
            yield name, (f"transforms={json.dumps([encode(other) for other in others])}",)
        elif not isinstance(transform, PLAIN):
            yield name, (f"transforms.{name}=off",)
    yield from losses(recipe)
    rate = recipe.optimizer.rate
    if isinstance(rate, Warmup):
        if rate.epochs:
            yield "warm-up", ("optimizer.rate.epochs=0",)
        if not isinstance(rate.then, Constant):
            yield "decay of the rate", (f"optimizer.rate.then={first_of(rate.then)}",)
    elif not isinstance(rate, Constant):
        yield "decay of the rate", (f"optimizer.rate={Constant(value=rate(START)).to_json()}",)
    if not is_zero(recipe.optimizer.weight_decay):
        yield "weight decay", ("optimizer.weight_decay=0",)
    if recipe.size is not None and not isinstance(recipe.size, Constant):
        yield "rising size", (f"size={recipe.size(END):g}",)
    if recipe.pixels != 1:
        yield "fewer pixels", ("pixels=1",)
    if not is_zero(recipe.dropout):
        yield "dropout", ("dropout=0",)
    for name, field in (("average", "average"), ("stochastic depth", "stochastic_depth"), ("clipping", "clip")):
        if getattr(recipe, field) is not None:
            yield name, (f"{field}=off",)
    if recipe.zero_gamma:
        yield "zero gamma", ("zero_gamma=off",)
    if recipe.classifier_rate != 1:
        yield "classifier rate", ("classifier_rate=1",)
    if recipe.rate_decay != 1:
        yield "layer-wise rates", ("rate_decay=1",)
    if recipe.needs_weights:
        set_back = {"frozen_stride": ("0", 0), "frozen": ("[]", ()), "tail": ("none", None)}
        yield (
            "frozen parts",
            tuple(f"{field}={text}" for field, (text, usual) in set_back.items() if getattr(recipe, field) != usual),
        )
    if recipe.steady:
        yield "steady norms", ("steady=off",)


def losses(recipe: Recipe) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Refinements of the loss; objectives without terms have none."""
    terms: tuple[Any, ...] = getattr(recipe.objective, "terms", ())
    for term in terms:
        name = type(term).__name__
        if name != "CrossEntropy":
            if len(terms) > 1:
                yield name, (f"objective.terms.{name}=off",)
        elif not is_zero(term.smoothing):
            yield "label smoothing", ("objective.terms.CrossEntropy.smoothing=0",)


def is_zero(schedule: Schedule) -> bool:
    return schedule == Constant(value=0.0)


def first_of(schedule: Schedule) -> str:
    """The first value of a schedule, as text."""
    return f"{schedule(START):g}"
