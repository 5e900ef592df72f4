"""The fixtures are those of the reference sheet: accuracy .75 at several costs, and the reward of EfficientNetV2."""

import math

import pytest

from paretina.search.architecture.rewards import Hard, Plain, Soft, TrainingAware, TwoObjectives, calibrated, reward_named


@pytest.mark.parametrize(
    ("share", "soft", "steeper", "hard"),
    [
        (0.5, 0.78729, 0.83218, 0.75),
        (1.0, 0.75, 0.75, 0.75),
        (1.5, 0.72901, 0.70574, 0.5),
        (2.0, 0.71448, 0.67594, 0.375),
        (3.0, 0.69448, 0.63605, 0.25),
    ],
)
def test_soft_and_hard_as_published(share, soft, steeper, hard):
    assert Soft()(0.75, share, {})[0] == pytest.approx(soft, abs=5e-6)
    assert Soft(w=-0.15)(0.75, share, {})[0] == pytest.approx(steeper, abs=5e-6)
    assert Hard()(0.75, share, {})[0] == pytest.approx(hard, abs=5e-6)


def test_training_aware_as_published():
    assert TrainingAware()(0.8, 1.0, {"update_s": 0.5, "params": 0.5})[0] == pytest.approx(0.86939, abs=5e-6)
    assert TrainingAware()(0.8, 1.0, {"update_s": 2.0, "params": 1.0})[0] == pytest.approx(0.76211, abs=5e-6)


def test_two_objectives_are_both_better_if_higher():
    cheap, dear = (TwoObjectives()(0.5, share, {}) for share in (0.5, 2.0))
    assert cheap == (0.5, math.log(2))
    assert cheap[1] > dear[1]


def test_the_exponent_makes_rewards_along_the_front_equal():
    # twice the cost gains 5 % relative accuracy: w = -log2(1.05) = -0.0704
    costs = [1.0, 2.0, 4.0, 8.0]
    accuracies = [0.5 * 1.05**step for step in range(4)]
    w = calibrated(accuracies, costs)
    assert w == pytest.approx(-math.log2(1.05))
    rewards = [Soft(w=w)(accuracy, cost, {})[0] for accuracy, cost in zip(accuracies, costs, strict=True)]
    assert max(rewards) == pytest.approx(min(rewards))


def test_what_is_dominated_does_not_bend_the_exponent():
    costs, accuracies = [1.0, 2.0, 4.0], [0.5, 0.55, 0.605]
    assert calibrated([*accuracies, 0.1, 0.3], [*costs, 3.0, 8.0]) == pytest.approx(calibrated(accuracies, costs))


def test_too_short_a_front_has_no_exponent():
    assert calibrated([0.5, 0.6, 0.4], [1.0, 2.0, 3.0]) is None


def test_words():
    assert reward_named("soft:-0.15") == Soft(w=-0.15)
    assert reward_named("calibrated") == Soft(w=None)
    assert reward_named("accuracy") == Plain()
    assert reward_named("front").OBJECTIVES == 2
    with pytest.raises(ValueError, match="did you mean 'calibrated'"):
        reward_named("calibrate")
    with pytest.raises(ValueError, match="at most 0"):
        reward_named("soft:0.07")
    with pytest.raises(ValueError, match="takes no exponent"):
        reward_named("front:1")


@pytest.mark.parametrize("reward", [Soft(w=None), Hard(w=-2.0), TrainingAware(), TwoObjectives(), Plain()])
def test_a_reward_survives_json(reward):
    assert type(reward).from_json(reward.to_json()) == reward
