"""Cell segmentation on generated cells: one network for all looks against one for each, an unseen look, and the parts of it.

    python benchmarks/nuclei.py stardist-0.9.2-*.whl sets/nuclei                       # real microscopy, if it is there
    python benchmarks/segment.py segment.jsonl --seeds 3 --nuclei sets/nuclei
    python benchmarks/segment.py segment.jsonl --report
    pip install segmentation-models-pytorch; python benchmarks/segment.py --speed      # on an idle machine

The looks differ in size: the first has 60 training pictures, each further one two thirds of the one before. The network is
`universal_segmenter_quarter` at 64 pixels (`--size`), without weights; each arm has as many updates as the others.

- `universal`: one network for all looks, as many pictures of each in an update (`Each`); `proportional`: drawn as there are.
- `apart`: a network for each look. Both are judged on the validation pictures of each look, by AP of objects and mean IoU.
- `unseen LOOK`: the universal network without a look, judged on it.
- `batch norm`, `no ASPP`, `no class weights`: the universal one with a part changed (group norm, ASPP and weights otherwise).
- With `--nuclei` all of them are judged on real nuclei too, which none has seen; beside a network for these alone (`nuclei`),
  and a universal one that has them as one more set (`universal with nuclei`).

Each line of the results file is one arm, seed and look; what is there is not trained again. `--speed` times updates at 256 x
256 of a ResNet-18 with a U-Net decoder beside the same encoder in segmentation-models-pytorch, in turn in one process: both as
they come, and both with decoders changed to about equal multiply-adds, which are printed.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

from paretina.measure.process import spin_briefly

spin_briefly()  # before torch is imported

import torch

from paretina import verbs
from paretina.data.source import Source
from paretina.data.sources.cells import LOOKS, Cells, Look
from paretina.data.sources.masks import Masks
from paretina.data.sources.several import Set, Several
from paretina.measure.memory import peak_of
from paretina.measure.plan import machine
from paretina.measure.statistics import mean_interval, paired_interval
from paretina.model.family import network_named
from paretina.model.norms.batch import BatchNorm

Row = dict[str, Any]

FIGURES = ("ap", "iou")
NUCLEI = "nuclei"


def sets(options: argparse.Namespace, looks: tuple[str, ...]) -> Several:
    found = []
    for number, look in enumerate(LOOKS):
        if look in looks:
            train = max(2, round(options.pictures * (2 / 3) ** number))
            found.append(Set(name=look, source=Cells(looks=(look,), train=train, val=options.val, size=options.size)))
    if NUCLEI in looks:
        found.append(Set(name=NUCLEI, source=nuclei(options)))
    return Several(sets=tuple(found))


def source_of(options: argparse.Namespace, look: str) -> Source:
    if look == NUCLEI:
        return nuclei(options)
    return Cells(looks=(cast(Look, look),), train=1, val=options.val, size=options.size)


def nuclei(options: argparse.Namespace) -> Masks:
    return Masks(path=str(options.nuclei.absolute()), labels="instances")


def arms(options: argparse.Namespace) -> Iterator[tuple[str, tuple[str, ...], Row]]:
    """Each arm with the looks that it is trained on, and its fields."""
    weighed = {"imbalance": "weights"}
    each = {"sampling": "Each", **weighed}
    yield "universal", LOOKS, each
    yield "proportional", LOOKS, weighed
    for look in LOOKS:
        yield f"apart {look}", (look,), weighed
    for look in options.unseen:
        yield f"unseen {look}", tuple(other for other in LOOKS if other != look), each
    yield "batch norm", LOOKS, {**each, "norm": "batch"}
    yield "no ASPP", LOOKS, {**each, "model.head.aspp": False}
    yield "no class weights", LOOKS, {"sampling": "Each"}
    if options.nuclei:
        yield NUCLEI, (NUCLEI,), weighed
        yield f"universal with {NUCLEI}", (*LOOKS, NUCLEI), each


def trained(options: argparse.Namespace, arm: str, looks: tuple[str, ...], fields: Row, seed: int, work: Path) -> list[Row]:
    """Trains one network, or goes on with one, and judges it on all looks that it is for."""
    place = work / f"{arm.replace(' ', '-')}-{seed}"
    if not (place / "result.json").exists():
        source = sets(options, looks)
        count = len(source.open().split("train"))
        given = dict(fields)
        imbalance = given.pop("imbalance", None)
        model = network_named("universal_segmenter_quarter").blueprint
        if given.pop("norm", None):
            model = replace(model, norm=BatchNorm())
        settings = {
            **given,
            "epochs": options.updates * options.batch / count,
            "lr": options.lr,
            "batch_size": min(options.batch, count),
            "size": options.size,
            "transforms.QuarterTurn": "on",
            "seed": seed,
            "threads": 1,
            "workers": 0,
            "test.every": 1e6,
        }
        if (place / "asked.json").exists():
            verbs.resume(place)
        else:
            choice = verbs.ask(source, model, "segment", "none", "cpu", fields=settings, imbalance=imbalance)
            verbs.start(choice, place)
    rows = []
    unseen = arm.removeprefix("unseen ") if arm.startswith("unseen ") else ""
    real = [NUCLEI] if options.nuclei and not unseen else []
    for look in dict.fromkeys((unseen,) if unseen else (*looks, *real)):
        judged = verbs.evaluate(place, source_of(options, look), "val", device="cpu")
        assert judged.judged is not None
        figures = {name: judged.judged.metrics[f"val/{name}"] for name in FIGURES}
        train = json.loads((place / "result.json").read_text())["on_train"]["value"]
        rows.append({"arm": arm, "look": look, "seed": seed, **figures, "on_train": train, "settings": settings_of(options)})
    return rows


def settings_of(options: argparse.Namespace) -> Row:
    return {name: getattr(options, name) for name in ("pictures", "val", "size", "updates", "batch", "lr")}


def with_interval(values: list[float]) -> str:
    if len(values) < 2:
        return f"{values[0]:.1f}"
    mean = mean_interval(values)
    return f"{mean.value:.1f} [{mean.low:.1f}, {mean.high:.1f}]"


def reported(rows: list[Row]) -> None:
    """Means over looks with intervals over seeds, against the universal network on the same looks, paired by seed."""
    print(json.dumps({"n": len(rows), **machine()}))
    if real := [row for row in rows if row["look"] == NUCLEI]:
        print("| network, on real nuclei | AP % | mean IoU % |")
        print("|---|---|---|")
        for arm in dict.fromkeys(row["arm"] for row in real):
            of_arm = [row for row in real if row["arm"] == arm]
            print(f"| {arm} | {' | '.join(with_interval([row[figure] for row in of_arm]) for figure in FIGURES)} |")
        rows = [row for row in rows if row["look"] != NUCLEI]
    by_arm: dict[str, dict[int, list[Row]]] = {}
    for row in rows:
        name = row["arm"].split()[0] if row["arm"].split()[0] in ("apart", "unseen") else row["arm"]
        by_arm.setdefault(name, {}).setdefault(row["seed"], []).append(row)
    print("| network | AP % | mean IoU % | AP against the universal one, paired | on training pictures % |")
    print("|---|---|---|---|---|")
    most = {name: max(len(each) for each in found.values()) for name, found in by_arm.items()}
    for name, found in by_arm.items():
        whole = {seed: each for seed, each in found.items() if len(each) == most[name]}
        words = []
        for figure in FIGURES:
            words.append(with_interval([statistics.mean(row[figure] for row in each) for each in whole.values()]))
        looks = {row["look"] for each in whole.values() for row in each}
        control = {
            seed: statistics.mean(row["ap"] for row in each if row["look"] in looks)
            for seed, each in by_arm.get("universal", {}).items()
        }
        both = sorted(whole.keys() & control.keys())
        gap = ""
        if name != "universal" and len(both) > 1:
            own = [statistics.mean(row["ap"] for row in whole[seed]) for seed in both]
            value, low, high = paired_interval(own, [control[seed] for seed in both])
            gap = f"{value:+.1f} [{low:+.1f}, {high:+.1f}]"
        fits = statistics.mean(row["on_train"] for each in whole.values() for row in each)
        print(f"| {name} | {' | '.join(words)} | {gap} | {fits:.1f} |")


def speed(options: argparse.Namespace) -> None:
    """Updates of both libraries in turn: medians, their ratio by round, and memory."""
    import segmentation_models_pytorch as smp
    from torch.nn.functional import cross_entropy
    from torch.utils.flop_counter import FlopCounterMode

    from paretina.model.heads.unet import UNetHead

    torch.set_num_threads(options.threads)
    side, batch = 256, 4
    plain = replace(network_named("resnet18").blueprint, classes=3, resolution=side)
    nets = {
        "paretina": replace(plain, head=UNetHead()).build(),
        "smp": smp.Unet("resnet18", encoder_weights=None, classes=3),
        "paretina, head.width=64": replace(plain, head=UNetHead(width=64)).build(),
        "smp, half the decoder's channels": smp.Unet(
            "resnet18", encoder_weights=None, classes=3, decoder_channels=(128, 64, 32, 16, 8)
        ),
    }
    images = torch.rand(batch, 3, side, side).contiguous(memory_format=torch.channels_last)
    labels = torch.randint(0, 3, (batch, side, side))

    def step(network: torch.nn.Module, optimizer: torch.optim.Optimizer) -> None:
        optimizer.zero_grad(set_to_none=True)
        cross_entropy(network(images), labels).backward()
        optimizer.step()

    made: dict[str, Callable[[], None]] = {}
    for name, network in nets.items():
        network.to(memory_format=torch.channels_last).train()
        counter = FlopCounterMode(display=False)
        with counter, torch.no_grad():
            network(images[:1])
        count = sum(each.numel() for each in network.parameters())
        print(f"{name}: {counter.get_total_flops() / 2e9:.2f} G multiply-adds, {count / 1e6:.1f} M parameters")
        optimizer = torch.optim.SGD(network.parameters(), 1e-3)
        made[name] = lambda network=network, optimizer=optimizer: step(network, optimizer)  # type: ignore[misc]
    times: dict[str, list[float]] = {name: [] for name in made}
    for name, each in made.items():
        each()
        peak = peak_of(each)
        print(f"{name}: {f'{peak:.0f} MiB' if peak else 'unknown'} of peak memory in an update, beyond weights and states")
    for _ in range(options.rounds):
        for name, each in made.items():
            began = time.perf_counter()
            each()
            times[name].append(time.perf_counter() - began)
    for name, found in times.items():
        print(f"{name}: {1000 * statistics.median(found):.0f} ms an update of {batch} pictures of {side} x {side}")
    names = list(times)
    for own, other in zip(names[::2], names[1::2], strict=True):
        ratios = [theirs / ours for ours, theirs in zip(times[own], times[other], strict=True)]
        value, low, high = mean_interval(ratios)
        print(f"{own} is {statistics.median(ratios):.2f} times as fast as {other} (mean {value:.2f} [{low:.2f}, {high:.2f}])")
    print(machine())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("found", type=Path, nargs="?", default=Path("segment.jsonl"), help="results, a JSON document a line")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--size", type=int, default=64, help="side in pixels")
    parser.add_argument("--pictures", type=int, default=60, help="training pictures of the first look")
    parser.add_argument("--val", type=int, default=20, help="validation pictures of each look")
    parser.add_argument("--updates", type=int, default=240)
    parser.add_argument("--batch", type=int, default=10)
    parser.add_argument("--lr", type=float, default=5e-3)
    parser.add_argument("--unseen", nargs="*", choices=LOOKS, default=list(LOOKS), help="looks that one network goes without")
    parser.add_argument("--nuclei", type=Path, help="folder of real pictures and masks, of benchmarks/nuclei.py")
    parser.add_argument("--report", action="store_true", help="train nothing; print what was found")
    parser.add_argument("--speed", action="store_true", help="time updates beside segmentation-models-pytorch")
    parser.add_argument("--rounds", type=int, default=15, help="of --speed")
    parser.add_argument("--threads", type=int, default=2, help="of --speed")
    options = parser.parse_args()
    if options.speed:
        speed(options)
        return
    torch.set_num_threads(1)
    rows = [json.loads(line) for line in options.found.read_text().splitlines()] if options.found.exists() else []
    if any(row["settings"] != settings_of(options) for row in rows) and not options.report:
        parser.error(f"{options.found} has results of other settings; choose another file")
    work = options.found.with_suffix("")
    work.mkdir(parents=True, exist_ok=True)
    for seed in range(0 if options.report else options.seeds):
        for arm, looks, fields in arms(options):
            if any((row["arm"], row["seed"]) == (arm, seed) for row in rows):
                continue
            rows += (new := trained(options, arm, looks, fields, seed, work))
            with options.found.open("a") as file:
                file.writelines(json.dumps(row) + "\n" for row in new)
            print(new, flush=True)
    if rows:
        reported(rows)


if __name__ == "__main__":
    main()
