"""Whether int8 is recommended goes by the time beside float32 and bfloat16, and by nothing else."""

from dataclasses import replace

import pytest
import torch

from paretina.measure.statistics import Interval
from paretina.model.tasks.one_of import OneOf
from paretina.model.weights import About
from paretina.ship.format import format_named
from paretina.ship.header import Header
from paretina.ship.rival import Rivalry, rivalled
from paretina.ship.steps import in_inference_form
from paretina.ship.whole import Whole
from tiny import tiny_blueprint


@pytest.mark.parametrize(
    ("faster", "recommended", "says"),
    [
        (Interval(1.5, 1.2, 1.8), "int8", "int8 is 1.50 times as fast as bfloat16 here [1.20 to 1.80]"),
        (Interval(0.5, 0.4, 0.6), "bfloat16", "bfloat16 is faster here: ship with --precision bfloat16; int8 has 0.50 times"),
        (Interval(1.1, 0.9, 1.3), "bfloat16", "int8 is not shown to be faster than bfloat16 here, 1.10 times its speed"),
    ],
)
def test_int8_is_recommended_only_where_it_is_shown_to_be_faster(faster, recommended, says):
    found = Rivalry("bfloat16", {"int8_p50_ms": 1.0, "bfloat16_p50_ms": faster.value}, faster)
    assert found.recommended == recommended
    assert found.line().startswith(says)
    assert found.to_dict() == {
        "rival": "bfloat16",
        "timing": found.timing,
        "faster": faster._asdict(),
        "recommended": recommended,
        "says": found.line(),
    }


@pytest.mark.slow
def test_the_same_network_is_timed_in_both(tmp_path):
    format = format_named("openvino")
    format.require()
    torch.manual_seed(0)
    network = tiny_blueprint().build().eval()
    model = network.model
    header = Header(About(tuple("abc")), model.preprocessing, model.resolution, model.channels, "int8")
    whole = Whole(in_inference_form(network)[0], OneOf())
    path = tmp_path / "a.ovz"
    format.write(whole, path, replace(header, precision="float32"))  # stands for the file in int8, which takes a calibration
    found = rivalled(format, whole, header, format.open(path, threads=1), torch.zeros(3, 20, 24, dtype=torch.uint8), 0.2)
    assert set(found.timing) == {f"{name}_{share}_ms" for name in ("int8", "float32", "bfloat16") for share in ("p50", "p95")}
    assert found.timing["int8_p50_ms"] > 0
    assert found.timing[f"{found.rival}_p50_ms"] == min(found.timing["float32_p50_ms"], found.timing["bfloat16_p50_ms"])
    assert found.faster.low <= found.faster.value <= found.faster.high
    assert [each.name for each in tmp_path.iterdir()] == ["a.ovz"]
