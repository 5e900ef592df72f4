"""Opens networks from any source, and makes their steps for timing."""

import copy
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from paretina.data.preprocess import preprocess
from paretina.data.source import Source
from paretina.measure.cost import Cost
from paretina.measure.inference import Fold, forward, prepared
from paretina.measure.plan import InferencePlan, Plan
from paretina.measure.routes import TurnsOfSizes
from paretina.measure.timing import MakeStep, Step
from paretina.measure.tune import Judgement, compare_answers
from paretina.measure.update import Update
from paretina.model.assemblies.route import Router
from paretina.model.blueprint import Model, Preprocessing
from paretina.model.detection import PyramidOfBoxes
from paretina.model.family import networks
from paretina.model.sizes import check_side
from paretina.model.tasks.boxes import Boxes
from paretina.model.weights import from_package, load_model, load_start
from paretina.run import model_in
from paretina.shapes import Logits
from paretina.spec import near


@dataclass(frozen=True)
class Opened:
    """An opened network to measure.

    Attributes:
        name: as given by the user.
        model: the model that it was built from; None for another library's network.
        preprocessing: its preprocessing.
        trained: whether its weights are trained; with random weights, predictions cannot be checked.
        run: executes a shipped file in its own runtime, from pixels; None for a network that torch executes.
        fit: prepares `run` for many pictures of a shape.
        runtime: what executes it.
        precision: of a shipped file.
        counted: cost of a shipped file, whose operations cannot be counted; None for networks.
    """

    name: str
    network: nn.Module
    model: Model | None
    preprocessing: Preprocessing
    resolution: int
    channels: int
    trained: bool
    run: Callable[[Tensor], object] | None = None
    runtime: Literal["torch", "onnxruntime", "openvino"] = "torch"
    precision: str = "float32"
    counted: Cost | None = None
    fit: Callable[[Tensor], None] = lambda images: None

    def images(self, batch: int) -> Tensor:
        """Random images, always the same."""
        shape = (batch, self.channels, self.resolution, self.resolution)
        return torch.randint(0, 256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def open_model(name: str, resolution: int | None = None) -> Opened:
    """Opens a network by name: a Paretina network, a model file, the directory of a finished run, or timm:NAME.

    Weights of Paretina networks are those of an installed package, otherwise random; weights of timm networks are random.

    Raises:
        ValueError: there is none; the message has the name and suggests a similar one.
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
    """Wraps a step so that it first sets the number of threads, a setting of the whole process."""
    wanted = plan.threads or threads

    def run() -> object:
        if torch.get_num_threads() != wanted:
            torch.set_num_threads(wanted)
        return step()

    return run


@dataclass
class Steps:
    """Makes the steps of one network; copies of the network are made on first use.

    Attributes:
        threads: that torch uses unless the plan sets them.
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
        """Forward passes under a plan; of a network that chooses its image size, with the sizes of its training."""

        def made(batch: int) -> Step:
            network = self.prepared(plan)
            return under(plan, self.threads, in_turns(network, forward(network, plan, self.opened.images(batch))))

        return made

    def train(self, plan: Plan) -> MakeStep:
        """Training steps under a plan: SGD with momentum and cross entropy, on a shared copy."""
        learning: list[nn.Module] = []

        def make(batch: int) -> Step:
            if not learning:
                network = plan.place(copy.deepcopy(self.opened.network)).train().requires_grad_(True)
                if plan.compile:
                    network.forward = torch.compile(network.forward, **plan.compiling())  # type: ignore[method-assign]
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
        """Returns a function that compares a plan with float32, whose logits are computed now."""
        wanted = self.answers(Plan(device=self.device), pictures)
        return lambda plan: compare_answers(wanted, self.answers(plan, pictures))


def in_turns(network: nn.Module, step: Step) -> Step:
    """Has a network that chooses its image size take its sizes in turns, as often as the validation pictures of its training.

    Images that are timed are noise, for which it would choose otherwise; what chooses runs all the same.
    """
    router = next((each for each in network.modules() if isinstance(each, Router)), None)
    shares = getattr(router.model, "shares", ()) if router is not None else ()
    if router is None or not shares:
        return step
    turns = TurnsOfSizes(shares)

    def run() -> object:
        router.draw = turns
        try:
            return step()
        finally:
            router.draw = None

    return run


def update(network: nn.Module, plan: Plan, images: Tensor) -> Step:
    """Returns a function that makes one training step; all are of the first class, or show an object of it."""
    images = images.to(device=plan.device).contiguous(memory_format=plan.torch_memory_format)
    learning = Update(plan, torch.optim.SGD(network.parameters(), lr=1e-5, momentum=0.9))

    head = getattr(network, "head", None)
    objects = Boxes().targets([torch.tensor([[0.25, 0.25, 0.75, 0.75, 0.0, 1.0]])] * len(images), 1).to(images.device)

    def losses() -> dict[str, Tensor]:
        if isinstance(head, PyramidOfBoxes):
            return head.losses(network(images, extras=True)[1]["embedding"], objects)
        found = network(images)
        # distilled networks of other libraries return two outputs in training
        answers = found if isinstance(found, tuple) else (found,)
        each = [F.cross_entropy(answer.float(), answer.new_zeros(answer[:, 0].shape, dtype=torch.long)) for answer in answers]
        return {"first": torch.stack(each).mean()}

    def run() -> None:
        learning.learn(losses)
        learning.step()

    return run


def pictures_for(opened: Opened, source: Source, count: int) -> Tensor:
    """Preprocessed validation pictures, evenly spaced over the split."""
    collection = source.open()
    samples = collection.split("val")
    chosen = samples[:: max(1, len(samples) // count)][:count]
    return torch.stack([preprocess(collection.image(sample), opened.preprocessing, opened.resolution) for sample in chosen])
