"""Tasks for tests of the engines, in a module that other processes can import."""

import os
import signal
import time


def noted(folder, given):
    """Adds a line to a file, so that a test sees how often it was called."""
    with (folder / "calls.txt").open("a") as file:
        file.write(f"{given['name']}\n")
    return {"twice": 2 * given["value"], "pid": os.getpid()}


def refused(folder, given):
    raise ValueError("this network\ncannot be trained")


def broken(folder, given):
    raise KeyError("a bug")


def dies_at_first(folder, given):
    """Kills its process, unless it has done so."""
    mark = folder / f"{given['name']}.died"
    times = len(mark.read_text()) if mark.exists() else 0
    mark.write_text("x" * (times + 1))
    if times < given["times"]:
        os.kill(os.getpid(), signal.SIGKILL)
    return {"times": times}


def waits(folder, given):
    (folder / "begun").write_text("")
    time.sleep(60)
    return {}


def dying(folder, given):
    """Kills its process once on each node."""
    import ray

    node = ray.get_runtime_context().get_node_id()
    mark = folder / f"died-{node}"
    try:
        mark.touch(exist_ok=False)
    except FileExistsError:
        (folder / "on").mkdir(exist_ok=True)
        (folder / "on" / node).touch()
        time.sleep(given["s"])
        return {"node": node}
    os.kill(os.getpid(), signal.SIGKILL)
    return {}


def slow(folder, given):
    import ray

    (folder / "slow").mkdir(exist_ok=True)
    (folder / "slow" / f"{given['name']}-{ray.get_runtime_context().get_node_id()}").touch()
    time.sleep(given["s"])
    return {}


def cores_of(folder, given):
    import ray

    return {"cores": ray.get_runtime_context().get_assigned_resources().get("CPU")}
