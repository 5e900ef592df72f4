"""Packages: files that other installed packages bring, found without importing them."""

import importlib.util
from pathlib import Path


def installed_file(module: str, name: str) -> Path | None:
    """The file of that name in the folder of a module, at any depth; None where the module is not installed."""
    found = importlib.util.find_spec(module)
    if found is None or not found.submodule_search_locations:
        return None
    for folder in found.submodule_search_locations:
        for path in sorted(Path(folder).rglob(name)):
            return path
    return None
