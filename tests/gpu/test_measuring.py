"""Time, memory and energy on a device."""

import pytest
import torch

from paretina.measure.energy import EnergyCounter, counter_of, measure_energy
from paretina.measure.machine import Device
from paretina.measure.memory import peak_of
from paretina.measure.opened import Opened, Steps
from paretina.measure.parts import parts_of
from paretina.measure.plan import InferencePlan, Plan
from paretina.measure.roofline import time_parts
from paretina.measure.timing import Turns, largest_batch, tried_batch


@pytest.fixture
def steps(tiny, device):
    opened = Opened("tiny", tiny.build(), tiny, tiny.preprocessing, 16, 3, False)
    return Steps(opened, None, device, 1)


def test_steps_are_timed_after_a_warm_up(device, steps):
    here = Device.here(device)
    plans = {"inference": steps.infer(InferencePlan(device=device))(4), "training": steps.train(Plan(device=device))(4)}
    found = Turns(rounds=3, seconds=1.0, wait=here.wait).run(plans)
    assert all(len(series.rounds) == 3 and series.p50.low > 0 for series in found.values())


def test_parts_are_timed_by_events(device, steps):
    plan = InferencePlan(device=device)
    step = steps.infer(plan)(4)
    parts = parts_of(steps.prepared(plan))
    found = time_parts(parts, step, device=device, seconds=0.5)
    assert set(found) == {part.name for part in parts}
    assert sum(found.values()) > 0


def test_peak_memory_grows_with_the_batch(device, steps):
    make = steps.train(Plan(device=device))
    make(2)()
    peaks = [peak_of(make(size), device) for size in (4, 256)]
    if None in peaks:
        pytest.skip("this system does not tell the peak memory of a part of a process")
    assert peaks[1] > peaks[0]


def test_the_largest_batch_is_found(device, steps):
    if device == "cpu":

        def make(size):
            if size > 11:
                raise MemoryError

            return lambda: None

        assert tried_batch(make, lambda: None, 1 << 14) in (10, 11)
        return
    free = torch.cuda.mem_get_info()[1]
    torch.cuda.set_per_process_memory_fraction(min(1.0, (1 << 31) / free))
    try:
        found = largest_batch(steps.train(Plan(device=device)), Device.here(device))
        assert found.how == "tried"
        assert found.batch > 8
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
        torch.cuda.empty_cache()


class Steady(EnergyCounter):
    name = "steady"

    def __init__(self):
        self.read = 0.0

    def joules(self):
        self.read += 1.0
        return self.read


def test_energy_is_read_from_the_board(device, steps):
    counter = counter_of(device)
    if counter is None and device == "cuda":
        pytest.skip("nvidia-ml-py is missing, or the board has no counter of energy")
    step = steps.train(Plan(device=device))(8)
    found = measure_energy(
        step, 8, counter or Steady(), seconds=0.05 if device == "cpu" else 2.0, idle=0.01, wait=Device.here(device).wait
    )
    assert found.image_j > 0
    assert found.counter == (counter.name if counter else "steady")
