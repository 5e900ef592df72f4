from dataclasses import replace

import pytest
import torch
from torch import nn

from paretina.clock import Clock
from paretina.data.batch import Batch
from paretina.data.transform import View
from paretina.data.transforms.cutmix import CutMix
from paretina.data.transforms.mixup import MixUp
from paretina.model.blueprint import Preprocessing
from paretina.schedules import Constant, Linear
from paretina.train.objective import Outputs, Teacher
from paretina.train.objectives.supervised import Supervised
from paretina.train.recipe import Recipe
from paretina.train.terms.cross_entropy import CrossEntropy
from paretina.train.terms.distill import Distill
from tiny import row, tiny_blueprint

HALFWAY = Clock(5, 10, 10.0)
STUDENT, TEACHER = torch.tensor([[1.0, 0.5, -0.5]]), torch.tensor([[3.0, 1.0, -2.0]])
BLUEPRINT = tiny_blueprint(row(2, 8, 1))


class Says(nn.Module):
    """A teacher that always gives the same answer."""

    def __init__(self, logits):
        super().__init__()
        self.answer = nn.Parameter(logits)
        self.dropout = nn.Dropout(0.5)

    def forward(self, images):
        return self.dropout(self.answer).expand(len(images), -1)


def batch(count=1, seed=0):
    generator = torch.Generator().manual_seed(seed)
    images = torch.randint(0, 256, (count, 3, 16, 16), dtype=torch.uint8, generator=generator)
    targets = torch.eye(3)[torch.arange(count) % 3]
    return Batch((images,), targets, torch.arange(count))


def loss(temperature, student=STUDENT, weight=1.0, clock=HALFWAY):
    term = Distill(temperature=Constant(value=temperature), weight=weight).make(Teacher(Says(TEACHER)))
    return term(Outputs(student), batch(len(student)), clock)


@pytest.mark.parametrize(("temperature", "wanted"), [(1.0, 0.272887), (2.0, 0.602209), (4.0, 0.848996), (20.0, 1.006587)])
def test_by_published_numbers(temperature, wanted):
    assert loss(temperature).item() == pytest.approx(wanted, abs=1e-5)


def test_the_limit_of_a_high_temperature_is_a_squared_distance():
    # d = student - teacher = (-2, -0.5, 1.5), mean -1/3: sum of (d - mean)^2 / (2 * 3) = 1.027778
    assert loss(100.0).item() == pytest.approx(1.027778, abs=1e-2)


def test_the_gradient_by_hand():
    student = STUDENT.clone().requires_grad_()
    loss(2.0, student).backward()
    assert student.grad[0].tolist() == pytest.approx([-0.490916, 0.184476, 0.306440], abs=1e-6)


def test_bag_of_tricks_writes_a_cross_entropy_with_the_same_gradient():
    # half the labels and half T^2 times the cross entropy at T = 20 is 219.493572
    student = STUDENT.clone().requires_grad_()
    labels = Batch(batch().views, torch.tensor([[1.0, 0.0, 0.0]]), torch.tensor([0]))
    plain = CrossEntropy(smoothing=Constant(value=0.0), weight=Constant(value=0.5)).make(None)
    distill = Distill(weight=Constant(value=0.5), temperature=Constant(value=20.0)).make(Teacher(Says(TEACHER)))
    ours = plain(Outputs(student), labels, HALFWAY) + distill(Outputs(student), labels, HALFWAY)
    ours.backward()
    gradient, student.grad = student.grad, None
    wanted = (TEACHER / 20).softmax(1)
    theirs = 0.5 * nn.functional.cross_entropy(student, labels.targets)
    theirs = theirs + 0.5 * 400 * nn.functional.cross_entropy(student / 20, wanted)
    theirs.backward()
    assert theirs.item() == pytest.approx(219.493572, abs=1e-3)
    torch.testing.assert_close(gradient, student.grad)
    entropy = -(wanted * wanted.log()).sum()
    assert ours.item() == pytest.approx(theirs.item() - 0.5 * 400 * entropy.item(), abs=1e-3)


def test_a_batch_is_the_mean_of_its_pictures_whatever_the_number_of_classes():
    # F.kl_div's "mean" would divide by the classes too
    student = torch.cat((STUDENT, TEACHER, STUDENT))
    assert loss(2.0, student).item() == pytest.approx(2 / 3 * 0.602209, abs=1e-5)


def test_weight_and_temperature_follow_the_clock():
    term = Distill(weight=Linear(start=0.0, end=1.0), temperature=Linear(start=1.0, end=3.0)).make(Teacher(Says(TEACHER)))
    assert term(Outputs(STUDENT), batch(), HALFWAY).item() == pytest.approx(0.5 * 0.602209, abs=1e-6)


def test_needs_a_teacher():
    with pytest.raises(ValueError, match="Distill needs a teacher; set one in the recipe: teacher=FILE"):
        Distill().make(None)
    with pytest.raises(ValueError, match="Distill needs a teacher"):
        Supervised(terms=(CrossEntropy(), Distill())).make(BLUEPRINT.build(), None)


# --- with networks ----------------------------------------------------------------------------------------------------


def network(preprocessing=BLUEPRINT.preprocessing, seed=0):
    torch.manual_seed(seed)
    made = replace(BLUEPRINT, preprocessing=preprocessing).build()
    for module in made.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.weight.data.uniform_(0.5, 1.5)
            module.running_mean.uniform_(-0.5, 0.5)
            module.running_var.uniform_(0.5, 1.5)
    return made


def only_distilled(student, teacher):
    return Supervised(terms=(Distill(temperature=Constant(value=2.0)),)).make(student, Teacher(teacher))


def mixed(kind):
    return kind(probability=1.0)(batch(6), HALFWAY, torch.Generator().manual_seed(0)) if kind else batch(6)


@pytest.mark.parametrize("kind", [None, MixUp, CutMix])
def test_is_zero_when_student_agrees(kind):
    given = mixed(kind)
    assert (kind is None) == torch.equal(given.images, batch(6).images)
    learner = only_distilled(network().eval(), network())
    assert learner.eval()(given, HALFWAY)["Distill"].item() == 0.0


def test_is_not_zero_when_student_differs():
    assert only_distilled(network().eval(), network(seed=1)).eval()(batch(6), HALFWAY)["Distill"].item() > 1e-4


def test_the_teacher_sees_the_same_pixels_through_its_own_preprocessing():
    other = Preprocessing(mean=(0.1, 0.2, 0.3), std=(0.4, 0.5, 0.6))
    teacher, student = network(other), network()
    seen = []
    for each in (student, teacher):
        each.normalise.register_forward_pre_hook(lambda _, given: seen.append(given[0].clone()))
    given = mixed(MixUp)
    only_distilled(student, teacher)(given, HALFWAY)
    assert len(seen) == 2
    assert torch.equal(seen[0], given.images)
    assert torch.equal(seen[1], given.images)
    assert not torch.equal(student.normalise(given.images), teacher.normalise(given.images))


def test_preprocessings_that_undo_each_other_agree():
    # the student takes pixels in 0 to 1, the teacher takes them centred and its first layer takes the shift back
    plain, shifted = Preprocessing(mean=(0.0,) * 3, std=(1.0,) * 3), Preprocessing(mean=(0.0,) * 3, std=(0.5,) * 3)
    student, teacher = network(plain), network(shifted)
    with torch.no_grad():
        teacher.stem.conv.weight.mul_(0.5)
    assert only_distilled(student.eval(), teacher).eval()(batch(6), HALFWAY)["Distill"].item() == pytest.approx(0.0, abs=1e-6)


def test_the_teacher_does_not_learn_and_nothing_of_it_is_drawn_at_random():
    teacher, student = Says(TEACHER).train(), network()
    learner = only_distilled(student, teacher)
    learner.train()
    before = teacher.answer.clone()
    first, second = (learner(batch(6), HALFWAY)["Distill"] for _ in range(2))
    first.backward()
    assert not teacher.training
    assert teacher.answer.grad is None
    assert torch.equal(teacher.answer, before)
    assert first.item() == second.item()  # batch norm sees the same batch, and the teacher's dropout is off
    assert all(parameter.grad is not None for parameter in student.parameters())
    assert not any(name.startswith("teacher") for name, _ in learner.named_parameters())


# --- views ------------------------------------------------------------------------------------------------------------


def test_a_teacher_answers_each_view_once_however_many_ask():
    module, calls = network(), []
    module.register_forward_hook(lambda *_: calls.append(1))
    teacher, given = Teacher(module), replace(batch(4), views=(batch(4).images, batch(4, seed=1).images))
    first, again, second = teacher(given), teacher(given), teacher(given, view=1)
    assert len(calls) == 2
    assert first is again
    assert not torch.equal(first.logits, second.logits)
    assert {"maps", "embedding"} <= set(first.extras)
    teacher(replace(given))  # equal, but another batch: its pixels may have been mixed since
    assert len(calls) == 3
    with pytest.raises(ValueError, match="the teacher needs view 2, but there are 2"):
        teacher(given, view=2)


def test_the_teacher_may_look_at_another_view_than_the_student():
    module, student = network(seed=1), network().eval()
    given = replace(batch(4), views=(batch(4).images, batch(4, seed=1).images))
    learner = Supervised(terms=(Distill(view=1, temperature=Constant(value=2.0)),)).make(student, Teacher(module))
    other = only_distilled(student, module)
    assert learner.eval()(given, HALFWAY)["Distill"].item() != other.eval()(given, HALFWAY)["Distill"].item()
    with torch.no_grad():
        wanted = (module(given.views[1]) / 2).softmax(1)
        found = (student(given.images) / 2).log_softmax(1)
    divergence = 4 * nn.functional.kl_div(found, wanted, reduction="batchmean")
    assert learner(given, HALFWAY)["Distill"].item() == pytest.approx(divergence.item(), abs=1e-6)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"teacher": None}, "Distill needs a teacher; set one in the recipe: teacher=FILE"),
        ({"views": ()}, "Distill.view is 1, but the recipe has 1, counted from 0"),
    ],
)
def test_what_does_not_fit_is_refused_before_anything_is_read(changes, said):
    objective = Supervised(terms=(CrossEntropy(), Distill(view=1)))
    recipe = Recipe(objective=objective, teacher="teacher.safetensors", views=(View(), View(own=False, scale=1.5)))
    objective.check(recipe, BLUEPRINT)
    with pytest.raises(ValueError, match=said):
        objective.check(replace(recipe, **changes), BLUEPRINT)


def test_several_views_that_nobody_looks_at_are_refused():
    recipe = Recipe(views=(View(), View()))
    with pytest.raises(ValueError, match="Supervised learns from one view, but the recipe has 2; leave out views"):
        recipe.objective.check(recipe, BLUEPRINT)
