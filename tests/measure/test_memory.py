import pytest
import torch

from paretina.measure import memory
from paretina.measure.memory import peak_mb, peak_of

resettable = pytest.mark.skipif(not memory.forget_peak(), reason="this system cannot tell the peak of a part of a process")


def allocate(megabytes):
    return torch.ones(megabytes << 18)


@resettable
def test_the_peak_is_what_was_allocated_whatever_was_needed_before():
    allocate(150)
    assert peak_of(lambda: allocate(50)) == pytest.approx(50, abs=3)
    assert peak_of(lambda: allocate(50)) == pytest.approx(50, abs=3)


@resettable
def test_the_peak_counts_what_was_freed_again():
    def spike():
        allocate(60)
        return allocate(10)

    assert 57 < peak_of(spike) < 73  # whether freed memory is given back before the next is taken is the allocator's choice


def test_what_a_system_cannot_tell_is_none(monkeypatch, tmp_path):
    monkeypatch.setattr(memory, "PROCESS", tmp_path / "nothing")
    assert peak_of(lambda: allocate(1)) is None
    assert peak_of(lambda: 0, "mps") is None


def test_the_largest_memory_so_far_never_falls():
    before = peak_mb()
    allocate(1)
    assert peak_mb() >= before > 10
