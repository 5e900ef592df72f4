"""What every objective must satisfy, run over the examples of each file with recipes and models that it does not refuse."""

import functools
import itertools
import re
from dataclasses import replace

import numpy as np
import pytest
import torch

from paretina.clock import Clock
from paretina.data.batch import Batch
from paretina.data.sources.arrays import Arrays
from paretina.data.sources.cells import Cells
from paretina.data.transform import View
from paretina.data.transforms.flip import HorizontalFlip
from paretina.data.transforms.jitter import ColorJitter
from paretina.data.transforms.mixup import MixUp
from paretina.data.transforms.squash import Squash
from paretina.measure.plan import Plan
from paretina.model.assemblies.divide import Divide
from paretina.model.assemblies.route import Route
from paretina.model.blocks.encoder import Encoder
from paretina.model.blueprint import Blueprint
from paretina.model.edits.drop_tokens import DropTokens
from paretina.model.family import network_named
from paretina.model.heads.fcos import FcosHead
from paretina.model.stems.conv import ConvStem
from paretina.model.stems.patch import PatchStem
from paretina.model.tasks.boxes import Boxes
from paretina.model.weights import About, save_model
from paretina.run import Run
from paretina.schedules import Constant
from paretina.spec import modules_in
from paretina.train.asked import Asked
from paretina.train.objective import Teacher
from paretina.train.objectives.detecting import Detecting
from paretina.train.recipe import Recipe, StochasticDepth
from paretina.train.training import resume, train
from tiny import row, tiny_blueprint

FOUND = [example for module in modules_in("paretina.train.objectives") for example in getattr(module, "EXAMPLES", ())]
SINGLE = tiny_blueprint(row(1, 16, 1), row(1, 32, 2), stem=ConvStem(width=16))
PLAIN = Recipe(epochs=2.0, batch_size=8, transforms=(Squash(), HorizontalFlip()))
DROPS = StochasticDepth(rate=Constant(value=0.5), shape="uniform")
RECIPES = (
    replace(PLAIN, stochastic_depth=DROPS, dropout=Constant(value=0.2), transforms=(*PLAIN.transforms, MixUp())),
    replace(PLAIN, stochastic_depth=DROPS, dropout=Constant(value=0.2)),
    *(replace(PLAIN, stochastic_depth=DROPS, views=(View(transforms=(ColorJitter(),)),) * count) for count in (2, 3)),
    PLAIN,
)
"""The fullest first."""
WORDS = network_named("deit_tiny").blueprint
TOKENS = DropTokens()(
    replace(
        WORDS,
        resolution=16,
        classes=3,
        stem=PatchStem(width=16, patch=4),
        stages=(replace(WORDS.stages[0], block=Encoder(head_width=8), depth=4, width=16),),
    )
)
"""Sixteen tokens, of which some are dropped."""
FINDER = replace(SINGLE, head=FcosHead(width=32, finest=2, most=20))
"""What finds boxes."""
ASSEMBLIES = (None, Divide(), Route(), TOKENS)
"""What is made of `SINGLE`; a blueprint stands for itself."""
MIDDLE = Clock(5, 10, 2.0)

KINDS = list({type(example): example for example in reversed(FOUND)}.values())[::-1]

every_objective = pytest.mark.parametrize("objective", FOUND, ids=repr)
every_whole = pytest.mark.parametrize("whole", [False, pytest.param(True, marks=pytest.mark.slow)], ids=["some", "all"])
every_kind = pytest.mark.parametrize("objective", KINDS, ids=repr)


def model_of(assembly):
    if isinstance(assembly, Blueprint):
        return assembly
    return SINGLE if assembly is None else assembly(SINGLE)


@functools.cache
def sorted_out(objective):
    """The recipes and assemblies that an objective takes, and those that it refuses with what it says."""
    taken, refused = [], []
    finders = (FINDER,) if Boxes in type(objective).TASKS else ()
    for recipe, assembly in itertools.product(RECIPES, (*ASSEMBLIES, *finders)):
        recipe = replace(
            recipe, objective=objective, teacher="teacher.safetensors" if type(objective).TEACHER is True else None
        )
        try:
            objective.check(recipe, model_of(assembly))
            taken.append((recipe, assembly))
        except ValueError as error:
            refused.append((recipe, assembly, str(error)))
    return taken, refused


def some_or_all(objective, whole):
    """What an objective takes: all of it, or each of its recipes and each of its models at least once."""
    taken, found, seen = sorted_out(objective)[0], [], set()
    for recipe, assembly in taken:
        if whole or not {recipe, assembly} <= seen:
            found.append((recipe, assembly))
            seen |= {recipe, assembly}
    return found


def learner_of(recipe, assembly, seed=0):
    torch.manual_seed(seed)
    teacher = None if recipe.teacher is None else Teacher(model_of(assembly).build())
    learner = recipe.objective.make(model_of(assembly).build(), teacher).train()
    recipe.set_rates(learner, MIDDLE)
    return learner


def batch_for(recipe, targets=None):
    generator = torch.Generator().manual_seed(1)
    shapes = [(6, 3, look.side(16), look.side(16)) for look in recipe.looks()]
    views = tuple(torch.randint(256, shape, dtype=torch.uint8, generator=generator) for shape in shapes)
    if isinstance(recipe.objective, Detecting):
        objects = torch.tensor([[0.1, 0.2, 0.8, 0.9, 0.0, 1.0], [0.4, 0.1, 0.7, 0.6, 2.0, 1.0]])
        given = Boxes().targets([objects] * 6, 3)
        return Batch(views, given if targets is None else torch.zeros_like(given), torch.arange(6))
    return Batch(views, torch.eye(3)[torch.arange(6) % 3] if targets is None else targets, torch.arange(6))


@pytest.fixture
def asked(tmp_path):
    random = np.random.default_rng(0)
    labels = np.arange(24) % 3
    pictures = (random.random((24, 18, 18, 3)) * 170 + 40 * labels[:, None, None, None]).astype(np.uint8)
    np.savez(tmp_path / "pictures.npz", images=pictures, labels=labels, split=["train"] * 16 + ["val"] * 8)

    def made(recipe, assembly):
        data = Arrays(path=str(tmp_path / "pictures.npz"))
        if assembly is FINDER and isinstance(recipe.objective, Detecting):
            data = Cells(looks=("bright",), train=16, val=8, size=24, labels="boxes")
        own = isinstance(assembly, Blueprint)
        model, assembly = (assembly, None) if own else (SINGLE, assembly)
        if recipe.teacher is not None:
            torch.manual_seed(7)
            save_model(tmp_path / recipe.teacher, model.build(), About(classes=("0", "1", "2")))
            recipe = replace(recipe, teacher=str(tmp_path / recipe.teacher))
        return Asked(data=data, model=model, assembly=assembly, recipe=recipe, plan=Plan(workers=0, threads=1))

    return made


@every_objective
def test_takes_some_recipe_and_model(objective):
    taken, _ = sorted_out(objective)
    assert taken, "none of RECIPES fits it; add one that does"


@every_kind
def test_says_what_to_change_before_there_is_a_run(objective, tmp_path, asked):
    _, refused = sorted_out(objective)
    assert all(said.startswith(type(objective).__name__) for _, _, said in refused)
    for recipe, assembly, said in refused[:1]:
        with pytest.raises(ValueError, match=rf"^{re.escape(said)}$"):
            train(asked(recipe, assembly), tmp_path / "run")
        assert not (tmp_path / "run").exists()


@every_objective
@every_whole
def test_gives_named_losses_and_the_network_of_the_model(objective, whole):
    for recipe, assembly in some_or_all(objective, whole):
        learner = learner_of(recipe, assembly)
        losses = learner(batch_for(recipe), MIDDLE)
        assert losses
        for loss in losses.values():
            assert loss.shape == ()
            assert loss.dtype == torch.float32
            assert loss.isfinite()
        assert learner.result().model == model_of(assembly)


@every_objective
@every_whole
def test_a_gradient_reaches_every_parameter_that_learns(objective, whole):
    # with several processes, one without a gradient would stop the run
    for recipe, assembly in some_or_all(objective, whole):
        learner = learner_of(recipe, assembly)
        sum(learner(batch_for(recipe), MIDDLE).values()).backward()
        given = {id(parameter) for group in recipe.learning.groups(learner, recipe.optimizer) for parameter in group["params"]}
        for name, parameter in learner.named_parameters():
            assert (id(parameter) in given) == parameter.requires_grad, name
            assert (parameter.grad is not None) == parameter.requires_grad, name


@every_kind
def test_pictures_without_a_label_are_no_error(objective):
    recipe, assembly = sorted_out(objective)[0][0]
    learner = learner_of(recipe, assembly)
    losses = learner(batch_for(recipe, torch.zeros(6, 3)), MIDDLE)
    sum(losses.values()).backward()
    assert all(loss.isfinite() for loss in losses.values())
    assert all(each.grad.isfinite().all() for each in learner.parameters() if each.grad is not None)


@every_kind
def test_an_interrupted_run_ends_as_an_uninterrupted_one(objective, tmp_path, asked):
    recipe, assembly = sorted_out(objective)[0][0]
    whole = train(asked(recipe, assembly), tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        train(asked(recipe, assembly), tmp_path / "run", stop_after=3)
    resumed = resume(tmp_path / "run")
    first, second = ((run.path / "model.safetensors").read_bytes() for run in (whole, resumed))
    assert first == second
    lines = [[line for line in Run(run.path).lines() if line["event"] == "train"][-1] for run in (whole, resumed)]
    assert all(lines[0][name] == value for name, value in lines[1].items() if "loss" in name)
