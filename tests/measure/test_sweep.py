import csv

import numpy as np
import pytest
import torch

from paretina.data.decode import DecodeError
from paretina.data.pictures import read_pictures
from paretina.data.sources.arrays import ArrayCollection, from_arrays
from paretina.measure.plan import Plan
from paretina.measure.statistics import Interval
from paretina.measure.sweep import paired_p, resolutions_named, sweep, swept
from paretina.measure.timing import Turns
from paretina.model.blocks.levit import Levit
from paretina.model.blueprint import Stage
from paretina.report.sweep_page import write_sweep, write_sweep_csv
from tiny import tiny_blueprint

# --- names --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "sizes"),
    [
        ("224", (224,)),
        ("96,160, 128", (96, 160, 128)),
        ("96:144:16", (96, 112, 128, 144)),
        ("96:96:16", (96,)),
        ("64,96:128:32", (64, 96, 128)),
    ],
)
def test_sizes_by_name(text, sizes):
    assert resolutions_named(text) == sizes


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("big", r"start:stop:step \(96:224:16\), got 'big'"),
        ("96:224", "start:stop:step"),
        ("", "start:stop:step"),
        ("-96", "start:stop:step"),
        ("0", "a resolution is at least 1 pixel, got 0"),
        ("224:96:16", "1 <= start <= stop and step >= 1, got '224:96:16'"),
        ("96:224:0", "step >= 1"),
        ("96:220:16", "'96:220:16' never reaches 220: write 96:208:16 or 96:224:16"),
        ("96,64:128:32", "96 pixels are given twice"),
    ],
)
def test_what_names_no_sizes_is_refused(text, message):
    with pytest.raises(ValueError, match=message):
        resolutions_named(text)


# --- the test -----------------------------------------------------------------------------------------------------------


def test_the_paired_test_by_hand():
    # one is right alone 5 times, the other once: of 6 coins at most one head, or at most one tail: 2 (1 + 6) / 64
    one = torch.tensor([1] * 5 + [0] + [1] * 3, dtype=torch.bool)
    other = torch.tensor([0] * 5 + [1] + [1] * 3, dtype=torch.bool)
    assert paired_p(one, other) == pytest.approx(14 / 64)
    assert paired_p(other, one) == pytest.approx(14 / 64)
    assert paired_p(one, one) == 1.0


# --- choosing -----------------------------------------------------------------------------------------------------------


def hits(count, n=100):
    """The first so many of n pictures."""
    return torch.arange(n) < count


def timed(ms):
    return Interval(ms, 0.9 * ms, 1.1 * ms)


def found(counts, times=True, n=100, **rest):
    return swept(
        {size: hits(count, n) for size, count in counts.items()},
        {size: size * size for size in counts},
        {size: timed(size / 100) for size in counts} if times else {},
        rest.pop("refused", {}),
        **rest,
    )


def test_the_best_and_the_cheapest_that_is_not_clearly_worse():
    # 80 -> 85 right on the same pictures and 5 more: p = 2 / 32; 70 -> 15 more: p = 2 / 2^15
    result = found({64: 70, 96: 80, 128: 85, 160: 84})
    assert (result.best, result.cheapest) == (128, 96)
    assert [row.size for row in result.rows] == [64, 96, 128, 160]
    assert result.at(96).p == pytest.approx(2 / 32)
    assert [row.clearly_worse for row in result.rows] == [True, False, False, False]
    assert result.at(96).behind.value == pytest.approx(5)
    assert result.at(128).behind == Interval(0, 0, 0)
    best, cheapest = result.verdict()
    assert best == "best: 128 pixels with 85.0 %; chosen on the validation pictures, so its figure is optimistic"
    assert cheapest.startswith("cheapest that is not clearly worse: 96 pixels with 80.0 %, 5.0 points behind, which chance")
    assert cheapest.endswith("(p = 0.062), in 75 % of the time and 56 % of the MACs")


def test_of_equally_good_sizes_the_cheapest_is_the_best():
    result = found({96: 50, 128: 80, 160: 80})
    assert (result.best, result.cheapest) == (128, 128)
    assert "every cheaper size is clearly worse" in result.verdict()[1]
    assert "also the cheapest" in found({96: 80, 128: 70}).verdict()[1]


def test_time_decides_what_is_cheap_where_it_was_measured():
    right = {96: hits(80), 128: hits(80)}
    macs = {96: 10, 128: 20}
    assert swept(right, macs, {96: timed(3.0), 128: timed(2.0)}, {}).cheapest == 128
    assert swept(right, macs, {}, {}).cheapest == 96


def test_where_and_what_was_refused_is_said():
    result = found({96: 80}, where="test", refused={100: "too odd"})
    assert "chosen on the test pictures" in result.verdict()[0]
    assert result.verdict()[-1] == "100 pixels: too odd"
    assert result.to_dict()["refused"] == {"100": "too odd"}


def test_operators_that_the_macs_lack_are_said():
    result = found({96: 80}, uncounted=("aten::mv",))
    assert result.verdict()[-1] == "the MACs do not include aten::mv: there is no formula for what is multiplied there"
    assert result.to_dict()["uncounted"] == ["aten::mv"]
    assert found({96: 80}).to_dict()["uncounted"] == []


def test_a_single_picture_has_no_interval_of_the_difference():
    result = found({96: 1, 128: 0}, n=1)
    assert result.at(128).behind is None
    assert result.to_dict()["rows"][1]["behind_low"] is None
    assert len(list(result.table())) == 3


# --- measuring ----------------------------------------------------------------------------------------------------------


def blueprint(stages=None):
    return tiny_blueprint(*(stages or ()))


def network(stages=None):
    torch.manual_seed(0)
    return blueprint(stages).build()


def images(count=12, side=20):
    return np.random.default_rng(0).integers(0, 256, (count, side, side, 3), dtype=np.uint8)


def pictures(count=12):
    collection = from_arrays(images(count), np.arange(count) % 3, split=["val"] * count)
    return read_pictures(collection, collection.split("val"))


class Ticks:
    """A clock that continues by a millisecond whenever it is read."""

    def __init__(self):
        self.now = 0.0

    def __call__(self):
        self.now += 0.001
        return self.now


def turns():
    return Turns(rounds=2, seconds=1.0, clock=Ticks())


@pytest.mark.slow
def test_a_network_at_several_sizes():
    said = []
    net = network().train()
    result = sweep(net, pictures(), (24, 16), Plan(), turns(), batch=2, say=said.append)
    assert net.training
    assert [row.size for row in result.rows] == [16, 24]
    assert result.n == 12
    assert result.rows[1].macs > 2 * result.rows[0].macs
    assert all(row.image_ms.value > 0 for row in result.rows)
    assert (result.batch, result.device.device) == (2, "cpu")
    assert said == ["accuracy at 16 pixels", "accuracy at 24 pixels", "timing the sizes in turn"]


def test_accuracy_is_that_of_each_size_alone():
    result = sweep(network(), pictures(), (16, 20, 24), Plan(), timed=False)
    assert result.device is None
    for row in result.rows:
        alone = sweep(network(), pictures(), (row.size,), Plan(), timed=False)
        assert (alone.rows[0].top1, alone.rows[0].macs, alone.rows[0].image_ms) == (row.top1, row.macs, None)


def attention():
    """Its biases are for the map of a 16-pixel image."""
    return network((Stage(block=Levit(key=4, heads=2), depth=1, width=8, stride=2),))


def test_sizes_that_the_network_refuses_are_named_and_the_others_measured():
    result = sweep(attention(), pictures(), (16, 32), Plan(), timed=False)
    assert [row.size for row in result.rows] == [16]
    assert list(result.refused) == [32]
    assert "8 x 8 only" in result.refused[32]


def test_a_network_that_refuses_all_sizes_is_an_error():
    with pytest.raises(ValueError, match=r"accepts none of these sizes; 24 pixels: this attention has biases"):
        sweep(attention(), pictures(), (32, 24), Plan(), timed=False)


def test_sizes_must_be_given_once():
    for sizes in ((), (16, 16), (0, 16)):
        with pytest.raises(ValueError, match="name one size or more, each once"):
            sweep(network(), pictures(), sizes, Plan())


class Vanishing(ArrayCollection):
    """Its second picture can no longer be read."""

    def image(self, sample, at_least=None):
        if sample.name == self.splits["val"][1].name:
            raise DecodeError(f"{sample.name}: gone")
        return super().image(sample, at_least)


def test_pictures_that_vanish_are_counted_at_no_size():
    whole = pictures()
    gone = Vanishing(**vars(whole.collection))
    broken = type(whole)(gone, whole.samples)
    result = sweep(network(), broken, (16, 24), Plan(), timed=False)
    assert result.n == 11
    assert result.faults == (f"{whole.samples[1].name}: gone",)


# --- page and table -----------------------------------------------------------------------------------------------------


def test_the_page_holds_what_was_found(tmp_path):
    result = found({64: 70, 96: 80, 128: 85}, refused={100: "odd <sizes> are refused"})
    page = write_sweep(result, tmp_path / "sweep.html", "net & co").read_text()
    assert page.count("<h1>") == 1
    assert "net &amp; co at 3 resolutions" in page
    assert "chosen on the validation pictures, so its figure is optimistic" in page
    assert "100 pixels: odd &lt;sizes&gt; are refused" in page
    assert page.count("<figure") == 3 + (result.device is None)
    assert page.count('d="M') > 20
    assert "http" not in page.replace("http-equiv", "")
    assert write_sweep(result, tmp_path / "again.html", "net & co").read_text() == page


@pytest.mark.parametrize("counts", [{96: 80}, {size: 50 + size // 8 for size in range(96, 305, 16)}])
@pytest.mark.parametrize("times", [True, False])
def test_the_page_of_one_size_and_of_many(tmp_path, counts, times):
    page = write_sweep(found(counts, times), tmp_path / "sweep.html", "net").read_text()
    body = page.partition("<main>")[2]
    assert "nan" not in body
    plots = body.count('class="area"')
    assert body.count('class="dot ') == plots * len(counts)  # which are seen where the curve has one place only
    assert '<div class="scroll" tabindex="0" role="region" aria-label="Sizes"><table' in body
    assert "var(--beyond), transparent) right" in page
    assert ("Time per image" in page) == times


def test_the_table_has_a_line_for_each_size(tmp_path):
    result = found({64: 70, 96: 80}, refused={100: "odd"})
    with open(write_sweep_csv(result, tmp_path / "sweep.csv"), newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["size"] for row in rows] == ["64", "96", "100"]
    assert [row["top1"] for row in rows] == ["70.0", "80.0", ""]
    assert [row["refused"] for row in rows] == ["", "", "odd"]
    assert float(rows[0]["image_ms"]) == pytest.approx(0.64)
