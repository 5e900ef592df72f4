"""GhostNet: its table."""

import pytest

from paretina.measure.cost import cost
from paretina.model.family import network_named


def test_has_the_parameters_of_the_sheet_in_each_stage():
    counted = [stage.params for stage in cost(network_named("ghostnet_100").blueprint).stages]
    # between two blocks that halve the map, the sheet has sums
    grouped = [*counted[:7], sum(counted[7:12]), counted[12], sum(counted[13:17]), counted[17]]
    head = 155_520 + 1_230_080 + 1_281_000
    assert grouped == [464, 464, 2564, 2352, 9636, 13_672, 22_920, 533_476, 362_840, 1_567_520, head]


@pytest.mark.parametrize(
    ("name", "widths", "hidden", "head"),
    [
        ("ghostnet_050", (8, 8, 12, 12, 20, 20, 40), (8, 24, 36, 36, 60, 120, 100), 480),
        ("ghostnet_130", (20, 20, 32, 32, 52, 52, 104), (20, 64, 92, 92, 156, 312, 260), 1248),
    ],
)
def test_scaled_widths_are_multiples_of_four_and_the_hidden_layer_stays(name, widths, hidden, head):
    blueprint = network_named(name).blueprint
    assert (blueprint.stem.width, *(row.width for row in blueprint.stages[:6])) == widths
    assert tuple(row.block.hidden for row in blueprint.stages[:7]) == hidden
    assert (blueprint.head.width, blueprint.head.hidden) == (head, 1280)


def test_cheap_kernels_are_three_where_the_block_has_five():
    network = network_named("ghostnet_050").blueprint.build("meta")
    body = network.stages[3][0].body
    assert body.spatial.conv.kernel_size == (5, 5)
    assert body.expand.cheap.conv.kernel_size == body.project.cheap.conv.kernel_size == (3, 3)
