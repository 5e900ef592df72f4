"""BYOL: learns features without labels, for `paretina pretrain`.

Two strongly changed views of each picture, a target network that follows, LARS. What was learned shows in `paretina probe`, or
in fine-tuning on the pictures that have labels. For tens of thousands of pictures and hundreds of epochs, in batches of 256 and
more; on a few thousand small pictures features from packaged weights are better and cost nothing.

    paretina pretrain photos/ --model resnet18

Projector and predictor have 1024 hidden features, a quarter of the paper's, since most networks here are smaller than its
ResNet-50.

Source: Grill et al. 2020 (arXiv:2006.07733), section 3.2 and appendix B, the settings of 100 epochs of table 16.
"""

from dataclasses import replace

from paretina.data.transform import View
from paretina.data.transforms.blur import GaussianBlur
from paretina.data.transforms.crop import RandomResizedCrop
from paretina.data.transforms.flip import HorizontalFlip
from paretina.data.transforms.grayscale import Grayscale
from paretina.data.transforms.jitter import ColorJitter
from paretina.data.transforms.solarize import Solarize
from paretina.schedules import Constant, Cosine, Warmup
from paretina.train.evaluated import Evaluated
from paretina.train.objectives.byol import BYOL
from paretina.train.optimizers.lars import LARS
from paretina.train.recipe import Recipe

COLOURS = ColorJitter(
    brightness=Constant(value=0.4),
    contrast=Constant(value=0.4),
    saturation=Constant(value=0.2),
    hue=Constant(value=0.1),
    probability=Constant(value=0.8),
)
BLUR = GaussianBlur(probability=Constant(value=1.0))

RECIPE = Recipe(
    epochs=100.0,
    batch_size=256,
    transforms=(RandomResizedCrop(), HorizontalFlip()),
    views=(
        View(transforms=(COLOURS, Grayscale(), BLUR)),
        View(transforms=(COLOURS, Grayscale(), replace(BLUR, probability=Constant(value=0.1)), Solarize())),
    ),
    objective=BYOL(hidden=1024),
    optimizer=LARS(lr=Warmup(epochs=10.0, then=Cosine(start=0.45)), weight_decay=Constant(value=1e-6)),
    test=Evaluated(every=20.0),
)

EXAMPLES = (RECIPE,)
