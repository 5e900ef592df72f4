"""Unpacks the micrograph of the package stardist into a folder of pictures and masks that can be trained on.

    pip download --no-deps stardist==0.9.2
    python benchmarks/nuclei.py stardist-0.9.2-*.whl sets/nuclei
    paretina train sets/nuclei

Fluorescent nuclei, 512 x 512 pixels of 16 bits, each nucleus with a number in the mask. The picture is cut into squares; the
left half is for training and the right half is held out, so that no nucleus is on both sides but those on the line between
them. Grey levels are scaled to 8 bits alike for all, so that 99.8 % of them keep their order. The package is under BSD-3-Clause
(Schmidt et al. 2018, arXiv:1806.03535); its picture does not belong into this repository.
"""

import argparse
import io
import zipfile
from pathlib import Path

import numpy as np
import PIL.Image

BRIGHTEST = 99.8
"""Percentile that becomes white: a few dead cells are many times as bright."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("wheel", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--size", type=int, default=64, help="side of the squares in pixels (default: %(default)s)")
    options = parser.parse_args()
    with zipfile.ZipFile(options.wheel) as package:
        image, mask = (
            np.asarray(PIL.Image.open(io.BytesIO(package.read(f"stardist/data/images/{name}.tif")))).astype(np.float64)
            for name in ("img2d", "mask2d")
        )
    side = options.size
    if not 8 <= side <= min(image.shape) // 2:
        parser.error(f"--size must be from 8 to {min(image.shape) // 2}, got {side}")
    low, high = image.min(), np.percentile(image, BRIGHTEST)
    grey = np.rint(255 * np.clip((image - low) / (high - low), 0, 1)).astype(np.uint8)
    count = 0
    for top in range(0, image.shape[0] - side + 1, side):
        for left in range(0, image.shape[1] - side + 1, side):
            split = "train" if left + side <= image.shape[1] // 2 else "val"
            if split == "val" and left < image.shape[1] // 2:
                continue  # it would share pixels with the other half
            cut = slice(top, top + side), slice(left, left + side)
            _, numbers = np.unique(np.append(mask[cut].ravel(), 0), return_inverse=True)
            objects = numbers[:-1].reshape(side, side).astype(np.uint16)
            for kind, pixels in (("images", grey[cut]), ("masks", objects)):
                place = options.folder / split / kind / f"{top:03}-{left:03}.png"
                place.parent.mkdir(parents=True, exist_ok=True)
                PIL.Image.fromarray(pixels).save(place)
            count += 1
    print(f"{count} pictures of {side} pixels in {options.folder}")


if __name__ == "__main__":
    main()
