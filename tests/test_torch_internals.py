"""What a new torch may take away: the names in torch_internals, and that nothing else in the package has such names."""

import ast
from pathlib import Path

import pytest
import torch
from torch import nn

import paretina
from paretina import torch_internals
from paretina.torch_internals import (
    TorchDispatchMode,
    allow_shapes,
    foreach_add,
    foreach_addcdiv_,
    foreach_addcmul_,
    foreach_lerp_,
    foreach_mul_,
    foreach_sqrt_,
    foreach_sub_,
    is_compiled,
    overflow_of,
    tree_leaves,
)

ROOT = Path(paretina.__file__).parent


def test_a_list_of_tensors_is_reckoned_with_as_each_of_them():
    a, b = (torch.tensor([4.0, 9.0]), torch.tensor([[16.0]])), (torch.tensor([1.0, 2.0]), torch.tensor([[3.0]]))

    def after(operation, *given, **more):
        changed = [each.clone() for each in a]
        operation(changed, *given, **more)
        return [each.flatten().tolist() for each in changed]

    assert [each.tolist() for each in foreach_add(a, b, alpha=2.0)] == [[6.0, 13.0], [[22.0]]]
    assert [each.tolist() for each in foreach_add(a, 1.0)] == [[5.0, 10.0], [[17.0]]]
    assert after(foreach_sub_, b) == [[3.0, 7.0], [13.0]]
    assert after(foreach_mul_, 0.5) == after(foreach_mul_, torch.tensor(0.5)) == [[2.0, 4.5], [8.0]]
    assert after(foreach_sqrt_) == [[2.0, 3.0], [4.0]]
    assert after(foreach_lerp_, b, 0.5) == [[2.5, 5.5], [9.5]]
    assert after(foreach_addcmul_, b, b, value=2.0) == [[6.0, 17.0], [34.0]]
    assert after(foreach_addcdiv_, b, b, value=2.0) == [[6.0, 11.0], [18.0]]


def test_a_mode_sees_every_operator_with_its_name_and_tags():
    seen = []

    class Seen(TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            seen.append((func.name(), func.overloadpacket, func.is_view, torch.Tag.pointwise in func.tags))
            return func(*args, **(kwargs or {}))

    with Seen():
        torch.ones(2, 3).t() + 1.0
    aten = torch.ops.aten
    assert seen[-2:] == [("aten::t", aten.t, True, False), ("aten::add.Tensor", aten.add, False, True)]


def test_leaves_of_nested_values():
    assert tree_leaves(({"a": [1, (2, 3)]}, 4, None)) == [1, 2, 3, 4, None]


def test_a_module_is_compiled_only_after_it_was_asked_to():
    module = nn.Linear(2, 2)
    assert not is_compiled(module)
    module.compile(backend="eager")
    assert is_compiled(module)


def test_more_shapes_can_be_compiled_than_torch_allows():
    from torch._dynamo import config

    before = config.recompile_limit
    try:
        allow_shapes(before - 1)
        assert config.recompile_limit == before
        allow_shapes(before + 3)
        assert config.recompile_limit == before + 3
    finally:
        config.recompile_limit = before


def test_overflow_is_known_of_all_gradients_together():
    for gradient, found in ((1.0, 0.0), (float("inf"), 1.0)):
        weight = nn.Parameter(torch.ones(2))
        optimizer = torch.optim.SGD([weight], lr=0.1)
        scaler = torch.amp.GradScaler("cpu")
        scaler.scale((weight * gradient).sum()).backward()
        scaler.unscale_(optimizer)
        assert overflow_of(scaler, optimizer).item() == found


def test_every_name_of_the_file_is_used():
    sources = [path.read_text() for path in ROOT.rglob("*.py") if path.name != "torch_internals.py"]
    assert not [name for name in torch_internals.__all__ if not any(name in source for source in sources)]


# --- nowhere else -------------------------------------------------------------------------------------------------------


def hidden(name):
    return name.startswith("_") and not name.endswith("__")


def hidden_names(source):
    """Attributes and modules with a leading underscore that are not the file's own."""
    nodes = list(ast.walk(ast.parse(source)))
    own = {node.name for node in nodes if isinstance(node, ast.ClassDef | ast.FunctionDef)}
    for node in nodes:
        if isinstance(node, ast.ImportFrom):
            places = [*(node.module or "").split("."), *(name.name for name in node.names)]
            yield from (place for place in places if hidden(place))
        elif isinstance(node, ast.Import):
            yield from (place for name in node.names for place in name.name.split(".") if hidden(place))
        elif isinstance(node, ast.Attribute) and hidden(node.attr) and node.attr not in own | NAMED_TUPLE:
            yield node.attr


NAMED_TUPLE = {"_asdict", "_fields", "_replace"}
"""Documented, in spite of the underscore."""


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("from torch._dynamo import x", ["_dynamo"]),
        ("from torchvision.models._meta import _IMAGENET_CATEGORIES", ["_meta", "_IMAGENET_CATEGORIES"]),
        ("import torch.utils._pytree", ["_pytree"]),
        ("import torch\ntorch.nn.modules.batchnorm._BatchNorm", ["_BatchNorm"]),
        ("module._compiled_call_impl", ["_compiled_call_impl"]),
        ("class A:\n  def _own(self): return self._own().__class__, pair._asdict()", []),
    ],
)
def test_hidden_names_are_found(source, found):
    assert list(hidden_names(source)) == found


@pytest.mark.parametrize("path", sorted(ROOT.rglob("*.py")), ids=lambda path: str(path.relative_to(ROOT)))
def test_no_other_file_uses_hidden_names(path):
    if path.name == "torch_internals.py":
        assert list(hidden_names(path.read_text()))
    else:
        assert not list(hidden_names(path.read_text()))
