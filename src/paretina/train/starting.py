"""Initial values of a network, and the momentum of its norm statistics."""

import functools
import math
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, cast

import torch
from torch import nn

from paretina.model.blueprint import Model, Quantiser
from paretina.model.build import Network
from paretina.model.layers import Residual
from paretina.model.norms.switched import SwitchedUnit
from paretina.model.rows import class_tensors, start_small
from paretina.model.sizes import size_fault
from paretina.model.task import Task
from paretina.model.tasks.one_of import OneOf
from paretina.model.weights import Loaded, Start, load_start, part_of
from paretina.spec import Spec
from paretina.text import how_many
from paretina.train.learning import Learning
from paretina.train.objective import learning_modules
from paretina.traits import Never, SetTo, traits

FORGOTTEN = 10.0
"""After a run, exp(-10) of the initial norm statistics is left: less than 1 % of 1 where the variance is 0.01. This also holds
for those of pretrained weights: with exp(-3) of them left, a network that was fine-tuned on darker pictures stayed at chance in
evaluation."""


def first_values(network: Network, start: Start | None, classes: Sequence[str]) -> Loaded | None:
    """Initialises a new network for training, in place; returns how the weights were loaded, if there are any.

    Args:
        classes: names of the network's classes; those that the weights have keep their rows of the last layer.

    Raises:
        ValueError: the weights do not fit.
    """
    if start is None:
        start_small(network)
        return None
    # with the seed of the run that made the weights, new rows would equal the initial rows of its classes
    last = [start.state[name] for name in class_tensors(network.model) if name in start.state]
    drawn = zlib.crc32(b"".join(tensor.contiguous().cpu().view(torch.uint8).numpy().tobytes() for tensor in last))
    start_small(network, torch.Generator().manual_seed(torch.initial_seed() + drawn))
    return load_start(network, start, classes)


def start_notes(
    start: Start, model: Model, loaded: Loaded, learning: Learning, probe_size: int | None = None
) -> tuple[str, ...]:
    """Notes on the initial weights, one sentence each.

    Args:
        model: model of the network that starts from them.
        loaded: how they were loaded.
        probe_size: side in pixels at which the probe sees pictures that the last layer starts as; None where it starts small.

    Raises:
        ValueError: a part that is newly initialised is frozen.
    """
    frozen = learning.frozen_parts(model)
    if probe_size is None and loaded.rows.new and "head" in frozen:
        raise ValueError(f"the head is frozen, but {loaded.rows.said()}; leave 'head' out of frozen")
    if idle := [part for part in loaded.new if part.endswith(tuple(frozen))]:
        are, them = ("is", "it") if len(idle) == 1 else ("are", "them")
        raise ValueError(f"{', '.join(idle)} {are} frozen, but the weights do not have {them}; {unfrozen(idle, learning)}")
    if idle := [part for part in loaded.begun if part.endswith(tuple(frozen))]:
        are, have = ("is", "its quantiser has") if len(idle) == 1 else ("are", "their quantisers have")
        raise ValueError(
            f"{', '.join(idle)} {are} frozen, but {have} new steps, which training sets; {unfrozen(idle, learning)}"
        )
    rows, *parts = loaded.notes()
    if probe_size is not None:
        at = f"their own {probe_size}" if probe_size == start.model.resolution else str(probe_size)
        rows = (
            "the last layer starts as a linear probe: a logistic regression on the features that the weights give the training "
            f"pictures at {at} pixels"
        )
    return (rows, *parts, *different_notes(start, model), *only_head_note(model, learning))


def unfrozen(parts: Sequence[str], learning: Learning) -> str:
    """How to have parts learn that a recipe freezes."""
    if all(part.endswith(learning.frozen) for part in parts) and learning.frozen:
        return f"leave {'it' if len(parts) == 1 else 'them'} out of frozen"
    if learning.trainable_stages is not None:
        return f"trainable_stages={learning.trainable_stages} freezes what is before; set trainable_stages=none frozen_stride=0"
    return f"frozen_stride={learning.frozen_stride} freezes what has such a stride; set frozen_stride=0"


def only_head_note(model: Model, learning: Learning) -> tuple[str, ...]:
    """Says so where a stride that leaves later stages of other networks free freezes all stages of this one."""
    frozen = set(learning.frozen_parts(model))
    every = all({"stem", *(f"stages.{i}" for i in range(len(each.stages)))} <= frozen for each in model.blueprints())
    if not every or learning.trainable_stages is not None or not learning.frozen_stride or "head" in frozen:
        return ()
    return (
        f"frozen_stride={learning.frozen_stride} freezes all stages of this network, so only what comes after them is trained; "
        "frozen_stride=0 trains all of it",
    )


def different_notes(start: Start, model: Model) -> tuple[str, ...]:
    """Warnings if the weights come from a network with different computations, or that was given other numbers."""
    return (*different_parts(start, model), *different_scale(start, model))


def different_scale(start: Start, model: Model) -> tuple[str, ...]:
    own, given = model.preprocessing, start.model.preprocessing
    if len(own.mean) != len(given.mean) or (own.mean, own.std) == (given.mean, given.std):
        return ()
    theirs, ours = (f"mean {spelled(each.mean)} and std {spelled(each.std)}" for each in (given, own))
    return (f"warning: the weights were trained with {theirs} of the pictures, and this network has {ours}",)


def spelled(numbers: Sequence[float]) -> str:
    return f"({', '.join(f'{number:.4g}' for number in numbers)})"


def different_parts(start: Start, model: Model) -> tuple[str, ...]:
    for own, given in zip(model.blueprints(), start.model.blueprints(), strict=False):
        fields = [name for name in ("padding", "norm", "activation", "quantiser") if getattr(own, name) != getattr(given, name)]
        if fields:
            pairs = {name: apart(getattr(given, name), getattr(own, name)) for name in fields}
            wrong = ", ".join(f"{name} {theirs} instead of {ours}" for name, (theirs, ours) in pairs.items())
            sign = "" if fields == ["quantiser"] else "warning: "  # few bits are learned from weights of more
            return (f"{sign}the weights were trained in a network with {wrong}",)
    return ()


def apart(value: object, other: object) -> tuple[str, str]:
    """Two parts of networks in words, in full where they would read alike otherwise."""
    return (named(value), named(other)) if named(value) != named(other) else (str(value), str(other))


def named(value: object) -> str:
    """A part of a network in words: without brackets where it has nothing to set, a quantiser with its bits."""
    if value is None:
        return "none"
    if isinstance(value, Quantiser):
        return f"{type(value).__name__} {value.weights}w{value.activations}a"
    return str(value).removesuffix("()")


# --- the probe ----------------------------------------------------------------------------------------------------------


@functools.lru_cache(maxsize=64)
def check_linear(model: Model) -> None:
    """Looks whether the last layer of a network can be a linear probe.

    Raises:
        ValueError: it is not one linear layer on the features of a picture.
    """
    network = model.build("meta").eval()
    last = getattr(getattr(network, "head", None), "classifier", None)
    what = type(last or getattr(network, "head", network)).__name__
    if type(last) is nn.Linear and last.bias is not None:
        images = torch.empty(1, model.channels, model.resolution, model.resolution, device="meta")
        said = cast(dict[str, Any], network(images, extras=True)[1])
        if said["embedding"].shape == (1, last.in_features):
            return
    raise ValueError(
        f"start.head=probe needs a network whose last layer is one linear layer with a bias on the features of a picture; this "
        f"one, {type(model).__name__}, ends with {what}: leave it out, start.head=small"
    )


def check_probe(model: Model, start: Start, loaded: Loaded, task: Task, size: int) -> None:
    """Looks whether a run from weights can begin with a linear probe.

    Args:
        size: side in pixels at which the probe sees pictures.

    Raises:
        ValueError: the task has no probe, the weights lack what makes features, or the network takes no images of their size.
    """
    if task != OneOf():
        raise ValueError(f"start.head=probe is for one class a picture; the task of this data is {task.WORDS}")
    last = class_tensors(model)
    with_features = {part_of(name) for name in model.build("meta").state_dict() if name not in last}
    if lacking := [part for part in loaded.new if part in with_features]:
        raise ValueError(
            f"start.head=probe needs the features of trained weights, and {start.said} have no {', '.join(lacking)}; leave it "
            "out, start.head=small"
        )
    if fault := size_fault(model.build("meta").eval(), size):
        of = "of the weights" if size == start.model.resolution else "that is given"
        raise ValueError(f"start.head=probe looks at pictures at the size {of}, {size}: {fault}")


# --- running statistics -------------------------------------------------------------------------------------------------


def statistical(module: nn.Module) -> Iterator[nn.Module]:
    """The norm layers in a module that keep running statistics, that is, have buffers named running_*."""
    for each in module.modules():
        if hasattr(each, "momentum") and any(name.startswith("running_") for name, _ in each.named_buffers(recurse=False)):
            yield each


def least_momentum(passes: int) -> float:
    """The smallest momentum with which running statistics forget their initial values within `passes` batches.

    After n batches with momentum m, (1 - m)^n of the initial value is left.
    """
    return -math.expm1(-FORGOTTEN / passes)


# --- the choice ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Starting(Spec):
    """
    Attributes:
        zero_gamma: whether the scale of the last norm of each residual branch is initialised to zero (arXiv:1706.02677, 5.1);
            only from scratch, and for long runs: with twelve epochs it cost 15 points (records/time-to-accuracy).
        norm_momentum: momentum of the running statistics of norms, as in PyTorch, in (0, 1].
        bound_norm_memory: whether `norm_momentum` is raised in a run that is too short for running statistics to forget their
            initial values.
        head: initial values of the last layer: small random values, and the rows of classes that the weights know ("small"), or
            a logistic regression on the features of the training pictures under the pretrained weights ("probe"); only with
            weights to start from. Its accuracy is reported beside the result.
        probe_size: image size in pixels at which that regression sees the pictures; None for that of the weights.
    """

    zero_gamma: bool = field(default=False, metadata=traits(left_out=SetTo("zero gamma", "off"), elsewhere=()))
    norm_momentum: float = field(
        default=0.1, metadata=traits(left_out=Never("running statistics need a momentum"), elsewhere=())
    )
    bound_norm_memory: bool = field(
        default=True, metadata=traits(left_out=Never("without it the evaluation of a short run is wrong"), elsewhere=())
    )
    head: Literal["small", "probe"] = field(
        default="small", metadata=traits(left_out=SetTo("head from a probe", "small"), elsewhere=())
    )
    probe_size: int | None = field(default=None, metadata=traits(left_out=SetTo("probe at another size", "none"), elsewhere=()))

    def __post_init__(self) -> None:
        if not 0 < self.norm_momentum <= 1:
            raise ValueError(f"Starting.norm_momentum is a fraction in (0, 1], got {self.norm_momentum}")
        if self.probe_size is not None and self.probe_size < 1:
            raise ValueError(f"Starting.probe_size is a side in pixels, at least 1, got {self.probe_size}")
        if self.probe_size is not None and self.head != "probe":
            raise ValueError("Starting.probe_size is the image size of a linear probe; with it goes start.head=probe")

    def probe_size_from(self, start: Start) -> int | None:
        """Side in pixels at which the probe sees pictures; None without one."""
        return (self.probe_size or start.model.resolution) if self.head == "probe" else None

    def close_branches(self, module: nn.Module) -> None:
        """With `zero_gamma`, sets the scale of the last norm of each trained residual branch to zero."""
        if self.zero_gamma:
            for each in learning_modules(module):
                if isinstance(each, Residual):
                    last = each.last_norm
                    for norm in last.units if isinstance(last, SwitchedUnit) else (last,):
                        nn.init.zeros_(norm.weight)  # type: ignore[arg-type]

    def set_memory(self, learner: nn.Module, passes: int) -> None:
        """Sets the momentum of all norms of a learner: `norm_momentum`, or more in a short run.

        Args:
            passes: number of batches that norms see in the run.
        """
        least = least_momentum(passes) if self.bound_norm_memory and passes else 0.0
        for norm in statistical(learner):
            norm.momentum = max(self.norm_momentum, least)  # type: ignore[assignment]

    def notes(self, network: Network, updates: int, passes: int) -> tuple[str, ...]:
        """A note if `set_memory` raises the momentum; empty if no norm of the network is updated.

        Args:
            network: the network, with its frozen parts frozen.
        """
        if not passes:
            return ()
        least = least_momentum(passes)
        moves = any(norm.training for norm in statistical(network.train()))
        if not self.bound_norm_memory or least <= self.norm_momentum or not moves:
            return ()
        return (
            f"norm_momentum={self.norm_momentum:g} is too low for a run of {how_many(updates, 'update')}, "
            f"so norms use {least:.3g} instead",
        )


EXAMPLES = (Starting(), Starting(zero_gamma=True, norm_momentum=0.01), Starting(head="probe", probe_size=96))
