"""Our counts of every named network beside those of its authors and of timm, with a reason for each difference.

    python benchmarks/counts.py                             # the table, one to two minutes
    python benchmarks/counts.py --output records/counts     # and as a page

Nothing is timed and no weights are needed: all networks stand on the meta device. A figure of the authors agrees if our count,
rounded to the digits that they print, is the same; one of timm agrees within 0.01 %. Any other difference needs a remark. A
remark may have a rule, by which our networks are then counted again: what it explains is computed here, not remembered.

Exit code 1 if a difference has no remark, or a remark has no difference.
"""

import argparse
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path
from typing import Any

import timm
import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from paretina.measure.cost import cost
from paretina.model.blueprint import Blueprint
from paretina.model.edits.scale import Round, Scale
from paretina.model.families.ghostnet import GHOSTNET
from paretina.model.family import Published, network_named, networks
from paretina.torch_internals import TorchDispatchMode

PAPER: dict[str, tuple[str | None, str | None]] = {
    # arXiv:1905.11946, table 2
    "efficientnet_b0": ("5.3", "0.39"),
    "efficientnet_b1": ("7.8", "0.70"),
    "efficientnet_b2": ("9.2", "1.0"),
    "efficientnet_b3": ("12", "1.8"),
    "efficientnet_b4": ("19", "4.2"),
    "efficientnet_b5": ("30", "9.9"),
    "efficientnet_b6": ("43", "19"),
    "efficientnet_b7": ("66", "37"),
    # tensorflow/tpu, efficientnet/lite/README.md
    "efficientnet_lite0": ("4.7", "0.407"),
    "efficientnet_lite1": ("5.4", "0.631"),
    "efficientnet_lite2": ("6.1", "0.899"),
    "efficientnet_lite3": ("8.2", "1.44"),
    "efficientnet_lite4": ("13.0", "2.64"),
    # google/automl, efficientnetv2/README.md
    "efficientnetv2_s": ("21.5", "8.4"),
    "efficientnetv2_m": ("54.1", "24.7"),
    "efficientnetv2_l": ("119.5", "56.3"),
    "efficientnetv2_b0": ("7.1", "0.72"),
    "efficientnetv2_b1": ("8.1", "1.2"),
    "efficientnetv2_b2": ("10.1", "1.7"),
    "efficientnetv2_b3": ("14.4", "3.0"),
    # arXiv:1905.11946, table 3, which has no parameters
    "mobilenet_v1": (None, "0.6"),
    "mobilenet_v1_width2": (None, "2.2"),
    "mobilenet_v1_resolution2": (None, "2.2"),
    "mobilenet_v1_compound": (None, "2.3"),
    "mobilenet_v2": (None, "0.3"),
    "mobilenet_v2_depth4": (None, "1.2"),
    "mobilenet_v2_width2": (None, "1.1"),
    "mobilenet_v2_resolution2": (None, "1.2"),
    "mobilenet_v2_compound": (None, "1.3"),
    "resnet50": (None, "4.1"),
    # arXiv:1911.11907
    "ghostnet_100": ("5.2", "0.141"),
    "ghostnet_130": ("7.3", "0.226"),
    # huawei-noah/Efficient-AI-Backbones, g_ghost_pytorch/readme.md
    "gghost_regnetx_3_2gf": ("10.5", "1.8"),
    "gghost_regnetx_4_0gf": ("15.7", "2.2"),
    "gghost_regnetx_8_0gf": ("24.6", "4.2"),
    "gghost_regnetx_16gf": ("32.4", "9.0"),
    # facebookresearch/LeViT, README.md
    "levit_128s": ("7.8", "0.305"),
    "levit_128": ("9.2", "0.406"),
    "levit_192": ("11", "0.658"),
    "levit_256": ("19", "1.120"),
    "levit_384": ("39", "2.353"),
}
"""Millions of parameters, and multiply-adds of one image in units of 1e9, as the authors print them; None if they do not."""


class Elements(TorchDispatchMode):
    """Numbers that operators write, and that means read, by the operator's name."""

    def __init__(self) -> None:
        super().__init__()
        self.written: Counter[str] = Counter()
        self.averaged = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        first = out[0] if isinstance(out, tuple | list) else out
        name = func.overloadpacket.__name__
        if isinstance(first, Tensor):
            self.written[name.rstrip("_")] += first.numel()
        if name == "mean":
            self.averaged += args[0].numel()
        return out

    def __getitem__(self, name: str) -> int:
        if not self.written[name]:
            raise KeyError(f"no operator {name!r} ran, only {sorted(self.written)}; the rule needs the name that it has now")
        return self.written[name]


@dataclass(frozen=True)
class Counts:
    """What we count in a network."""

    blueprint: Blueprint
    resolution: int
    params: int
    macs: int

    @property
    def statistics(self) -> int:
        """Numbers in running statistics of norms, which are no parameters."""
        buffers = self.blueprint.build("meta").named_buffers()
        return sum(tensor.numel() for name, tensor in buffers if name.endswith(("running_mean", "running_var")))

    @property
    def elements(self) -> Elements:
        network = self.blueprint.build("meta").eval()
        images = torch.empty(1, 3, self.resolution, self.resolution, dtype=torch.uint8, device="meta")
        # with gradients a norm on the meta device is made of products and sums
        with torch.no_grad(), Elements() as elements:
            network(images)
        return elements


def ours(blueprint: Blueprint, resolution: int | None = None) -> Counts:
    counted = cost(blueprint, resolution)
    return Counts(blueprint, counted.resolution, counted.params, counted.macs)


def timm_name(network: Published) -> str | None:
    """timm's name of the same network; of two, the one that is as released."""
    return next((peer.name for peer in network.peers if peer.library == "timm"), None)


def theirs(name: str, resolution: int) -> tuple[int, int]:
    """Parameters and MACs of timm's network."""
    with torch.device("meta"), torch.no_grad():
        network = timm.create_model(name).eval()
        with FlopCounterMode(display=False) as counter:
            network(torch.empty(1, 3, resolution, resolution))
    return sum(parameter.numel() for parameter in network.parameters()), counter.get_total_flops() // 2


# --- why figures differ ---------------------------------------------------------------------------------------------------

Rule = Callable[[Counts], float]
"""From our counts to parameters or MACs as somebody else counts."""


@dataclass(frozen=True)
class Remark:
    """
    Attributes:
        column: which figure of the authors it is about: 0 parameters, 1 MACs.
        about: the networks whose figures differ.
        rule: by which the networks are counted again.
        over: start of the names of the networks that are; default: those of `about`.
        tried: other networks that were tried in vain, or that would do, in words and as a function that counts one.
    """

    column: int
    about: tuple[str, ...]
    text: str
    rule: Rule | None = None
    over: str | None = None
    tried: tuple[tuple[str, Callable[[], Counts]], ...] = ()


def with_statistics(counts: Counts) -> float:
    return counts.params + counts.statistics


def with_outer_operations(counts: Counts) -> float:
    elements = counts.elements
    return counts.macs + 0.5 * (elements["silu"] + elements["mul"] + elements["add"] + elements.averaged)


def with_written_out_norms(counts: Counts) -> float:
    elements = counts.elements
    return counts.macs + elements["native_batch_norm"] + 0.5 * (elements["mul"] + elements["add"] + elements.averaged)


def with_training_norms(counts: Counts) -> float:
    elements = counts.elements
    return counts.macs + 3 * elements["native_batch_norm"] + 0.5 * elements["add"]


def with_softmax(counts: Counts) -> float:
    return counts.macs + counts.elements["_softmax"]


def with_norms(counts: Counts) -> float:
    return counts.macs + counts.elements["native_batch_norm"]


def at(name: str, resolution: int) -> tuple[str, Callable[[], Counts]]:
    return f"{name} at {resolution} pixels", lambda: ours(network_named(name).blueprint, resolution)


def rounded_to(divisor: int) -> tuple[str, Callable[[], Counts]]:
    scaled = Scale(width=1.3, round=Round(divisor=divisor))
    return f"widths in multiples of {divisor}", lambda: ours(scaled(GHOSTNET))


REMARKS = {
    "a": Remark(
        0,
        ("efficientnet_b2",),
        "The figure is met if the running statistics of norms are added to the parameters; three others of the table are then "
        "not. Neither way meets all rows.",
        with_statistics,
        "efficientnet_b",
    ),
    "b": Remark(
        1,
        ("efficientnet_b1",),
        "The figure is met if operations outside of convolutions count too, half a multiply-add each: the product in SiLU, "
        "the squeeze's mean and product, the sum of a shortcut, and so are B0, B2, B3 and B6. TensorFlow's profiler, halved, "
        "counts so. The paper does not say how it counted; on B4, B5 and B7 see c.",
        with_outer_operations,
        "efficientnet_b",
    ),
    "c": Remark(
        1,
        ("efficientnet_b4", "efficientnet_b5", "efficientnet_b7"),
        "Not explained. The figures are below the convolutions alone, so that nothing that we leave out can be the reason. A "
        "smaller image would do for B4 and B7, but none does for B5: where sides round up, its count jumps over the figure.",
        tried=(
            at("efficientnet_b4", 368),
            at("efficientnet_b4", 369),
            at("efficientnet_b5", 448),
            at("efficientnet_b5", 449),
            at("efficientnet_b7", 592),
            at("efficientnet_b7", 593),
        ),
    ),
    "d": Remark(
        1,
        tuple(f"efficientnet_lite{level}" for level in range(5)),
        "The README counts more than products, and does not say what. Three multiply-adds for each number that a norm writes, "
        "and a half for the sum of a shortcut, meet four of the five, and miss Lite0 in its last digit. TensorFlow's "
        "profiler, halved, counts so for a norm in training: mean 1, squared difference 2, mean 1, product 1, sum 1.",
        with_training_norms,
        "efficientnet_lite",
    ),
    "e": Remark(
        1,
        ("efficientnetv2_m", "efficientnetv2_l"),
        "The authors halve what TensorFlow's profiler counts (`num_params_flops` in their `utils.py`), and on TPUs their "
        "norms are written out. A norm then counts one multiply-add for each number that it writes; the squeeze's mean and "
        "product and the sum of a shortcut count a half. This meets all seven; with SiLU's product L would not be met.",
        with_written_out_norms,
        "efficientnetv2_",
    ),
    "f": Remark(
        0,
        ("efficientnetv2_l",),
        "Not explained. The authors' own test has 119,027,848 variables: our parameters with the running statistics of norms.",
        with_statistics,
    ),
    "g": Remark(
        1,
        ("levit_128", "levit_192", "levit_256", "levit_384"),
        "The authors' counter (`levit.py`) adds one for each number that softmax writes. This meets all but 256, where the "
        "README has a round 1120M.",
        with_softmax,
        "levit_",
    ),
    "h": Remark(
        1,
        ("gghost_regnetx_8_0gf",),
        "Ours is just below where the digit changes; a count that takes in norms or pooling is above it. The README does not "
        "say how it counted. Here with one for each number that a norm writes.",
        with_norms,
        "gghost_regnetx_",
    ),
    "i": Remark(0, ("ghostnet_130",), "Cut off behind the digit, ours is the same."),
    "j": Remark(
        1,
        ("ghostnet_130",),
        "Not explained. The released code rounds scaled widths to multiples of 4, as we do; multiples of 1, 2 and 8 do not "
        "meet the figure either.",
        tried=(rounded_to(1), rounded_to(2), rounded_to(8)),
    ),
    "k": Remark(
        1,
        ("mobilenet_v1_resolution2",),
        "Not explained, unless the digit is cut off: at twice the side all convolutions have four times the positions, and "
        "four times the baseline's count rounds to 2.3, too.",
        tried=(at("mobilenet_v1", 224), at("mobilenet_v1", 440)),
    ),
    "l": Remark(
        1,
        ("mobilenet_v1_compound",),
        "The paper's 1.3 times 224 pixels are 291. There sides round up, and the count is above the figure; we have 288, the "
        "nearest multiple of 32, and are below it. No side meets it.",
        tried=(
            at("mobilenet_v1_compound", 289),
            at("mobilenet_v1_compound", 291),
        ),
    ),
}


# --- the table ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Row:
    """
    Attributes:
        timm: parameters and MACs there, None where timm lacks it.
    """

    name: str
    ours: Counts
    timm_name: str | None
    timm: tuple[int, int] | None

    @property
    def paper(self) -> tuple[str | None, str | None]:
        return PAPER.get(self.name, (None, None))


UNITS = (1e6, 1e9)


def like(value: float, printed: str, column: int) -> str:
    """A count with the digits of a printed figure."""
    return str(Decimal(value / UNITS[column]).quantize(Decimal(printed), ROUND_HALF_UP))


def differs(row: Row, column: int) -> bool:
    printed = row.paper[column]
    return printed is not None and like((row.ours.params, row.ours.macs)[column], printed, column) != printed


def differs_from_timm(row: Row) -> bool:
    pairs = zip((row.ours.params, row.ours.macs), row.timm or (row.ours.params, row.ours.macs), strict=True)
    return any(abs(own - other) > 1e-4 * other for own, other in pairs)


def measured() -> Iterator[Row]:
    for name, network in networks().items():
        counts = ours(network.blueprint, network.macs_resolution)
        there = timm_name(network)
        yield Row(name, counts, there, None if there is None else theirs(there, counts.resolution))


def marks(row: Row) -> str:
    return " ".join(mark for mark, remark in REMARKS.items() if row.name in remark.about)


def faults(rows: list[Row]) -> list[str]:
    """Differences without a remark, and remarks without a difference."""
    found = [f"{row.name}: differs from timm" for row in rows if differs_from_timm(row)]
    for column, what in enumerate(("parameters", "MACs")):
        there = {row.name for row in rows if differs(row, column)}
        told = {name for remark in REMARKS.values() if remark.column == column for name in remark.about}
        found += [f"{name}: {what} differ from the authors', and no remark says why" for name in sorted(there - told)]
        found += [f"{name}: a remark on {what} that agree" for name in sorted(told - there)]
    unknown = PAPER.keys() - {row.name for row in rows}
    return found + [f"{name}: figures of a network that is not there" for name in sorted(unknown)]


def table(rows: list[Row]) -> Iterator[str]:
    yield "| network | parameters | GMACs | pixels | authors: M, GMACs | timm: parameters, GMACs | timm's name | remark |"
    yield "|---|--:|--:|--:|--:|--:|---|---|"
    for row in rows:
        paper = "" if row.paper == (None, None) else ", ".join(figure or "–" for figure in row.paper)
        there = "" if row.timm is None else f"{row.timm[0]:,}, {row.timm[1] / 1e9:.4f}"
        counts = row.ours
        yield (
            f"| {row.name} | {counts.params:,} | {counts.macs / 1e9:.4f} | {counts.resolution} "
            f"| {paper} | {there} | {row.timm_name or ''} | {marks(row)} |"
        )


def explained(mark: str, remark: Remark, rows: list[Row]) -> str:
    parts = [f"- **{mark}** {remark.text}"]
    if remark.rule is not None:
        again = [
            f"{row.name} {like(remark.rule(row.ours), printed, remark.column)} ({printed})"
            for row in rows
            if (row.name.startswith(remark.over) if remark.over else row.name in remark.about)
            and (printed := row.paper[remark.column])
        ]
        parts.append(f"Ours by this rule, and theirs: {', '.join(again)}.")
    if remark.tried:
        tried = [f"{words} {(counts := count()).params / 1e6:.3f} M, {counts.macs / 1e9:.4f}" for words, count in remark.tried]
        parts.append(f"Parameters and GMACs of what was tried: {'; '.join(tried)}.")
    return " ".join(parts)


INTRODUCTION = """\
# Parameters and multiply-adds

Every named network: our counts, those that its authors print, and those of the same network in timm. Nothing here is timed, and
nothing depends on the machine.

    python benchmarks/counts.py --output records/counts

Ours are of `paretina.measure.cost.cost`: trainable parameters with 1000 classes, and multiply-adds of convolutions and matrix
products of one image of that side, in units of 1e9. Authors: millions of parameters, then GMACs (which they mostly call FLOPs),
with their digits; figures that could not be verified are left out. timm: `torch.utils.flop_counter.FlopCounterMode`, halved,
of the network in evaluation mode without weights. That counter and ours have torch's formulas in common, so this column checks
the networks, not the formulas; the authors' figures check both, to their digits. Where timm has a network twice, as released
and in torch's manner, it is the first.
"""

SOURCES = """\
Where the authors' figures are from: EfficientNet: arXiv:1905.11946, table 2; MobileNet and ResNet-50: the same, table 3;
EfficientNet-Lite, EfficientNetV2, G-Ghost and LeViT: the READMEs of tensorflow/tpu (`efficientnet/lite`), google/automl
(`efficientnetv2`), huawei-noah/Efficient-AI-Backbones (`g_ghost_pytorch`) and facebookresearch/LeViT; GhostNet:
arXiv:1911.11907.
"""


def page(rows: list[Row], found: list[str]) -> str:
    there = [row for row in rows if row.timm]
    equal = sum(row.timm == (row.ours.params, row.ours.macs) for row in there)
    figures = [(row, column) for row in rows for column in (0, 1) if row.paper[column]]
    agreeing = sum(not differs(row, column) for row, column in figures)
    lines = [
        INTRODUCTION,
        f"torch {torch.__version__}, timm {timm.__version__}.\n",
        f"Of {len(rows)} networks timm has {len(there)}; {equal} of them have exactly our parameters and multiply-adds. Of the "
        f"authors' {len(figures)} figures {agreeing}\nare ours, rounded to their digits; remarks below on the others.\n",
        *table(rows),
        "\n## Remarks\n",
        *(explained(mark, remark, rows) for mark, remark in REMARKS.items()),
        f"\n{SOURCES}",
    ]
    if found:
        lines += ["## What has no explanation\n", *(f"- {fault}" for fault in found), ""]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, help="folder that gets the page, as README.md")
    options = parser.parse_args()
    rows = list(measured())
    found = faults(rows)
    text = page(rows, found)
    print(text)
    if options.output:
        options.output.mkdir(parents=True, exist_ok=True)
        (options.output / "README.md").write_text(text)
    if found:
        sys.exit("\n".join(found))


if __name__ == "__main__":
    main()
