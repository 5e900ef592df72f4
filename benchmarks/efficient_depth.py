"""What stochastic depth saves where dropped blocks are not computed: time of a training step, beside masked blocks and none.

    python benchmarks/efficient_depth.py     # resnet18 of a quarter of the widths, 64 images of 64 pixels
    python benchmarks/efficient_depth.py --model deit_tiny --width 1 --resolution 96 --batch 32

Blocks are dropped at the same rate everywhere. All candidates are timed in turn in one process; ratios of medians to no
dropping, with 95 % intervals by a bootstrap over rounds. "none, again" is the control.
"""

import argparse
from collections.abc import Callable
from dataclasses import replace

from paretina.measure.process import spin_briefly

spin_briefly()  # before torch is imported

import torch

from paretina.measure.machine import Device, Others
from paretina.measure.process import keep_freed_memory
from paretina.measure.timing import Turns, ratio
from paretina.model.blueprint import Blueprint
from paretina.model.edits.scale import Scale
from paretina.model.family import network_named


def step_of(model: Blueprint, batch: int, rate: float, subset: bool) -> Callable[[], None]:
    """A training step: forward, backward, SGD."""
    torch.manual_seed(0)
    network = model.build().train().to(memory_format=torch.channels_last)
    for each in network.residuals():
        each.set(rate)
        each.subset = subset
    optimizer = torch.optim.SGD(network.parameters(), lr=1e-3)
    images = torch.rand(batch, 3, model.resolution, model.resolution).contiguous(memory_format=torch.channels_last)
    labels = torch.randint(model.classes, (batch,))

    def step() -> None:
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(network(images), labels).backward()  # type: ignore[arg-type]
        optimizer.step()

    return step


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="resnet18")
    parser.add_argument("--width", type=float, default=0.25)
    parser.add_argument("--resolution", type=int, default=64)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--rates", type=float, nargs="+", default=[0.1, 0.3, 0.5])
    parser.add_argument("--seconds", type=float, default=40.0)
    options = parser.parse_args()
    keep_freed_memory()
    here = Device.here("cpu")
    model = network_named(options.model).blueprint
    model = model if options.width == 1 else Scale(width=options.width)(model)
    model = replace(model, resolution=options.resolution)
    steps = {"none": step_of(model, options.batch, 0.0, False), "none, again": step_of(model, options.batch, 0.0, False)}
    for rate in options.rates:
        for subset in (False, True):
            steps[f"{rate:g}, {'skipped' if subset else 'masked'}"] = step_of(model, options.batch, rate, subset)
    watch = Others()
    found = Turns(seconds=options.seconds).run(steps)
    used = watch.used()
    print(f"{here.name}, {here.cores} cores, {here.threads} threads, torch {here.torch}{', DISTURBED' * watch.disturbed(used)}")
    said = f"{options.model}, width {options.width:g}, {options.resolution} pixels, {options.batch} images"
    print(f"{said}, n = {len(found['none'].rounds)}")
    for name, series in found.items():
        value, low, high = ratio(found["none"], series)
        print(f"{name:<16}{series.p50.value:>9.1f} ms  {1 / value:.2f} [{1 / high:.2f}, {1 / low:.2f}]")


if __name__ == "__main__":
    main()
