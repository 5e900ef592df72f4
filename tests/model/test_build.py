"""From a blueprint to a network: numbering, maps, taps, first values, roles."""

import copy
import functools
import math
from collections import Counter
from dataclasses import replace

import pytest
import torch

from paretina.model.blueprint import Blueprint, Initialisation, Stage
from paretina.model.build import Network
from paretina.model.families.efficientnet import B0
from paretina.model.families.resnet import R18, R50
from paretina.model.layers import Convolution
from paretina.model.roles import role_of, roles
from paretina.spec import put

TINY = replace(B0, resolution=32, classes=5, stages=B0.stages[:3])


@functools.cache
def tiny():
    torch.manual_seed(0)
    return TINY.build().eval()


@functools.cache
def without_values(blueprint):
    return blueprint.build("meta")


def images(count=2, size=32):
    return torch.rand(count, 3, size, size, generator=torch.Generator().manual_seed(0))


# --- blocks ----------------------------------------------------------------------------------------------------------


def test_blocks_are_numbered_over_all_stages():
    network = without_values(B0)
    assert network.blocks == 16
    assert [block.block_number for stage in network.stages for block in stage] == list(range(16))


def test_residuals_have_the_numbers_of_their_blocks():
    # a stage's first block changes the width, hence has no residual
    assert [residual.number for residual in without_values(B0).residuals()] == [2, 4, 6, 7, 9, 10, 12, 13, 14]
    assert [residual.number for residual in without_values(R18).residuals()] == list(range(8))


def test_every_residual_knows_the_norm_that_ends_its_body():
    for blueprint in (B0, R50):
        network = without_values(blueprint)
        assert all(residual.last_norm.activation is None for residual in network.residuals())
        assert len({id(residual.last_norm) for residual in network.residuals()}) == len(network.residuals())


def test_there_is_one_dropout_in_front_of_the_classifier():
    assert without_values(B0).dropouts() == [without_values(B0).head.dropout]


@pytest.mark.parametrize("rates", [Network.residuals, Network.dropouts])
def test_drop_rates_act_in_training_only(rates):
    network = copy.deepcopy(tiny())
    with torch.no_grad():
        plain = network(images())
        for rate in rates(network):
            rate.set(0.5)
        assert torch.equal(network(images()), plain)
        network.train()
        torch.manual_seed(1)
        first = network(images())
        torch.manual_seed(2)
        assert not torch.equal(network(images()), first)


def test_rates_survive_a_copy_and_are_not_saved():
    network = copy.deepcopy(tiny())
    network.residuals()[0].set(0.25)
    assert copy.deepcopy(network).residuals()[0].rate.item() == 0.25
    assert not [name for name in network.state_dict() if "rate" in name or name.startswith("preprocessing")]
    assert network.state_dict().keys() == tiny().state_dict().keys()


def test_frozen_parts_stay_as_they_are_in_training():
    network = copy.deepcopy(tiny())
    network.freeze(["stem", "stages.0"])
    network.train()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    network(images()).sum().backward()
    learning = {owned.place for name, owned in roles(network).items() if network.get_parameter(name).grad is not None}
    assert learning == {"stages.1", "stages.2", "head"}
    moved = {name for name, tensor in network.state_dict().items() if not torch.equal(tensor, before[name])}
    assert {name.split(".")[0] for name in moved} == {"stages", "head"}
    assert not [name for name in moved if name.startswith("stages.0.")]


def test_a_part_that_is_not_there_cannot_be_frozen():
    with pytest.raises(ValueError, match=r"there is no part 'stages.3' to freeze; did you mean 'stages.\d'"):
        copy.deepcopy(tiny()).freeze(["stages.3"])


# --- maps ------------------------------------------------------------------------------------------------------------


def test_features_are_the_last_maps_at_each_stride():
    with torch.no_grad():
        found = tiny().features(images())
        maps, extras = tiny().borders(images())
    # the stem and the first stage are both at stride 2
    assert {stride: tuple(x.shape) for stride, x in found.items()} == {
        2: (2, 16, 16, 16),
        4: (2, 24, 8, 8),
        8: (2, 40, 4, 4),
    }
    assert not extras
    assert [len(maps), *map(len, maps)] == [4, 2, 2, 2, 2]
    torch.testing.assert_close(found[2], maps[1])
    assert TINY.border_strides == (2, 2, 4, 8)
    assert TINY.strides == B0.strides[:3] == (2, 4, 8)


@pytest.mark.parametrize("size", [32, 33, 45])
def test_maps_round_their_size_up(size):
    with torch.no_grad():
        for stride, x in tiny().features(images(1, size)).items():
            assert x.shape[2:] == (math.ceil(size / stride), math.ceil(size / stride))


def test_features_come_in_the_order_asked_for():
    with torch.no_grad():
        assert list(tiny().features(images(), [8, 2])) == [8, 2]


def test_a_stride_without_a_map_is_refused():
    with pytest.raises(ValueError, match="there are feature maps at the strides 2, 4, 8, not at 16"):
        tiny().features(images(), [4, 16])


def test_taps_collect_what_inner_modules_give_and_leave_no_trace():
    network = tiny()
    with torch.no_grad():
        with network.taps(["stages.1", "head.classifier"]) as caught:
            logits = network(images())
        assert set(caught) == {"stages.1", "head.classifier"}
        assert torch.equal(caught["head.classifier"], logits)
        torch.testing.assert_close(caught["stages.1"], network.features(images())[4])
        caught.clear()
        network(images())
    assert not caught
    assert not any(module._forward_hooks for module in network.modules())


def test_a_tap_on_nothing_is_refused():
    with pytest.raises(AttributeError, match="no_such"), tiny().taps(["stages.0", "no_such"]):
        pass


def test_embedding_is_what_the_classifier_sees():
    with torch.no_grad():
        embedding = tiny().embedding(images())
        assert embedding.shape == (2, 1280)
        torch.testing.assert_close(tiny().head.classifier(embedding), tiny()(images()))


def test_preprocessing_stands_in_front():
    whole = torch.randint(256, (2, 3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        torch.testing.assert_close(tiny()(whole), tiny()(whole.float() / 255))
        other = replace(TINY, preprocessing=replace(TINY.preprocessing, mean=(0.0, 0.0, 0.0))).build().eval()
        other.load_state_dict(tiny().state_dict())
        assert not torch.allclose(other(whole), tiny()(whole))


# --- first values ----------------------------------------------------------------------------------------------------


def test_on_meta_nothing_has_values():
    network = without_values(B0)
    assert {tensor.device.type for tensor in (*network.parameters(), *network.buffers())} == {"meta"}
    assert network.eval()(torch.empty(1, 3, 224, 224, device="meta")).shape == (1, 1000)


def test_same_seed_gives_the_same_weights():
    def built(seed):
        torch.manual_seed(seed)
        return TINY.build().state_dict()

    first, again, other = built(3), built(3), built(4)
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["stem.conv.weight"], other["stem.conv.weight"])


def test_shapes_come_from_no_draw():
    before = torch.get_rng_state()
    TINY.build("meta")
    assert torch.equal(before, torch.get_rng_state())


def spread(weights):
    """Standard deviation of all that one rule has drawn, each weight on the scale that its rule promises."""
    return torch.cat([weight.flatten() for weight in weights]).std().item()


def test_convolutions_start_at_the_variance_of_one_group():
    for rule in ("fan_out", "fan_in"):
        torch.manual_seed(0)
        network = replace(R18, resolution=32, stages=R18.stages[:1], initialisation=Initialisation(conv=rule)).build()
        for conv in (module for module in network.modules() if isinstance(module, Convolution)):
            fan = (conv.out_channels if rule == "fan_out" else conv.in_channels) * conv.kernel_size[0] ** 2
            assert conv.weight.std().item() == pytest.approx(math.sqrt(2 / fan), rel=0.05)
    depthwise = [m for m in tiny().modules() if isinstance(m, Convolution) and m.depthwise]
    assert len(depthwise) == 5
    assert spread([m.weight * m.kernel_size[0] for m in depthwise]) == pytest.approx(math.sqrt(2), rel=0.05)


def test_a_normal_start_has_its_deviation_and_is_cut_off():
    torch.manual_seed(0)
    start = Initialisation(conv="normal", linear="normal")
    network = replace(R18, resolution=32, stages=R18.stages[:1], initialisation=start).build()
    for weight in (network.stages[0][0].body[0].conv.weight, network.head.classifier.weight):
        assert weight.abs().max() <= 0.04
        assert weight.std().item() == pytest.approx(0.02 * 0.8796, rel=0.02)  # of a normal cut off at twice its deviation
        assert weight.mean().abs() < 1e-3


@pytest.mark.parametrize(("rule", "bound"), [("outputs", 50**-0.5), ("inputs", 1280**-0.5), ("glorot", (6 / 1330) ** 0.5)])
def test_classifier_starts_within_its_bound(rule, bound):
    weight = put(replace(TINY, classes=50), "initialisation.linear", rule).build().head.classifier.weight
    assert weight.abs().max().item() == pytest.approx(bound, rel=1e-2)
    assert weight.abs().max().item() <= bound
    assert weight.std().item() == pytest.approx(bound / math.sqrt(3), rel=0.02)


def test_biases_start_at_zero_and_norms_at_one():
    values = dict(tiny().named_parameters())
    for name, owned in roles(tiny()).items():
        if owned.role == "bias":
            assert not values[name].any(), name
        elif owned.role == "norm":
            assert (values[name] == (0 if name.endswith("bias") else 1)).all(), name
    assert {buffer.max().item() for name, buffer in tiny().named_buffers() if "running_mean" in name} == {0}


def test_classes_are_the_blueprints():
    assert tiny()(images()).shape == (2, 5)
    assert tiny().head.classifier.bias.shape == (5,)
    assert tiny().blueprint == TINY


# --- roles -----------------------------------------------------------------------------------------------------------


def test_roles_of_b0_are_those_of_the_sheet():
    found = Counter(owned.role for owned in roles(without_values(B0)).values())
    assert sum(found.values()) == 213
    assert found["kernel"] == 82  # decayed by the rule of the second version: kernels only
    assert found["kernel"] + found["bias"] == 115  # by that of the first: all but norms
    assert found["norm"] == 213 - 115


def test_roles_of_resnet_50_are_those_of_the_sheet():
    found = Counter(owned.role for owned in roles(without_values(R50)).values())
    assert found == {"kernel": 54, "norm": 106, "bias": 1}


def test_one_call_gives_all_that_an_objective_may_want():
    with torch.no_grad():
        logits, said = tiny()(images(), extras=True)
        assert torch.equal(logits, tiny()(images()))
        assert torch.equal(said["embedding"], tiny().embedding(images()))
        assert [x.shape for x in said["maps"]] == [x.shape for x in tiny().borders(images())[0]]


def test_whatever_is_asked_of_a_compiled_network_goes_through_the_compiled_call():
    network, calls = TINY.build().eval(), []

    def counted(*given, **more):
        calls.append(more)
        return network._call_impl(*given, **more)

    with torch.no_grad():
        before = network.features(images()), network.embedding(images())
        network._compiled_call_impl = counted
        after = network.features(images()), network.embedding(images())
    assert len(calls) == 2
    assert all(torch.equal(before[0][stride], after[0][stride]) for stride in before[0])
    assert torch.equal(before[1], after[1])


def test_places_are_the_parts_of_the_network():
    places = [owned.place for owned in roles(without_values(B0)).values()]
    assert list(dict.fromkeys(places)) == ["stem", *(f"stages.{i}" for i in range(7)), "head"]


def test_places_follow_from_the_networks_whatever_an_objective_calls_them():
    learner = torch.nn.ModuleDict(
        {"student": TINY.build("meta"), "network": torch.nn.Linear(2, 2), "peers": torch.nn.ModuleList([TINY.build("meta")])}
    )
    own = {owned.place for owned in roles(tiny()).values()}
    found = roles(learner)
    assert {owned.place for name, owned in found.items() if name.startswith("student.")} == own
    assert {(owned.place, owned.network) for name, owned in found.items() if name.startswith("network.")} == {("network", "")}
    assert {owned.network for owned in found.values()} == {"student", "", "peers.0"}
    assert {owned.place for owned in found.values() if owned.network == "peers.0"} == own


def test_places_are_those_of_the_innermost_network():
    outer = TINY.build("meta")
    outer.head.add_module("second", TINY.build("meta"))
    found = roles(outer)
    own = {f"head.second.{name}": replace(owned, network="head.second") for name, owned in roles(tiny()).items()}
    assert {name: owned for name, owned in found.items() if name in own} == own
    assert {owned.network for name, owned in found.items() if name not in own} == {""}


def test_roles_have_the_names_of_the_parameters_and_survive_a_copy():
    assert list(roles(tiny())) == [name for name, _ in tiny().named_parameters()]
    assert roles(copy.deepcopy(tiny())) == roles(tiny()) == roles(without_values(TINY))


def test_a_shared_parameter_is_named_once():
    pair = torch.nn.ModuleList([torch.nn.Linear(2, 2), torch.nn.Linear(2, 2)])
    pair[1].weight = pair[0].weight
    assert list(roles(pair)) == [name for name, _ in pair.named_parameters()] == ["0.weight", "0.bias", "1.bias"]


def test_a_parameter_without_a_role_is_refused():
    with pytest.raises(TypeError, match=r"PReLU\.weight has no role; declare ROLES = {'weight': ...} in PReLU"):
        role_of(torch.nn.PReLU(), "weight")
    with pytest.raises(TypeError, match=r"PReLU.weight has no role"):
        roles(torch.nn.Sequential(torch.nn.PReLU()))


# --- what is refused -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("stages.0.depth", 0),
        ("stages.0.depth", 10**9),
        ("stages.0.width", 0),
        ("stages.0.stride", 0),
        ("stages.0.stride", 64),
        ("resolution", 0),
        ("resolution", 10**6),
        ("classes", 0),
    ],
)
def test_sizes_that_no_network_has_are_refused(path, value):
    owner = "Stage" if "stages" in path else "Blueprint"
    with pytest.raises(ValueError, match=f"{owner}.{path.split('.')[-1]} must be between .*, got {value}"):
        put(TINY, path, value)


def test_a_network_without_stages_is_refused():
    with pytest.raises(ValueError, match=r"Blueprint.stages must have 1 to 100 rows, got 0"):
        replace(TINY, stages=())


def test_rows_of_a_table_may_be_equal():
    row = Stage(block=TINY.stages[0].block, depth=1, width=16, stride=1)
    assert without_values(Blueprint.from_json(replace(TINY, stages=(row, row)).to_json())).blocks == 2
