"""Fewer tokens: merging them without training, and predictors that drop them, against the network with all of them.

    python benchmarks/folder_sets.py sets fashion2k fashion20k
    python benchmarks/tokens.py tokens.jsonl --sets sets --seeds 3           # accuracy; resumes
    python benchmarks/tokens.py tokens.jsonl --time                         # images per second, on a quiet machine
    python benchmarks/tokens.py tokens.jsonl --time --shipped onnx          # as shipped files, in turn with the eager network
    python benchmarks/tokens.py tokens.jsonl --report

The network is a ViT of 6 blocks of width 96 on 64 tokens (680,000 parameters, patches of 8 x 8 of 64 pixels), trained for
`--epochs` on 2,000 pictures of Fashion-MNIST, judged on the 10,000 test pictures. Each share of `DroppedTokens` is trained for
a third as long from these weights, with the network itself as the teacher, and judged with as many tokens drawn by chance too;
the control is the network with all tokens, trained for as long from the same weights in the same way. `MergedTokens` is not
trained. What is compared is accuracy at equal images
per second, at batches of 1 and of 32, in turn in one process; DeiT-Ti, DeiT-S and ConvNeXt-T with `TwoPaths` are timed with
weights drawn at random. Shipped files are timed from pixels of the network's own size, in their own runtimes, beside the
network with all tokens in torch.
"""

import argparse
import json
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

from paretina.measure.process import spin_briefly

spin_briefly()  # before torch is imported

import torch

from paretina import verbs
from paretina.data.sources.apart import Apart
from paretina.data.sources.folder import Folder
from paretina.data.sources.part import Part
from paretina.measure.cost import cost
from paretina.measure.machine import Device, Others
from paretina.measure.opened import Opened, Steps
from paretina.measure.plan import InferencePlan
from paretina.measure.process import keep_freed_memory
from paretina.measure.statistics import mean_interval
from paretina.measure.timing import MakeStep, Step, Turns, ratio
from paretina.model.blocks.encoder import Encoder
from paretina.model.blueprint import Blueprint
from paretina.model.edits.drop_tokens import DropTokens
from paretina.model.edits.merge_tokens import MergeTokens
from paretina.model.edits.split_paths import SplitPaths
from paretina.model.family import network_named
from paretina.model.fold import fold
from paretina.model.stems.patch import PatchStem
from paretina.model.weights import About, from_file, load_model, load_start, save_model
from paretina.model.wirings.dropped_tokens import KeepPredictor
from paretina.ship.format import Format, format_named, formats
from paretina.ship.opening import open_shipped
from paretina.ship.shipping import written

Row = dict[str, Any]

KEEP = (0.9, 0.7, 0.5)
MERGED = (2, 4, 6, 8)
WHOLE = "all tokens"
EAGER = "all tokens, in torch"


def base() -> Blueprint:
    found = network_named("deit_tiny").blueprint
    (stage,) = found.stages
    stage = replace(stage, block=Encoder(head_width=32), depth=6, width=96)
    return replace(found, resolution=64, classes=10, stem=PatchStem(width=96, patch=8), stages=(stage,))


def networks(blueprint: Blueprint, merged: tuple[int, ...]) -> dict[str, Blueprint]:
    found = {WHOLE: blueprint}
    found |= {f"merged {count}": MergeTokens(merged=count)(blueprint) for count in merged}
    return found | {f"dropped to {keep}": DropTokens(keep=keep)(blueprint) for keep in KEEP}


def trained(options: argparse.Namespace, work: Path, seed: int) -> list[Row]:
    judged = Folder(path=str(options.sets / "fashion2k"))
    data = Apart(train=Part(source=Folder(path=str(options.sets / "fashion20k")), share=0.1, seed=0), val=judged)
    shared: Row = {"batch_size": 64, "threads": 1, "workers": 0, "seed": seed, "test.every": 1e6, "average": "off"}

    def run(name: str, model: Blueprint, recipe: str, weights: str, epochs: float, lr: float, **fields: Any) -> Path:
        place = work / f"{name.replace(' ', '-')}-{seed}"
        schedule = {"kind": "Warmup", "epochs": epochs / 10, "then": {"kind": "Cosine", "start": lr}}
        given = {**shared, "epochs": epochs, "lr": schedule, **fields}
        if not (place / "result.json").exists():
            choice = verbs.ask(data, model, recipe, weights, "cpu", fields=given)
            verbs.resume(place) if (place / "asked.json").exists() else verbs.start(choice, place)
        return place / "model.safetensors"

    light = {"transforms": [{"kind": "Squash"}, {"kind": "RandomShift"}, {"kind": "HorizontalFlip"}]}
    first = run(WHOLE, base(), "plain", "none", options.epochs, 1e-3, **light)
    places = {}
    start = from_file(first)
    same = replace(base(), preprocessing=start.model.preprocessing)
    for count in MERGED:
        places[f"merged {count}"] = work / f"merged-{count}-{seed}.safetensors"
        edited = MergeTokens(merged=count)(same).build()
        load_start(edited, start)
        save_model(places[f"merged {count}"], edited, load_model(first)[1])
    longer = options.epochs / 3
    for keep in KEEP:
        name = f"dropped to {keep}"
        fields = {"teacher": str(first)}
        places[name] = run(name, DropTokens(keep=keep)(same), "token-dropping", str(first), longer, 3e-4, **fields)
    control = run("longer", same, "recover", str(first), longer, 3e-4, teacher=str(first))
    found = {WHOLE: first, "all tokens, as long": control, **places}
    rows = [{"network": name, "seed": seed, "top1": top1_of(path, judged)} for name, path in found.items()]
    torch.manual_seed(seed)
    with patch.object(KeepPredictor, "forward", by_chance):
        for keep in KEEP:
            name = f"dropped to {keep}"
            rows.append({"network": f"{name}, by chance", "seed": seed, "top1": top1_of(places[name], judged)})
    return rows


def top1_of(path: Path, judged: Folder) -> float:
    return verbs.evaluate(path, judged, device="cpu").accuracy.top1


def by_chance(predictor: KeepPredictor, x: torch.Tensor, kept: torch.Tensor) -> torch.Tensor:
    """Scores of tokens that say nothing."""
    return torch.rand(*x.shape[:2], 2).log_softmax(2)


def as_file(model: Blueprint, format: Format, folder: Path) -> MakeStep:
    """Makes the steps of a network that is shipped now, as `paretina measure` does; the files are removed."""
    about = About(classes=tuple(str(number) for number in range(model.classes)))
    with tempfile.TemporaryDirectory(dir=folder) as place:
        trained, out = Path(place) / "model.safetensors", Path(place) / f"file{format.SUFFIX}"
        save_model(trained, model.build().eval(), about)
        written(trained, format, "float32", out)
        opened = open_shipped("file", out, format)
    run = opened.run
    assert run is not None

    def make(batch: int) -> Step:
        images = opened.images(batch)
        opened.fit(images)
        return lambda: run(images)

    return make


def timed(options: argparse.Namespace) -> None:
    keep_freed_memory()
    torch.manual_seed(0)
    here = Device.here("cpu")
    print(f"{here.name}, {here.cores} cores, {here.threads} threads, torch {here.torch}")
    convnext = network_named("convnext_tiny").blueprint
    for title, models in (
        ("6 blocks of 96 channels", networks(base(), MERGED)),
        ("DeiT-Ti", networks(network_named("deit_tiny").blueprint, (8, 13, 16))),
        ("DeiT-S", networks(network_named("deit_small").blueprint, (8, 13, 16))),
        ("ConvNeXt-T", {WHOLE: convnext} | {f"long path {keep}": SplitPaths(keep=keep)(convnext) for keep in KEEP}),
    ):
        if options.only not in title:
            continue
        made = {}
        for name, model in models.items():
            opened = Opened(name, model.build().eval(), model, model.preprocessing, model.resolution, 3, False)
            if options.shipped is None:
                made[name] = Steps(opened, fold, "cpu", here.threads).infer(InferencePlan(fold=True))
            else:
                if name == WHOLE:
                    made[EAGER] = Steps(opened, fold, "cpu", here.threads).infer(InferencePlan(fold=True))
                made[name] = as_file(model, format_named(options.shipped), options.found.parent)
        for batch in options.batches:
            watch = Others()
            found = Turns(seconds=options.seconds).run({name: make(batch) for name, make in made.items()})
            used = watch.used()
            print(
                f"\n{title}, batch {batch}, n = {len(found[WHOLE].rounds)}" + (", DISTURBED" if watch.disturbed(used) else "")
            )
            for name, series in found.items():
                value, low, high = ratio(found[WHOLE], series)
                speed = 1000 * batch / series.p50.value
                macs = cost(models[WHOLE if name == EAGER else name]).macs / 1e6
                print(f"{name:<20}{macs:>9.1f} MMACs {speed:>9.1f} img/s  {value:.2f} [{low:.2f}, {high:.2f}]", flush=True)


def reported(rows: list[Row]) -> None:
    scores = {
        name: {row["seed"]: row["top1"] for row in rows if row["network"] == name}
        for name in {row["network"]: 0 for row in rows}
    }
    print("| | top-1 % of each seed | less than all tokens, paired |\n|---|---|---|")
    for name, found in scores.items():
        gaps = [value - scores[WHOLE][seed] for seed, value in found.items()]
        between = ""
        if name != WHOLE and len(gaps) > 1:
            mean, low, high = mean_interval(gaps)
            between = f"{mean:+.2f} [{low:+.2f}, {high:+.2f}]"
        print(f"| {name} | {', '.join(f'{value:.2f}' for value in found.values())} | {between} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("found", type=Path, help="file of results, one JSON document a line")
    parser.add_argument("--sets", type=Path, default=Path("sets"), help="folder that folder_sets.py wrote")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=float, default=30.0)
    parser.add_argument("--time", action="store_true", help="train nothing; time")
    parser.add_argument("--seconds", type=float, default=20.0, help="that each group of networks is timed for")
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 32], help="of --time")
    parser.add_argument("--shipped", choices=list(formats()), help="time the networks as files of this format")
    parser.add_argument("--only", default="", help="time the networks that have this in their name")
    parser.add_argument("--report", action="store_true", help="train nothing; print what was found")
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.time:
        timed(options)
        return
    rows = [json.loads(line) for line in options.found.read_text().splitlines()] if options.found.exists() else []
    work = options.found.with_suffix("")
    work.mkdir(parents=True, exist_ok=True)
    for seed in range(0 if options.report else options.seeds):
        if any(row["seed"] == seed for row in rows):
            continue
        rows += (new := trained(options, work, seed))
        with options.found.open("a") as file:
            file.writelines(json.dumps(row) + "\n" for row in new)
        print(new, flush=True)
    reported(rows)


if __name__ == "__main__":
    main()
