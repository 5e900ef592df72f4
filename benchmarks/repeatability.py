"""How well our timings repeat: some networks, some times, each time in a fresh process.

    python benchmarks/repeatability.py                         # 6 networks, 5 times
    python benchmarks/repeatability.py --seconds 20 --json

Of each network and time: the median latency of one image and how wide its 95 % interval is, in percent. Two things are asked:
that no interval is wider than 8 %, and that every pair whose medians differ by more than 10 % in the pooled data is ordered the
same way each time. The exit code is 3 where one of them fails. Times with more than a little company are marked with a star.
"""

import argparse
import itertools
import json
import subprocess
import sys
from typing import Any

from paretina.measure.process import spin_briefly

spin_briefly()  # before torch is imported

import numpy as np

from paretina.measure.choose_plan import default_inference_plan
from paretina.measure.machine import Device, Others
from paretina.measure.opened import Steps, open_model
from paretina.measure.process import keep_freed_memory
from paretina.measure.timing import Turns

NETWORKS = ("resnet18", "resnet50", "efficientnet_b0", "mobilenet_v2", "levit_256", "convnext_tiny")
WIDEST = 0.08
APART = 0.10


def once(names: list[str], resolution: int, batch: int, seconds: float, seed: int) -> dict[str, Any]:
    """The samples of one time, in this process."""
    keep_freed_memory()
    device, plan = Device.here("cpu"), default_inference_plan("cpu")
    steps = {name: Steps(open_model(name, resolution), None, "cpu", device.threads).infer(plan)(batch) for name in names}
    watch = Others()
    found = Turns(seconds=seconds * len(names), seed=seed, wait=device.wait).run(steps)
    used = watch.used()
    return {
        "disturbed": watch.disturbed(used),
        "others": used,
        "networks": {name: series.to_dict() for name, series in found.items()},
    }


def fresh(options: argparse.Namespace, number: int) -> dict[str, Any]:
    """The same in a process of its own."""
    settings = [f"--{name}={getattr(options, name)}" for name in ("resolution", "batch", "seconds")]
    command = [sys.executable, __file__, "--networks", *options.networks, *settings, "--once", str(number)]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)  # type: ignore[no-any-return]


def width(figures: dict[str, Any]) -> float:
    return (figures["p50_ms_high"] - figures["p50_ms_low"]) / figures["p50_ms"]  # type: ignore[no-any-return]


def misordered(names: list[str], times: list[dict[str, Any]]) -> list[tuple[str, str]]:
    """Pairs that are far apart in the pooled data and not ordered alike each time."""

    def pooled(name: str) -> float:
        return float(np.median([sample for each in times for turn in each["networks"][name]["samples_ms"] for sample in turn]))

    found = []
    for one, other in itertools.combinations(names, 2):
        slow, fast = (one, other) if pooled(one) > pooled(other) else (other, one)
        if pooled(slow) > (1 + APART) * pooled(fast) and any(
            each["networks"][slow]["p50_ms"] <= each["networks"][fast]["p50_ms"] for each in times
        ):
            found.append((fast, slow))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", nargs="+", default=list(NETWORKS))
    parser.add_argument("--times", type=int, default=5)
    parser.add_argument("--resolution", type=int, default=224)
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=15.0, help="of each network and time")
    parser.add_argument("--once", type=int, default=None, help=argparse.SUPPRESS)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    if options.once is not None:
        print(json.dumps(once(options.networks, options.resolution, options.batch, options.seconds, options.once)))
        return
    times = [fresh(options, number) for number in range(options.times)]
    widths = {name: [width(each["networks"][name]) for each in times] for name in options.networks}
    wrong = misordered(options.networks, times)
    widest = max(max(found) for found in widths.values())
    if options.json:
        print(
            json.dumps(
                {"device": Device.here("cpu").to_dict(), "times": times, "widest": widest, "misordered": wrong}, indent=2
            )
        )
    else:
        here = Device.here("cpu")
        print(f"{here.name}, {here.cores} cores, {here.threads} threads, torch {here.torch}")
        print(
            f"batch {options.batch}, {options.resolution} pixels; median in ms, and the width of its 95 % interval in percent"
        )
        longest = max(map(len, options.networks))
        for name in options.networks:
            cells = [
                f"{each['networks'][name]['p50_ms']:8.2f} ({100 * width(each['networks'][name]):4.1f} %)" for each in times
            ]
            print(f"{name:<{longest}} " + " ".join(cells))
        company = [f"{each['others']:.2f}{'*' if each['disturbed'] else ''}" for each in times]
        print(f"{'cores used by others':<{longest}} " + " ".join(f"{text:>17}" for text in company))
        print(f"widest interval {100 * widest:.1f} % (at most {100 * WIDEST:g} % is asked for)")
        print("pairs that are not ordered alike each time: " + (", ".join(map(" and ".join, wrong)) or "none"))
    sys.exit(3 if wrong or widest > WIDEST else 0)


if __name__ == "__main__":
    main()
