"""Self-training from round to round: RIST beside training on both kinds of pictures at once, and on the labelled ones alone.

    python benchmarks/folder_sets.py sets fashion2k fashion20k
    python benchmarks/selftraining.py found.jsonl --sets sets --seeds 3
    python benchmarks/selftraining.py found.jsonl --report

A network learns from a share of the labelled pictures of fashion2k; then `paretina selftrain` trains it on, with pictures of
fashion20k whose labels are not used, in each order, from the same run. All are judged on the 10,000 test pictures after each
round. Each row of the results file is one order with one seed, and is not run again.
"""

import argparse
import json
import shutil
import time
from pathlib import Path
from typing import Any

import torch

from paretina import verbs
from paretina.data.sources.folder import Folder
from paretina.data.sources.part import Part
from paretina.measure.plan import machine
from paretina.measure.statistics import mean_interval

NETWORK = "resnet8_w16_s2"
ORDERS = ("labelled", "fixed", "random", "greedy")
TRANSFORMS = [{"kind": "Squash"}, {"kind": "RandomShift"}, {"kind": "HorizontalFlip"}]


def row_of(options: argparse.Namespace, work: Path, seed: int, order: str) -> dict[str, Any]:
    usual = {"size": options.pixels, "model__resolution": options.pixels, "batch_size": 64, "threads": 1, "workers": 0}
    usual |= {"test__every": 1000.0, "transforms": TRANSFORMS, "seed": seed}
    base = work / f"base-{seed}"
    data = Part(source=Folder(path=str(options.sets / "fashion2k")), share=options.labels, seed=seed)
    if not (base / "result.json").exists():
        shutil.rmtree(base, ignore_errors=True)  # a run that was interrupted
        epochs = options.updates / max(1, 2000 * options.labels / 64)
        verbs.train(data, NETWORK, "scratch", "none", "cpu", base, planning="default", epochs=epochs, lr=1e-2, **usual)
    pictures = Part(source=Folder(path=str(options.sets / "fashion20k")), share=options.pictures, seed=seed)
    began = time.process_time()
    found = verbs.selftrain(
        base,
        pictures,
        options.rounds,
        order,
        seed=seed,
        output=work / f"{order}-{seed}",
        recipe="scratch",
        device="cpu",
        epochs=options.epochs,
        lr=options.lr,
        **{name: value for name, value in usual.items() if name != "seed"},
    )
    top1 = [found.before[0], *(each.top1[0] for each in found.rounds)]
    phases = [each.phase for each in found.rounds]
    return {"order": order, "seed": seed, "top1": top1, "phases": phases, "cpu_s": time.process_time() - began}


def reported(rows: list[dict[str, Any]]) -> None:
    print(f"| order | {' | '.join(f'round {at}' if at else 'before' for at in range(len(rows[0]['top1'])))} | cpu s |")
    print(f"|---|{'---|' * len(rows[0]['top1'])}---|")
    for order in dict.fromkeys(row["order"] for row in rows):
        own = [row for row in rows if row["order"] == order]
        cells = []
        for values in zip(*(row["top1"] for row in own), strict=True):
            mean, low, high = mean_interval(values) if len(values) > 1 else (values[0], float("nan"), float("nan"))
            cells.append(f"{mean:.2f} [{low:.2f}, {high:.2f}]")
        print(f"| {order} ({len(own)}) | {' | '.join(cells)} | {sum(row['cpu_s'] for row in own) / len(own):.0f} |")
    by_seed = {(row["order"], row["seed"]): row["top1"][-1] for row in rows}
    for order in ORDERS[1:]:
        gaps = [value - by_seed["labelled", seed] for (name, seed), value in by_seed.items() if name == order]
        if len(gaps) > 1:
            mean, low, high = mean_interval(gaps)
            print(f"{order} less labelled alone after the last round, paired by seed: {mean:+.2f} [{low:+.2f}, {high:+.2f}]")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("found", type=Path)
    parser.add_argument("--sets", type=Path)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--orders", nargs="+", default=list(ORDERS[:3]), choices=ORDERS)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--labels", type=float, default=0.1, help="share of the 2,000 labelled pictures; default: 0.1")
    parser.add_argument("--pictures", type=float, default=0.2, help="share of the 20,000 unlabelled ones; default: 0.2")
    parser.add_argument("--updates", type=int, default=800, help="of the first run; default: 800")
    parser.add_argument("--epochs", type=float, default=8.0, help="of each round; default: 8")
    parser.add_argument("--lr", type=float, default=5e-3)
    parser.add_argument("--pixels", type=int, default=14)
    parser.add_argument("--report", action="store_true", help="run nothing")
    options = parser.parse_args()
    torch.set_num_threads(1)
    rows = [json.loads(line) for line in options.found.read_text().splitlines()] if options.found.exists() else []
    if not options.report:
        work = options.found.with_suffix("")
        work.mkdir(parents=True, exist_ok=True)
        for seed in range(options.seeds):
            for order in options.orders:
                if any((row["order"], row["seed"]) == (order, seed) for row in rows):
                    continue
                rows.append(row_of(options, work, seed, order))
                with options.found.open("a") as file:
                    file.write(json.dumps(rows[-1]) + "\n")
                print(rows[-1], flush=True)
    here = machine()
    print(f"{here['cpu']}, {here['cores']} cores, torch {here['torch']}")
    reported(rows)


if __name__ == "__main__":
    main()
