"""Opened: a network from wherever it comes, and the steps of it that can be timed."""

import copy
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from paretina.data.preprocess import preprocess
from paretina.data.source import Source
from paretina.measure.inference import Fold, forward, prepared
from paretina.measure.plan import InferencePlan, Plan
from paretina.measure.timing import MakeStep, Step
from paretina.measure.tune import Judgement, compare_answers
from paretina.measure.update import Update
from paretina.model.blueprint import Model, Preprocessing
from paretina.model.family import networks
from paretina.model.sizes import check_side
from paretina.model.weights import from_package, load_model, load_start
from paretina.run import model_in
from paretina.shapes import Logits
from paretina.spec import near


@dataclass(frozen=True)
class Opened:
    """A network to measure.

    Attributes:
        name: as it was asked for.
        model: what it was built from; None of another library's network.
        preprocessing: how it wants pictures cut.
        trained: whether its weights are; those of random ones say nothing about answers.
    """

    name: str
    network: nn.Module
    model: Model | None
    preprocessing: Preprocessing
    resolution: int
    channels: int
    trained: bool

    def images(self, batch: int) -> Tensor:
        """Random pixels, always the same."""
        shape = (batch, self.channels, self.resolution, self.resolution)
        return torch.randint(0, 256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def open_model(name: str, resolution: int | None = None) -> Opened:
    """The network that a word stands for: one of our names, a model file, the directory of a finished run, or timm:NAME.

    Of our names the weights are those of an installed package, otherwise random; those of timm are random.

    Raises:
        ValueError: there is none; the message has the name and the near one.
    """
    library, colon, rest = name.partition(":")
    path = Path(name)
    if colon and library == "timm":
        from paretina.model.interop import timm_model

        foreign = timm_model(rest, pretrained=False)
        return Opened(name, foreign, None, foreign.preprocessing, resolution or foreign.resolution, 3, False)
    if path.exists() or name.endswith(".safetensors") or "/" in name:
        network, _ = load_model(model_in(path))
        model = network.model
        if resolution is not None:
            check_side(model, resolution)
        return Opened(name, network, model, model.preprocessing, resolution or model.resolution, model.channels, True)
    known = networks()
    if name not in known:
        hint = near(name, known)
        raise ValueError(f"there is no network and no model file {name!r}{hint if 'did you mean' in hint else ''}")
    published = known[name]
    blueprint = replace(published.blueprint, resolution=resolution or published.blueprint.resolution)
    network = blueprint.build()
    start = from_package(published)
    if start is not None:
        load_start(network, start)
    return Opened(
        name, network, blueprint, blueprint.preprocessing, blueprint.resolution, blueprint.channels, start is not None
    )


# --- steps --------------------------------------------------------------------------------------------------------------


def under(plan: Plan, threads: int, step: Step) -> Step:
    """A step that first sets the number of threads, which belongs to the whole process."""
    wanted = plan.threads or threads

    def run() -> object:
        if torch.get_num_threads() != wanted:
            torch.set_num_threads(wanted)
        return step()

    return run


@dataclass
class Steps:
    """Makes the steps of one network; the copies that it takes for them are made when they are first needed.

    Attributes:
        threads: that torch uses unless a plan says otherwise.
    """

    opened: Opened
    fold: Fold | None
    device: str
    threads: int
    ready: dict[Plan, nn.Module] = field(default_factory=dict)

    def prepared(self, plan: Plan) -> nn.Module:
        key = replace(plan, threads=None)
        if isinstance(key, InferencePlan):
            key = replace(key, batch=None)
        if key not in self.ready:
            self.ready[key] = prepared(self.opened.network, plan, self.fold)
        return self.ready[key]

    def infer(self, plan: Plan) -> MakeStep:
        """Forward passes under a plan."""
        return lambda batch: under(plan, self.threads, forward(self.prepared(plan), plan, self.opened.images(batch)))

    def train(self, plan: Plan) -> MakeStep:
        """Updates under a plan, by SGD with momentum and cross entropy, on a copy that they share."""
        learning: list[nn.Module] = []

        def make(batch: int) -> Step:
            if not learning:
                network = plan.place(copy.deepcopy(self.opened.network)).train().requires_grad_(True)
                if plan.compile:
                    network.forward = torch.compile(network.forward)  # type: ignore[method-assign]
                learning.append(network)
            return under(plan, self.threads, update(learning[0], plan, self.opened.images(batch)))

        return make

    def answers(self, plan: Plan, pictures: Tensor) -> Logits:
        """Logits of pictures, float32, on the CPU."""
        network = self.prepared(plan)
        with plan.threaded():
            found = [forward(network, plan, some)().float().cpu() for some in pictures.split(16)]
        return torch.cat(found)

    def judged_on(self, pictures: Tensor) -> Callable[[Plan], Judgement]:
        """Compares a plan with float32, whose answers are found at once."""
        wanted = self.answers(Plan(device=self.device), pictures)
        return lambda plan: compare_answers(wanted, self.answers(plan, pictures))


def update(network: nn.Module, plan: Plan, images: Tensor) -> Step:
    """A function that makes one update of a network in training mode; every image, or every pixel, has the first class."""
    images = images.to(device=plan.device).contiguous(memory_format=plan.torch_memory_format)
    learning = Update(plan, torch.optim.SGD(network.parameters(), lr=1e-5, momentum=0.9))

    def losses() -> dict[str, Tensor]:
        found = network(images)
        # a network of another library that is distilled answers twice while it learns
        answers = found if isinstance(found, tuple) else (found,)
        each = [F.cross_entropy(answer.float(), answer.new_zeros(answer[:, 0].shape, dtype=torch.long)) for answer in answers]
        return {"first": torch.stack(each).mean()}

    def run() -> None:
        learning.learn(losses)
        learning.step()

    return run


def pictures_for(opened: Opened, source: Source, count: int) -> Tensor:
    """Pictures of the validation split as a network sees them, evenly spaced over the split."""
    collection = source.open()
    samples = collection.split("val")
    chosen = samples[:: max(1, len(samples) // count)][:count]
    return torch.stack([preprocess(collection.image(sample), opened.preprocessing, opened.resolution) for sample in chosen])
