"""Each test is a function of a device: `make test-gpu` runs them on a GPU, and the ordinary tests rehearse them on the CPU."""

import os

os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # without it products of matrices are not deterministic on a GPU

import pytest
import torch

from tiny import noise_npz, row, tiny_blueprint


@pytest.fixture(params=["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
def device(request):
    if request.param == "cuda" and not torch.cuda.is_available():
        pytest.skip("there is no CUDA device on this machine")
    return request.param


@pytest.fixture(scope="session")
def tiny():
    """Four blocks in two stages, 16 pixels, 3 classes."""
    return tiny_blueprint(row(2, 8, 1), row(2, 16, 2))


@pytest.fixture
def npz(tmp_path):
    return noise_npz(tmp_path / "noise.npz", 30, 9, contrast=40)
