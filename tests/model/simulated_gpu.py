"""A GPU for machines that have none: tensors that say ``cuda:0`` and are computed on the CPU.

It refuses what CUDA refuses: operations between both devices, ``numpy`` there, grouped products
whose rows are not of 16 bytes. Speed and rounding are not a GPU's.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode, _disable_current_modes
from torch.utils._pytree import tree_leaves, tree_map

from model.inference import ragged
from model.network import checkpoint
from model.training.training_batches import TrainingBatches

GPU = torch.device("cuda", 0)
INDEXING = {"index", "index_put", "index_put_", "_index_put_impl_"}
# Operations that take nothing from the CPU, not even a number without dimensions.
STRICT = {"addmm", "baddbmm", "bmm", "cat", "mm", "stack", "embedding", "searchsorted"} | {
    *("gather", "index_add", "index_copy", "index_fill", "index_select", "_fused_adamw"),
    *("scatter", "scatter_add", "scatter_reduce", "_grouped_mm"),
}
# What autocast does on a GPU to the floating arguments of functions.
LOWERED = {"linear", "matmul", "__matmul__", "__rmatmul__", "mm", "bmm", "addmm", "baddbmm"}
WIDENED = {"layer_norm", "normalize", "softmax", "log_softmax", "sum", "cumsum", "exp", "log"}
JOINED = {"cat", "stack"}  # to the wider type
ANSWERS = {
    **dict.fromkeys(("is_available", "is_bf16_supported"), True),
    **dict.fromkeys(("_lazy_init", "manual_seed_all", "set_device", "set_rng_state"), None),
    **{"synchronize": None, "is_current_stream_capturing": False, "max_memory_allocated": 0},
    **{"device_count": 1, "current_device": 0, "mem_get_info": (1 << 36, 1 << 37)},
    "get_rng_state": torch.zeros(16, dtype=torch.uint8),
}


class GpuTensor(torch.Tensor):
    """Wears a tensor of the CPU; PyTorch itself sees one of the meta device with a GPU's keys."""

    worn: Tensor
    device, is_cuda, is_cpu, is_meta = GPU, True, False, False  # pyright: ignore

    @staticmethod
    def __new__(cls, worn: Tensor) -> "GpuTensor":
        with torch.inference_mode(False):  # PyTorch makes no views of subclasses in that mode
            made = torch.Tensor._make_subclass(cls, worn.to("meta"), device_for_backend_keys=GPU)
        made.worn = worn
        return made

    def tolist(self) -> Any:
        return self.worn.detach().tolist()

    @classmethod
    def __torch_function__(cls, func, types, args=(), kwargs=None):
        with torch._C.DisableTorchFunctionSubclass():
            args, kwargs = _autocast(func.__name__, (args, kwargs or {}))
            return func(*args, **kwargs)

    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
        return _compute(func, args, dict(kwargs or {}))


class _Simulation(TorchDispatchMode):
    """Brings what is made for the GPU there."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        return _compute(func, args, dict(kwargs or {}))


def _autocast(name: str, given: tuple[Any, Any]) -> tuple[Any, Any]:
    floats = [x for x in tree_leaves(given) if isinstance(x, Tensor) and x.is_floating_point()]
    wide = name in WIDENED or (name in JOINED and any(x.dtype == torch.float32 for x in floats))
    if not torch.is_autocast_enabled("cuda") or "out" in given[1] or not (wide or name in LOWERED):
        return given
    dtype = torch.float32 if wide else torch.get_autocast_dtype("cuda")
    return tree_map(lambda x: x.to(dtype) if any(x is one for one in floats) else x, given)


def _compute(func: Any, args: Any, kwargs: Any) -> Any:
    name = func.overloadpacket.__name__
    given = [x for x in tree_leaves((args, kwargs)) if isinstance(x, Tensor)]
    here = [x for x in given if isinstance(x, GpuTensor)]
    strangers = [x for x in given if not isinstance(x, GpuTensor)]
    if here and strangers and name not in ("copy_", "_to_copy"):
        _refuse(name, args, strangers)
    on_gpu = isinstance(args[0], GpuTensor) if name == "copy_" else bool(here)
    if kwargs.get("device") is not None:
        on_gpu = torch.device(kwargs["device"]).type in ("cuda", "meta")
        kwargs["device"] = torch.device("cpu")
    args, kwargs = tree_map(lambda x: getattr(x, "worn", x), (args, kwargs))
    if name == "_grouped_mm" and here:
        rows = [max(matrix.stride()[-2:]) * matrix.element_size() for matrix in args[:2]]
        assert not any(size % 16 for size in rows), f"rows of {rows} bytes"
    wearers = {id(x.worn): x for x in here}  # what is changed in place stays what it is

    def wear(x: Any) -> Any:
        if on_gpu and isinstance(x, Tensor):
            return wearers[id(x)] if id(x) in wearers else GpuTensor(x)
        return x

    return tree_map(wear, func(*args, **kwargs))


def _refuse(name: str, args: Any, strangers: list[Tensor]) -> None:
    """Indices and single numbers may come from the CPU; nothing of the GPU's may go there."""
    indices = name in INDEXING and not any(x is args[2] for x in strangers if len(args) > 2)
    numbers = name.rstrip("_") not in STRICT and not any(x.dim() for x in strangers)
    into_cpu = not isinstance(args[0], GpuTensor) and (name.endswith("_") or name in INDEXING)
    if into_cpu or not (indices or numbers):
        raise RuntimeError(f"{name}: {strangers} are on the CPU and others on {GPU}")


def _outside(function: Callable[..., Any]) -> Callable[..., Any]:
    """What the simulation cannot follow, on the tensors that are worn."""

    def call(*args: Any) -> Any:
        torch._C._set_only_lift_cpu_tensors(False)
        with _disable_current_modes():
            found = function(*(getattr(x, "worn", x) for x in args))
        torch._C._set_only_lift_cpu_tensors(True)
        return GpuTensor(found) if any(isinstance(x, GpuTensor) for x in args) else found

    return call


def _in_any_thread(self: TrainingBatches, step: int, *, make=TrainingBatches.__call__) -> Any:
    with _Simulation():
        return make(self, step)


@contextmanager
def simulated_gpu() -> Iterator[torch.device]:
    """Within the block there is one GPU, the device that is given."""
    with ExitStack() as stack:
        for name, answer in ANSWERS.items():
            stack.enter_context(patch.object(torch.cuda, name, lambda *_, answer=answer: answer))
        for module, name in ((ragged, "sampled_dot"), (checkpoint, "load_file")):
            stack.enter_context(patch.object(module, name, _outside(getattr(module, name))))
        stack.enter_context(patch.object(TrainingBatches, "__call__", _in_any_thread))
        whole_parameters = torch.__future__.set_overwrite_module_params_on_conversion
        for setting in (whole_parameters, torch._C._set_only_lift_cpu_tensors):
            setting(True)
            stack.callback(setting, False)
        stack.enter_context(_Simulation())
        yield GPU
