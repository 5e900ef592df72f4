"""Pace: seconds per image that a network takes to train and to answer on this device, measured once and remembered.

A pace is what a choice between networks needs before anything is trained. It is measured on noise at one size; at another size
it is taken to follow the number of pixels, which holds to within some 20 % from 64 pixels on. Files lie in the cache directory
(`paretina.system.cache_folder`), one for each device, versions, network, size and plan; removing them costs the time to
measure again. What was measured while other processes used the cores is not remembered.
"""

import json
import math
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch.nn import functional as F

from paretina.measure.machine import Device, Others
from paretina.measure.plan import Plan
from paretina.measure.plan_cache import key_of, place_of
from paretina.measure.process import process_settings
from paretina.measure.update import Update
from paretina.model.blueprint import Model
from paretina.model.fold import fastest_form
from paretina.run import write_aside
from paretina.spec import encode

BATCH = 64
"""Images in the batch that is measured."""

ROUNDS = 2
"""Timed rounds, of which the fastest counts; one that is not timed goes before them."""


@dataclass(frozen=True)
class NetworkPace:
    """
    Attributes:
        train_s: seconds per image of an update: forward and backward pass, and its part of the optimizer's step.
        infer_s: seconds per image of a forward pass in evaluation, in inference form.
        side: in pixels, at which both were measured.
    """

    train_s: float
    infer_s: float
    side: int

    def at(self, side: int) -> "NetworkPace":
        """What it would be at another size."""
        scale = (side / self.side) ** 2
        return NetworkPace(self.train_s * scale, self.infer_s * scale, side)


def pace(
    model: Model, side: int, plan: Plan, frozen: Sequence[str] = (), folder: Path | None = None, learning: bool = True
) -> NetworkPace:
    """The pace of a network on the device of a plan; measured, which takes a second or two, unless it is remembered.

    Args:
        side: of the images, in pixels.
        frozen: parts that do not learn, by name.
        folder: the cache directory; default: that of the user.
        learning: whether updates are timed too; otherwise `train_s` is not a number.
    """
    device = Device.here(plan.device)
    key = key_of(
        device,
        encode(model),
        use="pace in inference form",
        side=side,
        plan=encode(plan),
        frozen=list(frozen),
        learning=learning,
    )
    path = place_of(key, folder)
    known = remembered(path, key)
    if known is None:
        others = Others()
        known = measured(model, side, plan, frozen, device, learning)
        if others.disturbed(others.used()):
            return known  # slower than it will be: whoever asks on a quiet machine measures again
        with suppress(OSError):  # a folder that cannot be written costs the time of measuring again
            path.parent.mkdir(parents=True, exist_ok=True)
            write_aside(path, json.dumps({"key": key, "pace": asdict(known)}, indent=2).encode())
    return known


def remembered(path: Path, key: dict[str, Any]) -> NetworkPace | None:
    """What was measured earlier; None where nothing was, or the file is about something else."""
    try:
        data = json.loads(path.read_text())
        if data["key"] != json.loads(json.dumps(key)):
            return None
        return NetworkPace(
            **{name: float(data["pace"][name]) for name in ("train_s", "infer_s")}, side=int(data["pace"]["side"])
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None


@process_settings()
def measured(model: Model, side: int, plan: Plan, frozen: Sequence[str], device: Device, learning: bool) -> NetworkPace:
    """Times a few updates and forward passes of a network with random weights."""
    with torch.random.fork_rng(devices=[]), plan.threaded():
        torch.manual_seed(0)
        network = model.build()
        network.freeze(frozen)
        plan.place(network)
        images = torch.randint(256, (BATCH, model.channels, side, side), dtype=torch.uint8).to(plan.device)
        images = images.contiguous(memory_format=plan.torch_memory_format)
        labels = torch.arange(BATCH, device=plan.device) % model.classes
        learned = [parameter for parameter in network.parameters() if parameter.requires_grad]
        update = Update(plan, torch.optim.AdamW(learned, lr=1e-4))

        def train() -> None:
            update.learn(lambda: {"loss": F.cross_entropy(network(images).float(), labels)})
            update.step()

        def infer() -> None:
            with torch.inference_mode(), plan.arithmetic():
                form(images)

        network.train()
        train_s = fastest(train, device) if learning else math.nan
        form = fastest_form(network.eval())
        return NetworkPace(train_s / BATCH, fastest(infer, device) / BATCH, side)


def fastest(step: Callable[[], None], device: Device) -> float:
    """Seconds of the fastest of a few rounds."""
    found = []
    for _ in range(ROUNDS + 1):
        began = time.perf_counter()
        step()
        device.wait()
        found.append(time.perf_counter() - began)
    return min(found[1:])
