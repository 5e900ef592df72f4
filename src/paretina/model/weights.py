"""Reads and writes model files: one safetensors file with everything that a classifier needs.

Weights, blueprint (preprocessing and normalisation included), class names, metrics, licence and origin. Nothing in it is
executed; a truncated, foreign or malicious file gives one clear error before anything large is allocated.
"""

import hashlib
import importlib
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

import safetensors
import torch
from safetensors.torch import save
from torch import Tensor

from paretina.model.blueprint import Blueprint, Model, Quantiser
from paretina.model.build import Network, materialise
from paretina.model.family import Published, Weights
from paretina.model.roles import roles
from paretina.model.rounding import of_rounding
from paretina.model.rows import Rows, class_tensors, match_rows
from paretina.model.task import Task
from paretina.model.tasks.one_of import OneOf
from paretina.packages import installed_file
from paretina.run import write_aside
from paretina.spec import decode, encode
from paretina.text import how_many

M = TypeVar("M", bound=Model)

FORMAT = "paretina-model"
VERSION = 1


@dataclass(frozen=True)
class About:
    """The metadata of a model file.

    Attributes:
        classes: class names in the order of the logits.
        metrics: values by metric key, as measured when it was saved.
        licence: of the weights.
        origin: of the weights: what they were trained on, and what they started from.
        name: the network's name in our tables, with what was done to it where it is another one since, or "".
        task: the kind of labels; default: one class per picture.
        counts: training pictures of each class; empty if they are not known, or there are several classes a picture.
        balanced: what in its training makes it answer as if all classes were equally frequent, in words; "" for nothing.
        thresholds: of several classes a picture, the probability above which each is there; empty for 0.5 each.
        thresholds_from: digest of the pictures that they were chosen on; see `picture_digest`.
        hierarchy: pairs of a class, or a group of classes, and the group that it belongs to; empty for none.
    """

    classes: tuple[str, ...]
    metrics: dict[str, float] = field(default_factory=dict)
    licence: str = ""
    origin: str = ""
    name: str = ""
    task: Task = field(default_factory=OneOf)
    counts: tuple[float, ...] = ()
    balanced: str = ""
    thresholds: tuple[float, ...] = ()
    thresholds_from: str = ""
    hierarchy: tuple[tuple[str, str], ...] = ()

    def called(self, path: Path) -> str:
        """What the network of a file is called: its name, or that of the run or the file where it has none."""
        return self.name or (path.absolute().parent.name if path.name == "model.safetensors" else path.stem)

    def to_dict(self) -> dict[str, Any]:
        """The fields as plain values."""
        said = {**asdict(self), "task": encode(self.task)}
        return {name: value for name, value in said.items() if name not in OPTIONAL or value}


OPTIONAL = ("counts", "balanced", "thresholds", "thresholds_from", "hierarchy")
"""Entries that are written only where there is something to say."""


def labels_read(header: Mapping[str, Any], classes: int) -> dict[str, Any]:
    """The optional entries of a header, checked, as fields of `About`.

    Args:
        classes: number of classes.

    Raises:
        ValueError: one of them is not what it should be.
    """
    found: dict[str, Any] = {}
    for name in ("counts", "thresholds"):
        numbers = tuple(map(float, header.get(name, ())))
        if numbers and (len(numbers) != classes or not all(math.isfinite(each) and each >= 0 for each in numbers)):
            raise ValueError(f"{name} must be a number for each class, at least 0")
        found[name] = numbers
    if max(found["thresholds"], default=0.0) > 1:
        raise ValueError("thresholds must be probabilities")
    pairs = tuple((str(child), str(parent)) for child, parent in header.get("hierarchy", ()))
    return {**found, "hierarchy": pairs, **{name: str(header.get(name, "")) for name in ("balanced", "thresholds_from")}}


def save_model(path: Path, network: Network, about: About) -> None:
    """Writes a network as a model file, atomically.

    Raises:
        ValueError: the number of class names is not that of the network's classes.
    """
    model = network.model
    if len(about.classes) != model.classes:
        raise ValueError(
            f"the network has {how_many(model.classes, 'class')}, but {how_many(len(about.classes), 'name')} were given"
        )
    header = {"format": FORMAT, "version": VERSION, "model": encode(model), **about.to_dict()}
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in network.state_dict().items()}
    write_aside(path, save(tensors, {FORMAT: json.dumps(header)}))


def load_model(path: Path) -> tuple[Network, About]:
    """Reads a model file; the network is in evaluation mode.

    Raises:
        ValueError: the file is missing, truncated or not a model file, or its weights do not fit its model.
    """
    tensors, header = read_header(path)
    about = read_about(path, header)
    with tensors as file:
        given = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
        try:
            model = decode(Model, header.get("model"))  # type: ignore[type-abstract]
            blocks = sum(stage.depth for table in model.blueprints() for stage in table.stages)
            if blocks > len(given):  # a few bytes could request a hundred thousand blocks
                raise ValueError(f"it has {how_many(blocks, 'block')}, but the file only {how_many(len(given), 'tensor')}")
            network = model.build("meta")
            wanted = {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
        except Exception as error:  # a malicious file can make torch raise almost any exception
            raise ValueError(f"{path}: its network cannot be built: {shortened(error)}") from None
        if wanted != given:
            raise ValueError(f"{path}: the weights do not fit the network: {first_difference(wanted, given)}")
        if len(about.classes) != model.classes:
            raise ValueError(f"{path}: names {how_many(len(about.classes), 'class')} for a network of {model.classes}")
        try:
            state = {name: file.get_tensor(name) for name in given}
        except Exception as error:
            raise ValueError(f"{path}: its weights cannot be read: {shortened(error)}") from None
    materialise(network)
    network.load_state_dict(state)
    return network.eval(), about


def read_about(path: Path, header: dict[str, Any]) -> About:
    """Reads the metadata from the header of a model file."""
    try:
        classes = header["classes"]
        if not isinstance(classes, list) or not all(isinstance(name, str) for name in classes):
            raise ValueError("classes must be a list of names")
        return About(
            classes=tuple(classes),
            metrics={str(key): float(value) for key, value in header["metrics"].items()},
            licence=str(header["licence"]),
            origin=str(header["origin"]),
            name=str(header["name"]),
            task=decode(Task, header["task"]) if "task" in header else OneOf(),  # type: ignore[type-abstract]
            **labels_read(header, len(classes)),
        )
    except KeyError as error:
        raise ValueError(f"{path}: its description is damaged: it has no {error}") from None
    except (TypeError, ValueError, AttributeError, OverflowError) as error:
        raise ValueError(f"{path}: its description is damaged: {shortened(error)}") from None


def shortened(error: Exception) -> str:
    """The text of an error on one line, truncated, since a malicious file may have put anything into it."""
    text = " ".join((str(error) or type(error).__name__).split())
    return text if len(text) <= 300 else f"{text[:300]} ..."


class OtherFileError(ValueError):
    """The given file is not a model file at all, rather than a damaged one."""

    exit_code = 2


def read_header(path: Path) -> tuple[Any, dict[str, Any]]:
    """Opens a model file; returns its tensors and its header."""
    if not path.is_file():
        raise ValueError(f"there is no model file {path}")
    try:
        file = safetensors.safe_open(path, framework="pt")
        text = (file.metadata() or {}).get(FORMAT)
    except (safetensors.SafetensorError, OSError) as error:
        if path.suffix != ".safetensors":
            raise OtherFileError(f"{path} is not a model file; model files end with .safetensors") from None
        raise ValueError(f"{path} is not a model file, or was truncated ({error})") from None
    if text is None:
        raise OtherFileError(f"{path} contains tensors, but not a Paretina model; its description is missing")
    try:
        header = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path}: its description is damaged: {shortened(error)}") from None
    if not isinstance(header, dict) or header.get("format") != FORMAT:
        raise ValueError(f"{path}: its description is damaged")
    if header.get("version") != VERSION:
        raise ValueError(f"{path} has format version {header.get('version')!r}; this release reads {VERSION}")
    return file, header


def first_difference(wanted: Mapping[str, tuple[int, ...]], given: Mapping[str, tuple[int, ...]]) -> str:
    for name in [*wanted, *given]:
        if wanted.get(name) != given.get(name):
            return f"{name} should be {wanted.get(name, 'absent')}, is {given.get(name, 'absent')}"
    return "nothing"


# --- weights to start from -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Start:
    """The weights that a run starts from.

    Attributes:
        model: the network they belong to.
        state: tensors by our names.
        said: a sentence that describes them.
        classes: names of their classes, in the order of the logits.
    """

    model: Model
    state: dict[str, Tensor]
    licence: str
    origin: str
    said: str
    classes: tuple[str, ...]

    def rows(self, classes: Sequence[str]) -> Rows:
        """The rows of their last layer that a network with other classes can reuse."""
        from paretina.model.interop import IMAGENET  # which needs this module

        return match_rows(self.classes, classes, IMAGENET)


def packaged_file(weights: Weights) -> Path | None:
    """The weight file of a registry package, if that package is installed."""
    return installed_file(weights.module, weights.file)


def from_package(network: Published) -> Start | None:
    """Loads the weights of a named network from an installed registry package, or returns None.

    Raises:
        ValueError: the package's file is not the expected one.
    """
    weights = network.weights
    path = packaged_file(weights) if weights else None
    if weights is None or path is None:
        return None
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    if not digest.startswith(weights.sha256):
        raise ValueError(
            f"{path} is not the expected file (its SHA-256 starts with {digest[:16]}); reinstall {weights.package}"
        )
    state = torch.load(path, map_location="cpu", weights_only=True)
    state = importlib.import_module(weights.converter).from_package(state, network.blueprint)
    from paretina.model.interop import IMAGENET  # which needs this module

    said = f"weights from the package {weights.package}"
    return Start(network.blueprint, state, weights.licence, weights.origin, said, IMAGENET)


def from_file(path: Path) -> Start:
    """Loads the weights of a model file."""
    network, about = load_model(path)
    return Start(network.model, network.state_dict(), about.licence, about.origin, f"weights from {path}", about.classes)


@dataclass(frozen=True)
class Loaded:
    """The result of loading weights into a network.

    Attributes:
        rows: the rows of the last layer that are reused.
        new: parts of the network that the weights do not have, so that they keep their initial values.
        left: parts of the weights that the network does not have.
        begun: parts in which the learned steps of a quantiser begin anew, since the weights were trained without it, or with
            other bits.
    """

    rows: Rows
    new: tuple[str, ...] = ()
    left: tuple[str, ...] = ()
    begun: tuple[str, ...] = ()

    def notes(self) -> tuple[str, ...]:
        """Notes for the user, a sentence each."""
        new = (f"new, since the weights do not have {'it' if len(self.new) == 1 else 'them'}: {', '.join(self.new)}",)
        left = (f"left out of the weights, since the network has no such part: {', '.join(self.left)}",)
        return (self.rows.said(), *(new if self.new else ()), *(left if self.left else ()))


def load_start(network: Network, start: Start, classes: Sequence[str] | None = None) -> Loaded:
    """Copies weights into a network, in place; of the last layer only the rows of classes with known names.

    A whole part (stem, a stage, head; of several networks those of each) may be absent on either side, and so is a head where
    one of the two is for pictures and the other for pixels or boxes. A part that both have must fit as a whole, up to the last
    layer, and to the learned steps of a quantiser that only one of them has.

    Args:
        classes: names of the network's classes; default: those of the weights.

    Raises:
        ValueError: a part does not fit, or they have no part in common.
    """
    rows = start.rows(start.classes if classes is None else classes)
    own = network.state_dict()
    others = other_heads(network.model, start.model)
    kept = {name: tensor for name, tensor in start.state.items() if part_of(name) not in others}
    state = {name: fitted(network, name, tensor, own) for name, tensor in kept.items()}
    last = class_tensors(network.model)
    for name, has_rows in last.items():
        if name in state and not rows.same:
            state[name] = rows.merged(state[name], own[name]) if has_rows else own[name]
    begun: dict[str, None] = {}
    if quantisers_of(network.model) != quantisers_of(start.model):
        begun = dict.fromkeys(part_of(name) for name in own if of_rounding(name))
        own, state = ({name: each for name, each in found.items() if not of_rounding(name)} for found in (own, state))
    wanted = {name: tuple(tensor.shape) for name, tensor in own.items() if not name.endswith("num_batches_tracked")}
    given = {name: tuple(tensor.shape) for name, tensor in state.items() if not name.endswith("num_batches_tracked")}
    parts, found = dict.fromkeys(map(part_of, wanted)), dict.fromkeys(map(part_of, start.state))
    both = (parts.keys() & found.keys()) - {*others}
    if not both:
        raise ValueError(f"the weights do not fit the network: {first_difference(wanted, given)}")
    shared, theirs = ({name: shape for name, shape in each.items() if part_of(name) in both} for each in (wanted, given))
    for left_out in (last, {}):  # if everything differs, the last layer is the least informative
        one, two = ({name: shape for name, shape in each.items() if name not in left_out} for each in (shared, theirs))
        if one != two:
            sizes = size_difference(network, start.model, one, two)
            raise ValueError(f"the weights do not fit the network: {first_difference(one, two)}{sizes}")
    network.load_state_dict({name: state[name] for name in shared}, strict=False)
    new, left = (tuple(part for part in each if part not in both) for each in (parts, found))
    return Loaded(rows, new, left, tuple(part for part in begun if part in both))


def quantisers_of(model: Model) -> tuple[Quantiser | None, ...]:
    """The quantiser of each network in a model."""
    return tuple(table.quantiser for table in model.blueprints())


def other_heads(own: Model, theirs: Model) -> tuple[str, ...]:
    """The head, where those of two single networks are for different things, pictures, pixels or boxes; else ()."""
    if not isinstance(own, Blueprint) or not isinstance(theirs, Blueprint):
        return ()
    return ("head",) if (own.head.DENSE, own.head.BOXES) != (theirs.head.DENSE, theirs.head.BOXES) else ()


OWN_PARTS = ("predictors", "short_path")


def part_of(name: str) -> str:
    """The part of a network that a tensor belongs to, by its name: "stem", "stages.2", "members.0.head", "predictor".

    The predictors that choose tokens or places are a part of their own, "stages.0.predictors", and so are the paths that some
    places take, "stages.0.short_path": other weights have none.
    """
    steps = name.split(".")
    for at, step in enumerate(steps):
        if step == "stages":
            own = [step for step in steps[at + 2 :] if step in OWN_PARTS][:1]
            return ".".join(steps[: at + 2] + own)
        if step in ("stem", "head"):
            return ".".join(steps[: at + 1])
    return steps[0]


def size_difference(
    network: Network, theirs: Model, wanted: Mapping[str, tuple[int, ...]], given: Mapping[str, tuple[int, ...]]
) -> str:
    """A hint about the image size if only tables differ in shape; "" otherwise."""
    tables = {name for name, owned in roles(network).items() if owned.role == "table"}
    here, there = network.model.resolution, theirs.resolution
    different = {name for name in {*wanted, *given} if wanted.get(name) != given.get(name)}
    if here == there or not different <= tables:
        return ""
    return (
        f"; it is a table for images of one size, which is {there} pixels in the weights and {here} in the network: give "
        f"resolution={there} (and size={there}), or train from scratch with --weights none"
    )


def fitted(network: Network, name: str, tensor: Tensor, own: Mapping[str, Tensor]) -> Tensor:
    """Adapts a tensor for another resolution, such as a table of positions, by the module that owns it."""
    if name not in own or own[name].shape == tensor.shape:
        return tensor
    place, _, field = name.rpartition(".")
    fit = getattr(network.get_submodule(place), "fitted", None)
    return fit(field, tensor) if callable(fit) else tensor


def with_preprocessing(model: M, start: Start | None, keep: Iterable[str] = ("crop", "fit", "interpolation")) -> M:
    """Returns the model with the preprocessing of its weights.

    Args:
        keep: fields of the preprocessing to keep from the model.
    """
    if start is None:
        return model
    kept = {name: getattr(model.preprocessing, name) for name in keep}
    return replace(model, preprocessing=replace(start.model.preprocessing, **kept))
