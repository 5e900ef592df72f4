"""Quantised: trains a network to bear int8, where calibration alone loses too much.

The training pass rounds weights and inputs of layers as int8 does; the network learns the answers of the float network, which
is named as the teacher, and the labels. Norm statistics stay as they are. The result is a float model, for `paretina ship
--precision int8`. Look first what calibration alone loses, and whether int8 is faster than bfloat16: `ship` says both.

    paretina finetune runs/photos-efficientnet_b0-1 --recipe quantised teacher=runs/photos-efficientnet_b0-1

Source: Nagel et al. 2021 (arXiv:2106.08295), section 4; distillation from the float network: Mishra & Marr 2018
(arXiv:1711.05852), section 4.
"""

from paretina.data.transforms.flip import HorizontalFlip
from paretina.data.transforms.shift import RandomShift
from paretina.data.transforms.squash import Squash
from paretina.schedules import Constant, Cosine, Warmup
from paretina.train.average import Average
from paretina.train.evaluated import Evaluated
from paretina.train.learning import Learning
from paretina.train.objectives.quantised import Quantised
from paretina.train.optimizers.adamw import AdamW
from paretina.train.recipe import Recipe
from paretina.train.terms.cross_entropy import CrossEntropy
from paretina.train.terms.distill import Distill

RECIPE = Recipe(
    epochs=4.0,
    batch_size=64,
    transforms=(Squash(), RandomShift(), HorizontalFlip()),
    test=Evaluated(every=2.0),
    objective=Quantised(
        terms=(
            CrossEntropy(smoothing=Constant(value=0.0), weight=Constant(value=0.5)),
            Distill(weight=Constant(value=0.5), temperature=Constant(value=2.0)),
        )
    ),
    optimizer=AdamW(lr=Warmup(epochs=0.5, then=Cosine(start=2e-4)), weight_decay=Constant(value=0.0)),
    average=Average(),
    learning=Learning(freeze_norm_statistics=True),
)

EXAMPLES = (RECIPE,)
"""The teacher is given with the run: teacher=FILE."""
