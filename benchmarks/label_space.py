"""A large label space first, then the target: pretraining on 300 classes of drawn characters against direct training.

    apt-get install fonts-dejavu-core fonts-dejavu-extra      # or any folder of .ttf files
    python benchmarks/label_space.py found.jsonl --fonts FOLDER --seeds 3
    python benchmarks/label_space.py found.jsonl --report

Characters of Latin, Greek, Cyrillic, Armenian, Georgian and mathematics are drawn in grey with the faces of the folder that
have them, turned, shifted, scaled and with noise. 300 of them are the large label space, 20 others the target, of which there
are few pictures to train on. The network is trained on the first and fine-tuned on the second, or trained on the second alone
for as many updates as both together, which is equal time, since the batches are equal; the control is fine-tuning's own length
from scratch. The claim is that of EfficientNetV2's pretraining on 21,841 classes (Tan & Le 2021, arXiv:2104.00298, section
5.2), at our size.
"""

import argparse
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from paretina.measure.process import spin_briefly

spin_briefly()  # before torch is imported

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont

from paretina import verbs
from paretina.data.sources.folder import Folder
from paretina.measure.plan import machine
from paretina.measure.statistics import mean_interval, paired_interval

NETWORK = "resnet8_w32_s2"
RANGES = (
    (0x41, 0x5A),
    (0x61, 0x7A),
    (0xC6, 0xF6),
    (0x391, 0x3C9),
    (0x410, 0x44F),
    (0x531, 0x556),
    (0x10D0, 0x10F0),
    (0x2200, 0x223F),
)
ARMS = ("pretrained", "direct, as long", "direct, short")


LEAST = 4
"""Faces that a character needs."""


def characters(faces: list[Path]) -> dict[str, list[Path]]:
    """Characters with the faces that have them, in a fixed random order."""
    codes = [code for low, high in RANGES for code in range(low, high + 1)]
    found: dict[str, list[Path]] = {}
    fonts = {face: ImageFont.truetype(str(face), 32) for face in faces}
    missing = {face: bytes(font.getmask("\ue123")) for face, font in fonts.items()}  # for private use, so in no face
    for number in np.random.default_rng(0).permutation(len(codes)):
        text = chr(codes[number])
        own = [face for face, font in fonts.items() if bytes(font.getmask(text)) not in (missing[face], b"")]
        if len(own) >= LEAST:
            found[text] = own
    return found


def drawn(text: str, faces: list[Path], side: int, random: np.random.Generator, hard: float) -> Image.Image:
    """A character in a random face, turned by up to 20 degrees, shifted, scaled and with noise.

    Args:
        hard: strength of the noise, in grey levels.
    """
    canvas = 3 * side
    font = ImageFont.truetype(str(faces[random.integers(len(faces))]), int(canvas * random.uniform(0.45, 0.7)))
    image = Image.new("L", (canvas, canvas), 0)
    ImageDraw.Draw(image).text((canvas / 2, canvas / 2), text, 255, font, "mm")
    shift = canvas * 0.1
    image = image.rotate(random.uniform(-20, 20), Image.Resampling.BILINEAR, translate=tuple(random.uniform(-shift, shift, 2)))
    small = np.asarray(image.resize((side, side), Image.Resampling.BOX), dtype=np.float32)
    levels = random.uniform(0.5, 1.0) * small + random.uniform(0, 60) + random.normal(0, hard, small.shape)
    return Image.fromarray(np.clip(levels, 0, 255).astype(np.uint8))


def folders(work: Path, options: argparse.Namespace) -> tuple[Path, Path]:
    """The two sets, written once: many classes, and the target."""
    faces = sorted(options.fonts.glob("**/DejaVu*.ttf")) or sorted(options.fonts.glob("**/*.ttf"))
    if not faces:
        raise SystemExit(f"{options.fonts} has no .ttf file; install fonts-dejavu-core, and name its folder")
    known = characters(faces)
    texts = list(known)
    if len(texts) < options.classes + 20:
        raise SystemExit(
            f"these faces have {len(texts)} of the characters, too few for {options.classes} classes and the target"
        )
    sets = {
        "many": (texts[: options.classes], {"train": options.per_class, "val": 4}),
        "target": (texts[options.classes : options.classes + 20], {"train": options.few, "val": 100}),
    }
    for name, (chosen, counts) in sets.items():
        if (work / name / "done").exists():
            continue
        random = np.random.default_rng(len(name))
        for split, count in counts.items():
            for text in chosen:
                place = work / name / split / f"{ord(text):05x}"
                place.mkdir(parents=True, exist_ok=True)
                for number in range(count):
                    drawn(text, known[text], options.pixels, random, 40.0).convert("RGB").save(place / f"{number:03d}.png")
        (work / name / "done").touch()
    return work / "many", work / "target"


def row_of(options: argparse.Namespace, work: Path, arm: str, seed: int) -> dict[str, Any]:
    many, target = folders(work, options)
    counts = {"many": options.classes * options.per_class, "target": 20 * options.few}
    per_epoch = {name: -(-count // 64) for name, count in counts.items()}
    fields: dict[str, Any] = {"size": options.pixels, "model.resolution": options.pixels, "batch_size": 64, "threads": 1}
    fields |= {
        "workers": 0,
        "test.every": 1e6,
        "seed": seed,
        "optimizer.weight_decay": 0.05,
        "transforms": [{"kind": "Squash"}, {"kind": "RandomShift"}],
    }

    def trained(data: Path, updates: int, place: Path, weights: str, lr: float) -> Path:
        if (place / "result.json").exists():
            return place / "model.safetensors"
        epochs = updates / per_epoch["many" if data == many else "target"]
        schedule = {"kind": "Warmup", "epochs": epochs / 10, "then": {"kind": "Cosine", "start": lr}}
        given = {**fields, "epochs": epochs, "lr": schedule}
        choice = verbs.ask(Folder(path=str(data)), NETWORK, "plain", weights, "cpu", fields=given)
        run = verbs.resume(place) if (place / "asked.json").exists() else verbs.start(choice, place)
        return run.path / "model.safetensors"

    began = time.process_time()
    place = work / f"{arm.replace(', ', '-').replace(' ', '-')}-{seed}"
    if arm == "pretrained":
        first = trained(many, options.first, work / f"many-{seed}", "none", 1e-2)
        trained(target, options.second, place, str(first), 3e-3)
    else:
        trained(target, options.second + (options.first if arm == "direct, as long" else 0), place, "none", 1e-2)
    spent = time.process_time() - began
    result = json.loads((place / "result.json").read_text())
    fits = verbs.evaluate(place, Folder(path=str(target)), split="train", device="cpu").accuracy.top1
    return {"arm": arm, "seed": seed, "top1": result["metrics"]["val/top1"], "train_top1": fits, "cpu_s": spent}


def reported(rows: list[dict[str, Any]]) -> None:
    print("| | top-1 % | on its training pictures % | processor s |\n|---|---|---|---|")
    scores: dict[str, dict[int, float]] = {}
    for arm in ARMS:
        own = [row for row in rows if row["arm"] == arm]
        scores[arm] = {row["seed"]: row["top1"] for row in own}
        if len(own) > 1:
            value, low, high = mean_interval([row["top1"] for row in own])
            fits, spent = (sum(row[name] for row in own) / len(own) for name in ("train_top1", "cpu_s"))
            print(f"| {arm} | {value:.2f} [{low:.2f}, {high:.2f}] ({len(own)}) | {fits:.1f} | {spent:.0f} |")
    for arm in ARMS[1:]:
        seeds = sorted(scores[ARMS[0]].keys() & scores[arm].keys())
        if len(seeds) > 1:
            gain = paired_interval([scores[ARMS[0]][at] for at in seeds], [scores[arm][at] for at in seeds])
            print(f"pretrained less {arm}: {gain.value:+.2f} [{gain.low:+.2f}, {gain.high:+.2f}]")


def pending(options: argparse.Namespace, rows: list[dict[str, Any]]) -> Iterator[tuple[str, int]]:
    for seed in range(options.seeds):
        for arm in ARMS:
            if not any((row["arm"], row["seed"]) == (arm, seed) for row in rows):
                yield arm, seed


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("found", type=Path, help="file of results, one JSON document a line")
    parser.add_argument("--fonts", type=Path, help="folder of .ttf files")
    parser.add_argument("--classes", type=int, default=300)
    parser.add_argument("--per-class", type=int, default=30, help="training pictures of each of the many classes")
    parser.add_argument("--few", type=int, default=10, help="training pictures of each class of the target")
    parser.add_argument("--pixels", type=int, default=28)
    parser.add_argument("--first", type=int, default=1200, help="updates on the many classes")
    parser.add_argument("--second", type=int, default=300, help="updates on the target")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--report", action="store_true", help="train nothing")
    options = parser.parse_args()
    torch.set_num_threads(1)
    work = options.found.with_suffix("")
    rows = [json.loads(line) for line in options.found.read_text().splitlines()] if options.found.exists() else []
    if not options.report:
        if options.fonts is None:
            raise SystemExit("name a folder of fonts: --fonts FOLDER")
        work.mkdir(parents=True, exist_ok=True)
        for arm, seed in list(pending(options, rows)):
            rows.append(row_of(options, work, arm, seed))
            with options.found.open("a") as file:
                file.write(json.dumps(rows[-1]) + "\n")
            print(rows[-1], flush=True)
    here = machine()
    print(f"{here['cpu']}, {here['cores']} cores, torch {here['torch']}")
    reported(rows)


if __name__ == "__main__":
    main()
