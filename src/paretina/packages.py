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
