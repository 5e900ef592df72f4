"""Clipart: the built-in data set of real drawings, 2,656 of them in 19 classes.

Drawn by many people for OpenClipart, in the public domain, 128 pixels on the longer side. The classes are imbalanced (526
flags, 35 party pictures), so look at balanced accuracy beside top-1; the largest class alone is 20 %. Needs no download: the
pictures are in clipart.zip beside this file, made by scripts/build_clipart.py; its SOURCES.tsv names the original of each.

Source: Debian package openclipart-png 1:0.18+dfsg-19 (public domain dedication).
"""

import functools
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from paretina.data.decode import decode
from paretina.data.source import Collection, Sample, Source
from paretina.shapes import Image

PACK = Path(__file__).with_name("clipart.zip")


@dataclass(frozen=True, kw_only=True)
class Clipart(Source):
    """The built-in drawings; a fixed quarter of each class is `val`."""

    WORD = "clipart"

    def open(self) -> "ClipartCollection":
        files = sorted(pictures())
        classes = tuple(sorted({name.split("/")[1] for name in files}))
        splits = {
            split: tuple(Sample(name, classes.index(name.split("/")[1])) for name in files if name.startswith(f"{split}/"))
            for split in ("train", "val")
        }
        return ClipartCollection(
            classes, splits, ("public-domain drawings from OpenClipart; a fixed quarter of each class is val",)
        )


@dataclass(frozen=True)
class ClipartCollection(Collection):
    """The opened drawings; a sample's name is its path inside the pack."""

    COSTLY: ClassVar[bool] = True
    COPIES: ClassVar[bool] = False

    def image(self, sample: Sample, at_least: int | None = None) -> Image:
        """Decodes one drawing; `at_least` has no effect, since they are small."""
        return decode(pictures()[sample.name], sample.name)


@functools.cache
def pictures() -> dict[str, bytes]:
    """The WebP files of the pack by name; read once in each process, 4 MB."""
    with zipfile.ZipFile(PACK) as pack:
        data = pack.read("pictures.webp")
        rows = pack.read("SOURCES.tsv").decode().splitlines()[2:]  # a line about their rights, and the names of the columns
    found, start = {}, 0
    for row in rows:
        name, length, _ = row.split("\t")
        found[name] = data[start : start + int(length)]
        start += int(length)
    return found


EXAMPLES = (Clipart(),)
