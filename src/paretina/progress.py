"""Progress: one live line on a terminal, plain lines elsewhere; always on standard error."""

import sys
import time
from types import TracebackType
from typing import Any

from rich.console import Console
from rich.live import Live
from rich.text import Text


class Progress:
    """Listens to a run."""

    def __init__(self) -> None:
        self.console = Console(stderr=True, highlight=False)
        self.live = Live(console=self.console, auto_refresh=False, transient=True) if self.console.is_terminal else None
        self.top1: float | None = None
        self.last = 0.0
        self.first: tuple[float, int] | None = None
        self.previous: tuple[float, int] | None = None

    def __enter__(self) -> "Progress":
        if self.live:
            self.live.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self.live:
            self.live.stop()

    def say(self, text: str) -> None:
        """A remark, above the live line."""
        self.console.print(f"note: {text}", markup=False, soft_wrap=True)

    def listen(self, line: dict[str, Any]) -> None:
        """Takes a line of the log."""
        if line["event"] == "val":
            self.top1 = line.get("val_ema/top1", line["val/top1"])
            if not self.live:
                self.plain(f"epoch {line['epoch']:.1f}: validation top-1 {self.top1:.1f} %, loss {line['val/loss']:.3f}")
        elif line["event"] == "train":
            self.train(line)

    def train(self, line: dict[str, Any]) -> None:
        now, step, updates = time.monotonic(), line["step"], line["updates"]
        self.first = self.first or (now, step)
        passed = step - self.first[1]
        left = (updates - step) * (now - self.first[0]) / passed if passed else None
        top1 = f"  top-1 {self.top1:.1f} %" if self.top1 is not None else ""
        text = (
            f"{100 * step / updates:3.0f} %  epoch {line['epoch']:.1f}  ETA {minutes(left)}  "
            f"{line['throughput/img_s']:.0f} img/s  loss {line['train/loss']:.3f}{top1}  {line['mem/peak_mb']:,.0f} MB"
        )
        if self.live:
            self.live.update(Text(text, no_wrap=True, overflow="ellipsis"), refresh=True)
        elif now - self.last >= 10 or step == updates:
            self.last = now
            self.plain(text)

    def plain(self, text: str) -> None:
        print(text, file=sys.stderr, flush=True)


def minutes(seconds: float | None) -> str:
    if seconds is None:
        return "-:--"
    whole, rest = divmod(round(seconds), 60)
    return f"{whole}:{rest:02d}"
