"""Which layers stay in float is decided by the accuracy that is lost, on few layers at most."""

import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from paretina.ship import quantise
from paretina.ship.format import Calibration

IMAGES = tuple(torch.full((3, 4, 4), number, dtype=torch.uint8) for number in range(4))
SOME = Calibration(IMAGES, IMAGES, answers=torch.tensor([0, 1, 2, 0]), labels=torch.tensor([0, 1, 0, 1]), most=0.1)


def test_what_is_lost_goes_by_the_labels_and_what_changes_by_the_answers():
    found = torch.tensor([0, 0, 0, 1])  # two wrong ones became right, and a right one wrong
    assert SOME.changed(found) == 0.75
    assert SOME.lost(found) == pytest.approx(-0.25)
    assert SOME.lost(SOME.answers) == SOME.changed(SOME.answers) == 0.0
    assert "75.00 % change their answer, and the share that is right moves by +25.00 points" in quantise.on_others(found, SOME)


class Node:
    """A layer, or what its weights come from."""

    def __init__(self, rounded=False, kind="Convolution"):
        self.rounded, self.kind = rounded, kind

    def get_type_name(self):
        return self.kind

    def get_element_type(self):
        return SimpleNamespace(get_type_name=lambda: "f32")

    def get_friendly_name(self):
        return "conv"

    def input_values(self):
        return []

    def input_value(self, number):
        before = {"Convolution": "Reshape", "Reshape": "FakeQuantize" if self.rounded else "Constant"}[self.kind]
        return SimpleNamespace(get_node=lambda: Node(self.rounded, before))


class Model:
    """Stands for a graph; its name says what it answers."""

    def __init__(self, answers, rounded=3):
        self.answers, self.rounded = answers, rounded

    def get_ops(self):
        return [Node(number < self.rounded) for number in range(3)]

    get_ordered_ops = get_ops


@pytest.fixture
def asked(monkeypatch):
    """What NNCF was asked for; it is not run, since it needs minutes."""
    given = {}

    def controlled(model, data, held, right, **options):
        given.update(options)
        answer = np.eye(3)[[0, 1, 0, 1]]
        given["right"] = right(lambda image: [answer[int(image[0][0, 0, 0, 0])][None]], held)[0]
        return Model([0, 1, 0, 1], rounded=1)

    stand_in = SimpleNamespace(
        IgnoredScope=lambda names: names,
        Dataset=list,
        QuantizationPreset=SimpleNamespace(MIXED="mixed"),
        DropType=SimpleNamespace(ABSOLUTE="absolute"),
        AdvancedAccuracyRestorerParameters=lambda **options: options,
        quantize=lambda model, data, **options: Model(given.pop("first")),
        quantize_with_accuracy_control=controlled,
    )
    monkeypatch.setattr(quantise, "quiet_nncf", lambda: stand_in)
    monkeypatch.setattr(quantise, "version_of", lambda package: "0")
    monkeypatch.setattr(quantise, "openvino_answers_of", lambda model, calibration: torch.tensor(model.answers))
    return given


def test_nothing_is_taken_back_where_no_accuracy_is_lost_however_many_answers_change(asked):
    asked["first"] = [0, 0, 0, 1]
    _, said = quantise.quantised_openvino(Model([]), SOME)
    assert "max_drop" not in asked
    assert "took" not in said[0]
    assert "3 layers in int8; " in said[0]


def test_a_loss_takes_a_bounded_number_of_layers_back_by_the_labels(asked):
    asked["first"] = [2, 2, 2, 2]
    found, said = quantise.quantised_openvino(Model([]), SOME)
    assert asked["max_drop"] == SOME.most
    restorer = asked["advanced_accuracy_restorer_parameters"]
    assert restorer == {"max_num_iterations": quantise.MOST, "ranking_subset_size": quantise.RANKED_ON}
    assert asked["right"] == 1.0  # all four are given their labels
    assert found.answers == [0, 1, 0, 1]
    assert "1 layer in int8; " in said[0]
    assert said[0].endswith("; NNCF took 2 of 3 layers back to float")


def test_the_stand_in_has_the_names_of_the_real_one():
    nncf = pytest.importorskip("nncf")
    names = ("IgnoredScope", "Dataset", "QuantizationPreset", "DropType", "AdvancedAccuracyRestorerParameters")
    assert all(hasattr(nncf, name) for name in (*names, "quantize", "quantize_with_accuracy_control"))
    parameters = nncf.AdvancedAccuracyRestorerParameters(max_num_iterations=3, ranking_subset_size=4)
    assert (parameters.max_num_iterations, parameters.ranking_subset_size) == (3, 4)
    assert "nncf" in sys.modules
