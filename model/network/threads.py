"""How many threads compiled kernels use: as many as PyTorch's operations.

Importing this needs numba.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from numba import config, get_num_threads, set_num_threads


@contextmanager
def torch_threads() -> Iterator[int]:
    """Let numba use as many threads as torch does; gives their number."""
    before, most = get_num_threads(), config.NUMBA_NUM_THREADS  # pyright: ignore[reportAttributeAccessIssue]
    threads = min(torch.get_num_threads(), most)
    set_num_threads(threads)
    try:
        yield threads
    finally:
        set_num_threads(before)
