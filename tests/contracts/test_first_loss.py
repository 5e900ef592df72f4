"""A network that is to be trained knows nothing yet, and says so: its first loss is ln(classes), whatever family and head."""

import math
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from paretina.model.family import networks
from paretina.model.weights import Start
from paretina.spec import modules_in
from paretina.train.starting import first_values
from tiny import row, tiny_blueprint

FAMILIES = {network.family: network for network in sorted(networks().values(), key=lambda each: -each.params)}
"""The smallest network of each family."""

HEADS = [
    example
    for module in modules_in("paretina.model.heads")
    for example in getattr(module, "EXAMPLES", ())
    if not example.BOXES  # their logits are boxes, and their losses those of torchvision
]

IMAGES = torch.randint(0, 256, (6, 3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def first_loss(network):
    """The mean over all labels, in training mode, as a share of ln(classes)."""
    classes = network.blueprint.classes
    with torch.no_grad():
        logits = network.train()(IMAGES)
    return F.cross_entropy(logits, torch.full_like(logits, 1 / classes)).item() / math.log(classes)


every_family = pytest.mark.parametrize("name", [network.name for network in FAMILIES.values()])


def check_family(blueprint):
    for classes in (2, 10, 22):
        torch.manual_seed(0)
        network = replace(blueprint, classes=classes, resolution=32).build()
        first_values(network, None, [str(number) for number in range(classes)])
        assert first_loss(network) == pytest.approx(1.0, abs=0.03), classes


@pytest.mark.slow
@every_family
def test_the_first_loss_of_every_family_is_that_of_guessing(name):
    blueprint = networks()[name].blueprint
    check_family(replace(blueprint, stages=tuple(replace(stage, depth=min(3, stage.depth)) for stage in blueprint.stages)))


@pytest.mark.slow
@every_family
def test_so_is_that_of_the_whole_network(name):
    check_family(networks()[name].blueprint)


@pytest.mark.parametrize("head", HEADS, ids=repr)
@pytest.mark.parametrize("classes", [2, 10, 22])
def test_so_is_that_of_a_new_last_layer_on_trained_weights(head, classes):
    old = tiny_blueprint(row(1, 16, 2), resolution=32, head=head, classes=classes)
    torch.manual_seed(0)
    trained, network = old.build(), old.build()
    for parameter in trained.head.classifier.parameters():
        parameter.data.uniform_(-9, 9)
    assert first_loss(trained) > 1.2
    start = Start(old, trained.state_dict(), "", "", "", tuple(f"old {number}" for number in range(classes)))
    first_values(network, start, [f"new {number}" for number in range(classes)])
    assert torch.equal(network.stem.conv.weight, trained.stem.conv.weight)
    assert first_loss(network) == pytest.approx(1.0, abs=0.05)
