"""Choices of sizes by hand, and sizes that take turns."""

from collections import Counter

import pytest
import torch

from paretina.measure.cost import cost
from paretina.measure.routes import TurnsOfSizes, compare_choices, routes_said, routes_taken
from paretina.model.assemblies.route import Route
from paretina.model.stems.conv import ConvStem
from tiny import row, tiny_blueprint

NETWORK = Route(sizes=(16, 32))(tiny_blueprint(row(1, 16, 1), resolution=32, stem=ConvStem(width=16))).build("meta")


def test_choices_by_hand():
    # four pictures of class 0; at 16 pixels the first two are right, at 32 the second and the third
    right = torch.tensor([[1, 1, 0, 0], [0, 1, 1, 0]])
    answers = torch.stack([right, 1 - right, torch.zeros_like(right)], 2).float()
    found = compare_choices(NETWORK, answers, torch.zeros(4, dtype=torch.long), torch.tensor([0, 0, 1, 0]))
    tops = {each.name: each.top1.value for each in found.choices}
    assert tops == {"its own": 75.0, "always 16": 50.0, "always 32": 50.0, "by chance, as often": 50.0, "oracle": 75.0}
    shares = {each.name: each.shares for each in found.choices}
    assert shares["its own"] == shares["by chance, as often"] == (0.75, 0.25)
    assert shares["oracle"] == (0.75, 0.25)  # the picture that is never right takes the cheapest
    counted = cost(NETWORK.model)
    small, large = (route.macs for route in counted.routes)
    macs = {each.name: each.macs for each in found.choices}
    assert macs["oracle"] == macs["by chance, as often"] == 0.75 * small + 0.25 * large
    assert macs["its own"] == pytest.approx(macs["oracle"] + counted.macs - large)
    assert [line.split("  ")[0] for line in found.table()][1:] == list(tops)


def test_chance_is_the_mean_over_all_draws():
    answers = torch.zeros(2, 10, 3)
    answers[0, :, 1] = 1.0  # at 16 pixels all are wrong
    answers[1, :, 0] = 1.0
    found = compare_choices(NETWORK, answers, torch.zeros(10, dtype=torch.long), (torch.arange(10) >= 7).long())
    assert {each.name: each.top1.value for each in found.choices}["by chance, as often"] == pytest.approx(30.0)


def test_what_was_taken_in_words():
    taken = routes_taken(NETWORK, (30, 10))
    assert taken.shares == (0.75, 0.25)
    assert taken.said().startswith("sizes of 40 pictures: 16 75 %, 32 25 %; ")
    assert taken.said() == routes_said(taken.to_dict())
    assert routes_taken(NETWORK, (0, 0)) is None


def test_sizes_take_turns_by_their_shares():
    turns = TurnsOfSizes((0.5, 0.3, 0.2))
    counts = Counter(turns(1).item() for _ in range(100))
    assert counts == {0: 50, 1: 30, 2: 20}
    whole = TurnsOfSizes((0.5, 0.3, 0.2))(20)
    assert torch.bincount(whole).tolist() == [10, 6, 4]
    assert torch.bincount(whole[:10]).tolist() == [5, 3, 2]
    assert TurnsOfSizes((0.0, 1.0))(3).tolist() == [1, 1, 1]
