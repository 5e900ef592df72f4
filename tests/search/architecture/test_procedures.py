"""What every procedure must do, and what each is for."""

import importlib.util
import math

import pytest

from paretina.measure.pareto import volume
from paretina.search.architecture.procedure import procedure_named
from paretina.search.architecture.procedures.evolution import Evolution
from paretina.search.architecture.procedures.halving import SuccessiveHalving
from paretina.search.architecture.procedures.random import RandomSearch
from paretina.search.architecture.space import Dimension

OWN = ["random", "evolution", "halving"]
ALL = [*OWN, *(["tpe", "nsga2"] if importlib.util.find_spec("optuna") else [])]
DIMENSIONS = [Dimension(f"x{number}", tuple(range(8))) for number in range(5)] + [Dimension("kind", ("a", "b", "c"), False)]


def score(point):
    return -1.0 * sum((value - 3) ** 2 for name, value in point.items() if name != "kind") - (point["kind"] != "b")


def searched(word, seed, trials=40, together=1, misses=lambda point: False):
    """Points that were tried, with their shares and scores."""
    searcher = procedure_named(word).begin(DIMENSIONS, trials, 1, seed)
    tried, used = [], 0.0
    while used < trials - 1e-9:
        batch = []
        while len(batch) < together and (proposal := searcher.ask()) is not None:
            if misses(proposal.point):
                searcher.tell(proposal, None)
            else:
                batch.append(proposal)
        if not batch:
            break
        for proposal in batch:
            used += proposal.share
            tried.append((proposal.point, proposal.share, score(proposal.point)))
            searcher.tell(proposal, (score(proposal.point),))
    return tried, used


@pytest.mark.parametrize("word", ALL)
@pytest.mark.parametrize("together", [1, 4])
def test_the_same_seed_asks_the_same_points_and_another_does_not(word, together):
    assert searched(word, 1, 12, together) == searched(word, 1, 12, together)
    assert searched(word, 1, 12, together) != searched(word, 2, 12, together)


@pytest.mark.parametrize("word", ALL)
def test_what_misses_the_budget_costs_no_trial(word):
    tried, used = searched(word, 0, 20, misses=lambda point: point["x0"] > 4)
    assert used == pytest.approx(20 if word != "halving" else 18)  # 6 trials a rung, in 3 rungs
    assert all(point["x0"] <= 4 for point, _, _ in tried)


@pytest.mark.parametrize("word", [word for word in ALL if word not in ("random", "nsga2")])
def test_it_beats_random_where_neighbours_resemble_each_other(word):
    def best(of):
        return sum(max(value for *_, value in searched(of, seed, 45)[0]) for seed in range(4)) / 4

    assert best(word) > best("random")


def test_halving_trains_the_best_of_a_rung_longer_and_no_more_in_all():
    assert SuccessiveHalving().sizes(12) == ([36, 12, 4], [1 / 9, 1 / 3, 1])
    tried, used = searched("halving", 0, 12)
    assert used == pytest.approx(12)
    rungs = {share: [value for _, own, value in tried if own == share] for share in (1 / 9, 1 / 3, 1)}
    assert sorted(rungs[1], reverse=True) == sorted(rungs[1 / 3], reverse=True)[:4]
    assert sorted(rungs[1 / 3], reverse=True) == sorted(rungs[1 / 9], reverse=True)[:12]


def test_a_child_differs_from_a_parent_in_one_value_by_one_step():
    searcher = Evolution(population=2, tournament=2).begin(DIMENSIONS, 20, 1, 0)
    parents = []
    for value in (1.0, 2.0):
        proposal = searcher.ask()
        parents.append(proposal.point)
        searcher.tell(proposal, (value,))
    for _ in range(30):
        child = searcher.ask().point  # nothing is told, so the better one stays the parent
        (name,) = [name for name in child if child[name] != parents[1][name]]
        assert name == "kind" or abs(child[name] - parents[1][name]) == 1


def test_the_oldest_dies_however_good_it_is():
    searcher = Evolution(population=2, tournament=2).begin(DIMENSIONS, 20, 1, 0)
    for value in (9.0, 1.0, 2.0):
        searcher.tell(searcher.ask(), (value,))
    assert [values for _, values in searcher.population] == [(1.0,), (2.0,)]


def hypervolume(word, trials, seed=0):
    """Of accuracy 1 - 1 / width against cost width^2, where every width is on the front and a second value only loses."""
    widths = tuple(1.0 + step / 4 for step in range(37))
    dimensions = [Dimension("width", widths), Dimension("loss", tuple(range(6)))]
    searcher = procedure_named(word).begin(dimensions, trials, 2, seed)
    seen = []
    for _ in range(trials):
        proposal = searcher.ask()
        width, loss = proposal.point["width"], proposal.point["loss"]
        seen.append((1 - 1 / width - loss / 10, -math.log(width**2)))
        searcher.tell(proposal, seen[-1])
    corner = (0.0, -math.log(121.0))
    return volume(seen, corner) / volume([(1 - 1 / width, -math.log(width**2)) for width in widths], corner)


@pytest.mark.slow
@pytest.mark.parametrize("word", [word for word in ALL if word not in ("random", "halving")])
def test_the_front_of_a_known_space_is_found_within_5_percent(word):
    assert hypervolume(word, 200) > 0.95


def test_unknown_procedures_have_the_near_name():
    with pytest.raises(ValueError, match="did you mean 'evolution'"):
        procedure_named("evolutoin")


def test_without_optuna_its_extra_is_named(monkeypatch):
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *rest: None if name == "optuna" else found(name, *rest))
    assert procedure_named("random") == RandomSearch()
    for word in ("tpe", "nsga2"):
        with pytest.raises(ValueError, match=r"pip install 'paretina\[search\]'"):
            procedure_named(word)
