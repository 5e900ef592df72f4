from dataclasses import replace

import pytest
import torch
from tests.search.architecture.test_run import RESNET8, study_on
from tests.tiny import noise_npz
from torch import nn

from paretina.data.sources.arrays import Arrays
from paretina.data.sources.inner_split import InnerSplit
from paretina.measure.plan import Plan
from paretina.model.blueprint import Blueprint
from paretina.model.family import network_named
from paretina.report.search_page import summary_lines, write_search
from paretina.search.architecture import supernet
from paretina.search.architecture.procedure import procedure_named
from paretina.search.architecture.rewards import reward_named
from paretina.search.architecture.run import work
from paretina.search.architecture.spaces.around import AroundNetwork
from paretina.search.architecture.spaces.mnasnet import MnasNetSpace
from paretina.search.architecture.spaces.recipe import AroundRecipe
from paretina.search.architecture.study import (
    SHARED,
    asked_shared,
    begin,
    blueprints_at,
    read_study,
    scorer_of,
    train_together,
)
from paretina.search.architecture.supernet import WEIGHTS, Shared, SharedProgress, norms_of, slice_of
from paretina.search.engines.here import Here
from paretina.train.asked import Asked, recipe_named

SPACE = MnasNetSpace(size=16, width=0.25)

BASE = Asked(data=InnerSplit(source=Arrays(path="unused.npz")), model=RESNET8, recipe=recipe_named("plain"), plan=Plan())
"""A request whose data are not opened."""


@pytest.fixture
def data(tmp_path):
    return noise_npz(tmp_path / "noise.npz", 60, 12)


def points_of(count, space=SPACE):
    """Points whose first takes the first value of each dimension, the second the last, and so on."""
    dimensions = space.own_dimensions(BASE)
    return [{each.name: each.values[number % len(each.values)] for each in dimensions} for number in range(count)]


def networks(points, space=SPACE) -> list[Blueprint]:
    return [replace(space.blueprint(point), classes=3) for point in points]


@pytest.fixture
def images():
    return torch.randint(0, 256, (6, 3, 16, 16), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def test_a_slice_is_the_leading_channels_and_the_centre_of_a_kernel():
    shared = torch.arange(3 * 2 * 5 * 5).reshape(3, 2, 5, 5)
    found = slice_of(shared, (2, 1, 3, 3))
    assert torch.equal(found, shared[:2, :1, 1:4, 1:4])
    assert found.data_ptr() != 0
    assert found._base is not None  # a view, so that gradients reach the shared one
    assert torch.equal(slice_of(torch.arange(6), (4,)), torch.arange(4))


@pytest.mark.slow
def test_what_a_candidate_inherits_computes_what_its_path_computes(images):
    paths = networks(points_of(6))
    torch.manual_seed(0)
    shared = Shared(paths)
    shared.begin()
    shared.eval()
    for number, blueprint in enumerate(paths):
        shared.active = number
        alone = shared.inherited(blueprint).train()
        torch.testing.assert_close(shared(images), alone(images))


@pytest.mark.slow
def test_first_values_are_those_of_networks_that_are_initialised_as_usual():
    torch.manual_seed(0)
    shared = Shared(networks(points_of(3)))
    shared.begin()
    network = shared.inherited(shared.paths[-1])  # the last one to be filled in has its own values whole
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    assert norms
    assert all(bool((norm.weight == 1).all() and (norm.bias == 0).all()) for norm in norms)
    convolutions = [module for module in network.modules() if isinstance(module, nn.Conv2d)]
    assert all(float(each.weight.detach().std()) > 0 for each in convolutions)


def test_candidates_between_the_paths_can_be_scored_and_those_beyond_are_refused(images):
    around = AroundNetwork(network=RESNET8, size=16, vary=("width", "depth"))
    dimensions = around.own_dimensions(BASE)
    small, large = ({each.name: pick(each.values) for each in dimensions} for pick in (min, max))
    shared = Shared(networks([small, large], around))
    shared.begin()
    mixed = {name: (small if number % 2 else large)[name] for number, name in enumerate(small)}
    assert mixed not in (small, large)
    assert shared.inherited(networks([mixed], around)[0]).train()(images).shape == (6, 3)
    narrow = Shared(networks([small], around))
    with pytest.raises(ValueError, match="in none of the networks that were trained together"):
        narrow.inherited(networks([mixed], around)[0])


def test_an_update_moves_the_weights_of_its_path_alone(images):
    around = AroundNetwork(network=RESNET8, size=16, vary=("width",))
    dimensions = around.own_dimensions(BASE)
    narrow, wide = ({each.name: pick(each.values) for each in dimensions} for pick in (min, max))
    shared = Shared([replace(around.blueprint(point), classes=3) for point in (narrow, wide)])
    shared.begin()
    shared.eval()
    shared.active = 0
    shared(images).sum().backward()
    network, wanted = shared.path(0)
    moved = 0
    for key, shape in wanted.values():
        parameter = shared.get_parameter(shared.numbers[key])
        inside = slice_of(parameter.grad, shape)
        moved += int(inside.count_nonzero() > 0)
        assert parameter.grad.count_nonzero() == inside.count_nonzero()
        assert inside.numel() < parameter.numel() or parameter.shape == shape
    assert moved > len(wanted) / 2
    assert network.training


def test_a_copy_has_the_same_weights_and_its_own_storage(images):
    import copy

    shared = Shared(networks(points_of(2)))
    shared.begin()
    other = copy.deepcopy(shared)
    for (_, one), (_, two) in zip(shared.named_parameters(), other.named_parameters(), strict=True):
        assert torch.equal(one, two)
        assert one.data_ptr() != two.data_ptr()


@pytest.fixture
def study(data):
    space = AroundNetwork(network=RESNET8, size=16, vary=("width", "depth"))
    return study_on(data, space=space, budgets=(), target=None, trials=8, seeds=1, finalists=2, shared_weights=True)


@pytest.mark.slow
def test_training_together_is_the_same_each_time_and_scores_do_not_depend_on_their_order(tmp_path, study):
    points = points_of(4, study.space)
    weights = []
    for name in ("one", "two"):
        begin(tmp_path / name, study, "noise.npz")
        found = train_together(tmp_path / name, {"points": points, "epochs": 2.0})
        assert found["updates"] > 0
        weights.append((tmp_path / name / SHARED / WEIGHTS).read_bytes())
    assert weights[0] == weights[1]
    scorer = scorer_of(tmp_path / "one")
    one, two = blueprints_at(study, points[:2])
    first, _, again = scorer(one), scorer(two), scorer(one)
    assert first == again
    assert first["pictures"] == len(scorer.judged.mine) == 15  # about a fifth of 60 training pictures


@pytest.mark.slow
def test_statistics_are_the_means_over_training_pictures(tmp_path, study):
    points = points_of(2, study.space)
    begin(tmp_path / "study", study, "noise.npz")
    train_together(tmp_path / "study", {"points": points, "epochs": 1.0})
    scorer = scorer_of(tmp_path / "study")
    network = scorer.shared.inherited(blueprints_at(study, points)[0])
    scorer.restate(network)
    norm = norms_of(network)[0]
    assert not network.training
    assert not norm.training
    batches = list(scorer.seen.batches(0))
    assert sum(len(each.batch) for each in batches) == 45
    means = []
    with network.taps([network_name(network, norm.__class__, before=True)]) as caught:
        for each in batches:
            network(each.batch.images)
            (value,) = caught.values()
            means.append(value.mean((0, 2, 3)))
    torch.testing.assert_close(norm.running_mean, torch.stack(means).mean(0), rtol=1e-4, atol=1e-5)


def network_name(network, kind, before):
    """The convolution whose output the first norm of a kind takes."""
    names = [name for name, module in network.named_modules() if isinstance(module, nn.Conv2d | kind)]
    assert before
    return names[0]


def test_statistics_come_from_all_classes_mixed(tmp_path, study, monkeypatch):
    begin(tmp_path / "study", study, "noise.npz")
    train_together(tmp_path / "study", {"points": points_of(2, study.space), "epochs": 1.0})
    monkeypatch.setattr(supernet, "STATISTICS", 30)
    scorer = scorer_of(tmp_path / "study")
    labels = [scorer.seen.pictures.labels()[number] for number in scorer.seen.mine]
    assert len(scorer.seen.mine) == len(set(scorer.seen.mine)) == 30
    assert set(labels) == {0, 1, 2}
    assert labels != sorted(labels)


@pytest.mark.slow
def test_a_training_together_that_was_interrupted_ends_with_the_same_weights(tmp_path, study, monkeypatch):
    points = {"points": points_of(4, study.space), "epochs": 6.0}
    for name in ("whole", "halted"):
        begin(tmp_path / name, study, "noise.npz")
    train_together(tmp_path / "whole", points)
    job = supernet.shared_job
    monkeypatch.setattr(supernet, "shared_job", lambda *given: replace(job(*given), updates=3))
    with pytest.raises(KeyboardInterrupt):
        train_together(tmp_path / "halted", points)
    monkeypatch.setattr(supernet, "shared_job", job)
    assert train_together(tmp_path / "halted", points)["updates"] > 3
    whole, halted = ((tmp_path / name / SHARED / WEIGHTS).read_bytes() for name in ("whole", "halted"))
    assert whole == halted


@pytest.mark.slow
def test_a_search_with_shared_weights_scores_more_than_it_could_train(tmp_path, study):
    folder = tmp_path / "study"
    begin(folder, study, "noise.npz")
    found = work(folder, Here(1))
    own = [one for one in found["tried"] if one["arm"] == "search"]
    control = [one for one in found["tried"] if one["arm"] == "control"]
    assert len(control) == 4
    assert len(own) > len(control)
    assert own[-1]["at"] <= 4 + 1e-6
    shared = found["shared"]
    assert shared["pairs"] == len(control)
    assert shared["epochs"] == pytest.approx(0.8 * 4 * 0.25 * 4)
    assert not list((folder / "runs").glob("score*"))
    write_search(folder)
    text = "\n".join(summary_lines({**found, "data": "noise.npz", "directory": str(folder)}))
    assert f"shared weights: {shared['paths']} candidates trained together" in text
    assert "by what trials say" not in text
    assert f"search:  {len(own)} candidates scored with inherited weights, " in text
    page = (folder / "report.html").read_text()
    assert "two scales" in page
    before = (folder / "result.json").read_bytes()
    work(folder, Here(1))  # nothing is done again
    assert (folder / "result.json").read_bytes() == before


def test_the_training_together_sees_no_validation_picture(study):
    asked = asked_shared(study, 3.0)
    assert type(asked.data).__name__ == "InnerSplit"
    assert asked.recipe.epochs == 3.0
    assert asked.recipe.test.every > 3.0


@pytest.mark.parametrize(
    ("fields", "match"),
    [
        ({"procedure": procedure_named("halving")}, "no length to halve; choose --by evolution"),
        ({"reward": reward_named("training")}, "the time of an update, which --shared-weights does not measure"),
        ({"space": AroundRecipe(), "name": "recipe:plain"}, "points of a recipe have nothing to share"),
        (
            {"space": AroundNetwork(network=RESNET8, size=16, vary=("width", "resolution"))},
            "leave resolution out of --vary",
        ),
    ],
)
def test_what_cannot_share_weights_is_refused(data, fields, match):
    with pytest.raises(ValueError, match=match):
        study_on(data, shared_weights=True, **fields)


@pytest.mark.slow
def test_attention_inherits_too(images):
    blueprint = replace(network_named("deit_tiny").blueprint, resolution=32, classes=3)
    shared = Shared([blueprint])
    shared.begin()
    images = torch.randint(0, 256, (2, 3, 32, 32), dtype=torch.uint8)
    torch.testing.assert_close(shared.eval()(images), shared.inherited(blueprint).train()(images))


def test_the_study_in_its_directory_says_that_weights_are_shared(tmp_path, study):
    begin(tmp_path / "study", study, "noise.npz")
    assert read_study(tmp_path / "study").shared_weights
    assert read_study(tmp_path / "study").base.plan == Plan(threads=1)


def test_progress_is_told_every_few_seconds_with_what_is_left():
    now, said = [0.0], []
    progress = SharedProgress(said.append, lambda: now[0])
    for done in range(5):
        progress.step("building candidates", done, 8)
        now[0] += 6.0
    assert said == ["building candidates: 2 of 8, 36 s left", "building candidates: 4 of 8, 24 s left"]
    progress.part()
    progress.listen({"event": "train", "step": 10, "updates": 100})
    now[0] += 12.0
    progress.listen({"event": "val"})
    progress.listen({"event": "train", "step": 20, "updates": 100})
    assert said[2:] == ["updates of candidates together: 20 of 100, 96 s left"]
