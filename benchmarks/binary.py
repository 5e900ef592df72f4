"""Binary networks against float ones that cost the same: by OPs, and by bytes in int8.

    python benchmarks/folder_sets.py sets fashion2k
    python benchmarks/binary.py binary.jsonl --sets sets --seeds 3       # resumes; about half an hour on one core
    python benchmarks/binary.py binary.jsonl --report

The network is a BiMLP at 28 pixels with three stages, trained for `--epochs` from labels on the 2,000 training pictures of the
set and judged on its 10,000 test pictures. `binary` has one bit for weights and inputs; `ternary` has three values for inputs,
as the released code; `two steps` trains half of the epochs with inputs of one bit and weights of floats, and then all of one
bit. `float layers` is the same network without rounding. None has weight decay. Its rivals are Wave-MLPs of floats: `equal OPs`
is as wide as its MACs allow, which are not more than the OPs of `binary`, and `equal int8 bytes` as its weights in int8 allow,
which are not more than those of `binary` in bits. All have the same number of updates. Nothing is timed: signs are computed
with floats.
"""

import argparse
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from paretina.measure.process import spin_briefly

spin_briefly()  # before torch is imported

import torch

from paretina import verbs
from paretina.data.sources.folder import Folder
from paretina.measure.cost import cost
from paretina.measure.statistics import mean_interval
from paretina.model.activations.pointwise import GELU
from paretina.model.blocks.bimlp import BiMlp
from paretina.model.blocks.wave import Wave
from paretina.model.blueprint import Blueprint, Stage
from paretina.model.families.bimlp import S
from paretina.model.quantisers.binary import Binary
from paretina.model.rounding import stored_bytes_of
from paretina.model.stems.conv import ConvStem
from paretina.model.weights import load_model

Row = dict[str, Any]

WIDTHS = (16, 32, 64)
BINARY = Binary(float_ends=True)
TERNARY = Binary(float_ends=True, ternary=True)
HALF = Binary(float_ends=True, float_weights=True)


def binary_network(quantiser: Binary | None) -> Blueprint:
    return replace(
        S,
        resolution=28,
        stem=ConvStem(width=WIDTHS[0], kernel=3, step=2),
        stages=tuple(Stage(block=BiMlp(), depth=1, width=width, stride=1 + (row > 0)) for row, width in enumerate(WIDTHS)),
        quantiser=quantiser,
    )


def float_rival(first: int) -> Blueprint:
    """A Wave-MLP in which the first width is given and the others double."""
    widths = (first, 2 * first, 4 * first)
    return replace(
        binary_network(None),
        stem=ConvStem(width=first, kernel=3, step=2),
        stages=tuple(Stage(block=Wave(), depth=1, width=width, stride=1 + (row > 0)) for row, width in enumerate(widths)),
        activation=GELU(),
    )


def bytes_of(blueprint: Blueprint) -> int:
    """As the network would be stored: in its bits, and in int8 without a quantiser; ten classes."""
    return stored_bytes_of(replace(blueprint, classes=10).build("meta"), int8=blueprint.quantiser is None)


def operations_of(blueprint: Blueprint) -> float:
    """OPs; MACs of a float network."""
    found = cost(replace(blueprint, classes=10))
    return float(found.macs) if found.ops is None else found.ops


def widest(count: Any, most: float) -> Blueprint:
    """The widest rival for which what `count` counts is not more than `most`."""
    first = 2
    while count(float_rival(first + 1)) <= most:
        first += 1
    return float_rival(first)


def arms() -> dict[str, Blueprint]:
    binary = binary_network(BINARY)
    return {
        "binary": binary,
        "ternary": binary_network(TERNARY),
        "two steps": binary,
        "float layers": binary_network(None),
        "equal OPs": widest(operations_of, operations_of(binary)),
        "equal int8 bytes": widest(bytes_of, bytes_of(binary)),
    }


def trained(options: argparse.Namespace, work: Path, seed: int) -> list[Row]:
    data = Folder(path=str(options.sets / "fashion2k"))
    light = [{"kind": "Squash"}, {"kind": "RandomShift"}, {"kind": "HorizontalFlip"}]
    shared: Row = {"batch_size": 64, "threads": 1, "workers": 0, "seed": seed, "test.every": 1e6, "transforms": light}

    def run(name: str, model: Blueprint, epochs: float, start: Path | None = None) -> Path:
        place = work / f"{name.replace(' ', '-')}-{seed}"
        if not (place / "result.json").exists():
            lr = {"kind": "Warmup", "epochs": epochs / 10, "then": {"kind": "Linear", "start": 3e-3, "end": 0.0}}
            more: Row = {**shared, "epochs": epochs, "lr": lr}
            choice = verbs.ask(data, model, "plain", "none" if start is None else str(start), "cpu", fields=more)
            if (place / "asked.json").exists():
                verbs.resume(place)
            else:
                verbs.start(choice, place)
        return place / "model.safetensors"

    rows = []
    for arm, model in arms().items():
        if arm == "two steps":
            half = options.epochs / 2
            first = run("first step", binary_network(HALF), half)
            path = run(arm, model, half, first)
        else:
            path = run(arm, model, options.epochs)
        top1 = verbs.evaluate(path, data, "val", device="cpu").accuracy.top1
        found = cost(load_model(path)[0])
        ops = float(found.macs) if found.ops is None else found.ops
        rows.append(
            {"arm": arm, "seed": seed, "top1": top1, "ops": ops, "bytes": bytes_of(model), "settings": settings(options)}
        )
    return rows


def settings(options: argparse.Namespace) -> Row:
    return {"epochs": options.epochs}


def reported(rows: list[Row]) -> None:
    scores: dict[str, dict[int, Row]] = {}
    for row in rows:
        scores.setdefault(row["arm"], {})[row["seed"]] = row
    print("| network | M OPs | bytes, in bits or int8 | top-1 % of each seed | against `binary`, paired |")
    print("|---|---|---|---|---|")
    for arm, found in scores.items():
        first = next(iter(found.values()))
        gaps = [row["top1"] - scores["binary"][seed]["top1"] for seed, row in found.items()]
        between = ""
        if arm != "binary" and len(gaps) > 1:
            mean, low, high = mean_interval(gaps)
            between = f"{mean:+.2f} [{low:+.2f}, {high:+.2f}]"
        each = ", ".join(f"{row['top1']:.2f}" for row in found.values())
        print(f"| {arm} | {first['ops'] / 1e6:.3g} | {first['bytes']:,} | {each} | {between} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("found", type=Path, help="file of results, one JSON document a line")
    parser.add_argument("--sets", type=Path, default=Path("sets"), help="folder that folder_sets.py wrote")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=float, default=16.0, help="of each network")
    parser.add_argument("--report", action="store_true", help="train nothing; print what was found")
    options = parser.parse_args()
    torch.set_num_threads(1)
    rows = [json.loads(line) for line in options.found.read_text().splitlines()] if options.found.exists() else []
    if any(row["settings"] != settings(options) for row in rows) and not options.report:
        parser.error(f"{options.found} has results of other settings; choose another file")
    work = options.found.with_suffix("")
    work.mkdir(parents=True, exist_ok=True)
    for seed in range(0 if options.report else options.seeds):
        if any(row["seed"] == seed for row in rows):
            continue
        rows += (new := trained(options, work, seed))
        with options.found.open("a") as file:
            file.writelines(json.dumps(row) + "\n" for row in new)
        print(new, flush=True)
    if rows:
        reported(rows)


if __name__ == "__main__":
    main()
