"""Scratch: for a few hundred to a few ten thousand pictures, without pretrained weights.

The whole picture, shifted and flipped, with mixup or CutMix on half of the batches. No RandAugment: in runs of a few dozen
epochs on few pictures it cost more than it gained.

    paretina train clipart --model resnet18 model.stem.pool=false edits.Scale=on edits.Scale.width=0.25 size=48

In 45 epochs that gives 63.2 % top-1 on the built-in drawings (95 % interval of the mean of 3 seeds: 62.4 to 64.0); `plain`
gives 53.0 % (50.4 to 55.6). Source: records/scratch-clipart.
"""

from paretina.data.transforms.flip import HorizontalFlip
from paretina.data.transforms.mix_or_cut import MixOrCut
from paretina.data.transforms.shift import RandomShift
from paretina.data.transforms.squash import Squash
from paretina.schedules import Constant, Cosine, Warmup
from paretina.train.average import Average
from paretina.train.evaluated import Evaluated
from paretina.train.optimizers.adamw import AdamW
from paretina.train.recipe import Recipe

RECIPE = Recipe(
    epochs=40.0,
    batch_size=64,
    transforms=(
        Squash(),
        RandomShift(),
        HorizontalFlip(),
        MixOrCut(mixup_alpha=Constant(value=0.2), probability=Constant(value=0.5)),
    ),
    test=Evaluated(fit="squash", crop=1.0, every=4.0),
    optimizer=AdamW(lr=Warmup(epochs=2.0, then=Cosine(start=2e-3)), weight_decay=Constant(value=0.05)),
    average=Average(share=0.05),
)

EXAMPLES = (RECIPE,)
