from dataclasses import replace
from random import Random

import pytest

from paretina.data.sources.shapes import Shapes
from paretina.data.transforms.randaugment import RandAugment
from paretina.measure.cost import cost
from paretina.measure.plan import Plan
from paretina.model.blocks.fused_mbconv import FusedMBConv
from paretina.model.blocks.mbconv import MBConv
from paretina.model.blocks.skip import Skip
from paretina.model.family import network_named
from paretina.search.architecture.space import Narrowed, drawn, fitted, narrowed_of, space_named, spaces
from paretina.search.architecture.spaces.around import AroundNetwork
from paretina.search.architecture.spaces.efficientnetv2 import EfficientNetV2Space
from paretina.search.architecture.spaces.mnasnet import MnasNetSpace
from paretina.search.architecture.spaces.recipe import AroundRecipe
from paretina.search.architecture.units import COUNTS, counts
from paretina.train.asked import Asked, recipe_named

RESNET8 = network_named("resnet8_w16_s2").blueprint
NETWORK_SPACES = [
    MnasNetSpace(size=28, width=0.25),
    EfficientNetV2Space(size=16, width=0.25),
    AroundNetwork(network=RESNET8, size=28),
    AroundNetwork(network=EfficientNetV2Space(size=16, width=0.25).table(), size=16),
]


@pytest.fixture(scope="module")
def base():
    return Asked(data=Shapes(per_class=4), model=RESNET8, recipe=recipe_named("fast"), plan=Plan())


def first_point(space, base):
    return {dimension.name: dimension.values[0] for dimension in space.dimensions(base)}


@pytest.mark.parametrize("space", NETWORK_SPACES, ids=lambda space: type(space).__name__)
def test_units_cost_what_the_built_network_costs(space, base):
    random = Random(0)
    for _ in range(3):
        model = space.asked(drawn(space.dimensions(base), random), base).assembled()
        whole = cost(model)
        assert counts(model) == {name: getattr(whole, name) for name in COUNTS}


@pytest.mark.parametrize("name", ["levit_128s", "resnet9_w16"])
def test_other_networks_are_counted_alike(name):
    model = network_named(name).blueprint
    whole = cost(model)
    assert counts(model) == {name: getattr(whole, name) for name in COUNTS}


@pytest.mark.parametrize("space", [*NETWORK_SPACES, AroundRecipe()], ids=lambda space: type(space).__name__)
def test_every_value_of_every_dimension_can_be_built(space, base):
    space.check(base)
    assert space.size_of(base) > 100
    assert type(space).from_json(space.to_json()) == space


def test_a_row_of_mnasnet_is_what_its_point_says(base):
    space = MnasNetSpace(size=64)
    point = first_point(space, base) | {
        "operation.3": "mbconv3",
        "kernel.3": 5,
        "squeeze.3": 0.25,
        "shortcut.3": "pool",
        "layers.3": 4,
        "width.3": 1.25,
    }
    row = space.blueprint(point).stages[2]
    assert row.block == Skip(block=MBConv(expand=3, kernel=5, squeeze=0.25), shortcut="pool")
    assert (row.depth, row.width, row.stride) == (4, 40, 2)
    assert space.blueprint(point).stages[1].block == FusedMBConv(expand=1, kernel=3)


def test_what_has_no_effect_is_no_other_network(base):
    space = MnasNetSpace(size=64)
    point = first_point(space, base) | {"layers.2": 1}
    # the first block of a row with a stride has no shortcut, and a plain convolution no squeeze
    assert space.blueprint(point | {"shortcut.2": "none", "squeeze.2": 0.25}) == space.blueprint(point)


def test_efficientnetv2_inherits_its_widths(base):
    space, random = EfficientNetV2Space(size=224), Random(3)
    table = space.table()
    found = space.blueprint(drawn(space.dimensions(base), random))
    assert [row.width for row in found.stages] == [row.width for row in table.stages] == [16, 32, 48, 96, 112, 192]
    assert {type(row.block) for row in found.stages} == {MBConv, FusedMBConv}


def test_late_strides_are_taken_out_for_small_images():
    b0 = network_named("efficientnet_b0").blueprint
    assert [row.stride for row in b0.stages] == [1, 2, 2, 2, 1, 2, 1]
    assert [row.stride for row in fitted(b0, 28).stages] == [1, 2, 2, 1, 1, 1, 1]  # 28 / 8 leaves 4 rows
    assert fitted(b0, 224) == b0
    assert fitted(b0, 224, 0.5).stages[3].width == 40


def test_around_a_network_varies_only_what_was_asked(base):
    space = AroundNetwork(network=RESNET8, size=28, vary=("width", "depth"))
    assert {dimension.name.partition(".")[0] for dimension in space.dimensions(base)} == {"width", "depth"}
    middle = {dimension.name: 1.0 if dimension.name.startswith("width") else 1 for dimension in space.dimensions(base)}
    assert space.blueprint(middle) == replace(RESNET8, resolution=28)
    assert [row.width for row in space.blueprint(middle | {"width.2": 1.5}).stages] == [16, 48, 64]
    assert [row.depth for row in space.blueprint(middle | {"depth.3": 3}).stages] == [1, 1, 3]
    with pytest.raises(ValueError, match="no row of this network has a squeeze"):
        AroundNetwork(network=RESNET8, size=28, vary=("squeeze",)).dimensions(base)


def test_a_recipe_point_changes_the_recipe_and_not_the_network(base):
    space = AroundRecipe()
    found = space.asked({"lr": 0.001, "weight_decay": 0.2, "strength": 5.0, "epochs": 4.0}, base)
    assert found.model == base.model
    assert found.recipe.optimizer.rate_at(peak_clock(found), found.recipe.batch_size) == pytest.approx(0.001, rel=0.02)
    assert found.recipe.optimizer.weight_decay.value == 0.2
    (augment,) = [each for each in found.recipe.transforms if isinstance(each, RandAugment)]
    assert (augment.magnitude.value, found.recipe.epochs) == (5.0, 4.0)
    plain = space.asked({"strength": 0.0}, found)
    assert not [each for each in plain.recipe.transforms if isinstance(each, RandAugment)]


def peak_clock(asked):
    from paretina.clock import Clock

    clocks = [Clock(moment, 1000, asked.recipe.epochs) for moment in range(1001)]
    return max(clocks, key=lambda clock: asked.recipe.optimizer.rate_at(clock, asked.recipe.batch_size))


def test_any_field_of_the_recipe_can_be_a_dimension(base):
    space = AroundRecipe(narrowed=narrowed_of(["average.share=0.02,0.1"]))
    (dimension,) = [each for each in space.dimensions(base) if each.name == "average.share"]
    assert dimension.values == ("0.02", "0.1")
    assert space.asked({"average.share": "0.1"}, base).recipe.average.share == 0.1
    with pytest.raises(ValueError, match="no field of the recipe"):
        AroundRecipe(narrowed=narrowed_of(["precision=bfloat16"])).dimensions(base)


def test_a_narrowed_dimension_has_the_given_values(base):
    space = MnasNetSpace(size=64, narrowed=narrowed_of(["kernel=3,7", "operation.2=conv"]))
    found = {dimension.name: dimension.values for dimension in space.dimensions(base)}
    assert found["kernel.1"] == found["kernel.7"] == (3, 7)
    assert (found["operation.2"], len(found["operation.3"])) == (("conv",), 4)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("kernl=3", "no dimension 'kernl'; did you mean 'kernel'"),
        ("kernel.8=3", "no dimension 'kernel.8'; did you mean 'kernel"),
        ("operation=mbconv4", "operation.1 cannot be 'mbconv4'; did you mean 'mbconv"),
        ("kernel=big", "kernel.1 takes whole numbers such as 3, 5, got 'big'"),
        ("width=wide", "width.1 takes numbers"),
    ],
)
def test_wrong_names_and_values_have_the_near_one(base, given, message):
    with pytest.raises(ValueError, match=message):
        MnasNetSpace(size=64, narrowed=narrowed_of([given])).dimensions(base)


def test_a_value_that_no_block_takes_is_refused_before_anything_is_trained(base):
    with pytest.raises(ValueError, match="odd kernel, got kernel=4"):
        MnasNetSpace(size=64, narrowed=(Narrowed(name="kernel", values=("4",)),)).check(base)


def test_words_of_spaces():
    assert set(spaces()) == {"mnasnet", "efficientnetv2", "around", "recipe"}
    assert space_named("around:resnet18") == (AroundNetwork, "resnet18")
    for text, message in (
        ("mnasnt", "did you mean 'mnasnet'"),
        ("around", "written around:NETWORK"),
        ("mnasnet:x", "written mnasnet"),
        ("recip:fast", "did you mean 'recipe'"),
    ):
        with pytest.raises(ValueError, match=message):
            space_named(text)


@pytest.mark.parametrize("text", ["kernel", "kernel=", "=3"])
def test_set_needs_a_name_and_values(text):
    with pytest.raises(ValueError, match="such as kernel=3,5"):
        narrowed_of([text])
