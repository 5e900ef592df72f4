"""What objectives refuse, and what they say to do."""

import re
from dataclasses import replace

import pytest

from paretina.data.transform import View
from paretina.data.transforms.mix_or_cut import MixOrCut
from paretina.data.transforms.mixup import MixUp
from paretina.model.assemblies.divide import Divide
from paretina.schedules import Constant
from paretina.train.learning import Learning
from paretina.train.objectives.byol import BYOL
from paretina.train.objectives.cosub import Cosub
from paretina.train.objectives.cotraining import CoTraining
from paretina.train.objectives.mixskd import MixSKD
from paretina.train.recipe import Recipe, StochasticDepth
from tiny import row, tiny_blueprint

TABLE = tiny_blueprint(row(2, 16, 1), row(2, 16, 2))
ONE_STAGE = tiny_blueprint()
PAIR = Divide()(TABLE)
TWO = (View(), View())
DROPS = Recipe(stochastic_depth=StochasticDepth(rate=Constant(value=0.5), shape="uniform"))

REFUSED = [
    (BYOL(), Recipe(), TABLE, "BYOL compares two views of each picture, and the recipe makes 1; give it two: views='[{}, {}]'"),
    (BYOL(), Recipe(views=(View(), View(), View())), TABLE, "the recipe makes 3; give it two"),
    (BYOL(), Recipe(views=(View(), View(own=False))), TABLE, "the second is the same as the first; set views.1.own=true"),
    (BYOL(), Recipe(views=TWO), PAIR, "BYOL trains a single network, and the model is Ensemble; leave the assembly out"),
    (Cosub(), Recipe(), TABLE, "compares two draws of stochastic depth, and the recipe has none; set stochastic_depth=on"),
    (Cosub(), replace(DROPS, stochastic_depth=StochasticDepth(rate=Constant(value=0.0))), TABLE, "nothing is ever dropped"),
    (Cosub(), replace(DROPS, learning=Learning(freeze_norm_statistics=True)), TABLE, "nothing is ever dropped"),
    (Cosub(), replace(DROPS, views=TWO), TABLE, "Cosub learns from one view, and the recipe makes 2; leave views out"),
    (MixSKD(), Recipe(transforms=(MixUp(),)), TABLE, "leave MixUp out: transforms.MixUp=off"),
    (MixSKD(), Recipe(transforms=(MixOrCut(),)), TABLE, "leave MixOrCut out: transforms.MixOrCut=off"),
    (MixSKD(), Recipe(), PAIR, "MixSKD trains a single network"),
    (MixSKD(), Recipe(), ONE_STAGE, "the network has one stage; take another"),
    (MixSKD(), Recipe(views=TWO), TABLE, "MixSKD learns from one view, and the recipe makes 2"),
    (CoTraining(), Recipe(), TABLE, "CoTraining trains several networks side by side, and the model is Blueprint of 1; set"),
    (CoTraining(), Recipe(views=TWO), Divide(count=4)(TABLE), "each of the 4 networks its own view, or all of them one"),
]


@pytest.mark.parametrize(("objective", "recipe", "model", "said"), REFUSED, ids=lambda value: type(value).__name__)
def test_is_refused_where_it_does_not_fit(objective, recipe, model, said):
    with pytest.raises(ValueError, match=re.escape(said)):
        objective.check(recipe, model)
