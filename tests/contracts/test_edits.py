"""What every edit of a blueprint must satisfy, run over small cuts of the named networks."""

from dataclasses import dataclass, replace

import pytest

from covering import covering
from paretina.model.blueprint import Blueprint, Edit
from paretina.model.edits.classes import Classes
from paretina.model.families.efficientnet import B0
from paretina.model.families.efficientnetv2 import S
from paretina.model.families.resnet import R50
from paretina.model.family import network_named
from paretina.spec import modules_in

EXAMPLES = [example for module in modules_in("paretina.model.edits") for example in getattr(module, "EXAMPLES", ())]
every_edit = pytest.mark.parametrize("edit", EXAMPLES, ids=repr)
OTHERS = [network_named(name).blueprint for name in ("deit_tiny", "convnext_tiny")]
BASES = [replace(whole, resolution=32, classes=5, stages=whole.stages[:2]) for whole in (B0, S, R50, *OTHERS)]


def edited(edit, blueprint):
    """The edited blueprint, or None where the edit refuses this one."""
    try:
        return edit(blueprint)
    except ValueError:
        return None


@every_edit
def test_changes_some_network_and_answers_the_same_question(edit):
    results = {base: edited(edit, base) for base in BASES}
    assert any(results.values())
    for base, result in results.items():
        if result is not None:
            assert result != base
            assert result.classes == (edit.count if isinstance(edit, Classes) else base.classes)
            assert Blueprint.from_json(result.to_json()) == result
            assert result.build("meta").blocks >= 1


@every_edit
def test_gives_the_same_blueprint_each_time(edit):
    assert [edited(edit, base) for base in BASES] == [edited(edit, base) for base in BASES]


@pytest.mark.parametrize(("first", "second"), covering(EXAMPLES, EXAMPLES, each=4), ids=repr)
def test_composes_with_every_other(first, second):
    once = next(result for base in BASES if (result := edited(first, base)) is not None)
    both = edited(second, once)
    if both is not None:
        assert both != once
        both.build("meta")


@pytest.mark.parametrize("kind", dict.fromkeys(type(edit) for edit in EXAMPLES), ids=lambda kind: kind.__name__)
def test_is_called_as_all_edits_are(kind):
    assert kind.__call__ is Edit.__call__  # which refuses to change nothing


@dataclass(frozen=True, kw_only=True)
class Idle(Edit):
    def edit(self, blueprint):
        return replace(blueprint)


def test_an_edit_that_changes_nothing_is_refused():
    with pytest.raises(ValueError, match=r"Idle\(\) changes nothing in this blueprint \(arXiv:1905.11946, table 1\)"):
        Idle()(B0)
