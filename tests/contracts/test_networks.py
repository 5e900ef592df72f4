"""What every part of a network must satisfy once it stands in one: block, norm, stem, head, activation."""

import copy
import functools
from dataclasses import replace

import pytest
import torch
from torch.utils import deterministic

from paretina.model.blocks.mbconv import MBConv
from paretina.model.blueprint import Activation, Block, Head, Norm, Stage, Stem
from paretina.model.roles import roles
from paretina.model.tasks.boxes import Boxes
from paretina.spec import modules_in
from tiny import tiny_blueprint

BASE = tiny_blueprint(
    Stage(block=MBConv(expand=2, kernel=3, squeeze=1.0), depth=2, width=8, stride=1),
    Stage(block=MBConv(expand=2, kernel=3, squeeze=1.0), depth=1, width=16, stride=2),
    resolution=32,
    classes=5,
)
FIELDS = {Norm: "norm", Stem: "stem", Head: "head", Activation: "activation"}
PARTS = [
    example
    for folder in ("blocks", "norms", "stems", "heads", "activations")
    for module in modules_in(f"paretina.model.{folder}")
    for example in getattr(module, "EXAMPLES", ())
]
every_part = pytest.mark.parametrize("part", PARTS, ids=repr)


def blueprint_with(part):
    if isinstance(part, Block):
        return replace(BASE, stages=tuple(replace(stage, block=part) for stage in BASE.stages))
    return replace(BASE, **{next(field for base, field in FIELDS.items() if isinstance(part, base)): part})


@functools.cache
def built(part):
    """Built from memory that holds no zeros by chance."""
    torch.manual_seed(0)
    before = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(True)
    assert deterministic.fill_uninitialized_memory
    try:
        return blueprint_with(part).build()
    finally:
        torch.use_deterministic_algorithms(before)


def randomised(part):
    """A copy whose parameters and statistics all count, in training mode."""
    network = copy.deepcopy(built(part))
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.normal_(0, 0.5)
        for name, buffer in network.named_buffers():
            if "running" in name:
                buffer.uniform_(0.5, 1.5)
    return network


def images(count=4):
    return torch.rand(count, 3, 32, 32, generator=torch.Generator().manual_seed(count))


@every_part
def test_build_leaves_nothing_uninitialised(part):
    for name, tensor in [*built(part).named_parameters(), *built(part).named_buffers()]:
        assert tensor.isfinite().all(), name
        assert tensor.abs().max() < 1e6, name  # whole numbers are filled with the largest one


@every_part
def test_the_network_without_values_has_the_same_shapes(part):
    network = blueprint_with(part).build("meta")
    assert {name: tensor.shape for name, tensor in network.state_dict().items()} == {
        name: tensor.shape for name, tensor in built(part).state_dict().items()
    }
    head = network.blueprint.head
    places = (32, 32) if head.DENSE else (head.most, 5) if head.BOXES else ()
    assert network.eval()(images().to("meta")).shape == (4, 5, *places)


@every_part
def test_sees_each_image_alone_in_evaluation(part):
    network, x = randomised(part).eval(), images()
    with torch.no_grad():
        one, all_ = network(x[1:2]), network(x)[1:2]
        scale = all_.abs().max().clamp(min=1.0)
        torch.testing.assert_close(one / scale, all_ / scale, atol=1e-5, rtol=1e-5)
        assert not torch.equal(network(x)[0], network(x)[1])


@every_part
def test_evaluation_changes_nothing(part):
    network, x = randomised(part).eval(), images()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    given, random = x.clone(), torch.get_rng_state()
    with torch.no_grad():
        first = network(x)
        torch.testing.assert_close(network(x), first, rtol=0, atol=0)
    torch.testing.assert_close(network(x).detach(), first)  # with gradients nothing may be written over
    assert all(torch.equal(before[name], tensor) for name, tensor in network.state_dict().items())
    assert torch.equal(x, given)
    assert torch.equal(random, torch.get_rng_state())


@every_part
def test_gradient_reaches_every_parameter(part):
    network = randomised(part).train()
    if getattr(part, "BOXES", False):  # it learns by the loss of its head
        boxes = Boxes().targets([torch.tensor([[0.1, 0.1, 0.9, 0.9, 1, 1], [0.2, 0.2, 0.5, 0.6, 3, 1]])] * 8, 5)
        sum(network.head.losses(network(images(8), extras=True)[1]["embedding"], boxes).values()).backward()
    else:
        logits = network(images(8))
        (logits * torch.randn(logits.shape)).sum().backward()
    without = [name for name, parameter in network.named_parameters() if parameter.grad is None or not parameter.grad.any()]
    assert not without


@every_part
def test_every_parameter_has_a_role_and_a_place(part):
    found = roles(built(part))
    assert list(found) == [name for name, _ in built(part).named_parameters()]
    assert {owned.place for owned in found.values()} <= {"stem", "stages.0", "stages.1", "head"}


@every_part
def test_state_moves_to_another_network(part):
    first, second = randomised(part).eval(), copy.deepcopy(built(part)).eval()
    second.load_state_dict(first.state_dict())
    with torch.no_grad():
        assert torch.equal(first(images()), second(images()))
