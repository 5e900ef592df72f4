"""Are the maps of compound-scaled networks more faithful? The figure of EfficientNet's section 6, with numbers.

    python benchmarks/faithful.py faithful

One small network, and the same with about four times its multiply-adds by width, by depth, by resolution, and by all three,
each trained alike on `shapes`; then `paretina explain --faithful` of all five on the same validation pictures: insertion,
deletion, ROAD, and whether maps change when the weights are randomised, with intervals over pictures.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path

from paretina import verbs
from paretina.data.sources.shapes import Shapes
from paretina.measure.plan import machine

NETWORK = "resnet8_w16_s2"
VARIANTS = {
    "base": ([], 64),
    "width": (["edits.Scale=on", "edits.Scale.width=2.0"], 64),
    "depth": (["edits.Scale=on", "edits.Scale.depth=5.0"], 64),
    "resolution": ([], 128),
    "compound": (["edits.Scale=on", "edits.Scale.width=1.25", "edits.Scale.depth=2.0"], 80),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--epochs", type=float, default=8.0)
    parser.add_argument("--per-class", type=int, default=200)
    parser.add_argument("--difficulty", type=float, default=0.2)
    parser.add_argument("--pictures", type=int, default=100)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--method", default="auto")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    data = Shapes(difficulty=options.difficulty, per_class=options.per_class)
    folder = options.out / "pictures"
    if not folder.is_dir():
        folder.mkdir()
        collection = data.open()
        samples = collection.split("val")
        step = len(samples) // options.pictures
        from PIL import Image

        for number, sample in enumerate(samples[::step][: options.pictures]):
            pixels = collection.image(sample).permute(1, 2, 0).numpy()
            Image.fromarray(pixels).save(folder / f"{number:03d}.png")
    here = machine()
    print(f"{here['cpu']}, {here['cores']} cores, torch {here['torch']}")
    for name, (edits, size) in VARIANTS.items():
        run = options.out / name
        if not (run / "result.json").exists():
            words = ["train", "shapes", "--model", NETWORK, "--weights", "none", "--recipe", "fast", "lr=0.005", *edits]
            words += [
                f"data.difficulty={options.difficulty}",
                f"data.per_class={options.per_class}",
                f"epochs={options.epochs}",
            ]
            words += [f"size={size}", f"model.resolution={size}", f"threads={options.threads}", "workers=0", "test.every=1000"]
            with (options.out / f"{name}.log").open("w") as log:
                words = [sys.executable, "-m", "paretina", *words, "--output", str(run)]
                subprocess.run(words, check=True, stdout=log, stderr=log)
        result = json.loads((run / "result.json").read_text())
        found = verbs.explain([run], [folder], options.method, out=options.out / f"maps-{name}", faithful=True)
        (figures,) = found.to_dict()["faithfulness"].values()
        macs = result["cost"]["macs"] / 1e6 if "macs" in result["cost"] else float("nan")
        print(name, f"{macs:.1f} M", f"top-1 {result['metrics']['val/top1']:.1f} %", json.dumps(figures), flush=True)


if __name__ == "__main__":
    main()
