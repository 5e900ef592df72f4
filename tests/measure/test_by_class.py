"""What is said of classes, whatever the task."""

import pytest

from paretina.cli.evaluate import hardest
from paretina.measure.by_class import by_class

SEVERAL = [
    {"class": "cat", "n": 8, "average_precision": 98.61, "f1": 94.0},
    {"class": "striped", "n": 1, "average_precision": 43.94, "f1": 0.0},
    {"class": "bird", "n": 0, "average_precision": None, "f1": 0.0},
]
PIXELS = [{"class": "ground", "n": 21_382, "iou": 69.3}, {"class": "box", "n": 1270, "iou": 13.04}]
BOXES = [{"name": "disc", "objects": 4, "ap": 100.0}, {"name": "box", "objects": 9, "ap": 17.4}]


@pytest.mark.parametrize(
    ("details", "title", "rows", "line"),
    [
        (
            {"per_class": SEVERAL},
            "AP",
            (("striped", 43.94, 1), ("cat", 98.61, 8)),
            "striped AP 43.9 % (1 picture), cat AP 98.6 % (8 pictures)",
        ),
        (
            {"per_class": PIXELS},
            "IoU",
            (("box", 13.04, 1270), ("ground", 69.3, 21_382)),
            "box IoU 13.0 % (1,270 pixels), ground IoU 69.3 % (21,382 pixels)",
        ),
        ({"boxes_per_class": BOXES}, "AP", (("box", 17.4, 9), ("disc", 100.0, 4)), "box AP 17.4 % (9 objects)"),
    ],
)
def test_the_lowest_come_first_and_what_has_no_figure_is_not_there(details, title, rows, line):
    found = by_class(details)
    assert (found.title, found.rows) == (title, rows)
    assert hardest(details) == [f"hardest classes: {line}"]


@pytest.mark.parametrize(
    "details",
    [{}, {"per_class": None}, {"per_class": [3]}, {"per_class": PIXELS[:1]}, {"per_class": [{"class": "a", "recall": 3}]}],
)
def test_nothing_is_said_of_no_class_or_one(details):
    assert by_class(details) is None
    assert hardest(details) == []
