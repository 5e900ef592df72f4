"""Builds src/paretina/data/sources/clipart.zip, the built-in set of drawings, from the Debian package openclipart-png.

    apt-get download openclipart-png=1:0.18+dfsg-19
    dpkg -x openclipart-png_*.deb unpacked
    python scripts/build_clipart.py unpacked/usr/share/openclipart/png

The pictures are under the public domain dedication of the package (its `copyright` file). The zip holds two members:
`pictures.webp`, the WebP files one after another, and `SOURCES.tsv`, a row each in the same order: what the picture is called
(SPLIT/CLASS/NAME), its length in bytes, and the file it was made from. As members of their own they would take 0.3 MB more.
The zip is the same, byte for byte, for the same versions of Pillow and libwebp.
"""

import argparse
import hashlib
import io
import os
import sys
import zipfile
from collections import Counter, defaultdict
from pathlib import Path

from PIL import Image

CLASSES = {
    # A drawing that is in two of these folders (most by a symbolic link) belongs to the first.
    "mammals": ("animals/mammals",),
    "birds": ("animals/birds",),
    "bugs": ("animals/bugs",),
    "food": (
        "food/beverages",
        "food/breads_and_carbs",
        "food/dairy",
        "food/desserts",
        "food/fruit",
        "food/meats_and_eggs",
        "food/vegetables",
    ),
    "people": ("people",),
    "music": ("recreation/music",),
    "sports": ("recreation/sports",),
    "plants": ("plants",),
    "vehicles": ("transportation/vehicles", "transportation/boating"),
    "roadsigns": ("transportation/roadsigns",),
    "flags": ("signs_and_symbols/flags",),
    "buildings": ("buildings",),
    "party": ("recreation/party",),
    "tools": ("tools",),
    "office": ("office",),
    "weather_maps": ("signs_and_symbols/map_symbols",),
    "cards": ("recreation/games/cards",),
    "arrows": ("shapes/arrows",),
    "hardware": ("computer/hardware",),
}
COUNTS = {
    "flags": 526,
    "people": 378,
    "food": 278,
    "cards": 237,
    "weather_maps": 158,
    "tools": 139,
    "office": 128,
    "mammals": 116,
    "arrows": 103,
    "vehicles": 91,
    "plants": 69,
    "music": 67,
    "roadsigns": 66,
    "buildings": 65,
    "sports": 52,
    "hardware": 51,
    "bugs": 49,
    "birds": 48,
    "party": 35,
}
MAX_PIXELS = 178_956_970  # Pillow's own limit; leaves out one road sign of 623 megapixels, which would need 2.5 GB
SIDE = 128
QUALITY = 75
VAL_SHARE = 0.25
MAX_BYTES = 4_000_000
LONG_AGO = (1980, 1, 1, 0, 0, 0)  # zip entries carry a date; a fixed one keeps the file the same


def drawings(root: Path, folders: tuple[str, ...]) -> list[Path]:
    """All PNG files below the folders, those behind symbolic links too, in one order on every machine."""
    found = [Path(at, name) for folder in folders for at, _, names in os.walk(root / folder) for name in names]
    return sorted(path for path in found if path.suffix == ".png")


def opened(path: Path) -> Image.Image | None:
    """The picture as RGBA, or None where it is over the limit."""
    with Image.open(path) as image:
        if image.width * image.height > MAX_PIXELS:
            return None
        return image.convert("RGBA")


def small(image: Image.Image) -> Image.Image:
    """The picture on white, its longer side at most SIDE pixels."""
    scale = min(1.0, SIDE / max(image.size))
    # Pillow premultiplies by alpha before it averages, so resizing before pasting on white gives no dark seams.
    image = image.resize((max(1, round(image.width * scale)), max(1, round(image.height * scale))), Image.Resampling.LANCZOS)
    white = Image.new("RGBA", image.size, "white")
    white.alpha_composite(image)
    return white.convert("RGB")


def webp(image: Image.Image) -> bytes:
    file = io.BytesIO()
    image.save(file, "WEBP", quality=QUALITY, method=6)
    return file.getvalue()


def collect(root: Path) -> dict[str, dict[str, tuple[Path, Image.Image]]]:
    """Class -> entry name -> (original, small picture), each drawing once."""
    seen: set[str] = set()
    kept: dict[str, dict[str, tuple[Path, Image.Image]]] = defaultdict(dict)
    dropped = 0
    for name, folders in CLASSES.items():
        for path in drawings(root, folders):
            image = opened(path)
            if image is None:
                print(f"left out, over {MAX_PIXELS} pixels: {path.relative_to(root)}")
                continue
            digest = hashlib.sha256(image.resize((32, 32)).tobytes()).hexdigest()
            if digest in seen:
                dropped += 1
                continue
            seen.add(digest)
            entry, again = path.stem, 2
            while entry in kept[name]:
                entry, again = f"{path.stem}_{again}", again + 1
            kept[name][entry] = (path, small(image))
    print(f"left out {dropped} exact duplicates")
    return kept


def held_out(pictures: dict[str, tuple[Path, Image.Image]]) -> set[str]:
    """A quarter of a class, by a hash of the small pictures, so that two that look the same are on the same side."""
    digests = {
        name: hashlib.sha256(repr(image.size).encode() + image.tobytes()).hexdigest() for name, (_, image) in pictures.items()
    }
    ranked = sorted(digests, key=lambda name: (digests[name], name))
    border = round(VAL_SHARE * len(ranked))
    while digests[ranked[border - 1]] == digests[ranked[border]]:
        border += 1
    return set(ranked[:border])


def write(kept: dict[str, dict[str, tuple[Path, Image.Image]]], root: Path, out: Path) -> None:
    files = {}
    for name, pictures in kept.items():
        held = held_out(pictures)
        for entry, (path, image) in pictures.items():
            original = path.relative_to(root).as_posix()
            files[f"{'val' if entry in held else 'train'}/{name}/{entry}.webp"] = (webp(image), original)
    header = "# From usr/share/openclipart/png in the Debian package openclipart-png 1:0.18+dfsg-19, public domain dedication\n"
    rows = [f"{file}\t{len(data)}\t{original}\n" for file, (data, original) in sorted(files.items())]
    with zipfile.ZipFile(out, "w") as pack:
        pack.writestr(zipfile.ZipInfo("pictures.webp", LONG_AGO), b"".join(data for _, (data, _) in sorted(files.items())))
        sources = header + "file\tbytes\toriginal\n" + "".join(rows)
        pack.writestr(zipfile.ZipInfo("SOURCES.tsv", LONG_AGO), sources, zipfile.ZIP_DEFLATED, 9)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("root", type=Path, help="the unpacked folder usr/share/openclipart/png")
    parser.add_argument("--out", type=Path, default=Path(__file__).parents[1] / "src/paretina/data/sources/clipart.zip")
    given = parser.parse_args()
    Image.MAX_IMAGE_PIXELS = None  # the limit is checked above, without a warning
    kept = collect(given.root)
    counts = {name: len(kept[name]) for name in COUNTS}
    if counts != COUNTS:
        print(f"expected {COUNTS}\n     got {counts}; is this version 1:0.18+dfsg-19 of the package?", file=sys.stderr)
        return 1
    write(kept, given.root, given.out)
    size = given.out.stat().st_size
    print(f"{given.out}: {Counter(counts).total()} pictures, {len(counts)} classes, {size:,} bytes")
    if size > MAX_BYTES:
        print(f"that is over {MAX_BYTES:,} bytes, too much for the wheel", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
