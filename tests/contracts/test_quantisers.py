"""What every quantiser must satisfy, in a small network."""

import copy
import json
from dataclasses import replace

import pytest
import torch
from torch import nn

from paretina.measure.cost import cost, rounded_in_words
from paretina.model.activations.pointwise import ReLU, SiLU
from paretina.model.activations.rprelu import RPReLU
from paretina.model.blocks.convnext import ConvNeXt
from paretina.model.blocks.mbconv import MBConv
from paretina.model.blocks.resnet import Basic
from paretina.model.blueprint import Blueprint, Stage
from paretina.model.family import network_named
from paretina.model.fold import fold
from paretina.model.norms.proxy import ProxyNorm
from paretina.model.quantisers.binary import Binary
from paretina.model.quantisers.dorefa import Dorefa
from paretina.model.quantisers.lsq import Lsq
from paretina.model.roles import roles
from paretina.model.rounding import bits_of, layers_in, rounding_of
from paretina.model.weights import About, Start, load_model, load_start, save_model
from paretina.spec import decode, encode, modules_in
from paretina.train.starting import different_notes, named
from tiny import tiny_blueprint

EXAMPLES = [example for module in modules_in("paretina.model.quantisers") for example in getattr(module, "EXAMPLES", ())]
every_quantiser = pytest.mark.parametrize("quantiser", EXAMPLES, ids=repr)
FLOAT = tiny_blueprint(
    Stage(block=Basic(), depth=1, width=8, stride=1), Stage(block=Basic(), depth=1, width=12, stride=2), activation=ReLU()
)
SIGNED = replace(FLOAT, activation=RPReLU())
NAMES = About(classes=("a", "b", "c"))


def of_floats(quantiser):
    """The float network whose layers a quantiser can round: some need inputs of both signs."""
    return SIGNED if isinstance(quantiser, Binary) else FLOAT


def built(quantiser, seed=0, floats=None):
    torch.manual_seed(seed)
    return replace(floats or of_floats(quantiser), quantiser=quantiser).build()


def inner(quantiser):
    weights, inputs = quantiser.bits_at("inner")
    return f"{weights}w{inputs}a"


def images(count=6):
    return torch.randint(256, (count, 3, 16, 16), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def trained(network):
    """After an update, so that everything that begins with the first batch has begun."""
    network.train()
    network(images()).square().sum().backward()
    return network.eval()


def start_of(network):
    return Start(network.model, network.state_dict(), "", "", "tests", NAMES.classes)


@every_quantiser
def test_weights_keep_their_names_shapes_and_values(quantiser):
    rounded, floats = built(quantiser), built(None, floats=of_floats(quantiser))
    ours, theirs = rounded.state_dict(), floats.state_dict()
    assert [name for name in ours if "rounding" not in name.split(".")] == list(theirs)
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)  # the same seed draws the same weights


@every_quantiser
def test_float_weights_load_and_low_bit_weights_load_into_floats(quantiser):
    for here, there in ((quantiser, None), (None, quantiser)):
        floats = of_floats(quantiser)
        network, start = built(here, seed=1, floats=floats), trained(built(there, floats=floats))
        loaded = load_start(network, start_of(start))
        assert not loaded.new
        assert not loaded.left
        names = [name for name, _ in layers_in(network)]
        for name in names:
            assert torch.equal(network.get_submodule(name).weight, start.get_submodule(name).weight)
        words = different_notes(start_of(start), network.model)
        assert f"quantiser {named(there)} instead of {named(here)}" in words[0]


@every_quantiser
def test_every_layer_is_rounded_and_the_first_and_last_with_8_bits(quantiser):
    found = bits_of(built(quantiser))
    assert [str(each) for each in found] == ["8w", *[inner(quantiser)] * (len(found) - 2), "8w"]
    assert bits_of(built(None)) == ()


@every_quantiser
def test_a_gradient_reaches_every_weight_and_step(quantiser):
    network = trained(built(quantiser))
    owned = roles(network)
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all()
        assert parameter.grad.abs().sum() > 0, name
        if "rounding" in name:
            assert owned[name].role == "scale"


@every_quantiser
def test_inputs_of_layers_lie_on_as_many_values_as_they_have_bits(quantiser):
    network, seen = trained(built(quantiser)), []
    layer = network.stages[1][0].body[1].conv
    convolve = layer.convolve
    layer.convolve = lambda x, weight: (seen.append((x, weight)), convolve(x, weight))[1]
    with torch.no_grad():
        network(images())
    x, weight = seen[0]
    assert len(x.unique()) <= 2 ** quantiser.bits_at("inner")[1]
    rows = weight.flatten(1) if rounding_of(layer).scales(len(weight)) == len(weight) else weight.flatten()[None]
    assert all(2 <= len(row.unique()) <= 2**quantiser.weights for row in rows)


@every_quantiser
def test_inference_form_gives_the_same_answers(quantiser):
    network = trained(built(quantiser))
    folded = fold(network)
    with torch.no_grad():
        for found in (folded, copy.deepcopy(folded)):
            # a fold multiplies weights and shifts inputs of what follows, so a number on a border may fall to the other side
            torch.testing.assert_close(found(images()), network(images()), atol=2e-3, rtol=2e-3)
    assert all(layer.rounding.weight_bits is None for _, layer in layers_in(folded) if rounding_of(layer) is not None)
    assert rounding_of(folded.head.classifier) is None


@every_quantiser
def test_is_saved_and_read(quantiser, tmp_path):
    network = trained(built(quantiser))
    save_model(tmp_path / "model.safetensors", network, NAMES)
    read, _ = load_model(tmp_path / "model.safetensors")
    assert read.model == network.model
    with torch.no_grad():
        assert torch.equal(read(images()), network(images()))


@every_quantiser
def test_cost_says_the_bits_and_what_weights_take(quantiser):
    found, floats = cost(replace(of_floats(quantiser), quantiser=quantiser)), cost(of_floats(quantiser))
    assert (found.macs, found.uncounted) == (floats.macs, ())
    assert found.low_bit_bytes < found.int8_bytes < found.weight_bytes or quantiser.weights == 8
    assert found.stages[0].bits == "8w in 1 layer"
    assert found.stages[1].bits == f"{inner(quantiser)} in 2 layers"
    assert rounded_in_words(found).startswith(f"bits: {inner(quantiser)} in 5 layers, 8w in 2; weights")
    assert (floats.bits, floats.low_bit_bytes, floats.int8_bytes, rounded_in_words(floats)) == ((), None, None, "")


@every_quantiser
def test_cost_says_the_ops(quantiser):
    found = cost(replace(of_floats(quantiser), quantiser=quantiser))
    weights, inputs = quantiser.bits_at("inner")
    # first convolution and classifier read floats; all others have one number of bits
    floats = 8 * 8 * 8 * 27 + 12 * 3
    assert found.float_macs == floats
    assert found.bit_operations == (found.macs - floats) * weights * inputs
    assert found.ops == floats + (found.macs - floats) * weights * inputs / 64
    assert f"{found.ops / 1e6:,.4g} M OPs" in rounded_in_words(found)
    assert cost(FLOAT).ops is None
    twice = cost(replace(of_floats(quantiser), quantiser=quantiser), batch=2)
    assert (twice.float_macs, twice.bit_operations) == (2 * floats, 2 * found.bit_operations)


def test_bytes_by_hand():
    # 3x3 from 3 to 8 and the classifier in 8 bits; two 3x3 of 8, 8 to 12, 12 to 12 and 1x1 of 8 to 12 in 2 bits
    eight, two = 3 * 9 * 8 + 12 * 3, 2 * 9 * 64 + 9 * 8 * 12 + 9 * 144 + 96
    floats = cost(FLOAT).weight_bytes - 4 * (eight + two)
    scales = 4 * (1 + 5 + 3)  # one for each convolution, and one for each row of the classifier
    assert cost(replace(FLOAT, quantiser=Dorefa())).low_bit_bytes == floats + eight + two // 4 + scales


def test_left_out_it_changes_nothing():
    assert FLOAT.quantiser is None
    network = built(None)
    assert all(type(layer) is not nn.Linear or type(layer).forward is nn.Linear.forward for _, layer in layers_in(network))
    assert "ounding" not in repr(network)


def test_a_table_that_was_written_before_there_were_quantisers_is_read():
    written = encode(FLOAT)
    del written["quantiser"]
    assert decode(Blueprint, json.loads(json.dumps(written))) == FLOAT


def test_a_network_whose_weights_lie_on_the_steps_loses_nothing():
    quantiser = Lsq(weights=8, activations=8)
    network = trained(built(quantiser))
    floats = built(None).eval()
    load_start(floats, start_of(network))
    with torch.no_grad():
        for name, layer in layers_in(floats):
            rounding = rounding_of(network.get_submodule(name))
            layer.weight.copy_(rounding.weight(layer.weight))
            network.get_submodule(name).weight.copy_(layer.weight)
            rounding.input_bits = None  # inputs of floats lie anywhere
        assert torch.equal(network(images()), floats(images()))


@pytest.mark.parametrize("quantiser", [Dorefa(), Lsq()], ids=repr)
def test_networks_whose_layers_read_what_is_below_zero_are_refused(quantiser):
    for changed, words in (
        ({"activation": SiLU()}, "SiLU, the activation of this network"),
        ({"norm": ProxyNorm()}, "ProxyNorm, the norm of this network"),
        (
            {"stages": (Stage(block=MBConv(expand=2, kernel=3), depth=1, width=8, stride=1),)},
            "MBConv in stage 1 has layers that read",
        ),
    ):
        with pytest.raises(ValueError, match=f"{type(quantiser).__name__} rounds what is below zero to zero, and {words}"):
            replace(FLOAT, quantiser=quantiser, **changed).build("meta")
        assert bits_of(replace(FLOAT, quantiser=Lsq(signed=True), **changed).build("meta"))


def test_layers_that_a_block_makes_itself_are_refused_but_gates_stay_floats():
    own = replace(FLOAT, stages=(Stage(block=ConvNeXt(), depth=1, width=8, stride=1),), quantiser=Lsq(signed=True))
    with pytest.raises(ValueError, match="ConvNeXt in stage 1 makes some itself, which would stay floats"):
        own.build("meta")
    found = bits_of(replace(network_named("efficientnet_b0").blueprint, quantiser=Lsq(signed=True)).build("meta"))
    assert {str(each) for each in found} == {"4w4a", "8w", "float"}
    assert all("squeeze" in each.name for each in found if str(each) == "float")
