"""Cross-fitting: probabilities for pictures by linear probes that were not fitted to them.

The pictures are divided into folds; a probe on frozen features is fitted to all folds but one, and gives the probabilities of
that one. Copies of one picture are in one fold, or a probe would know their label. Each class is spread over the folds as
evenly as that allows.
"""

from collections import defaultdict
from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor

from paretina.data.split import in_order, place
from paretina.train.probe import fit_probe


def fold_numbers(
    names: Sequence[str], labels: Sequence[int], folds: int, groups: Sequence[Sequence[str]] = (), seed: int = 0
) -> Int[Tensor, " picture"]:
    """The number of the fold of each picture, from 0; follows from names and labels alone, in any order of the pictures.

    Args:
        names: all different.
        folds: at least 2.
        groups: names that stay together; each in at most one group.
        seed: another one gives another division.

    Raises:
        ValueError: there are fewer pictures than folds, copies counted once.
    """
    first = {name: in_order(group)[0] for group in groups for name in group}
    units: dict[str, list[int]] = defaultdict(list)
    for name, label in zip(names, labels, strict=True):
        units[first.get(name, name)].append(label)
    if not 2 <= folds <= len(units):
        raise ValueError(f"{folds} folds need to be 2 or more, and a picture each; got {len(units)}, copies counted once")
    sizes = [0] * folds
    by_class: dict[int, list[int]] = defaultdict(lambda: [0] * folds)
    homes: dict[str, int] = {}
    # the largest units first, as they leave the fewest ways to even out
    for unit in sorted(units, key=lambda unit: (-len(units[unit]), place(f"{seed}/fold/{unit}"), unit)):
        main = max(set(units[unit]), key=lambda label: (units[unit].count(label), -label))
        home = min(range(folds), key=lambda fold: (by_class[main][fold], sizes[fold], fold))
        homes[unit] = home
        sizes[home] += len(units[unit])
        for label in units[unit]:
            by_class[label][home] += 1
    return torch.tensor([homes[first.get(name, name)] for name in names])


def cross_fitted(
    features: Float[Tensor, "picture feature"],
    labels: Int[Tensor, " picture"],
    classes: int,
    folds: Int[Tensor, " picture"],
) -> Float[Tensor, "picture classes"]:
    """The probabilities of each picture by a probe that was fitted to the other folds.

    Args:
        features: finite.
        labels: a class number each.
        folds: the number of the fold of each; see `fold_numbers`.
    """
    found = torch.zeros(len(labels), classes, dtype=torch.float64)
    for fold in folds.unique().tolist():
        held = folds == fold
        probe = fit_probe(features[~held], labels[~held], classes)
        found[held] = probe(features[held]).double().softmax(1)
    return found
