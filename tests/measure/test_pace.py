"""How long a network takes per image, measured once and remembered."""

import json
import math
from dataclasses import replace

import pytest

from paretina.measure import pace as module
from paretina.measure.pace import NetworkPace, pace
from paretina.measure.plan import Plan
from tiny import row, tiny_blueprint

PLAN = Plan(device="cpu", precision="float32")
BLUEPRINT = tiny_blueprint(row(1, 8, 1), row(1, 16, 2))


@pytest.fixture
def measurements(monkeypatch):
    """Every measurement, in place of one: they are numbered."""
    made = []

    def measured(model, side, plan, frozen, device, learning):
        made.append((model, side, frozen))
        return NetworkPace(float(len(made)), 0.5, side)

    monkeypatch.setattr(module, "measured", measured)
    monkeypatch.setattr(module.Others, "disturbed", lambda others, used: False)
    return made


def test_it_is_measured_on_real_updates():
    found = module.measured(BLUEPRINT, 16, PLAN, ("stem",), module.Device.here("cpu"), True)
    assert found.train_s > 0
    assert found.infer_s > 0


def test_it_is_measured_once(tmp_path, measurements):
    first = pace(BLUEPRINT, 16, PLAN, folder=tmp_path)
    assert pace(BLUEPRINT, 16, PLAN, folder=tmp_path) == first
    assert len(measurements) == 1


def test_what_a_busy_machine_gave_is_not_remembered(tmp_path, measurements, monkeypatch):
    monkeypatch.setattr(module.Others, "disturbed", lambda others, used: True)
    assert pace(BLUEPRINT, 16, PLAN, folder=tmp_path).train_s == 1.0
    assert pace(BLUEPRINT, 16, PLAN, folder=tmp_path).train_s == 2.0
    monkeypatch.setattr(module.Others, "disturbed", lambda others, used: False)
    assert [pace(BLUEPRINT, 16, PLAN, folder=tmp_path).train_s for _ in range(2)] == [3.0, 3.0]


def test_another_network_size_plan_or_frozen_part_is_measured_anew(tmp_path, measurements):
    pace(BLUEPRINT, 16, PLAN, folder=tmp_path)
    pace(replace(BLUEPRINT, classes=4), 16, PLAN, folder=tmp_path)
    pace(BLUEPRINT, 32, PLAN, folder=tmp_path)
    pace(BLUEPRINT, 16, replace(PLAN, precision="bfloat16"), folder=tmp_path)
    pace(BLUEPRINT, 16, PLAN, ("stem",), folder=tmp_path)
    assert len(measurements) == 5


@pytest.mark.parametrize("damage", ["{", "[]", '{"key": 1}', "x"])
def test_a_damaged_file_is_measured_anew(tmp_path, measurements, damage):
    first = pace(BLUEPRINT, 16, PLAN, folder=tmp_path)
    (file,) = tmp_path.rglob("*.json")
    assert json.loads(file.read_text())["pace"]["train_s"] == first.train_s
    file.write_text(damage)
    assert pace(BLUEPRINT, 16, PLAN, folder=tmp_path).train_s == 2.0


def test_a_folder_that_cannot_be_written_costs_time_alone(tmp_path, measurements):
    (tmp_path / "file").write_text("")
    assert pace(BLUEPRINT, 16, PLAN, folder=tmp_path / "file").train_s == 1.0


def test_at_another_size_it_follows_the_pixels():
    assert NetworkPace(2.0, 1.0, 64).at(128) == NetworkPace(8.0, 4.0, 128)


def test_updates_need_not_be_timed():
    found = module.measured(BLUEPRINT, 16, PLAN, (), module.Device.here("cpu"), False)
    assert math.isnan(found.train_s)
    assert found.infer_s > 0
