import math

import pytest
import torch

from paretina.measure.plan import Plan
from paretina.run import Run
from paretina.train.journal import Journal
from paretina.train.ranks import Ranks
from paretina.train.step import Made


@pytest.fixture
def journal(tmp_path):
    def make(ranks=Ranks(), device="cpu"):  # noqa: B008
        made = Journal(Run.create(tmp_path / "run", {}), ranks, device, heard.append)
        made.heard = heard
        return made

    heard = []
    return make


def losses(**parts):
    return {name: torch.tensor(value) for name, value in parts.items()}


def test_a_line_goes_to_the_log_and_to_whoever_listens(journal):
    made = journal()
    made.tell("val", 3, top1=50.0)
    assert made.heard == [{"event": "val", "step": 3, "top1": 50.0}]
    assert list(made.run.lines()) == [{"event": "val", "step": 3, "attempt": 0, "top1": 50.0}]


def test_only_the_first_process_writes(journal):
    made = journal(Ranks(rank=1, count=2))
    made.tell("note", 1, message="hello")
    made.left_out(1, ["a.jpg: gone"])
    assert made.heard == []
    assert list(made.run.lines()) == []
    assert list(made.faults) == ["a.jpg: gone"]  # for the result, where all processes come together


def test_the_loss_is_the_sum_of_its_parts(journal):
    made = journal()
    made.seen = 64
    made.train(8, losses(CrossEntropy=1.5, Distill=0.25), lr=0.1)
    (line,) = made.heard
    assert line["train/loss"] == 1.75
    assert (line["train/loss/CrossEntropy"], line["train/loss/Distill"]) == (1.5, 0.25)
    assert line["throughput/img_s"] == pytest.approx(64 / line["time_s"])
    assert line["mem/peak_mb"] > 0


def made_update(seen=1, faults=(), changed=(), **parts):
    return Made(losses(**parts), {}, {}, seen, faults, changed, None)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_loss_that_is_no_number_is_named(journal, value):
    made = journal()
    made.take(6, made_update(CrossEntropy=1.0, Distill=0.5))
    made.take(7, made_update(CrossEntropy=value, Distill=0.5))
    made.take(8, made_update(CrossEntropy=value, Distill=0.25))
    with pytest.raises(
        FloatingPointError, match=rf"loss is {value} at step 7; parts: {{'CrossEntropy': {value}, 'Distill': 0.5}}"
    ):
        made.check()


def test_losses_are_looked_at_once(journal):
    made = journal()
    made.check()
    for step in range(40):
        made.take(step, made_update(seen=3, CrossEntropy=1.0))
    assert len(made.unseen) == 40
    made.check()
    assert made.unseen == []
    assert made.seen == 120


def test_figures_are_logged_beside_the_losses(journal):
    made = journal()
    made.train(8, losses(CrossEntropy=1.5), losses(grad_norm=2.0), lr=0.1)
    (line,) = made.heard
    assert (line["grad_norm"], line["train/loss"], line["lr"]) == (2.0, 1.5, 0.1)


def test_a_picture_is_named_once(journal):
    made = journal()
    for step in range(3):
        made.left_out(step, ("a.jpg: gone", "b.jpg: gone")[: step + 1])
    assert [(line["step"], line["message"]) for line in made.heard] == [
        (0, "left out, because it can no longer be read: a.jpg: gone"),
        (1, "left out, because it can no longer be read: b.jpg: gone"),
    ]


def test_pauses_are_no_training_time(journal, monkeypatch):
    made = journal()
    now = made.began
    monkeypatch.setattr("paretina.train.journal.time.monotonic", lambda: now)
    now += 10
    with made.pause():
        now += 5
    made.train(1, losses(CrossEntropy=1.0))
    assert made.heard[0]["time_s"] == pytest.approx(10)


def test_pictures_that_become_unreadable_are_said_up_to_a_few(tmp_path):
    said, heard = [], []
    made = Journal(Run.create(tmp_path / "run", {}), Ranks(), "cpu", heard.append, say=said.append)
    made.left_out(3, [f"{number}.jpg: No such file" for number in range(9)])
    made.left_out(4, ["0.jpg: No such file"])
    assert [line["message"].split(": ")[1] for line in heard] == [f"{number}.jpg" for number in range(9)]
    assert said[:5] == [f"left out, because it can no longer be read: {number}.jpg: No such file" for number in range(5)]
    assert said[5:] == ["more pictures can no longer be read; the log and the report name all of them"]


def waiting(made, spent, waited):
    made.last, made.waited = made.began + spent, waited
    return made


def test_the_share_of_loading_is_logged_since_the_last_line(journal, monkeypatch):
    made = journal()
    now = made.began
    monkeypatch.setattr("paretina.train.journal.time.monotonic", lambda: now)
    for passed, waited in ((10.0, 2.0), (5.0, 4.0)):
        now += passed
        made.waited += waited
        made.train(1, losses(CrossEntropy=1.0))
    assert [line["time/data"] for line in made.heard] == pytest.approx([0.2, 0.8])


def test_a_run_that_waits_for_its_pictures_says_what_helps(journal, monkeypatch):
    monkeypatch.setattr("paretina.train.journal.cores", lambda: 8)
    made = waiting(journal(), 100.0, 45.0)
    said = made.loading(Plan(workers=2), kept=False)
    assert said.startswith("45 % of the training time was spent waiting for pictures, more than 30 %; what helps: ")
    assert "workers=8, was 2" in said
    assert "--cache-gb" in said
    assert "memory" not in made.loading(Plan(workers=8), kept=True)
    assert "--cache-gb" not in made.loading(Plan(workers=2, cache_gb=5.0), kept=False)


@pytest.mark.parametrize(("spent", "waited"), [(100.0, 29.0), (10.0, 9.0)])
def test_a_run_that_hardly_waits_or_is_short_says_nothing(journal, spent, waited):
    assert waiting(journal(), spent, waited).loading(Plan(), kept=False) == ""
