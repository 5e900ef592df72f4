"""The scaling claim of EfficientNet, at equal multiply-adds and at equal latency: compound against single dimensions and dWr.

    python benchmarks/folder_sets.py sets fashion2k
    python benchmarks/scaling_claim.py claim.jsonl --sets sets
    python benchmarks/scaling_claim.py shapes.jsonl --data shapes --resolution 32 data.size=64
    python benchmarks/scaling_claim.py claim.jsonl --report

The base is a small network at 14 pixels (28 are 4 times its multiply-adds by resolution alone). Every candidate is solved for
the cost that its built network has, trained with the same recipe and epochs (AdamW 1e-2, weight decay .05, warm-up of a tenth,
cosine, flips, no smoothing, no average) on one thread, with 3 seeds. `uniform+cap` and `fast+late` are EfficientNetV2's
variants: a limit on the image size, and blocks for later stages only. Steps are coarse in so small a network, so costs may stay
further below the target than by default: 13 % for counted ones; each line has the cost that was got.

Each cost and multiple is a study in a folder beside the results, which an interrupted run continues; the file has one line for
each candidate and seed. At the end each candidate is compared with the best single dimension of the same cost, paired by seed.
"""

import argparse
import json
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from paretina.measure.process import spin_briefly

spin_briefly()  # before torch is imported

import torch

from paretina.measure.plan import machine
from paretina.measure.statistics import paired_interval
from paretina.search.tasks import engine
from paretina.train.fields import assignment
from paretina.verbs.scaling import ask_scaled, finished, started

SHARES = ("efficientnet", "uniform", "fast", "0.25/0.5/0.25", "0.5/0.25/0.25", "0.25/0.25/0.5")
COSTS = ("macs", "latency_ms")
TOLERANCE = 0.13


def fields_of(options: argparse.Namespace) -> dict[str, Any]:
    """The regime in which the effect can be seen."""
    schedule = {
        "kind": "Warmup",
        "epochs": options.epochs / 10,
        "then": {"kind": "Cosine", "start": options.lr},
    }
    return {
        "epochs": options.epochs,
        "lr": json.dumps(schedule),
        "optimizer.weight_decay": "0.05",
        "transforms.HorizontalFlip": "on",
        "model.resolution": options.resolution,
        "test.every": 1000,
        "threads": 1,
        "workers": 0,
        **dict(assignment(text) for text in options.fields),
    }


def studied(cost: str, times: float, options: argparse.Namespace) -> dict[str, Any]:
    """The result of a study, done now as far as it is not."""
    folder = options.found.with_suffix("") / f"{cost}-{times:g}x"
    data = options.data or str(options.sets / options.set)
    if not (folder / "asked.json").exists():
        cap = round(options.resolution * 1.45)
        study = ask_scaled(
            options.base,
            data,
            cost=cost,
            times=(times,),
            shares=(*options.shares, f"uniform+cap{cap}", "fast+late"),
            seeds=options.seeds,
            recipe="plain",
            device="cpu",
            tolerance=TOLERANCE,
            timing=options.timing,
            fields=fields_of(options),
        )
        started(study, data, folder)
    return finished(folder, engine(workers=1), lambda text: print(text, flush=True))


def lines_of(result: dict[str, Any], times: float) -> list[dict[str, Any]]:
    """One line for each candidate and seed; shares that gave the same network have their own."""
    known = {row["label"]: row for row in result["candidates"]}
    found = []
    for row in (result["base"]["row"], *result["candidates"]):
        trained = known.get(row["same_as"], row)
        for seed, top1 in trained["top1"].items():
            found.append(
                {
                    "cost": result["cost"],
                    "times": times,
                    "name": row["name"],
                    "single": row["single"],
                    "same_as": row["same_as"],
                    "within": row["within"],
                    "seed": int(seed),
                    "top1": top1,
                    **{key: row[key] for key in ("ratio", "ratio_ends", "macs", "params", "activations", "latency_ms")},
                    **{key: row[key] for key in ("depths", "widths", "resolution", "train_top1", "train_s", "updates")},
                }
            )
    return found


def reported(rows: Sequence[dict[str, Any]]) -> None:
    """A table for each cost and multiple."""
    for cost, times in dict.fromkeys((row["cost"], row["times"]) for row in rows):
        here = [row for row in rows if (row["cost"], row["times"]) == (cost, times)]
        scores = {
            name: {row["seed"]: row["top1"] for row in here if row["name"] == name}
            for name in dict.fromkeys(row["name"] for row in here)
        }
        about = {row["name"]: row for row in here}
        singles = [name for name, row in about.items() if row["single"] and row["within"]]
        best = max(singles, key=lambda name: statistics.fmean(scores[name].values()), default=None)
        print(f"\n{times:g} times the {cost} of the base; the best single dimension of that cost: {best or 'none'}\n")
        print("| shares | cost | blocks | widths | pixels | ms | top-1 % | over it, points | on train % |")
        print("|---|---|---|---|---|---|---|---|---|")
        for name in sorted(scores, key=lambda name: -statistics.fmean(scores[name].values())):
            row, more = about[name], "–"
            seeds = sorted(scores[name].keys() & scores[best].keys()) if best else []
            if best and name != best and len(seeds) > 1:
                gain = paired_interval([scores[name][seed] for seed in seeds], [scores[best][seed] for seed in seeds])
                more = f"{gain.value:+.2f} [{gain.low:.2f}, {gain.high:.2f}]"
            ends = row["ratio_ends"]
            ratio = f"{row['ratio']:.2f}{f' [{ends[0]:.2f}, {ends[1]:.2f}]' if ends else ''}{'' if row['within'] else ' !'}"
            print(
                f"| {name}{' = ' + row['same_as'] if row['same_as'] else ''} | {ratio} | {row['depths']} | {row['widths']} | "
                f"{row['resolution']} | {row['latency_ms'][0] if row['latency_ms'] else float('nan'):.3g} | "
                f"{statistics.fmean(scores[name].values()):.2f} ({len(scores[name])}) | {more} | {row['train_top1'] or 0:.1f} |"
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("found", type=Path, help="file of results, one JSON document a line")
    parser.add_argument("fields", nargs="*", metavar="FIELD=VALUE", help="further fields of the trainings")
    parser.add_argument("--sets", type=Path, default=Path("sets"), help="folder that folder_sets.py wrote")
    parser.add_argument("--set", default="fashion2k")
    parser.add_argument("--data", help="other data instead of a set, such as shapes")
    parser.add_argument("--base", default="resnet8_w16_s2")
    parser.add_argument("--resolution", type=int, default=14, help="of the base, in pixels")
    parser.add_argument("--costs", nargs="+", default=list(COSTS), choices=[*COSTS, "params", "activations", "train_seconds"])
    parser.add_argument("--times", type=float, nargs="+", default=[2.0, 4.0])
    parser.add_argument("--shares", nargs="+", default=list(SHARES))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=float, default=40.0)
    parser.add_argument("--lr", type=float, default=1e-2)
    parser.add_argument("--timing", type=float, default=3.0, help="seconds for each network")
    parser.add_argument("--report", action="store_true", help="only print what was found")
    options = parser.parse_intermixed_args()
    rows = [json.loads(line) for line in options.found.read_text().splitlines()] if options.found.exists() else []
    if not options.report:
        torch.set_num_threads(1)
        for cost in options.costs:
            for times in options.times:
                if any((row["cost"], row["times"]) == (cost, times) for row in rows):
                    continue
                new = lines_of(studied(cost, times, options), times)
                rows += new
                with options.found.open("a") as file:
                    file.writelines(f"{json.dumps(row)}\n" for row in new)
    here = machine()
    print(f"{here['cpu']}, {here['cores']} cores, torch {here['torch']}")
    reported(rows)


if __name__ == "__main__":
    main()
