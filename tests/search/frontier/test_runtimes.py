import importlib.util

import pytest

from paretina.measure.statistics import Interval
from paretina.search.frontier import runtimes
from paretina.search.frontier.costs import Budget
from paretina.search.frontier.runtimes import RUNTIMES, check_runtimes, chosen_runtime, runtimes_of
from paretina.ship.format import formats
from paretina.ship.opening import RUNTIMES as OF_FORMATS


def test_a_list_of_runtimes_is_read():
    assert runtimes_of("eager") == ("eager",)
    assert runtimes_of(" openvino, eager,") == ("openvino", "eager")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("eager,opnvino", "there is no runtime 'opnvino'; did you mean 'openvino'"),
        ("onnx", "did you mean 'onnxruntime'"),
        ("tensorrt", "known: compiled, eager, onnxruntime, openvino"),
        ("eager,eager", "names eager twice"),
        (" , ", "names no runtime"),
    ],
)
def test_a_wrong_list_is_explained(text, message):
    with pytest.raises(ValueError, match=message):
        runtimes_of(text)


def test_runtimes_have_the_names_that_plans_give_them():
    assert all(OF_FORMATS[each.format] == name for name, each in RUNTIMES.items() if each.format)
    assert {each.format for each in RUNTIMES.values() if each.format} <= set(formats())


@pytest.mark.parametrize(("name", "extra"), [("onnxruntime", "onnx"), ("openvino", "openvino")])
def test_what_is_not_installed_is_named_with_its_extra(monkeypatch, name, extra):
    check_runtimes(("eager", name), "cpu")
    monkeypatch.setattr(importlib.util, "find_spec", lambda module: None)
    with pytest.raises(ValueError, match=rf"the runtime {name} cannot be used: .*pip install 'paretina\[{extra}\]'"):
        check_runtimes(("eager", name), "cpu")
    check_runtimes(("eager",), "cpu")


def test_shipped_files_run_on_cpus_only():
    with pytest.raises(ValueError, match=r"the runtime openvino executes shipped files on the CPU.* on cuda:0"):
        check_runtimes(("eager", "openvino"), "cuda:0")
    check_runtimes(("eager", "compiled"), "cuda:0")


def test_compiling_needs_a_compiler(monkeypatch):
    monkeypatch.setattr(runtimes.shutil, "which", lambda name: None)
    monkeypatch.delenv("CXX", raising=False)
    with pytest.raises(ValueError, match=r"needs a C\+\+ compiler .* there is no g\+\+"):
        check_runtimes(("compiled",), "cpu")


def exact(**costs):
    return {name: Interval(value, value, value) for name, value in costs.items()}


TIMED = {
    "eager": exact(latency_ms=4.0, throughput=900.0, peak_mb=10.0),
    "openvino": exact(latency_ms=2.0, throughput=500.0, peak_mb=30.0),
    "onnxruntime": exact(latency_ms=2.0, throughput=600.0),
}


def test_the_runtime_is_the_best_in_the_cost_of_the_front():
    assert chosen_runtime(TIMED, "latency_ms") == "openvino"  # the first of equal ones
    assert chosen_runtime(TIMED, "throughput") == "eager"
    assert chosen_runtime(TIMED, "macs") == "openvino"
    assert chosen_runtime(TIMED, "peak_mb") == "eager"  # unknown for onnxruntime
    assert chosen_runtime({}, "latency_ms") == ""


def test_runtimes_within_the_budgets_come_first():
    assert chosen_runtime(TIMED, "latency_ms", [Budget("peak_mb", 20.0)]) == "eager"
    assert chosen_runtime(TIMED, "latency_ms", [Budget("throughput", 550.0)]) == "onnxruntime"
    assert chosen_runtime(TIMED, "throughput", [Budget("latency_ms", 3.0)]) == "onnxruntime"
    assert chosen_runtime(TIMED, "latency_ms", [Budget("peak_mb", 1.0)]) == "openvino"  # none keeps it
    assert chosen_runtime(TIMED, "latency_ms", [Budget("macs", 1.0)]) == "openvino"  # the same in every runtime
