import math

import pytest
import torch

from paretina.model.blocks.wave import Wave, WaveMixing, shares_of, waves
from paretina.model.blueprint import any_kit


def test_a_wave_has_a_cosine_and_a_sine():
    amplitude = torch.tensor([2.0, 3.0]).view(1, 2, 1, 1)
    phase = torch.tensor([0.0, math.pi / 2]).view(1, 2, 1, 1)
    torch.testing.assert_close(waves(amplitude, phase).flatten(), torch.tensor([2.0, 0.0, 0.0, 3.0]))


def test_shares_of_branches_add_up_for_each_channel():
    gates = torch.tensor([0.0, 0.0, math.log(2.0), 9.0, 9.0, 9.0]).view(1, 6, 1, 1)
    found = shares_of(gates, 3)
    assert found.shape == (3, 1, 2, 1, 1)
    assert found[:, 0, 0, 0, 0].tolist() == pytest.approx([0.25, 0.25, 0.5])
    assert found[:, 0, 1, 0, 0].tolist() == pytest.approx([1 / 3] * 3)


def mixing(width=4, kernel=3):
    torch.manual_seed(0)
    module = WaveMixing(width, kernel, any_kit()).eval()
    for parameter in module.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    return module


def test_is_the_sum_of_its_branches():
    module, x = mixing(), torch.randn(2, 4, 5, 6)
    with torch.no_grad():
        each = [
            module.rows(waves(module.row_amplitude(x), module.row_phase(x))),
            module.columns(waves(module.column_amplitude(x), module.column_phase(x))),
            module.channel(x),
        ]
        shares = module.gates(sum(each).mean((2, 3), keepdim=True)).view(2, 4, 3).softmax(2)
        mixed = sum(branch * shares[:, :, i, None, None] for i, branch in enumerate(each))
        torch.testing.assert_close(module(x), module.project(mixed))


def reached(branch, x, module):
    """Rows and columns that change where one pixel in the middle does."""
    changed = x.clone()
    changed[:, :, 4, 4] += 1
    out = [branch(waves(module.row_amplitude(each), module.row_phase(each))) for each in (x, changed)]
    places = (out[0] != out[1]).any(1)[0].nonzero()
    return places[:, 0].unique().tolist(), places[:, 1].unique().tolist()


def test_a_branch_reads_along_its_side():
    module, x = mixing(), torch.randn(1, 4, 9, 9)
    with torch.no_grad():
        assert reached(module.rows, x, module) == ([4], [3, 4, 5])
        assert reached(module.columns, x, module) == ([3, 4, 5], [4])


def test_parameters_by_hand():
    with torch.device("meta"):
        module = Wave(expand=2, kernel=3).make(8, 8, 1, any_kit())
    phases = 2 * (64 + 16)
    others = 3 * 64 + 2 * 16 * 3 + (64 + 8)  # amplitudes and channel, kernels, project
    gates = (8 * 2 + 2) + (2 * 24 + 24)
    perceptron = (8 * 16 + 16) + (16 * 8 + 8)
    assert sum(each.numel() for each in module.parameters()) == phases + others + gates + perceptron + 2 * 16


def test_impossible_settings_are_refused():
    with pytest.raises(ValueError, match="odd kernel"):
        Wave(kernel=4)
