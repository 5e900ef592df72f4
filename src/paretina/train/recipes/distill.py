"""Distill: a student learns a teacher's function, for `paretina distill`. Labels are not used.

The teacher sees the very view that the student sees, and every batch is blended, so that both are compared on far more than the
training pictures. It is patient work: the gap to the teacher goes on closing for thousands of epochs, and 300 are a beginning.
A run that is done is extended by the next one, which begins with its weights:

    paretina distill runs/teacher photos/ --model resnet18 --output runs/first
    paretina distill runs/teacher photos/ --model resnet18 --weights runs/first/model.safetensors --output runs/second

A student of answers that were computed once, for other views, overfits to them: it peaks and then falls, where a longer run
with the same views goes on gaining. So there is no way to give such answers.

Settings are those of the paper's small sets: gradients clipped to a norm of 1, decay 0.1 times the learning rate (their 3e-4 is
not multiplied by the rate), temperature 2 of {1, 2, 5, 10}.

Source: Beyer et al. 2022 (arXiv:2106.05237), sections 3 and 4, tables 4 and 5; code: google-research/big_vision.
"""

from paretina.data.transforms.crop import RandomResizedCrop
from paretina.data.transforms.flip import HorizontalFlip
from paretina.data.transforms.mixup import MixUp
from paretina.schedules import Constant, Cosine, Warmup
from paretina.train.clipping import ClipNorm
from paretina.train.evaluated import Evaluated
from paretina.train.objectives.supervised import Supervised
from paretina.train.optimizers.adamw import AdamW
from paretina.train.recipe import Recipe
from paretina.train.terms.distill import Distill

RECIPE = Recipe(
    epochs=300.0,
    batch_size=128,
    transforms=(RandomResizedCrop(smallest=Constant(value=0.25)), HorizontalFlip(), MixUp(alpha=Constant(value=1.0))),
    objective=Supervised(terms=(Distill(temperature=Constant(value=2.0)),)),
    optimizer=AdamW(lr=Warmup(epochs=10.0, then=Cosine(start=3e-3)), weight_decay=Constant(value=0.1), scale_lr=False),
    clip=ClipNorm(),
    test=Evaluated(every=10.0),
)

EXAMPLES = (RECIPE,)
"""The teacher is given with the run: teacher=FILE."""
