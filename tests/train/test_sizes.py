"""What is said of pictures that are too small for a network."""

from paretina.model.family import network_named
from paretina.train.resolve import size_notes


def test_a_network_that_sees_next_to_nothing_is_warned_of():
    model = network_named("efficientnet_lite0").blueprint
    (said,) = size_notes(model, frozenset({5, 64}))
    assert said.startswith("warning: at 5 pixels the last maps of this network, whose stride is 32, have a single place")
    assert size_notes(model, frozenset({32, 64})) == []
    assert size_notes(network_named("resnet9_w16").blueprint, frozenset({16})) == []
