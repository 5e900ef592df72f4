"""How well MACs foretell time, and inference the training step, over all our networks.

    python benchmarks/correlations.py                          # all networks at 224 pixels, batch 8
    python benchmarks/correlations.py 'efficientnet*' --resolution 96 --seconds 1

Networks are timed in turn in groups that fit into memory together; one network, the anchor, is in every group, and times are
scaled so that it takes equally long in all of them. The rank correlation is Spearman's, with a 95 % interval by a bootstrap
over networks. Besides MACs it is given for the other counts, and within each family with at least five members. Networks with
more MACs than --most are left out and named.
"""

import argparse
import json
import sys
from dataclasses import asdict, replace
from fnmatch import fnmatch
from typing import Any

from paretina.measure.process import spin_briefly

spin_briefly()  # before torch is imported

import numpy as np
import torch
from scipy.stats import rankdata

from paretina.measure.choose_plan import default_inference_plan
from paretina.measure.cost import cost
from paretina.measure.machine import Device, Others
from paretina.measure.opened import Steps, open_model
from paretina.measure.plan import Plan
from paretina.measure.process import keep_freed_memory
from paretina.measure.timing import Turns
from paretina.model.family import networks

ANCHOR = "resnet18"
COUNTS = ("macs", "params", "activations", "bytes_moved", "bytes_unfused")


def spearman(first: np.ndarray, second: np.ndarray) -> float:
    a, b = (rankdata(each) - (len(each) + 1) / 2 for each in (first, second))
    return float((a * b).sum() / np.sqrt((a * a).sum() * (b * b).sum()))


def correlation(first: list[float], second: list[float]) -> tuple[float, float, float]:
    """Spearman's rank correlation with its 95 % interval."""
    a, b = np.array(first), np.array(second)
    draw = np.random.default_rng(0)
    found = []
    while len(found) < 1000:
        rows = draw.integers(0, len(a), len(a))
        if len(set(a[rows])) > 1 and len(set(b[rows])) > 1:
            found.append(spearman(a[rows], b[rows]))
    low, high = np.quantile(found, (0.025, 0.975))
    return spearman(a, b), float(low), float(high)


def timed(names: list[str], resolution: int, batch: int, seconds: float) -> dict[str, dict[str, float]]:
    """Median milliseconds of inference and of an update."""
    device = Device.here("cpu")
    inference, training = {}, {}
    for name in names:
        steps = Steps(open_model(name, resolution), None, "cpu", device.threads)
        inference[name] = steps.infer(default_inference_plan("cpu"))(batch)
        training[name] = steps.train(Plan())(batch)
    turns = Turns(seconds=seconds * len(names), wait=device.wait)
    forward, update = turns.run(inference), turns.run(training)
    return {name: {"inference_ms": forward[name].p50.value, "training_ms": update[name].p50.value} for name in names}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("patterns", nargs="*", default=["*"], help="names of networks, or patterns of names")
    parser.add_argument("--resolution", type=int, default=224)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=6.0, help="of each network, for inference and for training")
    parser.add_argument("--group", type=int, default=6, help="networks that are timed together, besides the anchor")
    parser.add_argument("--most", type=float, default=6.0, help="GMACs of the largest network that is timed")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    keep_freed_memory()
    torch.manual_seed(0)
    rows: list[dict[str, Any]] = []
    left_out = []
    for name, published in networks().items():
        if any(fnmatch(name, pattern) for pattern in options.patterns):
            counted = asdict(cost(replace(published.blueprint, resolution=options.resolution)))
            if counted["macs"] > 1e9 * options.most:
                left_out.append(name)
            else:
                rows.append({"name": name, "family": published.family, **{key: counted[key] for key in COUNTS}})
    names = [row["name"] for row in rows if row["name"] != ANCHOR]
    if len(names) < 3:
        sys.exit(f"a correlation needs three networks besides {ANCHOR}, got {', '.join(names) or 'none'}")
    watch = Others()
    found: dict[str, dict[str, float]] = {}
    anchors: list[dict[str, float]] = []
    for start in range(0, len(names), options.group):
        group = timed([ANCHOR, *names[start : start + options.group]], options.resolution, options.batch, options.seconds)
        anchors.append(group.pop(ANCHOR))
        found |= {
            name: {key: value / anchors[-1][key] * anchors[0][key] for key, value in times.items()}
            for name, times in group.items()
        }
        print(f"{min(start + options.group, len(names))} of {len(names)} timed", file=sys.stderr)
    found[ANCHOR] = anchors[0]
    for row in rows:
        row.update(found[row["name"]])
    used = watch.used()
    results = {f"{count} and inference": correlation(column(rows, count), column(rows, "inference_ms")) for count in COUNTS}
    results["macs and training"] = correlation(column(rows, "macs"), column(rows, "training_ms"))
    results["inference and training"] = correlation(column(rows, "inference_ms"), column(rows, "training_ms"))
    for family in dict.fromkeys(row["family"] for row in rows):
        members = [row for row in rows if row["family"] == family]
        if len(members) >= 5:
            results[f"macs and inference, {family}"] = correlation(column(members, "macs"), column(members, "inference_ms"))
    if options.json:
        here = Device.here("cpu").to_dict()
        data = {"device": here, "rows": rows, "left_out": left_out, "correlations": results, "disturbed": watch.disturbed(used)}
        print(json.dumps(data, indent=2))
        return
    print(f"{'network':<28} {'MMACs':>9} {'inference ms':>12} {'training ms':>12}")
    for row in sorted(rows, key=lambda row: row["macs"]):
        print(f"{row['name']:<28} {row['macs'] / 1e6:>9.1f} {row['inference_ms']:>12.2f} {row['training_ms']:>12.2f}")
    if left_out:
        print(f"left out, with more than {options.most:g} GMACs: {', '.join(left_out)}")
    for name, (value, low, high) in results.items():
        print(f"rank correlation of {name}: {value:.3f} [{low:.3f}, {high:.3f}]")
    if watch.disturbed(used):
        print(f"other processes used {used:.1f} cores meanwhile, so these times are not to be trusted")


def column(rows: list[dict[str, Any]], name: str) -> list[float]:
    return [float(row[name]) for row in rows]


if __name__ == "__main__":
    main()
