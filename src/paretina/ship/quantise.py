"""int8 by calibration: ranges from the user's own pictures, weights per channel, and the layers that suffer most left in float.

What is measured on is never the validation data: ranges come from training pictures, and which layers stay in float is decided
on other training pictures, by how many fewer of them are right than by the float network. So the gate, which looks at
validation pictures, judges a file that was not fitted to them. At most `MOST` layers stay in float: a network that needs more
is hardly an int8 network, and each takes another pass over the held pictures. The preprocessing is never quantised.

Source: Nagel et al. 2021, "A white paper on neural network quantization" (arXiv:2106.08295), sections 3 and 4.
"""

import logging
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from paretina.ship.export import quiet
from paretina.ship.format import Calibration
from paretina.ship.header import INPUT, OUTPUT
from paretina.system import signal_stack_kept
from paretina.text import how_many

QUANTISED = ("Conv", "Gemm", "MatMul", "Add", "Mul", "GlobalAveragePool", "AveragePool", "MaxPool", "Concat", "ReduceMean")
"""Kinds of ONNX nodes that compute in int8: layers with weights, and what stands between them, since each change of precision
costs a pass over the map."""

RANKED = ("Conv", "Gemm", "MatMul")
"""Kinds of nodes that can be left in float one by one."""

STEPS = (0, 2, 4, 8, 16)
"""Numbers of layers that are left in float, tried in turn."""

RANKED_ON = 32
"""Pictures on which the layers are ranked."""

MOST = STEPS[-1]
"""Layers that are left in float at most."""


def quantised(model: Any, calibration: Calibration) -> tuple[Any, tuple[str, ...]]:
    """An ONNX model in int8 by ONNX Runtime's static quantiser, and what was done, a sentence each.

    Ranges are the extremes over all calibration pictures, or the mean extremes over small groups of them, which leaves out
    rare values: whichever changes fewer answers.

    Raises:
        ValueError: it cannot be quantised.
    """
    import onnx

    with quiet(), tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "float.onnx"
        prepare(model, path)
        names = preprocessing_nodes(onnx.load(path))
        every = [node.name for node in onnx.load(path).graph.node if node.op_type in RANKED and node.name not in names]
        tried: list[tuple[float, Tensor, Any, str]] = []
        ranges = {
            "extremes": measured(path, calibration.pictures, False, names),
            "mean extremes": measured(path, calibration.pictures, True, names),
        }
        for which, found in ranges.items():
            quick = with_int8(path, found, names)
            answers = answers_of(quick, calibration)
            tried.append((calibration.changed(answers), answers, quick, which))
        share, answers, best, which = min(tried, key=lambda each: each[0])
        left: tuple[str, ...] = ()
        if calibration.lost(answers) > calibration.most:
            order = ranked(path, ranges[which], names, every, calibration)
            for count in STEPS[1:]:
                kept = tuple(order[:count])
                candidate = with_int8(path, ranges[which], {*names, *kept})
                now = answers_of(candidate, calibration)
                if calibration.changed(now) < share:
                    share, answers, best, left = calibration.changed(now), now, candidate, kept
                if calibration.lost(answers) <= calibration.most or count >= len(every):
                    break
    return best, (
        f"int8 by ONNX Runtime {version_of('onnxruntime')}: ranges of "
        f"{how_many(len(calibration.pictures), 'training picture')} ({which}); {on_others(answers, calibration)}",
        *kept_in_float(left, len(every)),
    )


def on_others(answers: Tensor, calibration: Calibration) -> str:
    """What became of the held pictures, in words."""
    held = how_many(len(calibration.held), "other training picture")
    moved, more = 100 * calibration.changed(answers), -100 * calibration.lost(answers)
    return f"of {held} {moved:.2f} % change their answer, and the share that is right moves by {more:+z.2f} points"


def kept_in_float(left: Sequence[str], count: int) -> tuple[str, ...]:
    """A sentence that names the layers which stay in float, if there are any."""
    return (f"{how_many(len(left), 'layer')} of {count} left in float32: {', '.join(left)}",) if left else ()


def version_of(package: str) -> str:
    from importlib.metadata import version

    return version(package)


# --- ONNX Runtime -------------------------------------------------------------------------------------------------------------


def prepare(model: Any, path: Path) -> None:
    """Writes a model with the shapes of its tensors, as the quantiser needs it."""
    import onnx
    from onnxruntime.quantization.shape_inference import quant_pre_process

    source = path.with_name("whole.onnx")
    onnx.save_model(model, source)
    quant_pre_process(source, path, skip_symbolic_shape=True, skip_optimization=False)


def preprocessing_nodes(model: Any) -> set[str]:
    """Names of the nodes before the first convolution: the resize and the normalisation."""
    made = {output: node for node in model.graph.node for output in node.output}
    first = next((node for node in model.graph.node if node.op_type == "Conv"), None)
    if first is None:
        raise ValueError("this network has no convolution, so where its preprocessing ends is not known; ship it in float32")
    found: set[str] = set()
    waiting = [made[name] for name in first.input if name in made]
    while waiting:
        node = waiting.pop()
        if node.name not in found:
            found.add(node.name)
            waiting += [made[name] for name in node.input if name in made]
    # what depends on the pixels and is used by nothing but these
    return found


class OneByOne:
    """Pictures one after the other, as the calibrator asks for them."""

    def __init__(self, pictures: Sequence[Tensor]) -> None:
        self.left: Iterator[Tensor] = iter(pictures)

    def get_next(self) -> dict[str, np.ndarray] | None:
        image = next(self.left, None)
        return None if image is None else {INPUT: image[None].contiguous().numpy()}


def measured(path: Path, pictures: Sequence[Tensor], mean: bool, names: set[str]) -> Any:
    """Ranges of all activations.

    Args:
        mean: whether the extremes are averaged over pictures.
        names: nodes that are left out.
    """
    from onnxruntime.quantization.calibrate import CalibrationMethod, create_calibrator

    options = {"moving_average": mean, "averaging_constant": 0.05}
    calibrator = create_calibrator(
        path,
        list(QUANTISED),
        augmented_model_path=str(path.with_name("calibrated.onnx")),
        calibrate_method=CalibrationMethod.MinMax,
        extra_options=options,
    )
    for start in range(0, len(pictures), 16):  # what was computed is kept until it is reduced
        calibrator.collect_data(OneByOne(pictures[start : start + 16]))
    return calibrator.compute_data()


def with_int8(path: Path, ranges: Any, excluded: set[str]) -> Any:
    """The model with all nodes in int8 but those that are excluded."""
    import onnx
    from onnxruntime.quantization import QuantType
    from onnxruntime.quantization.qdq_quantizer import QDQQuantizer

    quantizer = QDQQuantizer(
        onnx.load(path),
        True,  # weights per channel
        False,  # the whole range of eight bits
        QuantType.QInt8,
        QuantType.QUInt8,
        ranges,
        [],
        sorted(excluded),
        list(QUANTISED),
        {"ForceQuantizeNoInputCheck": False},
    )
    quantizer.quantize_model()
    return quantizer.model.model


def session(model: Any) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def shares_of(model: Any, pictures: Sequence[Tensor]) -> Tensor:
    running = session(model)
    return torch.cat([torch.from_numpy(running.run([OUTPUT], {INPUT: image[None].numpy()})[0]) for image in pictures])


def answers_of(model: Any, calibration: Calibration) -> Tensor:
    """The classes that a model gives the held training pictures."""
    return shares_of(model, calibration.held).argmax(1)


def ranked(path: Path, ranges: Any, names: set[str], every: Sequence[str], calibration: Calibration) -> list[str]:
    """The layers by how far the probabilities move where each alone is in int8, farthest first."""
    import onnx

    some = calibration.held[:RANKED_ON]
    wanted = shares_of(onnx.load(path), some).clamp(min=1e-9).log()
    moved = {}
    for name in every:
        others = {*names, *every} - {name}
        found = shares_of(with_int8(path, ranges, others), some).clamp(min=1e-9).log()
        moved[name] = float((found - wanted).square().mean())
    return sorted(every, key=lambda name: -moved[name])


# --- NNCF ---------------------------------------------------------------------------------------------------------------------


def quantised_openvino(model: Any, calibration: Calibration) -> tuple[Any, tuple[str, ...]]:
    """An OpenVINO model in int8 by NNCF, with its bias correction, and what was done, a sentence each.

    Where too many answers are lost, NNCF ranks the layers and takes them back to float one after the other, `MOST` of them.

    Raises:
        ValueError: it cannot be quantised.
    """
    with quiet():
        nncf = quiet_nncf()
    ignored = nncf.IgnoredScope(names=before_first_convolution(model))
    given = nncf.Dataset([image[None].contiguous().numpy() for image in calibration.pictures])
    settings = {"preset": nncf.QuantizationPreset.MIXED, "ignored_scope": ignored, "subset_size": len(calibration.pictures)}
    with quiet(), signal_stack_kept():
        found = nncf.quantize(model, given, **settings)
        answers = openvino_answers_of(found, calibration)
    left = ""
    if calibration.lost(answers) > calibration.most:
        labels = calibration.labels.tolist()
        held = nncf.Dataset(
            [(image[None].contiguous().numpy(), label) for image, label in zip(calibration.held, labels, strict=True)]
        )

        def right(compiled: Any, data: Any) -> tuple[float, None]:
            same = [int(np.argmax(compiled({0: image})[0])) == label for image, label in data]
            return sum(same) / max(1, len(same)), None

        with quiet(), signal_stack_kept():
            again = nncf.quantize_with_accuracy_control(
                model,
                given,
                held,
                right,
                max_drop=calibration.most,
                drop_type=nncf.DropType.ABSOLUTE,
                advanced_accuracy_restorer_parameters=nncf.AdvancedAccuracyRestorerParameters(
                    max_num_iterations=MOST, ranking_subset_size=RANKED_ON
                ),
                **settings,
            )
            now = openvino_answers_of(again, calibration)
        if calibration.lost(now) < calibration.lost(answers):
            before, after = rounded_layers(found), rounded_layers(again)
            left = f"; NNCF took {before - after} of {how_many(before, 'layer')} back to float"
            found, answers = again, now
    return found, (
        f"int8 by NNCF {version_of('nncf')}: ranges of {how_many(len(calibration.pictures), 'training picture')}, "
        f"{how_many(rounded_layers(found), 'layer')} in int8; {on_others(answers, calibration)}{left}",
    )


def rounded_layers(model: Any) -> int:
    """The number of convolutions and matrix products of an OpenVINO model whose second factor is rounded to int8."""
    passed = ("Reshape", "Convert", "Transpose", "Multiply", "Subtract")
    count = 0
    for op in model.get_ops():
        if op.get_type_name() not in ("Convolution", "GroupConvolution", "MatMul"):
            continue
        before = op.input_value(1).get_node()
        while before.get_type_name() in passed:
            before = before.input_value(0).get_node()
        constant = before.get_type_name() == "Constant" and before.get_element_type().get_type_name() in ("i8", "u8")
        count += constant or before.get_type_name() == "FakeQuantize"
    return count


def quiet_nncf() -> Any:
    """NNCF without its messages; it is imported inside `quiet`, where it decides about telemetry."""
    import nncf

    nncf.set_log_level(logging.ERROR)
    return nncf


def before_first_convolution(model: Any) -> list[str]:
    """Names of the operations of the preprocessing."""
    first = next((op for op in model.get_ordered_ops() if op.get_type_name() in ("Convolution", "GroupConvolution")), None)
    if first is None:
        raise ValueError("this network has no convolution, so where its preprocessing ends is not known; ship it in float32")
    found: dict[str, None] = {}
    waiting = [first.input_value(0).get_node()]
    while waiting:
        op = waiting.pop()
        name = op.get_friendly_name()
        if name in found or op.get_type_name() in ("Parameter", "Constant"):
            continue
        found[name] = None
        waiting += [value.get_node() for value in op.input_values()]
    return list(found)


def openvino_answers_of(model: Any, calibration: Calibration) -> Tensor:
    """As `answers_of`."""
    import openvino

    compiled = openvino.Core().compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return torch.tensor([int(np.argmax(compiled({0: image[None].contiguous().numpy()})[0])) for image in calibration.held])
