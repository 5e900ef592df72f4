"""The other tests, while other processes keep all cores busy: none may depend on the clock or on the load."""

import subprocess
import sys
from pathlib import Path

import pytest

from paretina.system import cores

ROOT = Path(__file__).parents[1]


@pytest.mark.busy
def test_the_suite_passes_on_a_busy_machine():
    count = max(4, 2 * cores())
    busy = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(count)]
    try:
        ended = subprocess.run(
            [sys.executable, "-m", "pytest", "-n", "2", "--dist", "worksteal", "-p", "no:cacheprovider"],
            cwd=ROOT,
            capture_output=True,
            text=True,
        )
    finally:
        for each in busy:
            each.kill()
            each.wait()
    assert ended.returncode == 0, ended.stdout[-6000:]
