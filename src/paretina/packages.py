"""Finds files in other installed packages without importing them."""

import importlib.util
from pathlib import Path


def installed_file(module: str, name: str) -> Path | None:
    """The path of a file in a module's folder, at any depth; None if the module is not installed."""
    found = importlib.util.find_spec(module)
    if found is None or not found.submodule_search_locations:
        return None
    for folder in found.submodule_search_locations:
        for path in sorted(Path(folder).rglob(name)):
            return path
    return None


def require_coco(what: str) -> None:
    """Checks that pycocotools is installed, which comes with the extra `detect`.

    Args:
        what: needs it, as the beginning of a sentence.

    Raises:
        ValueError: it is not.
    """
    if importlib.util.find_spec("pycocotools") is None:
        raise ValueError(f"{what} needs pycocotools, not installed here: pip install 'paretina[detect]'")
