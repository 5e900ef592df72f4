"""Recipes against each other: the same network and data, several seeds, and the interval of the mean.

    python benchmarks/recipes.py --data clipart --model efficientnet_lite0 --weights auto \
        --recipes finetune plain --seeds 0 1 2 --output records/NAME

Each run is a run directory under `--runs`; one that is finished already is not made again, so the command can be interrupted
and continued. Writes `table.md` and `table.json` into `--output`. Training time is that of the loop, without set-up.
"""

import argparse
import json
import statistics
from pathlib import Path
from typing import Any

from paretina.measure.process import spin_briefly

spin_briefly()  # before torch is imported

from paretina import verbs
from paretina.measure.plan import machine
from paretina.measure.statistics import mean_interval
from paretina.run import Run
from paretina.train import training


def finished(options: argparse.Namespace, recipe: str, seed: int) -> dict[str, Any]:
    """The result of one run; trains it if it is not there yet."""
    words = (options.data, options.model, options.weights, recipe, "_".join(options.fields), str(seed))
    path = options.runs / "-".join(words).replace("/", "_")  # the data may be a path
    if path.exists() and Run(path).result() is None:
        run = training.resume(path)
    elif not path.exists():
        fields = dict(field.split("=", 1) for field in options.fields)
        choice = verbs.ask(options.data, options.model, recipe, options.weights, fields={**fields, "seed": seed})
        run = training.train(choice.asked, path)
    else:
        run = Run(path)
    result = run.result()
    assert result is not None
    return result


def spread(values: list[float]) -> str:
    if len(values) < 2:
        return f"{values[0]:.1f}"
    value, low, high = mean_interval(values)
    return f"{value:.1f} [{low:.1f}, {high:.1f}]"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True)
    parser.add_argument("--model", required=True)
    parser.add_argument("--weights", default="auto")
    parser.add_argument("--recipes", nargs="+", required=True)
    parser.add_argument("--fields", nargs="*", default=[], help="field=value, for every recipe")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--runs", type=Path, default=Path("runs/recipes"))
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()
    rows, found = [], {}
    for seed in options.seeds:  # seed by seed, so that a drift of the machine hits all recipes alike
        for recipe in options.recipes:
            result = finished(options, recipe, seed)
            found.setdefault(recipe, []).append(result)
            print(f"{recipe} seed {seed}: {result['metrics']['val/top1']:.1f} % in {result['time_s']:.0f} s", flush=True)
    here = machine()
    lines = [
        f"{options.data}, {options.model}, weights {options.weights}, {' '.join(options.fields) or 'no other fields'}; "
        f"{len(options.seeds)} seeds, mean and 95 % interval of the mean (Student t).",
        f"{here['cpu']}, {here['cores']} cores, torch {here['torch']}.",
        "",
        "| recipe | top-1 % | balanced % | NLL | training s (median) |",
        "|---|---|---|---|---|",
    ]
    for recipe, results in found.items():
        columns = {name: [r["metrics"][f"val/{name}"] for r in results] for name in ("top1", "balanced", "nll")}
        seconds = statistics.median(r["time_s"] for r in results)
        nll = statistics.mean(columns["nll"])
        lines.append(f"| {recipe} | {spread(columns['top1'])} | {spread(columns['balanced'])} | {nll:.3f} | {seconds:.0f} |")
        rows.append({"recipe": recipe, "seeds": options.seeds, **columns, "seconds": [r["time_s"] for r in results]})
    print("\n".join(lines))
    if options.output:
        options.output.mkdir(parents=True, exist_ok=True)
        (options.output / "table.md").write_text("\n".join(lines) + "\n")
        (options.output / "table.json").write_text(json.dumps({"machine": here, "rows": rows}, indent=2) + "\n")


if __name__ == "__main__":
    main()
