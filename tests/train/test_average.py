import math
from dataclasses import replace

import pytest
import torch
from torch import nn

from paretina.clock import START, Clock
from paretina.schedules import Constant, Linear
from paretina.train.average import EXAMPLES, Average, averaged

PLAIN = Average(decay=0.9, share=None, debias="none")


class One(nn.Module):
    def __init__(self, value=1.0):
        super().__init__()
        self.weight = nn.Parameter(torch.tensor([value], dtype=torch.float64))


def run(choice, values, updates=None):
    """The average after each update; the module starts at the first value."""
    module = One(values[0])
    averager = choice.make(module)
    seen = []
    for i, value in enumerate(values):
        with torch.no_grad():
            module.weight.fill_(value)
        averager.update(module, Clock(i, updates or len(values), 1.0))
        seen.append(averager.module.weight.item())
    return seen


def test_by_hand():
    assert run(PLAIN, [1.0, 2.0, 3.0, 4.0]) == pytest.approx([1.0, 1.1, 1.29, 1.561])


def test_start_is_forgotten_by_hand():
    choice = Average(decay=0.9999, share=None)
    assert run(choice, [1.0, 2.0, 3.0, 4.0]) == pytest.approx([1.0, 1.818182, 2.704545, 3.601399], abs=1e-6)


def test_constants_stay_constant():
    module = nn.Linear(3, 3)
    for choice in EXAMPLES:
        averager = choice.make(module)
        for update in range(20):
            averager.update(module, Clock(update, 20, 1.0))
        assert torch.equal(averager.module.weight, module.weight)


def test_remaining_share_of_the_start():
    choice = Average(decay=0.9999, share=None, debias="none")
    assert run(choice, [1.0] + [0.0] * 1000)[-1] == pytest.approx(0.905, abs=5e-4)


def test_decay_at_the_start():
    choice = Average(decay=0.9999, share=None)
    assert choice.decay_at(0, START) == 0.1
    assert choice.decay_at(100, START) == pytest.approx(0.918182, abs=1e-6)
    assert choice.decay_at(89_989, START) < 0.9999
    assert choice.decay_at(89_990, START) == pytest.approx(0.9999, abs=1e-12)
    assert choice.decay_at(10**7, START) == 0.9999


def test_memory_is_at_most_its_share_of_the_run():
    choice = Average(share=0.1, debias="none")
    assert choice.decay_at(0, Clock(0, 1000, 1.0)) == pytest.approx(1 - 1 / 100)
    assert choice.decay_at(0, Clock(0, 5, 1.0)) == 0.0
    # the published run keeps the published decay
    assert choice.decay_at(0, Clock(0, 218_949, 1.0)) == 0.9999


def test_decay_may_follow_the_clock():
    choice = Average(decay=Linear(start=0.5, end=1.0), share=None, debias="none")
    assert choice.decay_at(0, Clock(5, 10, 1.0)) == 0.75


def test_every_leaves_updates_out_but_keeps_the_memory():
    values = [1.0, *([2.0] * 7)]
    often, rarely = run(PLAIN, values), run(Average(decay=0.9, share=None, debias="none", every=4), values)
    assert rarely[:3] == [1.0] * 3
    assert rarely[3:7] == pytest.approx([2 - 0.9**4] * 4)
    assert often[3] == pytest.approx(2 - 0.9**3)  # it has seen one update at 1, which changed nothing
    assert rarely[7] == pytest.approx(2 - 0.9**8)


def test_last_update_is_averaged_also_between():
    seen = run(Average(decay=0.9, share=None, debias="none", every=4), [1.0, 2.0, 2.0, 2.0, 2.0, 2.0])
    assert seen[4] == seen[3]
    assert seen[5] == pytest.approx(2 - 0.9**6)


def test_buffers_of_the_state_are_averaged_or_copied():
    module = nn.BatchNorm1d(2)
    averager = PLAIN.make(module)
    module.running_mean.fill_(1.0)
    module.running_var.fill_(3.0)
    module.num_batches_tracked.fill_(7)
    averager.update(module, START)
    torch.testing.assert_close(averager.module.running_mean, torch.full((2,), 0.1))
    torch.testing.assert_close(averager.module.running_var, torch.full((2,), 1.2))
    assert averager.module.num_batches_tracked == 7


def test_buffers_outside_the_state_stay_out():
    module = One()
    module.register_buffer("rate", torch.tensor(0.5), persistent=False)
    averager = PLAIN.make(module)
    module.rate.fill_(0.9)
    averager.update(module, START)
    assert averager.module.rate == 0.5


def test_shared_weights_are_averaged_once():
    module = nn.Sequential(nn.Linear(2, 2, bias=False), nn.Linear(2, 2, bias=False))
    module[1].weight = module[0].weight
    nn.init.ones_(module[0].weight)
    averager = PLAIN.make(module)
    nn.init.constant_(module[0].weight, 2.0)
    averager.update(module, START)
    assert averager.module[1].weight is averager.module[0].weight
    torch.testing.assert_close(averager.module[0].weight, torch.full((2, 2), 1.1), check_device=False)
    assert list(averaged(module)) == ["0.weight"]


def test_reduced_precision_is_averaged_in_float32():
    module = One().to(torch.bfloat16)
    averager = Average(decay=0.999, share=None, debias="none").make(module)
    module.weight.data.fill_(2.0)
    averager.update(module, START)
    assert averager.module.weight.dtype == torch.float32
    assert averager.module.weight.item() == pytest.approx(1.001)  # bfloat16 would have stayed at 1
    assert module.weight.dtype == torch.bfloat16


def test_average_is_a_module_for_evaluation():
    module = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)).to(memory_format=torch.channels_last)
    averager = PLAIN.make(module)
    averager.update(module, START)
    assert not averager.module.training
    assert not any(parameter.requires_grad for parameter in averager.module.parameters())
    assert averager.module[0].weight.is_contiguous(memory_format=torch.channels_last)
    assert module.training
    assert module[0].weight.requires_grad


def test_interrupted_equals_uninterrupted():
    choice = Average(every=3)
    values = [math.sin(i) for i in range(20)]
    whole = run(choice, values)
    module = One(values[0])
    averager = choice.make(module)
    for i, value in enumerate(values):
        module.weight.data.fill_(value)
        averager.update(module, Clock(i, 20, 1.0))
        state = averager.state_dict()
        assert isinstance(state["count"], int)
        averager = choice.make(One(99.0))
        averager.load_state_dict(state)
        assert averager.module.weight.item() == whole[i]


def test_refuses_another_module():
    averager = PLAIN.make(nn.Linear(2, 2))
    with pytest.raises(ValueError, match="only one of them has bias"):
        averager.update(nn.Linear(2, 2, bias=False), START)


@pytest.mark.parametrize(
    ("wrong", "message"), [({"share": 0.0}, "share=0.0"), ({"share": 2.0}, "share=2.0"), ({"every": 0}, "every=0")]
)
def test_refuses_what_cannot_work(wrong, message):
    with pytest.raises(ValueError, match=message):
        Average(**wrong)


def test_refuses_a_decay_out_of_range():
    with pytest.raises(ValueError, match=r"Average.decay must stay in \[0, 1\], but is 1\.5"):
        Average(decay=1.5)


@pytest.mark.parametrize("choice", EXAMPLES)
def test_survives_json(choice):
    assert Average.from_json(choice.to_json()) == choice


def test_a_share_of_the_initial_weights_by_hand():
    plain = run(PLAIN, [1.0, 2.0, 3.0, 4.0])
    assert run(replace(PLAIN, initial=0.25), [1.0, 2.0, 3.0, 4.0]) == pytest.approx([0.25 + 0.75 * value for value in plain])
    half = Average(decay=Constant(value=0.0), share=None, initial=0.5)
    assert run(half, [1.0, 2.0, 5.0]) == pytest.approx([1.0, 1.5, 3.0])
    with pytest.raises(ValueError, match=r"Average.initial is a share in \[0, 1\), got 1.0"):
        Average(initial=1.0)


def test_the_initial_weights_go_with_the_state():
    choice = replace(PLAIN, initial=0.5)
    module = One(1.0)
    averager = choice.make(module)
    with torch.no_grad():
        module.weight.fill_(3.0)
    averager.update(module, START)
    other = choice.make(One(100.0))
    other.load_state_dict(averager.state_dict())
    for each in (averager, other):
        each.update(module, START)
    assert other.module.weight.item() == averager.module.weight.item()
    assert module.weight.item() == 3.0
