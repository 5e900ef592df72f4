"""The heads that find boxes: what they make of torchvision's detectors."""

from dataclasses import replace

import pytest
import torch
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.image_list import ImageList

from paretina.model.detection import Anchors, SmallConv, objects_in
from paretina.model.heads.faster_rcnn import FasterHead
from paretina.model.heads.fcos import FcosHead
from paretina.model.heads.retina import RetinaHead
from paretina.model.tasks.any_of import ABSENT
from paretina.model.tasks.boxes import IGNORED, Boxes
from tiny import row, tiny_blueprint

HEADS = [
    FcosHead(width=32, finest=4, most=20),
    RetinaHead(width=16, finest=4, most=20, anchor=2.0),
    FasterHead(width=16, finest=4, most=20, hidden=32, anchor=2.0),
]
every_head = pytest.mark.parametrize("head", HEADS, ids=lambda head: type(head).__name__)
BASE = tiny_blueprint(row(1, 16, 2), row(1, 16, 2), resolution=32, classes=2)


def built(head, **fields):
    torch.manual_seed(0)
    return replace(BASE, head=head, **fields).build()


def losses(network, given, images=None):
    torch.manual_seed(1)
    images = torch.rand(len(given), 3, 32, 32) if images is None else images
    return network.head.losses(network(images, extras=True)[1]["embedding"], Boxes().targets(given, 2))


ONE = torch.tensor([[0.2, 0.3, 0.7, 0.9, 1, 1]])
NONE = torch.zeros(0, 6)
UNKNOWN = torch.tensor([[0.0, 0, 0, 0, -1, 0]])
HIDDEN = torch.tensor([[0.2, 0.3, 0.7, 0.9, 1, 0]])


@every_head
def test_it_learns_where_an_object_is(head):
    network = built(head).train()
    picture = torch.full((4, 3, 32, 32), 0.5)
    picture[:, :, 8:24, 8:20] = 1.0
    boxes = [torch.tensor([[0.25, 0.25, 0.625, 0.75, 1, 1]])] * 4
    optimizer = torch.optim.AdamW(network.parameters(), lr=5e-3)
    for _ in range(120 if isinstance(head, FasterHead) else 60):
        optimizer.zero_grad()
        sum(losses(network, boxes, picture).values()).backward()
        optimizer.step()
    with torch.no_grad():
        best = Boxes().answer(network.eval()(picture[:1]))[0, 0]
    assert best[5] == 1
    assert best[4] > 0.3
    assert float((best[:4] - boxes[0][0, :4]).abs().max()) < 0.12


@every_head
def test_answers_are_the_best_boxes_first_and_have_one_class_each(head):
    network = built(replace(head, least=0.0)).eval()
    with torch.no_grad():
        answers = network(torch.rand(3, 3, 32, 32))
    assert answers.shape == (3, 2, 20, 5)
    scores = answers[..., 4].amax(1)
    assert bool((scores.diff(dim=1) <= 0).all())
    assert bool(((answers >= 0) & (answers <= 1)).all())
    assert bool((answers[..., 4] > 0).sum(1).le(1).all())


@every_head
def test_training_mode_finds_nothing_and_costs_nothing(head):
    assert built(head).train()(torch.rand(2, 3, 32, 32)).shape == (2, 2, 0, 5)


@every_head
def test_a_picture_without_a_label_has_no_weight(head):
    network, images = built(head).eval(), torch.rand(2, 3, 32, 32)  # whose norms do not see the batch
    with torch.no_grad():
        alone, beside = losses(network, [ONE], images[:1]), losses(network, [ONE, UNKNOWN], images)
    assert alone.keys() == beside.keys()
    for name in alone:
        torch.testing.assert_close(alone[name], beside[name], atol=1e-4, rtol=1e-4)


@every_head
def test_a_picture_without_objects_teaches_that_there_are_none(head):
    network = built(head).train()
    found = losses(network, [NONE, NONE])
    assert all(loss.isfinite() for loss in found.values())
    assert float(sum(found.values()).detach()) > 0
    unlabelled = losses(network, [UNKNOWN, UNKNOWN])
    assert float(sum(unlabelled.values()).detach()) == 0


def test_regions_to_ignore_and_boxes_without_a_size_are_no_objects():
    flat = torch.tensor([[0.2, 0.3, 0.2, 0.9, 0, 1]])
    targets = Boxes().targets([torch.cat((ONE, HIDDEN, flat)), NONE], 2)
    first, second = objects_in(targets, (40, 80), first=1)
    torch.testing.assert_close(first["boxes"], torch.tensor([[16.0, 12.0, 56.0, 36.0]]))
    assert first["labels"].tolist() == [2]
    assert second["boxes"].shape == (0, 4)
    assert targets[0, 1, 1, 4] == IGNORED
    assert targets[1, :, 0, 4].tolist() == pytest.approx([ABSENT] * 2)


def test_a_picture_with_too_many_objects_is_refused():
    with pytest.raises(ValueError, match=r"a picture has 3 objects, and Boxes\.most is 2; raise it"):
        Boxes(most=2).targets([ONE.expand(3, -1)], 2)
    with pytest.raises(ValueError, match=r"class numbers lie in 0 to 0"):
        Boxes().targets([ONE], 1)
    with pytest.raises(ValueError, match=r"boxes are shares of a picture, 0 to 1, got -0\.1"):
        Boxes().targets([ONE - torch.tensor([0.3, 0, 0, 0, 0, 0])], 2)


def test_anchors_are_those_of_torchvision_where_the_sizes_fit():
    maps = [torch.zeros(2, 4, side, side) for side in (12, 6)]
    images = ImageList(torch.zeros(2, 3, 96, 96), [(96, 96)] * 2)
    theirs = AnchorGenerator(((32,), (64,)), ((0.5, 1.0, 2.0),) * 2)(images, maps)
    ours = Anchors([8, 16], [(32,), (64,)], (0.5, 1.0, 2.0))(images, maps)
    assert all(torch.equal(a, b.float()) for a, b in zip(ours, theirs, strict=True))
    # 100 pixels: torchvision would take a stride of 7
    wide = Anchors([8], [(8,)], (1.0,))(ImageList(torch.zeros(1, 3, 100, 100), [(100, 100)]), [torch.zeros(1, 4, 13, 13)])
    assert float(wide[0][-1, 0]) == 12 * 8 - 4


def test_a_small_convolution_is_that_of_torch_in_the_order_of_anchors():
    torch.manual_seed(0)
    like = torch.nn.Conv2d(4, 6, 3, padding=1)  # two anchors, three classes
    small = SmallConv(like, 0.01, classes=3)
    with torch.no_grad():
        small.weight.copy_(like.weight.unflatten(0, (2, 3)).transpose(0, 1).flatten(1, 2))
        small.bias.copy_(like.bias.unflatten(0, (2, 3)).t())
    x = torch.rand(2, 4, 5, 5)
    torch.testing.assert_close(small(x), like(x))
    assert torch.sigmoid(SmallConv(like, 0.01).bias).tolist() == pytest.approx([0.01] * 6)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: FcosHead(width=40), "FcosHead.width is a multiple of 32"),
        (lambda: RetinaHead(anchor=0), "RetinaHead.anchor is a multiple of the stride, above 0"),
        (lambda: FasterHead(proposals=0), "FasterHead.proposals must be at least 1"),
        (lambda: FcosHead(least=1.0), r"FcosHead.least is a score in \[0, 1\)"),
        (lambda: FcosHead(overlap=0.0), "FcosHead.overlap is an intersection over union"),
        (lambda: built(FcosHead(finest=16)), "FcosHead.finest=16 leaves no map"),
    ],
)
def test_what_cannot_be_is_refused(make, said):
    with pytest.raises(ValueError, match=said):
        make()
