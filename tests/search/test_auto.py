"""Network, image size, recipe and length that are chosen for a folder, a machine and a time."""

from dataclasses import replace

import numpy as np
import pytest

from paretina.data.sources.arrays import Arrays
from paretina.measure.pace import NetworkPace
from paretina.measure.plan import Plan
from paretina.model.family import network_named
from paretina.search import auto as module
from paretina.search.auto import SMALL, TIME_S, FolderLook, choose_auto, look_at, whole_passes
from paretina.verbs.asking import ask

PLAN = Plan(device="cpu", precision="float32")
LITE = [network_named("efficientnet_lite0"), network_named("efficientnet_lite1")]


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """80 pictures to train on and 20 to validate on, 40 pixels wide and 30 high."""
    path = tmp_path_factory.mktemp("auto") / "noise.npz"
    images = np.random.default_rng(0).integers(0, 255, (100, 30, 40, 3), dtype=np.uint8)
    labels = np.arange(100) % 4
    np.savez(path, images=images, labels=labels, split=["train"] * 80 + ["val"] * 20, classes=["a", "b", "c", "d"])
    return Arrays(path=str(path))


@pytest.fixture
def paces(monkeypatch):
    """Sets how long networks seem to take: seconds per image of an update at 64 pixels."""

    def set_paces(train_s, weights=()):
        def pace(model, side, plan, frozen=(), folder=None, learning=True):
            return NetworkPace(train_s, train_s / 3, 64).at(side)

        monkeypatch.setattr(module, "pace", pace)
        monkeypatch.setattr(module, "with_weights", lambda ask: list(weights))

    return set_paces


def test_a_folder_is_looked_at(pictures):
    found = look_at(pictures.open())
    assert found.aspect == pytest.approx(4 / 3)
    assert replace(found, aspect=1.0) == FolderLook(80, 20, 4, 20, 30, 1.0)


def test_without_weights_the_time_decides_network_and_image_size(pictures, paces):
    paces(0.001)
    found = [choose_auto(pictures, PLAN, "none", seconds=seconds) for seconds in (8.0, 16.0, 30.0, 60.0, 10000.0)]
    order = [(name, max(24, min(30, side))) for name, side in SMALL]
    places = [order.index((each.model, each.fields["recipe.size"])) for each in found]
    assert places == sorted(places)
    assert places[0] == 0
    assert found[-1].model == SMALL[-1][0]
    assert not any(each.pilot for each in found)


def test_from_scratch_images_are_smaller_where_there_are_fewer_updates(tmp_path, paces):
    path = tmp_path / "large.npz"
    images = np.random.default_rng(0).integers(0, 255, (40, 100, 100, 3), dtype=np.uint8)
    np.savez(path, images=images, labels=np.arange(40) % 4, split=["train"] * 32 + ["val"] * 8, classes=["a", "b", "c", "d"])
    paces(0.02)
    short, long = (choose_auto(Arrays(path=str(path)), PLAN, "none", seconds=seconds) for seconds in (60.0, 6000.0))
    assert short.fields["recipe.size"] < long.fields["recipe.size"] == 64
    own = choose_auto(Arrays(path=str(path)), PLAN, "none", given={"size": 40}, seconds=60.0)
    assert own.fields["model.resolution"] == 40


def test_evaluations_take_a_small_part_of_the_time():
    seen = FolderLook(100, 1000, 2, 50, 64, 1.0)
    assert module.evaluate_every(seen, NetworkPace(0.01, 0.004, 64)) == 80.0
    assert module.evaluate_every(replace(seen, val=1), NetworkPace(0.01, 0.004, 64)) == 1.0


def test_a_short_run_is_not_regularised(pictures, paces):
    paces(0.02, LITE[:1])
    short, long = (choose_auto(pictures, PLAN, seconds=seconds).fields for seconds in (50.0, 600.0))
    assert (short["recipe.average"].initial, long["recipe.average"].initial) == (0.5, 0.25)
    assert [term.smoothing.value for term in long["recipe.objective"].terms] == [0.1]
    assert not any(each.MIXES for each in short["recipe.transforms"])
    assert short["recipe.transforms"]
    assert [term.smoothing.value for term in short["recipe.objective"].terms] == [0.0]


def test_with_weights_a_pilot_decides_whether_the_linear_classifier_is_improved_on(pictures, paces):
    paces(0.01, LITE)
    for seconds in (600.0, 6000.0):  # whatever the time, nothing ships unseen that the classifier would beat
        found = choose_auto(pictures, PLAN, seconds=seconds)
        assert (found.recipe, found.pilot, found.fields["recipe.start.head"]) == ("finetune", True, "probe")
        assert found.fields["recipe.learning"].frozen_stride == 16
        assert found.fields["recipe.epochs"] == 12 * 400 / 15  # 400 updates of 64 of the 80 pictures


def test_where_the_time_is_too_short_for_updates_the_linear_classifier_is_all(pictures, paces):
    paces(0.1, LITE)
    found = choose_auto(pictures, PLAN, seconds=20.0)
    assert (found.pilot, found.fields["recipe.epochs"]) == (False, 0.0)
    said = "recipe: a linear classifier on frozen features: the time is too short for more"
    assert found.said[2] == f"{said}; fine-tuning at 96 pixels needs about --time-limit 10m"


def test_a_larger_network_is_taken_where_there_is_time_for_fine_tuning_it(pictures, paces):
    paces(0.01, LITE)
    small, large = (choose_auto(pictures, PLAN, seconds=seconds) for seconds in (47.0, 600.0))
    assert (small.model, small.fields["recipe.size"]) == ("efficientnet_lite0", 224)
    assert (large.model, large.fields["recipe.size"]) == ("efficientnet_lite1", 240)


def test_images_are_smaller_where_the_time_is_short(pictures, paces):
    paces(0.05, LITE[:1])
    found = [choose_auto(pictures, PLAN, seconds=seconds).fields for seconds in (14.0, 25.0, 900.0, 6000.0)]
    sides = [fields["recipe.size"] for fields in found]
    assert sides == sorted(sides)
    assert sides[-1] == 224
    assert [fields["recipe.start.probe_size"] for fields in found] == sides
    assert [fields["recipe.epochs"] > 0 for fields in found] == [False, False, True, True]
    assert 0.7 * 224 <= sides[2] < 224
    said = choose_auto(pictures, PLAN, seconds=900.0).said[1]
    assert said.endswith(f"at {sides[2]} pixels, since the time is too short for 224")


def test_more_views_are_remembered_where_there_is_time_and_memory(pictures, paces, monkeypatch):
    paces(0.01, LITE[:1])
    fields = [choose_auto(pictures, PLAN, given={"size": 224}, seconds=seconds).fields for seconds in (24.0, 600.0)]
    assert [each["recipe.learning"].remembered_views for each in fields] == [1, 4]
    one = 80 * 2 * 112 * 14 * 14

    def check(wanted):
        if wanted > 2.5 * one:
            raise ValueError("too much")

    monkeypatch.setattr(module, "check_room", check)
    found = choose_auto(pictures, PLAN, seconds=600.0)
    assert found.fields["recipe.learning"].remembered_views == 2
    monkeypatch.setattr(module, "check_room", lambda wanted: check(1e12))
    found = choose_auto(pictures, PLAN, seconds=600.0)
    assert (found.pilot, found.fields["recipe.epochs"], found.fields["recipe.learning"].remembered_views) == (False, 0.0, 0)
    assert "the memory that is left has no room" in found.said[2]


def test_what_the_pilot_does_not_go_with_fine_tunes_the_whole_network(pictures, paces):
    paces(0.0001, LITE)
    given = {"objective.terms.CrossEntropy.smoothing": 0.2}
    sizes = [choose_auto(pictures, PLAN, given=given, seconds=seconds).fields["recipe.size"] for seconds in (12.0, 14.0, 60.0)]
    assert sizes == [96, 160, 224]
    assert not choose_auto(pictures, PLAN, given=given, seconds=60.0).pilot


def test_what_is_given_is_kept(pictures, paces):
    paces(0.01, LITE)
    found = choose_auto(pictures, PLAN, given={"size": 96, "lr": 0.1}, seconds=30.0)
    assert {"recipe.size", "recipe.optimizer.lr"}.isdisjoint(found.fields)
    assert found.fields["model.resolution"] == 96
    own = choose_auto(pictures, PLAN, given={"objective.terms.CrossEntropy.smoothing": 0.2}, seconds=30.0)
    assert not own.pilot
    assert "recipe.learning" not in own.fields


def test_the_time_is_ten_minutes_unless_epochs_are_given(pictures, paces):
    paces(0.001)
    assert choose_auto(pictures, PLAN).seconds == TIME_S
    assert choose_auto(pictures, PLAN, seconds=30.0).seconds == 30.0
    assert choose_auto(pictures, PLAN, given={"epochs": 3}).seconds is None


def test_passes_count_the_evaluation():
    seen = FolderLook(100, 50, 2, 50, 64, 1.0)
    assert whole_passes(NetworkPace(0.01, 0.004, 64), 64, seen, 10.0) == pytest.approx((9.0 - 0.2) / 1.0)
    assert whole_passes(NetworkPace(0.01, 0.004, 64), 64, seen, 0.0) == 0.0


def test_asking_for_nothing_asks_for_auto(pictures, paces):
    paces(0.001)
    choice = ask(pictures, weights="none", device="cpu")
    assert choice.asked.model_name in {name for name, _ in SMALL}
    assert choice.seconds == TIME_S
    assert choice.said[0].startswith("data: 80 training pictures of 4 classes (the smallest has 20), 20 for validation")
    assert choice.origin("recipe.size") == "auto"
    assert ask(pictures, "auto", "auto", "none", "cpu").asked == choice.asked


@pytest.mark.parametrize(
    ("words", "name"),
    [
        ({"fields": {"edits.Fuse": "on"}}, "efficientnet_b0"),
        ({"fields": {"model.stem.width": 16}}, "efficientnet_b0"),
        ({"weights": "timm:resnet18"}, "resnet18"),
        ({"model": "resnet18"}, "resnet18"),
    ],
)
def test_nothing_is_chosen_where_the_network_is_given(pictures, words, name):
    choice = ask(pictures, **{"weights": "none", "device": "cpu", **words})
    assert choice.asked.model_name == name
    assert (choice.said, choice.seconds, choice.pilot) == ((), None, False)


def test_rising_sizes_and_auto_go_together(pictures, paces):
    paces(0.01, LITE)
    choice = ask(pictures, device="cpu", progressive="32:64", time_limit=30.0)
    assert not choice.pilot
    assert choice.asked.training_sides() >= {32, 64}


def test_a_set_of_other_sizes_is_described():
    assert FolderLook(1500, 300, 2, 700, 100, 1.0).said().endswith("300 for validation, typically 100 pixels")
    assert FolderLook(1, 0, 1, 1, 100, 2.0).said().endswith("typically 100 x 200 pixels")


def test_several_processes_fine_tune_at_the_lowest_rate_and_say_so(pictures, paces):
    paces(0.01, LITE[:1])
    said = []
    asked = module.without_pilot(ask(pictures, device="cpu", time_limit=60.0).asked, said.append)
    assert module.with_rate(asked.recipe, min(module.RATES.values())) == asked.recipe
    assert "lr=1e-3" in said[0]


def test_what_is_given_says_why_there_is_no_linear_classifier(pictures, paces):
    paces(0.001, LITE)
    found = choose_auto(pictures, PLAN, given={"objective.terms.CrossEntropy.smoothing": 0.2}, seconds=60.0)
    why = "since objective.terms.CrossEntropy.smoothing is given, neither a linear classifier nor a pilot"
    assert found.said[2] == f"recipe: finetune, from a new last layer: {why}"
    assert "since the recipe finetune is given" in choose_auto(pictures, PLAN, recipe="finetune", seconds=60.0).said[2]
    assert "since none are wanted" in choose_auto(pictures, PLAN, "none", seconds=60.0).said[1]


def test_epochs_that_are_given_keep_the_linear_classifier(pictures, paces):
    paces(0.001, LITE)
    found = choose_auto(pictures, PLAN, given={"epochs": 3}, seconds=60.0)
    assert found.pilot
    assert found.seconds == 60.0
    assert "recipe.epochs" not in found.fields
    assert not any(text.startswith("expected") for text in found.said)


def test_epochs_that_are_given_are_made_or_not_whatever_the_time(pictures, paces):
    paces(1.0, LITE)
    short = choose_auto(pictures, PLAN, given={"epochs": "3"}, seconds=20.0)  # too short, if nothing were given
    assert short.pilot
    assert "a pilot on held-out training pictures decides" in short.said[2]
    none = choose_auto(pictures, PLAN, given={"epochs": "0"}, seconds=6000.0)
    assert not none.pilot
    assert none.said[2] == "recipe: a linear classifier on frozen features: epochs=0"


def test_a_small_set_gets_enough_updates(pictures, paces):
    paces(0.01, LITE)
    assert module.passes_wanted(look_at(pictures.open())) == 64.0  # 80 updates of a batch of 64 pictures
    assert module.passes_wanted(FolderLook(2000, 20, 4, 20, 30, 1.0)) == 4.0
