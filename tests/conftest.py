"""In tests every annotation of a tensor is checked, one thread keeps small tensors fast, and no plan is remembered.

The caches of hubs are empty: what this machine has downloaded must not decide what a run starts from.
"""

import os
import tempfile

from jaxtyping import install_import_hook

install_import_hook("paretina", "beartype.beartype")

import torch  # noqa: E402

torch.set_num_threads(1)

os.environ["PARETINA_CACHE"] = tempfile.mkdtemp()
os.environ["HF_HUB_CACHE"] = os.environ["TORCH_HOME"] = tempfile.mkdtemp()
