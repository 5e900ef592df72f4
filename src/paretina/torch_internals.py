"""Collects all uses of private torch names in one file.

Every other file of the package uses public names only. When a new version of torch moves or changes one of these,
`tests/test_torch_internals.py` says which; a release of paretina then changes only this file.
"""

from torch import _foreach_add as foreach_add
from torch import _foreach_add_ as foreach_add_
from torch import _foreach_addcdiv_ as foreach_addcdiv_
from torch import _foreach_addcmul_ as foreach_addcmul_
from torch import _foreach_lerp_ as foreach_lerp_
from torch import _foreach_mul_ as foreach_mul_
from torch import _foreach_sqrt_ as foreach_sqrt_
from torch import _foreach_sub_ as foreach_sub_
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

__all__ = [
    "TorchDispatchMode",
    "foreach_add",
    "foreach_add_",
    "foreach_addcdiv_",
    "foreach_addcmul_",
    "foreach_lerp_",
    "foreach_mul_",
    "foreach_sqrt_",
    "foreach_sub_",
    "is_compiled",
    "tree_leaves",
]


def is_compiled(module: nn.Module) -> bool:
    """Whether a module was compiled with `module.compile()`."""
    return module._compiled_call_impl is not None
