"""How many training pictures each class has, for losses and model files that need it, and ways to treat rare classes."""

import json
from collections.abc import Callable
from dataclasses import replace

import torch

from paretina.data.decode import DecodeError
from paretina.data.samplings.balanced import Balanced
from paretina.data.source import Collection
from paretina.model.tasks.one_of import OneOf
from paretina.model.tasks.places import Places
from paretina.spec import encode, kind_named
from paretina.train.objective import Term
from paretina.train.recipe import Recipe
from paretina.train.terms.cross_entropy import CrossEntropy


def class_counts(collection: Collection) -> tuple[float, ...]:
    """Training pictures of each class; a picture with probabilities counts for each class by its probability.

    Pictures without a label are not counted. With a class for each pixel, pixels are counted, of `MASKS` pictures at most, as
    shares that add up to the number of pictures. Empty for other tasks.
    """
    if isinstance(collection.task, Places):
        return pixel_counts(collection)
    if collection.task != OneOf():
        return ()
    counts = [0.0] * len(collection.classes)
    for sample in collection.split("train"):
        try:
            target = collection.target(sample)
        except DecodeError:
            continue
        for label, share in enumerate(target.tolist()) if target.ndim else ((int(target), 1.0),):
            if label >= 0:
                counts[label] += share
    return tuple(counts)


MASKS = 256
"""Masks that are read to count the pixels of each class, spread evenly over the training pictures."""


def pixel_counts(collection: Collection) -> tuple[float, ...]:
    """The share of the known training pixels that are of each class, times the number of pictures."""
    samples = collection.split("train")
    counts = torch.zeros(len(collection.classes), dtype=torch.float64)
    for sample in samples[:: max(1, len(samples) // MASKS)][:MASKS]:
        try:
            mask = collection.target(sample)
        except DecodeError:
            continue
        counts += collection.task.targets([mask], len(collection.classes)).sum((0, 2, 3)).double()
    total = float(counts.sum())
    return tuple((counts / total * len(samples)).tolist()) if total else (0.0,) * len(counts)


def with_counts(recipe: Recipe, collection: Collection) -> Recipe:
    """The recipe whose terms know the training pictures of each class, as far as they need to.

    Raises:
        ValueError: a term has counts or weights for another number of classes.
    """
    terms: tuple[Term, ...] = getattr(recipe.objective, "terms", ())
    if not any(type(term).counted is not Term.counted for term in terms):
        return recipe
    counts = class_counts(collection)
    found = tuple(term.counted(counts) for term in terms)
    return replace(recipe, objective=replace(recipe.objective, terms=found))  # type: ignore[call-arg]


def checked_counts(term: Term, given: tuple[float, ...], counted: tuple[float, ...]) -> tuple[float, ...]:
    """The counts of a term: those that it has, else those of the data.

    Raises:
        ValueError: it has them for another number of classes.
    """
    if given and len(given) != len(counted):
        raise ValueError(
            f"{type(term).__name__}.counts has {len(given)} numbers for {len(counted)} classes; leave counts out, and they are "
            "counted"
        )
    return given or counted


def check_alone(term: Term, recipe: Recipe) -> None:
    """Checks that plain cross entropy is not there too, whose sum with the term would be something else than either.

    Raises:
        ValueError: it is.
    """
    if any(isinstance(each, CrossEntropy) for each in getattr(recipe.objective, "terms", ())):
        name = type(term).__name__
        raise ValueError(f"{name} takes the place of CrossEntropy, and the loss has both; add objective.terms.CrossEntropy=off")


# --- rare classes by name -------------------------------------------------------------------------------------------------


def in_place_of_cross_entropy(recipe: Recipe, name: str, **fields: object) -> dict[str, str]:
    """The field that puts a term where plain cross entropy is, with its smoothing and weight.

    Raises:
        ValueError: the loss has no plain cross entropy.
    """
    terms: tuple[Term, ...] = getattr(recipe.objective, "terms", ())
    plain = next((term for term in terms if isinstance(term, CrossEntropy)), None)
    if plain is None:
        listed = ", ".join(type(term).__name__ for term in terms) or "no terms"
        raise ValueError(
            f"it changes the term CrossEntropy, and the loss of this recipe, {type(recipe.objective).__name__}, has {listed}"
        )
    kind = kind_named(Term, name)  # type: ignore[type-abstract]
    own = kind(smoothing=plain.smoothing, weight=plain.weight, **fields)  # type: ignore[call-arg]
    found = [encode(own if term is plain else term) for term in terms]
    return {"objective.terms": json.dumps(found)}


IMBALANCES: dict[str, Callable[[Recipe], dict[str, str]]] = {
    "sampling": lambda recipe: {"sampling": "Balanced"},
    "weights": lambda recipe: in_place_of_cross_entropy(recipe, "WeightedCrossEntropy"),
    "effective": lambda recipe: in_place_of_cross_entropy(recipe, "WeightedCrossEntropy", by="effective"),
    "logits": lambda recipe: in_place_of_cross_entropy(recipe, "AdjustedCrossEntropy"),
}
"""Ways to treat rare classes, with the fields that switch each on in a recipe; the names of `--imbalance`."""


def balanced_by(recipe: Recipe) -> str:
    """What in a recipe makes a network answer as if classes were equally frequent, in words; "" for nothing."""
    found = ["balanced sampling"] if isinstance(recipe.sampling, Balanced) else []
    for term in getattr(recipe.objective, "terms", ()):
        if type(term).__name__ == "WeightedCrossEntropy" and term.by != "none":
            found.append("class weights")
        if type(term).__name__ == "AdjustedCrossEntropy":
            found.append("logit adjustment in the loss")
    return " and ".join(found)
