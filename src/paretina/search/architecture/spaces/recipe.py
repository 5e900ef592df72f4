"""Around a recipe: learning rate, weight decay, strength of augmentation and length; the network stays.

Rates are factors on the recipe's own. The strength is the magnitude of RandAugment; 0 leaves it out. Other fields become
dimensions when they are set: `--set average.share=0.02,0.05`. What is hopeless after a short first rung is best dropped there,
so the usual procedure of this space is successive halving. The same honesty holds as for networks: chosen on held-out training
pictures, then trained in full and judged on the validation pictures.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar

from paretina.clock import Clock
from paretina.data.transforms.randaugment import RandAugment
from paretina.schedules import Constant
from paretina.search.architecture.space import Dimension, Narrowed, Space, Value
from paretina.train.asked import Asked, change, full_path

MOMENTS = 200


@dataclass(frozen=True, kw_only=True)
class AroundRecipe(Space):
    """The space around a recipe."""

    WORD: ClassVar[str] = "recipe"
    OF: ClassVar[str] = "recipe"
    NETWORKS: ClassVar[bool] = False

    def own_dimensions(self, base: Asked) -> tuple[Dimension, ...]:
        recipe = base.recipe
        clocks = (Clock(moment, MOMENTS, recipe.epochs) for moment in range(MOMENTS + 1))
        peak = max(recipe.optimizer.rate_at(clock, recipe.batch_size) for clock in clocks)
        decay = recipe.optimizer.weight_decay
        found = [Dimension("lr", tuple(dict.fromkeys(rounded(peak * 2.0**power) for power in range(-3, 4))))]
        if isinstance(decay, Constant):
            own = decay.value
            values = (0.0, own / 4, own / 2, own, 2 * own, 4 * own) if own else (0.0, 1e-4, 1e-3, 1e-2, 5e-2)
            found.append(Dimension("weight_decay", tuple(dict.fromkeys(map(rounded, values)))))
        found.append(Dimension("strength", (0.0, 2.5, 5.0, 7.5, 10.0)))
        found.append(Dimension("epochs", tuple(dict.fromkeys((rounded(recipe.epochs / 2), rounded(recipe.epochs))))))
        return tuple(found)

    def extra(self, given: Narrowed, base: Asked) -> Dimension | None:
        try:
            path = full_path(given.name)
        except ValueError:
            return None
        if path.partition(".")[0] != "recipe" or path == "recipe":
            raise ValueError(f"{given.name} is no field of the recipe; a space around a recipe changes nothing else")
        for value in given.values:
            change(base, given.name, value)
        return Dimension(given.name, tuple(dict.fromkeys(given.values)), ordered=False)

    def asked(self, point: Mapping[str, Value], base: Asked) -> Asked:
        found = base
        for name, value in point.items():
            if name == "strength":
                found = with_strength(found, float(value))
            elif name in ("lr", "weight_decay", "epochs"):
                found = change(found, {"weight_decay": "optimizer.weight_decay"}.get(name, name), value)
            else:
                found = change(found, name, value)
        return replace(found, recipe_name="")

    def first(self, base: Asked) -> Asked:
        return base


def rounded(value: float) -> float:
    """Three digits, so that points print well."""
    return float(f"{value:.3g}")


def with_strength(asked: Asked, magnitude: float) -> Asked:
    """The request with RandAugment of a magnitude in its place, or as the first transform; without it for 0."""
    transforms = asked.recipe.transforms
    there = [transform for transform in transforms if isinstance(transform, RandAugment)]
    if not magnitude:
        kept = tuple(transform for transform in transforms if not isinstance(transform, RandAugment))
        return replace(asked, recipe=replace(asked.recipe, transforms=kept))
    wanted = replace(there[0] if there else RandAugment(), magnitude=Constant(value=magnitude))
    if there:
        kept = tuple(wanted if transform is there[0] else transform for transform in transforms)
    else:
        images = asked.recipe.image_transforms()
        at = 1 + transforms.index(images[-1]) if images else 0
        kept = (*transforms[:at], wanted, *transforms[at:])
    return replace(asked, recipe=replace(asked.recipe, transforms=kept))


EXAMPLES = (AroundRecipe(), AroundRecipe(narrowed=(Narrowed(name="lr", values=("0.01",)),)))
