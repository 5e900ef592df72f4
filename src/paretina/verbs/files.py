"""Pictures given as files or folders, outside any split."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from paretina.data.decode import DecodeError, decode
from paretina.data.scan import PicturePlace, left_out_text
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


def pictures_in(paths: Iterable[Path | str], left_out: Counter[str]) -> list[str]:
    """The given files, and the pictures in the given folders, at any depth, sorted.

    Args:
        left_out: receives the count of files skipped in folders, by reason. A file given by itself is never skipped.

    Raises:
        MisuseError: a path does not exist, or a folder has no picture.
        ValueError: a folder cannot be listed.
    """
    found: dict[str, None] = {}
    for path in map(Path, paths):
        if path.is_dir():
            here: Counter[str] = Counter()
            try:
                inside = sorted(str(path / name) for name in PicturePlace(path).all_pictures(here))
            except OSError as error:
                raise ValueError(f"cannot list {error.filename}: {error.strerror}") from None
            if not inside:
                raise MisuseError(f"there is no picture in the folder {path}{f' ({left_out_text(here)})' if here else ''}")
            left_out.update(here)
            found.update(dict.fromkeys(inside))
        elif path.exists():
            found[str(path)] = None
        else:
            raise MisuseError(f"there is no file {path}")
    return list(found)
