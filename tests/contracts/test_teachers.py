"""Who learns from a teacher says so (`TEACHER`), and nobody else; a teacher is refused otherwise, or loaded for nothing."""

from dataclasses import dataclass, replace
from typing import ClassVar

import pytest
import torch
from torch import nn

from paretina.clock import START, Clock
from paretina.data.batch import Batch
from paretina.data.transform import View
from paretina.data.transforms.flip import HorizontalFlip
from paretina.data.transforms.jitter import ColorJitter
from paretina.data.transforms.squash import Squash
from paretina.model.assemblies.divide import Divide
from paretina.model.assemblies.route import Route
from paretina.model.edits.drop_tokens import DropTokens
from paretina.model.family import network_named
from paretina.model.heads.fcos import FcosHead
from paretina.model.stems.conv import ConvStem
from paretina.model.stems.patch import PatchStem
from paretina.model.tasks.boxes import Boxes
from paretina.schedules import Constant
from paretina.spec import modules_in
from paretina.train.objective import Outputs, Teacher, Term
from paretina.train.objectives.supervised import Supervised
from paretina.train.recipe import Recipe, StochasticDepth
from paretina.train.terms.cross_entropy import CrossEntropy
from paretina.train.terms.distill import Distill
from tiny import row, tiny_blueprint

CLOCKS = (START, Clock(5, 10, 2.0), Clock(10, 10, 2.0))


def examples(package):
    return [example for module in modules_in(package) for example in getattr(module, "EXAMPLES", ())]


TERMS = examples("paretina.train.terms")
OBJECTIVES = [
    *examples("paretina.train.objectives"),
    Supervised(terms=(CrossEntropy(), Distill())),
    Supervised(terms=(Distill(),)),
]
SINGLE = tiny_blueprint(row(1, 16, 1), row(1, 32, 2), resolution=8, stem=ConvStem(width=16))
WORDS = network_named("deit_tiny").blueprint
TOKENS = DropTokens()(
    replace(
        WORDS,
        resolution=8,
        classes=3,
        stem=PatchStem(width=64, patch=4),
        stages=(replace(WORDS.stages[0], depth=4, width=64),),
    )
)
DROPS = Recipe(
    transforms=(Squash(), HorizontalFlip()), stochastic_depth=StochasticDepth(rate=Constant(value=0.5), shape="uniform")
)
FINDER = replace(SINGLE, head=FcosHead(width=32, finest=2), resolution=8)
RECIPES = (DROPS, *(replace(DROPS, views=(View(transforms=(ColorJitter(),)),) * count) for count in (2, 3)))


class Says(nn.Module):
    """Answers by the brightness of a picture, or of each pixel."""

    def __init__(self, dense=False, classes=3):
        super().__init__()
        self.dense = dense
        self.shares = torch.tensor([1.0, 0.5, 0.2, 0.1][:classes])

    def forward(self, images):
        bright = images[:, :1].float() if self.dense else images.float().mean((1, 2, 3))[:, None]
        return bright * self.shares.view(1, -1, *[1] * (bright.ndim - 2)) / 100


class Watched(Teacher):
    """Writes down whatever is asked of it; to look whether there is a teacher at all asks nothing."""

    def __getattribute__(self, name):
        if not name.startswith("__"):
            self.__dict__.setdefault("asked", []).append(name)
        return super().__getattribute__(name)


def asked(teacher):
    return bool(teacher.__dict__.get("asked"))


def batch_of(views=1, dense=False, size=8, classes=3):
    generator = torch.Generator().manual_seed(0)
    images = tuple(torch.randint(256, (6, 3, size, size), dtype=torch.uint8, generator=generator) for _ in range(views))
    targets = torch.eye(classes)[torch.arange(6) % classes]
    if dense:
        targets = targets[:, :, None, None].expand(-1, -1, size, size).clone()
    return Batch(images, targets, torch.arange(6))


def term_asks(term):
    dense = all(task.DENSE for task in term.TASKS)
    views = term.view + 1 if hasattr(term, "view") else 1
    teacher, batch = Watched(Says(dense, 4)), batch_of(views, dense, classes=4)  # as many as the examples of terms count
    made = term.make(teacher)
    for clock in CLOCKS:
        made(Outputs(torch.randn_like(batch.targets)), batch, clock)
    return asked(teacher)


@pytest.mark.parametrize("term", TERMS, ids=repr)
def test_a_term_that_asks_a_teacher_says_so_and_no_other(term):
    assert term_asks(term) == type(term).TEACHER, (
        f"{type(term).__name__}.TEACHER is {type(term).TEACHER}: write TEACHER = {not type(term).TEACHER} in the class"
    )


def fitting(objective):
    """Each of RECIPES and a model that the objective takes."""
    found = []
    usual = (SINGLE, Divide()(SINGLE), Route()(SINGLE), TOKENS)
    for recipe in RECIPES:
        for model in (FINDER,) if Boxes in type(objective).TASKS else usual:
            given = replace(recipe, objective=objective, teacher="teacher.safetensors")
            try:
                objective.check(given, model)
            except ValueError:
                continue
            found.append((given, model))
    return found


@pytest.mark.parametrize("objective", OBJECTIVES, ids=repr)
def test_an_objective_in_which_a_teacher_is_asked_says_so_and_no_other(objective):
    found = fitting(objective)
    assert found, "none of RECIPES fits it; add one that does"
    for recipe, model in found:
        teacher = Watched(model.build() if type(objective).TEACHER is True else Says())  # who asks by itself asks for maps
        learner = objective.make(model.build(), teacher).train()
        for clock in CLOCKS:
            recipe.set_rates(learner, clock)
            batch = batch_of(len(recipe.looks()))
            if Boxes in type(objective).TASKS:
                batch = replace(batch, targets=Boxes().targets([torch.tensor([[0.1, 0.1, 0.9, 0.9, 1, 1]])] * 6, 3))
            learner(batch, clock)
            learner.updated(clock)
        assert bool(recipe.taught()) == asked(teacher), (
            f"{type(objective).__name__}.TEACHER, or that of a term in it, is not what happens: it says {recipe.taught()}"
        )


def test_both_answers_are_found():
    assert {type(term).TEACHER for term in TERMS} == {True, False}
    assert {bool(Recipe(objective=objective).taught()) for objective in OBJECTIVES} == {True, False}


# --- what is forgotten is found -----------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Forgetful(Term):
    """Learns from a teacher at the end alone, and does not say so."""

    def make(self, teacher):
        return lambda outputs, batch, clock: (
            (outputs.logits - (teacher(batch).logits if clock.update == clock.updates else 0)).square().mean()
        )


@dataclass(frozen=True, kw_only=True)
class Counting(Term):
    """Counts the parameters of the teacher, and does not say so."""

    def make(self, teacher):
        size = sum(each.numel() for each in teacher.module.parameters())
        return lambda outputs, batch, clock: outputs.logits.square().mean() * size


@dataclass(frozen=True, kw_only=True)
class Vain(Term):
    TEACHER: ClassVar[bool] = True

    def make(self, teacher):
        if teacher is None:
            raise ValueError("Vain needs a teacher")
        return lambda outputs, batch, clock: outputs.logits.square().mean()


@pytest.mark.parametrize("term", [Forgetful(), Counting(), Vain()], ids=repr)
def test_a_wrong_answer_is_found(term):
    assert term_asks(term) != type(term).TEACHER
    with pytest.raises(AssertionError, match=f"write TEACHER = {not type(term).TEACHER} in the class"):
        test_a_term_that_asks_a_teacher_says_so_and_no_other(term)
