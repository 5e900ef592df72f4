import os
import random
from contextlib import suppress

import numpy as np
import pytest
import torch

from paretina.measure import process as module
from paretina.measure.process import process_settings, randomness_kept, spin_briefly, threaded


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


# --- threads and memory -----------------------------------------------------------------------------------------------------


def test_threads_are_put_back_also_after_an_error():
    before = torch.get_num_threads()
    with process_settings(before + 2):
        assert torch.get_num_threads() == before + 2
        with threaded(before + 1):
            assert torch.get_num_threads() == before + 1
        assert torch.get_num_threads() == before + 2
    assert torch.get_num_threads() == before
    with pytest.raises(ZeroDivisionError), process_settings(before + 2):
        1 / 0  # noqa: B018
    assert torch.get_num_threads() == before


def test_a_container_with_fewer_cores_gets_fewer_threads_unless_the_user_says_otherwise(monkeypatch):
    monkeypatch.setattr(module, "cores", lambda: 2)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    with threaded(4), threaded():
        assert torch.get_num_threads() == 2
    monkeypatch.setenv("OMP_NUM_THREADS", "4")
    with threaded(4), threaded():
        assert torch.get_num_threads() == 4


def test_how_memory_is_kept_is_set_by_the_outermost_and_undone_by_it(monkeypatch):
    done = []
    monkeypatch.setattr(module, "keep_freed_memory", lambda: done.append("kept") or True)
    monkeypatch.setattr(module, "give_back_freed_memory", lambda: done.append("given back"))
    with process_settings():
        with process_settings():
            pass
        assert done == ["kept"]
    assert done == ["kept", "given back"]
    monkeypatch.setattr(module, "keep_freed_memory", lambda: False)
    with process_settings():
        pass
    assert done == ["kept", "given back"]


# --- random numbers ---------------------------------------------------------------------------------------------------------


def drawn(module):
    return {"random": random.random, "numpy": np.random.rand, "torch": lambda: torch.rand(()).item()}[module]()


@pytest.mark.parametrize("fails", [False, True])
@pytest.mark.parametrize(
    ("module", "settings"),
    # the checker of types in these tests draws of Python's own, so for that nothing may stand around it
    [("random", randomness_kept), ("numpy", process_settings), ("torch", process_settings)],
)
def test_random_numbers_go_on_as_if_nothing_had_been_drawn_also_after_an_error(module, settings, fails):
    found = []
    for touched in (False, True):
        random.seed(4)
        np.random.seed(4)
        torch.manual_seed(4)
        if touched:
            with suppress(ZeroDivisionError), settings():
                random.seed(5)
                np.random.seed(5)
                torch.manual_seed(5)
                drawn(module)
                1 / (0 if fails else 1)
        found.append(drawn(module))
    assert found[0] == found[1]
