"""The runtimes that the networks of a frontier are timed in, and the choice of one for each network. Needs no torch."""

import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from paretina.measure.statistics import Interval
from paretina.search.frontier.costs import COSTS, TIMED, Budget
from paretina.spec import near

EAGER = "eager"


@dataclass(frozen=True)
class Runtime:
    """
    Attributes:
        words: what executes the network.
        format: of the file that it executes, as in `paretina ship --to`; "" where torch executes the network itself.
    """

    words: str
    format: str = ""


RUNTIMES: Mapping[str, Runtime] = {
    EAGER: Runtime("torch, eager"),
    "compiled": Runtime("torch, compiled with torch.compile"),
    "onnxruntime": Runtime("ONNX Runtime, from the shipped file in float32", "onnx"),
    "openvino": Runtime("OpenVINO, from the shipped file in float32", "openvino"),
}

OTHER_NAMES = {"onnx": "onnxruntime", "ort": "onnxruntime", "torch": EAGER, "compile": "compiled", "ov": "openvino"}
"""What a runtime may be called by mistake."""


def runtimes_of(text: str) -> tuple[str, ...]:
    """Reads `eager,openvino`.

    Raises:
        ValueError: it names none, one twice, or one that does not exist.
    """
    found = tuple(part.strip() for part in text.split(",") if part.strip())
    if not found:
        raise ValueError(f"--runtimes names no runtime; known: {', '.join(RUNTIMES)}")
    for name in found:
        if name not in RUNTIMES:
            meant = OTHER_NAMES.get(name.lower())
            raise ValueError(f"there is no runtime {name!r}{f'; did you mean {meant!r}?' if meant else near(name, RUNTIMES)}")
        if found.count(name) > 1:
            raise ValueError(f"--runtimes names {name} twice; name each runtime once")
    return found


def check_runtimes(runtimes: Sequence[str], device: str) -> None:
    """Checks that runtimes can be used on a device, before anything long begins.

    Args:
        device: as torch names it, such as cpu or cuda:0.

    Raises:
        ValueError: one is not installed (the message has the command that installs it), or does not execute on the device.
    """
    kind = device.partition(":")[0]
    for name in runtimes:
        runtime = RUNTIMES[name]
        if runtime.format:
            from paretina.ship.format import format_named

            if kind != "cpu":
                raise ValueError(
                    f"the runtime {name} executes shipped files on the CPU, and networks are trained and timed on {device}; "
                    f"leave {name} out of --runtimes, or train and time on the CPU: --device cpu"
                )
            try:
                format_named(runtime.format).require()
            except ValueError as error:
                raise ValueError(f"the runtime {name} cannot be used: {error}") from None
        elif name == "compiled" and kind == "cpu":
            compiler = os.environ.get("CXX", "g++")
            if not any(map(shutil.which, (compiler, "clang++", "cl"))):
                raise ValueError(
                    f"the runtime compiled needs a C++ compiler for torch.compile on the CPU, and there is no {compiler}; "
                    "install one, or leave compiled out of --runtimes"
                )


def chosen_runtime(timed: Mapping[str, Mapping[str, Interval]], cost: str, budgets: Sequence[Budget] = ()) -> str:
    """The runtime to execute a network in; "" if it was timed in none.

    It is the best one in the cost of the front, or in latency if that cost is not a timed one, among those that meet the
    budgets of timed costs; among all if none does.

    Args:
        timed: timed costs of the network by runtime and cost; of equal runtimes the first is chosen.
        cost: of the front.
    """
    axis = COSTS[chosen_by(cost)]
    limits = [budget for budget in budgets if budget.cost in TIMED]

    def worth(runtime: str) -> tuple[bool, bool, float]:
        costs = timed[runtime]
        within = all(budget.cost in costs and budget.holds(costs[budget.cost].value) for budget in limits)
        known = axis.name in costs and costs[axis.name].value > 0
        return within, known, axis.worth(costs[axis.name].value) if known else 0.0

    return max(timed, key=worth, default="")


def chosen_by(cost: str) -> str:
    """The timed cost by which runtimes are chosen where the front is of `cost`."""
    return cost if cost in TIMED else "latency_ms"
