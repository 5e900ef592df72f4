"""Boxes move as the pixels of their picture do, whatever the transforms."""

import numpy as np
import pytest
import torch
from torchvision import tv_tensors

from paretina.clock import Clock
from paretina.data.boxes import boxes_around, moved, origins
from paretina.data.loader import Preprocessed, Transformed
from paretina.data.pictures import read_pictures
from paretina.data.sampler import Request
from paretina.data.sources.cells import Cells
from paretina.data.transform import ImageTransform, Look
from paretina.data.transforms.centre_crop import CentreCrop
from paretina.data.transforms.crop import RandomResizedCrop
from paretina.data.transforms.flip import HorizontalFlip
from paretina.data.transforms.letterbox import Letterbox
from paretina.data.transforms.quarter_turn import QuarterTurn
from paretina.data.transforms.randaugment import RandAugment
from paretina.data.transforms.shift import RandomShift
from paretina.data.transforms.squash import Squash
from paretina.model.blueprint import Preprocessing
from paretina.model.tasks.boxes import Boxes
from paretina.schedules import Constant
from paretina.spec import modules_in

CLOCK = Clock(0, 10, 1.0)


def one(left, top, right, bottom):
    return torch.tensor([[left, top, right, bottom, 0.0, 1.0]])


def moved_by(transform, boxes, rows=40, columns=60, size=32, seed=0):
    torch.manual_seed(seed)
    return moved(boxes, tv_tensors.Mask(transform(origins(rows, columns), size, CLOCK)), rows, columns)


def test_what_stays_keeps_its_boxes():
    boxes = one(0.1, 0.2, 0.5, 0.75)
    torch.testing.assert_close(moved(boxes, origins(40, 60), 40, 60), boxes, atol=1e-3, rtol=0)
    large = origins(5000, 6000)
    torch.testing.assert_close(moved(boxes, large, 5000, 6000), boxes, atol=1e-3, rtol=0)


@pytest.mark.parametrize(
    ("transform", "before", "after"),
    [
        (Squash(), (0.1, 0.2, 0.5, 0.75), (0.1, 0.2, 0.5, 0.75)),
        (HorizontalFlip(probability=Constant(value=1.0)), (0.1, 0.2, 0.5, 0.75), (0.5, 0.2, 0.9, 0.75)),
        (CentreCrop(), (0.25, 0.0, 0.5, 0.5), (0.125, 0.0, 0.5, 0.5)),  # of 60 columns the middle 40
        (Letterbox(), (0.0, 0.0, 1.0, 1.0), (0.0, 5 / 32, 1.0, 26 / 32)),  # 21 of 32 rows
    ],
    ids=lambda value: type(value).__name__,
)
def test_known_ways(transform, before, after):
    torch.testing.assert_close(moved_by(transform, one(*before)), one(*after), atol=0.01, rtol=0)


def test_a_quarter_turn_turns_the_box():
    torch.manual_seed(0)
    mask = tv_tensors.Mask(origins(40, 40).rot90(1, (-2, -1)))
    torch.testing.assert_close(moved(one(0.1, 0.2, 0.5, 0.75), mask, 40, 40), one(0.2, 0.5, 0.75, 0.9), atol=2e-3, rtol=0)


MOVING = [
    example
    for module in modules_in("paretina.data.transforms")
    for example in getattr(module, "EXAMPLES", ())
    if isinstance(example, ImageTransform) and example.MOVES and issubclass(Boxes, example.TASKS)
]


@pytest.mark.parametrize("transform", [*MOVING, RandomShift(fill="black"), QuarterTurn()], ids=repr)
def test_every_transform_moves_boxes_as_it_moves_pixels(transform):
    boxes, seen = one(0.3, 0.25, 0.7, 0.75), 0
    mask = torch.zeros(3, 96, 120, dtype=torch.uint8)
    mask[:, 24:72, 36:84] = 1
    for seed in range(12):
        torch.manual_seed(seed)
        there = (transform(tv_tensors.Mask(mask), 64, CLOCK)[0] == 1).nonzero()
        found = moved_by(transform, boxes, 96, 120, 64, seed)
        if not len(found):
            continue
        rows, columns = transform(tv_tensors.Mask(mask), 64, CLOCK).shape[1:]
        ends = torch.tensor([there[:, 1].min(), there[:, 0].min(), there[:, 1].max() + 1, there[:, 0].max() + 1])
        pixels = found[0, :4] * torch.tensor([columns, rows, columns, rows])
        cut = int(there.min()) == 0 or bool((there.amax(0) + 1 == torch.tensor([rows, columns])).any())
        if cut and isinstance(transform, RandAugment):
            continue  # of a turned box that is cut, the box around is larger than what is left
        assert float((pixels - ends).abs().max()) < 2, seed
        seen += 1
    assert seen >= 6


def test_what_is_nearly_gone_is_left_out():
    boxes = torch.cat((one(0.0, 0.0, 0.2, 0.2), one(0.4, 0.4, 0.6, 0.6)))
    mask = tv_tensors.Mask(origins(100, 100)[:, 50 - 5 :, 50 - 5 :])  # a sixteenth more than a quarter of the second is left
    found = moved(boxes, mask, 100, 100)
    assert len(found) == 1
    torch.testing.assert_close(found[0, :2], torch.zeros(2))
    more = moved(boxes, tv_tensors.Mask(origins(100, 100)[:, 56:, 56:]), 100, 100)
    assert len(more) == 0
    assert more.shape == (0, 6)


def test_a_wave_is_refused():
    mask = origins(64, 64)
    waves = (torch.arange(64)[:, None] + (8 * torch.sin(torch.arange(64) / 8))[None, :].int()).clamp(0, 63)
    bent = tv_tensors.Mask(mask.gather(1, waves[None].expand(3, -1, -1)))
    with pytest.raises(ValueError, match="boxes cannot follow"):
        moved(one(0.1, 0.1, 0.9, 0.9), bent, 64, 64)


def test_a_picture_without_a_label_stays_so():
    unlabelled = torch.tensor([[0.0, 0.0, 0.0, 0.0, -1.0, 0.0]])
    assert torch.equal(moved(unlabelled, origins(8, 8), 8, 8), unlabelled)


def test_boxes_around_objects():
    objects = np.zeros((10, 20), np.int32)
    objects[2:5, 4:10] = 1
    objects[9, 19] = 3
    expected = torch.tensor([[0.2, 0.2, 0.5, 0.5, 0, 1], [0.95, 0.9, 1.0, 1.0, 0, 1]])
    torch.testing.assert_close(boxes_around(objects), expected)
    assert boxes_around(np.zeros((4, 4), np.int32)).shape == (0, 6)


def test_the_loader_gives_boxes_of_what_it_shows():
    collection = Cells(looks=("bright",), train=4, val=1, size=48, labels="boxes").open()
    pictures = read_pictures(collection, collection.split("train"))
    look = Look((RandomResizedCrop(), HorizontalFlip()))
    for number in range(4):
        _, target, (image,) = Transformed(pictures, [look])[Request(number, 7 + number, CLOCK, 32)]
        assert image.shape == (3, 32, 32)
        assert target.shape[1] == 6
        assert bool(((target[:, :4] >= 0) & (target[:, :4] <= 1)).all())
        index, whole, _ = Preprocessed(pictures, Preprocessing(fit="squash"), 32)[number]
        torch.testing.assert_close(whole, pictures.target(index), atol=0.01, rtol=0)
