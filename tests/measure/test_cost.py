"""Counts: layers by formula, networks by identities."""

import copy
import functools
import json
from dataclasses import asdict, replace

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from paretina.measure.cost import NOTHING, cost, counted, counting, without
from paretina.model.families.efficientnet import B0

TINY = replace(B0, resolution=32, classes=5, stages=B0.stages[:3])


@functools.cache
def tiny():
    torch.manual_seed(0)
    return TINY.build()


@functools.cache
def whole():
    return cost(TINY)


def count(module, *shape):
    with torch.device("meta"):
        module, x = module.to("meta").eval(), torch.empty(shape)
    return counted(lambda: module(x))[1:]


@pytest.mark.parametrize(
    ("layer", "macs", "width"),
    [
        (nn.Conv2d(144, 144, 3, padding=1, groups=144), 4_064_256, 144),
        (nn.Conv2d(144, 144, 3, padding=1, groups=9), 65_028_096, 144),
        (nn.Conv2d(144, 24, 1), 10_838_016, 24),
        (nn.Conv2d(64, 64, 3, padding=1), 115_605_504, 64),
        (nn.Conv2d(24, 96, 3, padding=1), 65_028_096, 96),
    ],
)
def test_layers_have_the_counts_of_the_sheet(layer, macs, width):
    assert count(layer, 1, layer.in_channels, 56, 56) == (macs, 56 * 56 * width)


def test_stride_groups_and_bias_by_formula():
    # output 4 x 3, each of 8 channels sees 4 / 2 channels in 9 places
    conv = nn.Conv2d(4, 8, 3, stride=2, padding=1, groups=2)
    assert count(conv, 1, 4, 7, 6) == (4 * 3 * 8 * 2 * 9, 4 * 3 * 8)
    assert count(conv, 5, 4, 7, 6) == (5 * 4 * 3 * 8 * 2 * 9, 5 * 4 * 3 * 8)


def test_linear_layers_count_each_token():
    assert count(nn.Linear(10, 6), 1, 10) == (60, 6)
    assert count(nn.Linear(10, 6), 1, 7, 10) == (420, 42)


def test_what_only_moves_or_bends_counts_as_nothing():
    for module in (nn.BatchNorm2d(4), nn.GroupNorm(2, 4), nn.GELU(), nn.MaxPool2d(2), nn.AdaptiveAvgPool2d(1), nn.Softmax(1)):
        assert count(module, 1, 4, 8, 8) == (0, 0)


@pytest.mark.parametrize("outside", [torch.no_grad, torch.inference_mode, torch.enable_grad])
def test_attention_is_counted_whole(outside):
    # tokens T = 5, width d = 8: four projections and two products of T * T * d
    attention = nn.MultiheadAttention(8, 2, batch_first=True, device="meta").eval()
    x = torch.empty(1, 5, 8, device="meta")
    with outside():
        _, macs, _ = counted(lambda: attention(x, x, x, need_weights=False))
    assert macs == 4 * 5 * 8 * 8 + 2 * 5 * 5 * 8


def test_fused_attention_is_counted():
    q = torch.empty(1, 2, 5, 4, device="meta")
    assert counted(lambda: F.scaled_dot_product_attention(q, q, q))[1] == 2 * 2 * 5 * 5 * 4


def test_result_of_what_was_counted_comes_back():
    out, macs, activations = counted(lambda: "done")
    assert (out, macs, activations) == ("done", 0, 0)


def test_counting_twice_gives_the_same():
    assert cost(TINY) == whole()


@pytest.mark.parametrize("outside", [torch.no_grad, torch.inference_mode])
def test_a_network_as_it_stands_counts_as_its_blueprint(outside):
    with outside():
        assert cost(tiny()) == whole()


def test_a_network_that_was_changed_counts_as_it_stands():
    network = copy.deepcopy(tiny())
    network.head.classifier = nn.Linear(1280, 7)
    found = cost(network)
    assert found.params == whole().params + 2 * 1281
    assert found.macs == whole().macs + 2 * 1280


def test_counting_leaves_the_network_as_it_was():
    network = copy.deepcopy(tiny()).train()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    random = torch.get_rng_state()
    cost(network)
    assert all(module.training for module in network.modules())
    assert all(torch.equal(before[name], tensor) for name, tensor in network.state_dict().items())
    assert all(parameter.grad is None and parameter.device.type == "cpu" for parameter in network.parameters())
    assert torch.equal(random, torch.get_rng_state())


def test_rows_add_up_to_the_whole():
    assert [row.name for row in whole().stages] == ["stem", "stage 1", "stage 2", "stage 3", "head"]
    assert [row.output for row in whole().stages] == [(32, 16, 16), (16, 16, 16), (24, 8, 8), (40, 4, 4), (5,)]
    for field in ("params", "macs", "activations", "bytes_moved", "bytes_unfused"):
        assert sum(getattr(row, field) for row in whole().stages) == getattr(whole(), field)
    assert whole().params == sum(parameter.numel() for parameter in tiny().parameters())


def test_first_and_last_row_by_hand():
    stem, *_, head = whole().stages
    assert (stem.params, stem.macs, stem.activations) == (3 * 32 * 9 + 64, 16 * 16 * 32 * 27, 16 * 16 * 32)
    assert head.params == 40 * 1280 + 2 * 1280 + 1281 * 5
    assert (head.macs, head.activations) == (4 * 4 * 40 * 1280 + 1280 * 5, 4 * 4 * 1280 + 5)


def test_weight_bytes_are_those_of_the_saved_state():
    # besides its parameters, a batch norm saves two numbers a channel and one count of eight bytes
    norms = [module for module in tiny().modules() if isinstance(module, nn.BatchNorm2d)]
    saved = whole().params * 4 + sum(2 * 4 * norm.num_features + 8 for norm in norms)
    assert whole().weight_bytes == saved


def test_half_precision_has_half_the_bytes_and_the_same_macs():
    half = cost(TINY.build("meta").bfloat16())
    counters = 8 * sum(isinstance(module, nn.BatchNorm2d) for module in tiny().modules())
    assert half.weight_bytes - counters == (whole().weight_bytes - counters) / 2
    assert half.macs == whole().macs


def test_another_resolution_costs_as_its_pixels():
    small, large = whole(), cost(TINY, 64)
    assert large.resolution == 64
    assert large.params == small.params
    assert large.stages[0].macs == 4 * small.stages[0].macs
    assert cost(replace(TINY, resolution=64)) == large


# --- bytes --------------------------------------------------------------------------------------------------------------


def traffic(run):
    """Bytes that convolutions and products move, and those of all operators."""
    with counting() as counter:
        run()
    return counter.counts.bytes_moved, counter.counts.bytes_unfused


def map_of(*shape, dtype=torch.float32):
    return torch.empty(shape, device="meta", dtype=dtype)


@pytest.mark.parametrize(
    ("layer", "megabytes", "intensity"),
    [
        (nn.Conv2d(144, 144, 3, padding=1, groups=144, bias=False), 3.618, 2.25),
        (nn.Conv2d(144, 144, 3, padding=1, groups=9, bias=False), 3.696, 35.19),
        (nn.Conv2d(144, 24, 1, bias=False), 2.121, 10.22),
        (nn.Conv2d(64, 64, 3, padding=1, bias=False), 1.753, 131.89),
        (nn.Conv2d(24, 96, 3, padding=1, bias=False), 1.588, 81.89),
    ],
)
def test_layers_move_the_bytes_of_the_sheet(layer, megabytes, intensity):
    layer, x = layer.to("meta"), map_of(1, layer.in_channels, 56, 56)
    with counting() as counter:
        layer(x)
    macs, _, moved, unfused = counter.counts
    assert moved == unfused
    assert moved / 1e6 == pytest.approx(megabytes, abs=5e-4)
    assert 2 * macs / moved == pytest.approx(intensity, abs=5e-3)


def test_a_linear_layer_by_hand():
    # three rows of 10 numbers in, 6 out, 60 weights and 6 biases, 4 bytes each
    layer = nn.Linear(10, 6, device="meta")
    assert traffic(lambda: layer(map_of(3, 10))) == (4 * (30 + 18 + 60 + 6),) * 2


def test_what_does_not_multiply_moves_bytes_only_where_nothing_is_fused():
    # 32 numbers are read and written: by ReLU once, by an addition of two maps a second time in
    x = map_of(2, 16)
    assert traffic(lambda: torch.relu(x)) == (0, 2 * 128)
    assert traffic(lambda: torch.relu_(x)) == (0, 2 * 128)
    assert traffic(lambda: x + x) == (0, 3 * 128)


def test_views_and_empty_tensors_move_nothing():
    x = map_of(2, 16)
    assert traffic(lambda: x.view(4, 8).t().unsqueeze(0).expand(5, 8, 4).flatten(1, 2).narrow(0, 0, 1)[0].detach()) == (
        0,
        # what is repeated has to be written out to be flattened: 32 numbers are read and 5 times as many written
        128 + 5 * 128,
    )
    assert traffic(lambda: (x.view(32)[None].detach(), torch.empty(7, device="meta"))) == (0, 0)


def test_what_is_repeated_in_place_is_read_once():
    one, x = map_of(1, 16).expand(2, 16), map_of(2, 16)
    assert traffic(lambda: one * x) == (0, 64 + 128 + 128)


def test_half_precision_moves_half_the_bytes():
    x = map_of(2, 16, dtype=torch.bfloat16)
    assert traffic(lambda: torch.relu(x)) == (0, 2 * 64)


def test_intensity_of_the_sheet():
    assert cost(B0, 224).intensity == pytest.approx(10.2, abs=0.05)


def test_a_batch_shares_its_weights():
    # bytes are a share of each image, and the weights once
    one, two, four = (cost(TINY, batch=n) for n in (1, 2, 4))
    assert (two.macs, two.activations, two.batch) == (2 * one.macs, 2 * one.activations, 2)
    image = two.bytes_moved - one.bytes_moved
    assert four.bytes_moved == one.bytes_moved + 3 * image
    assert 0 < one.bytes_moved - image < one.weight_bytes
    assert four.intensity > two.intensity > one.intensity


def test_rows_of_another_module_are_its_children():
    layers = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 6 * 6, 5))
    found = cost(Wrapped(layers), 8)
    assert [(row.name, row.macs, row.output) for row in found.stages] == [
        ("0", 6 * 6 * 4 * 27, (4, 6, 6)),
        ("1", 0, (4, 6, 6)),
        ("2", 0, (144,)),
        ("3", 144 * 5, (5,)),
        ("rest", 0, ()),
    ]
    with pytest.raises(ValueError, match="Wrapped has no blueprint with a resolution; give the resolution"):
        cost(Wrapped(layers))


class Wrapped(nn.Module):
    def __init__(self, layers):
        super().__init__()
        self.layers = layers

    def forward(self, images):
        return self.layers(images.float()) * 2


# --- what has no formula ------------------------------------------------------------------------------------------------


@torch.library.custom_op("paretina_tests::doubled", mutates_args=())
def doubled(x: torch.Tensor) -> torch.Tensor:
    return x @ torch.full((x.shape[-1], x.shape[-1]), 2.0)


@doubled.register_fake
def _(x):
    return torch.empty_like(x)


class Spectral(nn.Module):
    """Mixes places by their spectrum, and channels by a product that torch has no formula for."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 3, padding=1)
        self.middle = Mixed()
        self.classifier = nn.Linear(4, 5)

    def forward(self, images):
        return self.classifier(self.middle(self.stem(images.float())).mean((2, 3)))


class Mixed(nn.Module):
    def forward(self, x):
        mixed = torch.fft.irfft2(torch.fft.rfft2(x), s=x.shape[-2:])
        return doubled(mixed + torch.mv(mixed.flatten(1), mixed.flatten())[:, None, None, None])


def test_an_operator_without_a_formula_is_named():
    found = cost(Spectral(), 8)
    assert found.uncounted == ("aten::_fft_c2r", "aten::_fft_r2c", "aten::mv", "paretina_tests::doubled")
    assert found.macs == 8 * 8 * 4 * 27 + 4 * 5
    assert json.loads(json.dumps(asdict(found)))["uncounted"] == list(found.uncounted)
    assert without(found.uncounted) == (
        "the MACs do not include aten::_fft_c2r, aten::_fft_r2c, aten::mv, paretina_tests::doubled: there is no formula for "
        "what is multiplied there"
    )


def test_what_counts_as_nothing_by_convention_is_not_named():
    x = map_of(1, 4, 8, 8)
    with counting() as counter:
        y = F.gelu(F.interpolate(F.max_pool2d(x, 2), scale_factor=2) + x).view(1, 4, -1).softmax(-1)
        y = torch.cat((y, y.flip(1)), 1).sort(-1).values.cumsum(-1)
        nn.LayerNorm(64, device="meta")(y)[:, ::2].clone().masked_fill_(y[:, ::2] > 0, 0.0)
        x.clone().as_strided_((4, 8), (8, 1)).unsqueeze_(0)
        torch.zeros(3, device="meta")
        torch.arange(3, device="meta") * 2
    assert not counter.uncounted
    assert counter.counts.macs == 0


def test_a_sum_over_named_axes_is_counted_whole():
    a, b = map_of(2, 3, 4, 5), map_of(2, 3, 5, 6)
    with counting() as counter:
        torch.einsum("bhij,bhjk->bhik", a, b)
    assert (counter.counts.macs, counter.uncounted) == (2 * 3 * 4 * 5 * 6, set())


def test_every_entry_of_the_list_is_an_operator():
    # a name that torch no longer has would let its successor pass for something unknown
    assert not [name for name in NOTHING if not hasattr(torch.ops.aten, name)]


def test_networks_of_ours_have_nothing_unknown():
    assert whole().uncounted == ()
    assert without(whole().uncounted) == ""
