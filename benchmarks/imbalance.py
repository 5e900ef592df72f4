"""What balanced sampling, class weights and logit adjustment gain in balanced accuracy and cost in top-1, on a long tail.

    python benchmarks/folder_sets.py sets fashion20k
    python benchmarks/imbalance.py imbalance.jsonl --sets sets --set fashion20k --ratio 100
    python benchmarks/imbalance.py imbalance.jsonl --report

The training pictures of a folder set are thinned out, so that the classes, in an order that a hash of their names gives, have
ever fewer: of K classes number k keeps most * ratio^(-k / (K - 1)) pictures (Cui et al. 2019, arXiv:1901.05555, section 5.1).
All validation pictures stay, with as many of each class as the set has, so that top-1 and balanced accuracy are both of them
on pictures as the set has them; where its classes are equally large the two are equal, and "top-1 as in training" weighs each
class by its frequency there: that is what is paid.

`afterwards` is the network of `plain`, with the logarithm of the frequencies subtracted from its logits.

The network is `resnet8_w16_s2` at 28 pixels by default: flips, AdamW 1e-2 and weight decay 0.05, a tenth of warm-up, cosine, no
smoothing, one thread. Each line of the results file is one training; what is there is not run again.
"""

import argparse
import hashlib
import json
import shutil
import statistics
import time
from pathlib import Path
from typing import Any

from paretina.measure.process import spin_briefly

spin_briefly()  # before torch is imported

import torch

from paretina import verbs
from paretina.data.sources.folder import Folder
from paretina.measure.plan import machine
from paretina.measure.statistics import mean_interval, paired_interval

Row = dict[str, Any]

ARMS: dict[str, str | None] = {
    "plain": None,
    "sampling": "sampling",
    "weights": "weights",
    "effective": "effective",
    "logits": "logits",
}
AFTERWARDS = "afterwards"
FIGURES = ("balanced", "top1", "as_trained", "rare")
TITLES = ("balanced accuracy %", "top-1 %", "top-1 as in training %", "recall of the rarest third %")


def place(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def long_tailed(folder: Path, target: Path, ratio: float, most: int | None) -> Path:
    """A copy of a folder set whose training classes have ever fewer pictures."""
    if target.exists():
        return target
    draft = target.with_name(f"{target.name}.partial")
    shutil.rmtree(draft, ignore_errors=True)
    kinds = sorted((kind for kind in (folder / "train").iterdir() if kind.is_dir()), key=lambda kind: place(kind.name))
    for number, kind in enumerate(kinds):
        files = sorted((file for file in kind.iterdir() if file.is_file()), key=lambda file: place(file.name))
        count = max(1, round(min(most or len(files), len(files)) * ratio ** (-number / max(1, len(kinds) - 1))))
        (draft / "train" / kind.name).mkdir(parents=True)
        for file in files[:count]:
            shutil.copyfile(file, draft / "train" / kind.name / file.name)
    shutil.copytree(folder / "val", draft / "val")
    draft.rename(target)
    return target


def fields_of(options: argparse.Namespace, seed: int) -> Row:
    schedule = {"kind": "Warmup", "epochs": options.epochs / 10, "then": {"kind": "Cosine", "start": 1e-2}}
    fields: Row = {"size": options.side, "model.resolution": options.side, "batch_size": 64, "threads": 1, "workers": 0}
    fields |= {"epochs": options.epochs, "seed": seed, "test.every": 1e6, "optimizer.weight_decay": 0.05, "lr": schedule}
    return fields | {"transforms": [{"kind": "Squash"}, {"kind": "HorizontalFlip"}]}


def figures(accuracy: Any, counts: dict[str, int]) -> Row:
    """The figures of one network; `counts` are those of the training pictures."""
    recalls = {each.name: each.recall for each in accuracy.per_class if each.recall is not None}
    rare = sorted(recalls, key=lambda name: counts[name])[: max(1, len(recalls) // 3)]
    total = sum(counts[name] for name in recalls)
    return {
        "balanced": accuracy.balanced,
        "top1": accuracy.top1,
        "as_trained": sum(recall * counts[name] for name, recall in recalls.items()) / total,
        "rare": statistics.fmean(recalls[name] for name in rare),
    }


def trained(options: argparse.Namespace, work: Path, data: Path, arm: str, seed: int) -> list[Row]:
    counts = {kind.name: sum(1 for _ in kind.iterdir()) for kind in (data / "train").iterdir()}
    where = work / f"{data.name}-{arm}-{seed}"
    began = time.process_time()
    source = Folder(path=str(data))
    choice = verbs.ask(source, options.model, "plain", "none", "cpu", fields=fields_of(options, seed), imbalance=ARMS[arm])
    run = verbs.resume(where) if (where / "asked.json").exists() else verbs.start(choice, where)
    spent = time.process_time() - began
    same = {"set": data.name, "seed": seed, "updates": run.result()["updates"], "cpu_s": spent, "ratio": options.ratio}
    rows = [{**same, "arm": arm, **figures(verbs.evaluate(where, source, device="cpu").accuracy, counts)}]
    if arm == "plain":
        after = verbs.evaluate(where, source, device="cpu", logit_adjustment=1.0)
        rows.append({**same, "arm": AFTERWARDS, **figures(after.accuracy, counts)})
    return rows


def said(values: list[float], form: str = ".2f") -> str:
    if len(values) < 2:
        return f"{values[0]:{form}} (1)"
    mean, low, high = mean_interval(values)
    return f"{mean:{form}} [{low:{form}}, {high:{form}}]"


def reported(rows: list[Row]) -> None:
    for name in dict.fromkeys(row["set"] for row in rows):
        own = [row for row in rows if row["set"] == name]
        by_arm = {arm: {row["seed"]: row for row in own if row["arm"] == arm} for arm in (*ARMS, AFTERWARDS)}
        print(f"\n## {name}\n\n| | {' | '.join(TITLES)} | cpu s |\n|---|{'---|' * (len(TITLES) + 1)}")
        for arm, found in by_arm.items():
            if found:
                cells = [said([row[figure] for row in found.values()]) for figure in FIGURES]
                print(f"| {arm} | {' | '.join(cells)} | {statistics.fmean(row['cpu_s'] for row in found.values()):.0f} |")
        print(f"\nless plain, paired by seed:\n\n| | {' | '.join(TITLES)} |\n|---|{'---|' * len(TITLES)}")
        for arm, found in by_arm.items():
            seeds = sorted(set(found) & set(by_arm["plain"]))
            if arm == "plain" or len(seeds) < 2:
                continue
            cells = []
            for figure in FIGURES:
                pair = ([some[seed][figure] for seed in seeds] for some in (found, by_arm["plain"]))
                value, low, high = paired_interval(*pair)
                cells.append(f"{value:+.2f} [{low:+.2f}, {high:+.2f}]")
            print(f"| {arm} | {' | '.join(cells)} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("found", type=Path, help="file of results, one JSON document a line")
    parser.add_argument("--sets", type=Path, default=Path("sets"), help="folder that folder_sets.py wrote")
    parser.add_argument("--set", default="fashion20k")
    parser.add_argument("--ratio", type=float, default=100.0, help="largest over smallest class")
    parser.add_argument("--most", type=int, default=None, help="pictures of the largest class")
    parser.add_argument("--arms", nargs="+", default=list(ARMS), choices=ARMS)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=float, default=30.0)
    parser.add_argument("--side", type=int, default=28)
    parser.add_argument("--model", default="resnet8_w16_s2")
    parser.add_argument("--report", action="store_true", help="train nothing")
    options = parser.parse_args()
    torch.set_num_threads(1)
    work = options.found.with_suffix("")
    rows = [json.loads(line) for line in options.found.read_text().splitlines()] if options.found.exists() else []
    if not options.report:
        work.mkdir(parents=True, exist_ok=True)
        name = f"{options.set}-{options.ratio:g}{f'-{options.most}' if options.most else ''}"
        data = long_tailed(options.sets / options.set, work / name, options.ratio, options.most)
        for seed in range(options.seeds):
            for arm in options.arms:
                if any((row["set"], row["arm"], row["seed"]) == (data.name, arm, seed) for row in rows):
                    continue
                for row in trained(options, work, data, arm, seed):
                    rows.append(row)
                    with options.found.open("a") as file:
                        file.write(json.dumps(row) + "\n")
                    print(row, flush=True)
    here = machine()
    print(f"{here['cpu']}, {here['cores']} cores, torch {here['torch']}")
    reported(rows)


if __name__ == "__main__":
    main()
