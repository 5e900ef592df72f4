from dataclasses import replace

import pytest
import torch
from torch import nn

from paretina.measure.parts import parts_of, passages
from paretina.model.families.efficientnet import B0


class Twice(nn.Module):
    """Calls its part two times, with something in between that is in no part."""

    def __init__(self):
        super().__init__()
        self.part = nn.Linear(2, 2)
        self.end = nn.Linear(2, 1)

    def forward(self, x):
        return self.end(self.part(self.part(x) + 1)) * 3


def names(module):
    return [part.name for part in parts_of(module)]


def test_our_networks_have_the_parts_of_their_table():
    network = replace(B0, stages=B0.stages[:3]).build("meta")
    assert names(network) == ["stem", "stage 1", "stage 2", "stage 3", "head"]
    assert parts_of(network)[3].module is network.stages[2]


def test_a_part_with_most_of_the_parameters_is_taken_apart():
    large = nn.Sequential(nn.Linear(9, 9), nn.Linear(9, 9))
    module = nn.Sequential()
    module.add_module("first", nn.Linear(2, 2))
    module.add_module("large", large)
    assert names(module) == ["first", "large.0", "large.1"]


def test_a_list_is_taken_apart_however_small_since_it_is_never_called():
    module = nn.Module()
    module.list = nn.ModuleList([nn.Linear(1, 1), nn.Linear(1, 1)])
    module.large = nn.Linear(9, 9)
    assert names(module) == ["list.0", "list.1", "large"]


def test_what_only_wraps_another_gives_no_name():
    module = nn.Module()
    module.inner = nn.Module()
    module.inner.a, module.inner.b = nn.Linear(2, 2), nn.Linear(2, 2)
    assert names(module) == ["a", "b"]


def test_a_passage_reaches_from_border_to_border():
    module, ticks = Twice(), iter(range(100))
    out, found = passages(parts_of(module), lambda: next(ticks), lambda: module(torch.ones(1, 2)))
    assert [(each.name, each.before, each.behind) for each in found] == [
        ("part", 0, 1),
        ("part", 1, 2),
        ("end", 2, 3),
        ("", 3, 4),
    ]
    torch.testing.assert_close(out, 3 * found[2].out)


def test_nothing_is_left_behind_even_after_an_error():
    module = Twice()
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        passages(parts_of(module), lambda: 0, lambda: module(torch.ones(1, 3)))
    assert not any(child._forward_hooks for child in module.modules())
