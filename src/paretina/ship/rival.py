"""Is int8 worth it on this machine? The same network is written in float32 and bfloat16 too, and the files are timed in turn.

A file in float32 loses nothing, and one in bfloat16 next to nothing, and neither needs calibration; so int8 is recommended only
where it is faster than both. Which of these is the faster one depends on the processor.
"""

import functools
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

RIVALS: tuple[Precision, ...] = ("float32", "bfloat16")
"""What int8 has to beat."""


@dataclass(frozen=True)
class Rivalry:
    """The time of one picture in int8 and in the other precisions, in the same runtime.

    Attributes:
        rival: the fastest of the others.
        timing: milliseconds from pixels to probabilities, without decoding: p50 and p95 of each.
        faster: ratio of the medians of the rival and int8, above 1 where int8 is faster.
    """

    rival: Precision
    timing: dict[str, float | None]
    faster: Interval

    @property
    def recommended(self) -> Precision:
        """int8 where the interval of the ratio says that it is faster; otherwise the rival, which is closer to the trained
        network."""
        return "int8" if self.faster.low > 1 else self.rival

    def to_dict(self) -> dict[str, Any]:
        """As JSON; has `recommended`, and the sentence in `says`."""
        return {**asdict(self), "faster": as_object(self.faster), "recommended": self.recommended, "says": self.line()}

    def line(self) -> str:
        value, low, high = self.faster
        where = f"[{low:.2f} to {high:.2f}]"
        if self.recommended == "int8":
            return f"int8 is {value:.2f} times as fast as {self.rival} here {where}, the faster of the others"
        if high < 1:
            return (
                f"{self.rival} is faster here: ship with --precision {self.rival}; int8 has {value:.2f} times its speed {where}"
            )
        return (
            f"int8 is not shown to be faster than {self.rival} here, {value:.2f} times its speed {where}: ship with "
            f"--precision {self.rival}, which is closer to the trained network"
        )


def rivalled(format: Format, whole: Whole, header: Header, running: Running, image: Tensor, seconds: float) -> Rivalry:
    """Times a file in int8 beside the same network in float32, and in bfloat16 where the format has it.

    Args:
        whole: the float network.
        header: of the file in int8.
        running: that file in its runtime.
        image: one picture, (channel, row, column) of uint8.
        seconds: for all together; above 0.
    """
    rivals = [precision for precision in RIVALS if precision in format.PRECISIONS]
    files = {"int8": running}
    with TemporaryDirectory() as folder:
        for precision in rivals:
            path = Path(folder) / f"{precision}{format.SUFFIX}"
            format.write(whole, path, replace(header, precision=precision))
            files[precision] = format.open(path)
        one = image[None]
        for each in files.values():
            each.fit(one)
        found = Turns(seconds=seconds).run({name: functools.partial(each.run, one) for name, each in files.items()})
    timing: dict[str, float | None] = {}
    for name, series in found.items():
        timing |= columns(name, series)
    rival = min(rivals, key=lambda precision: found[precision].p50.value)
    return Rivalry(rival, timing, ratio(found[rival], found["int8"]))
