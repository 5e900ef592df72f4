"""A run that is killed at random moments ends as one that was not: the benchmark of it, small."""

import subprocess
import sys
from pathlib import Path

import pytest

KILLS = Path(__file__).parents[1] / "benchmarks" / "kills.py"


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="finds the processes in /proc")
@pytest.mark.parametrize(("kills", "more"), [(9, ["--cache"]), (5, ["--cache", "--ranks", "2"])], ids=["one", "two"])
def test_killed_runs_end_as_one_that_was_not(kills, more, tmp_path):
    command = [sys.executable, str(KILLS), "--kills", str(kills), "--updates", "60", "--keep", str(tmp_path / "kept"), *more]
    done = subprocess.run(command, capture_output=True, text=True, timeout=1500)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{kills} of {kills} kills struck" in done.stdout
    assert "weights, predictions and figures are equal in every bit" in done.stdout
