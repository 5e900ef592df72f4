"""Every family forward and backward in each precision, against float32 on the CPU; model files on their way between devices."""

import functools
from dataclasses import replace

import pytest
import torch

from paretina.measure.plan import Plan
from paretina.model.family import networks
from paretina.model.weights import About, load_model, save_model

FAMILIES = sorted({network.family for network in networks().values()} - {"bimlp"})
"""Without the binary one: where the last bits of two sums differ, so may their signs, and the answers are others."""
ALLOWED = {"float32": 2e-3, "tf32": 6e-2, "bfloat16": 2e-1, "float16": 5e-2}
"""Largest distance of logits and gradients from those of float32 on the CPU, as a share of their length."""

VARIANCE = {"ghostnet": 4.0, "wave_mlp": 4.0}
"""That norms reckon with where maps of a network with random weights would grow beyond what float16, or a cosine, bears."""


def smallest(family):
    members = [network for network in networks().values() if network.family == family]
    return min(members, key=lambda network: network.params)


def passed(family, plan):
    """Logits, and gradients of all parameters, on the CPU; norms as in evaluation, so that few pictures are enough."""
    torch.manual_seed(0)
    side = 32 if family not in ("levit", "vit", "deit") else 64
    network = replace(smallest(family).blueprint, resolution=side, classes=7).build()
    images = torch.randint(256, (4, 3, side, side), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    for name, buffer in network.named_buffers():
        if name.endswith("running_var"):
            buffer.fill_(VARIANCE.get(family, 1.0))
    plan.place(network.eval())
    with plan.threaded():
        with plan.arithmetic():
            logits = network(images.to(plan.device, memory_format=plan.torch_memory_format)).float()
        (logits[:, 0] - logits[:, 1]).sum().backward()
    gradients = [p.grad.flatten() if p.grad is not None else p.detach().new_zeros(p.numel()) for p in network.parameters()]
    return logits.detach().cpu(), torch.cat(gradients).cpu()


@functools.cache
def wanted(family):
    return passed(family, Plan())


def distance(found, known):
    return ((found - known).norm() / known.norm()).item()


@pytest.mark.parametrize("precision", ["float32", "tf32", "bfloat16", "float16"])
@pytest.mark.parametrize("family", FAMILIES)
def test_a_family_gives_what_it_gives_on_the_cpu(device, family, precision):
    if device == "cpu" and (precision != "bfloat16" or smallest(family).params > 5e6):
        pytest.skip("the CPU rehearses one precision, and families whose smallest network is small")
    plan = Plan(device=device, precision="float32" if precision == "tf32" else precision, tf32=precision == "tf32")
    logits, gradient = passed(family, plan)
    known, known_gradient = wanted(family)
    assert logits.isfinite().all()
    assert gradient.isfinite().all()
    assert distance(logits, known) < ALLOWED[precision]
    assert distance(gradient, known_gradient) < 2 * ALLOWED[precision]


def test_a_model_file_moves_between_devices(device, tiny, tmp_path):
    torch.manual_seed(0)
    network = Plan(device=device).place(tiny.build()).eval()
    images = torch.randint(256, (4, 3, 16, 16), dtype=torch.uint8)
    save_model(tmp_path / "there.safetensors", network, About(("a", "b", "c")))
    back, _ = load_model(tmp_path / "there.safetensors")
    own = {name: tensor.cpu() for name, tensor in network.state_dict().items()}
    assert all(torch.equal(tensor, own[name]) for name, tensor in back.state_dict().items())
    assert {tensor.device.type for tensor in back.state_dict().values()} == {"cpu"}
    save_model(tmp_path / "here.safetensors", back, About(("a", "b", "c")))
    assert (tmp_path / "here.safetensors").read_bytes() == (tmp_path / "there.safetensors").read_bytes()
    again = Plan(device=device).place(load_model(tmp_path / "here.safetensors")[0])
    with torch.inference_mode():
        assert torch.equal(again(images.to(device)), network(images.to(device)))
