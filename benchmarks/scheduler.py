"""Overhead of a task of a study: 200 tasks that do nothing, on this machine and on a local Ray cluster.

    python benchmarks/scheduler.py
    python benchmarks/scheduler.py --ray          # pip install "paretina[ray]"

For each engine: seconds from the call to the return, less nothing, and those divided by the number of tasks. Starting the
processes or the cluster is timed apart, by a first call with one task for each process. Every task leaves its file; they are
counted.
"""

import argparse
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

from paretina.measure.plan import machine
from paretina.search.engines.here import Here
from paretina.search.tasks import Engine, StudyTask


def nothing(folder: Path, given: dict[str, Any]) -> dict[str, Any]:
    return {"number": given["number"]}


def tasks_of(name: str, count: int) -> list[StudyTask]:
    return [StudyTask(f"{name}-{number}", nothing, {"number": number}) for number in range(count)]


def timed(engine: Engine, name: str, count: int, rounds: int) -> list[float]:
    """Seconds of each round."""
    found = []
    for number in range(rounds):
        with tempfile.TemporaryDirectory() as folder:
            began = time.perf_counter()
            outcomes = engine.run(tasks_of(f"{name}-{number}", count), Path(folder))
            found.append(time.perf_counter() - began)
            assert len(outcomes) == count
            assert all(each.error is None for each in outcomes.values())
            assert len(list((Path(folder) / "tasks").glob("*.json"))) == count
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--ray", action="store_true", help="also on a local Ray cluster of two cores")
    options = parser.parse_args()
    engines: dict[str, Engine] = {"this process": Here(1), "two processes": Here(2)}
    if options.ray:
        import ray

        from paretina.search.engines.ray import OnRay

        ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
        engines["Ray, local, two cores"] = OnRay("auto")
    here = machine()
    print(f"{here['cpu']}, {here['cores']} cores; {options.tasks} tasks, {options.rounds} rounds\n")
    print("| engine | seconds, median (range) | of which starting | ms a task beyond starting |\n|---|---|---|---|")
    for name, engine in engines.items():
        word = name.split(",")[0].replace(" ", "-")
        start = statistics.median(timed(engine, f"{word}-start", 2, options.rounds))
        seconds = timed(engine, word, options.tasks, options.rounds)
        middle = statistics.median(seconds)
        more = 1000 * (middle - start) / (options.tasks - 2)
        print(f"| {name} | {middle:.2f} ({min(seconds):.2f} to {max(seconds):.2f}) | {start:.2f} | {more:.1f} |", flush=True)


if __name__ == "__main__":
    main()
