"""For `test_tasks.py`: a local Ray cluster of two nodes; a task kills its process on each, then a node is lost."""

import json
import sys
import threading
import time
from pathlib import Path


def main(folder: Path) -> None:
    from ray.cluster_utils import Cluster

    from paretina.search.engines.ray import OnRay
    from paretina.search.tasks import StudyTask
    from sample_tasks import cores_of, dying, slow

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 2})
    other = cluster.add_node(num_cpus=2)
    try:
        ray_engine = OnRay(cluster.address)
        tasks = [StudyTask(f"t{at}", dying, {"s": 0.5}) for at in range(12)]
        found = ray_engine.run(tasks, folder)
        late = [StudyTask(f"s{at}", slow, {"name": f"s{at}", "s": 3.0}) for at in range(8)]

        def lose() -> None:
            while len(list((folder / "slow").glob("*")) if (folder / "slow").exists() else []) < 4:
                time.sleep(0.1)
            cluster.remove_node(other, allow_graceful=False)

        threading.Thread(target=lose, daemon=True).start()
        after = ray_engine.run(late, folder)
        alone = ray_engine.run([StudyTask("alone", cores_of, alone=True)], folder)
        print(
            json.dumps(
                {
                    "errors": [each.error for each in (*found.values(), *after.values()) if each.error],
                    "asked": len(tasks),
                    "done": len(list((folder / "tasks").glob("t*.json"))),
                    "nodes": len(list((folder / "on").glob("*"))),
                    "after_loss": len(list((folder / "tasks").glob("s*.json"))),
                    "late": len(late),
                    "alone_cores": alone["alone"].value["cores"],
                }
            )
        )
    finally:
        import ray

        ray.shutdown()
        cluster.shutdown()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
