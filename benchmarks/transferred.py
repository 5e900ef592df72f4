"""Does a better classifier segment and detect better? Eight backbones of one network, over a wide range of accuracy.

    python benchmarks/transferred.py transferred            # resumes; about half an hour on one core
    python benchmarks/transferred.py transferred --report

All are `resnet8_w16_s2` at 64 pixels (`--size`), trained on the built-in clip art and judged on the same validation pictures of
it. They differ in what they learned from: less time, a part of the pictures, wrong labels, longer, with mixup, or with strong
augmentation. Those with a part of the pictures have as many updates as the plain one, since each picture is repeated. Then each
gets a new head and is trained further on generated cells: all eight to segment, four of them (`--detectors`) to find boxes. The
same head, recipe and seeds; see `paretina transfer`, which does it.

What is asked is whether the order of the classifiers is the order of the segmenters: the rank correlation over backbones with
its 95 % interval.
"""

import argparse
import json
from pathlib import Path
from typing import Any

from paretina.measure.process import spin_briefly

spin_briefly()  # before torch is imported

import torch

from paretina import verbs
from paretina.data.sources.cells import Cells
from paretina.data.sources.clipart import Clipart
from paretina.data.sources.part import Part
from paretina.measure.plan import machine
from paretina.report.transfer_page import text_tables
from paretina.run import Run

Row = dict[str, Any]

EPOCHS = 16.0
"""Of the plain backbone."""

BACKBONES: dict[str, tuple[Row, Row]] = {
    "one-epoch": ({}, {"epochs": 1.0}),
    "four-epochs": ({}, {"epochs": 4.0}),
    "a-tenth": ({"share": 0.1, "repeat": True}, {}),
    "a-third": ({"share": 0.33, "repeat": True}, {}),
    "wrong-labels": ({"noise": 0.5}, {}),
    "plain": ({}, {}),
    "mixup": ({}, {"epochs": 2 * EPOCHS, "transforms.MixUp": "on"}),
    "long": ({}, {"epochs": 3 * EPOCHS, "transforms.RandAugment": "on"}),
}
"""What each learns from, and fields of its training."""

DETECTORS = ("one-epoch", "a-tenth", "plain", "long")


def backbone(name: str, options: argparse.Namespace) -> Path:
    """The run of a backbone; trained, or continued, if it is not finished."""
    place: Path = options.folder / name
    if (place / "result.json").exists():
        return place
    if (place / "asked.json").exists():
        verbs.resume(place)
        return place
    part, changed = BACKBONES[name]
    given = {"epochs": EPOCHS, "size": options.size, "lr": 1e-2, "seed": 0, "threads": 1, "workers": 0, "test.every": 1e6}
    given |= {"model.resolution": options.size, **changed}
    given["epochs"] *= options.length
    choice = verbs.ask(Part(source=Clipart(), **part), "resnet8_w16_s2", "scratch", "none", "cpu", fields=given)
    verbs.start(choice, place)
    return place


def transferred(task: str, names: list[str], options: argparse.Namespace) -> Row:
    """The result of a study, of which what is there is not done again."""
    place: Path = options.folder / task
    if (place / "result.json").exists():
        return json.loads((place / "result.json").read_text())  # type: ignore[no-any-return]
    runs = [backbone(name, options) for name in names]
    if (place / "asked.json").exists():
        from paretina.search.tasks import engine
        from paretina.verbs.transferring import finished

        return finished(place, engine(None, 1), print)
    data = Cells(train=options.pictures, val=20, size=options.size, labels="boxes" if task == "detect" else "masks")
    fields: Row = {"epochs": options.epochs * options.length, "size": options.size, "threads": 1, "workers": 0}
    fields |= {"head.width": 32, "lr": 3e-3, "test.every": 1e6}
    if task == "segment":
        fields["head.finest"] = 2  # a border of two pixels is not seen at a quarter of the size
    return verbs.transfer(data, runs, place, workers=1, say=print, seeds=options.seeds, device="cpu", fields=fields)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="for runs and studies")
    parser.add_argument("--tasks", nargs="+", choices=("segment", "detect"), default=["segment", "detect"])
    parser.add_argument("--size", type=int, default=64, help="side in pixels (default: %(default)s)")
    parser.add_argument("--pictures", type=int, default=40, help="training pictures of each look (default: %(default)s)")
    parser.add_argument("--epochs", type=float, default=40.0, help="of the training on cells (default: %(default)s)")
    parser.add_argument("--seeds", type=int, default=1, help="of the training on cells (default: %(default)s)")
    parser.add_argument("--detectors", nargs="+", choices=list(BACKBONES), default=list(DETECTORS))
    parser.add_argument("--length", type=float, default=1.0, help="factor of all epochs, for a trial (default: %(default)s)")
    parser.add_argument("--report", action="store_true", help="train nothing; print what was found")
    options = parser.parse_args()
    torch.set_num_threads(1)
    options.folder.mkdir(parents=True, exist_ok=True)
    for task in options.tasks:
        names = options.detectors if task == "detect" else list(BACKBONES)
        if options.report and not (options.folder / task / "result.json").exists():
            continue
        found = transferred(task, names, options)
        print(json.dumps({"task": task, **machine()}))
        print("\n".join(text_tables(found)))
        print("\n".join(found["notes"]))
    for name in BACKBONES:
        if (options.folder / name / "result.json").exists():
            result = Run.open(options.folder / name).result() or {}
            print(name, f"{result['metrics']['val/top1']:.1f} %, {result['updates']} updates")


if __name__ == "__main__":
    main()
