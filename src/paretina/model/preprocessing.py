"""Preprocessing: that of a network in the words of other libraries, and theirs as ours.

Here the central square is cut out of a picture and then resized; timm and torchvision resize the whole picture and cut then, to
whole pixels. What the two see differs by up to a pixel of the resized picture, which is much where that is small. So the lines
to paste cut first, and the picture is the same but for the rounding of a resize.
"""

from collections.abc import Mapping
from typing import Any

from paretina.model.blueprint import Preprocessing


def in_words(preprocessing: Preprocessing, resolution: int) -> str:
    """How pictures are prepared, in one line."""
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
    """The preprocessing and the test resolution that timm's data configuration asks for, and remarks on what differs.

    Raises:
        ValueError: it asks for other pictures than square ones in colour.
    """
    channels, rows, columns = config["input_size"]
    if channels != 3 or rows != columns:
        raise ValueError(f"pictures of {config['input_size']} are asked for; only square ones with 3 channels are known here")
    crop, mode, resize = float(config["crop_pct"]), config["crop_mode"], config["interpolation"]
    notes: list[str] = []
    if mode == "border" or (mode == "squash" and crop < 1):
        notes.append(f"in evaluation timm keeps {crop:g} of a picture in its mode {mode!r}, here all of it is squashed")
    if resize not in ("bilinear", "bicubic"):
        notes.append(f"timm resizes by {resize!r}, which is not known here: bicubic is taken")
    preprocessing = Preprocessing(
        mean=tuple(map(float, config["mean"])),
        std=tuple(map(float, config["std"])),
        crop=crop if mode == "center" else 1.0,
        fit="crop" if mode == "center" else "squash",
        interpolation="bilinear" if resize == "bilinear" else "bicubic",
    )
    return preprocessing, rows, tuple(notes)


def timm_config(preprocessing: Preprocessing, resolution: int) -> dict[str, Any]:
    """The data configuration that asks timm for this preprocessing, with timm's keys."""
    return {
        "input_size": [len(preprocessing.mean), resolution, resolution],
        "mean": list(preprocessing.mean),
        "std": list(preprocessing.std),
        "interpolation": preprocessing.interpolation,
        "crop_pct": 1.0 if preprocessing.fit == "squash" else preprocessing.crop,
        "crop_mode": "squash" if preprocessing.fit == "squash" else "center",
    }


def timm_lines(name: str, classes: int, file: str, preprocessing: Preprocessing, resolution: int) -> str:
    """Python that loads weights in timm and prepares a picture as here."""
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
    """Python that loads weights in torchvision and prepares a picture as here."""
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


# --- what both lines have -----------------------------------------------------------------------------------------------------


def square(preprocessing: Preprocessing) -> str:
    """Python that cuts the central square out of a picture, before the one resize."""
    return f"""\

def square(picture):
    side = max(1, int({preprocessing.crop} * min(picture.size)))
    left, top = ((length - side + 1) // 2 for length in picture.size)
    return picture.crop((left, top, left + side, top + side))

"""


ANSWER = """\
picture = ImageOps.exif_transpose(Image.open("picture.jpg")).convert("RGB")
with torch.inference_mode():
    logits = model(transform(picture)[None])"""
"""The end of both: a picture upright and in colour, as it is read here, and what the network says of it."""


def quoted(text: str) -> str:
    """A text as Python writes it, in double quotes where it has none itself."""
    return f'"{repr(text)[1:-1]}"' if not {"'", '"'} & set(text) else repr(text)


LINES = {"timm": timm_lines, "torchvision": torchvision_lines}
