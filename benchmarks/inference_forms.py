"""Inference: LeViT against EfficientNet of equal accuracy, and networks in inference form against themselves.

    python benchmarks/inference_forms.py levit      # LeViT-192 (80.0 %) against EfficientNet-B1 (79.1) and -B2 (80.1)
    python benchmarks/inference_forms.py folded     # norms folded and biases cached, against the network as it is trained

Each network runs at its own resolution, in float32 with contiguous maps, in float32 with channels_last, and in bfloat16 with
channels_last. Every round runs each candidate once, in a random order, so that a drift of the machine hits all alike; the
network of reference runs twice, and the ratio of the two is the control. Ratios are medians of times, with a bootstrap interval
over rounds.
"""

import argparse
import random
import statistics

from paretina.measure.process import spin_briefly

spin_briefly()  # before torch is imported

import torch
from against_timm import ratio, rounds, stepper

from paretina.measure.plan import Plan, machine
from paretina.model.build import Network
from paretina.model.family import network_named
from paretina.model.fold import fold

PLANS = {
    "contiguous float32": Plan(memory_format="contiguous"),
    "channels_last float32": Plan(),
    "channels_last bfloat16": Plan(precision="bfloat16"),
}
FOLDED = ("levit_192", "levit_256", "convnext_tiny", "efficientnet_b0", "resnet50", "mobilenet_v2")


def network(name: str) -> Network:
    torch.manual_seed(0)
    return network_named(name).blueprint.build().eval()


def images_for(name: str, batch: int) -> torch.Tensor:
    side = network_named(name).blueprint.resolution
    return torch.randint(0, 256, (batch, 3, side, side), dtype=torch.uint8)


def show(label: str, plan: str, batch: int, times: dict[str, list[float]], reference: str) -> None:
    control = ratio(times[reference], times["again"])
    for name, found in times.items():
        if name == "again":
            continue
        value, low, high = ratio(times[reference], found)
        print(
            f"{label:<16} {plan:<24} {batch:>5} {name:<18} {1000 * statistics.median(found) / batch:>9.2f} "
            f"{value:>7.2f} [{low:.2f}, {high:.2f}]   {control[0]:.2f} [{control[1]:.2f}, {control[2]:.2f}]",
            flush=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["levit", "folded"])
    parser.add_argument("--batches", nargs="+", type=int, default=[1, 16])
    parser.add_argument("--seconds", type=float, default=10.0, help="for each group of rows")
    parser.add_argument("--least", type=int, default=9)
    options = parser.parse_args()
    random.seed(0)
    here = machine()
    print(f"{here['cpu']}, {here['cores']} cores, torch {torch.__version__}")
    print(f"{'group':<16} {'plan':<24} {'batch':>5} {'network':<18} {'ms/image':>9} {'times as fast':>20} {'control':>20}")
    for plan_name, plan in PLANS.items():
        for batch in options.batches:
            if options.what == "levit":
                names = ("efficientnet_b2", "efficientnet_b1", "levit_192")
                nets = {name: network(name) for name in names} | {"levit_192 folded": fold(network("levit_192"))}
                inputs = {name: images_for(name.split()[0], batch) for name in nets}
                steps = {name: stepper(net, inputs[name], torch.empty(0), False, plan) for name, net in nets.items()}
                steps["again"] = stepper(network("efficientnet_b2"), inputs["efficientnet_b2"], torch.empty(0), False, plan)
                show("levit", plan_name, batch, rounds(steps, options.seconds, options.least, "again"), "efficientnet_b2")
                continue
            for name in FOLDED:
                images = images_for(name, batch)
                plain, folded = network(name), fold(network(name))
                with torch.inference_mode():
                    wanted, got = plain(images[:1]), folded(images[:1])
                assert (got - wanted).abs().max() <= 1e-4 * wanted.abs().max(), name
                nets = {"as trained": plain, "folded": folded, "again": network(name)}
                steps = {label: stepper(net, images, torch.empty(0), False, plan) for label, net in nets.items()}
                show(name, plan_name, batch, rounds(steps, options.seconds, options.least, "again"), "as trained")


if __name__ == "__main__":
    main()
