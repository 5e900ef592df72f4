import csv
import gzip
import io
import json
import random
import statistics
import struct
import sys
import tarfile
import zipfile
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from paretina.data.sources.folder import Folder

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture(scope="module")
def folder_sets():
    yield from imported("folder_sets")


@pytest.fixture(scope="module")
def folders():
    yield from imported("folders")


def imported(name):
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(BENCHMARKS))
        yield __import__(name)
        for each in ("folders", "folder_rivals", "folder_sets"):
            sys.modules.pop(each, None)


def png(colour, mode="RGB", side=4):
    data = io.BytesIO()
    Image.new(mode, (side, side), colour).save(data, "png")
    return data.getvalue()


def names(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.png"))


# --- sets --------------------------------------------------------------------------------------------------------------------


def write_idx(path, array):
    header = bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(header + array.astype(np.uint8).tobytes()))


def write_fashion(packages, train, val):
    for prefix, count in (("train", train), ("t10k", val)):
        labels = np.arange(count) % 10
        images = np.broadcast_to(labels[:, None, None] * 10 + np.arange(2), (count, 2, 2))
        write_idx(packages / "fashion-mnist" / f"{prefix}-images-idx3-ubyte.gz", images)
        write_idx(packages / "fashion-mnist" / f"{prefix}-labels-idx1-ubyte.gz", labels)


def test_fashion_takes_equally_many_of_each_class_and_all_test_pictures(folder_sets, tmp_path):
    write_fashion(tmp_path, train=60, val=30)
    items = list(folder_sets.fashion(40)(tmp_path, 0))
    kinds = [(split, kind) for split, kind, *_ in items]
    assert all(kinds.count(("train", kind)) == 4 and kinds.count(("val", kind)) == 3 for kind in folder_sets.CLOTHES)
    # label 3 has the pixels 30 31 / 30 31; its first pictures are the fourth and the fourteenth
    dresses = [(number, picture) for split, kind, number, picture in items if (split, kind) == ("train", "dress")]
    assert [number for number, _ in dresses] == ["00003", "00013", "00023", "00033"]
    assert np.asarray(dresses[0][1]).tolist() == [[[30] * 3, [31] * 3]] * 2


@pytest.mark.parametrize(
    ("data", "said"),
    [(b"\0\0\x0d\x01\0\0\0\x01abcd", "not an IDX file of bytes"), (b"\0\0\x08\x01\0\0\0\x05abcd", "4 bytes where its shape")],
)
def test_other_idx_files_are_refused(folder_sets, tmp_path, data, said):
    path = tmp_path / "x.gz"
    path.write_bytes(gzip.compress(data))
    with pytest.raises(ValueError, match=said):
        folder_sets.idx(path)


def write_emoji(packages, vendor, lacking=()):
    emoji = [{"unified": f"1F6{n:02X}", "category": "Food & Drink" if n % 2 else "Flags"} for n in range(40)]
    emoji.append({"unified": "1F3FB", "category": "Component"})
    for each in emoji:
        each |= {"image": f"{each['unified'].lower()}.png", f"has_img_{vendor}": each["unified"] not in lacking}
    files = {"package/emoji.json": json.dumps(emoji).encode()}
    files |= {
        f"package/img/{vendor}/64/{each['image']}": png((255, 0, 0, 0), "RGBA") for each in emoji if each[f"has_img_{vendor}"]
    }
    packages.mkdir(exist_ok=True)
    with tarfile.open(packages / f"emoji-datasource-{vendor}-16.0.0.tgz", "w:gz") as package:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            package.addfile(member, io.BytesIO(data))


def test_no_emoji_is_on_both_sides(folder_sets, tmp_path):
    write_emoji(tmp_path / "packages", "google")
    write_emoji(tmp_path / "packages", "twitter", lacking=("1F600",))
    folder = folder_sets.written(tmp_path, "emoji")
    found = names(folder)
    assert len(found) == 40 + 39  # no component, and one that a vendor lacks
    points = {
        split: {name.split("/")[2].split("-")[0] for name in found if name.startswith(split)} for split in ("train", "val")
    }
    assert points["train"]
    assert points["val"]
    assert not points["train"] & points["val"]
    assert {name.split("/")[1] for name in found} == {"flags", "food-drink"}
    assert Image.open(folder / found[0]).getpixel((0, 0)) == (255, 255, 255)  # was transparent


def test_an_unseen_vendor_shows_emoji_that_were_not_seen(folder_sets, tmp_path):
    for vendor in ("google", "twitter"):
        write_emoji(tmp_path / "packages", vendor)
    found = names(folder_sets.written(tmp_path, "emoji-vendor"))
    assert len(found) == 40
    assert all(("google" in name) == name.startswith("train") for name in found)
    assert len({name.split("/")[2].split("-")[0] for name in found}) == 40


def write_elpv(packages, count):
    packages.mkdir(parents=True)
    with zipfile.ZipFile(packages / "elpv_dataset-1.0.0.post1-py3-none-any.whl", "w") as package:
        rows = [(f"images/cell{n:04d}.png", ("0.0", "0.333333", "0.5", "1.0")[n % 4], "mono") for n in range(count)]
        package.writestr("elpv_dataset/data/labels.csv", "path,probability,type\n" + "\n".join("  ".join(row) for row in rows))
        for path, *_ in rows:
            package.writestr(f"elpv_dataset/data/{path}", png(7, "L"))


def test_the_folds_of_elpv_test_every_picture_once(folder_sets, tmp_path):
    write_elpv(tmp_path / "packages", 40)
    tested = []
    for name in ("elpv", "elpv@1", "elpv@2", "elpv@3"):
        found = names(folder_sets.written(tmp_path, name))
        assert len(found) == 40
        tested += [each for each in found if each.startswith("val")]
    assert len(set(tested)) == len(tested) == 40
    # 0.5 is defective: two of four
    assert sum("/defect/" in each for each in tested) == 20
    assert "val/defect/cell0002.png" in tested
    assert "val/ok/cell0001.png" in tested


def test_what_is_written_is_a_folder_as_users_have_it(folder_sets, tmp_path):
    write_elpv(tmp_path / "packages", 40)
    collection = Folder(path=str(folder_sets.written(tmp_path, "elpv"))).open()
    assert collection.classes == ("defect", "ok")
    assert set(collection.splits) == {"train", "val"}
    assert collection.notes == ()


def test_clipart_has_its_own_split_and_three_more(folder_sets, monkeypatch):
    from paretina.data.sources.clipart import Clipart, ClipartCollection

    monkeypatch.setattr(ClipartCollection, "image", lambda self, sample: np_picture())
    whole = Clipart().open()
    vals = [{item[1:3] for item in folder_sets.clipart(Path(), fold) if item[0] == "val"} for fold in range(4)]
    assert len(vals[0]) == len(whole.split("val"))
    assert sum(map(len, vals)) == len(set().union(*vals)) == len(whole.split("val")) + len(whole.split("train"))
    assert all({kind for kind, _ in val} == set(whole.classes) for val in vals)


def np_picture():
    import torch

    return torch.zeros(3, 1, 1, dtype=torch.uint8)


def test_shapes_are_those_of_the_built_in_set(folder_sets):
    items = folder_sets.shapes(0.5)(Path(), 0)
    split, kind, name, picture = next(items)
    assert (split, kind, name, picture.size) == ("train", "disc", "00000", (96, 96))


def test_which_sets_there_are(folder_sets):
    reported = {name for name, known in folder_sets.SETS.items() if known.reports}
    assert reported == {"elpv", "shapes-hard", "fashion20k", "emoji-vendor"}
    assert {name for name, known in folder_sets.SETS.items() if known.weights} == {"clipart", "emoji", "elpv", "emoji-vendor"}
    assert {name for name, known in folder_sets.SETS.items() if not known.mirrors} == {"shapes", "shapes-hard"}


@pytest.mark.parametrize(("name", "said"), [("elpw", "there is no set"), ("elpv@4", "folds 1 to 3"), ("shapes@1", "one split")])
def test_a_set_that_is_not_there(folder_sets, tmp_path, name, said):
    with pytest.raises(ValueError, match=said):
        folder_sets.written(tmp_path, name)


def test_a_package_that_cannot_be_had_leaves_no_folder(folder_sets, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(folder_sets.UnavailableError, match="npm pack --ignore-scripts emoji-datasource-google"):
        folder_sets.written(tmp_path, "emoji")
    assert not (tmp_path / "emoji").exists()
    with pytest.raises(folder_sets.UnavailableError, match="no such thing"):
        folder_sets.fetched(tmp_path, "*.x", sys.executable, "-c", "import sys; sys.exit('no such thing')")


# --- cells -------------------------------------------------------------------------------------------------------------------


def cell(folders, name, who, right, seed=0, seconds=60.0, wall_s=59.0, version="1", known=True, **more):
    """A cell whose pictures are recognised as `right` says."""
    top1 = 100 * statistics.fmean(right)
    correct = folders.bits(right) if known else None
    return folders.Cell(name, who, seconds, seed, "A, 2 cores", version, wall_s, 100.0, top1, len(right), correct, **more)


def judge(folders, tmp_path, **more):
    return folders.Judge(tmp_path / "sets", tmp_path / "found.jsonl", "A, 2 cores", {"ours": []}, **more)


def test_a_process_and_its_children_are_timed(folders, tmp_path):
    busy = "import time\nwhile time.process_time() < 0.2: pass"
    script = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {busy!r}]); sys.exit(3)"
    done = folders.ran([sys.executable, "-c", script], tmp_path / "log", 600)
    assert done.status == 3
    assert done.cpu_s >= 0.2
    assert done.wall_s >= 0.2


def test_a_process_that_never_ends_is_ended(folders, tmp_path):
    done = folders.ran([sys.executable, "-c", "import time; time.sleep(1000)"], tmp_path / "log", 0.3)
    assert done.status == -9


def test_a_cell_that_is_there_is_not_run_again(folders, tmp_path, monkeypatch):
    write_elpv(tmp_path / "sets" / "packages", 40)
    runs = []

    def ran(command, log, most_s):
        runs.append(command)
        output = Path(command[command.index("--output") + 1])
        output.mkdir()
        val = names(Path(command[4]) / "val")
        (output / "result.json").write_text(json.dumps({"metrics": {"val/top1": 25.0}, "chosen": "the last"}))
        (output / "asked.json").write_text(json.dumps({"recipe": {"epochs": 0.0}}))
        with (output / "predictions.csv").open("w", newline="") as file:
            rows = csv.writer(file)
            rows.writerow(["name", "label", "correct"])
            rows.writerows(["val/" + name, "ok", int("cell0001" in name)] for name in reversed(val))
        return folders.Ran(62.5, 110.0, 0)

    monkeypatch.setattr(folders, "ran", ran)
    found = judge(folders, tmp_path).cell("elpv", "ours", 60.0, 1)
    assert judge(folders, tmp_path).cell("elpv", "ours", 60.0, 1) == found
    assert len(runs) == 1
    assert runs[0][1:4] == ["-m", "paretina", "train"]
    assert runs[0][5:7] == ["--time-limit", "60s"]
    assert runs[0][9:] == ["seed=1"]
    assert (found.top1, found.over, found.more) == (25.0, True, {"chosen": "the last", "probe_shipped": True})
    val = names(tmp_path / "sets" / "elpv" / "val")
    assert folders.unpacked(found.correct, found.n).tolist() == ["cell0001" in name for name in val]
    # another seed, other words for ours, and --again are run
    judge(folders, tmp_path).cell("elpv", "ours", 60.0, 2)
    more = replace(judge(folders, tmp_path), ours={"ours": [], "ours, small": ["size=64"]})
    more.cell("elpv", "ours, small", 60.0, 1)
    judge(folders, tmp_path, again=True).cell("elpv", "ours", 60.0, 1)
    assert [command[9:] for command in runs[1:]] == [["seed=2"], ["seed=1", "size=64"], ["seed=1"]]
    assert len(folders.read(tmp_path / "found.jsonl")) == 3


def test_ours_is_told_what_a_set_is(folders, tmp_path, monkeypatch):
    commands = []
    monkeypatch.setattr(folders, "ran", lambda command, log, most_s: commands.append(command) or folders.Ran(1.0, 1.0, 1))
    monkeypatch.setattr(folders, "written", lambda sets, name: tmp_path)
    monkeypatch.setattr(folders, "failed", lambda cell, log, done: cell)
    for name, weights in (("shapes", True), ("clipart", True), ("clipart", False)):
        judge(folders, tmp_path, weights=weights).cell(name, "ours", 60.0, 0)
    assert [command[9:] for command in commands] == [
        ["seed=0", "data.mirrors=false", "--weights", "none"],
        ["seed=0"],
        ["seed=0", "--weights", "none"],
    ]
    assert [each.name for each in folders.read(tmp_path / "found.jsonl")] == ["shapes", "clipart", "clipart from scratch"]


def test_a_failed_cell_is_kept_and_run_again(folders, tmp_path, monkeypatch):
    write_elpv(tmp_path / "sets" / "packages", 40)

    def ran(command, log, most_s):
        log.write_text("no\nnot so\n")
        return folders.Ran(1.0, 1.0, 1)

    monkeypatch.setattr(folders, "ran", ran)
    for _ in range(2):
        found = judge(folders, tmp_path).cell("elpv", "ours", 60.0, 0)
        assert (found.top1, found.more) == (None, {"status": 1, "said": ["no", "not so"]})
    assert len((tmp_path / "found.jsonl").read_text().splitlines()) == 2


def test_rivals_that_are_not_there_are_named(folders, tmp_path):
    with pytest.raises(folders.UnavailableError, match="--timm-script"):
        judge(folders, tmp_path).cell("clipart", "timm adamw 0.1", 60.0, 0)
    with pytest.raises(folders.UnavailableError, match="--fastai-python"):
        judge(folders, tmp_path).cell("clipart", "fastai", 60.0, 0)


def test_how_many_epochs_fit(folders):
    # 20 s once, of which the epoch took 8: 12 + 8 e <= 60 for e up to 6
    assert folders.fitting(60.0, 20.0, 8.0) == 6
    assert folders.fitting(60.0, 90.0, 80.0) == 1


def test_ours_and_rivals_take_turns(folders, tmp_path):
    todo = folders.in_turn(judge(folders, tmp_path), ["clipart", "shapes"], ["ours", "probe", "timm"], 60.0, 2, 1)
    assert [(name, who, seed) for name, who, _, seed in todo if name == "clipart"] == [
        ("clipart", "ours", 0),
        ("clipart", "probe", 0),
        *(("clipart", who, 0) for who in folders.TIMM),
        ("clipart", "ours", 1),
    ]
    assert ("shapes", "probe", 60.0, 0) not in todo


# --- rivals ------------------------------------------------------------------------------------------------------------------


def test_bits_come_back(folders):
    right = [True, False, True, True, False, False, True, False, True]
    assert folders.unpacked(folders.bits(right), 9).tolist() == right
    with pytest.raises(ValueError, match="2 bytes"):
        folders.unpacked(folders.bits(right), 20)


def test_shifts_stay_inside_and_mirror_only_where_that_is_legal(folders):
    import torch

    torch.manual_seed(0)
    images = torch.arange(1, 17, dtype=torch.uint8).repeat(64, 16, 1)[..., None].repeat(1, 1, 1, 3)  # columns count up
    for mirrors in (False, True):
        moved = folders.folder_rivals.shifted(images, mirrors)
        assert moved.shape == images.shape
        steps = moved[:, 8, 1:-1, 0].int().diff(dim=1)
        assert bool((steps == 1).all(1).any())
        assert bool((steps == -1).all(1).any()) == mirrors
        assert moved[:, 8, 0, 0].unique().numel() > 1


def test_the_plain_network_learns_in_the_time_that_it_has(folders, tmp_path):
    for split, count in (("train", 12), ("val", 8)):
        for kind, colour in (("dark", 20), ("light", 220)):
            place = tmp_path / split / kind
            place.mkdir(parents=True)
            for n in range(count):
                (place / f"{n}.png").write_bytes(png((colour,) * 3, side=16))
    rivals = folders.folder_rivals
    options = rivals.argparse.Namespace(
        folder=tmp_path, seed=0, mirrors=True, started=rivals.time.time() - 60, seconds=60.0, output=None
    )
    found = rivals.cnn(options)
    assert found["epochs"] == 1  # the time is over
    assert (found["n"], found["size"]) == (16, 16)


# --- the report --------------------------------------------------------------------------------------------------------------


def test_a_difference_by_hand(folders):
    # ours 3 of 4 and 4 of 4, theirs 2 of 4; by picture: (1 + 1)/2 - 1, 1 - 0, (1/2 or 1) ...
    ours = [
        cell(folders, "clipart", "ours", [1, 1, 1, 0], seed=0),
        cell(folders, "clipart", "ours", [1, 1, 1, 1], seed=1),
    ]
    theirs = [cell(folders, "clipart", "probe", [1, 0, 1, 0])]
    spread = folders.seed_variance(ours)
    assert spread == (pytest.approx(312.5), 1)  # 75 and 100
    found = folders.compared(ours, theirs, spread, drawn=False)
    assert found.points == pytest.approx(37.5)
    pictures = 100**2 * statistics.variance([0.0, 1.0, 0.0, 0.5]) / 4
    assert found.variance == pytest.approx(pictures + 312.5 / 2)
    assert found.seed_part == pytest.approx(312.5 / 2)
    drawn = folders.compared(ours, theirs, spread, drawn=True)
    assert drawn.variance == pytest.approx(pictures + 312.5 / 2 + 312.5)


def test_shares_are_taken_as_independent_where_pictures_are_not_known(folders):
    ours = [cell(folders, "clipart", "ours", [1, 1, 1, 0])]
    theirs = [cell(folders, "clipart", "timm", [1, 0, 1, 0], known=False)]
    found = folders.compared(ours, theirs, (0.0, 0), drawn=True)
    assert found.variance == pytest.approx((75 * 25 + 50 * 50) / 4)
    assert folders.pooled([found]).low == pytest.approx(25 - 1.959964 * found.variance**0.5)


def test_folds_are_averaged_where_both_have_them(folders):
    ours = [cell(folders, name, "ours", [1, 1, 0, 1]) for name in ("elpv", "elpv@1", "elpv@2")]
    theirs = [cell(folders, "elpv", "probe", [1, 1, 0, 0]), cell(folders, "elpv@1", "probe", [1, 1, 1, 1])]
    found = folders.compared(ours, theirs, (0.0, 0), drawn=False)
    assert found.points == pytest.approx((25 - 25) / 2)
    assert found.variance == pytest.approx((2500 / 4 + 2500 / 4) / 4)  # one in four differs: variance 1/4
    assert folders.compared(ours[:1], theirs[1:], (0.0, 0), drawn=False) is None


def test_the_mean_over_sets_by_hand(folders):
    parts = [folders.Difference(4.0, 3.0, 1.0, 8), folders.Difference(1.0, 1.0, 1.0, 8)]
    # variance 4 / 4 = 1, of which 1/2 from seeds: 8 * (1 / 0.5)^2 = 32 degrees of freedom
    found = folders.pooled(parts)
    assert found.value == pytest.approx(2.5)
    assert found.high - found.value == pytest.approx(2.0369, abs=1e-4)


def test_intervals_cover_about_as_often_as_they_say(folders):
    """Networks that differ by their seed, on pictures of random difficulty; the interval may be too wide, not too narrow."""
    draw = random.Random(0)
    covered = 0
    for _ in range(120):
        differences, spread = [], None
        every = []
        for name in ("clipart", "emoji", "elpv"):
            hard = [draw.random() for _ in range(100)]

            def learnt(who, seed, better, name=name, hard=hard):
                skill = 0.7 + better + draw.gauss(0, 0.02)
                return cell(folders, name, who, [draw.gauss(skill, 0.1) > each for each in hard], seed)

            every.append(([learnt("ours", seed, 0.05) for seed in (0, 1)], [learnt("cnn", 0, 0.0)]))
        spread = folders.seed_variance(each for ours, _ in every for each in ours)
        differences = [folders.compared(ours, theirs, spread, drawn=True) for ours, theirs in every]
        interval = folders.pooled(differences)
        covered += interval.low <= 5.0 <= interval.high
    assert covered >= 0.92 * 120


def test_the_best_of_timm_counts(folders):
    cells = [
        cell(folders, "clipart", "timm adamw 0.3", [1, 0, 0, 0]),
        cell(folders, "clipart", "timm adamw 0.1", [1, 1, 0, 0]),
        cell(folders, "emoji", "timm adamw 0.3", [1, 1, 1, 0]),
        cell(folders, "emoji", "timm rmsproptf 0.1", [0, 0, 1, 0]),
        cell(folders, "emoji", "ours", [0, 0, 1, 0]),
    ]
    found = {(each.name, each.who): each for each in folders.best_of_timm(cells)}
    assert found.keys() == {("clipart", "timm"), ("emoji", "timm"), ("emoji", "ours")}
    assert found["clipart", "timm"].more["setting"] == "timm adamw 0.1"
    assert found["emoji", "timm"].top1 == 75.0


def test_the_report(folders, tmp_path, capsys, monkeypatch):
    path = tmp_path / "found.jsonl"
    cells = [
        cell(folders, "clipart", "ours", [1, 0, 0, 0], version="old"),
        cell(folders, "clipart", "ours", [1, 1, 1, 0]),
        cell(folders, "clipart", "ours", [1, 1, 1, 0], seed=1, wall_s=63.0),
        cell(folders, "clipart", "probe", [1, 1, 0, 0]),
        cell(folders, "clipart", "probe, again", [1, 1, 0, 1], wall_s=58.0),
        cell(folders, "elpv", "ours", [1, 0, 1, 0]),
        cell(folders, "elpv@1", "ours", [1, 1, 1, 0]),
        cell(folders, "elpv", "probe", [1, 1, 1, 0]),
        cell(folders, "shapes", "ours", [1, 1, 1, 0]),
        replace(cell(folders, "shapes", "cnn", [0]), top1=None, n=0, correct=None, more={"said": ["no"]}),
        replace(cell(folders, "clipart", "timm, one epoch", [1]), seconds=0.0),
        cell(folders, "clipart", "ours, small", [0, 0, 0, 0]),
        cell(folders, "shapes", "ours", [0, 1, 1, 0], seconds=180.0),
    ]
    path.write_text("".join(json.dumps(asdict(each)) + "\n" for each in cells))
    monkeypatch.setattr(sys, "argv", ["folders.py", str(path), "--report"])
    folders.main()
    lines = capsys.readouterr().out.splitlines()
    assert "ours, 60 s, A, 2 cores" in lines
    assert "ours, small, 60 s, A, 2 cores" in lines
    assert "ours, 180 s, A, 2 cores" in lines
    # two seeds of 75, one of them too long, against 50: the pictures differ by 0 0 1 0, variance 1/4, so 25 +- 1.96 * 25
    assert "| clipart | 4 | 75.0* | 50.0 | +25.0 [-24.0, +74.0] | - | - |" in lines
    assert "| shapes | 4 | 75.0 | - | - | ! | - |" in lines
    assert any(line.startswith("| elpv | 8 | 62.5 | 75.0 | -25.0") for line in lines)
    assert any(
        line.startswith("ours - probe, mean over 2 of all sets: +0.0") and "worst -25.0 (elpv)" in line for line in lines
    )
    assert any(
        line.startswith("control: probe on clipart twice: top-1 50.0 and 75.0 %, wall 59.0 and 58.0 s") for line in lines
    )
    assert "ours: 1" in lines  # the older version is replaced


def test_versions_that_are_mixed_are_said(folders):
    cells = [cell(folders, "clipart", "ours", [1, 0], version="1"), cell(folders, "shapes", "ours", [1, 0], version="2")]
    assert "ours: 1; 2  (2 versions are mixed here)" in folders.report(cells)


def test_a_line_that_is_no_cell(folders, tmp_path):
    path = tmp_path / "found.jsonl"
    path.write_text('{"name": "clipart"}\n')
    with pytest.raises(ValueError, match="line 1"):
        folders.read(path)
