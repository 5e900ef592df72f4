"""The selections of full crosses."""

import itertools

import pytest

from covering import covering


def usual(parameters):
    return [each.values for each in parameters if not each.marks]


@pytest.mark.parametrize("count", [1, 2, 7, 8, 9, 46])
@pytest.mark.parametrize("each", [1, 2, 5])
def test_every_value_and_every_combination_of_the_others_stands_in_it(count, each):
    first = [f"plug-in {number}" for number in range(count)]
    found = covering(first, "ab", (1, 2, 3, 4), each=each)
    assert len({one.values for one in found}) == len(found) == 8 * count
    values = usual(found)
    assert {value for value, *_ in values} == set(first)
    assert {value[1:] for value in values} == set(itertools.product("ab", (1, 2, 3, 4)))
    least = min(each, 8)
    assert all(least <= sum(value == one for value, *_ in values) <= least * -(-max(count, 8) // count) for one in first)


def test_none_is_paired_with_itself_where_there_is_another():
    assert usual(covering("abc", "abc")) == [("a", "b"), ("b", "c"), ("c", "a")]
    assert usual(covering("a", "a")) == [("a", "a")]


def test_what_is_left_is_slow():
    assert [[mark.name for mark in each.marks] for each in covering("abc", "abc")[:3]] == [["slow"], [], ["slow"]]
