import json
import warnings
from dataclasses import replace

import pytest

from paretina.measure.machine import Device
from paretina.measure.plan import InferencePlan, Plan
from paretina.measure.plan_cache import cached_plan, keep_plan, key_of, place_of
from paretina.measure.tune import Judgement, Tried, Tuned
from paretina.model.families.efficientnet import B0
from paretina.spec import encode

HERE = Device.here("cpu")
PLAN = InferencePlan(fold=True, threads=1)
TUNED = Tuned(PLAN, (Tried(InferencePlan(), 2.0, (2.0,)), Tried(PLAN, 1.0, (1.0,), Judgement(9, 1.0, 0.0, 0.0))), 8, 3.5, 2.0)


def key(device=HERE, network=B0, **use):
    return key_of(device, encode(network), **{"use": "inference", "batch": 8, **use})


def test_what_was_kept_is_found_again(tmp_path):
    assert cached_plan(key(), tmp_path) is None
    keep_plan(key(), TUNED, tmp_path)
    assert cached_plan(key(), tmp_path) == replace(TUNED, cached=True)


@pytest.mark.parametrize(
    "other",
    [
        key(device=replace(HERE, torch="9.9")),
        key(device=replace(HERE, name="another processor")),
        key(device=replace(HERE, threads=77)),
        key(device=replace(HERE, paretina="9.9")),
        key(network=replace(B0, classes=7)),
        key(use="training"),
        key(batch=9),
    ],
)
def test_another_device_version_network_or_use_has_its_own_plan(tmp_path, other):
    keep_plan(key(), TUNED, tmp_path)
    assert cached_plan(other, tmp_path) is None


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "{}",
        "null",
        '{"key": 1}',
        '{"key": {}, "tuned": {}}',
        "\x00\x01",
        "[" * 100_000,
    ],
)
def test_a_damaged_file_is_ignored_with_a_warning(tmp_path, text):
    keep_plan(key(), TUNED, tmp_path)
    place_of(key(), tmp_path).write_text(text)
    with pytest.warns(UserWarning, match="is damaged and was ignored"):
        assert cached_plan(key(), tmp_path) is None


def test_a_plan_of_another_release_is_ignored_with_a_warning(tmp_path):
    keep_plan(key(), TUNED, tmp_path)
    place = place_of(key(), tmp_path)
    data = json.loads(place.read_text())
    data["tuned"]["plan"]["colour"] = "blue"
    place.write_text(json.dumps(data))
    with pytest.warns(UserWarning, match="InferencePlan has no field 'colour'"):
        assert cached_plan(key(), tmp_path) is None


def test_a_file_about_something_else_is_ignored_with_a_warning(tmp_path):
    keep_plan(key(), TUNED, tmp_path)
    place_of(key(), tmp_path).rename(place_of(key(batch=9), tmp_path))
    with pytest.warns(UserWarning, match="it is about something else"):
        assert cached_plan(key(batch=9), tmp_path) is None


def test_a_folder_that_cannot_be_written_is_a_warning(tmp_path):
    (tmp_path / "plans").write_text("a file stands in the way")
    with pytest.warns(UserWarning, match="the plan cannot be cached in"):
        keep_plan(key(), TUNED, tmp_path)


def test_a_plan_of_training_is_kept_too(tmp_path):
    tuned = Tuned(Plan(), (Tried(Plan(), 1.0),), 2, 1.0, 1.0)
    keep_plan(key(), tuned, tmp_path)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert cached_plan(key(), tmp_path).plan == Plan()


def test_the_variable_names_another_folder(monkeypatch, tmp_path):
    monkeypatch.setenv("PARETINA_CACHE", str(tmp_path))
    keep_plan(key(), TUNED)
    assert [path.suffix for path in (tmp_path / "plans").iterdir()] == [".json"]
    assert cached_plan(key()).plan == PLAN
