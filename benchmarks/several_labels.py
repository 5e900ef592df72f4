"""Several labels a picture, on pictures whose labels are known: mean average precision beside scikit-learn's, and thresholds.

    python benchmarks/folder_sets.py sets fashion2k fashion20k
    python benchmarks/several_labels.py several.jsonl --sets sets
    python benchmarks/several_labels.py several.jsonl --report

Each picture is a square of four places, of which one to four hold an item of Fashion-MNIST, drawn at 20 of its 28 pixels: the
classes of these items are its labels. Class number k of the ten is drawn ever more rarely (a tenth as often at the end), since
one threshold for all classes fits classes of one frequency. Training and validation items are those of the training and of the
validation set. A table names the pictures, with a column of 0 and 1 for each class.

One network is trained for each seed. Its mean average precision is compared with that of scikit-learn on the probabilities of
the file of predictions, and macro F1 at a threshold of 0.5 with that at thresholds for each class, which were chosen on the
other half of the pictures. Each line of the results file is one training; what is there is not run again.
"""

import argparse
import csv
import json
import time
from pathlib import Path
from typing import Any

from paretina.measure.process import spin_briefly

spin_briefly()  # before torch is imported

import numpy as np
import PIL.Image
import torch
from sklearn.metrics import average_precision_score, f1_score

from paretina import verbs
from paretina.measure.plan import machine
from paretina.measure.statistics import mean_interval, paired_interval

Row = dict[str, Any]

ITEM = 20
"""Side of an item, in pixels; the picture has two in a row."""


def drawn(items: dict[str, list[Path]], random: np.random.Generator) -> tuple[PIL.Image.Image, set[str]]:
    names = sorted(items)
    weights = np.geomspace(1.0, 0.1, len(names))
    picture = PIL.Image.new("L", (2 * ITEM, 2 * ITEM))
    there = set()
    for place in random.permutation(4)[: random.integers(1, 5)]:
        name = names[random.choice(len(names), p=weights / weights.sum())]
        with PIL.Image.open(items[name][random.integers(len(items[name]))]) as item:
            picture.paste(item.convert("L").resize((ITEM, ITEM)), (ITEM * (int(place) % 2), ITEM * (int(place) // 2)))
        there.add(name)
    return picture, there


def table(options: argparse.Namespace, work: Path) -> Path:
    """The pictures and their table, written once."""
    found = work / "pictures.csv"
    if found.exists():
        return found
    rows, names = [], sorted(place.name for place in (options.sets / "fashion20k" / "train").iterdir())
    for split, folder, count in (("train", "fashion20k/train", options.pictures), ("val", "fashion2k/val", options.judged)):
        items = {name: sorted((options.sets / folder / name).iterdir()) for name in names}
        random = np.random.default_rng([0, split == "val"])
        (work / split).mkdir(parents=True, exist_ok=True)
        for number in range(count):
            picture, there = drawn(items, random)
            path = f"{split}/{number:05d}.png"
            picture.save(work / path)
            rows.append([path, split, *(int(name in there) for name in names)])
    draft = work / "pictures.partial"
    with draft.open("w", newline="") as file:
        csv.writer(file).writerows([["path", "split", *names], *rows])
    draft.rename(found)
    return found


def trained(options: argparse.Namespace, work: Path, seed: int) -> Row:
    data, place = str(table(options, work)), work / f"seed-{seed}"
    schedule = {"kind": "Warmup", "epochs": options.epochs / 10, "then": {"kind": "Cosine", "start": 1e-2}}
    fields: Row = {"size": 2 * ITEM, "model.resolution": 2 * ITEM, "batch_size": 64, "threads": 1, "workers": 0, "lr": schedule}
    fields |= {"epochs": options.epochs, "seed": seed, "test.every": 1e6, "optimizer.weight_decay": 0.05}
    fields |= {"transforms": [{"kind": "Squash"}, {"kind": "HorizontalFlip"}]}
    choice = verbs.ask(data, options.model, "plain", "none", "cpu", fields=fields)
    began = time.process_time()
    run = verbs.resume(place) if (place / "asked.json").exists() else verbs.start(choice, place)
    result = run.result()
    with (place / "predictions.csv").open(newline="") as file:
        answers = list(csv.DictReader(file))
    names = sorted(set(answers[0]) - {"name", "labels", "predicted"})
    truth = np.array([[name in row["labels"].split("; ") for name in names] for row in answers])
    shares = np.array([[float(row[name]) for name in names] for row in answers])
    figures = result["metrics"]
    return {
        "seed": seed,
        "updates": result["updates"],
        "map": figures["val/map"],
        "map of scikit-learn": 100 * float(average_precision_score(truth, shares, average="macro")),
        "f1": figures["val/f1_macro"],
        "f1 of scikit-learn": 100 * float(f1_score(truth, shares > 0.5, average="macro", zero_division=0.0)),
        "f1 with own thresholds": figures["val/f1_macro_tuned"],
        "frequencies": [round(float(share), 3) for share in truth.mean(0)],
        "on training pictures": result["on_train"]["value"],
        "cpu_s": time.process_time() - began,
    }


def reported(rows: list[Row]) -> None:
    print("| | mean of the seeds |\n|---|---|")
    for name in ("map", "map of scikit-learn", "f1", "f1 of scikit-learn", "f1 with own thresholds", "on training pictures"):
        value, low, high = mean_interval([row[name] for row in rows])
        print(f"| {name} | {value:.2f} [{low:.2f}, {high:.2f}] ({len(rows)}) |")
    gain = paired_interval([row["f1 with own thresholds"] for row in rows], [row["f1"] for row in rows])
    print(f"\nown thresholds less 0.5, paired by seed: {gain.value:+.2f} points of F1 [{gain.low:+.2f}, {gain.high:+.2f}]")
    print(f"shares of the pictures that have a class: {rows[0]['frequencies']}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("found", type=Path, help="file of results, one JSON document a line")
    parser.add_argument("--sets", type=Path, default=Path("sets"), help="folder that folder_sets.py wrote")
    parser.add_argument("--pictures", type=int, default=4000, help="training pictures")
    parser.add_argument("--judged", type=int, default=2000, help="validation pictures")
    parser.add_argument("--model", default="resnet8_w16_s2")
    parser.add_argument("--epochs", type=float, default=15.0)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--report", action="store_true", help="train nothing")
    options = parser.parse_args()
    rows: list[Row] = []
    if options.found.exists():
        rows = [json.loads(line) for line in options.found.read_text().splitlines()]
    if not options.report:
        work = options.found.with_suffix("")
        work.mkdir(parents=True, exist_ok=True)
        torch.set_num_threads(1)
        for seed in range(options.seeds):
            if not any(row["seed"] == seed for row in rows):
                rows.append(trained(options, work, seed))
                with options.found.open("a") as file:
                    file.write(json.dumps(rows[-1]) + "\n")
                print(rows[-1], flush=True)
    here = machine()
    print(f"{here['cpu']}, {here['cores']} cores, torch {here['torch']}")
    if len(rows) > 1:
        reported(rows)


if __name__ == "__main__":
    main()
