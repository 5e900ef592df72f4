"""What decoding at a reduced scale costs in accuracy: the same training with whole pictures, with crops, and from the cache.

    python benchmarks/elpv.py elpv_dataset-1.0.0.post1-py3-none-any.whl sets/elpv
    python benchmarks/decoding.py decoding.jsonl --set sets/elpv
    python benchmarks/decoding.py decoding.jsonl --report

The pictures of a folder set are written once as JPEG (quality 90), since only JPEG can be decoded at a reduced scale. A
network is fine-tuned on them with random crops: `whole` decodes all pixels and cuts from them, `crop` decodes what the crop
needs at the scale that it needs, `packed` reads copies that are twice the training size from the cache. All three draw the
same crops from the same seed and are judged on the validation pictures in the same way. Each line of the results file is one
training; what is there is not run again.
"""

import argparse
import json
import os
import statistics
import time
from pathlib import Path
from typing import Any

from paretina.measure.process import spin_briefly

spin_briefly()  # before torch is imported

import PIL.Image
import torch

from paretina import verbs
from paretina.data.sources.folder import Folder
from paretina.measure.plan import machine
from paretina.measure.statistics import mean_interval, paired_interval

Row = dict[str, Any]

ARMS = ("whole", "crop", "packed")

CROP = {"kind": "RandomResizedCrop", "smallest": 0.35}
"""Of pictures of 300 pixels, 177 at least: so that most crops of 64 pixels are cut out of a halved copy."""


def as_jpeg(folder: Path, target: Path) -> Path:
    """A copy of a folder set with every picture as a JPEG file."""
    if not (target / "done").exists():
        for file in sorted(folder.glob("*/*/*.*")):
            place = (target / file.relative_to(folder)).with_suffix(".jpg")
            place.parent.mkdir(parents=True, exist_ok=True)
            with PIL.Image.open(file) as picture:
                picture.convert("RGB").save(place, quality=90)
        (target / "done").touch()
    return target


def trained(options: argparse.Namespace, work: Path, arm: str, seed: int) -> Row:
    data = Folder(path=str(as_jpeg(options.set, work / "jpeg")))
    place = work / f"{arm}-{seed}"
    fields: Row = {"size": options.size, "epochs": options.epochs, "seed": seed, "threads": 1, "workers": 0, "decoding": arm}
    fields |= {"test.every": 1e6, "precision": "float32", "transforms": [CROP, {"kind": "HorizontalFlip"}]}
    if arm == "packed":
        fields["cache_gb"] = 4
    choice = verbs.ask(data, options.model, "finetune", options.weights, "cpu", fields=fields)
    began = time.process_time()
    run = verbs.resume(place) if (place / "asked.json").exists() else verbs.start(choice, place)
    result = run.result()
    found = {"arm": arm, "seed": seed, "size": options.size, "updates": result["updates"]}
    found |= {"top1": result["metrics"]["val/top1"], "nll": result["metrics"]["val/nll"]}
    return found | {"train_top1": result["on_train"]["value"], "cpu_s": time.process_time() - began}


def reported(rows: list[Row]) -> None:
    print("| | top-1 % | NLL | on its training pictures % | processor s |\n|---|---|---|---|---|")
    own = {arm: {row["seed"]: row for row in rows if row["arm"] == arm} for arm in ARMS}
    for arm, found in own.items():
        if len(found) > 1:
            value, low, high = mean_interval([row["top1"] for row in found.values()])
            every = ([row[key] for row in found.values()] for key in ("nll", "train_top1", "cpu_s"))
            nll, fits, spent = map(statistics.fmean, every)
            print(f"| {arm} | {value:.2f} [{low:.2f}, {high:.2f}] ({len(found)}) | {nll:.3f} | {fits:.1f} | {spent:.0f} |")
    for arm in ARMS[1:]:
        seeds = sorted(own[ARMS[0]].keys() & own[arm].keys())
        if len(seeds) > 1:
            gain = paired_interval([own[arm][at]["top1"] for at in seeds], [own[ARMS[0]][at]["top1"] for at in seeds])
            print(f"\n{arm} less whole, paired by seed: {gain.value:+.2f} points [{gain.low:+.2f}, {gain.high:+.2f}]")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("found", type=Path, help="file of results, one JSON document a line")
    parser.add_argument("--set", type=Path, help="folder with train/CLASS/* and val/CLASS/*")
    parser.add_argument("--model", default="efficientnet_lite0")
    parser.add_argument("--weights", default="auto")
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--epochs", type=float, default=4.0)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--report", action="store_true", help="train nothing")
    options = parser.parse_args()
    rows: list[Row] = []
    if options.found.exists():
        rows = [json.loads(line) for line in options.found.read_text().splitlines()]
    if not options.report:
        if options.set is None:
            raise SystemExit("name a folder set: --set FOLDER")
        work = options.found.with_suffix("")
        work.mkdir(parents=True, exist_ok=True)
        os.environ.setdefault("XDG_CACHE_HOME", str((work / "cache").resolve()))
        torch.set_num_threads(1)
        for seed in range(options.seeds):
            for arm in ARMS:
                if not any((row["arm"], row["seed"]) == (arm, seed) for row in rows):
                    rows.append(trained(options, work, arm, seed))
                    with options.found.open("a") as file:
                        file.write(json.dumps(rows[-1]) + "\n")
                    print(rows[-1], flush=True)
    here = machine()
    print(f"{here['cpu']}, {here['cores']} cores, torch {here['torch']}")
    reported(rows)


if __name__ == "__main__":
    main()
