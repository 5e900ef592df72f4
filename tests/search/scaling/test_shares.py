"""Shares and the paper's alpha, beta and gamma are two ways to say the same."""

import pytest

from paretina.search.scaling.shares import CORNERS, NAMED, Shares, fast, from_bases, grid, named, reward, usual, with_controls
from paretina.spec import decode, encode


def test_the_papers_numbers_are_these_shares_and_back():
    shares = from_bases(1.2, 1.1, 1.15)
    assert (shares.depth, shares.width, shares.resolution) == pytest.approx((0.279, 0.292, 0.428), abs=6e-4)
    alpha, beta, gamma = shares.bases(1.2 * 1.1**2 * 1.15**2)
    assert (alpha, beta, gamma) == pytest.approx((1.2, 1.1, 1.15))
    assert alpha * beta**2 * gamma**2 == pytest.approx(1.92027)
    with pytest.raises(ValueError, match="at least 1"):
        from_bases(0.9, 1.1, 1.1)


def test_fast_scaling_by_hand():
    # s = 16, weight .8: d = 16^.1, w = 16^.4, r = 16^.05; activations d * w * r^2 = 16^.6
    depth, width, resolution = fast().factors(16.0)
    assert (depth, width, resolution) == pytest.approx((1.320, 3.031, 1.149), abs=1e-3)
    assert depth * width * resolution**2 == pytest.approx(5.28, abs=0.01)
    assert fast(1 / 3).alike(NAMED["uniform"])
    assert fast(1.0).alike(CORNERS["width"])


@pytest.mark.parametrize("shares", [*grid(0.25), NAMED["efficientnet"]])
def test_all_shares_have_the_same_theoretical_cost(shares):
    depth, width, resolution = shares.factors(4.0)
    assert depth * width**2 * resolution**2 == pytest.approx(4.0)
    assert shares.factors(1.0) == (1.0, 1.0, 1.0)


def test_grids_have_all_points_of_the_triangle_once():
    assert len(grid(0.25)) == len(set(grid(0.25))) == 15
    assert len(grid(0.1)) == 66
    assert set(CORNERS.values()) <= set(grid(0.5))
    for step in (0.3, 0.0, -0.25):
        with pytest.raises(ValueError, match="divides 1"):
            grid(step)


def test_the_usual_candidates_have_each_choice_once_and_all_controls():
    names = [each.name for each in usual()]
    assert len(names) == len(set(names)) == 18
    assert {"depth", "width", "resolution", "efficientnet", "uniform", "fast", "d0.25-w0.5-r0.25"} <= set(names)
    assert [each.name for each in usual(0.1)].count("fast") == 1
    assert [each.name for each in with_controls([NAMED["fast"]])] == ["depth", "width", "resolution", "fast"]


def test_shares_are_read_from_words():
    assert named("fast") == fast()
    assert named("0.2/0.5/0.3") == Shares(depth=0.2, width=0.5, resolution=0.3)
    assert named("0.333/0.333/0.333").name == "uniform"
    assert named(NAMED["efficientnet"].plain) == NAMED["efficientnet"]
    both = named("fast+late+cap48")
    assert (both.late, both.cap, both.name) == (True, 48, "fast+late+cap48")
    assert decode(Shares, encode(both)) == both
    for wrong, said in (
        ("efficentnet", "did you mean 'efficientnet'"),
        ("0.2/0.5", "three numbers"),
        ("0.2/0.5/0.5", "sum to 1"),
        ("-0.5/1/0.5", "0 or more"),
        ("fast+early", "late or cap"),
        ("width+late", "depth has no share"),
        ("fast+cap0", "at least 1 pixel"),
    ):
        with pytest.raises(ValueError, match=said):
            named(wrong)


@pytest.mark.parametrize(("ratio", "expected"), [(0.5, 0.78729), (1.0, 0.75), (1.5, 0.72901), (2.0, 0.71448), (3.0, 0.69448)])
def test_the_reward_is_that_of_the_paper(ratio, expected):
    assert reward(0.75, ratio * 80.0, 80.0) == pytest.approx(expected, abs=1e-5)
