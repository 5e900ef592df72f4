"""Our training step and inference against timm's, on the same networks, in turn in one process.

    python benchmarks/against_timm.py                   # same settings on both sides: channels_last, float32
    python benchmarks/against_timm.py --families        # the same for one member of each family
    python benchmarks/against_timm.py --defaults        # our plan for this device (`default_plan`), theirs as it is

Every round runs each candidate once, in a random order, so that a drift of the machine hits all alike. timm runs twice in each
round: the ratio of the two is the control, and says how far from 1 a ratio can be by noise alone. Ratios are medians of timm's
time over ours, above 1 where we are faster; the interval is a bootstrap over rounds.

Ours takes uint8 images and normalises them inside the network; timm gets floats, so its normalisation is not timed.
"""

import argparse
import json
import random
import statistics
import time
from collections.abc import Callable
from dataclasses import replace

from paretina.measure.process import spin_briefly

spin_briefly()  # before torch is imported

import numpy as np
import timm
import torch
import torch.nn.functional as F

from paretina.measure.plan import Plan, default_plan, machine
from paretina.measure.process import keep_freed_memory
from paretina.model.family import network_named

MEMBERS = (
    "efficientnet_b0",
    "efficientnet_lite0",
    "efficientnetv2_s",
    "resnet50",
    "mobilenet_v1",
    "mobilenet_v2",
    "regnetx_1_6gf",
    "ghostnet_100",
    "convnext_tiny",
    "levit_256",
    "deit_small",
)
"""One member of each family that timm has too."""


def theirs_named(name: str, size: int) -> torch.nn.Module:
    """timm's network of the same definition; one with a table of positions is made for that size."""
    network = network_named(name)
    peer = next(peer for peer in network.peers if peer.library == "timm")
    return timm.create_model(peer.name, **({"img_size": size} if network.family in ("levit", "vit", "deit") else {}))


def candidates(name: str, size: int, batch: int, training: bool, ours: Plan, theirs: Plan) -> dict[str, Callable[[], None]]:
    """A function for each candidate that does one step."""
    images = torch.randint(0, 256, (batch, 3, size, size), dtype=torch.uint8)
    labels = torch.randint(0, 1000, (batch,))
    return {
        "ours": stepper(replace(network_named(name).blueprint, resolution=size).build(), images, labels, training, ours),
        "timm": stepper(theirs_named(name, size), images.float() / 255, labels, training, theirs),
        "timm again": stepper(theirs_named(name, size), images.float() / 255, labels, training, theirs),
    }


def stepper(
    network: torch.nn.Module, images: torch.Tensor, labels: torch.Tensor, training: bool, plan: Plan
) -> Callable[[], None]:
    plan.place(network)
    network.train(training)
    images = images.to(memory_format=plan.torch_memory_format)
    optimizer = torch.optim.SGD(network.parameters(), lr=1e-4, momentum=0.9)

    def train() -> None:
        with plan.arithmetic():
            answer = network(images)
            answer = (answer[0] + answer[1]) / 2 if isinstance(answer, tuple) else answer  # timm's LeViT gives both answers
            loss = F.cross_entropy(answer.float(), labels)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    def infer() -> None:
        with torch.inference_mode(), plan.arithmetic():
            network(images)

    return train if training else infer


def rounds(steps: dict[str, Callable[[], None]], seconds: float, least: int, counted: str = "ours") -> dict[str, list[float]]:
    """Seconds of each candidate in each round, after two rounds that do not count."""
    for step in steps.values():
        step()
        step()
    times: dict[str, list[float]] = {name: [] for name in steps}
    began = time.monotonic()
    while len(times[counted]) < least or time.monotonic() - began < seconds:
        for name in random.sample(list(steps), len(steps)):
            start = time.perf_counter()
            steps[name]()
            times[name].append(time.perf_counter() - start)
    return times


def ratio(slow: list[float], fast: list[float]) -> tuple[float, float, float]:
    """Ratio of medians with its 95 % bootstrap interval over rounds."""
    a, b = np.array(slow), np.array(fast)
    drawn = np.random.default_rng(0).integers(0, len(a), (2000, len(a)))
    resampled = np.median(a[drawn], axis=1) / np.median(b[drawn], axis=1)
    low, high = np.quantile(resampled, (0.025, 0.975))
    return statistics.median(slow) / statistics.median(fast), float(low), float(high)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", nargs="+", default=["efficientnet_b0", "efficientnetv2_s", "resnet50"])
    parser.add_argument("--families", action="store_true", help="one member of each family instead")
    parser.add_argument("--sizes", nargs="+", type=int, default=[96, 224])
    parser.add_argument("--batch", type=int, default=0, help="images a step; default: 32 at 96 pixels and 8 at 224")
    parser.add_argument("--precision", default="float32", choices=["float32", "bfloat16"])
    parser.add_argument("--defaults", action="store_true", help="our default plan against contiguous float32")
    parser.add_argument("--seconds", type=float, default=20.0, help="for each row, warm-up not counted")
    parser.add_argument("--least", type=int, default=11, help="rounds of each row, at least")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    torch.manual_seed(0)
    random.seed(0)
    same = Plan(precision=options.precision)
    ours, theirs = (default_plan("cpu"), Plan(memory_format="contiguous")) if options.defaults else (same, same)
    if options.defaults:
        keep_freed_memory()  # belongs to what we do by default; it helps timm too, since it is one process
    rows = []
    if not options.json:
        here = machine()
        print(f"{here['cpu']}, {here['cores']} cores, torch {torch.__version__}, timm {timm.__version__}")
        print(f"ours: {ours}\ntimm: {theirs}")
        print(
            f"{'network':<20} {'pixels':>6} {'batch':>5} {'what':<9} {'n':>3} "
            f"{'ours ms':>8} {'timm/ours':>24} {'timm/timm':>24}"
        )
    for name in MEMBERS if options.families else options.networks:
        for size in options.sizes:
            batch = options.batch or (32 if size < 160 else 8)
            for training in (False, True):
                times = rounds(candidates(name, size, batch, training, ours, theirs), options.seconds, options.least)
                row = {
                    "network": name,
                    "size": size,
                    "batch": batch,
                    "what": "training" if training else "inference",
                    "n": len(times["ours"]),
                    "ours_ms": 1000 * statistics.median(times["ours"]),
                    "timm_over_ours": ratio(times["timm"], times["ours"]),
                    "timm_over_timm": ratio(times["timm"], times["timm again"]),
                }
                rows.append(row)
                if not options.json:
                    us, control = ("{:.3f} [{:.3f}, {:.3f}]".format(*row[key]) for key in ("timm_over_ours", "timm_over_timm"))
                    print(
                        f"{name:<20} {size:>6} {batch:>5} {row['what']:<9} {row['n']:>3} "
                        f"{row['ours_ms']:>8.1f} {us:>24} {control:>24}",
                        flush=True,
                    )
    if options.json:
        print(json.dumps({"machine": machine(), "rows": rows}, indent=2))


if __name__ == "__main__":
    main()
