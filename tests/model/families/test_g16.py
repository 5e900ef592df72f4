"""The named G16 networks; their counts are tested with those of all families."""

import importlib

import pytest

from paretina.model import build
from paretina.model.families import g16
from paretina.model.family import network_named, networks
from paretina.model.norms.proxy import ProxyNorm

LEVELS = [f"g16_efficientnet_b{level}" for level in range(6)]


@pytest.mark.parametrize("name", LEVELS)
def test_half_the_resolution_has_about_half_the_pixels_and_the_same_remainder(name):
    native, half = (network_named(found).blueprint.resolution for found in (name, f"{name}_half"))
    assert native % 32 == half % 32
    assert 0.4 < half**2 / native**2 < 0.6


def test_resolutions_are_the_published_ones():
    assert [network_named(name).blueprint.resolution for name in LEVELS] == [224, 240, 260, 300, 380, 456]
    assert [network_named(f"{name}_half").blueprint.resolution for name in LEVELS] == [160, 176, 196, 204, 252, 328]


@pytest.mark.parametrize("name", LEVELS)
def test_both_resolutions_are_one_network(name):
    native, half = network_named(name), network_named(f"{name}_half")
    assert native.params == half.params
    assert native.blueprint.stages == half.blueprint.stages
    assert half.top1 < native.top1


def test_figures_say_that_they_are_digitised():
    assert all("digitised" in network_named(name).note and "0.03" in network_named(name).note for name in LEVELS)


def test_proxy_norm_is_nowhere_but_here():
    having = {name for name, found in networks().items() if isinstance(found.blueprint.norm, ProxyNorm)}
    assert having == {*LEVELS, *(f"{name}_half" for name in LEVELS)}


def test_the_table_is_read_without_building_a_network(monkeypatch):
    """It is read by every command; building twelve networks took seconds of each."""

    def refuse(*_):
        raise AssertionError("a network was built")

    monkeypatch.setattr(build, "build", refuse)
    names = [network.name for network in importlib.reload(g16).NETWORKS]
    assert set(LEVELS) < set(names)
