import unicodedata

import pytest

from paretina.data.names import composed, counterpart, likeness, spelt

NFC, NFD = unicodedata.normalize("NFC", "Äpfel"), unicodedata.normalize("NFD", "Äpfel")


def test_the_forms_of_unicode_are_one_name():
    assert NFC != NFD
    assert composed(NFC) == composed(NFD)
    assert counterpart(NFC, [NFD, "Birnen"]) == NFD


@pytest.mark.parametrize("name", ["cat", "CAT", " cat", "cat ", "Cat\u00a0"])
def test_case_and_spaces_make_names_alike(name):
    assert counterpart(name, ["dog", "Cat"]) == "Cat"


@pytest.mark.parametrize("name", ["cats", "c at", "Kater", ""])
def test_other_names_are_other_classes(name):
    assert counterpart(name, ["dog", "Cat"]) is None


def test_the_most_similar_one_is_meant():
    assert counterpart("cat", ["Cat", "cat", "CAT"]) == "cat"
    assert counterpart("cAt", ["Cat", "cat"]) is None


def test_letters_in_two_cases_are_two_classes():
    assert likeness("a") != likeness("A")
    assert counterpart("a", ["A", "B"]) is None
    assert counterpart("a ", ["a", "A"]) == "a"


def test_only_case_makes_letters_alike():
    assert likeness("Maße") != likeness("Masse")
    assert likeness("MAẞE") == likeness("maße")
    assert likeness("Straße") == likeness("straße")
    assert likeness("ΟΔΟΣ") == likeness("οδος")


def test_the_turkish_i_has_its_small_letters():
    assert likeness("İstanbul") == likeness("istanbul")
    assert likeness("kıl") != likeness("kil")


def test_odd_spaces_are_told_by_name():
    assert spelt("black cat") == "'black cat'"
    assert spelt("black\u00a0cat\t") == "'black<no-break space>cat<u+0009>'"
    assert spelt("größe") == "'größe'"
