"""Group width against time: depthwise, groups of 4 and 16 channels and fused blocks, trained and applied, in two precisions.

    python benchmarks/groups.py                                      # the small network of the study groups-shapes
    python benchmarks/groups.py --width 1 --depth 1 --resolution 224 --batch 8   # EfficientNet-B0

All candidates of one column are timed in turn in one process, the depthwise one twice as a control: its ratio to itself says
how far from 1 noise alone can be. Ratios are of medians, a candidate's time over that of depthwise convolutions in the same
precision, with a 95 % interval by a bootstrap over rounds. Training in bfloat16 leaves those depthwise layers in
float32 that are slow otherwise; in inference all layers are in bfloat16, and norms are folded where they
can be.
"""

import argparse
from dataclasses import replace

from paretina.measure.process import spin_briefly

spin_briefly()  # before torch is imported

import torch

from paretina.measure.cost import cost
from paretina.measure.machine import Device, Others
from paretina.measure.opened import Opened, Steps
from paretina.measure.plan import InferencePlan, Plan, default_plan
from paretina.measure.process import keep_freed_memory
from paretina.measure.timing import Turns, ratio
from paretina.model.blueprint import Blueprint, Edit
from paretina.model.edits.fuse import Fuse
from paretina.model.edits.regroup import Regroup
from paretina.model.edits.renorm import Renorm
from paretina.model.edits.scale import Scale
from paretina.model.family import network_named
from paretina.model.fold import fold
from paretina.model.norms.group import GroupNorm
from paretina.model.norms.proxy import ProxyNorm

EDITS: dict[str, tuple[Edit, ...]] = {
    "depthwise": (),
    "depthwise, again": (),
    "groups of 4": (Regroup(group_width=4),),
    "groups of 16": (Regroup(),),
    "fused": (Fuse(),),
    "groups of 16, layer norm": (Regroup(), Renorm(norm=GroupNorm(groups=1))),
    "groups of 16, layer and proxy norm": (Regroup(), Renorm(norm=ProxyNorm())),
}
PLANS = {
    "training step, float32": Plan(),
    "training step, bfloat16": replace(default_plan("cpu"), precision="bfloat16"),
    "inference, float32": InferencePlan(fold=True),
    "inference, bfloat16": InferencePlan(precision="bfloat16", weights="same", fold=True),
}


def blueprint(width: float, depth: float, resolution: int, edits: tuple[Edit, ...]) -> Blueprint:
    found = network_named("efficientnet_b0").blueprint
    if (width, depth) != (1, 1):
        stages = list(found.stages)
        stages[5] = replace(stages[5], stride=1)
        found = Scale(width=width, depth=depth)(replace(found, stages=tuple(stages)))
    for edit in edits:
        found = edit(found)
    return replace(found, resolution=resolution)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--width", type=float, default=0.5)
    parser.add_argument("--depth", type=float, default=0.4)
    parser.add_argument("--resolution", type=int, default=64)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=30.0, help="of each column")
    options = parser.parse_args()
    keep_freed_memory()
    torch.manual_seed(0)
    here = Device.here("cpu")
    models = {name: blueprint(options.width, options.depth, options.resolution, edits) for name, edits in EDITS.items()}
    print(f"{here.name}, {here.cores} cores, {here.threads} threads, torch {here.torch}")
    print(f"{options.resolution} pixels, {options.batch} images")
    print(f"{'':<36}{'params':>10} {'MMACs':>8}")
    for name, model in models.items():
        counted = cost(model)
        print(f"{name:<36}{counted.params:>10,} {counted.macs / 1e6:>8.1f}")
    for what, plan in PLANS.items():
        steps = {}
        for name, model in models.items():
            made = Steps(
                Opened(name, model.build(), model, model.preprocessing, model.resolution, 3, False), fold, "cpu", here.threads
            )
            steps[name] = (made.infer if isinstance(plan, InferencePlan) else made.train)(plan)(options.batch)
        watch = Others()
        found = Turns(seconds=options.seconds).run(steps)
        used = watch.used()
        base = found["depthwise"]
        print(f"\n{what}, n = {len(base.rounds)}" + (", DISTURBED" if watch.disturbed(used) else ""))
        for name, series in found.items():
            value, low, high = ratio(series, base)
            print(f"{name:<36}{series.p50.value:>9.1f} ms  {value:.2f} [{low:.2f}, {high:.2f}]", flush=True)


if __name__ == "__main__":
    main()
