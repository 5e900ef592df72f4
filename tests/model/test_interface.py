"""Whether foreign networks fit the interface: proxy norm, LeViT and ViT, written here with nothing but the public bases.

They are trials, not plug-ins: what they show is that blocks, wirings, norms and heads that the package does not have yet can be
added without touching `blueprint.py` or `build.py`. Published counts decide.
"""

import itertools
from dataclasses import dataclass, replace

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from paretina.measure.cost import cost
from paretina.model.activations.pointwise import GELU, HardSwish, SiLU
from paretina.model.blueprint import Block, Blueprint, Head, Norm, NormUnit, Stage, Stem, Wiring
from paretina.model.families.efficientnet import B0, B3, B5
from paretina.model.layers import Residual
from paretina.model.norms.batch import BatchNorm
from paretina.model.norms.group import GroupNorm
from paretina.model.roles import roles


class ProxyUnit(NormUnit):
    ROLES = {"scale": "norm", "shift": "norm", "proxy_scale": "proxy", "proxy_shift": "proxy"}

    def __init__(self, width, activation):
        super().__init__()
        self.norm = nn.GroupNorm(1, width, eps=1e-3, affine=False)
        self.activation = activation
        self.scale = nn.Parameter(torch.empty(width))
        if activation is not None:
            self.shift = nn.Parameter(torch.empty(width))
            self.proxy_scale = nn.Parameter(torch.empty(width))
            self.proxy_shift = nn.Parameter(torch.empty(width))
            self.register_buffer("quantiles", torch.empty(200), persistent=False)

    def reset_parameters(self):
        for parameter in self.parameters():
            parameter.zero_()
        self.scale.fill_(1.0)

    def reset_buffers(self):
        if self.activation is not None:
            self.quantiles.copy_(torch.special.ndtri((torch.arange(200.0) + 0.5) / 200))

    def statistics(self):
        proxy = (1 + self.proxy_scale)[:, None] * self.quantiles + self.proxy_shift[:, None]
        acted = self.activation(self.scale[:, None] * proxy + self.shift[:, None])
        return acted.mean(1), acted.var(1, unbiased=False)

    def centred(self, x):
        if self.activation is None:
            return self.norm(x) * self.scale[:, None, None]
        acted = self.activation(torch.addcmul(self.shift[:, None, None], self.norm(x), self.scale[:, None, None]))
        return acted - self.statistics()[0][:, None, None]

    def gain(self):
        return None if self.activation is None else (self.statistics()[1] + 0.03).rsqrt()[:, None, None]


@dataclass(frozen=True, kw_only=True)
class TrialProxyNorm(Norm):
    def make(self, width, activation):
        return ProxyUnit(width, None if activation is None else activation.make(width))


def g16(blueprint, norm):
    """Groups of 16, and expansion 4 wherever there is an expansion."""
    stages = []
    for stage in blueprint.stages:
        expand = min(stage.block.expand, 4)
        stages.append(replace(stage, block=replace(stage.block, expand=expand, group_width=16)))
    return replace(blueprint, stages=tuple(stages), norm=norm)


@pytest.mark.parametrize(
    ("base", "affine", "proxy"), [(B0, 5913796, 5938484), (B3, 12590896, 12641768), (B5, 28715320, 28815624)]
)
def test_grouped_efficientnet_with_and_without_proxy_norm_has_the_published_counts(base, affine, proxy):
    assert cost(g16(base, GroupNorm(groups=1, eps=1e-3))).params == affine
    assert cost(g16(base, TrialProxyNorm())).params == proxy


def test_grouped_efficientnet_has_the_published_macs():
    assert cost(g16(B0, GroupNorm(groups=1, eps=1e-3))).macs == pytest.approx(0.6347e9, rel=0.01)


def test_proxy_statistics_are_those_of_the_sheet():
    unit = ProxyUnit(1, nn.SiLU())
    with torch.no_grad():
        unit.reset_parameters()
        unit.reset_buffers()
    mean, variance = unit.statistics()
    assert mean.item() == pytest.approx(0.206048, abs=1e-6)
    assert variance.item() == pytest.approx(0.310004, abs=1e-6)
    assert unit.gain().item() == pytest.approx(1.714977, abs=1e-5)


def test_the_gate_carries_the_gain_and_the_head_leaves_it_out():
    torch.manual_seed(0)
    network = replace(g16(B0, TrialProxyNorm()), resolution=32).build().eval()
    block = network.stages[0][0]
    x = torch.randn(1, 32, 16, 16)
    spatial = block.spatial
    pooled = block.squeeze(spatial.centred(x))
    with torch.no_grad():
        torch.testing.assert_close(block.squeeze(spatial.centred(x), spatial.gain()), pooled * spatial.gain())
        maps = network.borders(torch.rand(1, 3, 32, 32))[0]
        torch.testing.assert_close(network.head.embedding(maps, {}), network.head.unit.centred(maps[-1]).mean((2, 3)))


def test_decay_can_choose_proxy_parameters_by_role():
    found = [owned.role for owned in roles(g16(B0, TrialProxyNorm()).build("meta")).values()]
    assert found.count("proxy") == 66


# --- LeViT: attention whose bias table needs the size of the map, shrinking in the first block of a row ---------------


class Attention(nn.Module):
    ROLES = {"table": "table"}

    def __init__(self, width_in, width_out, key, heads, ratio, stride, kit):
        super().__init__()
        self.key, self.heads, self.value, self.stride = key, heads, ratio * key, stride
        (rows, columns) = kit.size
        self.queries = (-(-rows // stride), -(-columns // stride))
        both = heads * (key + self.value) + (heads * key if stride == 1 else 0)
        self.keys = kit.unit(width_in, both, act=False)
        self.query = kit.unit(width_in, heads * key, act=False) if stride > 1 else None
        self.project = kit.unit(heads * self.value, width_out, act=False)
        self.activation = nn.Hardswish()
        self.table = nn.Parameter(torch.empty(heads, rows * columns))
        self.register_buffer(
            "offsets", torch.empty(self.queries[0] * self.queries[1], rows * columns, dtype=torch.long), persistent=False
        )
        self.size = kit.size

    def reset_parameters(self):
        self.table.zero_()

    def reset_buffers(self):
        rows, columns = self.size
        ky, kx = torch.meshgrid(torch.arange(rows), torch.arange(columns), indexing="ij")
        qy, qx = ky[:: self.stride, :: self.stride], kx[:: self.stride, :: self.stride]
        dy = (qy.flatten()[:, None] - ky.flatten()[None]).abs()
        dx = (qx.flatten()[:, None] - kx.flatten()[None]).abs()
        self.offsets.copy_(dy * columns + dx)

    def forward(self, x):
        batch = len(x)
        split = self.keys(x).flatten(2).unflatten(1, (self.heads, -1))  # b c h w -> b head c token
        if self.query is None:
            q, k, v = split.split((self.key, self.key, self.value), dim=2)
        else:
            k, v = split.split((self.key, self.value), dim=2)
            q = self.query(x[:, :, :: self.stride, :: self.stride]).flatten(2).unflatten(1, (self.heads, -1))
        scores = q.transpose(2, 3) @ k * self.key**-0.5 + self.table[:, self.offsets]
        out = v @ scores.softmax(-1).transpose(2, 3)
        return self.project(self.activation(out.flatten(1, 2).reshape(batch, -1, *self.queries)))


@dataclass(frozen=True, kw_only=True)
class TrialLevit(Block):
    key: int
    heads: int

    def make(self, width_in, width_out, stride, kit):
        if stride > 1:
            attention = Attention(width_in, width_out, self.key, width_in // self.key, 4, stride, kit)
        else:
            body = Attention(width_in, width_out, self.key, self.heads, 2, 1, kit)
            attention = Residual(body, body.project.norm)
        last = kit.unit(2 * width_out, width_out, act=False)
        return nn.Sequential(attention, Residual(nn.Sequential(kit.unit(width_out, 2 * width_out), last), last.norm))


@dataclass(frozen=True, kw_only=True)
class TrialLevitStem(Stem):
    stride = 16

    def make(self, kit):
        widths = (3, self.width // 8, self.width // 4, self.width // 2, self.width)
        units = [kit.unit(a, b, 3, 2, act=b != self.width) for a, b in itertools.pairwise(widths)]
        return nn.Sequential(*units)


class TwoHeads(nn.Module):
    def __init__(self, width, classes):
        super().__init__()
        self.heads = nn.ModuleList(nn.Sequential(nn.BatchNorm1d(width), nn.Linear(width, classes)) for _ in range(2))

    def forward(self, maps, extras):
        pooled = maps[-1].mean((2, 3))
        return (self.heads[0](pooled) + self.heads[1](pooled)) / 2


@dataclass(frozen=True, kw_only=True)
class TrialTwoHeads(Head):
    def make(self, maps, classes, kit):
        return TwoHeads(maps[-1].width, classes)


def levit(key=16, widths=(128, 256, 384), heads=(4, 6, 8), depths=(2, 3, 4), resolution=224):
    rows = zip(widths, heads, depths, (1, 2, 2), strict=True)
    return Blueprint(
        source="arXiv:2104.01136",
        resolution=resolution,
        stem=TrialLevitStem(width=widths[0]),
        stages=tuple(Stage(block=TrialLevit(key=key, heads=h), depth=d + (s > 1), width=w, stride=s) for w, h, d, s in rows),
        head=TrialTwoHeads(),
        norm=BatchNorm(),
        activation=HardSwish(),
    )


def test_levit_has_the_published_counts():
    counted = cost(levit())
    assert counted.params == 7777058
    assert counted.macs == pytest.approx(0.3047e9, rel=0.01)
    assert cost(levit(32, (192, 288, 384), (3, 5, 6), (4, 4, 4))).params == 10947069


def test_levit_tables_follow_the_size_of_the_map():
    tables = [m.table.shape[1] for m in levit(resolution=192).build("meta").modules() if isinstance(m, Attention)]
    assert tables[0] == 144
    assert tables[2] == 144  # the shrinking attention: keys still at 12 x 12
    assert tables[3] == 36


def test_levit_runs_and_is_smaller_by_its_strides():
    network = levit(resolution=64, depths=(1, 1, 1)).build().eval()
    assert {stride: tuple(x.shape[2:]) for stride, x in network.features(torch.rand(2, 3, 64, 64)).items()} == {
        16: (4, 4),
        32: (2, 2),
        64: (1, 1),
    }


# --- ViT: class token and positions belong to a run of blocks, hence to a wiring ---------------------------------------


class Encoder(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.norm = nn.LayerNorm(width, eps=1e-6)
        self.qkv = nn.Linear(width, 3 * width)
        self.project = nn.Linear(width, width)
        self.mlp = nn.Sequential(
            nn.LayerNorm(width, eps=1e-6), nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width)
        )

    def forward(self, x):
        q, k, v = self.qkv(self.norm(x)).unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        x = x + self.project(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))
        return x + self.mlp(x)


@dataclass(frozen=True, kw_only=True)
class TrialEncoder(Block):
    heads: int

    def make(self, width_in, width_out, stride, kit):
        return Encoder(width_out, self.heads)


class TokenRun(nn.Module):
    ROLES = {"token": "token", "positions": "table"}

    def __init__(self, width, size, blocks):
        super().__init__()
        self.token = nn.Parameter(torch.empty(1, 1, width))
        self.positions = nn.Parameter(torch.empty(1, size[0] * size[1] + 1, width))
        self.blocks = nn.Sequential(*blocks)

    def reset_parameters(self):
        self.token.normal_(0, 0.02)
        self.positions.normal_(0, 0.02)

    def forward(self, x):
        tokens = torch.cat((self.token.expand(len(x), -1, -1), x.flatten(2).transpose(1, 2)), 1)
        tokens = self.blocks(tokens + self.positions)
        return tokens[:, 1:].transpose(1, 2).reshape(x.shape), {"token": tokens[:, 0]}


@dataclass(frozen=True, kw_only=True)
class TrialTokens(Wiring):
    def make(self, block, depth, width_in, width_out, stride, kit):
        return TokenRun(width_out, kit.size, [kit.block(block, width_out, width_out, 1) for _ in range(depth)])


@dataclass(frozen=True, kw_only=True)
class TrialPatches(Stem):
    stride = 16

    def make(self, kit):
        return kit.conv(3, self.width, 16, 16, bias=True, pad=False)


class TokenAnswer(nn.Module):
    def __init__(self, width, classes):
        super().__init__()
        self.norm = nn.LayerNorm(width, eps=1e-6)
        self.classifier = nn.Linear(width, classes)

    def forward(self, maps, extras):
        return self.classifier(self.norm(extras["token"]))


@dataclass(frozen=True, kw_only=True)
class TrialTokenHead(Head):
    def make(self, maps, classes, kit):
        return TokenAnswer(maps[-1].width, classes)


def vit(width=192, heads=3, depth=12, resolution=224):
    return Blueprint(
        source="arXiv:2010.11929",
        resolution=resolution,
        stem=TrialPatches(width=width),
        stages=(Stage(block=TrialEncoder(heads=heads), depth=depth, width=width, stride=1, wiring=TrialTokens()),),
        head=TrialTokenHead(),
        norm=BatchNorm(),
        activation=GELU(),
    )


def test_tokens_as_a_wiring_have_the_published_counts():
    assert cost(vit()).params == 5717416
    assert cost(vit()).macs == pytest.approx(1.2537e9, rel=0.01)
    assert cost(vit(384, 6)).params == 22050664


def test_token_network_names_its_only_stride():
    network = vit(depth=1, resolution=32).build().eval()
    assert network.blueprint.strides == (16,)
    assert network.blocks == 1
    with pytest.raises(ValueError, match="strides 16, not at 32"):
        network.features(torch.rand(1, 3, 32, 32), [32])


def test_norm_of_another_kind_keeps_the_activation():
    assert replace(B0, norm=GroupNorm(groups=1)).activation == SiLU()
