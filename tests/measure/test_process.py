import os

import pytest

from paretina.measure.process import spin_briefly


def spun(monkeypatch, **asked):
    """What the environment says after it, of what was asked before."""
    for name in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT"):
        monkeypatch.setenv(name, "")  # so that it is put back
        monkeypatch.delenv(name)
    for name, value in asked.items():
        monkeypatch.setenv(name, value)
    spin_briefly()
    return {name: os.environ[name] for name in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT") if name in os.environ}


def test_threads_that_wait_spin_for_a_moment_and_then_sleep(monkeypatch):
    assert spun(monkeypatch) == {"OMP_WAIT_POLICY": "PASSIVE", "GOMP_SPINCOUNT": "5000"}


@pytest.mark.parametrize("asked", [{"OMP_WAIT_POLICY": "ACTIVE"}, {"GOMP_SPINCOUNT": "0"}])
def test_what_the_user_says_of_it_stays(monkeypatch, asked):
    assert spun(monkeypatch, **asked) == asked
