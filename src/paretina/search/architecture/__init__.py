"""Searches for networks, or for settings of a recipe, within a budget of cost and of trials."""
