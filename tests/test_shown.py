"""Every command that the README, the help and some pages of the docs show runs here, on tiny data, and says what it has found.

A line is read by the program as it stands, so that a renamed option or command fails. Then each of its words but commands and
options is looked up in `STAND_INS`, where a word that is not there fails: it names the tiny stand-in of data, model files and
lengths, and of what would ask a hub.
"""

import contextlib
import functools
import glob
import importlib
import importlib.util
import json
import os
import re
import runpy
import shlex
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import click
import numpy as np
import PIL.Image
import pytest
import timm
import torch
from click.testing import CliRunner

from paretina import verbs
from paretina.cli import main, slips
from paretina.measure import sweep
from paretina.measure.timing import Turns
from paretina.model.family import network_named
from paretina.model.weights import About, save_model
from paretina.search.architecture import study as searched
from paretina.spec import put
from paretina.train import estimate, training
from paretina.verbs import training as running
from tiny import noise_npz

ROOT = Path(__file__).resolve().parent.parent

# --- the table of substitutions ---------------------------------------------------------------------------------------------

LEFT_OUT = r"make |pip install |python3 -m venv |\.venv/bin/pip install |paretina (serve|completion) |curl |ray |torchrun "
LEFT_OUT += r"|.* --cluster "
"""Lines that begin so set up an environment or run others of these lines, a server or a cluster; they are not run."""

STAND_INS = {
    # data
    "photos/": "photos/",
    "other-photos/": "other-photos/",
    "--ood other-photos/": "folder/",
    "more-photos/": "folder/",
    "all-photos/": "many.npz",
    "--size 160": "24",
    "runs/": "runs/",
    "--val photos/": "photos/",
    "--confidence 0.5": "0",
    "--cache-gb 20": "1",
    "labelled-photos/": "photos/",
    "clipart": "photos/",
    "a.jpg": "a.jpg",
    "b.png": "b.png",
    "folder/": "folder/",
    "runs/demo-1/held-out": "folder/",
    "cells/": "masked/",
    "nuclei/,phase/": "masked/,more-masked/",
    "cells": ("cells", "data.train=2", "data.val=1", "data.size=32"),
    "cells/images/": "masked/images/",
    "runs/cells-efficientnet_lite0-1": "runs/cells",
    "cars/": "cars/",
    "--task detect": "detect",
    "runs/cars-efficientnet_lite0-1": "runs/cars",
    "out/": "out/",
    "drawn/": "drawn/",
    # labels
    "labels.csv": "labels.csv",
    "labels.html": "labels.html",
    "--relabel labels.csv": "corrected.csv",
    "--imbalance logits": "logits",
    "--imbalance effective": "effective",
    "--imbalance weights": "weights",
    "--ignore unknown": "white",
    "--hierarchy tree.csv": "tree.csv",
    # model files and runs
    "runs/photos-efficientnet_b0-1/model.safetensors": "runs/trained/model.safetensors",
    "runs/photos-efficientnet_lite0-1/model.safetensors": "runs/trained/model.safetensors",
    "runs/demo-1/model.safetensors": "runs/trained/model.safetensors",
    "runs/photos-efficientnet_b0-1": "runs/trained",
    "runs/photos-efficientnet_lite0-1": "runs/trained",
    "runs/photos-g16_efficientnet_b0-1": "runs/trained",
    "--resume runs/photos-efficientnet_b0-1": "runs/stopped",
    "--resume runs/photos-efficientnet_lite0-1": "runs/stopped",
    "--resume runs/photos-frontier-1": "runs/frontier",
    "runs/photos-resnet50-1": "mobilenet.safetensors",
    "runs/photos-resnet18-1": "runs/trained",
    "runs/photos-resnet18-2": "mobilenet.safetensors@74.9",
    "runs/photos-*": ("runs/trained", "mobilenet.safetensors"),
    "runs/photos-resnet18-1@71.4": "runs/trained@71.4",
    "runs/photos-resnet50-1@74.9": "mobilenet.safetensors@74.9",
    "--accuracy-on photos/": "photos/",
    "head=UNetHead": "head=UNetHead",
    "head=RetinaHead": "head=RetinaHead",
    "head.width=32": "head.width=32",
    "head.width=16": "head.width=16",
    "head.finest=4": "head.finest=4",
    "head.aspp=on": "head.aspp=on",
    "transforms.QuarterTurn=on": "transforms.QuarterTurn=on",
    "sampling=Each": "sampling=Each",
    "sampling.apart=true": "sampling.apart=true",
    "accumulate=2": "accumulate=2",
    "objective.terms.WeightedCrossEntropy=on": "objective.terms.WeightedCrossEntropy=on",
    "objective.terms.CrossEntropy=off": "objective.terms.CrossEntropy=off",
    "objective.terms.WeightedCrossEntropy.by=none": "objective.terms.WeightedCrossEntropy.by=none",
    "objective.terms.WeightedCrossEntropy.w0=10": "objective.terms.WeightedCrossEntropy.w0=10",
    "objective.terms.WeightedCrossEntropy.sigma=3": "objective.terms.WeightedCrossEntropy.sigma=3",
    "model.quantiser=Dorefa": "model.quantiser=Dorefa",
    "both.safetensors": "both.safetensors",
    "runs/small": "runs/small",
    "runs/*": "runs/*",
    # what is written
    "out.csv": "out.csv",
    "sweep.html": "sweep.html",
    "features.npz": "features.npz",
    "alike.csv": "alike.csv",
    "README.md": "CARD.md",
    "photos.ovz": "new.ovz",
    # shipped files
    "photos.onnx": "shipped.onnx",
    "--out cars.onnx": "new-cars.onnx",
    "cars.onnx": "cars.onnx",
    "--to onnx": "onnx",
    "--to openvino": "openvino",
    "--precision int8": "float32",
    "--beside other.safetensors": "mobilenet.safetensors",
    "--method layer-cam": "layer-cam",
    "b.jpg": "b.png",
    "b0.safetensors": "b0.safetensors",
    "weights.safetensors": "weights.safetensors",
    "runs/demo-1": "runs/demo-1",
    "studies/finetune": "studies/finetune",
    "studies/two": "studies/two",
    "studies/data": "studies/data",
    "studies/methods": "studies/methods",
    "studies/shared": "studies/shared",
    "--resume runs/photos-scale-1": "runs/scale",
    "--resume runs/photos-search-1": "runs/search",
    "--resume runs/cells-transfer-1": "runs/transfer",
    # what would ask a hub, or load much
    "timm:tf_efficientnet_b0.ns_jft_in1k": ("checkpoint.pth", "--network", "timm:mobilenetv2_035"),
    "torchvision:resnet50.IMAGENET1K_V2": ("checkpoint.pth", "--network", "mobilenet_v2_035"),
    "checkpoint.pth": "checkpoint.pth",
    "--network resnet50": "mobilenet_v2_035",
    "names.txt": "names.txt",
    "--weights hub": "none",
    # networks
    "efficientnet_b0": "efficientnet_b0",
    "efficientnet_lite0": "efficientnet_lite0",
    "efficientnet_lite0,resnet18": "resnet18,resnet50",
    "resnet18": "resnet18",
    "resnet50": "resnet18",
    "levit_192": "mobilenet_v2_035",
    "universal_segmenter_quarter": "universal_segmenter_quarter",
    "timm:resnet50d": "timm:mobilenetv2_035",
    "timm:levit_256": "timm:mobilenetv2_035",
    "efficientnetv2_*": "efficientnetv2_*",
    "ghostnet": "ghostnet",
    # sizes and lengths
    "--sizes 96,128": "16,24",
    "--resolution 96:224:16": "16:32:16",
    "--resolution 96:192:32": "16:32:16",
    "--resolution 160": "24",
    "teacher=runs/photos-efficientnet_b0-1": "teacher=runs/trained",
    "--resolution 224": "96",
    "--progressive 96:160": "32:40",
    "size=160": "size=32",
    "size=320": "size=32",
    "size=128": "size=32",
    "size=96": "size=32",
    "epochs=10": "epochs=1",
    "epochs=100": "epochs=1",
    "--folds 5": "2",
    "--seeds 8": "2",
    "--seeds 5": "1",
    "--seeds 3": "1",
    "--time-limit 120s": "120s",
    "--time-limit 3m": "100s",
    "--time-limit 10m": "10m",
    "--budget latency_ms=20": "latency_ms=20000",
    "--budget latency_ms=10": "latency_ms=20000",
    "--candidates list.yaml": "list.yaml",
    "--runtimes eager,openvino": "eager,openvino",
    # spaces and shares
    "--times 2,4": "2",
    "--cost latency_ms": "macs",
    "--shares fast,efficientnet,0.2/0.6/0.2": "fast",
    "--cap 160": "64",
    "efficientnetv2": "efficientnetv2",
    "around:resnet18": "around:resnet8_w16_s2",
    "--vary width,depth": "width,depth",
    "recipe:fast": "recipe:fast",
    "--model resnet18": "resnet18",
    "--budget params=2e6": "params=2e6",
    "--trials 60": "4",
    "--by tpe": "tpe",
    "--time-limit 2h": "300s",
    "--time-limit 30m": "300s",
    "--time-limit 1h": "30m",
    # names that stay
    **{
        word: word
        for word in [
            "auto",
            "none",
            "macs",
            "0.3x",
            "0.5x",
            "scratch",
            "finetune",
            "recover",
            "quantised",
            "model.activation=HardSwish",
            "timm",
            "noise,jpeg",
            "10M",
            "1G",
            "average",
            "mlflow",
            "state=finished",
            "segment",
            "tensorboard",
            "edits.Fuse",
            "0.1",
            "2",
            "greedy",
            "0.1,0.3",
            "0.2,0.4",
            "6",
            "lr_decay=0.7",
            'frozen=["stem"]',
        ]
    },
}
"""What stands for each word of a line; `--option WORD` goes before WORD. It may be several words."""

TINY = "--device cpu epochs=1 size=32 batch_size=9 workers=0 precision=float32"
ADDED = {
    "train": TINY,
    "finetune": TINY,
    "distill": TINY,
    "selftrain": f"{TINY} --rounds 1",
    "pretrain": f"{TINY} objective.hidden=8 objective.width=4",
    "ablate": f"--seeds 2 {TINY}",
    "frontier": f"--timing 0.2 --rungs 1 {TINY} model.stem.width=8 model.stages.*.width=8 model.stages.*.depth=1",
    "ship": "--seconds 0.2",
    "scale": "--seeds 1 --step 1 --workers 1 --device cpu epochs=1 batch_size=9 workers=0 threads=1 precision=float32 "
    "model.stages.*.width=8 model.stem.width=8 model.stages.*.depth=1 model.resolution=16",
    "search": "--trials 4 --seeds 1 --finalists 1 --timing 0.1 --device cpu epochs=2 size=32 batch_size=9 workers=0 threads=1 "
    "precision=float32",
    "transfer": f"--seeds 1 {TINY}",
    "prune": "--cost macs --multiple 1 epochs=1 batch_size=9 workers=0 precision=float32",
    "measure": "--device cpu --time 0.2s --rounds 1 --batch 2 --resolution 96",
}
"""What is added to each line of a command, as far as the line says nothing of it."""

CARS = (
    "train cars/ --model resnet8_w16_s2 --weights none head=FcosHead head.width=32 epochs=1 workers=0 size=32 --device cpu "
    "--output runs/cars"
)
BEGUN = {
    "runs/cells": "train masked/ --model resnet8_w16 --weights none epochs=1 workers=0 size=32 --device cpu "
    "--output runs/cells",
    "runs/cars": CARS,
    "cars.onnx": (CARS, "ship runs/cars --to onnx --out cars.onnx --seconds 0.2"),
    "runs/frontier": f"frontier photos/ --models resnet18,resnet50 --time-limit 30m --output runs/frontier {ADDED['frontier']}",
    "runs/scale": f"scale resnet18 photos/ --times 2 --shares fast --output runs/scale {ADDED['scale']}",
    "runs/search": f"search around:resnet8_w16_s2 photos/ --budget params=2e6 --output runs/search {ADDED['search']}",
    "runs/transfer": "transfer masked/ runs/trained@71.4 mobilenet.safetensors@74.9 --output runs/transfer "
    f"{ADDED['transfer']} threads=1",
}
"""What is made before a line that continues with it, by a line or several."""

SLOW = (
    r"paretina (frontier|ablate|measure|scale|search|transfer) |.* --(tune|time-limit 10m|order)|"
    r"paretina train photos/ --time-limit 3m|"
    r"paretina train clipart --weights auto|paretina prune .* --cost|"
    r"paretina train photos/ --model \w+( --weights \w+| --progressive \S+)?$"
)
"""Lines that take long even so, or train as another line does."""

LONG = r"paretina data more |paretina train .* --folds |paretina evaluate .* clipart|paretina ship "
"""Lines that take ten seconds: the usual tests run another one of the command, if there is one."""


# --- the lines --------------------------------------------------------------------------------------------------------------


def script(name):
    """A module of scripts/, which is no package."""
    spec = importlib.util.spec_from_file_location(name, ROOT / "scripts" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def commands(group, path=()):
    yield path, group
    for name, command in getattr(group, "commands", {}).items():
        yield from commands(command, (*path, name))


def examples(command):
    """The lines under a command's help."""
    return [line.strip() for line in command.epilog.partition("Example:")[2].splitlines() if line.strip()]


def of_docs(names=("*",)):
    """Every line of a shell that pages of the docs show, without comments, but for those of the README."""
    pages = script("pages")
    for path in sorted(path for name in names for path in (ROOT / "docs").glob(f"{name}.md")):
        for block in pages.blocks(path):
            if block.language in ("sh", "console", "text"):
                yield from map(
                    without_comment, pages.commands(block if block.language == "sh" else replace(block, language="console"))
                )


def without_comment(line):
    return shlex.join(shlex.split(line, comments=True))


RUN_PAGES = ("detection", "segmentation")
"""Pages of the docs whose lines run; those of the others are only read."""


def shown():
    """Every line that the README, the help and these pages show."""
    pages = script("pages")
    for block in pages.blocks(ROOT / "README.md"):
        if block.language in ("sh", "console", "text"):
            # a text block may hold lines that are typed too
            yield from pages.commands(block if block.language == "sh" else replace(block, language="console"))
    for _, command in commands(main):
        yield from examples(command)
    yield from of_docs(RUN_PAGES)


LINES = [line for line in dict.fromkeys(shown()) if not re.match(LEFT_OUT, line)]


def program_of(line):
    """The program of a line and the words behind it."""
    program, *words = shlex.split(line)
    return program, words


def parsed(words):
    """The path of the command that the words call, and the words behind it.

    Raises:
        click.UsageError: there is no such command or option.
    """
    command, context, path = main, click.Context(main, info_name="paretina"), []
    while isinstance(command, click.Group):
        name, command, words = command.resolve_command(context, list(words))
        context = click.Context(command, info_name=name, parent=context)
        path.append(name)
    command.make_context(path[-1], list(words), parent=context.parent)
    return path, words


def replaced(words):
    """The words with their stand-ins, and the keys of the table that were used.

    Raises:
        KeyError: a word stands nowhere in the table.
    """
    found, used, before = [], set(), ""
    for word in words:
        if word.startswith("-"):
            found.append(word)
        else:
            key = next((key for key in (f"{before} {word}", word) if key in STAND_INS), None)
            if key is None:
                raise KeyError(f"STAND_INS has nothing for {word!r}")
            used.add(key)
            there = STAND_INS[key]
            found += [there] if isinstance(there, str) else there
        before = word
    return found, used


def with_additions(path, words):
    """What is added besides, but for what the line gives itself."""
    if "--resume" in words:
        return words
    given = {word.partition("=")[0] for word in words}
    pairs = re.findall(r"(--[\w-]+ \S+|[\w.*]+=\S+)", ADDED.get(path[0], ""))
    kept = [pair for pair in pairs if re.split("[ =]", pair)[0] not in given]
    if "--tune" in given:  # which chooses the precision itself
        kept = [pair for pair in kept if not pair.startswith("precision=")]
    if {"--progressive", "--resolution", "--sizes", "--candidates"} & given:  # which are sizes too
        kept = [pair for pair in kept if not pair.startswith("size=")]
    if path == ["frontier"] or (path == ["transfer"] and "--time-limit" in given):  # which decide how long
        kept = [pair for pair in kept if not pair.startswith("epochs=")]
    return [*words, *(word for pair in kept for word in pair.split(" "))]


def globbed(words):
    """The words as a shell hands them over."""
    return [name for word in words for name in (sorted(glob.glob(word)) if word.endswith("*") and "/" in word else [word])]


# --- where they run ---------------------------------------------------------------------------------------------------------

COLOURS = {
    "blue": (0, 0, 200),
    "green": (0, 200, 0),
    "red": (200, 0, 0),
    "grey": (90, 90, 90),
    "pink": (230, 130, 160),
    "white": (200,) * 3,
}
CLASSES = tuple(sorted(COLOURS))
SMALL = {"size": 16, "batch_size": 4, "workers": 0, "precision": "float32", "seed": 1, "epochs": 1}


def draw(path, name, seed):
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(seed).integers(0, 50, (40, 40, 3))
    PIL.Image.fromarray((noise + np.array(COLOURS[name])).astype(np.uint8)).save(path)


@pytest.fixture(scope="session")
def home(tmp_path_factory):
    """A folder with everything that the stand-ins name."""
    home = tmp_path_factory.mktemp("home")
    for split, each in {"train": 3, "val": 2}.items():
        for name in COLOURS:
            for number in range(each):
                draw(home / "photos" / split / name / f"{number}.png", name, number)
    draw(home / "a.jpg", "blue", 100)
    draw(home / "b.png", "red", 101)
    for number in range(3):
        draw(home / "folder" / f"{number}.png", "grey", 200 + number)
        for name in ("blue", "pink"):
            draw(home / "other-photos" / name / f"{number}.png", name, 300 + number)
        draw(home / "masked" / "images" / f"{number}.png", "grey", 400 + number)
        with PIL.Image.open(home / "masked" / "images" / f"{number}.png") as picture:
            mask = PIL.Image.new("L", picture.size)
        mask.paste(1, (1, 1, 4, 4))
        (home / "masked" / "masks").mkdir(exist_ok=True)
        mask.save(home / "masked" / "masks" / f"{number}.png")
    shutil.copytree(home / "masked", home / "more-masked")
    for number in range(6):
        draw(home / "cars" / "images" / f"{number}.png", "grey", 500 + number)
    objects = [{"image_id": n, "category_id": 1, "bbox": [5 + n, 5, 20, 12]} for n in range(6)]
    images = [{"id": n, "file_name": f"{n}.png", "width": 40, "height": 40} for n in range(6)]
    described = {"images": images, "annotations": objects, "categories": [{"id": 1, "name": "car"}]}
    (home / "cars" / "annotations.json").write_text(json.dumps(described))
    noise_npz(home / "many.npz", 48, 12, contrast=60)
    blueprint = network_named("resnet18").blueprint
    # widths of 8: with 4, oneDNN's convolutions for AVX2 write beyond their buffers in torch 2.14 (the process aborts)
    for path, value in {"stem.width": 8, "stages.*.width": 8, "stages.*.depth": 1, "resolution": 16}.items():
        blueprint = put(blueprint, path, value)
    with contextlib.chdir(home):
        choice = verbs.ask("photos", model=blueprint, device="cpu", fields=SMALL)
        verbs.start(choice, "runs/trained", planning="default")
        with pytest.raises(KeyboardInterrupt):
            training.train(choice.asked, Path("runs/stopped"), stop_after=2)
        verbs.ship("runs/trained", "onnx", out="shipped.onnx", seconds=0.2)
    torch.manual_seed(0)
    torch.save(timm.create_model("mobilenetv2_035", num_classes=6).state_dict(), home / "checkpoint.pth")
    (home / "names.txt").write_text("".join(f"{name}\n" for name in CLASSES))
    about = About(classes=CLASSES, origin="made for a test", name="mobilenet_v2_035")
    blueprint = put(network_named("mobilenet_v2_035").blueprint, "classes", 6)
    network = put(blueprint, "resolution", 64).build()
    save_model(home / "mobilenet.safetensors", network, about)
    (home / "corrected.csv").write_text("picture,suggested\ntrain/blue/0.png,red\ntrain/blue/1.png,-\n")
    (home / "tree.csv").write_text("class,parent\n" + "".join(f"{name},{len(name)} letters\n" for name in CLASSES))
    (home / "list.yaml").write_text("- {model: resnet18, size: 16}\n- {model: resnet50, size: 24}\n")
    return home


@pytest.fixture
def inside(home, tmp_path, monkeypatch):
    shutil.copytree(home, tmp_path / "home")
    monkeypatch.chdir(tmp_path / "home")


# --- what they print --------------------------------------------------------------------------------------------------------

VALUE = r"""(?:'[^']*'|"[^"]*"|-?\d[\d.e-]*)"""
OBJECT = re.compile(
    r"<\w+ .*>|<[\w.]+>| at 0x[0-9a-f]+|\b(?:None|True|False|nan|inf)\b|Traceback|\b(?:tensor|array)\(|\b[A-Z]\w*\(\w+=|Path\(|"
    rf"\({VALUE}(?:, {VALUE})*,?\)(?<!\d\))|\({VALUE}, {VALUE}|\['|\{{['\"]"
)
"""What Python writes of its own values, and no person would."""

PYTHON = {"show": r"\w+\([^()]*\)(?:, stride \d)?$", "export-weights": r"^import \w+\n(?:.*\n)*"}
"""Where Python is meant: parts of a network are named as in the docs, and lines are to be pasted."""

RUN = r"metrics\.(?!val/(top1|balanced$))|per_class\.|confusion\.|hierarchy\.|cost\.|data\.train|\w+_s$|peak_mb"
RUN += r"|updates$|epochs$|^(objects|boxes)\."
RUN += r"|probe\.(cross_validated\.|penalty$|size$|top1_)"
DETAIL = {
    "ablate": r"^base_top1\.[12]$|\.gains\.|_ratio$|^look\.|^inference_ms\.|\.laws\.",
    "frontier": r"^spent_s",
    "train": RUN,
    "finetune": RUN,
    "distill": RUN,
    "pretrain": RUN,
    "probe": r"cross_validated",
    "evaluate": (
        r"temperature|max_damaged|per_class\.|confusion\.|sweep\.device\.|^(objects|boxes)\.|"
        r"corrupted\.(seed|rows\.\d+\.(lost|\w+_(low|high))$)"
    ),
    "predict": "throughput_img_s",
    "ship": r"gate\.(p$|moved$|limits\.|(before|after)\.(low|high)$|timing\.)",
    "prune": r"^widths\.|^cut\.(?!after\.value)|^recovered\.(p$|max_loss|(before|after)\.(low|high)$)",
    "data": r"(^|\.)bytes$|\.used$|classes\.|law\.|\.times$|_(low|high)$|check\.missed",
    "runs": r"runs\.\d+\.(?!value$|low$|high$)",
    "report": r"runs\.\d+\.(train|val|top5|throughput_img_s|peak_mb|steps)",
    "recipes": r"\.recipe\.",
    "measure": (
        r"cost\.(stages\.|activations|batch|bytes_)|samples_ms|\.(n|rounds|largest_batch)$|tried_img_s|"
        r"(inference|training)\.p(50|95)|training\.peak_mb|others_cores|models\.\d+\.stages\.|ceilings\.|device\.|\.plan\.|tuned|"
        r"training_plan\.cache_gb$"
    ),
    "scale": r"^(?!.*top1$)",
    "search": r"^(?!.*top1$)",
    "transfer": r"\.train_s$|^seeds\.",
    "show": r"cost\.(stages\.\d+\.activations|batch|.*bytes_(moved|unfused))",
}
"""Fields of a command's document that are detail: the page of a run or the docs show them, or they follow from others."""


def figures(value, path=""):
    """The numbers of a document by their paths."""
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from figures(inner, f"{path}.{name}" if path else name)
    elif isinstance(value, list):
        for number, inner in enumerate(value):
            yield from figures(inner, f"{path}.{number}")
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield path, value


NUMBER = re.compile(r"(?<![\w.])(-?\d[\d,]*(?:\.(\d+))?)(?:e([+-]\d+))?")


def scales(number):
    """What a number may be multiplied by where it is printed.

    A share in percent, short times in milliseconds, counts in thousands and more, bytes in MB.
    """
    return [
        1,
        *([100] if 0 < number <= 1 else []),
        *([1000] if 0 < number < 0.1 else []),
        *(scale for scale in (1e-3, 1e-6, 1e-9, 2**-20) if abs(scale * number) >= 1e-3),
    ]


def printed(number, text):
    """Whether the text has a number, rounded as the text rounds; what is not zero is not printed as zero."""
    for whole, decimals, exponent in NUMBER.findall(text):
        power = 10.0 ** int(exponent or 0)
        unit, shown = power * 10.0 ** -len(decimals), power * float(whole.replace(",", ""))
        for scale in scales(number):
            told = shown == 0 if number == 0 else shown != 0
            exact = scale == 1 or abs(shown) >= 10 * unit
            if told and exact and abs(scale * number - shown) <= 0.5000001 * unit:
                return True
    return False


UPDATE_S, EVALUATE_S, TURNS_S = 80.0, 2.0, 0.1
"""How long an update and an evaluation seem to take, since what fits into a time must not follow from the clock, and how long
sizes are timed in turn."""

REPLAYED = {
    "paretina.verbs": (
        *("start", "resume", "estimate", "evaluate", "predict", "import_weights", "export_weights"),
        *("ship", "embed", "explain", "card", "prune", "probe", "ensemble", "selftrain", "search", "data_labels"),
    ),
    "paretina.measure.compare": ("measure_models",),
    "paretina.search.ablation.run": ("run_study",),
    "paretina.search.frontier.run": ("work",),
    "paretina.verbs.scaling": ("finished",),
}
"""What is done once for both outputs of a line: it takes long, has other times again, or writes what may not be there."""


@pytest.fixture
def replayed(monkeypatch):
    """Makes each of these answer what it has answered first."""
    for module, names in REPLAYED.items():
        for name in names:
            monkeypatch.setattr(importlib.import_module(module), name, once(getattr(importlib.import_module(module), name)))


@pytest.fixture
def lengths(monkeypatch):
    real = estimate.rehearse

    def rehearse(prepared, updates=4, seconds=0.0):
        return replace(real(prepared), update_s=UPDATE_S, evaluate_s=EVALUATE_S, own_s=0.0)

    monkeypatch.setattr(estimate, "rehearse", rehearse)
    monkeypatch.setattr(running, "rehearse", rehearse)
    monkeypatch.setattr(searched, "rehearse", lambda asked: {"epoch_s": 0.1, "fixed_s": 0.1, "updates_per_epoch": 1.0})
    monkeypatch.setattr(sweep, "Turns", lambda seconds, wait: Turns(seconds=TURNS_S, wait=wait))


def once(function):
    answers = []

    @functools.wraps(function)
    def answer(*positional, **named):
        if not answers:
            answers.append(function(*positional, **named))
        return answers[0]

    return answer


def ran(words):
    result = CliRunner().invoke(main, words, prog_name="paretina")
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result


def tiny(line):
    """The words that stand for a line.

    Raises:
        click.UsageError: its command or an option does not exist.
        KeyError: one of its words is not in the table.
    """
    program, words = program_of(line)
    if program != "paretina":
        return (words[0], *replaced(words[1:])[0])
    path, rest = parsed(words)
    return (*path, *with_additions(path, replaced(rest)[0]))


def different(lines):
    """The lines, but of those that come to the same words the first."""
    found = {}
    for line in lines:
        try:
            found.setdefault(tiny(line), line)
        except (click.UsageError, KeyError):
            found[line] = line  # which fails in a test, not here
    return found.values()


@pytest.mark.parametrize("line", LINES)
def test_a_line_that_is_shown_is_understood_and_has_its_stand_ins(line):
    tiny(line)


def test_a_line_that_is_wrong_would_be_found():
    for line, error in {
        "paretina trian photos/": "did you mean 'train'",
        "paretina train photos/ --modle efficientnet_b0": "No such option",
        "paretina train photos/ --model resnet19": "nothing for 'resnet19'",
        "paretina train photos/ epochs=11": "nothing for 'epochs=11'",
    }.items():
        with pytest.raises((click.UsageError, KeyError), match=error):
            tiny(line)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("<generator object f at 0x7f00>\n('best', 'cheapest')", True),
        ("top-1  None", True),
        ("loss nan", True),
        ("Interval(value=1.0)", True),
        ("tensor(0.5)", True),
        ("mean (0.5, 0.5)", True),
        ("{'a': 1}", True),
        ("top-1 74.4 % (71.0 to 77.6), on 665 pictures (val); bag-of-tricks (1,991 to train on, 665 to validate on)", False),
        ("top-1  16.7 %  [4.7 to 44.8]", False),
    ],
)
def test_objects_of_python_are_told_from_text(text, found):
    assert bool(OBJECT.search(text)) == found


@pytest.mark.parametrize(
    ("number", "text", "found"),
    [
        (74.436, "top-1 74.4 %", True),
        (74.46, "top-1 74.4 %", False),
        (0.7444, "often 74 %", True),
        (385814752, "0.386 GMACs", True),
        (385814752, "0.4 GMACs", False),
        (0.0004, "p 0.0", False),
        (0.033665, "training time: 33.7 ms", True),
        (0.033665, "training time: 0.0 s", False),
        (1e-08, "eps 1e-08", True),
        (1814073344, "1,814.1 M", True),
    ],
)
def test_a_figure_is_printed_as_the_text_rounds(number, text, found):
    assert printed(number, text) == found


def usual(lines):
    """Of each command the first line that does not take long: the usual tests run it, and the slow ones the others."""
    found = {}
    for line in lines:
        if not re.match(f"{SLOW}|{LONG}", line):
            try:
                found.setdefault(tuple(parsed(program_of(line)[1])[0]), line)
            except click.UsageError:  # of another program, or one that fails in a test
                found[line] = line
    return set(found.values())


RUN_LINES = list(different(LINES))
USUAL = usual(RUN_LINES)


@pytest.mark.parametrize(
    "line", [pytest.param(line, id=line, marks=[pytest.mark.slow] * (line not in USUAL)) for line in RUN_LINES]
)
def test_a_line_that_is_shown_runs_and_says_what_it_found(line, request):
    if re.match(SLOW, line) and ALONE not in os.environ:
        run_alone(request.node.nodeid)
    else:
        for name in ("inside", "replayed", "lengths"):
            request.getfixturevalue(name)
        run_and_read(line, *map(request.getfixturevalue, ("monkeypatch", "capsys")))


ALONE = "PARETINA_TESTED_ALONE"
"""Set in the process of a single test."""


def run_alone(test):
    """Runs a test in a process of its own, so that nothing that torch's kernels leave behind is met by the next one.

    Many trainings in one process have ended it now and then, by a signal and without a word (torch 2.14, AVX2 without AVX-512):
    where that happens to the process of one test, the test is tried once more.
    """
    command = [sys.executable, "-X", "faulthandler", "-m", "pytest", "-p", "no:xdist", "-p", "no:cacheprovider"]
    command += ["-m", "slow", test]
    for _ in range(2):
        ended = subprocess.run(command, cwd=ROOT, env={**os.environ, ALONE: "1"}, capture_output=True, text=True, check=False)
        if ended.returncode >= 0:
            break
        print(f"ended by signal {-ended.returncode}:\n{ended.stderr}")
    assert ended.returncode == 0, ended.stdout + ended.stderr


def run_and_read(line, monkeypatch, capsys):
    """Runs a line in a folder that has everything, and looks for all of its figures in its text."""
    program, _ = program_of(line)
    words = globbed(tiny(line))
    if program == "python":
        monkeypatch.setattr(sys, "argv", words)
        runpy.run_path(str(ROOT / words[0]), run_name="__main__")
        assert not OBJECT.search(capsys.readouterr().out)
        return
    for word in words:
        begun = BEGUN.get(word, ())
        for line in (begun,) if isinstance(begun, str) else begun:
            ran(shlex.split(line))
    text = ran(words).output
    print(text)
    name = words[0]
    found = OBJECT.search(re.sub(PYTHON[name], "", text, flags=re.MULTILINE) if name in PYTHON else text)
    assert not found, found
    detail = re.compile(DETAIL.get(name, "(?!)"))
    monkeypatch.setattr(slips, "CHECKS", {})  # what is replayed has left files where new ones would be refused
    document = json.loads(ran([*words, "--json"]).stdout)
    missing = {path: value for path, value in figures(document) if not detail.search(path) and not printed(value, text)}
    assert not missing


# --- lines of the docs ------------------------------------------------------------------------------------------------------


DOCS = [line for line in dict.fromkeys(of_docs()) if line.startswith("paretina ") and not re.search(r"\s\|\s|&&|>", line)]


class BegunError(Exception):
    """A study was put together, and would begin."""


@pytest.mark.parametrize("line", DOCS)
def test_a_line_of_the_docs_is_understood(line):
    parsed(program_of(line)[1])


STUDIES = [line for line in DOCS if re.match(r"paretina (search|scale) (?!--resume)", line)]


@pytest.mark.parametrize("line", STUDIES)
def test_a_study_of_the_docs_can_be_begun_as_it_stands(line, inside, monkeypatch):
    """With its own networks, spaces, budgets and options, of which no stand-in knows whether they go together."""

    def begun(*positional, **named):
        raise BegunError

    monkeypatch.setattr("paretina.verbs.searching.prepare", begun)
    monkeypatch.setattr("paretina.verbs.scaling.begin", begun)
    result = CliRunner().invoke(main, program_of(line)[1], prog_name="paretina")
    assert isinstance(result.exception, BegunError), result.output


def test_there_are_studies_in_the_docs():
    assert len(DOCS) > 10
    assert len(STUDIES) > 2


def test_every_stand_in_is_used():
    used = set()
    for line in LINES:
        program, words = program_of(line)
        used |= replaced(parsed(words)[1] if program == "paretina" else words[1:])[1]
    assert not set(STAND_INS) - used
