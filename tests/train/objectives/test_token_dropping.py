"""Dropping tokens: the fixtures of the losses, and a chain of runs with the network itself as the teacher."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from paretina.clock import Clock
from paretina.data.batch import Batch
from paretina.data.sources.arrays import Arrays
from paretina.measure.plan import Plan
from paretina.model.blocks.encoder import Encoder
from paretina.model.edits.drop_tokens import DropTokens
from paretina.model.edits.merge_tokens import MergeTokens
from paretina.model.family import network_named
from paretina.model.stems.patch import PatchStem
from paretina.model.weights import load_model
from paretina.schedules import Constant
from paretina.train.asked import Asked
from paretina.train.objective import Teacher
from paretina.train.objectives.token_dropping import TokenDropping, distance
from paretina.train.recipe import Recipe
from paretina.train.recipes.token_dropping import RECIPE
from paretina.train.resolve import unlearned_notes
from paretina.train.terms.cross_entropy import CrossEntropy
from paretina.train.training import train

HALFWAY = Clock(5, 10, 10.0)
ALONE = TokenDropping(terms=(CrossEntropy(),), token_weight=Constant(value=0.0))


@pytest.fixture(scope="module")
def tokens():
    """Four blocks on 16 tokens of 4 x 4 pixels."""
    whole = network_named("deit_tiny").blueprint
    (stage,) = whole.stages
    stage = replace(stage, block=Encoder(head_width=8), depth=4, width=16)
    return replace(whole, resolution=16, classes=3, stem=PatchStem(width=16, patch=4), stages=(stage,))


def batch(count=6):
    images = torch.randint(256, (count, 3, 16, 16), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    return Batch((images,), torch.eye(3)[torch.arange(count) % 3], torch.arange(count))


def test_the_loss_of_the_shares_is_that_of_the_fixture(tokens, monkeypatch):
    network = DropTokens()(tokens).build().train()
    real = type(network).forward

    def forward(self, images, extras=False):
        logits, more = real(self, images, extras=True)
        wanted = torch.tensor([0.7, 0.49, 0.343])
        return logits, {**more, "kept_excess": (torch.tensor([0.72, 0.50, 0.30]) - wanted).expand(len(images), 3)}

    monkeypatch.setattr(type(network), "forward", forward)
    losses = ALONE.make(network, None)(batch(), HALFWAY)
    assert losses["kept"].item() == pytest.approx(0.001566, abs=1e-6)
    assert losses.keys() == {"CrossEntropy", "kept"}


def test_tokens_are_compared_where_they_are_kept():
    own, theirs = torch.randn(2, 8, 2, 3), torch.randn(2, 8, 2, 3)
    kept = torch.zeros(2, 1, 2, 3)
    kept[0, 0, 1, 2] = kept[1, 0, 0, 0] = 1.0
    wanted = []
    for image, row, column in ((0, 1, 2), (1, 0, 0)):
        one, other = own[image, :, row, column], theirs[image, :, row, column]
        one, other = ((each - each.mean()) / (each.var(correction=0) + 1e-5).sqrt() for each in (one, other))
        wanted.append((one - other).square().mean())
    torch.testing.assert_close(distance(own, theirs, kept), torch.stack(wanted).mean())
    assert distance(own, own * 3 + 1, torch.ones(2, 1, 2, 3)).item() == pytest.approx(0.0, abs=1e-5)
    assert distance(own, theirs, torch.zeros(2, 1, 2, 3)).item() == 0.0


def test_every_parameter_learns_and_the_teacher_does_not(tokens):
    teacher = Teacher(tokens.build())
    learner = TokenDropping().make(DropTokens()(tokens).build(), teacher).train()
    losses = learner(batch(), HALFWAY)
    assert losses.keys() == {"CrossEntropy", "kept", "tokens"}
    assert losses["tokens"].item() > 0
    sum(losses.values()).backward()
    assert not [name for name, parameter in learner.named_parameters() if parameter.grad is None or not parameter.grad.any()]
    assert all(parameter.grad is None for parameter in teacher.module.parameters())


def test_a_teacher_of_another_width_is_refused(tokens):
    other = replace(tokens, stem=PatchStem(width=24, patch=4), stages=(replace(tokens.stages[0], width=24),))
    learner = TokenDropping().make(DropTokens()(tokens).build(), Teacher(other.build())).train()
    with pytest.raises(ValueError, match="take the network before its edit as the teacher"):
        learner(batch(), HALFWAY)


@pytest.mark.parametrize(
    ("edits", "teacher", "said"),
    [
        ((), "x", "this network has none; add them with edits.DropTokens=on"),
        ((MergeTokens(merged=2),), "x", "this network has none; add them with edits.DropTokens=on"),
        ((DropTokens(),), None, "there is none; set it, teacher=FILE, or leave them out: objective.token_weight=0"),
    ],
)
def test_what_cannot_be_trained_is_refused(tokens, edits, teacher, said):
    model = tokens
    for edit in edits:
        model = edit(model)
    with pytest.raises(ValueError, match=f"^TokenDropping .*{said}"):
        TokenDropping().check(Recipe(teacher=teacher), model)


@pytest.mark.slow
def test_a_chain_of_runs_leaves_one_file_that_drops_tokens(tokens, tmp_path, arrays):
    images, labels = arrays(36, 18)
    path = tmp_path / "numbers.npz"
    np.savez(path, images=images, labels=labels, split=["train"] * 24 + ["val"] * 12, classes=["red", "green", "blue"])
    short = replace(RECIPE, epochs=2.0, batch_size=8)
    plain = replace(short, objective=Recipe().objective)
    asked = Asked(data=Arrays(path=str(path)), model=tokens, recipe=plain, plan=Plan(workers=0))
    first = train(asked, tmp_path / "first")
    start = str(first.path / "model.safetensors")
    second = replace(asked, weights=start, edits=(DropTokens(keep=0.5),), recipe=replace(short, teacher=start))
    run = train(second, tmp_path / "second")
    said = [line["message"] for line in run.lines() if line["event"] == "note"]
    assert "new, since the weights do not have it: stages.0.predictors" in said
    network, about = load_model(run.path / "model.safetensors")
    assert network.model == DropTokens(keep=0.5)(replace(tokens, classes=3))
    assert about.classes == ("red", "green", "blue")
    seen = []
    for block in network.stages[0].blocks:
        block.register_forward_pre_hook(lambda _, given: seen.append(given[0].shape[1]))
    with torch.inference_mode():
        network.eval()(batch().images)
    assert seen == [17, 9, 5, 3]
    logged = [line for line in run.lines() if line["event"] == "train"][-1]
    assert {f"train/loss/{name}" for name in ("kept", "tokens", "Distill", "CrossEntropy")} <= logged.keys()


def test_a_recipe_that_leaves_the_predictors_as_they_start_says_so(tokens):
    dropped = DropTokens()(tokens)
    other = replace(RECIPE, objective=Recipe().objective, epochs=1.0)
    said = "the predictors of tokens learn with objective=TokenDropping alone, and stay here as they start"
    assert unlearned_notes(other, dropped) == [said]
    assert unlearned_notes(replace(RECIPE, epochs=1.0), dropped) == []
    assert unlearned_notes(other, tokens) == []
    assert unlearned_notes(replace(other, epochs=0.0), dropped) == []
