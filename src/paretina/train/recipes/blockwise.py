"""Blockwise: a changed network learns the maps of the network before the change, for `paretina distill --blockwise`.

For few bits, other operators, fewer channels: where `recover`, which learns from the answers and the labels, does not give
enough back, or where there are no labels. Pictures are flipped and moved a little, and one batch in ten is blended, so that
teacher and student are compared on nearly the pictures that they will see. The epochs are those of the last period.

    paretina distill runs/photos-resnet18-1 photos/ --model runs/photos-resnet18-1 --blockwise model.quantiser=Dorefa

Source: Arch-Net (arXiv:2111.01135): learning rate, decay, blending; there with restarts of the rate, and for 5,110 passes over
8,192 pictures in the last period.
"""

from paretina.data.transforms.flip import HorizontalFlip
from paretina.data.transforms.mixup import MixUp
from paretina.data.transforms.shift import RandomShift
from paretina.data.transforms.squash import Squash
from paretina.schedules import Constant, Cosine, Warmup
from paretina.train.average import Average
from paretina.train.evaluated import Evaluated
from paretina.train.objectives.blockwise import Blockwise
from paretina.train.optimizers.adamw import AdamW
from paretina.train.recipe import Recipe

RECIPE = Recipe(
    epochs=10.0,
    batch_size=64,
    transforms=(
        Squash(),
        RandomShift(),
        HorizontalFlip(),
        MixUp(alpha=Constant(value=1.0), probability=Constant(value=0.1)),
    ),
    test=Evaluated(every=5.0),
    objective=Blockwise(),
    optimizer=AdamW(lr=Warmup(epochs=0.5, then=Cosine(start=1e-3)), weight_decay=Constant(value=0.0)),
    average=Average(),
)

EXAMPLES = (RECIPE,)
"""The teacher is given with the run: teacher=FILE."""
