"""Files: pictures that are named one by one or by folders, outside any split."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from paretina.data.decode import SUFFIXES, DecodeError, decode
from paretina.data.source import Collection, Sample
from paretina.shapes import Image
from paretina.verbs.checks import MisuseError


@dataclass(frozen=True)
class FileCollection(Collection):
    """Pictures by their paths, without labels."""

    def image(self, sample: Sample, at_least: int | None = None) -> Image:
        try:
            data = Path(sample.name).read_bytes()
        except OSError as error:
            raise DecodeError(f"{sample.name}: {error.strerror or error}") from None
        return decode(data, sample.name, at_least)


def pictures_in(paths: Iterable[Path | str]) -> list[str]:
    """The picture files that the paths name; of a folder all in it, at any depth, in order.

    Raises:
        MisuseError: a path does not exist, or a folder has no picture.
    """
    found: dict[str, None] = {}
    for path in map(Path, paths):
        if path.is_dir():
            inside = sorted(str(p) for p in path.rglob("*") if p.suffix.lower() in SUFFIXES and p.is_file())
            if not inside:
                raise MisuseError(f"there is no picture in the folder {path}")
            found.update(dict.fromkeys(inside))
        elif path.exists():
            found[str(path)] = None
        else:
            raise MisuseError(f"there is no file {path}")
    return list(found)
