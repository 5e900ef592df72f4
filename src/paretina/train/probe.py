"""Probe: a linear classifier on the frozen features of a network, the floor that any training of it must beat.

Multinomial logistic regression with a penalty on the squared weights, chosen by cross-validation. The features are centred,
brought to a mean square length of 1 and turned into their principal axes, which changes nothing in the answer but makes one
grid of penalties fit networks of any width, and lets each of its fits converge in a few steps.
"""

import math
from dataclasses import dataclass
from typing import cast

import numpy as np
import scipy.optimize
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from paretina.data.pictures import Pictures
from paretina.measure.evaluate import Evaluation
from paretina.measure.plan import Plan
from paretina.measure.process import threaded
from paretina.measure.statistics import Interval, wilson
from paretina.model.build import Network
from paretina.model.fold import fastest_form
from paretina.model.layers import Pixels
from paretina.shapes import Features, Logits

Labels = Int[Tensor, " sample"]
Samples = Float[Tensor, "sample feature"]

PENALTIES = tuple(10.0 ** (half / 2) for half in range(1, -11, -1))
"""What is tried, from strong to weak, for features of mean square length 1; scikit-learn's C is 1 / penalty."""

LEAST = 0.002
"""Nats by which the next weaker penalty must make held-out samples likelier, or the search ends: the weakest take the longest,
and where classes can be told apart without a mistake, the gain only becomes ever smaller."""

FOLDS = 5
WHOLE = 5_000
"""Up to so many samples each is held out once, in turns; of more, one fold of `FOLDS` is held out alone."""

ALL_SEARCHED = 1_000
"""Up to so many samples all folds choose the penalty; of more, the first one does, and the others are fitted with it once."""

ABSENT = 10.0
"""How far the logit of a class without samples stays below the mean of the others, so that it is never the answer."""


class Embedded(nn.Module):
    """A network that answers with the input of its last layer."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Pixels) -> Features:
        return self.network.embedding(images)


def features(
    network: Network, pictures: Pictures, plan: Plan, size: int, workers: int = 0, classes: int | None = None
) -> Samples:
    """What the last layer of a network is given of pictures that are prepared as in evaluation; float32, on the CPU.

    A picture that can no longer be read has a row of NaN.

    Args:
        size: side in pixels at which the network sees them.
        classes: of the pictures; default: as many as the network has.
    """
    evaluation = Evaluation(pictures, network.model.preprocessing, size, classes or network.model.classes, plan)
    found, ids = evaluation.run(Embedded(fastest_form(network)).eval(), workers)
    rows = torch.full((len(pictures), found.shape[1]), torch.nan)
    rows[ids] = found
    return rows


@dataclass(frozen=True)
class CrossValidated:
    """How well probes do on samples that they were not fitted on.

    The penalty was chosen on the same samples, by their likelihood, so that the figure may be a little too good.

    Attributes:
        samples: numbers of the samples that were held out, rising.
        right: whether each of them was recognised.
    """

    samples: Int[Tensor, " held"]
    right: Bool[Tensor, " held"]

    @property
    def top1(self) -> Interval:
        """Share of them that were recognised, in percent, with its 95 % interval."""
        return Interval(*(100 * share for share in wilson(int(self.right.sum()), len(self.right))))


@dataclass(frozen=True)
class Probe:
    """A linear classifier: `features @ weight.T + bias` are its logits.

    Attributes:
        penalty: factor on half the sum of squared weights, against the summed cross-entropy, for features of mean square
            length 1; scikit-learn's C for such features is 1 / penalty.
        scale: what features are multiplied by for that; it is in the weights already.
        cross_validated: None where nothing could be held out, with a single sample or a single class.
    """

    weight: Float[Tensor, "classes feature"]
    bias: Float[Tensor, " classes"]
    penalty: float
    scale: float
    cross_validated: CrossValidated | None

    def __call__(self, features: Samples) -> Float[Tensor, "sample classes"]:
        return features @ self.weight.T + self.bias

    def give(self, network: Network) -> None:
        """Sets the last layer of a network, in place."""
        last = cast(nn.Linear, network.head.classifier)
        with torch.no_grad():
            last.weight.copy_(self.weight)
            last.bias.copy_(self.bias)


def fit_probe(features: Samples, labels: Labels, classes: int, seed: int = 0) -> Probe:
    """Fits a probe to samples, with the penalty under which held-out parts of them are the likeliest.

    The same features and number of threads give the same bits.

    Args:
        features: finite.
        labels: a class number each. A class that no sample has is never the answer.
        seed: of the parts.

    Raises:
        ValueError: there are no samples, or one has a label out of range or features that are not finite.
    """
    if not len(features):
        raise ValueError("a probe needs samples to be fitted to, got none")
    if labels.min() < 0 or labels.max() >= classes:
        raise ValueError(f"labels must lie in 0 to {classes - 1}, got {int(labels.min())} to {int(labels.max())}")
    if not features.isfinite().all():
        number = int((~features.isfinite().all(1)).nonzero()[0])
        raise ValueError(f"the features of sample {number} are not finite")
    axes = Axes.of(features)
    turned = axes.turned(features)
    penalty, cross_validated = PENALTIES[0], None
    with threaded(1 if turned.numel() <= ALONE else None):
        if len(labels.unique()) > 1:
            penalty, cross_validated = choose_penalty(turned, labels, classes, axes.lengths, seed)
        fit = Fit(turned.double(), labels, classes, axes.lengths)
        weight, bias = axes.back(*fit.best(penalty, EXACT))
    return Probe(weight, bias, penalty, axes.scale, cross_validated)


ALONE = 20_000_000
"""Numbers up to which one thread fits a probe: for 1,991 x 1,280 two took four times as long, waiting for each other."""


# --- axes ---------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Axes:
    """The principal axes of samples: where they are no more than their features, only those in which they lie.

    Attributes:
        mean: of each feature.
        scale: factor that gives the centred samples a mean square length of 1.
        directions: orthonormal columns.
        lengths: sum of squares of the scaled samples along each.
    """

    mean: Float[Tensor, " feature"]
    scale: float
    directions: Float[Tensor, "feature axis"]
    lengths: Float[Tensor, " axis"]

    @classmethod
    def of(cls, features: Samples) -> "Axes":
        mean = features.double().mean(0)
        centred = (features - mean.float()).double() if len(features) <= features.shape[1] else features - mean.float()
        square = float(centred.square().sum(1, dtype=torch.float64).mean())
        scale = square**-0.5 if square > 0 else 1.0
        if len(features) > features.shape[1]:
            lengths, directions = torch.linalg.eigh((centred.T @ centred).double() * scale**2)
        else:  # fewer samples than features: the small matrix has the same lengths, and nothing lies outside of its axes
            lengths, across = torch.linalg.eigh(centred @ centred.T * scale**2)
            kept = lengths > lengths[-1] * 1e-10
            lengths = lengths[kept]
            directions = centred.T @ across[:, kept] * scale / lengths.sqrt()
        return cls(mean, scale, directions, lengths.clamp(min=0))

    def turned(self, features: Samples) -> Float[Tensor, "sample axis"]:
        """Samples along the axes, centred and scaled; float32."""
        return (features - self.mean.float()) @ (self.directions * self.scale).float()

    def back(
        self, weight: Float[Tensor, "classes axis"], bias: Float[Tensor, " classes"]
    ) -> tuple[Float[Tensor, "classes feature"], Float[Tensor, " classes"]]:
        """A classifier of turned samples as one of the features as they are; float32."""
        weight = weight @ self.directions.T * self.scale
        return weight.float(), (bias - weight @ self.mean).float()


# --- the fit ------------------------------------------------------------------------------------------------------------

ITERATIONS = 300
EXACT = 1e-9
"""Relative gain of an iteration below which the final fit ends."""
ROUGH = 1e-4
"""The same for fits that only choose the penalty: answers hardly change any more."""


class Fit:
    """The fits of one set of samples, each from where the one before ended.

    Args:
        samples: along their axes, of mean square length 1; decides the precision.
        lengths: sum of squares along each axis, about: with them the curvature of the loss is about the same in every
            direction, so that few iterations are needed.
    """

    def __init__(
        self,
        samples: Float[Tensor, "sample axis"],
        labels: Labels,
        classes: int,
        lengths: Float[Tensor, " axis"],
    ) -> None:
        self.samples, self.classes = samples, classes
        self.present, self.labels = labels.unique(return_inverse=True)
        self.spread = 1 / len(self.present) * (1 - 1 / len(self.present)) or 1.0  # of the answers at the beginning
        self.lengths = lengths.to(samples.dtype)
        self.weight = samples.new_zeros(len(self.present), samples.shape[1])
        self.bias = samples.new_zeros(len(self.present))

    def best(self, penalty: float, gain: float) -> tuple[Tensor, Tensor]:
        """Weights and bias of all classes, in double precision, for a penalty; until an iteration gains less than a share."""
        if len(self.present) > 1:
            self.go_on(penalty, gain)
        weight = torch.zeros(self.classes, self.samples.shape[1], dtype=torch.float64)
        bias = torch.full((self.classes,), float(self.bias.double().mean()) - ABSENT, dtype=torch.float64)
        # weights of the present classes add up to zero: the mean of their logits is that of their biases, for all samples
        weight[self.present], bias[self.present] = self.weight.double(), self.bias.double()
        return weight, bias

    def logits(self, samples: Float[Tensor, "other axis"], penalty: float) -> Float[Tensor, "other classes"]:
        """What a rough fit says of other samples."""
        weight, bias = self.best(penalty, ROUGH)
        return samples @ weight.to(samples.dtype).T + bias.to(samples.dtype)

    def go_on(self, penalty: float, gain: float) -> None:
        """Moves weights and bias to the least loss under a penalty."""
        count, shape = len(self.present), self.weight.shape
        steps = (self.spread * self.lengths + penalty).rsqrt()
        bias_step = (self.spread * len(self.samples)) ** -0.5
        rows = torch.arange(len(self.labels))

        def loss(vector: np.ndarray) -> tuple[float, np.ndarray]:
            own = torch.from_numpy(vector).to(self.samples.dtype)
            weight, bias = own[count:].view(shape) * steps, own[:count] * bias_step
            logits = torch.addmm(bias, self.samples, weight.T)
            logs = logits.log_softmax(1)
            value = -logs[rows, self.labels].sum(dtype=torch.float64) + penalty / 2 * weight.double().square().sum()
            errors = logs.exp_()
            errors[rows, self.labels] -= 1
            slope = torch.cat((errors.sum(0) * bias_step, ((errors.T @ self.samples + penalty * weight) * steps).flatten()))
            return value.item(), slope.double().numpy()

        start = torch.cat((self.bias / bias_step, (self.weight / steps).flatten())).double().numpy()
        found = scipy.optimize.minimize(
            loss, start, jac=True, method="L-BFGS-B", options={"maxiter": ITERATIONS, "ftol": gain, "gtol": 1e-7}
        ).x
        own = torch.from_numpy(found).to(self.samples.dtype)
        self.weight, self.bias = own[count:].view(shape) * steps, own[:count] * bias_step


# --- the penalty --------------------------------------------------------------------------------------------------------


def parts(labels: Labels, seed: int) -> list[Int[Tensor, " held"]]:
    """The samples that are held out, in turns: each class is spread over the parts as evenly as it can be."""
    order = np.random.default_rng(seed).permutation(len(labels))
    by_class = order[np.argsort(labels.numpy()[order], kind="stable")]
    count = min(FOLDS, len(labels))
    held = [torch.from_numpy(np.sort(by_class[first::count])) for first in range(count)]
    return held if len(labels) <= WHOLE else held[:1]


def choose_penalty(
    turned: Float[Tensor, "sample axis"], labels: Labels, classes: int, lengths: Float[Tensor, " axis"], seed: int
) -> tuple[float, CrossValidated]:
    """The penalty that gives the labels of held-out samples the highest likelihood, and the answers to these.

    The likelihood has one clear maximum, where the number of right answers is flat and goes up and down with chance.
    """
    held = parts(labels, seed)
    fits = []
    for part in held:
        rest = torch.ones(len(labels), dtype=torch.bool)
        rest[part] = False
        fits.append(Fit(turned[rest], labels[rest], classes, lengths * float(rest.double().mean())))
    searched = len(held) if len(labels) <= ALL_SEARCHED else 1
    best, penalty = math.inf, PENALTIES[0]
    answers: dict[float, list[Logits]] = {}
    for tried in PENALTIES:
        answers[tried] = [fit.logits(turned[part], tried) for fit, part in zip(fits[:searched], held, strict=False)]
        loss = float(nn.functional.cross_entropy(torch.cat(answers[tried]), labels[torch.cat(held[:searched])]))
        if loss > best - LEAST:
            break
        best, penalty = loss, tried
    rest_of = [fit.logits(turned[part], penalty) for fit, part in zip(fits[searched:], held[searched:], strict=True)]
    numbers, order = torch.cat(held).sort()
    logits = torch.cat(answers[penalty] + rest_of)[order]
    return penalty, CrossValidated(numbers, logits.argmax(1) == labels[numbers])
