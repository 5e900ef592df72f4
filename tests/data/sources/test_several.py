import re
from dataclasses import replace

import numpy as np
import PIL.Image
import pytest
from click.testing import CliRunner

from paretina import verbs
from paretina.cli import main
from paretina.data.named import source_named
from paretina.data.naming import pieces
from paretina.data.sources.cells import Cells
from paretina.data.sources.fold import Fold
from paretina.data.sources.folder import Folder
from paretina.data.sources.hub import Hub
from paretina.data.sources.several import Set, Several
from paretina.model.weights import load_model
from paretina.report.records import table
from paretina.run import Run
from paretina.verbs.checks import MisuseError


def photos(place, classes=("blue", "green", "red"), each=8, seed=0):
    random = np.random.default_rng(seed)
    for name in classes:
        (place / name).mkdir(parents=True)
        for number in range(each):
            pixels = random.integers(0, 90, (24, 24, 3))
            pixels[..., len(name) % 3] += 120  # "red" 0, "blue" 1, "green" 2
            PIL.Image.fromarray(pixels.astype(np.uint8)).save(place / name / f"{number}.png")
    return place


@pytest.fixture
def two(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    photos(tmp_path / "one")
    photos(tmp_path / "two", each=16, seed=1)
    return "one,two/"


def test_a_list_with_commas_is_several_sources(two, tmp_path):
    joined = source_named(two)
    assert joined == Several(
        sets=(Set(name="one", source=Folder(path="one")), Set(name="two", source=Folder(path="two/"))), judged="all"
    )
    opened, alone = joined.open(), [Folder(path=name).open() for name in ("one", "two")]
    for split in ("train", "val"):
        assert len(opened.split(split)) == sum(len(each.split(split)) for each in alone)
    assert {sample.name.partition("/")[0] for sample in opened.split("val")} == {"one", "two"}
    assert [note.partition(":")[0] for note in opened.notes[:2]] == ["one", "two"]


def test_the_same_name_twice_is_numbered(two, tmp_path):
    photos(tmp_path / "old" / "one", seed=2)
    joined = source_named("one,old/one,two,cells")
    assert [each.name for each in joined.sets] == ["one", "one-2", "two", "cells"]


@pytest.mark.parametrize("again", ["one,two,one", "one,./one/", "two,one,old/../one", "cells,cells"])
def test_the_same_pictures_twice_are_refused(two, tmp_path, again):
    (tmp_path / "old").mkdir()
    with pytest.raises(ValueError, match=r"names the same pictures twice: .*; name each set of pictures once"):
        source_named(again)


def test_commas_that_are_no_list(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    photos(tmp_path / "a,b")
    assert source_named("a,b") == Folder(path="a,b")
    assert pieces("cells,a,b,a,b/blue", ("cells",)) == ["cells", "a,b", "a,b/blue"]
    assert pieces("train-{000,001}.tar") == []
    assert pieces("train-{000,001}.tar,more-{0..9}.tar") == ["train-{000,001}.tar", "more-{0..9}.tar"]
    assert pieces("https://there/a,b.tar", (), ("hf:",)) == []
    assert pieces("hf:one,hf:two", (), ("hf:",)) == ["hf:one", "hf:two"]
    assert source_named("hf:one,cells").sets[0].source == Hub(path="hf:one")


def test_every_command_refuses_nothing_beside_a_comma_in_one_way(two):
    for words in (["train", "one,", "--model", "resnet8_w16_s2"], ["data", "check", "one,"]):
        found = CliRunner().invoke(main, words)
        assert "'one,' has nothing before or after a comma" in found.output, found.output
        assert found.exit_code == 2


def test_a_space_after_the_comma_is_explained(two):
    found = CliRunner().invoke(main, ["train", "one,", "two/"])
    assert "expected field=value, got 'two/'; several sets of pictures are joined by a comma without a space" in found.output


def test_folds_hold_out_no_part_of_a_set_before(two):
    joined = source_named(two)
    assert not joined.undivided().open().split("val")
    fold = Fold(source=joined, count=3).open()
    assert not any("held out as val" in note for note in fold.notes)
    assert {sample.name.partition("/")[0] for sample in fold.split("val")} == {"one", "two"}


@pytest.mark.parametrize("data", ["one,", ",one", "one,,two"])
def test_nothing_beside_a_comma_is_refused(two, data):
    with pytest.raises(ValueError, match="nothing before or after a comma; name each set of pictures, such as nuclei/,phase/"):
        source_named(data)


def test_a_set_that_is_not_there_is_named_alone(two):
    with pytest.raises(ValueError, match="there is no folder 'tow/'"):
        source_named("one,tow/")


def test_classes_go_by_their_names(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    photos(tmp_path / "one", ("blue", "red"))
    photos(tmp_path / "two", ("blue", "green", "red"))
    with pytest.raises(ValueError, match=r"two also has green, unlike one; give the folders of classes the same names"):
        source_named("one,two").open()
    with pytest.raises(ValueError, match=r"one has no green, unlike two"):
        source_named("two,one").open()
    first = replace(source_named("one,two"), judged="first").open()  # as for labels that a network made
    assert {sample.label for sample in first.split("train")} == {0, 1, -1}
    assert {sample.name.partition("/")[0] for sample in first.split("val")} == {"one"}


def test_masks_and_classes_do_not_go_together(two):
    with pytest.raises(ValueError, match="sets of pictures that are joined have masks, or boxes, of the same kind and classes"):
        source_named("cells,one").open()
    with pytest.raises(ValueError, match="one of them is for objects, each with its pixels"):
        source_named("one,cells").open()


def test_nothing_is_written_into_any_of_the_sets(two):
    with pytest.raises(MisuseError, match="two/runs lies inside the data, two/"):
        verbs.train(two, model="resnet8_w16_s2", output="two/runs", epochs=0.1, size=24)


def trained(two, **more):
    fields = {"epochs": 1, "size": 24, "batch_size": 12, "accumulate": 2, "sampling": {"kind": "Each", "apart": True}}
    return verbs.train(two, model="resnet8_w16_s2", weights="none", **fields, **more)


def test_a_run_on_two_sets_knows_them_again(two):
    run = trained(two, output="run").path
    kept = Run(run).result()
    whole, one = verbs.evaluate(run, two), verbs.evaluate(run, "one")
    assert whole.accuracy.n == kept["data"]["val"] == len(source_named(two).open().split("val"))
    assert not any("trained on" in text for text in (*whole.notes, *one.notes))
    assert one.accuracy.n == len(Folder(path="one").open().split("val"))
    assert kept["sets"] == {name: each.to_dict() for name, each in whole.sets.items()}
    assert [each.n for each in whole.sets.values()] == [len(Folder(path=name).open().split("val")) for name in ("one", "two")]
    assert whole.sets["one"].value == one.accuracy.top1
    assert (whole.sets["one"].low, whole.sets["one"].high) == one.accuracy.intervals["top1"]
    assert (whole.to_dict()["sets"], one.sets) == (kept["sets"], {})
    page = (run / "report.html").read_text()
    assert page.index('href="#sets"') < page.index('<section id="sets">') < page.index("<td>two</td>")
    for words, brackets in ((["evaluate", str(run), two], "[]"), (["train", "--resume", str(run)], "()")):
        said = CliRunner().invoke(main, words)
        line = next(text for text in said.output.splitlines() if text.startswith("  two "))
        value, n = whole.sets["two"].value, whole.sets["two"].n
        between = rf"\{brackets[0]}[\d.]+ to [\d.]+\{brackets[1]}"
        assert re.fullmatch(rf"  two +top-1 +{value:.1f} % +{between} +on {n} pictures", line)
    inside = verbs.evaluate(run, "one", split="train")
    assert any("the model was trained on these pictures" in text for text in inside.notes)
    assert table([run])[0]["data"] == "one+two"
    assert load_model(run / "model.safetensors")[1].origin.startswith("trained on one+two,")
    verbs.resume(run, two)
    with pytest.raises(MisuseError, match="was trained on other data than two,one"):
        verbs.resume(run, "two,one")


def test_a_set_that_is_gone_is_named_when_a_run_is_resumed(two, tmp_path):
    def stopping(line):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        trained(two, output="run", listen=stopping)
    (tmp_path / "two").rename(tmp_path / "three")
    with pytest.raises((MisuseError, ValueError), match="there is no folder 'two/'"):
        verbs.resume("run")


def test_cells_and_cells_are_segmented_together(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    joined = Several.joined({"cells": Cells(), "more": Cells(seed=1)})
    assert joined.dense()
    assert joined.sets[0].source == Cells()
    assert joined.asked_for("detect").boxed()


def judged(run, data, tmp_path, **more):
    found = verbs.evaluate(run, data, csv=tmp_path / "judged.csv", **more)
    return found, [row.split(",")[0] for row in (tmp_path / "judged.csv").read_text().splitlines()[1:]]


def test_sets_of_which_some_were_trained_on_are_judged_by_what_was_held_out(two, tmp_path):
    photos(tmp_path / "three", seed=2)
    run = verbs.train(
        two,
        model="resnet8_w16_s2",
        weights="none",
        epochs=1,
        size=24,
        output="run",
        data__val_share=0.5,
        data__groups=r"(\d)\.",
    ).path
    kept = {row.split(",")[0] for row in (run / "predictions.csv").read_text().splitlines()[1:]}
    own = {name for name in kept if name.startswith("one/")}
    for data in ("one,three", "three,one/"):
        found, names = judged(run, data, tmp_path)
        assert {name for name in names if name.startswith("one/")} == own
        assert sum(name.startswith("three/") for name in names) == 24
        assert {name: each.n for name, each in found.sets.items()} == {"one": len(own), "three": 24}
        said = "\n".join(found.notes)
        assert "of one only the pictures that training held out are judged; --split all judges all of" in said
        assert "of three all pictures are judged, as of data that training did not have" in said
        assert "training pictures: " not in said
    found, _ = judged(run, "one,three", tmp_path, split="all")
    assert f"the model was trained on {24 - len(own)} of 48 pictures" in "\n".join(found.notes)
    found, names = judged(run, "three,old/three" if photos(tmp_path / "old" / "three", seed=3) else "", tmp_path)
    assert len(names) == 48
    assert "of three, three-2 all pictures are judged" in "\n".join(found.notes)


def test_a_run_on_one_folder_knows_it_among_several(two, tmp_path):
    run = verbs.train("one", model="resnet8_w16_s2", weights="none", epochs=1, size=24, output="run", data__val_share=0.5).path
    kept = {row.split(",")[0] for row in (run / "predictions.csv").read_text().splitlines()[1:]}
    found, names = judged(run, "two,one", tmp_path)
    assert {name.removeprefix("one/") for name in names if name.startswith("one/")} == kept
    assert found.sets["two"].n == 48
    found, _ = judged(run, "two,one", tmp_path, split="all")
    assert f"the model was trained on {24 - len(kept)} of 72 pictures" in "\n".join(found.notes)


def test_masks_are_judged_set_by_set_too(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    sets = Several.joined(
        {name: Cells(looks=("phase",), train=8, val=3, size=32, seed=seed) for seed, name in enumerate(("cells", "more"))}
    )
    run = verbs.train(sets, "resnet8_w16_s2", "segment", "none", epochs=1, size=32, batch_size=4, output="run").path
    found = Run(run).result()["sets"]
    assert {name: each["n"] for name, each in found.items()} == {"cells": 3, "more": 3}
    assert verbs.evaluate(run, sets).to_dict()["sets"] == found


def test_a_field_of_data_is_that_of_each_set(two):
    asked = verbs.ask(
        two, "resnet8_w16_s2", weights="none", device="cpu", fields={"data.val_share": 0.5, "data.groups": "folder"}
    )
    assert [(each.source.val_share, each.source.groups) for each in asked.asked.data.sets] == [(0.5, "folder")] * 2
    assert asked.origin("data.sets.1.source.val_share") == "command line"
    assert asked.origin("data.sets.0.source.path") == asked.origin("data.judged") == "command line"
    with pytest.raises(MisuseError, match="Several has no field 'image'"):
        verbs.ask(f"{two},table.csv", "resnet8_w16_s2", weights="none", device="cpu", fields={"data.image": "file"})


def test_groups_are_for_all_sets(two):
    found = CliRunner().invoke(main, ["data", "check", two, "--groups", r"(\d)\.png", "data.val_share=0.5"])
    assert found.exit_code == 0, found.output
    without = CliRunner().invoke(main, ["data", "check", two, "--groups", "folder"])
    assert "error: one: groups='folder': there are no folders between" in without.output
    refused = CliRunner().invoke(main, ["data", "check", "cells,shapes", "--groups", "folder"])
    assert refused.exit_code == 2
    assert "--groups is for folders" in refused.output
