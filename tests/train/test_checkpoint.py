import json
import math
import pickle

import pytest
import torch
from safetensors.torch import load_file

from paretina.train.checkpoint import load_state, random_state, save_state, set_random_state


def same(a, b):
    """Equal in value, type and, for tensors, in every bit."""
    if isinstance(a, torch.Tensor):
        return isinstance(b, torch.Tensor) and a.dtype == b.dtype and a.shape == b.shape and torch.equal(a, b)
    if isinstance(a, dict):
        return isinstance(b, dict) and list(a) == list(b) and all(same(a[key], b[key]) for key in a)
    if isinstance(a, list | tuple):
        return isinstance(b, list) and len(a) == len(b) and all(map(same, a, b))
    return type(a) is type(b) and (a == b or (a != a and b != b))


def through(tmp_path, state):
    save_state(tmp_path, state)
    return load_state(tmp_path)


def test_everything_comes_back_as_it_was(tmp_path):
    state = {
        "update": 7,
        "rate": 0.1 + 0.2,
        "tiny": 5e-324,
        "nan": math.nan,
        "inf": -math.inf,
        "none": None,
        "on": True,
        "text": "é\u2028'\"",
        "empty": {},
        "nothing": [],
        "nested": {"a": [1, {"b": torch.arange(3)}, [torch.tensor(1.5)]]},
        "numbered": {0: torch.ones(2), 1: {"step": torch.tensor(3.0)}},
        "bits": torch.tensor([1, 2], dtype=torch.uint8),
        "half": torch.tensor([1.5], dtype=torch.bfloat16),
        "flag": torch.tensor(True),
        "zero": torch.empty(0, 3),
    }
    assert same(state, through(tmp_path, state))


def test_numbers_as_keys_stay_numbers(tmp_path):
    assert list(through(tmp_path, {"state": {0: 1, 10: 2}})["state"]) == [0, 10]


def test_keys_that_look_alike_stay_apart(tmp_path):
    state = {"a": {"b": torch.tensor(1), "0": torch.tensor(2), 0: torch.tensor(3)}, "a/b": torch.tensor(4)}
    assert same(state, through(tmp_path, state))


def test_a_tensor_that_stands_in_two_places_comes_back_in_both(tmp_path):
    shared = torch.arange(6.0)
    state = {"whole": shared, "again": shared, "part": shared[2:4], "turned": shared.view(2, 3).T}
    assert same(state, through(tmp_path, state))


def test_the_layout_in_memory_does_not_matter(tmp_path):
    kernel = torch.randn(4, 3, 2, 2).to(memory_format=torch.channels_last)
    assert torch.equal(through(tmp_path, {"kernel": kernel})["kernel"], kernel)


def test_what_is_saved_needs_no_gradient(tmp_path):
    found = through(tmp_path, {"weight": torch.nn.Parameter(torch.ones(2))})["weight"]
    assert not found.requires_grad


@pytest.mark.parametrize("value", [{1, 2}, object(), 1j])
def test_what_neither_json_nor_tensors_hold_is_refused(tmp_path, value):
    with pytest.raises(TypeError, match=f"a checkpoint cannot hold state/a/b, a {type(value).__name__}"):
        save_state(tmp_path, {"a": {"b": value}})


def test_nothing_is_pickled(tmp_path):
    class Trap:
        def __reduce__(self):
            return (pytest.fail, ("it was executed",))

    save_state(tmp_path, {"a": torch.ones(2), "b": [1, "two"]})
    assert sorted(path.name for path in tmp_path.iterdir()) == ["state.json", "tensors.safetensors"]
    json.loads((tmp_path / "state.json").read_text())
    load_file(tmp_path / "tensors.safetensors")
    for name in ("state.json", "tensors.safetensors"):
        whole = (tmp_path / name).read_bytes()
        (tmp_path / name).write_bytes(pickle.dumps(Trap()))
        with pytest.raises(ValueError, match="cannot be read"):
            load_state(tmp_path)
        (tmp_path / name).write_bytes(whole)


@pytest.mark.parametrize("name", ["state.json", "tensors.safetensors"])
@pytest.mark.parametrize("share", [0.0, 0.3, 0.9])
def test_a_state_that_was_cut_short_says_where_it_is(tmp_path, name, share):
    save_state(tmp_path, {"a": torch.ones(2), "b": 3})
    whole = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(ValueError, match=f"the state in .*{tmp_path.name} cannot be read"):
        load_state(tmp_path)


def test_a_missing_file_says_so(tmp_path):
    with pytest.raises(ValueError, match="cannot be read"):
        load_state(tmp_path)


def test_the_state_of_an_optimizer_comes_back(tmp_path):
    def made():
        weights = [torch.nn.Parameter(torch.arange(3.0)), torch.nn.Parameter(torch.ones(2, 2))]
        return weights, torch.optim.AdamW([{"params": weights[:1]}, {"params": weights[1:], "weight_decay": 0.3}], lr=0.1)

    def step(weights, optimizer):
        sum((weight**2).sum() for weight in weights).backward()
        optimizer.step()
        optimizer.zero_grad()

    weights, optimizer = made()
    step(weights, optimizer)
    found = through(tmp_path, {"optimizer": optimizer.state_dict(), "weights": [weight.detach() for weight in weights]})
    others, other = made()
    for weight, value in zip(others, found["weights"], strict=True):
        weight.data.copy_(value)
    other.load_state_dict(found["optimizer"])
    for pair in ((weights, optimizer), (others, other)):
        step(*pair)
    assert all(torch.equal(one, two) for one, two in zip(weights, others, strict=True))


def test_the_generator_goes_on_where_it_was(tmp_path):
    torch.manual_seed(3)
    torch.rand(5)
    save_state(tmp_path, {"random": [random_state("cpu")]})
    wanted = torch.rand(4)
    torch.manual_seed(99)
    set_random_state(load_state(tmp_path)["random"][0], "cpu")
    assert torch.equal(torch.rand(4), wanted)
