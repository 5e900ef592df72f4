import io
import json

import pytest
from rich.console import Console

from paretina.progress import SPEECH, Pace, Progress, clock, noted


def line(step, time_s, seen, updates=100, **more):
    """A line of the log after `seen` pictures in `time_s` seconds of training."""
    figures = {"throughput/img_s": seen / time_s if time_s else 0.0, "train/loss": 0.5, "mem/peak_mb": 1234.0}
    return {"event": "train", "step": step, "updates": updates, "epoch": step / 10, "time_s": time_s, **figures, **more}


def val(step, top1, **more):
    return {"event": "val", "step": step, "epoch": step / 10, "val/top1": top1, "val/loss": 1.0, **more}


def pace_of(*lines):
    pace = Pace()
    for each in lines:
        pace.train(each)
    return pace


# --- pace -------------------------------------------------------------------------------------------------------------------


def test_throughput_is_that_of_late_and_not_since_the_start():
    # 10 pictures a second for 100 s, then 40 a second: the window of 30 s has forgotten the slow start
    slow = [line(step=s, time_s=float(s), seen=10 * s) for s in range(1, 101)]
    fast = [line(step=100 + s, time_s=100.0 + s, seen=1000 + 40 * s) for s in range(1, 41)]
    assert pace_of(*slow).throughput() == pytest.approx(10.0)
    assert pace_of(*slow, *fast).throughput() == pytest.approx(40.0)


def test_one_line_says_nothing_about_the_pace():
    pace = pace_of(line(step=1, time_s=5.0, seen=10))
    assert pace.throughput() is None
    assert pace.left(1, 100) is None
    assert pace.left(1, 1) == 0.0


def test_the_slow_first_update_does_not_count():
    # the first update takes 10 s, each later one 1 s: 97 are left
    pace = pace_of(line(step=1, time_s=10.0, seen=8), line(step=2, time_s=11.0, seen=16), line(step=3, time_s=12.0, seen=24))
    assert pace.left(3, 100) == pytest.approx(97.0)


def test_what_is_left_has_the_evaluations_in_it():
    # an update takes 1 s, an evaluation of 5 s follows every 10 updates: 80 updates and 8 evaluations are left
    pace = pace_of(*(line(step=s, time_s=float(s), seen=s) for s in range(1, 21)))
    pace.evaluated(10, 5.0)
    assert pace.left(20, 100) == pytest.approx(80 + 8 * 5)
    pace.evaluated(20, 7.0)
    assert pace.left(20, 100) == pytest.approx(80 + 8 * 6)


def test_the_last_evaluation_counts_even_if_it_is_early():
    # 105 updates: after 20 there are evaluations at 30, 40, ... 100 and at the end
    pace = pace_of(*(line(step=s, time_s=float(s), seen=s, updates=105) for s in range(1, 21)))
    pace.evaluated(10, 2.0)
    assert pace.left(20, 105) == pytest.approx(85 + 9 * 2)


def test_after_a_resume_the_first_evaluation_does_not_tell_their_number():
    pace = pace_of(line(step=58, time_s=1.0, seen=1), line(step=60, time_s=3.0, seen=3))
    pace.evaluated(60, 5.0)
    assert pace.left(60, 100) == pytest.approx(40.0)
    pace.evaluated(70, 5.0)
    assert pace.left(60, 100) == pytest.approx(40 + 4 * 5)


def test_updates_longer_than_the_window_still_have_a_pace():
    pace = pace_of(line(step=1, time_s=60.0, seen=8), line(step=2, time_s=120.0, seen=16), line(step=3, time_s=180.0, seen=24))
    assert pace.left(3, 5) == pytest.approx(120.0)


@pytest.mark.parametrize(
    ("seconds", "text"), [(None, "-:--"), (0.4, "0:00"), (65.0, "1:05"), (3599.6, "1:00:00"), (7265.0, "2:01:05")]
)
def test_a_time_reads_as_on_a_clock(seconds, text):
    assert clock(seconds) == text


# --- what is printed --------------------------------------------------------------------------------------------------------


class Hand:
    """A clock that is moved by hand."""

    def __init__(self):
        self.time = 0.0

    def __call__(self):
        return self.time


def plain():
    hand, console = Hand(), Console(file=io.StringIO(), width=100)
    return Progress(console, hand), hand, console.file


def test_elsewhere_than_on_a_terminal_lines_are_plain_and_ten_seconds_apart():
    progress, hand, file = plain()
    with progress:
        for step in range(1, 31):
            hand.time = float(step)
            progress.listen(line(step=step, time_s=float(step), seen=8 * step))
    lines = file.getvalue().splitlines()
    assert [text.split("%")[0].strip() for text in lines] == ["1", "11", "21"]
    assert lines[1] == " 11 %  epoch 1.1  ETA 1:29  8.0 img/s  loss 0.500  1,234 MB"
    assert "\x1b" not in file.getvalue()
    assert "\r" not in file.getvalue()


def test_the_last_update_always_has_its_line():
    progress, hand, file = plain()
    with progress:
        for step in (98, 99, 100):
            hand.time += 1.0
            progress.listen(line(step=step, time_s=float(step), seen=step))
    assert [text.split("%")[0].strip() for text in file.getvalue().splitlines()] == ["98", "100"]


def test_a_validation_is_said_and_that_of_the_average_is_preferred():
    progress, hand, file = plain()
    with progress:
        progress.listen(line(step=10, time_s=1.0, seen=10))
        hand.time = 4.0
        progress.listen(val(10, 50.0, **{"val_ema/top1": 62.5, "val_ema/loss": 0.25}))
        progress.listen(line(step=100, time_s=20.0, seen=100))
    said = file.getvalue().splitlines()
    assert said[1] == "epoch 1.0: validation top-1 62.5 %, loss 0.250"
    assert "top-1 62.5 %" in said[2]
    assert progress.pace.evaluations == [(10, 4.0)]


def test_the_run_directory_is_said_as_soon_as_it_is_known():
    progress, _, file = plain()
    assert progress.run is None
    progress.listen({"event": "start", "step": 0, "run": "runs/my photos-1"})
    assert progress.run == "runs/my photos-1"
    assert file.getvalue() == "run directory: 'runs/my photos-1'\n"


def test_each_run_of_a_study_has_a_pace_of_its_own():
    progress, hand, file = plain()
    with progress:
        for run in ("runs/a", "runs/b"):
            progress.listen({"event": "start", "step": 0, "run": run})
            for step in range(1, 101):
                hand.time += 1.0
                progress.listen(line(step=step, time_s=float(step), seen=8 * step))
            progress.listen(val(100, 50.0))
    first, second = file.getvalue().split("run directory: ")[1:]
    assert "top-1 50.0 %" in first
    assert second.replace("runs/b", "runs/a") == first  # in particular no pace across runs, and no accuracy of the one before


def test_names_that_look_like_markup_stay_as_they_are_and_on_one_line():
    progress, _, file = plain()
    progress.say("left out: [red]a[/red] :smile:.jpg " + 200 * "x")
    assert file.getvalue() == "note: left out: [red]a[/red] :smile:.jpg " + 200 * "x" + "\n"


def terminal(width=80):
    return Console(file=io.StringIO(), force_terminal=True, width=width, legacy_windows=False, _environ={})


def test_on_a_terminal_one_line_is_written_anew_and_gone_at_the_end():
    console = terminal()
    with Progress(console, Hand()) as progress:
        progress.doing("reading the pictures")
        assert "reading the pictures ..." in console.file.getvalue()
        for step in (1, 2):
            progress.listen(line(step=step, time_s=float(step), seen=8 * step))
        written = console.file.getvalue()
        assert "\n" not in written
        assert written.rindex("\x1b[2K") < written.rindex("2 %  epoch 0.2  ETA 1:38  8.0 img/s")
    assert console.file.getvalue().endswith("\x1b[2K")


def test_a_narrow_terminal_gets_a_shorter_line_and_not_two():
    console = terminal(width=40)
    with Progress(console, Hand()) as progress:
        progress.listen(line(step=1, time_s=1.0, seen=8))
        shown = console.file.getvalue().rpartition("\x1b[?25l")[2]
        assert shown == "  1 %  epoch 0.1  ETA -:--  8.0 img/s  …"


def test_remarks_stand_above_the_live_line():
    console = terminal()
    with Progress(console, Hand()) as progress:
        progress.listen(line(step=1, time_s=1.0, seen=8))
        progress.say("left out, because it cannot be read: a.jpg")
        written = console.file.getvalue()
    assert written.rindex("note: left out") < written.rindex("1 %  epoch 0.1")


def test_a_terminal_that_cannot_move_its_cursor_gets_plain_lines():
    console = Console(file=io.StringIO(), force_terminal=True, width=60, legacy_windows=False, _environ={"TERM": "dumb"})
    assert Progress(console, Hand()).live is None


def test_a_validation_of_the_average_alone_is_said():
    progress, _, file = plain()
    progress.listen({"event": "val", "step": 5, "epoch": 1.0, "val_ema/top1": 71.0, "val_ema/loss": 0.9})
    assert "71.0 %" in file.getvalue()


def test_a_warning_says_itself_what_it_is():
    assert (noted("left out"), noted("warning: too few")) == ("note: left out", "warning: too few")


# --- quiet, and as JSON -----------------------------------------------------------------------------------------------------


@pytest.fixture
def speaking():
    tokens = []
    yield lambda how: tokens.append(SPEECH.set(how))
    for token in reversed(tokens):
        SPEECH.reset(token)


def test_quiet_progress_prints_nothing_but_knows_the_run(speaking):
    speaking("quiet")
    progress, _, file = plain()
    with progress:
        progress.doing("reading")
        progress.say("warning: something")
        progress.listen({"event": "start", "step": 0, "run": "runs/a"})
        progress.listen(line(step=1, time_s=1.0, seen=8))
        progress.listen(val(1, 50.0))
    assert file.getvalue() == ""
    assert progress.run == "runs/a"


def test_as_json_each_line_is_one_object(speaking):
    speaking("json")
    progress, hand, file = plain()
    with progress:
        progress.doing("reading [red]")
        progress.say("a note\nof two lines")
        progress.say("warning: too few")
        progress.listen({"event": "start", "step": 0, "run": "runs/a"})
        progress.listen({"event": "note", "step": 0, "message": "said besides"})
        for step in (1, 2):
            hand.time += 1.0
            progress.listen(line(step=step, time_s=float(step), seen=8 * step))
        progress.listen(val(2, float("nan")))
    found = [json.loads(text, parse_constant=pytest.fail) for text in file.getvalue().splitlines()]
    assert [each["event"] for each in found] == ["status", "note", "warning", "start", "train", "train", "val"]
    assert found[0]["message"] == "reading [red]"
    assert found[1]["message"] == "a note\nof two lines"
    assert found[2]["message"] == "too few"
    assert (found[4]["eta_s"], found[5]["eta_s"]) == (None, pytest.approx(98.0))
    assert found[5]["train/loss"] == 0.5
    assert found[6]["val/top1"] is None
    assert progress.run == "runs/a"


def test_a_terminal_gets_no_live_line_as_json(speaking):
    speaking("json")
    console = terminal()
    with Progress(console, Hand()) as progress:
        progress.listen(line(step=1, time_s=1.0, seen=8))
    assert "\x1b" not in console.file.getvalue()


@pytest.mark.parametrize("name", ["FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE", "CLICOLOR_FORCE"])
def test_a_file_gets_no_terminal_codes_whatever_the_environment_says(name, monkeypatch, capsys):
    monkeypatch.setenv(name, "1")
    with Progress() as progress:
        progress.doing("reading the pictures")
        progress.say("a note")
        progress.listen(line(step=1, time_s=1.0, seen=8))
    said = capsys.readouterr().err
    assert said.startswith("note: a note\n")
    assert "\x1b" not in said
    assert "\r" not in said
