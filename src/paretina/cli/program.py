"""What all commands share: the program itself, its errors and exit codes, and how options and fields are read."""

import json
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from difflib import get_close_matches
from typing import Any, NoReturn

import click

from paretina.cli.once import Once
from paretina.cli.planning import TuneCommand
from paretina.measure.process import spin_briefly
from paretina.system import TerminatedError, ended_like_interrupts
from paretina.text import paragraphs, printable

Decorator = Callable[[Callable[..., Any]], click.Command]

CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 110}

INTERRUPTED, TERMINATED = 130, 143
"""Exit codes after Ctrl-C and after SIGTERM, as shells have them."""


# --- errors -------------------------------------------------------------------------------------------------------------


class FailedError(Exception):
    """Ends a command.

    Attributes:
        code: the exit code.
        more: further entries of the JSON document.
    """

    def __init__(self, message: str, code: int = 1, **more: Any) -> None:
        super().__init__(message)
        self.code = code
        self.more = more


def was_terminated(error: BaseException | None) -> bool:
    """Whether SIGTERM led to an error."""
    while error is not None and not isinstance(error, TerminatedError):
        error = error.__context__
    return error is not None


def outcome(error: BaseException) -> FailedError | None:
    """The message and exit code for an error of the user; None for a bug of this program."""
    if isinstance(error, FailedError):
        return error
    if isinstance(error, click.UsageError):
        hint = f"\ntry: {error.ctx.command_path} --help" if error.ctx else ""
        return FailedError(f"{plainly(error.format_message())}{hint}", 2)
    if isinstance(error, click.ClickException):
        return FailedError(error.format_message(), error.exit_code)
    if isinstance(error, KeyboardInterrupt | click.Abort):
        return FailedError("interrupted", INTERRUPTED)
    text = "\n".join([str(error), *getattr(error, "__notes__", ())])
    if isinstance(error, MemoryError) or is_out_of_memory(error):
        return FailedError(f"out of memory; lower batch_size or size, or raise accumulate ({text.strip() or 'no details'})")
    if said := unmatched_torch(error):
        return FailedError(said)
    if isinstance(error, OSError) and error.strerror:
        where = f": {error.filename}" if error.filename is not None else ""
        return FailedError(f"{error.strerror}{where}")
    if isinstance(error, ValueError | FloatingPointError | OSError):
        return FailedError(text, getattr(error, "exit_code", 1))
    return None


def plainly(message: str) -> str:
    """A message of click about a number, in words for people."""
    for theirs, ours in (
        ("is not a valid integer range", "is not a whole number"),
        ("is not a valid integer", "is not a whole number"),
        ("is not a valid float range", "is not a number"),
        ("is not a valid float", "is not a number"),
    ):
        message = message.replace(theirs, ours)
    return message


def unmatched_torch(error: BaseException) -> str:
    """What to do where torch and torchvision were installed from different places; "" for any other error."""
    if not (isinstance(error, RuntimeError) and "operator torchvision::" in str(error)):
        return ""
    return (
        f"torch and torchvision do not belong together ({error}); install both from one place: "
        "pip install --force-reinstall torch torchvision"
    )


def is_out_of_memory(error: BaseException) -> bool:
    return isinstance(error, RuntimeError) and bool(re.search("out of memory|can't allocate memory", str(error)))


# --- commands -----------------------------------------------------------------------------------------------------------


class Suggesting(click.Group):
    """Suggests the closest command for a misspelt one."""

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        if args and self.get_command(ctx, args[0]) is None and not args[0].startswith("-"):
            known = self.list_commands(ctx)
            close = get_close_matches(args[0], known, n=1)
            hint = f"did you mean {close[0]!r}?" if close else f"there are: {', '.join(known)}"
            raise click.UsageError(f"there is no command {args[0]!r}; {hint}", ctx)
        return super().resolve_command(ctx, args)


class Program(Suggesting):
    """The program: every error becomes one sentence, an exit code and, if asked for, a JSON document."""

    def main(self, args: Sequence[str] | None = None, *rest: Any, standalone_mode: bool = True, **extra: Any) -> Any:
        if not standalone_mode:
            return super().main(args, *rest, standalone_mode=False, **extra)  # type: ignore[call-overload]
        given = list(sys.argv[1:] if args is None else args)
        try:
            with ended_like_interrupts():
                code = super().main(given, *rest, standalone_mode=False, **extra)  # type: ignore[call-overload]
        except getattr(click.exceptions, "NoArgsIsHelpError", ()) as error:  # its text is the help
            error.show()
            sys.exit(2)
        except (Exception, KeyboardInterrupt) as error:
            found = outcome(error)
            if "--json" in given:
                print_json({"error": str(found), **found.more} if found else {"error": f"{type(error).__name__}: {error}"})
            if found is None:
                raise
            click.echo(paragraphs(f"error: {found}"), err=True)
            sys.exit(TERMINATED if found.code == INTERRUPTED and was_terminated(error) else found.code)
        sys.exit(code if isinstance(code, int) else 0)


OWN_WAYS = {
    ("finetune", "resume"): "resume an interrupted fine-tuning with: paretina train --resume RUN",
    ("ablate", "resume"): "run the same command again to resume an interrupted study",
    ("finetune", "pretrained"): "MODEL gives the initial weights",
    ("finetune", "weights"): "MODEL gives the initial weights",
    ("finetune", "model"): "MODEL is the network",
    ("frontier", "model"): "--models names the networks",
}
"""By command and name: what replaces an option of `paretina train` that the command does not have."""


def own_way(ctx: click.Context | None, name: str) -> str | None:
    """What a command has instead of an option or field of that name."""
    return None if ctx is None else OWN_WAYS.get((str(ctx.info_name), name.replace("-", "_")))


class Explaining(Once):
    """Explains `--epochs 30` as `epochs=30`, since fields are not options."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        try:
            return super().parse_args(ctx, args)
        except click.NoSuchOption as error:
            elsewhere, known_path = early_or_late()
            name = error.option_name.lstrip("-").replace("-", "_")
            if own := own_way(ctx, name):
                raise click.UsageError(f"{error.option_name} is not an option of `{ctx.command_path}`; {own}", ctx) from None
            if elsewhere.get(name, "").startswith("--"):
                raise click.UsageError(f"{error.option_name} is not an option; write {elsewhere[name]}", ctx) from None
            if error.possibilities and name in ("data", "edits", "model", "plan", "recipe"):  # no fields but whole parts
                raise error from None
            try:
                known_path(name)
            except ValueError as reason:
                if error.possibilities and name not in elsewhere:
                    raise error from None
                raise click.UsageError(f"{error.option_name} is not an option, and {reason}", ctx) from None
            raise click.UsageError(f"{error.option_name} is not an option; write it as a field: {name}=VALUE", ctx) from None


class FieldCommand(Explaining, TuneCommand):
    """A command with fields and `--tune`."""


def early_or_late() -> tuple[Mapping[str, str], Callable[[str], str]]:
    """Other tools' names of our fields, and a function that finds a field's path; without torch if the outline is current."""
    from paretina.verbs.outline import read

    outline = read()
    if outline is None:
        from paretina.verbs import elsewhere, known_path

        return elsewhere(), known_path
    from paretina.cli.slips import full_path

    return outline["elsewhere"], full_path


def example(text: str) -> str:
    return "\b\nExample:\n  " + text.replace("\n", "\n  ")


def command(group: click.Group, usage: str, cls: type[click.Command] = Once, **settings: Any) -> Decorator:
    """A command with `--json` and an example under its help."""

    def wrap(function: Callable[..., Any]) -> click.Command:
        made = group.command(cls=cls, epilog=example(usage), context_settings=CONTEXT, **settings)(function)
        made.params.append(click.Option(["--json", "as_json"], is_flag=True, help="Print one JSON document."))
        return made

    return wrap


def misuse(message: str) -> NoReturn:
    raise click.UsageError(message, click.get_current_context(silent=True))


def print_json(value: Any) -> None:
    click.echo(json.dumps(value, indent=2))


def print_lines(lines: Iterable[str], err: bool = False) -> None:
    """Prints lines of text; line breaks in names are escaped."""
    for line in lines:
        click.echo(printable(line), err=err)


def note(text: str) -> None:
    from paretina.progress import noted

    click.echo(noted(text), err=True)


@contextmanager
def waiting(text: str) -> Iterator[None]:
    """Shows on a terminal what is being done while it takes a while."""
    from paretina.progress import Progress

    with Progress() as progress:
        progress.doing(text)
        yield


# --- options and fields -------------------------------------------------------------------------------------------------


def taken_apart(fields: Sequence[str]) -> dict[str, str]:
    from paretina.train.fields import assignment

    found: dict[str, str] = {}
    for text in fields:
        try:
            name, value = assignment(text)
        except ValueError as error:
            misuse(f"{error}; fields look like epochs=30, and options come with two dashes")
        if own := own_way(click.get_current_context(silent=True), name):
            misuse(f"{name} is not a field; {own}")
        if name in found:
            misuse(f"{name} is given twice, as {found[name]} and as {value}; leave one out")
        found[name] = value
    return found


def duration(text: str, option: str = "--time-limit") -> float:
    """Seconds of "90s", "10m" or "1h30m"; a number without a unit is rejected."""
    units = {"s": 1, "m": 60, "h": 3600, "d": 86400}
    parts = re.findall(r"([0-9.]+)([smhd])", text)
    try:
        if parts and "".join(map("".join, parts)) == text:
            seconds = sum(float(number) * units[unit] for number, unit in parts)
        else:
            number = float(text)
            if not 0 < number < float("inf"):
                raise ValueError(text)
            misuse(
                f"{option} {text} has no unit; write {number:g}s for seconds, {number:g}m for minutes or {number:g}h for hours"
            )
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < float("inf"):
        misuse(f"{option} must be a time above 0, such as 90s, 10m or 1h30m, got {text!r}")
    return seconds


# --- the program --------------------------------------------------------------------------------------------------------


@click.group(
    cls=Program,
    context_settings=CONTEXT,
    epilog=example("paretina data check photos/\nparetina train photos/ --model efficientnet_lite0"),
)
@click.version_option(package_name="paretina")
def main() -> None:
    """Train image classifiers with the best accuracy for their cost, and measure both."""
    spin_briefly()
