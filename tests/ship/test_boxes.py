"""Which boxes are chosen of all places: the same as by torchvision, in NumPy, whatever the preprocessing."""

import json
from dataclasses import asdict, replace

import numpy as np
import pytest
import torch

from paretina.data.preprocess import preprocess
from paretina.model.blueprint import Preprocessing
from paretina.model.heads.faster_rcnn import FasterHead
from paretina.model.heads.fcos import FcosHead
from paretina.model.heads.retina import RetinaHead
from paretina.model.tasks.boxes import Boxes
from paretina.model.weights import About
from paretina.ship.box_answers import as_answers, as_seen, box_rule, check_one_step, giving_places
from paretina.ship.box_gate import covered
from paretina.ship.boxes import BoxRule, overlapping
from paretina.ship.gate import LIMITS, Gate, judged
from paretina.ship.header import Header, read
from paretina.ship.steps import in_inference_form
from paretina.ship.whole import Whole
from tiny import row, tiny_blueprint

HEADS = [FcosHead(width=32, finest=2, most=20), RetinaHead(width=16, finest=2, most=20, anchor=2.0)]
every_head = pytest.mark.parametrize("head", HEADS, ids=lambda head: type(head).__name__)
BASE = tiny_blueprint(row(1, 16, 2), row(1, 16, 2), resolution=32, classes=3)
RULE = BoxRule(least=0.1, overlap=0.5, most=10, candidates=100, levels=(3, 1))


def lively(head, **fields):
    """A network whose scores and boxes differ from place to place."""
    torch.manual_seed(0)
    network = replace(BASE, head=head, **fields).build().eval()
    detector = network.head.classifier.detector
    with torch.no_grad():
        for module in detector.head.modules():
            for name, tensor in module.named_parameters(recurse=False):
                if name == "weight" and tensor.ndim == 4:
                    tensor.normal_(std=0.05)
        detector.head.classification_head.cls_logits.bias.fill_(-1.0)
    return network


def pixels(*shape):
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def places(*rows):
    return np.array(rows, np.float32)


@every_head
@pytest.mark.parametrize("changes", [{}, {"least": 0.0, "most": 300}, {"overlap": 0.2}], ids=str)
def test_the_same_boxes_are_chosen_as_by_torchvision(head, changes):
    network = lively(replace(head, **changes))
    images = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    rule = box_rule(network)
    with torch.inference_mode():
        wanted = network(images)
        every = giving_places(network)(images)
    assert every.shape == (2, sum(rule.levels), 7)
    assert bool(((every >= 0) & (every <= 1)).all())
    found = as_answers(rule, every.numpy(), 3)
    assert bool((Boxes().answer(wanted)[:, 1, 4] > 0).all())
    torch.testing.assert_close(Boxes().answer(found), Boxes().answer(wanted), atol=1e-5, rtol=0)


def test_each_map_has_its_candidates():
    network = lively(RetinaHead(width=16, finest=2, most=300, least=0.0, overlap=1.0))
    network.head.classifier.detector.topk_candidates = 40
    rule = box_rule(network)
    assert rule.candidates == 40
    images = torch.rand(1, 3, 32, 32)
    with torch.inference_mode():
        wanted = Boxes().answer(network(images))
        found = Boxes().answer(as_answers(rule, giving_places(network)(images).numpy(), 3))
    assert int((wanted[..., 4] > 0).sum()) == 40 * len(rule.levels)
    torch.testing.assert_close(found, wanted, atol=1e-5, rtol=0)


@every_head
@pytest.mark.parametrize("fit", ["squash", "crop"])
@pytest.mark.parametrize("shape", [(2, 3, 40, 60), (1, 3, 61, 33)], ids=str)
def test_a_shipped_network_gives_shares_of_the_whole_picture(head, fit, shape):
    preprocessing = Preprocessing(fit=fit, crop=0.875 if fit == "crop" else 1.0)
    network, images = lively(head, preprocessing=preprocessing), pixels(*shape)
    rule = box_rule(network)
    whole = Whole(giving_places(in_inference_form(network)[0]), Boxes())
    assert whole.outputs == ("boxes",)
    with torch.inference_mode():
        (every,) = whole(images)
        seen = giving_places(network)(preprocess(images, preprocessing, 32))
    own = as_seen(every.numpy(), *shape[-2:], preprocessing)
    np.testing.assert_allclose(own, seen, atol=5e-3)
    assert rule.chosen(own[0]).shape[1] == 6
    # and by the definition: the middle square, in pixels
    side = int(0.875 * min(shape[-2:]))
    left, wide = ((shape[-1] - side + 1) // 2, side) if fit == "crop" else (0, shape[-1])
    np.testing.assert_allclose(every[..., 0] * shape[-1], left + seen[..., 0] * wide, atol=0.2)


def test_a_box_gives_way_to_a_better_one_of_its_class_alone():
    better, worse = [0.1, 0.1, 0.5, 0.5], [0.1, 0.1, 0.5, 0.45]
    found = RULE.chosen(places([*worse, 0.6, 0.0], [*better, 0.7, 0.0], [*better, 0.0, 0.4], [0.6, 0.6, 0.9, 0.9, 0.65, 0.1]))
    np.testing.assert_allclose(found[:, 4], [0.7, 0.65, 0.4])  # 0.1 is not above the least score
    assert found[:, 5].tolist() == [0, 0, 1]
    np.testing.assert_allclose(found[1, :4], [0.6, 0.6, 0.9, 0.9])


def test_nothing_may_be_chosen():
    assert RULE.chosen(np.zeros((4, 6), np.float32)).shape == (0, 6)


def test_boxes_without_a_size_overlap_nothing():
    assert not overlapping(np.zeros(4), np.zeros((2, 4)), 0.5).any()


def test_the_number_of_places_is_that_of_the_maps():
    with pytest.raises(ValueError, match=r"there are 3 places, and boxes\.levels says 4"):
        RULE.chosen(np.zeros((3, 6), np.float32))


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("least", 1.0, r"boxes\.least is a score in \[0, 1\)"),
        ("overlap", 0.0, r"boxes\.overlap is an intersection over union in \(0, 1\]"),
        ("most", 0, r"boxes\.most must be at least 1"),
        ("candidates", -1, r"boxes\.candidates must be at least 1"),
        ("levels", (), r"boxes\.levels has a number of places"),
    ],
)
def test_a_rule_out_of_range_is_refused_wherever_it_comes_from(field, value, said, tmp_path):
    with pytest.raises(ValueError, match=said):
        replace(RULE, **{field: value})
    about = About(("a", "b"), task=Boxes())
    text = Header(about, Preprocessing(), 32, 3, "float32", boxes=RULE).to_dict()
    assert text["output"].startswith("boxes: float32, (batch, 4, 6): left, top, right and bottom")
    assert read(tmp_path / "a.onnx", json.dumps(text)).boxes == RULE
    text["boxes"][field] = value
    with pytest.raises(ValueError, match=rf"a\.onnx: its description is damaged: {said}"):
        read(tmp_path / "a.onnx", json.dumps(text))
    del text["boxes"]
    with pytest.raises(ValueError, match="it has no 'boxes'"):
        read(tmp_path / "a.onnx", json.dumps(text))


def test_a_detector_of_two_steps_is_not_shipped(tmp_path):
    network = replace(BASE, head=FasterHead(width=16, finest=4, hidden=16)).build()
    with pytest.raises(
        ValueError, match=r"finds boxes by FasterHead, .* head=FcosHead or head=RetinaHead, which can be shipped"
    ):
        check_one_step(tmp_path / "a.safetensors", network)
    check_one_step(tmp_path / "a.safetensors", lively(HEADS[0]))


def test_boxes_are_the_same_where_each_has_its_like():
    some = torch.tensor([[0.1, 0.1, 0.5, 0.5, 0.9, 0], [0.6, 0.6, 0.9, 0.9, 0.4, 1], [0, 0, 0, 0, 0, 0]])
    assert covered(some, some, 0.3, 0.9)
    other = some.clone()
    other[1, 5] = 0  # another class
    assert not covered(some, other, 0.3, 0.9)
    assert covered(some, other, 0.5, 0.9)  # of which only the first box is sure
    shifted = some.clone()
    shifted[0, [0, 2]] += 0.05
    assert not covered(some, shifted, 0.3, 0.9)
    assert covered(some, shifted, 0.3, 0.5)
    assert covered(torch.zeros(3, 6), some, 0.3, 0.9)
    assert not covered(some, torch.zeros(3, 6), 0.3, 0.9)


def test_a_gate_says_what_differs():
    verdict, why = judged(1.0, 0, 0.3, None, 4, LIMITS["float32"], "float32", "a score or a side of a box")
    assert verdict == "failed"
    assert why.startswith("a score or a side of a box differs by 0.3")
    more = {"boxes": 12, "ap_before": 40.0, "ap_after": 39.5}
    gate = Gate(4, 1.0, 0, 1e-7, None, None, None, None, {}, None, "x", "y", LIMITS["float32"], "passed", **more)
    assert gate.lines() == [
        "4 validation pictures: the same boxes (12 in all) for 100.00 %, their scores and sides differ by 1e-07 at most",
        "AP 40.0 % before, 39.5 % after",
    ]
    assert {"boxes", "ap_before", "ap_after"} <= asdict(gate).keys()
