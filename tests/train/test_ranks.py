import json
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch

from paretina.data.pictures import read_pictures
from paretina.data.sources.arrays import Arrays
from paretina.data.transforms.squash import Squash
from paretina.measure.accuracy import measure_accuracy
from paretina.measure.evaluate import Evaluation
from paretina.measure.judges.top_one import metrics
from paretina.measure.plan import Plan
from paretina.model.norms.group import GroupNorm
from paretina.model.weights import About, load_model, save_model
from paretina.run import Run
from paretina.schedules import Constant
from paretina.spec import decode, encode
from paretina.train.asked import Asked
from paretina.train.optimizers.sgd import SGD
from paretina.train.ranks import Ranks
from paretina.train.recipe import Recipe
from paretina.train.starting import Starting
from paretina.train.training import train

# --- alone ------------------------------------------------------------------------------------------------------------


def test_one_process_is_rank_0_of_1(monkeypatch):
    for name in ("RANK", "WORLD_SIZE"):
        monkeypatch.delenv(name, raising=False)
    ranks = Ranks.start("cpu")
    assert ranks == Ranks(0, 1, 0, 1)
    assert ranks.first
    assert Ranks.is_first()


def test_alone_nothing_is_exchanged():
    ranks, module = Ranks(), torch.nn.BatchNorm2d(2)
    assert ranks.every("a") == ["a"]
    assert ranks.from_first("a") == "a"
    assert ranks.wrap(module) is module
    assert ranks.mean(torch.tensor(3)).item() == 3.0
    ranks.agree(module)
    ranks.wait()
    ranks.stop()
    with ranks.apart(module):
        pass


def test_which_process_is_first_is_known_before_they_meet(monkeypatch):
    monkeypatch.setenv("RANK", "1")
    assert not Ranks.is_first()


@pytest.mark.parametrize("count", [1, 2, 4])
def test_the_ranks_see_every_validation_picture_exactly_once(collection, tiny, count):
    val = read_pictures(collection, collection.split("val"))
    network = tiny.build().eval()
    found = [Evaluation(val, tiny.preprocessing, 16, 3, Plan(), rank, count, batch=2).run(network) for rank in range(count)]
    assert sorted(torch.cat([ids for _, ids in found]).tolist()) == list(range(9))
    # each picture stands in the same batch as in a single process, so that every digit is the same
    logits, ids = (torch.cat(part) for part in zip(*found, strict=True))
    whole, order = Evaluation(val, tiny.preprocessing, 16, 3, Plan(), batch=2).run(network)
    assert torch.equal(logits[ids.argsort()], whole[order.argsort()])
    batches = [loaded.batch.ids.tolist() for rank in range(count) for loaded in evaluated(val, tiny, rank, count)]
    assert sorted(batches) == [[0, 1], [2, 3], [4, 5], [6, 7], [8]]


def evaluated(val, tiny, rank, count):
    return Evaluation(val, tiny.preprocessing, 16, 3, Plan(), rank, count, batch=2).batches(0)


def test_a_rank_without_any_picture_has_no_answer(collection, tiny):
    val = read_pictures(collection, collection.split("val")[:2])
    logits, ids = Evaluation(val, tiny.preprocessing, 16, 3, Plan(), 2, 3).run(tiny.build())
    assert logits.shape == (0, 3)
    assert ids.tolist() == []


# --- together ---------------------------------------------------------------------------------------------------------

SCRIPT = """
import json, sys
from pathlib import Path
import torch
torch.set_num_threads(1)
from paretina.data import likeness
from paretina.measure import evaluate
from paretina.spec import decode
from paretina.train.asked import Asked
from paretina.train.ranks import Ranks
from paretina.train.resolve import opened
from paretina.train.training import resume, train

folder = Path(sys.argv[1])
asked = {name: decode(Asked, value) for name, value in json.loads((folder / "asked.json").read_text()).items()}
seen = []
tally = evaluate.Evaluation.tally
def watched(self, network, workers=0):
    tallied = tally(self, network, workers)
    ids = tallied.columns()[0]
    statistics = torch.cat([b.flatten() for n, b in network.named_buffers() if "running" in n] or [torch.zeros(1)])
    seen.append([ids.tolist(), statistics.tolist()])
    return tallied
evaluate.Evaluation.tally = watched

train(asked["full"], folder / "first")
told = Ranks.start("cpu")
(folder / f"seen{told.rank}.json").write_text(json.dumps(seen))
train(asked["full"], folder / "second")
try:
    train(asked["full"], folder / "resumed", stop_after=4)
except KeyboardInterrupt:
    resume(folder / "resumed")
train(asked["plain"], folder / "plain")
train(asked["probe"], folder / "probe")
if told.rank:
    likeness.looked_at = None
_, collection = opened(asked["copied"])
(folder / f"split{told.rank}.json").write_text(json.dumps([s.name for s in collection.split("val")]))
assert told.every(told.rank) == [0, 1]
assert told.mean(torch.tensor(told.rank)).item() == 0.5
told.stop()
"""


PROBE = Recipe(epochs=0.0, start=Starting(head="probe"))
"""What is saved is what the run begins with."""


@pytest.fixture(scope="module")
def launched(tmp_path_factory, tiny, everything, arrays):
    """The directory in which two processes trained: the full recipe twice, once more with a break, and a plain recipe."""
    folder = tmp_path_factory.mktemp("ranks")
    images, labels = arrays(39, 18)
    np.savez(folder / "numbers.npz", images=images, labels=labels, split=["train"] * 30 + ["val"] * 9)
    plan = Plan(workers=0, threads=1)
    full = Asked(data=Arrays(path=str(folder / "numbers.npz")), model=tiny, recipe=everything, plan=plan)
    plain = replace(
        full,
        model=replace(tiny, norm=GroupNorm(groups=2)),
        recipe=Recipe(epochs=1.0, batch_size=7, transforms=(Squash(),), optimizer=SGD(lr=Constant(value=1.0))),
    )
    np.savez(folder / "copies.npz", images=np.tile(images, (3, 1, 1, 1)), labels=np.tile(labels, 3))
    copied = replace(plain, data=Arrays(path=str(folder / "copies.npz")))
    torch.manual_seed(3)
    save_model(folder / "start.safetensors", tiny.build(), About(("x", "y", "z")))
    probe = replace(full, recipe=PROBE, weights=str(folder / "start.safetensors"))
    runs = {"full": full, "plain": plain, "copied": copied, "probe": probe}
    (folder / "asked.json").write_text(json.dumps({name: encode(each) for name, each in runs.items()}))
    (folder / "script.py").write_text(SCRIPT)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    command += [str(folder / "script.py"), str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-4000:]
    return folder


@pytest.mark.slow
def test_two_processes_finish_and_leave_one_run(launched):
    run = Run(launched / "first")
    assert run.result()["status"] == "done"
    assert run.result()["data"]["val"] == 9
    assert np.array(run.result()["confusion"]).sum() == 9
    steps = [line["step"] for line in run.lines() if line["event"] == "val"]
    assert steps == [3, 6, 9]


@pytest.mark.slow
def test_two_processes_have_one_split_although_only_the_first_looks_for_copies(launched):
    first, second = (json.loads((launched / f"split{rank}.json").read_text()) for rank in (0, 1))
    assert first == second
    assert len(first) == 3 * len({int(name) % 39 for name in first})


@pytest.mark.slow
def test_two_processes_count_every_validation_picture_once(launched):
    first, second = (json.loads((launched / f"seen{rank}.json").read_text()) for rank in (0, 1))
    # the average after the first two epochs, and the result; this on as many training pictures too
    assert len(first) == len(second) == 4
    seen = [sorted(ids + others) for (ids, _), (others, _) in zip(first, second, strict=True)]
    assert seen == [*[list(range(9))] * 3, [number * 30 // 9 for number in range(9)]]


@pytest.mark.slow
def test_both_processes_judge_the_same_network(launched):
    # each rank sees other pictures, so their statistics of batch norm differ until they agree
    first, second = (json.loads((launched / f"seen{rank}.json").read_text()) for rank in (0, 1))
    assert [statistics for _, statistics in first] == [statistics for _, statistics in second]


@pytest.mark.slow
def test_the_result_of_two_processes_is_that_of_the_model_file(launched):
    run = Run(launched / "first")
    network, about = load_model(run.path / "model.safetensors")
    images, labels = (np.load(launched / "numbers.npz")[name] for name in ("images", "labels"))
    collection = Arrays(path=str(launched / "numbers.npz")).open()
    val = read_pictures(collection, collection.split("val"))
    logits, ids = Evaluation(val, network.blueprint.preprocessing, network.blueprint.resolution, 3, Plan()).run(network)
    accuracy = measure_accuracy(logits, torch.tensor(val.labels())[ids], about.classes)
    assert run.result()["metrics"] == metrics(accuracy)
    assert len(images) == len(labels) == 39
    assert about.metrics["val/nll"] == run.result()["metrics"]["val/nll"]


@pytest.mark.slow
@pytest.mark.parametrize("other", ["second", "resumed"])
def test_two_processes_are_repeatable_and_can_be_interrupted(launched, other):
    for name in ("model.safetensors", "predictions.csv"):
        assert (launched / other / name).read_bytes() == (launched / "first" / name).read_bytes()
    assert Run(launched / other).result()["metrics"] == Run(launched / "first").result()["metrics"]


@pytest.mark.slow
def test_two_processes_equal_one_where_no_layer_sees_the_batch(launched, tmp_path):
    # 7 pictures an update are 4 and 3
    asked = decode(Asked, json.loads((launched / "asked.json").read_text())["plain"])
    alone = train(asked, tmp_path / "alone")
    one, two = (load_model(path / "model.safetensors")[0].state_dict() for path in (alone.path, launched / "plain"))
    for name, tensor in one.items():
        torch.testing.assert_close(two[name], tensor, atol=1e-4, rtol=1e-3)
    assert not torch.equal(one["head.classifier.weight"], torch.zeros_like(one["head.classifier.weight"]))


@pytest.mark.slow
def test_two_processes_begin_with_the_probe_of_one(launched, tmp_path):
    asked = decode(Asked, json.loads((launched / "asked.json").read_text())["probe"])
    alone = train(asked, tmp_path / "alone")
    for name in ("model.safetensors", "predictions.csv"):
        assert (alone.path / name).read_bytes() == (launched / "probe" / name).read_bytes()
    one, two = (Run(path).result()["probe"] for path in (alone.path, launched / "probe"))
    assert {**one, "time_s": 0} == {**two, "time_s": 0}
