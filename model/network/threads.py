"""How many threads compiled kernels use: as many as PyTorch's operations.

Importing this needs numba.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from numba import get_num_threads, set_num_threads

from model.compiled import SETTINGS


@contextmanager
def torch_threads() -> Iterator[int]:
    """Let numba use as many threads as torch inside the block; yields their number."""
    wanted = torch.get_num_threads()
    before = get_num_threads()  # the first call starts numba's and changes torch's number
    if torch.get_num_threads() != wanted:
        torch.set_num_threads(wanted)
    threads = min(wanted, SETTINGS.NUMBA_NUM_THREADS)
    set_num_threads(threads)
    try:
        yield threads
    finally:
        set_num_threads(before)
