from dataclasses import replace

import pytest
import torch
from torch import nn

from paretina.measure.cost import cost
from paretina.model.blocks.plain import Concatenated, groups_within, parted
from paretina.model.edits.plain import PlainOperators
from paretina.model.families.resnet import R18, R18D, R34, R50
from paretina.model.family import network_named
from paretina.model.norms.group import GroupNorm
from paretina.model.quantisers.dorefa import Dorefa
from paretina.model.rounding import bits_of


@pytest.mark.parametrize(
    ("before", "params", "gmacs"), [(R18, 20_951_080, 5.867), (R34, 38_804_392, 9.451), (R50, 160_428_328, 45.98)]
)
def test_counts_are_those_of_arch_net(before, params, gmacs):
    found = cost(PlainOperators()(before))
    assert found.params == params
    assert found.macs / 1e9 == pytest.approx(gmacs, abs=0.005)


@pytest.mark.slow
def test_two_bits_a_weight_of_the_large_one_are_more_than_int8_before():
    after = cost(replace(PlainOperators()(R50), quantiser=Dorefa()))
    before = cost(replace(R50, quantiser=Dorefa()))
    assert after.low_bit_bytes / 1e6 == pytest.approx(40.1, rel=0.06)  # the classifier, norms and scales beside them
    assert after.low_bit_bytes > before.int8_bytes


@pytest.mark.parametrize("before", [R18, R50, R18D, network_named("resnet8_w16_s2").blueprint], ids=lambda each: each.source)
def test_nothing_but_the_allowed_operators_is_left(before):
    after = PlainOperators()(before)
    network = after.build("meta")
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            assert module.kernel_size == (3, 3)
            assert module.in_channels // module.groups <= 512
        elif not list(module.children()):
            assert isinstance(module, nn.BatchNorm2d | nn.Linear | nn.ReLU | nn.MaxPool2d) or not list(module.parameters())
            assert getattr(module, "kernel_size", 2) == 2
    assert not network.residuals()
    assert [stage.output for stage in cost(after).stages] == [stage.output for stage in cost(before).stages]
    assert len(bits_of(replace(after, quantiser=Dorefa()).build("meta"))) == sum(
        isinstance(module, nn.Conv2d | nn.Linear) for module in network.modules()
    )


def test_each_group_of_a_wide_join_reads_both_branches():
    one, other = torch.zeros(1, 512, 1, 1), torch.ones(1, 512, 1, 1)
    for group in parted(one, other, 2).chunk(2, 1):
        assert group.flatten().tolist() == [0] * 256 + [1] * 256
    joins = [each for each in PlainOperators()(R50).build("meta").modules() if isinstance(each, Concatenated)]
    assert sorted({each.parts for each in joins}) == [1, 2, 4, 8]


def test_groups_divide_both_widths():
    assert [groups_within(*each) for each in ((512, 7), (1024, 256), (2048, 512), (768, 256))] == [1, 2, 4, 2]
    with pytest.raises(ValueError, match="no number of groups of at most 512 channels divides both 1024 and 7"):
        groups_within(1024, 7)


def test_what_has_no_rule_is_refused_with_its_name():
    for before, words in (
        (network_named("regnetx_w32").blueprint, "none for Bottleneck"),
        (network_named("mobilenet_v2").blueprint, "is for networks that end with a mean"),
        (replace(R18, norm=GroupNorm()), "is for networks with batch norm"),
    ):
        with pytest.raises(ValueError, match=f"PlainOperators .*{words}"):
            PlainOperators()(before)
    with pytest.raises(ValueError, match="changes nothing"):
        PlainOperators()(PlainOperators()(R18))
