"""What all commands share: the program itself, its errors and exit codes, and how options and fields are read."""

import functools
import json
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from difflib import get_close_matches
from pathlib import Path
from typing import Any, NoReturn, cast

import click

from paretina.cli.once import Once
from paretina.cli.planning import BEHIND, TuneCommand
from paretina.measure.process import spin_briefly
from paretina.system import TerminatedError, ended_like_interrupts, lost_worker
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
    if isinstance(error, click.MissingParameter) and error.param is not None and isinstance(error.param.type, click.Choice):
        choices = ", ".join(map(str, error.param.type.choices))
        name = error.param.human_readable_name if error.param.param_type_name == "option" else (error.param.name or "")
        hint = f"\ntry: {error.ctx.command_path} --help" if error.ctx else ""
        return FailedError(f"name the {name}: {choices}{hint}", 2)
    if isinstance(error, click.UsageError):
        hint = f"\ntry: {error.ctx.command_path} --help" if error.ctx else ""
        return FailedError(f"{plainly(error.format_message())}{hint}", 2)
    if isinstance(error, click.ClickException):
        return FailedError(error.format_message(), error.exit_code)
    if isinstance(error, KeyboardInterrupt | click.Abort):
        return FailedError("interrupted", INTERRUPTED)
    text = "\n".join([str(error), *getattr(error, "__notes__", ())])
    if isinstance(error, MemoryError) or is_out_of_memory(error):
        helps = "lower batch_size or size, raise accumulate, or take precision=bfloat16"
        return FailedError(f"out of memory; {helps} ({text.strip() or 'no details'})")
    if said := unmatched_torch(error) or lost_worker(error):
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
        if args and self.get_command(ctx, args[0]) is None and not args[0].startswith("-") and not ctx.resilient_parsing:
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
        with speaking(given):
            return self.carried_out(given, *rest, **extra)

    def carried_out(self, given: list[str], *rest: Any, **extra: Any) -> NoReturn:
        """Runs a command and ends the process."""
        try:
            with ended_like_interrupts():
                code = super().main(given, *rest, standalone_mode=False, **extra)  # type: ignore[call-overload]
        except getattr(click.exceptions, "NoArgsIsHelpError", ()) as error:  # its text is the help
            error.show()
            sys.exit(2)
        except (Exception, KeyboardInterrupt) as error:
            found = outcome(error)
            if "--json" in given or speech(given) == "json":
                said = {"error": str(found), **found.more} if found else {"error": f"{type(error).__name__}: {error}"}
                print_json(said, "error")
            if found is None:
                raise
            if speech(given) != "json":
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


def print_json(value: Any, event: str = "result") -> None:
    """Prints the document that a command ends with; with `--log-format json` as an event on one line.

    Args:
        event: "result" or "error".
    """
    if speech() == "text" or speech() == "quiet":
        click.echo(json.dumps(value, indent=2))
        return
    from paretina.progress import json_line

    click.echo(json_line({"event": event, **value} if event == "error" else {"event": event, "result": value}))


def print_lines(lines: Iterable[str], err: bool = False) -> None:
    """Prints lines of text; line breaks in names are escaped.

    Args:
        err: as notes, to standard error.
    """
    for line in lines:
        if err:
            remark(printable(line))
        else:
            click.echo(printable(line))


def note(text: str) -> None:
    from paretina.progress import noted

    remark(noted(text))


def remark(text: str) -> None:
    """Prints a line to standard error: as an event with `--log-format json`, and not at all with `--quiet`."""
    if speech() == "json":
        from paretina.progress import json_line, note_event

        click.echo(json_line(note_event(text)), err=True)
    elif speech() == "text":
        click.echo(text, err=True)


# --- how it speaks ------------------------------------------------------------------------------------------------------


FORMATS = ("text", "json")


def speech(given: Sequence[str] | None = None) -> str:
    """How progress and notes are printed: "text", "quiet" or "json"; see `paretina.progress.SPEECH`.

    Args:
        given: the arguments of the program, which say it before they are parsed; default: as it was set.
    """
    if given is None:
        progress = sys.modules.get("paretina.progress")  # where it is not imported, nothing else was set
        return "text" if progress is None else str(progress.SPEECH.get())
    told = [word for word in given if word == "--log-format=json"]
    told += [word for word, before in zip(given[1:], given, strict=False) if (before, word) == ("--log-format", "json")]
    return "json" if told else "quiet" if {"-q", "--quiet"} & {*given} else "text"


@contextmanager
def speaking(given: Sequence[str]) -> Iterator[None]:
    """Progress and notes are printed inside as the arguments of the program say."""
    if speech(given) == speech() == "text":
        yield
        return
    from paretina.progress import SPEECH

    token = SPEECH.set(cast(Any, speech(given)))
    try:
        yield
    finally:
        SPEECH.reset(token)


def speech_options(group: click.Group, names: Iterable[str]) -> None:
    """Gives commands `--quiet` and `--log-format`, which are handled here alone; they run as with `--json` for JSON."""
    for name in names:
        made = group.commands[name]
        if isinstance(made, click.Group):
            speech_options(made, made.commands)
            continue
        made.params += [
            click.Option(["-q", "--quiet"], is_flag=True, help="Print only errors and the result."),
            click.Option(
                ["--log-format"],
                type=click.Choice(FORMATS),
                default="text",
                help="json: progress and notes as one JSON object per line on standard error, the result on standard output."
                "  [text]",
            ),
        ]
        made.callback = spoken(cast(Callable[..., Any], made.callback))


def spoken(callback: Callable[..., Any]) -> Callable[..., Any]:
    """The function of a command, without the options of `speech_options`."""

    @functools.wraps(callback)
    def run(*, quiet: bool, log_format: str, **given: Any) -> Any:
        if log_format == "json":
            if quiet:
                misuse("--quiet and --log-format json exclude each other; leave one out")
            given["as_json"] = True
        return callback(**given)

    return run


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
            behind = click.get_current_context().meta.get(BEHIND)
            if behind is not None and (text == behind or Path(text).exists()):
                misuse(f"--tune takes eager or full, or nothing behind it, got {behind!r}")
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


LIBRARIES = ("torch", "torchvision", "numpy", "safetensors", "pillow")
OPTIONAL = (
    "timm",
    "onnx",
    "onnxruntime",
    "openvino",
    "nncf",
    "optuna",
    "ray",
    "fastapi",
    "tensorboard",
    "mlflow-skinny",
    "wandb",
)


def print_versions(ctx: click.Context) -> NoReturn:
    """Prints the versions of everything that figures may depend on, as the packages say; nothing is imported."""
    import platform
    from importlib.metadata import version

    click.echo(f"paretina, version {version('paretina')}")
    click.echo(f"python {platform.python_version()} on {platform.system()} {platform.machine()}")
    for names in (LIBRARIES, OPTIONAL):
        if found := [f"{name} {installed}" for name in names if (installed := version_of(name))]:
            click.echo(", ".join(found))
    ctx.exit()


def version_of(package: str) -> str:
    """The installed version; "" if it is not installed."""
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version(package)
    except PackageNotFoundError:
        return ""


# --- the program --------------------------------------------------------------------------------------------------------


@click.group(
    cls=Program,
    context_settings=CONTEXT,
    epilog=example("paretina data check photos/\nparetina train photos/ --model efficientnet_lite0"),
)
@click.option(
    "--version",
    is_flag=True,
    expose_value=False,
    is_eager=True,
    callback=lambda ctx, param, value: print_versions(ctx) if value and not ctx.resilient_parsing else None,
    help="Show the versions of this program and of the libraries that it uses, and exit.",
)
def main() -> None:
    """Train image classifiers with the best accuracy for their cost, and measure both."""
    spin_briefly()
