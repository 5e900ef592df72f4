import sys
from types import SimpleNamespace

import pytest

from paretina.measure.energy import EnergyCounter, Nvml, counter_of, measure_energy, rapl


class Clock:
    """A clock that only `sleep` moves."""

    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now

    def sleep(self, seconds):
        self.now += seconds


class Meter(EnergyCounter):
    """Some watts when idle, and joules for each step."""

    name = "meter"

    def __init__(self, clock, idle, step):
        self.clock, self.idle, self.step, self.steps = clock, idle, step, 0

    def joules(self):
        return self.idle * self.clock() + self.step * self.steps


def measured(idle, step, images=4):
    clock = Clock()
    meter = Meter(clock, idle, step)

    def run():
        clock.sleep(0.5)
        meter.steps += 1

    return measure_energy(run, images, meter, seconds=10.0, idle=2.0, clock=clock, sleep=clock.sleep)


def package(root, number, energy, largest=1_000_000, name="package-0"):
    folder = root / f"intel-rapl:{number}"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "name").write_text(f"{name}\n")
    (folder / "energy_uj").write_text(f"{energy}\n")
    (folder / "max_energy_range_uj").write_text(f"{largest}\n")
    return folder


def test_energy_of_an_image_with_and_without_what_idling_takes():
    # 20 steps of 0.5 s and 4 images: 8 J a step above 6 W of idling
    found = measured(idle=6.0, step=8.0)
    assert found.image_j == pytest.approx((20 * 8 + 10 * 6) / 80)
    assert found.above_idle_j == pytest.approx(20 * 8 / 80)
    assert found.counter == "meter"


def test_a_counter_that_stands_still_is_no_measurement():
    assert measured(idle=0.0, step=0.0) is None


def test_packages_are_summed_and_what_is_inside_them_is_not(tmp_path):
    first, second = package(tmp_path, 0, 100), package(tmp_path, 1, 200)
    package(tmp_path, "0:0", 5)
    counter = rapl(tmp_path)
    assert counter.joules() == 0
    (first / "energy_uj").write_text("700100")
    (second / "energy_uj").write_text("300200")
    assert counter.joules() == pytest.approx(1.0)


def test_the_platform_is_not_counted_beside_its_packages(tmp_path):
    first, whole = package(tmp_path, 0, 0), package(tmp_path, 1, 0, name="psys")
    counter = rapl(tmp_path)
    (first / "energy_uj").write_text("500000")
    (whole / "energy_uj").write_text("900000")
    assert counter.joules() == pytest.approx(0.5)


def test_the_platform_alone_is_counted(tmp_path):
    whole = package(tmp_path, 0, 0, name="psys")
    counter = rapl(tmp_path)
    (whole / "energy_uj").write_text("900000")
    assert counter.joules() == pytest.approx(0.9)


def test_a_counter_that_wraps_around_goes_on(tmp_path):
    folder = package(tmp_path, 0, 900_000)
    counter = rapl(tmp_path)
    (folder / "energy_uj").write_text("100000")
    assert counter.joules() == pytest.approx(0.2)
    (folder / "energy_uj").write_text("50000")
    assert counter.joules() == pytest.approx(0.2 + 0.95)


def test_without_a_counter_there_is_none(tmp_path):
    assert rapl(tmp_path) is None
    assert counter_of("mps") is None
    folder = package(tmp_path, 0, 1)
    (folder / "energy_uj").unlink()
    assert rapl(tmp_path) is None


def test_a_gpu_is_asked_in_millijoules(monkeypatch):
    calls = []
    library = SimpleNamespace(
        nvmlInit=lambda: calls.append("init"),
        nvmlDeviceGetHandleByUUID=lambda uuid: calls.append(uuid) or "handle",
        nvmlDeviceGetTotalEnergyConsumption=lambda handle: {"handle": 2500}[handle],
    )
    monkeypatch.setitem(sys.modules, "pynvml", library)
    assert Nvml("GPU-1").joules() == 2.5
    assert calls == ["init", "GPU-1"]


def test_a_gpu_without_its_library_has_no_counter(monkeypatch):
    monkeypatch.setitem(sys.modules, "pynvml", None)
    assert counter_of("cuda:0") is None
