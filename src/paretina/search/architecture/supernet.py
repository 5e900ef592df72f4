"""Weight sharing: one network of which every candidate is a part ("supernet"), trained once, so that a candidate costs a look.

Every parameter of a candidate is a slice of a shared one of the same name: the leading channels, and of a kernel its centre.
So a narrow, shallow path with small kernels shares its weights with a wide, deep one. Each update trains one path, drawn from
those that hold the budget. A candidate is scored with the weights that it inherits; since the statistics of batch norms belong
to a path, they are estimated anew for each before it is scored: without that, small paths are near chance.

How well such scores rank candidates has to be measured: see `agreement` in the result of a search, where they are compared with
short trainings of the control's candidates.

Source: Pham et al. 2018 (arXiv:1802.03268), section 2.2; one path at a time, Guo et al. 2019 (arXiv:1904.00420), section 3.2;
slices, Stamoulis et al. 2019 (arXiv:1904.02877), section 3.1; statistics, Yu & Huang 2019 (arXiv:1903.05134), section 3.2.
Invariant: a candidate's inherited network computes what its path computes in the shared one.
"""

import json
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.func import functional_call

from paretina.measure.evaluate import Evaluation
from paretina.measure.plan import Plan
from paretina.model.blueprint import Blueprint
from paretina.model.build import Combined, Network, materialise
from paretina.model.layers import Pixels
from paretina.model.roles import BATCH_NORMS, Role, role_of
from paretina.run import Run
from paretina.search.tasks import Say
from paretina.shapes import Logits
from paretina.train.asked import Asked
from paretina.train.journal import Journal
from paretina.train.loop import Job, run_updates
from paretina.train.ranks import Ranks
from paretina.train.resolve import Prepared, prepare
from paretina.train.training import description

STATISTICS = 512
"""Training pictures, at most, from which the statistics of a path's norms are estimated."""

BATCH = 64
"""Pictures at a time there."""

Key = tuple[str, str]

Wanted = dict[str, tuple[Key, tuple[int, ...]]]
"""Keys and shapes of the parameters of a network, by their names in it."""


def keys_of(blueprint: Blueprint, network: nn.Module) -> dict[str, Key]:
    """What parameters of a network share with those of others: by name, and by the kind of block and layer that they are in.

    Two parameters with equal keys are slices of one.
    """
    found: dict[str, Key] = {}
    for prefix, module in network.named_modules():
        kind = type(module).__name__
        if isinstance(module, nn.Conv2d) and module.groups > 1:
            kind += " depthwise" if module.groups == module.in_channels else f" in {module.groups} groups"
        part, _, rest = prefix.partition(".")
        number = rest.partition(".")[0]
        if part == "stages" and number.isdecimal():
            kind = f"{type(blueprint.stages[int(number)].block).__name__} {kind}"
        for name, parameter in module.named_parameters(recurse=False):
            path = f"{prefix}.{name}" if prefix else name
            found[path] = (path, f"{kind} {parameter.dim()}")
    return found


def slice_of(shared: Tensor, shape: Sequence[int]) -> Tensor:
    """A view of the leading entries of a tensor, and of the last two axes of a kernel the centre."""
    for axis, length in enumerate(shape):
        start = (shared.shape[axis] - length) // 2 if len(shape) == 4 and axis > 1 else 0
        shared = shared.narrow(axis, start, length)
    return shared


def covers(have: Sequence[int], shape: Sequence[int]) -> bool:
    """Whether a tensor has a slice of a shape."""
    return len(have) == len(shape) and all(a >= b for a, b in zip(have, shape, strict=True))


class Shared(Combined):
    """A bank of parameters, and paths that compute with slices of it.

    Attributes:
        paths: the networks that are trained together.
        active: number of the path that computes in evaluation mode.
        numbers: names of the shared parameters by their keys.
    """

    def __init__(self, paths: Sequence[Blueprint], progress: "SharedProgress | None" = None) -> None:
        super().__init__(paths[0])
        self.paths = tuple(paths)
        self.active = 0
        self.made: dict[int, tuple[Network, Wanted]] = {}
        self.numbers: dict[Key, str] = {}
        self.ROLES: dict[str, Role] = {}
        self.find_parameters(progress or SharedProgress(lambda text: None))

    def find_parameters(self, progress: "SharedProgress") -> None:
        """Makes a parameter for each key, as large as the largest that any path has in each of its axes."""
        largest: dict[Key, tuple[int, ...]] = {}
        for number in range(len(self.paths)):
            progress.step("building candidates", number, len(self.paths))
            network, wanted = self.path(number)
            owners = dict(network.named_modules())
            for name, (key, shape) in wanted.items():
                largest[key] = tuple(max(pair) for pair in zip(largest.get(key, shape), shape, strict=True))
                if key not in self.numbers:
                    own = f"shared_{len(self.numbers)}"
                    owner, _, last = name.rpartition(".")
                    self.numbers[key] = own
                    self.ROLES[own] = role_of(owners[owner], last)
        for key, shape in largest.items():
            self.register_parameter(self.numbers[key], nn.Parameter(torch.zeros(shape)))

    def __deepcopy__(self, memo: dict[int, Any]) -> "Shared":
        """A copy with weights of its own; the paths, which have none, are the same."""
        other = Shared.__new__(Shared)
        Combined.__init__(other, self.model)
        other.paths, other.active, other.made = self.paths, self.active, self.made
        other.numbers, other.ROLES = self.numbers, self.ROLES
        for name, parameter in self.named_parameters():
            other.register_parameter(name, nn.Parameter(parameter.detach().clone()))
        return other.train(self.training)  # type: ignore[return-value]

    def write(self, path: Path) -> None:
        """Writes the parameters with their keys."""
        tensors = {name: value.detach().contiguous().cpu() for name, value in self.named_parameters()}
        save_file(tensors, path, {"numbers": json.dumps([[*key, name] for key, name in self.numbers.items()])})

    @classmethod
    def read(cls, path: Path, model: Blueprint) -> "Shared":
        """The parameters of a file, without paths: what candidates inherit from.

        Args:
            model: any of the networks, for what they have in common.
        """
        other = Shared.__new__(Shared)
        Combined.__init__(other, model)
        other.paths, other.active, other.made, other.ROLES = (), 0, {}, {}
        with safe_open(path, "pt") as file:
            other.numbers = {(name, kind): own for name, kind, own in json.loads(file.metadata()["numbers"])}
            for own in file.keys():  # noqa: SIM118
                other.register_parameter(own, nn.Parameter(file.get_tensor(own)))
        return other

    def path(self, number: int) -> tuple[Network, Wanted]:
        """The network of a path without weights, and the parameters that it needs."""
        if number not in self.made:
            network = self.paths[number].build("meta")
            keys = keys_of(self.paths[number], network)
            shapes = {name: tuple(parameter.shape) for name, parameter in network.named_parameters()}
            keep_buffers_only(network)
            self.made[number] = network, {name: (keys[name], shape) for name, shape in shapes.items()}
        return self.made[number]

    def begin(self, progress: "SharedProgress | None" = None) -> None:
        """Gives every shared parameter its first value, from networks that are initialised as usual.

        Where no path alone has an entry, it is drawn with the spread of the first network that has the parameter.
        """
        filled: dict[str, tuple[int, ...]] = {}
        for number, blueprint in enumerate(self.paths):
            if progress is not None:
                progress.step("initialising candidates", number, len(self.paths))
            _, wanted = self.path(number)
            if all(covers(filled.get(self.numbers[key], ()), shape) for key, shape in wanted.values()):
                continue
            for name, parameter in blueprint.build().named_parameters():
                key, shape = wanted[name]
                own, value = self.numbers[key], parameter.detach()
                shared = self.get_parameter(own).detach()
                if own not in filled:
                    shared.normal_(float(value.mean()), float(value.std()) if value.numel() > 1 else 0.0)
                slice_of(shared, shape).copy_(value)
                filled[own] = tuple(max(pair) for pair in zip(filled.get(own, shape), shape, strict=True))

    def slices(self, wanted: Wanted) -> dict[str, Tensor]:
        """The parameters of a network, by name, as views of the shared ones.

        Raises:
            ValueError: a parameter, or a part of it, is in no path.
        """
        found = {}
        for name, (key, shape) in wanted.items():
            own = self.numbers.get(key)
            shared = None if own is None else self.get_parameter(own)
            if shared is None or not covers(tuple(shared.shape), shape):
                raise ValueError(f"{name} of this candidate is in none of the networks that were trained together")
            found[name] = slice_of(shared, shape)
        return found

    def forward(self, images: Pixels, extras: bool = False) -> Logits | tuple[Logits, dict[str, Any]]:
        """The logits of a path by the statistics of the batch: in training of one drawn at random, else of the active one."""
        number = int(torch.randint(len(self.paths), ())) if self.training else self.active
        network, wanted = self.path(number)
        for module in network.modules():
            for name, buffer in module.named_buffers(recurse=False):
                if buffer.device != images.device:
                    setattr(module, name, buffer.to(images.device))
        return functional_call(network, self.slices(wanted), (images,), {"extras": extras})  # type: ignore[no-any-return]

    def inherited(self, blueprint: Blueprint) -> Network:
        """A network of its own with the weights that it has here.

        Raises:
            ValueError: a part of it is in no path.
        """
        network = blueprint.build("meta")
        keys = keys_of(blueprint, network)
        found = self.slices({name: (keys[name], tuple(parameter.shape)) for name, parameter in network.named_parameters()})
        materialise(network)
        with torch.no_grad():
            for name, parameter in network.named_parameters():
                parameter.copy_(found[name])
        for norm in norms_of(network):
            norm.reset_running_stats()
        return network


def keep_buffers_only(network: Network) -> None:
    """Allocates the buffers of a meta network on the CPU, and leaves its parameters without storage; in place."""
    materialise(network)
    for module in network.modules():
        for name, parameter in module.named_parameters(recurse=False):
            setattr(module, name, nn.Parameter(parameter.detach().to("meta")))
    for norm in norms_of(network):
        norm.reset_running_stats()


def norms_of(network: nn.Module) -> list[Any]:
    """The batch norms with statistics."""
    return [module for module in network.modules() if isinstance(module, BATCH_NORMS) and module.track_running_stats]


# --- training and scoring -------------------------------------------------------------------------------------------------

WEIGHTS = "shared.safetensors"


TOLD_S = 10.0
"""Seconds between two lines of progress."""


class SharedProgress:
    """Tells how far a training of paths together is, every few seconds.

    Attributes:
        say: called with a line.
        clock: returns the time in seconds.
    """

    def __init__(self, say: Say, clock: Callable[[], float] = time.monotonic) -> None:
        self.say, self.clock = say, clock
        self.began: tuple[float, int] | None = None
        self.told = -math.inf

    def step(self, what: str, done: int, of: int) -> None:
        """Tells that so many of all are done, if it is time."""
        now = self.clock()
        if self.told == -math.inf:
            self.told = now
        if self.began is None:
            self.began = now, done
        if now - self.told < TOLD_S:
            return
        self.told = now
        since, before = self.began
        left = (now - since) * (of - done) / (done - before) if done > before else None
        until = "" if left is None else f", {left:.0f} s left"
        self.say(f"{what}: {done} of {of}{until}")

    def listen(self, line: Mapping[str, Any]) -> None:
        """Takes in a line of the log."""
        if line["event"] == "train":
            self.step("updates of candidates together", line["step"], line["updates"])

    def part(self) -> None:
        """Begins another part, whose pace is its own."""
        self.began = None


def train_shared(asked: Asked, paths: Sequence[Blueprint], folder: Path, say: Say = lambda text: None) -> dict[str, Any]:
    """Trains paths together, or continues, and leaves their weights in the folder.

    Dropout and stochastic depth stay off: what is trained together underfits.

    Args:
        asked: the training, with its data.
        paths: which share weights.
        folder: of a run, with its checkpoints and log.
        say: called with progress.

    Returns:
        `epochs`, `updates` and `time_s`.
    """
    began = time.monotonic()
    prepared = prepare(asked)
    run = Run(folder) if (folder / "asked.json").exists() else Run.create(folder, description(prepared))
    ranks = Ranks.start(asked.plan.device)
    progress = SharedProgress(say)
    with run.held(), prepared.asked.plan.threaded():
        job = shared_job(prepared, paths, ranks, progress)
        progress.part()
        kept = run_updates(job, prepared.recipe, run, Journal(run, ranks, job.plan.device, progress.listen))
        kept.network.write(folder / WEIGHTS)  # type: ignore[operator]
        run.drop_states()
    took = time.monotonic() - began
    return {"epochs": kept.epochs.epochs, "updates": kept.epochs.updates, "time_s": took}


def shared_job(prepared: Prepared, paths: Sequence[Blueprint], ranks: Ranks, progress: SharedProgress | None = None) -> Job:
    """The job of training paths together; nothing is evaluated in it."""
    recipe = prepared.recipe
    plan = replace(prepared.asked.plan, device=ranks.device(prepared.asked.plan.device))
    torch.manual_seed(recipe.seed)
    told = progress or SharedProgress(lambda text: None)
    network = Shared(paths, told)
    told.part()
    network.begin(told)
    learner = plan.place(recipe.objective.make(plan.place(network), None))
    torch.manual_seed(recipe.seed + 1)
    evaluation = Evaluation(prepared.val, prepared.model.preprocessing, prepared.model.resolution, prepared.model.classes, plan)
    return Job(learner, prepared.train, evaluation, prepared.asked.sizes(), plan, ranks)


class Scorer:
    """Scores candidates by the weights that they inherit.

    Attributes:
        shared: the trained paths.
    """

    def __init__(self, asked: Asked, model: Blueprint, folder: Path) -> None:
        prepared = prepare(asked)
        self.shared = Shared.read(folder / WEIGHTS, model)
        plan = Plan(device=prepared.asked.plan.device, threads=prepared.asked.plan.threads)
        given = (prepared.model.preprocessing, prepared.model.resolution, prepared.model.classes, plan)
        self.plan, self.labels = plan, torch.tensor(prepared.val.labels())
        self.judged = Evaluation(prepared.val, *given)
        self.seen = Evaluation(prepared.train, *given, batch=BATCH)
        # mixed, since pictures are in the order of their classes: a batch of one class varies too little
        mixed = Random(0).sample(self.seen.mine, len(self.seen.mine))
        self.seen.mine = mixed[:STATISTICS]

    def __call__(self, blueprint: Blueprint) -> dict[str, Any]:
        """The accuracy of a candidate on the held-out pictures: `accuracy` in [0, 1], `correct` and `pictures`.

        Raises:
            ValueError: a part of it is in no path.
        """
        with self.plan.threaded():
            network = self.plan.place(self.shared.inherited(blueprint))
            self.restate(network)
            logits, ids = self.judged.run(network)
        correct = int((logits.argmax(1) == self.labels[ids]).sum())
        return {"accuracy": correct / max(1, len(ids)), "correct": correct, "pictures": len(ids)}

    def restate(self, network: Network) -> None:
        """Estimates the statistics of all batch norms anew, as means over batches of training pictures; in place."""
        norms = norms_of(network)
        if not norms:
            return
        network.eval()
        for norm in norms:
            norm.reset_running_stats()
            norm.momentum = None  # a plain mean over batches
            norm.train()
        with torch.inference_mode():
            for loaded in self.seen.batches(0):
                if len(loaded.batch) > 1:
                    network(loaded.batch.to(self.plan.device, self.plan.torch_memory_format).images)
        network.eval()
