"""G16-half: train at half the pixels, then adapt the head to the full size.

For `g16_efficientnet_b0` and its variants with layer norm and proxy norm, which have no noise from batch statistics, hence the
mixup. Trains at about half the pixels of the network's resolution; the second command then takes two epochs:

    paretina train photos/ --recipe g16-half --model g16_efficientnet_b0 --output runs/half
    paretina finetune runs/half --resolution 224

Take the networks by their full names: those that end in `_half` are at half of the pixels already, and would be halved once
more. The size is the one nearest to half of the pixels that is aligned with the full size; it is that of the paper but for B4,
where the paper has 252 of 380 pixels (0.44 of them) and the rule 284 (0.56): `size=252`. The warm-up aims at the rate before
any decay, while the decay runs from the first update, so the rate drops at its end.

The released recipe averages the checkpoints of all epochs; here a running average is used. Mixup is that of B0 to B2, which
have little or no CutMix. The published learning rate and RMSProp decay scale with the batch; the decay here is that of 256.

Source: Masters et al. 2021 (arXiv:2106.03640), and the released configurations.
"""

from paretina.data.transforms.crop import RandomResizedCrop
from paretina.data.transforms.flip import HorizontalFlip
from paretina.data.transforms.mixup import MixUp
from paretina.schedules import Constant, Exponential, Warmup
from paretina.train.average import Average
from paretina.train.evaluated import Evaluated
from paretina.train.optimizers.rmsprop_tf import RMSPropTF
from paretina.train.recipe import Recipe, StochasticDepth

BATCH = 256

RECIPE = Recipe(
    epochs=350.0,
    batch_size=BATCH,
    pixel_share=0.5,
    transforms=(RandomResizedCrop(), HorizontalFlip(), MixUp(alpha=Constant(value=0.1), per_image=True)),
    optimizer=RMSPropTF(
        # 146 drops in 350 epochs
        lr=Warmup(epochs=5.0, then=Exponential(start=2**-14 * BATCH, factor=0.97, epochs=350 / 146), rebase=False),
        lr_batch=BATCH,
        weight_decay=Constant(value=1e-5),
        decay=("kernel", "bias", "proxy"),
        memory=1 - 2**-14 * BATCH,
    ),
    average=Average(),
    stochastic_depth=StochasticDepth(),
    dropout=Constant(value=0.2),
    test=Evaluated(every=5.0),
)

EXAMPLES = (RECIPE,)
