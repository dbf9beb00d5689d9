"""Semantic IDs as single numbers: mixed radix, the first level's code most significant."""

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Occupancy:
    """How many items share their semantic ID.

    Attributes:
        counts: (S,) int64 items of each distinct semantic ID.
    """

    counts: np.ndarray

    @property
    def items(self) -> int:
        """Items with a semantic ID."""
        return int(self.counts.sum())

    @property
    def unique_pairs(self) -> int:
        """Distinct semantic IDs."""
        return len(self.counts)

    @property
    def conflicts(self) -> int:
        """Items minus distinct semantic IDs, as the paper's table 2 counts."""
        return self.items - self.unique_pairs

    @property
    def conflict_rate(self) -> float:
        return self.conflicts / self.items if self.items else 0.0

    def over(self, capacity: int) -> int:
        """Items beyond the capacity of their semantic ID."""
        return int(np.maximum(self.counts - capacity, 0).sum())

    @classmethod
    def of(cls, codes: np.ndarray, sizes: Sequence[int]) -> "Occupancy":
        """Count (N, L) codes from 0."""
        return cls(np.unique(prefix_keys(codes, sizes), return_counts=True)[1])


def prefix_keys(codes: np.ndarray, sizes: Sequence[int]) -> np.ndarray:
    """(N, l) codes from 0 -> (N,) int64; order of keys is order of codes.

    Args:
        codes: of the first l levels.
        sizes: (l,) codes of each level; their product must be below 2^63.
    """
    keys = np.zeros(len(codes), np.int64)
    for level, size in enumerate(sizes):
        keys = keys * size + codes[:, level]
    return keys


def hash_of_codes(codes: np.ndarray) -> str:
    """Hash of the (N, L) codes of all items, in hex."""
    values = np.ascontiguousarray(codes, np.int32)
    return hashlib.blake2b(values.data, digest_size=16).hexdigest()


def sid_room(sizes: Sequence[int]) -> int:
    """Number of semantic IDs that the codebooks can spell."""
    return math.prod(sizes)
