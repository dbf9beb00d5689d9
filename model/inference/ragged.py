"""Rows of unequal length: expanding, dot products for chosen pairs only, packing.

A ragged value is flat, (T,), with ``offsets`` (N + 1,): row n holds ``offsets[n]:offsets[n + 1]``.
"""

import warnings

import torch
from torch import Tensor

# The CSR layout is used as a plain argument of one kernel; what PyTorch warns of (other operators
# that lack it, unchecked input) does not matter: the offsets below are correct by construction.
warnings.filterwarnings("ignore", message="Sparse CSR tensor support is in beta state")


def expand(starts: Tensor, counts: Tensor) -> tuple[Tensor, Tensor]:
    """List ``starts[n] ... starts[n] + counts[n] - 1`` for every n, one after the other.

    Args:
        starts: (N,) int64.
        counts: (N,) int64, not negative.

    Returns:
        owners (T,) int64, the n of each entry; positions (T,) int64.
    """
    owners = torch.repeat_interleave(torch.arange(len(counts), device=counts.device), counts)
    shift = starts - (counts.cumsum(0) - counts)
    return owners, torch.arange(len(owners), device=counts.device) + shift[owners]


def offsets_of(counts: Tensor) -> Tensor:
    """(N,) counts -> (N + 1,) offsets."""
    return torch.nn.functional.pad(counts.cumsum(0), (1, 0))


def sampled_dot(queries: Tensor, keys: Tensor, offsets: Tensor, columns: Tensor) -> Tensor:
    """Dot products of chosen pairs, without gathering the keys.

    Args:
        queries: (N, D) float32.
        keys: (M, D) float32.
        offsets: (N + 1,) int64, each query's part of ``columns``.
        columns: (T,) int64, rows of ``keys``.

    Returns:
        (T,) float32.
    """
    if len(columns) == 0:
        return queries.new_empty(0)
    pattern = torch.sparse_csr_tensor(
        offsets,
        columns,
        queries.new_zeros(len(columns)),
        size=(len(queries), len(keys)),
        check_invariants=False,
    )
    return torch.sparse.sampled_addmm(pattern, queries, keys.T, beta=0.0).values()


def log_softmax(values: Tensor, owners: Tensor, offsets: Tensor) -> Tensor:
    """Log-softmax within each row, deterministic on one device.

    Args:
        values: (T,) float32.
        owners: (T,) int64, the row of each.
        offsets: (N + 1,) int64.

    Returns:
        (T,) float32.
    """
    peaks = values.new_full((len(offsets) - 1,), -torch.inf)
    peaks = peaks.scatter_reduce(0, owners, values, "amax")
    shifted = values - peaks[owners]
    # A segment reduction is deterministic; index_add_ on a GPU adds atomically, in any order.
    sums = torch.segment_reduce(shifted.exp(), "sum", offsets=offsets)
    return shifted - sums.log()[owners]


def pack(values: Tensor, owners: Tensor, offsets: Tensor, fill: float) -> Tensor:
    """(T,) -> (N, longest row), padded on the right with ``fill``."""
    width = int(offsets.diff().max()) if len(offsets) > 1 else 0
    dense = values.new_full((len(offsets) - 1, width), fill)
    dense[owners, torch.arange(len(values), device=values.device) - offsets[owners]] = values
    return dense
