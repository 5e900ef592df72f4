"""Widths as they are told."""

from dataclasses import replace

import pytest

from paretina.model.edits.rewidth import Rewidth
from paretina.model.families.efficientnet import B0

TINY = replace(B0, resolution=32, classes=5, stages=B0.stages[:3])


def widths(blueprint):
    return tuple(stage.width for stage in blueprint.stages)


@pytest.mark.parametrize(
    ("edit", "wanted"),
    [
        (Rewidth(widths=(17, 24, 41)), (17, 24, 41)),
        (Rewidth(widths=(41, 17), stages=(3, 1)), (17, 24, 41)),
        (Rewidth(widths=(7,), stages=(2,)), (16, 7, 40)),
    ],
    ids=repr,
)
def test_nothing_but_the_widths_named_changes(edit, wanted):
    edited = edit(TINY)
    assert widths(edited) == wanted
    back = tuple(replace(new, width=old.width) for new, old in zip(edited.stages, TINY.stages, strict=True))
    assert replace(edited, stages=back) == TINY
    assert [row.conv.out_channels for row in (stage[0].project for stage in edited.build("meta").stages)] == list(wanted)


def test_the_last_word_counts():
    second = Rewidth(widths=(8, 9, 10))
    assert second(Rewidth(widths=(32, 33, 34))(TINY)) == second(TINY)


def test_old_widths_bring_the_old_blueprint_back():
    assert Rewidth(widths=widths(TINY))(Rewidth(widths=(1, 2, 3))(TINY)) == TINY


def test_widths_that_are_there_already_are_refused():
    with pytest.raises(ValueError, match="changes nothing"):
        Rewidth(widths=(16, 40), stages=(1, 3))(TINY)


@pytest.mark.parametrize("number", [0, 4])
def test_a_stage_that_is_not_there_is_refused(number):
    with pytest.raises(ValueError, match=f"Rewidth names stage {number}, but stages are numbered from 1 to 3"):
        Rewidth(widths=(8,), stages=(number,))(TINY)


def test_a_table_of_another_length_is_refused():
    with pytest.raises(ValueError, match="Rewidth has 2 widths, but there are 3 stages; name them in `stages`"):
        Rewidth(widths=(8, 16))(TINY)


@pytest.mark.parametrize("given", [{"widths": ()}, {"widths": (8,), "stages": (1, 2)}, {"widths": (8, 9), "stages": (1,)}])
def test_each_stage_needs_one_width(given):
    with pytest.raises(ValueError, match="Rewidth needs one width for each stage"):
        Rewidth(**given)


def test_a_stage_named_twice_is_refused():
    with pytest.raises(ValueError, match=r"Rewidth names a stage twice: stages=\(1, 1\)"):
        Rewidth(widths=(8, 9), stages=(1, 1))
