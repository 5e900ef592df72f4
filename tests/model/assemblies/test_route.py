"""A network that chooses its image size: what runs is what was chosen, and its gradient is that of the formula."""

import copy
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from covering import few
from paretina.measure.cost import cost
from paretina.measure.parts import parts_of
from paretina.model.assemblies.route import (
    ApartRouter,
    Route,
    Routed,
    SharedRouter,
    preferred,
    relaxed,
    resized,
)
from paretina.model.family import network_named
from paretina.model.fold import fold
from paretina.model.norms.group import GroupNorm
from paretina.model.norms.switched import switched
from paretina.model.stems.conv import ConvStem
from tiny import row, tiny_blueprint

TABLE = tiny_blueprint(row(2, 16, 1), row(1, 32, 2), resolution=32, stem=ConvStem(width=16))
SIZES = (16, 24, 32)


def routed(table=TABLE, sizes=SIZES, seed=0):
    """A network with weights, statistics and wishes that all count, so that a batch takes several sizes."""
    torch.manual_seed(seed)
    network = Route(sizes=sizes)(table).build()
    with torch.no_grad():
        for name, tensor in network.state_dict().items():
            if "running_mean" in name:
                tensor.normal_(0, 0.1)
            elif "running_var" in name or ("units" in name and tensor.is_floating_point()):
                tensor.uniform_(0.5, 1.5)
        last = network.predictor.head.classifier
        last.weight.normal_(0, 5.0)
        wishes = network.eval().wishes(images(64))
        last.bias.copy_(-wishes.mean(0))
        last.weight /= wishes.std()
        last.bias /= wishes.std()
    return network.eval()


def images(count, side=32, seed=1):
    generator = torch.Generator().manual_seed(seed)
    grey = torch.rand(count, 1, 1, 1, generator=generator) * 200
    noise = torch.rand(count, 3, side, side, generator=generator) * 55
    return (grey + noise).to(torch.uint8)


def close(found, wanted):
    torch.testing.assert_close(found, wanted, atol=2e-5, rtol=1e-4)


# --- what runs ----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def network():
    found = routed()
    assert set(preferred(found.wishes(images(24))).tolist()) == {0, 1, 2}
    return found


@torch.no_grad()
def test_each_picture_gets_the_answer_at_its_own_size(network):
    x = images(24)
    logits, said = network(x, extras=True)
    chosen = preferred(network.wishes(x))
    assert torch.equal(said["routes"], chosen)
    masks = F.one_hot(chosen, 3).float()
    close(logits, torch.einsum("bs,sbc->bc", masks, network.answers(x)))
    close(said["embedding"], torch.cat([network(x[i : i + 1], extras=True)[1]["embedding"] for i in range(24)]))


@torch.no_grad()
def test_the_order_of_the_batch_does_not_matter(network):
    x, order = images(24), torch.randperm(24, generator=torch.Generator().manual_seed(2))
    close(network(x[order]), network(x)[order])


@torch.no_grad()
def test_a_single_picture_is_a_branch(network):
    x = images(24)
    calls = []
    hook = network.base.register_forward_pre_hook(lambda _, given: calls.append(given[0].shape[-1]))
    try:
        alone = torch.cat([network(x[i : i + 1]) for i in range(24)])
    finally:
        hook.remove()
    assert calls == [SIZES[number] for number in preferred(network.wishes(x)).tolist()]
    close(alone, network(x))


@torch.no_grad()
def test_only_what_was_chosen_runs(network):
    x = images(24)
    calls = []
    hook = network.base.register_forward_pre_hook(lambda _, given: calls.append(tuple(given[0].shape)))
    try:
        network(x)
    finally:
        hook.remove()
    counts = torch.bincount(preferred(network.wishes(x)), minlength=3).tolist()
    assert calls == [(count, 3, size, size) for count, size in zip(counts, SIZES, strict=True)]


@torch.no_grad()
def test_one_size_is_the_plain_network_at_that_size():
    network = routed(sizes=(24,))
    plain = network.plain(0)
    assert plain.blueprint == replace(TABLE, resolution=24)
    x = images(6)
    close(network(x), plain(resized(x, 24)))


@torch.no_grad()
def test_each_size_is_the_plain_network_with_its_own_norms(network):
    x = images(6)
    for number, size in enumerate(SIZES):
        plain = network.plain(number)
        assert plain.blueprint == replace(TABLE, resolution=size)
        close(network.at(x, number), plain(resized(x, size)))


@torch.no_grad()
def test_in_inference_form_it_answers_the_same_and_can_be_counted(network):
    folded = fold(network)
    assert isinstance(folded, ApartRouter)
    x = images(24)
    torch.testing.assert_close(folded(x), network(x), atol=1e-4, rtol=1e-3)
    assert cost(folded).macs == cost(network).macs
    assert {part.name.partition(" ")[0] for part in parts_of(folded)} == {"predictor", "branches.0", "branches.1", "branches.2"}


@torch.no_grad()
def test_a_table_of_positions_is_resampled_as_in_the_network():
    table = replace(network_named("vit_tiny").blueprint, classes=3)
    table = replace(table, stages=tuple(replace(stage, depth=1) for stage in table.stages), resolution=64)
    network = routed(table, (32, 64))
    x = images(4, 64)
    for number, size in enumerate((32, 64)):
        torch.testing.assert_close(network.plain(number)(resized(x, size)), network.at(x, number), atol=1e-3, rtol=1e-3)


@torch.no_grad()
def test_what_is_drawn_takes_the_place_of_the_choice(network):
    other = copy.deepcopy(network)
    other.draw = lambda count: torch.arange(count) % 3
    x = images(6)
    close(other(x), network.answers(x)[torch.arange(6) % 3, torch.arange(6)])


def test_pictures_smaller_than_the_largest_size_are_refused(network):
    with pytest.raises(ValueError, match=r"runs at 16, 24, 32 pixels.*must have a side of at least 32, got 24"):
        network(images(2, 24))


def test_without_a_preference_the_largest_size_is_taken():
    network = Route(sizes=SIZES)(TABLE).build().eval()
    with torch.no_grad():
        assert network(images(5), extras=True)[1]["routes"].tolist() == [2] * 5


# --- how it learns ------------------------------------------------------------------------------------------------------


def test_a_relaxed_draw_is_that_of_the_formula():
    wishes, temperature = torch.randn(5, 3, requires_grad=True), torch.tensor(0.7)
    torch.manual_seed(3)
    found = relaxed(wishes, temperature, torch.ones(()))
    torch.manual_seed(3)
    torch.testing.assert_close(found, F.gumbel_softmax(wishes, tau=0.7))
    torch.manual_seed(4)
    noise = -torch.empty(5, 3).exponential_().log()

    def soft(logits):
        return ((logits + noise) / 0.7).softmax(1)

    assert torch.autograd.gradcheck(
        lambda each: ((each + noise.double()) / 0.7).softmax(1), wishes.double().detach().requires_grad_()
    )
    torch.manual_seed(4)
    torch.testing.assert_close(relaxed(wishes, temperature, torch.ones(())), soft(wishes))


def test_draws_follow_the_softmax_of_the_wishes():
    wishes = torch.tensor([0.5, 0.3, 0.2]).log().expand(20_000, 3)
    torch.manual_seed(0)
    shares = torch.bincount(preferred(relaxed(wishes, torch.tensor(0.1), torch.ones(()))), minlength=3) / 20_000
    assert shares.tolist() == pytest.approx([0.5, 0.3, 0.2], abs=0.02)


def independent(seed=0):
    """A network whose norms know no batch, so that its answers in training are those of evaluation."""
    return routed(replace(TABLE, norm=GroupNorm(groups=2)), seed=seed)


def straight_through(network, x, weights):
    """The paper's formula as it stands: all sizes, weighted by the hard draw, with the gradient of the relaxed one."""
    soft = relaxed(network.wishes(x), network.temperature, network.noise)
    hard = F.one_hot(preferred(soft), 3).float() - soft.detach() + soft
    return (torch.einsum("bs,sbc->bc", hard, network.answers(x)) * weights).sum()


def test_gradients_are_those_of_the_straight_through_formula():
    network, x = independent().train(), images(12)
    weights = torch.randn(12, 3, generator=torch.Generator().manual_seed(5))
    torch.manual_seed(6)
    logits, said = network(x, extras=True)
    assert torch.bincount(said["shares"].argmax(1), minlength=3).min() > 0
    (logits * weights).sum().backward()
    found = {name: parameter.grad.clone() for name, parameter in network.named_parameters()}
    network.zero_grad()
    torch.manual_seed(6)
    straight_through(network, x, weights).backward()
    for name, parameter in network.named_parameters():
        torch.testing.assert_close(found[name], parameter.grad, atol=1e-4, rtol=1e-3, msg=name)
    assert any(found[name].abs().max() > 1e-4 for name in found if name.startswith("predictor.stem"))


def test_in_training_the_forward_pass_is_exactly_one_branch():
    network, x = independent().train(), images(12)
    torch.manual_seed(7)
    with torch.no_grad():
        logits, said = network(x, extras=True)
        chosen = said["shares"].argmax(1)
        assert torch.equal(said["shares"], F.one_hot(chosen, 3).float())
        close(logits, network.answers(x)[chosen, torch.arange(12)])


def norm_state(network):
    return {
        (name, number): {key: value.clone() for key, value in unit.units[number].state_dict().items()}
        for name, unit in switched(network.base)
        for number in range(3)
    }


def changed(before, after):
    return {
        number
        for (name, number), values in before.items()
        if any(not torch.equal(values[k], after[name, number][k]) for k in values)
    }


def test_only_the_norms_of_the_drawn_size_learn_from_a_batch():
    network = routed().train()
    network.odds = (1e-9, 1.0, 1e-9)
    before = norm_state(network)
    logits = network(images(8))
    assert changed(before, norm_state(network)) == {1}
    logits.sum().backward()
    gradients = dict.fromkeys(range(3), 0.0)
    for _, unit in switched(network.base):
        for number, each in enumerate(unit.units):
            gradients[number] += sum(float(parameter.grad.abs().sum()) for parameter in each.parameters())
    assert gradients[1] > 0
    assert gradients[0] == gradients[2] == 0


def test_the_norms_of_a_size_see_its_own_pictures_alone():
    network, x = routed().train(), images(12)
    network.odds = (0.5, 1e-9, 0.5)
    torch.manual_seed(8)
    twin = copy.deepcopy(network)
    with torch.no_grad():
        _, said = network(x, extras=True)
        chosen = said["shares"].argmax(1)
        assert min((chosen == 0).sum(), (chosen == 2).sum()) >= 2
        for number in (0, 2):
            twin.at(x[chosen == number], number)
    found, wanted = norm_state(network), norm_state(twin)
    assert changed(found, wanted) == set()


def test_a_single_picture_of_a_size_changes_no_statistics():
    network = routed().train()
    network.odds = (1.0, 1e-9, 1e-9)
    before = norm_state(network)
    with torch.no_grad():
        network(images(1))
    assert changed(before, norm_state(network)) == set()


def test_without_choosing_it_answers_at_every_size_in_training():
    network = routed().train()
    network.choosing = False
    before = norm_state(network)
    logits, said = network(images(6), extras=True)
    assert said["answers"].shape == (3, 6, 3)
    torch.testing.assert_close(logits, said["answers"].mean(0))
    assert changed(before, norm_state(network)) == {0, 1, 2}


def test_it_learns_to_choose_with_frozen_statistics_too():
    network = routed()
    network.frozen_statistics = True
    network.train()
    before = norm_state(network)
    network(images(6)).sum().backward()
    assert network.predictor.head.classifier.weight.grad.abs().sum() > 0
    assert changed(before, norm_state(network)) == set()
    with torch.inference_mode():
        assert "routes" in network.eval()(images(2), extras=True)[1]


# --- as data ------------------------------------------------------------------------------------------------------------


def test_costs_are_means_by_the_shares_and_have_the_predictor():
    model = Route(sizes=SIZES)(TABLE)
    each = [cost(model.plain(number)).macs for number in range(3)]
    choosing = cost(model.predictor).macs
    counted = cost(replace(model, shares=(0.5, 0.3, 0.2)))
    assert [route.macs for route in counted.routes] == each
    assert [(route.name, route.share) for route in counted.routes] == [("16", 0.5), ("24", 0.3), ("32", 0.2)]
    assert counted.macs == pytest.approx(choosing + 0.5 * each[0] + 0.3 * each[1] + 0.2 * each[2], abs=20)
    assert cost(model).macs == choosing + each[2]
    assert cost(TABLE).routes == ()


@pytest.mark.slow
def test_larger_sizes_cost_as_their_pixels():
    counted = cost(Route(sizes=(112, 168, 224))(network_named("resnet50").blueprint))
    ratios = [route.macs / counted.routes[-1].macs for route in counted.routes]
    assert ratios == pytest.approx([0.25, 0.5625, 1.0], abs=0.06)  # maps are rounded up


def test_default_sizes_are_shares_of_the_resolution():
    assert Route()(network_named("resnet18").blueprint).sizes == (112, 168, 224)


@pytest.mark.parametrize(
    ("sizes", "said"),
    [
        ((24, 16), "each larger than the one before it"),
        ((16, 16), "each larger than the one before it"),
        ((0, 16), "sides in pixels"),
    ],
)
def test_sizes_that_do_not_rise_are_refused(sizes, said):
    with pytest.raises(ValueError, match=said):
        Route(sizes=sizes)


def test_a_size_that_the_network_does_not_take_is_refused():
    with pytest.raises(ValueError, match=r"^112 cannot be one of the sizes: the network does not take images of 112 x 112"):
        Route(sizes=(112, 224))(network_named("levit_128s").blueprint)


def test_shares_and_sizes_must_fit():
    model = Route(sizes=SIZES)(TABLE)
    for shares in ((1.0,), (0.5, 0.4, 0.2), (1.5, -0.5, 0.0)):
        with pytest.raises(ValueError, match=r"Routed\.shares needs one for each of 3 sizes"):
            replace(model, shares=shares)
    with pytest.raises(ValueError, match="must be at most the resolution, 24"):
        replace(model, resolution=24)
    assert isinstance(model, Routed)
    assert isinstance(model.build("meta"), SharedRouter)


@pytest.mark.parametrize(
    "name", few(["resnet50", "mobilenet_v2", "efficientnet_b0", "convnext_tiny", "resnet8_w16_s2", "resnet18"])
)
def test_the_predictor_is_small(name):
    model = Route()(network_named(name).blueprint)
    counted = cost(model)
    assert (counted.macs - counted.routes[-1].macs) / counted.routes[-1].macs < 0.1
