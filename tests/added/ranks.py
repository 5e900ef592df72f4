"""What each of several processes does: trains every method, whole and with a break, and writes down the weights it ends with.

    python -m torch.distributed.run --standalone --nproc-per-node 2 ranks.py DATA FOLDER

test_added.py runs this in a copy of the package that has the files beside this one.
"""

import importlib.util
import json
import sys
from pathlib import Path

import torch

from paretina import verbs
from paretina.train import training
from paretina.train.ranks import Ranks

torch.set_num_threads(1)
spec = importlib.util.spec_from_file_location("task_kinds", Path(__file__).parent / "task_kinds.py")
task_kinds = sys.modules["task_kinds"] = importlib.util.module_from_spec(spec)
spec.loader.exec_module(task_kinds)
masks = task_kinds.Drawing(task=task_kinds.Places())
data, folder = sys.argv[1], Path(sys.argv[2])
words = json.loads((Path(__file__).parent / "words.json").read_text())
ends = {}
as_saved = training.as_saved


def watched(network):
    """The network that is saved; only the first process writes its file, so each writes down what it would have saved."""
    found = as_saved(network)
    ends.setdefault(name, []).append({key: tensor.double().sum().item() for key, tensor in found.state_dict().items()})
    return found


training.as_saved = watched
for name, given in words.items():
    fields = dict(word.split("=", 1) for word in ("epochs=2", "batch_size=10", "workers=0", *given))
    asked = verbs.ask(masks if name == "PixelHead" else data, "tiny", "plain", "none", "cpu", fields=fields).asked
    training.train(asked, folder / name)
    try:
        training.train(asked, folder / f"{name}-cut", stop_after=4)
    except KeyboardInterrupt:
        training.resume(folder / f"{name}-cut")
told = Ranks.start("cpu")
(folder / f"ends{told.rank}.json").write_text(json.dumps(ends))
told.stop()
