"""Test-resolution: adapts a trained network to the test image size; only the head is trained.

Another image size than in training changes the activation statistics before the classifier; two epochs of the last layers at
the test size, with test-time preprocessing, correct that. Norm statistics are frozen, without dropout or augmentation.
`trainable_stages=1` trains the last stage too.

    paretina finetune runs/photos-g16_efficientnet_b0-1 --resolution 224

SGD here has momentum 0.9, where the source has none; a rate then acts as ten times as much, which two epochs of a small folder
need. As in the source: `optimizer.momentum=0 optimizer.nesterov=off`.

Source: Touvron et al. 2019 (FixRes, arXiv:1906.06423), section 4; Masters et al. 2021 (arXiv:2106.03640), fine-tuning: SGD,
cosine, rate 0.25 for 512 pictures, 2 epochs.
"""

from paretina.data.transforms.centre_crop import CentreCrop
from paretina.schedules import Constant, Cosine
from paretina.train.evaluated import Evaluated
from paretina.train.learning import Learning
from paretina.train.objectives.supervised import Supervised
from paretina.train.optimizers.sgd import SGD
from paretina.train.recipe import Recipe
from paretina.train.terms.cross_entropy import CrossEntropy

RECIPE = Recipe(
    epochs=2.0,
    batch_size=64,
    transforms=(CentreCrop(share=0.875),),
    objective=Supervised(terms=(CrossEntropy(smoothing=Constant(value=0.1)),)),
    optimizer=SGD(lr=Cosine(start=0.25), lr_batch=512),
    learning=Learning(trainable_stages=0, freeze_norm_statistics=True),
    test=Evaluated(every=1.0),
)

EXAMPLES = (RECIPE,)
