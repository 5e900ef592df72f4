import pytest
import torch
from torch import nn

from paretina.measure.inference import APART, forward, prepared
from paretina.measure.plan import InferencePlan, Plan
from paretina.model.fold import fold
from tiny import row, tiny_blueprint

BLUEPRINT = tiny_blueprint(row(2, 8, 2))
IMAGES = torch.randint(0, 256, (2, 3, 16, 16), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
ROUNDED = InferencePlan(precision="bfloat16", weights="same")


def network():
    torch.manual_seed(0)
    made = BLUEPRINT.build()
    for module in made.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.3)
            module.running_var.uniform_(0.5, 2)
    return made


class Several(nn.Module):
    """One convolution after another; without annotations, whose check cannot be compiled."""

    def __init__(self, depth):
        super().__init__()
        self.layers = nn.Sequential(*(nn.Conv2d(3, 3, 1) for _ in range(depth)))

    def forward(self, images):
        return self.layers(images.float())


@pytest.mark.slow
@pytest.mark.skipif(not APART, reason="this torch has one limit for all")
def test_networks_of_one_class_have_separate_limits_of_recompilation(monkeypatch):
    compiled, compile_it = [], torch.compile

    def counted(graph, examples):
        compiled.append(graph)
        return graph.forward

    monkeypatch.setattr(torch, "compile", lambda module, options, **more: compile_it(module, backend=counted, **more))
    plan, numbers = InferencePlan(compile=True), []
    for depth in range(1, 7):  # two graphs each, for a batch of 1 and for any other, of which a common limit allows 8
        ready, before = prepared(Several(depth), plan), len(compiled)
        for batch in (1, 2, 3):
            forward(ready, plan, IMAGES[:1].expand(batch, -1, -1, -1))()
        numbers.append(len(compiled) - before)
    assert numbers == [2] * 6


def answers(plan, of=None):
    return forward(prepared(of or network(), plan, fold), plan, IMAGES)()


@pytest.mark.parametrize(
    "plan",
    [
        Plan(memory_format="contiguous"),
        InferencePlan(),
        InferencePlan(fold=True),
        InferencePlan(fold=True, memory_format="contiguous"),
    ],
    ids=repr,
)
def test_plans_in_float32_change_no_answer(plan):
    with torch.no_grad():
        wanted = network().eval()(IMAGES)
    torch.testing.assert_close(answers(plan), wanted)


@pytest.mark.parametrize(
    "plan", [Plan(precision="bfloat16"), ROUNDED, InferencePlan(**{**vars(ROUNDED), "fold": True})], ids=repr
)
def test_plans_below_float32_come_close(plan):
    with torch.no_grad():
        wanted = network().eval()(IMAGES)
    found = answers(plan).float()
    assert not torch.equal(found, wanted)
    torch.testing.assert_close(found, wanted, rtol=0, atol=0.05)


def test_folding_leaves_no_norm_in_what_is_executed():
    ready = prepared(network(), InferencePlan(fold=True), fold)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in ready.modules())


def test_rounded_weights_are_stored_so_but_for_preprocessing_and_classifier():
    ready = prepared(network(), ROUNDED)
    assert ready.stages[0][0].project.conv.weight.dtype == torch.bfloat16
    assert {tensor.dtype for tensor in ready.head.classifier.state_dict().values()} == {torch.float32}
    assert {buffer.dtype for buffer in ready.normalise.buffers()} == {torch.float32}
    assert answers(ROUNDED).dtype == torch.float32
    # the preprocessing computes exactly, and its result is rounded once
    torch.testing.assert_close(ready.normalise(IMAGES), network().normalise(IMAGES).bfloat16(), rtol=0, atol=0)


def test_the_network_is_left_alone():
    given = network().train()
    before = {name: tensor.clone() for name, tensor in given.state_dict().items()}
    for plan in (ROUNDED, InferencePlan(fold=True)):
        prepared(given, plan, fold)
    assert given.training
    assert all(torch.equal(before[name], tensor) for name, tensor in given.state_dict().items())
    assert all(parameter.requires_grad for parameter in given.parameters())


def test_what_is_executed_learns_nothing():
    for plan in (Plan(), InferencePlan(fold=True)):
        ready = prepared(network(), plan, fold)
        assert not ready.training
        assert not any(parameter.requires_grad for parameter in ready.parameters())
        assert answers(plan).is_inference()


def test_images_lie_in_memory_as_the_plan_says():
    seen = []
    ready = prepared(network(), Plan(memory_format="contiguous"))
    ready.register_forward_pre_hook(lambda _, images: seen.append(images[0].is_contiguous()))
    for name in ("contiguous", "channels_last"):
        forward(ready, Plan(memory_format=name), IMAGES)()
    assert seen == [True, False]


def test_what_a_network_cannot_have_is_refused():
    with pytest.raises(ValueError, match="this plan folds norms, but no fold function was given; set fold=off"):
        prepared(network(), InferencePlan(fold=True))
    for plan in (ROUNDED, InferencePlan(fold=True)):
        with pytest.raises(ValueError, match="supported for Paretina networks only, not for Flatten"):
            prepared(nn.Flatten(), plan, fold)
