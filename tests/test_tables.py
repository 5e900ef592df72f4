import csv
from pathlib import Path

import pytest

from paretina.tables import csv_text, in_columns, write_csv, write_lines


def test_csv_has_the_names_first_and_empty_cells_for_none():
    rows = [{"name": 'a,"b"', "top1": 71.5, "note": None}, {"name": "c", "top1": 3, "note": "two\nlines"}]
    text = csv_text(rows)
    assert text == 'name,top1,note\n"a,""b""",71.5,\nc,3,"two\nlines"\n'
    assert list(csv.DictReader(text.splitlines(keepends=True)))[1] == {"name": "c", "top1": "3", "note": "two\nlines"}


def test_csv_has_the_columns_that_are_given_whether_there_are_rows_or_not():
    assert csv_text([], ["a", "b"]) == "a,b\n"
    assert csv_text(iter([{"b": 2, "a": 1}]), ["a", "b"]) == "a,b\n1,2\n"
    with pytest.raises(ValueError, match="dict contains fields not in fieldnames: 'c'"):
        csv_text([{"a": 1, "c": 2}], ["a"])


def test_rows_are_written_one_at_a_time_and_names_that_are_no_text_by_their_numbers(tmp_path):
    path, seen = tmp_path / "rows.csv", []

    def rows():
        for name in ("a.png", "\udcff.png", "c.png"):
            seen.append(name)
            yield {"name": name}

    write_csv(path, rows())
    assert path.read_bytes() == b"name\na.png\n\\udcff.png\nc.png\n"
    assert len(seen) == 3


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no device that is always full")
@pytest.mark.parametrize("write", [lambda path: write_csv(path, [{"a": 1}]), lambda path: write_lines(path, ["a"], [[1]])])
def test_a_full_disk_is_told_with_the_file(write):
    with pytest.raises(OSError, match=r"No space left on device: '/dev/full'"):
        write("/dev/full")


def test_columns_are_as_wide_as_their_widest_cell():
    rows = [("name", "MACs", "", "note"), ("a", "1,234", "x", "good"), ("longer", "5", "yy", "")]
    assert in_columns(rows, "<>><") == [
        "name     MACs      note",
        "a       1,234   x  good",
        "longer      5  yy",
    ]


def test_the_last_side_stands_for_all_further_columns():
    assert in_columns([("a", "b", "c"), ("dd", "ee", "ff")], "<>") == ["a    b   c", "dd  ee  ff"]
    assert in_columns([("a", "b", "c"), ("dd", "ee", "ff")], "<") == ["a   b   c", "dd  ee  ff"]


def test_rows_of_a_table_are_equally_long():
    with pytest.raises(ValueError, match="shorter"):
        in_columns([("a", "b"), ("c",)], "<")


def test_columns_that_are_named_alike_keep_their_own_values(tmp_path):
    write_lines(tmp_path / "a.csv", ["name", "name", "b"], [["cat.png", 0.25, "x, y"], ["dog\udce4.png", 0.5, None]])
    assert (tmp_path / "a.csv").read_bytes() == b'name,name,b\ncat.png,0.25,"x, y"\ndog\\udce4.png,0.5,\n'
