"""Imports and exports weights of other libraries."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors.torch import save

from paretina.model import interop
from paretina.model.blueprint import Blueprint, Preprocessing
from paretina.model.exported import exported_header
from paretina.model.preprocessing import LINES, in_words
from paretina.model.tasks.one_of import OneOf
from paretina.model.weights import About, load_model, save_model
from paretina.run import write_aside
from paretina.spec import encode, near
from paretina.verbs.checks import MisuseError, check_new, misuse, model_file


@dataclass(frozen=True)
class Written:
    """A file of weights that was written.

    Attributes:
        name: name of the network: ours in a model file, the other library's in an export.
        notes: choices and assumptions that the user should know, one sentence each.
        lines: for an export, the Python code that loads it there and preprocesses a picture for it.
    """

    path: Path
    name: str
    blueprint: Blueprint
    about: About
    notes: tuple[str, ...]
    lines: str = ""

    @property
    def prepared(self) -> str:
        """The preprocessing, in words."""
        return in_words(self.blueprint.preprocessing, self.blueprint.resolution)

    def to_dict(self) -> dict[str, Any]:
        return {
            "path": str(self.path),
            "name": self.name,
            "classes": self.blueprint.classes,
            "resolution": self.blueprint.resolution,
            "preprocessing": encode(self.blueprint.preprocessing),
            "licence": self.about.licence,
            "origin": self.about.origin,
            "notes": list(self.notes),
            "lines": self.lines,
        }


def import_weights(
    source: str,
    network: str | None = None,
    out: Path | str | None = None,
    classes: Path | str | None = None,
    licence: str | None = None,
) -> Written:
    """Converts pretrained weights to a model file: from timm, torchvision, an installed package or a file.

    Args:
        source: "timm:NAME[.TAG]", "torchvision:NAME[.WEIGHTS]", one of our networks whose weights come with a package, or a
            file with a state dict.
        network: for a file: our name of its network, or the library's as "timm:NAME[.TAG]", whose preprocessing is then used; a
            file of `export_weights` states it.
        out: the model file; default: named after the source, in the current folder.
        classes: a text file with one class name per line, replacing the known names.
        licence: licence of the weights, if the source does not state it.

    Raises:
        MisuseError: the source or the network is unknown, the file states another network, the number of classes is not that
            of the weights, or `out` exists already.
        ValueError: the weights cannot be found or read, or do not fit the network.
    """
    with misuse():
        interop.look_up(source, network)
    check_new(out)
    names = None if classes is None else lines_of(Path(classes))
    try:
        found = interop.import_weights(source, network, names, licence)
    except interop.WrongClassesError as error:
        raise MisuseError(str(error)) from None
    path = Path(found.file if out is None else out)
    check_new(path)
    save_model(path, found.network, found.about)
    notes = (*found.notes, *([found.unsure] if found.unsure else ()))
    if not found.about.licence:
        notes = (*notes, "the licence of these weights is unknown")
    return Written(path, found.about.name, found.network.blueprint, found.about, notes)


def lines_of(path: Path) -> tuple[str, ...]:
    if not path.is_file():
        raise MisuseError(f"there is no file {path} with class names")
    return tuple(line.strip() for line in path.read_text("utf-8").splitlines() if line.strip())


def export_weights(model: Path | str, to: str, out: Path | str | None = None) -> Written:
    """Exports the weights of a model as the state dict that another library has for the same network.

    Preprocessing and class names are stored in the header of the file, under "paretina-export" as JSON.

    Args:
        model: a model file, or the directory of a finished run.
        to: "timm" or "torchvision".
        out: the safetensors file; default: named after the network there, in the current folder.

    Raises:
        MisuseError: there is no such model file or library, `out` does not end with .safetensors or exists already, or the
            library has no network that computes the same; the message says what differs.
    """
    path = model_file(model)
    if to not in interop.LIBRARIES:
        raise MisuseError(f"there is no library {to!r}{near(to, interop.LIBRARIES)}")
    if out is not None and Path(out).suffix != ".safetensors":  # readers recognise the format by the suffix
        raise MisuseError(f"exported weights are a safetensors file, so the name {str(out)!r} must end with .safetensors")
    check_new(out)
    network, about = load_model(path)
    if about.task != OneOf():
        raise MisuseError(
            f"the task of {path} is {about.task.WORDS}, but readers of an exported file expect one class "
            "per picture; only such networks can be exported"
        )
    if not isinstance(network.model, Blueprint):
        raise MisuseError(
            f"{path} is made of {len(network.networks())} networks, and {to} has no such model; a combined network cannot be "
            "exported to another library, so use it here: paretina predict, paretina evaluate"
        )
    blueprint = network.blueprint
    with misuse():
        published, peer = interop.peer_for(blueprint, about.name, to)
    target = Path(f"{peer.name}.{to}.safetensors" if out is None else out)
    check_new(target)
    state = interop.to_state(published, peer, network.state_dict())
    write_aside(target, save(state, exported_header(to, peer.name, blueprint, about)))
    lines = LINES[to](peer.name, blueprint.classes, str(target), blueprint.preprocessing, blueprint.resolution)
    return Written(target, peer.name, blueprint, about, export_notes(to, blueprint.preprocessing), lines)


def export_notes(to: str, preprocessing: Preprocessing) -> tuple[str, ...]:
    """Notes on differences in preprocessing in the other library."""
    notes = ["transparent pictures are composited on white here, and 16 bits are scaled to 8, unlike Pillow's convert"]
    if to == "timm" and preprocessing.fit == "crop":
        notes.append(
            f"the printed code crops before it resizes, as here; timm's own order (crop_pct={preprocessing.crop:.4g}, "
            "crop_mode='center', as in "
            "the header of the file) sees up to a pixel more or less at each side"
        )
    return tuple(notes)
