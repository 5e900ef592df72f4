"""Learning curves: the law, its forecast, its own check, and what it says of classes."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from paretina import verbs
from paretina.cli import main
from paretina.measure.learning_curve import Measurement, PowerLaw, errors_at, fit_laws, learning_curve
from paretina.model.weights import About, save_model
from paretina.verbs import more
from paretina.verbs.more import drawn, shares_for
from tiny import noise_npz, row, tiny_blueprint

SIZES = (100, 200, 400, 800, 1600)
CLASSES = ("a", "b", "c", "d")


def made_up(laws, sizes=SIZES, pictures=2000, repeats=5, seed=0):
    """Classifiers whose errors follow a law, or one for each class: each picture has a difficulty, alike in all of them.

    Those of one size differ by what their training sets happen to be, the less the larger these are.
    """
    random = np.random.default_rng(seed)
    difficulty, labels = random.random(pictures), np.arange(pictures) % len(CLASSES)
    laws = laws if isinstance(laws, list) else [laws] * len(CLASSES)
    found = []
    for n in sizes:
        errors = np.array([law(n) for law in laws])[labels]
        rows = [difficulty > errors + 0.1 * n**-0.5 * random.standard_normal() for _ in range(repeats)]
        found.append(Measurement(n, np.stack(rows[:1] if n == sizes[-1] else rows)))
    return found, labels


def curve_of(law, **settings):
    found, labels = made_up(law, **settings)
    return learning_curve(found, labels, CLASSES, [400] * 4)


def test_the_law_is_found():
    true = PowerLaw(2.0, 0.5, 0.1)
    errors = np.array([[true.error(n) for n in SIZES]])
    ((a, b, c),) = fit_laws(SIZES, errors, np.ones(len(SIZES)))
    assert b == pytest.approx(0.5, rel=0.05)
    assert c == pytest.approx(0.1, abs=0.01)
    assert PowerLaw(a, b, c).error(3200) == pytest.approx(true.error(3200), abs=1e-3)


def test_bounds_hold():
    rising, steep, flat = [0.1, 0.2, 0.3, 0.4], [0.8, 0.4, 0.1, 0.0], [0.25] * 4
    laws = fit_laws((10, 20, 40, 80), np.array([rising, steep, flat]), np.ones(4))
    assert (laws[:, 0] >= 0).all()
    assert (laws[:, 1] > 0).all()
    assert (laws[:, 2] >= 0).all()
    assert errors_at(laws, 160)[0] == pytest.approx(0.25)  # no law rises, so the mean is the best
    assert errors_at(laws, 160)[2] == pytest.approx(0.25)
    assert errors_at(np.array([[5.0, 0.1, 0.2]]), 1)[0] == 1.0


def test_a_falling_error_says_that_more_pictures_help_and_how_much():
    law = PowerLaw(3.0, 0.4, 0.02).error
    curve = curve_of(law)
    assert curve.verdict == "yes"
    assert curve.holds is True
    twice, four = curve.forecasts
    assert (twice.n, four.n) == (3200, 6400)
    assert twice.top1.low <= 100 * (1 - law(3200)) <= twice.top1.high
    assert four.top1.low <= 100 * (1 - law(6400)) <= four.top1.high
    assert twice.gained.value == pytest.approx(100 * (law(1600) - law(3200)), abs=1.5)
    assert twice.gained.low > 0


def test_a_flat_error_says_that_more_pictures_hardly_help():
    curve = curve_of(PowerLaw(0.0, 1.0, 0.2).error)
    assert curve.verdict == "no"
    assert curve.forecasts[1].gained.high < 2


def test_few_pictures_to_judge_leave_it_open():
    assert curve_of(PowerLaw(1.0, 0.25, 0.0).error, pictures=24).verdict == "unclear"


def test_a_law_that_breaks_is_found_by_its_own_check():
    # falling as a power law, until the whole set suddenly gains nothing
    curve = curve_of(lambda n: PowerLaw(3.0, 0.4, 0.0).error(min(n, 800)))
    assert curve.holds is False
    assert curve.missed.high < 0
    assert curve.verdict == "unclear"


@pytest.mark.slow
def test_intervals_cover():
    law, covered = PowerLaw(2.0, 0.4, 0.05).error, 0
    for seed in range(20):
        found = curve_of(law, pictures=400, seed=seed).forecasts[0].top1
        covered += found.low <= 100 * (1 - law(3200)) <= found.high
    assert covered >= 16


def test_classes_that_gain_are_told_from_those_that_do_not():
    flat, falling = PowerLaw(0.0, 1.0, 0.2).error, PowerLaw(12.0, 0.5, 0.0).error
    found, labels = made_up([flat, falling, flat, flat])
    gains = learning_curve(found, labels, CLASSES, [10, 20, 30, 40]).classes
    assert gains[0].name == "b"
    assert (gains[0].train, gains[0].n) == (20, 500)
    assert [each.name for each in gains if each.gained.low > 0] == ["b"]


def test_a_class_in_which_no_picture_differs_has_an_interval():
    right = np.ones((2, 8), bool)
    measured = [Measurement(n, right) for n in (10, 20, 40, 80)]
    curve = learning_curve(measured, np.arange(8) % 2, ("a", "b"), [40, 40])
    assert all(each.gained.low < 0 < each.gained.high for each in curve.classes)
    assert curve.points[-1][2].value == 100.0


def test_three_sizes_have_no_check():
    found, labels = made_up(PowerLaw(1.0, 0.4, 0.0).error, sizes=SIZES[:3])
    curve = learning_curve(found, labels, CLASSES, [100] * 4)
    assert curve.holds is None
    assert curve.to_dict()["check"]["predicted"] is None
    with pytest.raises(ValueError, match="at least three sizes"):
        learning_curve(found[:2], labels, CLASSES, [100] * 4)


# --- drawing ------------------------------------------------------------------------------------------------------------------


def test_every_class_keeps_its_share_and_at_least_one():
    labels = torch.tensor([0] * 80 + [1] * 16 + [2])
    chosen = drawn(labels, 3, 1 / 4, 0)
    assert torch.bincount(labels[chosen]).tolist() == [20, 4, 1]
    assert chosen.tolist() == sorted(set(chosen.tolist()))
    assert drawn(labels, 3, 1 / 4, 1).tolist() != chosen.tolist()


def test_shares_leave_enough_of_each_class():
    assert shares_for(1000, 3) == [1 / 16, 1 / 8, 1 / 4, 1 / 2, 1.0]
    assert shares_for(24, 3) == [1 / 4, 1 / 2, 1.0]
    with pytest.raises(ValueError, match=r"at least 24 training pictures .* got 23; more pictures will help"):
        shares_for(23, 3)


# --- the command --------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    home = tmp_path_factory.mktemp("home")
    torch.manual_seed(0)
    network = tiny_blueprint(row(1, 8, 2), row(1, 16, 2)).build()
    save_model(home / "model.safetensors", network, About(classes=("a", "b", "c"), origin="made for a test"))
    noise_npz(home / "noise.npz", 96, 60, contrast=8)
    noise_npz(home / "few.npz", 12, 6)
    noise_npz(home / "clear.npz", 96, 60, contrast=60)
    return home


@pytest.fixture(autouse=True)
def inside(home, monkeypatch):
    monkeypatch.chdir(home)


def run(*words, code=0):
    result = CliRunner().invoke(main, ["data", "more", *words], prog_name="paretina")
    assert result.exit_code == code, result.output
    return result


@pytest.mark.slow
def test_the_command_measures_and_says_it_in_words():
    words = ("noise.npz", "--model", "model.safetensors", "--repeats", "2")
    found = json.loads(run(*words, "--json").stdout)
    assert [each["train"] for each in found["points"]] == [6, 12, 24, 48, 96]
    assert [each["repeats"] for each in found["points"]] == [2, 2, 2, 2, 1]
    assert (found["val"], found["size"], found["network"]) == (60, 16, "model.safetensors")
    assert found["verdict"] in ("yes", "no", "unclear")
    assert {each["class"] for each in found["classes"]} == {"a", "b", "c"}
    assert found["check"]["holds"] in (True, False)
    text = run(*words).stdout
    assert "96 training pictures, all of them" in text
    assert "would give, by the law" in text
    assert "more pictures" in text.lower()
    assert f"{found['points'][-1]['top1']:.1f} %" in text
    assert json.loads(run(*words, "--json").stdout) == found  # the same seed gives the same figures


def test_the_whole_set_is_what_probe_finds():
    found = verbs.data_more("noise.npz", "model.safetensors", repeats=2)
    assert found.curve.points[-1][2].value == verbs.probe("model.safetensors", "noise.npz").own.linear.value


@pytest.mark.slow
def test_a_network_with_weights_on_this_machine_is_the_default():
    found = verbs.data_more("clear.npz", size=32, repeats=2)
    assert found.network == "efficientnet_lite0"
    assert found.curve.points[-1][2].value > 50  # of three classes


def test_a_network_without_weights_is_refused():
    with pytest.raises(ValueError, match="resnet18 has no weights on this machine"):
        verbs.data_more("noise.npz", "resnet18")


def test_too_few_pictures_are_said():
    assert "more pictures will help" in run("few.npz", "--model", "model.safetensors", code=1).stderr


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (["noise.np"], "noise.np"),
        (["noise.npz", "--model", "efficientnet_lit0"], "did you mean 'efficientnet_lite0'"),
        (["noise.npz", "--model", "gone.safetensors"], "there is no model file gone.safetensors"),
        (["noise.npz", "--repeats", "1"], "--repeats"),
        (["noise.npz", "--repeat", "3"], "--repeats"),
        (["noise.npz", "--device", "cdua"], "cdua"),
    ],
)
def test_a_slip_is_refused(words, error):
    assert error in run(*words, code=2).stderr


def test_ctrl_c_ends_it(monkeypatch):
    def stop(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(more, "features", stop)
    assert run("noise.npz", "--model", "model.safetensors", code=130).stderr.strip() == "error: interrupted"


def test_masks_and_pictures_without_labels_are_refused(home, tmp_path):
    from paretina.data.sources.unlabelled import Unlabelled

    (tmp_path / "pictures").mkdir()
    for number in range(3):
        shutil.copy(Path(__file__).parents[2] / "docs" / "report.png", tmp_path / "pictures" / f"{number}.png")
    with pytest.raises(ValueError, match="needs one class a picture, and this data has no labels"):
        verbs.data_more(Unlabelled(path=str(tmp_path / "pictures"), val_share=0.0), "model.safetensors")
