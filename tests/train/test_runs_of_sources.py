"""Runs on tables and on shards: what a source reads is trained on, and an interrupted run ends as an uninterrupted one."""

import io
import tarfile
from dataclasses import replace

import numpy as np
import PIL.Image
import pytest

from covering import few
from paretina.data.sources.shards import Shards
from paretina.data.sources.table import Table
from paretina.data.transforms.flip import HorizontalFlip
from paretina.data.transforms.mixup import MixUp
from paretina.measure.plan import Plan
from paretina.model.tasks.any_of import AnyOf
from paretina.schedules import Constant
from paretina.train.asked import Asked
from paretina.train.objectives.supervised import Supervised
from paretina.train.recipe import Recipe
from paretina.train.terms.binary_cross_entropy import BinaryCrossEntropy
from paretina.train.training import resume, train
from tiny import tiny_blueprint


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("PARETINA_CACHE", str(tmp_path / "cache"))


def picture(number):
    noise = np.random.default_rng(number).integers(0, 256, (16, 16, 3), np.uint8)
    buffer = io.BytesIO()
    PIL.Image.fromarray(noise).save(buffer, "PNG")
    return buffer.getvalue()


def table(place, header, *rows):
    for number in range(18):
        (place / f"{number}.png").write_bytes(picture(number))
    (place / "photos.csv").write_text("\n".join((header, *rows)))
    return Table(path=str(place / "photos.csv"))


def side(number):
    return "val" if number > 11 else "train"


def weighed(place):
    rows = (f"{n}.png,{'abc'[n % 3]},{side(n)},{1 + n % 4}" for n in range(18))
    return table(place, "path,label,split,weight", *rows)


def soft(place):
    rows = (f"{n}.png,{side(n)},0.{n % 3 + 1},0.{9 - (n % 3 + 1)},0.1" for n in range(18))
    return table(place, "path,split,a,b,c", *rows)


def several(place):
    rows = (f"{n}.png,{('a|b', 'b;c', '')[n % 3]},{side(n)}" for n in range(18))
    return table(place, "path,label,split", *rows)


def shards(place):
    for name, numbers in (("train-0", range(6)), ("train-1", range(6, 12)), ("val-0", range(12, 18))):
        with tarfile.open(place / f"{name}.tar", "w") as archive:
            for number in numbers:
                for ending, data in (("png", picture(number)), ("cls", str(number % 3).encode())):
                    member = tarfile.TarInfo(f"{number:03d}.{ending}")
                    member.size = len(data)
                    archive.addfile(member, io.BytesIO(data))
    return Shards(path=str(place / "train-{0..1}.tar"), val=str(place / "val-0.tar"))


@pytest.mark.parametrize("make", few([weighed, soft, several, shards]))
def test_an_interrupted_run_ends_as_an_uninterrupted_one(tmp_path, make):
    place = tmp_path / "data"
    place.mkdir()
    source = make(place)
    recipe = Recipe(epochs=3.0, batch_size=5, accumulate=2, transforms=(HorizontalFlip(), MixUp()), size=Constant(value=16.0))
    if isinstance(source.open().task, AnyOf):
        recipe = replace(recipe, objective=Supervised(terms=(BinaryCrossEntropy(),)))
    plan = Plan(workers=1, threads=1)
    asked = Asked(data=source, model=tiny_blueprint(resolution=16), recipe=recipe, plan=plan)
    whole = train(asked, tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt, match="stopped after 4 of 9 updates"):
        train(asked, tmp_path / "part", stop_after=4)
    part = resume(tmp_path / "part")
    for name in ("model.safetensors", "predictions.csv"):
        assert (part.path / name).read_bytes() == (whole.path / name).read_bytes()
    assert part.result()["metrics"] == whole.result()["metrics"]
    with pytest.raises(KeyboardInterrupt):
        train(asked, tmp_path / "other", stop_after=2)
    change(place)
    with pytest.raises(ValueError, match="the pictures are not those"):
        resume(tmp_path / "other")


def change(place):
    """Gives one picture another label, or another weight."""
    if (place / "photos.csv").exists():
        path = place / "photos.csv"
        text = path.read_text()
        for before, after in (("train,1\n", "train,3\n"), ("0.1,0.8", "0.2,0.7"), ("0.png,a|b", "0.png,a|c")):
            if before in text:
                path.write_text(text.replace(before, after, 1))
                return
    data = (place / "train-0.tar").read_bytes()
    with tarfile.open(place / "train-0.tar") as archive:
        start = archive.getmember("000.cls").offset_data
    (place / "train-0.tar").write_bytes(data[:start] + b"1" + data[start + 1 :])
