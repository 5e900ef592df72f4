"""Time to accuracy beside timm's own training script: the same folder, network and image size, each with its own best settings.

    git clone https://github.com/huggingface/pytorch-image-models ../timm
    pip install 'paretina[benchmarks]'
    python benchmarks/time_to_accuracy.py ../timm runs/race       # about forty minutes on two processors
    python benchmarks/time_to_accuracy.py ../timm runs/race --limits 30s 45s --seeds 6

The folder holds 6,000 pictures of `shapes` as PNG, the network is a ResNet-18 of 718,506 parameters, the images have 64 pixels.
Steps, each of which is skipped when its result is in the output folder already:

1. A plain CNN (four convolutions, AdamW, cosine, shifts) with the same epochs: timm should reach at least 95 % of what it does.
2. timm: AdamW and RMSProp, 1, 0.3 and 0.1 times its default rate; the best of these once more without its augmentation and
   with its progressive sizes; where that is not enough, twice the epochs with weaker crops or none, lower rates, rates that
   change at each update, and the last norm of each block begun at one. The best of all by validation gets three seeds.
   Pictures are never mirrored, since that changes classes here, and the rate warms up for one epoch in place of five, which is
   most of a short run.
3. Ours, with timm's recipe and with our recipe `fast`. The first differs from timm in execution, loading, precision and the
   interpolation of crops.
4. With `--why`: timm with the last norms begun at zero, its default, and so with threads that wait for each other as ours do;
   ours with these norms begun at zero, and in float32.

With `--limits` nothing is searched. Run are timm's best setting of that search and `paretina train FOLDER` with `--weights
none --time-limit LIMIT`, which chooses its network and sizes itself, in turn, with all seeds. Reported are the share of
timm's wall time, and the one-sided 95 % bound of ours less theirs in points of top-1 (Welch), whose margin is one point.

Wall time is that of the whole process, from its start to its end, so it includes imports, reading, evaluation and reports. The
timm runs choose among settings by the validation pictures on which they are then reported, which favours timm.
"""

import argparse
import csv
import itertools
import json
import os
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from paretina.measure.process import spin_briefly

USUAL = dict(os.environ)
spin_briefly()  # before torch is imported

import torch
import torch.nn.functional as F
from PIL import Image
from scipy import stats
from torch import Tensor, nn

from paretina.data.sources.shapes import Shapes
from paretina.measure.plan import machine
from paretina.measure.statistics import mean_interval

SIZE, EPOCHS, BATCH = 64, 6, 64
SEEDS = (0, 1, 2)
WIDTHS = (16, 32, 64, 128)
NETWORK = ["--model", "resnet18", *(f"model.stages.{i}.width={width}" for i, width in enumerate(WIDTHS))]
RATES = (1.0, 0.3, 0.1)
TIMM_BASE_RATE = 0.1
"""`--lr-base` of timm's script, for 256 pictures an update."""

MILD = "--scale 0.6 1 --color-jitter 0"
SMOOTH = f"{MILD} --sched-on-updates"
ONES = f"--model-kwargs channels={WIDTHS} zero_init_last=False".replace(", ", ",")
FURTHER = ((0.03, "--no-aug"), (0.1, MILD), (0.03, MILD), (0.1, SMOOTH), (0.3, SMOOTH), (0.3, f"{SMOOTH} {ONES}"))
"""Rate and options of the runs of twice the length."""

FAST = ["--recipe", "fast", f"size={SIZE}"]
OURS = {"ours, recipe fast": FAST, "ours, recipe fast, 10 epochs": [*FAST, "epochs=10"]}
"""What is given to `paretina train` besides folder, network, batch and seed."""

BEST = ("adamw", 0.3, f"--epochs {2 * EPOCHS} {SMOOTH} {ONES}")
"""timm's best setting, as the search finds it."""

MARGIN = 1.0
"""Points of top-1 by which ours may be below timm in `--limits`."""


@dataclass(frozen=True)
class Done:
    """Attributes: wall_s: of the whole process; top1: of the last weights, in percent, on the validation pictures."""

    name: str
    seed: int
    wall_s: float
    top1: float


def write_folder(folder: Path) -> None:
    collection = Shapes(size=96, difficulty=0.2).open()
    for split in ("train", "val"):
        for sample in collection.split(split):
            path = folder / f"{sample.name}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(collection.image(sample).permute(1, 2, 0).numpy()).save(path)  # c h w -> h w c


def timed(command: list[str], log: Path, environment: dict[str, str]) -> float:
    """Seconds that a program takes.

    Raises:
        RuntimeError: it failed; its messages are in the log.
    """
    began = time.monotonic()
    with log.open("w") as output:
        done = subprocess.run(command, stdout=output, stderr=output, env=environment, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command[:3])} ... failed; see {log}")
    return time.monotonic() - began


# --- a plain CNN -----------------------------------------------------------------------------------------------------------


def plain_cnn(folder: Path, seed: int) -> float:
    """Top-1 in percent of four convolutions of 24 to 192 channels, each with batch norm, ReLU and pooling."""
    torch.manual_seed(seed)
    images, labels = loaded(folder / "train")
    widths = (3, 24, 48, 96, 192)
    layers = [
        nn.Sequential(nn.Conv2d(a, b, 3, padding=1, bias=False), nn.BatchNorm2d(b), nn.ReLU(), nn.MaxPool2d(2))
        for a, b in itertools.pairwise(widths)
    ]
    network = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(widths[-1], 10))
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    steps = len(images) // BATCH * EPOCHS
    optimizer = torch.optim.AdamW(network.parameters(), 4e-3, weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 4e-3, total_steps=steps, pct_start=1 / EPOCHS)
    for _ in range(EPOCHS):
        for chosen in torch.randperm(len(images))[: len(images) // BATCH * BATCH].view(-1, BATCH):
            x, y = (int(shift) for shift in torch.randint(0, 9, (2,)))
            batch = F.pad(images[chosen], (4, 4, 4, 4))[:, :, y : y + SIZE, x : x + SIZE]
            F.cross_entropy(network(batch), labels[chosen], label_smoothing=0.1).backward()
            optimizer.step()
            optimizer.zero_grad()
            schedule.step()
    network.eval()
    images, labels = loaded(folder / "val")
    with torch.inference_mode():
        right = torch.cat([network(part).argmax(1) for part in images.split(BATCH)]) == labels
    return 100 * right.float().mean().item()


def loaded(folder: Path) -> tuple[Tensor, Tensor]:
    classes = sorted(path.name for path in folder.iterdir())
    files = [(path, label) for label, name in enumerate(classes) for path in sorted((folder / name).iterdir())]
    resized = [Image.open(path).resize((SIZE, SIZE), Image.Resampling.BILINEAR) for path, _ in files]
    images = torch.stack([torch.frombuffer(bytearray(image.tobytes()), dtype=torch.uint8) for image in resized])
    images = images.view(-1, SIZE, SIZE, 3).permute(0, 3, 1, 2).float().sub_(127.5).div_(64)  # n h w c -> n c h w
    return images, torch.tensor([label for _, label in files])


# --- timm and ours ---------------------------------------------------------------------------------------------------------


def timm_rate(optimizer: str, share: float) -> float:
    """The rate that timm's script would take, times `share`."""
    ratio = BATCH / 256
    return share * TIMM_BASE_RATE * (ratio**0.5 if optimizer.startswith("ada") else ratio)


@dataclass(frozen=True)
class Race:
    """
    Attributes:
        timm: a clone of timm.
        output: where everything goes.
    """

    timm: Path
    output: Path

    @property
    def folder(self) -> Path:
        return self.output / "shapes"

    def once(self, name: str, seed: int) -> tuple[Path, Done | None]:
        place = self.output / f"{name}-{seed}".replace(" ", "-").replace(",", "").replace("'", "")
        note = place / "done.json"
        return place, Done(**json.loads(note.read_text())) if note.exists() else None

    def finish(self, place: Path, done: Done) -> Done:
        (place / "done.json").write_text(json.dumps(done.__dict__))
        print(f"{done.name}, seed {done.seed}: {done.top1:.1f} % in {done.wall_s:.0f} s", flush=True)
        return done

    def plain(self, seed: int) -> Done:
        name = "plain CNN"
        place, done = self.once(name, seed)
        if done is None:
            place.mkdir(parents=True, exist_ok=True)
            began = time.monotonic()
            top1 = plain_cnn(self.folder, seed)
            done = self.finish(place, Done(name, seed, time.monotonic() - began, top1))
        return done

    def theirs(self, optimizer: str, share: float, more: str = "", seed: int = 0, briefly: bool = False) -> Done:
        """timm's script; `more` are further options, `briefly` lets its threads wait for each other as ours do."""
        name = " ".join(["timm", optimizer, f"{share:g}", *more.split(), *(["briefly"] if briefly else [])])
        place, done = self.once(name, seed)
        if done is not None:
            return done
        place.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, str(self.timm / "train.py"), str(self.folder), "--val-split", "val", "--device", "cpu"]
        command += ["--model", "resnet18", "--model-kwargs", f"channels={WIDTHS}".replace(" ", ""), "--num-classes", "10"]
        command += ["--img-size", str(SIZE), "--crop-pct", "1.0", "--channels-last", "--batch-size", str(BATCH), "--hflip", "0"]
        command += ["--opt", optimizer, "--lr", f"{timm_rate(optimizer, share):g}", "--epochs", str(EPOCHS)]
        command += ["--warmup-epochs", "1", "--weight-decay", "0.05" if optimizer == "adamw" else "1e-5"]
        command += ["--val-interval", str(EPOCHS), "--workers", "2", "--seed", str(seed), *more.split()]
        command += ["--output", str(place), "--experiment", "run", "--checkpoint-hist", "1"]
        wall = timed(command, place / "log.txt", {**(os.environ if briefly else USUAL), "PYTHONPATH": str(self.timm)})
        with next(place.glob("run*/summary.csv")).open() as file:
            top1 = [float(row["eval_top1"]) for row in csv.DictReader(file) if row.get("eval_top1")][-1]
        return self.finish(place, Done(name, seed, wall, top1))

    def ours(self, name: str, options: list[str], seed: int) -> Done:
        settings = [*NETWORK, f"batch_size={BATCH}", f"evaluate_every={EPOCHS}"]
        return self.learnt(name, [*settings, *options], seed)

    def chosen(self, limit: str, seed: int) -> Done:
        """Ours with all choices left to it, within a time."""
        return self.learnt(f"ours, --time-limit {limit}", ["--weights", "none", "--time-limit", limit], seed)

    def learnt(self, name: str, options: list[str], seed: int) -> Done:
        place, done = self.once(name, seed)
        if done is not None:
            return done
        place.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-m", "paretina", "train", str(self.folder), "--output", str(place / "run")]
        command += ["data.mirrors=false", f"seed={seed}", *options]
        wall = timed(command, place / "log.txt", USUAL)
        top1 = json.loads((place / "run" / "result.json").read_text())["metrics"]["val/top1"]
        return self.finish(place, Done(name, seed, wall, top1))


def like_timm(optimizer: str, share: float, more: str) -> list[str]:
    """Options under which ours does what timm's script does: the same crops, rates and decay, and no more."""
    rate = {"kind": "Warmup", "epochs": 1.0, "then": {"kind": "Cosine", "start": timm_rate(optimizer, share)}}
    kind, decay = ("AdamW", 0.05) if optimizer == "adamw" else ("RMSPropTF", 1e-5)
    chosen = {"kind": kind, "rate": rate, "weight_decay": {"kind": "Constant", "value": decay}, "scale_lr": False}
    epochs = 2 * EPOCHS if "--epochs" in more else EPOCHS
    options = ["--recipe", "bag-of-tricks", f"epochs={epochs}", f"size={SIZE}", "test_fit=squash", "test_crop=1.0"]
    options += ["zero_gamma=off", f"optimizer={json.dumps(chosen)}", "transforms.MixUp=off"]
    if "--no-aug" in more:
        return [*options, 'transforms=[{"kind": "Squash"}]']
    if MILD in more:
        return [*options, 'transforms=[{"kind": "RandomResizedCrop", "smallest": 0.6}]']
    return options


def spread(values: list[float], digits: int = 1) -> str:
    value, low, high = mean_interval(values)
    return f"{value:.{digits}f} [{low:.{digits}f}, {high:.{digits}f}]"


def run(race: Race, why: bool = False) -> None:
    if not race.folder.exists():
        write_folder(race.folder)
    groups = {"plain CNN": [race.plain(seed) for seed in SEEDS]}
    tried = {(o, s, ""): race.theirs(o, s) for o in ("adamw", "rmsproptf") for s in RATES}
    optimizer, share, _ = max(tried, key=lambda key: tried[key].top1)
    sizes = f"--train-img-sizes {SIZE // 2} {SIZE * 3 // 4} {SIZE} --train-size-schedule progressive"
    for more in ("--no-aug", sizes, f"--no-aug {sizes}"):
        tried[optimizer, share, more] = race.theirs(optimizer, share, more)
    enough = 0.95 * statistics.mean(done.top1 for done in groups["plain CNN"])
    if max(done.top1 for done in tried.values()) < enough:
        for share, more in FURTHER:
            longer = f"--epochs {2 * EPOCHS} {more}"
            tried[optimizer, share, longer] = race.theirs(optimizer, share, longer)
    best = max(tried, key=lambda key: tried[key].top1)
    groups["timm, the best of these"] = [race.theirs(*best, seed) for seed in SEEDS]
    for name, options in {"ours, timm's recipe": like_timm(*best), **OURS}.items():
        groups[name] = [race.ours(name, options, seed) for seed in SEEDS]
    if why:
        optimizer, share, more = best
        zero = more.replace(ONES, "").strip()
        groups["timm, last norms begin at zero"] = [race.theirs(optimizer, share, zero, seed) for seed in SEEDS]
        groups["timm, so, and threads wait as ours do"] = [race.theirs(optimizer, share, zero, seed, True) for seed in SEEDS]
        options = like_timm(*best)
        for name, changed in {
            "ours, timm's recipe, last norms begin at zero": [option.replace("gamma=off", "gamma=on") for option in options],
            "ours, timm's recipe, float32": [*options, "precision=float32"],
        }.items():
            groups[name] = [race.ours(name, changed, seed) for seed in SEEDS]
    target = [done.top1 for done in groups["timm, the best of these"]]
    wall = statistics.mean(done.wall_s for done in groups["timm, the best of these"])
    here = machine()
    print(
        f"\n{here['cpu']}, {here['cores']} cores, torch {here['torch']}; {len(SEEDS)} seeds, mean and 95 % interval of the mean"
    )
    print(f"best of timm: {' '.join(map(str, best))}\n")
    print("| | top-1 % | wall s | share of timm's time | p: above its mean | p (Welch) |\n|---|---|---|---|---|---|")
    for name, dones in groups.items():
        top1 = [done.top1 for done in dones]
        seconds = [done.wall_s for done in dones]
        known = stats.ttest_1samp(top1, statistics.mean(target), alternative="greater").pvalue
        drawn = stats.ttest_ind(top1, target, equal_var=False, alternative="greater").pvalue
        share = statistics.mean(seconds) / wall
        print(f"| {name} | {spread(top1)} | {spread(seconds, 0)} | {share:.2f} | {known:.3f} | {drawn:.3f} |")


def race_within(race: Race, limits: list[str], seeds: int) -> None:
    """timm's best setting and ours within each limit, in turn."""
    if not race.folder.exists():
        write_folder(race.folder)
    theirs, ours = [], {limit: [] for limit in limits}
    for seed in range(seeds):
        theirs.append(race.theirs(*BEST, seed))
        for limit in limits:
            ours[limit].append(race.chosen(limit, seed))
    here = machine()
    print(f"\n{here['cpu']}, {here['cores']} cores, torch {here['torch']}; {seeds} seeds, mean and 95 % interval of the mean\n")
    print("| | top-1 % | wall s | share of timm's time | less timm's top-1, one-sided 95 % bound |\n|---|---|---|---|---|")
    wall, target = ([done.wall_s for done in theirs], [done.top1 for done in theirs])
    print(f"| timm | {spread(target)} | {spread(wall, 0)} | 1 | |")
    for limit, dones in ours.items():
        top1, seconds = [done.top1 for done in dones], [done.wall_s for done in dones]
        low = stats.ttest_ind(top1, target, equal_var=False).confidence_interval(0.9).low
        verdict = "not inferior" if low > -MARGIN else "not shown"
        share = statistics.mean(seconds) / statistics.mean(wall)
        gap = statistics.mean(top1) - statistics.mean(target)
        print(f"| {limit} | {spread(top1)} | {spread(seconds, 0)} | {share:.2f} | {gap:+.1f}, above {low:+.1f}: {verdict} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("timm", type=Path, help="a clone of timm")
    parser.add_argument("output", type=Path)
    parser.add_argument("--why", action="store_true", help="look for what makes the difference in accuracy at the same recipe")
    parser.add_argument("--limits", nargs="+", help="race timm's best setting against ours within these times: 30s 45s")
    parser.add_argument("--seeds", type=int, default=6, help="of each in --limits; default: 6")
    options = parser.parse_args()
    if options.limits:
        race_within(Race(options.timm.resolve(), options.output.resolve()), options.limits, options.seeds)
        return
    run(Race(options.timm.resolve(), options.output.resolve()), options.why)


if __name__ == "__main__":
    main()
