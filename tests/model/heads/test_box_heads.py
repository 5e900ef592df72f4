"""The heads that find boxes: what they make of torchvision's detectors."""

from dataclasses import replace

import pytest
import torch
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.image_list import ImageList

from paretina.model.detection import BEYOND, Anchors, SmallConv, objects_in, passed_over, reaching
from paretina.model.heads.faster_rcnn import FasterHead
from paretina.model.heads.fcos import Distances, FcosHead
from paretina.model.heads.retina import RetinaHead
from paretina.model.tasks.any_of import ABSENT
from paretina.model.tasks.boxes import EVERY, IGNORED, Boxes
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


@pytest.mark.parametrize("below", [-3.0, -300.0])
def test_boxes_of_no_size_learn_to_have_one(below):
    network = built(FcosHead(width=32, finest=4, most=20)).train()
    (distances,) = (each for each in network.modules() if isinstance(each, Distances))
    with torch.no_grad():
        distances.bias.fill_(below)
    losses(network, [ONE])["bbox_regression"].backward()
    assert bool((distances.bias.grad < 0).all())  # each side has to be further away
    picture = torch.rand(1, 3, 32, 32)
    with torch.no_grad():
        ours = network.eval()(picture)
        distances.bias.zero_()
        distances.weight.zero_()
        assert torch.equal(ours[..., :4], network(picture)[..., :4]), "in use a distance below zero is zero"


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
    torch.testing.assert_close(first["ignored"], torch.tensor([[16.0, 12.0, 56.0, 36.0]]))
    assert second["boxes"].shape == second["ignored"].shape == (0, 4)
    assert targets[0, 1, 1, 4] == IGNORED
    whatever = HIDDEN.clone()
    whatever[:, 4] = EVERY  # whose region is listed once
    own = Boxes().targets([torch.cat((ONE, whatever))], 2)
    assert own[0, :, 1, 4].tolist() == [IGNORED, IGNORED]
    (found,) = objects_in(own, (40, 80), first=1)
    torch.testing.assert_close(found["ignored"], first["ignored"])
    assert found["labels"].tolist() == [2]
    assert targets[1, :, 0, 4].tolist() == pytest.approx([ABSENT] * 2)


def test_a_region_at_an_edge_reaches_beyond_it():
    size = torch.tensor([80.0, 40, 80, 40])
    regions = torch.tensor([[0.5, 3.0, 20, 39.5], [4, 0, 80, 30]])
    assert reaching(regions, size).tolist() == [[-BEYOND, 3, 20, BEYOND], [4, -BEYOND, BEYOND, 30]]


def test_a_box_is_passed_over_where_more_than_half_of_it_is_in_one_region():
    places = torch.tensor([[0.0, 0, 4, 4], [2, 0, 6, 4], [1.9, 0, 5.9, 4], [20, 20, 24, 24], [0, 0, 40, 40]])
    regions = torch.tensor([[0.0, 0, 4, 10], [30, 30, 40, 40]])
    assert passed_over(places, regions).tolist() == [True, False, True, False, False]
    assert passed_over(places, regions[:0]).tolist() == [False] * 5


CROWD = torch.tensor([[0.5, 0.0, 1.0, 1.0, 0, 0]])
FOUND = torch.tensor([[0.05, 0.05, 0.45, 0.5, 1, 1]])


def seen_by_loss(network, given):
    """Which places have a part in the loss, by the gradients of their logits (of the first step), and their boxes."""
    detector = network.head.classifier.detector
    second = isinstance(network.blueprint.head, FasterHead)
    kept = []

    def keep(module, inputs, outputs):
        logits = [each.permute(0, 2, 3, 1).flatten(1) for each in outputs[0]] if second else [outputs["cls_logits"]]
        for each in outputs[0] if second else logits:
            each.retain_grad()
        kept.append(outputs[0] if second else logits)

    hook = (detector.rpn if second else detector).head.register_forward_hook(keep)
    sum(losses(network, given).values()).backward()
    hook.remove()
    grads = [each.grad for each in kept[0]]
    if second:
        grads = [each.permute(0, 2, 3, 1).flatten(1)[..., None] for each in grads]
    taken = torch.cat(grads, 1)[0].ne(0).any(1)
    maps = network(torch.zeros(1, 3, 32, 32), extras=True)[1]["embedding"].maps
    maps = list(maps)
    generator = detector.rpn.anchor_generator if second else detector.anchor_generator
    return taken, generator(ImageList(torch.zeros(1, 3, 32, 32), [(32, 32)]), maps)[0]


@every_head
def test_a_place_in_a_region_to_ignore_has_no_part_in_the_loss_of_classes(head):
    head = replace(head, finest=2, **({} if isinstance(head, FcosHead) else {"anchor": 1.0}))
    taken, places = seen_by_loss(built(head).train(), [torch.cat((FOUND, CROWD))])
    usual, _ = seen_by_loss(built(head).train(), [FOUND])
    hidden = passed_over(places, torch.tensor([[16.0, -BEYOND, BEYOND, BEYOND]]))
    assert int(hidden.sum()) > 20
    assert not bool(taken[hidden].any())
    assert int(usual[hidden].sum()) > 20  # without the region they are background
    assert int(taken[~hidden].sum()) > 20


@every_head
def test_an_object_in_a_region_to_ignore_is_learned(head):
    inside = torch.tensor([[0.55, 0.1, 0.95, 0.5, 1, 1]])
    alone, beside = (losses(built(head).train(), [each]) for each in (inside, torch.cat((inside, CROWD))))
    for name in alone:
        if name in ("bbox_regression", "bbox_ctrness"):  # of objects alone
            torch.testing.assert_close(alone[name], beside[name])
    assert float(sum(beside.values()).detach()) > 0


@every_head
def test_a_picture_that_is_all_to_be_ignored_teaches_nothing_where_places_are_in_it(head):
    everything = torch.tensor([[0.0, 0.0, 1.0, 1.0, 0, 0]])
    network = built(replace(head, finest=2, **({} if isinstance(head, FcosHead) else {"anchor": 1.0}))).train()
    found = losses(network, [everything, everything])
    sum(found.values()).backward()
    assert all(loss.isfinite() for loss in found.values())
    assert float(sum(found.values()).detach()) == 0
    assert all(bool((each.grad == 0).all()) for each in network.parameters() if each.grad is not None)


def test_proposals_in_a_region_to_ignore_are_left_out_of_the_second_step_but_those_of_objects():
    network = built(HEADS[2]).train()
    rois = network.head.classifier.detector.roi_heads
    proposals = torch.tensor([[18.0, 4, 30, 16], [18, 18, 30, 30], [2, 2, 10, 10]])
    boxes = torch.tensor([[19.0, 4, 30, 16]])
    target = {"boxes": boxes, "labels": torch.tensor([1]), "ignored": torch.tensor([[16.0, 0, 32, 32]])}
    assert rois.remaining(proposals, target).tolist() == proposals[[0, 2]].tolist()
    assert rois.remaining(proposals, {**target, "ignored": boxes[:0]}).tolist() == proposals.tolist()


def test_a_picture_with_too_many_objects_is_refused():
    with pytest.raises(ValueError, match=r"a picture has 3 objects, and Boxes\.most is 2; raise it"):
        Boxes(most=2).targets([ONE.expand(3, -1)], 2)
    with pytest.raises(ValueError, match=r"an object has one class; only a region that is ignored"):
        Boxes().targets([torch.tensor([[0.2, 0.3, 0.7, 0.9, EVERY, 1]])], 2)
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
