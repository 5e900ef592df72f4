"""OpenVINO: usually the fastest on CPUs, and the only one here with bfloat16 in one file that any CPU can load.

OpenVINO's own format is a pair of files; here they are one zip archive, without compression, with the header beside them:
`model.xml`, `model.bin`, `paretina.json`. Ten lines open it without this library, see docs/shipping.md.
"""

import io
import json
import os
import subprocess
import sys
import tempfile
import zipfile
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from paretina.run import write_aside
from paretina.ship.export import conversion, exported, quiet
from paretina.ship.format import Calibration, Format, Runner, Running
from paretina.ship.header import INPUT, Header, read
from paretina.ship.whole import Whole
from paretina.system import signal_stack_kept

GRAPH, WEIGHTS, HEADER = "model.xml", "model.bin", "paretina.json"
"""The members of the archive."""

MOST_GRAPH = 64 << 20
"""Bytes of a graph at most; that of the largest network here has a few million."""

MOST_WEIGHTS = 4 << 30


class OpenVino(Format):
    NAME = "openvino"
    SUFFIX = ".ovz"
    EXTRA = "openvino"
    MODULES = ("openvino",)
    PRECISIONS = {
        "float32": "exact up to rounding",
        "bfloat16": "multiplied in bfloat16 where the processor can, weights stored in float16",
        "int8": "calibrated by NNCF; weights per channel, activations per tensor",
    }

    def write(self, whole: Whole, path: Path, header: Header, calibration: Calibration | None = None) -> Header:
        self.require()
        model = converted(whole)
        if header.precision == "int8":
            from paretina.ship.quantise import quantised_openvino

            if calibration is None:
                raise ValueError("int8 needs pictures to calibrate on")
            model, steps = quantised_openvino(model, calibration)
            header = replace(header, steps=(*header.steps, *steps))
        write_aside(path, archive(*saved(model, header.precision == "bfloat16"), header))
        return header

    def header(self, path: Path) -> Header:
        return read(path, members(path, HEADER)[HEADER].decode("utf-8", "replace"))

    def amended(self, path: Path, header: Header) -> None:
        inside = members(path, GRAPH, WEIGHTS)
        write_aside(path, archive(inside[GRAPH], inside[WEIGHTS], header))

    def open(self, path: Path, threads: int | None = None) -> Running:
        self.require()
        header = self.header(path)
        inside = members(path, GRAPH, WEIGHTS)
        with quiet():
            import openvino
        settings: dict[str, Any] = {
            # by default some processors compute in bfloat16, whatever the file is
            "INFERENCE_PRECISION_HINT": "bf16" if header.precision == "bfloat16" else "f32",
            "PERFORMANCE_HINT": "LATENCY",
        }
        if threads is None and "OMP_NUM_THREADS" in os.environ:
            threads = torch.get_num_threads()
        if threads is not None:  # otherwise it knows the cores of this process, and which of them are fast
            settings["INFERENCE_NUM_THREADS"] = threads
        try:
            core = openvino.Core()
            weights = openvino.Tensor(np.frombuffer(inside[WEIGHTS], np.uint8).copy())
            model = core.read_model(inside[GRAPH], weights)

            def compiled(shape: Shape | None) -> Any:
                own = model if shape is None else model.clone()
                if shape is not None:
                    own.reshape(list(shape))
                with signal_stack_kept():
                    return core.compile_model(own, "CPU", settings).create_infer_request()

            requests = ShapedRequests(compiled, lambda shape: compiles(inside, shape, settings))
        except Exception as error:  # the runtime has its own exceptions
            raise ValueError(f"{path} is not a model that OpenVINO can load: {' '.join(str(error).split())[:300]}") from None

        def output(number: int) -> Runner:
            def run(images: Tensor) -> Tensor:
                found = requests.of(tuple(images.shape)).infer({0: images.contiguous().numpy()}, share_inputs=True)
                return torch.from_numpy(np.array(found[number], dtype=np.float32))

            return run

        features = output(1) if len(model.outputs) > 1 else None
        version = f"openvino {openvino.__version__.partition('-')[0]}"
        return Running(path, header, output(0), features, version, lambda images: requests.fit(tuple(images.shape)))


Shape = tuple[int, ...]

OFTEN = 100
"""Pictures of one shape after which the model is compiled for it: that takes as long as is then saved on some hundred more."""

MOST_SHAPES = 2
"""Shapes that the model is compiled for at a time; each has a copy of the weights."""


class ShapedRequests:
    """Requests of a model: one for pictures of any shape, and others for shapes that come again and again.

    Compiled for one shape, a model is 1.2 to 1.45 times as fast (records/ship), with the same answers up to rounding.

    Args:
        compiled: makes a request for a shape, or for any.
        bears: whether the model can be compiled for a shape.
    """

    def __init__(self, compiled: Callable[[Shape | None], Any], bears: Callable[[Shape], bool] = lambda shape: True) -> None:
        self.compiled = compiled
        self.bears = bears
        self.unfit: set[Shape] = set()
        self.any = compiled(None)
        self.seen: Counter[Shape] = Counter()
        self.fitted: dict[Shape, Any] = {}

    def of(self, shape: Shape) -> Any:
        """The request for pictures of a shape."""
        if shape not in self.fitted:
            if self.seen[shape] < OFTEN:
                self.seen[shape] += shape[0]
                return self.any
            self.fit(shape)
        return self.fitted.get(shape, self.any)

    def fit(self, shape: Shape) -> None:
        """Compiles the model for a shape, if it can be; the one that was fitted first gives way."""
        if shape in self.fitted or shape in self.unfit:
            return
        if not self.bears(shape):
            self.unfit.add(shape)
            return
        if len(self.fitted) == MOST_SHAPES:
            oldest = next(iter(self.fitted))
            del self.fitted[oldest], self.seen[oldest]
        self.fitted[shape] = self.compiled(shape)


TRIAL = """
import json, sys
import numpy as np
import openvino
length, shape, settings = json.loads(sys.argv[1])
graph, weights = sys.stdin.buffer.read(length), sys.stdin.buffer.read()
model = openvino.Core().read_model(graph, openvino.Tensor(np.frombuffer(weights, np.uint8).copy()))
model.reshape(shape)
openvino.Core().compile_model(model, "CPU", settings)
"""
TRIAL_S = 60.0


def compiles(inside: Mapping[str, bytes], shape: Shape, settings: Mapping[str, Any]) -> bool:
    """Whether OpenVINO can compile the model in an archive for a shape, tried in a process of its own.

    On some processors it ends the whole process with a segmentation fault (seen with 2026.4 on one with AVX2 alone: networks of
    grouped convolutions, for two pictures or more), which no program can catch.
    """
    asked = json.dumps([len(inside[GRAPH]), list(shape), dict(settings)])
    both = inside[GRAPH] + inside[WEIGHTS]
    words = [sys.executable, "-c", TRIAL, asked]
    try:
        # no pipes for what it says: after a crash nobody would close them
        nowhere = subprocess.DEVNULL
        ran = subprocess.run(words, input=both, stdout=nowhere, stderr=nowhere, timeout=TRIAL_S, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return ran.returncode == 0


def converted(whole: Whole) -> Any:
    """The OpenVINO model of a whole network."""
    program = exported(whole)
    with conversion(whole, OpenVino.NAME, "onnx or torch-export"):
        import openvino

        model = openvino.convert_model(program)
    model.inputs[0].get_tensor().set_names({INPUT})
    for output, name in zip(model.outputs, whole.outputs, strict=True):
        output.get_tensor().set_names({name})
    return model


def saved(model: Any, half: bool) -> tuple[bytes, bytes]:
    """The graph and the weights of a model as OpenVINO writes them.

    Args:
        half: whether weights are stored in float16.
    """
    import openvino

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / GRAPH
        openvino.save_model(model, path, compress_to_fp16=half)
        return path.read_bytes(), (Path(folder) / WEIGHTS).read_bytes()


def archive(graph: bytes, weights: bytes, header: Header) -> bytes:
    """The bytes of one file, the same for the same contents."""
    found = io.BytesIO()
    with zipfile.ZipFile(found, "w", zipfile.ZIP_STORED) as file:
        text = json.dumps(header.to_dict(), indent=2).encode()
        for name, data in ((HEADER, text), (GRAPH, graph), (WEIGHTS, weights)):
            file.writestr(zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0)), data)
    return found.getvalue()


def members(path: Path, *names: str) -> dict[str, bytes]:
    """Members of the archive in a file.

    Raises:
        ValueError: it is no such archive, or a member is missing, damaged or too large.
    """
    try:
        with zipfile.ZipFile(path) as file:
            for name in names:
                most = MOST_WEIGHTS if name == WEIGHTS else MOST_GRAPH
                if file.getinfo(name).file_size > most:
                    raise ValueError(f"{name} in it has over {most:,} bytes")
            return {name: file.read(name) for name in names}
    except KeyError as error:
        raise ValueError(f"{path} is not a shipped OpenVINO model: {error.args[0]}") from None
    except (zipfile.BadZipFile, ValueError, OSError, EOFError, NotImplementedError, RuntimeError) as error:
        raise ValueError(f"{path} is not a shipped OpenVINO model, or was truncated: {error}") from None


FORMAT = OpenVino()
