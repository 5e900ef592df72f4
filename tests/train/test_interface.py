"""Whether a foreign objective fits the interface: BYOL, written here with nothing but the public bases.

It is a trial, not a plug-in: two views, three networks that own parameters, one of which follows another and never learns by
gradient. The loop, the roles, the optimizer's groups, the checkpoint and the average take it as they are.
"""

import copy
import math
from dataclasses import dataclass

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from paretina.clock import START, Clock
from paretina.data.pictures import read_pictures
from paretina.data.transform import View
from paretina.data.transforms.erase import RandomErasing
from paretina.data.transforms.jitter import ColorJitter
from paretina.data.transforms.squash import Squash
from paretina.measure.evaluate import Evaluation
from paretina.measure.plan import Plan
from paretina.model.roles import roles
from paretina.run import Run
from paretina.schedules import Constant
from paretina.train.average import Average
from paretina.train.evaluated import Evaluated
from paretina.train.journal import Journal
from paretina.train.loop import Job, run_updates
from paretina.train.objective import Learner, Objective
from paretina.train.optimizers.adamw import AdamW
from paretina.train.ranks import Ranks
from paretina.train.recipe import Recipe

PLAN = Plan(workers=0)


def perceptron(width_in, hidden, width_out):
    last = nn.Linear(hidden, width_out, bias=False)
    return nn.Sequential(nn.Linear(width_in, hidden), nn.BatchNorm1d(hidden), nn.ReLU(), last)


def apart(one, other):
    return (2 - 2 * F.cosine_similarity(one, other)).mean()


class TrialLearner(Learner):
    def __init__(self, network, momentum):
        super().__init__()
        width = network.head.classifier.in_features
        self.network, self.momentum = network, momentum
        self.projector, self.predictor = perceptron(width, 32, 8), perceptron(8, 32, 8)
        self.target = nn.ModuleList([copy.deepcopy(network), copy.deepcopy(self.projector)]).requires_grad_(False)

    def forward(self, batch, clock):
        first, second = batch.views
        online = [self.projector(self.network.embedding(view)) for view in (first, second)]
        with torch.no_grad():
            target = [self.target[1](self.target[0].embedding(view)) for view in (first, second)]
        views = apart(self.predictor(online[0]), target[1]) + apart(self.predictor(online[1]), target[0])
        with torch.no_grad():
            features = self.network.embedding(first)
        probe = F.cross_entropy(self.network.head.classifier(features), batch.targets)  # sees features that it cannot change
        return {"views": views, "probe": probe}

    def updated(self, clock):
        momentum = 1 - (1 - self.momentum) * (math.cos(math.pi * clock.progress) + 1) / 2
        with torch.no_grad():
            for mine, other in zip(
                self.target.parameters(), [*self.network.parameters(), *self.projector.parameters()], strict=True
            ):
                mine.lerp_(other, 1 - momentum)

    def result(self):
        return self.network


@dataclass(frozen=True, kw_only=True)
class TrialByol(Objective):
    momentum: float = 0.9

    def check(self, recipe, model):
        if len(recipe.views) != 2:
            raise ValueError(f"TrialByol compares two views, and the recipe makes {len(recipe.views) or 1}; give it two")

    def make(self, network, teacher):
        return TrialLearner(network, self.momentum)


RECIPE = Recipe(
    epochs=6.0,
    batch_size=10,
    transforms=(Squash(),),
    views=(View(transforms=(ColorJitter(),)), View(transforms=(ColorJitter(), RandomErasing()))),
    objective=TrialByol(),
    optimizer=AdamW(lr=Constant(value=0.01)),
    average=Average(),
    test=Evaluated(every=6.0),
    seed=5,
)


def task(collection, blueprint, updates=None):
    torch.manual_seed(RECIPE.seed)
    learner = PLAN.place(RECIPE.objective.make(blueprint.build(), None))
    train, val = (read_pictures(collection, collection.split(name)) for name in ("train", "val"))
    evaluation = Evaluation(val, blueprint.preprocessing, 16, blueprint.classes, PLAN)
    return Job(learner, train, evaluation, RECIPE.sizes(16), PLAN, Ranks(), updates=updates)


def fitted(path, collection, blueprint, updates=None):
    run = Run.open(path) if path.exists() else Run.create(path, {})
    kept = run_updates(
        task(collection, blueprint, updates), RECIPE, run, Journal(run, Ranks(), PLAN.device, lambda line: None, every=0.0)
    )
    return kept, [line for line in run.lines() if line["event"] == "train"]


@pytest.mark.slow
def test_one_loop_trains_two_views_with_a_target_network(tmp_path, collection, tiny):
    kept, lines = fitted(tmp_path / "run", collection, tiny)
    assert lines[-1]["train/loss/views"] < 0.8 * lines[0]["train/loss/views"]
    assert lines[-1]["train/loss/probe"] < lines[0]["train/loss/probe"]
    assert kept.network.blueprint == tiny


@pytest.mark.slow
def test_the_target_network_is_part_of_the_state(tmp_path, collection, tiny):
    whole, _ = fitted(tmp_path / "whole", collection, tiny)
    with pytest.raises(KeyboardInterrupt):
        fitted(tmp_path / "cut", collection, tiny, updates=7)
    resumed, _ = fitted(tmp_path / "cut", collection, tiny)
    wanted = whole.network.state_dict()
    assert all(torch.equal(wanted[name], tensor) for name, tensor in resumed.network.state_dict().items())


def test_only_what_learns_is_given_to_the_optimizer(tiny):
    torch.manual_seed(0)
    learner = RECIPE.objective.make(tiny.build(), None)
    given = {id(parameter) for group in RECIPE.learning.groups(learner, RECIPE.optimizer) for parameter in group["params"]}
    assert given == {id(p) for part in (learner.network, learner.projector, learner.predictor) for p in part.parameters()}
    assert {owned.place for owned in roles(learner).values()} >= {"projector", "predictor", "target", "stem", "head"}


def test_the_target_follows_and_stands_still_at_the_end(tiny):
    torch.manual_seed(0)
    learner = RECIPE.objective.make(tiny.build(), None)
    with torch.no_grad():
        learner.projector[0].weight.add_(1.0)
    before = learner.target[1][0].weight.clone()
    learner.updated(START)
    torch.testing.assert_close(learner.target[1][0].weight, before + 0.1)
    learner.updated(Clock(100, 100, 1.0))
    torch.testing.assert_close(learner.target[1][0].weight, before + 0.1)
