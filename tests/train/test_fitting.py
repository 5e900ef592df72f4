"""A batch by the memory of the device, with its learning rate."""

import json
from dataclasses import replace

import pytest
from click.testing import CliRunner

from paretina import verbs
from paretina.cli import main
from paretina.clock import Clock
from paretina.measure.machine import Device
from paretina.train.fitting import SMALL, FittingBatch, extrapolated, fitting_steps
from paretina.verbs import batching
from tiny import noise_npz


@pytest.fixture
def gpu(monkeypatch):
    """A device of which sizes are tried."""
    monkeypatch.setattr(Device, "wait", lambda self: None)
    return replace(Device.here("cpu"), device="cuda", name="a GPU")


@pytest.mark.parametrize(
    ("most", "room", "batch", "fits"),
    [(6250, 1000, 512, 1000), (6250, 140, 64, 140), (6250, 1, 1, 1), (125, 10_000, 64, 125), (1, 10_000, 1, 1)],
)
def test_the_largest_power_of_two_that_fits_is_taken(most, room, batch, fits, gpu):
    tried = []

    def make(size):
        def step():
            tried.append(size)
            if size > room:
                raise RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB")

        return step

    found = fitting_steps(make, gpu, most)
    assert (found.batch, found.how) == (batch, "tried")
    assert fits / 2 <= found.fits <= fits
    assert max(tried) <= 4 * most


@pytest.mark.parametrize(
    ("error", "said"),
    [
        ("CUDA out of memory", "not even one picture an update fits into the memory of a GPU; lower size"),
        ("a kernel is missing", "a kernel is missing"),
    ],
)
def test_an_error_of_the_first_picture(error, said, gpu):
    def make(size):
        def step():
            raise RuntimeError(error)

        return step

    with pytest.raises((ValueError, RuntimeError), match=said):
        fitting_steps(make, gpu, 100)


@pytest.mark.parametrize(
    ("low", "high", "free", "fits"),
    [
        (100.0, 100.0 + 2 * SMALL, 1100.0, 500 + SMALL),
        (100.0, 100.0, 50.0, 0),
        (100.0, 90.0, 500.0, 4096),
        (1.0, 33.0, 1e9, 4096),
    ],
)
def test_memory_is_continued_in_a_straight_line(low, high, free, fits):
    assert extrapolated(low, high, free, 4096) == fits


def test_the_learning_rate_is_scaled_with_the_batch(tmp_path, monkeypatch):
    data = noise_npz(tmp_path / "noise.npz", 48, 9)
    monkeypatch.setattr(batching, "fitting_batch", lambda prepared, device: FittingBatch(256, 300, "tried", 5000))
    clock = Clock(5, 10, 10.0)
    for recipe in ("plain", "efficientnet"):  # the latter scales by itself
        before = verbs.ask(data, "resnet8_w16_s2", recipe, "none", "cpu", fields={"batch_size": 64})
        old = before.asked.recipe.optimizer.rate_at(clock, 64)
        after = verbs.fitted(before)
        new = after.asked.recipe
        assert new.batch_size == 256
        assert new.optimizer.rate_at(clock, 256) / old == pytest.approx(4.0)
        assert after.said[-1] == (
            "batch: 256 pictures an update, in place of 64: about 300 fit into memory (tried); the learning rate is 4 times as "
            "high"
        )


@pytest.mark.slow
def test_the_command_finds_a_batch_and_says_it(tmp_path):
    data = noise_npz(tmp_path / "noise.npz", 96, 9, contrast=40)
    given = ["train", data, "--model", "resnet8_w16_s2", "--weights", "none", "--recipe", "plain", "--device", "cpu"]
    given += ["epochs=1", "size=16", "workers=0", "precision=float32", "--output", str(tmp_path / "run")]
    result = CliRunner().invoke(main, [*given, "--batch", "auto"], prog_name="paretina")
    assert result.exit_code == 0, result.output
    said = " ".join(result.stderr.split())
    assert "batch: 64 pictures an update, as the recipe has it: at least 64 fit into memory (extrapolated)" in said
    assert "the learning rate stays" in said
    assert json.loads((tmp_path / "run" / "asked.json").read_text())["recipe"]["batch_size"] == 64  # few pictures lower it not


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--batch", "many"], "--batch takes a number of pictures, at least 1, or auto, got 'many'"),
        (["--batch", "0"], "at least 1"),
        (["--batch", "auto", "batch_size=8"], "the batch is given twice, as --batch auto and as batch_size; leave one out"),
    ],
)
def test_what_cannot_be_is_refused(words, said, tmp_path):
    data = noise_npz(tmp_path / "noise.npz", 48, 9)
    result = CliRunner().invoke(main, ["train", data, "--output", str(tmp_path / "run"), *words], prog_name="paretina")
    assert result.exit_code == 2
    assert said in " ".join(result.stderr.split())
    given = dict(each.split("=") for each in words[2:])
    with pytest.raises(verbs.MisuseError, match="batch"):
        verbs.with_batch(given, words[1])


def test_several_processes_are_refused(tmp_path, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    choice = verbs.ask(noise_npz(tmp_path / "noise.npz", 48, 9), "resnet8_w16_s2", "plain", "none", "cpu")
    with pytest.raises(verbs.MisuseError, match="torchrun has started several; give a number"):
        verbs.fitted(choice)
