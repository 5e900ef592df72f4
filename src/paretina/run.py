"""Reads and writes run directories.

`asked.json` holds the settings (written first, never changed), `log.jsonl` the events (append only), `state/` what an
interrupted run needs to continue; `result.json` and `model.safetensors` are the results. Reports, tables and frontiers read
run directories and nothing else.
"""

import html
import json
import os
import re
import shlex
import shutil
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import filelock
from safetensors import SafetensorError


@contextmanager
def written(path: Path) -> Iterator[None]:
    """Names a file in the error of writing to it: the system does not, once the file is open, nor does safetensors.

    Raises:
        OSError: with the number and the name.
    """
    try:
        yield
    except OSError as error:
        if error.filename is None and error.errno is not None:
            raise OSError(error.errno, error.strerror, str(path)) from error
        raise
    except SafetensorError as error:
        if found := re.search(r"\(os error (\d+)\)|\bcode: (\d+)", str(error)):
            number = int(found[1] or found[2])
            raise OSError(number, os.strerror(number), str(path)) from error
        raise


def write_aside(path: Path, data: bytes) -> None:
    """Writes a file atomically: at every moment it is either the whole old one or the whole new one.

    Raises:
        OSError: it cannot be written, and is as it was; the error names it.
    """
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with written(path):
            with open(aside, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            aside.replace(path)
    except OSError:
        with suppress(OSError):  # a part of a file takes room that may be what is missing
            aside.unlink()
        raise
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Makes a rename inside a folder survive a power cut; a no-op where folders cannot be synced."""
    try:
        handle = os.open(folder, os.O_RDONLY)
    except OSError:
        return
    try:
        os.fsync(handle)
    except OSError:
        pass
    finally:
        os.close(handle)


OF_RUNS = ("train", "finetune")
"""The verbs whose directories, with an `asked.json` in them, are runs; those of studies contain runs."""

OF_FOLDS = "folds.json"
"""The file of a cross-validation, in a folder with a run for each fold; `paretina train --resume` continues it."""

OF_STAGES = "stages.json"
"""The file of a training in two stages, in the directory of the run of the second; `paretina train --resume` continues it."""

OF_PERIODS = "asked-periods.json"
"""What was asked of a distillation in periods, in the directory of the last; `paretina train --resume` continues it."""

OF_STUDIES = ("frontier", "scale", "search", "transfer")
"""The verbs of studies that have an `asked.json` and are continued by `--resume`."""


def check_run(path: Path, asked: Mapping[str, Any]) -> None:
    """Checks that a description is that of a run.

    Raises:
        ValueError: it belongs to something else, which is continued and reported by its own command.
    """
    verb = asked.get("verb", "train")
    if verb not in OF_RUNS:
        resume = f"; to continue it: paretina {verb} --resume {path}" if verb in OF_STUDIES else ""
        raise ValueError(f"{path} is not a run but belongs to `paretina {verb}`{resume}")


def held_in(path: Path) -> str:
    """What a directory holds and how it is continued: "a search already; ... go on with it: paretina search --resume X".

    Returns:
        "" where nothing in it is known.
    """
    if (path / "study.json").exists():
        return "a study of `paretina ablate` already; choose another --output, or go on with it by the command that began it"
    if (path / "asked-selftraining.json").exists():
        return "a self-training already; choose another --output, or go on with it by the command that began it"
    if (path / OF_FOLDS).exists():
        what, verb = "folds", "train"
    elif (path / OF_STAGES).exists():
        what, verb = "a training in two stages", "train"
    elif (path / OF_PERIODS).exists():
        what, verb = "a distillation in periods", "train"
    elif (path / "asked.json").exists():
        try:
            verb = json.loads((path / "asked.json").read_text()).get("verb", "train")
        except (ValueError, AttributeError):
            return "something already, whose asked.json cannot be read; choose another --output"
        if verb not in (*OF_RUNS, *OF_STUDIES):
            return f"something of `paretina {verb}` already; choose another --output"
        what, verb = (
            {"frontier": "a frontier", "scale": "a scaling", "search": "a search", "transfer": "a transfer"}.get(verb, "a run"),
            (verb if verb in OF_STUDIES else "train"),
        )
    else:
        return ""
    return f"{what} already; choose another --output, or go on with it: {shlex.join(['paretina', verb, '--resume', str(path)])}"


def folds_begun(path: Path) -> list[Path]:
    """The runs of a cross-validation that were begun, the first fold first; empty for any other directory."""
    if not (path / OF_FOLDS).is_file():
        return []
    begun = [each.parent for each in path.glob("fold-*/asked.json") if each.parent.name.removeprefix("fold-").isdecimal()]
    return sorted(begun, key=lambda each: int(each.name.removeprefix("fold-")))


def folds_result(path: Path) -> dict[str, Any] | None:
    """The result of a cross-validation; None while it is unfinished, or where it cannot be read."""
    try:
        found = json.loads((path / "result.json").read_text())
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None


def folds_figure(path: Path) -> str:
    """The figure of a cross-validation and where it stands: "top-1 63.2 % (55.0 to 70.1) on all 180 pictures, in ...".

    Returns:
        "" while there is none.
    """
    found = folds_result(path) or {}
    title, unit = found.get("title") or found.get("figure"), found.get("unit", "%")
    digits, sign = (1, f" {unit}") if unit else (3, "")
    pooled, between = found.get("pooled"), found.get("between_folds")
    with suppress(KeyError, TypeError, ValueError):
        if pooled:
            value, low, high = (f"{pooled[name]:.{digits}f}" for name in ("value", "low", "high"))
            where = f"on all {found['pictures']:,} pictures"
        elif between:
            value, low, high = (f"{between[name]:.{digits}f}" for name in ("mean", "lowest", "highest"))
            where = f"as the mean of {len(found['folds'])} folds"
        else:
            return ""
        return f"{title} {value}{sign} ({low} to {high}) {where}, in {path / 'result.json'}"
    return ""


def resumed_by(path: Path, place: str = "") -> str:
    """The command that continues a run: its own, or that of the folds, the stages or the study that it is a part of.

    Args:
        place: where the run is now; default: where it was.
    """
    for folder in (path.parent, path.parent.parent):
        if any((folder / name).exists() for name in (OF_FOLDS, OF_STAGES, OF_PERIODS)):
            return shlex.join(["paretina", "train", "--resume", place or str(folder)])
        with suppress(OSError, ValueError, AttributeError):
            verb = json.loads((folder / "asked.json").read_text()).get("verb")
            if verb in OF_STUDIES:
                return shlex.join(["paretina", verb, "--resume", place or str(folder)])
    return shlex.join(["paretina", "train", "--resume", place or str(path)])


def model_in(path: Path, hint: str = "") -> Path:
    """The model file of that name, or the one in the directory of a finished run: every command reads both.

    Args:
        hint: appended to the message if there is nothing of that name.

    Raises:
        ValueError: there is none.
    """
    if (path / "model.safetensors").is_file():
        return path / "model.safetensors"
    if (path / "asked.json").is_file():
        Run(path).asked()
        raise ValueError(f"{path} is not finished, so there is no model in it; continue with: paretina train --resume {path}")
    if folds_begun(path):
        raise ValueError(
            f"the cross-validation {path} is not finished, so there is no model in it; continue with: paretina train --resume "
            f"{path}"
        )
    if path.is_dir():
        raise ValueError(f"there is no model file in the directory {path}")
    if not path.is_file():
        raise ValueError(f"there is no model file {path}{hint}")
    return path


def free_folder(parent: Path, name: str) -> Path:
    """Creates and returns the first of name-1, name-2 ... that does not exist yet."""
    number = 1
    while True:
        path = parent / f"{name}-{number}"
        try:
            path.mkdir(parents=True)
            return path
        except FileExistsError:
            number += 1


@contextmanager
def not_left_empty(path: Path) -> Iterator[None]:
    """Removes a directory that an error leaves empty, so that what was refused leaves nothing behind."""
    try:
        yield
    except BaseException:
        with suppress(OSError):  # it is not there, or not empty
            path.rmdir()
            path.parent.rmdir()
        raise


def in_use(path: Path) -> str:
    """What to do where another process works on a run right now, as a sentence; "" where none does. Changes nothing."""
    if not (path / ".lock").exists():
        return ""
    lock = filelock.FileLock(path / ".lock", timeout=0)
    try:
        lock.acquire()
    except filelock.Timeout:
        return (
            f"another process is training in {path} right now; choose another --output, or wait until it is done, or stop it "
            f"and then continue with --resume {path}"
        )
    except OSError:
        return ""
    lock.release()
    return ""


class TakenError(ValueError):
    """Another process is using the run, or has just started it."""


def command_line() -> str:
    """The command line of this process, as it can be typed again; "" outside of the command line tool."""
    program = Path(sys.argv[0]) if sys.argv else Path()
    ours = "paretina" in program.name or (program.name == "__main__.py" and program.parent.name == "paretina")
    return shlex.join(["paretina", *sys.argv[1:]]) if ours else ""


class Run:
    """A run directory.

    Attributes:
        path: the directory.
        attempt: 0 for the first process, one more after each resume.
    """

    def __init__(self, path: Path, attempt: int = 0) -> None:
        self.path = path
        self.attempt = attempt

    @classmethod
    def create(cls, path: Path, asked: dict[str, Any]) -> "Run":
        """Creates the directory and writes `asked.json`.

        Raises:
            TakenError: it already contains a run, or another process is training in it.
        """
        if (path / "asked.json").exists():
            if in_use(path):
                raise TakenError(in_use(path))
            raise TakenError(f"{path} already contains a run; choose another --output, or continue with --resume {path}")
        path.mkdir(parents=True, exist_ok=True)
        write_aside(path / "asked.json", json.dumps(asked, indent=2).encode())
        return cls(path)

    @classmethod
    def open(cls, path: Path) -> "Run":
        """Opens an existing run directory.

        Raises:
            ValueError: it contains no run.
        """
        run = cls(path)
        run.asked()
        run.attempt = max((line.get("attempt", 0) for line in run.lines()), default=-1) + 1
        return run

    @contextmanager
    def held(self) -> Iterator[None]:
        """Locks the run for this process; the lock of a process that dies is released, however it dies.

        Raises:
            TakenError: another process is using it.
        """
        lock = filelock.FileLock(self.path / ".lock", timeout=0)
        try:
            lock.acquire()
        except filelock.Timeout:
            raise TakenError(
                f"another process is using {self.path}; wait until it is done, or stop it, and then continue with --resume"
            ) from None
        try:
            yield
            (self.path / ".lock").unlink(missing_ok=True)  # what an error leaves behind does no harm
        finally:
            lock.release()

    def point(self) -> str:
        """Where it continues, as text."""
        state = self.last_state()
        return f"continues after update {int(state.name)}" if state else "no state was saved yet, so it starts over"

    def asked(self) -> dict[str, Any]:
        try:
            asked = json.loads((self.path / "asked.json").read_text())
        except (FileNotFoundError, NotADirectoryError):
            missing = "contains no run: there is no asked.json in it" if self.path.exists() else "is not there"
            raise ValueError(f"{self.path} {missing}") from None
        except (json.JSONDecodeError, UnicodeDecodeError) as error:
            raise ValueError(f"{self.path / 'asked.json'} cannot be read: {error}") from None
        if not isinstance(asked, dict):
            raise ValueError(f"{self.path / 'asked.json'} does not describe a run")
        check_run(self.path, asked)
        return asked

    def log(self, event: str, step: int, **values: Any) -> None:
        """Appends a line; a line that was cut off when the process was killed is ended first."""
        line = {"event": event, "step": step, "attempt": self.attempt, **values}
        with written(self.path / "log.jsonl"), open(self.path / "log.jsonl", "a+b") as file:
            file.seek(0, os.SEEK_END)
            if file.tell():
                file.seek(-1, os.SEEK_END)
                if file.read(1) != b"\n":
                    file.write(b"\n")
            file.write(json.dumps(line).encode() + b"\n")

    def lines(self) -> Iterator[dict[str, Any]]:
        """Every complete line, of all attempts."""
        try:
            text = (self.path / "log.jsonl").read_text(errors="replace")
        except FileNotFoundError:
            return
        for line in text.splitlines():
            try:
                value = json.loads(line)
            except json.JSONDecodeError:
                continue
            if isinstance(value, dict):
                yield value

    def write(self, name: str, value: Any) -> None:
        """Writes a JSON file of the run."""
        write_aside(self.path / name, json.dumps(value, indent=2).encode())

    def result(self) -> dict[str, Any] | None:
        """The result, or None while the run is unfinished."""
        path = self.path / "result.json"
        return json.loads(path.read_text()) if path.exists() else None

    # --- notebooks ---------------------------------------------------------------------------------------------------

    def _repr_html_(self) -> str:
        """The report, as notebooks show it: in a frame of its own; a line that says so while there is none."""
        try:
            page = (self.path / "report.html").read_text("utf-8")
        except OSError:
            return f"<p>run <code>{html.escape(str(self.path))}</code>: there is no report yet</p>"
        frame = "width:100%;height:40em;border:1px solid #8884"
        return f'<iframe sandbox="allow-scripts" style="{frame}" srcdoc="{html.escape(page, quote=True)}"></iframe>'

    def show(self) -> None:
        """Shows the report in a notebook; elsewhere prints where it is."""
        if "IPython" in sys.modules and sys.modules["IPython"].get_ipython() is not None:
            from IPython.display import display

            display(self)
        else:
            print(
                self.path / "report.html" if (self.path / "report.html").is_file() else f"{self.path}: there is no report yet"
            )

    # --- state -------------------------------------------------------------------------------------------------------

    @contextmanager
    def new_state(self, step: int) -> Iterator[Path]:
        """A folder to write the state of a step into; it gets its name when it is complete, then older ones are removed.

        One that an error leaves incomplete is removed, since it takes room that may be what is missing.
        """
        folder = self.path / "state"
        folder.mkdir(exist_ok=True)
        aside, final = folder / f".{step:09d}.{os.getpid()}", folder / f"{step:09d}"
        shutil.rmtree(aside, ignore_errors=True)
        aside.mkdir()
        try:
            yield aside
            for file in aside.iterdir():
                with written(file), open(file, "r+b") as handle:  # Windows syncs no file that is open for reading alone
                    os.fsync(handle.fileno())
        except Exception:
            shutil.rmtree(aside, ignore_errors=True)
            raise
        sync_folder(aside)
        if final.exists():  # it is complete, or it would not have its name; removing it would leave a moment without any state
            shutil.rmtree(aside)
        else:
            aside.rename(final)
        sync_folder(folder)
        for old in folder.iterdir():
            if old != final:
                shutil.rmtree(old, ignore_errors=True)

    def drop_states(self) -> None:
        """Removes the saved states, which only an interrupted run needs."""
        shutil.rmtree(self.path / "state", ignore_errors=True)

    def last_state(self) -> Path | None:
        """The newest complete state, or None."""
        folder = self.path / "state"
        whole = sorted(path for path in folder.glob("[0-9]*") if path.is_dir()) if folder.exists() else []
        return whole[-1] if whole else None
