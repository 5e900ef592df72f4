"""Our counts against fvcore's and torch's, on all named networks, with every disagreement explained by kind.

    pip install 'paretina[benchmarks]'
    python benchmarks/counters.py                              # all networks at 224 pixels
    python benchmarks/counters.py 'levit_*' 'vit_*' --resolution 64

torch's counter (`torch.utils.flop_counter`, halved, since it counts two operations a MAC) reads the same operators as ours and
must agree exactly, with gradients enabled, where attention takes no fused path. fvcore traces the network and has formulas of
its own. For each network its count is taken apart by operator, and the difference to ours must be made up of these kinds to the
last MAC:

- `norms`, `pooling`, `resize`: fvcore counts 1 to 5 for each number that a norm, a pool or a resize reads or writes; ours none.
- `attention`: fvcore knows no fused attention and misses its two products.
- `element-wise`: multiplications that fvcore counts and that are no product of matrices.

What is left over is unexplained, and then the exit code is 1. The lines below the table show what torch's counter makes of the
backward pass of grouped convolutions, and of attention without gradients, which is why ours counts forward only and with
gradients enabled.
"""

import argparse
import json
import logging
import sys
import warnings
from collections import Counter
from dataclasses import asdict, dataclass, replace
from fnmatch import fnmatch

import torch
from fvcore.nn import FlopCountAnalysis
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from paretina.measure.cost import cost
from paretina.model.build import Network, materialise
from paretina.model.family import networks

PRODUCTS = {"conv", "linear", "addmm", "matmul", "bmm", "einsum", "baddbmm"}
KINDS = {
    "batch_norm": "norms",
    "layer_norm": "norms",
    "group_norm": "norms",
    "instance_norm": "norms",
    "adaptive_avg_pool1d": "pooling",
    "adaptive_avg_pool2d": "pooling",
    "adaptive_avg_pool3d": "pooling",
    "avg_pool2d": "pooling",
    "mean": "pooling",
    "upsample_nearest2d": "resize",
    "upsample_bilinear2d": "resize",
    "upsample_bicubic2d": "resize",
    "grid_sampler": "resize",
}


@dataclass(frozen=True)
class Compared:
    """Counts of one network, in MACs; what fvcore counts besides ours, by kind."""

    name: str
    resolution: int
    ours: int
    torch: int
    fvcore: int
    kinds: dict[str, int]

    @property
    def unexplained(self) -> int:
        return self.fvcore - self.ours - sum(self.kinds.values())

    @property
    def agrees(self) -> bool:
        return self.torch == self.ours and self.unexplained == 0


class Fused:
    """Notes the products of fused attention, which fvcore does not see."""

    def __init__(self) -> None:
        self.macs = 0

    def __enter__(self) -> "Fused":
        self.original = nn.functional.scaled_dot_product_attention

        def noted(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, *rest: object, **more: object) -> torch.Tensor:
            *batch, queries, width = query.shape
            pairs = queries * key.shape[-2]
            self.macs += int(torch.Size(batch).numel()) * pairs * (width + value.shape[-1])
            return self.original(query, key, value, *rest, **more)

        nn.functional.scaled_dot_product_attention = noted
        return self

    def __exit__(self, *error: object) -> None:
        nn.functional.scaled_dot_product_attention = self.original


def compared(name: str, resolution: int) -> Compared:
    blueprint = replace(networks()[name].blueprint, resolution=resolution)
    network = blueprint.build("meta").eval()
    images = torch.empty(1, blueprint.channels, resolution, resolution, device="meta")
    with FlopCounterMode(display=False) as counter, torch.enable_grad():
        network(images)
    with Fused() as fused, torch.no_grad():
        network(images)
    theirs = by_operator(network, blueprint.channels, resolution)
    kinds: Counter[str] = Counter()
    for operator, macs in theirs.items():
        if operator not in PRODUCTS:
            kinds[KINDS.get(operator, "element-wise" if operator in ("mul", "add", "div") else operator)] += macs
    if fused.macs:
        kinds["attention"] -= fused.macs
    ours = cost(blueprint).macs
    return Compared(name, resolution, ours, counter.get_total_flops() // 2, sum(theirs.values()), dict(kinds))


def by_operator(network: Network, channels: int, resolution: int) -> dict[str, int]:
    """fvcore's count; it needs values, but not which."""
    materialise(network)
    for tensor in network.state_dict().values():
        if tensor.is_floating_point():
            tensor.fill_(0.01)
    images = torch.zeros(1, channels, resolution, resolution)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # tracing warns of every size that becomes a constant, which here it is
        found = FlopCountAnalysis(network, images).unsupported_ops_warnings(False).uncalled_modules_warnings(False)
        return {operator: int(macs) for operator, macs in found.by_operator().items()}


# --- why forward only, and with gradients -------------------------------------------------------------------------------


def flops(run: object, backward: bool = False) -> int:
    with FlopCounterMode(display=False) as counter:
        out = run()  # type: ignore[operator]
        if backward:
            out.sum().backward()
    return int(counter.get_total_flops())


def quirks() -> dict[str, float]:
    """What torch's counter makes of the cases that ours goes round."""
    found = {}
    for groups in (1, 4, 32):
        layer = nn.Conv2d(32, 32, 3, padding=1, groups=groups, bias=False, device="meta")
        x = torch.empty(1, 32, 8, 8, device="meta", requires_grad=True)
        forward = flops(lambda layer=layer, x=x: layer(x))
        both = flops(lambda layer=layer, x=x: layer(x), backward=True)
        found[f"backward / forward of a convolution with {groups} groups (2 is right)"] = (both - forward) / forward
    attention = nn.MultiheadAttention(8, 2, batch_first=True).eval()
    x = torch.zeros(1, 5, 8)
    right = 2 * (4 * 5 * 8 * 8 + 2 * 5 * 5 * 8)
    with torch.enable_grad():
        found["attention with gradients / by hand"] = flops(lambda: attention(x, x, x, need_weights=False)) / right
    with torch.no_grad():
        found["attention without gradients / by hand"] = flops(lambda: attention(x, x, x, need_weights=False)) / right
    resize = nn.Upsample(scale_factor=2, mode="bilinear")
    found["resize from 8 to 16 pixels, 4 channels: torch's MACs"] = flops(lambda: resize(torch.zeros(1, 4, 8, 8))) / 2
    analysis = FlopCountAnalysis(resize, torch.zeros(1, 4, 8, 8)).unsupported_ops_warnings(False)
    found["resize from 8 to 16 pixels, 4 channels: fvcore's MACs"] = float(analysis.total())
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("patterns", nargs="*", default=["*"], help="names of networks, or patterns of names")
    parser.add_argument("--resolution", type=int, default=224, help="side of the image in pixels")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    logging.getLogger("fvcore").setLevel(logging.ERROR)
    names = [name for name in networks() if any(fnmatch(name, pattern) for pattern in options.patterns)]
    rows = []
    if not options.json:
        print(f"MMACs at {options.resolution} pixels; fvcore - ours by kind")
        print(f"{'network':<28} {'ours':>10} {'torch':>10} {'fvcore':>10}  fvcore - ours")
    for name in names:
        row = compared(name, options.resolution)
        rows.append(row)
        if not options.json:
            kinds = ", ".join(f"{kind} {macs / 1e6:+.3f}" for kind, macs in sorted(row.kinds.items()))
            rest = "" if row.agrees else f", UNEXPLAINED {row.unexplained:+,}, torch - ours {row.torch - row.ours:+,}"
            print(
                f"{name:<28} {row.ours / 1e6:>10.2f} {row.torch / 1e6:>10.2f} {row.fvcore / 1e6:>10.2f}  {kinds}{rest}",
                flush=True,
            )
    strange = quirks()
    wrong = [row.name for row in rows if not row.agrees]
    if options.json:
        data = [{**asdict(row), "unexplained": row.unexplained} for row in rows]
        print(json.dumps({"rows": data, "quirks": strange, "unexplained": wrong}, indent=2))
    else:
        for text, value in strange.items():
            print(f"{text}: {value:g}")
        print(f"{len(rows) - len(wrong)} of {len(rows)} networks agree; unexplained: {', '.join(wrong) or 'none'}")
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
