"""Claims about regularisation, sizes, norms and amounts of data, where a small network fits its training pictures.

    python benchmarks/folder_sets.py sets fashion2k fashion20k emoji
    python benchmarks/claims.py claims.jsonl --sets sets --claims strength mixing amount labels progressive larger norms
    python benchmarks/claims.py claims.jsonl --report

- `strength`: RandAugment of magnitude 0, 5 and 10, at 14 and at 28 pixels ("small images want weak regularisation, large ones
  strong", Tan & Le 2021, arXiv:2104.00298, section 4): the gain at 28 less the gain at 14.
- `mixing`: mixup, CutMix and neither, at 28 pixels: accuracy, points lost by corruptions, and AUROC on strangers (emoji).
- `amount`: 600 to 20,000 training pictures, two widths, equal epochs or equal updates: points for each doubling.
- `labels`: 0 to 40 % wrong training labels, two widths.
- `progressive`: sizes and strength that rise from 14 to 28 pixels with a held rate (same paper, section 4), against 28 pixels
  throughout, as many epochs and as much processor time (of seed 0), and 14 pixels throughout; whole pictures and random crops.
- `larger`: trained at 20 pixels on random crops and on whole pictures, tested at 20, 24 and 28 ("always test larger than you
  trained", Touvron et al. 2019, arXiv:1906.06423).
- `norms`: EfficientNet-B0 of a quarter of the width and 0.4 of the depth at 32 pixels: group width, layer norm and proxy norm,
  half the pixels (Masters et al. 2021, arXiv:2106.03640).

The network is `resnet8_w16_s2` (78,000 parameters), or twice as wide (`progressive`, `larger`), unless said; Fashion-MNIST,
2,000 training pictures unless said, all 10,000 test pictures; flips, AdamW 1e-2 and weight decay 0.05, a tenth of warm-up,
cosine, no smoothing, no average, one thread.
Each line of the results file is one training, with accuracy on its own training pictures without augmentation; what is there is
not run again.
"""

import argparse
import json
import math
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from groups import EDITS, blueprint

from paretina.measure.process import spin_briefly

spin_briefly()  # before torch is imported

import torch

from paretina import verbs
from paretina.data.source import Source
from paretina.data.sources.apart import Apart
from paretina.data.sources.folder import Folder
from paretina.data.sources.part import Part
from paretina.measure.plan import machine
from paretina.measure.statistics import mean_interval
from paretina.train.progressive import Progressive

Row = dict[str, Any]

FLIP = {"kind": "HorizontalFlip"}
WIDTHS = {"w16": "resnet8_w16_s2", "w32": "resnet8_w32_s2"}
CROP = {"kind": "RandomResizedCrop", "smallest": 0.35}
STRONG = {"kind": "RandAugment", "magnitude": 5}


def constant(value: float) -> dict[str, Any]:
    return {"kind": "Constant", "value": value}


def strength(options: argparse.Namespace) -> Iterator[Row]:
    for side in (14, 28):
        for magnitude in (0, 5, 10):
            augment = [{"kind": "RandAugment", "magnitude": constant(magnitude)}] if magnitude else []
            yield {"arm": f"{side} px, {magnitude}", "side": side, "transforms": augment, "share": 0.1}


def mixing(options: argparse.Namespace) -> Iterator[Row]:
    kinds = {"neither": [], "mixup 0.2": [{"kind": "MixUp", "alpha": constant(0.2)}], "CutMix": [{"kind": "CutMix"}]}
    for arm, more in kinds.items():
        yield {"arm": arm, "side": 28, "transforms": more, "share": 0.1, "robust": True}


def amount(options: argparse.Namespace) -> Iterator[Row]:
    for width in WIDTHS:
        for pictures in (600, 2000, 6000, 20_000):
            equal_epochs = 15.0
            yield {"arm": f"{width}, {pictures}, epochs", "side": 14, "share": pictures / 20_000, "width": width,
                   "epochs": equal_epochs}  # fmt: skip
            if pictures != 2000:  # there both are the same number of updates
                yield {"arm": f"{width}, {pictures}, updates", "side": 14, "share": pictures / 20_000, "width": width,
                       "epochs": equal_epochs * 2000 / pictures}  # fmt: skip


def labels(options: argparse.Namespace) -> Iterator[Row]:
    for width in WIDTHS:
        for noise in (0.0, 0.2, 0.4):
            yield {"arm": f"{width}, {noise:g} wrong", "side": 14, "share": 0.1, "width": width, "noise": noise}


def progressive(options: argparse.Namespace) -> Iterator[Row]:
    """The arms; one that is to take as long as another comes behind it."""
    for view, crop in (("whole", []), ("crops", [CROP])):
        shared = {"share": 0.1, "width": "w32", "crop": crop, "transforms": [STRONG]}
        rising = f"{view}, rising"
        yield {"arm": f"{view}, 28", "side": 28, **shared}
        yield {"arm": rising, "side": 28, "rising": Progressive(start=14, end=28, stages=3, step=1), **shared}
        yield {"arm": f"{view}, 28, as long as rising", "side": 28, "as_long": (rising, f"{view}, 28"), **shared}
        yield {"arm": f"{view}, 14", "side": 14, **shared}


def larger(options: argparse.Namespace) -> Iterator[Row]:
    for view, crop in (("whole", []), ("crops", [CROP])):
        yield {"arm": f"{view}, 20", "side": 20, "share": 0.1, "width": "w32", "crop": crop, "tested": (16, 20, 24, 28)}


NORMS: dict[str, tuple[str, int]] = {
    "depthwise, batch norm": ("depthwise", 32),
    "groups of 16, batch norm": ("groups of 16", 32),
    "groups of 16, layer norm": ("groups of 16, layer norm", 32),
    "groups of 16, layer and proxy norm": ("groups of 16, layer and proxy norm", 32),
    "groups of 16, layer and proxy norm, half the pixels": ("groups of 16, layer and proxy norm", 23),
}


def norms(options: argparse.Namespace) -> Iterator[Row]:
    for arm, (edits, side) in NORMS.items():
        model = blueprint(0.25, 0.4, side, EDITS[edits])
        yield {"arm": arm, "side": side, "share": 0.1, "model": model, "epochs": 2 * options.epochs, "lr": 3e-3}


CLAIMS: dict[str, Callable[[argparse.Namespace], Iterator[Row]]] = {
    "strength": strength,
    "mixing": mixing,
    "amount": amount,
    "labels": labels,
    "progressive": progressive,
    "larger": larger,
    "norms": norms,
}


def trained(options: argparse.Namespace, work: Path, claim: str, arm: Row, seed: int) -> Row:
    judged = Folder(path=str(options.sets / "fashion2k"))
    source: Source = Folder(path=str(options.sets / "fashion20k"))
    clean = Part(source=source, share=arm["share"], seed=0)  # the same pictures for all seeds
    data = Apart(train=Part(source=source, share=arm["share"], noise=arm.get("noise", 0.0), seed=0), val=judged)
    epochs = arm.get("epochs", options.epochs)
    schedule = {"kind": "Warmup", "epochs": epochs / 10, "then": {"kind": "Cosine", "start": arm.get("lr", 1e-2)}}
    fields: Row = {"size": arm["side"], "model.resolution": arm["side"], "batch_size": 64, "threads": 1, "workers": 0}
    fields |= {"epochs": epochs, "seed": seed, "test.every": 1e6, "optimizer.weight_decay": 0.05, "lr": schedule}
    fields["transforms"] = [*(arm.get("crop") or [{"kind": "Squash"}]), FLIP, *arm.get("transforms", [])]
    place = work / f"{claim}-{arm['arm'].replace(' ', '').replace(',', '-')}-{seed}"
    began = time.process_time()
    model, rising = arm.get("model") or WIDTHS[arm.get("width", "w16")], arm.get("rising")
    if rising:  # which sets the sizes
        fields.pop("size")
    choice = verbs.ask(data, model, "plain", "none", "cpu", fields=fields, progressive=rising)
    run = verbs.resume(place) if (place / "asked.json").exists() else verbs.start(choice, place)
    spent = time.process_time() - began
    result = run.result()
    found = {"claim": claim, "arm": arm["arm"], "seed": seed, "updates": result["updates"], "cpu_s": spent}
    found["top1"] = result["metrics"]["val/top1"]
    found["train_top1"] = verbs.evaluate(place, clean, split="train", device="cpu").accuracy.top1
    if "tested" in arm:
        tested = {f"{side}": verbs.evaluate(place, judged, resolution=side, device="cpu") for side in arm["tested"]}
        found["at"] = {side: evaluated.accuracy.top1 for side, evaluated in tested.items()}
    if arm.get("robust"):
        robust = verbs.evaluate(
            place, judged, device="cpu", corruptions=options.corruptions, ood=options.sets / options.strangers / "val"
        )
        found["lost"] = robust.corrupted.lost
        found["auroc"] = robust.unknown.to_dict()
    return found


def reported(rows: list[Row]) -> None:
    for claim in dict.fromkeys(row["claim"] for row in rows):
        own = [row for row in rows if row["claim"] == claim]
        print(f"\n## {claim}\n\n| | top-1 % | on its training pictures % | updates | cpu s |\n|---|---|---|---|---|")
        scores: dict[str, dict[int, float]] = {}
        for arm in dict.fromkeys(row["arm"] for row in own):
            these = [row for row in own if row["arm"] == arm]
            scores[arm] = {row["seed"]: row["top1"] for row in these}
            more = ""
            for side in these[0].get("at", ()):
                more += f"; at {side} {said([row['at'][side] for row in these])}"
            if "lost" in these[0]:
                more += f"; points lost by corruptions {said([row['lost'] for row in these])}"
            fits, spent = (statistics.fmean(row[key] for row in these) for key in ("train_top1", "cpu_s"))
            print(f"| {arm} | {said(list(scores[arm].values()))}{more} | {fits:.1f} | {these[0]['updates']} | {spent:.0f} |")
        if claim == "strength":
            for magnitude in (5, 10):
                names = [f"{side} px, {level}" for side in (14, 28) for level in (0, magnitude)]
                if all(name in scores for name in names):
                    small, small_with, large, large_with = (scores[name] for name in names)
                    seeds = sorted(set.intersection(*(set(scores[name]) for name in names)))
                    gaps = [large_with[at] - large[at] - small_with[at] + small[at] for at in seeds]
                    print(f"\ngain of RandAugment {magnitude} at 28 less that at 14 pixels: {said(gaps, '+.2f')}")
        elif claim == "amount":
            for width in WIDTHS:
                for equal in ("epochs", "updates"):
                    slope(scores, width, equal)
        elif claim == "mixing":
            print()
            for row in own:
                print(f"{row['arm']}, seed {row['seed']}, strangers: {row['auroc']}")


def slope(scores: dict[str, dict[int, float]], width: str, equal: str) -> None:
    """Points for each doubling of the pictures, by least squares, each seed on its own."""
    counts = (600, 2000, 6000, 20_000)
    names = {count: f"{width}, {count}, {'epochs' if count == 2000 else equal}" for count in counts}
    if not all(name in scores for name in names.values()):
        return
    seeds = sorted(set.intersection(*(set(scores[name]) for name in names.values())))
    across = [math.log2(count) for count in counts]
    centre = statistics.fmean(across)
    slopes = []
    for seed in seeds:
        up = [scores[names[count]][seed] for count in counts]
        slopes.append(sum((x - centre) * y for x, y in zip(across, up, strict=True)) / sum((x - centre) ** 2 for x in across))
    print(f"\n{width}, equal {equal}: points for each doubling of the pictures {said(slopes)}")


def said(values: list[float], form: str = ".2f") -> str:
    if len(values) < 2:
        return f"{values[0]:{form}} (1)"
    mean, low, high = mean_interval(values)
    return f"{mean:{form}} [{low:{form}}, {high:{form}}] ({len(values)})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("found", type=Path, help="file of results, one JSON document a line")
    parser.add_argument("--sets", type=Path, default=Path("sets"), help="folder that folder_sets.py wrote")
    parser.add_argument("--claims", nargs="+", default=list(CLAIMS), choices=CLAIMS)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=float, default=30.0)
    parser.add_argument("--corruptions", default="gaussian_noise,jpeg", help="of the claim about mixing, as for evaluate")
    parser.add_argument("--strangers", default="emoji", help="set whose validation pictures are the strangers")
    parser.add_argument("--report", action="store_true", help="train nothing")
    options = parser.parse_args()
    torch.set_num_threads(1)
    work = options.found.with_suffix("")
    rows = [json.loads(line) for line in options.found.read_text().splitlines()] if options.found.exists() else []
    if not options.report:
        work.mkdir(parents=True, exist_ok=True)
        for claim in options.claims:
            for seed in range(options.seeds):
                for arm in CLAIMS[claim](options):
                    if any((row["claim"], row["arm"], row["seed"]) == (claim, arm["arm"], seed) for row in rows):
                        continue
                    if "as_long" in arm:
                        first = {row["arm"]: row["cpu_s"] for row in rows if (row["claim"], row["seed"]) == (claim, 0)}
                        theirs, whole = (first[name] for name in arm["as_long"])
                        arm["epochs"] = round(options.epochs * theirs / whole, 1)
                    rows.append(trained(options, work, claim, arm, seed))
                    with options.found.open("a") as file:
                        file.write(json.dumps(rows[-1]) + "\n")
                    print(rows[-1], flush=True)
    here = machine()
    print(f"{here['cpu']}, {here['cores']} cores, torch {here['torch']}")
    reported(rows)


if __name__ == "__main__":
    main()
