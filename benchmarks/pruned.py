"""Pruned networks beside the same network scaled down by width and trained for as long, which pruning papers leave out.

    python benchmarks/pruned.py pruned --networks resnet50 mobilenet_v2 --seeds 3
    python benchmarks/pruned.py pruned --networks mobilenet_v2 --data sets/fashion2k --size 32 --fields lr=0.003
    python benchmarks/pruned.py pruned --report             # what is there, and the latency of each, taken in turn

For each seed three runs on `shapes`, or other data, each of which is skipped where it is there already: the network;
`paretina prune` of it with recovery epochs; and, from scratch, the network scaled by width to the multiply-adds of the pruned
one, for as many epochs as the two together. Latency is measured at the end, of one picture in float32 and inference form, in
turn; run that alone.
"""

import argparse
import json
import subprocess
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch

from paretina.measure.cost import cost
from paretina.measure.plan import machine
from paretina.measure.statistics import mean_interval
from paretina.measure.timing import Turns, ratio
from paretina.model.edits.scale import Round, Scale
from paretina.model.family import network_named
from paretina.model.weights import load_model
from paretina.search.pruning.prune import in_form


def ran(place: Path, words: list[str], log: Path) -> None:
    """A command that leaves a finished run, unless that is there."""
    if (place / "result.json").exists():
        return
    with log.open("a") as output:
        subprocess.run([sys.executable, "-m", "paretina", *words], check=True, stdout=output, stderr=output)


def scaled_like(name: str, macs: int, size: int, classes: int) -> float:
    """The factor on all widths at which a network has nearly so many multiply-adds."""
    base = replace(network_named(name).blueprint, resolution=size, classes=classes)
    low, high = 0.1, 1.0
    for _ in range(12):
        middle = (low + high) / 2
        if cost(Scale(width=middle, round=Round(floor=0.0))(base)).macs > macs:
            high = middle
        else:
            low = middle
    return low


def seed_of(out: Path, name: str, seed: int, options: argparse.Namespace) -> None:
    place = out / f"{name}-{seed}"
    place.mkdir(parents=True, exist_ok=True)
    log = place / "log.txt"
    size = [f"size={options.size}", f"model.resolution={options.size}", f"seed={seed}", f"threads={options.threads}"]
    size += ["workers=0", "test.every=1000", *options.fields]
    size += [f"data.per_class={options.per_class}"] if options.data == "shapes" else []
    usual = ["--weights", "none", "--recipe", "fast"]
    whole, pruned, control = place / "whole", place / "pruned", place / "control"
    ran(whole, ["train", options.data, "--model", name, *usual, *size, f"epochs={options.epochs}", "--output", str(whole)], log)
    words = ["--cost", "macs", "--target", f"{options.share}x", "--output", str(pruned), f"epochs={options.recovery}"]
    ran(pruned, ["prune", str(whole), *words, f"seed={seed}", f"threads={options.threads}", "workers=0"], log)
    network, about = load_model(pruned / "model.safetensors")
    factor = scaled_like(name, cost(network.model).macs, options.size, len(about.classes))
    total = f"epochs={options.epochs + options.recovery}"
    edit = ["edits.Scale=on", f"edits.Scale.width={factor}", "edits.Scale.round.floor=0"]
    ran(control, ["train", options.data, "--model", name, *usual, *size, *edit, total, "--output", str(control)], log)


def reported(out: Path, names: list[str]) -> None:
    here = machine()
    print(f"{here['cpu']}, {here['cores']} cores, torch {here['torch']}\n")
    print("| network | | seeds | top-1 % | MACs | latency, share of the whole | |\n|---|---|---|---|---|---|---|")
    for name in names:
        places = [place for place in sorted(out.glob(f"{name}-*")) if (place / "control" / "result.json").exists()]
        kinds: dict[str, list[float]] = {"whole": [], "cut": [], "pruned": [], "control": []}
        networks = {}
        for place in places:
            for kind in ("whole", "pruned", "control"):
                kinds[kind].append(json.loads((place / kind / "result.json").read_text())["metrics"]["val/top1"])
                networks.setdefault(kind, load_model(place / kind / "model.safetensors")[0])
            kinds["cut"].append(json.loads((place / "pruned" / "pruned.json").read_text())["cut"]["after"]["value"])
        if not places:
            continue
        side = networks["whole"].model.resolution
        images = torch.randint(0, 256, (1, 3, side, side), dtype=torch.uint8).contiguous(memory_format=torch.channels_last)
        forms = {kind: in_form(network) for kind, network in networks.items()}
        with torch.inference_mode():
            times = Turns(seconds=15.0).run({kind: partial(form, images) for kind, form in forms.items()})
        for kind, values in kinds.items():
            value, low, high = mean_interval(values) if len(values) > 1 else (values[0], float("nan"), float("nan"))
            like = "pruned" if kind == "cut" else kind
            share = 1 / ratio(times["whole"], times[like]).value
            macs = cost(networks[like].model).macs
            print(
                f"| {name} | {kind} | {len(values)} | {value:.1f} [{low:.1f}, {high:.1f}] | {macs / 1e6:.1f}M | {share:.2f} | |"
            )
        gaps = [one - two for one, two in zip(kinds["pruned"], kinds["control"], strict=True)]
        if len(gaps) > 1:
            value, low, high = mean_interval(gaps)
            print(
                f"| {name} | pruned less control, paired by seed | {len(gaps)} | {value:+.1f} [{low:+.1f}, {high:+.1f}] | | | |"
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--networks", nargs="+", default=["resnet50", "mobilenet_v2"])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=12, help="of the network before it is pruned; default: 12")
    parser.add_argument("--recovery", type=int, default=6, help="epochs after the cut; default: 6")
    parser.add_argument("--share", type=float, default=0.4, help="of the multiply-adds; default: 0.4")
    parser.add_argument("--size", type=int, default=64, help="pixels; default: 64")
    parser.add_argument("--data", default="shapes")
    parser.add_argument("--fields", nargs="*", default=[], help="further fields of every training from scratch")
    parser.add_argument("--per-class", type=int, default=150, help="training pictures of each class; default: 150")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--report", action="store_true", help="run nothing")
    options = parser.parse_args()
    if not options.report:
        for seed in range(options.seeds):
            for name in options.networks:
                seed_of(options.out, name, seed, options)
    reported(options.out, options.networks)


if __name__ == "__main__":
    main()
