"""Groups of pictures that stay on one side of a split, by each way to name them."""

import re

import pytest

from paretina.data.grouping import grouped, joined, members

NAMES = {"cat/p1/a.jpg": "p1/a.jpg", "cat/p2/b.jpg": "p2/b.jpg", "dog/p1/c.jpg": "p1/c.jpg", "dog/d.jpg": "d.jpg"}


def test_a_folder_inside_of_classes_is_one_group_whatever_the_class():
    found, notes = grouped("folder", NAMES)
    assert found == {"cat/p1/a.jpg": "p1", "cat/p2/b.jpg": "p2", "dog/p1/c.jpg": "p1"}
    assert notes == (
        "2 groups of pictures (folder) stay on one side of every split",
        "1 picture has no group and is split alone",
    )


def test_all_parts_in_parentheses_are_the_group():
    found, _ = grouped(r"/(p)(\d)/", NAMES)
    assert found == {"cat/p1/a.jpg": "p/1", "cat/p2/b.jpg": "p/2", "dog/p1/c.jpg": "p/1"}
    assert grouped(r"(p1)|(x)", NAMES)[0] == {"cat/p1/a.jpg": "p1", "dog/p1/c.jpg": "p1"}


@pytest.mark.parametrize(
    ("word", "reason"),
    [
        ("foldr", "did you mean 'folder'"),
        ("p1", "parentheses"),
        ("(p1", "no regular expression"),
        ("(zebra)", "found in no picture's name; the first name is 'cat/p1/a.jpg'"),
        ("(a)", "all 4 pictures are of one group, 'a'"),
        ("missing.csv", "cannot be read: No such file"),
    ],
)
def test_what_says_no_group(word, reason):
    names = {**NAMES} if word != "(a)" else {f"a{number}.jpg": "" for number in range(4)}
    with pytest.raises(ValueError, match=re.escape(word)) as error:
        grouped(word, names)
    assert reason in str(error.value)


def test_folders_that_are_not_there():
    with pytest.raises(ValueError, match="no folders between those of the classes and the pictures"):
        grouped("folder", {"cat/1.jpg": "1.jpg"})


@pytest.mark.parametrize("header", ["picture,group", "\ufeffGroup, Path ", "image_path,else,group"])
def test_a_table_of_groups(tmp_path, header):
    columns = [cell.strip("\ufeff ").lower() for cell in header.split(",")]
    rows = [("cat/p1/a.jpg", "one"), ("dog/d.jpg", "one"), ("cat/p2/b.jpg", "")]
    lines = [header]
    for name, group in rows:
        cells = [group if column == "group" else "x" if column == "else" else name for column in columns]
        lines.append(",".join(cells))
    (tmp_path / "groups.CSV").write_text("\n".join(lines) + "\n\n", encoding="utf-8")
    found, notes = grouped(str(tmp_path / "groups.CSV"), NAMES)
    assert found == {"cat/p1/a.jpg": "one", "dog/d.jpg": "one"}
    assert "2 pictures have no group" in notes[1]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (b"", "must name the columns picture and group"),
        (b"picture;group\n", "must name the columns picture and group; it is 'picture;group'"),
        (b"picture,group\ncat/p1/a.jpg\n", "line 2: has 1 cells, and the first line 2"),
        (
            b"picture,group\ncat/p1/a.jpeg,x\n",
            "such as 'cat/p1/a.jpg'); did you mean 'cat/p1/a.jpg'?",
        ),
        (
            b"picture,group\ncat/p1/a.jpg,x\ncat/p1/a.jpg,y\n",
            "line 3: 'cat/p1/a.jpg' is of the group 'x' before, and of 'y' here",
        ),
        (b"picture,group\n\xff,x\n", "not UTF-8"),
        (b"picture,group\n\0,x\n", "NUL"),
        (b"picture,group\n", "it names no picture"),
    ],
)
def test_a_damaged_table_is_named(tmp_path, text, reason):
    (tmp_path / "groups.csv").write_bytes(text)
    with pytest.raises(ValueError, match=r"groups\.csv") as error:
        grouped(str(tmp_path / "groups.csv"), NAMES)
    assert reason in str(error.value)


def test_what_is_together_in_any_way_is_together():
    assert members({"a": "x", "b": "x", "c": "y"}) == [["a", "b"]]
    found = joined([["a", "b"], ["c", "d"]], [["b", "e"], ["e", "f"], ["g", "h"]])
    assert sorted(sorted(group) for group in found) == [["a", "b", "e", "f"], ["c", "d"], ["g", "h"]]
