"""Small networks against each other: what an update takes, and what a short training from scratch gives.

    apt-get download dataset-fashion-mnist && dpkg -x dataset-fashion-mnist*.deb fashion
    python benchmarks/small_networks.py speed --output speed.jsonl
    python benchmarks/small_networks.py accuracy --fashion fashion --seconds 45 --seeds 2 --output accuracy.jsonl
    python benchmarks/small_networks.py accuracy --data clipart --fields optimizer.lr.then.start=1e-2 --output rates.jsonl

`speed` times all networks in turn in one process, an update of SGD in float32 each, without loading: medians, with the ratio
to a plain CNN of four convolutions that was timed in the same rounds. `accuracy` trains as `--time-limit SECONDS` does: epochs
are chosen to fit, and only the end is evaluated. `cpu s` is processor time from the question to the result, so it shows when
others took a share of the machine. Training accuracy is that of the pictures without augmentation: far below 100 %, the run is
too short for regularisation to help.

Each cell is a line of the output as soon as it is there, and cells that are there are not made again. The table at the end is
of the whole output. Of Fashion-MNIST the first 200 training pictures of each class are learned, and all 10,000 test
pictures are judged, outside of the time; `shapes` has 2,000 at difficulty 0.2.
"""

import argparse
import gzip
import json
import statistics
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from paretina.measure.process import spin_briefly

spin_briefly()  # before torch is imported

import numpy as np

from paretina import verbs
from paretina.data.source import Source
from paretina.data.sources.arrays import Arrays
from paretina.data.sources.clipart import Clipart
from paretina.data.sources.shapes import Shapes
from paretina.measure.machine import Device, Others
from paretina.measure.opened import Steps, open_model
from paretina.measure.plan import Plan, machine
from paretina.measure.process import keep_freed_memory
from paretina.measure.timing import Turns, ratio
from paretina.model.family import networks
from paretina.train import training
from paretina.train.asked import assignment

PLAIN = "plain4_w24_s2"
NETWORKS = tuple(name for name, network in networks().items() if network.family == "small")
SETS = ("fashion", "shapes", "clipart")
SIZES = {"fashion": 28, "shapes": 64, "clipart": 64}
PICTURES = 2000
"""Of a training set: that of Fashion-MNIST and of `shapes`, and what an epoch is said to consist of in `speed`."""
FASHION_VAL = 500
JUDGED_ON = {"fashion": "test", "shapes": "val", "clipart": "val"}


# --- data -----------------------------------------------------------------------------------------------------------------


def read_idx(path: Path) -> np.ndarray:
    """An array of bytes in the format of MNIST: the number of axes, the length of each, the values."""
    data = gzip.decompress(path.read_bytes())
    shape = np.frombuffer(data, ">i4", data[3], 4)
    return np.frombuffer(data, np.uint8, offset=4 + 4 * len(shape)).reshape(shape)


def fashion(package: Path, file: Path) -> Arrays:
    """Writes the pictures into a file that can be trained on, if it is not there yet."""
    if not file.exists():
        folder = next(package.rglob("train-images-idx3-ubyte.gz"), package / "nothing").parent
        pairs = [[read_idx(folder / f"{split}-{what}.gz") for what in ("images-idx3-ubyte", "labels-idx1-ubyte")]
                 for split in ("train", "t10k")]  # fmt: skip
        (images, labels), (test_images, test_labels) = pairs
        of_classes = [np.flatnonzero(labels == label) for label in range(10)]
        train, val = PICTURES // 10, PICTURES // 10 + FASHION_VAL // 10
        chosen = np.concatenate([found[:train] for found in of_classes] + [found[train:val] for found in of_classes])
        split = ["train"] * PICTURES + ["val"] * FASHION_VAL + ["test"] * len(test_labels)
        file.parent.mkdir(parents=True, exist_ok=True)
        np.savez(
            file,
            images=np.concatenate([images[chosen], test_images]),
            labels=np.concatenate([labels[chosen], test_labels]).astype(np.int64),
            split=np.array(split),
        )
    return Arrays(path=str(file))


def shapes(file: Path) -> Arrays:
    """Draws the pictures into a file, since drawing them takes longer than a network of this size learns."""
    if not file.exists():
        drawn = Shapes(per_class=PICTURES // 10, size=64, difficulty=0.2).open()
        samples = [(split, sample) for split in ("train", "val") for sample in drawn.split(split)]
        file.parent.mkdir(parents=True, exist_ok=True)
        np.savez(
            file,
            images=np.stack([drawn.image(sample).permute(1, 2, 0).numpy() for _, sample in samples]),  # c h w -> h w c
            labels=np.array([sample.label for _, sample in samples]),
            classes=np.array(drawn.classes),
            split=np.array([split for split, _ in samples]),
        )
    return Arrays(path=str(file), mirrors=False)


def source(name: str, options: argparse.Namespace) -> Source:
    if name == "shapes":
        return shapes(options.runs / "shapes.npz")
    return Clipart() if name == "clipart" else fashion(options.fashion, options.runs / "fashion.npz")


# --- cells ----------------------------------------------------------------------------------------------------------------


class Lines:
    """Results, a line each; a cell is what tells it from the others."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.all = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def has(self, **cell: Any) -> bool:
        return any(cell.items() <= line.items() for line in self.all)

    def add(self, line: dict[str, Any]) -> None:
        self.all.append(line)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("a") as file:
            file.write(json.dumps(line) + "\n")


def speed(options: argparse.Namespace, lines: Lines) -> None:
    keep_freed_memory()
    device, plan = Device.here("cpu"), Plan(device="cpu")
    clock = time.process_time if options.processor_time else time.perf_counter
    names = list(dict.fromkeys((PLAIN, *options.networks)))
    for size in options.sizes:
        cell = {"what": "speed", "size": size, "batch": options.batch, "processor_time": options.processor_time}
        if all(lines.has(network=name, **cell) for name in names):
            continue
        steps = {name: Steps(open_model(name, size), None, "cpu", device.threads).train(plan)(options.batch) for name in names}
        watch = Others()
        found = Turns(seconds=options.seconds * len(names), clock=clock, wait=device.wait).run(steps)
        used = watch.used()
        for name in names:
            update_ms = found[name].p50.value
            against = ratio(found[name], found[PLAIN])
            lines.add(
                {
                    "network": name,
                    **cell,
                    "update_ms": update_ms,
                    "epoch_s": update_ms / 1000 * PICTURES / options.batch,
                    "against_plain": against.value,
                    "against_plain_low": against.low,
                    "against_plain_high": against.high,
                    "rounds": len(found[name].rounds),
                    "threads": device.threads,
                    "disturbed": watch.disturbed(used),
                    "machine": machine(),
                }
            )
            print(f"{name} at {size} pixels: {update_ms:.1f} ms, {against.value:.2f} of the plain CNN", flush=True)


def cells(options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Seed by seed, so that a drift of the machine hits all alike."""
    for seed in range(options.seeds):
        for data in options.data:
            for recipe in options.recipes:
                for name in options.networks:
                    for size in options.sizes or [SIZES[data]]:
                        yield {
                            "what": "accuracy",
                            "data": data,
                            "recipe": recipe,
                            "network": name,
                            "size": size,
                            "seconds": options.seconds,
                            "fields": options.fields,
                            "seed": seed,
                        }


def accuracy(options: argparse.Namespace, lines: Lines) -> None:
    changes = dict(assignment(field) for field in options.fields)
    for number, cell in enumerate(each for each in cells(options) if not lines.has(**each)):
        data = source(cell["data"], options)
        fields = {"size": cell["size"], "seed": cell["seed"], "test.every": 1e6, **changes}
        choice = verbs.ask(data, cell["network"], cell["recipe"], "none", "cpu", fields=fields)
        path = options.runs / f"{time.strftime('%Y%m%d-%H%M%S')}-{number}"
        began, began_cpu = time.monotonic(), time.process_time()
        run = training.train(choice.asked, path, options.seconds or None)
        wall_s, cpu_s = time.monotonic() - began, time.process_time() - began_cpu
        result = run.result()
        assert result is not None
        last = [line for line in run.lines() if line["event"] == "train"][-1]
        judged_on = JUDGED_ON[cell["data"]]
        top1 = {split: verbs.evaluate(path, data, split).to_dict()["top1"] for split in ("train", judged_on)}
        lines.add(
            {
                **cell,
                "top1": top1[judged_on],
                "train_top1": top1["train"],
                "epochs": run.asked()["asked"]["recipe"]["epochs"],
                "updates": last["step"],
                "train_s": result["time_s"],
                "wall_s": wall_s,
                "cpu_s": cpu_s,
                "machine": machine(),
            }
        )
        print(line_of(lines.all[-1]), flush=True)


def line_of(line: dict[str, Any]) -> str:
    return (
        f"{line['data']} {line['recipe']} {line['network']} {line['size']} seed {line['seed']}: {line['top1']:.1f} % "
        f"(training pictures {line['train_top1']:.1f} %), {line['updates']} updates, {line['cpu_s']:.0f} cpu s"
    )


# --- tables ---------------------------------------------------------------------------------------------------------------


def table(lines: Lines) -> str:
    rows = []
    timed = [line for line in lines.all if line["what"] == "speed"]
    if timed:
        rows += ["| network | pixels | update ms | epoch of 2,000, s | of the plain CNN |", "|---|---|---|---|---|"]
    for line in sorted(timed, key=lambda line: (line["size"], line["update_ms"])):
        bounds = f"{line['against_plain']:.2f} [{line['against_plain_low']:.2f}, {line['against_plain_high']:.2f}]"
        figures = f"{line['update_ms']:.1f} | {line['epoch_s']:.2f} | {bounds}"
        rows.append(f"| {line['network']} | {line['size']} | {figures}{' (disturbed)' if line['disturbed'] else ''} |")
    groups: dict[tuple[Any, ...], list[dict[str, Any]]] = defaultdict(list)
    for line in lines.all:
        if line["what"] == "accuracy":
            key = (line["data"], line["recipe"], " ".join(line["fields"]), line["seconds"], line["network"], line["size"])
            groups[key].append(line)
    if groups:
        rows += ["", "| data | recipe | fields | s | network | pixels | n | top-1 % | training % | updates | cpu s |"]
        rows.append("|---|---|---|---|---|---|---|---|---|---|---|")

    def mean(key: tuple[Any, ...], name: str) -> float:
        return statistics.mean(line[name] for line in groups[key])

    for key in sorted(groups, key=lambda key: (*key[:4], -mean(key, "top1"))):
        figures = (
            f"{mean(key, 'top1'):.1f} | {mean(key, 'train_top1'):.1f} | {mean(key, 'updates'):.0f} | {mean(key, 'cpu_s'):.0f}"
        )
        rows.append(f"| {' | '.join(map(str, key))} | {len(groups[key])} | {figures} |")
    return "\n".join(rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["speed", "accuracy", "table"])
    parser.add_argument("--output", type=Path, required=True, help="file of lines, to which is added")
    parser.add_argument("--networks", nargs="+", default=list(NETWORKS))
    parser.add_argument(
        "--sizes", nargs="+", type=int, help="pixels; default: 32 and 64 in speed, 28 or 64 by data in accuracy"
    )
    parser.add_argument("--batch", type=int, default=64, help="of the updates that are timed")
    parser.add_argument("--seconds", type=float, help="of each network and size in speed (default: 3), of each run in accuracy "
                        "(default: 45; 0 for the epochs of the recipe)")  # fmt: skip
    parser.add_argument("--processor-time", action="store_true", help="in speed: for machines that others use; with one thread")
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--data", nargs="+", choices=SETS, default=list(SETS))
    parser.add_argument("--recipes", nargs="+", default=["scratch", "fast"])
    parser.add_argument("--fields", nargs="*", default=[], help="field=value, for every run")
    parser.add_argument("--fashion", type=Path, default=Path("fashion"), help="folder of the unpacked Debian package")
    parser.add_argument("--runs", type=Path, default=Path("runs/small"))
    options = parser.parse_args()
    lines = Lines(options.output)
    if options.what == "speed":
        options.sizes, options.seconds = options.sizes or [32, 64], options.seconds or 3.0
        speed(options, lines)
    elif options.what == "accuracy":
        options.seconds = 45.0 if options.seconds is None else options.seconds
        accuracy(options, lines)
    print(table(lines))


if __name__ == "__main__":
    main()
