"""Shipped files beside timm's network in OpenVINO and in eager torch: pixels in, probabilities out, on this CPU.

    pip install 'paretina[benchmarks,onnx,openvino]'
    python benchmarks/shipped.py --seconds 60 efficientnet_b0 resnet50

For each network, in turn in one process: our OpenVINO file in float32 and bfloat16 and our ONNX file, from pixels; our network
in inference form and timm's of the same name, both converted by OpenVINO itself in float32 and bfloat16, from a prepared float
tensor; and timm's network in eager float32 with channels last. Weights are random: nothing here depends on them. Ratios are of
medians, with 95 % intervals over rounds. The networks alone are the same work; the files do the preprocessing as well. Files
are compiled for the shape of the pictures, but one of OpenVINO's that is left as it is opened, for any shape.
"""

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

import openvino
import timm
import torch

from paretina.measure.machine import Device
from paretina.measure.timing import Turns, ratio
from paretina.model.family import network_named
from paretina.model.tasks.one_of import OneOf
from paretina.model.weights import About
from paretina.ship.export import quiet
from paretina.ship.format import format_named
from paretina.ship.formats import openvino as shapes_in_openvino
from paretina.ship.header import Header
from paretina.ship.steps import in_inference_form
from paretina.ship.whole import Whole

ANY = "any shape"

shapes_in_openvino.OFTEN = 10**9  # only what is asked to fit a shape does

PEERS = {
    "efficientnet_b0": "tf_efficientnet_b0",
    "efficientnetv2_s": "tf_efficientnetv2_s",
    "resnet50": "resnet50",
    "levit_192": "levit_192",
    "convnext_tiny": "convnext_tiny",
}
"""timm's name of each network."""


def file_of(name: str, to: str, precision: str, folder: Path) -> Any:
    """Our network as a shipped file, opened."""
    blueprint = network_named(name).blueprint
    torch.manual_seed(0)
    network = blueprint.build().eval()
    about = About(tuple(map(str, range(blueprint.classes))))
    format = format_named(to)
    path = folder / f"{name}-{precision}{format.SUFFIX}"
    header = Header(about, blueprint.preprocessing, blueprint.resolution, 3, precision)  # type: ignore[arg-type]
    format.write(Whole(in_inference_form(network)[0], OneOf(), features=False), path, header)
    return format.open(path)


def converted(network: torch.nn.Module, batch: int, side: int, hint: str) -> Any:
    """A network converted by OpenVINO; takes nothing, on a prepared tensor."""
    images = torch.rand(batch, 3, side, side)
    with quiet(), torch.no_grad():
        try:
            model = openvino.convert_model(network.eval(), example_input=images)
        except Exception:  # what it cannot trace it takes as torch exports it
            model = openvino.convert_model(torch.export.export(network.eval(), (images,)))
    model.reshape([batch, 3, side, side])
    settings = {"INFERENCE_PRECISION_HINT": hint, "PERFORMANCE_HINT": "LATENCY"}
    request = openvino.Core().compile_model(model, "CPU", settings).create_infer_request()
    array = images.numpy()
    return lambda: request.infer({0: array}, share_inputs=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", default=list(PEERS), choices=list(PEERS), metavar="NETWORK")
    parser.add_argument("--batch", type=int, nargs="+", default=[1, 32])
    parser.add_argument("--seconds", type=float, default=60.0, help="for each network and batch size; default: %(default)g")
    options = parser.parse_args()
    print(json.dumps(Device.here().to_dict()))
    for name in options.names:
        side = network_named(name).blueprint.resolution
        with tempfile.TemporaryDirectory() as folder:
            ours = {
                f"ours {to} {precision}": file_of(name, to, precision, Path(folder))
                for to, precision in (("openvino", "float32"), ("openvino", "bfloat16"), ("onnx", "float32"))
            }
            ours[f"ours openvino float32, {ANY}"] = file_of(name, "openvino", "float32", Path(folder))
        eager = timm.create_model(PEERS[name]).eval().to(memory_format=torch.channels_last)
        for batch in options.batch:
            pixels = torch.randint(0, 256, (batch, 3, side, side), dtype=torch.uint8)
            images = torch.rand(batch, 3, side, side).contiguous(memory_format=torch.channels_last)

            def in_torch(images: torch.Tensor = images, eager: Any = eager) -> Any:
                with torch.inference_mode():
                    return eager(images)

            for label, file in ours.items():
                if ANY not in label:
                    file.fit(pixels)
            steps = {label: lambda file=file, pixels=pixels: file.run(pixels) for label, file in ours.items()}
            for hint in ("f32", "bf16"):
                alone = in_inference_form(network_named(name).blueprint.build().eval())[0]
                steps[f"our network alone {hint}"] = converted(alone, batch, side, hint)
                steps[f"timm openvino {hint}"] = converted(timm.create_model(PEERS[name]), batch, side, hint)
            steps["timm eager"] = in_torch
            found = Turns(seconds=options.seconds).run(steps)
            best = min(("timm openvino f32", "timm openvino bf16"), key=lambda label: found[label].p50.value)
            alone_best = min(("our network alone f32", "our network alone bf16"), key=lambda label: found[label].p50.value)
            files = [label for label in ours if "openvino" in label and ANY not in label]
            mine = min(files, key=lambda label: found[label].p50.value)
            for label, series in found.items():
                late = f", p95 {series.p95.value:.2f}" if series.p95 else ""
                print(
                    f"{name} x {batch}: {label}: {series.p50.value:.2f} ms [{series.p50.low:.2f}, {series.p50.high:.2f}]{late}"
                )
            for label, one, other in (
                (f"{alone_best} against {best}", best, alone_best),
                (f"{alone_best} against timm eager", "timm eager", alone_best),
                (f"{mine} against {best}", best, mine),
                (f"{mine} against timm eager", "timm eager", mine),
                (f"{files[0]} against the same, {ANY}", f"{files[0]}, {ANY}", files[0]),
                ("ours onnx float32 against timm eager", "timm eager", "ours onnx float32"),
            ):
                value, low, high = ratio(found[one], found[other])
                print(f"{name} x {batch}: {label}: {value:.2f} times as fast [{low:.2f}, {high:.2f}]", flush=True)


if __name__ == "__main__":
    main()
