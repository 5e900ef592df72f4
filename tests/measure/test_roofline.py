import json

import pytest
import torch
from torch import nn

from paretina.measure.cost import Cost, StageCost
from paretina.measure.parts import NetworkPart
from paretina.measure.plan import Plan
from paretina.measure.roofline import Ceilings, bound, measure_ceilings, roofline, table, time_parts

CEILINGS = Ceilings("float32", gmacs_s=100.0, gb_s=10.0)


class Clock:
    """Each look takes so many seconds, in turn."""

    def __init__(self, *steps):
        self.now, self.steps, self.looks = 0.0, steps, 0

    def __call__(self):
        self.now += self.steps[self.looks % len(self.steps)]
        self.looks += 1
        return self.now


def stage(name, macs=0, moved=0, unfused=None):
    return StageCost(name, "", (), 0, macs, 0, moved, moved if unfused is None else unfused)


def counted(*stages):
    return Cost(0, 0, 0, 0, 224, stages, 0, 0)


def rows(measured, *stages, ceilings=CEILINGS, **settings):
    return {row.name: row for row in roofline(counted(*stages), measured, ceilings, **settings)}


def test_ceilings_by_hand():
    # 1e9 MACs at 100 G a second, 1e8 bytes at 10 GB a second
    assert CEILINGS.arithmetic_ms(1e9) == pytest.approx(10)
    assert CEILINGS.memory_ms(1e8) == pytest.approx(10)
    assert CEILINGS.ridge == 10


def test_ceilings_are_rates_of_the_fastest_tries():
    # every look at the clock takes a quarter of a second, so each try does, whatever it computes
    found = measure_ceilings(Plan(), seconds=1.0, sides=(8,), copied=4000, clock=Clock(0.25))
    assert found == Ceilings("float32", 8**3 / 0.25 / 1e9, 2 * 4000 / 0.25 / 1e9)


def test_the_best_of_several_products_is_the_ceiling_and_long_ones_are_left_out():
    # with equal times the larger product is the faster; the largest would take longer than a quarter of a second
    found = measure_ceilings(Plan(), seconds=1.0, sides=(4, 8, 64), copied=400, clock=Clock(0.01))
    assert found.gmacs_s == pytest.approx(8**3 / 0.01 / 1e9)


def test_ceilings_are_measured_in_the_precision_and_with_the_threads_of_the_plan(monkeypatch):
    seen = []
    product = torch.mm
    monkeypatch.setattr(
        torch, "mm", lambda a, b, out: seen.append((a.dtype, torch.get_num_threads())) or product(a, b, out=out)
    )
    before = torch.get_num_threads()
    found = measure_ceilings(Plan(precision="bfloat16", threads=2), seconds=0.1, sides=(4,), copied=400, clock=Clock(0.1))
    assert found.precision == "bfloat16"
    assert set(seen) == {(torch.bfloat16, 2)}
    assert torch.get_num_threads() == before


# --- what bounds ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arithmetic", "memory", "took", "wanted"),
    [
        (9.0, 1.0, 10.0, "arithmetic"),
        (1.0, 9.0, 10.0, "memory"),
        (3.0, 2.0, 10.0, "overhead"),
        (3.4, 2.0, 10.0, "arithmetic"),
        (1.0, 20.0, 10.0, "memory"),
        (0.0, 0.0, 1.0, "overhead"),
    ],
)
def test_a_ceiling_bounds_what_it_explains_a_third_of(arithmetic, memory, took, wanted):
    assert bound(arithmetic, memory, took) == wanted


def test_the_table_by_hand():
    found = rows(
        {"wide": 20.0, "deep": 10.0, "slow": 70.0},
        stage("wide", macs=10**8, moved=10**8),
        stage("deep", macs=9 * 10**8, moved=10**7),
        stage("slow", macs=0, moved=10**8),
    )
    assert [row.bound for row in found.values()] == ["memory", "arithmetic", "overhead"]
    assert [row.macs_share for row in found.values()] == [0.1, 0.9, 0]
    assert [row.time_share for row in found.values()] == [0.2, 0.1, 0.7]
    assert found["wide"].attained == pytest.approx(10 / 20)
    assert found["deep"].attained == pytest.approx(9 / 10)
    assert found["slow"].attained == pytest.approx(10 / 70)
    json.dumps([row.to_dict() for row in found.values()])


def test_two_bytes_a_number_move_in_half_the_time():
    low = Ceilings("bfloat16", 100.0, 10.0)
    assert rows({"a": 1.0}, stage("a", moved=10**7), ceilings=low)["a"].memory_ms == pytest.approx(0.5)
    assert rows({"a": 1.0}, stage("a", moved=10**7))["a"].memory_ms == pytest.approx(1)


def test_what_is_fused_moves_no_bytes_of_its_own():
    between = stage("a", moved=10**7, unfused=3 * 10**7)
    assert rows({"a": 1.0}, between)["a"].memory_ms == pytest.approx(3)
    assert rows({"a": 1.0}, between, fused=True)["a"].memory_ms == pytest.approx(1)


def test_every_stage_must_be_timed():
    with pytest.raises(ValueError, match="each stage must be timed, but there is no time for b"):
        rows({"a": 1.0}, stage("a"), stage("b"))


def test_the_printed_table_has_a_line_a_stage():
    lines = table(tuple(rows({"stem": 2.0, "head": 6.0}, stage("stem", 10**8, 10**7), stage("head")).values()))
    assert len(lines) == 3
    assert " ".join(lines[1].split()) == "stem 100.0 M 100.0 % 2.000 25.0 % 1.000 ms 1.000 ms 50 % arithmetic"


# --- stages ---------------------------------------------------------------------------------------------------------------


def test_time_between_two_borders_belongs_to_the_later_part_and_the_end_to_the_last():
    clock = Clock(0.0)

    class Network(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = nn.Identity(), nn.Identity()

        def forward(self, x):
            clock.now += 1.0  # before the first part
            x = self.a(x)
            clock.now += 20.0  # between both
            x = self.b(x)
            clock.now += 300.0  # behind the last
            return x

    network = Network()
    parts = (NetworkPart("a", "", network.a), NetworkPart("b", "", network.b))
    found = time_parts(parts, lambda: network(torch.ones(1)), rounds=1, clock=clock)
    assert found == {"a": pytest.approx(1000), "b": pytest.approx(320_000)}


def test_parts_have_the_median_of_their_runs():
    clock = Clock(0.0)
    durations = iter([1.0, 2.0, 3.0, 50.0, 4.0])  # the first two runs only make it warm

    class Slow(nn.Module):
        def forward(self, x):
            clock.now += next(durations)
            return x

    network = nn.Sequential(Slow(), nn.Identity())
    parts = (NetworkPart("slow", "", network[0]), NetworkPart("rest", "", network[1]))
    found = time_parts(parts, lambda: network(torch.ones(1)), rounds=3, clock=clock)
    assert found == {"slow": pytest.approx(4000), "rest": 0}


def test_runs_end_with_the_time_but_not_before_the_third():
    clock, runs = Clock(0.0), []
    network = nn.Sequential(nn.Identity())

    def run():
        runs.append(1)
        clock.now += 1.0
        return network(torch.ones(1))

    time_parts((NetworkPart("a", "", network[0]),), run, seconds=0.5, clock=clock)
    assert len(runs) == 2 + 3
    time_parts((NetworkPart("a", "", network[0]),), run, seconds=5.5, clock=clock)
    assert len(runs) == 5 + 2 + 6
