"""A Ray cluster: tasks go where there are cores and GPUs for them, and lost ones are done again elsewhere.

The folder of the study must be one that all machines see under the same path, and each needs the same version of this package.
Ray restarts a task whose process or machine is lost; it then continues the run that it had begun. Timings take all cores of
one machine, so that nothing else of the cluster runs there.
"""

import contextlib
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from paretina.search.tasks import ATTEMPTS, Engine, Say, StudyTask, carry_out, lost

PATIENCE_S = 60.0
"""Seconds that interrupted tasks get to save what they have."""


def connected(address: str) -> Any:
    """Ray, connected to a cluster.

    Raises:
        ValueError: Ray is not installed, or nothing answers at the address.
    """
    try:
        import ray
    except ImportError:
        raise ValueError('a cluster needs Ray: pip install "paretina[ray]", on each of its machines') from None
    if not ray.is_initialized():
        try:
            ray.init(address=address, logging_level=logging.ERROR, log_to_driver=False)
        except (ConnectionError, OSError, ValueError, RuntimeError) as error:
            said = " ".join(str(error).split())[:300]
            raise ValueError(
                f"no Ray cluster at {address!r} ({said}); start one with `ray start --head`, and name it: --cluster auto on "
                "one of its machines, else --cluster ray://HOST:10001"
            ) from None
    return ray


def on_node(task: StudyTask, folder: str) -> None:
    """Does a task on a machine of the cluster.

    Raises:
        ValueError: that machine does not see the folder.
    """
    if not Path(folder).is_dir():
        import socket

        raise FileNotFoundError(
            f"{socket.gethostname()} does not see {folder}; all machines of a cluster need the study in one shared folder: "
            "--output"
        )
    carry_out(task, Path(folder))


class OnRay(Engine):
    """
    Attributes:
        address: as `ray.init` takes it.
    """

    several = True

    def __init__(self, address: str) -> None:
        self.address = address
        self.ray = connected(address)

    def share(self, tasks: Sequence[StudyTask], folder: Path, say: Say) -> None:
        self.submit({task: {"num_cpus": task.cores, "num_gpus": task.gpus} for task in self.possible(tasks)}, folder, say)

    def alone(self, tasks: Sequence[StudyTask], folder: Path, say: Say, device: str) -> None:
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        gone: set[str] = set()
        for task in tasks:
            while not task.is_done(folder):
                node = self.largest(gone)
                whole = {"num_cpus": node["Resources"]["CPU"], "num_gpus": node["Resources"].get("GPU", 0)}
                there = NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
                try:
                    self.submit({task: {**whole, "scheduling_strategy": there}}, folder, say)
                except self.ray.exceptions.TaskUnschedulableError:  # Ray lists a lost machine for a while
                    gone.add(node["NodeID"])

    def largest(self, gone: set[str]) -> dict[str, Any]:
        """The machine with the most GPUs, then cores.

        Raises:
            ValueError: there is none.
        """
        nodes = [node for node in self.ray.nodes() if node["Alive"] and node["Resources"].get("CPU")]
        nodes = [node for node in nodes if node["NodeID"] not in gone]
        if not nodes:
            raise ValueError(f"the cluster at {self.address} has no machine left")
        return max(nodes, key=lambda node: (node["Resources"].get("GPU", 0), node["Resources"]["CPU"], node["NodeID"]))

    def possible(self, tasks: Sequence[StudyTask]) -> Sequence[StudyTask]:
        """The tasks.

        Raises:
            ValueError: one needs more than any machine has, so that it would wait for ever.
        """
        alive = [node["Resources"] for node in self.ray.nodes() if node["Alive"]]
        for task in tasks:
            if not any(node.get("CPU", 0) >= task.cores and node.get("GPU", 0) >= task.gpus for node in alive):
                has = ", ".join(f"{node.get('CPU', 0):g} cores and {node.get('GPU', 0):g} GPUs" for node in alive)
                raise ValueError(
                    f"{task.name} needs {task.cores} cores and {task.gpus:g} GPUs on one machine, and the cluster has {has}; "
                    "lower threads=, or add machines"
                )
        return tasks

    def submit(self, wanted: dict[StudyTask, dict[str, Any]], folder: Path, say: Say) -> None:
        """Carries out tasks with the resources that each takes, and waits for all."""
        ray = self.ray
        there = str(folder.absolute())
        remote = ray.remote(max_retries=ATTEMPTS - 1, retry_exceptions=False)(on_node)
        waiting = {remote.options(name=task.name, **takes).remote(task, there): task for task, takes in wanted.items()}
        try:
            while waiting:
                (ready, *_), _ = ray.wait(list(waiting), num_returns=1)
                task = waiting.pop(ready)
                try:
                    ray.get(ready)
                except ray.exceptions.RayTaskError as error:
                    raise error.cause if isinstance(error.cause, Exception) else error from None
                except (ray.exceptions.WorkerCrashedError, ray.exceptions.NodeDiedError, ray.exceptions.OutOfMemoryError):
                    lost(folder, task)
                say(f"{len(wanted) - len(waiting)} of {len(wanted)}: {task.said}")
        except BaseException:
            for each in waiting:
                with contextlib.suppress(Exception):
                    ray.cancel(each, force=False)
            ray.wait(list(waiting), num_returns=len(waiting), timeout=PATIENCE_S) if waiting else None
            raise
        missing = [task.name for task in wanted if not task.is_done(folder)]
        if missing:
            raise ValueError(
                f"{missing[0]} was done, but {folder} has no file of it here; all machines of a cluster need the study in one "
                "shared folder: --output"
            )
