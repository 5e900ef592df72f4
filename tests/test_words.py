import pytest

from paretina.words import how_many


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ((1, "picture"), "1 picture"),
        ((0, "picture"), "0 pictures"),
        ((2, "class"), "2 classes"),
        ((1.0, "epoch"), "1 epoch"),
        ((0.5, "epoch"), "0.5 epochs"),
        ((1200, "picture", ","), "1,200 pictures"),
        ((1.04, "epoch", ".2g"), "1 epoch"),
        ((1.0, "epoch fits", "", "epochs fit"), "1 epoch fits"),
        ((3.0, "epoch fits", "", "epochs fit"), "3 epochs fit"),
    ],
)
def test_one_of_something_is_in_the_singular(given, text):
    assert how_many(*given) == text
