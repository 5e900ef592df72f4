"""The studies behind `records/`, each one command of `paretina`, by name.

    python benchmarks/studies.py                    # what there is, and the command of each
    python benchmarks/studies.py ablation-clipart   # runs it; interrupted, the same command continues
    python benchmarks/studies.py frontier-elpv --elpv elpv/

The folder of elpv comes from `benchmarks/elpv.py`. Studies leave everything in `runs/studies/NAME`, with a report in HTML. They
are made for two processors: networks of at most 40 million MACs, at most 90 s a run. Run one at a time, or their times say
nothing.
"""

import argparse
import json
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

RESNET = (
    "--model resnet18 model.stem.pool=false model.stem.width=16 model.stages.0.width=16 model.stages.1.width=32 "
    "model.stages.2.width=64 model.stages.3.width=128"
)
SMALL_B0 = (
    "--model efficientnet_b0 edits.Scale=on edits.Scale.width=0.5 edits.Scale.depth=0.4 model.stages.5.stride=1 "
    "optimizer.lr.then.start=6e-3 transforms.MixOrCut.probability=0.0"
)
"""EfficientNet-B0 of half the width and 0.4 of the depth, whose maps end at a sixteenth of the image: 9 blocks."""

LOW = "precision=bfloat16 depthwise=float32"
"""The default of networks of dense convolutions that train from scratch only; the studies that name it were run with it."""

EASY = "data.difficulty=0.2 data.size=96 evaluate_every=100"
LAYER, LAYER_PROXY, GROUP, GROUP_PROXY = (
    f"edits.Renorm=on edits.Renorm.norm={norm}"
    for norm in (
        '{"kind":"GroupNorm","groups":1}',
        '{"kind":"ProxyNorm"}',
        '{"kind":"GroupNorm","groups":4}',
        '{"kind":"ProxyNorm","groups":4}',
    )
)
MIXED = "transforms.MixOrCut.probability=0.5"
TWO = "batch_size=2 optimizer.lr.then.start=5e-4 threads=1"
NORMS = (
    f"ablate scratch shapes {RESNET} {EASY} data.per_class=150 size=32 epochs=8 transforms.MixOrCut.probability=0.0 --seeds 3"
)


def added(*changes: str) -> str:
    return " ".join(f"--add {shlex.quote(change)}" for change in changes)


SMALL = {"kind": "Scale", "width": 0.25, "depth": 0.35}
"""ResNet-50 of a quarter of the width; its stages have 2, 2, 3 and 2 blocks."""

STEPS = [
    {"kind": "StageRatio", "depths": [2, 2, 5, 2]},
    *({"kind": name} for name in ("Patchify", "Depthwise")),
    {"kind": "Scale", "width": 1.5},
    *({"kind": name} for name in ("Invert", "MoveUp")),
    {"kind": "LargeKernel", "kernel": 7},
    *({"kind": name} for name in ("ToGELU", "FewerActivations", "FewerNorms", "ToLayerNorm", "SeparateDownsampling")),
]
"""From there to a small ConvNeXt, in the order of `paretina.model.edits.modernise`."""


def path(count: int) -> list[dict[str, Any]]:
    """The first steps; that of width is made in the first edit, since there is one of each kind."""
    steps = STEPS[:count]
    wider = any(each["kind"] == "Scale" for each in steps)
    return [SMALL | ({"width": 0.375} if wider else {}), *(each for each in steps if each["kind"] != "Scale")]


def edits(*given: dict[str, Any]) -> str:
    return f"edits={json.dumps(given, separators=(',', ':'))}"


FITTED = (
    "data.difficulty=0.2 data.size=64 data.per_class=400 data.val_per_class=500 size=64 model.resolution=64 threads=1 workers=0"
)

STUDIES = {
    "fused-placements": (
        "where fused blocks should stand (Tan & Le 2021, table 3): in no stage, stages 1 to 3, 1 to 5, or all",
        f"ablate fast shapes {SMALL_B0.partition(' optimizer')[0]} {FITTED} epochs=20 --seeds 2 "
        + added("edits.Fuse=on edits.Fuse.stages=[1,2,3]", "edits.Fuse=on edits.Fuse.stages=[1,2,3,4,5]", "edits.Fuse=on"),
    ),
    "convnext-path": (
        "from a ResNet to a ConvNeXt (Liu et al. 2022), edit by edit, each added to those before",
        f"ablate fast shapes --model resnet50 {shlex.quote(edits(SMALL))} {FITTED} epochs=20 --seeds 2 "
        + added(*(edits(*path(count)) for count in range(1, len(STEPS) + 1))),
    ),
    "ablation-clipart": (
        "what each refinement of the default recipe from scratch brings, and bfloat16",
        f"ablate scratch clipart {RESNET} size=48 epochs=6 --seeds 5 --defaults --switch precision=float32",
    ),
    "precision-clipart": (
        "bfloat16 with depthwise layers in float32 against float32, in fine-tuning",
        f"ablate finetune clipart --model efficientnet_lite0 --weights auto {LOW} size=96 epochs=3 threads=1 "
        "evaluate_every=100 --seeds 8 --switch precision=float32",
    ),
    "precision-fast": (
        "bfloat16 against float32 from scratch, in a network of dense convolutions that learns nearly all there is to learn",
        f"ablate fast shapes {RESNET} {EASY} data.per_class=2000 data.val_per_class=500 size=64 epochs=1.5 "
        "optimizer.lr.epochs=0.4 optimizer.lr.then.start=1e-2 threads=1 --seeds 10 --switch precision=float32",
    ),
    "precision-finetune": (
        "the same in fine-tuning a network of depthwise convolutions, with 5,000 pictures to judge by",
        f"ablate finetune shapes --model efficientnet_lite0 --weights auto {EASY} {LOW} data.val_per_class=500 size=64 "
        "epochs=2 threads=1 --seeds 8 --switch precision=float32",
    ),
    "precision-shapes": (
        "bfloat16 with depthwise layers in float32 against float32, in a network of depthwise convolutions",
        f"ablate scratch shapes {SMALL_B0} {EASY} {LOW} size=64 epochs=3 --seeds 5 --switch precision=float32",
    ),
    "progressive-shapes": (
        "rising size with adaptive or fixed regularisation, and random sizes, against a constant size",
        f"ablate scratch shapes {RESNET} {EASY} size=64 epochs=5 --seeds 3 "
        + added("progressive=32:64", "progressive=32:64:constant", "progressive=32:64:random"),
    ),
    "progressive-shapes-long": (
        "twice the epochs, and sizes that rise from three quarters as well as from half",
        f"ablate scratch shapes {RESNET} {EASY} size=64 epochs=10 --seeds 3 " + added("progressive=32:64", "progressive=48:64"),
    ),
    "progressive-elpv": (
        "rising sizes from scratch on photographs",
        f"ablate scratch {{elpv}} {RESNET} size=64 epochs=12 evaluate_every=100 --seeds 5 " + added("progressive=32:64"),
    ),
    "strength-shapes": (
        "two image sizes and three strengths of mixing: weak ones for small images, strong ones for large images?",
        f"ablate scratch shapes {RESNET} {EASY} data.per_class=150 size=64 epochs=10 threads=1 --seeds 3 "
        + added(*(f"{size}transforms.MixOrCut.probability={p}" for size in ("", "size=32 ") for p in (0.0, 1.0)), "size=32"),
    ),
    "groups-shapes": (
        "groups of 4 and 16 channels and fused blocks against depthwise convolutions; proxy norm and small images on top",
        f"ablate scratch shapes {SMALL_B0} {EASY} {LOW} size=64 epochs=4 --seeds 3 "
        + added(
            "edits.Regroup=on edits.Regroup.group_width=4",
            "edits.Regroup",
            "edits.Fuse",
            f"edits.Regroup=on {LAYER_PROXY}",
            f"edits.Regroup=on {LAYER_PROXY} size=48",
            LAYER_PROXY,
        ),
    ),
    "norms-shapes": (
        "batch norm, layer norm and proxy norm at 32 images an update, with and without mixing",
        f"{NORMS} batch_size=32 " + added(MIXED, LAYER, f"{LAYER} {MIXED}", LAYER_PROXY, f"{LAYER_PROXY} {MIXED}"),
    ),
    "norms-shapes-groups": (
        "group norm with and without proxy norm at 32 images an update, with and without mixing",
        f"{NORMS} batch_size=32 threads=1 " + added(GROUP, f"{GROUP} {MIXED}", GROUP_PROXY, f"{GROUP_PROXY} {MIXED}"),
    ),
    "norms-shapes-two": (
        "batch, layer and proxy norm with two images an update; its base is batch norm with two",
        f"{NORMS} {TWO} " + added(LAYER, LAYER_PROXY),
    ),
    "norms-shapes-two-groups": (
        "group norm with two images an update, with and without proxy norm; its base is group norm with two",
        f"{NORMS} {TWO} {shlex.join(GROUP.split())} " + added(GROUP_PROXY),
    ),
    "finetune-elpv": (
        "fewer epochs and rising sizes in fine-tuning, for a recipe that is fast",
        f"ablate finetune {{elpv}} --model efficientnet_lite0 --weights auto {LOW} size=96 evaluate_every=100 --seeds 3 "
        + added("epochs=3", "epochs=3 progressive=48:96"),
    ),
    "frontier-elpv": (
        "seven networks at three sizes on photographs of solar cells",
        f"frontier {{elpv}} {LOW} --models efficientnet_lite0,resnet18,mobilenet_v2,mobilenet_v2_035,ghostnet_050 "
        "--models regnetx_200mf,levit_128s --sizes 48,64,96 --weights auto --time 20m --rungs 2 "
        "--budget latency_ms=6 --budget latency_ms=8",
    ),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("name", nargs="?", choices=STUDIES)
    parser.add_argument("--elpv", default="elpv", help="folder of the photographs")
    options = parser.parse_args()
    if options.name is None:
        for name, (about, command) in STUDIES.items():
            print(f"{name}: {about}\n    paretina {command} --output runs/studies/{name}\n")
        return
    output = Path("runs/studies") / options.name
    words = shlex.split(STUDIES[options.name][1].replace("{elpv}", shlex.quote(options.elpv)))
    begun = words[0] == "frontier" and output.exists()
    words = ["frontier", "--resume", str(output)] if begun else [*words, "--output", str(output)]
    sys.exit(subprocess.run([sys.executable, "-m", "paretina", *words], check=False).returncode)


if __name__ == "__main__":
    main()
