"""Writes some validation pictures of a data set as files named after their class, to show them to `paretina predict`.

    python scripts/export_pictures.py clipart held-out/ --count 6

Nothing is picked by hand: it takes the first picture of every n-th class.
"""

import argparse
from pathlib import Path

from PIL import Image

from paretina.train.asked import source_named


def main() -> None:
    parser = argparse.ArgumentParser(description="Writes validation pictures as files named after their class.")
    parser.add_argument("data", help="clipart, shapes, an .npz file or a folder")
    parser.add_argument("folder", type=Path, help="where the files go")
    parser.add_argument("--count", type=int, default=6, help="number of pictures, each of another class")
    chosen = parser.parse_args()
    collection = source_named(chosen.data).open()
    first = {collection.classes[sample.label]: sample for sample in reversed(collection.split("val"))}
    names = sorted(first)
    count = min(chosen.count, len(names))
    chosen.folder.mkdir(parents=True, exist_ok=True)
    for name in (names[i * len(names) // count] for i in range(count)):
        pixels = collection.image(first[name]).permute(1, 2, 0)  # c h w -> h w c
        Image.fromarray(pixels.contiguous().numpy()).save(chosen.folder / f"{name}.png")
    print(f"{count} validation pictures, each named after its class: {chosen.folder}")


if __name__ == "__main__":
    main()
