"""Another number of answers."""

from dataclasses import replace

import pytest
import torch

from paretina.model.edits.classes import Classes
from paretina.model.families.efficientnet import B0

TINY = replace(B0, resolution=32, classes=5, stages=B0.stages[:2])


def test_nothing_but_the_last_layer_changes():
    edited = Classes(count=7)(TINY)
    assert replace(edited, classes=5) == TINY
    before, after = (blueprint.build("meta").state_dict() for blueprint in (TINY, edited))
    assert {name for name in before if before[name].shape != after[name].shape} == {
        "head.classifier.weight",
        "head.classifier.bias",
    }
    assert edited.build().eval()(torch.rand(2, 3, 32, 32)).shape == (2, 7)


def test_the_same_number_is_refused():
    with pytest.raises(ValueError, match="changes nothing"):
        Classes(count=5)(TINY)


def test_no_answer_is_refused():
    with pytest.raises(ValueError, match=r"Blueprint.classes must be between 1 and 1000000, got 0"):
        Classes(count=0)(TINY)
