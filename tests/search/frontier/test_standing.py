import pytest

from paretina.search.frontier.standing import COSTS, Budget, Halving, budget_of, read_standing, told_apart


def test_each_rung_has_a_part_of_the_one_before():
    assert Halving(seconds=1.0).counts(20) == [20, 10, 5]
    assert Halving(seconds=1.0, factor=3.0, least=1).counts(20) == [20, 7, 3]


def test_there_is_no_rung_on_which_nobody_would_fall():
    assert Halving(seconds=1.0).counts(6) == [6, 4]
    assert Halving(seconds=1.0).counts(3) == [3]
    assert Halving(seconds=1.0, rungs=1).counts(20) == [20]


@pytest.mark.parametrize("wrong", [{"seconds": 0.0}, {"rungs": 0}, {"factor": 1.0}, {"least": 0}])
def test_settings_that_make_no_sense_are_refused(wrong):
    with pytest.raises(ValueError, match=r"a frontier needs a time above 0|--keep 3 keeps one candidate in 3"):
        Halving(**{"seconds": 1.0, **wrong})


def test_a_cost_must_exist():
    with pytest.raises(ValueError, match="there is no cost 'latency'; did you mean 'latency_ms'"):
        Halving(seconds=1.0, cost="latency")


def test_a_budget_bounds_from_the_side_that_is_dear():
    assert budget_of("latency_ms=10") == Budget("latency_ms", 10.0)
    assert Budget("latency_ms", 10.0).holds(10.0)
    assert not Budget("latency_ms", 10.0).holds(10.1)
    assert Budget("throughput", 50.0).holds(60.0)
    assert not Budget("throughput", 50.0).holds(40.0)
    assert str(budget_of("throughput=50")) == "throughput >= 50"
    assert str(budget_of(" macs = 1e9")) == "macs <= 1e+09"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("latency=10", "did you mean 'latency_ms'"),
        ("latency_ms", "needs a number above 0"),
        ("latency_ms=fast", "needs a number above 0"),
        ("latency_ms=-1", "needs a number above 0"),
        ("latency_ms=inf", "needs a number above 0"),
    ],
)
def test_a_wrong_budget_is_explained(text, message):
    with pytest.raises(ValueError, match=message):
        budget_of(text)


def answers(text):
    return {str(place): letter == "1" for place, letter in enumerate(text)}


def test_mcnemar_by_hand():
    # 5 of 5 that differ are on one side: 2 / 2^5 = 0.0625; 6 of 6: 2 / 2^6 = 0.03125
    assert not told_apart(answers("11111" + "1" * 9), answers("00000" + "1" * 9))
    assert told_apart(answers("111111"), answers("000000"))
    assert told_apart(answers("000000"), answers("111111"))
    assert not told_apart(answers("1111110000"), answers("0000001111"))


def test_many_answers_are_judged_as_few_are():
    # 60 % against 40 % of 1,010 that differ is 6 standard errors; 51 % against 49 % is less than one
    assert told_apart(answers("1" * 606 + "0" * 404), answers("0" * 606 + "1" * 404))
    assert not told_apart(answers("1" * 515 + "0" * 495), answers("0" * 515 + "1" * 495))


def test_every_cost_has_a_direction_and_is_compared_by_ratios():
    assert {name for name, axis in COSTS.items() if axis.better == "high"} == {"throughput"}
    assert all(axis.relative and axis.unit for axis in COSTS.values())


def test_a_directory_without_a_frontier_is_named(tmp_path):
    with pytest.raises(ValueError, match="holds no frontier"):
        read_standing(tmp_path)
    (tmp_path / "asked.json").write_text('{"verb": "train"}')
    with pytest.raises(ValueError, match="holds no frontier"):
        read_standing(tmp_path)
    (tmp_path / "asked.json").write_text("{")
    with pytest.raises(ValueError, match=r"asked\.json is damaged"):
        read_standing(tmp_path)
