"""ProxyNCA: metric learning. Pictures of one class get features near to each other, by one learned point for each class.

For finding pictures that are alike, also of classes that were not trained on (`paretina embed`, `paretina probe`), and for
folders with very many classes of few pictures. Costs nothing beside plain training. The rows of the classifier are the points:
they are brought to length 1 after each update and its bias stays 0, so that the saved network answers with the nearest one, and
its features are compared by their angle. Its logits are lengths, so fit a temperature before their probabilities are used.

Points should move faster than the network (`learning.classifier_lr=100`), and each batch should have several pictures of a
class
(`sampling=Balanced sampling.group=4`).

Source: Teh et al. 2020 (arXiv:2004.01113), ProxyNCA++: all classes below the fraction, temperature 1/9, features and points of
length 1. Their largest value of a map over all places, in place of the mean, and layer norm are matters of the head, and not
here.
"""

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, cast

import torch
import torch.nn.functional as F
from torch import nn

from paretina.clock import Clock
from paretina.data.batch import Batch
from paretina.data.bounds import require_within
from paretina.model.blueprint import Blueprint, Model
from paretina.model.build import Network
from paretina.schedules import Constant, Schedule
from paretina.shapes import Features, Logits, Loss
from paretina.train.objective import Learner, Objective, Outputs, Teacher
from paretina.train.terms.cross_entropy import CrossEntropy
from paretina.traits import SETTING, STAYS, traits

if TYPE_CHECKING:
    from paretina.train.recipe import Recipe


class ProxyNCALearner(Learner):
    def __init__(self, network: Network, choice: "ProxyNCA") -> None:
        super().__init__()
        self.network = network
        self.choice = choice
        self.labels = CrossEntropy(smoothing=Constant(value=0.0)).make(None)
        last = self.proxies
        with torch.no_grad():
            nn.init.zeros_(last.bias)
        last.bias.requires_grad_(False)
        self.shorten()

    @property
    def proxies(self) -> nn.Linear:
        return cast(nn.Linear, self.network.head.classifier)

    @torch.no_grad()
    def shorten(self) -> None:
        """Brings every point to length 1."""
        weight = self.proxies.weight
        if not weight.is_meta:
            weight.copy_(F.normalize(weight, dim=1))

    def forward(self, batch: Batch, clock: Clock) -> dict[str, Loss]:
        embedding = self.network(batch.images, extras=True)[1]["embedding"]
        logits = nearness(embedding.float(), self.proxies.weight.float(), self.choice.temperature(clock))
        return {"proxies": self.labels(Outputs(logits), batch, clock)}

    def updated(self, clock: Clock) -> None:
        self.shorten()

    def result(self) -> Network:
        return self.network


def nearness(features: Features, proxies: torch.Tensor, temperature: float) -> Logits:
    """The negative squared distance of each feature to each (class, feature) point, both at length 1, over the temperature."""
    return (2.0 * F.normalize(features, dim=1) @ F.normalize(proxies, dim=1).T - 2.0) / temperature


@dataclass(frozen=True, kw_only=True)
class ProxyNCA(Objective):
    """
    Attributes:
        temperature: divides squared distances; above 0. Low ones push classes apart.
    """

    temperature: Schedule = field(default=Constant(value=1 / 9), metadata=traits(left_out=SETTING, rises=STAYS))

    def __post_init__(self) -> None:
        require_within(self, 0.0, math.inf, "temperature", above=True)

    def check(self, recipe: "Recipe", model: Model) -> None:
        if not isinstance(model, Blueprint):
            raise ValueError(
                f"ProxyNCA trains a single network, and the model is {type(model).__name__}; leave the assembly out"
            )
        if not isinstance(model.build("meta").head.classifier, nn.Linear):
            raise ValueError("ProxyNCA needs a head that ends with one linear layer; choose another network")
        if len(recipe.views) > 1:
            raise ValueError(f"ProxyNCA learns from one view, and the recipe makes {len(recipe.views)}; leave views out")

    def make(self, network: Network, teacher: Teacher | None) -> Learner:
        return ProxyNCALearner(network, self)


EXAMPLES = (ProxyNCA(), ProxyNCA(temperature=Constant(value=0.5)))
