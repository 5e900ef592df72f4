"""RegNetX: the rule against the tables that it made."""

import pytest

from paretina.model.families.regnet import block_widths, regnetx
from paretina.model.family import network_named


def test_widths_by_hand():
    # the line 24, 64, 104, 144 on the steps 24, 48, 96, 192; log2(64 / 24) is 1.4, nearer to one step than to two
    assert block_widths(4, 24, 40.0, 2.0) == [24, 48, 96, 192]
    # 5 * 3 = 15 is brought to a multiple of 8
    assert block_widths(2, 8, 7.0, 1.9) == [8, 16]


def test_blocks_of_equal_width_are_a_stage():
    stages = regnetx(4, 24, 12.0, 2.0, 8).stages  # 24, 36, 48, 60 on the steps 24, 48
    assert [(stage.depth, stage.width) for stage in stages] == [(1, 24), (3, 48)]


def test_a_stage_narrower_than_a_group_is_one_group():
    stages = network_named("regnetx_8_0gf").blueprint.stages
    assert [stage.width // stage.block.group_width for stage in stages] == [1, 2, 6, 16]


@pytest.mark.parametrize(
    ("name", "depths", "widths"),
    [
        ("200mf", (1, 1, 4, 7), (24, 56, 152, 368)),
        ("400mf", (1, 2, 7, 12), (32, 64, 160, 384)),
        ("400mf_tv", (1, 2, 7, 12), (32, 64, 160, 400)),
        ("600mf", (1, 3, 5, 7), (48, 96, 240, 528)),
        ("800mf", (1, 3, 7, 5), (64, 128, 288, 672)),
        ("1_6gf", (2, 4, 10, 2), (72, 168, 408, 912)),
        ("3_2gf", (2, 6, 15, 2), (96, 192, 432, 1008)),
        ("4_0gf", (2, 5, 14, 2), (80, 240, 560, 1360)),
        ("6_4gf", (2, 4, 10, 1), (168, 392, 784, 1624)),
        ("8_0gf", (2, 5, 15, 1), (80, 240, 720, 1920)),
        ("12gf", (2, 5, 11, 1), (224, 448, 896, 2240)),
        ("16gf", (2, 6, 13, 1), (256, 512, 896, 2048)),
        ("32gf", (2, 7, 13, 1), (336, 672, 1344, 2520)),
    ],
)
def test_the_rule_gives_the_published_tables(name, depths, widths):
    stages = network_named(f"regnetx_{name}").blueprint.stages
    assert tuple(stage.depth for stage in stages) == depths
    assert tuple(stage.width for stage in stages) == widths
