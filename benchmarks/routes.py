"""A network that chooses its image size, against its controls: accuracy, multiply-adds, and pictures a second as measured.

    python benchmarks/folder_sets.py sets fashion2k
    python benchmarks/routes.py routes.jsonl --sets sets
    python benchmarks/routes.py routes.jsonl --sets sets --report

Arms, each with the same number of passes over the training pictures in all (those of both stages together):

- `routed 0.6` and so on: both stages, with that share of the cost at the largest size as the target;
- `random 0.6`: the same, with sizes drawn by odds that meet the target; judged by the mean over all draws at the odds;
- `fixed 20` and so on: the plain network at one size.

From each routed network come two more rows: sizes by chance, as often as it takes them, and the oracle, which takes the
cheapest size that is right. Pictures a second are those of `--pictures` test pictures in inference form at batch 1 and 32, one
thread: all of them once through each network in turn, `--rounds` times, in an order that is drawn; the median over rounds.

The network is `resnet8_w16_s2` (78,000 parameters) or another one of `--model`; Fashion-MNIST, 2,000 training pictures, all
10,000 test pictures; flips, AdamW 1e-2 and weight decay 0.05, a tenth of warm-up, cosine, no smoothing, no average, one thread.
Each line of the results file is one training; what is there is not run again.
"""

import argparse
import json
import random
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from paretina.measure.process import spin_briefly

spin_briefly()  # before torch is imported

import torch
from torch import Tensor

from paretina import verbs
from paretina.data.pictures import read_pictures
from paretina.data.preprocess import preprocess
from paretina.data.sources.folder import Folder
from paretina.measure.cost import cost
from paretina.measure.evaluate import Evaluation
from paretina.measure.plan import Plan, machine
from paretina.measure.routes import TurnsOfSizes, answers_at_sizes
from paretina.measure.statistics import mean_interval
from paretina.model.assemblies.route import Router
from paretina.model.build import Network
from paretina.model.fold import fastest_form
from paretina.model.weights import load_model
from paretina.run import Run
from paretina.train.objectives.routing import costs_of, odds_for
from paretina.train.routes import FIRST_STAGE

Row = dict[str, Any]


def arms(options: argparse.Namespace) -> Iterator[Row]:
    for target in options.targets:
        yield {"arm": f"routed {target:g}", "target": target}
    for target in options.targets:
        yield {"arm": f"random {target:g}", "target": target, "chooser": "random"}
    for size in options.sizes:
        yield {"arm": f"fixed {size}", "size": size}


def fields_of(options: argparse.Namespace, seed: int, epochs: float) -> Row:
    warm = {"kind": "Warmup", "epochs": epochs / 10, "then": {"kind": "Cosine", "start": 1e-2}}
    transforms = [{"kind": "Squash"}, {"kind": "HorizontalFlip"}]
    fields = {"batch_size": 64, "threads": 1, "workers": 0, "epochs": epochs, "seed": seed, "test.every": 1e6, "lr": warm}
    return {**fields, "optimizer.weight_decay": 0.05, "transforms": transforms}


def trained(options: argparse.Namespace, work: Path, arm: Row, seed: int) -> Path:
    """The run directory of an arm, trained or resumed."""
    data = Folder(path=str(options.sets / "fashion2k"))
    place = work / f"{arm['arm'].replace(' ', '-')}-{seed}"
    if "size" in arm:
        fields = fields_of(options, seed, options.epochs * (1 + FIRST_STAGE)) | {"model.resolution": arm["size"]}
        choice = verbs.ask(data, options.model, "plain", "none", "cpu", fields=fields)
        if (place / "asked.json").exists():
            verbs.resume(place)
        else:
            verbs.start(choice, place)
        return place
    sizes = ",".join(map(str, options.sizes))
    fields = fields_of(options, seed, options.epochs)
    fields |= {"objective.weight": options.weight, "objective.temperature": options.temperature}
    fields |= {"objective.chooser": arm.get("chooser", "predictor")}
    if place.exists():
        verbs.continue_routed(place)
    else:
        named = {name.replace(".", "__"): value for name, value in fields.items()}
        verbs.train(
            data, options.model, "plain", "none", "cpu", place, routes=sizes, budget=f"macs={arm['target']!r}x", **named
        )
    return place


def judged(options: argparse.Namespace, arm: Row, place: Path) -> Row:
    """Accuracy and multiply-adds on all test pictures, and what the controls give."""
    source = Folder(path=str(options.sets / "fashion2k"))
    if "size" in arm:
        return {"top1": Run(place).result()["metrics"]["val/top1"], "macs": Run(place).result()["cost"]["macs"]}
    network = load_model(place / "model.safetensors")[0]
    if arm.get("chooser") == "random":
        odds = odds_for(costs_of(network.model, "macs"), arm["target"])
        collection = source.open()
        pictures = read_pictures(collection, collection.split("val"))
        model = network.model
        answers, ids = answers_at_sizes(
            network, Evaluation(pictures, model.preprocessing, model.resolution, model.classes, Plan(device="cpu"))
        )
        right = (answers.argmax(2) == torch.tensor(pictures.labels())[ids]).double().mean(1)
        each = torch.tensor([route.macs for route in cost(model).routes], dtype=torch.float64)
        shares = torch.tensor(odds, dtype=torch.float64)
        return {"top1": 100 * float(right @ shares), "macs": float(each @ shares), "shares": odds}
    choices = verbs.evaluate(place, source, device="cpu", routes=True).choices.to_dict()["choices"]
    own = choices[0]
    found = {"top1": own["top1"], "macs": own["macs"], "shares": own["shares"]}
    return found | {"controls": {each["name"]: [each["top1"], each["macs"]] for each in choices[1:]}}


# --- pictures a second ----------------------------------------------------------------------------------------------------


def pixels(options: argparse.Namespace, network: Network) -> Tensor:
    """Test pictures as a network gets them, spread over the split."""
    collection = Folder(path=str(options.sets / "fashion2k")).open()
    samples = collection.split("val")
    chosen = samples[:: max(1, len(samples) // options.pictures)][: options.pictures]
    model = network.model
    return torch.stack([preprocess(collection.image(each), model.preprocessing, model.resolution) for each in chosen])


def timed(options: argparse.Namespace, places: dict[str, tuple[Row, Path]]) -> dict[str, Row]:
    """Pictures a second of each network at each batch size, all in turn."""
    ready: dict[str, tuple[Network, Tensor]] = {}
    for name, (arm, place) in places.items():
        network = load_model(place / "model.safetensors")[0]
        images = pixels(options, network)
        form = fastest_form(network)
        if isinstance(form, Router) and arm.get("chooser") == "random":
            form.draw = TurnsOfSizes(odds_for(costs_of(network.model, "macs"), arm["target"]))
        ready[name] = (form, images)
    paces: dict[str, dict[int, list[float]]] = {name: {batch: [] for batch in options.batches} for name in ready}
    order = random.Random(0)
    for number in range(options.rounds + 1):
        for name, batch in order.sample(
            [(name, batch) for name in ready for batch in options.batches], len(ready) * len(options.batches)
        ):
            form, images = ready[name]
            began = time.perf_counter()
            with torch.inference_mode():
                for part in images.split(batch):
                    form(part)
            if number:  # the first round warms up
                paces[name][batch].append(len(images) / (time.perf_counter() - began))
    return {name: {f"img_s_{batch}": statistics.median(found) for batch, found in each.items()} for name, each in paces.items()}


# --- the report -----------------------------------------------------------------------------------------------------------


def reported(rows: list[Row], options: argparse.Namespace) -> None:
    paces = [f"img_s_{batch}" for batch in options.batches]
    print(f"\n| | top-1 % | M MACs | {' | '.join(f'pictures/s, batch {batch}' for batch in options.batches)} | sizes % |")
    print("|---|---|---|" + "---|" * (len(paces) + 1))
    for name in dict.fromkeys(row["arm"] for row in rows):
        own = [row for row in rows if row["arm"] == name]
        shares = [
            f"{100 * statistics.fmean(column):.0f}" for column in zip(*(row.get("shares", ()) for row in own), strict=True)
        ]
        speed = [said([row[pace] for row in own if pace in row], ",.0f") for pace in paces]
        line(name, [row["top1"] for row in own], [row["macs"] for row in own], speed, shares)
        for control in own[0].get("controls", {}):
            if control.startswith("always"):
                continue
            found = [row["controls"][control] for row in own]
            line(f"- {control}", [top1 for top1, _ in found], [macs for _, macs in found], ["" for _ in paces], [])
    compared(rows, options)


def line(name: str, tops: list[float], macs: list[float], speed: list[str], shares: list[str]) -> None:
    print(
        f"| {name} | {said(tops)} | {said([each / 1e6 for each in macs], '.3f')} | {' | '.join(speed)} | {' '.join(shares)} |"
    )


def compared(rows: list[Row], options: argparse.Namespace) -> None:
    """The gain of each target over chance and over the best fixed size that costs no more, seed by seed."""
    by: dict[str, dict[int, Row]] = {}
    for row in rows:
        by.setdefault(row["arm"], {})[row["seed"]] = row
    for target in options.targets:
        own, chance = by.get(f"routed {target:g}", {}), by.get(f"random {target:g}", {})
        if both := sorted(own.keys() & chance.keys()):
            gains = [own[seed]["top1"] - chance[seed]["top1"] for seed in both]
            print(f"\nrouted {target:g} over random {target:g}: {said(gains, '+.2f')} points")
        fixed = [each for name, each in by.items() if name.startswith("fixed")]
        for what, fits in (
            ("MACs", lambda one, other: other["macs"] <= 1.02 * one["macs"]),
            *((f"time at batch {batch}", faster(f"img_s_{batch}")) for batch in options.batches),
        ):
            gains = []
            for seed, one in own.items():
                rivals = [each[seed]["top1"] for each in fixed if seed in each and fits(one, each[seed])]
                gains += [one["top1"] - max(rivals)] if rivals else []
            text = f"{said(gains, '+.2f')} points" if gains else "no fixed size is as cheap"
            print(f"routed {target:g} over the best fixed size of no more {what}: {text}")


def faster(pace: str) -> Callable[[Row, Row], bool]:
    return lambda one, other: other.get(pace, 0.0) >= 0.98 * one.get(pace, float("inf"))


def said(values: list[float], form: str = ".2f") -> str:
    if len(values) < 2:
        return f"{values[0]:{form}} (1)" if values else "-"
    mean, low, high = mean_interval(values)
    return f"{mean:{form}} [{low:{form}}, {high:{form}}] ({len(values)})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("found", type=Path, help="file of results, one JSON document a line")
    parser.add_argument("--sets", type=Path, default=Path("sets"), help="folder that folder_sets.py wrote")
    parser.add_argument("--model", default="resnet8_w16_s2")
    parser.add_argument("--sizes", type=int, nargs="+", default=[14, 20, 28])
    parser.add_argument("--targets", type=float, nargs="+", default=[0.5, 0.65, 0.8])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=float, default=24.0, help="of the second stage; the first has 0.7 of them")
    parser.add_argument("--weight", type=float, default=0.2, help="of the cost loss")
    parser.add_argument("--temperature", type=float, default=1.0)
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 32])
    parser.add_argument("--pictures", type=int, default=1024, help="that are timed")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--report", action="store_true", help="train nothing")
    options = parser.parse_args()
    torch.set_num_threads(1)
    work = options.found.with_suffix("")
    rows = [json.loads(text) for text in options.found.read_text().splitlines()] if options.found.exists() else []
    if not options.report:
        work.mkdir(parents=True, exist_ok=True)
        for seed in range(options.seeds):
            due = [arm for arm in arms(options) if not any((row["arm"], row["seed"]) == (arm["arm"], seed) for row in rows)]
            places = {arm["arm"]: (arm, trained(options, work, arm, seed)) for arm in due}
            speeds = timed(options, places) if places else {}
            for name, (arm, place) in places.items():
                found = {"arm": name, "seed": seed, **judged(options, arm, place), **speeds[name]}
                rows.append(found)
                with options.found.open("a") as file:
                    file.write(json.dumps(found) + "\n")
                print(found, flush=True)
    here = machine()
    print(f"{here['cpu']}, {here['cores']} cores, torch {here['torch']}")
    reported(rows, options)


if __name__ == "__main__":
    main()
