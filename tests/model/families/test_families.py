import pytest

from paretina.measure.cost import cost
from paretina.model.family import network_named, networks

NETWORKS = networks()
SMALLEST = {network.family: network.name for network in sorted(NETWORKS.values(), key=lambda each: -each.params)}
"""By family; the larger ones are slow."""


@pytest.mark.parametrize(
    "name", [name if name in SMALLEST.values() else pytest.param(name, marks=pytest.mark.slow) for name in NETWORKS]
)
def test_has_the_published_parameters_and_macs(name):
    published = NETWORKS[name]
    counted = cost(published.blueprint, published.macs_resolution)
    assert counted.params == published.params
    assert counted.macs == pytest.approx(published.macs * 1e9, rel=0.01)
    assert not counted.uncounted


def stage_params(name):
    return [stage.params for stage in cost(network_named(name).blueprint).stages]


def test_b0_has_the_published_parameters_in_each_stage():
    head = 412160 + 1281000
    assert stage_params("efficientnet_b0") == [928, 1448, 16714, 46640, 242930, 543148, 2026348, 717232, head]


def test_v2_has_the_published_parameters_in_each_stage():
    head = 330240 + 1281000
    assert stage_params("efficientnetv2_s") == [696, 10464, 303552, 589184, 917680, 3463840, 14561832, head]
    head = 248320 + 1281000
    assert stage_params("efficientnetv2_b0") == [928, 4640, 52736, 136000, 230652, 947048, 4238380, head]


@pytest.mark.parametrize(
    ("name", "widths", "depths"),
    [
        ("efficientnet_b3", (24, 32, 48, 96, 136, 232, 384), (2, 3, 3, 5, 5, 6, 2)),
        ("efficientnet_b7", (32, 48, 80, 160, 224, 384, 640), (4, 7, 7, 10, 10, 13, 4)),
        ("efficientnet_lite4", (24, 32, 56, 112, 160, 272, 448), (1, 4, 4, 6, 6, 8, 1)),
        ("efficientnetv2_b3", (16, 40, 56, 112, 136, 232), (2, 3, 3, 5, 7, 12)),
    ],
)
def test_scaled_levels_have_the_published_shapes(name, widths, depths):
    stages = network_named(name).blueprint.stages
    assert tuple(stage.width for stage in stages) == widths
    assert tuple(stage.depth for stage in stages) == depths


def test_misspelt_name_gets_the_near_one():
    with pytest.raises(ValueError, match="did you mean 'efficientnet_b0'"):
        network_named("eficientnet_b0")
