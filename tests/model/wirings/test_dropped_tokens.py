"""Dropped tokens: the fixtures of the paper's formulas, training against test, and what is published of counts."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from covering import few
from paretina.measure.cost import cost, params_of
from paretina.model.blocks.encoder import Encoder, attended
from paretina.model.blueprint import Initialisation, any_kit
from paretina.model.build import initialise, materialise
from paretina.model.edits.drop_tokens import DropTokens
from paretina.model.family import network_named
from paretina.model.weights import Start, load_start, part_of
from paretina.model.wirings.dropped_tokens import DroppedTokens, KeepPredictor
from paretina.model.wirings.tokens import Tokens

WIDTH = 8


def made(wiring, size=(4, 5), depth=4):
    torch.manual_seed(0)
    kit = replace(any_kit(), size=size)
    with torch.device("meta"):
        run = wiring.make(Encoder(head_width=4), depth, WIDTH, WIDTH, 1, kit).eval()
    materialise(run)
    with torch.no_grad():
        initialise(run, Initialisation())
        for parameter in run.parameters():
            parameter.normal_(0, 0.5)
    return run


def test_attention_of_kept_and_dropped_tokens_is_that_of_the_fixture():
    found = attended(torch.zeros(1, 1, 3, 3), torch.tensor([[1.0, 1.0, 0.0]]))[0, 0]
    wanted = torch.tensor([[0.5, 0.5, 1.67e-7], [0.5, 0.5, 1.67e-7], [1 / 3, 1 / 3, 1 / 3]])
    torch.testing.assert_close(found, wanted, atol=1e-6, rtol=0.0)
    assert found[0, 2].item() == pytest.approx(1.67e-7, rel=0.01)


def test_a_predictor_has_the_published_parameters():
    assert params_of(KeepPredictor(384)) == 241_250


@pytest.mark.parametrize(("keep", "gmacs"), few([(0.9, 4.04), (0.8, 3.46), (0.7, 2.98), (0.6, 2.57), (0.5, 2.23)]))
def test_multiply_adds_are_those_of_the_formula(keep, gmacs):
    edited = DropTokens(keep=keep)(network_named("deit_small").blueprint)
    assert edited.stages[0].wiring.after == (3, 6, 9)
    assert cost(edited).macs / 1e9 == pytest.approx(gmacs, abs=0.02)


def test_numbers_of_kept_tokens_are_the_published_ones():
    run = made(DroppedTokens(keep=0.7, after=(1, 2, 3)))
    assert run.counts(196) == [137, 96, 67]
    assert made(DroppedTokens(keep=0.1, after=(1, 2, 3))).counts(9) == [1, 1, 1]


@pytest.mark.parametrize("distilled", [False, True])
def test_all_tokens_kept_is_the_network_without_dropping_bit_for_bit(distilled):
    plain, dropping = made(Tokens(distilled=distilled)), made(DroppedTokens(distilled=distilled, keep=1.0, after=(1, 3)))
    dropping.load_state_dict(plain.state_dict(), strict=False)
    x = torch.randn(3, WIDTH, 4, 5)
    with torch.no_grad():
        (places, extras), (others, more) = plain(x), dropping(x)
    assert torch.equal(places, others)
    assert all(torch.equal(extras[name], more[name]) for name in extras)
    assert torch.equal(more["kept_places"], torch.full((3, 4, 5), 2.0))
    assert not more["kept_excess"].any()


@pytest.mark.parametrize("distilled", [False, True])
def test_masked_in_training_is_gathered_in_the_test(distilled, monkeypatch):
    run = made(DroppedTokens(distilled=distilled, keep=0.6, after=(1, 2)))
    x, counts = torch.randn(3, WIDTH, 4, 5), iter([12, 7])

    def best(scores, hard, dim):
        """The best tokens of those that were kept, as in the test; the scores of the others must not count."""
        assert hard
        assert dim == 2
        count, kept = next(counts), best.kept
        values = torch.where(kept > 0, scores[:, :, 0], -torch.inf)
        best.kept = torch.zeros_like(kept).scatter(1, values.topk(count, 1).indices, 1.0)
        return torch.stack((best.kept, 1 - best.kept), 2)

    best.kept = torch.ones(3, 20)
    monkeypatch.setattr(F, "gumbel_softmax", best)
    with torch.no_grad():
        _, wanted = run.train()(x)
        _, found = run.eval()(x)
    names = ["class_token", *(["distillation_token"] if distilled else [])]
    for name in names:
        torch.testing.assert_close(found[name], wanted[name], atol=1e-4, rtol=1e-4)
    assert torch.equal(found["kept_places"], wanted["kept_places"])
    torch.testing.assert_close(found["kept_excess"], wanted["kept_excess"])
    assert found["kept_places"].sum((1, 2)).tolist() == [19.0, 19.0, 19.0]


def test_a_dropped_place_keeps_what_it_had():
    run, x = made(DroppedTokens(keep=0.5, after=(2,)), depth=3), torch.randn(2, WIDTH, 4, 5)
    caught = []
    run.blocks[2].register_forward_pre_hook(lambda _, given: caught.append(given[0]))
    run.blocks[1].register_forward_hook(lambda _, given, out: caught.append(out))
    with torch.no_grad():
        places, extras = run(x)
    before, some = caught
    assert some.shape == (2, 11, WIDTH)
    dropped = extras["kept_places"].flatten(1) == 0
    assert dropped.sum(1).tolist() == [10, 10]
    assert torch.equal(places.flatten(2).transpose(1, 2)[dropped], before[:, 1:][dropped])
    assert not torch.equal(places.flatten(2).transpose(1, 2)[~dropped], before[:, 1:][~dropped])


@pytest.mark.slow
def test_shares_are_learned():
    """The loss of the shares alone moves the predictors to their targets."""
    run, x = made(DroppedTokens(keep=0.7, after=(1, 2))).train(), torch.randn(16, WIDTH, 4, 5)
    optimizer = torch.optim.Adam(run.predictors.parameters(), lr=0.01)
    for _ in range(150):
        optimizer.zero_grad()
        run(x)[1]["kept_excess"].square().mean().backward()
        optimizer.step()
    with torch.no_grad():
        off = torch.stack([run(x)[1]["kept_excess"].mean(0) for _ in range(20)]).mean(0)
    assert off.abs().max() < 0.05


def test_weights_of_the_network_before_fit_and_predictors_are_new():
    assert part_of("stages.0.predictors.3.into.0.weight") == "stages.0.predictors"
    assert part_of("stages.0.blocks.3.attention.norm.weight") == "stages.0"
    whole = network_named("deit_tiny").blueprint
    blueprint = replace(whole, resolution=32, classes=3, stages=(replace(whole.stages[0], depth=4),))
    network, edited = blueprint.build(), DropTokens()(blueprint).build()
    start = Start(blueprint, network.state_dict(), "MIT", "here", "weights from here", ("a", "b", "c"))
    loaded = load_start(edited, start)
    assert loaded.new == ("stages.0.predictors",)
    assert loaded.left == ()
    state = edited.state_dict()
    assert all(torch.equal(state[name], tensor) for name, tensor in network.state_dict().items())


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"keep": 0.0}, r"keep is a share in \(0, 1\], got 0.0"),
        ({"keep": 1.5}, r"keep is a share in \(0, 1\], got 1.5"),
        ({"after": ()}, "after has numbers of blocks, at least 1 and rising"),
        ({"after": (0, 2)}, "after has numbers of blocks, at least 1 and rising"),
        ({"after": (2, 2)}, "after has numbers of blocks, at least 1 and rising"),
    ],
)
def test_what_cannot_be_is_refused(fields, said):
    with pytest.raises(ValueError, match=said):
        DroppedTokens(**fields)


def test_predictors_stand_before_the_last_block():
    with pytest.raises(ValueError, match=r"after is \(3, 6, 9\), but the stage has 4 blocks; it must end before the last"):
        made(DroppedTokens())


def test_the_edit_is_for_tokens_alone():
    with pytest.raises(ValueError, match="changes nothing: no stage of this network"):
        DropTokens()(network_named("resnet18").blueprint)
