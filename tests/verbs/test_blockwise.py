"""A student learns the maps of a teacher, period by period."""

import json
import shutil
from itertools import pairwise

import pytest
import torch
from click.testing import CliRunner

from paretina import verbs
from paretina.cli import main
from paretina.clock import Clock
from paretina.data.batch import Batch
from paretina.model.weights import load_model
from paretina.run import held_in
from paretina.train.objective import Teacher
from paretina.train.objectives.blockwise import Blockwise
from tiny import noise_npz, row, tiny_blueprint

SMALL = ["model.stem.width=8", "model.stages.*.width=8"]
TINY = ["--device", "cpu", "size=16", "batch_size=8", "precision=float32", "workers=0", "test.every=1"]
EARLY = Clock(1, 10, 2.0)


def paretina(*arguments, code=0):
    result = CliRunner().invoke(main, [str(each) for each in arguments], prog_name="paretina")
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == code, result.output
    return result


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    home = tmp_path_factory.mktemp("blockwise")
    data = noise_npz(home / "noise.npz", 24, 9, contrast=40)
    given = ["--model", "resnet8_w16_s2", "--weights", "none", *TINY, *SMALL]
    paretina("train", data, *given, "epochs=2", "--output", home / "teacher")
    return home


def asked(run):
    return json.loads((run / "asked.json").read_text())


@pytest.mark.slow
def test_a_low_bit_student_learns_in_periods_from_the_float_network(home):
    given = ["distill", home / "teacher", home / "noise.npz", "--model", home / "teacher", *TINY, "--blockwise"]
    paretina(*given, "model.quantiser=Lsq", "epochs=2", "--period-epochs", "1", "--output", home / "low")
    periods = [home / "low" / "periods" / str(number) for number in range(4)]
    assert [asked(run)["recipe"]["objective"]["upto"] for run in (*periods, home / "low")] == [0, 1, 2, 3, None]
    assert [asked(run)["recipe"]["epochs"] for run in (*periods, home / "low")] == [1, 1, 1, 1, 2]
    befores = [load_model(run / "model.safetensors")[0].state_dict() for run in (home / "teacher", *periods, home / "low")]
    # what is behind the deepest map that is matched stays, and adapters would not be there
    for number, (before, after) in enumerate(pairwise(befores)):
        kept = [name for name in before if not name.endswith("num_batches_tracked")]
        moved = {name for name in kept if not torch.equal(before[name], after[name])}
        assert any(name.startswith("stem" if not number else f"stages.{number - 1}") for name in moved) or number == 4
        assert not [name for name in moved if name.startswith("stages") and int(name.split(".")[1]) >= number]
        assert any(name.startswith("head") for name in moved) == (number == 4)
    assert verbs.show(str(home / "low")).cost.bits
    again = paretina(*given, "model.quantiser=Lsq", "epochs=2", "--period-epochs", "1", "--output", home / "low")
    assert "finished already" in again.stderr
    other = paretina(*given, "model.quantiser=Dorefa", "epochs=2", "--output", home / "low", code=2)
    assert "holds periods of another request" in other.stderr


@pytest.mark.slow
def test_an_interrupted_training_goes_on_to_the_same_weights(home, tmp_path, monkeypatch):
    from paretina.train import training

    teacher, data = home / "teacher", str(home / "noise.npz")
    fields = {"epochs": 1, "batch_size": 8, "size": 16, "workers": 0, "model.quantiser": "Dorefa"}

    def again(output):
        choice = verbs.ask_distilled(teacher, data, str(teacher), device="cpu", fields=dict(fields), blockwise=True)
        return verbs.distill_blockwise(choice, 1.0, output)

    whole = again(tmp_path / "whole")
    original, begun = training.train, []

    def stopped(*given, **named):
        begun.append(given[1])
        return original(*given, **named, stop_after=2 if len(begun) == 3 else None)

    monkeypatch.setattr(training, "train", stopped)
    with pytest.raises(KeyboardInterrupt):
        again(tmp_path / "cut")
    assert begun[-1] == tmp_path / "cut" / "periods" / "2"
    monkeypatch.undo()
    shutil.copytree(tmp_path / "cut", tmp_path / "resumed")
    cut = again(tmp_path / "cut")
    assert (whole.path / "model.safetensors").read_bytes() == (cut.path / "model.safetensors").read_bytes()
    # by the command that an interruption names
    said = paretina("train", "--resume", tmp_path / "resumed").stdout
    assert "resumed/model.safetensors" in said
    assert (tmp_path / "resumed" / "model.safetensors").read_bytes() == (cut.path / "model.safetensors").read_bytes()
    assert "leave out DATA" in paretina("train", data, "--resume", tmp_path / "resumed", code=2).output
    assert "a distillation in periods already" in held_in(tmp_path / "resumed")


def test_a_damaged_request_is_named(tmp_path):
    (tmp_path / "asked-periods.json").write_text("{")
    assert "cannot be read" in paretina("train", "--resume", tmp_path, code=2).stderr


def test_options_that_do_not_go_together_are_refused(home):
    given = ["distill", home / "teacher", home / "noise.npz", "--model", home / "teacher", *TINY]
    for words, said in (
        (["--period-epochs", "1"], "add --blockwise"),
        (["--blockwise", "--time-limit", "1m"], "--time-limit is for one run"),
        (["--blockwise", "--teacher-size", "32"], "leave --teacher-size out"),
        (["--blockwise", "--recipe", "distill"], "periods need the objective Blockwise"),
        (["--weights", "none"], "has its own weights"),
        (["--blockwise", "--period-epochs", "0"], "more than 0 epochs"),
    ):
        assert said in " ".join(paretina(*given, *words, code=2).stderr.split())
        assert said in " ".join(paretina(*given, *words, "--dry-run", code=2).stderr.split())


def test_a_dry_run_tells_of_all_periods(home):
    given = ["distill", home / "teacher", home / "noise.npz", "--model", home / "teacher", *TINY, "--blockwise", "epochs=5"]
    said = paretina(*given, "--dry-run").stdout
    assert "periods 5: this is for the last; before it 4 of 1 epoch each" in said


def test_weights_that_an_edit_cannot_keep_come_with_advice(home, tmp_path):
    words = ["distill", home / "teacher", home / "noise.npz", "--model", home / "teacher", *TINY, "--blockwise", "epochs=1"]
    said = paretina(*words, "edits.PlainOperators=on", "--output", tmp_path / "plain", code=1).stderr
    assert "the weights do not fit the network" in said
    assert "name the student as a network" in said


def batch_of():
    images = torch.randint(256, (4, 3, 16, 16), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    return Batch((images,), torch.eye(3)[torch.arange(4) % 3], torch.arange(4))


def learner_of(student, choice=None):
    torch.manual_seed(0)
    teacher = tiny_blueprint(row(1, 8, 1), row(1, 12, 2)).build()
    return (choice or Blockwise()).make(student.build(), Teacher(teacher)).train()


def test_the_deepest_map_has_weight_1_and_each_before_it_a_share_of_the_next():
    learner = learner_of(tiny_blueprint(row(1, 8, 1), row(1, 12, 2)), Blockwise(decay=0.5))
    batch = batch_of()
    losses = learner(batch, EARLY)
    logits, extras = learner.network(batch.images, extras=True)
    maps = learner.teacher(batch).extras["maps"]
    for number, weight in enumerate((0.25, 0.5, 1.0)):
        wanted = weight * (extras["maps"][number] - maps[number]).square().mean()
        assert losses[f"map {number}"].item() == pytest.approx(wanted.item(), rel=1e-4)
    wanted = 1 - torch.nn.functional.cosine_similarity(logits, learner.teacher(batch).logits).mean()
    assert losses["logits"].item() == pytest.approx(wanted.item(), rel=1e-4)
    assert set(learner_of(learner.network.blueprint, Blockwise(upto=1))(batch, EARLY)) == {"map 0", "map 1"}


def test_a_network_that_is_its_teacher_has_no_loss():
    network = tiny_blueprint(row(1, 8, 1)).build().eval()
    learner = Blockwise().make(network, Teacher(network)).eval()
    assert all(loss.abs() < 1e-6 for loss in learner(batch_of(), EARLY).values())


def test_adapters_stand_where_channels_differ_and_are_not_in_the_result():
    student = tiny_blueprint(row(1, 8, 1), row(1, 20, 2))
    learner = learner_of(student)
    assert {name: tuple(each.weight.shape[:2]) for name, each in learner.adapters.items()} == {"2": (12, 20)}
    sum(learner(batch_of(), EARLY).values()).backward()
    assert all(each.grad is not None for each in learner.adapters.parameters())
    assert learner.result().state_dict().keys() == student.build().state_dict().keys()


def test_a_student_of_other_strides_is_refused():
    with pytest.raises(ValueError, match="the strides of the network's are 2, 2, and those of the teacher's 2, 2, 4"):
        learner_of(tiny_blueprint(row(1, 8, 1)))
    with pytest.raises(ValueError, match="of 5 classes and of the teacher's 3"):
        learner_of(tiny_blueprint(row(1, 8, 1), row(1, 12, 2), classes=5))
