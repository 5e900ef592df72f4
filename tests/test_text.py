import os

import pytest

from paretina.data.layout import EXACT
from paretina.text import SPLITS, how_many, markdown_cells, paragraphs, printable, split_hint


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("cat/1.png", "cat/1.png"),
        ("röt, green\u202fand 猫 👩\u200d🚀.png", "röt, green\u202fand 猫 👩\u200d🚀.png"),
        ("a\nb\tc\rd", "a\\nb\\tc\\rd"),
        ("\x1b[31mred\x07\x7f\x85", "\\x1b[31mred\\x07\\x7f\\x85"),
        ("one\u2028two\u2029", "one\\u2028two\\u2029"),
        ("gnp.\u202etac", "gnp.\\u202etac"),
        (os.fsdecode(b"K\xe4se.png"), "K\\xe4se.png"),
        ("\ud800", "\\ud800"),
        ("C:\\new", "C:\\new"),
    ],
)
def test_what_would_break_or_hide_a_line_stands_there_as_an_escape(name, shown):
    assert printable(name) == shown
    assert len(shown.splitlines()) == 1
    shown.encode()


def test_paragraphs_keep_their_lines():
    assert paragraphs("two\nli\tnes") == "two\nli\\tnes"


def test_cells_of_a_markdown_table_stay_one_row():
    assert markdown_cells(["a|b", "c\nd"]) == "| a\\|b | c\\nd |"


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ((1, "picture"), "1 picture"),
        ((0, "picture"), "0 pictures"),
        ((2, "class"), "2 classes"),
        ((1.0, "epoch"), "1 epoch"),
        ((0.5, "epoch"), "0.5 epochs"),
        ((1200, "picture", ","), "1,200 pictures"),
        ((1.04, "epoch", ".2g"), "1 epoch"),
        ((1.0, "epoch fits", "", "epochs fit"), "1 epoch fits"),
        ((3.0, "epoch fits", "", "epochs fit"), "3 epochs fit"),
    ],
)
def test_one_of_something_is_in_the_singular(given, text):
    assert how_many(*given) == text


def test_the_names_of_splits_are_those_of_folders():
    assert {*SPLITS} == {name for names in EXACT.values() for name in names}


def test_a_folder_that_holds_out_pictures_itself_is_named(tmp_path, monkeypatch):
    (tmp_path / "photos" / "cat").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    said = "; photos/ has no folder val: name photos/ itself, whose held-out pictures are its split val"
    assert split_hint("photos/val") == said
    assert split_hint("photos/val/") == said
    assert split_hint("nowhere/val") == ""
    assert split_hint("photos/cats") == ""
