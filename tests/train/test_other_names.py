"""What other tools call a field is answered with ours, wherever a field is given."""

import re

import numpy as np
import PIL.Image
import pytest
from click.testing import CliRunner

from paretina import verbs
from paretina.cli import main
from paretina.measure.plan import Plan
from paretina.model.family import network_named
from paretina.search.ablation.switches import Switch
from paretina.search.frontier.candidates import candidate, listed
from paretina.train.asked import Asked, elsewhere, full_path
from paretina.train.recipe import Recipe
from paretina.verbs import outline

FIELDS = {
    "img_size": "there is no field 'img_size'; write size=VALUE",
    "label-smoothing": "there is no field 'label-smoothing'; write objective.terms.CrossEntropy.smoothing=VALUE",
    "drop_path": "there is no field 'drop_path'; write stochastic_depth=on stochastic_depth.rate=VALUE",
    "amp": "there is no field 'amp'; write precision=bfloat16",
    "recipe.img_size": "there is no field 'img_size'; write size=VALUE",
    "plan.amp": "there is no field 'amp'; write precision=bfloat16",
    "ema.decay": "there is no field 'ema'; write average=on",
    "epoch": "there is no field 'epoch'; did you mean 'epochs'?",
}


@pytest.fixture
def photos(tmp_path):
    for split in ("train", "val"):
        for name in ("cat", "dog"):
            (tmp_path / "photos" / split / name).mkdir(parents=True)
            PIL.Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(tmp_path / "photos" / split / name / "1.png")
    return str(tmp_path / "photos")


def by_command(words):
    ended = CliRunner().invoke(main, words, prog_name="paretina")
    assert ended.exit_code == 2, ended.output
    return " ".join(ended.stderr.split())


def by_field(name, photos, tmp_path):
    return by_command(["train", photos, f"{name}=3"])


def by_file(name, photos, tmp_path):
    (tmp_path / "c.yaml").write_text(f"{name}: 3\n")
    return by_command(["train", photos, "--config", str(tmp_path / "c.yaml")])


def by_candidate(name, photos, tmp_path):
    (tmp_path / "candidates.yaml").write_text(f"- {{model: resnet18, {name}: 3}}\n")
    with pytest.raises(ValueError, match="no field") as refusal:
        listed(tmp_path / "candidates.yaml", photos, Plan())
    return str(refusal.value)


def by_candidates_in_common(name, photos, tmp_path):
    with pytest.raises(ValueError, match="no field") as refusal:
        candidate(photos, Plan(), "resnet18", fields={name: 3})
    return str(refusal.value)


def by_switch(name, photos, tmp_path):
    return by_command(["ablate", "finetune", photos, "-o", str(tmp_path / "x"), "--switch", f"{name}=3"])


def by_switch_in_python(name, photos, tmp_path):
    asked = Asked(data=verbs.ask(photos).asked.data, model=network_named("resnet18").blueprint, recipe=Recipe(), plan=Plan())
    with pytest.raises(ValueError, match="no field") as refusal:
        Switch(fields=(f"{name}=3",))(asked)
    return str(refusal.value)


def by_call(name, photos, tmp_path):
    with pytest.raises(verbs.MisuseError) as refusal:
        verbs.train(photos, **{name.replace(".", "__"): 3})
    return str(refusal.value)


def by_finetuning(name, photos, tmp_path):
    (tmp_path / "model.safetensors").touch()  # names are looked at before it is read
    (tmp_path / "c.yaml").write_text(f"{name}: 3\n")
    return by_command(["finetune", str(tmp_path / "model.safetensors"), photos, "--config", str(tmp_path / "c.yaml")])


WAYS = (by_field, by_file, by_candidate, by_candidates_in_common, by_switch, by_switch_in_python, by_call, by_finetuning)


@pytest.mark.parametrize("name", FIELDS)
@pytest.mark.parametrize("way", WAYS)
def test_every_way_to_give_a_field_says_the_same(way, name, photos, tmp_path):
    assert FIELDS[name] in way(name, photos, tmp_path)


@pytest.mark.parametrize("name", FIELDS)
@pytest.mark.parametrize("way", [by_field, by_file, by_switch])
def test_the_command_says_it_without_its_outline_too(way, name, photos, tmp_path, monkeypatch):
    early = way(name, photos, tmp_path)
    monkeypatch.setattr(outline, "read", lambda: None)
    assert way(name, photos, tmp_path) == early
    assert FIELDS[name] in early


def test_an_option_of_another_tool_is_answered_as_its_field(photos, tmp_path):
    said = by_command(["train", photos, "--img-size", "96"])
    assert f"--img-size is not an option, and {FIELDS['img_size']}" in said


@pytest.mark.parametrize("name", elsewhere())
def test_every_other_name_is_answered(name):
    with pytest.raises(ValueError, match=rf"^there is no field {name!r}; write {re.escape(elsewhere()[name])}$"):
        full_path(name)


def test_names_that_are_ours_are_found_without_the_others(monkeypatch):
    # which are asked of all plug-ins
    monkeypatch.setattr("paretina.train.asked.elsewhere", lambda: pytest.fail("looked for other names"))
    for name in ("epochs", "recipe.epochs", "lr", "model.stages", "plan.device", "data.path", "edits.Scale", "recipe"):
        full_path(name)


def test_what_a_part_has_no_field_for_is_said_where_it_is_set():
    assert full_path("recipe.epoch") == "recipe.epoch"
