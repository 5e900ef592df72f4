"""Import and export: weights of other libraries."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors.torch import save

from paretina.model import interop
from paretina.model.blueprint import Blueprint
from paretina.model.weights import About, load_model, save_model
from paretina.run import write_aside
from paretina.spec import near
from paretina.verbs.checks import MisuseError, check_new, misuse, model_file


@dataclass(frozen=True)
class Written:
    """A file of weights that was written.

    Attributes:
        name: the network: ours in a model file, the other library's in an export.
        notes: what was chosen, assumed or has to be known, a sentence each.
    """

    path: Path
    name: str
    blueprint: Blueprint
    about: About
    notes: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        return {
            "path": str(self.path),
            "name": self.name,
            "classes": self.blueprint.classes,
            "resolution": self.blueprint.resolution,
            "licence": self.about.licence,
            "origin": self.about.origin,
            "notes": list(self.notes),
        }


def import_weights(
    source: str,
    network: str | None = None,
    out: Path | str | None = None,
    classes: Path | str | None = None,
    licence: str | None = None,
) -> Written:
    """Makes a model file of somebody else's weights: from timm, torchvision, an installed package or a file.

    Args:
        source: "timm:NAME[.TAG]", "torchvision:NAME[.WEIGHTS]", a network of ours whose weights a package brings, or a file
            with a state dict.
        network: of a file: our name of its network, or the library's as "timm:NAME".
        out: the model file; named after the source, in the current folder, unless told.
        classes: a text file with the name of a class a line, instead of the names that are known.
        licence: of the weights, where the source says nothing.

    Raises:
        MisuseError: the source or the network is unknown, or there is a file at `out` already.
        ValueError: the weights cannot be had or read, or do not fit the network.
    """
    with misuse():
        interop.look_up(source, network)
    check_new(out)
    names = None if classes is None else lines_of(Path(classes))
    found = interop.import_weights(source, network, names, licence)
    path = Path(found.file if out is None else out)
    check_new(path)
    save_model(path, found.network, found.about)
    notes = (*found.notes, *([found.unsure] if found.unsure else ()))
    if not found.about.licence:
        notes = (*notes, "the licence of these weights is not known")
    return Written(path, found.about.name, found.network.blueprint, found.about, notes)


def lines_of(path: Path) -> tuple[str, ...]:
    if not path.is_file():
        raise MisuseError(f"there is no file {path} with the names of classes")
    return tuple(line.strip() for line in path.read_text("utf-8").splitlines() if line.strip())


def export_weights(model: Path | str, to: str, out: Path | str | None = None) -> Written:
    """Writes the weights of a model file as the state dict that another library has for the same network.

    Args:
        model: a model file, or the directory of a finished run.
        to: "timm" or "torchvision".
        out: the safetensors file; named after the network there, in the current folder, unless told.

    Raises:
        MisuseError: there is no such model file or library, or there is a file at `out` already.
        ValueError: the library has no network that computes the same; the message says what differs.
    """
    path = model_file(model)
    if to not in interop.LIBRARIES:
        raise MisuseError(f"there is no library {to!r}{near(to, interop.LIBRARIES)}")
    check_new(out)
    network, about = load_model(path)
    blueprint = network.blueprint
    published, peer = interop.peer_for(blueprint, about.name, to)
    target = Path(f"{peer.name}.{to}.safetensors" if out is None else out)
    check_new(target)
    header = {"architecture": peer.name, "classes": list(about.classes), "licence": about.licence, "origin": about.origin}
    state = interop.to_state(published, peer, network.state_dict())
    write_aside(target, save(state, {"format": "pt", "paretina-export": json.dumps(header)}))
    if to == "timm":
        loaded = f'timm.create_model("{peer.name}", num_classes={blueprint.classes}, checkpoint_path="{target}")'
    else:
        made = f'torchvision.models.get_model("{peer.name}", num_classes={blueprint.classes})'
        loaded = f'model = {made}; model.load_state_dict(safetensors.torch.load_file("{target}"))'
    door = blueprint.door
    prepared = f"pictures of {blueprint.resolution} pixels, normalised with mean={door.mean} and std={door.std}"
    return Written(target, peer.name, blueprint, about, (f"load it with {loaded}", f"there it takes {prepared}"))
