"""What is refused before there is a run: what learns is looked at whole, and without values where it can be."""

import gc
import re
import weakref
from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from torch import nn

from paretina.clock import START
from paretina.data.sources.arrays import Arrays
from paretina.data.transform import View
from paretina.measure.plan import Plan
from paretina.model.tasks.one_of import OneOf
from paretina.model.weights import About, save_model
from paretina.schedules import Constant
from paretina.train import feasible
from paretina.train.asked import Asked, assignment, change
from paretina.train.feasible import any_batch, check_asked, check_learner, check_parts, emptied, learn_from, without_values
from paretina.train.objective import Learner, Objective, Teacher
from paretina.train.objectives.supervised import Supervised
from paretina.train.recipe import Recipe
from paretina.train.resolve import as_started
from paretina.train.terms.cross_entropy import CrossEntropy
from paretina.train.terms.distill import Distill
from paretina.train.training import train


class PairLearner(Learner):
    def __init__(self, network, values):
        super().__init__()
        self.network, self.values = network, values
        width = network.head.classifier.in_features
        self.projector = nn.Sequential(nn.Linear(width, 8), nn.BatchNorm1d(8))

    def forward(self, batch, clock):
        first, second = (self.projector(self.network(view, extras=True)[1]["embedding"]) for view in batch.views)
        loss = (first - second).square().mean()
        if self.values:
            loss = loss * max(loss.item(), 1.0)  # nothing is known of it on the device "meta"
        return {"pairs": loss, "logits": self.network(batch.views[0]).square().mean()}

    def result(self):
        return self.network


@dataclass(frozen=True, kw_only=True)
class Pairs(Objective):
    """Two views and a batch norm behind the embedding, as in BYOL.

    Attributes:
        values: whether it cannot do without values.
        least: number of pictures that it takes.
    """

    values: bool = False
    least: int = 1

    def make(self, network, teacher):
        learner = PairLearner(network, self.values)
        if self.least > 1:
            learner.register_forward_pre_hook(lambda module, given: self.enough(len(given[0].ids)))
        return learner

    def enough(self, count):
        if count < self.least:
            raise ValueError(f"Pairs takes {self.least} pictures or more, got {count}")


@pytest.fixture
def asked(tiny, arrays, tmp_path):
    """What is asked of a run over 32 pictures."""
    images, labels = arrays(41, 18)
    path = tmp_path / "numbers.npz"
    np.savez(path, images=images, labels=labels, split=["train"] * 32 + ["val"] * 9, classes=["red", "green", "blue"])

    def made(**changes):
        recipe = Recipe(**{"epochs": 1.0, "batch_size": 4, "views": (View(), View()), "objective": Pairs()} | changes)
        return Asked(data=Arrays(path=str(path)), model=tiny, recipe=recipe, plan=Plan(workers=0, threads=1))

    return made


@pytest.fixture
def teacher(tiny, tmp_path):
    path = tmp_path / "teacher.safetensors"
    save_model(path, tiny.build(), About(classes=("red", "green", "blue"), origin="made for a test"))
    return str(path)


# --- the smallest part of an update -------------------------------------------------------------------------------------------


def refused(wanted, tmp_path, match):
    with pytest.raises(ValueError, match=match):
        train(wanted, tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
@pytest.mark.parametrize("values", [False, True])
def test_parts_of_one_picture_are_refused_where_the_objective_has_a_norm_of_its_own(asked, tmp_path, values):
    # maps of 8 x 8 pixels: the network alone could learn from a single picture
    wanted = asked(accumulate=4, objective=Pairs(values=values))
    refused(
        wanted,
        tmp_path,
        r"cannot learn from 1 picture of 16 x 16 pixels at a time with the objective Pairs \(batch_size=4, 32 pictures, "
        r"cut into 4 parts .*Expected more than 1 value per channel.* Raise batch_size, lower accumulate",
    )
    check_parts(asked(accumulate=4, objective=Supervised(), views=()), wanted.model, OneOf(), 32, 1)
    check_parts(asked(accumulate=2, objective=Pairs(values=values)), wanted.model, OneOf(), 32, 1)


@pytest.mark.parametrize("values", [False, True])
def test_an_objective_that_wants_more_pictures_is_asked_with_as_many_as_there_will_be(asked, tiny, values):
    objective = Pairs(values=values, least=6)
    check_parts(asked(batch_size=12, objective=objective), tiny, OneOf(), 24, 1)
    with pytest.raises(ValueError, match=r"takes 6 pictures or more, got 4\. Raise batch_size, lower accumulate"):
        check_parts(asked(batch_size=12, accumulate=3, objective=objective), tiny, OneOf(), 24, 1)
    with pytest.raises(ValueError, match=r"takes 6 pictures or more, got 3\. Raise batch_size, lower accumulate"):
        check_parts(asked(batch_size=12, accumulate=2, objective=objective), tiny, OneOf(), 24, 2)


def test_fewer_views_than_the_objective_takes_are_refused(asked, tmp_path):
    refused(asked(views=()), tmp_path, "with the objective Pairs .*not enough values to unpack")


def test_looking_is_done_without_values_and_draws_nothing(asked, tiny, monkeypatch):
    devices, made = [], feasible.learner_on
    monkeypatch.setattr(feasible, "learner_on", lambda device, *given: devices.append(device) or made(device, *given))
    state = torch.get_rng_state()
    learn_from(Supervised(), Recipe().learning, tiny, OneOf(), 8, (16,))
    assert devices == ["meta"]
    learn_from(Pairs(values=True), Recipe().learning, tiny, OneOf(), 8, (16, 16))
    assert devices == ["meta", "meta", "cpu"]
    assert torch.equal(torch.get_rng_state(), state)


def test_what_is_wrong_without_values_is_not_tried_again():
    tried = []

    def look(device):
        tried.append(device)
        raise ValueError("wrong")

    with pytest.raises(ValueError, match="wrong"):
        without_values(look)
    assert tried == ["meta"]


def test_a_batch_is_of_the_kind_that_the_loader_gives(tiny):
    batch = any_batch(tiny, OneOf(), 5, (16, 12), "cpu")
    assert [view.shape for view in batch.views] == [(5, 3, 16, 16), (5, 3, 12, 12)]
    assert batch.images.dtype == torch.uint8
    assert torch.equal(batch.targets, torch.eye(3)[:1].expand(5, 3))
    losses = Supervised().make(tiny.build(), None)(batch, START)
    assert all(loss.isfinite() for loss in losses.values())


# --- teachers -----------------------------------------------------------------------------------------------------------------

TAUGHT = Supervised(terms=(CrossEntropy(), Distill(weight=Constant(value=0.5))))


def test_a_teacher_that_nothing_learns_from_is_refused_and_the_advice_can_be_followed(asked, teacher, tmp_path):
    wanted = asked(teacher=teacher, objective=Supervised(), views=())
    message = (
        rf"names a teacher, {re.escape(teacher)}, but nothing in its objective Supervised learns from one; switch on a term "
        r"that does \(objective\.terms\.Distill=on\), or leave the teacher out: teacher=none"
    )
    refused(wanted, tmp_path, message)
    for advice in ("objective.terms.Distill=on", "teacher=none"):
        check_asked(change(wanted, *assignment(advice)))


def test_a_size_is_a_whole_number(asked):
    with pytest.raises(ValueError, match=r"the size is a whole number of pixels, got size=32.5"):
        check_asked(asked(size=32.5))
    check_asked(asked(size=32.0))


def test_an_objective_without_terms_is_advised_to_leave_the_teacher_out(asked, teacher):
    with pytest.raises(
        ValueError, match=r"nothing in its objective Pairs learns from one; leave the teacher out: teacher=none"
    ):
        check_asked(asked(teacher=teacher))


def test_a_run_of_an_earlier_release_goes_on_without_the_teacher_that_taught_nothing(asked, teacher):
    old = asked(teacher=teacher, objective=Supervised(), views=())
    assert as_started(old, {}).recipe == replace(old.recipe, teacher=None)
    taught = asked(teacher=teacher, objective=TAUGHT, views=())
    assert as_started(taught, {}).recipe == taught.recipe


def test_a_teacher_stays_as_it_is_and_does_not_stay_in_memory(asked, tiny):
    module = tiny.build()
    before = {name: value.clone() for name, value in module.state_dict().items()}
    wanted = asked(teacher="teacher.safetensors", objective=TAUGHT, views=())
    check_learner(wanted.recipe, tiny, Teacher(module))
    check_parts(wanted, tiny, OneOf(), 30, 1, Teacher(module))
    after = module.state_dict()
    assert all(torch.equal(value, after[name]) for name, value in before.items())
    gone = weakref.ref(module)
    del module, after
    gc.collect()
    assert gone() is None


def test_a_copy_without_values_shares_what_the_original_shares():
    module = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3), nn.Linear(3, 3))
    module[2].weight = module[0].weight
    empty = emptied(module)
    assert {each.device.type for each in (*empty.parameters(), *empty.buffers())} == {"meta"}
    assert {each.device.type for each in (*module.parameters(), *module.buffers())} == {"cpu"}
    assert empty[2].weight is empty[0].weight
    assert list(empty.state_dict()) == list(module.state_dict())
