"""Fine-tuning of the last stages from a linear classifier: how long, how fast, how regularised, how far from the beginning.

    python benchmarks/folder_sets.py sets
    python benchmarks/late_stages.py sets/clipart --size 160 --views 2 --epochs 1.5 3

Each line is one training on 70 % of the training pictures, from feature maps that are computed once, judged on the other 30 %
and on the validation pictures ("held out / val", top-1 in percent): the trained weights, and mixtures with those that it began
with, by their share. `full` is the recipe `finetune`, `brief` what `paretina train` makes of it for a few epochs
(`paretina.search.auto.brief`). One seed; the constants of `paretina.search.auto` were chosen with it, on development sets.
"""

import argparse
import time
from dataclasses import replace

from paretina.measure.process import spin_briefly

spin_briefly()  # before torch is imported

import torch

from paretina import verbs
from paretina.data.sampler import Epochs
from paretina.data.split import held_out
from paretina.measure.evaluate import Evaluation
from paretina.measure.plan import Plan, machine
from paretina.measure.process import process_settings
from paretina.search.auto import LATE_STRIDE, brief, with_rate
from paretina.train.pilot import SHARE, answers, right, trained
from paretina.train.probe import fit_probe
from paretina.train.ranks import Ranks
from paretina.train.remembered import maps_kept
from paretina.train.resolve import make_job, prepare, remembered_of

INITIAL = (1.0, 0.75, 0.5, 0.25, 0.0)
"""Shares of the weights that a training began with; 1 is the linear classifier."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data")
    parser.add_argument("--model", default="efficientnet_lite0")
    parser.add_argument("--size", type=int, default=160)
    parser.add_argument("--views", type=int, default=2)
    parser.add_argument("--epochs", type=float, nargs="+", default=[1.5, 3.0])
    parser.add_argument("--lr", type=float, nargs="+", default=[1e-3])
    arguments = parser.parse_args()
    fields = {
        "size": arguments.size,
        "model.resolution": arguments.size,
        "start.head": "probe",
        "start.probe_size": arguments.size,
        "learning.frozen_stride": LATE_STRIDE,
        "learning.freeze_norm_statistics": "true",
        "learning.remembered_views": arguments.views,
    }
    choice = verbs.ask(arguments.data, arguments.model, "finetune", device="cpu", fields=fields)
    prepared = prepare(choice.asked)
    with process_settings(), maps_kept():
        run(prepared, arguments)


def run(prepared, arguments) -> None:
    maps = remembered_of(prepared, Ranks())
    network = make_job(prepared, Ranks()).learner.result().eval()
    labels = maps.targets.argmax(1)
    names = [sample.name for sample in prepared.train.samples]
    out = held_out(names, labels.tolist(), SHARE)
    kept = torch.tensor([number for number, name in enumerate(names) if name not in out])
    held = torch.tensor([number for number, name in enumerate(names) if name in out])
    features = maps.features(network, network.entry)
    probe = fit_probe(features[kept], labels[kept], len(prepared.collection.classes))
    start = make_job(prepared, Ranks(), probe.give).learner.result().state_dict()
    model = prepared.model
    evaluation = Evaluation(prepared.val, model.preprocessing, model.resolution, model.classes, Plan(device="cpu"))
    print(machine().get("cpu", ""), f"{len(kept)} to train on, {len(held)} held out, {len(prepared.val)} val", sep=", ")
    print(
        f"{'recipe':8} {'lr':>8} {'epochs':>6} {'updates':>7}  " + "  ".join(f"{share:>11g}" for share in INITIAL) + "  seconds"
    )
    plain = replace(brief(prepared.recipe), average=None)
    for name, recipe in (("brief", plain), ("full", prepared.recipe)):
        for lr in arguments.lr:
            for count in arguments.epochs:
                epochs = Epochs(len(kept), min(recipe.batch_size, len(kept)), count, recipe.seed)
                began = time.monotonic()
                network, _ = trained(prepared, with_rate(recipe, lr), maps, kept, probe, epochs, epochs.updates)
                spent, end, found = time.monotonic() - began, network.state_dict(), []
                end = {key: value.clone() for key, value in end.items()}
                for share in INITIAL:
                    network.load_state_dict(
                        {k: torch.lerp(v, start[k], share) if v.is_floating_point() else v for k, v in end.items()}
                    )
                    ours = right(answers(network, maps.maps[0][held]), labels[held]).float().mean().item()
                    entry, network.entry = network.entry, 0
                    found.append(f"{100 * ours:5.1f}/{evaluation.tally(network).quick()['top1']:5.1f}")
                    network.entry = entry
                print(f"{name:8} {lr:8g} {count:6g} {epochs.updates:7}  {'  '.join(found)}  {spent:7.1f}", flush=True)


if __name__ == "__main__":
    main()
