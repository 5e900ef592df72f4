"""Few bits: what they lose, and whether the maps of the float network give more back than the labels.

    python benchmarks/folder_sets.py sets fashion2k
    python benchmarks/low_bits.py low_bits.jsonl --sets sets --seeds 3       # resumes; about 15 CPU-minutes
    python benchmarks/low_bits.py low_bits.jsonl --report

The network is `resnet8_w16_s2` at 28 pixels, trained for `--epochs` on the 2,000 training pictures of the set and judged on its
10,000 test pictures. Each number of bits (weights and inputs of layers; `Dorefa`) begins with these weights and is trained in
three ways with the same number of updates: from the labels (`plain`), from answers and labels of the float network (`recover`),
and from its maps alone, period by period (`blockwise`, without labels). The float network goes through the same three, as the
control. `Lsq` is trained with `recover` beside it. Nothing is timed: rounding is computed with floats.
"""

import argparse
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from paretina.measure.process import spin_briefly

spin_briefly()  # before torch is imported

import torch

from paretina import verbs
from paretina.data.sources.folder import Folder
from paretina.measure.cost import cost
from paretina.measure.statistics import mean_interval
from paretina.model.blueprint import Blueprint, Quantiser
from paretina.model.family import network_named
from paretina.model.quantisers.dorefa import Dorefa
from paretina.model.quantisers.lsq import Lsq
from paretina.model.weights import load_model
from paretina.verbs.blockwise import PERIOD_SHARE

Row = dict[str, Any]

START = "float network"
ARMS: dict[str, Quantiser | None] = {
    "float": None,
    "8w8a": Dorefa(weights=8, activations=8),
    "4w4a": Dorefa(weights=4, activations=4),
    "2w4a": Dorefa(weights=2, activations=4),
}
WAYS = ("plain", "recover", "blockwise")
LEARNED = {"4w4a Lsq": Lsq(weights=4, activations=4), "2w4a Lsq": Lsq(weights=2, activations=4)}


def base() -> Blueprint:
    return replace(network_named("resnet8_w16_s2").blueprint, resolution=28)


def schedule(lr: float, epochs: float) -> Row:
    return {"kind": "Warmup", "epochs": epochs / 10, "then": {"kind": "Cosine", "start": lr}}


def trained(options: argparse.Namespace, work: Path, seed: int) -> list[Row]:
    data = Folder(path=str(options.sets / "fashion2k"))
    light = [{"kind": "Squash"}, {"kind": "RandomShift"}, {"kind": "HorizontalFlip"}]
    shared: Row = {"batch_size": 64, "threads": 1, "workers": 0, "seed": seed, "test.every": 1e6, "transforms": light}
    periods = len(base().stages) + 1
    further = options.epochs / 2
    last = further / (1 + periods * PERIOD_SHARE)  # all ways have as many updates

    def run(name: str, recipe: str, epochs: float, lr: float, start: Path | None, quantiser: Quantiser | None) -> Path:
        place = work / f"{name.replace(' ', '-')}-{seed}"
        fields: Row = {**shared, "epochs": epochs, "lr": schedule(lr, epochs)}
        if start is not None and recipe != "plain":
            fields["teacher"] = str(start)
        if (place / "result.json").exists():
            return place / "model.safetensors"
        model = replace(base(), quantiser=quantiser)
        choice = verbs.ask(data, model, recipe, "none" if start is None else str(start), "cpu", fields=fields)
        if recipe == "blockwise":
            verbs.distill_blockwise(choice, None, place)
        elif (place / "asked.json").exists():
            verbs.resume(place)
        else:
            verbs.start(choice, place)
        return place / "model.safetensors"

    first = run(START, "plain", options.epochs, 3e-3, None, None)
    found = {(START, ""): first}
    for arm, quantiser in ARMS.items():
        for way in WAYS:
            epochs = last if way == "blockwise" else further
            found[arm, way] = run(f"{arm} {way}", way, epochs, 1e-3, first, quantiser)
    for arm, quantiser in LEARNED.items():
        found[arm, "recover"] = run(f"{arm} recover", "recover", further, 1e-3, first, quantiser)
    rows = []
    for (arm, way), path in found.items():
        top1 = verbs.evaluate(path, data, "val", device="cpu").accuracy.top1
        counted = cost(load_model(path)[0])
        bytes_ = counted.low_bit_bytes or counted.weight_bytes
        rows.append({"arm": arm, "way": way, "seed": seed, "top1": top1, "bytes": bytes_, "settings": settings(options)})
    return rows


def settings(options: argparse.Namespace) -> Row:
    return {"epochs": options.epochs}


def reported(rows: list[Row]) -> None:
    scores: dict[tuple[str, str], dict[int, float]] = {}
    for row in rows:
        scores.setdefault((row["arm"], row["way"]), {})[row["seed"]] = row["top1"]
    start = scores[START, ""]
    print("| bits | trained on by | bytes of weights | top-1 % of each seed | against the float network, paired |")
    print("|---|---|---|---|---|")
    for (arm, way), found in scores.items():
        size = next(row["bytes"] for row in rows if (row["arm"], row["way"]) == (arm, way))
        gaps = [value - start[seed] for seed, value in found.items()]
        between = ""
        if way and len(gaps) > 1:
            mean, low, high = mean_interval(gaps)
            between = f"{mean:+.2f} [{low:+.2f}, {high:+.2f}]"
        print(f"| {arm} | {way} | {size:,} | {', '.join(f'{value:.2f}' for value in found.values())} | {between} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("found", type=Path, help="file of results, one JSON document a line")
    parser.add_argument("--sets", type=Path, default=Path("sets"), help="folder that folder_sets.py wrote")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=float, default=16.0, help="of the float network; half of them for each that follows")
    parser.add_argument("--report", action="store_true", help="train nothing; print what was found")
    options = parser.parse_args()
    torch.set_num_threads(1)
    rows = [json.loads(line) for line in options.found.read_text().splitlines()] if options.found.exists() else []
    if any(row["settings"] != settings(options) for row in rows) and not options.report:
        parser.error(f"{options.found} has results of other settings; choose another file")
    work = options.found.with_suffix("")
    work.mkdir(parents=True, exist_ok=True)
    for seed in range(0 if options.report else options.seeds):
        if any(row["seed"] == seed for row in rows):
            continue
        rows += (new := trained(options, work, seed))
        with options.found.open("a") as file:
            file.writelines(json.dumps(row) + "\n" for row in new)
        print(new, flush=True)
    if rows:
        reported(rows)


if __name__ == "__main__":
    main()
