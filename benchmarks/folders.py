"""The best classifier for a folder in a given time: `paretina train FOLDER --time-limit 60s` beside what else one would try.

    pip install 'paretina[benchmarks]' scikit-learn
    python benchmarks/folders.py found.jsonl --sets sets                                 # four sets to choose defaults on
    python benchmarks/folders.py found.jsonl --sets sets --names elpv elpv@1 --seconds 180 --who ours probe
    python benchmarks/folders.py found.jsonl --sets sets --ours small "size=64 --recipe fast" --seeds 3
    python benchmarks/folders.py found.jsonl --report

One cell is a set, who learns it, the seconds and the seed: a process of its own, alone. Its wall time is from the command's
start to its end, imports, reading, evaluation and reports included; a cell that takes more than 2 s longer than it should is
marked. The cells of a set are run in turn. Each is a line of the results file, and is not run again there, on this processor
and with this version of who learns, unless `--again` is given.

Rivals are in `folder_rivals.py`: where there are weights a logistic regression on frozen features (probe) and fastai (in an
environment of its own, `--fastai-python`), elsewhere a plain CNN (cnn), and for both timm's training script (`--timm-script`:
train.py of a clone, which the package lacks) with three settings. The one of these that is best on the validation pictures
counts, which favours timm. Epochs of timm and fastai come from a run of one epoch beforehand, whose time is not counted, which
favours them too. Sets are in `folder_sets.py`; those whose packages cannot be had are named and left out.

The differences of the report are in points of top-1, ours less theirs, with 95 % intervals over pictures and seeds; see
`compared`.
"""

import argparse
import csv
import hashlib
import importlib.metadata
import json
import math
import os
import shlex
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import folder_rivals
import numpy as np
from folder_rivals import bits, listed, unpacked
from folder_sets import SETS, UnavailableError, parted, written

from paretina.measure.statistics import Interval

RIVALS_SCRIPT = Path(folder_rivals.__file__)
TIMM = {f"timm {o} {share:g}": (o, share) for o, share in (("adamw", 0.3), ("adamw", 0.1), ("rmsproptf", 0.1))}
"""Optimizer and share of the default rate of timm's three cells."""

WITH_WEIGHTS = ("probe", *TIMM, "fastai")
FROM_SCRATCH = ("cnn", *TIMM)
TOLERANCE_S = 2.0
"""How much longer than it should a process may take."""

AGAIN = ", again"
"""After the name of who repeats a cell, as a control."""


@dataclass(frozen=True)
class Cell:
    """
    Attributes:
        name: of the set, such as elpv@1; " from scratch" after it where its weights are left out.
        who: ours, ours and a label, or a rival.
        seconds: that it should take.
        processor: its name and how many cores of it there are.
        version: of who; other words for ours are another version.
        wall_s: that it took, from its start to its end.
        cpu_s: of all processors, by it and the processes it started.
        top1: in percent; None where it failed.
        n: pictures that it was tested on.
        correct: which of them it recognises, see `folder_rivals.bits`; None where that is not known.
        more: epochs and the like; for a cell that failed the end of what it said.
    """

    name: str
    who: str
    seconds: float
    seed: int
    processor: str
    version: str
    wall_s: float
    cpu_s: float
    top1: float | None
    n: int = 0
    correct: str | None = None
    more: dict[str, Any] = field(default_factory=dict)

    @property
    def key(self) -> tuple[Any, ...]:
        return (self.name, self.who, self.seconds, self.seed, self.processor, self.version)

    @property
    def over(self) -> bool:
        return self.wall_s > self.seconds + TOLERANCE_S

    @property
    def set(self) -> str:
        """The set, whatever the fold."""
        base, _, more = self.name.partition("@")
        return base + " from scratch" * more.endswith(" from scratch")


def read(path: Path) -> list[Cell]:
    """The cells of a results file, of each key the last.

    Raises:
        ValueError: a line is no cell.
    """
    cells: dict[tuple[Any, ...], Cell] = {}
    for number, line in enumerate(path.read_text().splitlines() if path.exists() else (), 1):
        try:
            cell = Cell(**json.loads(line))
        except (ValueError, TypeError) as error:
            raise ValueError(f"{path}, line {number}: {error}") from None
        cells.pop(cell.key, None)  # a later cell stands later
        cells[cell.key] = cell
    return list(cells.values())


# --- running -----------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Ran:
    """A process that has ended: seconds and how it ended, 0 where all went well."""

    wall_s: float
    cpu_s: float
    status: int


def ran(command: Sequence[str], log: Path, most_s: float) -> Ran:
    """Runs a command alone; after `most_s` seconds it is ended, with all that it started."""
    with log.open("w") as output:
        began = time.monotonic()
        process = subprocess.Popen(command, stdout=output, stderr=output, stdin=subprocess.DEVNULL, start_new_session=True)

        def end(*_: object) -> None:
            os.killpg(process.pid, signal.SIGKILL)

        usual = signal.signal(signal.SIGALRM, end)
        signal.setitimer(signal.ITIMER_REAL, most_s)
        try:
            _, status, used = os.wait4(process.pid, 0)  # knows what the process and its own children used
        except BaseException:
            end()
            raise
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, usual)
        wall = time.monotonic() - began
    process.returncode = os.waitstatus_to_exitcode(status)
    return Ran(wall, used.ru_utime + used.ru_stime, process.returncode)


def digest(paths: Iterable[Path], *words: str) -> str:
    found = hashlib.sha256("\0".join(words).encode())
    for path in sorted(paths):
        found.update(path.read_bytes())
    return found.hexdigest()[:10]


@dataclass(frozen=True)
class Judge:
    """
    Attributes:
        sets: where the sets are written.
        results: the file of the cells.
        ours: other words for ours, by label.
        timm: timm's train.py.
        fastai: a Python that has fastai and timm.
        weights: whether sets start from weights where they make sense.
        again: whether cells that are there are run again.
    """

    sets: Path
    results: Path
    processor: str
    ours: dict[str, list[str]] = field(default_factory=dict)
    timm: Path | None = None
    fastai: str | None = None
    weights: bool = True
    again: bool = False

    def rivals_of(self, name: str) -> tuple[str, ...]:
        return WITH_WEIGHTS if self.starts_from_weights(name) else FROM_SCRATCH

    def starts_from_weights(self, name: str) -> bool:
        return self.weights and parted(name)[0].weights

    def version(self, who: str) -> str:
        """What who learns is made of: another version is another cell.

        Raises:
            UnavailableError: it is not on this machine.
        """
        who = who.removesuffix(AGAIN)
        installed = importlib.metadata.version
        if who in self.ours:
            import paretina

            source = Path(paretina.__file__).parent
            return f"paretina {digest(source.rglob('*.py'), *self.ours[who])}, torch {installed('torch')}"
        own = digest([RIVALS_SCRIPT])
        if who in TIMM:
            if self.timm is None:
                raise UnavailableError("--timm-script is not given")
            beside = self.timm.parent / "timm" / "version.py"
            text = beside.read_text().split("'")[1] if beside.exists() else installed("timm")
            return f"timm {text}, train.py {digest([self.timm])}, torch {installed('torch')}, {own}"
        if who == "fastai":
            if self.fastai is None:
                raise UnavailableError("--fastai-python is not given")
            ask = "from importlib.metadata import version; print(*map(version, ('fastai', 'timm', 'torch')))"
            asked = subprocess.run([self.fastai, "-c", ask], capture_output=True, text=True, check=False)
            if asked.returncode:
                raise UnavailableError(f"{self.fastai}: {asked.stderr.strip().splitlines()[-1]}")
            return "fastai {}, timm {}, torch {}, {}".format(*asked.stdout.split(), own)
        used = ("scikit-learn", "timm", "torch") if who == "probe" else ("torch",)
        return ", ".join([*(f"{each} {installed(each)}" for each in used), own])

    def lite0(self) -> Path:
        """Weights of Lite0 under timm's names."""
        path = self.sets / "packages" / "lite0.pth"
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            draft = path.with_name("lite0.partial")
            subprocess.run([sys.executable, str(RIVALS_SCRIPT), "weights", str(draft)], check=True)
            draft.rename(path)
        return path

    # -- cells --

    def cell(self, name: str, who: str, seconds: float, seed: int) -> Cell:
        """A cell, from the results file or run now.

        Raises:
            UnavailableError: the set or who is to learn it is not on this machine.
        """
        shown = name if self.weights or not parted(name)[0].weights else f"{name} from scratch"
        empty = Cell(shown, who, seconds, seed, self.processor, self.version(who), 0.0, 0.0, None)
        known = {cell.key: cell for cell in read(self.results)}.get(empty.key)
        if known and known.top1 is not None and not self.again:
            return known
        folder = written(self.sets, name)
        with tempfile.TemporaryDirectory() as place:
            if who.removesuffix(AGAIN) in self.ours:
                cell = self.run_ours(empty, name, folder, Path(place))
            else:
                cell = self.run_rival(empty, name, folder, Path(place))
        self.keep(cell)
        return cell

    def keep(self, cell: Cell) -> None:
        self.results.parent.mkdir(parents=True, exist_ok=True)
        with self.results.open("a") as file:
            file.write(json.dumps(asdict(cell)) + "\n")

    def run_ours(self, cell: Cell, name: str, folder: Path, place: Path) -> Cell:
        run = place / "run"
        command = [sys.executable, "-m", "paretina", "train", str(folder), "--time-limit", f"{cell.seconds:g}s"]
        command += ["--output", str(run), f"seed={cell.seed}"]
        command += [] if parted(name)[0].mirrors else ["data.mirrors=false"]
        command += [] if self.starts_from_weights(name) else ["--weights", "none"]
        done = ran([*command, *self.ours[cell.who.removesuffix(AGAIN)]], place / "log", 3 * cell.seconds + 300)
        cell = replace(cell, wall_s=done.wall_s, cpu_s=done.cpu_s)
        if done.status or not (run / "result.json").exists():
            return failed(cell, place / "log", done)
        result = json.loads((run / "result.json").read_text())
        paths = listed(folder / "val")[0]
        correct = recognised(run / "predictions.csv", folder, paths)
        asked = json.loads((run / "asked.json").read_text())
        more = {key: result[key] for key in ("chosen", "time_s") if key in result}
        more["probe_shipped"] = asked["recipe"]["epochs"] == 0
        return replace(cell, top1=result["metrics"]["val/top1"], n=len(paths), correct=correct, more=more)

    def run_rival(self, cell: Cell, name: str, folder: Path, place: Path) -> Cell:
        who = cell.who.removesuffix(AGAIN)
        kind = "timm" if who in TIMM else who
        words = [kind, str(folder), str(place / "found.json"), "--seed", str(cell.seed), "--seconds", f"{cell.seconds:g}"]
        words += [] if parted(name)[0].mirrors else ["--no-mirrors"]
        if kind in ("probe", "fastai") and not self.starts_from_weights(name):
            raise UnavailableError(f"{kind} needs weights, and this set is learnt from scratch")
        if kind != "cnn" and self.starts_from_weights(name):
            words += ["--weights", str(self.lite0())]
        if who in TIMM:
            words += ["--script", str(self.timm), "--optimizer", TIMM[who][0], "--share", f"{TIMM[who][1]:g}"]
        if kind in ("timm", "fastai"):
            words += ["--epochs", str(self.epochs(cell, kind, words, place))]
        python = str(self.fastai) if kind == "fastai" else sys.executable
        began = ["--started", repr(time.time())]
        done = ran([python, str(RIVALS_SCRIPT), *words, *began], place / "log", 3 * cell.seconds + 300)
        cell = replace(cell, wall_s=done.wall_s, cpu_s=done.cpu_s)
        if done.status:
            return failed(cell, place / "log", done)
        more = json.loads((place / "found.json").read_text())
        return replace(cell, top1=more.pop("top1"), n=more.pop("n"), correct=more.pop("correct"), more=more)

    def epochs(self, cell: Cell, kind: str, words: list[str], place: Path) -> int:
        """How many epochs fit, by a run of one that is kept too."""
        timed = replace(cell, who=f"{kind}, one epoch", seconds=0.0, seed=0)
        known = {each.key: each for each in read(self.results)}.get(timed.key)
        if not known or known.top1 is None:
            python = str(self.fastai) if kind == "fastai" else sys.executable
            done = ran([python, str(RIVALS_SCRIPT), *words], place / "log", 3 * cell.seconds + 600)
            timed = replace(timed, wall_s=done.wall_s, cpu_s=done.cpu_s)
            if done.status:
                known = failed(timed, place / "log", done)
            else:
                more = json.loads((place / "found.json").read_text())
                known = replace(timed, top1=more["top1"], n=more["n"], more={"epoch_s": more["epoch_s"]})
            self.keep(known)
        if known.top1 is None:
            return 1
        return fitting(cell.seconds, known.wall_s, known.more["epoch_s"])


def fitting(seconds: float, wall_s: float, epoch_s: float) -> int:
    """How many epochs fit into the seconds, where a run of one took `wall_s`, of which the epoch took `epoch_s`."""
    return max(1, math.floor((seconds - wall_s) / epoch_s) + 1)


def failed(cell: Cell, log: Path, done: Ran) -> Cell:
    said = log.read_text(errors="replace").strip().splitlines()[-5:]
    return replace(cell, top1=None, more={"status": done.status, "said": said})


def recognised(predictions: Path, folder: Path, paths: list[Path]) -> str | None:
    """Which pictures are recognised, by the table that a run leaves; None where it left none, or of other pictures."""
    if not predictions.exists():
        return None
    with predictions.open(newline="", encoding="utf-8") as file:
        right = {row["name"]: row["correct"] == "1" for row in csv.DictReader(file)}
    names = [path.relative_to(folder).as_posix() for path in paths]
    return bits([right[name] for name in names]) if right.keys() == set(names) else None


# --- the report --------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Difference:
    """Ours less theirs on a set.

    Attributes:
        points: of top-1.
        variance: of it, from pictures and seeds.
        seed_part: what of the variance comes from seeds.
        freedom: degrees of freedom of what is known about seeds; 0 where nothing is.
    """

    points: float
    variance: float
    seed_part: float
    freedom: int


def seed_variance(cells: Iterable[Cell]) -> tuple[float, int]:
    """The variance of top-1 among cells that differ in their seed alone, in points squared, and its degrees of freedom."""
    groups: dict[tuple[Any, ...], list[float]] = defaultdict(list)
    for cell in cells:
        if cell.top1 is not None:
            groups[cell.name, cell.who, cell.seconds].append(cell.top1)
    repeated = [values for values in groups.values() if len(values) > 1]
    freedom = sum(len(values) - 1 for values in repeated)
    if not freedom:
        return 0.0, 0
    return sum(statistics.variance(values) * (len(values) - 1) for values in repeated) / freedom, freedom


def compared(ours: Sequence[Cell], theirs: Sequence[Cell], spread: tuple[float, int], drawn: bool) -> Difference | None:
    """The difference on the folds of one set that both have; None where there is none.

    Pictures: where it is known which of them each recognises, the variance of the differences over pictures; elsewhere that of
    two independent shares, which is more. The folds of a set have no test picture in common, so their variances add up. Seeds:
    `spread` is what all cells of ours say about them; a rival is taken to vary as much, unless it is not drawn. What a
    seed changes in single pictures is in both parts, so intervals are rather too wide.

    Args:
        spread: variance among seeds, and its degrees of freedom.
        drawn: whether the rival depends on its seed.
    """
    a, b = by_fold(ours), by_fold(theirs)
    if not (folds := sorted(a.keys() & b.keys())):
        return None
    points, pictures, seeds = [], 0.0, 0.0
    for fold in folds:
        points.append(statistics.fmean(top1s(a[fold])) - statistics.fmean(top1s(b[fold])))
        pictures += picture_variance(a[fold], b[fold])
        seeds += spread[0] * (1 / len(a[fold]) + drawn / len(b[fold]))
    count = len(folds) ** 2
    return Difference(statistics.fmean(points), (pictures + seeds) / count, seeds / count, spread[1])


def by_fold(cells: Sequence[Cell]) -> dict[str, list[Cell]]:
    found: dict[str, list[Cell]] = defaultdict(list)
    for cell in cells:
        if cell.top1 is not None:
            found[cell.name].append(cell)
    return found


def top1s(cells: Sequence[Cell]) -> list[float]:
    return [cell.top1 for cell in cells if cell.top1 is not None]


def picture_variance(ours: Sequence[Cell], theirs: Sequence[Cell]) -> float:
    """The variance of the difference of two means of top-1 from the choice of the pictures, in points squared."""
    n = ours[0].n
    shares = [[unpacked(cell.correct, n) for cell in cells if cell.correct and cell.n == n] for cells in (ours, theirs)]
    if all(len(known) == len(cells) for known, cells in zip(shares, (ours, theirs), strict=True)):
        each = 100 * (np.mean(shares[0], axis=0) - np.mean(shares[1], axis=0))
        return float(np.var(each, ddof=1)) / n if n > 1 else 0.0
    means = [statistics.fmean(top1s(cells)) for cells in (ours, theirs)]
    return sum(mean * (100 - mean) / cells[0].n for mean, cells in zip(means, (ours, theirs), strict=True))


def pooled(differences: Sequence[Difference]) -> Interval:
    """The mean over sets, each counted once, with its 95 % interval: Student's, with Satterthwaite's degrees of freedom.

    Source: Satterthwaite 1946, "An approximate distribution of estimates of variance components".

    Raises:
        ValueError: there is none.
    """
    from scipy.special import stdtrit

    mean = statistics.fmean(each.points for each in differences)
    variance = sum(each.variance for each in differences) / len(differences) ** 2
    seeds = sum(each.seed_part for each in differences) / len(differences) ** 2
    # the variance of the pictures is known, from hundreds of them; that of the seeds was estimated once for all sets
    freedom = differences[0].freedom * (variance / seeds) ** 2 if seeds else math.inf
    half = float(stdtrit(freedom if freedom < 1e9 else 1e9, 0.975)) * math.sqrt(variance)
    return Interval(mean, mean - half, mean + half)


def best_of_timm(cells: Sequence[Cell]) -> list[Cell]:
    """The cells, with only the best of timm's settings on the validation pictures of each set and fold."""
    kept = [cell for cell in cells if cell.who not in TIMM]
    groups: dict[tuple[str, float], dict[str, list[Cell]]] = defaultdict(lambda: defaultdict(list))
    for cell in cells:
        if cell.who in TIMM and cell.top1 is not None:
            groups[cell.name, cell.seconds][cell.who].append(cell)
    for settings in groups.values():
        best = max(settings.values(), key=lambda same: statistics.fmean(top1s(same)))
        kept += [replace(cell, who="timm", more={**cell.more, "setting": cell.who}) for cell in best]
    return kept


def last_versions(cells: Sequence[Cell]) -> list[Cell]:
    """Of each cell that was run with several versions the last."""
    found: dict[tuple[Any, ...], Cell] = {}
    for cell in cells:
        found[cell.key[:-1]] = cell
    return list(found.values())


def told(interval: Interval) -> str:
    return f"{interval.value:+.1f} [{interval.low:+.1f}, {interval.high:+.1f}]"


def shown(cells: Sequence[Cell]) -> str:
    """Mean of top-1; `*` for a cell that took too long, `!` for one that failed."""
    if not cells:
        return "-"
    values = top1s(cells)
    marks = "*" * any(cell.over for cell in cells) + "!" * any(cell.top1 is None for cell in cells)
    return (f"{statistics.fmean(values):.1f}" if values else "") + marks


def report(cells: Sequence[Cell]) -> str:
    """A table for each processor, number of seconds and kind of ours."""
    cells = last_versions(cells)
    lines: list[str] = []
    places = sorted({(cell.processor, cell.seconds) for cell in cells if cell.seconds})
    for processor, seconds in places:
        here = [cell for cell in cells if (cell.processor, cell.seconds) == (processor, seconds)]
        owners = sorted({cell.who for cell in here if cell.who.startswith("ours") and not cell.who.endswith(AGAIN)})
        for owner in owners or ["ours"]:
            lines += [f"{owner}, {seconds:g} s, {processor}", "", *table(best_of_timm(here), owner), ""]
        lines += controls(here)
    lines += [
        "top-1 in %, means over seeds and folds; * took longer than it should, ! failed; differences are ours less theirs,"
    ]
    lines += ["in points, with 95 % intervals over pictures and seeds", ""]
    for who in sorted({cell.who for cell in cells if cell.seconds}):
        versions = sorted({cell.version for cell in cells if cell.who == who})
        lines.append(f"{who}: {'; '.join(versions)}" + f"  ({len(versions)} versions are mixed here)" * (len(versions) > 1))
    return "\n".join(lines)


def table(cells: Sequence[Cell], owner: str) -> list[str]:
    by: dict[tuple[str, str], list[Cell]] = defaultdict(list)
    for cell in cells:
        by[cell.set, cell.who].append(cell)
    rivals = [who for who in ("probe", "cnn", "timm", "fastai") if any(cell.who == who for cell in cells)]
    names = [*SETS, *(f"{name} from scratch" for name in SETS)]
    sets = [name for name in names if any(by[name, who] for who in (owner, *rivals))]
    spread = seed_variance(cell for cell in cells if cell.who == owner)
    lines = ["| set | test pictures | ours | " + " | ".join(f"{who} | ours - {who}" for who in rivals) + " |"]
    lines.append("|" + "---|" * (3 + 2 * len(rivals)))
    differences: dict[str, dict[str, Difference]] = defaultdict(dict)
    for name in sets:
        tested = {cell.name: cell.n for who in (owner, *rivals) for cell in by[name, who] if cell.n}
        row = [name, f"{sum(tested.values()):,}", shown(by[name, owner])]
        for who in rivals:
            difference = compared(by[name, owner], by[name, who], spread, drawn=who != "probe")
            row += [shown(by[name, who]), told(pooled([difference])) if difference else "-"]
            if difference:
                differences[who][name] = difference
        lines.append("| " + " | ".join(row) + " |")
    lines.append("")
    for who in rivals:
        for kind, chosen in (
            ("all sets", list(differences[who])),
            ("sets to choose on", [name for name in differences[who] if not SETS[name.split()[0]].reports]),
            ("sets to report on", [name for name in differences[who] if SETS[name.split()[0]].reports]),
        ):
            if chosen:
                mean = pooled([differences[who][name] for name in chosen])
                worst = min(chosen, key=lambda name: differences[who][name].points)
                lines.append(
                    f"ours - {who}, mean over {len(chosen)} of {kind}: {told(mean)}, lower bound {mean.low:+.1f}; "
                    f"worst {differences[who][worst].points:+.1f} ({worst})"
                )
    lines.append(
        f"deviation among seeds of ours: {math.sqrt(spread[0]):.2f} points, {spread[1]} degrees of freedom"
        if spread[1]
        else "one seed a set: intervals are over pictures alone"
    )
    own = [cell for cell in cells if cell.who == owner and cell.top1 is not None]
    if own:
        lines.append(
            f"wall time of ours: {min(cell.wall_s for cell in own):.0f} to {max(cell.wall_s for cell in own):.0f} s, "
            f"processor time {statistics.fmean(cell.cpu_s for cell in own):.0f} s in the mean"
        )
    own = [cell for cell in cells if cell.who == owner and "probe_shipped" in cell.more]
    if own:
        lines.append(
            f"the linear probe itself was shipped in {sum(cell.more['probe_shipped'] for cell in own)} of {len(own)} cells"
        )
    return lines


def controls(cells: Sequence[Cell]) -> list[str]:
    """How much cells differ that were run twice."""
    known = {cell.key: cell for cell in cells}
    lines = []
    for cell in cells:
        first = known.get(replace(cell, who=cell.who.removesuffix(AGAIN)).key)
        if cell.who.endswith(AGAIN) and first and cell.top1 is not None and first.top1 is not None:
            lines.append(
                f"control: {first.who} on {cell.name} twice: top-1 {first.top1:.1f} and {cell.top1:.1f} %, "
                f"wall {first.wall_s:.1f} and {cell.wall_s:.1f} s, processor {first.cpu_s:.1f} and {cell.cpu_s:.1f} s"
            )
    return [*lines, ""] if lines else []


# --- command line ------------------------------------------------------------------------------------------------------------


def in_turn(judge: Judge, names: Sequence[str], who: Sequence[str], seconds: float, seeds: int, rival_seeds: int) -> list[Any]:
    """What to run, (set, who, seconds, seed): ours and the rivals of a set take turns."""
    found = []
    for name in names:
        ours = [each for each in judge.ours if not who or each in who]
        rivals = [each for each in judge.rivals_of(name) if not who or each in who or each.split()[0] in who]
        rivals += ["cnn"] if "cnn" in who and "cnn" not in rivals else []  # it suits every set
        for seed in range(max(seeds, rival_seeds)):
            found += [(name, each, seconds, seed) for each in ours if seed < seeds]
            found += [(name, each, seconds, seed) for each in rivals if seed < rival_seeds]
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", type=Path, help="file of the cells, one JSON object a line")
    parser.add_argument("--report", action="store_true", help="only print the tables")
    parser.add_argument("--sets", type=Path, help="where the sets and their packages are kept")
    parser.add_argument("--names", nargs="+", help="sets, such as elpv or elpv@1; default: those to choose defaults on")
    parser.add_argument("--reported", action="store_true", help="the sets to report on")
    parser.add_argument("--who", nargs="+", default=[], help="ours, probe, cnn, timm, fastai; default: all that suit the set")
    parser.add_argument("--seconds", type=float, default=60.0, help="default: %(default)g")
    parser.add_argument("--seeds", type=int, default=2, help="of ours; default: %(default)s")
    parser.add_argument("--rival-seeds", type=int, default=1, help="default: %(default)s")
    parser.add_argument(
        "--ours", nargs=2, action="append", default=[], metavar=("LABEL", "WORDS"), help="ours with more words, beside ours"
    )
    parser.add_argument("--from-scratch", action="store_true", help="leave the weights out")
    parser.add_argument("--again", action="store_true", help="run cells again that are there")
    parser.add_argument("--control", action="store_true", help="repeat one cell of a rival at the end")
    parser.add_argument("--timm-script", type=Path, metavar="FILE", help="train.py of a clone of timm")
    parser.add_argument("--fastai-python", metavar="PATH", help="a Python that has fastai and timm")
    options = parser.parse_args()
    if options.report:
        print(report(read(options.results)))
        return
    if options.sets is None:
        parser.error("--sets says where the sets are kept")
    from paretina.measure.plan import machine

    here = machine()
    judge = Judge(
        options.sets.resolve(),
        options.results,
        f"{here['cpu']}, {here['cores']} cores",
        {"ours": [], **{f"ours, {label}": shlex.split(words) for label, words in options.ours}},
        options.timm_script and options.timm_script.resolve(),
        options.fastai_python,
        not options.from_scratch,
        options.again,
    )
    names = options.names or [name for name, known in SETS.items() if known.reports == options.reported]
    for name in names:
        parted(name)
    todo = in_turn(judge, names, options.who, options.seconds, options.seeds, options.rival_seeds)
    if options.control and (first := next((each for each in todo if not each[1].startswith("ours")), None)):
        todo.append((first[0], first[1] + AGAIN, *first[2:]))
    left_out: set[str] = set()
    for name, who, seconds, seed in todo:
        try:
            cell = judge.cell(name, who, seconds, seed)
        except UnavailableError as error:
            left_out.add(f"{who} on {name} was left out: {error}")
            continue
        value = f"{cell.top1:.1f} %" if cell.top1 is not None else f"failed: {' / '.join(cell.more['said'][-1:])}"
        late = ", over" if cell.over else ""
        print(f"{cell.name}, {who}, seed {seed}: {value} in {cell.wall_s:.1f} s{late}, {cell.cpu_s:.1f} CPU-s", flush=True)
    print("\n".join(sorted(left_out)))
    print(report(read(options.results)))


if __name__ == "__main__":
    main()
