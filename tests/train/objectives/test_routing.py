"""The cost loss by hand, and the two stages of a network that learns to choose its image size."""

import re
from dataclasses import replace

import pytest
import torch

from paretina.clock import START, Clock
from paretina.data.batch import Batch
from paretina.measure.cost import cost
from paretina.model.assemblies.route import Route, preferred
from paretina.model.norms.switched import switched
from paretina.model.stems.conv import ConvStem
from paretina.schedules import Linear
from paretina.train.learning import Learning, PartRate
from paretina.train.objective import Outputs
from paretina.train.objectives.routing import Routing, costs_of, excess, largest_cost, odds_for
from paretina.train.recipe import Recipe
from paretina.train.terms.cross_entropy import CrossEntropy
from tiny import row, tiny_blueprint

TABLE = tiny_blueprint(row(2, 16, 1), row(1, 32, 2), resolution=32, stem=ConvStem(width=16))
MODEL = Route(sizes=(16, 24, 32))(TABLE)


def batch(count=8, side=32):
    images = torch.randint(256, (count, 3, side, side), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    return Batch((images,), torch.eye(3)[torch.arange(count) % 3], torch.arange(count))


def learner_of(objective, seed=0):
    torch.manual_seed(seed)
    return objective.make(MODEL.build(), None).train()


def test_the_cost_loss_by_hand():
    costs, shares = torch.tensor([1.04, 2.32, 4.11]), torch.tensor([[0.2, 0.3, 0.5]])
    # 0.2 * 1.04 + 0.3 * 2.32 + 0.5 * 4.11 = 2.959; (2.959 - 2.5) / (4.11 - 1.04) * 0.2
    assert (shares * costs).sum().item() == pytest.approx(2.959)
    assert 0.2 * excess(costs, shares, 2.5).item() == pytest.approx(0.029902, abs=1e-6)
    assert excess(costs, shares, 2.959 + 1e-6).item() == 0.0


def test_the_cost_of_a_batch_is_the_mean_over_its_pictures():
    costs = torch.tensor([1.0, 3.0])
    shares = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.0, 1.0], [0.0, 1.0]])
    assert excess(costs, shares, 2.0).item() == pytest.approx((2.5 - 2.0) / 2.0)


def test_its_gradient_pushes_towards_cheap_sizes_only_above_the_target():
    costs = torch.tensor([1.0, 3.0])
    for target, pushes in ((1.5, True), (2.5, False)):
        shares = torch.full((1, 2), 0.5, requires_grad=True)
        excess(costs, shares, target).backward()
        assert shares.grad.tolist() == ([[0.5, 1.5]] if pushes else [[0.0, 0.0]])


def test_costs_are_shares_of_the_largest_size_and_have_the_predictor():
    each, choosing = [cost(MODEL.plain(number)).macs for number in range(3)], cost(MODEL.predictor).macs
    assert costs_of(MODEL, "macs") == pytest.approx([(one + choosing) / each[2] for one in each], rel=1e-3)
    assert largest_cost(MODEL, "macs") == each[2]
    assert costs_of(replace(MODEL, shares=(0.2, 0.3, 0.5)), "macs") == costs_of(MODEL, "macs")


def test_first_the_network_learns_at_every_size_and_the_predictor_not():
    learner = learner_of(Routing(stage="sizes"))
    losses = learner(batch(), START)
    assert set(losses) == {"CrossEntropy_16", "CrossEntropy_24", "CrossEntropy_32"}
    sum(losses.values()).backward()
    assert all(parameter.grad is None for parameter in learner.network.predictor.parameters())
    assert all(parameter.grad is not None for parameter in learner.network.base.parameters())
    with torch.no_grad():
        wanted = CrossEntropy().make(None)(Outputs(learner.network.at(batch().images, 1)), batch(), START)
    assert losses["CrossEntropy_24"].item() == pytest.approx(wanted.item(), abs=1e-5)


def test_then_both_learn_and_the_cost_is_that_of_the_draws():
    learner = learner_of(Routing(share=0.5, weight=2.0))
    torch.manual_seed(1)
    losses = learner(batch(), START)
    sum(losses.values()).backward()
    assert all(parameter.grad is not None for parameter in learner.network.parameters())
    assert learner.network.predictor.head.classifier.weight.grad.abs().sum() > 0
    torch.manual_seed(1)
    _, said = learner.network(batch().images, extras=True)
    wanted = 2.0 * excess(torch.tensor(costs_of(MODEL, "macs")), said["shares"], 0.5)
    assert losses["cost"].item() == pytest.approx(wanted.item(), abs=1e-5)


def test_draws_of_one_size_are_the_network_at_that_size():
    learner = learner_of(Routing())
    network = learner.network
    network.odds = (1e-12, 1.0, 1e-12)
    losses = learner(batch(), START)
    twin = learner_of(Routing()).network.train()
    wanted = CrossEntropy().make(None)(Outputs(twin.at(batch().images, 1)), batch(), START)
    assert losses["CrossEntropy"].item() == pytest.approx(wanted.item(), abs=1e-5)


def test_the_temperature_follows_its_schedule():
    learner = learner_of(Routing(temperature=Linear(start=4.0, end=1.0), noise=Linear(start=1.0, end=0.0)))
    for update, wanted, noise in ((0, 4.0, 1.0), (5, 2.5, 0.5), (10, 1.0, 0.0)):
        learner(batch(), Clock(update, 10, 1.0))
        assert learner.network.temperature.item() == pytest.approx(wanted)
        assert learner.network.noise.item() == pytest.approx(noise)


def test_without_noise_the_draws_are_the_choices_of_evaluation():
    learner = learner_of(Routing(noise=0.0))
    network = learner.network
    with torch.no_grad():
        network.predictor.head.classifier.weight.normal_(0, 50.0, generator=torch.Generator().manual_seed(0))
        learner(batch(), START)
        _, said = network(batch().images, extras=True)
        network.predictor.eval()
        _, again = network(batch().images, extras=True)
        wanted = preferred(network.wishes(batch().images))
    assert torch.equal(again["shares"].argmax(1), wanted)
    assert torch.equal(said["shares"].argmax(1), network_choice(network, batch().images))


def network_choice(network, images):
    """What the predictor wishes most in training, with the statistics of the batch."""
    network.predictor.train()
    with torch.no_grad():
        return preferred(network.wishes(images))


@pytest.mark.slow
def test_a_large_weight_sends_all_pictures_to_the_smallest_size():
    learner = learner_of(Routing(share=0.4, weight=100.0))
    optimizer = torch.optim.Adam(learner.network.predictor.parameters(), lr=1e-2)
    for update in range(40):
        optimizer.zero_grad()
        learner(batch(), Clock(update, 40, 1.0))["cost"].backward()
        optimizer.step()
    torch.manual_seed(0)
    _, said = learner.network(batch().images, extras=True)
    assert said["shares"].mean(0)[0] > 0.7


def test_random_sizes_meet_the_target_and_nothing_learns_to_choose():
    costs = costs_of(MODEL, "macs")
    for target in (0.45, 0.6, 0.9):
        odds = odds_for(costs, target)
        assert sum(odds) == pytest.approx(1.0)
        assert sum(share * each for share, each in zip(odds, costs, strict=True)) == pytest.approx(target, abs=1e-6)
    middle = sum(costs) / 3
    assert odds_for(costs, middle) == pytest.approx([1 / 3] * 3, abs=1e-6)
    learner = learner_of(Routing(chooser="random", share=0.6))
    sum(learner(batch(), START).values()).backward()
    assert all(parameter.grad is None for parameter in learner.network.predictor.parameters())


def test_the_predictor_may_learn_more_slowly():
    learner = learner_of(Routing())
    learning = Learning(part_rates=(PartRate(network="predictor", factor=0.1),))
    slow = {id(parameter) for parameter in learner.network.predictor.parameters()}
    for group in learning.groups(learner, Recipe().optimizer):
        factor = group.get("rate_factor", 1.0)
        assert {id(parameter) in slow for parameter in group["params"]} == {factor == 0.1}
    with pytest.raises(ValueError, match=r"is for no part of this network; there are: base, head, predictor, stages\.0"):
        Learning(part_rates=(PartRate(network="predicter"),)).groups(learner, Recipe().optimizer)
    with pytest.raises(ValueError, match="above 0, got 0; frozen freezes"):
        PartRate(factor=0.0)


def test_each_set_of_norms_learns():
    learner = learner_of(Routing(stage="sizes"))
    learner(batch(), START)
    for _, unit in switched(learner.network.base):
        means = [each.running_mean for each in unit.units]
        assert not any(torch.equal(means[0], other) for other in means[1:])


@pytest.mark.slow
def test_a_budget_out_of_reach_is_refused_with_the_range():
    low, high = costs_of(MODEL, "macs")[0], costs_of(MODEL, "macs")[-1]
    for share in (low - 0.01, high + 0.01):
        said = re.escape(f"Routing cannot meet the budget macs={share:g}x, {share:.3f} of the cost")
        with pytest.raises(ValueError, match=rf"^{said}.* from {low:.3f} .* to {high:.3f} "):
            Routing(share=share).check(Recipe(), MODEL)
    Routing(share=(low + high) / 2).check(Recipe(), MODEL)
    Routing(share=low / 2, stage="sizes").check(Recipe(), MODEL)
    amount = 0.6 * largest_cost(MODEL, "macs")
    assert Routing(amount=amount).target(MODEL) == pytest.approx(0.6)
    with pytest.raises(ValueError, match=r"the budget macs=1e\+12"):
        Routing(amount=1e12).check(Recipe(), MODEL)


def test_another_model_is_refused():
    with pytest.raises(ValueError, match="the model is Blueprint; set assembly=Route"):
        Routing().check(Recipe(), TABLE)
    with pytest.raises(ValueError, match="between two sizes or more, and the model has 32 only"):
        Routing().check(Recipe(), Route(sizes=(32,))(TABLE))
    for fields in ({"share": 0.0}, {"amount": -1.0}):
        with pytest.raises(ValueError, match="share and amount above 0"):
            Routing(**fields)
