"""What a GPU makes of our networks, in eight minutes: parts, the most wanted first; one JSON file.

A second call continues the file of the first.

    python benchmarks/gpu.py --output gpu.json                   # all parts that fit into the time
    python benchmarks/gpu.py --parts equal groups --output gpu.json
    python benchmarks/gpu.py --rehearse                          # every part on the CPU, with tiny sizes; says nothing of speed

Whatever is compared is timed in turn in one process, each round in another order (`paretina.measure.timing`); the device is
waited for after each sample. Ratios are of medians with a 95 % interval over rounds, above 1 where the first named is slower.
Ours takes bytes and normalises them inside the network; timm gets floats, so its normalisation is not timed.

Parts:
    equal      training step and inference beside timm's, at equal settings: bfloat16, channels_last, not compiled; aim: 0.97
    groups     group width 1, 4, 16 and fused blocks
    train      one training at 64 pixels to a stated accuracy
    norms      batch, group, layer and proxy norm
    defaults   as equal, with what each side does by itself: our plan for this device; timm in float32, contiguous
    ghosts     a network with cheap maps (G-Ghost) beside the plain one
    levit      LeViT beside EfficientNet-B2
    macs       rank correlation of MACs with time
    compiled   three networks compiled, and as CUDA graphs, beside uncompiled; the others are never compiled
"""

import argparse
import copy
import json
import os
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from paretina.measure.process import spin_briefly

spin_briefly()  # before torch is imported

import scipy.stats
import timm
import torch
from torch import nn

from paretina.data.sources.shapes import Shapes
from paretina.data.transforms.flip import HorizontalFlip
from paretina.data.transforms.squash import Squash
from paretina.measure.machine import Device
from paretina.measure.opened import update
from paretina.measure.plan import Plan, default_plan, machine
from paretina.measure.timing import Step, Turns, ratio
from paretina.model.blueprint import Blueprint
from paretina.model.edits.fuse import Fuse
from paretina.model.edits.regroup import Regroup
from paretina.model.edits.renorm import Renorm
from paretina.model.family import Published, network_named
from paretina.model.norms.batch import BatchNorm
from paretina.model.norms.group import GroupNorm
from paretina.model.norms.proxy import ProxyNorm
from paretina.schedules import Constant, Cosine, Warmup
from paretina.train.asked import Asked
from paretina.train.optimizers.sgd import SGD
from paretina.train.recipe import Recipe
from paretina.train.training import train

AIM = 0.97
"""Our speed as a share of timm's, at equal settings."""

REACHED = 90.0
"""Top-1 in percent on drawn shapes that the training must reach."""

MEMBERS = ("resnet50", "efficientnet_b0", "efficientnetv2_s", "mobilenet_v2", "regnetx_1_6gf", "ghostnet_100", "convnext_tiny")
COMPILED = ("resnet18", "efficientnet_b0", "mobilenet_v2")
COUNTED = (*MEMBERS, "efficientnet_b2", "resnet18", "levit_192", "deit_small", "efficientnet_lite0")


@dataclass(frozen=True)
class Scale:
    """How large everything is.

    Attributes:
        seconds: of the timing of one candidate; warm-up not counted.
        networks: how many of each list are taken.
        shapes: training pictures of each class for the training; validation has a third.
        limit: seconds of all parts together.
    """

    device: str
    side: int
    batch: int
    seconds: float
    networks: int
    shapes: int
    epochs: float
    limit: float


FULL = Scale("cuda", 224, 128, 0.8, 99, 450, 24.0, 480.0)
TINY = Scale("cpu", 32, 2, 0.005, 1, 2, 1.0, 1e9)


REHEARSED = {
    "efficientnetv2_s": "regnetx_200mf",
    "resnet50": "resnet18",
    "levit_192": "levit_128s",
    "levit_256": "levit_128",
    "regnetx_3_2gf": "regnetx_200mf",
    "gghost_regnetx_3_2gf": "gghost_regnetx_200mf",
}
"""Smaller networks for a rehearsal."""


def published(name: str, scale: Scale) -> Published:
    return network_named(REHEARSED.get(name, name) if scale is TINY else name)


def ours(name: str, scale: Scale, *edits: Callable[[Blueprint], Blueprint]) -> Blueprint:
    found = published(name, scale).blueprint
    if scale is TINY and name.startswith("efficientnet"):
        found = replace(found, stages=tuple(replace(stage, depth=1) for stage in found.stages))
    for edit in edits:
        found = edit(found)
    return replace(found, resolution=scale.side)


def theirs(name: str, scale: Scale) -> nn.Module:
    """timm's network of the same definition."""
    network = published(name, scale)
    peer = next(peer for peer in network.peers if peer.library == "timm")
    sized = {"img_size": scale.side} if network.family in ("levit", "vit", "deit") else {}
    return timm.create_model(peer.name, **sized)


def step_of(network: nn.Module, scale: Scale, plan: Plan, training: bool, floats: bool = False) -> Step:
    """One training step, or one forward pass, of a network of either library."""
    placed = plan.place(copy.deepcopy(network)).train(training)
    if plan.compile:
        placed.compile(**plan.compiling())
    images = torch.randint(0, 256, (scale.batch, 3, scale.side, scale.side), dtype=torch.uint8)
    images = images.float() / 255 if floats else images
    if training:
        return update(placed, plan, images)
    images = images.to(plan.device).contiguous(memory_format=plan.torch_memory_format)

    def infer() -> object:
        if plan.graphs:
            torch.compiler.cudagraph_mark_step_begin()
        with torch.inference_mode(), plan.arithmetic():
            return placed(images)

    return infer


def in_turn(scale: Scale, steps: Mapping[str, Step], base: str) -> dict[str, Any]:
    """Milliseconds of each step, and the ratio of the others to one of them."""
    turns = Turns(rounds=1 if scale is TINY else None, seconds=scale.seconds * len(steps), wait=Device.here(scale.device).wait)
    found = turns.run(steps)
    rows: dict[str, Any] = {}
    for name, series in found.items():
        of = ratio(series, found[base])
        rows[name] = {"ms": series.p50.value, "rounds": len(series.rounds), "ratio": [of.value, of.low, of.high]}
    return rows


def same(scale: Scale) -> Plan:
    if scale.device == "cpu":
        return Plan()
    return Plan(device=scale.device, precision="bfloat16", tf32=True)


def beside_timm(scale: Scale, own: Plan, other: Plan) -> Iterator[dict[str, Any]]:
    for name in MEMBERS[: scale.networks]:
        for training in (True, False):
            with own.threaded():
                steps = {
                    "ours": step_of(ours(name, scale).build(), scale, own, training),
                    "timm": step_of(theirs(name, scale), scale, other, training, floats=True),
                    "timm again": step_of(theirs(name, scale), scale, other, training, floats=True),
                }
                rows = in_turn(scale, steps, "ours")
            speed = rows["timm"]["ratio"]
            yield {"network": name, "what": "training" if training else "inference", "speed": speed, **rows}


def equal(scale: Scale) -> Iterator[dict[str, Any]]:
    for row in beside_timm(scale, same(scale), same(scale)):
        yield {**row, "aim": AIM, "met": row["speed"][0] >= AIM}


def defaults(scale: Scale) -> Iterator[dict[str, Any]]:
    own = default_plan(scale.device) if scale.device == "cuda" else Plan()
    yield from beside_timm(scale, own, Plan(device=scale.device, memory_format="contiguous"))


def variants(scale: Scale, models: Mapping[str, Blueprint], base: str) -> Iterator[dict[str, Any]]:
    for training in (True, False):
        plan = same(scale)
        with plan.threaded():
            steps = {name: step_of(model.build(), scale, plan, training) for name, model in models.items()}
            yield {"what": "training" if training else "inference", **in_turn(scale, steps, base)}


def groups(scale: Scale) -> Iterator[dict[str, Any]]:
    edits: dict[str, tuple[Callable[[Blueprint], Blueprint], ...]] = {
        "width 1": (),
        "width 1, again": (),
        "width 4": (Regroup(group_width=4),),
        "width 16": (Regroup(),),
        "fused": (Fuse(),),
    }
    yield from variants(scale, {name: ours("efficientnet_b0", scale, *each) for name, each in edits.items()}, "width 1")


def norms(scale: Scale) -> Iterator[dict[str, Any]]:
    kinds = {"batch": BatchNorm(), "group": GroupNorm(groups=8), "layer": GroupNorm(groups=1), "proxy": ProxyNorm()}
    base = ours("efficientnet_b0", scale, Regroup())
    models = {name: base if name == "batch" else Renorm(norm=norm)(base) for name, norm in kinds.items()}
    yield from variants(scale, models, "batch")


def ghosts(scale: Scale) -> Iterator[dict[str, Any]]:
    pairs = {name: ours(name, scale) for name in ("regnetx_3_2gf", "gghost_regnetx_3_2gf")}
    yield from variants(scale, pairs, "regnetx_3_2gf")


def levit(scale: Scale) -> Iterator[dict[str, Any]]:
    names = ("efficientnet_b2", "levit_192", "levit_256")
    yield from variants(scale, {name: ours(name, scale) for name in names}, names[0])


def compiled(scale: Scale) -> Iterator[dict[str, Any]]:
    """On a CPU without compiling, which takes a minute there."""
    for name in COMPILED[: scale.networks]:
        for training in (True, False):
            eager = same(scale)
            forms = {"eager": eager}
            if scale.device == "cuda":
                forms["compiled"] = replace(eager, compile=True)
                forms["graphs"] = replace(eager, compile=True, graphs=True)
            small = replace(scale, batch=min(scale.batch, 32), side=min(scale.side, 128))
            with eager.threaded():
                steps = {form: step_of(ours(name, small).build(), small, plan, training) for form, plan in forms.items()}
                yield {"network": name, "what": "training" if training else "inference", **in_turn(scale, steps, "eager")}


def macs(scale: Scale) -> Iterator[dict[str, Any]]:
    names = COUNTED[: max(3, scale.networks)]
    for training in (True, False):
        plan = same(scale)
        with plan.threaded():
            rows = in_turn(scale, {name: step_of(ours(name, scale).build(), scale, plan, training) for name in names}, names[0])
        counted = [published(name, scale).macs for name in names]
        found = scipy.stats.spearmanr(counted, [rows[name]["ms"] for name in names])
        what = "training" if training else "inference"
        yield {"what": what, "spearman": float(found.statistic), "networks": len(names), **rows}


def training(scale: Scale) -> Iterator[dict[str, Any]]:
    """Drawn shapes at 64 pixels; the time is that of the whole call, the pictures included."""
    side = min(scale.side, 64)
    recipe = Recipe(
        epochs=scale.epochs,
        batch_size=64,
        transforms=(Squash(), HorizontalFlip()),
        size=Constant(value=float(side)),
        optimizer=SGD(lr=Warmup(epochs=min(2.0, scale.epochs / 2), then=Cosine(start=0.2)), weight_decay=Constant(value=1e-4)),
    )
    data = Shapes(per_class=scale.shapes, val_per_class=max(1, scale.shapes // 3), size=side, difficulty=0.3)
    plan = Plan(workers=0) if scale is TINY else default_plan(scale.device)
    model = replace(published("resnet18", scale).blueprint, resolution=side)
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        run = train(Asked(data=data, model=model, recipe=recipe, plan=plan), Path(folder) / "run")
        top1 = run.result()["metrics"]["val/top1"]
        last = [line for line in run.lines() if line["event"] == "train"][-1]
    yield {
        "top1": top1,
        "wanted": REACHED,
        "met": top1 >= REACHED,
        "seconds": time.monotonic() - began,
        "img_s": last["throughput/img_s"],
        "time/data": last["time/data"],
    }


PARTS: dict[str, Callable[[Scale], Iterator[dict[str, Any]]]] = {
    "equal": equal,
    "groups": groups,
    "train": training,
    "norms": norms,
    "defaults": defaults,
    "ghosts": ghosts,
    "levit": levit,
    "macs": macs,
    "compiled": compiled,
}


def written(path: Path, found: dict[str, Any]) -> None:
    """Writes the file as a whole, so that a call that is killed leaves the one before."""
    aside = path.with_suffix(".part")
    aside.write_text(json.dumps(found, indent=2) + "\n")
    os.replace(aside, path)


def measured(scale: Scale, parts: list[str], path: Path) -> dict[str, Any]:
    """Works through the parts that the file does not have yet; a part that fails is noted, and the next one begins."""
    found: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {"machine": machine(), "parts": {}}
    began = time.monotonic()
    for name in parts:
        if found["parts"].get(name, {}).get("done"):
            continue
        if time.monotonic() - began > scale.limit:
            print(f"{name}: no time is left", flush=True)
            continue
        rows: list[dict[str, Any]] = []
        part: dict[str, Any] = {"rows": rows, "done": False}
        found["parts"][name] = part
        start = time.monotonic()
        try:
            for row in PARTS[name](scale):
                rows.append(row)
                part["seconds"] = time.monotonic() - start
                written(path, found)
                print(f"{name}: {json.dumps(row)}", flush=True)
                if time.monotonic() - began > scale.limit:
                    break
            else:
                part["done"] = True
        except Exception as error:  # another part may well succeed
            part["failed"] = f"{type(error).__name__}: {error}"
            print(f"{name}: failed: {part['failed']}", flush=True)
        written(path, found)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", nargs="+", choices=list(PARTS), default=list(PARTS))
    parser.add_argument("--output", type=Path, default=Path("gpu.json"), help="continued if it exists; default: %(default)s")
    parser.add_argument("--seconds", type=float, default=FULL.limit, help="of all parts together; default: %(default)s")
    parser.add_argument("--rehearse", action="store_true", help="on the CPU, with tiny sizes")
    options = parser.parse_args()
    torch.manual_seed(0)
    found = measured(TINY if options.rehearse else replace(FULL, limit=options.seconds), options.parts, options.output)
    if failed := [name for name, part in found["parts"].items() if "failed" in part]:
        raise SystemExit(f"failed: {', '.join(failed)}")


if __name__ == "__main__":
    main()
