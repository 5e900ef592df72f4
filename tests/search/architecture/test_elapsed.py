import os

from paretina.search.architecture.elapsed import Elapsed, begin_looks_anew


class Hands:
    def __init__(self):
        self.at = 0.0

    def __call__(self):
        return self.at


def test_looks_are_the_same_again(tmp_path):
    now = Hands()
    first = Elapsed(tmp_path, now)
    now.at = 3.0
    seen = [first()]
    now.at = 5.0
    seen.append(first())
    again = Elapsed(tmp_path, now)
    now.at = 90.0
    assert [again(), again()] == seen == [3.0, 5.0]
    now.at = 92.0  # what follows is new, and repeating took no time
    assert again() == 7.0


def test_work_after_the_last_look_counts(tmp_path):
    now = Hands()
    now.at = 0.0
    first = Elapsed(tmp_path, now)
    now.at = 3.0
    first()
    written = os.stat(first.path).st_mtime
    again = Elapsed(tmp_path, now)
    again.count(10.0, written + 1)  # before the last look was taken again
    assert again() == 3.0
    again.count(10.0, written + 1)
    again.count(20.0, written - 1)
    assert again() == 13.0


def test_a_line_that_was_cut_off_is_no_look(tmp_path):
    (tmp_path / "elapsed.txt").write_text("0.000\n4.000\n12.3")
    assert Elapsed(tmp_path, Hands()).known == [4.0]


def test_time_goes_on_after_the_limit_was_raised(tmp_path):
    now = Hands()
    first = Elapsed(tmp_path, now)
    now.at = 4.0
    first()
    begin_looks_anew(tmp_path)
    again = Elapsed(tmp_path, now)
    now.at = 5.0
    assert again() == 5.0


def test_time_may_count_from_an_earlier_moment(tmp_path):
    now = Hands()
    now.at = 9.0
    assert Elapsed(tmp_path, now, since=2.0)() == 7.0
