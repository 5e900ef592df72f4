"""Our tuned plans against timm's default way of running (contiguous, float32, eager), in inference and in training.

    python benchmarks/tuned.py                                 # six networks, 224 pixels, batch 32, training 16
    python benchmarks/tuned.py --tune full                     # compiles too

For each network a plan is looked for as `paretina measure --tune` does, without its cache. Then our network under that plan and
timm's own network as timm runs it are timed in turn in one process, timm's twice as a control: the ratio of the two says how
far from 1 noise alone can be. Ratios are of medians, timm's time over ours, above 1 where ours is faster, with a 95 % interval
by a bootstrap over rounds. The aim is a median over the networks of 2 in inference and 1.5 in training.

Ours takes uint8 pixels and normalises them inside; timm's gets normalised floats. Random weights say nothing about answers:
plans below float32 are timed here without being judged, and `--float32` leaves them out.
"""

import argparse
import json
import statistics
from typing import Any

from paretina.measure.process import spin_briefly

spin_briefly()  # before torch is imported

import timm
import torch
import torch.nn.functional as F

from paretina.measure import tune
from paretina.measure.choose_plan import Plans, settle
from paretina.measure.machine import Device, Others
from paretina.measure.opened import Opened, Steps, open_model
from paretina.measure.plan import Plan
from paretina.measure.process import keep_freed_memory
from paretina.measure.statistics import Interval
from paretina.measure.timing import Step, Turns, ratio
from paretina.measure.tune import brief
from paretina.model.family import network_named
from paretina.model.fold import fold

NETWORKS = ("efficientnet_b0", "efficientnetv2_s", "resnet50", "levit_256", "convnext_tiny", "ghostnet_100")


def theirs(name: str, size: int, batch: int, training: bool) -> Step:
    """timm's network of that name, as timm runs it when nothing is said."""
    peer = next(peer.name for peer in network_named(name).peers if peer.library == "timm")
    sized = {"img_size": size} if peer.startswith(("vit", "deit", "levit")) else {}
    network = timm.create_model(peer, pretrained=False, **sized).train(training)
    images, labels = torch.randn(batch, 3, size, size), torch.arange(batch)
    optimizer = torch.optim.SGD(network.parameters(), lr=1e-5, momentum=0.9)

    def train() -> None:
        found = network(images)
        # a network that is distilled answers twice while it learns
        losses = [F.cross_entropy(each, labels) for each in (found if isinstance(found, tuple) else (found,))]
        torch.stack(losses).mean().backward()
        optimizer.step()
        optimizer.zero_grad()

    def infer() -> None:
        with torch.inference_mode():
            network(images)

    return train if training else infer


def compared(opened: Opened, plans: Plans, steps: Steps, batch: int, training: bool, seconds: float) -> dict[str, Any]:
    plan: Plan = plans.training if training else plans.inference
    ours = (steps.train if training else steps.infer)(plan)(batch)
    other, again = (theirs(opened.name, opened.resolution, batch, training) for _ in range(2))
    device = Device.here("cpu")
    watch = Others()

    def with_threads(step: Step) -> Step:
        def run() -> None:
            if torch.get_num_threads() != device.threads:
                torch.set_num_threads(device.threads)
            step()

        return run

    found = Turns(seconds=seconds).run({"ours": ours, "timm": with_threads(other), "again": with_threads(again)})
    torch.set_num_threads(device.threads)
    used = watch.used()
    return {
        "network": opened.name,
        "what": "training" if training else "inference",
        "batch": batch,
        "plan": plan.to_json(),
        "in_words": brief(plan),
        "rounds": len(found["ours"].rounds),
        "ours_ms": found["ours"].p50.value,
        "timm_over_ours": ratio(found["timm"], found["ours"]),
        "timm_over_timm": ratio(found["timm"], found["again"]),
        "disturbed": watch.disturbed(used),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", nargs="+", default=list(NETWORKS))
    parser.add_argument("--resolution", type=int, default=224)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--training-batch", type=int, default=16)
    parser.add_argument("--tune", default="eager", choices=["eager", "full"])
    parser.add_argument("--float32", action="store_true", help="no plans below float32")
    parser.add_argument("--seconds", type=float, default=40.0, help="of each comparison")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    keep_freed_memory()  # belongs to what we do by default; it helps timm too, since it is one process
    here = Device.here("cpu")
    if options.float32:
        tune.low_precisions = lambda device: ()
    rows: list[dict[str, Any]] = []
    if not options.json:
        print(f"{here.name}, {here.cores} cores, {here.threads} threads, torch {here.torch}, timm {timm.__version__}")
        print(f"{'network':<18} {'what':<9} {'batch':>5} {'n':>3} {'ours ms':>8} {'timm/ours':>22} {'timm/timm':>22}  plan")
    for name in options.networks:
        opened = open_model(name, options.resolution)
        steps = Steps(opened, fold, "cpu", here.threads)
        settings: dict[str, Any] = {"batch": options.batch, "training_batch": options.training_batch}
        plans = settle(steps, here, options.tune, use_cache=False, low=not options.float32, **settings)
        for training, batch in ((False, options.batch), (True, options.training_batch)):
            row = compared(opened, plans, steps, batch, training, options.seconds)
            rows.append(row)
            if not options.json:
                print(line(row), flush=True)
    medians = {
        what: statistics.median(row["timm_over_ours"].value for row in rows if row["what"] == what)
        for what in ("inference", "training")
    }
    if options.json:
        print(json.dumps({"device": here.to_dict(), "rows": rows, "medians": medians}, indent=2))
    else:
        print(f"median ratio: inference {medians['inference']:.2f}, training {medians['training']:.2f}")


def line(row: dict[str, Any]) -> str:
    def cell(interval: Interval) -> str:
        return f"{interval.value:.2f} [{interval.low:.2f}, {interval.high:.2f}]"

    return (
        f"{row['network']:<18} {row['what']:<9} {row['batch']:>5} {row['rounds']:>3} {row['ours_ms']:>8.1f} "
        f"{cell(row['timm_over_ours']):>22} {cell(row['timm_over_timm']):>22}  {row['in_words']}"
        + (" (disturbed)" if row["disturbed"] else "")
    )


if __name__ == "__main__":
    main()
