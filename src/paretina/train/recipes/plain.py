"""Plain: the baseline that a refinement has to beat. Constant learning rate, no augmentation, nothing else.

paretina train clipart --recipe plain --model efficientnet_lite0 --weights none size=96
"""

from paretina.data.transforms.squash import Squash
from paretina.schedules import Constant
from paretina.train.evaluated import Evaluated
from paretina.train.objectives.supervised import Supervised
from paretina.train.optimizers.adamw import AdamW
from paretina.train.recipe import Recipe
from paretina.train.terms.cross_entropy import CrossEntropy

RECIPE = Recipe(
    epochs=20.0,
    batch_size=64,
    transforms=(Squash(),),
    test=Evaluated(fit="squash", crop=1.0),
    objective=Supervised(terms=(CrossEntropy(smoothing=Constant(value=0.0)),)),
    optimizer=AdamW(lr=Constant(value=1e-3), weight_decay=Constant(value=0.0)),
)

EXAMPLES = (RECIPE,)
