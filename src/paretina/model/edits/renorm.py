"""Renorm: replaces the norm throughout a network.

For batches that are too small for batch norm, or if an image's output must not depend on the rest of its batch: `GroupNorm`
(one group: layer norm) or `ProxyNorm`. Group norms cost about as much as batch norm in training, and more in inference, where
batch norm is folded away. Weights that were trained with another norm are of no use.

Blocks and heads whose norm is part of their definition keep it (ConvNeXt, ViT): they make it themselves, not with the
blueprint's. A network in which all do is refused.

Invariant: the convolutions stay.

Source: group norm: Wu & He 2018 (arXiv:1803.08494); proxy norm: Labatie et al. 2021 (arXiv:2106.03743).
"""

from dataclasses import dataclass, field, replace

from paretina.model.blueprint import Blueprint, Edit, Norm
from paretina.model.norms.group import GroupNorm


@dataclass(frozen=True, kw_only=True)
class Renorm(Edit):
    """
    Attributes:
        norm: the new norm; it must support the widths of the network.
    """

    norm: Norm = field(default_factory=GroupNorm)

    def edit(self, blueprint: Blueprint) -> Blueprint:
        edited = replace(blueprint, norm=self.norm)
        if repr(edited.build("meta")) == repr(blueprint.build("meta")):
            raise ValueError(
                f"{self} changes nothing: all blocks of this network ({blueprint.source}) keep a norm of their own, "
                f"or have this one already"
            )
        return edited


EXAMPLES = (Renorm(), Renorm(norm=GroupNorm(groups=1, eps=1e-3)))
