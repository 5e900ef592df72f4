"""Members that together are as large as the network that they are made of."""

import pytest

from covering import few
from paretina.model.assemblies.divide import Divide, divided, parameters
from paretina.model.family import network_named

NAMES = ("resnet8_w16_s2", "resnet9_w16", "resnet18", "resnet50", "mobilenet_v2", "efficientnet_b0", "convnext_w32_s2")


@pytest.mark.parametrize("name", few(NAMES))
@pytest.mark.parametrize("count", few([2, 4]))
def test_all_members_have_as_many_parameters_as_the_network(name, count):
    blueprint = network_named(name).blueprint
    member = divided(blueprint, count)
    assert count * parameters(member) == pytest.approx(parameters(blueprint), rel=0.08)


@pytest.mark.parametrize("name", few(["resnet50", "mobilenet_v2", "efficientnet_b0"]))
def test_widths_of_large_networks_stay_multiples_of_eight(name):
    member = divided(network_named(name).blueprint, 2)
    assert all(stage.width % 8 == 0 for stage in member.stages)


def test_the_model_has_the_members():
    model = Divide(count=3)(network_named("resnet8_w16_s2").blueprint)
    assert len(model.blueprints()) == 3
    assert len(set(model.blueprints())) == 1
