"""Shipped files beside the trained networks that they are made of: one member of each family, each format, 1,000 pictures.

    pip install 'paretina[onnx,openvino]'
    python benchmarks/folder_sets.py sets fashion2k
    python benchmarks/parity.py parity --data sets/fashion2k --families resnet mobilenet

Each network is trained until it is well above chance (60 % top-1 is asked for), and written in float32. Then, on 1,000
validation pictures: from pictures that are prepared already (uint8 at the network's size, so that the file's own resize
changes nothing) the largest difference of a probability, and of a log-probability relative to their range; from raw pixels
what the gate of `paretina ship` finds. Batches of 1, 3 and 32, and pictures of 1 x 1, 3000 x 40 and three other shapes, must
answer as one picture at a time does in torch.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path

import torch

from paretina.data.preprocess import preprocess
from paretina.data.sources.folder import Folder
from paretina.measure.plan import machine
from paretina.model.build import Network
from paretina.model.weights import load_model
from paretina.ship.format import format_named

MEMBERS = {
    "resnet": "resnet18",
    "mobilenet": "mobilenet_v2_050",
    "efficientnet": "efficientnet_lite0",
    "efficientnetv2": "efficientnetv2_b0",
    "regnet": "regnetx_400mf",
    "ghostnet": "ghostnet_100",
    "g16": "g16_efficientnet_b0",
    "convnext": "convnext_w32_s2",
    "levit": "levit_128s",
    "deit": "deit_tiny",
    "small": "resnet9_w16",
}
SHAPES = ((1, 1), (3000, 40), (31, 97), (64, 64), (200, 133))
PICTURES = 1000
RECIPE = ["--weights", "none", "--recipe", "fast", "workers=0", "batch_size=32", "lr=0.003", "test.every=1000"]


def trained(out: Path, family: str, options: argparse.Namespace) -> Path:
    """The run of a family's member, trained now unless it is there."""
    run = out / family
    if not (run / "result.json").exists():
        words = ["train", str(options.data), "--model", MEMBERS[family], *RECIPE, f"threads={options.threads}"]
        words += [f"size={options.size}", f"model.resolution={options.size}", f"epochs={options.epochs}"]
        words += ["--output", str(run)]
        with (out / f"{family}.log").open("w") as log:
            subprocess.run([sys.executable, "-m", "paretina", *words], check=True, stdout=log, stderr=log)
    return run


@torch.inference_mode()
def prepared_gap(network: Network, run: object, images: torch.Tensor) -> tuple[float, float]:
    """Largest difference of a probability, and of a log-probability relative to the range of the network's own."""
    ours = torch.cat([network(part).log_softmax(1) for part in images.split(50)])
    theirs = torch.cat([run(part) for part in images.split(50)])  # type: ignore[operator]
    seen = ours.exp() > 1e-6
    apart = (theirs.clamp(min=1e-30).log() - ours).abs()[seen].max() / (ours.max() - ours.min())
    return float((theirs - ours.exp()).abs().max()), float(apart)


@torch.inference_mode()
def pixel_gaps(network: Network, run: object) -> float:
    """Largest difference of a probability over batches and shapes of raw pictures."""
    random = torch.Generator().manual_seed(0)
    worst = 0.0
    for rows, columns in SHAPES:
        for batch in (1, 3, 32):
            images = torch.randint(0, 256, (batch, 3, rows, columns), dtype=torch.uint8, generator=random)
            model = network.model
            seen = torch.stack([preprocess(image, model.preprocessing, model.resolution) for image in images])
            worst = max(worst, float((run(images) - network(seen).softmax(1)).abs().max()))  # type: ignore[operator]
    return worst


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--data", type=Path, required=True, help="a folder of pictures, such as fashion2k of folder_sets.py")
    parser.add_argument("--families", nargs="+", default=list(MEMBERS), choices=list(MEMBERS))
    parser.add_argument("--formats", nargs="+", default=["onnx", "openvino", "torch-export"])
    parser.add_argument("--epochs", type=float, default=4.0)
    parser.add_argument("--size", type=int, default=48)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    here = machine()
    print(f"{here['cpu']}, {here['cores']} cores, torch {here['torch']}\n")
    print(
        "| network | top-1 % | format | prepared: probability | log-probability / range | shapes | gate: agreement | largest |"
    )
    print("|---|---|---|---|---|---|---|---|")
    for family in options.families:
        run = trained(options.out, family, options)
        network, _ = load_model(run / "model.safetensors")
        top1 = json.loads((run / "result.json").read_text())["metrics"]["val/top1"]
        collection = Folder(path=str(options.data)).open()
        every = collection.split("val")
        samples = every[:: len(every) // PICTURES][:PICTURES]
        model = network.model
        pictures = [preprocess(collection.image(sample), model.preprocessing, model.resolution) for sample in samples]
        images = torch.stack(pictures)
        for to in options.formats:
            file = options.out / f"{family}{format_named(to).SUFFIX}"
            file.unlink(missing_ok=True)
            words = ["ship", str(run), "--to", to, "--out", str(file), "--seconds", "0", "--json"]
            said = subprocess.run([sys.executable, "-m", "paretina", *words], capture_output=True, text=True, check=False)
            gate = json.loads(said.stdout)
            gate = gate.get("gate", gate)
            opened = format_named(to).open(file)
            share, logs = prepared_gap(network, opened.run, images)
            shapes = pixel_gaps(network, opened.run)
            print(
                f"| {MEMBERS[family]} | {top1:.1f} | {to} | {share:.1e} | {logs:.1e} | {shapes:.1e} | "
                f"{100 * gate['agreement']:.2f} % | {gate['largest']:.1e} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
