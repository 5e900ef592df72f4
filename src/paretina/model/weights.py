"""The model file: one safetensors file with everything that a classifier needs.

Weights, blueprint (preprocessing and normalisation included), class names, metrics, licence and origin. Nothing in it is
executed; a file that is cut short, foreign or hostile gets one clear sentence before anything large is allocated.
"""

import hashlib
import importlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

import safetensors
import torch
from safetensors.torch import save
from torch import Tensor

from paretina.model.blueprint import Model
from paretina.model.build import Network, materialise
from paretina.model.family import Published, Weights
from paretina.model.roles import roles
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
    """What a model file says besides its weights.

    Attributes:
        classes: class names in the order of the logits.
        metrics: figures by metric key, as measured when it was saved.
        licence: of the weights.
        origin: where the weights come from: what they were trained on, and what they started from.
        name: the network's name in our tables, or "".
        task: what the logits mean; a file that does not say so is of one class a picture.
    """

    classes: tuple[str, ...]
    metrics: dict[str, float] = field(default_factory=dict)
    licence: str = ""
    origin: str = ""
    name: str = ""
    task: Task = field(default_factory=OneOf)

    def to_dict(self) -> dict[str, Any]:
        """The fields as plain values."""
        return {**asdict(self), "task": encode(self.task)}


def save_model(path: Path, network: Network, about: About) -> None:
    """Writes a network as a model file, aside and then renamed.

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
        ValueError: the file is missing, cut short, no model file of ours, or its weights do not fit its model.
    """
    tensors, header = read_header(path)
    about = read_about(path, header)
    with tensors as file:
        given = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
        try:
            model = decode(Model, header.get("model"))  # type: ignore[type-abstract]
            blocks = sum(stage.depth for table in model.blueprints() for stage in table.stages)
            if blocks > len(given):  # a few letters could ask for a hundred thousand blocks
                raise ValueError(f"it has {how_many(blocks, 'block')}, but the file only {how_many(len(given), 'tensor')}")
            network = model.build("meta")
            wanted = {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
        except Exception as error:  # the numbers of a hostile file lead torch to almost any exception
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
    """What the description of a model file says about its weights."""
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
        )
    except KeyError as error:
        raise ValueError(f"{path}: its description is damaged: it has no {error}") from None
    except (TypeError, ValueError, AttributeError, OverflowError) as error:
        raise ValueError(f"{path}: its description is damaged: {shortened(error)}") from None


def shortened(error: Exception) -> str:
    """The text of an error on one line, without the rest of what a hostile file may have put into it."""
    text = " ".join((str(error) or type(error).__name__).split())
    return text if len(text) <= 300 else f"{text[:300]} ..."


class OtherFileError(ValueError):
    """What is named as a model file is something else, and not a damaged one; so the name is wrong."""

    exit_code = 2


def read_header(path: Path) -> tuple[Any, dict[str, Any]]:
    """The open tensors of a model file and its description."""
    if not path.is_file():
        raise ValueError(f"there is no model file {path}")
    try:
        file = safetensors.safe_open(path, framework="pt")
        text = (file.metadata() or {}).get(FORMAT)
    except (safetensors.SafetensorError, OSError) as error:
        if path.suffix != ".safetensors":
            raise OtherFileError(f"{path} is no model file; model files end with .safetensors") from None
        raise ValueError(f"{path} is no model file, or was cut short ({error})") from None
    if text is None:
        raise OtherFileError(f"{path} holds tensors, but not a model of ours; its description is missing")
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
    """Weights that a run starts from.

    Attributes:
        model: the network they belong to.
        state: tensors by our names.
        said: what was found, one sentence.
        classes: names of their classes, in the order of the logits.
    """

    model: Model
    state: dict[str, Tensor]
    licence: str
    origin: str
    said: str
    classes: tuple[str, ...]

    def rows(self, classes: Sequence[str]) -> Rows:
        """The rows of their last layer that a network of other classes continues with."""
        from paretina.model.interop import IMAGENET  # which needs this module

        return match_rows(self.classes, classes, IMAGENET)


def packaged_file(weights: Weights) -> Path | None:
    """The file of a registry package, if that package is installed."""
    return installed_file(weights.module, weights.file)


def from_package(network: Published) -> Start | None:
    """The weights that an installed registry package has for a named network, or None.

    Raises:
        ValueError: the package's file is not the one that is known.
    """
    weights = network.weights
    path = packaged_file(weights) if weights else None
    if weights is None or path is None:
        return None
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    if not digest.startswith(weights.sha256):
        raise ValueError(
            f"{path} is not the file that is known (its SHA-256 starts with {digest[:16]}); reinstall {weights.package}"
        )
    state = torch.load(path, map_location="cpu", weights_only=True)
    state = importlib.import_module(weights.converter).from_package(state, network.blueprint)
    from paretina.model.interop import IMAGENET  # which needs this module

    said = f"weights from the package {weights.package}"
    return Start(network.blueprint, state, weights.licence, weights.origin, said, IMAGENET)


def from_file(path: Path) -> Start:
    """The weights of a model file."""
    network, about = load_model(path)
    return Start(network.model, network.state_dict(), about.licence, about.origin, f"weights from {path}", about.classes)


@dataclass(frozen=True)
class Loaded:
    """What became of weights in a network that starts from them.

    Attributes:
        rows: what the last layer takes over.
        new: parts of the network that the weights do not have, so that they keep their first values.
        left: parts of the weights that the network does not have.
    """

    rows: Rows
    new: tuple[str, ...] = ()
    left: tuple[str, ...] = ()

    def notes(self) -> tuple[str, ...]:
        """What the user should know of it, a sentence each."""
        new = (f"new, since the weights do not have {'it' if len(self.new) == 1 else 'them'}: {', '.join(self.new)}",)
        left = (f"left out of the weights, since the network has no such part: {', '.join(self.left)}",)
        return (self.rows.said(), *(new if self.new else ()), *(left if self.left else ()))


def load_start(network: Network, start: Start, classes: Sequence[str] | None = None) -> Loaded:
    """Copies weights into a network, in place: of the last layer the rows of classes that they know by name.

    A whole part (stem, a stage, head; of several networks those of each) may be absent on either side. A part that both have
    must fit as a whole, up to the last layer.

    Args:
        classes: names of the network's classes; default: those of the weights.

    Raises:
        ValueError: a part does not fit, or there is none that both have.
    """
    rows = start.rows(start.classes if classes is None else classes)
    own = network.state_dict()
    state = {name: fitted(network, name, tensor, own) for name, tensor in start.state.items()}
    last = class_tensors(network.model)
    for name, has_rows in last.items():
        if name in state and not rows.same:
            state[name] = rows.merged(state[name], own[name]) if has_rows else own[name]
    wanted = {name: tuple(tensor.shape) for name, tensor in own.items() if not name.endswith("num_batches_tracked")}
    given = {name: tuple(tensor.shape) for name, tensor in state.items() if not name.endswith("num_batches_tracked")}
    parts, found = dict.fromkeys(map(part_of, wanted)), dict.fromkeys(map(part_of, given))
    both = parts.keys() & found.keys()
    if not both:
        raise ValueError(f"the weights do not fit the network: {first_difference(wanted, given)}")
    shared, theirs = ({name: shape for name, shape in each.items() if part_of(name) in both} for each in (wanted, given))
    for left_out in (last, {}):  # where all differs, the last layer says least
        one, two = ({name: shape for name, shape in each.items() if name not in left_out} for each in (shared, theirs))
        if one != two:
            sizes = size_difference(network, start.model, one, two)
            raise ValueError(f"the weights do not fit the network: {first_difference(one, two)}{sizes}")
    network.load_state_dict({name: state[name] for name in shared}, strict=False)
    return Loaded(rows, tuple(part for part in parts if part not in both), tuple(part for part in found if part not in both))


def part_of(name: str) -> str:
    """The part of a network that a tensor belongs to, by its name: "stem", "stages.2", "members.0.head", "predictor"."""
    steps = name.split(".")
    for at, step in enumerate(steps):
        if step == "stages":
            return ".".join(steps[: at + 2])
        if step in ("stem", "head"):
            return ".".join(steps[: at + 1])
    return steps[0]


def size_difference(
    network: Network, theirs: Model, wanted: Mapping[str, tuple[int, ...]], given: Mapping[str, tuple[int, ...]]
) -> str:
    """Says that only the size of the images is in the way, where all that differs are tables; "" otherwise."""
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
    """A tensor that belongs to another resolution, such as a table of positions, as the module that owns it wants it."""
    if name not in own or own[name].shape == tensor.shape:
        return tensor
    place, _, field = name.rpartition(".")
    fit = getattr(network.get_submodule(place), "fitted", None)
    return fit(field, tensor) if callable(fit) else tensor


def with_preprocessing(model: M, start: Start | None, keep: Iterable[str] = ("crop", "fit", "interpolation")) -> M:
    """The model that prepares pictures as its weights want them.

    Args:
        keep: fields of the preprocessing that stay as the model has them.
    """
    if start is None:
        return model
    kept = {name: getattr(model.preprocessing, name) for name in keep}
    return replace(model, preprocessing=replace(start.model.preprocessing, **kept))
