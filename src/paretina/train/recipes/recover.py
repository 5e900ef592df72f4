"""Recover: gives a network that was changed its accuracy back, by distillation from the network before the change.

For another activation, fewer channels or rounded weights: most of the weights are good already, so a few epochs at a low
learning rate do, and the outputs of the original network say more about each picture than its label. The teacher is named on
the command line, and sees what the student sees, so the augmentation is light and changes no labels; everything is trained.
Pictures are resized as in the test of the original network.

    paretina finetune runs/photos-efficientnet_b0-1 photos/ --recipe recover teacher=runs/photos-efficientnet_b0-1 \\
        model.activation=HardSwish

Source: Hinton et al. 2015 (arXiv:1503.02531), section 2: both losses, soft outputs; Beyer et al. 2022 (arXiv:2106.05237),
section 3: teacher and student see the same pictures.
"""

from paretina.data.transforms.flip import HorizontalFlip
from paretina.data.transforms.shift import RandomShift
from paretina.data.transforms.squash import Squash
from paretina.schedules import Constant, Cosine, Warmup
from paretina.train.average import Average
from paretina.train.evaluated import Evaluated
from paretina.train.objectives.supervised import Supervised
from paretina.train.optimizers.adamw import AdamW
from paretina.train.recipe import Recipe
from paretina.train.terms.cross_entropy import CrossEntropy
from paretina.train.terms.distill import Distill

RECIPE = Recipe(
    epochs=6.0,
    batch_size=64,
    transforms=(Squash(), RandomShift(), HorizontalFlip()),
    test=Evaluated(every=2.0),
    objective=Supervised(
        terms=(
            CrossEntropy(smoothing=Constant(value=0.0), weight=Constant(value=0.5)),
            Distill(weight=Constant(value=0.5), temperature=Constant(value=2.0)),
        )
    ),
    optimizer=AdamW(lr=Warmup(epochs=1.0, then=Cosine(start=7e-4)), weight_decay=Constant(value=0.02)),
    average=Average(),
)

EXAMPLES = (RECIPE,)
"""The teacher is given with the run: teacher=FILE."""
