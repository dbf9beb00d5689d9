"""What all layers share about a packed batch: row offsets, and time buckets of its token pairs.

Built once per batch, before the first layer. Each implementation of the attention takes what it
needs; whatever is expensive is computed on first use and cached.
"""

import math
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from model.errors import InputError

BUCKET_WIDTH = 0.301  # of the natural logarithm of seconds, as in the published HSTU
LARGEST_LOG = 42.9  # keeps thresholds within int64; no history is as long as that


@dataclass(frozen=True, eq=False)
class AttentionPlan:
    """A packed batch of B rows and T tokens, as the attention sees it.

    Attributes:
        offsets: (B + 1,) int64; row b holds the tokens ``offsets[b]`` to ``offsets[b + 1]``.
        timestamps: (T,) int64 seconds, or None where no layer has a time bias.
        num_time_buckets: N, the rows of the time bias.
        num_tokens: T.
        max_length: tokens of the longest row; 0 in an empty batch.
    """

    offsets: Tensor
    timestamps: Tensor | None
    num_time_buckets: int
    num_tokens: int
    max_length: int

    @cached_property
    def rows_by_length(self) -> Tensor:
        """(B,) int64 rows, the longest first; ties in row order."""
        return torch.argsort(self.offsets.diff(), descending=True, stable=True)

    @cached_property
    def bucket_thresholds(self) -> Tensor:
        """(N,) int64: the smallest difference, in seconds, of each bucket."""
        return bucket_thresholds(self.num_time_buckets).to(self.offsets.device)

    @cached_property
    def triangle_offsets(self) -> Tensor:
        """(B,) int64: where each row begins in :attr:`triangle_buckets`."""
        lengths = self.offsets.diff()
        sizes = lengths * (lengths + 1) // 2
        return sizes.cumsum(0) - sizes

    @cached_property
    def triangle_buckets(self) -> Tensor:
        """uint8 time bucket of every (query, key at or before it), row by row, query by query.

        A byte per pair, n (n + 1) / 2 of a row of n tokens, kept until backward is done and shared
        by all layers: 5 KiB at 101 tokens, 2 MiB at 2,048. Only the numba kernels use it.
        """
        from model.network.attention_cpu import fill_triangle_buckets

        return fill_triangle_buckets(self)

    @cached_property
    def dense_tokens(self) -> Tensor:
        """(B, L) int64: the token at each position of the padded batch; T where there is none."""
        positions = torch.arange(self.max_length, device=self.offsets.device)
        tokens = self.offsets[:-1, None] + positions
        return torch.where(tokens < self.offsets[1:, None], tokens, self.num_tokens)

    @cached_property
    def dense_buckets(self) -> Tensor:
        """(B, L, L) int64 time buckets of the padded batch."""
        assert self.timestamps is not None
        padded = torch.cat([self.timestamps, self.timestamps.new_zeros(1)])[self.dense_tokens]
        return time_buckets(padded[:, :, None] - padded[:, None, :], self.num_time_buckets)


def plan_attention(
    offsets: Tensor, timestamps: Tensor | None, num_time_buckets: int
) -> AttentionPlan:
    """Plan the attention over a packed batch, once for all layers.

    Args:
        offsets: (B + 1,) int64, ascending from 0 to T; rows may be empty.
        timestamps: (T,) int64 seconds, or None without a time bias.
        num_time_buckets: N, the rows of the time bias; at least 1 where there are timestamps.

    Raises:
        InputError: timestamps and offsets disagree about the number of tokens.
    """
    num_tokens = int(offsets[-1])
    if timestamps is not None and len(timestamps) != num_tokens:
        raise InputError(
            f"attention: {len(timestamps)} timestamps for {num_tokens} tokens; give one per token"
        )
    max_length = int(offsets.diff().max()) if len(offsets) > 1 else 0
    return AttentionPlan(offsets, timestamps, num_time_buckets, num_tokens, max_length)


def time_buckets(seconds: Tensor, num_buckets: int) -> Tensor:
    """The published HSTU's buckets: floor(ln(max(seconds, 1)) / 0.301), at most the last one.

    Args:
        seconds: int64 of any shape; what is below 1 counts as 1.
        num_buckets: N.

    Returns:
        int64 of the same shape, 0 to N - 1. Computed in float64, so that all devices agree.
    """
    buckets = seconds.clamp(min=1).double().log().div(BUCKET_WIDTH).floor()
    return buckets.clamp(max=num_buckets - 1).long()


def bucket_thresholds(num_buckets: int) -> Tensor:
    """(N,) int64: the smallest whole seconds in each bucket, which save a logarithm per pair.

    A bucket that no whole second falls into (they are narrower than a second at first) begins
    where the next one does.
    """
    edges = [math.exp(min(b * BUCKET_WIDTH, LARGEST_LOG)) for b in range(1, num_buckets)]
    return torch.tensor([1, *(math.floor(edge) + 1 for edge in edges)], dtype=torch.int64)
