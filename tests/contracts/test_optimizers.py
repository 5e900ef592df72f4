"""What every optimizer must satisfy."""

import json
from dataclasses import replace

import pytest
import torch
from torch import nn

from paretina.clock import START, Clock
from paretina.schedules import Constant
from paretina.spec import kinds, modules_in
from paretina.train.optimizer import Optimizer, parameter_groups

FOUND = [spec for module in modules_in(*Optimizer.PLUGINS) for spec in getattr(module, "EXAMPLES", ())]
every_optimizer = pytest.mark.parametrize("spec", FOUND, ids=[f"{type(spec).__name__}-{i}" for i, spec in enumerate(FOUND)])
FORMATS = (torch.contiguous_format, torch.channels_last)


def test_every_kind_has_an_example():
    assert {type(spec) for spec in FOUND} == set(kinds(Optimizer).values())


class Tiny(nn.Module):
    """A kernel in any memory format, a matrix, and a bias."""

    def __init__(self, memory_format=torch.contiguous_format):
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        kernel = torch.randn(4, 3, 3, 3, generator=generator)
        self.kernel = nn.Parameter(kernel.contiguous(memory_format=memory_format))
        self.matrix = nn.Parameter(torch.randn(5, 4, generator=generator))
        self.bias = nn.Parameter(torch.randn(4, generator=generator))

    def loss(self):
        return sum(parameter.square().sum() for parameter in self.parameters()) / 2


def start(spec, module, rate=0.01, weight_decay=0.0):
    """The optimizer of a module whose bias is not decayed, and its spec with a constant rate."""
    spec = replace(spec, lr=Constant(value=rate), weight_decay=Constant(value=weight_decay), decay=("kernel",), scale_lr=False)
    groups = parameter_groups(module.named_parameters(), lambda name: "bias" if name == "bias" else "kernel", spec.decay)
    optimizer = spec.make(groups)
    spec.set_rates(optimizer, START, 256)
    return optimizer


def step(optimizer, module, update):
    """One update with gradients that depend on nothing but its number."""
    generator = torch.Generator().manual_seed(update)
    for parameter in module.parameters():
        parameter.grad = torch.randn(parameter.shape, generator=generator)
    optimizer.step()


def weights(module):
    return [parameter.detach().clone() for parameter in module.parameters()]


def equal(a, b):
    return all(torch.equal(x, y) for x, y in zip(a, b, strict=True))


@every_optimizer
def test_survives_json(spec):
    assert Optimizer.from_json(spec.to_json()) == spec


@every_optimizer
def test_two_runs_are_equal(spec):
    ends = []
    for _ in range(2):
        module = Tiny()
        optimizer = start(spec, module, weight_decay=0.1)
        for update in range(4):
            step(optimizer, module, update)
        ends.append(weights(module))
    assert equal(*ends)
    assert not equal(ends[0], weights(Tiny()))


@every_optimizer
def test_rate_zero_changes_nothing(spec):
    module = Tiny()
    optimizer = start(spec, module, rate=0.0, weight_decay=0.1)
    for update in range(3):
        step(optimizer, module, update)
    assert equal(weights(module), weights(Tiny()))


@every_optimizer
def test_follows_the_rate_of_the_moment(spec):
    module = Tiny()
    optimizer = start(spec, module, rate=0.0)
    step(optimizer, module, 0)
    before = weights(module)
    spec = replace(spec, lr=Constant(value=0.01))
    spec.set_rates(optimizer, Clock(1, 2, 1.0), 256)
    step(optimizer, module, 1)
    assert not equal(weights(module), before)


@every_optimizer
def test_one_step_goes_down_a_bowl(spec):
    module = Tiny()
    optimizer = start(spec, module)
    before = module.loss()
    before.backward()
    optimizer.step()
    assert module.loss() < before


@every_optimizer
def test_weight_decay_shrinks_decayed_roles_only(spec):
    module = Tiny()
    optimizer = start(spec, module, weight_decay=0.1)
    for parameter in module.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    fresh = Tiny()
    assert torch.equal(module.bias, fresh.bias)
    for name in ("kernel", "matrix"):
        now, then = getattr(module, name), getattr(fresh, name)
        assert (now.sign() == then.sign()).all()
        assert (now.abs() < then.abs()).all()


@every_optimizer
def test_passes_over_parameters_without_gradient(spec):
    module = Tiny()
    optimizer = start(spec, module, weight_decay=0.1)
    module.bias.grad = torch.ones(4)
    optimizer.step()
    assert torch.equal(module.kernel, Tiny().kernel)
    assert not torch.equal(module.bias, Tiny().bias)


@every_optimizer
@pytest.mark.parametrize("of_gradients", FORMATS)
def test_memory_format_does_not_matter(spec, of_gradients):
    ends = []
    for memory_format in FORMATS:
        module = Tiny(memory_format)
        optimizer = start(spec, module, weight_decay=0.1)
        for update in range(3):
            generator = torch.Generator().manual_seed(update)
            for parameter in module.parameters():
                gradient = torch.randn(parameter.shape, generator=generator)
                parameter.grad = gradient.contiguous(memory_format=of_gradients) if gradient.ndim == 4 else gradient
            optimizer.step()
        assert module.kernel.is_contiguous(memory_format=memory_format)
        ends.append(weights(module))
    for a, b in zip(*ends, strict=True):
        # vectorised and remaining elements of a fused kernel may round differently
        torch.testing.assert_close(a, b, rtol=1e-6, atol=1e-6)


def check_plain(value):
    if isinstance(value, dict):
        assert all(isinstance(key, str | int) for key in value)
        for inner in value.values():
            check_plain(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            check_plain(inner)
    else:
        assert value is None or isinstance(value, torch.Tensor | bool | int | float | str), value


def stored(state):
    """A state dict as a checkpoint brings it back: contiguous tensors, and the rest through JSON."""
    kept = {
        number: {name: value.contiguous() if isinstance(value, torch.Tensor) else value for name, value in values.items()}
        for number, values in state["state"].items()
    }
    return {"state": kept, "param_groups": json.loads(json.dumps(state["param_groups"]))}


@every_optimizer
def test_state_is_tensors_and_plain_values(spec):
    module = Tiny()
    optimizer = start(spec, module)
    step(optimizer, module, 0)
    check_plain(optimizer.state_dict())


@every_optimizer
@pytest.mark.parametrize("memory_format", FORMATS)
def test_interrupted_equals_uninterrupted(spec, memory_format):
    whole, first, second = (Tiny(memory_format) for _ in range(3))
    optimizer = start(spec, whole, weight_decay=0.1)
    for update in range(6):
        step(optimizer, whole, update)

    optimizer = start(spec, first, weight_decay=0.1)
    for update in range(3):
        step(optimizer, first, update)
    state = stored(optimizer.state_dict())
    second.load_state_dict(first.state_dict())
    optimizer = start(spec, second, rate=0.7, weight_decay=0.9)  # overwritten by the state
    optimizer.load_state_dict(state)
    for update in range(3, 6):
        step(optimizer, second, update)
    assert equal(weights(whole), weights(second))
