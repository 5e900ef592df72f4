"""An edit that keeps the weights needs no training: a run of no updates makes the model file."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from paretina import verbs
from paretina.data.sources.arrays import Arrays
from paretina.measure.plan import Plan
from paretina.model.blocks.encoder import Encoder
from paretina.model.edits.merge_tokens import MergeTokens
from paretina.model.family import network_named
from paretina.model.stems.patch import PatchStem
from paretina.model.weights import load_model
from paretina.train.asked import Asked
from paretina.train.recipe import Recipe
from paretina.train.training import train


@pytest.fixture
def tokens():
    """Two blocks on 16 tokens of 4 x 4 pixels."""
    whole = network_named("deit_tiny").blueprint
    (stage,) = whole.stages
    stage = replace(stage, block=Encoder(head_width=8), depth=2, width=16)
    return replace(whole, resolution=16, stem=PatchStem(width=16, patch=4), stages=(stage,))


@pytest.fixture
def data(tmp_path, arrays):
    images, labels = arrays(24, 18)
    path = tmp_path / "numbers.npz"
    np.savez(path, images=images, labels=labels, split=["train"] * 12 + ["val"] * 12, classes=["red", "green", "blue"])
    return Arrays(path=str(path))


@pytest.mark.slow
def test_merging_takes_the_weights_as_they_are(tokens, data, tmp_path):
    asked = Asked(data=data, model=tokens, recipe=Recipe(epochs=1.0, batch_size=6), plan=Plan(workers=0))
    first = train(asked, tmp_path / "first")
    start = first.path / "model.safetensors"
    merged = replace(asked, weights=str(start), edits=(MergeTokens(merged=3),), recipe=replace(asked.recipe, epochs=0.0))
    run = train(merged, tmp_path / "merged")
    before, after = (load_model(each.path / "model.safetensors")[0].state_dict() for each in (first, run))
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert run.result()["chosen"] == "the weights that the run began with; it made no update"
    judged = verbs.evaluate(run.path, data, device="cpu")
    assert judged.accuracy.top1 == pytest.approx(run.result()["metrics"]["val/top1"])
    with pytest.raises(ValueError, match=r"epochs=0 trains nothing; .* or where a network with weights is edited"):
        train(replace(merged, edits=()), tmp_path / "same")
