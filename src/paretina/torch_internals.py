"""Collects all uses of private torch names in one file.

Every other file of the package uses public names only. When a new version of torch moves or changes one of these,
`tests/test_torch_internals.py` says which; a release of paretina then changes only this file.
"""

import torch
from torch import Tensor, nn
from torch import _foreach_add as foreach_add
from torch import _foreach_add_ as foreach_add_
from torch import _foreach_addcdiv_ as foreach_addcdiv_
from torch import _foreach_addcmul_ as foreach_addcmul_
from torch import _foreach_lerp_ as foreach_lerp_
from torch import _foreach_mul_ as foreach_mul_
from torch import _foreach_sqrt_ as foreach_sqrt_
from torch import _foreach_sub_ as foreach_sub_
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

__all__ = [
    "SkipsOverflow",
    "TorchDispatchMode",
    "allow_shapes",
    "foreach_add",
    "foreach_add_",
    "foreach_addcdiv_",
    "foreach_addcmul_",
    "foreach_lerp_",
    "foreach_mul_",
    "foreach_sqrt_",
    "foreach_sub_",
    "is_compiled",
    "overflow_of",
    "tree_leaves",
]


def is_compiled(module: nn.Module) -> bool:
    """Whether a module was compiled with `module.compile()`."""
    return module._compiled_call_impl is not None


class SkipsOverflow:
    """Base of optimizers that skip a step by themselves where a gradient has overflowed, without a wait for the device.

    Attributes:
        found_inf: above 0 if a gradient is not finite, on the device; set for the time of a step under a gradient scaler, and
            otherwise None.
    """

    _step_supports_amp_scaling = True
    found_inf: Tensor | None = None


def overflow_of(scaler: torch.amp.GradScaler, optimizer: torch.optim.Optimizer) -> Tensor:
    """Above 0 if a gradient is not finite, on the device; after `unscale_` and before `update`."""
    found = list(scaler._found_inf_per_device(optimizer).values())
    return torch.stack([each.to(found[0].device, non_blocking=True) for each in found]).amax(0)


def allow_shapes(count: int) -> None:
    """Lets torch compile a network for so many shapes; beyond its limit it would run further ones eagerly."""
    from torch._dynamo import config

    config.recompile_limit = max(config.recompile_limit, count)
