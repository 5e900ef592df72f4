"""Rounding as int8 does it, in training alone."""

import copy

import pytest
import torch
from torch import nn

from paretina.clock import Clock
from paretina.data.batch import Batch
from paretina.model.fold import fold
from paretina.train.objectives.quantised import Quantised, rounded_input, rounded_weight

EARLY, LATE = Clock(1, 10, 2.0), Clock(9, 10, 2.0)


def batch_of(side=16, brightest=256):
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(brightest, (6, 3, side, side), dtype=torch.uint8, generator=generator)
    return Batch((images,), torch.eye(3)[torch.arange(6) % 3], torch.arange(6))


@pytest.fixture
def network(tiny):
    torch.manual_seed(0)
    return tiny.build()


@pytest.mark.parametrize("shape", [(4, 6, 3, 3), (4, 1, 5, 5), (5, 7)])
def test_weights_lie_on_255_values_a_channel(shape):
    weight = torch.randn(shape, generator=torch.Generator().manual_seed(1)) * 3
    found = rounded_weight(weight)
    scale = weight.abs().flatten(1).amax(1).view(-1, *[1] * (weight.ndim - 1)) / 127
    whole = found / scale
    assert torch.allclose(whole, whole.round(), atol=1e-4)
    assert whole.abs().max() <= 127 + 1e-4
    assert (found - weight).abs().le(scale * 0.501).all()
    assert torch.allclose(rounded_weight(found), found)  # on the grid nothing is lost
    factors = torch.tensor([0.1, 2.0, 30.0, 5.0, 7.0])[: shape[0]].view_as(scale)
    assert torch.allclose(rounded_weight(weight * factors), found * factors, rtol=1e-5)  # each channel has its own scale


def test_a_channel_of_zeros_stays():
    assert torch.equal(rounded_weight(torch.zeros(2, 3)), torch.zeros(2, 3))


def test_inputs_lie_on_256_values_among_them_zero():
    x = torch.linspace(-1, 3, 10_001)
    found = rounded_input(x, torch.tensor(-1.0), torch.tensor(3.0))
    assert len(found.unique()) == 256
    assert (found - x).abs().max() <= 4 / 255
    assert rounded_input(torch.zeros(1), torch.tensor(-1.0), torch.tensor(3.0)) == 0
    # the range is widened to zero, where it does not reach it
    assert rounded_input(torch.zeros(1), torch.tensor(2.0), torch.tensor(3.0)) == 0
    assert rounded_input(torch.zeros(1), torch.tensor(0.0), torch.tensor(0.0)) == 0
    half = rounded_input(x.bfloat16(), torch.tensor(-1.0), torch.tensor(3.0))
    assert half.dtype == torch.bfloat16


def test_gradients_pass_inside_the_range_and_stop_outside():
    x = torch.tensor([-5.0, -0.5, 0.3, 9.0], requires_grad=True)
    rounded_input(x, torch.tensor(-1.0), torch.tensor(1.0)).sum().backward()
    assert x.grad.tolist() == [0, 1, 1, 0]
    weight = torch.randn(3, 4, requires_grad=True)
    rounded_weight(weight).sum().backward()
    assert torch.equal(weight.grad, torch.ones(3, 4))


def test_rounding_before_a_norm_is_folded_in_is_rounding_after(network):
    network.eval()
    for name, tensor in network.named_buffers():
        if name.endswith("running_var"):
            tensor.uniform_(0.5, 2.0)
    before, after = copy.deepcopy(network), fold(network)
    with torch.no_grad():
        for whole in (before, after):
            for each in whole.modules():
                if isinstance(each, nn.Conv2d | nn.Linear):
                    each.weight.copy_(rounded_weight(each.weight))
        images = batch_of().images
        assert torch.allclose(before(images), after(images), atol=1e-4)
        assert not torch.allclose(before(images), network(images), atol=1e-5)


def test_only_the_training_pass_is_rounded(network):
    names = list(network.state_dict())
    learner = Quantised().make(network, None)
    assert list(network.state_dict()) == names
    network.frozen_statistics = True
    learner.train()
    weight = network.stem.conv.weight.clone()
    rounded = learner(batch_of(), EARLY)
    assert torch.equal(network.stem.conv.weight, weight)
    assert not [hook for each in network.modules() for hook in each._forward_pre_hooks]
    exact = learner.eval()(batch_of(), EARLY)
    assert rounded["CrossEntropy"] != exact["CrossEntropy"]
    assert abs(rounded["CrossEntropy"] - exact["CrossEntropy"]) < 0.05


def test_hooks_go_where_the_pass_fails(network):
    learner = Quantised().make(network, None).train()

    def fails(x):
        raise RuntimeError("as out of memory")

    network.head.classifier.forward = fails
    with pytest.raises(RuntimeError, match="as out of memory"):
        learner(batch_of(), EARLY)
    assert not [hook for each in network.modules() for hook in each._forward_pre_hooks]


def test_ranges_move_and_then_stay_and_are_in_the_state(network):
    learner = Quantised(share=0.5, until=0.7).make(network, None).train()
    assert not learner.ranges.isfinite().any()
    learner(batch_of(), EARLY)
    first = learner.state_dict()["ranges"].clone()
    assert first.isfinite().all()
    assert (first[:, 0] <= first[:, 1]).all()
    learner(batch_of(brightest=40), EARLY)
    moved = learner.ranges.clone()
    assert (moved[0] != first[0]).any()
    learner(batch_of(), LATE)
    assert torch.equal(learner.ranges, moved)
    unseen = Quantised(until=0.0).make(network, None).train()
    unseen(batch_of(), LATE)
    assert unseen.ranges.isfinite().all()


def test_a_compiled_network_is_not_called(network):
    learner = Quantised().make(network, None).train()

    def compiled(*_, **__):
        raise AssertionError("compiled code would be made anew at each update")

    network._compiled_call_impl = compiled
    assert learner(batch_of(), EARLY)["CrossEntropy"].isfinite()


@pytest.mark.slow
def test_rounded_training_makes_the_rounded_network_better(network):
    learner = Quantised().make(network, None).train()
    optimizer = torch.optim.Adam(network.parameters(), lr=3e-3)
    losses = []
    for _ in range(30):
        loss = learner(batch_of(), EARLY)["CrossEntropy"]
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.7 * losses[0]


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"share": 0.0}, r"Quantised.share is a fraction in \(0, 1\], got 0"),
        ({"until": 1.5}, r"Quantised.until is a fraction of the run, in \[0, 1\], got 1.5"),
        ({"terms": ()}, "Quantised needs at least one term"),
    ],
)
def test_settings_that_make_no_sense_are_refused(fields, says):
    with pytest.raises(ValueError, match=says):
        Quantised(**fields)
