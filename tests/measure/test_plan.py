import re

import pytest
import torch

from paretina.measure import plan as module
from paretina.measure.plan import InferencePlan, Plan, default_plan, machine
from paretina.model.layers import Convolution
from paretina.spec import put
from tiny import row, tiny_blueprint

BLUEPRINT = tiny_blueprint(row(1, 8, 1, kernel=5), row(2, 8, 2))
IMAGES = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))


SLOW = {"stages.0.0.body.spatial.conv", "stages.1.0.spatial.conv"}
"""A large kernel, and a strided one that has no residual around it; the last block has a small one with stride 1."""


def network():
    torch.manual_seed(0)
    return BLUEPRINT.build().eval()


# --- placing ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "last"), [("channels_last", True), ("contiguous", False)])
def test_kernels_lie_in_memory_as_the_plan_says(name, last):
    weight = Plan(memory_format=name).place(network()).stages[0][0].body.expand.conv.weight
    assert weight.is_contiguous(memory_format=torch.channels_last) or not last
    kernel = Plan(memory_format=name).place(network()).stem.conv.weight
    assert kernel.is_contiguous(memory_format=torch.channels_last) == last
    assert kernel.is_contiguous() != last


def test_placing_changes_no_answer():
    with torch.no_grad():
        wanted = network()(IMAGES)
        for name in ("channels_last", "contiguous"):
            torch.testing.assert_close(Plan(memory_format=name).place(network())(IMAGES), wanted)


def test_depthwise_layers_that_are_slow_stay_in_float32_where_the_plan_says_so():
    placed = Plan(precision="bfloat16", depthwise="float32").place(network())
    layers = {name: layer for name, layer in placed.named_modules() if isinstance(layer, Convolution)}
    assert {name for name, layer in layers.items() if layer.float32} == SLOW
    assert len([layer for layer in layers.values() if layer.depthwise]) == 3
    Plan().place(placed)
    assert not any(layer.float32 for layer in layers.values())


# --- arithmetic -------------------------------------------------------------------------------------------------------


def kinds_of_numbers(plan):
    """The precision that each convolution of the network computes in."""
    placed, seen = plan.place(network()), {}
    for name, layer in placed.named_modules():
        if isinstance(layer, Convolution):
            layer.register_forward_hook(lambda _, __, out, name=name: seen.update({name: out.dtype}))
    with torch.no_grad(), plan.arithmetic():
        placed(IMAGES)
    return seen


def test_arithmetic_has_the_precision_of_the_plan():
    assert set(kinds_of_numbers(Plan()).values()) == {torch.float32}
    assert set(kinds_of_numbers(Plan(precision="bfloat16")).values()) == {torch.bfloat16}
    mixed = kinds_of_numbers(Plan(precision="bfloat16", depthwise="float32"))
    assert {name for name, dtype in mixed.items() if dtype == torch.float32} == SLOW


def test_weights_stay_in_float32():
    plan = Plan(precision="bfloat16")
    placed = plan.place(network()).train()
    with plan.arithmetic():
        placed(IMAGES).sum().backward()
    assert {parameter.dtype for parameter in placed.parameters()} == {torch.float32}
    assert {parameter.grad.dtype for parameter in placed.parameters()} == {torch.float32}


def test_arithmetic_ends_where_it_ends():
    with Plan(precision="bfloat16").arithmetic():
        assert torch.is_autocast_enabled("cpu")
    assert not torch.is_autocast_enabled("cpu")
    with Plan().arithmetic():
        assert not torch.is_autocast_enabled("cpu")


# --- choosing ---------------------------------------------------------------------------------------------------------


def test_there_is_always_a_plan():
    plan = default_plan()
    assert plan == default_plan("auto")
    assert default_plan("cpu").device == "cpu"


@pytest.mark.parametrize(
    ("flags", "wanted"),
    [
        ({"avx2", "fma"}, Plan()),
        ({"avx512f", "avx512_bf16"}, Plan(precision="bfloat16", depthwise="float32")),
        ({"amx_bf16", "amx_tile"}, Plan(precision="bfloat16", depthwise="float32")),
        (set(), Plan()),
    ],
)
def test_a_cpu_computes_in_bfloat16_where_it_multiplies_it(monkeypatch, flags, wanted):
    monkeypatch.setattr(module, "cpu_flags", lambda: frozenset(flags))
    assert default_plan("cpu") == wanted


@pytest.mark.parametrize(("capability", "precision"), [((7, 5), "float32"), ((8, 0), "bfloat16"), ((9, 0), "bfloat16")])
def test_a_gpu_computes_in_what_it_has(monkeypatch, capability, precision):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    assert default_plan("auto") == Plan(device="cuda", precision=precision, tf32=precision == "bfloat16")
    assert default_plan("cuda:1") == Plan(device="cuda:1", precision=precision, tf32=precision == "bfloat16")


@pytest.mark.parametrize(
    ("device", "hint"),
    [
        ("cuda", "available: cpu"),
        ("cuda:0", "available: cpu"),
        ("mps", "available: cpu"),
        ("tpu", "did you mean 'cpu'?"),
        ("", "known: cpu, cuda, mps"),
    ],
)
def test_a_device_that_is_not_there_is_refused(monkeypatch, device, hint):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    with pytest.raises(ValueError, match=re.escape(f"there is no device '{device}' on this machine; {hint}")):
        default_plan(device)


@pytest.mark.parametrize(
    ("device", "cores", "ranks", "workers"),
    [
        ("cpu", 1, 1, 0),
        ("cpu", 2, 1, 1),
        ("cpu", 2, 2, 0),
        ("cpu", 16, 1, 4),
        ("cuda", 16, 1, 8),
        ("cuda", 16, 4, 4),
        ("mps", 4, 1, 4),
    ],
)
def test_workers_leave_room_for_what_trains(monkeypatch, device, cores, ranks, workers):
    monkeypatch.setattr(module, "cores", lambda: cores)
    assert Plan(device=device).worker_count(ranks) == workers


@pytest.mark.parametrize(("device", "cores", "workers"), [("cpu", 2, 0), ("cpu", 4, 2), ("cuda", 2, 2)])
def test_pictures_in_memory_need_no_workers_on_two_cores(monkeypatch, device, cores, workers):
    monkeypatch.setattr(module, "cores", lambda: cores)
    assert Plan(device=device).worker_count(kept=True) == workers


@pytest.mark.parametrize("asked", [0, 3])
def test_the_number_of_workers_that_is_asked_for_is_taken(asked):
    assert Plan(workers=asked).worker_count(8) == asked
    assert Plan(workers=asked).worker_count(2, kept=True) == asked


def test_the_kind_of_a_device_is_told_from_its_number():
    assert [Plan(device=device).device_type for device in ("cpu", "cuda", "cuda:1", "mps")] == ["cpu", "cuda", "cuda", "mps"]


def test_a_machine_is_described_for_whoever_reads_a_result():
    found = machine()
    assert found["torch"] == torch.__version__
    assert found["threads"] == torch.get_num_threads()
    assert found["cores"] >= 1
    assert found["cpu"]


# --- more than training has -----------------------------------------------------------------------------------------------


def test_grouped_layers_stay_in_float32_where_the_plan_says_so():
    layers = {
        "dense": Convolution(8, 8, 3, 1, 1, bias=False),
        "grouped": Convolution(8, 8, 3, 1, 2, bias=False),
        "depthwise": Convolution(8, 8, 3, 2, 8, bias=False),
    }
    Plan(precision="bfloat16", grouped="float32").place(torch.nn.ModuleDict(layers))
    assert {name for name, layer in layers.items() if layer.float32} == {"grouped"}
    Plan(precision="bfloat16", grouped="float32", depthwise="float32").place(torch.nn.ModuleDict(layers))
    assert {name for name, layer in layers.items() if layer.float32} == {"grouped", "depthwise"}


def test_threads_are_those_of_the_plan_and_are_put_back():
    before = torch.get_num_threads()
    with Plan(threads=before + 1).threaded():
        assert torch.get_num_threads() == before + 1
    assert torch.get_num_threads() == before
    with Plan().threaded():
        assert torch.get_num_threads() == before


def test_a_plan_of_either_kind_is_read_back_as_what_it_is():
    for plan in (Plan(threads=2, grouped="float32"), InferencePlan(fold=True, weights="same", precision="bfloat16", batch=8)):
        read = Plan.from_json(plan.to_json())
        assert type(read) is type(plan)
        assert read == plan


def test_plans_written_before_there_were_grouped_layers_mean_the_same():
    assert Plan.from_json('{"kind": "Plan", "precision": "bfloat16"}') == Plan(precision="bfloat16", grouped="same")


def test_training_has_no_field_for_what_only_inference_has():
    with pytest.raises(ValueError, match="Plan has no field 'fold'"):
        put(Plan(), "fold", "on")


def test_what_has_no_meaning_is_refused():
    with pytest.raises(ValueError, match=r"Plan.threads must be at least 1, got 0"):
        Plan(threads=0)
    with pytest.raises(ValueError, match=r"InferencePlan.batch must be at least 1, got 0"):
        InferencePlan(batch=0)
    with pytest.raises(ValueError, match="layers that compute in float32 need weights in float32"):
        InferencePlan(precision="bfloat16", weights="same", depthwise="float32")


def test_graphs_need_a_compiled_network_on_a_gpu():
    with pytest.raises(ValueError, match=r"needs compile=true and a CUDA device, got compile=true and device=cpu"):
        Plan(compile=True, graphs=True)
    with pytest.raises(ValueError, match="got compile=false and device=cuda"):
        Plan(device="cuda", graphs=True)


def test_shapes_are_compiled_each_for_itself():
    assert Plan(compile=True).compiling() == {"dynamic": False}
    assert Plan(device="cuda", compile=True, graphs=True).compiling() == {"dynamic": False, "mode": "reduce-overhead"}


@pytest.mark.parametrize("tf32", [True, False])
def test_tf32_is_set_while_a_plan_runs_and_put_back(tf32):
    def now():
        return torch.backends.cuda.matmul.fp32_precision, torch.backends.cudnn.conv.fp32_precision

    before = now()
    with Plan(device="cuda", tf32=tf32).threaded():
        assert now() == (("tf32", "tf32") if tf32 else ("ieee", "ieee"))
    assert now() == before
    with Plan(tf32=tf32).threaded():
        assert now() == before
