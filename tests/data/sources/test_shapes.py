import pickle

import numpy as np
import pytest
import torch

from paretina.data.sources import shapes
from paretina.data.sources.shapes import FIGURES, Shapes

SMALL = Shapes(per_class=4, val_per_class=2, size=32)


def generator():
    return np.random.default_rng(3)


def test_has_ten_classes_and_the_counts_asked_for():
    collection = SMALL.open()
    assert len(collection.classes) == 10
    for label in range(10):
        assert [sum(sample.label == label for sample in samples) for samples in collection.splits.values()] == [4, 2]
    for sample in collection.split("val"):
        assert sample.name.split("/")[1] == collection.classes[sample.label]
        assert collection.image(sample).shape == (3, 32, 32)


def test_mirroring_is_illegal():
    assert not SMALL.open().mirrors


def test_says_that_it_is_synthetic():
    assert "not evidence" in SMALL.open().notes[0]


def test_a_picture_depends_on_seed_split_class_and_number_alone():
    collection = SMALL.open()
    first = {sample.name: collection.image(sample) for sample in collection.split("train")}
    larger = Shapes(per_class=9, val_per_class=1, size=32).open()
    for sample in reversed(larger.split("train")):
        if sample.name in first:
            assert larger.image(sample).equal(first[sample.name])
    assert len({image.numpy().tobytes() for image in first.values()}) == 40
    sample = collection.split("train")[0]
    assert not Shapes(size=32, seed=1).open().image(sample).equal(first[sample.name])
    assert pickle.loads(pickle.dumps(collection)).image(sample).equal(first[sample.name])


def test_training_and_validation_pictures_differ():
    collection = SMALL.open()
    seen = [{collection.image(sample).numpy().tobytes() for sample in samples} for samples in collection.splits.values()]
    assert seen[0].isdisjoint(seen[1])


def covered(name):
    """How much of the square around the figure its outline covers."""
    outline = [(points * 0.5 + 0.5, fill) for points, fill in FIGURES[name](generator())]
    return shapes.stencil(outline, 64)


def test_outlines_have_the_areas_of_geometry():
    # area of a regular n-gon of radius 1/2: n/8 sin(2 pi / n); of the disc: pi / 4
    for name, corners in (("pentagon", 5), ("hexagon", 6), ("disc", 72)):
        assert covered(name).mean() == pytest.approx(corners / 8 * np.sin(2 * np.pi / corners), abs=0.015)


def test_a_ring_is_open_in_the_middle_and_a_gap_cuts_it():
    middle, right = (32, 32), (32, 61)
    assert covered("disc")[middle] == 1
    assert covered("ring")[middle] == 0
    assert covered("ring")[right] == 1
    assert covered("ring_gap")[right] == 0


def crossings(mask):
    """How often a circle at 95 % of the radius enters the figure."""
    angle = np.linspace(0, 2 * np.pi, 720, endpoint=False)
    rows, columns = 32 + 30 * np.sin(angle), 32 + 30 * np.cos(angle)
    inside = mask[rows.astype(int), columns.astype(int)] > 0.5
    return int((inside & ~np.roll(inside, 1)).sum())


def test_stars_have_their_points():
    assert crossings(covered("star5")) == 5
    assert crossings(covered("star6")) == 6


def test_a_right_spiral_turns_clockwise_and_is_the_mirror_image_of_a_left_one():
    ((band, _),) = FIGURES["spiral_right"](generator())
    outer = band[:90]  # from the middle outwards
    turns = np.diff(np.unwrap(np.arctan2(outer[:, 1], outer[:, 0])))
    assert (turns > 0).all()  # rows count downwards, so growing angles are clockwise on the screen
    ((mirrored, _),) = FIGURES["spiral_left"](generator())
    np.testing.assert_allclose(mirrored, band * [1, -1], atol=1e-12)


def test_figures_are_turned_and_squashed_but_never_mirrored_and_stay_inside():
    triangle = np.array([[1.0, 0.0], [-0.5, 0.8], [-0.5, -0.8]])

    def signed_area(points):
        (a, b, c) = points
        return 0.5 * ((b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0]))

    for seed in range(50):
        rng = np.random.default_rng(seed)
        ((points, _),) = shapes.place([(triangle, 1)], rng, radius=0.3, difficulty=1.0)
        assert np.sign(signed_area(points)) == np.sign(signed_area(triangle))
        assert points.min() > -0.05
        assert points.max() < 1.05


def test_difficulty_makes_pictures_busier():
    def step_between_neighbours(difficulty):
        collection = Shapes(per_class=3, size=24, difficulty=difficulty).open()
        images = torch.stack([collection.image(sample) for sample in collection.split("train")]).float()
        return (images[:, :, 1:] - images[:, :, :-1]).abs().median().item()

    assert step_between_neighbours(0.0) < step_between_neighbours(0.5) < step_between_neighbours(1.0)


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("size", 4, "size must be at least 8"),
        ("difficulty", 1.5, r"difficulty must be in \[0, 1\], got 1.5"),
        ("per_class", 0, "at least one picture per class"),
        ("seed", -1, "must not be negative"),
    ],
)
def test_refuses_what_it_cannot_draw(field, value, message):
    with pytest.raises(ValueError, match=message):
        Shapes(**{field: value})


def test_survives_json():
    assert Shapes.from_json(SMALL.to_json()) == SMALL
