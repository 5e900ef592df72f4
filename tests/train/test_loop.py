import ast
import os
import signal
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from covering import few
from paretina.clock import START
from paretina.data.decode import DecodeError
from paretina.data.pictures import read_pictures
from paretina.data.sources.arrays import ArrayCollection
from paretina.data.transforms.squash import Squash
from paretina.measure.evaluate import Evaluation
from paretina.measure.plan import Plan
from paretina.model.norms.group import GroupNorm
from paretina.run import Run
from paretina.schedules import Constant, Linear, Staged
from paretina.train import loop
from paretina.train.checkpoint import load_state
from paretina.train.evaluated import Evaluated
from paretina.train.journal import Journal
from paretina.train.loop import Job, run_updates
from paretina.train.objectives.supervised import Supervised
from paretina.train.optimizers.adamw import AdamW
from paretina.train.optimizers.rmsprop_tf import RMSPropTF
from paretina.train.optimizers.sgd import SGD
from paretina.train.ranks import Ranks
from paretina.train.recipe import Recipe, StochasticDepth
from paretina.train.terms.cross_entropy import CrossEntropy

PLAN = Plan(workers=0)


class Training:
    """One run, which can be interrupted and resumed: what `training.train` and `training.resume` do, without the files."""

    def __init__(self, path, collection, blueprint, recipe, plan=PLAN):
        self.run = Run.create(path, {})
        self.collection, self.blueprint, self.recipe, self.plan = collection, blueprint, recipe, plan
        self.said = []

    def task(self, **changes):
        torch.manual_seed(self.recipe.seed)
        learner = self.plan.place(self.recipe.objective.make(self.blueprint.build(), None))
        torch.manual_seed(self.recipe.seed + 1000)
        train, val = (read_pictures(self.collection, self.collection.split(name)) for name in ("train", "val"))
        evaluation = Evaluation(val, self.blueprint.preprocessing, 16, self.blueprint.classes, self.plan)
        return replace(Job(learner, train, evaluation, self.recipe.sizes(16), self.plan, Ranks()), **changes)

    def fit(self, listen=lambda line: None, **changes):
        """Continues in a fresh process, as far as one can tell: nothing but the run directory is taken over."""
        torch.manual_seed(os.getpid())
        self.run = Run.open(self.run.path)
        journal = Journal(self.run, Ranks(), self.plan.device, listen, every=0.0)
        return run_updates(self.task(**changes), self.recipe, self.run, journal)

    def stop_after(self, updates, **changes):
        with pytest.raises(KeyboardInterrupt, match=f"stopped after {updates} of"):
            self.fit(updates=updates, **changes)

    def lines(self, event):
        return [line for line in self.run.lines() if line["event"] == event]


@pytest.fixture
def training(tmp_path, collection, tiny):
    def start(recipe, name="run", blueprint=tiny, **changes):
        return Training(tmp_path / name, collection, blueprint, recipe, **changes)

    return start


def weights(kept):
    return {name: tensor.clone() for name, tensor in kept.network.state_dict().items()}


def assert_same(one, other):
    assert one.keys() == other.keys()
    different = [name for name in one if not torch.equal(one[name], other[name])]
    assert not different


def figures(training):
    """Everything in the log but the clock on the wall."""
    wall = ("throughput/img_s", "mem/peak_mb", "time_s", "time/data", "attempt")
    return [{key: value for key, value in line.items() if key not in wall} for line in training.run.lines()]


# --- repeatable -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory, collection, tiny, everything):
    """Final weights and log of the recipe with everything on, by what it keeps."""
    found = {}
    for keep in ("last", "best"):
        training = Training(
            tmp_path_factory.mktemp(keep) / "run",
            collection,
            tiny,
            replace(everything, test=replace(everything.test, keep=keep)),
        )
        kept = training.fit()
        found[keep] = (weights(kept), figures(training), kept.chosen)
    return found


def test_two_runs_are_equal_bit_for_bit(training, everything, uninterrupted):
    second = training(everything)
    kept = second.fit()
    assert_same(weights(kept), uninterrupted["last"][0])
    assert figures(second) == uninterrupted["last"][1]


@pytest.mark.slow
def test_another_seed_is_another_run(training, everything, uninterrupted):
    other = weights(training(replace(everything, seed=4)).fit())
    assert not torch.equal(other["stem.conv.weight"], uninterrupted["last"][0]["stem.conv.weight"])


def test_it_learns(training, tiny):
    recipe = Recipe(
        epochs=10.0, batch_size=10, transforms=(Squash(),), optimizer=AdamW(lr=Constant(value=0.1)), test=Evaluated(every=10.0)
    )
    learning = training(recipe)
    kept = learning.fit()
    losses = [line["train/loss/CrossEntropy"] for line in learning.lines("train")]
    assert losses[-1] < 0.7 * losses[0]
    assert learning.task().evaluation.tally(kept.network).quick()["top1"] > 60


# --- interrupted ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("keep", "stops"), few([("last", (1,)), ("last", (2, 3, 7)), ("best", (4,)), ("best", (8,))]))
def test_interrupted_and_resumed_equals_uninterrupted(training, everything, uninterrupted, keep, stops):
    # an epoch has 3 updates, so most of these are in the middle of one
    interrupted = training(replace(everything, test=replace(everything.test, keep=keep)))
    for updates in stops:
        interrupted.stop_after(updates)
    kept = interrupted.fit()
    wanted, log, chosen = uninterrupted[keep]
    assert_same(weights(kept), wanted)
    assert kept.chosen == chosen
    assert figures(interrupted) == log
    assert {line["attempt"] for line in interrupted.run.lines()} == set(range(len(stops) + 1))


@pytest.mark.slow
def test_going_back_to_an_older_state_equals_uninterrupted(training, everything, uninterrupted):
    killed = training(everything)
    killed.stop_after(4)
    old = killed.run.last_state()
    before = {path.name: path.read_bytes() for path in old.iterdir()}
    killed.stop_after(7)
    (newest,) = (killed.run.path / "state").iterdir()
    newest.rename(newest.with_name(".half"))  # as if a kill had come while that one was written
    old.mkdir()
    for name, data in before.items():
        (old / name).write_bytes(data)
    assert_same(weights(killed.fit()), uninterrupted["last"][0])
    steps = [line["step"] for line in killed.lines("train")]
    assert steps == [1, 2, 3, 4, 5, 6, 7, 5, 6, 7, 8, 9]


@pytest.mark.parametrize(
    "optimizer",
    [
        SGD(lr=Constant(value=0.1)),
        AdamW(lr=Linear(start=0.01, end=0.0)),
        RMSPropTF(lr=Constant(value=0.01)),
    ],
    ids=lambda optimizer: type(optimizer).__name__,
)
def test_every_optimizer_can_be_interrupted(training, optimizer, tiny):
    recipe = Recipe(epochs=1.0, batch_size=5, transforms=(Squash(),), optimizer=optimizer)
    whole = weights(training(recipe, "whole").fit())
    interrupted = training(recipe, "interrupted")
    interrupted.stop_after(3)
    assert_same(weights(interrupted.fit()), whole)


@pytest.mark.slow
def test_frequent_checkpoints_change_nothing(training, everything, uninterrupted):
    assert_same(weights(training(everything).fit(save_every=0.0)), uninterrupted["last"][0])


@pytest.mark.slow
def test_bfloat16_can_be_interrupted_too(training, everything):
    plan = Plan(workers=0, precision="bfloat16", depthwise="float32")
    recipe = replace(everything, epochs=1.0)
    whole = weights(training(recipe, "whole", plan=plan).fit())
    assert all(tensor.dtype == torch.float32 for name, tensor in whole.items() if not name.endswith("tracked"))
    interrupted = training(recipe, "interrupted", plan=plan)
    interrupted.stop_after(2)
    assert_same(weights(interrupted.fit()), whole)


@pytest.mark.slow
def test_a_rate_that_went_back_to_zero_can_be_interrupted(training):
    # whether a branch draws its mask must not hang on what the rate was before
    recipe = Recipe(
        epochs=2.0,
        batch_size=10,
        transforms=(Squash(),),
        stochastic_depth=StochasticDepth(rate=Staged(values=(0.5, 0.0))),
        dropout=Constant(value=0.5),
    )
    whole = weights(training(recipe, "whole").fit())
    interrupted = training(recipe, "interrupted")
    interrupted.stop_after(4)
    assert_same(weights(interrupted.fit()), whole)


@pytest.mark.slow
def test_stopping_earlier_than_the_state_makes_one_update_and_does_not_finish(training, everything):
    short = training(everything)
    short.stop_after(5)
    with pytest.raises(KeyboardInterrupt, match="stopped after 6 of 9"):
        short.fit(updates=2)


@pytest.mark.slow
def test_a_finished_loop_resumes_to_the_same_end(training, everything, uninterrupted):
    # killed between the last state and the result
    finished = training(everything)
    finished.fit()
    kept = finished.fit()
    assert_same(weights(kept), uninterrupted["last"][0])
    assert len(finished.lines("train")) == 9


@pytest.mark.slow
def test_another_number_of_processes_goes_on_with_it_and_says_that_it_is_not_exact(training, everything, monkeypatch):
    run = training(everything)
    run.stop_after(2)
    gather = loop.gather

    def by_two(*arguments):
        *rest, random = arguments
        return gather(*rest, random * 2)

    monkeypatch.setattr(loop, "gather", by_two)
    run.stop_after(3)
    monkeypatch.undo()
    run.fit()
    notes = [line["message"] for line in run.lines("note")]
    assert [note for note in notes if note.startswith("resumed by 1 process, begun by 2:") and "not bit for bit" in note]
    assert len(run.lines("train")) == 9


# --- signals ----------------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_saves_and_the_run_can_be_resumed(training, everything, uninterrupted, number):
    def interrupt(line):
        if line["event"] == "train" and line["step"] == 4:
            os.kill(os.getpid(), number)

    handlers = [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)]
    run = training(everything)
    with pytest.raises(KeyboardInterrupt, match=r"stopped after [45] of 9 updates"):
        run.fit(listen=interrupt)
    assert [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)] == handlers
    assert_same(weights(run.fit()), uninterrupted["last"][0])


@pytest.fixture
def python_interrupts():
    """SIGINT as Python has it; shells let what they start in the background ignore it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_the_second_signal_acts_at_once(training, everything, python_interrupts):
    def interrupt(line):
        if line["event"] == "train" and line["step"] == 4:
            os.kill(os.getpid(), signal.SIGINT)
            os.kill(os.getpid(), signal.SIGINT)

    run = training(everything)
    with pytest.raises(KeyboardInterrupt) as caught:
        run.fit(listen=interrupt)
    assert "stopped after" not in str(caught.value)
    assert run.run.last_state().name == "000000003"  # that of the last evaluation


@pytest.mark.slow
def test_a_signal_in_the_last_update_lets_the_run_finish(training, everything, uninterrupted):
    def interrupt(line):
        if line["event"] == "train" and line["step"] == 9:
            os.kill(os.getpid(), signal.SIGINT)

    assert_same(weights(training(everything).fit(listen=interrupt)), uninterrupted["last"][0])


# --- what went wrong --------------------------------------------------------------------------------------------------


def test_a_loss_that_is_no_number_stops_the_run_with_the_step_and_the_parts(training):
    recipe = Recipe(
        epochs=2.0,
        batch_size=10,
        transforms=(Squash(),),
        optimizer=SGD(lr=Staged(values=(0.1, 1e30)), scale_lr=False),
    )
    exploding = training(recipe)
    with pytest.raises(
        FloatingPointError, match=r"loss is (nan|inf) at step [45]; parts: {'CrossEntropy': (nan|inf)}; lower the"
    ):
        exploding.fit()
    saved = exploding.run.last_state().name
    assert saved == "000000003"
    with pytest.raises(FloatingPointError):
        exploding.fit()  # and it is the same again


@pytest.mark.slow
def test_poisoned_weights_stop_the_run_at_their_first_loss(training, everything):
    poisoned = training(everything)

    def poison(line):
        if line["event"] == "train" and line["step"] == 4:
            with torch.no_grad():
                task.learner.network.head.classifier.bias.fill_(float("nan"))

    task = poisoned.task(save_every=0.0)
    journal = Journal(poisoned.run, Ranks(), "cpu", poison, every=0.0)
    with pytest.raises(FloatingPointError, match=r"loss is nan at step 4"):
        run_updates(task, poisoned.recipe, poisoned.run, journal)
    assert poisoned.lines("train")[-1]["step"] == 4


class Vanishing(ArrayCollection):
    """Pictures of which some can no longer be read from some moment on."""

    gone = ()

    def image(self, sample, at_least=None):
        if sample.name in Vanishing.gone:
            raise DecodeError(f"{sample.name}: No such file or directory")
        return super().image(sample, at_least)


def test_a_picture_that_vanishes_in_mid_run_is_named_and_left_out(training, everything, collection, monkeypatch):
    monkeypatch.setattr(Vanishing, "gone", ())
    run = training(replace(everything, accumulate=1))
    run.collection = Vanishing(collection.classes, collection.splits, images=collection.images)

    def vanish(line):
        if line["event"] == "train" and line["step"] == 4:
            Vanishing.gone = ("0", "1", "31")  # two to train on, one to validate on

    task = run.task()
    shown = [read_pictures(run.collection, run.collection.split(name), budget=0) for name in ("train", "val")]
    evaluation = Evaluation(shown[1], run.blueprint.preprocessing, 16, 3, PLAN)
    monkeypatch.setattr(Evaluation, "KEEP", 0)
    journal = Journal(run.run, Ranks(), "cpu", vanish, every=0.0)
    run_updates(replace(task, pictures=shown[0], evaluation=evaluation), run.recipe, run.run, journal)
    notes = [line["message"] for line in run.lines("note")]
    assert sorted(notes) == [
        f"left out, because it can no longer be read: {name}: No such file or directory" for name in ("0", "1", "31")
    ]
    assert [round(line["val_ema/top1"] * n / 100, 6) % 1 for line, n in zip(run.lines("val"), (9, 8), strict=True)] == [0, 0]
    assert list(evaluation.faults) == ["31: No such file or directory"]


# --- what is computed -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("batch_size", "accumulate"), few([(8, 2), (10, 3), (7, 5)]))
def test_accumulated_parts_equal_the_large_batch(training, tiny, batch_size, accumulate):
    # also where the parts differ in length; batch norm would see the parts, so it is not there
    blueprint = replace(tiny, norm=GroupNorm(groups=2))
    recipe = Recipe(
        epochs=1.0,
        batch_size=batch_size,
        transforms=(Squash(),),
        optimizer=SGD(lr=Constant(value=1.0)),
        test=Evaluated(every=9.0),
    )
    large = weights(training(recipe, "large", blueprint).fit())
    start = {
        name: tensor.clone()
        for name, tensor in training(recipe, "start", blueprint).task().learner.network.state_dict().items()
    }
    parts = weights(training(replace(recipe, accumulate=accumulate), "parts", blueprint).fit())
    for name, tensor in large.items():
        moved = (tensor - start[name]).abs().max()
        assert moved > 0
        assert (parts[name] - tensor).abs().max() <= 1e-3 * moved + 1e-6, name


def test_one_update_by_hand(training, tiny):
    blueprint = replace(tiny, norm=GroupNorm(groups=2))
    recipe = Recipe(
        epochs=0.1,
        batch_size=30,
        transforms=(Squash(),),
        optimizer=SGD(lr=Constant(value=0.5), momentum=0.0, nesterov=False, scale_lr=False),
        objective=Supervised(terms=(CrossEntropy(smoothing=Constant(value=0.0)),)),
    )
    run = training(recipe, "run", blueprint)
    task = run.task()
    network = task.learner.network
    images = torch.stack([Squash()(task.pictures.image(i), 16, START) for i in range(30)])
    loss = torch.nn.functional.cross_entropy(network(images), torch.tensor(task.pictures.labels()))
    gradients = torch.autograd.grad(loss, list(network.parameters()))
    wanted = [parameter - 0.5 * gradient for parameter, gradient in zip(network.parameters(), gradients, strict=True)]
    kept = run.fit()
    for given, by_hand in zip(kept.network.parameters(), wanted, strict=True):
        torch.testing.assert_close(given, by_hand, atol=1e-5, rtol=1e-4)
    assert run.lines("train")[0]["train/loss"] == pytest.approx(loss.item(), rel=1e-5)


def test_the_rate_follows_the_pictures_that_an_update_really_has(training):
    # 30 pictures are fewer than the 64 asked for
    recipe = Recipe(epochs=1.0, batch_size=64, transforms=(Squash(),), optimizer=SGD(lr=Constant(value=0.256)))
    run = training(recipe)
    run.fit()
    assert run.lines("train")[0]["lr"] == pytest.approx(0.03)


def test_the_log_says_what_happened(training, everything):
    run = training(everything)
    run.fit()
    train, val = run.lines("train"), run.lines("val")
    assert [line["step"] for line in train] == list(range(1, 10))
    assert [line["step"] for line in val] == [3, 6]  # the end is evaluated after the loop
    assert [line["epoch"] for line in val] == pytest.approx([1.0, 2.0])
    assert train[0]["size"] == 12
    assert train[-1]["size"] == round(12 + 6 * 8 / 9)
    assert [line["schedule/stochastic_depth"] for line in train] == pytest.approx([0.1 + 0.4 * i / 9 for i in range(9)])
    assert [*val[0]] == [*val[1]]
    assert {"epoch", "shown", "val_ema/loss", "val_ema/top1"} <= set(val[0])
    assert all(line["train/loss"] == pytest.approx(line["train/loss/CrossEntropy"]) for line in train)
    assert all(line["grad_norm"] > 0 for line in train)


@pytest.mark.slow
def test_the_best_weights_are_those_of_the_best_evaluation(training, everything):
    recipe = replace(
        everything,
        test=replace(everything.test, keep="best"),
        epochs=6.0,
        average=None,
        optimizer=SGD(lr=Staged(values=(3.0, 0.0, 50.0))),
    )
    run = training(recipe)
    kept = run.fit()
    val = {line["step"]: line["val/top1"] for line in run.lines("val")}
    first_best = next(step for step, top1 in val.items() if top1 == max(val.values()))
    assert kept.chosen == (
        f"the weights after update {first_best} of 18, chosen for the best top-1 on the validation data, "
        "so the figures are optimistic"
    )
    logits, ids = run.task().evaluation.run(kept.network)
    labels = torch.tensor([int(n) % 3 for n in range(9)])[ids]
    assert 100 * (logits.argmax(1) == labels).float().mean().item() == pytest.approx(val[first_best])


def test_the_average_is_kept_where_there_is_one(training, everything):
    run = training(everything)
    kept = run.fit()
    assert kept.chosen == "the average of the weights after the last update, 9; nothing was chosen on the validation data"
    assert kept.judged == "val_ema"
    last = load_state(run.run.last_state())
    learned = {name.removeprefix("network."): tensor for name, tensor in last["learner"].items()}
    averaged = kept.network.state_dict()
    assert averaged.keys() == learned.keys()
    assert not any(torch.equal(averaged[name], learned[name]) for name in averaged if name.endswith("conv.weight"))


def test_an_update_of_fewer_pictures_than_parts_is_refused(training):
    recipe = Recipe(epochs=1.0, batch_size=64, accumulate=31, transforms=(Squash(),))
    with pytest.raises(ValueError, match="an update of 30 pictures cannot be cut into 31 parts"):
        training(recipe).fit()


# --- how it is written ------------------------------------------------------------------------------------------------

SOURCE = Path(loop.__file__).read_text()


def test_the_loop_fits_on_a_few_pages():
    assert len(SOURCE.splitlines()) < 200


def test_the_loop_names_no_method():
    folders = ("terms", "objectives", "transforms", "optimizers", "recipes", "schedules", "families", "blocks", "sources")
    imported = [node.module for node in ast.walk(ast.parse(SOURCE)) if isinstance(node, ast.ImportFrom)]
    assert not [module for module in imported if module and set(module.split(".")[:-1]) & set(folders)]
    methods = {
        node.name
        for folder in folders
        for path in Path(loop.__file__).parents[1].rglob(f"{folder}/*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ClassDef)
    }
    assert {"CrossEntropy", "MixUp", "AdamW", "Supervised"} <= methods
    named = {node.id for node in ast.walk(ast.parse(SOURCE)) if isinstance(node, ast.Name)}
    assert not named & methods
