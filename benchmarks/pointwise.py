"""1x1 convolutions on a CPU as a matrix product over places, against torch's convolution, both in channels_last.

    python benchmarks/pointwise.py

`paretina.model.layers.as_product` decides by these figures. Each row is a layer of one of our networks; the two ways run in
turn, and the ratio of medians is the convolution's time over the product's, above 1 where the product is faster, without
gradients and with forward and backward pass; 95 % intervals by a bootstrap over rounds.
"""

import argparse
import time
from collections.abc import Callable

from paretina.measure.process import spin_briefly

spin_briefly()  # before torch is imported

import numpy as np
import torch
import torch.nn.functional as F

from paretina.measure.plan import machine
from paretina.measure.process import keep_freed_memory

LAYERS = (  # images, side, channels in and out
    (1, 56, 24, 144),
    (1, 28, 144, 40),
    (1, 14, 672, 112),
    (1, 7, 1152, 192),
    (1, 14, 1024, 256),
    (16, 2, 512, 1024),
    (16, 3, 768, 384),
    (16, 6, 256, 768),
    (16, 6, 672, 192),
    (16, 12, 240, 40),
    (16, 24, 144, 24),
    (16, 14, 256, 768),
    (16, 14, 512, 256),
    (4, 56, 144, 24),
)


def ratio(slow: Callable[[], object], fast: Callable[[], object], rounds: int) -> tuple[float, float, float]:
    """Median time of the first over that of the second, with its interval."""
    for call in (slow, fast, slow, fast):
        call()
    samples = []
    for _ in range(rounds):
        stamps = [time.perf_counter()]
        for call in (slow, fast):
            call()
            stamps.append(time.perf_counter())
        samples.append(np.diff(stamps))
    times = np.array(samples)
    drawn = np.median(times[np.random.default_rng(0).integers(0, rounds, (2000, rounds))], axis=1)
    low, high = np.quantile(drawn[:, 0] / drawn[:, 1], [0.025, 0.975])
    slow_s, fast_s = np.median(times, axis=0)
    return float(slow_s / fast_s), float(low), float(high)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=31)
    options = parser.parse_args()
    keep_freed_memory()
    here = machine()
    print(f"{here['cpu']}, {here['cores']} cores, {here['threads']} threads, torch {here['torch']}; {options.rounds} rounds")
    print(f"{'precision':<10}{'images':>7}{'side':>5}{'in':>6}{'out':>6}{'inference':>24}{'training':>24}")
    for precision in (torch.float32, torch.bfloat16):
        for images, side, width_in, width_out in LAYERS:
            x = torch.randn(images, width_in, side, side, dtype=precision).to(memory_format=torch.channels_last)
            weight = torch.randn(width_out, width_in, 1, 1, dtype=precision) / width_in**0.5
            weight = weight.to(memory_format=torch.channels_last)

            def convolution(x: torch.Tensor = x, weight: torch.Tensor = weight) -> torch.Tensor:
                return F.conv2d(x, weight)

            def product(x: torch.Tensor = x, weight: torch.Tensor = weight) -> torch.Tensor:
                places = x.permute(0, 2, 3, 1)
                out = F.linear(places.reshape(-1, x.shape[1]), weight.flatten(1))
                return out.view(*places.shape[:3], -1).permute(0, 3, 1, 2)

            below = ratio(convolution, product, options.rounds)
            gradient = torch.randn_like(convolution())
            learned = (x.clone().requires_grad_(), weight.clone().requires_grad_())

            def learns(way: Callable[..., torch.Tensor], learned: tuple = learned, gradient: torch.Tensor = gradient) -> object:
                return torch.autograd.grad(way(*learned), learned, gradient)

            both = ratio(lambda: learns(convolution), lambda: learns(product), options.rounds)
            texts = [f"{value:.2f} [{low:.2f}, {high:.2f}]" for value, low, high in (below, both)]
            name = str(precision).removeprefix("torch.")
            print(f"{name:<10}{images:>7}{side:>5}{width_in:>6}{width_out:>6}{texts[0]:>24}{texts[1]:>24}", flush=True)


if __name__ == "__main__":
    main()
