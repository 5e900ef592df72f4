"""A student that sees patches of one picture only, beside one that sees noise, and one that sees real pictures.

    pip install scikit-learn
    python benchmarks/folder_sets.py sets fashion2k fashion20k
    python benchmarks/teachers.py found.jsonl --sets sets --seeds 0      # trains the teacher
    python benchmarks/one_picture.py one.jsonl --sets sets --teacher found/teacher/model.safetensors --seeds 3

The teacher is that of `teachers.py`; the pictures are the photo `china.jpg` that comes with scikit-learn, made grey as the set
is, noise of the same size, and as many of fashion20k without their labels. Students are judged on the 10,000 test pictures.
"""

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import torch

from paretina import verbs
from paretina.data.source import Source
from paretina.data.sources.apart import Apart
from paretina.data.sources.folder import Folder
from paretina.data.sources.image_patches import ImagePatches
from paretina.data.sources.part import Part
from paretina.measure.plan import machine
from paretina.measure.statistics import mean_interval
from paretina.model.weights import load_model

ARMS = ("one picture", "noise", "real pictures")


def pictures(work: Path) -> dict[str, Path]:
    """The photo, in grey, and noise."""
    from sklearn.datasets import load_sample_image

    photo = work / "photo.png"
    if not photo.exists():
        grey = PIL.Image.fromarray(load_sample_image("china.jpg")).convert("L")
        grey.convert("RGB").save(photo)
    noise = work / "noise.png"
    if not noise.exists():
        shape = np.asarray(PIL.Image.open(photo)).shape[:2]
        grey = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
        PIL.Image.fromarray(grey).convert("RGB").save(noise)
    return {"one picture": photo, "noise": noise}


def row_of(options: argparse.Namespace, work: Path, seed: int, arm: str) -> dict[str, Any]:
    place, files = work / f"{arm.replace(' ', '-')}-{seed}", pictures(work)
    classes = load_model(options.teacher)[1].classes
    judged = Folder(path=str(options.sets / "fashion2k"))
    train: Source
    if arm in files:
        train = ImagePatches(path=str(files[arm]), count=options.count, size=28, seed=seed, classes=classes)
    else:
        train = Part(source=Folder(path=str(options.sets / "fashion20k")), share=options.count / 20_000, seed=seed)
    fields: dict[str, Any] = {"size": 14, "model.resolution": 14, "batch_size": 64, "threads": 1, "workers": 0}
    fields |= {"test.every": 1000.0, "epochs": options.epochs, "seed": seed, "lr": 1e-2}
    fields["objective.terms.Distill.temperature"] = options.temperature
    squash = [{"kind": "Squash"}, {"kind": "RandomShift"}, {"kind": "HorizontalFlip"}]
    fields["transforms"] = [*squash, {"kind": "MixUp", "alpha": {"kind": "Constant", "value": 1.0}}]
    began = time.process_time()
    data = Apart(train=train, val=judged)
    choice = verbs.ask_distilled(options.teacher, data, "resnet8_w16_s2", weights="none", device="cpu", fields=fields)
    run = verbs.start(choice, place)
    top1 = run.result()["metrics"]["val/top1"]  # type: ignore[index]
    return {"arm": arm, "seed": seed, "top1": top1, "cpu_s": time.process_time() - began}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("found", type=Path)
    parser.add_argument("--sets", type=Path, required=True)
    parser.add_argument("--teacher", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--epochs", type=float, default=15.0)
    parser.add_argument("--temperature", type=float, default=2.0)
    options = parser.parse_args()
    torch.set_num_threads(1)
    work = options.found.with_suffix("")
    work.mkdir(parents=True, exist_ok=True)
    rows = [json.loads(line) for line in options.found.read_text().splitlines()] if options.found.exists() else []
    for seed in range(options.seeds):
        for arm in ARMS:
            if any((row["arm"], row["seed"]) == (arm, seed) for row in rows):
                continue
            rows.append(row_of(options, work, seed, arm))
            with options.found.open("a") as file:
                file.write(json.dumps(rows[-1]) + "\n")
            print(rows[-1], flush=True)
    here = machine()
    print(f"{here['cpu']}, {here['cores']} cores, torch {here['torch']}")
    for arm in ARMS:
        values = [row["top1"] for row in rows if row["arm"] == arm]
        if len(values) > 1:
            mean, low, high = mean_interval(values)
            print(f"{arm}: top-1 {mean:.2f} % [{low:.2f}, {high:.2f}] ({len(values)})")


if __name__ == "__main__":
    main()
