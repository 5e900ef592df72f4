"""Which pixels a run trains on, and that they never depend on what is in the cache."""

import json
import shutil

import numpy as np
import PIL.Image
import pytest
import torch
from click.testing import CliRunner
from safetensors.torch import load_file

from paretina import verbs
from paretina.cli import main
from paretina.data import pictures
from paretina.data.packed import packs
from paretina.data.sources.folder import Folder
from paretina.data.transforms.crop import RandomResizedCrop
from paretina.data.transforms.flip import HorizontalFlip
from paretina.measure.plan import Plan
from paretina.run import Run
from paretina.schedules import Constant, Staged
from paretina.spec import decode, encode
from paretina.train.asked import Asked
from paretina.train.evaluated import Evaluated
from paretina.train.recipe import Recipe
from paretina.train.resolve import prepare
from paretina.train.training import resume, train

CROPS = (RandomResizedCrop(smallest=Constant(value=0.3)), HorizontalFlip())
RISING = Recipe(epochs=2.0, batch_size=8, size=Staged(values=(16.0, 32.0)), transforms=CROPS, test=Evaluated(size=32))


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("PARETINA_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "pictures"


@pytest.fixture
def photos(tmp_path):
    random = np.random.default_rng(0)
    for number in range(30):
        place = tmp_path / "photos" / ("train" if number < 24 else "val") / "abc"[number % 3] / f"{number}.jpg"
        place.parent.mkdir(parents=True, exist_ok=True)
        small = random.integers(0, 256, (8, 12, 3), dtype=np.uint8)
        PIL.Image.fromarray(small).resize((150, 100), PIL.Image.Resampling.BICUBIC).save(place)
    return tmp_path / "photos"


def asked(tiny, photos, cache_gb=0.0, recipe=RISING, **more):
    plan = Plan(workers=0, cache_gb=cache_gb)
    return Asked(data=Folder(path=str(photos)), model=tiny, recipe=recipe, plan=plan, **more)


def weights(run):
    return load_file(run.path / "model.safetensors")


def assert_equal(one, other):
    one, other = weights(one), weights(other)
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)


# --- what is stored -------------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize(("gigabytes", "decoding"), [(0.0, "crop"), (1.0, "packed")])
def test_a_run_stores_how_it_decodes(tiny, photos, tmp_path, gigabytes, decoding):
    prepared = prepare(asked(tiny, photos, gigabytes))
    assert prepared.recipe.decoding == decoding
    assert (prepared.train.at_least, prepared.train.smallest) == (64, 16)
    assert prepared.train.packed == (64 if decoding == "packed" else None)
    assert prepared.train.kept
    assert (prepared.train.pack is not None) == (decoding == "packed")
    assert prepared.val.pack is None
    assert prepared.val.image(0).shape == (3, 100, 150)  # evaluation sees whole pictures


def test_what_was_asked_before_keeps_its_pixels(tiny, photos):
    old = encode(RISING)
    old["version"] = 1
    del old["decoding"]
    assert decode(Recipe, old).decoding == "whole"
    assert decode(Recipe, {"kind": "Recipe", "epochs": 3.0}).decoding == "auto"
    prepared = prepare(asked(tiny, photos, recipe=decode(Recipe, old)))
    assert prepared.train.smallest is None
    assert prepared.train.levels(0).level(0).shape == (3, 100, 150)


def test_a_cache_for_other_pixels_is_refused(tiny, photos):
    with pytest.raises(ValueError, match=r"cache_gb=2 keeps pictures as decoding=packed makes .* decoding=crop was given"):
        prepare(asked(tiny, photos, 2.0, Recipe(decoding="crop")))
    with pytest.raises(ValueError, match=r"Plan.cache_gb is a number of gigabytes, 0 or more, got -1"):
        Plan(cache_gb=-1.0)


def test_pictures_that_do_not_fit_give_a_note_that_says_what_helps(tiny, photos, monkeypatch):
    said = "the training pictures do not fit into memory, so they are decoded again in each epoch; with a cache on the"
    assert not any(note.startswith(said) for note in prepare(asked(tiny, photos)).notes)
    monkeypatch.setattr(pictures, "memory_budget", lambda: 0)
    assert any(note.startswith(said) for note in prepare(asked(tiny, photos)).notes)
    assert not any(note.startswith(said) for note in prepare(asked(tiny, photos, 1.0)).notes)


# --- the same weights -------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("gigabytes", [0.0, 1.0])
def test_where_pixels_come_from_changes_no_weight(tiny, photos, tmp_path, monkeypatch, gigabytes):
    first = train(asked(tiny, photos, gigabytes), tmp_path / "first")
    again = train(asked(tiny, photos, gigabytes), tmp_path / "again")  # finds the cache
    assert_equal(first, again)
    if gigabytes:
        shutil.rmtree(tmp_path / "cache")
        (tmp_path / "cache").write_text("no folder")
    monkeypatch.setattr(pictures, "memory_budget", lambda: 0)
    assert_equal(first, train(asked(tiny, photos, gigabytes), tmp_path / "files"))


@pytest.mark.slow
@pytest.mark.parametrize("lost", [False, True])
def test_a_run_is_resumed_in_mid_epoch_with_its_cache_and_without(tiny, photos, tmp_path, monkeypatch, lost):
    whole = train(asked(tiny, photos, 1.0), tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        train(asked(tiny, photos, 1.0), tmp_path / "stopped", stop_after=4)  # of 3 and 3
    saved = Run.open(tmp_path / "stopped").asked()
    assert saved["recipe"]["decoding"] == "packed"
    if lost:
        shutil.rmtree(tmp_path / "cache")
        monkeypatch.setattr(pictures, "memory_budget", lambda: 0)
        saved["asked"]["plan"]["cache_gb"] = 0.0
        (tmp_path / "stopped" / "asked.json").write_text(json.dumps(saved))
    assert_equal(whole, resume(tmp_path / "stopped"))


# --- the command line -------------------------------------------------------------------------------------------------


def ran(*words):
    found = CliRunner().invoke(main, list(words))
    assert found.exit_code == 0, found.output
    return found.output


@pytest.mark.slow
def test_the_option_sets_the_field(photos):
    rows = json.loads(ran("train", str(photos), "--cache-gb", "3", "--print-config", "--json"))
    assert {row["field"]: row["value"] for row in rows}["plan.cache_gb"] == 3
    found = CliRunner().invoke(main, ["train", str(photos), "--cache-gb", "3", "cache_gb=4", "--print-config"])
    assert "--cache-gb 3 sets cache_gb, which is also given; leave one out" in found.output


def test_the_cache_is_shown_and_cleared(tiny, photos, cache):
    assert "holds 0 sets of decoded pictures, 0.0 MB" in ran("data", "cache")
    prepare(asked(tiny, photos, 1.0))
    shown = ran("data", "cache")
    assert f"{cache} holds 1 set of decoded pictures" in shown
    assert f"{photos / 'train'}: 24 pictures of at most 64 pixels on the shorter side" in shown
    assert json.loads(ran("data", "cache", str(photos), "--json"))["sets"][0]["pictures"] == 24
    assert json.loads(ran("data", "cache", str(photos / "val"), "--json"))["sets"] == []
    assert f"no pictures of {photos / 'val'} are in the cache" in ran("data", "cache", str(photos / "val"))
    found = CliRunner().invoke(main, ["data", "cache", str(photos / "nothere")])
    assert (found.exit_code, "there is no folder" in found.output) == (2, True)
    assert "removed 1 set of decoded pictures" in ran("data", "cache", "--clear", str(photos))
    assert packs() == []
    assert [path.suffix for path in cache.iterdir()] == [".lock"]
    assert verbs.data_cache(clear=True).sets == ()
