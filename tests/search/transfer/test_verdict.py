"""Backbones are compared by seed, and their order as classifiers with their order after the transfer."""

import re

import pytest

from paretina.search.transfer.verdict import Transferred, judge


def backbone(name, top1, *values, macs=1000):
    return Transferred(name, top1, macs, dict(enumerate(values)))


def test_pairs_are_compared_seed_by_seed():
    low, high = backbone("a", 60.0, 30.0, 41.0, 35.0), backbone("b", 80.0, 32.0, 43.1, 36.9)
    verdict = judge([low, high], "mean IoU", "%")
    assert (verdict.leader, verdict.classifier) == ("b", "b")
    gain = verdict.gain["a"]
    assert gain.value == pytest.approx(2.0)
    assert 1.7 < gain.low < 2.0 < gain.high < 2.3
    assert verdict.said[0] == "the best classifier, b, also has the best mean IoU here"
    assert verdict.said[1].startswith("b is 2.00 points above a [+1.75")
    assert (verdict.correlation, verdict.said[2]) == (None, "2 backbones give no rank correlation; four or more do")


def test_a_difference_that_chance_can_give_is_not_said():
    verdict = judge([backbone("a", 60.0, 30.0, 41.0), backbone("b", 80.0, 33.0, 40.0)], "mean IoU", "%")
    assert verdict.gain["a"].low < 0 < verdict.gain["a"].high
    assert not any("above" in text for text in verdict.said)


@pytest.mark.parametrize(
    ("figures", "value", "said"),
    [
        ((1, 2, 3, 4, 5, 7, 6, 8), 0.976, "better classifiers are better here"),
        ((8, 7, 6, 5, 4, 2, 3, 1), -0.976, "better classifiers are worse here"),
        ((1, 3, 2, 4, 4, 1, 3, 2), 0.098, "cannot be told from chance"),
        ((1, 2, 3, 4, 5, 6, 7, 8), 1.0, "the same order over 8 backbones; so few have no interval"),
        ((1, 1, 1, 1, 1, 1, 1, 1), None, "the same mean IoU, so they have no order"),
    ],
)
def test_the_rank_correlation_is_over_backbones(figures, value, said):
    found = [backbone(f"b{at}", 50.0 + at, float(each), float(each) + 1) for at, each in enumerate(figures)]
    verdict = judge(found, "mean IoU", "%")
    assert verdict.correlation == (None if value is None else pytest.approx(value, abs=0.01))
    assert any(said in text for text in verdict.said)
    assert len(verdict.by_seed) == (0 if value is None else 2)


def test_networks_of_other_sizes_are_remarked_on():
    even = judge([backbone("a", 60.0, 1.0), backbone("b", 70.0, 2.0, macs=1040)], "AP", "%")
    uneven = judge([backbone("a", 60.0, 1.0, macs=2_000_000), backbone("b", 70.0, 2.0, macs=4_000_000)], "AP", "%")
    assert not any("differ in size" in text for text in even.said)
    assert any("from 2 to 4 million multiply-adds" in text for text in uneven.said)


def test_what_was_not_trained_is_in_no_comparison():
    found = [backbone("a", 60.0, 1.0), Transferred("b", 90.0, None, {})]
    verdict = judge(found, "mean IoU", "%")
    assert (verdict.leader, verdict.classifier, dict(verdict.gain)) == ("a", "a", {})
    assert judge(found[1:], "mean IoU", "%").said == ("no backbone was trained, so nothing is compared",)


def test_equal_figures_have_no_leader_and_no_interval():
    found = [backbone("a", 60.0, 0.0, 0.0), backbone("b", 70.0, 0.0, 0.0)]
    verdict = judge(found, "AP", "%")
    assert verdict.said[0] == "all have the same AP, 0"
    assert (verdict.leader, verdict.gain["a"], found[0].interval) == ("b", None, None)
    shared = judge([*found[:1], backbone("c", 50.0, -1.0, 1.0)], "AP", "%")
    assert shared.said[0] == "all have the same AP, 0"
    assert judge([backbone("a", 60.0, 5.0), backbone("b", 70.0, 5.0), backbone("c", 80.0, 1.0)], "AP", "%").leader == "a"


def test_the_best_classifier_need_not_lead():
    def said(one, other):
        return judge([backbone("a", 60.0, *one), backbone("b", 70.0, *other)], "mean IoU", "%").said[0]

    begins = "the best classifier, b, does not have the best mean IoU here; a has"
    assert said((5.0,), (2.0,)) == f"{begins}; so few trainings do not tell that from chance"
    assert said((5.0, 6.0), (2.0, 3.1)) == begins
    assert re.fullmatch(
        re.escape(begins) + r" by 1\.00 points \[-\d+\.\d\d, \+\d+\.\d\d\], which cannot be told from chance",
        said((5.0, 6.0), (2.0, 7.0)),
    )


def test_an_interval_of_percent_stays_between_0_and_100():
    for values, ends in (((0.0, 0.6), (0.0, 4.11)), ((99.4, 100.0), (95.89, 100.0))):
        found = Transferred("a", 60.0, 1000, dict(enumerate(values)), 100.0)
        assert (found.interval.low, found.interval.high) == pytest.approx(ends, abs=0.01)
    assert backbone("a", 60.0, 0.0, 0.6).interval.low < 0
