import pytest

from paretina.model.family import network_named


@pytest.mark.parametrize(("name", "published"), [("ghost_resnet50_s2", 2.2), ("ghost_resnet50_s4", 1.2)])
def test_has_the_macs_of_the_paper(name, published):
    assert round(network_named(name).macs, 1) == published  # which test_families holds to the count


def test_says_that_the_parameters_are_not_the_papers():
    assert "parameters are our count, the paper has 13.0 million" in network_named("ghost_resnet50_s2").note
