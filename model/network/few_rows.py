"""Products of few rows: the same last bits with any number of threads.

PyTorch's product of up to 27 rows (seen with 2 to 16 threads) has other last bits with other
numbers of threads; one of more rows has not. torchrun gives its processes one thread each, a run by
itself takes all: their answers shall be the same.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

FEW = 32


@contextmanager
def same_bits(num_rows: int) -> Iterator[None]:
    """Let one thread compute products of so many rows if they are few."""
    threads = torch.get_num_threads()
    if threads == 1 or num_rows >= FEW:
        yield
        return
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
