"""The backend of the network's heavy operations, and how to force one.

``triton`` is for GPUs, ``numba`` for CPUs, and ``reference``, plain PyTorch, for everything else.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from importlib.util import find_spec
from typing import Literal

from torch import Tensor

Backend = Literal["numba", "triton", "reference"]

_forced: ContextVar[Backend | None] = ContextVar("backend", default=None)


@contextmanager
def use_backend(backend: Backend) -> Iterator[None]:
    """Use this backend for everything inside the block, for tests and benchmarks."""
    token = _forced.set(backend)
    try:
        yield
    finally:
        _forced.reset(token)


def backend_for(x: Tensor) -> Backend:
    """The forced backend, or the fastest for the tensor's device."""
    if forced := _forced.get():
        return forced
    if x.is_cuda and find_spec("triton"):
        return "triton"
    if x.device.type == "cpu" and find_spec("numba"):
        return "numba"
    return "reference"
