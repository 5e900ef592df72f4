"""EfficientNetV2-S, -M, -L: progressive learning in four stages, image size and regularisation rising together.

`efficientnetv2-s`, `-m`, `-l` follow the paper: sizes from 128 to 300 or 380, and RandAugment, mixup and dropout rise with
them. `efficientnetv2-s-code`, `-m-code`, `-l-code` follow the released code, which differs: the first stage is larger than 128,
magnitudes end at 10, 15 and 20, CutMix rises along with mixup, dropout is constant, and norm momentum is ten times higher.
Tested at 384 (S) and 480 pixels. For 350 epochs of a million photographs. For other networks and sizes:
`--progressive 96:160` with any recipe.

    paretina train photos/ --recipe efficientnetv2-s --model efficientnetv2_s

RandAugment here has the fourteen operations of torchvision's; the released code has sixteen, with Cutout, Invert and
SolarizeAdd. It draws a blend for each picture, where `MixUp` draws one for the batch unless `transforms.MixUp.per_image=on`.

Sizes of the paper's inner stages are whole pixels, rounded. The code gives each half of a batch to mixup and CutMix; here each
batch gets one of them.

Source: Tan & Le 2021 (arXiv:2104.00298), sections 4 and 5, table 6; released code (google/automl, efficientnetv2).
"""

from paretina.data.transforms.crop import RandomResizedCrop
from paretina.data.transforms.flip import HorizontalFlip
from paretina.data.transforms.mix_or_cut import MixOrCut
from paretina.data.transforms.mixup import MixUp
from paretina.data.transforms.randaugment import RandAugment
from paretina.schedules import Constant, Exponential, Schedule, Staged, Warmup
from paretina.train.average import Average
from paretina.train.evaluated import Evaluated
from paretina.train.optimizers.rmsprop_tf import RMSPropTF
from paretina.train.recipe import Recipe, StochasticDepth
from paretina.train.starting import Starting

STAGES = 4


def rise(start: float, end: float) -> Schedule:
    return Staged.between(start, end, STAGES)


def recipe(
    size: Schedule,
    test_size: int,
    magnitude: Schedule,
    mixup: Schedule,
    cutmix: Schedule | None,
    dropout: Schedule,
    norm_momentum: float,
) -> Recipe:
    """The settings that all six share: RMSProp, lr 0.256 for batch 4096, times 0.97 every 2.4 epochs, survival rate 0.8."""
    mixing = MixUp(alpha=mixup) if cutmix is None else MixOrCut(mixup_alpha=mixup, cutmix_alpha=cutmix)
    return Recipe(
        epochs=350.0,
        batch_size=256,
        size=size,
        test=Evaluated(size=test_size, every=5.0),
        transforms=(
            RandomResizedCrop(smallest=Constant(value=0.05), interpolation="bilinear"),
            HorizontalFlip(),
            RandAugment(magnitude=magnitude),
            mixing,
        ),
        optimizer=RMSPropTF(
            lr=Warmup(epochs=5.0, then=Exponential(start=0.016), rebase=False), weight_decay=Constant(value=1e-5)
        ),
        average=Average(),
        stochastic_depth=StochasticDepth(),
        dropout=dropout,
        start=Starting(norm_momentum=norm_momentum),
    )


def paper(end: int, test_size: int, magnitude: float, mixup: float, dropout: float) -> Recipe:
    """A row of the paper's table of ranges; sizes of inner stages are rounded to whole pixels by the loader."""
    return recipe(rise(128.0, float(end)), test_size, rise(5.0, magnitude), rise(0.0, mixup), None, rise(0.1, dropout), 0.01)


def code(end: int, test_size: int, magnitude: float, mixing: float, dropout: float) -> Recipe:
    """The released code: stage s of 4 has the size 128 + (end - 128) (s + 1) / 4, cut to a whole number."""
    sizes = tuple(float(int(128 + (end - 128) * (stage + 1) / STAGES)) for stage in range(STAGES))
    ramp = rise(0.0, mixing)
    return recipe(Staged(values=sizes), test_size, rise(5.0, magnitude), ramp, ramp, Constant(value=dropout), 0.1)


RECIPES = {
    "efficientnetv2-s": paper(300, 384, 15.0, 0.0, 0.3),
    "efficientnetv2-m": paper(380, 480, 20.0, 0.2, 0.4),
    "efficientnetv2-l": paper(380, 480, 25.0, 0.5, 0.5),
    "efficientnetv2-s-code": code(300, 384, 10.0, 0.0, 0.2),
    "efficientnetv2-m-code": code(384, 480, 15.0, 0.2, 0.3),
    "efficientnetv2-l-code": code(384, 480, 20.0, 0.5, 0.4),
}

EXAMPLES = tuple(RECIPES.values())
