"""Small networks against plain modules and formulas that are written down here."""

import math
from dataclasses import replace
from itertools import pairwise

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from paretina.measure.cost import cost
from paretina.model.families.small import NETWORKS, resnet8
from paretina.model.family import network_named
from paretina.train.starting import first_values

every_network = pytest.mark.parametrize("network", NETWORKS, ids=lambda network: network.name)
every_kind = pytest.mark.parametrize(
    "name", ["resnet9_w16", "plain4_w24_s2", "resnet8_w16", "resnet18_w16_s2", "fused_w16", "regnetx_w32", "convnext_w24_s2"]
)


def parts_of(name):
    """Kind, width and stride of the stem, as a name says them."""
    kind, width, *strided = name.split("_")
    return kind, int(width.removeprefix("w")), 2 if strided == ["s2"] else 1


# --- plain modules --------------------------------------------------------------------------------------------------------


class Unit(nn.Module):
    def __init__(self, width_in, width, stride=1, kernel=3, pool=False, act=True):
        super().__init__()
        self.conv = nn.Conv2d(width_in, width, kernel, stride, kernel // 2, bias=False)
        self.pool = nn.MaxPool2d(2, ceil_mode=True) if pool else nn.Identity()
        self.norm = nn.BatchNorm2d(width)
        self.act = nn.ReLU() if act else nn.Identity()

    def forward(self, x):
        return self.act(self.norm(self.pool(self.conv(x))))


class Pair(nn.Module):
    """Two convolutions and what goes around them."""

    def __init__(self, width_in, width, stride=1):
        super().__init__()
        self.first = Unit(width_in, width, stride)
        self.second = Unit(width, width, act=False)
        self.around = nn.Identity() if stride == 1 else Unit(width_in, width, stride, kernel=1, act=False)

    def forward(self, x):
        return F.relu(self.around(x) + self.second(self.first(x)))


class Plain(nn.Module):
    def __init__(self, layers, pool, width, classes):
        super().__init__()
        self.layers = nn.Sequential(*layers)
        self.pool = pool
        self.linear = nn.Linear(width, classes)

    def forward(self, x):
        return self.linear(self.pool(self.layers(x)).flatten(1))


def plain(name, classes=1000):
    kind, w, step = parts_of(name)
    stem = Unit(3, w, step)
    if kind == "resnet9":
        layers = (
            stem,
            Unit(w, 2 * w, pool=True),
            Pair(2 * w, 2 * w),
            Unit(2 * w, 4 * w, pool=True),
            Unit(4 * w, 8 * w, pool=True),
            Pair(8 * w, 8 * w),
        )
        return Plain(layers, nn.AdaptiveMaxPool2d(1), 8 * w, classes)
    if kind == "plain4":
        layers = [Unit(width_in, width, 2) for width_in, width in pairwise((3, w, 2 * w, 4 * w, 8 * w))]
        return Plain(layers, nn.AdaptiveAvgPool2d(1), 8 * w, classes)
    depth, stages = (1, 3) if kind == "resnet8" else (2, 4)
    layers = [stem]
    for stage in range(stages):
        for block in range(depth):
            first = block == 0 and stage > 0
            layers.append(Pair(w * 2**stage // (2 if first else 1), w * 2**stage, 2 if first else 1))
    return Plain(layers, nn.AdaptiveAvgPool2d(1), w * 2 ** (stages - 1), classes)


def move(theirs, ours):
    """Copies weights in the order of the forward pass, after making every one of them count."""
    for module in theirs.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.weight.data.uniform_(-0.5, 1.5)
            module.bias.data.uniform_(-0.2, 0.2)
            module.running_mean.uniform_(-0.2, 0.2)
            module.running_var.uniform_(0.5, 1.5)
    target = ours.state_dict()
    assert [t.shape for t in theirs.state_dict().values()] == [t.shape for t in target.values()]
    ours.load_state_dict(dict(zip(target, theirs.state_dict().values(), strict=True)))


@pytest.mark.parametrize("size", [28, 33])
@pytest.mark.parametrize(
    "name", ["resnet9_w16", "resnet9_w24_s2", "resnet8_w16", "resnet8_w16_s2", "resnet18_w16_s2", "plain4_w24_s2"]
)
def test_gives_the_logits_of_a_plain_module(name, size):
    torch.manual_seed(0)
    theirs, ours = plain(name, 7).eval(), replace(network_named(name).blueprint, classes=7).build().eval()
    move(theirs, ours)
    images = torch.randint(256, (2, 3, size, size), dtype=torch.uint8)
    with torch.no_grad():
        wanted = theirs(ours.normalise(images))
        found = ours(images)
    assert wanted.std() > 0.01
    if name.startswith("resnet9"):
        assert torch.equal(found, wanted)
    torch.testing.assert_close(found, wanted)  # the means of our heads and of torch's pool are rounded differently


# --- counts by formula ----------------------------------------------------------------------------------------------------


class Counter:
    """Parameters and MACs of layers that are added one by one, with the side of the map that they leave behind."""

    def __init__(self, side):
        self.side, self.params, self.macs = side, 0, 0

    def conv(self, width_in, width, kernel, stride=1, groups=1, norm=2, bias=0, side=None):
        """`norm` and `bias` are parameters a channel."""
        if side is None:
            side = self.side = -(-self.side // stride)
        weights = width_in * width * kernel**2 // groups
        self.params += weights + (norm + bias) * width
        self.macs += weights * side**2

    def linear(self, width, classes=1000):
        self.params += (width + 1) * classes
        self.macs += width * classes


def pair(count, width_in, width, stride):
    if stride == 2 or width_in != width:
        count.conv(width_in, width, 1, side=-(-count.side // stride))
    count.conv(width_in, width, 3, stride)
    count.conv(width, width, 3)


def counted_resnet9(count, w, step):
    count.conv(3, w, 3, step)
    for width_in, width, has_pair in ((w, 2 * w, True), (2 * w, 4 * w, False), (4 * w, 8 * w, True)):
        count.conv(width_in, width, 3)
        count.side = -(-count.side // 2)
        if has_pair:
            pair(count, width, width, 1)
    count.linear(8 * w)


def counted_plain4(count, w, step):
    for width_in, width in pairwise((3, w, 2 * w, 4 * w, 8 * w)):
        count.conv(width_in, width, 3, step)
    count.linear(8 * w)


def counted_resnet8(count, w, step, depth=1, stages=3):
    count.conv(3, w, 3, step)
    widths = [w] + [w * 2**stage for stage in range(stages)]
    for stage, (width_in, width) in enumerate(pairwise(widths)):
        pair(count, width_in, width, 2 if stage else 1)
        for _ in range(depth - 1):
            pair(count, width, width, 1)
    count.linear(widths[-1])


def counted_resnet18(count, w, step):
    counted_resnet8(count, w, step, depth=2, stages=4)


def counted_fused(count, w, step):
    count.conv(3, w, 3, step)
    count.conv(w, w, 3)
    for width_in, width, stride in ((w, 2 * w, 2), (2 * w, 2 * w, 1), (2 * w, 4 * w, 2), (4 * w, 4 * w, 1)):
        count.conv(width_in, 4 * width_in, 3, stride)
        count.conv(4 * width_in, width, 1)
    count.linear(4 * w)


def counted_regnetx(count, w, step):
    count.conv(3, w, 3, step)
    blocks = [(w, w, 1), (w, 2 * w, 2), (2 * w, 2 * w, 1), (2 * w, 4 * w, 2), (4 * w, 4 * w, 1), (4 * w, 4 * w, 1)]
    for width_in, width, stride in blocks:
        if stride == 2:
            count.conv(width_in, width, 1, side=-(-count.side // 2))
        count.conv(width_in, width, 1)
        count.conv(width, width, 3, stride, groups=width // 16)
        count.conv(width, width, 1)
    count.linear(4 * w)


def counted_convnext(count, w, step):
    count.conv(3, w, 2, step, bias=1)
    for width in (w, 2 * w, 4 * w):
        if width > w:
            count.params += width  # scale and shift of the norm of half as many channels
            count.conv(width // 2, width, 2, 2, norm=0, bias=1)
        for _ in range(2):
            count.conv(width, width, 3, groups=width, bias=1)
            count.conv(width, 4 * width, 1, norm=0, bias=1)
            count.conv(4 * width, width, 1, norm=1, bias=1)  # the one is layer scale
    count.params += 8 * w  # the norm of the head
    count.linear(4 * w)


@every_network
@pytest.mark.parametrize("size", [64, 33])
def test_has_the_counts_of_the_formula(network, size):
    kind, width, step = parts_of(network.name)
    count = Counter(size)
    globals()[f"counted_{kind}"](count, width, step)
    found = cost(network.blueprint, size)
    assert network.params == found.params == count.params
    assert found.macs == count.macs
    if size == 64:
        assert network.macs == round(count.macs / 1e9, 5)


def test_has_the_counts_that_were_measured_before():
    # three basic blocks 16/32/64 behind a stem of stride 2, one channel, ten classes: 78k parameters, 2.55 and 0.69 MMACs
    table = replace(resnet8(16, 2), classes=10)
    found = cost(table, 28)
    assert round((found.params - 2 * 9 * 16) / 1000) == 78
    assert (found.macs - 2 * 9 * 16 * 14**2) / 1e6 == pytest.approx(2.55, abs=0.01)


# --- in use ---------------------------------------------------------------------------------------------------------------


@every_kind
@pytest.mark.parametrize("size", [24, 31, pytest.param(45, marks=pytest.mark.slow), pytest.param(128, marks=pytest.mark.slow)])
def test_learns_from_pictures_of_any_small_size(name, size):
    torch.manual_seed(0)
    network = replace(network_named(name).blueprint, classes=3).build().to(memory_format=torch.channels_last).train()
    images = torch.randint(256, (2, 3, size, size), dtype=torch.uint8).contiguous(memory_format=torch.channels_last)
    with torch.autocast("cpu", torch.bfloat16, enabled=size % 2 == 1):
        maps, extras = network.borders(images)
        logits = network.head(maps, extras)
    logits.float().square().sum().backward()
    assert logits.shape == (2, 3)
    assert all(x.is_contiguous(memory_format=torch.channels_last) for x in maps)
    assert all(parameter.grad is not None and parameter.grad.isfinite().all() for parameter in network.parameters())
    strides = network.blueprint.border_strides
    assert [x.shape[2] for x in maps] == [pytest.approx(size / stride, abs=1) for stride in strides]


@every_network
def test_last_maps_of_the_smallest_pictures_have_more_than_one_place(network):
    assert math.ceil(24 / network.blueprint.border_strides[-1]) >= 2


@every_kind
def test_knows_nothing_at_first(name):
    torch.manual_seed(0)
    network = replace(network_named(name).blueprint, classes=10).build().train()
    first_values(network, None, [str(number) for number in range(10)])
    with torch.no_grad():
        logits = network(torch.randint(256, (4, 3, 32, 32), dtype=torch.uint8))
    loss = F.cross_entropy(logits, torch.full_like(logits, 0.1)).item()
    assert loss == pytest.approx(math.log(10), rel=0.03)


def test_claims_no_accuracy():
    assert all(network.top1 is None and network.blueprint.source == network.note == "ours" for network in NETWORKS)
