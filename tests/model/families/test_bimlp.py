import functools
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from paretina.measure.cost import cost, rounded_in_words
from paretina.model.activations.rprelu import RPReLU
from paretina.model.blueprint import Preprocessing
from paretina.model.edits.scale import Scale
from paretina.model.families.bimlp import M, S, bimlp
from paretina.model.families.wave_mlp import MEDIUM, SMALL, TINY
from paretina.model.fold import fold
from paretina.model.quantisers.binary import Binary
from paretina.model.weights import About, save_model
from paretina.ship.format import format_named
from paretina.ship.shipping import written

counted = functools.cache(cost)

LITTLE = replace(bimlp((1, 1, 1, 1), (8, 12, 16, 24)), resolution=32, classes=3)
SHORT = replace(LITTLE, stages=LITTLE.stages[1:2], preprocessing=Preprocessing(crop=1.0))


@pytest.mark.parametrize(("blueprint", "params", "macs"), [(TINY, 17, 2.4), (SMALL, 30, 4.5), (MEDIUM, 44, 7.9)])
def test_wave_mlps_have_what_is_published(blueprint, params, macs):
    found = counted(blueprint)
    assert found.params / 1e6 == pytest.approx(params, rel=0.025)
    assert found.macs / 1e9 == pytest.approx(macs, rel=0.03)


@pytest.mark.parametrize(
    ("blueprint", "weights", "bit_operations", "ops", "published"),
    [(S, 14.74e6, 2.242e9, 1.550e8, 1.56e8), (M, 28.24e6, 4.309e9, 1.873e8, 1.88e8)],
)
def test_bimlps_have_the_operations_that_are_published(blueprint, weights, bit_operations, ops, published):
    found = counted(blueprint)
    binary = [each for each in found.bits if str(each) == "1w1a"]
    assert {str(each) for each in found.bits} == {"1w1a", "float"}
    assert sum(each.weights for each in binary) == pytest.approx(weights, rel=5e-4)
    assert sum(each.weights for each in found.bits) - sum(each.weights for each in binary) == 9408 + 212_992 + 512_000
    assert found.bit_operations == pytest.approx(bit_operations, rel=5e-4)
    assert found.float_macs == pytest.approx(119.9e6, rel=5e-4)
    assert found.ops == pytest.approx(ops, rel=5e-4)
    assert found.ops == pytest.approx(published, rel=0.01)
    assert f"{ops / 1e6:,.4g} M OPs: {bit_operations / 1e6:,.0f} M bit operations / 64" in rounded_in_words(found)


def test_three_quarters_of_the_floats_are_between_stages():
    stages = {stage.name: stage for stage in counted(S).stages}
    between = 64 * 128 * 56**2 + 128 * 320 * 28**2 + 320 * 512 * 14**2
    floats = stages["stem"].macs + between + stages["head"].macs
    assert floats == counted(S).float_macs
    assert between / floats == pytest.approx(0.75, abs=0.01)


def test_ternary_inputs_are_two_bits():
    ternary = counted(replace(LITTLE, quantiser=Binary(float_ends=True, ternary=True)))
    assert ternary.bit_operations == 2 * counted(LITTLE).bit_operations


def test_a_narrow_one_is_as_wide_as_its_gates_allow():
    narrow = Scale(width=0.3)(replace(S, resolution=64))
    assert all(stage.width % 4 == 0 for stage in narrow.stages)
    assert narrow.build("meta").eval()(torch.empty(1, 3, 64, 64, device="meta")).shape == (1, 1000)


def images(side=32):
    return torch.randint(256, (6, 3, side, side), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("gradient", ["quadratic", "clipped", "reste"])
def test_learns_a_few_pictures_by_heart(gradient):
    torch.manual_seed(0)
    network = replace(LITTLE, quantiser=Binary(float_ends=True, gradient=gradient)).build()
    labels, optimizer = torch.tensor([0, 1, 2, 0, 1, 2]), torch.optim.Adam(network.parameters(), 1e-2)
    before = network.stages[1][0].places.body[1].project.unit.conv.weight.detach().clone()
    losses = []
    for _ in range(16):
        loss = F.cross_entropy(network(images(64)), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert min(losses[-3:]) < 0.7 * losses[0]
    after = network.stages[1][0].places.body[1].project.unit.conv.weight
    assert ((before >= 0) != (after >= 0)).any()  # signs have changed


def settled(blueprint):
    torch.manual_seed(0)
    network = blueprint.build()
    for _ in range(20):  # statistics of norms
        network(images())
    return network.eval()


def test_inference_form_gives_the_same_answers():
    network = settled(LITTLE)
    with torch.no_grad():
        torch.testing.assert_close(fold(network)(images()), network(images()), atol=1e-3, rtol=1e-3)


def test_a_file_of_another_runtime_answers_as_the_network(tmp_path):
    network = settled(SHORT)
    save_model(tmp_path / "model.safetensors", network, About(classes=("a", "b", "c")))
    onnx = format_named("onnx")
    written(tmp_path / "model.safetensors", onnx, "float32", tmp_path / "model.onnx")
    with torch.no_grad():
        wanted = network(images()).softmax(1)
    assert wanted.std(0).min() > 1e-3  # the pictures have different answers
    torch.testing.assert_close(onnx.open(tmp_path / "model.onnx").run(images()), wanted, atol=1e-4, rtol=1e-3)


def test_floats_have_the_same_layers():
    floats = replace(LITTLE, quantiser=None).build("meta")
    assert {name: tensor.shape for name, tensor in floats.state_dict().items()} == {
        name: tensor.shape for name, tensor in LITTLE.build("meta").state_dict().items()
    }
    assert isinstance(floats.blueprint.activation, RPReLU)
