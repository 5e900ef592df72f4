"""Plan: the settings for executing a network on a device."""

import platform
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Literal, TypeVar

import torch
from torch import nn

from paretina.measure.process import threaded
from paretina.model.blueprint import Model
from paretina.model.layers import Convolution
from paretina.spec import Spec, near
from paretina.system import cores
from paretina.traits import methods_in, shown_low, traits

M = TypeVar("M", bound=nn.Module)


@contextmanager
def multiplying(tf32: bool) -> Iterator[None]:
    """Context in which GPUs multiply float32 as TF32, or as it is, in convolutions and in products of matrices alike."""
    places = (torch.backends.cuda.matmul, torch.backends.cudnn.conv)  # type: ignore[attr-defined]
    before = [place.fp32_precision for place in places]
    for place in places:
        place.fp32_precision = "tf32" if tf32 else "ieee"
    try:
        yield
    finally:
        for place, was in zip(places, before, strict=True):
            place.fp32_precision = was


@dataclass(frozen=True, kw_only=True)
class Plan(Spec):
    """
    Attributes:
        device: torch device: cpu, cuda, cuda:1, mps.
        memory_format: of images and weights; channels_last is faster nearly everywhere.
        precision: autocast dtype in training; weights, averages and optimizer moments are always float32.
        depthwise: precision of depthwise convolutions that are strided or larger than 3x3, whose bfloat16 kernels on CPUs are
            many times slower than those of float32.
        grouped: precision of grouped convolutions that are not depthwise.
        compile: whether to use torch.compile; takes up to a minute at the start.
        graphs: whether compiled steps are replayed as CUDA graphs, which helps small networks on large GPUs; torch leaves out
            what cannot be. Needs `compile` and a CUDA device.
        tf32: whether a GPU multiplies float32 with 10 bits of mantissa, several times faster; other devices have no such mode.
        threads: CPU threads per process; None uses torch's default.
        workers: data loader processes; None chooses automatically.
        cache_gb: gigabytes that decoded training pictures may take in the user's cache folder, for pictures that do not fit
            into memory; 0 keeps none there. What is there decides nothing but the time: a picture that is not is decoded.
    """

    device: str = field(default="cpu", metadata=traits(elsewhere=()))
    memory_format: Literal["channels_last", "contiguous"] = field(
        default="channels_last", metadata=traits(elsewhere={"channels_last": "channels_last"})
    )
    precision: Literal["float32", "bfloat16", "float16"] = field(
        default="float32", metadata=traits(elsewhere={"amp": "bfloat16", "amp_dtype": "bfloat16"})
    )
    depthwise: Literal["same", "float32"] = field(default="same", metadata=traits(elsewhere=()))
    grouped: Literal["same", "float32"] = field(default="same", metadata=traits(elsewhere=()))
    compile: bool = field(default=False, metadata=traits(elsewhere=()))
    graphs: bool = field(default=False, metadata=traits(elsewhere=()))
    tf32: bool = field(default=False, metadata=traits(elsewhere=()))
    threads: int | None = field(default=None, metadata=traits(elsewhere=()))
    workers: int | None = field(default=None, metadata=traits(elsewhere=("j",)))
    cache_gb: float = field(default=0.0, metadata=traits(elsewhere=()))

    def __post_init__(self) -> None:
        if not 0 <= self.cache_gb < float("inf"):
            raise ValueError(f"Plan.cache_gb is a number of gigabytes, 0 or more, got {self.cache_gb:g}")
        if self.threads is not None and self.threads < 1:
            raise ValueError(f"Plan.threads must be at least 1, got {self.threads}")
        if self.graphs and not (self.compile and self.device_type == "cuda"):
            raise ValueError(
                f"Plan.graphs needs compile=true and a CUDA device, got compile={str(self.compile).lower()} and "
                f"device={self.device}; leave graphs out"
            )

    @property
    def torch_memory_format(self) -> torch.memory_format:
        return torch.channels_last if self.memory_format == "channels_last" else torch.contiguous_format

    @property
    def device_type(self) -> str:
        return self.device.partition(":")[0]

    def place(self, module: M) -> M:
        """Moves a module to the device and memory format, and marks the layers that stay in float32; in place."""
        module.to(device=self.device, memory_format=self.torch_memory_format)  # type: ignore[call-overload]
        for layer in module.modules():
            if isinstance(layer, Convolution):
                layer.float32 = self.stays_in_float32(layer)
        return module

    def stays_in_float32(self, layer: Convolution) -> bool:
        """Whether a convolution computes in float32 regardless of `precision`."""
        if layer.depthwise:
            return self.depthwise == "float32" and slow_below_float32(layer)
        return self.grouped == "float32" and layer.groups > 1

    @contextmanager
    def threaded(self) -> Iterator[None]:
        """Context that sets the plan's number of threads for the process, and how its GPU multiplies float32."""
        with threaded(self.threads), multiplying(self.tf32) if self.device_type == "cuda" else nullcontext():
            yield

    def compiling(self) -> dict[str, Any]:
        """Settings of `torch.compile`: shapes are static, so that each image size is compiled for itself."""
        return {"dynamic": False, **({"mode": "reduce-overhead"} if self.graphs else {})}

    @contextmanager
    def arithmetic(self) -> Iterator[None]:
        """Context for forward passes: autocast to the plan's precision."""
        if self.precision == "float32":
            yield
        else:
            with torch.autocast(self.device_type, getattr(torch, self.precision)):
                yield

    def worker_count(self, local_ranks: int = 1, kept: bool = False) -> int:
        """Number of data loader processes for one rank; 0 loads between updates.

        Args:
            kept: whether decoded pictures are in memory. On two cores a worker then takes more from the updates than it saves.
        """
        if self.workers is not None:
            return self.workers
        spare = cores() // local_ranks
        if kept and spare <= 2 and self.device_type == "cpu":
            return 0
        return min(8, spare) if self.device_type != "cpu" else min(4, spare // 2)


@dataclass(frozen=True, kw_only=True)
class InferencePlan(Plan):
    """The settings for inference; its additional fields do not apply to training.

    Attributes:
        fold: whether to fold norms into the convolutions before them, where that is exact up to rounding.
        weights: precision of the stored weights: that of the arithmetic, or float32, which is rounded at every call.
        batch: images per forward pass; None leaves it to the caller.
        runtime: what executes the network; others than torch execute a shipped file as it is, so that nothing else applies.
    """

    fold: bool = False
    weights: Literal["float32", "same"] = "float32"
    batch: int | None = None
    runtime: Literal["torch", "onnxruntime", "openvino"] = "torch"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.batch is not None and self.batch < 1:
            raise ValueError(f"InferencePlan.batch must be at least 1, got {self.batch}")
        if self.weights == "same" and self.precision != "float32" and "float32" in (self.depthwise, self.grouped):
            raise ValueError("layers that compute in float32 need weights in float32: set weights=float32, or leave them out")


def slow_below_float32(layer: Convolution) -> bool:
    """Whether a depthwise convolution falls back to a reference kernel in bfloat16 on CPUs, in the backward pass."""
    return layer.stride[0] > 1 or layer.kernel_size[0] > 3


@cache
def cpu_flags() -> frozenset[str]:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return frozenset()
    return frozenset(next((line.partition(":")[2].split() for line in lines if line.startswith("flags")), []))


def default_plan(device: str = "auto") -> Plan:
    """The default plan for a device, without timing anything.

    bfloat16 where the hardware multiplies it: CPUs with AMX or AVX-512 bf16, GPUs from Ampere on. Training takes it by itself
    only where it was shown to lose nothing (`paretina.train.planning.with_safe_precision`); float16 never.

    Raises:
        ValueError: there is no such device on this machine.
    """
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    kind = device.partition(":")[0]
    there = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if kind not in there:
        raise ValueError(f"there is no device {device!r} on this machine{near(device, there)}")
    if not there[kind]:
        usable = ", ".join(name for name, found in there.items() if found)
        raise ValueError(f"there is no device {device!r} on this machine; available: {usable}")
    if kind == "cuda":
        fast = torch.cuda.get_device_capability(device)[0] >= 8
        return Plan(device=device, precision="bfloat16" if fast else "float32", tf32=fast)
    if kind == "cpu" and cpu_flags() & {"amx_bf16", "avx512_bf16"}:
        return Plan(device=device, precision="bfloat16", depthwise="float32")
    return Plan(device=device)


def trains_low(model: Model) -> bool:
    """Whether training below float32 was shown to lose no accuracy for such a network, from scratch.

    It was for methods that say so (`Method.LOW_PRECISION`), as long as their convolutions are dense. Source: records/precision.
    """
    if not shown_low(methods_in(model)):
        return False
    return all(layer.groups == 1 for layer in model.build("meta").modules() if isinstance(layer, Convolution))


def machine() -> dict[str, str | int]:
    """The environment of a result: processor, cores, versions."""
    model = platform.processor() or platform.machine()
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        model = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), model)
    except OSError:
        pass
    return {
        "cpu": model,
        "cores": cores(),
        "threads": torch.get_num_threads(),
        "gpu": torch.cuda.get_device_name(0) if torch.cuda.is_available() else "",
        "system": platform.system(),
        "python": platform.python_version(),
        "torch": torch.__version__,
    }
