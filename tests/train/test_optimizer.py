import pytest
import torch
from torch import nn

from paretina.clock import START, Clock
from paretina.model.roles import roles
from paretina.schedules import Constant, Linear
from paretina.train.optimizer import Optimizer, align, lies_like, parameter_groups
from paretina.train.optimizers.sgd import SGD

ROLE_OF = {"w": "kernel", "b": "bias", "g": "norm", "p": "proxy"}.__getitem__


def named(text):
    return [(name, nn.Parameter(torch.ones(1))) for name in text]


def test_rate_is_proportional_to_the_batch():
    spec = SGD(lr=Constant(value=0.1))
    assert [spec.rate_at(START, size) for size in (64, 256, 1024)] == pytest.approx([0.025, 0.1, 0.4])


def test_rate_holds_for_every_batch_where_scaling_is_off():
    spec = SGD(lr=Constant(value=0.1), scale_lr=False)
    assert [spec.rate_at(START, size) for size in (64, 1024)] == [0.1, 0.1]


def test_rates_follow_the_clock():
    spec = SGD(lr=Linear(start=1.0, end=0.0), weight_decay=Linear(start=0.0, end=0.4), lr_batch=100)
    groups = parameter_groups(named("wb"), ROLE_OF, spec.decay)
    groups[1]["rate_factor"] = 0.1
    optimizer = spec.make(groups)
    assert [group["lr"] for group in optimizer.param_groups] == [0.0, 0.0]
    assert spec.set_rates(optimizer, Clock(1, 4, 1.0), 200) == 1.5
    assert [group["lr"] for group in optimizer.param_groups] == pytest.approx([1.5, 0.15])
    assert [group["weight_decay"] for group in optimizer.param_groups] == pytest.approx([0.1, 0.0])


def test_a_number_stands_for_a_constant():
    assert SGD(lr=0.1, weight_decay=1e-4).weight_decay == Constant(value=1e-4)


def test_refuses_a_role_that_does_not_exist():
    with pytest.raises(ValueError, match="did you mean 'kernel'"):
        SGD(lr=0.1, decay=("kernels",))


def test_refuses_an_empty_reference_batch():
    with pytest.raises(ValueError, match="SGD needs lr_batch >= 1, got lr_batch=0"):
        SGD(lr=0.1, lr_batch=0)


def test_is_abstract():
    with pytest.raises(TypeError, match="abstract"):
        Optimizer(lr=Constant(value=0.1))


# --- groups -------------------------------------------------------------------------------------------------------------


def test_groups_keep_the_order_of_the_parameters():
    parameters = [("w", nn.Parameter(torch.ones(1))) for _ in range(3)] + named("bgb")
    decayed, others = parameter_groups(parameters, ROLE_OF, ("kernel", "norm"))
    assert (decayed["decayed"], others["decayed"]) == (True, False)
    assert [id(p) for p in decayed["params"]] == [id(parameters[i][1]) for i in (0, 1, 2, 4)]
    assert [id(p) for p in others["params"]] == [id(parameters[i][1]) for i in (3, 5)]


def test_frozen_parameters_are_left_out():
    parameters = named("wwb")
    parameters[0][1].requires_grad_(False)
    decayed, others = parameter_groups(parameters, ROLE_OF, ("kernel",))
    assert [len(decayed["params"]), len(others["params"])] == [1, 1]
    assert decayed["params"][0] is parameters[1][1]


def test_there_is_no_empty_group():
    (only,) = parameter_groups(named("ww"), ROLE_OF, ("kernel",))
    assert only["decayed"]
    (only,) = parameter_groups(named("bg"), ROLE_OF, ())
    assert not only["decayed"]


def test_refuses_to_train_nothing():
    parameters = named("wb")
    for _, parameter in parameters:
        parameter.requires_grad_(False)
    with pytest.raises(ValueError, match="all 2 parameters are frozen"):
        parameter_groups(parameters, ROLE_OF, ("kernel",))


def test_says_when_a_decayed_role_is_absent():
    with pytest.warns(UserWarning, match="decay names proxy, but no trainable parameter has that role"):
        parameter_groups(named("wb"), ROLE_OF, ("kernel", "proxy"))


def test_resnet50_decays_54_of_161():
    from torchvision.models import resnet50

    with torch.device("meta"):
        model = resnet50()
    owned = roles(model)
    decayed, others = parameter_groups(model.named_parameters(), lambda name: owned[name].role, ("kernel",))
    assert (len(decayed["params"]), len(others["params"])) == (54, 107)


# --- memory formats -----------------------------------------------------------------------------------------------------


def test_stride_of_a_single_row_does_not_matter():
    pointwise, other = torch.empty(8, 4, 1, 1), torch.empty(8, 4, 1, 1, memory_format=torch.channels_last)
    assert pointwise.stride() != other.stride()
    assert lies_like(pointwise, other)
    kernel = torch.randn(8, 4, 3, 3)
    assert not lies_like(kernel, kernel.contiguous(memory_format=torch.channels_last))


def test_aligning_moves_no_number():
    kernel = nn.Parameter(torch.randn(4, 3, 3, 3).contiguous(memory_format=torch.channels_last))
    gradient, momentum = torch.randn(4, 3, 3, 3), torch.randn(4, 3, 3, 3)
    optimizer = torch.optim.SGD([kernel], lr=0.1)
    kernel.grad = gradient.clone()
    optimizer.state[kernel] = {"momentum_buffer": momentum.clone(), "step": torch.tensor(3.0)}
    align(optimizer)
    for tensor, wanted in ((kernel.grad, gradient), (optimizer.state[kernel]["momentum_buffer"], momentum)):
        assert tensor.is_contiguous(memory_format=torch.channels_last)
        assert torch.equal(tensor, wanted)


def test_aligning_copies_nothing_that_lies_right():
    kernel = nn.Parameter(torch.randn(4, 3, 3, 3))
    kernel.grad = gradient = torch.randn(4, 3, 3, 3)
    align(torch.optim.SGD([kernel], lr=0.1))
    assert kernel.grad is gradient
