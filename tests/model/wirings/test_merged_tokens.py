"""Merged tokens against a slow second writing, token by token, and what merging must not change."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from covering import few
from paretina.measure.cost import cost
from paretina.model.blocks.encoder import Encoder
from paretina.model.blueprint import Initialisation, any_kit
from paretina.model.build import initialise, materialise
from paretina.model.edits.merge_tokens import MergeTokens
from paretina.model.family import network_named
from paretina.model.wirings.merged_tokens import MergedTokens, matched
from paretina.model.wirings.tokens import Tokens

WIDTH, HEADS = 8, 2


def made(wiring, size=(3, 4), depth=3):
    torch.manual_seed(0)
    kit = replace(any_kit(), size=size)
    with torch.device("meta"):
        run = wiring.make(Encoder(head_width=WIDTH // HEADS), depth, WIDTH, WIDTH, 1, kit).eval()
    materialise(run)
    with torch.no_grad():
        initialise(run, Initialisation())
        for parameter in run.parameters():
            parameter.normal_(0, 0.5)
    return run


def slowly(run, x, merged):
    """The class and distillation tokens of one image, and for each place the token that stands for it."""
    first = 2 if run.distillation_token is not None else 1
    heads = [run.class_token[0, 0], *([run.distillation_token[0, 0]] if first == 2 else [])]
    tokens = [*heads, *x.flatten(1).T.unbind()]
    groups = [{number} for number in range(len(tokens))]
    tokens = [token + place for token, place in zip(tokens, run.positions[0], strict=True)]
    for block in run.blocks:
        body = block.attention.body
        parts = [body.project_in(body.norm(token)).view(3, HEADS, -1) for token in tokens]
        after = []
        for token, (query, _, _) in zip(tokens, parts, strict=True):
            out = []
            for head in range(HEADS):
                scores = torch.stack([(query[head] * part[1][head]).sum() / (WIDTH // HEADS) ** 0.5 for part in parts])
                shares = scores.exp() * torch.tensor([float(len(group)) for group in groups])
                shares = shares / shares.sum()
                out.append(sum(share * part[2][head] for share, part in zip(shares, parts, strict=True)))
            after.append(token + body.project_out(torch.cat(out)))
        keys = [part[1].mean(0) for part in parts]
        pairs = []
        for number in range(2, len(tokens), 2):
            near = [
                (F.cosine_similarity(keys[number], keys[other], dim=0).item(), other)
                for other in range(1, len(tokens), 2)
                if other >= first
            ]
            if near:
                pairs.append((*max(near), number))
        moved = {number: other for _, other, number in sorted(pairs, reverse=True)[: min(merged, (len(tokens) - first) // 2)]}
        sums = [token * len(group) for token, group in zip(after, groups, strict=True)]
        grown = [set(group) for group in groups]
        for number, other in moved.items():
            sums[other] = sums[other] + sums[number]
            grown[other] |= grown[number]
        left = [number for number in range(0, len(tokens), 2) if number not in moved]
        others = list(range(1, len(tokens), 2))
        order = [*left, *others] if first == 1 else [left[0], others[0], *left[1:], *others[1:]]
        groups = [grown[number] for number in order]
        tokens = [sums[number] / len(grown[number]) for number in order]
        tokens = [token + block.perceptron.body(token) for token in tokens]
    stands = {number: token for token, group in zip(tokens, groups, strict=True) for number in group}
    places = torch.stack([stands[first + at] for at in range(x[0].numel())], 1)
    return [tokens[number] for number in range(first)], places.unflatten(1, x.shape[1:])


@pytest.mark.parametrize("distilled", [False, True])
@pytest.mark.parametrize(("size", "merged"), [((3, 4), 2), ((3, 3), 1), ((2, 2), 8), ((3, 5), 3)])
def test_equals_a_second_writing(distilled, size, merged):
    run = made(MergedTokens(distilled=distilled, merged=merged), size)
    images = torch.randn(3, WIDTH, *size)
    with torch.no_grad():
        found, extras = run(images)
        for number, image in enumerate(images):
            heads, places = slowly(run, image, merged)
            torch.testing.assert_close(found[number], places)
            for name, head in zip(("class_token", "distillation_token"), heads, strict=False):
                torch.testing.assert_close(extras[name][number], head)


def test_merging_what_is_the_same_changes_nothing():
    """A token that stands for two places counts twice, so that merging equal tokens is exact."""
    plain, merging = made(Tokens(), (2, 4), depth=1), made(MergedTokens(merged=4), (2, 4), depth=1)
    merging.load_state_dict(plain.state_dict())
    with torch.no_grad():
        for run in (plain, merging):
            run.positions.zero_()
        pair = torch.randn(1, WIDTH, 4)
        # behind the class token come pairs of an odd and an even number, of which the second is merged into the first
        images = pair.repeat_interleave(2, 2).unflatten(2, (2, 4))
        (places, extras), (others, other) = plain(images), merging(images)
        torch.testing.assert_close(extras["class_token"], other["class_token"])
        torch.testing.assert_close(places, others)


def test_each_merge_takes_tokens_away_until_none_is_left_to_merge():
    keys = torch.randn(1, 5, 4)
    assert matched(keys, 2, 1).apply(torch.ones(1, 5, 1)).flatten().sum() == 5
    run, seen = made(MergedTokens(merged=3), (3, 3), depth=4), []
    for block in run.blocks:
        block.perceptron.register_forward_pre_hook(lambda _, given: seen.append(given[0].shape[1]))
    with torch.no_grad():
        run(torch.randn(1, WIDTH, 3, 3))
    assert seen == [7, 4, 3, 2]


@pytest.mark.parametrize(("merged", "gmacs"), few([(8, 3.4), (13, 2.7), (16, 2.3)]))
def test_multiply_adds_are_the_published_ones(merged, gmacs):
    edited = MergeTokens(merged=merged)(network_named("deit_small").blueprint)
    assert cost(edited).macs / 1e9 == pytest.approx(gmacs, abs=0.08)
    assert cost(edited).params == 22_050_664


def test_the_edit_keeps_names_and_other_stages():
    blueprint = network_named("deit_tiny_distilled").blueprint
    edited = MergeTokens(merged=4)(blueprint)
    assert edited.stages[0].wiring == MergedTokens(distilled=True, merged=4)
    assert list(edited.build("meta").state_dict()) == list(blueprint.build("meta").state_dict())
    with pytest.raises(ValueError, match="changes nothing: no stage of this network"):
        MergeTokens()(edited)
    with pytest.raises(ValueError, match="those with the wiring Tokens have, such as vit_tiny"):
        MergeTokens()(network_named("resnet18").blueprint)


def test_no_merging_is_another_wiring():
    with pytest.raises(ValueError, match="must be at least 1, got 0; without merging, the wiring is Tokens"):
        MergedTokens(merged=0)


def test_each_image_is_merged_by_itself():
    run, images = made(MergedTokens(merged=2)), torch.randn(4, WIDTH, 3, 4)
    with torch.no_grad():
        together = run(images)[1]["class_token"]
        torch.testing.assert_close(run(images.flip(0))[1]["class_token"].flip(0), together)
        torch.testing.assert_close(run(images[:1])[1]["class_token"], together[:1])
