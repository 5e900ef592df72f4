"""Distributed training: the processes started by torchrun; a single process is rank 0 of 1."""

import atexit
import os
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.distributed_c10d import PrefixStore
from torch.distributed.rendezvous import rendezvous
from torch.nn.parallel import DistributedDataParallel

TOGETHER = 8
"""Updates between two decisions of several processes, such as to stop or to save, for which each waits for the others."""


@dataclass(frozen=True)
class Ranks:
    """
    Attributes:
        rank: rank of this process, from 0.
        count: number of processes (world size).
        local: rank of this process on its machine.
    """

    rank: int = 0
    count: int = 1
    local: int = 0
    locals: int = 1

    @classmethod
    def start(cls, device: str) -> "Ranks":
        """Joins the process group if torchrun started this process."""
        if "RANK" not in os.environ or "WORLD_SIZE" not in os.environ:
            return cls()
        if not dist.is_initialized():
            atexit.register(leave)
            # gloo besides nccl, since figures and random states are sent from CPU to CPU
            join("cpu:gloo,cuda:nccl" if device.startswith("cuda") else "gloo")
            # one that ends at once, as where a run is finished, must not be gone while another still connects to it
            dist.all_gather_object([None] * dist.get_world_size(), None)
        local = int(os.environ.get("LOCAL_RANK", "0"))
        return cls(dist.get_rank(), dist.get_world_size(), local, int(os.environ.get("LOCAL_WORLD_SIZE", "1")))

    @staticmethod
    def is_first() -> bool:
        """Whether this process is rank 0; also usable before and after the group exists."""
        return os.environ.get("RANK", "0") == "0"

    @property
    def first(self) -> bool:
        return self.rank == 0

    def device(self, device: str) -> str:
        """The device of this process: one GPU each if there are several."""
        if device == "cuda" and self.count > 1:
            torch.cuda.set_device(self.local)
            return f"cuda:{self.local}"
        return device

    def wrap(self, module: nn.Module) -> nn.Module:
        """The module with its gradients averaged over all ranks."""
        return DistributedDataParallel(module) if self.count > 1 else module

    def apart(self, module: nn.Module) -> AbstractContextManager[None]:
        """A context in which gradients are accumulated without synchronising them between ranks."""
        return module.no_sync() if isinstance(module, DistributedDataParallel) else nullcontext()

    def every(self, value: Any) -> list[Any]:
        """The values of all ranks, on each of them."""
        if self.count == 1:
            return [value]
        values: list[Any] = [None] * self.count
        dist.all_gather_object(values, value)
        return values

    def from_first(self, value: Any) -> Any:
        """The value of rank 0, on each rank."""
        if self.count == 1:
            return value
        values = [value]
        dist.broadcast_object_list(values)
        return values[0]

    def meet(self, done: int) -> bool:
        """Whether all ranks may ask the first one after `done` updates: alone always, together every few updates."""
        return self.count == 1 or done % TOGETHER == 0

    def mean(self, value: Tensor) -> Tensor:
        """The mean over all ranks, in double precision."""
        value = value.double()
        if self.count > 1:
            value = value.clone()
            dist.all_reduce(value)
            value /= self.count
        return value

    def agree(self, module: nn.Module) -> None:
        """Copies the buffers of a module from rank 0, since batch norm statistics differ between ranks."""
        if self.count > 1:
            for buffer in module.buffers():
                dist.broadcast(buffer, 0)

    def wait(self) -> None:
        if self.count > 1:
            dist.barrier()

    def stop(self) -> None:
        """Leaves the process group; otherwise it is left when the process ends."""
        if self.count > 1:
            leave()


def join(backend: str) -> None:
    """Joins the process group.

    torchrun 2.14 keeps its store when it starts the processes of a machine again, and in it the addresses of those that are
    gone: one that looks for another before that has written its own is refused. So each start has keys of its own. The count
    of starts is that of one machine, so that it is not used where there are several.
    """
    attempt = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")
    if attempt == "0" or os.environ.get("LOCAL_WORLD_SIZE") != os.environ["WORLD_SIZE"]:
        dist.init_process_group(backend)
        return
    store, rank, count = next(rendezvous("env://"))
    dist.init_process_group(backend, store=PrefixStore(f"attempt {attempt}", store), rank=rank, world_size=count)


def leave() -> None:
    if dist.is_initialized():
        dist.destroy_process_group()
