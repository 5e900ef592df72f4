"""The studies behind `records/`, each one command of `paretina`, by name.

    python benchmarks/studies.py                    # what there is, and the command of each
    python benchmarks/studies.py ablation-clipart   # runs it; interrupted, the same command goes on
    python benchmarks/studies.py frontier-elpv --elpv elpv/

The folder of elpv comes from `benchmarks/elpv.py`. Studies leave everything in `runs/studies/NAME`, with a report in HTML. They
are made for two processors: networks of at most 40 million MACs, at most 90 s a run. Run one at a time, or their times say
nothing.
"""

import argparse
import shlex
import subprocess
import sys
from pathlib import Path

RESNET = (
    "--model resnet18 model.stem.pool=false model.stem.width=16 model.stages.0.width=16 model.stages.1.width=32 "
    "model.stages.2.width=64 model.stages.3.width=128"
)
B0 = "--model efficientnet_b0 edits.Scale=on edits.Scale.width=0.5"
STUDIES = {
    "ablation-clipart": (
        "what each refinement of the default recipe from scratch brings, and bfloat16",
        f"ablate scratch clipart {RESNET} size=48 epochs=6 --seeds 5 --defaults --switch precision=float32",
    ),
    "precision-shapes": (
        "bfloat16 with depthwise layers in float32 against float32, in a network of depthwise convolutions",
        f"ablate scratch shapes {B0} size=64 epochs=2 --seeds 5 --switch precision=float32",
    ),
    "progressive-shapes": (
        "rising size with adaptive or fixed regularisation, and random sizes, against a constant size",
        f"ablate scratch shapes {RESNET} size=64 epochs=5 --seeds 3 --add progressive=32:64 "
        "--add progressive=32:64:constant --add progressive=32:64:random",
    ),
    "strength-shapes": (
        "two image sizes and three strengths of mixing: weak ones for small images, strong ones for large images?",
        f"ablate scratch shapes {RESNET} size=64 epochs=8 --seeds 3 --add transforms.MixOrCut.probability=0.0 "
        "--add transforms.MixOrCut.probability=1.0 --add size=32 --add 'size=32 transforms.MixOrCut.probability=0.0' "
        "--add 'size=32 transforms.MixOrCut.probability=1.0'",
    ),
    "groups-shapes": (
        "depthwise convolutions against groups of 4 and 16 channels and fused blocks",
        f"ablate scratch shapes {B0} size=64 epochs=4 --seeds 3 --add 'edits.Regroup=on edits.Regroup.group_width=4' "
        "--add edits.Regroup --add edits.Fuse",
    ),
    "norms-shapes": (
        "batch norm at 32 and 2 images against group, layer and proxy norm",
        f"ablate scratch shapes {RESNET} size=32 epochs=2 --seeds 3 batch_size=32 --add edits.Renorm "
        '--add \'edits.Renorm=on edits.Renorm.norm={"kind":"GroupNorm","groups":1}\' '
        '--add \'edits.Renorm=on edits.Renorm.norm={"kind":"ProxyNorm"}\' --add batch_size=2',
    ),
    "fast-elpv": (
        "fewer epochs and rising sizes in fine-tuning, for a recipe that is fast",
        "ablate finetune {elpv} --model efficientnet_lite0 --weights auto size=96 --seeds 3 --add progressive=48:96 "
        "--add epochs=4 --add 'epochs=4 progressive=48:96' --add 'epochs=2 progressive=48:96'",
    ),
    "frontier-elpv": (
        "seven networks at three sizes on photographs of solar cells",
        "frontier {elpv} --models efficientnet_lite0,resnet18,mobilenet_v2,mobilenet_v2_035,ghostnet_050,regnetx_200mf "
        "--models levit_128s --sizes 48,64,96 --weights auto --time 15m --rungs 2 "
        "--budget latency_ms=15 --budget latency_ms=25",
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
