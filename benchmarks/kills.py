"""Kills one training run again and again, resumes it each time, and compares the end with a run that was never killed.

    python benchmarks/kills.py                  # 20 kills, about two minutes on two cores
    python benchmarks/kills.py --kills 50 --seed 1 --keep kills

Every kill is a SIGKILL: nothing can be tidied up. Their moments are random, from a seed, and of four kinds: anywhere from the
start of the process on, while it trains, while a checkpoint is being written, and between the last checkpoint and the result.
The run writes a checkpoint after each update, so that it spends much of its time writing them. Everything that draws random
numbers or keeps a state is switched on: accumulation, augmentation, mixup, stochastic depth, dropout, average, best weights.

Exit code 1 if the weights, the predictions or the figures differ in a single bit.
"""

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

UPDATES = 240
KINDS = ("training", "saving", "anywhere", "saving")
"""In turn; the last two kills wait for the end."""


def child(folder: Path) -> None:
    """Continues with the run in a folder, or starts it."""
    import torch

    from paretina.data.sources.arrays import Arrays
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
    if (folder / "run" / "asked.json").exists():
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
        epochs=UPDATES / 20,
        batch_size=8,
        accumulate=2,
        size=Linear(start=12.0, end=18.0),
        transforms=(RandomResizedCrop(), HorizontalFlip(), MixUp()),
        stochastic_depth=StochasticDepth(rate=Linear(start=0.1, end=0.4)),
        dropout=Constant(value=0.2),
        average=Average(),
        test=Evaluated(keep="best"),
    )
    data = Arrays(path=str(folder.parent / "numbers.npz"))
    train(Asked(data=data, model=blueprint, recipe=recipe, plan=Plan(workers=1, threads=1)), folder / "run", save_every=0.0)


def write_numbers(path: Path) -> None:
    """160 pictures to train on and 40 to validate on: noise whose brightness tells the class, more or less."""
    numbers, labels = np.random.default_rng(0), np.arange(200) % 4
    images = (numbers.random((200, 18, 18, 3)) * 170 + 25 * labels[:, None, None, None]).astype(np.uint8)
    np.savez(path, images=images, labels=labels, split=["train"] * 160 + ["val"] * 40)


def start(folder: Path) -> subprocess.Popen[bytes]:
    folder.mkdir(exist_ok=True)
    with open(folder / "errors.txt", "ab") as errors:
        return subprocess.Popen([sys.executable, __file__, "--child", str(folder)], stdout=errors, stderr=errors)


def states(folder: Path, process: int = 0) -> tuple[int, bool]:
    """The step of the newest whole state, 0 if there is none, and whether a process has one that is only half written."""
    try:
        names = os.listdir(folder / "run" / "state")
    except FileNotFoundError:
        return 0, False
    whole = [int(name) for name in names if name.isdecimal()]
    return max(whole, default=0), any(name.endswith(f".{process}") for name in names)


def reached(folder: Path, process: int, kind: str, target: int) -> bool:
    """Whether a process has come to where a kind of kill may strike."""
    step, half = states(folder, process)
    return kind == "anywhere" or (step >= target and (half or kind != "saving"))


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


def kill(folder: Path, kind: str, moments: random.Random, life: float) -> Kill:
    """Starts a process and kills it.

    Args:
        life: seconds that a process takes from its start to its first update, about.
    """
    before = states(folder)[0]
    target = UPDATES if kind == "ending" else before + moments.randint(1, UPDATES // 12)
    longest = {"training": 0.1, "saving": 0.004, "anywhere": 1.2 * life, "ending": life if before == UPDATES else 0.15}[kind]
    began = time.monotonic()
    process = start(folder)
    while process.poll() is None and not reached(folder, process.pid, kind, target):
        time.sleep(0.0002 if kind == "saving" else 0.002)
    time.sleep(moments.uniform(0.0, longest))
    alive = process.poll() is None
    if alive:
        os.kill(process.pid, signal.SIGKILL)
    process.wait()
    step, half = states(folder, process.pid)
    return Kill(kind, time.monotonic() - began, step, half, alive)


def finish(folder: Path) -> None:
    """Lets the run come to its end."""
    if start(folder).wait() or not (folder / "run" / "result.json").exists():
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
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        child(options.child)
        return
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.keep or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        if any(folder.iterdir()):
            sys.exit(f"{folder} is not empty")
        if compare(folder, options.kills, random.Random(options.seed)):
            sys.exit(1)


def compare(folder: Path, kills: int, moments: random.Random) -> list[str]:
    """Prints a line a kill, then what differs."""
    write_numbers(folder / "numbers.npz")
    whole, killed = folder / "whole", folder / "killed"
    began = time.monotonic()
    process = start(whole)
    while process.poll() is None and states(whole)[0] < 1:
        time.sleep(0.01)
    life = time.monotonic() - began
    process.wait()
    finish(whole)
    print(f"never killed: {UPDATES} updates in {time.monotonic() - began:.1f} s, the first after {life:.1f} s")
    print(f"{'kill':>4}  {'kind':<9} {'lived':>7} {'resumes at':>10}  cut off a checkpoint")
    done = []
    for number in range(1, kills + 1):
        kind = "ending" if number > kills - 2 else KINDS[number % len(KINDS)]
        struck = kill(killed, kind, moments, life)
        done.append(struck)
        said = "" if struck.alive else "  (was finished already)"
        print(
            f"{number:>4}  {kind:<9} {struck.passed:>5.1f} s {struck.step:>10}  {'yes' if struck.half else 'no'}{said}",
            flush=True,
        )
    finish(killed)
    found = differences(whole, killed)
    struck = [each for each in done if each.alive]
    print(
        f"{len(struck)} of {kills} kills struck, {sum(each.half for each in struck)} of them while a checkpoint was written: "
        + (f"DIFFERENT in {', '.join(found)}" if found else "weights, predictions and figures are equal in every bit")
    )
    if len(struck) < kills:
        found.append("kills that came too late")
    return found


if __name__ == "__main__":
    main()
