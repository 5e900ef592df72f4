"""Detect: for objects with a box each; from pretrained weights or without.

Half of the picture to all of it, slightly stretched, mirrored, with slightly changed colours. A box that is cut is made
smaller, and left out where less than a quarter of it is seen. Where objects are small, more pixels help most: `size=320`.

    paretina train cells --task detect

No record compares it with others yet.
"""

from paretina.data.transforms.crop import RandomResizedCrop
from paretina.data.transforms.flip import HorizontalFlip
from paretina.data.transforms.jitter import ColorJitter
from paretina.schedules import Constant, Cosine, Warmup
from paretina.train.average import Average
from paretina.train.clipping import ClipNorm
from paretina.train.evaluated import Evaluated
from paretina.train.objectives.detecting import Detecting
from paretina.train.optimizers.adamw import AdamW
from paretina.train.recipe import Recipe

RECIPE = Recipe(
    epochs=30.0,
    batch_size=16,
    transforms=(
        RandomResizedCrop(smallest=Constant(value=0.5), interpolation="bilinear"),
        HorizontalFlip(),
        ColorJitter(),
    ),
    test=Evaluated(fit="squash", crop=1.0, every=5.0),
    objective=Detecting(),
    optimizer=AdamW(lr=Warmup(epochs=1.0, then=Cosine(start=1e-3)), weight_decay=Constant(value=0.01)),
    clip=ClipNorm(limit=Constant(value=10.0)),
    average=Average(share=0.1),
)

EXAMPLES = (RECIPE,)
