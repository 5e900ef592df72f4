from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from paretina.data.sources.arrays import Arrays
from paretina.data.sources.part import Part
from paretina.data.sources.shapes import Shapes
from paretina.data.transforms.flip import HorizontalFlip
from paretina.data.transforms.squash import Squash
from paretina.measure.plan import Plan
from paretina.model.family import network_named
from paretina.model.weights import About, save_model
from paretina.search.ablation.study import Rival, Study, check, settled
from paretina.search.ablation.switches import switch_of
from paretina.train.asked import Asked
from paretina.train.average import Average
from paretina.train.recipe import Recipe

RECIPE = Recipe(transforms=(Squash(), HorizontalFlip()), average=Average(), seed=7)
LITE, SMALL = (network_named(name).blueprint for name in ("efficientnet_lite0", "resnet18"))
BASE = Asked(data=Shapes(per_class=4, val_per_class=1, size=16), model=SMALL, model_name="resnet18", recipe=RECIPE, plan=Plan())
SWITCHES = (switch_of("average"), switch_of("dropout=0.5", True))
STUDY = Study(base=BASE, seeds=(0, 1, 2), switches=SWITCHES)


def names(study):
    return [variant.name for variant in study.variants()]


def test_a_study_survives_json():
    study = replace(STUDY, shares=(0.1, 1.0), noises=(0.2,), rivals=(Rival(name="lite", model=LITE),), time_limit_s=30.0)
    assert Study.from_json(study.to_json()) == study


def test_every_variant_has_every_seed_once_and_seeds_come_in_turn():
    jobs = STUDY.jobs()
    assert Counter((variant.name, seed) for variant, seed in jobs) == Counter(
        {(name, seed): 1 for name in ("base", "average", "dropout-0.5") for seed in (0, 1, 2)}
    )
    assert [seed for _, seed in jobs] == [0, 0, 0, 1, 1, 1, 2, 2, 2]
    orders = {tuple(variant.name for variant, at in jobs if at == seed) for seed in (0, 1, 2)}
    assert len(orders) > 1
    assert STUDY.jobs() == jobs


def test_a_run_has_its_seed_and_its_change_and_nothing_else():
    for variant, seed in STUDY.jobs():
        asked = variant.at(seed)
        changed = variant.switch(BASE) if variant.switch else BASE
        assert asked == replace(changed, recipe=replace(changed.recipe, seed=seed))


def test_subsets_and_wrong_labels_are_drawn_with_the_seed():
    study = replace(STUDY, shares=(0.1, 1.0), noises=(0.0, 0.2), switches=())
    assert names(study) == ["base", "data-0.1", "noise-0.2"]
    _, part, noise = (variant.at(5).data for variant in study.variants())
    assert part == Part(source=BASE.data, share=0.1, seed=5, repeat=True)
    assert noise == Part(source=BASE.data, noise=0.2, seed=5)


def test_equal_epochs_repeat_nothing():
    study = replace(STUDY, shares=(0.5,), budgets=("updates", "epochs"), switches=())
    assert names(study) == ["base", "data-0.5", "data-0.5-equal-epochs"]
    assert [variant.asked.data.repeat for variant in study.variants()[1:]] == [True, False]


def test_rivals_get_every_share_and_their_own_epochs():
    study = replace(STUDY, shares=(0.5,), rivals=(Rival(name="efficientnet_lite0", model=LITE),), switches=())
    variants = {variant.name: variant for variant in study.variants({"": 9.0, "efficientnet_lite0": 4.0})}
    assert list(variants) == ["base", "data-0.5", "efficientnet-lite0", "efficientnet-lite0-data-0.5"]
    assert [variant.asked.recipe.epochs for variant in variants.values()] == [9.0, 9.0, 4.0, 4.0]
    assert variants["efficientnet-lite0"].asked.model_name == "efficientnet_lite0"
    assert variants["efficientnet-lite0-data-0.5"].asked.model == LITE


def test_names_of_folders_are_plain_and_their_own():
    odd = (switch_of("dropout=0.5"), switch_of("dropout =0.5"), switch_of('optimizer={"kind": "SGD", "rate": 0.1}'))
    assert names(replace(STUDY, switches=odd)) == ["base", "dropout-0.5", "dropout-0.5-2", "optimizer-kind-sgd-rate-0.1"]


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"seeds": ()}, "at least one seed and one budget"),
        ({"seeds": (1, 1)}, "1 is given twice among the seeds"),
        ({"switches": (SWITCHES[0], SWITCHES[0])}, "average is given twice among the switches"),
        ({"shares": (0.0,)}, "in \\(0, 1\\]"),
        ({"noises": (1.2,)}, "in \\[0, 1\\]"),
    ],
)
def test_studies_that_cannot_be_are_refused(wrong, said):
    with pytest.raises(ValueError, match=said):
        replace(STUDY, **wrong)


# --- before anything is trained -----------------------------------------------------------------------------------------------


def test_the_base_is_what_will_be_trained(tmp_path):
    # Shapes forbids mirroring, so leaving it out would change nothing
    assert settled(BASE).recipe == replace(RECIPE, transforms=(Squash(),), seed=0)
    images, labels = np.zeros((6, 4, 4), np.uint8), np.arange(6) % 2
    np.savez(tmp_path / "a.npz", images=images, labels=labels)
    mirrors = replace(BASE, data=Arrays(path=str(tmp_path / "a.npz")))
    assert settled(mirrors).recipe.transforms == RECIPE.transforms


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("averge", "averge: .*did you mean 'average'"),
        ("clip", "clip: clip=off changes nothing"),
        ("transforms.Squash", "Squash: the transforms \\(HorizontalFlip\\) gave a picture of .*, not 3 x 224 x 224"),
        ("edits.Fuse=on", "edits.Fuse: "),
        ("size=0", "size: images must have a side of 1 pixel or more at every update"),
        ("frozen_stride=4", "there are no weights to start from"),
        ("average=off dropout=0", "it is the same as average"),
        ("batch_size=1 size=32", "batch_size=1 size=32: this network cannot learn from 1 picture of 32 x 32 pixels"),
        ("weights=gone.safetensors", "weights=gone.safetensors: there is no model file"),
        ("dropout=2", r"dropout=2: dropout must stay in \[0, 1\)"),
        ("dropout=0.1 dropout=0.2", "dropout is given twice, as dropout=0.1 and as dropout=0.2"),
        ("dropout=0.1 recipe.dropout=0.2", "is given twice, as dropout=0.1 and as recipe.dropout=0.2"),
        ("lr=0.1 lr.then.start=0.2", "lr=0.1 and lr.then.start=0.2 set the same field"),
        ("weights=none weights=auto", "weights is given twice, as none and as auto"),
        ("progressive=96:160 size=96", "the size is given twice, as progressive=96:160 and as size=96"),
        ("seed=3", "every run of a study has its own seed"),
    ],
)
def test_a_switch_that_cannot_be_trained_is_found_and_named(text, said):
    with pytest.raises(ValueError, match=said):
        check(replace(STUDY, switches=(*SWITCHES, switch_of(text))))


def test_what_can_be_trained_passes():
    check(replace(STUDY, shares=(0.5,), noises=(0.3,)))


@pytest.mark.slow
def test_a_change_that_the_weights_do_not_fit_is_not_compared_with_a_base_that_has_them():
    lite = Asked(
        data=BASE.data, model=LITE, model_name="efficientnet_lite0", recipe=BASE.recipe, plan=BASE.plan, weights="auto"
    )
    narrow = switch_of("edits.Scale=on edits.Scale.width=0.5", True)
    study = replace(STUDY, base=lite, switches=(narrow,))
    with pytest.raises(ValueError, match=r"edits\.Scale.*: the base starts from weights, which do not fit the changed network"):
        check(study)
    check(replace(study, base=replace(lite, weights="none")))
    check(replace(study, switches=(switch_of("weights=none"),)))  # that is what is compared


@pytest.mark.slow
def test_a_model_file_fits_one_network_only():
    study = replace(STUDY, switches=(), rivals=(Rival(name="lite", model=LITE),))
    check(study)
    with pytest.raises(ValueError, match="fit only one network"):
        check(replace(study, base=replace(BASE, weights="somewhere.safetensors")))


def test_weights_of_a_switch_are_tried_before_anything_is_trained(tmp_path):
    other = replace(SMALL, stages=SMALL.stages[:1], classes=2, resolution=32)
    (tmp_path / "run").mkdir()
    save_model(tmp_path / "run" / "model.safetensors", other.build(), About(classes=("cat", "dog"), origin="made for a test"))
    (tmp_path / "text").write_text("no weights")
    for path, said in ((tmp_path / "run", "the weights do not fit|do not fit"), (tmp_path / "text", "is not a model file")):
        with pytest.raises(ValueError, match=f"weights={path}: .*({said})"):
            check(replace(STUDY, switches=(switch_of(f"weights={path}"),)))
    fits = replace(BASE, model=other, model_name="")
    changed = switch_of(f"weights={tmp_path / 'run'}")
    assert changed(fits).weights == str(tmp_path / "run" / "model.safetensors")
    check(replace(STUDY, base=fits, switches=(changed,)))


@pytest.mark.parametrize(("given", "said"), [({"shares": (2.0, 0.5)}, "2, 0.5"), ({"noises": (-1.0,)}, "-1")])
def test_wrong_shares_are_said_as_they_were_given(given, said):
    with pytest.raises(ValueError, match=rf"must be in .0, 1\], got {said}$"):
        Study(base=BASE, **given)
