"""Proxy norm against the sheet's constants, a slow second implementation, and what it promises about batches."""

import copy
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from paretina.model.activations.pointwise import GELU, HardSwish, ReLU, ReLU6, SiLU
from paretina.model.blocks.mbconv import MBConv
from paretina.model.blueprint import Activation, Stage
from paretina.model.families.efficientnet import B0
from paretina.model.families.resnet import R18
from paretina.model.layers import Convolution
from paretina.model.norms import proxy
from paretina.model.norms.group import GroupNorm
from paretina.model.norms.proxy import ProxyNorm, ProxyNormUnit, ProxyStatistics
from paretina.model.norms.proxy import statistics as statistics_of
from paretina.model.roles import roles

TINY = replace(
    B0,
    resolution=32,
    classes=5,
    norm=ProxyNorm(),
    stages=(
        Stage(block=MBConv(expand=1, kernel=3, group_width=16), depth=1, width=16, stride=1),
        Stage(block=MBConv(expand=4, kernel=5, group_width=16), depth=2, width=24, stride=2),
    ),
)
every_activation = pytest.mark.parametrize("activation", [SiLU(), ReLU(), ReLU6(), HardSwish(), GELU()], ids=repr)


def unit(norm=None, activation=None, width=6):
    torch.manual_seed(0)
    made = (norm or ProxyNorm()).make(width, activation or SiLU())
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.normal_(0.4, 0.5)
    return made


def fresh(activation, **choice):
    made = ProxyNorm(**choice).make(1, activation)
    with torch.no_grad():
        made.reset_parameters()
    return made


def statistics(unit):
    away, gain = unit.behind()
    return -away.flatten(), gain.flatten()


def slowly(unit, x):
    """The formulas one after the other, by means over the quantiles; returns centred map and gain."""
    groups = unit.choice.groups
    parts = x.unflatten(1, (groups, -1))
    mean, variance = parts.mean((2, 3, 4), keepdim=True), parts.var((2, 3, 4), keepdim=True, unbiased=False)
    n = ((parts - mean) / (variance + unit.choice.eps).sqrt()).flatten(1, 2)
    count = unit.choice.quantiles
    quantiles = torch.special.ndtri((torch.arange(count, dtype=torch.float64) + 0.5) / count).to(x.dtype)
    proxy = (1 + unit.proxy_weight)[:, None] * quantiles + unit.proxy_bias[:, None]
    acted = unit.activation(unit.weight[:, None] * proxy + unit.bias[:, None])
    gain = 1 / (acted.var(1, unbiased=False) + unit.choice.proxy_eps).sqrt()
    y = unit.activation(unit.weight[:, None, None] * n + unit.bias[:, None, None])
    return y - acted.mean(1)[:, None, None], gain[:, None, None]


@pytest.mark.parametrize(
    ("activation", "quantiles", "mean", "variance", "gain"),
    [
        (SiLU(), 200, 0.206048, 0.310004, 1.714977),
        (SiLU(), 256, 0.206184, 0.310665, 1.713312),
        (ReLU(), 200, 0.398451, 0.338035, 1.648373),
        (ReLU(), 256, 0.398565, 0.338637, 1.647026),
    ],
)
def test_statistics_start_at_the_published_constants(activation, quantiles, mean, variance, gain):
    made = fresh(activation, quantiles=quantiles)
    found_mean, found_gain = statistics(made)
    assert found_mean.item() == pytest.approx(mean, abs=1e-6)
    assert found_gain.item() == pytest.approx(gain, abs=2e-6)
    assert found_gain.item() ** -2 - 0.03 == pytest.approx(variance, abs=1e-6)


def test_quantiles_are_those_of_a_normal_variable():
    made = fresh(SiLU(), quantiles=200)
    assert made.quantiles.double().var(unbiased=False).item() == pytest.approx(0.99360, abs=1e-5)
    assert made.quantiles[0].item() == pytest.approx(-2.807034, abs=1e-6)  # where 1 / 400 of a normal variable lies below
    assert torch.equal(made.quantiles, -made.quantiles.flip(0))


def test_by_hand():
    # three quantiles at 1/6, 1/2, 5/6; ReLU of 2 (1.5 q + 0.5) + 1 = 3 q + 2
    made = fresh(ReLU(), quantiles=3, proxy_eps=0.0)
    with torch.no_grad():
        for name, value in {"weight": 2.0, "bias": 1.0, "proxy_weight": 0.5, "proxy_bias": 0.5}.items():
            getattr(made, name).fill_(value)
    q = 0.9674215661
    points = (0.0, 2.0, 3 * q + 2)  # -3 q + 2 is below zero
    mean = sum(points) / 3
    variance = sum((point - mean) ** 2 for point in points) / 3
    found = statistics(made)
    assert found[0].item() == pytest.approx(mean)
    assert found[1].item() == pytest.approx(variance**-0.5)


@every_activation
@pytest.mark.parametrize("groups", [1, 2])
def test_equals_the_slow_form_with_its_gradients(activation, groups):
    made = unit(ProxyNorm(groups=groups), activation)
    x = torch.randn(3, 6, 5, 4).requires_grad_()
    inputs = (x, *made.parameters())
    directions = torch.randn(3, 6, 5, 4), torch.randn(6, 1, 1)
    answers = []
    for centred, gain in (made.parts(x), slowly(made, x)):
        total = (centred * directions[0]).sum() + (gain * directions[1]).sum()
        answers.append((centred, gain, *torch.autograd.grad(total, inputs)))
    for fast, slow in zip(*answers, strict=True):
        torch.testing.assert_close(fast, slow, atol=1e-5, rtol=1e-5)


@every_activation
def test_the_whole_unit_equals_the_slow_form_with_its_gradients(activation):
    made = unit(activation=activation)
    x = torch.randn(3, 6, 5, 4).requires_grad_()
    direction = torch.randn(3, 6, 5, 4)
    centred, gain = slowly(made, x)
    answers = [
        (out, *torch.autograd.grad((out * direction).sum(), (x, *made.parameters()))) for out in (made(x), centred * gain)
    ]
    for fast, slow in zip(*answers, strict=True):
        torch.testing.assert_close(fast, slow, atol=1e-5, rtol=1e-5)


@every_activation
def test_gradients_are_those_of_finite_differences(activation):
    made = unit(ProxyNorm(quantiles=7), activation, 3).double()

    def found(*given):
        return ProxyStatistics.apply(*given, made.quantiles, 0.03, made.activation)

    given = [parameter.detach().requires_grad_() for parameter in made.parameters()]
    assert torch.autograd.gradcheck(found, given)


def test_portions_make_no_difference():
    # 32768 points are a portion: 7 channels of 5000 quantiles are done in two
    made = unit(ProxyNorm(quantiles=5000), width=7)
    alone = [unit(ProxyNorm(quantiles=5000), width=1) for _ in range(7)]
    for i, one in enumerate(alone):
        with torch.no_grad():
            for name, parameter in one.named_parameters():
                parameter.copy_(made.get_parameter(name)[i])
        for found, whole in zip(statistics(one), statistics(made), strict=True):
            torch.testing.assert_close(found[0], whole[i])


class Leaky(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.slope = nn.Parameter(torch.linspace(0.1, 0.4, width)[:, None, None])

    def forward(self, x):
        return torch.where(x > 0, x, x * self.slope)


def test_an_activation_that_learns_gets_its_gradient_through_the_statistics():
    made = unit()
    made.activation = Leaky(6)
    mean, gain = statistics(made)
    (mean.sum() + gain.sum()).backward()
    assert (made.activation.slope.grad != 0).all()
    points = made.quantiles[:, None] * made.weight * (1 + made.proxy_weight) + made.weight * made.proxy_bias + made.bias
    torch.testing.assert_close(mean, torch.where(points > 0, points, points * made.activation.slope[:, 0, 0]).mean(0))


def test_without_activation_there_is_a_scale_and_nothing_else():
    made = ProxyNorm(eps=0.1).make(6, None)
    assert [name for name, _ in made.named_parameters()] == ["weight"]
    with torch.no_grad():
        made.weight.copy_(torch.arange(6.0))
    x = torch.randn(2, 6, 3, 3)
    torch.testing.assert_close(made(x), F.group_norm(x, 1, eps=0.1) * torch.arange(6.0)[:, None, None])
    assert made.gain() is None


def test_a_width_that_groups_do_not_divide_is_refused():
    with pytest.raises(ValueError, match=r"ProxyNorm\(groups=4\) needs widths that are multiples of 4, got 6"):
        ProxyNorm(groups=4).make(6, None)


@pytest.mark.parametrize("given", [{"groups": 0}, {"quantiles": 1}, {"eps": -1.0}, {"proxy_eps": -0.1}])
def test_numbers_without_meaning_are_refused(given):
    with pytest.raises(ValueError, match="ProxyNorm needs groups >= 1, quantiles >= 2, eps >= 0 and proxy_eps >= 0"):
        ProxyNorm(**given)


# --- in a network ----------------------------------------------------------------------------------------------------


def network(blueprint=TINY):
    torch.manual_seed(0)
    built = blueprint.build()
    with torch.no_grad():
        for name, owned in roles(built).items():
            if owned.role in ("norm", "proxy"):
                built.get_parameter(name).add_(0.3 * torch.randn(built.get_parameter(name).shape))
    return built


def test_a_block_equals_its_parts_one_after_the_other():
    # expand: whole proxy norm; spatial: only the mean, the factor on the gate behind the sigmoid; project: a scale
    body = network().stages[1][1].body.double()
    x = torch.randn(2, 24, 7, 7, dtype=torch.float64)
    centred, gain = slowly(body.expand.norm, body.expand.conv(x))
    centred, gain = slowly(body.spatial.norm, body.spatial.conv(centred * gain))
    squeeze = body.squeeze
    gate = torch.sigmoid(squeeze.restore(F.silu(squeeze.reduce(centred.mean((2, 3), keepdim=True)))))
    y = body.project.conv(centred * gate * gain)
    wanted = F.group_norm(y, 1, eps=1e-3) * body.project.norm.weight[:, None, None]
    inputs = (body.expand.norm.proxy_weight, body.spatial.norm.bias, body.expand.conv.weight, body.spatial.conv.weight)
    for found, slow in zip(
        (body(x), *torch.autograd.grad(body(x).square().sum(), inputs)),
        (wanted, *torch.autograd.grad(wanted.square().sum(), inputs)),
        strict=True,
    ):
        torch.testing.assert_close(found, slow, atol=1e-5, rtol=1e-5)


def test_a_block_without_squeeze_gives_the_factor_to_the_projection():
    body = network(replace(TINY, stages=(Stage(block=MBConv(expand=4, kernel=3, squeeze=0.0), depth=1, width=32, stride=1),)))
    body = body.stages[0][0].body
    x = torch.randn(2, 32, 6, 6)
    torch.testing.assert_close(body(x), body.project(body.spatial(body.expand(x))), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(("groups", "stride", "same"), [(1, 1, False), (4, 1, True), (2, 2, True), (8, 2, False)])
def test_a_convolution_takes_a_gain_into_its_weights(groups, stride, same):
    torch.manual_seed(0)
    conv = Convolution(8, 16, 3, stride, groups, bias=True, same=same)
    x, gain = torch.randn(2, 8, 6, 6), torch.rand(8, 1, 1)
    torch.testing.assert_close(conv(x, gain), conv(x * gain), atol=1e-6, rtol=1e-5)
    conv.float32 = True
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(conv(x, gain), conv(x * gain), atol=1e-6, rtol=1e-5)


def test_the_head_leaves_the_factor_out():
    built = network().eval()
    with torch.no_grad():
        maps = built.borders(torch.rand(1, 3, 32, 32))[0]
        centred, _ = slowly(built.head.unit.norm, built.head.unit.conv(maps[-1]))
        torch.testing.assert_close(built.head.embedding(maps, {}), centred.mean((2, 3)), atol=1e-5, rtol=1e-5)


def test_decay_can_choose_proxy_parameters_by_role():
    found = roles(TINY.build("meta"))
    proxy = {name for name, owned in found.items() if owned.role == "proxy"}
    assert {name.rpartition(".")[2] for name in proxy} == {"proxy_weight", "proxy_bias"}
    assert len(proxy) == 2 * 7  # stem, 3 spatial, 2 expand, head
    assert {owned.role for name, owned in found.items() if ".norm." in name and name not in proxy} == {"norm"}


@pytest.mark.parametrize(
    "base", [TINY, replace(R18, norm=ProxyNorm(), stages=R18.stages[:2], classes=5)], ids=["mbconv", "resnet"]
)
def test_companions_never_matter(base):
    built = network(replace(base, resolution=32)).train()
    images = torch.rand(16, 3, 32, 32)
    others = torch.cat((images[:1], torch.rand(15, 3, 32, 32)))
    with torch.no_grad():
        together, exchanged, alone = built(images)[0], built(others)[0], built(images[:1])[0]
    assert torch.equal(together, exchanged)
    torch.testing.assert_close(alone, together, atol=1e-5 * together.abs().max().item(), rtol=0)


def test_a_network_computes_all_statistics_at_once_and_they_are_those_of_each_unit(monkeypatch):
    counts = []

    def counting(units):
        counts.append(len(units))
        return statistics_of(units)

    built, images, direction = network().train(), torch.rand(2, 3, 32, 32), torch.randn(2, 5)
    monkeypatch.setattr(proxy, "statistics", counting)
    together = built(images)
    assert counts == [7]
    single = built.head(*built.borders(images))  # not as a whole: nothing was prepared, and nothing is left over
    assert counts == [7, *[1] * 7]
    answers = [(out, *torch.autograd.grad((out * direction).sum(), list(built.parameters()))) for out in (together, single)]
    for whole, part in zip(*answers, strict=True):
        torch.testing.assert_close(whole, part, atol=1e-5, rtol=1e-4)


def test_a_pass_that_fails_leaves_nothing_behind():
    built = network()
    with pytest.raises(RuntimeError):
        built(torch.rand(2, 4, 32, 32))
    assert all(module.given is None for module in built.modules() if isinstance(module, ProxyNormUnit))


def test_a_copy_computes_its_own_statistics():
    built = network()
    copied, images = copy.deepcopy(built), torch.rand(2, 3, 32, 32)
    with torch.no_grad():
        before = copied(images)
        for parameter in built.parameters():
            parameter.zero_()
        built(images)
        assert torch.equal(copied(images), before)
        for name, owned in roles(copied).items():
            if owned.role == "proxy":
                copied.get_parameter(name).add_(0.5)
        assert not torch.allclose(copied(images), before)


def test_learns_with_two_images_a_step():
    built = network().train()
    optimizer = torch.optim.AdamW(built.parameters(), lr=1e-3)
    images, labels = torch.rand(2, 3, 32, 32), torch.tensor([0, 3])
    losses = []
    for _ in range(8):
        loss = F.cross_entropy(built(images), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.5 * losses[0]


def test_statistics_stay_in_float32_under_autocast():
    made = unit()
    wanted = statistics(made)
    with torch.autocast("cpu", torch.bfloat16):
        found = statistics(made)
        centred, gain = made.parts(torch.randn(2, 6, 4, 4).bfloat16())
    assert all(torch.equal(a, b) for a, b in zip(found, wanted, strict=True))
    assert gain.dtype == torch.float32
    assert centred.dtype == torch.bfloat16
    assert made(torch.randn(2, 6, 4, 4).bfloat16()).dtype == torch.bfloat16


def test_a_step_in_bfloat16_is_near_that_in_float32():
    built = network().train()
    images, direction = torch.rand(4, 3, 32, 32), torch.randn(4, 5)
    wanted = torch.autograd.grad((built(images) * direction).sum(), list(built.parameters()))
    with torch.autocast("cpu", torch.bfloat16):
        out = built(images)
    assert out.dtype == torch.bfloat16
    found = torch.autograd.grad((out.float() * direction).sum(), list(built.parameters()))
    flat = [torch.cat([gradient.flatten() for gradient in gradients]) for gradients in (found, wanted)]
    assert F.cosine_similarity(*flat, dim=0).item() > 0.99


@pytest.mark.parametrize("activation", [SiLU(), None], ids=repr)
def test_folded_it_computes_the_same_from_constants(activation: Activation | None):
    made = unit() if activation else ProxyNorm().make(6, None)
    if activation is None:
        with torch.no_grad():
            made.weight.uniform_(0.5, 1.5)
    folded, x = copy.deepcopy(made).eval(), torch.randn(2, 6, 4, 4)
    folded.fold()
    folded.fold()  # what is folded stays
    with torch.no_grad():
        torch.testing.assert_close(folded(x), made(x), atol=1e-6, rtol=1e-5)
        torch.testing.assert_close(folded.centred(x), made.centred(x), atol=1e-6, rtol=1e-5)
    assert {name for name, _ in folded.named_parameters()} <= {"weight", "bias"}


def test_a_folded_network_answers_the_same():
    built = network().eval()
    folded, images = copy.deepcopy(built), torch.rand(2, 3, 32, 32)
    for module in folded.modules():
        if hasattr(module, "fold"):
            module.fold()
    assert "proxy" not in {owned.role for owned in roles(folded).values()}
    with torch.no_grad():
        torch.testing.assert_close(folded(images), built(images), atol=1e-5, rtol=1e-5)


def test_starts_as_the_layer_norm_of_the_same_network_but_for_the_proxy():
    plain = GroupNorm(groups=1, eps=1e-3).make(6, SiLU())
    made = ProxyNorm(eps=1e-3).make(6, SiLU())
    with torch.no_grad():
        made.reset_parameters()
        x = torch.randn(2, 6, 4, 4)
        mean, gain = statistics(made)
        torch.testing.assert_close(made(x), (plain(x) - mean[:, None, None]) * gain[:, None, None])


@every_activation
def test_evaluation_without_gradients_has_the_statistics_of_training(activation):
    made = unit(activation=activation)
    trained = statistics(made)
    for context in (torch.inference_mode, torch.no_grad):
        with context():
            for wanted, found in zip(trained, statistics(made), strict=True):
                torch.testing.assert_close(found, wanted.detach(), rtol=1e-5, atol=1e-6)
