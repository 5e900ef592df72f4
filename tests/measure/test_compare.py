"""The whole way on tiny networks; a fake clock makes every step take as long as its images."""

import itertools
import json
import math
from dataclasses import replace

import pytest
import torch
from torch import nn

from paretina.measure import compare as module
from paretina.measure.compare import measure_models
from paretina.measure.opened import Opened
from paretina.model.blueprint import Preprocessing
from paretina.model.fold import fold


def foreign(name="other"):
    network = nn.Sequential(nn.Conv2d(3, 4, 3, 2), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3))

    class Scaled(nn.Module):
        def __init__(self):
            super().__init__()
            self.network = network

        def forward(self, images):
            return self.network(images.float() / 255)

    return Opened(name, Scaled(), None, Preprocessing(), 16, 3, False)


@pytest.fixture
def fake_clock(monkeypatch):
    """Every look at a clock is a hundredth of a second later, and memory is not looked at."""
    ticks = itertools.count()
    original = module.Turns

    def turns(**settings):
        return original(**{**settings, "clock": lambda: next(ticks) / 100})

    monkeypatch.setattr(module, "Turns", turns)
    monkeypatch.setattr(module, "measure_ceilings", lambda plan, **_: module.Ceilings(plan.precision, 100.0, 10.0))
    monkeypatch.setattr("paretina.measure.timing.peak_of", lambda run, device: None)


@pytest.fixture
def measured(opened):
    """Measures networks by their names."""
    made = {"tiny": opened, "other": foreign, "spectral": spectral}

    def measure(*names, **settings):
        settings = {"rounds": 2, "seconds": 1.0, "batch": 2, "use_cache": False, "fold": fold, **settings}
        return measure_models(names, "cpu", open_one=lambda name, size: made[name](name), **settings)

    return measure


@pytest.mark.slow
@pytest.mark.usefixtures("fake_clock")
def test_two_networks_side_by_side(measured):
    found = measured("tiny", "other")
    ours, theirs = found.models
    assert [row.name for row in ours.stages] == ["stem", "stage 1", "head"]
    assert [row.name for row in theirs.stages] == ["0", "1", "2", "3", "4"]
    assert sum(row.macs for row in ours.stages) == 2 * ours.cost.macs
    assert sum(row.time_share for row in theirs.stages) == pytest.approx(1)
    assert ours.timing.plan.batch == 2
    assert (ours.timing.inference.batch, ours.timing.training.batch) == (2, 2)
    assert theirs.cost.params == 4 * 27 + 4 + 5 * 3
    assert len(found.table()) == 3
    assert len({len(line) for line in found.table()}) == 1
    assert math.isfinite(ours.timing.latency.p50.value)


class Spectral(nn.Module):
    def __init__(self, network):
        super().__init__()
        self.network = network

    def forward(self, images):
        return self.network(torch.fft.fft2(images.float()).real)


def spectral(name):
    opened = foreign(name)
    return replace(opened, network=Spectral(opened.network))


@pytest.mark.usefixtures("fake_clock")
def test_operators_that_the_macs_lack_are_in_the_notes_and_the_row(measured):
    tiny, odd = measured("tiny", "spectral", training=False).models
    assert odd.cost.uncounted == ("aten::_fft_c2c",)
    missing = "the MACs do not include aten::_fft_c2c: there is no formula for what is multiplied there"
    assert missing in odd.notes
    assert missing not in tiny.notes
    assert (tiny.row()["uncounted"], odd.row()["uncounted"]) == ("", "aten::_fft_c2c")


@pytest.mark.slow
@pytest.mark.usefixtures("fake_clock")
def test_the_result_is_plain_json_with_every_sample(measured):
    data = json.loads(json.dumps(measured("tiny").to_dict()))
    assert data["device"]["torch"] == torch.__version__
    (model,) = data["models"]
    assert len(model["timing"]["latency"]["samples_ms"]) == 2
    assert model["timing"]["plan"]["kind"] == "InferencePlan"
    assert model["cost"]["intensity"] == pytest.approx(2 * model["cost"]["macs"] / model["cost"]["bytes_moved"])
    assert not model["trained"]


@pytest.mark.usefixtures("fake_clock")
def test_rows_have_equal_columns_whether_trained_or_not(measured):
    with_training, without = measured("tiny"), measured("tiny", training=False)
    assert without.models[0].timing.training is None
    rows = replace(with_training, models=(*with_training.models, *without.models)).rows()
    assert rows[0].keys() == rows[1].keys()
    assert rows[0]["training_img_s"] > 0
    assert rows[1]["training_img_s"] is None
    assert not any(isinstance(value, list | dict | tuple) for row in rows for value in row.values())


def test_what_has_no_meaning_is_refused(measured):
    with pytest.raises(ValueError, match="name at least one network to measure"):
        measured()
    with pytest.raises(ValueError, match="tiny is named twice; name each network once"):
        measured("tiny", "tiny")
    with pytest.raises(ValueError, match="there is no device 'tpu'"):
        measure_models(["tiny"], "tpu")


def test_a_network_that_cannot_be_run_is_named():
    broken = replace(foreign("broken"), network=nn.Linear(5, 5))
    with pytest.raises(ValueError, match="broken at 16 pixels cannot be measured: "):
        measure_models(["broken"], "cpu", open_one=lambda name, size: broken)
