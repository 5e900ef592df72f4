import math

import pytest
from scipy import stats

from paretina.search.ablation.laws import exchange, fit_law, law, laws, line, noise_law

MILLIONS = (10, 30, 100, 300)


def curve(*values):
    return {float(n): float(value) for n, value in zip(MILLIONS, values, strict=True)}


def test_the_log_linear_law_by_hand():
    found = fit_law("log-linear", curve(31, 33, 35, 37))
    assert (found.offset, found.slope) == pytest.approx((26.98392, 4.03557), abs=1e-5)
    assert found(1000.0) == pytest.approx(39.0906, abs=1e-4)


def test_residuals_and_explained_variance_by_hand():
    found = law("log-linear", [curve(30.0, 33.1, 35.9, 37.4)])
    assert (found.fit.offset, found.slope[0]) == pytest.approx((25.32342, 5.04819), abs=1e-5)
    assert found.r2 == pytest.approx(0.97951, abs=1e-5)
    assert list(found.residuals.values()) == pytest.approx([-0.372, 0.320, 0.480, -0.428], abs=1e-3)


def test_a_line_agrees_with_scipy():
    xs, ys = [1.0, 2.0, 4.0, 5.5], [0.3, 0.1, 0.9, 1.0]
    wanted = stats.linregress(xs, ys)
    assert line(xs, ys) == pytest.approx((wanted.intercept, wanted.slope))
    with pytest.raises(ValueError, match="two or more places"):
        line([1.0, 1.0], [2.0, 3.0])


def test_a_power_law_is_found_again():
    found = fit_law("power", {n: 100 - 80 * n**-0.3 for n in (10.0, 100.0, 1000.0)})
    assert (found.offset, found.slope, found.floor) == pytest.approx((80.0, -0.3, 0.0))
    assert found(1e4) == pytest.approx(100 - 80 * 1e4**-0.3)


def test_a_floor_is_found_again():
    found = fit_law("power with floor", {n: 100 - 80 * n**-0.5 - 12 for n in (10.0, 30.0, 100.0, 1000.0, 5000.0)})
    assert found.floor == pytest.approx(12.0, abs=0.1)
    assert found.slope == pytest.approx(-0.5, abs=0.01)


def test_the_interval_of_the_slope_is_that_of_the_seeds():
    curves = [curve(31, 33, 35, 37), curve(30, 33, 35, 38), curve(31, 32, 36, 37)]
    slopes = [fit_law("log-linear", each).slope for each in curves]
    found = law("log-linear", curves)
    mean, ends = found.slope
    assert mean == pytest.approx(found.fit.slope) == pytest.approx(ends.value)
    half = stats.t.isf(0.025, 2) * stats.sem(slopes)
    assert (ends.low, ends.high) == pytest.approx((mean - half, mean + half))
    assert law("log-linear", curves[:2]).slope[1] is None


def test_the_largest_set_is_foretold_from_the_others():
    found = law("log-linear", [{10.0: 30.0, 100.0: 40.0, 1000.0: 47.0}])
    assert found.foretold == pytest.approx(50.0 - 47.0)
    assert law("log-linear", [{10.0: 30.0, 100.0: 40.0}]).foretold is None
    assert found.at_twice[0] == pytest.approx(found.fit(2000.0))


def test_only_laws_that_can_be_fitted_are():
    assert [found.fit.form for found in laws([{10.0: 30.0, 100.0: 40.0, 1000.0: 47.0}])] == ["log-linear", "power"]
    assert [found.fit.form for found in laws([curve(30, 33, 36, 37)])] == ["log-linear", "power", "power with floor"]
    assert [found.fit.form for found in laws([{10.0: 90.0, 100.0: 100.0}])] == ["log-linear"]
    assert laws([{10.0: 30.0}]) == []


def test_seeds_with_other_sizes_are_fitted_where_they_meet():
    found = law("log-linear", [{10.0: 30.0, 100.0: 40.0, 7.0: 1.0}, {10.0: 32.0, 100.0: 40.0}])
    assert found.slope[0] == pytest.approx(9.0)
    with pytest.raises(ValueError, match="got none"):
        law("log-linear", [])


def test_noise_is_compared_in_pairs():
    curves = [{0.0: 80.0, 0.2: 75.0, 0.4: 69.0}, {0.0: 70.0, 0.2: 66.0, 0.4: 59.0}, {0.0: 60.0, 0.2: 54.0, 0.4: 49.0}]
    found = noise_law(curves)
    assert [fall.noise for fall in found.falls] == [0.0, 0.2, 0.4]
    assert [fall.points[0] for fall in found.falls] == pytest.approx([0.0, 5.0, 11.0])
    # 5, 4 and 6 points: standard deviation 1, although the seeds are 10 points apart
    half = stats.t.isf(0.025, 2) / math.sqrt(3)
    assert found.falls[1].points[1] == pytest.approx((5.0, 5.0 - half, 5.0 + half))
    assert found.slope[0] == pytest.approx(-11 / 40)
    with pytest.raises(ValueError, match="without it and with it"):
        noise_law([{0.2: 50.0, 0.4: 40.0}])


def test_a_network_is_worth_a_factor_of_data():
    # 10 points for ten times the pictures, so a gain of 5 points is worth the root of ten
    base = [{10.0: 50.0, 100.0: 60.0}, {10.0: 52.0, 100.0: 62.0}]
    other = [{10.0: 51.0, 100.0: 65.0}, {10.0: 53.0, 100.0: 67.0}]
    found = exchange("larger", base, other)
    assert {x: gain for x, (gain, _) in found.gains.items()} == {10.0: 1.0, 100.0: 5.0}
    assert found.slopes[0] == pytest.approx(4.0)
    assert found.worth == pytest.approx(math.sqrt(10))


def test_no_factor_of_data_helps_where_data_does_not():
    base, other = [{10.0: 60.0, 100.0: 60.0}], [{10.0: 61.0, 100.0: 65.0}]
    assert exchange("larger", base, other).worth is None
    assert exchange("larger", [{100.0: 60.0}], [{100.0: 65.0}]).slopes is None
    with pytest.raises(ValueError, match="got 1 and 2 seeds"):
        exchange("larger", base, other * 2)
    with pytest.raises(ValueError, match="in common"):
        exchange("larger", [{1.0: 1.0}], [{2.0: 1.0}])


def test_as_many_sizes_as_parameters_explain_no_variance():
    assert law("log-linear", [{10.0: 30.0, 100.0: 40.0}]).r2 is None
    assert law("power", [{10.0: 30.0, 100.0: 40.0}]).to_dict()["r2"] is None
    assert law("power", [{10.0: 30.0, 100.0: 40.0, 1000.0: 44.0}]).r2 == pytest.approx(0.9, abs=0.1)


def test_slope_and_foretold_accuracy_are_those_of_the_formula_with_the_interval_around_them():
    curves = [
        {10.0: 30.0, 100.0: 60.0, 1000.0: 70.0},
        {10.0: 50.0, 100.0: 60.0, 1000.0: 90.0},
        {10.0: 10.0, 100.0: 20.0, 1000.0: 60.0},
    ]
    found = law("power", curves)
    slopes = [fit_law("power", each).slope for each in curves]
    half = stats.t.isf(0.025, 2) * stats.sem(slopes)
    assert found.fit.slope != pytest.approx(sum(slopes) / 3, abs=0.01)  # so the two could be told apart
    assert found.slope == (found.fit.slope, pytest.approx((found.fit.slope, found.fit.slope - half, found.fit.slope + half)))
    assert found.at_twice[0] == found.at_twice[1].value == found.fit(2000.0)
    assert found.to_dict()["slope"] == found.to_dict()["slope_interval"]["value"]
