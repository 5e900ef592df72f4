"""EfficientNet: RMSProp in TensorFlow's form, step lr decay, AutoAugment, stochastic depth, weight averaging.

For 350 epochs of a million photographs. Dropout is that of B0; the released recipe has 0.2, 0.2, 0.3, 0.3, 0.4, 0.4, 0.5, 0.5
for B0 to B7. AutoAugment is the published ImageNet policy; the released code has a slightly different one. In runs that are too
short for the published EMA decay of 0.9999, a lower one is used.

    paretina train photos/ --recipe efficientnet --model efficientnet_b0

Source: Tan & Le 2019 (arXiv:1905.11946), section 5.2, and the released code.
"""

from paretina.data.transforms.autoaugment import AutoAugment
from paretina.data.transforms.crop import RandomResizedCrop
from paretina.data.transforms.flip import HorizontalFlip
from paretina.schedules import Constant, Exponential, Warmup
from paretina.train.average import Average
from paretina.train.evaluated import Evaluated
from paretina.train.optimizers.rmsprop_tf import RMSPropTF
from paretina.train.recipe import Recipe, StochasticDepth
from paretina.train.starting import Starting

RECIPE = Recipe(
    epochs=350.0,
    batch_size=256,
    transforms=(RandomResizedCrop(), HorizontalFlip(), AutoAugment()),
    optimizer=RMSPropTF(
        lr=Warmup(epochs=5.0, then=Exponential(start=0.016), rebase=False),
        weight_decay=Constant(value=1e-5),
        decay=("kernel", "bias"),
    ),
    average=Average(),
    stochastic_depth=StochasticDepth(),
    dropout=Constant(value=0.2),
    start=Starting(norm_momentum=0.01),
    test=Evaluated(every=5.0),
)

EXAMPLES = (RECIPE,)
