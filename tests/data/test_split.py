import hashlib
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from paretina.data.split import folds_of, held_out, held_out_groups, held_out_units, place

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


# --- folds --------------------------------------------------------------------------------------------------------------


@settings(deadline=None, derandomize=True, max_examples=100, database=None)
@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(0, 12)), min_size=13, max_size=80),
    st.integers(2, 6),
)
def test_folds_are_equal_in_size_and_classes_and_keep_groups(kinds, count):
    names = [f"{number:03d}" for number in range(len(kinds))]
    labels = [label for label, _ in kinds]
    single = folds_of(names, labels, count)
    sizes = Counter(single.values())
    assert set(single) == set(names)
    assert max(sizes.values()) - min(sizes.get(fold, 0) for fold in range(count)) <= 4  # one for each class at most
    for label in set(labels):
        own = Counter(single[name] for name, each in zip(names, labels, strict=True) if each == label)
        assert max(own.values()) - min(own.get(fold, 0) for fold in range(count)) <= 1
    tied = [[name for name, (_, group) in zip(names, kinds, strict=True) if group == number] for number in range(1, 12)]
    tied = [group for group in tied if len(group) > 1]
    if len(names) - sum(map(len, tied)) + len(tied) < count:
        return
    found = folds_of(names, labels, count, tied)
    for group in tied:
        assert len({found[name] for name in group}) == 1
    assert found == folds_of(names[::-1], labels[::-1], count, [group[::-1] for group in tied[::-1]])


def test_folds_that_cannot_be():
    with pytest.raises(ValueError, match="2 folds or more, got 1"):
        folds_of(["a", "b"], [0, 1], 1)
    with pytest.raises(ValueError, match="2 pictures or groups of pictures, too few for 3 folds"):
        folds_of(["a", "b", "c"], [0, 1, 1], 3, [["b", "c"]])


# --- groups -----------------------------------------------------------------------------------------------------------


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(0, 6)), min_size=1, max_size=60),
    st.floats(0, 1, exclude_min=True, exclude_max=True),
)
def test_groups_are_never_divided(pictures, share):
    names = [str(number) for number in range(len(pictures))]
    labels, groups = [label for label, _ in pictures], [f"patient {group}" for _, group in pictures]
    held = held_out_groups(names, labels, groups, share)
    assert held == held_out_groups(names[::-1], labels[::-1], groups[::-1], share)
    sides = [{group for name, group in zip(names, groups, strict=True) if (name in held) == side} for side in (True, False)]
    assert sides[0].isdisjoint(sides[1])
    for label in set(labels):  # each class can be learned
        assert any(own == label and name not in held for name, own in zip(names, labels, strict=True))


def test_about_the_share_of_many_groups_is_held_out_and_an_added_one_moves_no_other():
    names = [f"{group}/{number}" for group in range(400) for number in range(3)]
    groups = [name.split("/")[0] for name in names]
    labels = [int(group) % 5 for group in groups]
    held = held_out_groups(names, labels, groups, 0.2)
    assert 0.15 < len(held) / len(names) < 0.25
    fewer = held_out_groups(names[:900], labels[:900], groups[:900], 0.2)
    assert held & set(names[:900]) == fewer


def test_each_class_of_several_groups_has_one_on_each_side():
    names = [str(number) for number in range(40)]
    labels = [number // 10 for number in range(40)]
    groups = [str(number // 5) for number in range(40)]
    for share in (0.01, 0.5, 0.99):
        held = held_out_groups(names, labels, groups, share)
        assert sorted({labels[int(name)] for name in held}) == [0, 1, 2, 3]
        assert len(held) == 20


def test_the_ends_of_the_share_mean_nothing_and_all_groups():
    assert held_out_groups(["a", "b"], [0, 0], ["x", "x"], 0.0) == set()
    assert held_out_groups(["a", "b"], [0, 0], ["x", "x"], 1.0) == {"a", "b"}
    assert held_out_groups(["a", "b"], [0, 0], ["x", "x"], 0.9) == set()
    with pytest.raises(ValueError, match=r"must be in \[0, 1\], got -1"):
        held_out_groups(["a"], [0], ["x"], -1.0)


def test_units_are_groups_where_they_are_shared():
    names, labels = [f"{number}" for number in range(40)], [0, 1] * 20
    assert held_out_units(names, labels, names, 0.3, "x/") == held_out(names, labels, 0.3, salt="x/")
    units = [str(number // 4) for number in range(40)]
    assert held_out_units(names, labels, units, 0.3, "x/") == held_out_groups(names, labels, units, 0.3, "x/")
    assert held_out_groups(names, labels, units, 0.3, "x/") != held_out_groups(names, labels, units, 0.3)
