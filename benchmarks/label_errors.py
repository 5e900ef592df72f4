"""How many wrong labels `paretina data labels` finds, beside cleanlab on the same probabilities, and what removing them gains.

    python benchmarks/folder_sets.py sets fashion2k
    python benchmarks/label_errors.py label_errors.jsonl --sets sets --set fashion2k --size 96
    python benchmarks/label_errors.py label_errors.jsonl --report

Training labels of a folder set are made wrong: 5, 10 and 20 %, `uniform` to any other class, or `by class` to the class that is
most like it, of which features tell (the class whose mean is nearest), which is the harder and the more usual mistake. Then the
labels are looked at as `paretina data labels` does: features of a network that was trained elsewhere, copies in one fold,
cross-fitted linear classifiers, confident learning.

- precision and recall of what is found; AUPRC of the margin as a score of all pictures (`sklearn.average_precision_score`);
- the same for cleanlab, `find_label_issues` with `confident_learning` and with its default, `prune_by_noise_rate`, on the same
  probabilities;
- top-1 of a linear classifier on the validation pictures, whose labels nobody touched, after fitting it to the wrong labels, to
  the labels with the suggestions, without the pictures that were found, and to the right labels.

Each line of the results file is one set of wrong labels; what is there is not computed again.
"""

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from cleanlab.filter import find_label_issues
from cleanlab.rank import get_label_quality_scores
from sklearn.metrics import average_precision_score

from paretina.data.likeness import copies, looked_at
from paretina.data.pictures import read_pictures
from paretina.data.sources.folder import Folder
from paretina.measure.label_errors import label_errors
from paretina.measure.plan import machine
from paretina.measure.statistics import mean_interval, paired_interval
from paretina.train.cross_fit import cross_fitted, fold_numbers
from paretina.train.probe import features, fit_probe
from paretina.verbs.evaluating import inference_plan
from paretina.verbs.labelling import feature_network

Row = dict[str, Any]

FITS = ("wrong", "relabelled", "removed", "right")


def seen(options: argparse.Namespace, work: Path) -> dict[str, Any]:
    """Features and labels of both splits, computed once."""
    source = Folder(path=str(options.sets / options.set))
    collection = source.open()
    file = work / f"{options.set}-{options.size}.pt"
    if not file.exists():
        network, _, _ = feature_network(options.model, source)
        found: dict[str, Any] = {}
        for split in ("train", "val"):
            pictures = read_pictures(collection, collection.split(split))
            rows = features(network, pictures, inference_plan("cpu"), options.size, classes=len(collection.classes))
            found[split] = (rows, torch.tensor(pictures.labels()))
            found[f"{split} names"] = [sample.name for sample in pictures.samples]
        samples = [sample for sample in collection.split("train") if sample.name in {*found["train names"]}]
        looks = looked_at(collection, samples).looks
        found["copies"] = copies([each.name for each in samples], [each.label for each in samples], looks)
        torch.save(found, file)
    return {**torch.load(file, weights_only=True), "classes": len(collection.classes)}


def made_wrong(labels: torch.Tensor, rows: torch.Tensor, classes: int, kind: str, share: float, seed: int) -> torch.Tensor:
    """The labels with a share of wrong ones."""
    random = np.random.default_rng(seed)
    chosen = torch.from_numpy(np.sort(random.choice(len(labels), round(share * len(labels)), replace=False)))
    wrong = labels.clone()
    if kind == "uniform":
        wrong[chosen] = (labels[chosen] + torch.from_numpy(random.integers(1, classes, len(chosen)))) % classes
        return wrong
    means = torch.stack([rows[labels == each].mean(0) for each in range(classes)])
    apart = torch.cdist(means, means).fill_diagonal_(torch.inf)
    wrong[chosen] = apart.argmin(1)[labels[chosen]]
    return wrong


def scored(found: np.ndarray, wrong: np.ndarray, score: np.ndarray) -> Row:
    hits = int((found & wrong).sum())
    return {
        "precision": 100 * hits / max(1, int(found.sum())),
        "recall": 100 * hits / max(1, int(wrong.sum())),
        "auprc": 100 * float(average_precision_score(wrong, score)),
        "found": int(found.sum()),
    }


def measured(data: dict[str, Any], options: argparse.Namespace, kind: str, share: float, seed: int) -> Row:
    (rows, labels), (val, truth), classes = data["train"], data["val"], data["classes"]
    given = made_wrong(labels, rows, classes, kind, share, seed)
    began = time.process_time()
    folds = fold_numbers(data["train names"], given.tolist(), options.folds, data["copies"])
    shares = cross_fitted(rows, given, classes, folds)
    ours = label_errors(shares, given)
    spent = time.process_time() - began
    wrong = (given != labels).numpy()
    mask = np.zeros(len(labels), bool)
    mask[ours.numbers.numpy()] = True
    found = {"ours": scored(mask, wrong, ours.margins.numpy())}
    quality = get_label_quality_scores(given.numpy(), shares.numpy(), method="normalized_margin")
    for name, way in (("cleanlab, confident", "confident_learning"), ("cleanlab, noise rate", "prune_by_noise_rate")):
        theirs = find_label_issues(given.numpy(), shares.numpy(), filter_by=way, n_jobs=1)
        found[name] = scored(theirs, wrong, 1 - quality)
    relabelled = given.clone()
    relabelled[ours.numbers] = ours.suggested
    kept = torch.from_numpy(~mask)
    fits = {"wrong": (rows, given), "relabelled": (rows, relabelled), "removed": (rows[kept], given[kept])}
    fits["right"] = (rows, labels)
    top1 = {}
    for name, (samples, own) in fits.items():
        right = fit_probe(samples, own, classes)(val).argmax(1) == truth
        top1[name] = 100 * float(right.float().mean())
    suggested = float((ours.suggested == labels[ours.numbers]).float().mean()) if len(ours.numbers) else 0.0
    return {
        "set": options.set,
        "size": options.size,
        "kind": kind,
        "share": share,
        "seed": seed,
        "estimated": 100 * ours.wrong,
        "suggestion_right": 100 * suggested,
        "methods": found,
        "top1": top1,
        "cpu_s": spent,
    }


def said(values: list[float], form: str = ".1f") -> str:
    if len(values) < 2:
        return f"{values[0]:{form}} (1)"
    mean, low, high = mean_interval(values)
    return f"{mean:{form}} [{low:{form}}, {high:{form}}]"


def reported(rows: list[Row]) -> None:
    for key in dict.fromkeys((row["set"], row["size"]) for row in rows):
        own = [row for row in rows if (row["set"], row["size"]) == key]
        cases = list(dict.fromkeys((row["kind"], row["share"]) for row in own))
        print(f"\n## {key[0]} at {key[1]} pixels\n")
        print("| wrong labels | method | found | precision % | recall % | AUPRC % |\n|---|---|---|---|---|---|")
        for kind, share in cases:
            these = [row for row in own if (row["kind"], row["share"]) == (kind, share)]
            for name in these[0]["methods"]:
                cells = (
                    said([row["methods"][name][what] for row in these]) for what in ("found", "precision", "recall", "auprc")
                )
                print(f"| {kind}, {100 * share:g} % | {name} | {' | '.join(cells)} |")
        print(f"\n| wrong labels | {' | '.join(f'{name}, top-1 %' for name in FITS)} | relabelled - wrong | removed - wrong |")
        print(f"|---|{'---|' * (len(FITS) + 2)}")
        for kind, share in cases:
            these = [row for row in own if (row["kind"], row["share"]) == (kind, share)]
            top1 = {name: [row["top1"][name] for row in these] for name in FITS}
            gains = ["", ""]
            if len(these) > 1:
                pairs = [paired_interval(top1[name], top1["wrong"]) for name in ("relabelled", "removed")]
                gains = [f"{value:+.2f} [{low:+.2f}, {high:+.2f}]" for value, low, high in pairs]
            print(f"| {kind}, {100 * share:g} % | {' | '.join(said(top1[name]) for name in FITS)} | {' | '.join(gains)} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("found", type=Path, help="file of results, one JSON document a line")
    parser.add_argument("--sets", type=Path, default=Path("sets"), help="folder that folder_sets.py wrote")
    parser.add_argument("--set", default="fashion2k")
    parser.add_argument("--model", default=None, help="network whose features are used, as for paretina data labels")
    parser.add_argument("--size", type=int, default=96)
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--shares", type=float, nargs="+", default=[0.05, 0.1, 0.2])
    parser.add_argument("--kinds", nargs="+", default=["uniform", "by class"], choices=["uniform", "by class"])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--report", action="store_true", help="compute nothing")
    options = parser.parse_args()
    torch.set_num_threads(1)
    work = options.found.with_suffix("")
    rows = [json.loads(line) for line in options.found.read_text().splitlines()] if options.found.exists() else []
    if not options.report:
        work.mkdir(parents=True, exist_ok=True)
        data = seen(options, work)
        for kind in options.kinds:
            for share in options.shares:
                for seed in range(options.seeds):
                    key = (options.set, options.size, kind, share, seed)
                    if any(tuple(row[name] for name in ("set", "size", "kind", "share", "seed")) == key for row in rows):
                        continue
                    rows.append(measured(data, options, kind, share, seed))
                    with options.found.open("a") as file:
                        file.write(json.dumps(rows[-1]) + "\n")
                    print(rows[-1], flush=True)
    here = machine()
    print(f"{here['cpu']}, {here['cores']} cores, torch {here['torch']}")
    reported(rows)


if __name__ == "__main__":
    main()
