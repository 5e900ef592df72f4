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


# --- names that stay together -----------------------------------------------------------------------------------------


def groups_of(size, names=NAMES):
    return [names[start : start + size] for start in range(0, len(names), size)]


def test_without_groups_the_split_is_that_of_the_names():
    classes = [n % 7 for n in range(500)]
    assert held_out(NAMES, classes, 0.2, []) == held_out(NAMES, classes, 0.2)
    assert held_out(NAMES, classes, 0.2, [[name] for name in NAMES]) == held_out(NAMES, classes, 0.2)


def test_a_group_goes_where_its_first_name_goes():
    groups = groups_of(4)
    held = held_out(NAMES, LABELS, 0.2, groups)
    assert 50 <= len(held) <= 150
    for group in groups:
        assert held & {*group} == ({*group} if place(min(group)) < 0.2 else set())
    assert held == held_out(NAMES[::-1], LABELS, 0.2, [group[::-1] for group in groups[::-1]])


def test_names_outside_of_groups_stay_where_they_are():
    pair = NAMES[:2]
    assert held_out(NAMES, LABELS, 0.2, [pair]) - {*pair} == held_out(NAMES, LABELS, 0.2) - {*pair}


@pytest.mark.parametrize("share", [0.001, 0.5, 0.999])
def test_each_class_of_two_groups_has_one_on_each_side(share):
    names = [f"{n // 6}/{n}" for n in range(60)]
    held = held_out(names, [n // 6 for n in range(60)], share, groups_of(3, names))
    assert {sum(name.startswith(f"{kind}/") for name in held) for kind in range(10)} == {3}


def test_a_class_of_one_group_is_trained_on():
    assert held_out(["a", "b", "c", "d"], [0, 0, 1, 1], 0.999, [["a", "b"]]) <= {"c", "d"}


def test_a_group_that_is_larger_than_the_share_is_not_held_out():
    first = next(name for name in NAMES if place(name) < 0.2)
    group = [first, *(f"{first}~{n}" for n in range(120))]
    rest = [name for name in NAMES[:250] if name != first]
    held = held_out([*group, *rest], [0] * len([*group, *rest]), 0.2, [group])
    assert held
    assert held.isdisjoint(group)


@pytest.mark.parametrize("share", [0.2, 0.9])
def test_groups_across_classes_stay_together_and_every_class_is_trained_on(share):
    names = [f"{n % 2}/{n // 2}" for n in range(100)]  # each picture is in both classes
    labels = [n % 2 for n in range(100)]
    groups = groups_of(2, names)
    held = held_out(names, labels, share, groups)
    assert 0 < len(held) < 100
    assert all(len(held & {*group}) in (0, 2) for group in groups)
    assert held_out(names[:2], labels[:2], 0.99, groups[:1]) == set()
