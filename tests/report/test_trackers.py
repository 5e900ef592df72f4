"""Trackers follow the log of a run, and a run is the same with them, without them, and when they fail."""

import importlib.util
import json
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import pytest
import torch
from click.testing import CliRunner
from safetensors.torch import load_file

from covering import few
from paretina import verbs
from paretina.cli import main
from paretina.report import following
from paretina.report.following import followed, known_of, send
from paretina.report.tracker import Record, Tracker, final, flat, told, trackers, trackers_named
from paretina.report.trackers.tensorboard import TensorBoard
from paretina.report.trackers.wandb import library as wandb_library
from paretina.run import Run
from paretina.train import training
from tiny import noise_npz, tiny_blueprint

FIELDS = {"epochs": 2, "batch_size": 6, "size": 16, "workers": 0, "precision": "float32", "seed": 3}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return noise_npz(tmp_path_factory.mktemp("data") / "noise.npz", 24, 9, contrast=60)


@pytest.fixture(scope="module", autouse=True)
def set_up():
    """W&B reads the environment once a process, when it is first used, so that is done here."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WANDB_MODE", "offline")
        patch.setenv("WANDB__SERVICE_WAIT", "250")
        wandb_library().setup()


@pytest.fixture(autouse=True)
def inside(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setenv("WANDB_MODE", "offline")
    for patience in ("WANDB__SERVICE_WAIT", "WANDB_INIT_TIMEOUT"):  # its own 30 and 90 s are too short on a busy machine
        monkeypatch.setenv(patience, "250")
    monkeypatch.setenv("HOME", str(tmp_path))  # no key of whoever runs this


def trained(data, output, log_to=(), said=None, listen=lambda line: None):
    choice = verbs.ask(data, model=tiny_blueprint(), device="cpu", fields=FIELDS)
    say = said.append if said is not None else lambda text: None
    return verbs.start(choice, output, None, listen, say, "default", log_to)


@pytest.fixture(scope="module")
def plain(data, tmp_path_factory):
    return trained(data, tmp_path_factory.mktemp("plain") / "run")


def same_weights(one, other):
    first, second = (load_file(run.path / "model.safetensors") for run in (one, other))
    assert first.keys() == second.keys()
    return all(torch.equal(tensor, second[name]) for name, tensor in first.items())


def logged(run, event, key):
    return {line["step"]: line[key] for line in run.lines() if line["event"] == event and key in line}


def scalars(folder):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    found = EventAccumulator(str(folder))
    found.Reload()
    return {tag: {each.step: each.value for each in found.Scalars(tag)} for tag in found.Tags()["scalars"]}, found.Tags()


def mlflow_run(known):
    from mlflow.tracking import MlflowClient

    client = MlflowClient(tracking_uri=known["tracking_uri"])
    return client, client.get_run(known["run_id"])


# --- the three ----------------------------------------------------------------------------------------------------------------


def test_tensorboard_has_the_log_and_the_result(data, plain, tmp_path):
    said = []
    run = trained(data, tmp_path / "runs" / "one", "tensorboard", said)
    found, tags = scalars(run.path / "tensorboard")
    assert found["train/loss"] == pytest.approx(logged(run, "train", "train/loss"))
    assert found["val_ema/top1"].keys() == logged(run, "val", "val_ema/top1").keys()
    metrics = run.result()["metrics"]
    assert found["result/val/top1"] == {run.result()["updates"]: pytest.approx(metrics["val/top1"])}
    assert found["result/params"][run.result()["updates"]] == run.result()["cost"]["params"]
    assert {"tags/text_summary", "config/text_summary", "state/text_summary"} <= set(tags["tensors"])
    assert known_of(run.path)["tensorboard"] == {"folder": "tensorboard", "complete": True}
    assert said[-1].startswith(f"logged to tensorboard: {run.path / 'tensorboard'}")
    assert same_weights(run, plain)


def test_mlflow_has_settings_metrics_and_state(data, plain, tmp_path):
    run = trained(data, tmp_path / "one", "mlflow")
    known = known_of(run.path)["mlflow"]
    assert known["tracking_uri"] == (tmp_path / "mlruns").as_uri()
    client, found = mlflow_run(known)
    assert found.info.status == "FINISHED"
    assert found.info.run_name == "one"
    assert found.data.params["recipe.epochs"] == "2.0"
    assert found.data.tags["seed"] == "3"
    history = {each.step: each.value for each in client.get_metric_history(known["run_id"], "train/loss")}
    assert history == logged(run, "train", "train/loss")
    assert found.data.metrics["result/val/top1"] == run.result()["metrics"]["val/top1"]
    assert client.get_experiment(found.info.experiment_id).name == "paretina"
    assert same_weights(run, plain)


@pytest.mark.slow
def test_mlflow_takes_the_uri_and_the_experiment_of_the_environment(data, tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", (tmp_path / "elsewhere").as_uri())
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "mine")
    run = trained(data, tmp_path / "one", "mlflow")
    client, found = mlflow_run(known_of(run.path)["mlflow"])
    assert (tmp_path / "elsewhere").is_dir()
    assert not (tmp_path / "mlruns").exists()
    assert client.get_experiment(found.info.experiment_id).name == "mine"


@pytest.mark.slow
def test_wandb_offline_writes_files_and_does_not_ask(data, plain, tmp_path, monkeypatch):
    monkeypatch.setattr("builtins.input", lambda *_: pytest.fail("asked for input"))
    said = []
    run = trained(data, tmp_path / "one", "wandb", said)
    known = known_of(run.path)["wandb"]
    assert known["project"] == "paretina"
    files = list((run.path / "wandb").glob(f"offline-run-*/run-{known['id']}.wandb"))
    assert len(files) == 1
    content = files[0].read_bytes()
    for word in (b"train/loss", b"result/val/top1", b"recipe.epochs"):
        assert word in content
    assert "wandb sync" in said[-1]
    assert same_weights(run, plain)


def test_wandb_without_a_key_is_refused_at_the_start(data, tmp_path, monkeypatch):
    monkeypatch.delenv("WANDB_MODE")
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "none"))
    with pytest.raises(verbs.MisuseError, match="wandb login"):
        trained(data, tmp_path / "one", "wandb")
    assert not (tmp_path / "one").exists()


# --- interrupted and resumed --------------------------------------------------------------------------------------------------


def stopped(data, output, words):
    choice = verbs.ask(data, model=tiny_blueprint(), device="cpu", fields=FIELDS)
    with pytest.raises(KeyboardInterrupt), followed(trackers_named(words), lambda line: None, lambda text: None) as listen:
        training.train(choice.asked, output, listen=listen, stop_after=3)


@pytest.mark.slow
def test_a_resumed_run_goes_on_in_the_same_records(data, plain, tmp_path):
    stopped(data, tmp_path / "one", "tensorboard,mlflow,wandb")
    before = known_of(tmp_path / "one")
    assert mlflow_run(before["mlflow"])[1].info.status == "KILLED"
    run = verbs.resume(tmp_path / "one")
    after = known_of(run.path)
    assert {word: {**each, "complete": True} for word, each in before.items()} == after
    client, found = mlflow_run(after["mlflow"])
    assert found.info.status == "FINISHED"
    steps = [each.step for each in client.get_metric_history(after["mlflow"]["run_id"], "train/loss")]
    assert steps[0] == 1
    assert steps[-1] == 8
    curve = scalars(run.path / "tensorboard")[0]["train/loss"]
    assert set(curve) == set(logged(run, "train", "train/loss"))
    assert len(list((run.path / "wandb").glob(f"offline-run-*/run-{after['wandb']['id']}.wandb"))) >= 1
    assert same_weights(run, plain)


@pytest.mark.slow
def test_a_tracker_that_is_gone_at_the_resume_is_said_and_left_out(data, plain, tmp_path, monkeypatch):
    stopped(data, tmp_path / "one", "tensorboard")
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "tensorboard" else find(name))
    said = []
    run = verbs.resume(tmp_path / "one", say=said.append)
    assert any("goes on without tensorboard" in text and "pip install 'paretina[tensorboard]'" in text for text in said)
    assert same_weights(run, plain)


# --- failures -----------------------------------------------------------------------------------------------------------------


class Breaking(Record):
    """Fails at the given call."""

    def __init__(self, at, error):
        self.at, self.error, self.calls = at, error, 0
        self.known, self.where = {"id": "x"}, "nowhere"

    def call(self, name):
        self.calls += 1
        if name == self.at:
            raise self.error

    def metrics(self, step, values):
        self.call("metrics")

    def note(self, step, text):
        self.call("note")

    def result(self, step, values):
        self.call("result")

    def close(self, state):
        self.call("close")


@dataclass(frozen=True, kw_only=True)
class Fragile(Tracker):
    WORD: ClassVar[str] = "fragile"
    MODULES: ClassVar[tuple[str, ...]] = ()

    at: str = "metrics"
    error: str = "full"

    def open(self, beginning):
        error = {"full": OSError(28, "No space left on device"), "exit": SystemExit(3), "strange": Exception()}[self.error]
        if self.at == "open":
            raise error
        return Breaking(self.at, error)


@pytest.mark.parametrize("error", few(["full", "exit", "strange"]))
@pytest.mark.parametrize("at", few(["open", "metrics", "result", "close"]))
def test_a_tracker_that_fails_is_said_once_and_changes_nothing(at, error, data, plain, tmp_path, capfd):
    said = []
    run = trained(data, tmp_path / "one", (Fragile(at=at, error=error),), said)
    found = [text for text in said if "fragile" in text]
    assert len(found) == 1
    assert found[0].startswith("fragile failed (")
    assert f"paretina report {tmp_path / 'one'} --log-to fragile" in found[0]
    assert ("No space left" in found[0]) == (error == "full")
    assert same_weights(run, plain)
    assert run.result()["status"] == "done"
    assert not known_of(run.path).get("fragile", {}).get("complete")
    assert "Traceback" not in capfd.readouterr().err


@pytest.mark.parametrize("word", ["tensorboard", "mlflow", "wandb"])
def test_a_library_that_fails_in_the_middle_changes_nothing(word, data, plain, tmp_path, monkeypatch):
    kind = trackers()[word]
    opened = kind.open

    def open_broken(self, beginning):
        record = opened(self, beginning)
        calls = []

        def fail(*args, **kwargs):
            calls.append(args)
            if len(calls) == 2:
                raise ConnectionError("the network is gone")

        monkeypatch.setattr(record, "metrics", fail)
        return record

    monkeypatch.setattr(kind, "open", open_broken)
    monkeypatch.setattr(following, "PATIENCE_S", 250.0)  # a busy machine takes long to open one
    said = []
    run = trained(data, tmp_path / "one", word, said)
    assert [text for text in said if word in text and "the network is gone" in text], said
    assert same_weights(run, plain)


@pytest.mark.slow
def test_a_server_that_does_not_answer_does_not_hold_the_run_up(data, plain, tmp_path, monkeypatch):
    release = threading.Event()

    @dataclass(frozen=True, kw_only=True)
    class Hanging(Fragile):
        WORD: ClassVar[str] = "hanging"

        def open(self, beginning):
            release.wait(60)
            return Breaking("never", Exception())

    monkeypatch.setattr(following, "PATIENCE_S", 0.05)
    said = []
    try:
        run = trained(data, tmp_path / "one", (Hanging(),), said)
    finally:
        release.set()
    assert any("hanging did not take everything within 0.05 s" in text for text in said)
    assert same_weights(run, plain)


def test_a_missing_package_is_said_at_the_start_with_what_installs_it(data, tmp_path, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    for word in ("tensorboard", "mlflow", "wandb"):
        with pytest.raises(verbs.MisuseError, match=rf"{word} needs .* not installed: pip install 'paretina\[{word}\]'"):
            trained(data, tmp_path / "one", word)
    assert not (tmp_path / "one").exists()


@pytest.mark.parametrize(
    ("words", "error"),
    [
        ("tensorbord", "there is no tracker 'tensorbord'; did you mean 'tensorboard'"),
        ("mlflow,mlflow", "mlflow is named twice"),
        ("mlflow,", "there is no tracker ''"),
    ],
)
def test_words_that_name_no_tracker(words, error):
    with pytest.raises(ValueError, match=error):
        trackers_named(words)


@pytest.mark.slow
def test_ctrl_c_leaves_a_run_that_can_be_resumed_with_its_tracker(data, plain, tmp_path):
    def interrupt(line):
        if line["event"] == "train" and line["step"] >= 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        trained(data, tmp_path / "one", "tensorboard", listen=interrupt)
    assert known_of(tmp_path / "one")["tensorboard"]["complete"] is False
    run = verbs.resume(tmp_path / "one")
    assert known_of(run.path)["tensorboard"]["complete"] is True
    assert same_weights(run, plain)


# --- finished runs ------------------------------------------------------------------------------------------------------------


def test_a_finished_run_is_sent_once(plain, tmp_path, monkeypatch):
    import shutil

    shutil.copytree(plain.path, tmp_path / "copy")
    words = ["report", "copy", "--log-to", "tensorboard,mlflow"]
    result = CliRunner().invoke(main, [*words, "--json"])
    assert result.exit_code == 0, result.output
    sent = json.loads(result.stdout)["sent"]["copy"]
    assert set(sent) == {"tensorboard", "mlflow"}
    copy = Run(tmp_path / "copy")
    assert scalars(copy.path / "tensorboard")[0]["train/loss"] == pytest.approx(logged(copy, "train", "train/loss"))
    again = CliRunner().invoke(main, words)
    assert again.exit_code == 0, again.output
    assert again.output.count("it is there already") == 2
    assert len(list((copy.path / "tensorboard").iterdir())) == 1


def test_a_run_that_a_tracker_had_lost_is_sent_whole(data, plain, tmp_path):
    stopped(data, tmp_path / "one", "tensorboard")
    assert "tensorboard --logdir" in send(tmp_path / "one", TensorBoard())
    assert known_of(tmp_path / "one")["tensorboard"]["complete"] is False
    assert len(list((tmp_path / "one" / "tensorboard").iterdir())) == 1


def test_a_tracker_that_fails_ends_the_report(plain):
    with pytest.raises(ValueError, match=r"fragile failed: .*No space left"):
        send(plain.path, Fragile())


@pytest.mark.parametrize(
    "line", ["train data.npz --log-to tensorbord", "report run --log-to tensorbord", "train --resume run --log-to x"]
)
def test_a_slip_on_the_command_line_is_refused(line, data, plain, tmp_path):
    Path("data.npz").write_bytes(Path(data).read_bytes())
    Path("run").symlink_to(plain.path)
    result = CliRunner().invoke(main, line.split())
    assert result.exit_code == 2
    assert "there is no tracker" in result.stderr


# --- what they are told -------------------------------------------------------------------------------------------------------


def test_settings_are_flat_and_named_like_fields():
    asked = {
        "recipe": {
            "kind": "Recipe",
            "version": 2,
            "epochs": 3.0,
            "dropout": {"kind": "Constant", "value": 0.1},
            "lr": {"kind": "Cosine", "start": 1.0},
            "transforms": [{"kind": "MixUp", "alpha": 0.2}, {"kind": "Erase", "p": 1}],
            "frozen": ["stem"],
            "teacher": None,
        },
        "notes": ["nothing"],
    }
    assert dict(flat(asked)) == {
        "recipe": "Recipe",
        "recipe.epochs": 3.0,
        "recipe.dropout": 0.1,
        "recipe.lr": "Cosine",
        "recipe.lr.start": 1.0,
        "recipe.transforms": "MixUp, Erase",
        "recipe.transforms.MixUp.alpha": 0.2,
        "recipe.transforms.Erase.p": 1,
        "recipe.frozen": '["stem"]',
        "recipe.teacher": "none",
    }


def test_only_finite_figures_are_told():
    class Kept(Breaking):
        def metrics(self, step, values):
            self.got = (step, dict(values))

    record = Kept("never", Exception())
    told(record, {"event": "train", "step": 4, "attempt": 1, "updates": 9, "train/loss": float("nan"), "lr": 0.1, "x": True})
    assert record.got == (4, {"lr": 0.1})
    told(record, {"event": "probe", "step": 0, "probe": {"top1": 50.0, "chosen": "x"}})
    assert record.got == (0, {"probe/top1": 50.0})


def test_the_final_figures_have_their_own_keys():
    result = {"updates": 5, "metrics": {"val/top1": 60.0, "val/top5": None}, "cost": {"macs": 7}, "time_s": 1.5}
    assert final(result) == (5, {"result/val/top1": 60.0, "result/macs": 7.0, "result/time_s": 1.5})
