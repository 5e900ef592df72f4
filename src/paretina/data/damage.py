"""Damage: how many pictures that cannot be read a set may have."""

import math


def is_too_much(damaged: int, count: int, most: float) -> bool:
    """Whether more of `count` pictures cannot be read than the share `most` allows."""
    return damaged > most * count


def allowing(damaged: int, count: int) -> float:
    """The least share, to three digits, that allows so many; what `max_damaged` would have to be."""
    thousandths = math.ceil(1000 * damaged / count)
    while is_too_much(damaged, count, thousandths / 1000):  # a product may be rounded down
        thousandths += 1
    return thousandths / 1000
