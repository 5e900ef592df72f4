"""Ways to fine-tune against each other, on held-out training pictures."""

from dataclasses import replace

import pytest
import torch

from paretina.data.sources.arrays import Arrays
from paretina.data.transforms.squash import Squash
from paretina.measure.plan import Plan
from paretina.model.weights import About, save_model
from paretina.train.asked import Asked
from paretina.train.estimate import rehearse
from paretina.train.evaluated import Evaluated
from paretina.train.learning import Learning
from paretina.train.pilot import PROBE, Pilot, pilot
from paretina.train.ranks import Ranks
from paretina.train.recipe import Recipe
from paretina.train.remembered import maps_kept, seen_by, views_kept
from paretina.train.resolve import prepare, remembered_of
from paretina.train.starting import Starting
from tiny import noise_npz, row, tiny_blueprint

BLUEPRINT = tiny_blueprint(row(1, 8, 1), row(1, 16, 2))


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """60 pictures to train on, whose brightness tells the class."""
    folder = tmp_path_factory.mktemp("pilot")
    pictures = noise_npz(folder / "noise.npz", 60, 6, contrast=70)
    torch.manual_seed(0)
    save_model(folder / "start.safetensors", BLUEPRINT.build(), About(classes=("d", "e", "f")))
    recipe = Recipe(
        epochs=2.0,
        batch_size=20,
        transforms=(Squash(),),
        learning=Learning(frozen_stride=2, freeze_norm_statistics=True, remembered_views=1),
        start=Starting(head="probe"),
        test=Evaluated(fit="squash", crop=1.0),
    )
    return prepare(
        Asked(
            data=Arrays(path=pictures),
            model=BLUEPRINT,
            recipe=recipe,
            plan=Plan(device="cpu", precision="float32", workers=0),
            weights=str(folder / "start.safetensors"),
        )
    )


def with_rate(recipe, peak):
    return replace(recipe, optimizer=recipe.optimizer.with_peak(peak))


def test_a_way_that_ruins_the_network_is_not_chosen(prepared):
    found = pilot(prepared, {"ruin": with_rate(prepared.recipe, 100.0)}, seconds=lambda: 1e6)
    assert found.chosen == PROBE
    assert found.top1[PROBE] > found.top1["ruin"]
    assert 10 <= found.held <= 30


@pytest.mark.slow
def test_of_equally_good_ways_training_comes_before_the_probe(prepared):
    found = pilot(prepared, {"nothing": with_rate(prepared.recipe, 1e-12)}, seconds=lambda: 1e6)
    assert found.top1["nothing"] == found.top1[PROBE]
    assert found.chosen == "nothing"


@pytest.mark.slow
def test_without_time_for_updates_that_say_something_the_probe_is_chosen(prepared):
    ways = {"one": prepared.recipe, "other": with_rate(prepared.recipe, 1e-3)}
    for seconds in (0.0, -0.5, -100.0):
        found = pilot(prepared, ways, seconds=lambda left=seconds: left)
        assert (set(found.top1), found.chosen) == ({PROBE}, PROBE)
    assert found.said() == "pilot: the time is too short for 20 updates, so linear probe"


def test_it_is_said_in_figures():
    said = Pilot(578, {PROBE: 78.02, "lr=1e-4": 79.5}, "lr=1e-4").said()
    assert said == "pilot: of 578 held-out training pictures: linear probe 78.0 %, lr=1e-4 79.5 %; so lr=1e-4"


def test_the_run_after_it_uses_the_same_maps(prepared, monkeypatch):
    made = []

    def counted(*arguments):
        made.append(1)
        return seen_by(*arguments)

    monkeypatch.setattr("paretina.train.remembered.seen_by", counted)
    with maps_kept():
        first = remembered_of(prepared, Ranks())
        assert views_kept() == 1
        second = remembered_of(prepared, Ranks())
    assert len(made) == 1
    assert torch.equal(first.maps[0], second.maps[0])
    remembered_of(prepared, Ranks())
    assert len(made) == 2
    assert views_kept() == 0


def test_what_is_kept_is_not_counted_again(prepared):
    assert rehearse(prepared).begin_s > 0
    with maps_kept():
        remembered_of(prepared, Ranks())
        assert rehearse(prepared).begin_s == 0


def test_pictures_that_cannot_be_held_out_leave_the_probe(prepared):
    few = replace(prepared, train=replace(prepared.train, samples=prepared.train.samples[:3], places=prepared.train.places[:3]))
    found = pilot(few, {"one": prepared.recipe}, seconds=lambda: 1e6)
    assert found.chosen == PROBE
    assert found.said() == "pilot: there are too few pictures to hold some out, so linear probe"
