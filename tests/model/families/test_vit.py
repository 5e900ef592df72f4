from dataclasses import replace

import pytest
import torch

from paretina.measure.cost import cost
from paretina.model.families.vit import deit, vit

SMALL = replace(deit(64), resolution=32, classes=3, stages=tuple(replace(stage, depth=2) for stage in deit(64).stages))


def test_tiny_has_the_published_parameters_in_each_part():
    stem, stage, head = cost(vit(192)).stages
    assert stem.params == 147_648
    assert stage.params == 192 + 37_824 + 5_338_368
    assert head.params == 384 + 193_000


def test_base_with_two_tokens_has_the_published_counts_at_384_pixels():
    counted = cost(replace(deit(768, distilled=True), resolution=384))
    assert counted.params == 87_630_032
    assert counted.macs == pytest.approx(55.5913e9, rel=0.001)


def test_names_its_only_stride():
    network = SMALL.build().eval()
    assert network.blueprint.strides == (16,)
    assert network.blocks == 2
    with pytest.raises(ValueError, match="strides 16, not at 32"):
        network.features(torch.rand(1, 3, 32, 32), [32])


def test_takes_images_of_other_sizes():
    network = SMALL.build().eval()
    with torch.no_grad():
        assert network(torch.rand(2, 3, 48, 80)).shape == (2, 3)
        assert network.features(torch.rand(2, 3, 48, 80))[16].shape == (2, 64, 3, 5)


def test_single_images_lose_their_branches_in_training():
    torch.manual_seed(0)
    network = SMALL.build().train()
    images = torch.rand(1, 3, 32, 32).expand(64, -1, -1, -1)
    with torch.no_grad():
        assert len(network(images).unique(dim=0)) <= 2  # but for the order of additions
        for residual in network.residuals():
            residual.set(0.5)
        # four branches, each kept or dropped
        answers = network(images).mul(1e4).round().unique(dim=0)
    assert [residual.number for residual in network.residuals()] == [0, 0, 1, 1]
    assert 5 <= len(answers) <= 16
