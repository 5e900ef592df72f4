"""Import and export: weights of other libraries."""

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
        name: the network: ours in a model file, the other library's in an export.
        notes: what was chosen, assumed or has to be known, a sentence each.
        lines: of an export, the Python that loads it there and prepares a picture as it wants it.
    """

    path: Path
    name: str
    blueprint: Blueprint
    about: About
    notes: tuple[str, ...]
    lines: str = ""

    @property
    def prepared(self) -> str:
        """How pictures are prepared for it, in words."""
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
    """Makes a model file of somebody else's weights: from timm, torchvision, an installed package or a file.

    Args:
        source: "timm:NAME[.TAG]", "torchvision:NAME[.WEIGHTS]", a network of ours whose weights a package brings, or a file
            with a state dict.
        network: of a file: our name of its network, or the library's as "timm:NAME[.TAG]", whose preprocessing then holds; a
            file of `export_weights` says it itself.
        out: the model file; default: named after the source, in the current folder.
        classes: a text file with the name of a class a line, instead of the names that are known.
        licence: of the weights, where the source says nothing.

    Raises:
        MisuseError: the source or the network is unknown, the file says that it is another network, the classes are not as
            many as the weights have, or there is a file at `out` already.
        ValueError: the weights cannot be had or read, or do not fit the network.
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
        notes = (*notes, "the licence of these weights is not known")
    return Written(path, found.about.name, found.network.blueprint, found.about, notes)


def lines_of(path: Path) -> tuple[str, ...]:
    if not path.is_file():
        raise MisuseError(f"there is no file {path} with the names of classes")
    return tuple(line.strip() for line in path.read_text("utf-8").splitlines() if line.strip())


def export_weights(model: Path | str, to: str, out: Path | str | None = None) -> Written:
    """Writes the weights of a model file as the state dict that another library has for the same network.

    How pictures are prepared, and the names of the classes, stand in the header of the file, under "paretina-export" as JSON.

    Args:
        model: a model file, or the directory of a finished run.
        to: "timm" or "torchvision".
        out: the safetensors file; default: named after the network there, in the current folder.

    Raises:
        MisuseError: there is no such model file or library, `out` is no safetensors file or there already, or the library has
            no network that computes the same; the message says what differs.
    """
    path = model_file(model)
    if to not in interop.LIBRARIES:
        raise MisuseError(f"there is no library {to!r}{near(to, interop.LIBRARIES)}")
    if out is not None and Path(out).suffix != ".safetensors":  # by which whoever reads it tells what it is
        raise MisuseError(f"exported weights are a safetensors file, so the name {str(out)!r} must end with .safetensors")
    check_new(out)
    network, about = load_model(path)
    if about.task != OneOf():
        raise MisuseError(
            f"{path} answers with {type(about.task).__name__}, but who reads an exported file takes its logits for one class a "
            "picture; only such networks are exported"
        )
    if not isinstance(network.model, Blueprint):
        raise MisuseError(
            f"{path} is made of {len(network.networks())} networks, and {to} has none that is; a network of several cannot be "
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
    """What has to be known of pictures in the other library."""
    notes = ["transparent pictures lie on white here, and 16 bits are scaled to 8, which Pillow's convert does not do"]
    if to == "timm" and preprocessing.fit == "crop":
        notes.append(
            f"the lines cut before they resize, as here; timm's own order (crop_pct={preprocessing.crop:.4g}, "
            "crop_mode='center', as in "
            "the header of the file) sees up to a pixel more or less at each side"
        )
    return tuple(notes)
