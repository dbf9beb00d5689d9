"""Matrix products of few rows, bitwise the same with any number of threads.

PyTorch's products of up to 27 rows (seen with 2 to 16 threads) differ in the last bits with the
number of threads; those of more rows do not. torchrun gives its processes one thread each, a run by
itself takes all: their results must agree.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

FEW = 32


@contextmanager
def thread_invariant(num_rows: int) -> Iterator[None]:
    """Use a single thread inside the block if ``num_rows`` is small."""
    threads = torch.get_num_threads()
    if threads == 1 or num_rows >= FEW:
        yield
        return
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
