"""The modules that blocks are made of, against slow second implementations and by hand."""

import copy
import math
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from timm.layers import Conv2dSame
from torch import nn

from covering import few
from paretina.model.blueprint import NormUnit
from paretina.model.family import network_named
from paretina.model.layers import Convolution, Dropout, Normalise, Residual, SqueezeExcite, as_product, pooled


def seeded(*shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


# --- convolution -----------------------------------------------------------------------------------------------------


def slow_same(x, weight, stride, groups):
    """TensorFlow's SAME, pixel by pixel: a window starts `before` pixels outside and sees zeros there."""
    (_, width_in, rows, columns), (width_out, depth, kernel, _) = x.shape, weight.shape
    sizes = [math.ceil(side / stride) for side in (rows, columns)]
    before = [max((size - 1) * stride + kernel - side, 0) // 2 for size, side in zip(sizes, (rows, columns), strict=True)]
    out = torch.zeros(len(x), width_out, *sizes)
    for image in range(len(x)):
        for o in range(width_out):
            first = o // (width_out // groups) * (width_in // groups)
            for i in range(sizes[0]):
                for j in range(sizes[1]):
                    for p in range(kernel):
                        for q in range(kernel):
                            row, column = i * stride + p - before[0], j * stride + q - before[1]
                            if 0 <= row < rows and 0 <= column < columns:
                                seen = x[image, first : first + depth, row, column]
                                out[image, o, i, j] += (seen * weight[o, :, p, q]).sum()
    return out


@pytest.mark.parametrize("size", [(4, 4), (5, 5), (4, 5), (7, 6), (1, 2)])
@pytest.mark.parametrize(("kernel", "stride"), [(3, 1), (3, 2), (5, 2), (1, 2), (3, 3), (2, 3)])
def test_same_padding_equals_the_slow_loop(size, kernel, stride):
    conv = Convolution(2, 2, kernel, stride, groups=2, bias=False, same=True)
    x = seeded(1, 2, *size)
    with torch.no_grad():
        torch.testing.assert_close(conv(x), slow_same(x, conv.weight, stride, 2), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("size", [(8, 8), (9, 9), (8, 9), (13, 10)])
@pytest.mark.parametrize("kernel", [3, 5])
@pytest.mark.parametrize("groups", [1, 4])
def test_same_padding_equals_timms(size, kernel, groups):
    ours = Convolution(4, 8, kernel, 2, groups, bias=True, same=True)
    theirs = Conv2dSame(4, 8, kernel, 2, groups=groups)
    theirs.load_state_dict(ours.state_dict())
    x = seeded(2, 4, *size)
    with torch.no_grad():
        torch.testing.assert_close(ours(x), theirs(x))


@pytest.mark.parametrize("kernel", [1, 3, 5, 7])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("same", [True, False])
def test_padding_keeps_the_size_up_to_the_stride(kernel, stride, same):
    for side in (15, 16):
        out = Convolution(1, 1, kernel, stride, 1, bias=False, same=same)(seeded(1, 1, side, side + 1))
        assert out.shape[2:] == (math.ceil(side / stride), math.ceil((side + 1) / stride))


@pytest.mark.parametrize("kernel", [3, 5])
def test_both_paddings_agree_on_odd_sizes_and_differ_on_even_ones(kernel):
    same, symmetric = (Convolution(1, 1, kernel, 2, 1, bias=False, same=same) for same in (True, False))
    symmetric.load_state_dict(same.state_dict())
    odd, even = seeded(1, 1, 9, 9), seeded(1, 1, 8, 8)
    torch.testing.assert_close(same(odd), symmetric(odd))
    assert not torch.allclose(same(even), symmetric(even))


def test_patches_do_not_overlap_without_padding():
    conv = Convolution(1, 1, 4, 4, 1, bias=False, pad=False, same=False)
    nn.init.ones_(conv.weight)
    x = seeded(1, 1, 8, 8)
    torch.testing.assert_close(conv(x)[0, 0, 0, 1], x[0, 0, :4, 4:].sum())


def test_float32_stays_inside_a_bfloat16_network():
    conv = Convolution(4, 4, 3, 2, 1, bias=True, same=True)
    x = seeded(1, 4, 8, 8)
    with torch.no_grad():
        wanted = conv(x)
        with torch.autocast("cpu", torch.bfloat16):
            assert conv(x).dtype == torch.bfloat16
            conv.float32 = True
            assert conv(x).dtype == torch.float32
            assert torch.equal(conv(x), wanted)
            assert conv(x.bfloat16()).dtype == torch.float32
        assert torch.equal(conv(x), wanted)


def test_depthwise_is_one_group_a_channel():
    assert Convolution(4, 4, 3, 1, 4, bias=False).depthwise
    assert not Convolution(4, 4, 3, 1, 2, bias=False).depthwise
    assert not Convolution(1, 1, 3, 1, 1, bias=False).depthwise


# --- residual and dropout --------------------------------------------------------------------------------------------


class Times(nn.Module):
    def __init__(self, factor):
        super().__init__()
        self.factor = factor

    def forward(self, x):
        return x * self.factor


def doubled(rate=None, **parts):
    """x + 2x, with a drop rate."""
    body = Times(2.0)
    residual = Residual(body, body, **parts)
    if rate is not None:
        residual.set(rate)
    return residual.train()


def test_residual_adds_its_body():
    x = seeded(3, 2, 2, 2)
    torch.testing.assert_close(doubled()(x), 3 * x)
    torch.testing.assert_close(doubled(shortcut=Times(10.0), after=Times(-1.0))(x), -12 * x)


def test_rate_zero_drops_nothing_even_after_another_rate():
    residual, dropout, x = doubled(0.5), Dropout().train(), seeded(64, 2, 2, 2)
    dropout.set(0.5)
    assert not torch.allclose(residual(x), 3 * x)
    assert not torch.equal(dropout(x), x)
    residual.set(0.0)
    dropout.set(0.0)
    torch.testing.assert_close(residual(x), 3 * x)
    assert torch.equal(dropout(x), x)


def test_whole_images_of_the_body_are_dropped_and_the_others_grow():
    torch.manual_seed(0)
    out = doubled(0.25)(torch.ones(4000, 2, 3, 3))
    assert torch.equal(out.amax((1, 2, 3)), out.amin((1, 2, 3)))
    dropped, kept = out[:, 0, 0, 0].unique().tolist()
    assert dropped == 1.0
    assert kept == pytest.approx(1 + 2 / 0.75)
    # three standard deviations of a share of 4000 are 0.02
    assert (out[:, 0, 0, 0] > 1).double().mean().item() == pytest.approx(0.75, abs=0.02)
    assert out.mean().item() == pytest.approx(3, abs=0.06)


def test_whole_images_are_dropped_of_tokens_too():
    torch.manual_seed(0)
    out = doubled(0.5)(torch.ones(50, 4, 3))
    assert torch.equal(out.amax((1, 2)), out.amin((1, 2)))
    assert out[:, 0, 0].unique().tolist() == [1.0, 5.0]


def test_the_shortcut_is_never_dropped_and_what_follows_sees_the_sum():
    torch.manual_seed(0)
    out = doubled(0.9, shortcut=Times(10.0), after=Times(-1.0))(torch.ones(200, 1, 1, 1))
    assert torch.allclose(out.unique(), torch.tensor([-30.0, -10.0]))


def test_dropout_drops_single_features_and_the_others_grow():
    torch.manual_seed(0)
    dropout = Dropout().train()
    dropout.set(0.2)
    out = dropout(torch.ones(100, 80))
    assert torch.allclose(out.unique(), torch.tensor([0.0, 1.25]))
    assert (out > 0).double().mean().item() == pytest.approx(0.8, abs=0.015)
    assert len(out.sum(1).unique()) > 1
    assert len(out.sum(0).unique()) > 1


@pytest.mark.parametrize("training", [True, False])
def test_nothing_is_drawn_in_evaluation_or_where_the_rate_was_never_above_zero(training):
    rate = 0.0 if training else 0.5
    residual, dropout, x = doubled(rate), Dropout(), seeded(8, 2, 2, 2)
    dropout.set(rate)
    before = torch.get_rng_state()
    torch.testing.assert_close(residual.train(training)(x), 3 * x)
    assert torch.equal(dropout.train(training)(x), x)
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize("rate", [-0.1, 1.0, 2.0, math.nan])
def test_a_rate_is_a_probability_below_one(rate):
    with pytest.raises(ValueError, match=r"a drop rate must be in \[0, 1\), got"):
        Dropout().set(rate)


def test_rates_are_no_state_but_survive_a_copy():
    residual = doubled(0.5)
    assert not residual.state_dict()
    copied = copy.deepcopy(residual)
    assert copied.rate.item() == 0.5
    copied.set(0.25)
    assert residual.rate.item() == 0.5
    torch.manual_seed(0)
    assert len(copied(torch.ones(50, 1, 1, 1)).unique()) == 2


def test_dropping_does_not_change_the_precision_of_the_sum():
    class Halved(Times):
        def forward(self, x):
            return super().forward(x).bfloat16()

    x = seeded(2, 1, 2, 2)
    for body in (Halved(2.0), Times(2.0)):
        residual = Residual(body, body)
        residual.set(0.5)
        assert residual.train()(x).dtype == residual.eval()(x).dtype == torch.float32


def test_the_last_norm_of_a_copy_is_its_own():
    body = nn.Sequential(nn.Conv2d(2, 2, 1), nn.BatchNorm2d(2))
    residual = Residual(body, body[1])
    copied = copy.deepcopy(residual)
    assert residual.last_norm is body[1]
    assert copied.last_norm is copied.body[1]
    assert copied.last_norm is not body[1]


# --- squeeze and preprocessing ------------------------------------------------------------------------------------------------


def test_squeeze_by_hand():
    squeeze = SqueezeExcite(2, 1, nn.ReLU())
    with torch.no_grad():
        squeeze.reduce.weight.copy_(torch.tensor([1.0, 2.0]).view(1, 2, 1, 1))
        squeeze.reduce.bias.fill_(0.5)
        squeeze.restore.weight.copy_(torch.tensor([1.0, -1.0]).view(2, 1, 1, 1))
        squeeze.restore.bias.copy_(torch.tensor([0.0, 1.0]))
        # means 2 and 1: 2 + 2 * 1 + 0.5 = 4.5, restored to 4.5 and -3.5
        x = torch.tensor([[[[1.0, 3.0]], [[0.0, 2.0]]]])
        gates = [1 / (1 + math.exp(-4.5)), 1 / (1 + math.exp(3.5))]
        assert squeeze(x).flatten().tolist() == pytest.approx([gates[0], 3 * gates[0], 0.0, 2 * gates[1]])
        gain = torch.tensor([10.0, 100.0]).view(2, 1, 1)
        assert squeeze(x, gain).flatten().tolist() == pytest.approx([10 * gates[0], 30 * gates[0], 0.0, 200 * gates[1]])


def test_squeeze_takes_another_gate():
    squeeze = SqueezeExcite(2, 2, nn.Identity(), gate=nn.Identity())
    x = seeded(1, 2, 2, 2)
    wanted = squeeze.restore(squeeze.reduce(x.mean((2, 3), keepdim=True)))
    torch.testing.assert_close(squeeze(x), x * wanted)


def preprocessing():
    made = Normalise((0.5, 0.25, 0.0), (0.5, 0.25, 1.0))
    made.reset_buffers()
    return made


def test_preprocessing_by_hand():
    images = torch.tensor([0.0, 0.5, 1.0]).expand(1, 3, 1, 3)
    assert preprocessing()(images)[0, :, 0].tolist() == [[-1.0, 0.0, 1.0], [-1.0, 1.0, 3.0], [0.0, 0.5, 1.0]]


def test_preprocessing_sees_whole_and_real_pixels_alike():
    images = torch.arange(256, dtype=torch.uint8).view(1, 1, 16, 16).expand(2, 3, 16, 16)
    torch.testing.assert_close(preprocessing()(images), preprocessing()(images.float() / 255))


def test_preprocessing_is_no_state():
    assert not preprocessing().state_dict()
    assert not list(preprocessing().parameters())


# --- memory formats on a CPU ------------------------------------------------------------------------------------------------


def channels_last(*shape):
    return torch.randn(shape, generator=torch.Generator().manual_seed(0)).contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("bias", [False, True])
def test_small_pointwise_convolutions_are_products_of_the_same_numbers(stride, bias):
    conv = Convolution(6, 10, 1, stride, 1, bias=bias)
    x = channels_last(2, 6, 7, 5).requires_grad_()
    assert as_product(x)
    out = conv(x)
    wanted = F.conv2d(x, conv.weight, conv.bias, stride)
    torch.testing.assert_close(out, wanted)
    (gradient,) = torch.autograd.grad(out.square().sum(), x)
    torch.testing.assert_close(gradient, torch.autograd.grad(wanted.square().sum(), x)[0])
    for each in (out, gradient):
        assert each.is_contiguous(memory_format=torch.channels_last)


def test_what_is_no_product():
    assert not as_product(torch.randn(2, 6, 8, 8))  # another format
    assert not as_product(channels_last(2, 6, 16, 16))  # too many places
    assert not as_product(torch.empty(1, 6, 8, 8, device="meta"))
    with torch.autocast("cpu", torch.bfloat16):
        assert as_product(channels_last(2, 6, 16, 16))
        assert Convolution(6, 10, 1, 1, 1, bias=False)(channels_last(2, 6, 16, 16)).dtype == torch.bfloat16


@pytest.mark.parametrize(
    "x", [channels_last(9, 4, 16, 16), channels_last(9, 4, 16, 16).contiguous(), channels_last(9, 8, 16, 16)[:, 2:6]]
)
def test_a_narrow_strided_1x1_convolution_is_never_left_to_a_kernel_that_overruns(x, monkeypatch):
    """In the type of double precision, where the order of a sum decides nothing."""
    torch.manual_seed(0)
    convolution = Convolution(4, 6, 1, 2, 1, bias=False).to(torch.float64, memory_format=torch.channels_last)
    x = x.double().requires_grad_()
    expected = F.conv2d(x.detach().contiguous(), convolution.weight.detach(), stride=2)
    monkeypatch.setattr(F, "conv2d", None)
    out = convolution(x)
    torch.testing.assert_close(out, expected)
    out.sum().backward()
    per_place = torch.zeros(16, 16, dtype=torch.float64)
    per_place[::2, ::2] = 1.0
    torch.testing.assert_close(x.grad, (convolution.weight.detach().sum(0) * per_place).expand(9, 4, 16, 16))
    places = x.detach()[:, :, ::2, ::2].sum((0, 2, 3))
    torch.testing.assert_close(convolution.weight.grad, places.expand(6, 4)[..., None, None])


@pytest.mark.parametrize("width", [9, 12, 15])
def test_nor_is_one_that_is_narrower_than_a_register_of_avx_512(width, monkeypatch):
    convolution = Convolution(width, 32, 1, 2, 1, bias=False).to(memory_format=torch.channels_last)
    x = channels_last(37, width, 16, 16)
    expected = F.conv2d(x.contiguous(), convolution.weight.detach().contiguous(), stride=2)
    monkeypatch.setattr(F, "conv2d", None)
    torch.testing.assert_close(convolution(x).detach(), expected)


def test_the_mean_of_a_map_has_a_gradient_in_its_format():
    x = channels_last(2, 6, 4, 3).requires_grad_()
    torch.testing.assert_close(pooled(x), x.mean((2, 3)))
    (gradient,) = torch.autograd.grad(pooled(x).square().sum(), x)
    assert gradient.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("name", few(["levit_128s", "convnext_tiny", "efficientnet_b0"]))
def test_no_gradient_has_to_be_copied_into_another_format(name):
    blueprint = network_named(name).blueprint
    stages = tuple(replace(stage, depth=min(stage.depth, 2)) for stage in blueprint.stages)
    network = replace(blueprint, stages=stages, resolution=96).build().to(memory_format=torch.channels_last).train()
    others = []

    def look(module, inputs, output):
        def gradient(found):
            if not found.is_contiguous(memory_format=torch.channels_last):
                others.append(type(module))

        output.register_hook(gradient)

    for module in network.modules():
        if isinstance(module, NormUnit | Residual):
            module.register_forward_hook(look)
    answers = network(torch.randint(0, 256, (2, 3, 96, 96), dtype=torch.uint8).contiguous(memory_format=torch.channels_last))
    sum(answer.square().mean() for answer in (answers if isinstance(answers, tuple) else (answers,))).backward()
    assert others == []


# --- branches that are computed for some images only --------------------------------------------------------------------------


class Counting(nn.Module):
    """Doubles its input and keeps how many images it saw."""

    def __init__(self):
        super().__init__()
        self.seen = []
        self.weight = nn.Parameter(torch.tensor(2.0))

    def forward(self, x):
        self.seen.append(len(x))
        return self.weight * x


def some_residual(rate):
    body = Counting()
    residual = Residual(body, body).train()
    residual.subset = True
    residual.set(rate)
    return residual


def test_dropped_branches_are_not_computed():
    torch.manual_seed(0)
    residual = some_residual(0.25)
    for _ in range(50):
        residual(torch.ones(40, 2, 3, 3))
    assert set(residual.body.seen) == {30}
    other = some_residual(0.3)
    for _ in range(400):
        other(torch.ones(9, 2))
    assert set(other.body.seen) == {6, 7}
    assert sum(other.body.seen) / 400 == pytest.approx(6.3, abs=0.1)


def test_the_expectation_stays_with_some_images():
    torch.manual_seed(0)
    residual = some_residual(0.4)
    x = torch.ones(50, 1)
    found = torch.stack([residual(x) for _ in range(2000)]).mean(0)
    torch.testing.assert_close(found, torch.full((50, 1), 3.0), atol=0.2, rtol=0)
    kept = residual(x)
    assert sorted(set(kept.flatten().tolist())) == pytest.approx([1.0, 1.0 + 2.0 / 0.6])


def test_a_gradient_reaches_the_branch_and_every_image():
    torch.manual_seed(0)
    residual = some_residual(0.5)
    x = torch.ones(8, 2, 4, 4).contiguous(memory_format=torch.channels_last).requires_grad_()
    out = residual(x)
    assert out.is_contiguous(memory_format=torch.channels_last)
    out.sum().backward()
    assert residual.body.weight.grad.item() == pytest.approx(8 * 32)  # the sum over all images, in expectation and here
    assert x.grad.ne(0).all()


def test_at_least_two_images_are_computed():
    residual = some_residual(0.99)
    residual(torch.ones(10, 2))
    assert residual.body.seen == [2]
    residual(torch.ones(2, 2))  # too few to choose from
    assert residual.body.seen == [2, 2]


def test_in_evaluation_and_at_rate_zero_nothing_is_dropped():
    residual = some_residual(0.0)
    assert residual(torch.ones(10, 2)).tolist() == torch.full((10, 2), 3.0).tolist()
    residual.set(0.5)
    residual.eval()
    assert residual(torch.ones(10, 2)).tolist() == torch.full((10, 2), 3.0).tolist()
