"""Counts: layers by formula, networks by identities."""

import copy
import functools
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from paretina.measure.cost import cost, counted
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
    for field in ("params", "macs", "activations"):
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
