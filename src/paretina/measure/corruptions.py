"""Measures a classifier's accuracy on noisy, blurred, snowy and badly compressed pictures.

Fifteen kinds in four groups, each at three strengths, for evaluation only. A picture is corrupted after preprocessing, cropped
and resized. Its randomness depends only on (picture, kind, seed), not on the order, the batch or the process, and a higher
strength is more of the same noise, the same snow, the same direction.

Strength 0 leaves a picture as it is, and between integers every setting is interpolated linearly. The settings in `KINDS`
are for a shorter side of 224 pixels. Lengths (blur, streaks, flakes, waves) grow with that side. So do the power of the noise,
the steps of JPEG's quantisation and what the blocks of pixelate have beyond one pixel: noise and blocks belong to the pixels,
and at full strength would leave nothing of a small picture. Pictures of a few pixels may stay as they are.

The kinds are those of the paper. The settings and the drawings are our own, and frost grows from noise here, where the paper
lays photographs of frost over the picture: the figures are for comparing models with each other, and cannot be set beside
published ones on ImageNet-C. Neither are the errors divided by those of a reference network.

Source: Hendrycks & Dietterich 2019 (arXiv:1903.12261), sections 3 and 4.
"""

import io
import math
import zlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import torch
from jaxtyping import Bool, UInt8
from torch import Tensor, nn

from paretina.measure.evaluate import Evaluation
from paretina.measure.statistics import Interval, as_columns, paired_difference, paired_interval, wilson
from paretina.shapes import Image
from paretina.spec import near
from paretina.system import cores
from paretina.tables import write_csv
from paretina.text import how_many

REFERENCE = 224
"""Shorter side in pixels that the settings are for."""

STRENGTHS = (1, 2, 3)
LONGEST = 4
"""Maximum aspect ratio of the canvas that weather is drawn on; for longer pictures it is stretched."""

MANY_PHOTONS = 1000
"""Above this number of photons, the Poisson distribution is approximated by a normal one."""

QUANTILES = 2048

Pixels = np.ndarray
"""Red, green and blue from 0 to 1, [3, rows, columns], float32."""

Settings = tuple[float, ...]
Corrupt = Callable[[Pixels, Settings, np.random.Generator], Pixels]


# --- helpers ------------------------------------------------------------------------------------------------------------


def scale_of(pixels: Pixels) -> float:
    """The shorter side relative to the one that the settings are for."""
    return min(pixels.shape[1:]) / REFERENCE


def bytes_of(pixels: Pixels) -> np.ndarray:
    """Whole levels from 0 to 255."""
    levels: np.ndarray = (pixels * 255 + 0.5).clip(0, 255).astype(np.uint8)
    return levels


def pillow(pixels: Pixels) -> PIL.Image.Image:
    return PIL.Image.fromarray(np.ascontiguousarray(bytes_of(pixels).transpose(1, 2, 0)))


def unpillow(image: PIL.Image.Image) -> Pixels:
    return np.asarray(image).transpose(2, 0, 1).astype(np.float32) / 255


def blurred(maps: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """Convolution of [..., rows, columns] with an odd square kernel that sums to 1; borders are mirrored."""
    from scipy.fft import next_fast_len

    radius = len(kernel) // 2
    if radius == 0:
        return maps
    rows, columns = maps.shape[-2:]
    around = [(0, 0)] * (maps.ndim - 2) + [(radius, radius)] * 2
    size = tuple(next_fast_len(side + 2 * radius, real=True) for side in (rows, columns))
    spectrum = np.fft.rfft2(np.pad(maps, around, mode="symmetric"), size) * np.fft.rfft2(kernel.astype(np.float32), size)
    whole = np.fft.irfft2(spectrum, size)
    return whole[..., 2 * radius : 2 * radius + rows, 2 * radius : 2 * radius + columns].astype(np.float32)


def disc(radius: float) -> np.ndarray:
    """A disc with smooth edges; of radius 0 a single point."""
    reach = math.ceil(radius)
    places = np.arange(-reach, reach + 1)
    kernel = (radius + 0.5 - np.hypot(places[:, None], places)).clip(0, 1)
    return kernel / kernel.sum()


def softened(maps: np.ndarray, deviation: float) -> np.ndarray:
    """A Gaussian blur of [..., rows, columns], cut off at three deviations; borders are mirrored."""
    from scipy import ndimage

    reach = math.ceil(3 * deviation)
    if reach == 0:
        return maps
    blur: np.ndarray = ndimage.gaussian_filter(maps, deviation, radius=reach, axes=(-2, -1))
    return blur


def wrapped(noise: np.ndarray, *kernels: np.ndarray) -> list[np.ndarray]:
    """Convolutions of noise with wrap-around at the borders, for kernels that fit into it."""
    spectrum = np.fft.rfft2(noise)
    shape = (noise.shape[0], noise.shape[1])
    found = (np.fft.irfft2(spectrum * np.fft.rfft2(kernel.astype(np.float32), shape), shape) for kernel in kernels)
    return [field.astype(np.float32) for field in found]


def line(length: float, angle: float) -> np.ndarray:
    """A straight stroke through the middle, its angle in radians against the rows; of length 0 a single point."""
    reach = math.ceil(length / 2) + 1
    along = np.linspace(-length / 2, length / 2, 4 * reach + 1)
    across, down = reach + along * math.cos(angle), reach + along * math.sin(angle)
    kernel = np.zeros((2 * reach + 1, 2 * reach + 1))
    for row in (0, 1):
        for column in (0, 1):
            rows, columns = np.floor(down).astype(int) + row, np.floor(across).astype(int) + column
            weights = (1 - abs(down - rows)) * (1 - abs(across - columns))
            inside = weights > 0
            np.add.at(kernel, (rows[inside], columns[inside]), weights[inside])
    return kernel / kernel.sum()


def resized(field: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """One smooth map at another size."""
    if field.shape == shape:
        return field
    image = PIL.Image.fromarray(field.astype(np.float32))
    return np.asarray(image.resize((shape[1], shape[0]), PIL.Image.Resampling.BICUBIC))


def canvas_of(pixels: Pixels, side: int = REFERENCE) -> tuple[int, int]:
    """Rows and columns of a canvas in the shape of the picture, its shorter side as given."""
    shorter = min(pixels.shape[1:])
    rows, columns = (min(LONGEST * side, round(side * length / shorter)) for length in pixels.shape[1:])
    return rows, columns


def clouds(shape: tuple[int, int], random: np.random.Generator, fall: float = 1.8) -> np.ndarray:
    """Noise from 0 to 1 whose amplitude falls with that power of the frequency."""
    spectrum = np.fft.rfft2(random.standard_normal(shape, dtype=np.float32))
    frequency = np.hypot(np.fft.fftfreq(shape[0])[:, None], np.fft.rfftfreq(shape[1]))
    frequency[0, 0] = 1
    field = np.fft.irfft2(spectrum / frequency**fall, shape)
    low, high = field.min(), field.max()
    return ((field - low) / (high - low)).astype(np.float32)


# --- noise --------------------------------------------------------------------------------------------------------------


def gaussian_noise(pixels: Pixels, settings: Settings, random: np.random.Generator) -> Pixels:
    deviation = settings[0] * math.sqrt(scale_of(pixels))
    return pixels + deviation * random.standard_normal(pixels.shape, dtype=np.float32)


def shot_noise(pixels: Pixels, settings: Settings, random: np.random.Generator) -> Pixels:
    photons = 1 / max(settings[0] * scale_of(pixels), 1e-9)
    if photons > MANY_PHOTONS:
        return pixels + np.sqrt(pixels / photons) * random.standard_normal(pixels.shape, dtype=np.float32)
    counts = photon_counts(photons)
    drawn = counts[bytes_of(pixels), random.integers(0, QUANTILES, pixels.shape, dtype=np.uint16)]
    return drawn.astype(np.float32) / np.float32(photons)


@lru_cache(maxsize=8)
def photon_counts(photons: float) -> np.ndarray:
    """Quantiles of Poisson's distribution for each level of a pixel, [256, quantile]; level 255 has `photons` on average.

    Drawing from a table is several times faster than drawing from the distribution.
    """
    from scipy.special import pdtr

    quantiles = (np.arange(QUANTILES) + 0.5) / QUANTILES
    counts = np.arange(math.ceil(photons + 8 * math.sqrt(photons)) + 8)
    means = photons * np.arange(256) / 255
    return np.stack([pdtr(counts, mean).searchsorted(quantiles) for mean in means]).astype(np.uint16)


def impulse_noise(pixels: Pixels, settings: Settings, random: np.random.Generator) -> Pixels:
    share = min(1.0, settings[0] * scale_of(pixels))
    chance = random.random(pixels.shape, dtype=np.float32)
    return np.where(chance < share / 2, np.float32(0), np.where(chance > 1 - share / 2, np.float32(1), pixels))


# --- blur ---------------------------------------------------------------------------------------------------------------


def defocus_blur(pixels: Pixels, settings: Settings, random: np.random.Generator) -> Pixels:
    return blurred(pixels, disc(settings[0] * scale_of(pixels)))


def glass_blur(pixels: Pixels, settings: Settings, random: np.random.Generator) -> Pixels:
    """Each pixel is taken from a random place nearby, between two soft blurs."""
    reach, deviation = (value * scale_of(pixels) for value in settings)
    rows, columns = pixels.shape[1:]
    shift = np.rint(random.uniform(-1, 1, (2, rows, columns)) * reach).astype(int)
    down = (np.arange(rows)[:, None] + shift[0]).clip(0, rows - 1)
    across = (np.arange(columns) + shift[1]).clip(0, columns - 1)
    scattered = np.ascontiguousarray(softened(pixels, deviation)).reshape(3, -1).take(down * columns + across, axis=1)
    return softened(scattered, deviation)


def motion_blur(pixels: Pixels, settings: Settings, random: np.random.Generator) -> Pixels:
    return blurred(pixels, line(settings[0] * scale_of(pixels), random.uniform(0, math.pi)))


def zoom_blur(pixels: Pixels, settings: Settings, random: np.random.Generator) -> Pixels:
    """The mean of the picture and of enlargements of it up to one factor, at even ratios.

    The mean over twice as many is that of a mean and its enlargement, so five enlargements do for 32.
    """
    rows, columns = pixels.shape[1:]
    for doubling in range(5):
        factor = (1 + settings[0]) ** (2**doubling / 31)
        left, top = columns / 2 * (1 - 1 / factor), rows / 2 * (1 - 1 / factor)
        box = (left, top, columns - left, rows - top)
        larger = pillow(pixels).resize((columns, rows), PIL.Image.Resampling.BILINEAR, box)
        pixels = (pixels + unpillow(larger)) / 2
    return pixels


# --- weather ------------------------------------------------------------------------------------------------------------


def snow(pixels: Pixels, settings: Settings, random: np.random.Generator) -> Pixels:
    """Near and far flakes, drawn out by their fall, over a picture that has lost its colours to the white light."""
    share, haze, fall = settings
    canvas = canvas_of(pixels)
    layers = np.zeros(canvas, np.float32)
    for width in (2, 4):
        dots = random.random(canvas_of(pixels, REFERENCE // width), dtype=np.float32) < share / width
        layers += resized(dots, canvas)
    slope = random.uniform(math.pi / 4, 3 * math.pi / 4)
    # a flake of three pixels that is drawn out keeps most of its brightness
    (flakes,) = wrapped(layers, line(fall, slope))
    flakes = resized(flakes * max(1.0, fall / 3), pixels.shape[1:]).clip(0, 1)
    pale = 0.5 + 0.5 * pixels.mean(0)
    hazy = pixels + haze * (pale - pixels)
    return hazy + flakes * (0.95 - hazy).clip(0, None)


def frost(pixels: Pixels, settings: Settings, random: np.random.Generator) -> Pixels:
    """Needles of ice that grow from the borders inwards."""
    canvas = canvas_of(pixels)
    noise = random.standard_normal(canvas, dtype=np.float32)
    first = random.uniform(0, math.pi)
    needles = np.stack(wrapped(noise, *(line(26.0, first + turn * math.pi / 3) for turn in range(3)))).max(0)
    needles = (needles / (3 * needles.std())).clip(0, 1)
    rows, columns = (1 - abs(np.linspace(-1, 1, length)) if length > 1 else np.zeros(1) for length in canvas)
    border = 1 - np.minimum(rows[:, None], columns)
    grown = 0.6 * border + 0.4 * clouds(canvas, random)
    cover = ((grown - 1 + settings[0]) / 0.4).clip(0, 1) * (0.5 + 0.5 * needles)
    cover, needles = (resized(field, pixels.shape[1:]).clip(0, 1) for field in (cover, needles))
    ice = np.array([0.75, 0.84, 0.9], np.float32)[:, None, None] * (0.75 + 0.5 * needles)
    return pixels + 0.9 * cover * (ice - pixels)


def fog(pixels: Pixels, settings: Settings, random: np.random.Generator) -> Pixels:
    thickness = resized(0.35 + 0.65 * clouds(canvas_of(pixels), random), pixels.shape[1:])
    return pixels + settings[0] * thickness * (0.85 - pixels)


def brightness(pixels: Pixels, settings: Settings, random: np.random.Generator) -> Pixels:
    """Raises the value of each colour and keeps its hue and saturation; black becomes grey."""
    value = pixels.max(0)
    brighter = (value + settings[0]).clip(0, 1)
    return np.where(value > 0, pixels * (brighter / value.clip(1e-6, None)), brighter)


# --- digital ------------------------------------------------------------------------------------------------------------


def contrast(pixels: Pixels, settings: Settings, random: np.random.Generator) -> Pixels:
    return pixels + settings[0] * (pixels.mean((1, 2), keepdims=True) - pixels)


def elastic(pixels: Pixels, settings: Settings, random: np.random.Generator) -> Pixels:
    """Moves each place by a smooth random field."""
    from scipy import ndimage

    rows, columns = pixels.shape[1:]
    waves = canvas_of(pixels, 14)
    fields = [resized(random.standard_normal(waves, dtype=np.float32), (rows, columns)) for _ in range(2)]
    down, across = (field * (settings[0] * scale_of(pixels)) for field in fields)
    places = np.stack([np.arange(rows, dtype=np.float32)[:, None] + down, np.arange(columns, dtype=np.float32) + across])
    return np.stack([ndimage.map_coordinates(channel, places, order=1, mode="nearest") for channel in pixels])


def pixelate(pixels: Pixels, settings: Settings, random: np.random.Generator) -> Pixels:
    rows, columns = pixels.shape[1:]
    block = 1 + settings[0] * scale_of(pixels)
    small = (max(1, round(columns / block)), max(1, round(rows / block)))
    reduced = pillow(pixels).resize(small, PIL.Image.Resampling.BOX)
    return unpillow(reduced.resize((columns, rows), PIL.Image.Resampling.NEAREST))


def jpeg(pixels: Pixels, settings: Settings, random: np.random.Generator) -> Pixels:
    """Coarser steps of quantisation; colours keep their resolution, so that nothing else is lost."""
    percent = settings[0] * scale_of(pixels)
    # how libjpeg turns its quality into a factor on the table of the standard, the other way round
    quality = 100 - percent / 2 if percent <= 100 else 5000 / percent
    file = io.BytesIO()
    pillow(pixels).save(file, "JPEG", quality=min(100, max(1, round(quality))), subsampling=0)
    with PIL.Image.open(file) as image:
        return unpillow(image)


# --- the kinds ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Kind:
    """
    Attributes:
        group: noise, blur, weather or digital.
        settings: at strengths 1, 2 and 3; at strength 0 all are 0.
    """

    group: str
    corrupt: Corrupt
    settings: tuple[Settings, Settings, Settings]

    def at(self, strength: float | int) -> Settings:
        """The settings of a strength."""
        steps = (0.0, *map(float, STRENGTHS))
        return tuple(float(np.interp(strength, steps, (0.0, *values))) for values in zip(*self.settings, strict=True))


KINDS = {
    # deviation; variance at full brightness; share of the values
    "gaussian_noise": Kind("noise", gaussian_noise, ((0.08,), (0.18,), (0.36,))),
    "shot_noise": Kind("noise", shot_noise, ((1 / 60,), (1 / 12,), (1 / 3,))),
    "impulse_noise": Kind("noise", impulse_noise, ((0.03,), (0.1,), (0.27,))),
    # radius; reach and deviation; length; enlargement; lengths in pixels
    "defocus_blur": Kind("blur", defocus_blur, ((3.0,), (5.5,), (9.0,))),
    "glass_blur": Kind("blur", glass_blur, ((2.0, 0.7), (3.5, 1.0), (6.0, 1.5))),
    "motion_blur": Kind("blur", motion_blur, ((9.0,), (18.0,), (32.0,))),
    "zoom_blur": Kind("blur", zoom_blur, ((0.1,), (0.2,), (0.35,))),
    # share of flakes, haze and fall in pixels; growth; thickness; lift
    "snow": Kind("weather", snow, ((0.015, 0.2, 6.0), (0.035, 0.35, 10.0), (0.07, 0.5, 14.0))),
    "frost": Kind("weather", frost, ((0.45,), (0.62,), (0.8,))),
    "fog": Kind("weather", fog, ((0.45,), (0.65,), (0.85,))),
    "brightness": Kind("weather", brightness, ((0.1,), (0.3,), (0.5,))),
    # share of the contrast that is lost; root mean square of the shift, and what a block has beyond one pixel, in pixels;
    # percent of the standard's table
    "contrast": Kind("digital", contrast, ((0.6,), (0.8,), (0.92,))),
    "elastic": Kind("digital", elastic, ((2.0,), (3.5,), (6.0,))),
    "pixelate": Kind("digital", pixelate, ((0.7,), (1.5,), (3.0,))),
    "jpeg": Kind("digital", jpeg, ((200.0,), (350.0,), (700.0,))),
}
"""The fifteen, with what their settings are at a shorter side of 224 pixels."""


def corrupt(image: Image, kind: str, strength: float | int, picture: int = 0, seed: int = 0) -> Image:
    """A corrupted copy of a picture, of the same size.

    Args:
        kind: one of `KINDS`.
        strength: from 0, the picture itself, to 3.
        picture: index of the picture, so that each has its own noise.

    Raises:
        ValueError: there is no such kind or strength, or a number is negative.
    """
    if kind not in KINDS:
        raise ValueError(f"there is no corruption {kind!r}{near(kind, KINDS)}")
    if not 0 <= strength <= STRENGTHS[-1]:
        raise ValueError(f"the strength of a corruption must be in 0 to {STRENGTHS[-1]}, got {strength}")
    if picture < 0 or seed < 0:
        raise ValueError(f"picture and seed must not be negative, got picture={picture}, seed={seed}")
    if strength == 0:
        return image.clone()
    chosen = KINDS[kind]
    random = np.random.default_rng([seed, picture, zlib.crc32(kind.encode())])
    pixels = np.ascontiguousarray(image.numpy()).astype(np.float32) / 255
    return torch.from_numpy(np.ascontiguousarray(bytes_of(chosen.corrupt(pixels, chosen.at(strength), random))))


def kinds_named(text: str) -> tuple[str, ...]:
    """Parses the kinds in a text: `all`, a group, or kinds and groups separated by commas.

    Raises:
        ValueError: there is none of that name, or one is named twice.
    """
    groups = {kind.group for kind in KINDS.values()}
    found: list[str] = []
    for name in (part.strip() for part in text.split(",")):
        if name == "all" or name in groups:
            named = [kind for kind, chosen in KINDS.items() if name in ("all", chosen.group)]
        elif name in KINDS:
            named = [name]
        else:
            raise ValueError(f"there is no corruption {name!r}{near(name, ['all', *sorted(groups), *KINDS])}")
        twice = [kind for kind in named if kind in found]
        if twice:
            raise ValueError(f"{twice[0]} is named twice in {text!r}; leave one out")
        found += named
    return tuple(found)


# --- accuracy -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Corrupted:
    """Top-1 under one corruption, in percent.

    Attributes:
        top1_low: with `top1_high`, the ends of its 95 % interval.
        lost: loss of top-1 against the clean pictures, in points; `lost_low` and `lost_high` are the ends of its interval,
            paired by picture, or None with a single picture.
    """

    kind: str
    group: str
    strength: int
    top1: float
    top1_low: float
    top1_high: float
    lost: float
    lost_low: float | None
    lost_high: float | None


@dataclass(frozen=True)
class CorruptedAccuracy:
    """Top-1 on corrupted pictures.

    Attributes:
        n: number of pictures.
        clean: top-1 without corruption, in percent.
        rows: one for each kind and strength.
        lost: points of top-1 lost, the mean over kinds and strengths; the interval, over pictures, is None with a single one.
        faults: pictures that could not be read, as `name: reason`.
        seed: of what is random in the corruptions.
    """

    n: int
    clean: Interval
    rows: tuple[Corrupted, ...]
    lost: float
    lost_interval: tuple[float, float] | None
    faults: tuple[str, ...] = ()
    seed: int = 0

    @property
    def error(self) -> float:
        """Mean corruption error: wrong answers in percent, the mean over kinds and strengths."""
        return 100 - self.clean.value + self.lost

    @property
    def ratio(self) -> float | None:
        """Mean corruption error as a multiple of the error on clean pictures; None where that is zero."""
        clean_error = 100 - self.clean.value
        return self.error / clean_error if clean_error > 0 else None

    def by_kind(self) -> dict[str, tuple[float, ...]]:
        """Top-1 of each kind, by strength."""
        found: dict[str, tuple[float, ...]] = {}
        for row in self.rows:
            found[row.kind] = (*found.get(row.kind, ()), row.top1)
        return found

    def to_dict(self) -> dict[str, Any]:
        low, high = self.lost_interval or (None, None)
        return {
            "n": self.n,
            **as_columns("top1", self.clean),
            "corruption_error": self.error,
            "corruption_error_ratio": self.ratio,
            "lost": self.lost,
            "lost_low": low,
            "lost_high": high,
            "seed": self.seed,
            "rows": [asdict(row) for row in self.rows],
            "faults": list(self.faults),
        }

    def table(self) -> Iterator[str]:
        """Yields lines of text: top-1 by kind and strength, then the means."""
        strengths = list(dict.fromkeys(row.strength for row in self.rows))
        yield f"{'top-1, %':<28}" + "".join(f"{f'strength {strength}':>12}" for strength in strengths) + f"{'lost':>9}"
        clean = self.clean.value
        for kind, values in self.by_kind().items():
            lost = clean - sum(values) / len(values)
            yield f"{kind.replace('_', ' '):<28}" + "".join(f"{value:12.1f}" for value in values) + f"{lost:9.1f}"
        yield f"{'clean':<28}{clean:12.1f}  [{self.clean.low:.1f} to {self.clean.high:.1f}]"
        times = f", {self.ratio:.2f} times that of clean pictures" if self.ratio is not None else ""
        yield f"{'mean corruption error':<28}{self.error:12.1f} %{times}"
        between = f"  [{self.lost_interval[0]:.1f} to {self.lost_interval[1]:.1f}]" if self.lost_interval else ""
        yield f"{'points of top-1 lost':<28}{self.lost:12.1f}{between}"

    def write_csv(self, path: Path | str) -> None:
        """Writes a CSV line for each kind and strength."""
        write_csv(path, map(asdict, self.rows))


def corrupted_accuracy(
    network: nn.Module,
    evaluation: Evaluation,
    kinds: Sequence[str] = tuple(KINDS),
    strengths: Sequence[int] = STRENGTHS,
    *,
    seed: int = 0,
    say: Callable[[str], None] = lambda text: None,
) -> CorruptedAccuracy:
    """Measures the top-1 of a network on corrupted pictures and on the same clean pictures.

    The noise of a picture depends on its name, so it is the same in every split and order.

    Args:
        network: on the device of the evaluation's plan; it is not changed.
        evaluation: the pictures and their preprocessing.
        strengths: of 1, 2 and 3.
        say: called with progress messages.

    Raises:
        ValueError: there is no such kind or strength, none was named, or no picture can be read.
    """
    conditions = [(kind, strength) for kind in kinds for strength in strengths]
    for kind, strength in conditions:
        if kind not in KINDS:
            raise ValueError(f"there is no corruption {kind!r}{near(kind, KINDS)}")
        if strength not in STRENGTHS:
            raise ValueError(f"the strengths are {', '.join(map(str, STRENGTHS))}, got {strength}")
    if not conditions or len(set(conditions)) < len(conditions):
        raise ValueError(f"name each kind and each strength once, and one at least, got {list(kinds)} and {list(strengths)}")
    samples, plan = evaluation.pictures.samples, evaluation.plan
    faults: dict[str, None] = {}
    right: list[Bool[Tensor, "condition batch"]] = []
    training = network.training
    network.eval()

    def answers(images: UInt8[Tensor, "batch 3 rows columns"]) -> Tensor:
        images = images.to(plan.device).contiguous(memory_format=plan.torch_memory_format)
        with torch.inference_mode(), plan.arithmetic():
            return network(images).argmax(1).cpu()  # type: ignore[no-any-return]

    done = 0
    try:
        with ThreadPoolExecutor(cores()) as pool:
            for loaded in evaluation.batches(0):
                faults.update(dict.fromkeys(loaded.faults))
                if not len(loaded.batch):
                    continue
                ids = loaded.batch.ids.tolist()
                labels = torch.tensor([samples[number].label for number in ids])
                numbers = [zlib.crc32(samples[number].name.encode("utf-8", "surrogateescape")) for number in ids]
                images = list(loaded.batch.images)
                rows = [answers(loaded.batch.images) == labels]
                for kind, strength in conditions:
                    same = ([value] * len(ids) for value in (kind, strength))
                    made = pool.map(corrupt, images, *same, numbers, [seed] * len(ids))
                    rows.append(answers(torch.stack(list(made))) == labels)
                right.append(torch.stack(rows))
                done += len(ids)
                say(f"corrupted {done} of {how_many(len(evaluation.mine), 'picture')} in {how_many(len(conditions), 'way')}")
    finally:
        network.train(training)
    if not right:
        raise ValueError(f"there is no readable picture to corrupt: {'; '.join(list(faults)[:3]) or 'the split is empty'}")
    return judged(torch.cat(right, 1), conditions, tuple(faults), seed)


def judged(
    right: Bool[Tensor, "condition batch"], conditions: Sequence[tuple[str, int]], faults: tuple[str, ...] = (), seed: int = 0
) -> CorruptedAccuracy:
    """Figures from which answers were right.

    Args:
        right: a row for the clean pictures, then one for each condition; a column for each picture.
        conditions: kind and strength of each.
    """
    n = right.shape[1]

    def share(row: Tensor) -> Interval:
        return Interval(*(100 * value for value in wilson(int(row.sum()), n)))

    def lost(row: Tensor) -> tuple[float, float] | tuple[None, None]:
        if n < 2:
            return None, None
        low, high = (
            100 * each for each in paired_difference(int((right[0] & ~row).sum()), int((row & ~right[0]).sum()), n)[1:]
        )
        return max(-100.0, low), min(100.0, high)

    def lost_in_the_mean(shares: Tensor) -> tuple[float, float] | tuple[None, None]:
        """Of shares in between; where no picture differs, as for one condition in which none does."""
        if n < 2 or bool((shares == clean).all()):
            return lost(right[0])
        found = paired_interval((100.0 * clean).tolist(), (100.0 * shares).tolist())
        return max(-100.0, found.low), min(100.0, found.high)

    clean = right[0].double()
    top1 = share(right[0])
    rows = []
    for (kind, strength), row in zip(conditions, right[1:], strict=True):
        found = share(row)
        rows.append(Corrupted(kind, KINDS[kind].group, strength, *found, top1.value - found.value, *lost(row)))
    mean = right[1:].double().mean(0)
    low, high = lost_in_the_mean(mean)
    return CorruptedAccuracy(
        n=n,
        clean=top1,
        rows=tuple(rows),
        lost=100 * (clean - mean).mean().item(),
        lost_interval=None if low is None or high is None else (low, high),
        faults=faults,
        seed=seed,
    )
