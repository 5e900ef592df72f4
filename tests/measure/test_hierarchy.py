import json

import pytest
import torch

from paretina.measure.hierarchy import Hierarchy, read_hierarchy, severity, without

CLASSES = ("bus", "car", "cat", "poodle", "terrier")
PAIRS = (
    ("bus", "vehicle"),
    ("car", "vehicle"),
    ("cat", "animal"),
    ("dog", "animal"),
    ("poodle", "dog"),
    ("terrier", "dog"),
)
TREE = Hierarchy.of(PAIRS, CLASSES)


def test_heights_by_hand():
    bus, car, cat, poodle, terrier = range(5)
    heights = TREE.heights
    assert not heights.diagonal().any()
    assert torch.equal(heights, heights.T)
    assert heights[bus, car] == 1
    assert heights[poodle, terrier] == 1
    assert heights[cat, poodle] == 2  # animal has dog in it, which is one above the classes
    assert heights[bus, poodle] == 3  # what holds all of them has no name
    assert heights[bus, cat] == 3


def test_levels_and_sums_of_probabilities():
    first, second = TREE.levels
    assert first == ("vehicle", "vehicle", "animal", "animal", "animal")
    assert second == ("bus", "car", "cat", "dog", "dog")  # what has no further group stands for itself
    names, sums = TREE.sums(torch.tensor([[0.1, 0.2, 0.3, 0.15, 0.25]]), first)
    assert names == ("vehicle", "animal")
    assert sums[0].tolist() == pytest.approx([0.3, 0.7])


def test_a_level_with_a_single_group_is_left_out():
    tree = Hierarchy.of((*PAIRS, ("vehicle", "thing"), ("animal", "thing")), CLASSES)
    assert tree.levels == TREE.levels
    assert int(tree.heights.max()) == 3


def test_figures_by_hand():
    # right; car for bus: 1; cat for poodle: 2, whose sum of dogs is larger; bus for terrier: 3
    shares = torch.tensor(
        [
            [0.9, 0.025, 0.025, 0.025, 0.025],
            [0.4, 0.5, 0.04, 0.03, 0.03],
            [0.05, 0.05, 0.4, 0.3, 0.2],
            [0.5, 0.2, 0.1, 0.1, 0.1],
        ]
    )
    found = severity(shares.log(), torch.tensor([0, 0, 3, 4]), TREE)
    assert found.mistakes == 3
    assert found.severity.value == pytest.approx((1 + 2 + 3) / 3)
    assert found.distance.value == pytest.approx((0 + 1 + 2 + 3) / 4)
    assert found.highest == 3
    first, second = found.levels
    assert first.accuracy.value == first.by_answer.value == 75.0
    assert second.accuracy.value == 50.0  # of the third picture dog is likelier than cat
    assert second.by_answer.value == 25.0
    assert found.severity.low <= found.severity.value <= found.severity.high
    assert found.metrics()["val/level1"] == 75.0
    said = "\n".join(found.lines())
    assert "level 1, 2 groups" in said
    assert "severity of mistakes           2.000" in said
    json.dumps(found.to_dict())


def test_without_a_mistake_there_is_no_severity():
    found = severity(10 * torch.eye(5), torch.arange(5), TREE)
    assert found.severity is None
    assert found.distance.value == 0
    assert found.metrics()["val/mistake_severity"] is None
    assert not any("severity" in line for line in found.lines())


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.csv", "class,parent\n" + "".join(f"{a},{b}\n" for a, b in PAIRS)),
        ("a.json", json.dumps(dict(PAIRS))),
        ("a.yaml", "vehicle: [bus, car]\nanimal:\n  cat: animal\n  dog: [poodle, terrier]\n"),
        ("a.yml", "vehicle: [bus, car]\nanimal: [cat, dog]\ndog: [poodle, terrier]\n"),
    ],
)
def test_files_of_each_form(tmp_path, name, text):
    (tmp_path / name).write_text(text)
    assert Hierarchy.of(read_hierarchy(tmp_path / name), CLASSES).heights.equal(TREE.heights)


def test_names_with_commas_quotes_and_line_breaks(tmp_path):
    (tmp_path / "a.csv").write_text('class,parent\n"a, ""b""",x\n"c\nd",x\n<script>,y\n')
    assert read_hierarchy(tmp_path / "a.csv") == (('a, "b"', "x"), ("c\nd", "x"), ("<script>", "y"))


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("a.csv", "klass,parent\na,b\n", r"a.csv: its first line must be class,parent, got klass,parent"),
        ("a.csv", "class,parent\na, b,c\n", "line 2 must have a class and its parent; quote text that has commas"),
        ("a.csv", "class,parent\na,\n", "line 2 must have a class and its parent"),
        ("a.csv", "", "got nothing"),
        ("a.json", "[1]", "a.json: it must be an object, such as"),
        ("a.json", "{", "a.json: "),
        ("a.yaml", "a: [[b]]", "the group 'a' must list names"),
        ("a.yaml", "a:", "'a' must have a parent or a list"),
        ("a.yaml", "!!python/object/apply:os.system [ls]", "could not determine a constructor"),
        ("a.txt", "", r"are read from .csv, .json, .yaml or .yml"),
    ],
)
def test_files_that_are_not_of_the_form(tmp_path, name, text, said):
    (tmp_path / name).write_text(text)
    with pytest.raises(ValueError, match=said):
        read_hierarchy(tmp_path / name)
    with pytest.raises(ValueError, match="there is no file"):
        read_hierarchy(tmp_path / "other.csv")


@pytest.mark.parametrize(
    ("pairs", "said"),
    [
        ((*PAIRS, ("cat", "vehicle")), "'cat' in 'animal' and in 'vehicle'; leave one out"),
        (PAIRS[1:], "no parent of the class 'bus'"),
        ((*PAIRS, ("animal", "dog")), "'dog' in itself: 'poodle' in 'dog' in 'animal' in 'dog'|'animal' in itself"),
        ((*PAIRS, ("tiger", "cat")), "'cat' as a group, and it is a class"),
        ((*PAIRS, ("terier", "dog")), "'terier', which is no class; did you mean 'terrier'"),
    ],
)
def test_trees_that_cannot_be(pairs, said):
    with pytest.raises(ValueError, match=said):
        Hierarchy.of(pairs, CLASSES)


def test_ignored_classes_go_with_groups_that_are_empty_then():
    left = without(PAIRS, ["poodle", "terrier"])
    assert ("dog", "animal") not in left
    assert len(Hierarchy.of(left, CLASSES[:3]).levels) == 1
