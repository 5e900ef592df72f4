"""Runs of every kind of task: what they leave behind, how they are judged, and what is refused before they begin."""

import csv
import importlib.util
import json
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import PIL.Image
import pytest
import torch
from click.testing import CliRunner

from covering import few
from paretina import verbs
from paretina.cli import main
from paretina.clock import Clock
from paretina.data.batch import Batch
from paretina.data.check import check
from paretina.data.preprocess import preprocess
from paretina.data.sources.part import Part
from paretina.data.transform import View
from paretina.data.transforms.cutmix import CutMix
from paretina.data.transforms.flip import HorizontalFlip
from paretina.data.transforms.jitter import ColorJitter
from paretina.data.transforms.mix_or_cut import MixOrCut
from paretina.data.transforms.mixup import MixUp
from paretina.data.transforms.shift import RandomShift
from paretina.data.transforms.squash import Squash
from paretina.data.transforms.trivialaugment import TrivialAugment
from paretina.measure.judge import judge_of
from paretina.measure.judges.mean_iou import MeanIoU
from paretina.measure.judges.mean_precision import MeanPrecision
from paretina.measure.judges.top_one import TopOne
from paretina.measure.plan import Plan
from paretina.model.task import Task
from paretina.model.tasks.any_of import AnyOf
from paretina.model.tasks.nothing import Nothing
from paretina.model.tasks.one_of import OneOf
from paretina.model.tasks.places import Places
from paretina.model.weights import load_model
from paretina.run import Run
from paretina.schedules import Constant
from paretina.search.ablation.study import settled
from paretina.spec import encode
from paretina.spec import kinds as registered
from paretina.train.asked import Asked, assignment, change
from paretina.train.average import Average
from paretina.train.checkpoint import load_state, save_state
from paretina.train.evaluated import Evaluated
from paretina.train.objectives.supervised import Supervised
from paretina.train.optimizers.adamw import AdamW
from paretina.train.recipe import Recipe
from paretina.train.resolve import prepare
from paretina.train.tasks import HeldOut, check_task
from paretina.train.terms.binary_cross_entropy import BinaryCrossEntropy
from paretina.train.terms.cross_entropy import CrossEntropy
from paretina.train.terms.distill import Distill
from paretina.train.training import resume, train


def loaded(path):
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = sys.modules[path.stem] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


KINDS, HEADS = Path(__file__).parent / "task_kinds.py", Path(__file__).parents[1] / "added" / "dense.py"
kinds, heads = loaded(KINDS), loaded(HEADS)

RECIPE = Recipe(
    epochs=4.0,
    batch_size=6,
    transforms=(Squash(), RandomShift(), HorizontalFlip(), MixUp(probability=0.5)),
    optimizer=AdamW(lr=Constant(value=0.02)),
    accumulate=2,
)
TERMS = {
    AnyOf(): (BinaryCrossEntropy(),),
    Places(): (CrossEntropy(smoothing=Constant(value=0.0)),),
    Nothing(): (kinds.Steady(),),
}


def asked(tiny, task, **changes):
    model = replace(tiny, head=heads.PixelHead()) if task.DENSE else tiny
    recipe = replace(RECIPE, objective=Supervised(terms=TERMS[task]))
    return Asked(data=kinds.Drawing(task=task), model=model, recipe=replace(recipe, **changes), plan=Plan(workers=0))


@pytest.fixture(scope="module")
def runs(tmp_path_factory, tiny):
    """A finished run of each task."""
    folder = tmp_path_factory.mktemp("tasks")
    return {task: train(asked(tiny, task), folder / type(task).__name__) for task in TERMS}


def val_lines(run):
    return [line for line in run.lines() if line["event"] == "val"]


def table(path):
    with path.open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


every_task = pytest.mark.parametrize("task", TERMS, ids=lambda task: type(task).__name__)
labelled = pytest.mark.parametrize("task", [AnyOf(), Places()], ids=lambda task: type(task).__name__)


# --- what a run leaves behind -----------------------------------------------------------------------------------------


@every_task
def test_the_model_file_says_what_its_logits_mean(runs, task):
    network, about = load_model(runs[task].path / "model.safetensors")
    assert about.task == task
    assert verbs.show(str(runs[task].path)).to_dict()["about"]["task"] == encode(task)
    logits = network(torch.zeros(2, 3, 16, 16, dtype=torch.uint8))
    assert logits.shape == ((2, 3, 16, 16) if task.DENSE else (2, 3))


@labelled
def test_the_result_of_a_run_is_what_evaluate_finds(runs, task):
    result = runs[task].result()
    found = verbs.evaluate(runs[task].path, kinds.Drawing(task=task))
    assert found.judged.metrics == result["metrics"]
    assert found.to_dict()["per_class"] == result["per_class"]
    assert result["task"] == encode(task)
    assert result["metrics"][f"val/{result['shown']['key']}"] is not None
    assert load_model(runs[task].path / "model.safetensors")[1].metrics == result["metrics"]


@pytest.mark.parametrize(("task", "chance"), [(AnyOf(), 70.0), (Places(), 40.0)])
def test_something_is_learned(runs, task, chance):
    result = runs[task].result()
    assert result["metrics"][f"val/{result['shown']['key']}"] > chance


def test_what_has_no_label_is_not_counted(runs):
    # of the validation pictures 25 to 33 number 28 has no label, and 32 shows nothing
    found = table(runs[AnyOf()].path / "predictions.csv")
    assert [row["name"] for row in found] == [str(n) for n in range(25, 34) if n != 28]
    assert {row["name"]: row["labels"] for row in found}["32"] == ""
    assert {row["name"]: row["labels"] for row in found}["27"] == "red; green"
    # of the central 15 rows the first 2 are not known, which are nearest to the first 2 of 16
    assert {row["pixels"] for row in table(runs[Places()].path / "predictions.csv")} == {str(14 * 16)}


def test_without_labels_the_loss_on_the_validation_pictures_is_the_figure(runs):
    run = runs[Nothing()]
    losses = [line["val/loss"] for line in val_lines(run)]
    assert losses[-1] < losses[0]
    assert run.result()["metrics"] == {"val/loss": pytest.approx(losses[-1], rel=1e-5)}
    network, _ = load_model(run.path / "model.safetensors")
    val = prepare(asked(network.blueprint, Nothing())).val
    images = torch.stack([preprocess(val.image(i), network.model.preprocessing, 16) for i in range(len(val))])
    assert (network(images) - 1).square().mean().item() == pytest.approx(losses[-1], rel=1e-4)


@every_task
def test_the_log_names_the_figure(runs, task):
    shown = {AnyOf: ("map", "%"), Places: ("iou", "%"), Nothing: ("loss", "")}[type(task)]
    for line in val_lines(runs[task]):
        assert (line["shown"]["key"], line["shown"]["unit"]) == shown
        assert f"val/{shown[0]}" in line


@every_task
def test_the_report_and_the_last_line_name_the_figure(runs, task):
    written, *_ = verbs.report([runs[task].path]).written
    title = runs[task].result()["shown"]["title"]
    page = written.read_text()
    assert f"{title} on the validation set" in page
    assert "top-1 accuracy" not in page
    shown = CliRunner().invoke(main, ["report", str(runs[task].path)])
    assert shown.exit_code == 0, shown.output
    again = CliRunner().invoke(main, ["train", "--resume", str(runs[task].path)])
    assert again.exit_code == 0, again.output
    assert f"{title} " in again.stdout


# --- repeatable -------------------------------------------------------------------------------------------------------


@pytest.mark.slow
@every_task
def test_resumed_is_as_uninterrupted_to_the_bit(runs, task, tiny, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        train(asked(tiny, task), tmp_path / "run", stop_after=7)
    again = resume(tmp_path / "run")
    assert (again.path / "model.safetensors").read_bytes() == (runs[task].path / "model.safetensors").read_bytes()
    assert again.result()["metrics"] == runs[task].result()["metrics"]


SCRIPT = """
import importlib.util, json, sys
from pathlib import Path
import torch
torch.set_num_threads(1)
for path in map(Path, sys.argv[2:]):
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = sys.modules[path.stem] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
from paretina.spec import decode
from paretina.train.asked import Asked
from paretina.train.training import resume, train

folder = Path(sys.argv[1])
asked = {name: decode(Asked, value) for name, value in json.loads((folder / "asked.json").read_text()).items()}
for name, each in asked.items():
    train(each, folder / name)
try:
    train(asked["Places"], folder / "resumed", stop_after=3)
except KeyboardInterrupt:
    resume(folder / "resumed")
"""


@pytest.mark.slow
def test_two_processes_finish_resume_and_agree_with_the_model_file(tiny, tmp_path):
    wanted = {type(task).__name__: encode(asked(tiny, task, epochs=1.0)) for task in TERMS}
    (tmp_path / "asked.json").write_text(json.dumps(wanted))
    (tmp_path / "script.py").write_text(SCRIPT)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    command += [str(tmp_path / "script.py"), str(tmp_path), str(KINDS), str(HEADS)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-4000:]
    once, resumed = Run(tmp_path / "Places"), Run(tmp_path / "resumed")
    assert (once.path / "model.safetensors").read_bytes() == (resumed.path / "model.safetensors").read_bytes()
    assert once.result()["metrics"] == resumed.result()["metrics"]
    for task in (AnyOf(), Places()):
        run = Run(tmp_path / type(task).__name__)
        found = verbs.evaluate(run.path, kinds.Drawing(task=task)).judged.metrics
        assert found == pytest.approx(run.result()["metrics"], rel=1e-5)
    assert Run(tmp_path / "Nothing").result()["metrics"]["val/loss"] > 0


@pytest.mark.parametrize(("task", "worst"), few([(Places(), min), (Nothing(), max)]))
def test_the_best_weights_are_those_with_the_best_figure(task, worst, tiny, tmp_path):
    best = max if worst is min else min
    run = train(
        asked(tiny, task, test=Evaluated(keep="best"), average=Average(decay=Constant(value=0.5), share=None)), tmp_path / "run"
    )
    key = run.result()["shown"]["key"]
    values = {line["step"]: line[f"val_ema/{key}"] for line in val_lines(run)}
    step = best(values, key=values.get)
    assert f"after update {step} of" in run.result()["chosen"]
    assert f"chosen for the best {run.result()['shown']['title']}" in run.result()["chosen"]


def test_the_state_of_an_earlier_release_says_top1(tmp_path):
    save_state(tmp_path, {"best": {"top1": 55.0, "update": 3, "weights": {"a": torch.ones(2)}}})
    best = load_state(tmp_path)["best"]
    assert (best["value"], best["title"], best["update"]) == (55.0, "top-1", 3)
    assert "top1" not in best


# --- what is refused before there is a run -------------------------------------------------------------------------------


def refused(wanted, tmp_path, match):
    with pytest.raises(ValueError, match=match):
        train(wanted, tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("transform", [CutMix(), MixOrCut(), TrivialAugment()])
def test_a_transform_that_spoils_masks_is_refused(transform, tiny, tmp_path):
    wanted = asked(tiny, Places(), transforms=(Squash(), transform))
    refused(
        wanted,
        tmp_path,
        f"{type(transform).__name__} is not for the task of this data, one class a pixel, "
        "but for one class a picture, several labels a picture, no labels",
    )


def test_a_transform_in_a_view_is_refused_too(tiny):
    with pytest.raises(ValueError, match="TrivialAugment is not for the task of this data, one class a pixel"):
        check_task(replace(asked(tiny, Places()).recipe, views=(View(transforms=(TrivialAugment(),)),)), Places())


@pytest.mark.parametrize(
    ("task", "term", "instead"),
    [
        (AnyOf(), CrossEntropy(), "BinaryCrossEntropy"),
        (Places(), BinaryCrossEntropy(), "CrossEntropy"),
        (Nothing(), CrossEntropy(), "Distill"),
        (AnyOf(), Distill(), "BinaryCrossEntropy"),
    ],
)
def test_a_term_of_another_task_is_refused_and_one_that_fits_is_named(task, term, instead, tiny):
    recipe = replace(RECIPE, objective=Supervised(terms=(term,)))
    with pytest.raises(ValueError, match=rf"{type(term).__name__} is not for .* {task.WORDS}.*terms that are: .*{instead}"):
        check_task(recipe, task)


def test_the_advice_for_a_term_that_does_not_fit_can_be_followed(tiny):
    wanted = asked(tiny, AnyOf(), objective=Supervised())
    with pytest.raises(ValueError, match="such as objective") as refusal:
        check_task(wanted.recipe, AnyOf())
    for text in re.findall(r"objective\.\S+=\S+", str(refusal.value)):
        wanted = change(wanted, *assignment(text))
    check_task(wanted.recipe, AnyOf())
    assert wanted.recipe.objective == Supervised(terms=(BinaryCrossEntropy(),))


@pytest.mark.parametrize(("task", "judge"), [(AnyOf(), TopOne()), (Places(), MeanPrecision()), (Nothing(), MeanIoU())])
def test_a_judge_of_another_task_is_refused(task, judge, tiny, tmp_path):
    refused(
        asked(tiny, task, test=Evaluated(judge=judge)), tmp_path, f"{type(judge).__name__} is not for the task of this data"
    )


def test_a_head_that_answers_once_a_picture_is_refused_for_pixels_and_the_other_way_round(tiny, tmp_path):
    dense = replace(tiny, head=heads.PixelHead())
    refused(
        replace(asked(tiny, Places()), model=tiny), tmp_path, "needs 3 logits for each of 16 x 16 pixels.*PoolHead, gives 3"
    )
    refused(
        replace(asked(tiny, AnyOf()), model=dense), tmp_path, "needs 3 logits for each picture.*PixelHead, gives 3 x 16 x 16"
    )


def test_targets_of_another_shape_are_found_before_there_is_a_run(tiny, tmp_path, monkeypatch):
    monkeypatch.setattr(kinds.Drawn, "target", lambda self, sample: torch.tensor(1))
    refused(
        asked(tiny, AnyOf()),
        tmp_path,
        r"the task of several labels a picture takes targets of the shape \[class\] .*, got one of the shape \[\]",
    )


@pytest.mark.slow
def test_a_teacher_of_another_task_or_other_classes_is_refused(runs, tiny, tmp_path):
    teachers = {task: str(run.path / "model.safetensors") for task, run in runs.items()}

    def taught(task, by):
        return asked(tiny, task, teacher=teachers[by], objective=Supervised(terms=(*TERMS[task], Distill())))

    refused(
        taught(Places(), AnyOf()),
        tmp_path,
        "was trained for another task than that of the data: several labels a picture, not one class a pixel",
    )
    refused(taught(Nothing(), Places()), tmp_path, r"are not those of the data: ground, bright, dark")
    prepare(taught(Nothing(), AnyOf()))  # without labels it need only know the classes


def test_a_judge_is_named_as_any_other_choice(tiny, runs):
    wanted = change(asked(tiny, AnyOf()), "judge", "MeanPrecision")
    assert wanted.recipe.test.judge == MeanPrecision()
    with pytest.raises(ValueError, match="there is no Judge named 'MeanPrecison'; did you mean 'MeanPrecision'"):
        change(wanted, "judge", "MeanPrecison")


def test_an_unreadable_first_mask_is_no_reason_to_stop(tiny, tmp_path):
    found = prepare(replace(asked(tiny, Places()), data=kinds.Drawing(task=Places(), damaged=("1", "25"))))
    assert len(found.train) == 24


@pytest.mark.slow
def test_a_mask_that_cannot_be_read_is_named_and_left_out(tiny, tmp_path):
    wanted = replace(asked(tiny, Places(), epochs=1.0), data=kinds.Drawing(task=Places(), damaged=("3", "30")))
    run = train(wanted, tmp_path / "run")
    damaged = {each["name"]: each["reason"] for each in run.result()["data"]["damaged"]}
    assert damaged == dict.fromkeys(("3", "30"), "became unreadable during the run: its mask is gone")
    assert len(table(run.path / "predictions.csv")) == 8


def test_data_check_counts_the_pictures_that_show_each_class():
    found = check(kinds.Drawing(task=AnyOf()).open())
    # a class of number n in 1 to 24 is there by a bit of n % 8, and every seventh picture has no label
    shown = [[n for n in range(1, 25) if n % 7 and n % 8 >> bit & 1] for bit in range(3)]
    assert found.counts["train"] == dict(zip(("red", "green", "blue"), map(len, shown), strict=True))
    dense = check(kinds.Drawing(task=Places(), damaged=("3",)).open())
    assert dense.counts["train"]["ground"] == 23
    assert dense.faults == {"3": "its mask is gone"}


def test_a_part_has_the_task_of_the_whole_and_no_wrong_labels(tiny):
    part = Part(source=kinds.Drawing(task=Places()), share=0.5, repeat=True).open()
    assert part.task == Places()
    sample = part.split("train")[-1]
    assert torch.equal(part.target(sample), part.whole.target(part.at_whole(sample)))
    with pytest.raises(ValueError, match=r"Part\.noise needs one class per picture"):
        Part(source=kinds.Drawing(task=AnyOf()), noise=0.1).open()


def test_a_search_by_top1_is_refused(tiny):
    with pytest.raises(
        ValueError, match="by top-1, which needs one class per picture; the task of this data is several labels a picture"
    ):
        settled(asked(tiny, AnyOf()))


def test_other_labels_are_other_data(tiny, monkeypatch):
    before = prepare(asked(tiny, AnyOf())).digest()
    assert prepare(asked(tiny, AnyOf())).digest() == before
    both = kinds.Drawn.both
    monkeypatch.setattr(kinds.Drawn, "both", lambda self, sample: (both(self, sample)[0], 1 - both(self, sample)[1]))
    assert prepare(asked(tiny, AnyOf())).digest() != before


# --- evaluate, predict, export ------------------------------------------------------------------------------------------


def test_predict_lists_every_class_above_one_half(runs, tmp_path):
    drawn = kinds.Drawing(task=AnyOf()).open()
    for number in (8, 9, 15):  # nothing, red, all
        image = drawn.both(drawn.splits["train"][number - 1])[0].permute(1, 2, 0).numpy()
        PIL.Image.fromarray(image).save(tmp_path / f"{number:02d}.png")
    found = verbs.predict(runs[AnyOf()].path, [tmp_path], csv=tmp_path / "out.csv")
    network, _ = load_model(runs[AnyOf()].path / "model.safetensors")
    for prediction in found.predictions:
        assert all(share > 0.5 for _, share in prediction.answers)
        shares = [share for _, share in prediction.answers]
        assert shares == sorted(shares, reverse=True)
    rows = table(tmp_path / "out.csv")
    for row, prediction in zip(rows, found.predictions, strict=True):
        named = {name for name, _ in prediction.answers}
        assert {name for name in ("red", "green", "blue") if float(row[name]) > 0.5} == named
        assert set(filter(None, row["predicted"].split("; "))) == named
    assert network.blueprint.classes == 3


def test_predict_refuses_what_names_no_class(runs, tmp_path):
    PIL.Image.new("RGB", (20, 20)).save(tmp_path / "a.png")
    with pytest.raises(ValueError, match="was trained without labels"):
        verbs.predict(runs[Nothing()].path, [tmp_path / "a.png"])


def test_evaluate_refuses_what_cannot_be_right_or_wrong(runs):
    with pytest.raises(ValueError, match="was trained without labels, so its logits cannot be scored"):
        verbs.evaluate(runs[Nothing()].path, kinds.Drawing(task=Nothing()))


def test_evaluate_refuses_data_of_another_task(runs):
    with pytest.raises(ValueError, match=r"is several labels a picture, but that of .* is one class a pixel"):
        verbs.evaluate(runs[AnyOf()].path, kinds.Drawing(task=Places()))


@pytest.mark.parametrize("changes", [{"corruptions": "noise"}, {"resolution": "8,16"}])
def test_evaluate_refuses_what_is_measured_for_one_class_a_picture(runs, changes):
    with pytest.raises(ValueError, match="needs a model with one class per picture"):
        verbs.evaluate(runs[AnyOf()].path, kinds.Drawing(task=AnyOf()), **changes)


def test_evaluate_prints_the_figures_of_the_judge(runs, monkeypatch):
    monkeypatch.setattr("paretina.verbs.evaluating.source_named", lambda data: kinds.Drawing(task=Places()))
    shown = CliRunner().invoke(main, ["evaluate", str(runs[Places()].path), "shapes"])
    assert shown.exit_code == 0, shown.output
    iou = runs[Places()].result()["metrics"]["val/iou"]
    assert re.search(rf"^mean IoU +{iou:.1f} %  \[", shown.stdout, re.MULTILINE)
    assert re.search(r"^pixel accuracy +[0-9.]+ %", shown.stdout, re.MULTILINE)
    assert re.search(r"^loss +[0-9.]+$", shown.stdout, re.MULTILINE)
    assert "9 pictures (val) at 16 pixels" in shown.stdout


@every_task
def test_only_networks_of_one_class_a_picture_are_exported(runs, task, tmp_path):
    with pytest.raises(ValueError, match=f"the task of .* is {task.WORDS}"):
        verbs.export_weights(runs[task].path, "timm", tmp_path / "out.safetensors")


# --- the loss of what learns --------------------------------------------------------------------------------------------


def test_the_held_out_loss_is_that_of_the_learner_in_evaluation_mode_for_every_view(tiny):
    learner = Supervised(terms=(kinds.Steady(),)).make(tiny.build(), None).train()
    batch = Batch((torch.zeros(4, 3, 16, 16, dtype=torch.uint8),), torch.zeros(4, 3), torch.arange(4))
    seen = []
    learner.register_forward_pre_hook(lambda module, given: seen.append((module.training, len(given[0].views), given[1])))
    loss = HeldOut(learner, 2, Clock(1, 1, 5.0))(batch)
    assert seen == [(False, 2, Clock(1, 1, 5.0))]
    assert learner.training
    expected = (learner.network.eval()(batch.images) - 1).square().mean()
    assert loss.item() == pytest.approx(expected.item())


def test_every_task_has_a_judge_of_its_own():
    for kind in registered(Task).values():
        if kind.__module__.startswith("paretina."):
            assert judge_of(kind()).TASK is kind
    assert judge_of(OneOf()) == TopOne()
    assert (Task,) == ColorJitter.TASKS
