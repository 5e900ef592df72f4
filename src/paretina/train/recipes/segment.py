"""Segment: for masks, with a class for each pixel; from pretrained weights or without.

Half of the picture to all of it at its own shape, mirrored, with slightly changed colours; the loss counts every known pixel
alike. Where the classes are of very different sizes, add class weights: `--imbalance effective`. For pictures without an up and
down, add `transforms.QuarterTurn=on`.

    paretina train cells --recipe segment size=96

No record compares it with others yet.
"""

from paretina.data.transforms.crop import RandomResizedCrop
from paretina.data.transforms.flip import HorizontalFlip
from paretina.data.transforms.jitter import ColorJitter
from paretina.schedules import Constant, Cosine, Warmup
from paretina.train.average import Average
from paretina.train.evaluated import Evaluated
from paretina.train.objectives.supervised import Supervised
from paretina.train.optimizers.adamw import AdamW
from paretina.train.recipe import Recipe
from paretina.train.terms.cross_entropy import CrossEntropy

RECIPE = Recipe(
    epochs=30.0,
    batch_size=16,
    transforms=(
        RandomResizedCrop(smallest=Constant(value=0.5), ratio=(1.0, 1.0), interpolation="bilinear"),
        HorizontalFlip(),
        ColorJitter(),
    ),
    test=Evaluated(fit="squash", crop=1.0, every=5.0),
    objective=Supervised(terms=(CrossEntropy(smoothing=Constant(value=0.0)),)),
    optimizer=AdamW(lr=Warmup(epochs=1.0, then=Cosine(start=1e-3)), weight_decay=Constant(value=0.01)),
    average=Average(share=0.1),
)

EXAMPLES = (RECIPE,)
