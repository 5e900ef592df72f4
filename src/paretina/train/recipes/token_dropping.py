"""Token dropping: a trained network with tokens learns which of them it can do without.

    paretina finetune runs/vit photos/ --recipe token-dropping teacher=runs/vit edits.DropTokens=on

The teacher is the network as it was, and sees what the student sees. The source trains 30 epochs of 1.28 million pictures, the
network itself at a hundredth of the rate of the predictors and not at all for five epochs; here all learn at one rate.

Source: Rao et al. 2021 (arXiv:2106.02034), sections 3.3 and 4; weights of the losses: the released code.
"""

from paretina.data.transforms.flip import HorizontalFlip
from paretina.data.transforms.shift import RandomShift
from paretina.data.transforms.squash import Squash
from paretina.schedules import Constant, Cosine, Warmup
from paretina.train.average import Average
from paretina.train.evaluated import Evaluated
from paretina.train.objectives.token_dropping import TokenDropping
from paretina.train.optimizers.adamw import AdamW
from paretina.train.recipe import Recipe
from paretina.train.terms.cross_entropy import CrossEntropy
from paretina.train.terms.distill import Distill

RECIPE = Recipe(
    epochs=10.0,
    batch_size=64,
    transforms=(Squash(), RandomShift(), HorizontalFlip()),
    test=Evaluated(every=2.0),
    objective=TokenDropping(
        terms=(
            CrossEntropy(smoothing=Constant(value=0.0)),
            Distill(weight=Constant(value=0.5), temperature=Constant(value=1.0)),
        )
    ),
    optimizer=AdamW(lr=Warmup(epochs=1.0, then=Cosine(start=3e-4)), weight_decay=Constant(value=0.05)),
    average=Average(),
)

EXAMPLES = (RECIPE,)
"""The teacher is given with the run: teacher=FILE."""
