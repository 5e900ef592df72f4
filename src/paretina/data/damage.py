"""Compares the number of unreadable pictures with the allowed share."""

import math


def is_too_much(damaged: int, count: int, most: float) -> bool:
    """Whether `damaged` of `count` pictures is more than the share `most` allows."""
    return damaged > most * count


def allowing(damaged: int, count: int) -> float:
    """The smallest value of `max_damaged`, to three digits, that would allow this many damaged pictures."""
    thousandths = math.ceil(1000 * damaged / count)
    while is_too_much(damaged, count, thousandths / 1000):  # a product may be rounded down
        thousandths += 1
    return thousandths / 1000
