"""Options: numbers are finite, and errors name what was typed."""

import math
import re

import click
import pytest

from paretina.cli import main
from paretina.cli.once import SET_BY, Once, in_options


def commands(group, path=()):
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from commands(command, (*path, name))
        else:
            yield (*path, name), command


FLOATS = [
    (command, param)
    for _, command in commands(main)
    for param in command.params
    if isinstance(param, click.Option) and isinstance(param.type, click.types.FloatParamType)
]


@pytest.mark.parametrize("value", ["nan", "inf", "-inf"])
@pytest.mark.parametrize(("command", "param"), [pytest.param(*each, id=f"{each[0].name} {each[1].name}") for each in FLOATS])
def test_no_number_of_any_command_may_be_other_than_finite(command, param, value):
    option = max(param.opts, key=len)
    words = ["x" for each in command.params if isinstance(each, click.Argument) and each.required]
    words += [f"{max(each.opts, key=len)}=onnx" for each in command.params if isinstance(each, click.Option) and each.required]
    with pytest.raises(click.UsageError) as caught:
        command.make_context(command.name, [*words, f"{option}={value}"])
    said = caught.value.format_message()
    assert option in said
    assert "finite" in said or "range" in said


def test_there_are_such_options():
    assert len(FLOATS) > 15
    assert all(isinstance(command, Once) for _, command in commands(main))


def test_every_option_that_a_field_is_told_by_exists():
    known = {param.name for _, command in commands(main) for param in command.params}
    assert set(SET_BY.values()) <= known


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("search", "SearchStudy.share must be finite, got nan", "--share must be finite, got nan"),
        ("search", "SearchStudy.timing_s must be finite", "--timing must be finite"),
        ("search", "MnasNetSpace.width is a factor in (0, 8]", "--width is a factor in (0, 8]"),
        ("search", "MnasNetSpace.size must be at least 8", "size must be at least 8"),
        ("scale", "ScalingStudy.times.0 must be finite", "--times must be finite"),
        ("scale", "ScalingStudy.weight must be finite", "--reward-weight must be finite"),
        ("scale", "Rules.tolerance must be finite", "--tolerance must be finite"),
        ("frontier", "Halving.factor must be finite", "--keep must be finite"),
        ("train", "MixUp.alpha must be finite", "MixUp.alpha must be finite"),  # as it is typed
    ],
)
def test_errors_name_options_and_not_fields_of_the_program(name, text, said):
    command = main.commands[name]
    assert in_options(text, click.Context(command, info_name=name)) == said


INTERNAL = re.compile(r"\b[A-Z]\w*(?:Study|Space|Rules|Halving|Price)\b")


@pytest.mark.parametrize(
    "words",
    [
        ("scale", "resnet8_w16_s2", "shapes", "--times", "nan"),
        ("scale", "resnet8_w16_s2", "shapes", "--times", "1e9"),
        ("scale", "resnet8_w16_s2", "shapes", "--tolerance", "7"),
        ("search", "mnasnet", "shapes", "--trials", "4", "size=4"),
        ("search", "mnasnet", "shapes", "--trials", "4", "--held-out", "0.999999"),
        ("search", "recipe:scratch", "shapes", "--trials", "4", "--width", "2"),
        ("frontier", "shapes", "--models", "resnet18,resnet34", "--time-limit", "1m", "--keep", "0.5"),
    ],
)
def test_a_bad_value_gives_no_name_of_the_program(words, tmp_path, monkeypatch):
    from click.testing import CliRunner

    monkeypatch.chdir(tmp_path)
    found = CliRunner().invoke(main, list(words))
    assert found.exit_code == 2, found.output
    assert not INTERNAL.search(found.output)
    assert not list(tmp_path.iterdir())


def test_a_finite_number_passes():
    assert math.isfinite(main.commands["finetune"].make_context("finetune", ["x", "--labels", "0.1"]).params["labels"])
