"""Group norm against the statistics of each group."""

import pytest
import torch

from paretina.model.norms.group import GroupNorm


@pytest.mark.parametrize("groups", [1, 2, 4])
def test_each_group_is_normalised_by_itself(groups):
    x = torch.randn(3, 8, 5, 4, generator=torch.Generator().manual_seed(0))
    parts = x.unflatten(1, (groups, 8 // groups))
    mean, variance = parts.mean((2, 3, 4), keepdim=True), parts.var((2, 3, 4), keepdim=True, unbiased=False)
    wanted = ((parts - mean) / (variance + 0.1).sqrt()).flatten(1, 2)
    torch.testing.assert_close(GroupNorm(groups=groups, eps=0.1).make(8, None)(x), wanted)


def test_a_width_that_groups_do_not_divide_is_refused():
    with pytest.raises(ValueError, match=r"GroupNorm\(groups=4\) needs widths that are multiples of 4, got 6"):
        GroupNorm(groups=4).make(6, None)
