import math

import pytest
import torch
from torch import nn

from paretina.clock import START, Clock
from paretina.schedules import Linear
from paretina.spec import kinds
from paretina.train.clipping import EXAMPLES, AdaptiveClip, Clip, ClipNorm


def parameter(weights, gradient):
    made = nn.Parameter(torch.tensor(weights))
    made.grad = None if gradient is None else torch.tensor(gradient)
    return made


def free(*gradient):
    return parameter([0.0] * len(gradient), list(gradient))


def test_norm_by_hand():
    long = free(3.0, 4.0)
    assert ClipNorm(limit=1.0)([long], START).item() == 5.0
    assert long.grad.tolist() == pytest.approx([0.6, 0.8])


def test_norm_is_that_of_all_gradients_together():
    first, second = free(3.0, 4.0), free(0.6, 0.8)
    total = ClipNorm(limit=1.0)([first, second], START)
    assert total.item() == pytest.approx(math.sqrt(26))
    assert first.grad.tolist() == pytest.approx([0.588348, 0.784465], abs=1e-6)
    assert second.grad.tolist() == pytest.approx([0.117670, 0.156893], abs=1e-6)


def test_short_gradients_are_left_alone():
    short = free(0.3, 0.4)
    assert ClipNorm(limit=1.0)([short], START).item() == pytest.approx(0.5)
    assert torch.equal(short.grad, torch.tensor([0.3, 0.4]))


def test_limit_follows_the_clock():
    clip, long = ClipNorm(limit=Linear(start=1.0, end=3.0)), free(6.0, 8.0)
    clip([long], Clock(5, 10, 1.0))
    assert long.grad.norm().item() == pytest.approx(2.0)


def test_units_by_hand():
    # |w| = 5: the gradient of norm 1 may have .01 * 5; at rest the floor of 1e-3 stands for |w|
    kernel = parameter([[3.0, 4.0], [0.0, 0.0]], [[0.6, 0.8], [3e-4, 4e-4]])
    total = AdaptiveClip(limit=0.01)([kernel], START)
    assert total.item() == pytest.approx(math.sqrt(1 + 25e-8))
    torch.testing.assert_close(kernel.grad, torch.tensor([[0.03, 0.04], [6e-6, 8e-6]]))


def test_a_unit_of_a_convolution_is_a_filter():
    torch.manual_seed(0)
    kernel = nn.Parameter(torch.randn(4, 3, 3, 3).contiguous(memory_format=torch.channels_last))
    gradient = torch.randn(4, 3, 3, 3)
    kernel.grad = gradient.clone()
    AdaptiveClip(limit=0.5)([kernel], START)
    for weights, before, after in zip(kernel.detach(), gradient, kernel.grad, strict=True):
        wanted = before * min(1.0, (0.5 * weights.norm() / before.norm()).item())
        torch.testing.assert_close(after, wanted)


def test_a_bias_is_one_unit():
    bias = parameter([3.0, 4.0], [6.0, 8.0])
    AdaptiveClip(limit=0.1)([bias], START)
    assert bias.grad.tolist() == pytest.approx([0.3, 0.4])


def test_excluded_places_and_frozen_parameters_are_not_chosen():
    named = [("stem.w", free(1.0)), ("stages.0.w", free(1.0)), ("head.w", free(1.0))]
    named[0][1].requires_grad_(False)

    def place_of(name):
        return name.rpartition(".")[0]

    assert [id(p) for p in AdaptiveClip(exclude=("head",)).choose(named, place_of)] == [id(named[1][1])]
    assert [id(p) for p in ClipNorm().choose(named, place_of)] == [id(named[1][1]), id(named[2][1])]


def test_the_last_layer_alone_is_left_out_unless_told_otherwise():
    named = [("stem.w", free(1.0)), ("head.conv.weight", free(1.0)), ("head.classifier.weight", free(1.0))]

    def place_of(name):
        return name.partition(".")[0]

    assert [id(p) for p in AdaptiveClip().choose(named, place_of)] == [id(named[0][1]), id(named[1][1])]
    assert [id(p) for p in AdaptiveClip(exclude=("head",)).choose(named, place_of)] == [id(named[0][1])]


def test_says_when_an_excluded_place_does_not_exist():
    with pytest.raises(ValueError, match="names 'tail', but parameters are only in head, stem"):
        AdaptiveClip(exclude=("tail",)).choose([("a", free(1.0)), ("b", free(1.0))], {"a": "stem", "b": "head"}.__getitem__)


@pytest.mark.parametrize("clip", EXAMPLES)
def test_parameters_without_gradient_are_passed_over(clip):
    still, moving = parameter([1.0], None), free(100.0)
    assert clip([still, moving], START).item() == 100.0
    assert still.grad is None
    assert moving.grad.item() < 100.0
    assert clip([still], START).item() == 0.0


@pytest.mark.parametrize("clip", EXAMPLES)
def test_zero_gradients_stay_zero(clip):
    rest = parameter([[1.0, 2.0]], [[0.0, 0.0]])
    assert clip([rest], START).item() == 0.0
    assert rest.grad.tolist() == [[0.0, 0.0]]


@pytest.mark.parametrize("clip", EXAMPLES)
def test_a_norm_that_is_not_finite_is_returned(clip):
    assert math.isnan(clip([free(1.0), free(math.nan)], START).item())


@pytest.mark.parametrize("kind", [ClipNorm, AdaptiveClip])
def test_refuses_a_limit_of_zero(kind):
    with pytest.raises(ValueError, match=f"{kind.__name__}.limit must stay above 0, but is 0 at 0 % of the run"):
        kind(limit=0.0)
    kind(limit=Linear(start=1.0, end=0.0))  # which no update reaches


def test_refuses_a_floor_of_zero():
    with pytest.raises(ValueError, match="floor > 0, got floor=0"):
        AdaptiveClip(floor=0.0)


def test_every_kind_is_found_and_survives_json():
    assert set(kinds(Clip).values()) == {type(clip) for clip in EXAMPLES}
    for clip in EXAMPLES:
        assert Clip.from_json(clip.to_json()) == clip
