"""The steps of Lsq begin alike on all ranks, though each sees other pictures."""

import math
import subprocess
import sys

import pytest
import torch

from paretina.model.quantisers.lsq import Lsq, first_step

RANKS = 2

BEGUN = """
import sys
import torch
from paretina.model.quantisers.lsq import LsqRounding

rank, place = int(sys.argv[1]), sys.argv[2]
torch.distributed.init_process_group("gloo", init_method=f"file://{place}/meet", rank=rank, world_size=2)
rounding = LsqRounding(4, 4, False, ())
with torch.no_grad():
    rounding.begin(torch.full((3, 5), 1.0 + rank), torch.ones(2, 5))
torch.save([rounding.weight_step.detach(), rounding.input_step.detach()], f"{place}/{rank}.pt")
torch.distributed.destroy_process_group()
"""


@pytest.mark.slow
@pytest.mark.skipif(not torch.distributed.is_available(), reason="needs torch.distributed")
def test_steps_begin_at_the_mean_of_the_ranks(tmp_path):
    ranks = [subprocess.Popen([sys.executable, "-c", BEGUN, str(rank), str(tmp_path)]) for rank in range(RANKS)]
    assert [each.wait(300) for each in ranks] == [0, 0]
    first, second = (torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in range(RANKS))
    assert all(torch.equal(*pair) for pair in zip(first, second, strict=True))
    most = 2 ** Lsq().activations - 1
    own = [first_step(torch.full((3, 5), 1.0 + rank), most) for rank in range(RANKS)]
    torch.testing.assert_close(first[1], (own[0] + own[1]) / 2)
    assert float(own[0]) == pytest.approx(2 / math.sqrt(most))
    torch.testing.assert_close(first[0], first_step(torch.ones(2, 5), 2**3 - 1))
