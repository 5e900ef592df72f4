"""Progress and results in a notebook, and without IPython, which need not be installed."""

import html
import html.parser
import sys
import types

import pytest

from paretina import verbs
from paretina.measure.compare import measure_models
from paretina.progress import SPEECH, NotebookLine, Progress
from paretina.run import Run
from paretina.tables import html_lines, html_table
from tiny import noise_npz, tiny_blueprint

FIELDS = {"epochs": 1, "batch_size": 6, "size": 16, "workers": 0, "precision": "float32"}


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    home = tmp_path_factory.mktemp("home")
    data = noise_npz(home / "noise.npz", 48, 12, contrast=60)
    for name, seed in {"one": 1, "two": 2}.items():
        choice = verbs.ask(data, model=tiny_blueprint(), device="cpu", fields={**FIELDS, "seed": seed})
        verbs.start(choice, home / "runs" / name, planning="default")
    return home


@pytest.fixture(autouse=True)
def inside(home, monkeypatch):
    monkeypatch.chdir(home)


class Handle:
    """A display that can be written anew."""

    def __init__(self, shown):
        self.shown = shown

    def update(self, data, raw):
        self.shown.append(data["text/plain"])


@pytest.fixture
def notebook(monkeypatch):
    """IPython with a kernel; returns what it is given to display."""
    shown = []
    module, inner = types.ModuleType("IPython"), types.ModuleType("IPython.display")

    def display(value, raw=False, display_id=False):
        shown.append(value)
        return Handle(shown)

    inner.display = display
    module.display = inner
    module.get_ipython = lambda: types.SimpleNamespace(kernel=object())
    monkeypatch.setitem(sys.modules, "IPython", module)
    monkeypatch.setitem(sys.modules, "IPython.display", inner)
    return shown


class Balanced(html.parser.HTMLParser):
    """Collects the text, and fails where a tag is not closed."""

    def __init__(self):
        super().__init__()
        self.open, self.text = [], ""

    def handle_starttag(self, tag, attributes):
        self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data + "\n"


def text_of(value):
    parser = Balanced()
    parser.feed(value._repr_html_())
    parser.close()
    assert parser.open == []
    return parser.text


# --- progress -----------------------------------------------------------------------------------------------------------------


def line(step):
    figures = {"throughput/img_s": 8.0, "train/loss": 0.5, "mem/peak_mb": 12.0}
    return {"event": "train", "step": step, "updates": 100, "epoch": step / 10, "time_s": float(step), **figures}


def test_a_notebook_has_one_line_that_is_written_anew(notebook, capsys):
    with Progress() as progress:
        assert isinstance(progress.live, NotebookLine)
        progress.doing("reading the pictures")
        progress.listen(line(1))
        progress.listen(line(2))
        progress.say("a note")
    assert notebook[0] == {"text/plain": ""}
    assert notebook[1] == "reading the pictures ..."
    assert notebook[3].startswith("  2 %  epoch 0.2  ETA 1:38")
    assert notebook[-1] == ""
    assert len(notebook) == 5
    captured = capsys.readouterr()
    assert captured.err == "note: a note\n"
    assert captured.out == ""


def test_ipython_on_a_terminal_is_no_notebook(notebook, monkeypatch):
    monkeypatch.setattr(sys.modules["IPython"], "get_ipython", lambda: types.SimpleNamespace())
    assert Progress().live is None
    monkeypatch.setattr(sys.modules["IPython"], "get_ipython", lambda: None)
    assert Progress().live is None


def test_without_ipython_lines_are_plain(monkeypatch, capsys):
    monkeypatch.delitem(sys.modules, "IPython", raising=False)
    with Progress() as progress:
        progress.listen(line(1))
    assert "1 %" in capsys.readouterr().err


def test_quiet_is_quiet_in_a_notebook_too(notebook, capsys):
    token = SPEECH.set("quiet")
    try:
        with Progress() as progress:
            progress.doing("reading")
            progress.listen(line(1))
    finally:
        SPEECH.reset(token)
    assert notebook == []
    assert capsys.readouterr().err == ""


# --- results ------------------------------------------------------------------------------------------------------------------


def test_a_run_is_its_report_in_a_frame():
    run = Run.open(verbs.runs().folder / "one")
    page = run._repr_html_()
    assert page.startswith("<iframe sandbox=")
    inside = html.unescape(page.partition('srcdoc="')[2].rpartition('"></iframe>')[0])
    assert inside == (run.path / "report.html").read_text()
    assert page.count("<iframe") == 1
    assert '"' not in page.partition('srcdoc="')[2].rpartition('"></iframe>')[0]


def test_a_run_without_a_report_says_so(tmp_path, capsys):
    run = Run.create(tmp_path / "a<b", {})
    assert "a&lt;b" in run._repr_html_()
    assert "there is no report yet" in run._repr_html_()
    run.show()
    assert "there is no report yet" in capsys.readouterr().out


def test_show_displays_in_a_notebook_and_names_the_page_elsewhere(notebook, monkeypatch, capsys):
    run = Run.open(verbs.runs().folder / "one")
    run.show()
    assert notebook == [run]
    monkeypatch.delitem(sys.modules, "IPython")
    run.show()
    assert capsys.readouterr().out == f"{run.path / 'report.html'}\n"


def test_evaluations_have_their_figures():
    found = verbs.evaluate("runs/one", "noise.npz", against="runs/two", max_loss=100.0)
    text = text_of(found)
    assert "12 pictures (val) at 16 pixels" in text
    assert "top1" in text
    assert f"{found.accuracy.top1:,.4g}" in text
    assert "over the same pictures" in text


def test_comparisons_have_both_runs():
    text = text_of(verbs.compare_runs("one", "two"))
    assert "recipe.seed" in text
    assert "over the same 12 pictures" in text


@pytest.mark.slow
def test_listings_predictions_and_curves():
    assert "finished" in text_of(verbs.runs())
    assert "reject" in text_of(verbs.predict("runs/one", [write_picture()]))
    assert "linear classifier" in text_of(verbs.probe("runs/one"))
    assert "more pictures" in text_of(verbs.data_more("noise.npz", "runs/one", repeats=2)).lower()
    measured = measure_models(["runs/one/model.safetensors"], "cpu", rounds=1, seconds=0.05, batch=1, training=False)
    assert "latency ms" in text_of(measured)


def write_picture():
    import numpy as np
    import PIL.Image

    PIL.Image.fromarray(np.zeros((16, 16, 3), np.uint8)).save("<b>.png")
    return "<b>.png"


def test_tables_escape_names():
    assert html_table([("<b>", 1.5, None, True)], ("a&b",)).count("<b>") == 0
    assert "a&amp;b" in html_table([], ("a&b",))
    assert "1.5" in html_table([("x", 1.5)])
    assert html_lines(["a<b", "c"]) == "<pre>a&lt;b\nc</pre>"
