import pytest
from tests.tiny import row, tiny_blueprint

from paretina.model.blueprint import Chain
from paretina.model.family import networks
from paretina.search.architecture.latency_table import (
    LatencyTable,
    LongTableError,
    fit,
    needed,
    steps_within,
    table_of,
    time_more,
    time_table,
)
from paretina.search.architecture.spaces.efficientnetv2 import EfficientNetV2Space

SMALL, DEEP, WIDE = tiny_blueprint(), tiny_blueprint(row(3, 8, 2)), tiny_blueprint(row(1, 16, 2))


def test_the_fit_by_hand():
    # 0.5 ms fixed, and units that take 0.8 of what they take alone
    sums = [1.0, 2.0, 5.0]
    assert fit(sums, [0.5 + 0.8 * value for value in sums]) == pytest.approx((0.5, 0.8))


def test_without_spread_the_fit_is_a_factor():
    assert fit([2.0, 2.0, 2.0], [3.0, 3.0, 3.0]) == pytest.approx((0.0, 1.5))
    assert fit([1.0, 2.0], [2.0, 4.0]) == pytest.approx((0.0, 2.0))


def test_a_falling_line_is_noise():
    fixed, slope = fit([1.0, 2.0, 3.0], [3.0, 2.0, 1.0])
    assert fixed == 0.0
    assert slope > 0


def test_equal_blocks_at_equal_places_are_one_unit():
    units = needed(DEEP)
    assert len(units) == 5  # stem, three blocks, head
    assert len({unit.key for unit in units}) == 4
    assert [unit.rows for unit in units] == [16, 8, 4, 4, 4]
    assert {unit.key for unit in needed(SMALL)} < {unit.key for unit in units}


def test_a_prediction_is_the_line_through_the_sum():
    units = {unit.key: 1.0 for unit in needed(DEEP)}
    table = LatencyTable(units, 0.25, 0.5, (0.1, 0.3, 0.2), 1.0)
    assert table.predicted(DEEP) == pytest.approx(0.25 + 0.5 * 5)
    assert table.predicted(SMALL) == pytest.approx(0.25 + 0.5 * 3)
    assert table.error == pytest.approx(0.2)
    assert [unit.spec for unit in table.missing(WIDE)] == [WIDE.stages[0].block, WIDE.head]
    assert LatencyTable.from_dict(table.to_dict()) == table


def test_held_out_networks_do_not_enter_the_fit():
    units = {unit.key: 1.0 for network in (SMALL, DEEP, WIDE) for unit in needed(network)}
    whole = [(SMALL, 3.0), (DEEP, 5.0), (WIDE, 4.0)]
    table = table_of(units, whole, 2, False)
    assert (table.fixed_ms, table.slope) == pytest.approx((0.0, 1.0))
    assert table.errors == pytest.approx((0.25,))  # 3 for 4


def test_units_and_networks_are_timed_and_further_units_scaled():
    units = list(dict.fromkeys(unit for network in (SMALL, DEEP) for unit in needed(network)))
    table = time_table(units, [SMALL, DEEP], 1, "cpu", 0.1)
    assert set(table.units) == {unit.key for unit in units}
    assert min(table.units.values()) > 0
    assert table.predicted(DEEP) > table.predicted(SMALL) > 0
    assert len(table.errors) == 1
    more = time_more(table.missing(WIDE), SMALL, table.reference_ms, "cpu", 0.1)
    assert set(more) == {unit.key for unit in table.missing(WIDE)}


def all_chains(blueprint):
    return all(type(stage.wiring) is Chain for stage in blueprint.stages)


def test_what_is_no_chain_is_refused():
    with pytest.raises(ValueError, match="joins them in another way"):
        needed(next(each.blueprint for each in networks().values() if not all_chains(each.blueprint)))


def test_tables_of_one_space_share_units():
    space = EfficientNetV2Space(size=16, width=0.25)
    point = {f"{name}.{row}": value for row in range(1, 7) for name, value in LEAST.items()}
    one = needed(space.blueprint(point))
    other = needed(space.blueprint(point | {"kernel.6": 5}))
    differ = [a.spec for a, b in zip(one, other, strict=True) if a.key != b.key]
    assert len(differ) == 1


LEAST = {"operation": "mbconv", "kernel": 3, "expand": 1, "layers": 1}


def test_a_table_that_takes_too_long_ends_early_with_the_time_that_it_needs():
    now, made = [0.0], []

    def unit():
        now[0] += 2.0  # to make it
        made.append(1)
        return lambda: None

    make = {str(at): unit for at in range(100)}
    with pytest.raises(LongTableError) as found:
        steps_within(make, 50.0, 10.0, lambda: now[0])
    assert len(made) == 8
    assert 210 <= found.value.needs_s < 215
    assert len(steps_within(make, 300.0, 10.0, lambda: now[0])) == 100
    assert len(steps_within(make, None, 10.0, lambda: now[0])) == 100
