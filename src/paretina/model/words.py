"""Words: what may stand in place of a model file, and the hint for a misspelt one. Nothing here needs torch."""

from difflib import get_close_matches

WORDS = ("auto", "hub", "none")
"""What may stand in place of a model file or a library's name: what is on this machine, a hub too, nothing."""

LIBRARIES = ("timm", "torchvision")
"""Libraries whose networks can be named, as in "timm:resnet18"."""


def hint(text: str) -> str:
    """Returns "; did you mean 'auto'?" for a misspelt word or library, "" for whatever is not near one."""
    head, colon, rest = text.partition(":")
    close = get_close_matches(head.lower(), LIBRARIES if colon else WORDS, n=1, cutoff=0.5)
    return f"; did you mean {close[0] + colon + rest!r}?" if close and "/" not in head else ""
