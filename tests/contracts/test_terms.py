"""What every term of the loss must satisfy, run over the examples of each file in the folder."""

import pytest
import torch
from torch import nn

from paretina.clock import Clock
from paretina.data.batch import Batch
from paretina.model.task import Task
from paretina.model.tasks.nothing import Nothing
from paretina.spec import kinds, modules_in
from paretina.train.objective import Outputs, Teacher

FOUND = [example for module in modules_in("paretina.train.terms") for example in getattr(module, "EXAMPLES", ())]
TASKS = [kind() for kind in kinds(Task).values() if kind.__module__.startswith("paretina.")]
FITTING = [(term, task) for term in FOUND for task in TASKS if isinstance(task, term.TASKS)]
HALFWAY = Clock(5, 10, 10.0)
CLASSES = 4

every_fit = pytest.mark.parametrize(("term", "task"), FITTING, ids=repr)
every_that_looks = pytest.mark.parametrize(
    ("term", "task"), [(term, task) for term, task in FITTING if Nothing not in term.TASKS], ids=repr
)
every_that_does_not = pytest.mark.parametrize(
    ("term", "task"), [(term, task) for term, task in FITTING if Nothing in term.TASKS], ids=repr
)


class Wise(nn.Module):
    """A teacher that answers by the brightness of a picture, or of each pixel."""

    def __init__(self, dense):
        super().__init__()
        self.dense = dense

    def forward(self, images):
        places = images[:, :1].float() if self.dense else images.float().mean((1, 2, 3))[:, None]
        return torch.cat([places / (n + 1) for n in range(CLASSES)], 1) / 100


def shape_of(task, count):
    return (count, CLASSES, 3, 5) if task.DENSE else (count, CLASSES)


def batch_of(task, count):
    generator = torch.Generator().manual_seed(count)
    images = torch.randint(256, (count, 3, 3, 5), dtype=torch.uint8, generator=generator)
    places = torch.randint(CLASSES, shape_of(task, count), generator=generator)[:, :1]
    targets = torch.zeros(shape_of(task, count)).scatter_(1, places, 1.0)
    if isinstance(task, Nothing):
        targets = torch.zeros_like(targets)
    return Batch((images,), targets, torch.arange(count))


def loss(term, task, logits, batch, targets=None):
    made = term.make(Teacher(Wise(task.DENSE)))
    given = batch if targets is None else Batch(batch.views, targets, batch.ids)
    return made(Outputs(logits), given, HALFWAY)


def logits_of(task, count):
    return torch.randn(shape_of(task, count), generator=torch.Generator().manual_seed(99))


def test_every_task_has_a_term():
    # but for boxes, whose loss is that of a head
    assert {type(task) for task in TASKS if not task.BOXES} <= {type(task) for _, task in FITTING}


@every_fit
def test_is_a_finite_number_with_a_gradient(term, task):
    logits = logits_of(task, 6).requires_grad_()
    value = loss(term, task, logits, batch_of(task, 6))
    assert value.shape == ()
    value.backward()
    assert bool(logits.grad.isfinite().all())
    assert bool(logits.grad.any())


@every_that_looks
def test_a_row_of_zeros_weighs_nothing(term, task):
    batch, logits = batch_of(task, 6), logits_of(task, 6)
    targets = batch.targets.clone()
    targets[[1, 4]] = 0.0
    known = [0, 2, 3, 5]
    part = Batch((batch.images[known],), targets[known], torch.arange(4))
    expected = loss(term, task, logits[known], part)
    torch.testing.assert_close(loss(term, task, logits, batch, targets), expected)


@every_that_looks
def test_nothing_is_learned_at_a_row_of_zeros_whatever_is_said_there(term, task):
    batch, logits = batch_of(task, 6), logits_of(task, 6)
    targets = batch.targets.clone()
    rows = (slice(None), slice(None), 0) if task.DENSE else (2,)  # of pixels, the first row of each picture
    targets[rows] = 0.0
    other = logits.clone()
    other[rows] += 3.0
    given = logits.clone().requires_grad_()
    value = loss(term, task, given, batch, targets)
    value.backward()
    assert not given.grad[rows].any()
    assert given.grad.any()
    torch.testing.assert_close(loss(term, task, other, batch, targets), value.detach())


@every_that_looks
def test_without_any_label_the_loss_is_zero(term, task):
    batch, logits = batch_of(task, 6), logits_of(task, 6).requires_grad_()
    value = loss(term, task, logits, batch, torch.zeros_like(batch.targets))
    value.backward()
    assert value.item() == 0.0
    assert not logits.grad.any()


@every_that_does_not
def test_what_fits_pictures_without_labels_looks_at_no_label(term, task):
    batch, logits = batch_of(task, 6), logits_of(task, 6)
    assert torch.equal(loss(term, task, logits, batch), loss(term, task, logits, batch, torch.zeros_like(batch.targets)))


@every_fit
def test_is_a_mean_over_rows(term, task):
    # so that the weight of a term means the same for pictures and for pixels of any number
    batch, logits = batch_of(task, 6), logits_of(task, 6)
    double = Batch(
        (batch.images.repeat(2, 1, 1, 1),), batch.targets.repeat(2, *[1] * (batch.targets.ndim - 1)), torch.arange(12)
    )
    twice = logits.repeat(2, *[1] * (logits.ndim - 1))
    torch.testing.assert_close(loss(term, task, twice, double), loss(term, task, logits, batch))
    if task.DENSE:
        wide = Batch((batch.images.repeat(1, 1, 1, 2),), batch.targets.repeat(1, 1, 1, 2), batch.ids)
        torch.testing.assert_close(loss(term, task, logits.repeat(1, 1, 1, 2), wide), loss(term, task, logits, batch))
