"""ONNX, run by ONNX Runtime: the format that most runtimes and devices read.

On CPUs ONNX Runtime multiplies in float32 or int8; it has no convolution in bfloat16.
"""

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from paretina.run import write_aside
from paretina.ship.export import conversion, exported
from paretina.ship.format import Calibration, Format, Runner, Running
from paretina.ship.header import FEATURES, INPUT, KEY, Header, read
from paretina.ship.whole import Whole

OPSET = 20


class Onnx(Format):
    NAME = "onnx"
    SUFFIX = ".onnx"
    EXTRA = "onnx"
    MODULES = ("onnx", "onnxscript", "onnxruntime")
    PRECISIONS = {"float32": "exact up to rounding", "int8": "calibrated; weights per channel, activations per tensor"}

    def write(self, whole: Whole, path: Path, header: Header, calibration: Calibration | None = None) -> Header:
        self.require()
        model = graph(whole)
        if header.precision == "int8":
            from paretina.ship.quantise import quantised

            if calibration is None:
                raise ValueError("int8 needs pictures to calibrate on")
            model, steps = quantised(model, calibration)
            header = replace(header, steps=(*header.steps, *steps))
        put_header(model, header)
        write_aside(path, model.SerializeToString())
        return header

    def header(self, path: Path) -> Header:
        self.require()
        return header_of(path, loaded(path))

    def amended(self, path: Path, header: Header) -> None:
        model = loaded(path)
        put_header(model, header)
        write_aside(path, model.SerializeToString())

    def open(self, path: Path, threads: int | None = None) -> Running:
        self.require()
        import onnxruntime

        onnxruntime.disable_telemetry_events()
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        options.enable_cpu_mem_arena = False  # it would keep the memory of the largest picture, and some for each new size
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # or it keeps cores busy that others need
        # by itself it would take all cores of the machine, whatever those of this process are, and bind its threads to them
        options.intra_op_num_threads = threads or torch.get_num_threads()
        try:
            session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
            properties = session.get_modelmeta().custom_metadata_map
        except Exception as error:  # the runtime has its own exceptions
            raise ValueError(
                f"{path} is not a model that ONNX Runtime can load: {' '.join(str(error).split())[:300]}"
            ) from None
        header = read(path, properties.get(KEY))

        def output(name: str) -> Runner:
            def run(images: Tensor) -> Tensor:
                (found,) = session.run([name], {INPUT: images.contiguous().numpy()})
                return torch.from_numpy(found)

            return run

        names = [each.name for each in session.get_outputs()]
        features = output(FEATURES) if FEATURES in names else None
        return Running(path, header, output(header.output), features, f"onnxruntime {onnxruntime.__version__}")


def graph(whole: Whole) -> Any:
    """The ONNX model of a whole network."""
    program = exported(whole)
    with conversion(whole, Onnx.NAME, "openvino or torch-export"):
        written = torch.onnx.export(
            program,
            dynamo=True,
            external_data=False,
            opset_version=OPSET,
            input_names=[INPUT],
            output_names=list(whole.outputs),
            optimize=True,
            custom_translation_table={torch.ops.aten.sort.stable: stable_sort},
        )
    assert written is not None
    return written.model_proto


def stable_sort(values: Any, stable: bool | None = None, dim: int = -1, descending: bool = False) -> Any:
    """`sort.stable` in operators of ONNX, which torch's exporter has no translation of.

    Of equal values, TopK takes the one that stands first.
    """
    import onnxscript

    op: Any = onnxscript.opset20
    count = op.Reshape(op.Gather(op.Shape(values), dim), [1])
    return op.TopK(values, count, axis=dim, largest=int(descending), sorted=1)


def loaded(path: Path) -> Any:
    """The ONNX model in a file.

    Raises:
        ValueError: it is none.
    """
    import onnx

    try:
        return onnx.load_model_from_string(path.read_bytes())
    except Exception as error:  # protobuf has its own exceptions
        raise ValueError(f"{path} is not an ONNX file, or was truncated: {' '.join(str(error).split())[:300]}") from None


def header_of(path: Path, model: Any) -> Header:
    return read(path, next((entry.value for entry in model.metadata_props if entry.key == KEY), None))


def put_header(model: Any, header: Header) -> None:
    import onnx.helper

    onnx.helper.set_model_props(model, {KEY: header.text()})
    model.producer_name = "paretina"


FORMAT = Onnx()
