import math
import re
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from covering import few
from paretina.data.sources.arrays import Arrays
from paretina.data.transforms.squash import Squash
from paretina.measure.plan import Plan
from paretina.model.blueprint import Initialisation, Preprocessing
from paretina.model.heads.pool import PoolHead
from paretina.model.norms.proxy import ProxyNorm
from paretina.model.quantisers.binary import Binary
from paretina.model.quantisers.lsq import Lsq
from paretina.model.weights import Loaded, Start, load_model
from paretina.schedules import Constant
from paretina.train.asked import Asked
from paretina.train.evaluated import Evaluated
from paretina.train.learning import Learning
from paretina.train.optimizers.adamw import AdamW
from paretina.train.ranks import Ranks
from paretina.train.recipe import Recipe
from paretina.train.resolve import make_job, prepare
from paretina.train.starting import Starting, apart, first_values, least_momentum, start_notes, statistical
from paretina.train.training import train

# --- how long norms remember ------------------------------------------------------------------------------------------


def test_the_least_momentum_by_hand():
    for passes in (1, 9, 144, 10_000):
        assert (1 - least_momentum(passes)) ** passes == pytest.approx(math.exp(-10), rel=1e-6)
    assert least_momentum(144) == pytest.approx(0.0671, abs=1e-4)
    assert 0 < least_momentum(1) < 1


class Own(nn.Module):
    """A norm of another make."""

    def __init__(self):
        super().__init__()
        self.momentum = 0.1
        self.register_buffer("running_scale", torch.ones(3))


def test_every_norm_that_keeps_statistics_is_reached(tiny):
    network = tiny.build()
    learner = nn.ModuleDict({"network": network, "batch": nn.BatchNorm1d(4), "own": Own(), "group": nn.GroupNorm(1, 4)})
    learner["instance"] = nn.InstanceNorm2d(4, track_running_stats=True)
    learner["forgetful"] = nn.InstanceNorm2d(4)
    Starting(norm_momentum=0.01).set_memory(learner, 100)
    assert len(list(statistical(learner))) == len(list(statistical(network))) + 3
    assert {norm.momentum for norm in statistical(learner)} == {least_momentum(100)}
    assert {learner[name].momentum for name in ("batch", "own", "instance")} == {least_momentum(100)}
    assert learner["forgetful"].momentum == 0.1
    Starting(norm_momentum=0.01).set_memory(learner, 100_000)
    assert {norm.momentum for norm in statistical(learner)} == {0.01}
    Starting(norm_momentum=0.01, bound_norm_memory=False).set_memory(learner, 100)
    assert {norm.momentum for norm in statistical(learner)} == {0.01}


LONG = Starting(norm_momentum=0.01)
EVERYTHING = Learning()


def said_of(model, updates, learning=EVERYTHING, start=LONG, accumulate=1):
    network = model.build("meta")
    learning.apply(network)
    return start.notes(network, updates, updates * accumulate)


def test_it_is_said_where_it_acts(tiny):
    (said,) = said_of(tiny, 144)
    assert said.startswith("norm_momentum=0.01 is too low for a run of 144 updates, so norms use")
    assert said.endswith("use 0.0671 instead")
    assert said_of(tiny, 1000) == ()
    assert said_of(tiny, 144, accumulate=8) == ()  # norms see eight batches an update
    assert said_of(tiny, 144, Learning(freeze_norm_statistics=True)) == ()
    assert said_of(tiny, 144, Learning(frozen=("stem", "stages.0", "stages.1"))) == ()  # the head has no norm
    assert said_of(tiny, 144, start=Starting(norm_momentum=0.01, bound_norm_memory=False)) == ()
    assert said_of(replace(tiny, norm=ProxyNorm()), 144) == ()  # its statistics are those of its parameters


LEARNS = Recipe(
    epochs=8.0,
    batch_size=10,
    transforms=(Squash(),),
    optimizer=AdamW(lr=Constant(value=3e-3)),
    start=Starting(norm_momentum=0.01),
    test=Evaluated(every=100.0),
)


def notes(run):
    return [line["message"] for line in run.lines() if line["event"] == "note"]


def statistics_of_training(network, prepared):
    """What the running statistics should be: those of the training pictures under the last weights."""
    images = torch.stack([prepared.train.image(number) for number in range(len(prepared.train))])
    for norm in statistical(network):
        norm.reset_running_stats()
        norm.momentum = 1.0
    with torch.no_grad():
        network.train()(images)
    return network.eval()


@pytest.mark.slow
def test_a_short_run_with_a_long_memory_evaluates_what_it_has_learned(tiny, npz, tmp_path):
    asked = Asked(data=Arrays(path=str(npz)), model=tiny, recipe=LEARNS, plan=Plan(workers=0))
    run = train(asked, tmp_path / "run")
    assert run.result()["metrics"]["val/top1"] > 85  # a third by chance, and that is what 0.01 gives here
    assert [said for said in notes(run) if said.startswith("norm_momentum=0.01 is too low for a run of 24 updates")]
    assert [said for said in run.asked()["notes"] if said.startswith("norm_momentum")]
    kept, right = (load_model(run.path / "model.safetensors")[0] for _ in range(2))
    statistics_of_training(right, prepare(asked))
    for one, two in zip(statistical(kept), statistical(right), strict=True):
        torch.testing.assert_close(one.running_var, two.running_var, rtol=0.5, atol=1e-3)


@pytest.mark.slow
def test_a_short_run_from_weights_gets_used_to_its_pictures(tiny, npz, tmp_path, arrays):
    first = train(Asked(data=Arrays(path=str(npz)), model=tiny, recipe=LEARNS, plan=Plan(workers=0)), tmp_path / "first")
    images, labels = arrays(39, 18)
    dark = tmp_path / "dark.npz"
    np.savez(dark, images=images // 4, labels=labels, split=["train"] * 30 + ["val"] * 9, classes=["red", "green", "blue"])
    again = Asked(
        data=Arrays(path=str(dark)),
        model=tiny,
        recipe=LEARNS,
        plan=Plan(workers=0),
        weights=str(first.path / "model.safetensors"),
    )
    run = train(again, tmp_path / "again")
    assert run.result()["metrics"]["val/top1"] > 85
    kept, right = (load_model(run.path / "model.safetensors")[0] for _ in range(2))
    statistics_of_training(right, prepare(again))
    one, two = next(statistical(kept)), next(statistical(right))  # of the stem, which sees pictures of a quarter of the light
    torch.testing.assert_close(one.running_mean, two.running_mean, rtol=0.2, atol=0.15)


# --- the last layer ---------------------------------------------------------------------------------------------------------


def test_a_run_from_weights_starts_each_class_from_its_own_row(tiny, npz, tmp_path, arrays):
    first = train(Asked(data=Arrays(path=str(npz)), model=tiny, recipe=LEARNS, plan=Plan(workers=0)), tmp_path / "first")
    old = load_model(first.path / "model.safetensors")[0].head.classifier
    images, labels = arrays(39, 18)
    other = tmp_path / "other.npz"
    np.savez(other, images=images, labels=labels, split=["train"] * 30 + ["val"] * 9, classes=["apple", "red", "green"])
    weights = str(first.path / "model.safetensors")
    asked = Asked(data=Arrays(path=str(other)), model=tiny, recipe=LEARNS, plan=Plan(workers=0), weights=weights)
    prepared = prepare(asked)
    new = make_job(prepared, Ranks()).learner.result().head.classifier
    assert torch.equal(new.weight[1:], old.weight[:2])
    assert torch.equal(new.bias[1:], old.bias[:2])
    assert not torch.equal(new.weight[0], old.weight[0])
    assert new.bias[0] == 0
    wanted = (
        "the last layer keeps the rows of the 2 classes (red, green) that the weights know by name; 1 class (apple) starts anew"
    )
    assert wanted in prepared.notes


def test_new_rows_are_not_those_that_the_old_ones_started_from(tiny):
    wide = replace(tiny, head=PoolHead(width=256))

    def made(start, classes):
        torch.manual_seed(0)
        network = wide.build()
        first_values(network, start, classes)
        return network

    def started(network, classes):
        return Start(wide, network.state_dict(), "", "", "", tuple(classes))

    first = made(None, "abc")
    second = made(started(first, "abc"), "xyz")
    third = made(started(second, "xyz"), "def")
    rows = torch.cat([network.head.classifier.weight for network in (first, second, third)]).detach()
    alike = torch.nn.functional.cosine_similarity(rows[None], rows[:, None], dim=-1) - torch.eye(9)
    assert alike.abs().max() < 0.3
    assert torch.equal(made(started(first, "abc"), "xyz").head.classifier.weight, second.head.classifier.weight)


@pytest.mark.parametrize("known", few([False, True]))
def test_the_first_loss_that_is_logged_is_that_of_guessing(tiny, npz, tmp_path, arrays, known):
    blueprint = replace(tiny, initialisation=Initialisation(linear="outputs"), head=PoolHead(width=512))
    recipe = replace(LEARNS, epochs=0.34)
    first = train(Asked(data=Arrays(path=str(npz)), model=blueprint, recipe=recipe, plan=Plan(workers=0)), tmp_path / "first")
    run = first
    if known:
        images, labels = arrays(39, 18)
        other = tmp_path / "other.npz"
        np.savez(other, images=images, labels=labels, split=["train"] * 30 + ["val"] * 9, classes=["a", "b", "c"])
        start = str(first.path / "model.safetensors")
        asked = Asked(data=Arrays(path=str(other)), model=blueprint, recipe=recipe, plan=Plan(workers=0), weights=start)
        run = train(asked, tmp_path / "run")
    line = next(line for line in run.lines() if line["event"] == "train")
    assert (line["step"], line["train/loss"]) == (1, pytest.approx(math.log(3), rel=0.03))


def test_new_rows_of_a_frozen_head_are_refused(tiny):
    start = Start(tiny, {}, "", "", "", ("a", "b", "c"))
    learning = Learning(frozen=("head",))
    with pytest.raises(
        ValueError, match=r"the head is frozen, but the last layer keeps the rows .* \(x\) starts anew; leave 'head' out"
    ):
        start_notes(start, tiny, Loaded(start.rows(("a", "b", "x"))), learning)
    same = Loaded(start.rows(("a", "b", "c")))
    assert len(start_notes(start, tiny, same, learning)) == 1
    with pytest.raises(ValueError, match=r"^members.1.head is frozen, but the weights do not have it; leave it out of frozen"):
        start_notes(start, tiny, replace(same, new=("members.1.head", "stem")), learning)


@pytest.mark.parametrize(
    ("learning", "way"),
    [
        (Learning(frozen=("stem", "stages.0")), "leave them out of frozen"),
        (Learning(frozen_stride=8), "frozen_stride=8 freezes what has such a stride; set frozen_stride=0"),
        (Learning(trainable_stages=0), "trainable_stages=0 freezes what is before; set trainable_stages=none frozen_stride=0"),
    ],
)
def test_what_freezes_new_steps_is_named(tiny, learning, way):
    start = Start(tiny, {}, "", "", "", ("a", "b", "c"))
    loaded = replace(Loaded(start.rows(("a", "b", "c"))), begun=("stem", "stages.0"))
    message = "stem, stages.0 are frozen, but their quantisers have new steps, which training sets; "
    with pytest.raises(ValueError, match=re.escape(message + way)):
        start_notes(start, tiny, loaded, learning)


def test_it_is_said_where_the_last_layer_alone_is_trained(tiny):
    start = Start(tiny, {}, "", "", "", ("a", "b", "c"))
    loaded = Loaded(start.rows(("a", "b", "c")))
    stride = max(tiny.border_strides)
    said = start_notes(start, tiny, loaded, Learning(frozen_stride=stride))
    assert said[-1].startswith(f"frozen_stride={stride} freezes all stages of this network, so only what comes after them is")
    for other in (Learning(), Learning(frozen_stride=stride - 1), Learning(trainable_stages=0)):
        assert not any("freezes all stages" in note for note in start_notes(start, tiny, loaded, other))


def test_parts_that_would_read_alike_are_told_in_full():
    assert apart(Lsq(weights=2), Lsq(weights=4)) == ("Lsq 2w4a", "Lsq 4w4a")
    first, second = apart(Binary(float_weights=True), Binary())
    assert first != second


def test_weights_of_a_network_that_computes_otherwise_are_warned_of(tiny):
    start = Start(replace(tiny, padding="same"), {}, "", "", "", ("a", "b", "c"))
    said = start_notes(start, tiny, Loaded(start.rows(("a", "b", "c"))), Learning())[1]
    assert said == "warning: the weights were trained in a network with padding same instead of symmetric"


def test_weights_of_a_network_that_was_given_other_numbers_are_warned_of(tiny):
    half = Preprocessing(mean=(0.5,) * tiny.channels, std=(0.25,) * tiny.channels)
    start = Start(replace(tiny, preprocessing=half), {}, "", "", "", ("a", "b", "c"))
    said = start_notes(start, tiny, Loaded(start.rows(("a", "b", "c"))), Learning())[1]
    assert said.startswith(
        "warning: the weights were trained with mean (0.5, 0.5, 0.5) and std (0.25, 0.25, 0.25) of the pictures"
    )
    cropped = replace(start, model=replace(tiny, preprocessing=replace(tiny.preprocessing, crop=1.0)))
    assert len(start_notes(cropped, tiny, Loaded(start.rows(("a", "b", "c"))), Learning())) == 1
