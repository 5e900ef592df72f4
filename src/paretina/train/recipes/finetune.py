"""Finetune: from weights that are good already."""

from paretina.train.recipe import Recipe

RECIPE = Recipe(epochs=10.0)

EXAMPLES = (RECIPE,)
