"""What proxy norm costs: a training step of G16-EfficientNet-B0 with it and with group norm, in turn in one process.

    python benchmarks/proxy_norm.py                      # all rows, about twelve minutes
    python benchmarks/proxy_norm.py --rows 96x32 224x16  # those with a bound: at most 1.10 in float32

Four candidates: group norm (one group, with scale and shift), the same once more as the control, proxy norm as it is in the
package, and proxy norm written plainly, one differentiable operation after the other. Every round runs each candidate once,
in a random order, so that a drift of the machine hits all alike. Ratios are medians of a candidate's time over that of group
norm, above 1 where it is slower; the interval is a bootstrap over rounds. The ratio of the control says how far from 1 a
ratio can be by noise alone.

`--clock cpu` counts the time that the process had on a processor: the measure to take on a machine that does other things
too.
"""

import argparse
import json
import random
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from paretina.measure.process import spin_briefly

spin_briefly()  # before torch is imported

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from paretina.measure.plan import Plan, machine
from paretina.measure.process import keep_freed_memory
from paretina.model.blueprint import Activation, Norm, NormUnit
from paretina.model.family import network_named
from paretina.model.norms.group import GroupNorm
from paretina.model.norms.proxy import ProxyNorm

G16 = network_named("g16_efficientnet_b0").blueprint
CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time}


class PlainUnit(NormUnit):
    """Proxy norm as its formula reads."""

    def __init__(self, width: int, activation: nn.Module | None) -> None:
        super().__init__()
        self.activation = activation
        self.scale = nn.Parameter(torch.empty(width))
        self.shift = nn.Parameter(torch.empty(width))
        self.proxy_scale = nn.Parameter(torch.empty(width))
        self.proxy_shift = nn.Parameter(torch.empty(width))
        self.register_buffer("quantiles", torch.empty(200), persistent=False)

    def reset_parameters(self) -> None:
        for parameter in self.parameters():
            parameter.zero_()
        self.scale.fill_(1.0)

    def reset_buffers(self) -> None:
        self.quantiles.copy_(torch.special.ndtri((torch.arange(200.0) + 0.5) / 200))

    def statistics(self) -> tuple[Tensor, Tensor]:
        proxy = (1 + self.proxy_scale)[:, None] * self.quantiles + self.proxy_shift[:, None]
        acted = self.activation(self.scale[:, None] * proxy + self.shift[:, None])
        return acted.mean(1)[:, None, None], (acted.var(1, unbiased=False) + 0.03).rsqrt()[:, None, None]

    def centred(self, x: Tensor) -> Tensor:
        x = F.group_norm(x, 1, eps=1e-3) * self.scale[:, None, None]
        if self.activation is None:
            return x
        return (self.activation(x + self.shift[:, None, None]) - self.statistics()[0]).to(x.dtype)

    def gain(self) -> Tensor | None:
        return None if self.activation is None else self.statistics()[1]


@dataclass(frozen=True, kw_only=True)
class PlainProxyNorm(Norm):
    def make(self, width: int, activation: Activation | None) -> NormUnit:
        return PlainUnit(width, None if activation is None else activation.make(width))


NORMS = {
    "group": GroupNorm(groups=1, eps=1e-3),
    "again": GroupNorm(groups=1, eps=1e-3),
    "proxy": ProxyNorm(eps=1e-3),
    "plain": PlainProxyNorm(),
}


def stepper(norm: Norm, size: int, batch: int, plan: Plan) -> Callable[[], None]:
    network = plan.place(replace(G16, norm=norm, resolution=size).build()).train()
    images = torch.randint(0, 256, (batch, 3, size, size), dtype=torch.uint8).to(memory_format=plan.torch_memory_format)
    labels = torch.randint(0, 1000, (batch,))
    optimizer = torch.optim.SGD(network.parameters(), lr=1e-4, momentum=0.9)

    def train() -> None:
        with plan.arithmetic():
            loss = F.cross_entropy(network(images).float(), labels)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    return train


def rounds(
    steps: dict[str, Callable[[], None]], seconds: float, least: int, clock: Callable[[], float]
) -> dict[str, list[float]]:
    for step in steps.values():
        step()
        step()
    times: dict[str, list[float]] = {name: [] for name in steps}
    began = time.monotonic()
    while len(times["group"]) < least or time.monotonic() - began < seconds:
        for name in random.sample(list(steps), len(steps)):
            start = clock()
            steps[name]()
            times[name].append(clock() - start)
    return times


def ratio(slow: list[float], fast: list[float]) -> tuple[float, float, float]:
    """Ratio of medians with its 95 % bootstrap interval over rounds."""
    a, b = np.array(slow), np.array(fast)
    drawn = np.random.default_rng(0).integers(0, len(a), (2000, len(a)))
    low, high = np.quantile(np.median(a[drawn], axis=1) / np.median(b[drawn], axis=1), (0.025, 0.975))
    return statistics.median(slow) / statistics.median(fast), float(low), float(high)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", nargs="+", default=["96x32", "224x16", "96x2", "224x2"], help="pixels x images a step")
    parser.add_argument("--precisions", nargs="+", default=["float32", "bfloat16"], choices=["float32", "bfloat16"])
    parser.add_argument("--norms", nargs="+", default=["again", "proxy", "plain"], choices=["again", "proxy", "plain"])
    parser.add_argument("--threads", type=int, default=0, help="of the process; default: torch's choice")
    parser.add_argument("--clock", default="wall", choices=CLOCKS)
    parser.add_argument("--seconds", type=float, default=60.0, help="for each row, warm-up not counted")
    parser.add_argument("--least", type=int, default=15, help="rounds of each row, at least")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    torch.manual_seed(0)
    random.seed(0)
    if options.threads:
        torch.set_num_threads(options.threads)
    keep_freed_memory()
    if not options.json:
        here = machine()
        print(
            f"{here['cpu']}, {here['cores']} cores, {here['threads']} threads, torch {torch.__version__}, {options.clock} time"
        )
        header = "".join(f" {name + ' / group':>22}" for name in options.norms)
        print(f"{'precision':<9} {'pixels':>6} {'batch':>5} {'n':>4} {'group ms':>9}{header}")
    rows = []
    for precision in options.precisions:
        for size, batch in (map(int, row.split("x")) for row in options.rows):
            plan = Plan(precision=precision)
            steps = {name: stepper(NORMS[name], size, batch, plan) for name in ("group", *options.norms)}
            times = rounds(steps, options.seconds, options.least, CLOCKS[options.clock])
            row = {
                "precision": precision,
                "size": size,
                "batch": batch,
                "n": len(times["group"]),
                "group_ms": 1000 * statistics.median(times["group"]),
                "over_group": {name: ratio(times[name], times["group"]) for name in options.norms},
            }
            rows.append(row)
            if not options.json:
                ratios = "".join(
                    " {:>22}".format("{:.3f} [{:.3f}, {:.3f}]".format(*row["over_group"][n])) for n in options.norms
                )
                print(f"{precision:<9} {size:>6} {batch:>5} {row['n']:>4} {row['group_ms']:>9.1f}{ratios}", flush=True)
    if options.json:
        print(json.dumps({"machine": machine(), "clock": options.clock, "rows": rows}, indent=2))


if __name__ == "__main__":
    main()
