"""Damaged files of every format: read or named, and every way to read them says the same."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from paretina.data.check import check
from paretina.data.pictures import read_pictures
from paretina.data.sources.folder import Folder

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture(scope="module")
def damaged():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(BENCHMARKS))
        yield __import__("damaged")
        sys.modules.pop("damaged", None)


def test_every_ending_has_a_good_file(damaged):
    from paretina.data.decode import SUFFIXES

    found = {each.suffix for each in damaged.originals()}
    assert found - SUFFIXES == set()
    assert SUFFIXES - found == {".jpx"}  # JPEG 2000 under another name


@pytest.mark.slow
def test_a_hundred_damaged_files(damaged, tmp_path, monkeypatch, capfd):
    monkeypatch.setattr(damaged, "CLAIMS", tuple(each for each in damaged.CLAIMS if each != (13000, 13000)))  # takes seconds
    good = damaged.write_set(tmp_path / "set", 100, 3)
    found = damaged.one_by_one(tmp_path / "set", tmp_path / "at.txt")
    assert not [each for each in found.items() if each[1].startswith("DISAGREES") or "good-" in each[0]]
    assert all(found.values())
    assert 30 < len(found) < 90
    assert damaged.by_loader(tmp_path / "set", tmp_path / "at.txt") == found
    collection = Folder(path=str(tmp_path / "set")).open()
    report = check(collection)
    assert report.faults == found
    assert report.samples == 100 + good
    monkeypatch.setenv("PARETINA_CACHE", str(tmp_path / "cache"))
    for _ in range(2):  # built, and found again
        faults = {}
        for split in ("train", "val"):
            shown = read_pictures(collection, collection.split(split), 64, 0, 16, 64, cache_bytes=1 << 30)
            faults |= shown.damaged
            assert len(shown) + len(shown.damaged) == len(collection.split(split))
        assert faults.keys() == found.keys()
    assert "ecode" not in capfd.readouterr().err  # what libraries print


@pytest.mark.slow
def test_some_hundred_damaged_files_through_the_commands(tmp_path):
    command = [
        sys.executable,
        str(BENCHMARKS / "damaged.py"),
        "--count",
        "300",
        "--seed",
        "5",
        "--keep",
        str(tmp_path / "kept"),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "no crash, no hang, each named, all ways agree" in done.stdout
    result = json.loads((tmp_path / "kept" / "train" / "result.json").read_text())
    assert len(result["data"]["damaged"]) > 100
