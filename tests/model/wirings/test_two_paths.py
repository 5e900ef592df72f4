"""Two paths: training against test, weights of the network before, and what is published of counts."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from covering import few
from paretina.clock import Clock
from paretina.data.batch import Batch
from paretina.measure.cost import cost
from paretina.model.blocks.convnext import ConvNeXt, LayerScale
from paretina.model.blocks.resnet import Bottleneck
from paretina.model.blueprint import Chain, Initialisation, any_kit
from paretina.model.build import initialise, materialise
from paretina.model.edits.split_paths import SplitPaths
from paretina.model.family import network_named
from paretina.model.fold import fold
from paretina.model.weights import Start, load_start, part_of
from paretina.model.wirings.two_paths import TwoPaths
from paretina.train.objective import Teacher
from paretina.train.objectives.token_dropping import TokenDropping
from paretina.train.terms.cross_entropy import CrossEntropy

WIDTH = 8


def made(wiring, size=(4, 5), depth=4, width_in=WIDTH):
    torch.manual_seed(0)
    kit = replace(any_kit(), size=size)
    with torch.device("meta"):
        run = wiring.make(ConvNeXt(kernel=3, layer_scale=1.0), depth, width_in, WIDTH, 1, kit).eval()
    materialise(run)
    with torch.no_grad():
        initialise(run, Initialisation())
        for parameter in run.parameters():
            parameter.normal_(0, 0.5)
    return run


def small(**fields):
    """A ConvNeXt with four blocks of 16 channels in its third stage, on 32 pixels."""
    whole = network_named("convnext_tiny").blueprint
    stages = tuple(
        replace(stage, depth=4 if number == 2 else 1, width=width)
        for number, (stage, width) in enumerate(zip(whole.stages, (8, 8, 16, 16), strict=True))
    )
    return replace(whole, resolution=32, classes=3, stem=replace(whole.stem, width=8), stages=stages, **fields)


@pytest.mark.parametrize(
    ("name", "keep", "after", "gmacs"),
    few(
        [
            ("convnext_tiny", 0.7, (1, 2, 3), 3.6),
            ("convnext_tiny", 0.9, (1, 2, 3), 3.9),
            ("convnext_small", 0.7, (3, 6, 9), 5.8),
            ("convnext_small", 0.9, (3, 6, 9), 6.8),
            ("convnext_base", 0.7, (3, 6, 9), 10.2),
            ("convnext_base", 0.9, (3, 6, 9), 11.9),
        ]
    ),
)
def test_multiply_adds_are_the_published_ones(name, keep, after, gmacs):
    edited = SplitPaths(keep=keep)(network_named(name).blueprint)
    assert edited.stages[2].wiring == TwoPaths(keep=keep, after=after)
    assert cost(edited).macs / 1e9 == pytest.approx(gmacs, abs=0.1)


def test_numbers_of_kept_places():
    assert made(TwoPaths()).counts(196) == [137, 98, 58]
    assert made(TwoPaths(keep=0.1, less=0.01)).counts(9) == [1, 1, 1]


@pytest.mark.parametrize("width_in", [WIDTH, 4])
def test_all_places_kept_is_the_chain(width_in):
    plain, split = made(Chain(), width_in=width_in), made(TwoPaths(keep=1.0, less=0.0, after=(1, 3)), width_in=width_in)
    missing, unexpected = split.load_state_dict(plain.state_dict(), strict=False)
    assert not unexpected
    assert all("predictors" in name or "short_path" in name for name in missing)
    x = torch.randn(3, width_in, 4, 5)
    with torch.no_grad():
        found, extras = split(x)
        torch.testing.assert_close(found, plain(x), atol=1e-6, rtol=1e-5)
    assert torch.equal(extras["kept_places"], torch.full((3, 4, 5), 2.0))
    assert not extras["kept_excess"].any()


def test_both_paths_in_training_are_one_for_each_place_in_the_test(monkeypatch):
    run, x = made(TwoPaths(keep=0.6, less=0.25, after=(1, 2))), torch.randn(3, WIDTH, 4, 5)
    counts = iter([12, 7])

    def best(scores, hard, dim):
        assert hard
        assert dim == 2
        values = torch.where(best.kept > 0, scores[:, :, 0], -torch.inf)
        best.kept = torch.zeros_like(best.kept).scatter(1, values.topk(next(counts), 1).indices, 1.0)
        return torch.stack((best.kept, 1 - best.kept), 2)

    best.kept = torch.ones(3, 20)
    monkeypatch.setattr(F, "gumbel_softmax", best)
    with torch.no_grad():
        wanted, said = run.train()(x)
        found, more = run.eval()(x)
    torch.testing.assert_close(found, wanted, atol=1e-4, rtol=1e-4)
    assert torch.equal(more["kept_places"], said["kept_places"])
    torch.testing.assert_close(more["kept_excess"], said["kept_excess"])
    assert more["kept_places"].sum((1, 2)).tolist() == [19.0, 19.0, 19.0]


def test_places_take_the_path_that_they_are_given():
    run, x = made(TwoPaths(keep=0.5, after=(3,))), torch.randn(2, WIDTH, 4, 5)
    body = run.get_submodule("3").body
    with torch.no_grad():
        before = x
        for number in range(3):
            before = run.get_submodule(str(number))(before)
        found, extras = run(x)
        places = body.spatial(before).permute(0, 2, 3, 1)
        long, short = (before + path(places).permute(0, 3, 1, 2) for path in (body.long_path, body.short_path))
    kept = extras["kept_places"].bool().unsqueeze(1)
    assert kept.sum() == 20
    torch.testing.assert_close(found, torch.where(kept, long, short), atol=1e-5, rtol=1e-5)


def test_folding_changes_nothing():
    network = SplitPaths()(small()).build().eval()
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, LayerScale):
                module.weight.normal_()
        for parameter in network.stages[2].parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
        images = torch.randint(256, (2, 3, 32, 32), dtype=torch.uint8)
        torch.testing.assert_close(fold(network)(images), network(images), atol=1e-4, rtol=1e-4)


def test_weights_of_the_network_before_fit_and_what_is_added_is_new():
    assert part_of("stages.2.predictors.3.into.0.weight") == "stages.2.predictors"
    assert part_of("stages.2.3.body.short_path.norm.weight") == "stages.2.short_path"
    assert part_of("stages.2.3.body.norm.weight") == "stages.2"
    network, edited = small().build(), SplitPaths()(small()).build()
    start = Start(small(), network.state_dict(), "MIT", "here", "weights from here", ("a", "b", "c"))
    loaded = load_start(edited, start)
    assert set(loaded.new) == {"stages.2.predictors", "stages.2.short_path"}
    assert loaded.left == ()
    state = edited.state_dict()
    assert all(torch.equal(state[name], tensor) for name, tensor in network.state_dict().items())


def test_every_parameter_learns():
    batch = Batch((torch.randint(256, (6, 3, 32, 32), dtype=torch.uint8),), torch.eye(3)[torch.arange(6) % 3], torch.arange(6))
    objective = TokenDropping(terms=(CrossEntropy(),))
    network = SplitPaths(keep=0.6, less=0.1)(small()).build()
    learner = objective.make(network, Teacher(small().build())).train()
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, LayerScale):
                module.weight.fill_(1.0)
    losses = learner(batch, Clock(5, 10, 10.0))
    assert losses.keys() == {"CrossEntropy", "kept", "tokens"}
    sum(losses.values()).backward()
    assert not [name for name, parameter in learner.named_parameters() if parameter.grad is None or not parameter.grad.any()]


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"keep": 0.0}, "keeps a share in"),
        ({"keep": 1.5}, "keeps a share in"),
        ({"keep": 0.4}, "got 0.4, 0.2, 0 from keep=0.4 and less=0.2"),
        ({"less": -0.1}, "keeps a share in"),
        ({"after": ()}, "after has numbers of blocks, at least 1 and rising"),
        ({"after": (0, 2)}, "after has numbers of blocks, at least 1 and rising"),
    ],
)
def test_what_cannot_be_is_refused(fields, said):
    with pytest.raises(ValueError, match=said):
        TwoPaths(**fields)


def test_where_it_does_not_fit_it_says_so():
    with pytest.raises(ValueError, match=r"after is \(1, 2, 3\), but the stage has 3 blocks"):
        made(TwoPaths(), depth=3)
    with pytest.raises(ValueError, match="is for blocks of the kind ConvNeXt"):
        TwoPaths().make(Bottleneck(), 4, 8, 8, 1, any_kit())
    with pytest.raises(ValueError, match="changes nothing: no stage of this network"):
        SplitPaths()(network_named("resnet18").blueprint)
