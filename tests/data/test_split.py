import hashlib

import pytest

from paretina.data.split import held_out, place

NAMES = [f"cat/{n}.jpg" for n in range(500)]
LABELS = [0] * 500


def test_a_name_has_the_first_six_bytes_of_its_hash_as_its_place():
    digest = hashlib.sha256(b"cat/1.jpg").hexdigest()
    assert place("cat/1.jpg") == int(digest[:12], 16) / 16**12


def test_two_encodings_of_one_name_have_one_place():
    assert place("caf\u00e9") == place("cafe\u0301")


def test_holds_out_about_the_share_and_always_the_same():
    held = held_out(NAMES, LABELS, 0.2)
    assert 70 <= len(held) <= 130
    assert held == held_out(NAMES[::-1], LABELS, 0.2)


def test_an_added_name_moves_no_other():
    fewer = held_out(NAMES[:400], LABELS[:400], 0.2)
    assert held_out(NAMES, LABELS, 0.2) & set(NAMES[:400]) == fewer


def test_a_larger_share_keeps_those_of_a_smaller():
    assert held_out(NAMES, LABELS, 0.1) < held_out(NAMES, LABELS, 0.3)


@pytest.mark.parametrize("share", [0.001, 0.5, 0.999])
def test_each_class_of_two_has_one_on_each_side(share):
    names = [f"{n // 2}/{n}" for n in range(40)]
    held = held_out(names, [n // 2 for n in range(40)], share)
    assert sorted(name.split("/")[0] for name in held) == sorted(str(n) for n in range(20))


def test_a_class_of_one_is_trained_on():
    assert held_out(["a"], [0], 0.999) == set()


def test_the_ends_mean_nothing_and_all():
    assert held_out(NAMES, LABELS, 0.0) == set()
    assert held_out(NAMES, LABELS, 1.0) == set(NAMES)
    with pytest.raises(ValueError, match=r"must be in \[0, 1\], got 1.5"):
        held_out(NAMES, LABELS, 1.5)
