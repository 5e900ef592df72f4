import math

import numpy as np
import pytest
import torch
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as F

from paretina.clock import END, START, Clock
from paretina.data.transforms.randaugment import OPERATIONS, RandAugment, operated
from paretina.schedules import Constant, Linear, Staged

GREY = [128, 128, 128]


def operate(operation, image, strength, gap, interpolation):
    gaps = np.array([gap], dtype=np.uint8)
    return torch.from_numpy(operated(operation, image[None].numpy(), [strength], gaps, interpolation)[0])


def reference(operation, image, strength, gap):
    """The same by torchvision's functions, one picture at a time."""
    height, width = image.shape[-2:]
    bilinear, factor, size = v2.InterpolationMode.BILINEAR, max(0.1, 1 + 0.9 * strength), abs(strength)

    def moved(translate=(0, 0), shear=(0.0, 0.0)):
        center = [0.0, 0.0] if any(shear) else None
        return F.affine(image, 0.0, list(translate), 1.0, list(shear), bilinear, gap, center)

    def blended(other):
        return (image + size * (other.float() - image)).round().to(torch.uint8)

    angle = math.degrees(math.atan(0.3 * strength))
    return {
        "identity": lambda: image,
        "shear_x": lambda: moved(shear=(angle, 0.0)),
        "shear_y": lambda: moved(shear=(0.0, angle)),
        "translate_x": lambda: moved((round(150 / 331 * strength * width), 0)),
        "translate_y": lambda: moved((0, round(150 / 331 * strength * height))),
        "rotate": lambda: F.rotate(image, 30 * strength, bilinear, fill=gap),
        "brightness": lambda: F.adjust_brightness(image, factor),
        "color": lambda: F.adjust_saturation(image, factor),
        "contrast": lambda: F.adjust_contrast(image, factor),
        "sharpness": lambda: F.adjust_sharpness(image, factor),
        "posterize": lambda: F.posterize(image, 8 - round(4 * size)),
        "solarize": lambda: F.solarize(image, math.ceil(256 * (1 - size))),
        "autocontrast": lambda: blended(F.autocontrast(image)),
        "equalize": lambda: blended(F.equalize(image)),
    }[operation]()


SIGNED = OPERATIONS[1:10]
every_operation = pytest.mark.parametrize("operation", OPERATIONS)


def noise(height=24, width=24):
    return torch.randint(256, (3, height, width), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def ramp():
    """A ramp with some colour and an edge: every operation has something to do and room to do it in."""
    levels = torch.linspace(40, 180, 48).repeat(48, 1)
    levels[20:28, 20:28] += 40
    return torch.stack((levels, levels.T, 0.5 * levels + 60)).to(torch.uint8)


def distance(operation, strength):
    image = ramp()
    return (operate(operation, image, strength, GREY, "bilinear").float() - image.float()).abs().mean().item()


@every_operation
@pytest.mark.parametrize("interpolation", ["nearest", "bilinear"])
def test_strength_zero_leaves_the_picture_as_it_is(operation, interpolation):
    assert torch.equal(operate(operation, noise(), 0.0, GREY, interpolation), noise())


@every_operation
def test_a_tiny_strength_hardly_changes_the_picture(operation):
    # of noise, a sharpened pixel or one at the edge of a turned picture may change more than the others
    changed = operate(operation, noise(), 1e-3, GREY, "bilinear").float() - noise().float()
    assert changed.abs().mean() < 2


@every_operation
def test_gets_stronger_with_the_level(operation):
    near = [distance(operation, strength) for strength in (0.0, 0.1, 0.2, 0.4, 0.6, 0.8, 1.0)]
    assert near == sorted(near)
    assert near[0] == 0
    assert (near[-1] > 0.1) == (operation != "identity")


@pytest.mark.parametrize("operation", SIGNED)
def test_goes_either_way(operation):
    there, back = (operate(operation, ramp(), strength, GREY, "bilinear") for strength in (0.5, -0.5))
    assert not torch.equal(there, back)
    assert not torch.equal(there, ramp())
    assert not torch.equal(back, ramp())


@pytest.mark.parametrize("operation", OPERATIONS[10:])
def test_has_no_direction(operation):
    there, back = (operate(operation, ramp(), strength, GREY, "bilinear") for strength in (0.5, -0.5))
    assert torch.equal(there, back)


@pytest.mark.parametrize(
    ("operation", "strength", "name", "magnitude"),
    [
        ("shear_x", 0.5, "ShearX", 0.15),
        ("shear_y", -1.0, "ShearY", -0.3),
        ("translate_x", 1.0, "TranslateX", 150 / 331 * 331),
        ("translate_y", -0.5, "TranslateY", -0.5 * 150 / 331 * 331),
        ("rotate", 0.7, "Rotate", 21.0),
        ("brightness", -1.0, "Brightness", -0.9),
        ("color", 0.5, "Color", 0.45),
        ("contrast", -0.2, "Contrast", -0.18),
        ("sharpness", 1.0, "Sharpness", 0.9),
        ("posterize", 0.5, "Posterize", 6),
        ("posterize", 1.0, "Posterize", 4),
        ("solarize", 1.0, "Solarize", 0.0),
        ("autocontrast", 1.0, "AutoContrast", 0.0),
        ("equalize", 1.0, "Equalize", 0.0),
    ],
)
def test_agrees_with_torchvision(operation, strength, name, magnitude):
    image = noise(331, 331) if name.startswith("Translate") else noise()
    library = v2.RandAugment()
    wanted = library._apply_image_or_video_transform(image, name, magnitude, v2.InterpolationMode.NEAREST, {torch.Tensor: GREY})
    # what torchvision adds in one step of the processor may come out at the next level
    apart = (operate(operation, image, strength, GREY, "nearest").int() - wanted.int()).abs()
    assert apart.max() <= (operation in ("color", "contrast", "sharpness"))
    assert (apart > 0).float().mean() < 0.01


@pytest.mark.parametrize(("height", "width"), [(24, 24), (17, 40), (64, 64)])
@pytest.mark.parametrize("strength", [-1.0, -0.3, 0.5, 1.0])
@pytest.mark.parametrize("operation", OPERATIONS)
def test_many_pictures_agree_with_torchvision_on_each(operation, strength, height, width):
    generator = torch.Generator().manual_seed(2)
    images = torch.randint(256, (6, 3, height, width), dtype=torch.uint8, generator=generator)
    images[1], images[2], images[3] = images[1] // 5 + 90, images[2, :1], 40
    gaps = np.arange(18, dtype=np.uint8).reshape(6, 3) * 14
    strengths = [strength, -strength] * 3
    found = torch.from_numpy(operated(operation, images.numpy(), strengths, gaps, "bilinear")).int()
    for image, one, each, gap in zip(images, found, strengths, gaps.tolist(), strict=True):
        apart = (one - reference(operation, image, each, gap).int()).abs()
        if operation in ("shear_x", "shear_y", "rotate"):
            # torchvision weighs the border twice; a picture of ones tells where that is
            ones = reference(operation, torch.ones(1, height, width), each, [0.0])[0]
            apart = apart[:, (ones > 0.9999) | (ones == 0)]
        assert apart.max() <= 1
        # where the result is a whole level, which a tenth of the pixels can be, either may fall just below it
        assert (apart > 0).float().mean() < 0.15


@pytest.mark.parametrize("strength", [-0.8, 0.3, 1.0])
def test_the_border_of_a_turned_picture_is_weighed_against_the_gap_once(strength):
    # as if the gap were part of the picture
    gap = [10, 200, 90]
    around = torch.tensor(gap, dtype=torch.uint8).view(3, 1, 1).repeat(1, 48, 40)
    around[:, 12:36, 12:28] = noise(24, 16)
    wanted = reference("rotate", around, strength, gap)[:, 12:36, 12:28].int()
    assert (operate("rotate", noise(24, 16), strength, gap, "bilinear").int() - wanted).abs().max() <= 1


@pytest.mark.parametrize("side", [96, 128, 224])
def test_translation_scales_with_the_picture(side):
    image = torch.zeros(3, side, side, dtype=torch.uint8)
    moved = operate("translate_x", image, 1.0, [255, 255, 255], "nearest")
    assert (moved[0, 0] == 255).sum().item() == round(side * 150 / 331)


def test_keeps_something_of_the_picture_far_beyond_full_strength():
    image = noise(32, 32)
    assert (operate("translate_y", image, 2.5, GREY, "nearest")[:, -8:] == image[:, :8]).all()
    assert operate("posterize", image, 2.5, GREY, "nearest").unique().tolist() == [0, 128]
    assert torch.equal(operate("brightness", image, -2.5, GREY, "nearest"), F.adjust_brightness(image, 0.1))
    assert torch.equal(operate("solarize", image, 2.5, GREY, "nearest"), 255 - image)


def test_solarize_spares_white_until_it_is_asked_to():
    white = torch.full((3, 2, 2), 255, dtype=torch.uint8)
    assert torch.equal(operate("solarize", white, 1 / 512, GREY, "nearest"), white)
    assert operate("solarize", white, 0.1, GREY, "nearest").max() == 0


def test_equalize_is_half_done_at_half_strength():
    image = noise()
    wanted = (image.float() + F.equalize(image).float()) / 2
    assert (operate("equalize", image, 0.5, GREY, "nearest").float() - wanted).abs().max() <= 0.5


def test_ten_of_tensorflow_are_thirty_of_torchvision():
    ten, thirty = RandAugment(magnitude=10.0), RandAugment(magnitude=30.0, scale="torchvision")
    for seed in range(20):
        torch.manual_seed(seed)
        first = ten(noise(), 24, START)
        torch.manual_seed(seed)
        assert torch.equal(first, thirty(noise(), 24, START))


def test_real_levels_follow_the_clock():
    # EfficientNetV2-S as its code trains it: 5, 6.67, 8.33, 10
    staged = RandAugment(magnitude=Staged.between(5.0, 10.0), operations=("rotate",), number=1)
    for stage in range(4):
        torch.manual_seed(3)
        turned = staged(noise(), 24, Clock(stage, 4, 4.0))
        angle = 3 * (5 + 5 * stage / 3)
        wanted = [F.rotate(noise(), sign * angle, v2.InterpolationMode.BILINEAR, fill=GREY) for sign in (1, -1)]
        # torchvision weighs the border twice
        apart = [(turned.int() - each.int()).abs()[:, 6:-6, 6:-6] for each in wanted]
        assert min(each.max() for each in apart) <= 1


def test_level_zero_is_the_picture_itself():
    image = noise()
    assert torch.equal(RandAugment(magnitude=Linear(start=0.0, end=10.0))(image, 24, START), image)


def test_applies_as_many_operations_as_asked():
    # strength 3 turns by 90 degrees; twice, each in either direction, gives the picture or its half turn
    twice = RandAugment(number=2, magnitude=30.0, operations=("rotate",), interpolation="nearest")
    found = set()
    for seed in range(30):
        torch.manual_seed(seed)
        turned = twice(noise(), 24, START)
        found.add((torch.equal(turned, noise()), torch.equal(turned, noise().flip(-1, -2))))
    assert found == {(True, False), (False, True)}


def test_draws_all_operations_equally_often():
    # at strength 1/2 brightness makes 100 into 55 or 145
    image = torch.full((3, 1, 1), 100, dtype=torch.uint8)
    one = RandAugment(number=1, magnitude=5.0, operations=("identity", "brightness"))
    torch.manual_seed(0)
    levels = [one(image, 1, END).max().item() for _ in range(1200)]
    assert [levels.count(level) for level in (55, 100, 145)] == pytest.approx([300, 600, 300], abs=3 * math.sqrt(300))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"number": 0}, "number must be at least 1, got 0"),
        ({"operations": ()}, "operations is empty"),
        ({"operations": ("rotat",)}, "did you mean 'rotate'"),
        ({"magnitude": Constant(value=-1.0)}, "magnitude must stay at least 0, but is -1"),
    ],
)
def test_refuses_what_it_cannot_do(fields, message):
    with pytest.raises(ValueError, match=message):
        RandAugment(**fields)
