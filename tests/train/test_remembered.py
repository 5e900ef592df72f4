"""What frozen parts make of pictures is computed once and learned from many times."""

import itertools
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from paretina.data.sources.arrays import Arrays
from paretina.data.transforms.crop import RandomResizedCrop
from paretina.data.transforms.mix_or_cut import MixOrCut
from paretina.data.transforms.squash import Squash
from paretina.measure.plan import Plan
from paretina.model.weights import About, load_model, save_model
from paretina.schedules import Constant, Linear
from paretina.train.asked import Asked
from paretina.train.average import Average
from paretina.train.estimate import rehearse
from paretina.train.evaluated import Evaluated
from paretina.train.learning import Learning
from paretina.train.ranks import Ranks
from paretina.train.recipe import Recipe
from paretina.train.remembered import check_room
from paretina.train.resolve import make_job, prepare, remembered_of
from paretina.train.training import resume, train
from tiny import noise_npz, row, tiny_blueprint

BLUEPRINT = tiny_blueprint(row(1, 8, 1), row(2, 16, 2))
PLAN = Plan(device="cpu", precision="float32", workers=0)


@pytest.fixture(scope="module")
def asked(tmp_path_factory):
    """24 pictures to train on, from weights whose stem and first stage stay as they are."""
    folder = tmp_path_factory.mktemp("remembered")
    pictures = noise_npz(folder / "noise.npz", 24, 6, side=20)
    torch.manual_seed(0)
    save_model(folder / "start.safetensors", BLUEPRINT.build(), About(classes=("a", "b", "c")))
    recipe = Recipe(
        epochs=3.0,
        batch_size=10,
        transforms=(Squash(), MixOrCut()),
        learning=Learning(frozen_stride=2, freeze_norm_statistics=True, remembered_views=2),
        test=Evaluated(fit="squash", crop=1.0, every=5.0),
        average=Average(),
        size=None,
    )
    return Asked(
        data=Arrays(path=pictures),
        model=BLUEPRINT,
        recipe=recipe,
        plan=PLAN,
        weights=str(folder / "start.safetensors"),
    )


def with_recipe(asked, **fields):
    return replace(asked, recipe=replace(asked.recipe, **fields))


def learning(asked, **fields):
    return with_recipe(asked, learning=replace(asked.recipe.learning, **fields))


def weights(run):
    return load_model(run.path / "model.safetensors")[0].state_dict()


def same(one, other):
    return all(torch.equal(one[name], other[name]) for name in one)


def test_what_is_remembered_is_what_the_frozen_parts_give(asked):
    prepared = prepare(asked)
    job = replace(make_job(prepared, Ranks()), remembered=remembered_of(prepared, Ranks()))
    network = job.learner.result()
    assert network.entry == 2
    plain = make_job(prepare(learning(asked, remembered_views=0)), Ranks()).learner.result().eval()
    for loaded in job.evaluation.batches(0):
        maps = network.lead(loaded.batch.images)
        assert torch.equal(network.eval()(maps), plain(loaded.batch.images))
        assert torch.equal(network(loaded.batch.images), plain(loaded.batch.images))
    assert [tuple(maps.shape) for maps in job.remembered.maps] == [(24, 8, 8, 8)] * 2


@pytest.mark.slow
def test_without_transforms_it_trains_as_without_remembering(asked, tmp_path):
    """All views are the same then, so only the rounding of what is remembered differs."""
    asked = with_recipe(asked, transforms=(Squash(),), average=None)
    one = train(asked, tmp_path / "one")
    other = train(learning(asked, remembered_views=0), tmp_path / "other")
    found, wanted = weights(one), weights(other)
    assert all(torch.allclose(found[name], wanted[name], atol=2e-3) for name in wanted)
    assert not torch.equal(found["stages.1.0.spatial.conv.weight"], weights_before(asked)["stages.1.0.spatial.conv.weight"])


def weights_before(asked):
    return load_model(Path(asked.weights))[0].state_dict()


@pytest.mark.slow
def test_an_interrupted_run_continues_bit_for_bit(asked, tmp_path):
    whole = train(asked, tmp_path / "whole")
    for updates in (1, 4):
        with pytest.raises(KeyboardInterrupt):
            train(asked, tmp_path / str(updates), stop_after=updates)
        assert same(weights(resume(tmp_path / str(updates))), weights(whole))


def test_each_epoch_shows_another_view_of_each_picture(asked):
    prepared = prepare(with_recipe(asked, transforms=(RandomResizedCrop(smallest=Constant(value=0.3)),)))
    job = replace(make_job(prepared, Ranks()), remembered=remembered_of(prepared, Ranks()))
    epochs = prepared.epochs
    batches = job.remembered.batches(epochs.requests(job.size, 0, 1, slice(None)), epochs.updates_per_epoch)
    seen = {}
    for update, loaded in enumerate(batches):
        for number, shown in zip(loaded.batch.ids.tolist(), loaded.batch.images, strict=True):
            seen.setdefault(number, []).append((update // epochs.updates_per_epoch, shown))
    assert sorted(seen) == list(range(24))
    for shows in seen.values():
        assert [epoch for epoch, _ in shows] == [0, 1, 2]
        assert not torch.equal(shows[0][1], shows[1][1])
        assert torch.equal(shows[0][1], shows[2][1])
    assert torch.equal(job.remembered.maps[0][0].float(), dict(itertools.chain(seen[0]))[0])


@pytest.mark.slow
def test_a_rehearsal_counts_what_is_computed_once(asked):
    found = rehearse(prepare(asked))
    assert found.begin_s > 0
    assert found.total_s >= found.begin_s + found.updates * found.update_s
    assert rehearse(prepare(learning(asked, remembered_views=0))).begin_s == 0


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda asked: learning(asked, frozen_stride=0), "the stem of the network is not frozen"),
        (lambda asked: with_recipe(asked, size=Linear(start=12.0, end=16.0)), "needs one image size"),
        (lambda asked: with_recipe(asked, test=replace(asked.recipe.test, size=32)), "needs one image size"),
        (lambda asked: with_recipe(asked, learning=Learning(frozen_stride=2, remembered_views=-1)), "at least 0"),
    ],
)
def test_what_does_not_fit_is_refused_before_there_is_a_run(asked, tmp_path, change, said):
    with pytest.raises(ValueError, match=said):
        train(change(asked), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_more_than_there_is_room_for_is_refused():
    with pytest.raises(ValueError, match=r"would take \d+\.\d GB"):
        check_room(1 << 50)
