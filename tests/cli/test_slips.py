"""Slips are found, and lists printed, before torch is imported; with the words of the parser that judges everything else."""

import json
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
from click.testing import CliRunner

from paretina.cli import main, slips
from paretina.model.family import network_named
from paretina.model.weights import About, save_model
from paretina.spec import decode, encode, put
from paretina.train.asked import recipes, spelled_out
from paretina.train.fields import assignment
from paretina.verbs import elsewhere, outline
from paretina.verbs.outline import outlined, recipe_outlined, unversioned

MODEL = "run/model.safetensors"

LISTS = ["models", "models 'resnet*' --max-params 20M --weights", "models --json", "recipes", "recipes --json", "--version"]
LISTS += ["completion bash", "runs .", "runs . --json"]

SLIPS = [
    "trian photos",
    "train",
    "train epochs=1",
    "train epoch=1",
    "train photo",
    "train clipar",
    "train photos --modle x",
    "train photos --log-to tensorbord",
    "train photos --log-to mlflow,mlflow",
    "train photos --log-two mlflow",
    "finetune run photos --log-to tensorbord",
    "report run --log-to tensorbord",
    "data more photo",
    "data more photos --model resnt18",
    "data more photos --model gone.safetensors",
    "data more photos --device gpu",
    "train photos --log-format jsn",
    "train photos --quiet --log-format json",
    "completion bsh",
    "runs gone",
    "evaluate run photos --flip",
    "train photos --epochs 3",
    "train photos --epoch 3",
    "train photos --lr 3",
    "train photos epoch=3",
    "train photos recipe.epoch=3",
    "train photos plan.thread=3",
    "train photos img-size=3",
    "train photos epochs=many",
    "train photos epochs",
    "train photos epochs=1 epochs=2",
    "train photos precision=fp16",
    "train photos optimizer.rat=1",
    "train photos optimizer=Adamm",
    "train photos transforms.MixUP=on",
    "train photos objective.terms.Distil=on",
    "train photos --recipe finetune average.decya=1",
    "train photos --recipe scratch batch_size=2.5",
    "train photos recipe=fintune",
    "train photos data.val_shar=0.1",
    "train clipart data.val_shar=0.1",
    "train photos edits.Scal=on",
    "train photos edits.Scale=on edits.Scale.widht=2",
    "train photos --model resnet18 model.stemm=3",
    "train photos --model resnet_18",
    "train photos model=resnet_18",
    "train photos --recipe fintune",
    "train photos --device gpu",
    "train photos --device cdua:0",
    "train photos --weights gone.safetensors",
    "train photos --weights atuo",
    "train photos size=abc",
    "train photos lr=Cosin",
    "train photos views=on",
    "train photos objective.terms=off",
    "train photos --recipe plain clip=on",
    "train photos average=yes --recipe scratch",
    "train photos recipe.img_size=96",
    "train photos ema.decay=0.9",
    "train photos --tune fulll",
    "finetune run photos --resume x",
    "finetune run photos resume=x",
    "ablate finetune photos -o x --resume y",
    f"evaluate {MODEL} photos --ood phtos",
    "frontier photos --models resnet18 --time 3m --weights atuo",
    "train photos --config gone.yaml",
    "train photos --config epoch.yaml",
    "train photos --config rat.yaml",
    "train photos --config nested.yaml",
    "train photos --config list.yaml",
    "train photos --time-limit abc",
    "train photos --time-limit 0s",
    "train photos --progressive 96-160",
    "train photos --routes 224,112",
    "train photos --routes 224",
    "train photos --routes big",
    "train photos --routes 112,224 --budget mac=0.6x",
    "train photos --routes 112,224 --budget 0.6",
    "train photos --routes 112,224 --budget macs=0",
    "train photos --budget macs=0.6x",
    "train photos --routes 112,224 objective=Supervised",
    "train photos --routes 112,224 assembly=Divide",
    "train photos --route 112,224",
    "train photos --tune ful",
    "train photos --model resnet18 --output photos/run",
    "train photos --model resnet18 --output run",
    "train photos --model resnet18 --output photos/train --dry-run",
    "train --resume gone",
    "train --resume photos",
    "train --resume run epochs=2 --device cpu",
    "finetune gone photos",
    "finetune run photo",
    "finetune run photos epoch=3",
    "finetune run photos epochs=many",
    "finetune run photos --recipe fintune",
    "finetune run photos --time-limit abc",
    "finetune run photos --resolution none",
    "prune gone",
    "prune run photo",
    "prune run photos epoch=3",
    "prune run --cost latency",
    "prune run --importance tayler",
    "prune run --target 0.5y",
    "prune run --target 2x",
    "prune run --recipe recovr",
    "prune run --time-limit abc",
    "explain run photos --method gradcam",
    "evaluate gone photos",
    f"evaluate {MODEL} gone",
    f"evaluate {MODEL} photos --resolution 0",
    f"evaluate {MODEL} photos --resolution 96:10:3",
    f"evaluate {MODEL} photos --corruptions nose",
    f"evaluate {MODEL} photos --ood gone",
    f"evaluate {MODEL} photos --csv gone/out.csv",
    f"evaluate {MODEL} photos --html gone/x.html",
    f"evaluate {MODEL} photos --html x.html",
    f"evaluate {MODEL} photos --device cup",
    f"predict {MODEL}",
    f"predict {MODEL} gone.jpg",
    f"predict {MODEL} empty",
    f"predict {MODEL} photos --csv photos",
    f"predict {MODEL} photos --top none",
    "show resnet_18",
    "show gone.safetensors",
    "models resnt18",
    "models --family efficientnets",
    "models --max-params lots",
    "measure resnet81",
    "measure resnet18 resnet18",
    "measure resnet18 --data nowhere",
    "measure resnet18 --tune --plan default",
    "import resnt18",
    "import timm:resnt18",
    "import gone.pth",
    "import efficientnet_lite0 --classes gone.txt",
    "import efficientnet_lite0 --out gone/x.safetensors",
    f"export-weights {MODEL} --to tim",
    f"export-weights {MODEL}",
    "export-weights gone --to timm",
    "report gone",
    "report photos",
    "data chek photos",
    "data check gone",
    "ablate fintune photos -o x",
    "ablate finetune photo -o x",
    "ablate finetune photos -o x --switch averag",
    "ablate finetune photos -o x --add edit.Fuse",
    "ablate finetune photos -o x --models resnet18,resnt18",
    "ablate finetune photos -o x --data-fractions some",
    "ablate finetune photos",
    "frontier photos",
    "frontier --models resnet18 --time 3m",
    "frontier photo --models resnet18 --time 3m",
    "frontier photos --models resnt18 --time 3m",
    "frontier photos --models resnet18 --sizes 96,x --time 3m",
    "frontier photos --models resnet18 --recipes fast,scrach --time 3m",
    "frontier photos --models resnet18 --time abc",
    "frontier photos --models resnet18",
    "frontier photos --models resnet18 --time 3m epoch=3",
    "frontier photos --models resnet18 --time 3m --budget latency=3",
    "frontier photos --models resnet18 --time 3m --budget macs=few",
    "frontier photos --models resnet18 --time 3m --cost latency",
    "frontier photos --models resnet18 --time 3m --runtimes onnx",
    "frontier --resume gone",
]


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """Pictures, an empty folder, configurations with slips in them, and what looks like a finished run."""
    home = tmp_path_factory.mktemp("home")
    for split in ("train", "val"):
        for name in ("cat", "dog"):
            (home / "photos" / split / name).mkdir(parents=True)
            PIL.Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(home / "photos" / split / name / "1.png")
    (home / "empty").mkdir()
    (home / "run").mkdir()
    (home / "run" / "asked.json").write_text("{}")
    blueprint = network_named("resnet18").blueprint
    for path, value in {"stem.width": 4, "stages.*.width": 4, "stages.*.depth": 1, "resolution": 16, "classes": 2}.items():
        blueprint = put(blueprint, path, value)
    about = About(classes=("cat", "dog"), origin="made for a test")
    save_model(home / "run" / "model.safetensors", blueprint.build(), about)
    (home / "epoch.yaml").write_text("epoch: 3\n")
    (home / "nested.yaml").write_text("recipe: {img_size: 96}\n")
    (home / "rat.yaml").write_text("recipe: {optimizer: {rat: 3}}\n")
    (home / "list.yaml").write_text("- epochs\n")
    return home


@pytest.fixture(autouse=True)
def inside(home, monkeypatch):
    monkeypatch.chdir(home)


def said(line):
    result = CliRunner().invoke(main, shlex.split(line), prog_name="paretina")
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.stdout, result.stderr


@pytest.mark.parametrize("line", SLIPS)
def test_a_slip_is_refused_with_the_words_of_the_parser(line, monkeypatch):
    early = said(line)
    assert early[0] == 2
    monkeypatch.setattr(outline, "read", lambda: None)
    assert said(line) == early


@pytest.mark.slow
def test_slips_and_lists_need_no_torch(home):
    code = """
import json, shlex, sys
from paretina.cli import main
for line in json.load(sys.stdin):
    try:
        main(shlex.split(line), prog_name="paretina")
    except SystemExit as ended:
        pass
    heavy = {"torch", "torchvision", "timm"} & set(sys.modules)
    if heavy:
        sys.exit(f"{line!r} imports {', '.join(sorted(heavy))}")
"""
    lines = json.dumps([*LISTS, *SLIPS])
    ended = subprocess.run([sys.executable, "-c", code], cwd=home, input=lines, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr[-500:]


# --- the outline ------------------------------------------------------------------------------------------------------------


def test_the_outline_is_that_of_the_source():
    assert outline.FILE.read_text("utf-8") == outline.text_of(outline.made()), "run make docs"


def test_an_outline_of_another_source_is_not_used(tmp_path, monkeypatch):
    assert outline.read() is not None
    for change in ({"model/families/resnet.py": "0" * 16}, {"model/families/gone.py": "0" * 16}):
        table = json.loads(outline.FILE.read_text("utf-8"))
        table["files"] |= change
        (tmp_path / "outline.json").write_text(json.dumps(table))
        monkeypatch.setattr(outline, "FILE", tmp_path / "outline.json")
        assert outline.read.__wrapped__() is None


def test_a_file_that_was_added_makes_the_outline_another_one(tmp_path, monkeypatch):
    table = json.loads(outline.FILE.read_text("utf-8"))
    for name in table["files"]:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes((outline.PACKAGE / name).read_bytes())
    monkeypatch.setattr(outline, "PACKAGE", tmp_path)
    assert outline.read.__wrapped__() is not None
    (tmp_path / "model" / "blocks" / "mine.py").touch()
    assert outline.read.__wrapped__() is None


@pytest.mark.parametrize("name", sorted(recipes()))
def test_outlined_recipes_take_what_recipes_take(name):
    recipe = recipes()[name][0]
    again = recipe_outlined(name)
    assert encode(again) == unversioned(encode(recipe))
    assert encode(decode(outlined()["Recipe"], encode(again))) == encode(again)
    # an objective that is named anew has its usual terms
    fields = {f"recipe.{path}": value for path, value in spelled_out(recipe) if path != "objective"}
    slips.check_values([(path, value, "", path) for path, value in fields.items()], "photos", name)


@pytest.mark.parametrize("advice", sorted(advice for advice in set(elsewhere().values()) if not advice.startswith("--")))
def test_what_is_advised_is_no_slip(advice):
    words = shlex.split(advice.replace("KIND", '"SGD"').replace("VALUE", "1"))
    slips.check_fields(dict(map(assignment, words)), "photos")


def test_what_only_one_recipe_has_is_no_slip_where_none_is_named():
    slips.check_fields({"average.decay": "0.9"}, "photos")
    slips.check_fields({"optimizer.momentum": "0.9"}, "photos")


def test_a_peak_leaves_the_schedule_that_there_is():
    slips.check_fields({"lr": "0.1", "lr.epochs": "3"}, "photos", "scratch")


def test_a_whole_part_is_left_to_the_parser():
    slips.check_fields({"recipe": '{"kind": "Recipe"}', "average.decay": "x"}, "photos")
    slips.check_fields({"model": json.dumps({"kind": "Nothing"})}, "photos")


def test_names_with_places_in_them_are_left_to_the_command():
    slips.check_weights("timm:resnet18")
    slips.check_weights(None)
    slips.check_weights(str(Path(MODEL)))
    slips.check_device("cuda:7")
