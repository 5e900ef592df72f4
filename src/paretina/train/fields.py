"""Parses fields: `name=value` on a command line, and names with values in a file. Needs no torch."""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml

from paretina.spec import Spec, canonical, field_map, near

WORDS = ("data", "model", "recipe", "weights", "device")
"""What stands for a whole part; may be an option, a field or a name in a file."""

OTHER_PARTS = ("data", "edits", "assembly")
"""Parts of the request whose fields depend on their kind, so that none may be given without its prefix."""

PARTS = ("model", "recipe", "plan", *OTHER_PARTS)


def assignment(text: str) -> tuple[str, str]:
    """Splits `field=value`.

    Raises:
        ValueError: there is no `=` in it.
    """
    name, found, value = text.partition("=")
    if not found or not name:
        there = not found and Path(text).expanduser().exists()
        hint = "; several sets of pictures are joined by a comma without a space, such as nuclei/,phase/" if there else ""
        raise ValueError(f"expected field=value, got {text!r}{hint}")
    return name.strip(), value.strip()


def path_from(
    name: str, asked: type[Spec], places: Mapping[str, type[Spec]], other_names: Callable[[], Mapping[str, str]]
) -> str:
    """The path from the top that the name of a field stands for.

    Args:
        asked: the spec of all that is asked of a run.
        places: its parts whose fields may be given by name alone, with their specs.
        other_names: gives what is written instead of other tools' names; called where there is no such field.

    Raises:
        ValueError: no part has a field of that name; the message has what is written instead, or the near name.
    """
    part, _, rest = name.partition(".")
    if part in PARTS and not (rest and part in places):
        return canonical(asked, name)
    tried, inner = ({part: places[part]}, rest) if part in PARTS else (places, name)
    head = inner.partition(".")[0]
    for place, spec in tried.items():
        if head in field_map(spec) or head in spec.ALIASES:
            return canonical(asked, f"{place}.{inner}")
    if advice := other_names().get(head.replace("-", "_")):
        raise ValueError(f"there is no field {head!r}; write {advice}")
    if part in PARTS:
        return canonical(asked, name)  # what is set in a part says which fields it has
    known = [field for spec in places.values() for field in field_map(spec)]
    aliases = [alias for spec in places.values() for alias in spec.ALIASES]
    raise ValueError(f"there is no field {head!r}{near(head, [*known, *PARTS, *OTHER_PARTS], aliases)}")


class UniqueKeys(yaml.SafeLoader):
    """Reads YAML, but rejects duplicate names, of which one would be dropped silently.

    `1e-8` is a number, as in JSON and in YAML 1.2; in YAML 1.1, which the library reads, it would be text.
    """

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        names = [self.construct_object(key, deep=True) for key, _ in node.value]
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            raise yaml.constructor.ConstructorError(problem=f"{twice} is given twice", problem_mark=node.start_mark)
        return super().construct_mapping(node, deep)


UniqueKeys.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"[-+]?(\d+(\.\d*)?|\.\d+)[eE][-+]?\d+$"), list("-+.0123456789")
)


def read_config(path: Path) -> dict[str, Any]:
    """The fields of a configuration file (YAML or JSON), by their paths.

    Raises:
        ValueError: the file is missing or not a mapping of names to values.
    """
    try:
        data = yaml.load(path.read_text(), UniqueKeys)
    except OSError as error:
        raise ValueError(f"cannot read {path}: {error.strerror}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is neither YAML nor JSON: {error}") from None
    if not isinstance(data, dict):
        raise ValueError(f"{path} must map names to values, such as `epochs: 30`")
    return dict(flattened(data))


def flattened(data: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in data.items():
        path = f"{prefix}{name}"
        if isinstance(value, dict) and value and "kind" not in value:
            yield from flattened(value, f"{path}.")
        elif isinstance(value, bool):
            yield path, "on" if value else "off"  # YAML reads the words on and off as true and false
        else:
            yield path, value


def kinds_first(fields: Mapping[str, Any], full_path: Callable[[str], str]) -> dict[str, Any]:
    """Fields in their order, but that one whose value is the name of a kind, or `on`, stands before those in it."""
    whole = {name: full_path(name) for name in fields}
    order: list[str] = []
    for name, value in fields.items():
        chosen = isinstance(value, str) and value.strip().isidentifier()
        inside = (place for place, other in enumerate(order) if chosen and whole[other].startswith(f"{whole[name]}."))
        order.insert(next(inside, len(order)), name)
    return {name: fields[name] for name in order}


def keep_terms(before: Any, after: Any, value: Any) -> Any:
    """A recipe in which another objective was chosen by its name alone, with the terms of the loss that the one before had.

    Args:
        before: the recipe before.
        after: the recipe with the objective set; with its own terms where it, or the one before, has none.
        value: what it was set to.
    """
    terms = getattr(before.objective, "terms", None)
    named = isinstance(value, str) and value.strip().isidentifier()
    if not named or terms is None or not hasattr(after.objective, "terms"):
        return after
    return replace(after, objective=replace(after.objective, terms=terms))


RISES = {
    "regularisation": ("adaptive", "constant"),
    "sizes": ("rising", "random"),
    "length": ("cost", "epochs"),
    "lr": ("held", "restarted", "kept"),
}
"""What words behind the sizes of `--progressive` set."""


def rise_of(text: str) -> tuple[int, int, int | None, dict[str, str]]:
    """Parses `96:160` or `96:160:4:constant:random`: start, end, stages if they are given, and options by name.

    Raises:
        ValueError: the text has another form.
    """
    words = text.split(":")
    numbers = [int(word) for word in words if word.isdecimal()]
    form = "START:END or START:END:STAGES, such as 96:160"
    if len(numbers) not in (2, 3):
        raise ValueError(f"expected {form}, got {text!r}")
    options: dict[str, str] = {}
    for word in words[len(numbers) :]:
        name = next((name for name, known in RISES.items() if word in known), None)
        if name is None or name in options:
            said = "twice, " + " and ".join((options[name], word)) if name else repr(word)
            choices = "; ".join(" or ".join(known) for known in RISES.values())
            raise ValueError(
                f"expected {form}, optionally followed by {choices}, as in 96:160:3:constant; got {said} in {text!r}"
            )
        options[name] = word
    if options.get("sizes") == "random" and (idle := [options[name] for name in ("length", "lr") if name in options]):
        raise ValueError(
            f"{' and '.join(idle)} is for stages of rising sizes, and {text!r} asks for random ones; leave one out"
        )
    start, end, *stages = numbers
    if not 1 <= start < end:
        raise ValueError(f"sizes rise from START to END, such as 96:160, got {text!r}")
    return start, end, stages[0] if stages else None, options


AUTO = "auto"
"""In place of a network or recipe: one is chosen; see `paretina.search.auto`."""

LR = "recipe.optimizer.lr"
"""Path of the learning rate; `lr` for short."""
