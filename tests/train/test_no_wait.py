"""The host reads nothing of the device between two lines of the log: losses, norms and overflow stay there.

On the CPU nothing waits, so the tensors of the network are followed: whatever is computed from them counts as being on the
device, and each value of it that Python gets is a wait. A longer run must have no more of them.
"""

from dataclasses import replace

import pytest
import torch
from torch.utils.weak import WeakIdKeyDictionary

from covering import few
from paretina.clock import START, Clock
from paretina.data.batch import Batch
from paretina.data.pictures import read_pictures
from paretina.data.transforms.mix_or_cut import MixOrCut
from paretina.data.transforms.squash import Squash
from paretina.measure.evaluate import Evaluation
from paretina.measure.plan import Plan
from paretina.measure.update import Update
from paretina.run import Run
from paretina.schedules import Constant, Linear
from paretina.torch_internals import TorchDispatchMode, tree_leaves
from paretina.train.average import Average
from paretina.train.clipping import AdaptiveClip, ClipNorm
from paretina.train.evaluated import Evaluated
from paretina.train.journal import Journal
from paretina.train.loop import Job, run_updates
from paretina.train.objectives.byol import BYOL
from paretina.train.objectives.supervised import Supervised
from paretina.train.optimizers.adamw import AdamW
from paretina.train.optimizers.lars import LARS
from paretina.train.optimizers.rmsprop_tf import RMSPropTF
from paretina.train.optimizers.sgd import SGD
from paretina.train.ranks import Ranks
from paretina.train.recipe import Recipe, StochasticDepth
from paretina.train.terms.adjusted_cross_entropy import AdjustedCrossEntropy
from paretina.train.terms.cross_entropy import CrossEntropy

aten = torch.ops.aten
READING = {aten._local_scalar_dense, aten.nonzero, aten.masked_select, aten.equal, aten._unique2, aten.is_nonzero}
"""Operators whose result, or its shape, depends on values that the host must know."""


class Waits(TorchDispatchMode):
    """Counts what is read of tensors that are computed from others.

    Attributes:
        there: tensors that count as being on the device.
    """

    def __init__(self, monkeypatch):
        super().__init__()
        self.there = WeakIdKeyDictionary()
        self.found = []
        for name in ("tolist", "numpy", "cpu"):
            monkeypatch.setattr(torch.Tensor, name, self.counting(name, getattr(torch.Tensor, name)))
        to = Batch.to
        monkeypatch.setattr(Batch, "to", lambda batch, *given: self.send(to(batch, *given)))

    def counting(self, name, method):
        def counted(tensor, *given, **more):
            if tensor in self.there:
                self.found.append(name)
            return method(tensor, *given, **more)

        return counted

    def send(self, batch):
        for tensor in (*batch.views, batch.targets, batch.ids):
            self.there[tensor] = True
        return batch

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        given = [leaf for leaf in tree_leaves((args, kwargs or {})) if isinstance(leaf, torch.Tensor)]
        known = any(tensor in self.there for tensor in given)
        out = func(*args, **(kwargs or {}))
        if known:
            by_mask = func.overloadpacket in (aten.index, aten.index_put_) and any(
                each.dtype == torch.bool for each in tree_leaves(args[1]) if isinstance(each, torch.Tensor)
            )
            if func.overloadpacket in READING or by_mask:
                self.found.append(func.name())
            for tensor in tree_leaves((out, args[0])):
                if isinstance(tensor, torch.Tensor):
                    self.there[tensor] = True
        return out


PLAIN = Recipe(
    epochs=1.0,
    batch_size=6,
    accumulate=2,
    transforms=(Squash(), MixOrCut()),
    size=Linear(start=8.0, end=12.0),
    stochastic_depth=StochasticDepth(rate=Linear(start=0.1, end=0.5)),
    dropout=Constant(value=0.2),
    clip=ClipNorm(),
    average=Average(decay=Constant(value=0.7), share=None),
    test=Evaluated(every=100.0),
)


def waits(monkeypatch, path, collection, blueprint, recipe, plan, epochs):
    """Everything that is read in a run of so many epochs, of which only the first and the last update are logged."""
    recipe = replace(recipe, epochs=epochs)
    torch.manual_seed(0)
    learner = plan.place(recipe.objective.make(blueprint.build(), None))
    train, val = (read_pictures(collection, collection.split(name)) for name in ("train", "val"))
    evaluation = Evaluation(val, blueprint.preprocessing, 16, 3, plan)
    job = Job(learner, train, evaluation, recipe.sizes(16), plan, Ranks(), save_every=1e9)
    heard = []
    journal = Journal(Run.create(path, {}), Ranks(), "cpu", heard.append, every=1e9)
    with monkeypatch.context() as patch:
        mode = Waits(patch)
        for tensor in (*learner.parameters(), *learner.buffers()):
            mode.there[tensor] = True
        with mode:
            run_updates(job, recipe, journal.run, journal)
    updates = round(epochs * 5)
    assert [line["step"] for line in heard if line["event"] == "train"] == [1, updates]
    return mode.found


@pytest.mark.parametrize(
    ("changes", "precision"),
    few(
        [
            ({}, "float32"),
            ({"optimizer": AdamW(lr=Constant(value=1e-3)), "clip": AdaptiveClip()}, "bfloat16"),
            ({"optimizer": RMSPropTF(lr=Constant(value=1e-3)), "clip": None}, "float32"),
            ({"optimizer": LARS(lr=Constant(value=0.1)), "average": Average(every=3, initial=0.2)}, "float32"),
            ({"objective": Supervised(terms=(AdjustedCrossEntropy(counts=(10.0, 10.0, 10.0)), CrossEntropy()))}, "float32"),
            ({"optimizer": SGD(lr=Constant(value=1e-3))}, "float16"),
            ({"optimizer": RMSPropTF(lr=Constant(value=1e-3)), "average": Average(every=3, initial=0.2)}, "float16"),
        ]
    ),
)
def test_nothing_is_read_between_two_lines_of_the_log(monkeypatch, tmp_path, collection, tiny, changes, precision):
    recipe, plan = replace(PLAIN, **changes), Plan(workers=0, precision=precision)
    short = waits(monkeypatch, tmp_path / "short", collection, tiny, recipe, plan, 0.6)
    long = waits(monkeypatch, tmp_path / "long", collection, tiny, recipe, plan, 1.0)
    assert short
    assert sorted(long) == sorted(short)


@pytest.mark.slow
def test_a_value_that_is_read_at_each_update_would_be_found(monkeypatch, tmp_path, collection, tiny):
    class Reading(ClipNorm):
        def __call__(self, parameters, clock):
            norm = super().__call__(parameters, clock)
            assert float(norm) >= 0
            return norm

    plan, recipe = Plan(workers=0), replace(PLAIN, clip=Reading())
    short, long = (
        len(waits(monkeypatch, tmp_path / f"{epochs}", collection, tiny, recipe, plan, epochs)) for epochs in (0.6, 1.0)
    )
    assert long == short + 2


# --- overflow -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "optimizer",
    [
        SGD(lr=Constant(value=1e-2)),
        SGD(lr=Constant(value=1e-2), momentum=0.0, nesterov=False),
        AdamW(lr=Constant(value=1e-3)),
        RMSPropTF(lr=Constant(value=1e-3)),
        LARS(lr=Constant(value=0.1)),
    ],
    ids=lambda each: f"{type(each).__name__}{each.momentum if hasattr(each, 'momentum') else ''}",
)
def test_an_update_that_overflows_leaves_everything_as_it_was(optimizer):
    """Updates at which float16 overflows are as if they had not been, the first of all among them."""

    def trained(overflows):
        torch.manual_seed(0)
        module = torch.nn.Linear(4, 3)
        average = Average(decay=Constant(value=0.9), share=None, every=2, initial=0.1).make(module)
        rule = optimizer.make([{"params": [module.weight], "decayed": True}, {"params": [module.bias], "decayed": False}])
        update = Update(Plan(precision="float16"), rule)
        clock = Clock(1, 10, 1.0)
        optimizer.set_rates(rule, clock, 256)
        images = torch.randn(8, 4)
        told = []
        for overflow in overflows:
            update.learn(lambda: {"loss": module(images).float().square().mean() * (float("inf") if overflow else 1.0)})  # noqa: B023
            moved, norm = update.step(lambda: torch.tensor(1.0))
            average.update(module, clock, moved)
            told.append(bool(moved))
            assert norm == 1.0
        kept = {name: value.clone() for name, value in average.module.state_dict().items()}
        return module.state_dict(), kept, average.state_dict()["count"], told, update.scaler.get_scale()

    plain = trained([False] * 3)
    found = trained([True, False, False, True, True, False])
    assert found[3] == [False, True, True, False, False, True]
    assert found[2] == plain[2] == 3
    assert found[4] == plain[4] / 8
    for wanted, had in zip(plain[:2], found[:2], strict=True):
        assert all(torch.equal(wanted[name], had[name]) for name in wanted)


def test_a_target_does_not_move_where_the_weights_did_not(tiny):
    learner = BYOL(hidden=4, width=4, decay=Constant(value=0.5)).make(tiny.build(), None)
    with torch.no_grad():
        learner.online.projector[0].weight.add_(1.0)
    before = learner.target.projector[0].weight.clone()
    learner.moved = torch.tensor(False)
    learner.updated(START)
    assert torch.equal(learner.target.projector[0].weight, before)
    learner.moved = torch.tensor(True)
    learner.updated(START)
    torch.testing.assert_close(learner.target.projector[0].weight, before + 0.5)


def test_an_average_of_updates_that_may_be_skipped_equals_that_of_sure_ones():
    def averaged(moved, choice):
        torch.manual_seed(0)
        module = torch.nn.BatchNorm1d(3)
        average = choice.make(module)
        for update in range(8):
            module(torch.randn(4, 3))
            with torch.no_grad():
                module.weight.add_(0.1)
            average.update(module, Clock(update, 8, 1.0), moved)
        return average.module.state_dict()

    for choice in (Average(), Average(every=3, share=None), Average(debias="none", initial=0.3)):
        sure, unsure = averaged(None, choice), averaged(torch.tensor(True), choice)
        assert all(torch.allclose(sure[name], unsure[name], atol=1e-7) for name in sure)
        assert sure["num_batches_tracked"] == unsure["num_batches_tracked"]
