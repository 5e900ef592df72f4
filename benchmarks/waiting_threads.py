"""How long OpenMP threads should spin before they sleep: some steps of networks, each way in a fresh process, in turn.

    python benchmarks/waiting_threads.py
    python benchmarks/waiting_threads.py --beside      # while another process trains, which is where spinning costs

The ways: to sleep at once (`OMP_WAIT_POLICY=PASSIVE`), to spin for a number of turns first (`GOMP_SPINCOUNT`), and what GNU's
OpenMP does when nothing is said, which is to spin for milliseconds. Figures are medians in ms of all rounds, in brackets as a
share of sleeping at once.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import replace

WAYS: dict[str, dict[str, str]] = {
    "sleep at once": {"OMP_WAIT_POLICY": "PASSIVE"},
    "spin 1,000": {"GOMP_SPINCOUNT": "1000"},
    "spin 5,000": {"GOMP_SPINCOUNT": "5000"},
    "spin 20,000": {"GOMP_SPINCOUNT": "20000"},
    "nothing said": {},
}
WIDTHS = (16, 32, 64, 128)


def once(seconds: float) -> dict[str, float]:
    """Median milliseconds of each step, in this process."""
    from paretina.measure.machine import Device
    from paretina.measure.opened import Opened, Steps, open_model
    from paretina.measure.plan import InferencePlan, default_plan
    from paretina.measure.process import keep_freed_memory
    from paretina.model.family import network_named

    def narrow(resolution: int) -> Opened:
        base = network_named("resnet18").blueprint
        stages = tuple(replace(stage, width=width) for stage, width in zip(base.stages, WIDTHS, strict=True))
        stem = replace(base.stem, pool=False, width=WIDTHS[0])
        blueprint = replace(base, resolution=resolution, classes=10, stem=stem, stages=stages)
        return Opened("narrow resnet18", blueprint.build(), blueprint, blueprint.preprocessing, resolution, 3, False)

    keep_freed_memory()
    threads, train = Device.here("cpu").threads, default_plan("cpu")
    small, large, b0 = narrow(32), narrow(64), open_model("efficientnet_b0", 224)
    steps = {
        "narrow ResNet-18, 32 px, update of 64": Steps(small, None, "cpu", threads).train(train)(64),
        "narrow ResNet-18, 64 px, update of 64": Steps(large, None, "cpu", threads).train(train)(64),
        "EfficientNet-B0, 96 px, update of 32": Steps(open_model("efficientnet_b0", 96), None, "cpu", threads).train(train)(32),
        "EfficientNet-B0, 224 px, one image": Steps(b0, None, "cpu", threads).infer(InferencePlan(device="cpu"))(1),
        "EfficientNet-B0, 224 px, 32 images": Steps(b0, None, "cpu", threads).infer(InferencePlan(device="cpu"))(32),
    }
    found = {}
    for name, step in steps.items():
        for _ in range(2):
            step()
        end, samples = time.perf_counter() + seconds, []
        while time.perf_counter() < end or len(samples) < 3:
            began = time.perf_counter()
            step()
            samples.append(1000 * (time.perf_counter() - began))
        found[name] = statistics.median(samples)
    return found


def fresh(way: Mapping[str, str], seconds: float) -> dict[str, float]:
    """The same in a process of its own."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("OMP_", "GOMP_"))} | dict(way)
    command = [sys.executable, __file__, "--once", "--seconds", str(seconds)]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True, env=environment).stdout)  # type: ignore[no-any-return]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=2.0, help="of each step")
    parser.add_argument("--beside", action="store_true", help="while a process like these is running, which sleeps at once")
    parser.add_argument("--once", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.once:
        print(json.dumps(once(options.seconds)))
        return
    other = None
    if options.beside:
        command = [sys.executable, __file__, "--once", "--seconds", "100000"]
        other = subprocess.Popen(command, stdout=subprocess.DEVNULL, env={**os.environ, **WAYS["sleep at once"]})
    try:
        rounds = [{name: fresh(way, options.seconds) for name, way in WAYS.items()} for _ in range(options.rounds)]
    finally:
        if other is not None:
            other.kill()
    print(f"| | {' | '.join(WAYS)} |\n|---|{'---|' * len(WAYS)}")
    for step in next(iter(rounds[0].values())):
        medians = {name: statistics.median(each[name][step] for each in rounds) for name in WAYS}
        base = medians["sleep at once"]
        print(f"| {step} | {' | '.join(f'{value:.1f} ({value / base:.2f})' for value in medians.values())} |")


if __name__ == "__main__":
    main()
