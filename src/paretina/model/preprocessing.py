"""Converts preprocessing between Paretina and other libraries.

Paretina crops the central square of a picture and then resizes it; timm and torchvision resize the whole picture and then crop,
to whole pixels. The results differ by up to a pixel of the resized picture, which is a lot for small ones. So the code to paste
crops first, and the picture is the same up to the rounding of a resize.
"""

from collections.abc import Mapping
from typing import Any

from paretina.model.blueprint import Preprocessing


def in_words(preprocessing: Preprocessing, resolution: int) -> str:
    """Describes the preprocessing in one line."""
    if preprocessing.fit == "squash":
        kept = f"whole, squashed to {resolution} x {resolution} pixels"
    else:
        part = (
            "central square"
            if preprocessing.crop == 1
            else f"central square of {100 * preprocessing.crop:.4g} % of the shorter side"
        )
        kept = f"{part}, resized to {resolution} x {resolution} pixels"
    mean, std = (" ".join(f"{value:.4g}" for value in values) for values in (preprocessing.mean, preprocessing.std))
    return f"{kept}, {preprocessing.interpolation}, mean {mean}, std {std}"


# --- timm -------------------------------------------------------------------------------------------------------------------


def from_timm_config(config: Mapping[str, Any]) -> tuple[Preprocessing, int, tuple[str, ...]]:
    """The preprocessing and the test resolution of a timm data configuration, with notes on differences.

    Raises:
        ValueError: its input is not square or not in colour.
    """
    channels, rows, columns = config["input_size"]
    if channels != 3 or rows != columns:
        raise ValueError(f"the input size is {config['input_size']}; only square pictures with 3 channels are supported")
    crop, mode, resize = float(config["crop_pct"]), config["crop_mode"], config["interpolation"]
    notes: list[str] = []
    if mode == "border" or (mode == "squash" and crop < 1):
        notes.append(f"in evaluation timm keeps {crop:g} of a picture in its mode {mode!r}, Paretina squashes all of it")
    if resize not in ("bilinear", "bicubic"):
        notes.append(f"timm's interpolation {resize!r} is not supported: bicubic is used")
    preprocessing = Preprocessing(
        mean=tuple(map(float, config["mean"])),
        std=tuple(map(float, config["std"])),
        crop=crop if mode == "center" else 1.0,
        fit="crop" if mode == "center" else "squash",
        interpolation="bilinear" if resize == "bilinear" else "bicubic",
    )
    return preprocessing, rows, tuple(notes)


def timm_config(preprocessing: Preprocessing, resolution: int) -> dict[str, Any]:
    """The timm data configuration of a preprocessing, with timm's keys."""
    return {
        "input_size": [len(preprocessing.mean), resolution, resolution],
        "mean": list(preprocessing.mean),
        "std": list(preprocessing.std),
        "interpolation": preprocessing.interpolation,
        "crop_pct": 1.0 if preprocessing.fit == "squash" else preprocessing.crop,
        "crop_mode": "squash" if preprocessing.fit == "squash" else "center",
    }


def timm_lines(name: str, classes: int, file: str, preprocessing: Preprocessing, resolution: int) -> str:
    """Python code that loads weights in timm and applies the same preprocessing."""
    made = f"""\
timm.data.create_transform(
    (3, {resolution}, {resolution}),
    is_training=False,
    mean={preprocessing.mean},
    std={preprocessing.std},
    interpolation="{preprocessing.interpolation}",
    crop_pct=1.0,
    crop_mode="squash",
)"""
    cut = preprocessing.fit == "crop"
    return f"""\
import timm
import torch
from PIL import Image, ImageOps
{"from torchvision.transforms import Compose" + chr(10) + square(preprocessing) if cut else ""}
model = timm.create_model({quoted(name)}, num_classes={classes}, checkpoint_path={quoted(file)}).eval()
transform = {f"Compose([square, {made}])" if cut else made}
{ANSWER}"""


# --- torchvision ------------------------------------------------------------------------------------------------------------


def from_torchvision_preset(weights: Any) -> tuple[Preprocessing, int]:
    """The preprocessing and the test resolution that torchvision's own transforms of some weights ask for."""
    asked = weights.transforms()
    side, resized = asked.crop_size[0], asked.resize_size[0]
    preprocessing = Preprocessing(
        mean=tuple(asked.mean),
        std=tuple(asked.std),
        crop=min(1.0, side / resized),
        interpolation=asked.interpolation.value,
    )
    return preprocessing, side


def torchvision_lines(name: str, classes: int, file: str, preprocessing: Preprocessing, resolution: int) -> str:
    """Python code that loads weights in torchvision and applies the same preprocessing."""
    cut = preprocessing.fit == "crop"
    return f"""\
import safetensors.torch
import torch
import torchvision
from PIL import Image, ImageOps
from torchvision.transforms import v2
{square(preprocessing) if cut else ""}
model = torchvision.models.get_model({quoted(name)}, num_classes={classes}).eval()
model.load_state_dict(safetensors.torch.load_file({quoted(file)}))
transform = v2.Compose([
    {"square, " if cut else ""}v2.PILToTensor(),
    v2.Resize([{resolution}, {resolution}], v2.InterpolationMode.{preprocessing.interpolation.upper()}, antialias=True),
    v2.ToDtype(torch.float32, scale=True),
    v2.Normalize({list(preprocessing.mean)}, {list(preprocessing.std)}),
])
{ANSWER}"""


# --- shared code --------------------------------------------------------------------------------------------------------------


def square(preprocessing: Preprocessing) -> str:
    """Python code that crops the central square of a picture, before the resize."""
    return f"""\

def square(picture):
    side = max(1, int({preprocessing.crop} * min(picture.size) + 1 / 1024))
    left, top = ((length - side + 1) // 2 for length in picture.size)
    return picture.crop((left, top, left + side, top + side))

"""


ANSWER = """\
picture = ImageOps.exif_transpose(Image.open("picture.jpg")).convert("RGB")
with torch.inference_mode():
    logits = model(transform(picture)[None])"""
"""The common end: reads a picture upright and in colour, as Paretina does, and computes its logits."""


def quoted(text: str) -> str:
    """A Python string literal, in double quotes unless the text contains them."""
    return f'"{repr(text)[1:-1]}"' if not {"'", '"'} & set(text) else repr(text)


LINES = {"timm": timm_lines, "torchvision": torchvision_lines}
