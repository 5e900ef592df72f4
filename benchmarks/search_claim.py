"""The claim of architecture search, measured: TPE, evolution and a supernet against random search at equal budget, and what is
found against EfficientNet-B0 and V2-B0 scaled to the same latency.

    python benchmarks/search_claim.py --set fashion2k/ --output search-claim
    python benchmarks/search_claim.py --set fashion2k/ --output search-claim --table     # the table of what is there
    python benchmarks/search_claim.py --set shapes --output tiny --size 16 --trials 4 --epochs 1 --seeds 1 --searches 1 \\
        --fields data.per_class=8 data.val_per_class=4 data.size=16

The regime is that of a small data set that can be fitted: 2,000 training pictures of Fashion-MNIST at 28 pixels (or 14 with
`--size 14`), AdamW at 1e-2, 10 % warm-up, cosine, flips, no smoothing and no average, one thread. Every search is a
`paretina search` with another seed; its own random control has as many trials. Scaled rivals are B0 and V2-B0 with late strides
taken out, whose widths are lowered until their latency is that of the budget, trained by the same recipe with the same seeds.

Each search is a directory that continues where it was, and each rival a line of `rivals.jsonl`; the same command resumes. The
budget of latency is that of V2-B0 at the `--width` of the space, timed on this machine, unless `--budget` gives another. Run
nothing else meanwhile.
"""

import argparse
import json
import statistics
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from paretina.measure.process import spin_briefly

spin_briefly()  # before torch is imported

import torch

from paretina import verbs
from paretina.measure.machine import Device
from paretina.measure.statistics import mean_interval, paired_interval
from paretina.measure.timing import Turns
from paretina.model.blueprint import Blueprint
from paretina.model.family import network_named
from paretina.model.network_file import write_network
from paretina.search.architecture.latency_table import network_step, plan_of
from paretina.search.architecture.space import fitted

RECIPE = {
    "batch_size": "64",
    "optimizer": "AdamW",
    "optimizer.lr": '{"kind": "Warmup", "epochs": %(warm)g, "then": {"kind": "Cosine", "start": 0.01}}',
    "optimizer.scale_lr": "false",
    "optimizer.weight_decay": "0.05",
    "threads": "1",
}
PROCEDURES = ("evolution", "tpe", "shared")
"""The last one is evolution over candidates that inherit weights."""

RIVALS = {"efficientnet_b0": "B0", "efficientnetv2_b0": "V2-B0"}


def fields_of(args: argparse.Namespace) -> dict[str, str]:
    """The fields of every training."""
    found = {name: text % {"warm": args.epochs / 10} if "%(" in text else text for name, text in RECIPE.items()}
    found["epochs"] = f"{args.epochs:g}"
    return found | dict(text.split("=", 1) for text in args.fields)


def latency_ms(blueprints: dict[str, Blueprint], seconds: float) -> dict[str, float]:
    """Medians, timed in turn."""
    torch.set_num_threads(1)
    plan = plan_of("cpu")
    steps = {name: network_step(blueprint, plan) for name, blueprint in blueprints.items()}
    series = Turns(seconds=seconds * len(steps), wait=Device.here("cpu").wait).run(steps)
    return {name: found.p50.value for name, found in series.items()}


def scaled_to(base: Blueprint, size: int, limit: float, seconds: float) -> tuple[Blueprint, float]:
    """The widest of some widths whose latency holds the limit, or the narrowest; and its latency."""
    widths = (0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5, 0.65, 0.8, 1.0)
    tables = {f"{width}": fitted(base, size, width) for width in widths}
    timed = latency_ms(tables, seconds)
    able = [name for name in tables if timed[name] <= limit] or [f"{widths[0]}"]
    return tables[able[-1]], timed[able[-1]]


def search(args: argparse.Namespace, by: str, seed: int, limit: float) -> dict[str, Any]:
    """One search with its control, carried out or continued."""
    folder = args.output / f"{args.space}-{by}-{seed}"
    if (folder / "result.json").exists():
        found: dict[str, Any] = json.loads((folder / "result.json").read_text())
        return found
    if (folder / "asked.json").exists():
        return verbs.search(resume=folder, say=print)
    return verbs.search(
        args.space,
        args.set,
        output=folder,
        budgets=(f"latency_ms={limit:.4g}",),
        trials=args.trials,
        by="evolution" if by == "shared" else by,
        shared_weights=by == "shared",
        width=args.width,
        seeds=args.seeds,
        finalists=args.finalists,
        seed=seed,
        share=args.share,
        recipe="plain",
        timing=args.timing,
        fields={**fields_of(args), "size": str(args.size)},
        say=print,
    )


def rival(args: argparse.Namespace, name: str, limit: float) -> dict[str, Any]:
    """A scaled network, trained with each seed as the finalists were."""
    blueprint, ms = scaled_to(network_named(name).blueprint, args.size, limit, args.timing)
    file = write_network(args.output / "rivals" / f"{name}.json", f"{name}-scaled", blueprint)
    scores = []
    for seed in range(args.seeds):
        folder = args.output / "rivals" / f"{name}-{seed}"
        if (folder / "asked.json").exists():
            run = verbs.resume(folder)
        else:
            given = {**fields_of(args), "seed": str(seed), "evaluate_every": f"{args.epochs:g}"}
            run = verbs.train(args.set, model=str(file), recipe="plain", weights="none", device="cpu", output=folder, **given)
        result = run.result()
        scores.append(result["metrics"]["val/top1"])
    return {"rival": name, "latency_ms": ms, "macs": result["cost"]["macs"], "scores": scores}


def lines(path: Path) -> Iterator[dict[str, Any]]:
    if path.exists():
        yield from (json.loads(line) for line in path.read_text().splitlines())


def table(args: argparse.Namespace) -> None:
    """Prints what is there: each procedure against its control, and what was found against the rivals."""
    rivals = {row["rival"]: row for row in lines(args.output / "rivals.jsonl")}
    for by in PROCEDURES:
        leads, found = [], []
        for path in sorted(args.output.glob(f"{args.space}-{by}-*/result.json")):
            result = json.loads(path.read_text())
            control, own = (result["best_so_far"][arm] for arm in ("control", "search"))
            if control and own and not result["shared"]:  # inherited weights and short trainings are two scales
                leads.append(100 * (own[-1][1] - control[-1][1]))
            best = next(row for row in result["finalists"] if row["name"] == result["found"]["finalist"])
            found.append(best)
            against = result["against_random"]
            if result["shared"]:
                print(f"{path.parent.name}: inherited weights against short trainings: {result['shared']}")
            print(
                f"{path.parent.name}: {best['top1']:.2f} % at {best['latency_ms'][0]:.3g} ms; best trial ahead of random by "
                f"{leads[-1] if leads else float('nan'):+.2f} points, in full "
                f"{'the same network' if against is None else format(against['points'], '+.2f')}; "
                f"table off by {result['table']['error']:.1%} on {len(result['table']['errors'])} held-out networks"
            )
        if len(leads) > 1:
            value, low, high = mean_interval(leads)
            print(f"{by}: best trial ahead of random by {value:+.2f} [{low:+.2f}, {high:+.2f}] points, {len(leads)} searches")
        for name, row in rivals.items():
            for best in found:
                if len(row["scores"]) == len(best["scores"]) > 1:
                    value, low, high = paired_interval(best["scores"], row["scores"])
                    print(f"{by} against {RIVALS[name]} at {row['latency_ms']:.3g} ms: {value:+.2f} [{low:+.2f}, {high:+.2f}]")
    for name, row in rivals.items():
        print(f"{RIVALS[name]}: {statistics.fmean(row['scores']):.2f} % at {row['latency_ms']:.3g} ms, {row['macs']:,} MACs")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--set", required=True, help="data, as for paretina train")
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--space", default="efficientnetv2")
    parser.add_argument("--size", type=int, default=28, help="pixels")
    parser.add_argument("--width", type=float, default=0.25, help="factor on the widths of the space")
    parser.add_argument("--budget", type=float, default=None, help="milliseconds; default: those of V2-B0 so scaled")
    parser.add_argument("--finalists", type=int, default=3, help="of each search, trained in full")
    parser.add_argument("--trials", type=int, default=80, help="of a search and its control together")
    parser.add_argument("--procedures", nargs="+", default=list(PROCEDURES), choices=PROCEDURES)
    parser.add_argument("--searches", type=int, default=3, help="of each procedure, each with another seed")
    parser.add_argument("--seeds", type=int, default=3, help="full trainings of each finalist and rival")
    parser.add_argument("--epochs", type=float, default=40.0, help="of a full training")
    parser.add_argument("--share", type=float, default=0.25, help="of these in a trial")
    parser.add_argument("--timing", type=float, default=1.0, help="seconds of timing a network")
    parser.add_argument("--fields", nargs="*", default=[], help="further fields of every training")
    parser.add_argument("--table", action="store_true", help="print the table of what is there")
    args = parser.parse_args()
    args.output.mkdir(parents=True, exist_ok=True)
    if args.table:
        table(args)
        return
    given = args.output / "budget.json"
    if not given.exists():
        own = fitted(network_named("efficientnetv2_b0").blueprint, args.size, args.width)
        limit = args.budget or latency_ms({"own": own}, 5 * args.timing)["own"]
        given.write_text(json.dumps({"latency_ms": limit}))
    limit = json.loads(given.read_text())["latency_ms"]
    print(f"budget: {limit:.4g} ms")
    for seed in range(args.searches):
        for by in args.procedures:
            search(args, by, seed, limit)
    done = {row["rival"] for row in lines(args.output / "rivals.jsonl")}
    for name in RIVALS:
        if name not in done:
            row = rival(args, name, limit)
            with (args.output / "rivals.jsonl").open("a") as file:
                file.write(json.dumps(row) + "\n")
    table(args)


if __name__ == "__main__":
    main()
