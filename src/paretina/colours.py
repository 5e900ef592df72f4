"""The colours of classes and objects over pictures; needs nothing."""

COLOURS = (
    *((0, 0, 0), (230, 159, 0), (86, 180, 233), (0, 158, 115), (240, 228, 66), (0, 114, 178), (213, 94, 0)),
    *((204, 121, 167), (148, 103, 189), (140, 86, 75)),
)
"""Of the classes, over and over from 1 on; those after black can be told apart without red and green (Okabe & Ito 2008, with
two more)."""
