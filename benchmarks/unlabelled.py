"""Learning without labels: BYOL's features beside random ones and those of a packaged network, and fine-tuned on few labels.

    python benchmarks/folder_sets.py sets fashion20k
    python benchmarks/unlabelled.py found.json --set sets/fashion20k --epochs 20

One network is pretrained on the pictures of a set without their labels. Then: a linear classifier and 20 nearest neighbours on
its features, on those of the same network with random weights, and on those of EfficientNet-Lite0 with its ImageNet weights;
and training on shares of the labels from the pretrained weights, from scratch, and from Lite0, all with the same length in
updates.
"""

import argparse
import json
import time
from pathlib import Path
from typing import Any

import torch

from paretina import verbs
from paretina.data.sources.folder import Folder
from paretina.data.sources.part import Part
from paretina.measure.plan import machine

NETWORK = "resnet8_w32_s2"
USUAL = {"batch_size": 64, "threads": 1, "workers": 0, "test.every": 1000.0}


def side(pixels: int) -> dict[str, Any]:
    return {"size": pixels, "model.resolution": pixels}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("found", type=Path)
    parser.add_argument("--set", type=Path, required=True)
    parser.add_argument("--epochs", type=float, default=20.0)
    parser.add_argument("--pixels", type=int, default=28)
    parser.add_argument("--updates", type=int, default=1200)
    parser.add_argument("--shares", type=float, nargs="+", default=[0.01, 0.1, 1.0])
    parser.add_argument("--seeds", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(1)
    work = options.found.with_suffix("")
    work.mkdir(parents=True, exist_ok=True)
    rows: list[dict[str, Any]] = json.loads(options.found.read_text()) if options.found.exists() else []

    def kept(name: str, seed: int, make: Any) -> None:
        if any(row["name"] == name and row["seed"] == seed for row in rows):
            return
        began = time.process_time()
        rows.append({"name": name, "seed": seed, **make(), "cpu_s": time.process_time() - began})
        options.found.write_text(json.dumps(rows, indent=1))
        print(rows[-1], flush=True)

    lite0 = work / "lite0.safetensors"
    if not lite0.exists():
        verbs.import_weights("efficientnet_lite0", out=lite0)
    data = str(options.set)
    for seed in range(options.seeds):
        byol = work / f"byol-{seed}"

        def pretrained(byol: Path = byol, seed: int = seed) -> dict[str, Any]:
            fields = {**USUAL, **side(options.pixels), "epochs": options.epochs, "batch_size": 256, "seed": seed}
            fields |= {"objective.hidden": 512, "objective.width": 128}
            run = verbs.pretrain(data, NETWORK, device="cpu", output=byol, **named(fields))
            return {"top1": run.result()["metrics"]["val/top1"]}  # type: ignore[index]

        kept("byol, its own classifier", seed, pretrained)

        def probed(byol: Path = byol) -> dict[str, Any]:
            return verbs.probe(byol, data, untrained=True, device="cpu").to_dict()

        kept("probe of byol and of random weights", seed, probed)
        for share in options.shares:
            pictures = round(20_000 * share)
            epochs = options.updates / -(-pictures // 64)
            for start in ("byol", "scratch"):

                def tuned(start: str = start, share: float = share, epochs: float = epochs, seed: int = seed) -> dict[str, Any]:
                    place = work / f"{start}-{share:g}-{seed}"
                    fields = {**USUAL, **side(options.pixels), "epochs": epochs, "seed": seed, "lr": 5e-3}
                    fields["transforms"] = [{"kind": "Squash"}, {"kind": "RandomShift"}, {"kind": "HorizontalFlip"}]
                    weights = str(work / f"byol-{seed}" / "model.safetensors") if start == "byol" else "none"
                    some = Part(source=Folder(path=data), share=share, seed=seed)
                    run = verbs.train(some, NETWORK, "scratch", weights, "cpu", place, planning="default", **named(fields))
                    return {"top1": run.result()["metrics"]["val/top1"]}  # type: ignore[index]

                kept(f"{share:g} of the labels, from {start}", seed, tuned)
    kept("probe of lite0 at 96 pixels", 0, lambda: verbs.probe(lite0, data, size=96, device="cpu").to_dict())
    here = machine()
    print(f"{here['cpu']}, {here['cores']} cores, torch {here['torch']}")
    for row in rows:
        print(row)


def named(fields: dict[str, Any]) -> dict[str, Any]:
    """Fields as keyword arguments."""
    return {name.replace(".", "__"): value for name, value in fields.items()}


if __name__ == "__main__":
    main()
