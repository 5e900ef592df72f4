"""Checkpoints: the full state of a run, so that it resumes bit for bit; safetensors and JSON, no pickle."""

import json
from pathlib import Path
from typing import Any, cast

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from paretina.model.layers import Rate
from paretina.run import written
from paretina.text import how_many
from paretina.train.average import Averager


def flatten(value: Any, path: str, tensors: dict[str, Tensor]) -> Any:
    """Moves every tensor of a nested state into `tensors` and returns the rest as JSON, with references to them."""
    if isinstance(value, Tensor):
        while path in tensors:  # a key may contain a slash
            path += "'"
        tensors[path] = value.detach().cpu().contiguous()
        return {"tensor": path}
    if isinstance(value, dict):
        return {"dict": [[key, flatten(item, f"{path}/{key}", tensors)] for key, item in value.items()]}
    if isinstance(value, list | tuple):
        return {"list": [flatten(item, f"{path}/{i}", tensors) for i, item in enumerate(value)]}
    if value is None or isinstance(value, bool | int | float | str):
        return {"value": value}
    raise TypeError(f"a checkpoint cannot hold {path}, a {type(value).__name__}")


def restore(form: dict[str, Any], tensors: dict[str, Tensor]) -> Any:
    """The nested state that `flatten` took apart."""
    (kind, value), *_ = form.items()
    if kind == "tensor":
        return tensors[value]
    if kind == "dict":
        return {key: restore(item, tensors) for key, item in value}
    if kind == "list":
        return [restore(item, tensors) for item in value]
    return value


def save_state(folder: Path, state: dict[str, Any]) -> None:
    tensors: dict[str, Tensor] = {}
    form = flatten(state, "state", tensors)
    held: set[int] = set()
    for name, tensor in tensors.items():  # safetensors rejects tensors that share memory
        place = tensor.untyped_storage().data_ptr()
        if place in held:
            tensors[name] = tensor.clone()
        held.add(place)
    with written(folder / "tensors.safetensors"):
        save_file(tensors, folder / "tensors.safetensors")
    with written(folder / "state.json"):
        (folder / "state.json").write_text(json.dumps(form))


def load_state(folder: Path) -> dict[str, Any]:
    """Reads what `save_state` wrote.

    Raises:
        ValueError: a file is missing or damaged.
    """
    try:
        tensors = load_file(folder / "tensors.safetensors")
        state = restore(json.loads((folder / "state.json").read_text()), tensors)
    except Exception as error:
        raise ValueError(f"the state in {folder} cannot be read: {error}") from None
    if not isinstance(state, dict):
        raise ValueError(f"the state in {folder} is damaged")
    best = state.get("best")
    if isinstance(best, dict) and "top1" in best:  # saved by an earlier release, which had only top-1
        best.update(value=best.pop("top1"), title="top-1")
    return state


def gather(
    learner: nn.Module,
    optimizer: torch.optim.Optimizer,
    scaler: torch.amp.GradScaler,
    averager: Averager | None,
    best: dict[str, Any],
    update: int,
    epochs: float,
    random: list[Tensor],
) -> dict[str, Any]:
    """The state of a run after `update` updates.

    Args:
        best: figures of the best weights so far, if the run keeps those.
        epochs: that the run will have in the end.
        random: the state of the random generators of each rank.
    """
    return {
        "update": update,
        "epochs": epochs,
        "learner": learner.state_dict(),
        "active": [name for name, module in learner.named_modules() if isinstance(module, Rate) and module.active],
        "optimizer": optimizer.state_dict(),
        "scaler": scaler.state_dict(),
        "average": averager.state_dict() if averager else None,
        "best": best,
        "random": random,
    }


def put_back(
    state: dict[str, Any],
    learner: nn.Module,
    optimizer: torch.optim.Optimizer,
    scaler: torch.amp.GradScaler,
    averager: Averager | None,
) -> None:
    """Restores the state that `gather` returned."""
    learner.load_state_dict(state["learner"])
    for name in state["active"]:  # whether a rate draws random numbers depends on its history
        cast(Rate, learner.get_submodule(name)).active = True
    optimizer.load_state_dict(state["optimizer"])
    scaler.load_state_dict(state["scaler"])
    if averager:
        averager.load_state_dict(state["average"])


def random_state(device: str) -> Tensor:
    """The state of the random generators that networks use, as one tensor."""
    state = torch.get_rng_state()
    if device.startswith("cuda"):
        state = torch.cat((state, torch.cuda.get_rng_state(device)))
    return state


def set_random_state(state: Tensor, device: str) -> None:
    length = len(torch.get_rng_state())
    torch.set_rng_state(state[:length])
    if device.startswith("cuda"):
        torch.cuda.set_rng_state(state[length:], device)


def other_count(before: int, now: int) -> str:
    """What is said where a run is resumed by another number of processes."""
    return (
        f"resumed by {how_many(now, 'process')}, begun by {before}: each update has the same pictures, transformed in the same "
        "way, but batch statistics and dropout are those of other parts of them, so the result is not bit for bit that of an "
        "uninterrupted run"
    )
