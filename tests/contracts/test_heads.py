"""What every head must satisfy; `test_networks.py` has what holds for all parts of a network."""

import pytest
import torch

from paretina.model.blueprint import MapShape, any_kit
from paretina.model.layers import Dropout
from paretina.spec import modules_in

EXAMPLES = [example for module in modules_in("paretina.model.heads") for example in getattr(module, "EXAMPLES", ())]
every_head = pytest.mark.parametrize("head", EXAMPLES, ids=repr)
SIDE = 32
SHAPES = (MapShape(8, (16, 16), 2), MapShape(8, (8, 8), 4), MapShape(16, (4, 4), 8))


def made(head, classes=5):
    torch.manual_seed(0)
    return head.make(SHAPES, classes, any_kit(size=4)).eval()


def maps(size=1):
    generator = torch.Generator().manual_seed(0)
    return [torch.rand(2, shape.width, *(size * side for side in shape.size), generator=generator) for shape in SHAPES]


def answers(classes, size=1):
    """The shapes that logits may have: for each picture, for each of its pixels, or for as many boxes as there is room for."""
    rooms = {head.most for head in EXAMPLES if head.BOXES}
    return (2, classes), (2, classes, size * SIDE, size * SIDE), *((2, classes, room, 5) for room in sorted(rooms))


@every_head
@pytest.mark.parametrize("classes", [1, 5])
def test_gives_a_logit_for_each_class(head, classes):
    assert made(head, classes)(maps(), {}).shape in answers(classes)


@every_head
def test_takes_maps_of_other_sizes(head):
    whole, larger = made(head)(maps(), {}).shape, made(head)(maps(size=3), {}).shape
    assert larger == dict(zip(answers(5), answers(5, size=3), strict=True))[whole]


@every_head
def test_classifies_its_embedding(head):
    module = made(head)
    torch.testing.assert_close(module.classifier(module.embedding(maps(), {})), module(maps(), {}))


@every_head
def test_drops_between_its_embedding_and_its_classifier(head):
    module = made(head).train()
    for each in module.modules():
        if isinstance(each, Dropout):
            each.set(0.5)
    torch.manual_seed(1)
    whole = module(maps(), {})
    torch.manual_seed(1)
    assert torch.equal(module.classifier(module.dropout(module.embedding(maps(), {}))), whole)


@every_head
def test_leaves_the_maps_as_they_are(head):
    given, kept = maps(), maps()
    with torch.no_grad():
        made(head)(given, {})
    assert all(torch.equal(a, b) for a, b in zip(given, kept, strict=True))


@every_head
def test_widths_follow_the_rounding(head):
    assert head.widened(lambda width: width) == head
    assert made(head.widened(lambda width: 2 * width))(maps(), {}).shape in answers(5)
