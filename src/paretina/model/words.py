"""Special names of weights, and suggestions for misspelt ones, without importing torch."""

from difflib import get_close_matches

WORDS = ("auto", "hub", "none")
"""Special values instead of a model file or a library's name: weights on this machine, also from a hub, or none."""

LIBRARIES = ("timm", "torchvision")
"""Libraries whose networks can be named, as in "timm:resnet18"."""


def hint(text: str) -> str:
    """Returns "; did you mean 'auto'?" for a misspelt word or library, "" if none is similar."""
    head, colon, rest = text.partition(":")
    close = get_close_matches(head.lower(), LIBRARIES if colon else WORDS, n=1, cutoff=0.5)
    return f"; did you mean {close[0] + colon + rest!r}?" if close and "/" not in head else ""
