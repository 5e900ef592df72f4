"""Shells complete commands, options, names, fields and files, without waiting for torch."""

import os
import shutil
import subprocess
import sys

import click
import pytest
from click.testing import CliRunner

from paretina.cli import main
from paretina.cli.completing import SHELLS, USUAL
from paretina.model.family import networks
from paretina.report.tracker import trackers
from paretina.spec import field_map, put
from paretina.train.asked import recipes
from paretina.train.fields import AUTO
from paretina.train.recipe import Recipe

CODE = "from paretina.cli import main; main(prog_name='paretina')"


def completed(line, shell="zsh"):
    """The words that a shell is given for the last word of a line, and the kinds of files."""
    words = ["paretina", *line.split(" ")]
    result = CliRunner().invoke(
        main,
        [],
        prog_name="paretina",
        env={"_PARETINA_COMPLETE": f"{shell}_complete", "COMP_WORDS": " ".join(words), "COMP_CWORD": str(len(words) - 1)},
    )
    assert result.exit_code == 0, result.output
    assert result.stderr == ""
    lines = result.stdout.split("\n")
    if shell == "zsh":
        triples = list(zip(lines[::3], lines[1::3], strict=False))
        return [value for kind, value in triples if kind == "plain"], [kind for kind, _ in triples if kind != "plain"]
    pairs = [text.split(",", 1) for text in lines if text]
    return [value for kind, value in pairs if kind == "plain"], [kind for kind, _ in pairs if kind != "plain"]


def test_commands():
    assert completed("tr")[0] == ["train", "transfer"]
    assert set(completed("")[0]) == set(main.commands)
    assert completed("data ")[0] == sorted(main.commands["data"].commands)


def test_options_and_their_choices():
    assert completed("train photos --log-f")[0] == ["--log-format"]
    assert completed("train photos --log-format ")[0] == ["text", "json"]
    assert completed("train --plan ")[0] == ["default"]
    assert "--time-limit" in completed("train photos --")[0]


def test_names_of_networks_and_recipes_and_trackers():
    assert completed("train photos --model efficientnet_lite")[0] == [
        name for name in networks() if name.startswith("efficientnet_lite")
    ]
    assert set(completed("train photos --recipe ")[0]) == {AUTO, *recipes()}
    assert completed("measure resnet18 resnet5")[0] == [name for name in networks() if name.startswith("resnet5")]
    assert completed("frontier photos --models resnet18,resnet34,resnet5")[0] == [
        f"resnet18,resnet34,{name}" for name in networks() if name.startswith("resnet5")
    ]
    assert {"mlflow", "tensorboard", "wandb"} <= set(completed("train photos --log-to ")[0]) <= set(trackers())
    assert completed("train photos --log-to mlflow,ten")[0] == ["mlflow,tensorboard"]
    assert completed("export-weights run --to ")[0] == ["timm", "torchvision"]
    assert completed("ship run --to o")[0] == ["onnx", "openvino"]
    assert completed("runs --sort val")[0] == ["value"]


def test_fields_and_their_values():
    assert {"epochs="} <= set(completed("train photos epo")[0])
    found = completed("train photos ")[0]
    assert {f"{name}=" for name in field_map(Recipe)} <= set(found)
    assert {"optimizer.", "threads=", "model="} <= set(found)
    assert "precision=float32" in completed("train photos precision=")[0]
    assert "optimizer=SGD" in completed("train photos optimizer=S")[0]
    assert completed("train photos optimizer.SGD.mom")[0] == ["optimizer.SGD.momentum="]
    assert completed("train photos recipe.epo")[0] == ["recipe.epochs="]
    assert "stochastic_depth.subset=on" in completed("train photos stochastic_depth.subset=")[0]
    assert completed("train photos nothing=")[0] == []


def test_the_fields_that_are_offered_can_be_set():
    recipe = put(Recipe(), "optimizer", "SGD")
    for word in completed("train photos optimizer.m")[0]:
        if word.endswith("="):
            name = word[:-1]
            assert name.startswith("optimizer.")
    assert "optimizer.momentum=" in completed("train photos optimizer.mom")[0]
    assert put(recipe, "optimizer.momentum", "0.5") != recipe


@pytest.mark.parametrize(
    "line", ["train pho", "train photos --config ", "evaluate ru", "predict run a", "measure ", "report ", "train --resume "]
)
def test_files(line):
    assert set(completed(line)[1]) <= {"file", "dir"}
    assert completed(line)[1]


@pytest.mark.parametrize("line", ["trian pho", "train --modle x ", "train photos --tune ful", "nothing at all "])
def test_a_slip_before_is_no_trouble(line):
    completed(line)


@pytest.mark.parametrize("shell", SHELLS)
def test_every_shell_speaks_the_protocol(shell):
    words = {"COMP_WORDS": "paretina tr", "COMP_CWORD": "tr" if shell == "fish" else "1"}
    result = CliRunner().invoke(main, [], prog_name="paretina", env={"_PARETINA_COMPLETE": f"{shell}_complete", **words})
    assert "train" in result.stdout


@pytest.mark.parametrize("shell", SHELLS)
def test_the_script_says_how_to_install_it(shell):
    result = CliRunner().invoke(main, ["completion", shell], prog_name="paretina")
    assert result.exit_code == 0
    assert f"paretina completion {shell}" in result.stdout
    assert "_PARETINA_COMPLETE" in result.stdout
    assert result.stdout.startswith("#")


def test_without_a_shell_the_shells_are_listed():
    result = CliRunner().invoke(main, ["completion"], prog_name="paretina")
    assert result.exit_code == 2
    assert result.stderr == "error: name the shell: bash, zsh, fish\ntry: paretina completion --help\n"


def test_another_shell_is_refused():
    result = CliRunner().invoke(main, ["completion", "bsh"], prog_name="paretina")
    assert result.exit_code == 2
    assert "'bsh' is not one of 'bash', 'zsh', 'fish'" in result.stderr


def test_every_name_that_is_completed_is_one_of_a_parameter():
    def params(group):
        for command in group.commands.values():
            yield from params(command) if isinstance(command, click.Group) else command.params

    assert set(USUAL) <= {param.name for param in params(main)}


@pytest.mark.parametrize(
    "line", ["tr", "train photos --model res", "train photos optimizer.", "train photos --log-to ", "runs --sort ", "report r"]
)
def test_nothing_heavy_is_imported(line):
    words = ["paretina", *line.split(" ")]
    code = """
import sys
from paretina.cli import main
try:
    main([], prog_name="paretina")
except SystemExit as ended:
    assert not ended.code
print(sorted({"torch", "torchvision", "numpy", "scipy", "rich", "PIL"} & set(sys.modules)), file=sys.stderr)
"""
    environment = {**os.environ, "_PARETINA_COMPLETE": "zsh_complete", "COMP_WORDS": " ".join(words)}
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**environment, "COMP_CWORD": str(len(words) - 1)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr.strip() == "[]"


@pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash")
@pytest.mark.parametrize(
    ("words", "replies"),
    [
        (("tr",), ["train", "transfer"]),
        (("train", "photos", "--log-f"), ["--log-format"]),
        (("train", "photos", "epoch"), ["epochs="]),
        (("train", "photos", "epochs", "=", "3", "grayscale"), []),
        (("train", "photos", "precision", "=", "bf"), ["bfloat16"]),
        (("train", "photos", "precision", "="), ["float32", "bfloat16", "float16"]),
        (("train", "photos", "--plan", "d"), ["default"]),
    ],
)
def test_bash_completes(words, replies, tmp_path):
    program = tmp_path / "paretina"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -c "{CODE}" "$@"\n')
    program.chmod(0o755)
    script = CliRunner().invoke(main, ["completion", "bash"], prog_name="paretina").stdout
    typed = " ".join(f"'{word}'" for word in ("paretina", *words))
    code = f"""
compopt() {{ local IFS=' '; echo "opt $*"; }}
{script}
COMP_WORDS=({typed}); COMP_CWORD={len(words)}
_paretina_completion {program}
printf '%s\\n' "${{COMPREPLY[@]}}"
"""
    done = subprocess.run(["bash", "--norc", "-c", code], capture_output=True, text=True, env={**os.environ})
    assert done.stderr == ""
    lines = done.stdout.splitlines()
    found = [line for line in lines if line and not line.startswith("opt ")]
    if words[-1] == "=":
        assert set(replies) <= set(found)
    else:
        assert found == replies
    if found == ["epochs="]:
        assert "opt -o nospace" in lines
