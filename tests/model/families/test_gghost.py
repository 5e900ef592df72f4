"""G-Ghost networks: which stages change, and how."""

import pytest

from paretina.model.blueprint import Chain
from paretina.model.family import network_named, networks
from paretina.model.wirings.gghost import GGhost


@pytest.mark.parametrize(
    ("name", "split"),
    [
        ("gghost_regnetx_3_2gf", (None, (72, 120), (216, 216), None)),
        ("gghost_regnetx_4_0gf", (None, (120, 120), (270, 290), None)),
        ("gghost_regnetx_8_0gf", (None, (90, 150), (360, 360), None)),
        ("gghost_regnetx_16gf", (None, (192, 320), (384, 512), None)),
        ("gghost_regnetx_1_6gf", (None, (72, 96), (198, 210), None)),
    ],
)
def test_stages_are_split_as_in_the_sheet(name, split):
    found = []
    for row in network_named(name).blueprint.stages:
        kept = row.wiring.intrinsic(row.width) if isinstance(row.wiring, GGhost) else None
        found.append(None if kept is None else (kept, row.width - kept))
    assert tuple(found) == split


def test_narrow_blocks_have_three_quarters_of_the_group_width():
    row = network_named("gghost_regnetx_3_2gf").blueprint.stages[2]
    assert row.block.group_width == 48
    assert row.wiring.narrow.group_width == row.wiring.multiple == 36


def test_first_and_short_stages_stay_plain():
    small = network_named("gghost_regnetx_600mf").blueprint
    assert [row.depth for row in small.stages] == [1, 3, 5, 7]
    assert [isinstance(row.wiring, Chain) for row in small.stages] == [True, False, False, False]


def test_what_is_not_verified_says_so():
    found = [network for network in networks().values() if network.name.startswith("gghost_resnet")]
    assert len(found) == 2
    assert all(network.top1 is None and network.note.startswith("not verified") for network in found)
