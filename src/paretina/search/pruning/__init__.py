"""Structured pruning: takes whole channels out of a trained network, by what they are worth and what they cost."""
