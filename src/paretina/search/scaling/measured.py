"""Times networks of a scaling study beside their base, as one task: all in turn, so that they can be compared.

Weights are random, which decides nothing about time and memory. `latency_ms` is of one picture, `train_seconds` of one update
of the recipe's batch size, `peak_mb` the peak memory of such an update above what the process holds before.
"""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from paretina.measure.choose_plan import default_inference_plan
from paretina.measure.machine import Device, Others
from paretina.measure.memory import peak_of
from paretina.measure.opened import Opened, Steps
from paretina.measure.plan import Plan
from paretina.measure.process import process_settings
from paretina.measure.timing import Step, Turns, ratio
from paretina.model.blueprint import Blueprint
from paretina.spec import decode, encode

MEASURED = ("latency_ms", "train_seconds", "peak_mb")

BASE = "base"
"""The name under which the base is measured."""

PEAKS = 3
"""How often a peak of memory is measured."""


def given_for(networks: Mapping[str, Blueprint], cost: str, plan: Plan, batch: int, seconds: float) -> dict[str, Any]:
    """The arguments of `measure`.

    Args:
        networks: by name; the base is among them.
        batch: pictures of an update.
        seconds: for each network.
    """
    return {
        "networks": {name: encode(blueprint) for name, blueprint in networks.items()},
        "cost": cost,
        "plan": encode(plan),
        "batch": batch,
        "seconds": seconds,
    }


@process_settings()
def measure(folder: Path, given: dict[str, Any]) -> dict[str, Any]:
    """The measured cost of each network, and as a multiple of the base's, with 95 % intervals."""
    plan, batch = decode(Plan, given["plan"]), given["batch"]
    here, others = Device.here(plan.device), Others()
    infers = replace(default_inference_plan(plan.device), threads=plan.threads)
    steps: dict[str, Step] = {}
    for name, data in given["networks"].items():
        blueprint = decode(Blueprint, data)
        network = blueprint.build()
        opened = Opened(
            name, network, blueprint, blueprint.preprocessing, blueprint.resolution, blueprint.channels, trained=False
        )
        made = Steps(opened, None, plan.device, here.threads)
        steps[name] = made.infer(infers)(1) if given["cost"] == "latency_ms" else made.train(plan)(batch)
    found = peaks(steps, plan.device) if given["cost"] == "peak_mb" else timed(steps, given, here)
    used = others.used()
    return {"networks": found, "device": here.to_dict(), "others_cores": used, "disturbed": others.disturbed(used)}


def timed(steps: Mapping[str, Step], given: Mapping[str, Any], here: Device) -> dict[str, Any]:
    series = Turns(None, given["seconds"] * len(steps), wait=here.wait).run(steps)
    scale = 1.0 if given["cost"] == "latency_ms" else 1000.0
    return {
        name: {"value": [each / scale for each in one.p50], "ratio": list(ratio(one, series[BASE]))}
        for name, one in series.items()
    }


def peaks(steps: Mapping[str, Step], device: str) -> dict[str, Any]:
    """Peaks of memory in MiB; the interval is from the least to the most that was seen.

    Raises:
        ValueError: the system does not tell the peak of a part of a process.
    """
    seen: dict[str, list[float]] = {}
    for name, step in steps.items():
        for _ in range(PEAKS):
            peak = peak_of(step, device)
            if peak is None:
                raise ValueError(f"peak memory cannot be measured on {device} of this system; choose another --cost")
            seen.setdefault(name, []).append(peak)
    middle = {name: sorted(values)[PEAKS // 2] for name, values in seen.items()}
    if not middle[BASE]:
        raise ValueError("an update of the base takes no memory that can be seen; choose a larger batch_size")
    return {
        name: {
            "value": [middle[name], min(values), max(values)],
            "ratio": [each / middle[BASE] for each in (middle[name], min(values), max(values))],
        }
        for name, values in seen.items()
    }
