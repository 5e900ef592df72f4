"""The candidates of a frontier: training runs to compare, each with its command-line arguments."""

import itertools
import json
import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from paretina.data.source import Source
from paretina.measure.plan import Plan
from paretina.model.network_file import is_network_file
from paretina.spec import decode, encode
from paretina.train.asked import Asked, UniqueKeys, choose, flattened, full_path
from paretina.train.feasible import check_asked
from paretina.train.planning import with_safe_precision
from paretina.train.tasks import require_updates

PARTS = ("model", "recipe", "weights")


@dataclass(frozen=True)
class Candidate:
    """
    Attributes:
        name: unique name, also of its directory.
        asked: the request; its epochs are those of a full training.
        words: equivalent arguments of `paretina train`, without the data; empty if there are none.
    """

    name: str
    asked: Asked
    words: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._+-]*", self.name):
            raise ValueError(f"a candidate's name becomes a directory: letters, digits and . _ + - only, got {self.name!r}")

    def command(self, data: str) -> str:
        """The command for a full training; "" if there is none."""
        return shlex.join(["paretina", "train", data, *self.words]) if self.words else ""

    def to_dict(self) -> dict[str, Any]:
        return {"name": self.name, "words": list(self.words), "asked": encode(self.asked)}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "Candidate":
        return cls(data["name"], decode(Asked, data["asked"]), tuple(data["words"]))


def spelled(value: Any) -> str:
    """A value as it is written after `field=`."""
    return value if isinstance(value, str) else json.dumps(value)


def candidate(
    data: str | Source,
    plan: Plan,
    model: str,
    recipe: str | None = None,
    weights: str | None = None,
    fields: Mapping[str, Any] | None = None,
    name: str | None = None,
) -> Candidate:
    """Makes a candidate from names and fields.

    Args:
        recipe: default: chosen by the weights, as in `paretina train`.
        weights: "auto", "hub", "none", a model file or a finished run; default: as in `paretina train`.
        fields: any field of the recipe, plan or network.
        name: default: made from model, size and recipe.

    Raises:
        ValueError: a name is unknown, or a value does not fit; the message has the near name.
    """
    fields = dict(fields or {})
    asked = with_safe_precision(choose(data, model, recipe, plan, weights, fields=fields))
    side = asked.final_size()
    given = ["--model", model, "--recipe", asked.recipe_name, "--weights", asked.weights]
    words = [*given, *(f"{path}={spelled(value)}" for path, value in fields.items())]
    return Candidate(
        name or f"{Path(model).stem if is_network_file(model) else model}-{side}-{asked.recipe_name}", asked, tuple(words)
    )


def grid(
    data: str | Source,
    plan: Plan,
    models: Sequence[str],
    sizes: Sequence[int | None] = (None,),
    recipes: Sequence[str | None] = (None,),
    weights: str | None = None,
    fields: Mapping[str, Any] | None = None,
) -> tuple[Candidate, ...]:
    """All combinations of networks, sizes and recipes.

    Args:
        sizes: image sizes in pixels for training and, unless the recipe sets another, for testing; None for the network's own.
            They replace a recipe's own size schedule.
        recipes: None for the default of the weights.
        fields: fields for all candidates.
    """
    found = []
    for model, size, recipe in itertools.product(models, sizes, recipes):
        values = dict(fields or {})
        if size is not None:
            values["resolution"] = size  # some networks are built for a size
            if candidate(data, plan, model, recipe, weights, values).asked.recipe.size is not None:
                values["size"] = size
        found.append(candidate(data, plan, model, recipe, weights, values))
    return distinct(found)


def listed(
    path: Path, data: str | Source, plan: Plan, weights: str | None = None, fields: Mapping[str, Any] | None = None
) -> tuple[Candidate, ...]:
    """The candidates listed in a YAML file, each a mapping: model, recipe, weights, name, and any fields.

        - model: resnet18
          size: 96
        - {name: wide, model: efficientnet_b0, edits.Scale: on, edits.Scale.width: 1.2}

    Args:
        weights: default for entries without weights.
        fields: fields for all; those of an entry override them.

    Raises:
        ValueError: the file cannot be read, or an entry cannot be trained; the message says which entry.
    """
    try:
        entries = yaml.load(path.read_text(), UniqueKeys)
    except OSError as error:
        raise ValueError(f"cannot read {path}: {error.strerror}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is not YAML: {error}") from None
    if not isinstance(entries, list) or not entries or not all(isinstance(entry, dict) for entry in entries):
        raise ValueError(f"{path} must be a list of candidates, such as `- {{model: resnet18, size: 96}}`")
    found = []
    for number, entry in enumerate(entries, 1):
        values = dict(flattened(entry))
        words = {part: values.pop(part) for part in PARTS if isinstance(values.get(part), str)}
        name = values.pop("name", None)
        if "model" not in words:
            raise ValueError(f"{path}: entry {number} has no model")
        try:
            made = candidate(
                data,
                plan,
                **({"weights": weights} | words),
                fields={**unsaid(fields or {}, values), **values},
                name=None if name is None else str(name),
            )
        except ValueError as error:
            raise ValueError(f"{path}: entry {number}: {error}") from None
        found.append(made)
    return distinct(found)


def unsaid(fields: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """The common fields except those that an entry sets itself, under any name."""
    own = {full_path(name) for name in values}
    return {name: value for name, value in fields.items() if full_path(name) not in own}


def check_any(candidates: Sequence[Candidate]) -> None:
    """Checks that at least one candidate can be trained, as far as that is known without the data.

    Raises:
        ValueError: none can; the message has the reason of the first.
    """
    reasons = []
    for each in candidates:
        try:
            check_asked(each.asked)
            require_updates(each.asked.recipe, "a frontier compares networks")
            return
        except ValueError as error:
            reasons.append(f"{each.name}: {error}")
    if reasons:
        raise ValueError(f"no candidate can be trained; {reasons[0]}")


def distinct(candidates: Iterable[Candidate]) -> tuple[Candidate, ...]:
    """The candidates, with numbers appended to duplicate names; duplicate requests are rejected.

    Raises:
        ValueError: two candidates are the same run.
    """
    found = list(candidates)
    for first, second in itertools.combinations(found, 2):
        if first.asked == second.asked:
            raise ValueError(f"{first.name} is given twice among the candidates; leave one out")
    seen: dict[str, int] = {}
    named = []
    for each in found:
        seen[each.name] = number = seen.get(each.name, 0) + 1
        named.append(each if number == 1 else replace(each, name=f"{each.name}-{number}"))
    if len({each.name for each in named}) < len(named):
        raise ValueError(f"give the candidates unique names, got {', '.join(each.name for each in found)}")
    return tuple(named)
