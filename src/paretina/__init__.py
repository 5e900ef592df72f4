"""Paretina: image classifiers that are as accurate as they can be for what they cost."""
