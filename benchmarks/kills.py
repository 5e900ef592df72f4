"""Kills one training run again and again, resumes it each time, and compares the end with a run that was never killed.

    python benchmarks/kills.py                  # 20 kills, about two minutes on two cores
    python benchmarks/kills.py --kills 50 --seed 1 --keep kills
    python benchmarks/kills.py --kills 50 --cache
    python benchmarks/kills.py --kills 10 --cache --ranks 2

Every kill is a SIGKILL: nothing can be tidied up. Their moments are random, from a seed, and of these kinds: anywhere from the
start of the process on, while it trains, while a checkpoint is being written, and between the last checkpoint and the result.
With `--cache` the pictures are JPEG files in tar shards and not kept in memory, and two further kinds strike while the index of
the shards and the cache of decoded pictures are being written, both of which are removed before. With `--ranks` the run is one
of several processes under torchrun; in turn one of them is killed, so that torchrun ends the others, or all with torchrun.
Another kind takes a process of the loader, so that the run itself ends with an error.

The run writes a checkpoint after each update, so that it spends much of its time writing them. Everything that draws random
numbers or keeps a state is switched on: accumulation, augmentation, mixup, stochastic depth, dropout, average, best weights.

Exit code 1 if the weights, the predictions or the figures differ in a single bit.
"""

import argparse
import io
import os
import random
import shutil
import signal
import subprocess
import sys
import tarfile
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import PIL.Image

UPDATES = 240
"""Default length of the run."""

KINDS = ("training", "saving", "anywhere", "saving", "loading")
"""In turn; the last two kills wait for the end."""

CACHING = ("index", "pictures")
"""Further kinds with `--cache`."""


def child(folder: Path, form: "Form", again: bool) -> None:
    """Continues with the run in a folder, or starts it.

    Args:
        again: whether it was started before.
    """
    import torch

    from paretina.data import pictures
    from paretina.data.sources.arrays import Arrays
    from paretina.data.sources.shards import Shards
    from paretina.data.transforms.crop import RandomResizedCrop
    from paretina.data.transforms.flip import HorizontalFlip
    from paretina.data.transforms.mixup import MixUp
    from paretina.measure.plan import Plan
    from paretina.model.activations.pointwise import SiLU
    from paretina.model.blocks.mbconv import MBConv
    from paretina.model.blueprint import Blueprint, Stage
    from paretina.model.heads.pool import PoolHead
    from paretina.model.norms.batch import BatchNorm
    from paretina.model.stems.conv import ConvStem
    from paretina.schedules import Constant, Linear
    from paretina.train.asked import Asked
    from paretina.train.average import Average
    from paretina.train.evaluated import Evaluated
    from paretina.train.recipe import Recipe, StochasticDepth
    from paretina.train.training import resume, train

    torch.set_num_threads(1)
    pictures.memory_budget = lambda: 0  # so that pictures are read again and again, by the loader
    if again:
        resume(folder / "run", save_every=0.0)
        return
    blueprint = Blueprint(
        source="benchmarks/kills.py",
        resolution=16,
        stem=ConvStem(width=8),
        stages=(
            Stage(block=MBConv(expand=2, kernel=3), depth=2, width=8, stride=1),
            Stage(block=MBConv(expand=2, kernel=3), depth=2, width=16, stride=2),
        ),
        head=PoolHead(),
        norm=BatchNorm(),
        activation=SiLU(),
    )
    recipe = Recipe(
        epochs=form.updates / 20,
        batch_size=8,
        accumulate=2,
        size=Linear(start=12.0, end=18.0),
        transforms=(RandomResizedCrop(), HorizontalFlip(), MixUp()),
        stochastic_depth=StochasticDepth(rate=Linear(start=0.1, end=0.4)),
        dropout=Constant(value=0.2),
        average=Average(),
        test=Evaluated(keep="best"),
    )
    data = Shards(path=str(folder.parent / "shards")) if form.cache else Arrays(path=str(folder.parent / "numbers.npz"))
    plan = Plan(workers=1, threads=1, cache_gb=1.0 if form.cache else 0.0)
    train(Asked(data=data, model=blueprint, recipe=recipe, plan=plan), folder / "run", save_every=0.0)


def write_numbers(path: Path) -> None:
    """160 pictures to train on and 40 to validate on: noise whose brightness tells the class, more or less."""
    numbers, labels = np.random.default_rng(0), np.arange(200) % 4
    images = (numbers.random((200, 18, 18, 3)) * 170 + 25 * labels[:, None, None, None]).astype(np.uint8)
    np.savez(path, images=images, labels=labels, split=["train"] * 160 + ["val"] * 40)


def write_shards(folder: Path) -> None:
    """The same pictures, larger, as JPEG files in archives."""
    folder.mkdir()
    numbers = np.random.default_rng(0)
    for split, count in (("train", 160), ("val", 40)):
        with tarfile.open(folder / f"{split}-000.tar", "w") as archive:
            for number in range(count):
                pixels = numbers.random((160, 200, 3)) * 170 + 25 * (number % 4)
                file = io.BytesIO()
                PIL.Image.fromarray(pixels.astype(np.uint8)).save(file, "JPEG")
                for ending, data in (("jpg", file.getvalue()), ("cls", str(number % 4).encode())):
                    member = tarfile.TarInfo(f"{number:05d}.{ending}")
                    member.size = len(data)
                    archive.addfile(member, io.BytesIO(data))


@dataclass(frozen=True)
class Form:
    """How the run is made.

    Attributes:
        ranks: number of processes.
        cache: whether its pictures come from shards and are cached.
        updates: its length.
    """

    ranks: int = 1
    cache: bool = False
    updates: int = UPDATES

    def start(self, folder: Path) -> subprocess.Popen[bytes]:
        folder.mkdir(exist_ok=True)
        command = [sys.executable, __file__, "--child", str(folder), "--updates", str(self.updates)]
        command += ["--cache"] if self.cache else []
        if (folder / "run" / "asked.json").exists():
            command.append("--again")
        if self.ranks > 1:
            launched = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(self.ranks)]
            command = [sys.executable, *launched, *command[1:]]
        environment = {**os.environ, "PARETINA_CACHE": str(folder / "cache"), "OMP_NUM_THREADS": "1"}
        with open(folder / "errors.txt", "ab") as errors:
            return subprocess.Popen(command, stdout=errors, stderr=errors, env=environment)

    def processes(self, parent: int) -> dict[int, int]:
        """The processes that train, by rank."""
        return {0: parent} if self.ranks == 1 else below(parent, by_rank=True)


def below(parent: int, by_rank: bool = False) -> dict[int, int]:
    """The processes that a process has started, by their number, or by the rank that torchrun gave them."""
    found = {}
    for place in Path("/proc").glob("[0-9]*"):
        try:
            if int((place / "stat").read_text().rpartition(")")[2].split()[1]) != parent:
                continue
            words = (place / "environ").read_bytes().split(b"\0") if by_rank else []
        except (OSError, ValueError, IndexError):
            continue
        ranks = [int(word[5:]) for word in words if word.startswith(b"RANK=")] if by_rank else [int(place.name)]
        found.update(dict.fromkeys(ranks, int(place.name)))
    return found


def states(folder: Path) -> tuple[int, set[str]]:
    """The step of the newest whole state, 0 if there is none, and those that are only half written."""
    try:
        names = os.listdir(folder / "run" / "state")
    except FileNotFoundError:
        return 0, set()
    return max((int(name) for name in names if name.isdecimal()), default=0), {name for name in names if name.startswith(".")}


def cached(folder: Path, kind: str) -> bool:
    """Whether a cache of that kind is being written, or was."""
    place, pattern = ("shards", "*") if kind == "index" else ("pictures", "*.bin")
    return any((folder / "cache" / place).glob(pattern))


def reached(folder: Path, stale: set[str], kind: str, target: int) -> bool:
    """Whether the run has come to where a kind of kill may strike.

    Args:
        stale: states that earlier kills have left half written.
    """
    if kind in CACHING:
        return cached(folder, kind)
    step, half = states(folder)
    return kind == "anywhere" or (step >= target and (bool(half - stale) or kind != "saving"))


@dataclass(frozen=True)
class Kill:
    """
    Attributes:
        passed: seconds that the process lived.
        step: of the state that the next process continues from.
        half: whether a checkpoint was cut off.
        alive: whether the process was still there to be killed.
    """

    kind: str
    passed: float
    step: int
    half: bool
    alive: bool


def kill(form: Form, folder: Path, kind: str, moments: random.Random, life: float, most: int) -> Kill:
    """Starts a run and kills it, or a part of it.

    Args:
        life: seconds that a run takes from its start to its first update, about.
        most: updates that it may get further.
    """
    before, stale = states(folder)
    target = form.updates if kind == "ending" else min(before + moments.randint(1, most), form.updates - 1)
    late = life if before == form.updates else 0.15
    longest = {"saving": 0.004, "anywhere": 1.2 * life, "ending": late, "index": 0.01, "pictures": 0.15}.get(kind, 0.1)
    if kind in CACHING:
        shutil.rmtree(folder / "cache", ignore_errors=True)
    began = time.monotonic()
    process = form.start(folder)
    while process.poll() is None and not reached(folder, stale, kind, target):
        time.sleep(0.0002 if kind in ("saving", "index") else 0.002)
    until = time.monotonic() + moments.uniform(0.0, longest)
    while time.monotonic() < until and process.poll() is None and not (folder / "run" / "model.safetensors").exists():
        if kind != "ending" and states(folder)[0] > max(target, before + most):
            break
        time.sleep(max(0.0, min(0.002, until - time.monotonic())))
    alive = process.poll() is None
    if alive:
        ranks = form.processes(process.pid)
        victims = list(ranks.values())
        if kind == "loading":  # processes of the loader, and not the one that torch itself may start
            victims = [each for rank in ranks.values() for each in below(rank).values()][:1] or victims
        elif form.ranks > 1 and moments.random() < 0.5:
            victims = [moments.choice(victims)] if victims else [process.pid]
        else:
            victims = [process.pid, *victims]
        for each in dict.fromkeys(victims):
            with suppress(ProcessLookupError):
                os.kill(each, signal.SIGKILL)
    process.wait()
    step, half = states(folder)
    return Kill(kind, time.monotonic() - began, step, bool(half - stale), alive)


def finish(form: Form, folder: Path) -> None:
    """Lets the run come to its end."""
    if form.start(folder).wait() or not (folder / "run" / "result.json").exists():
        sys.exit(f"the run in {folder} did not finish:\n{(folder / 'errors.txt').read_text()[-3000:]}")


def differences(one: Path, other: Path) -> list[str]:
    """What is not the same in two finished runs."""
    import json

    from safetensors.torch import load_file

    found = []
    for name in ("model.safetensors", "predictions.csv", "mistakes.json"):
        if (one / "run" / name).read_bytes() != (other / "run" / name).read_bytes():
            found.append(name)
    first, second = (load_file(folder / "run" / "model.safetensors") for folder in (one, other))
    found += [name for name in first if not first[name].equal(second[name])]
    first, second = (json.loads((folder / "run" / "result.json").read_text()) for folder in (one, other))
    found += [f"result.json: {name}" for name in ("metrics", "confusion", "chosen") if first[name] != second[name]]
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    parser.add_argument("--keep", type=Path, help="folder for the runs; default: a temporary one")
    parser.add_argument("--ranks", type=int, default=1, help="processes of the run; default: %(default)s")
    parser.add_argument("--updates", type=int, default=UPDATES, help="length of the run; default: %(default)s")
    parser.add_argument("--cache", action="store_true", help="pictures from shards, with caches, which are struck too")
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--again", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    form = Form(options.ranks, options.cache, options.updates)
    if options.child:
        child(options.child, form, options.again)
        return
    if options.ranks > 1 and not sys.platform.startswith("linux"):
        sys.exit("--ranks finds the processes in /proc, which Linux has")
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.keep or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        if any(folder.iterdir()):
            sys.exit(f"{folder} is not empty")
        if compare(form, folder, options.kills, random.Random(options.seed)):
            sys.exit(1)


def compare(form: Form, folder: Path, kills: int, moments: random.Random) -> list[str]:
    """Prints a line a kill, then what differs."""
    write_numbers(folder / "numbers.npz")
    if form.cache:
        write_shards(folder / "shards")
    kinds = (*KINDS, *CACHING) if form.cache else KINDS
    whole, killed = folder / "whole", folder / "killed"
    began = time.monotonic()
    process = form.start(whole)
    while process.poll() is None and states(whole)[0] < 1:
        time.sleep(0.01)
    life = time.monotonic() - began
    process.wait()
    finish(form, whole)
    print(f"never killed: {form.updates} updates in {time.monotonic() - began:.1f} s, the first after {life:.1f} s")
    print(f"{'kill':>4}  {'kind':<9} {'lived':>7} {'resumes at':>10}  cut off a checkpoint")
    done = []
    for number in range(1, kills + 1):
        kind = "ending" if number > kills - 2 else kinds[number % len(kinds)]
        struck = kill(form, killed, kind, moments, life, max(1, 3 * form.updates // (2 * kills)))
        done.append(struck)
        said = "" if struck.alive else "  (was finished already)"
        print(
            f"{number:>4}  {kind:<9} {struck.passed:>5.1f} s {struck.step:>10}  {'yes' if struck.half else 'no'}{said}",
            flush=True,
        )
    finish(form, killed)
    found = differences(whole, killed)
    struck = [each for each in done if each.alive]
    what = f"{form.ranks} {'process' if form.ranks == 1 else 'processes'}{', caches' if form.cache else ''}"
    cut = sum(each.half for each in struck)
    equal = f"DIFFERENT in {', '.join(found)}" if found else "weights, predictions and figures are equal in every bit"
    print(f"{what}: {len(struck)} of {kills} kills struck, {cut} of them while a checkpoint was written: {equal}")
    if len(struck) < kills:
        found.append("kills that came too late")
    return found


if __name__ == "__main__":
    main()
