"""Training on a device: bit for bit, without waits, with overflow, in graphs, beside other processes."""

import os
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import replace

import pytest
import torch

from paretina.cli.program import outcome
from paretina.clock import Clock
from paretina.data.ahead import Ahead
from paretina.data.batch import Batch
from paretina.data.loader import LoadedBatch
from paretina.data.pictures import read_pictures
from paretina.data.sampler import Epochs
from paretina.data.sources.arrays import Arrays
from paretina.data.transforms.flip import HorizontalFlip
from paretina.data.transforms.mix_or_cut import MixOrCut
from paretina.data.transforms.squash import Squash
from paretina.measure.evaluate import Evaluation
from paretina.measure.plan import Plan
from paretina.measure.update import Update
from paretina.schedules import Constant, Linear
from paretina.search.device_lock import DeviceLock
from paretina.train.asked import Asked
from paretina.train.average import Average
from paretina.train.clipping import ClipNorm
from paretina.train.optimizers.adamw import AdamW
from paretina.train.optimizers.lars import LARS
from paretina.train.optimizers.rmsprop_tf import RMSPropTF
from paretina.train.optimizers.sgd import SGD
from paretina.train.ranks import Ranks
from paretina.train.recipe import Recipe, StochasticDepth
from paretina.train.step import Step
from paretina.train.training import resume, train

RECIPE = Recipe(
    epochs=1.0,
    batch_size=10,
    accumulate=2,
    transforms=(Squash(), HorizontalFlip(), MixOrCut()),
    stochastic_depth=StochasticDepth(rate=Linear(start=0.1, end=0.5)),
    dropout=Constant(value=0.2),
    clip=ClipNorm(),
    average=Average(decay=Constant(value=0.7), share=None),
)
RULES = [
    SGD(lr=Constant(value=1e-2)),
    AdamW(lr=Constant(value=1e-3)),
    RMSPropTF(lr=Constant(value=1e-3)),
    LARS(lr=Constant(value=0.1)),
]


def name_of(value):
    return type(value).__name__


@contextmanager
def deterministic():
    torch.use_deterministic_algorithms(True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(False)


@contextmanager
def no_wait(device):
    """On a GPU a wait within is an error."""
    if device == "cuda":
        torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        if device == "cuda":
            torch.cuda.set_sync_debug_mode("default")


def test_a_run_repeated_and_resumed_is_the_same_bit_for_bit(device, npz, tiny, tmp_path):
    asked = Asked(data=Arrays(path=npz), model=tiny, recipe=RECIPE, plan=Plan(device=device, workers=0, threads=1))
    with deterministic():
        first, second = train(asked, tmp_path / "first"), train(asked, tmp_path / "second")
        with pytest.raises(KeyboardInterrupt):
            train(asked, tmp_path / "third", stop_after=2)
        resume(tmp_path / "third")
    models = [(tmp_path / name / "model.safetensors").read_bytes() for name in ("first", "second", "third")]
    assert models[0] == models[1] == models[2]
    wall = ("throughput/img_s", "mem/peak_mb", "time_s", "time/data", "at")
    lines = [
        [{key: value for key, value in line.items() if key not in wall} for line in run.lines() if line["event"] == "val"]
        for run in (first, second)
    ]
    assert lines[0] == lines[1]


def batches(sizes=(16,)):
    """Batches without end, of the sizes in turn."""
    number = 0
    while True:
        side = sizes[number % len(sizes)]
        images = torch.randint(256, (5, 3, side, side), dtype=torch.uint8, generator=torch.Generator().manual_seed(number))
        targets = torch.nn.functional.one_hot(torch.arange(number, number + 5) % 3, 3).float()
        yield LoadedBatch(Batch((images,), targets, torch.arange(5)), ())
        number += 1


def stepped(plan, recipe, tiny, updates, sizes=(16,), guard=None):
    """The learner after some updates, and what they made; all but the first ones under a guard."""
    torch.manual_seed(0)
    learner = plan.place(recipe.objective.make(tiny.build(), None)).train()
    if plan.compile:
        learner.network.compile(**plan.compiling())
    step = Step(learner, recipe, plan, Ranks(), Epochs(100, 10, 10.0, 0))
    step.begin()
    made, given = [], batches(sizes)
    with plan.threaded():
        for update in range(updates):
            with guard() if guard and update >= 2 else no_wait("none"):
                made.append(step(update, given))
    return learner, made


@pytest.mark.parametrize("rule", RULES, ids=name_of)
@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_an_update_does_not_wait(device, tiny, rule, precision):
    if device == "cpu" and precision == "float16":
        pytest.skip("tests/train/test_no_wait.py rehearses it")
    plan, recipe = Plan(device=device, precision=precision), replace(RECIPE, optimizer=rule)
    _, made = stepped(plan, recipe, tiny, 4, guard=lambda: no_wait(device))
    assert all(value.isfinite() for each in made for value in each.losses.values())
    assert all((each.moved is None) == (precision == "bfloat16") for each in made)


@pytest.mark.parametrize("rule", RULES, ids=name_of)
def test_an_update_that_overflows_leaves_weights_and_average_as_they_were(device, rule):
    def trained(overflows):
        torch.manual_seed(0)
        module = torch.nn.Linear(4, 3).to(device)
        average = Average(decay=Constant(value=0.9), share=None).make(module)
        made = rule.make([{"params": [module.weight], "decayed": True}, {"params": [module.bias], "decayed": False}])
        update = Update(Plan(device=device, precision="float16"), made)
        rule.set_rates(made, Clock(1, 10, 1.0), 256)
        images = torch.randn(8, 4, generator=torch.Generator().manual_seed(1)).to(device)
        for overflow in overflows:
            factor = float("inf") if overflow else 1.0
            update.learn(lambda factor=factor: {"loss": module(images).float().square().mean() * factor})
            moved, _ = update.step()
            average.update(module, Clock(1, 10, 1.0), moved)
        return [*module.state_dict().values(), *average.module.state_dict().values()], average.state_dict()["count"]

    plain, count = trained([False, False])
    found, counted = trained([True, False, True, False])
    assert count == counted == 2
    assert all(torch.equal(one, other) for one, other in zip(plain, found, strict=True))


@pytest.mark.parametrize("graphs", [False, True])
def test_compiled_updates_of_two_sizes_are_near_the_eager_ones(device, tiny, graphs):
    if device == "cpu":
        pytest.skip("compiling for a CPU takes minutes; tests of plans know what is compiled")
    recipe = replace(RECIPE, stochastic_depth=None, dropout=Constant(value=0.0), transforms=(Squash(),))
    eager, _ = stepped(Plan(device=device), recipe, tiny, 6, (16, 24))
    compiled, made = stepped(Plan(device=device, compile=True, graphs=graphs), recipe, tiny, 6, (16, 24))
    assert all(value.isfinite() for each in made for value in each.losses.values())
    for one, other in zip(eager.parameters(), compiled.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-2, atol=1e-3)


def test_pictures_go_ahead_as_bytes_and_arrive_as_they_were(device):
    send = Ahead(device, torch.channels_last)
    for loaded, _ in zip(batches(), range(5), strict=False):
        batch = send(loaded.pin_memory().batch if device == "cuda" else loaded.batch)
        assert batch.images.dtype == torch.uint8
        assert batch.images.device.type == batch.targets.device.type == batch.ids.device.type == device
        assert batch.images.is_contiguous(memory_format=torch.channels_last)
        assert torch.equal(batch.images.cpu(), loaded.batch.images)
        assert torch.equal(batch.targets.cpu(), loaded.batch.targets)


def test_evaluation_and_tally_are_those_of_the_cpu(device, npz, tiny):
    torch.manual_seed(0)
    collection = Arrays(path=npz).open()
    val, network = read_pictures(collection, collection.split("val")), tiny.build()
    tallies, logits = [], []
    for plan in (Plan(), Plan(device=device)):
        evaluation = Evaluation(val, tiny.preprocessing, 16, 3, plan, batch=4)
        with plan.threaded():
            tallies.append(evaluation.tally(plan.place(network)).quick())
            logits.append(evaluation.run(network)[0])
    torch.testing.assert_close(logits[0], logits[1], rtol=1e-3, atol=1e-4)
    assert tallies[0] == pytest.approx(tallies[1], rel=1e-3)


def test_out_of_memory_is_told_in_one_sentence(device):
    with pytest.raises((RuntimeError, MemoryError)) as caught:
        torch.empty(1 << 55, dtype=torch.uint8, device=device)
    said = str(outcome(caught.value))
    assert said.startswith("out of memory; lower batch_size or size, raise accumulate, or take precision=bfloat16 (")


RANK = """
import sys, torch, torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel
from paretina.train.ranks import Ranks
device = sys.argv[1]
ranks = Ranks.start(device)
assert (ranks.rank, ranks.count) == (0, 1)
module = DistributedDataParallel(torch.nn.Linear(3, 2).to(device))
module(torch.ones(4, 3, device=device)).sum().backward()
value = torch.ones((), device=device)
dist.all_reduce(value)
dist.broadcast(value, 0)
assert value.item() == 1.0
found = [None]
dist.all_gather_object(found, "here")
assert found == ["here"]
assert torch.equal(module.module.weight.grad.cpu(), torch.full((2, 3), 4.0))
dist.destroy_process_group()
print("done")
"""


def test_one_rank_speaks_with_itself(device):
    """By NCCL on a GPU, by gloo on a CPU."""
    where = {"RANK": "0", "WORLD_SIZE": "1", "LOCAL_RANK": "0", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29561"}
    ended = subprocess.run(
        [sys.executable, "-c", RANK, device], env={**os.environ, **where}, capture_output=True, text=True, timeout=120
    )
    assert ended.stdout.strip().endswith("done"), ended.stderr[-2000:]


TIMING = """
import sys
from pathlib import Path
from paretina.search.device_lock import DeviceLock
with DeviceLock(sys.argv[1], Path(sys.argv[2])).alone():
    print("alone", flush=True)
    sys.stdin.readline()
"""


def test_another_process_that_is_timed_has_the_device_alone(device, tmp_path):
    import fcntl

    from paretina.search.device_lock import held

    lock = DeviceLock(device, tmp_path)
    other = subprocess.Popen(
        [sys.executable, "-c", TIMING, device, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert other.stdout.readline() == "alone\n"
    with pytest.raises(BlockingIOError), held(lock.lock, fcntl.LOCK_SH | fcntl.LOCK_NB):
        pass
    other.communicate("\n")
    with lock.shared():
        assert torch.ones(2, device=device).sum().item() == 2.0
