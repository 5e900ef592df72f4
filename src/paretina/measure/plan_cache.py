"""Caches the results of tuning, in one file per device, versions, network and use.

The files are in the user's cache directory, see `paretina.system.cache_folder`. A damaged file is ignored with a warning, and
so is a directory that is not writable. Nothing else depends on the cache: removing it costs the time to tune again.
"""

import hashlib
import json
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from paretina.measure.machine import Device
from paretina.measure.tune import Tuned
from paretina.run import write_aside
from paretina.system import cache_folder

VERSION = 2
"""Version of the files; incremented when the meaning of older ones changes."""


def key_of(device: Device, network: Any, **use: Any) -> dict[str, Any]:
    """The cache key of a plan: everything that it depends on.

    Args:
        network: an encoded blueprint, or the name of a network that has none.
        use: training or inference, batch, resolution, candidates.
    """
    return {"format": VERSION, "device": device.to_dict(), "network": network, **use}


def place_of(key: Mapping[str, Any], folder: Path | None = None) -> Path:
    digest = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()
    return (folder or cache_folder()) / "plans" / f"{digest[:32]}.json"


def cached_plan(key: Mapping[str, Any], folder: Path | None = None) -> Tuned | None:
    """The cached result for a key, or None; a damaged file is ignored with a warning."""
    path = place_of(key, folder)
    try:
        data = json.loads(path.read_text())
        if data["key"] != json.loads(json.dumps(key)):
            raise ValueError("it is about something else")
        return Tuned.from_dict({**data["tuned"], "cached": True})
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        text = str(error) if not isinstance(error, KeyError) else f"it has no {error}"
        warnings.warn(f"the cached plan {path} is damaged and was ignored: {text[:200]}", stacklevel=2)
        return None


def keep_plan(key: Mapping[str, Any], tuned: Tuned, folder: Path | None = None) -> None:
    """Caches a result; a folder that is not writable gives a warning."""
    path = place_of(key, folder)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_aside(path, json.dumps({"key": key, "tuned": tuned.to_dict()}, indent=2).encode())
    except OSError as error:
        warnings.warn(f"the plan cannot be cached in {path.parent}: {error.strerror or error}", stacklevel=2)
