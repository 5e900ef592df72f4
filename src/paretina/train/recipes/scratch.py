"""Scratch: for some hundred to some ten thousand pictures, without weights to start from."""

from paretina.train.recipe import Recipe

RECIPE = Recipe()

EXAMPLES = (RECIPE,)
