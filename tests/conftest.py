"""Every annotation of a tensor is checked while the tests run, and one thread keeps small tensors fast."""

from jaxtyping import install_import_hook

install_import_hook("paretina", "beartype.beartype")

import torch  # noqa: E402

torch.set_num_threads(1)
