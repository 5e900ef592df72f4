"""Is int8 worth it on this machine? The same network is written in bfloat16 too, and both files are timed in turn.

A processor that multiplies bfloat16 in hardware needs no calibration and loses next to nothing, so int8 is recommended only
where it is faster than that.
"""

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from torch import Tensor

from paretina.measure.statistics import Interval, as_object
from paretina.measure.timing import Turns, ratio
from paretina.ship.format import Format, Running
from paretina.ship.gate import columns
from paretina.ship.header import Header, Precision
from paretina.ship.whole import Whole

RIVAL: Precision = "bfloat16"
"""What int8 has to beat."""


@dataclass(frozen=True)
class Rivalry:
    """The time of one picture in int8 and in bfloat16, in the same runtime.

    Attributes:
        timing: milliseconds from pixels to probabilities, without decoding: p50 and p95 of both.
        faster: ratio of the medians, above 1 where int8 is faster.
    """

    timing: dict[str, float | None]
    faster: Interval

    @property
    def recommended(self) -> Precision:
        """int8 where the interval of the ratio says that it is faster; otherwise bfloat16, which is closer to the trained
        network."""
        return "int8" if self.faster.low > 1 else RIVAL

    def to_dict(self) -> dict[str, Any]:
        """As JSON; has `recommended`, and the sentence in `says`."""
        return {**asdict(self), "faster": as_object(self.faster), "recommended": self.recommended, "says": self.line()}

    def line(self) -> str:
        value, low, high = self.faster
        where = f"[{low:.2f} to {high:.2f}]"
        if self.recommended == "int8":
            return f"int8 is {value:.2f} times as fast as bfloat16 here {where}"
        if high < 1:
            return f"bfloat16 is faster here: ship with --precision bfloat16; int8 has {value:.2f} times its speed {where}"
        return (
            f"int8 is not shown to be faster than bfloat16 here, {value:.2f} times its speed {where}: ship with --precision "
            "bfloat16, which is closer to the trained network"
        )


def rivalled(format: Format, whole: Whole, header: Header, running: Running, image: Tensor, seconds: float) -> Rivalry:
    """Times a file in int8 beside the same network in bfloat16.

    Args:
        format: one that has bfloat16.
        whole: the float network.
        header: of the file in int8.
        running: that file in its runtime.
        image: one picture, (channel, row, column) of uint8.
        seconds: for both together; above 0.
    """
    with TemporaryDirectory() as folder:
        path = Path(folder) / f"{RIVAL}{format.SUFFIX}"
        format.write(whole, path, replace(header, precision=RIVAL))
        other = format.open(path)
        one = image[None]
        for each in (running, other):
            each.fit(one)
        found = Turns(seconds=seconds).run({"int8": lambda: running.run(one), RIVAL: lambda: other.run(one)})
    timing = {**columns("int8", found["int8"]), **columns(RIVAL, found[RIVAL])}
    return Rivalry(timing, ratio(found[RIVAL], found["int8"]))
