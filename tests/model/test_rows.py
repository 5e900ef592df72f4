import unicodedata
from dataclasses import replace

import pytest
import torch
from torch import nn

from paretina.model.heads.pool import PoolHead
from paretina.model.interop import IMAGENET
from paretina.model.rows import class_tensors, match_rows
from paretina.model.weights import Start, load_start
from paretina.spec import modules_in
from tiny import tiny_blueprint

TINY = tiny_blueprint()
HEADS = [example for module in modules_in("paretina.model.heads") for example in getattr(module, "EXAMPLES", ())]
every_head = pytest.mark.parametrize("head", HEADS, ids=repr)


def built(blueprint, seed):
    torch.manual_seed(seed)
    network = blueprint.build()
    for tensor in network.state_dict().values():  # also those that are built with the same values in all networks
        if tensor.is_floating_point():
            tensor.uniform_(0.5, 1.5)
    return network


def started(network, classes):
    return Start(network.blueprint, network.state_dict(), "", "", "", tuple(classes))


# --- which tensors --------------------------------------------------------------------------------------------------------


@every_head
@pytest.mark.parametrize("classes", [2, 3, 8, 16])  # 8 is a width of the network too
def test_what_has_a_row_for_each_class_is_found_in_any_head(head, classes):
    network = replace(TINY, head=head, classes=classes).build("meta")
    if head.BOXES:  # whose layers for classes are their own
        found, more = (replace(TINY, head=head, classes=n).build("meta").state_dict() for n in (classes, classes + 1))
        assert class_tensors(network.blueprint) == {name: True for name in found if found[name].shape != more[name].shape}
        return
    linear = [name for name, module in network.head.named_modules() if isinstance(module, nn.Linear)]
    if head.DENSE:  # among its convolutions only the last one
        linear = ["classifier.conv"]
    wanted = {f"head.{name}.{field}" for name in linear for field in ("weight", "bias")}
    assert class_tensors(network.blueprint) == dict.fromkeys(wanted, True)


# --- by name --------------------------------------------------------------------------------------------------------------


def taken(old, new, dictionary=()):
    return match_rows(old, new, dictionary).taken


@pytest.mark.parametrize(
    ("old", "new", "wanted"),
    [
        (("bear", "cat", "zebra"), ("apple", "bear", "cat"), (None, 0, 1)),
        (("bear", "cat", "zebra"), ("bear", "cat", "zebra"), (0, 1, 2)),
        (("bear", "cat", "zebra"), ("zebra", "cat", "bear"), (2, 1, 0)),
        (("bear", "cat", "zebra"), ("Bär", "Katze", "Zebra"), (None, None, None)),
        (("bear", "cat", "zebra"), ("cat",), (1,)),
        (("cat",), ("bear", "cat", "zebra"), (None, 0, None)),
        (("a", "a", "b"), ("a", "b"), (None, 2)),  # which of the two is not known
        (("a", "b"), ("a", "a", "b"), (None, None, 1)),
        (("a", "a", "b"), ("a", "a", "b"), (0, 1, 2)),
    ],
)
def test_rows_are_matched_by_name(old, new, wanted):
    assert taken(old, new) == wanted


def test_the_same_letters_may_be_spelled_in_two_ways():
    names = ["blåbär", "größe", "한글"]
    decomposed = [unicodedata.normalize("NFD", name) for name in names]
    assert decomposed != names
    assert match_rows(decomposed, names).same
    assert taken(decomposed, names[::-1]) == (2, 1, 0)


def test_words_of_imagenet_count_only_all_together():
    assert taken(IMAGENET, ("crane", "goose"), IMAGENET) == (None, None)
    assert taken(IMAGENET, IMAGENET[::-1], IMAGENET) == tuple(range(1000))[::-1]
    assert taken(("crane", "goose"), ("goose", "heron"), IMAGENET) == (1, None)  # names that somebody gave to these two


def test_what_is_taken_over_is_said():
    animals = ("bear", "cat", "zebra")
    same = "the last layer keeps the rows of all 3 classes, which the weights know by name"
    assert match_rows(animals, animals).said() == same
    assert match_rows(animals, ("apple", "bear", "cat")).said() == (
        "the last layer keeps the rows of the 2 classes (bear, cat) that the weights know by name; 1 class (apple) starts anew"
    )
    assert match_rows(animals, ("x", "y")).said() == "the last layer is new: the weights know none of the 2 classes by name"
    many = tuple(map(str, range(20)))
    assert match_rows(many, (*many[:10], *"abcdef")).said() == (
        "the last layer keeps the rows of the 10 classes that the weights know by name; 6 classes start anew"
    )
    said = match_rows(IMAGENET, ("crane", "goose"), IMAGENET).said()
    assert said.startswith("the last layer is new for all 2 classes: the weights know those of ImageNet")
    assert "none of the 2 classes" in match_rows(IMAGENET, ("x", "y"), IMAGENET).said()


# --- into a network -------------------------------------------------------------------------------------------------------


@every_head
@pytest.mark.parametrize("new", [("apple", "bear", "cat"), ("zebra", "cat", "bear"), ("cat",), tuple("xyz"), tuple("vwxyz")])
def test_each_class_gets_its_own_row_of_weight_and_bias(head, new):
    known = ("bear", "cat", "zebra")
    old = built(replace(TINY, head=head), 0)
    network = built(replace(TINY, head=head, classes=len(new)), 1)
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    load_start(network, started(old, known), new)
    rows = class_tensors(network.blueprint)
    for name, tensor in network.state_dict().items():
        if name not in rows:
            assert torch.equal(tensor, old.state_dict()[name]) or name.endswith("num_batches_tracked")
            continue
        for number, each in enumerate(new):
            wanted = old.state_dict()[name][known.index(each)] if each in known else before[name][number]
            assert torch.equal(tensor[number], wanted), (name, each)


def test_another_width_before_the_last_layer_is_refused_whatever_the_classes():
    wide = built(replace(TINY, head=PoolHead(width=32)), 0)
    wider = built(replace(TINY, head=PoolHead(width=48), classes=2), 1)
    with pytest.raises(ValueError, match=r"the weights do not fit the network: head\.unit"):
        load_start(wider, started(wide, "abc"), "ab")
