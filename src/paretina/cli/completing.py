"""The command `paretina completion`, and what each argument and option is completed with.

Names and fields come from `outline.json`, so that nothing heavy is imported while somebody types.
"""

import json
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import click
from click.shell_completion import BashComplete, CompletionItem, add_completion_class, get_completion_class

from paretina.cli.once import OUTLINE, Once
from paretina.cli.program import CONTEXT, example, main

SHELLS = ("bash", "zsh", "fish")

HOW = {
    "bash": """for all later shells, with bash 4.4 or newer:
#   echo 'eval "$(paretina completion bash)"' >> ~/.bashrc""",
    "zsh": """for all later shells, behind compinit:
#   echo 'eval "$(paretina completion zsh)"' >> ~/.zshrc""",
    "fish": """for all later shells:
#   paretina completion fish > ~/.config/fish/completions/paretina.fish""",
}

Words = Callable[[dict[str, Any], str], Iterable[str]]
"""The words for what was typed so far, from the outline."""


@main.command(
    cls=Once,
    epilog=example("paretina completion bash"),
    context_settings=CONTEXT,
    short_help="Print the script that completes commands in a shell.",
)
@click.argument("shell", type=click.Choice(SHELLS))
def completion(shell: str) -> None:
    """Print a script for SHELL that completes commands, options, names, fields and files, with how to install it above it."""
    kind = get_completion_class(shell)
    assert kind is not None
    made = kind(main, {}, "paretina", "_PARETINA_COMPLETE")
    text = made.source_template % made.source_vars()  # not `source()`, which asks for the version of another shell's program
    head, rest = ("#compdef paretina\n", text.removeprefix("#compdef paretina\n")) if shell == "zsh" else ("", text)
    click.echo(f"{head}# Completes the command paretina in {shell}. To install it {HOW[shell]}\n\n{rest}", nl=False)


class PlainBash(BashComplete):
    """Bash takes `epochs=30` for three words, and would put a space behind `epochs=`."""

    name = "bash"
    source_template = BashComplete.source_template.replace(
        "COMPREPLY+=($value)", 'COMPREPLY+=("$value")\n            [[ $value == *[=.] ]] && compopt -o nospace'
    )

    def get_completion_args(self) -> tuple[list[str], str]:
        args, incomplete = super().get_completion_args()
        words = [*args, incomplete]
        joined: list[str] = []
        for word in words:
            if joined and (word == "=" or joined[-1].endswith("=")):
                joined[-1] += word
            else:
                joined.append(word)
        self.typed = joined[-1]
        return joined[:-1], joined[-1]

    def format_completion(self, item: CompletionItem) -> str:
        behind = self.typed.rpartition("=")[0] if "=" in self.typed else ""
        value = item.value.removeprefix(f"{behind}=") if behind else item.value
        return f"{item.type},{value}"


add_completion_class(PlainBash)


class Completed(click.types.StringParamType):
    """Text that is completed with words, and with files where there are none.

    Attributes:
        words: for what was typed so far.
        listed: whether several are given, with commas.
        files: whether it can be a file too.
    """

    def __init__(self, words: Words, listed: bool = False, files: bool = False) -> None:
        self.words, self.listed, self.files = words, listed, files

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        before, comma, last = incomplete.rpartition(",") if self.listed else ("", "", incomplete)
        found = [f"{before}{comma}{word}" for word in self.words(outline(), last) if word.startswith(last)]
        return [*([CompletionItem(incomplete, type="file")] if self.files else []), *map(CompletionItem, found)]


def outline() -> dict[str, Any]:
    """The outline as it was last made; a network that was added since is missing, which only completion does not know."""
    found: dict[str, Any] = json.loads(OUTLINE.read_text("utf-8"))
    return found


# --- words --------------------------------------------------------------------------------------------------------------------


def of(*names: str, more: Iterable[str] = ()) -> Words:
    """The names in parts of the outline, and further ones."""
    return lambda known, _: [*more, *(word for name in names for word in known[name])]


def fields(known: dict[str, Any], typed: str) -> Iterator[str]:
    """Fields that can be set, `name=`, the parts of them, `name.`, and behind `=` the values that a field takes."""
    specs = known["specs"]
    roots = [key for name in ("Recipe", "Plan", "Blueprint") for key in specs if key.endswith(f".{name}")]
    path, sign, _ = typed.partition("=")
    steps = path.split(".")
    if steps[0] in ("recipe", "plan", "model") and len(steps) > 1:
        roots, steps = [roots[("recipe", "plan", "model").index(steps[0])]], steps[1:]
    found, front = roots, path[: len(path) - len(steps[-1])]
    for step in steps[:-1]:
        found = [inner for key in found for inner in inside(specs, key, step)]
    if sign:
        for key in found:
            if steps[-1] in specs[key]["fields"]:
                yield from (f"{path}={value}" for value in values(specs, specs[key]["fields"][steps[-1]][0]))
        return
    for key in found:
        for name, (hint, *_) in specs[key]["fields"].items():
            yield f"{front}{name}="
            if any(True for _ in specs_of(specs, hint)):
                yield f"{front}{name}."
    if not front:
        yield from ("data=", "model=", "recipe=", "weights=", "edits.")


def inside(specs: dict[str, Any], key: str, step: str) -> Iterator[str]:
    """The specs that a step of a path leads to: those that a field may hold, or one of a kind by its name."""
    if key.endswith(f".{step}"):
        yield key
    yield from specs_of(specs, specs[key]["fields"].get(step, [None])[0])


def specs_of(specs: dict[str, Any], hint: Any) -> Iterator[str]:
    """The keys of the specs that a field of a type may hold, all of a kind."""
    if not isinstance(hint, dict):
        return
    ((sort, inner),) = hint.items()
    if sort == "spec":
        yield from kinds_of(specs, inner) if specs[inner]["kind"] else (inner,)
    elif sort in ("tuple", "any"):
        for each in inner:
            yield from specs_of(specs, each)


def kinds_of(specs: dict[str, Any], base: str) -> Iterator[str]:
    for key, entry in specs.items():
        if entry["base"] == base:
            if not entry["abstract"] and not entry["kind"]:
                yield key
            yield from kinds_of(specs, key)


def values(specs: dict[str, Any], hint: Any) -> Iterator[str]:
    """What a field of a type takes: on and off, words, or the names of a kind."""
    if hint == "bool":
        yield from ("on", "off")
    elif hint == "None":
        yield "none"
    elif isinstance(hint, dict):
        ((sort, inner),) = hint.items()
        if sort == "literal":
            yield from map(str, inner)
        elif sort == "any":
            for each in inner:
                yield from values(specs, each)
        elif sort == "spec" and specs[inner]["kind"]:
            yield from (key.rpartition(".")[2] for key in kinds_of(specs, inner))


def data_and_fields(known: dict[str, Any], typed: str) -> Iterator[str]:
    yield from known["sources"]
    yield from fields(known, typed)


DEVICES = ("auto", "cpu", "cuda", "mps")
NETWORKS = Completed(of("networks", more=("auto",)), files=True)
NETWORK_LIST = Completed(of("networks"), listed=True, files=True)
TRACKERS = ("tensorboard", "mlflow", "wandb")


def precisions(known: dict[str, Any], _: str) -> Iterable[str]:
    return dict.fromkeys(name for _, names in known["formats"].values() for name in names)


def columns(known: dict[str, Any], _: str) -> Iterable[str]:
    from paretina.report.runs import COLUMNS

    return COLUMNS


def choices(known: dict[str, Any], typed: str) -> Iterable[str]:
    return [f"{name}=" for name in columns(known, typed)]


def families(known: dict[str, Any], _: str) -> Iterable[str]:
    return dict.fromkeys(network["family"] for network in known["networks"].values())


USUAL: dict[str, Completed] = {
    "source": Completed(data_and_fields, files=True),
    "rest": Completed(data_and_fields, files=True),
    "fields": Completed(fields, files=True),
    "data": Completed(of("sources"), files=True),
    "val": Completed(of("sources"), files=True),
    "model": NETWORKS,
    "names": NETWORKS,
    "models": NETWORK_LIST,
    "rivals": NETWORK_LIST,
    "network": NETWORKS,
    "base": NETWORKS,
    "teacher": NETWORKS,
    "pattern": Completed(of("networks")),
    "family": Completed(families),
    "recipe": Completed(of("recipes", more=("auto",))),
    "recipes": Completed(of("recipes"), listed=True),
    "weights": Completed(lambda known, _: ("auto", "hub", "none", "timm:", "torchvision:"), files=True),
    "device": Completed(lambda known, _: DEVICES),
    "to": Completed(of("formats")),
    "precision": Completed(precisions),
    "method": Completed(of("maps", more=("auto",))),
    "importance": Completed(of("importances")),
    "corruptions": Completed(of("corruptions"), listed=True),
    "log_to": Completed(lambda known, _: TRACKERS, listed=True),
    "switches": Completed(fields),
    "additions": Completed(fields),
    "sort": Completed(columns),
    "filters": Completed(choices),
    "compare": Completed(lambda known, _: (), files=True),
}
"""What completes a parameter of plain text, by its name."""

OWN: dict[tuple[str, str], Completed] = {
    ("export-weights", "to"): Completed(of("libraries")),
    ("ablate", "recipe"): Completed(of("recipes")),
    ("prune", "cost"): Completed(of("lowered")),
    ("import", "source"): NETWORKS,
    ("evaluate", "source"): Completed(of("sources"), files=True),
    ("check", "source"): Completed(of("sources"), files=True),
    ("probe", "source"): Completed(of("sources"), files=True),
}
"""The same by command and name, where they differ."""


def complete(group: click.Group) -> None:
    """Sets what completes each parameter of the commands of a group."""
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            complete(command)
            continue
        for param in command.params:
            found = OWN.get((name, str(param.name)), USUAL.get(str(param.name)))
            if found is not None and type(param.type) is click.types.StringParamType:
                param.type = found
