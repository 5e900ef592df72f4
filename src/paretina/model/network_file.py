"""A network in a JSON file: its blueprint with a name, as searches and scalings find them; `--model FILE` reads it.

The file has no weights. Whatever takes the name of a network takes such a file too.
"""

import json
from dataclasses import dataclass
from pathlib import Path

from paretina.model.blueprint import Blueprint
from paretina.run import write_aside
from paretina.spec import Spec, encode

ENDING = ".json"


@dataclass(frozen=True, kw_only=True)
class NetworkFile(Spec):
    """
    Attributes:
        name: of the network.
        blueprint: its table.
        origin: what it was found by, one sentence.
    """

    name: str
    blueprint: Blueprint
    origin: str = ""


def is_network_file(name: object) -> bool:
    """Whether the word for a network is that of a file and not a name of our tables."""
    return isinstance(name, str) and name.lower().endswith(ENDING) and not name.lstrip().startswith("{")


def write_network(path: Path, name: str, blueprint: Blueprint, origin: str = "") -> Path:
    """Writes a network as a file, whole or not at all, and returns its path.

    Raises:
        ValueError: the path does not end in .json, so that no command would read it.
    """
    if path.suffix.lower() != ENDING:
        raise ValueError(f"a network's file ends with {ENDING}, got {path.name}")
    path.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(encode(NetworkFile(name=name, blueprint=blueprint, origin=origin)), indent=2)
    write_aside(path, text.encode())
    return path


def read_network(path: Path | str) -> NetworkFile:
    """The network in a file; a bare blueprint is read too, and named after the file.

    Raises:
        ValueError: there is no such file, or it does not hold a network.
    """
    place = Path(path).expanduser()
    try:
        found = json.loads(place.read_text("utf-8"))
    except FileNotFoundError:
        raise ValueError(f"there is no file {place} with a network") from None
    except OSError as error:
        raise ValueError(f"cannot read {place}: {error.strerror}") from None
    except ValueError as error:
        raise ValueError(f"{place} is not JSON: {error}") from None
    if isinstance(found, dict) and found.get("kind") == "Blueprint":
        found = {"name": place.stem, "blueprint": found}
    if not isinstance(found, dict) or "blueprint" not in found:
        raise ValueError(f"{place} does not hold a network; it has a name and a blueprint, as `paretina search` writes them")
    try:
        return NetworkFile.from_json(json.dumps(found))
    except ValueError as error:
        raise ValueError(f"{place} does not hold a network: {error}") from None
